//! Topics as they should be against topics as they are.
