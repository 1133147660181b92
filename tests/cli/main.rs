//! The real binary: what it says and how it ends. No cluster, no broker; only loopback ports of the tests' own.

mod asking;
mod generating;
mod kit;
mod starting;
