//! The actors: thin carriers of the rules in `domain`, one file each, on top of [`rt`].

pub mod query;
pub mod rt;
