//! The only place that reads the wall clock. Everything behind it takes `now` as an argument.

/// Milliseconds since 1970.
pub fn wall_ms() -> i64 {
    #[allow(clippy::disallowed_methods)] // the edge itself
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = since.map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX));
    #[cfg(feature = "testing")]
    let now = now + crate::testing::wall_clock_shift_ms();
    now
}

/// How many times as fast the waits of capture pass: 1, but where a trial hurries them.
pub fn pace() -> u32 {
    #[cfg(feature = "testing")]
    return crate::testing::pace();
    #[cfg(not(feature = "testing"))]
    1
}
