//! Pure rules: no socket, no clock, no randomness of their own. What varies is an argument.

pub mod restart;
