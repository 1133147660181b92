//! Links the fix for a crash of librdkafka 2.12.1, see `leader_hint` in `src/log/kafka/ffi.rs`.
#![allow(clippy::print_stdout)] // how a build script speaks to cargo

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // Only GNU ld and lld can wrap a symbol; elsewhere librdkafka stays as it is.
    if std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "linux") {
        println!("cargo::rustc-link-arg=-Wl,--wrap=rd_kafka_metadata_update_op");
    }
}
