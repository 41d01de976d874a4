//! Dates for people.

const DAY: u64 = 24 * 60 * 60;

/// Seconds since 1970 as `2026-11-20 08:00:00`, in UTC.
pub fn date_and_time(seconds: u64) -> String {
    let (year, month, day) = date(seconds / DAY);
    let second = seconds % DAY;
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
}

/// The date of a day since 1970, in the Gregorian calendar.
///
/// Counted in years that begin in March, so that the leap day is the last of its year and the lengths of the months before
/// it repeat every five: 153 days.
fn date(days: u64) -> (u64, u64, u64) {
    const FROM_YEAR_0: u64 = 719_468;
    const IN_400_YEARS: u64 = 146_097;
    let days = days + FROM_YEAR_0;
    let (era, day) = (days / IN_400_YEARS, days % IN_400_YEARS);
    // Of the days before this one, leave out every leap day: of 4 years, but not of 100, but of 400.
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (400 * era + year + next, month, day)
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

    #[test]
    fn every_day_follows_the_one_before() {
        let mut before = date(0);
        for day in 1..(Window::SECONDS_MAX / DAY) {
            let (year, month, of_month) = date(day);
            let same_month = (year, month, of_month) == (before.0, before.1, before.2 + 1);
            let next_month = of_month == 1 && before.2 >= 28 && (month == before.1 % 12 + 1);
            assert!(same_month || next_month, "{before:?} {:?}", (year, month, of_month));
            before = (year, month, of_month);
        }
    }
}
