//! The only place that reads the wall clock. Everything behind it takes `now` as an argument.

/// Milliseconds since 1970.
pub fn wall_ms() -> i64 {
    #[allow(clippy::disallowed_methods)] // the edge itself
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX))
}
