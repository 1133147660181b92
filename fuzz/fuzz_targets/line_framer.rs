#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    agent_events::testing::fuzz::line_framer(data);
});
