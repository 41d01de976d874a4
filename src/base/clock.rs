//! The system clock. Rules that depend on time get it as an argument.

/// The system time in ms since 1970. Returns 0 for a clock set before 1970.
pub fn now_ms() -> u64 {
    let elapsed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}

/// The system time in whole seconds since 1970.
pub fn now_seconds() -> u64 {
    now_ms() / 1_000
}
