//! The program; everything is in [`agent_events::cli`].

fn main() -> std::process::ExitCode {
    keep_memory_small();
    agent_events::cli::main()
}

/// glibc gives each thread a heap of its own, and moves ever larger buffers into them once one was freed: what a list needs
/// for seconds then stays for ever. With two heaps, and large buffers given back at once, the peak of a first list of
/// 20,000 Pods is smaller (docs/PERFORMANCE.md).
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code)] // One call of C, before there is a second thread.
fn keep_memory_small() {
    const M_TRIM_THRESHOLD: i32 = -1;
    const M_MMAP_THRESHOLD: i32 = -3;
    const M_ARENA_MAX: i32 = -8;
    unsafe extern "C" {
        fn mallopt(parameter: i32, value: i32) -> i32;
    }
    for (parameter, value) in [(M_ARENA_MAX, 2), (M_MMAP_THRESHOLD, 256 << 10), (M_TRIM_THRESHOLD, 1 << 20)] {
        // SAFETY: mallopt takes two numbers by value; where it does not know them nothing changes.
        unsafe { mallopt(parameter, value) };
    }
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn keep_memory_small() {}
