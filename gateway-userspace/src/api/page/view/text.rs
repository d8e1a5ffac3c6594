//! Numbers and times for people.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;

pub(super) use crate::control::screen::grouped;

/// How something is, beside its word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Good,
    Odd,
    Bad,
    Plain,
}

impl Tone {
    pub(super) fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Odd => "odd",
            Self::Bad => "bad",
            Self::Plain => "plain",
        }
    }
}

/// `3 h`, in the largest unit that fits.
pub(super) fn age(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// `14:03:59`
pub(super) fn clock(time: SystemTime) -> String {
    Timestamp::try_from(time).map(|time| time.strftime("%H:%M:%S").to_string()).unwrap_or_default()
}

/// `2027-01-15`
pub(super) fn day(seconds: f64) -> String {
    let time = Timestamp::from_second(seconds as i64);
    time.map(|time| time.strftime("%Y-%m-%d").to_string()).unwrap_or_default()
}

/// `1 instance`, `2,000 instances`
pub(super) fn counted(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", grouped(number), if number == 1 { "" } else { "s" })
}

/// `1.2 k`, in three digits.
pub(super) fn scaled(number: f64) -> String {
    let steps = [(1e9, "G"), (1e6, "M"), (1e3, "k")];
    let (value, unit) = steps
        .into_iter()
        .find(|(step, _)| number >= *step)
        .map_or((number, ""), |(step, unit)| (number / step, unit));
    let places = if value >= 100.0 || value == value.trunc() { 0 } else { 1 };
    let space = if unit.is_empty() { "" } else { " " };
    format!("{value:.places$}{space}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_times_are_short() {
        let ages = [0, 59, 60, 3_599, 3_600, 172_799, 172_800].map(|s| age(Duration::from_secs(s)));
        assert_eq!(ages, ["0 s", "59 s", "1 min", "59 min", "1 h", "47 h", "2 days"]);
        assert_eq!(
            [0, 999, 1_000, 65_537, 1_234_567].map(grouped),
            ["0", "999", "1,000", "65,537", "1,234,567"]
        );
        let scales = [0.0, 0.24, 7.0, 12.34, 999.0, 1_500.0, 2e6, 3.21e9].map(scaled);
        assert_eq!(scales, ["0", "0.2", "7", "12.3", "999", "1.5 k", "2 M", "3.2 G"]);
        assert_eq!(day(1_800_000_000.0), "2027-01-15");
        assert_eq!(clock(SystemTime::UNIX_EPOCH + Duration::from_secs(3_661)), "01:01:01");
        assert_eq!((counted(1, "role"), counted(3_000, "role")), ("1 role".into(), "3,000 roles".into()));
    }
}
