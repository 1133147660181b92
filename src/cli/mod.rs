//! What the commands do, apart from parsing their arguments.

pub mod config_cmd;
