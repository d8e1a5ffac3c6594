//! Points in time, as RFC 3339 has them.

use std::{
    borrow::Cow,
    fmt,
    str::FromStr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// `2026-11-25T20:00:00.123Z`, to the millisecond.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time {
    since_1970: Duration,
}

impl Time {
    /// The wall clock's.
    pub fn now() -> Self {
        SystemTime::now().into()
    }

    /// From Unix seconds; what lies before 1970 is taken for its first moment.
    pub fn of_unix(seconds: i64) -> Self {
        // Beyond the year 9999 RFC 3339 has no way to write it.
        const LAST: u64 = 253_402_300_799;
        Self { since_1970: Duration::from_secs(u64::try_from(seconds).unwrap_or(0).min(LAST)) }
    }

    /// Unix seconds.
    pub fn seconds(self) -> f64 {
        self.since_1970.as_secs_f64()
    }

    /// Whole days from `now` until then; below zero it is past.
    pub fn days_left(self, now: SystemTime) -> f64 {
        const DAY: f64 = 86_400.0;
        ((self.seconds() - Self::from(now).seconds()) / DAY).floor()
    }

    /// How long ago it is at `now`; nothing if it is yet to come.
    pub fn age(self, now: SystemTime) -> Duration {
        Self::from(now).since_1970.saturating_sub(self.since_1970)
    }
}

impl From<SystemTime> for Time {
    /// What lies before 1970 is taken for its first moment.
    fn from(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            since_1970: Duration::from_secs(since.as_secs())
                + Duration::from_millis(since.subsec_millis().into()),
        }
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_rfc3339_millis(UNIX_EPOCH + self.since_1970).fmt(f)
    }
}

impl FromStr for Time {
    type Err = humantime::TimestampError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        humantime::parse_rfc3339(text).map(Self::from)
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for Time {
    fn schema_name() -> Cow<'static, str> {
        "Time".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "date-time" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_as_it_is_written() {
        let time = Time::from(UNIX_EPOCH + Duration::from_micros(1_000_000_500));
        assert_eq!(time.to_string(), "1970-01-01T00:16:40.000Z");
        assert_eq!(time.to_string().parse(), Ok(time));
        assert_eq!(serde_json::from_str::<Time>(&serde_json::to_string(&time).unwrap()).unwrap(), time);
        serde_json::from_str::<Time>("\"yesterday\"").unwrap_err();
    }

    #[test]
    fn what_is_yet_to_come_has_no_age() {
        let now = SystemTime::now();
        assert_eq!(Time::from(now + Duration::from_secs(9)).age(now), Duration::ZERO);
        assert_eq!(Time::from(now - Duration::from_secs(9)).age(now), Duration::from_secs(9));
    }
}
