//! Times for people.

use jiff::SignedDuration;
use jiff::civil::DateTime;

/// Seconds since 1970 as `2026-11-20 08:00:00`, in UTC.
pub fn date_and_time(seconds: u64) -> String {
    const EPOCH: DateTime = DateTime::constant(1970, 1, 1, 0, 0, 0, 0);
    let since = i64::try_from(seconds).map_or(SignedDuration::MAX, SignedDuration::from_secs);
    EPOCH.saturating_add(since).strftime("%F %T").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Window;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, text) in [
            (0, "1970-01-01 00:00:00"),
            (951_782_399, "2000-02-28 23:59:59"),
            (951_782_400, "2000-02-29 00:00:00"),
            (951_868_800, "2000-03-01 00:00:00"),
            (1_709_164_800, "2024-02-29 00:00:00"),
            (4_107_542_400, "2100-03-01 00:00:00"),
            (1_800_000_000, "2027-01-15 08:00:00"),
            (Window::SECONDS_MAX, "9999-12-31 23:59:59"),
        ] {
            assert_eq!(date_and_time(seconds), text);
        }
    }
}
