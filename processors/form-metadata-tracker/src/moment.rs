//! Points in time as documents write them.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// The moment that `text` means: a date, or a date with a time, in ISO 8601; UTC where it names no offset. None for
/// anything else, and for years that no table holds.
pub fn parse(text: &str) -> Option<Timestamp> {
    let moment = match text.parse::<Timestamp>() {
        Ok(moment) => moment,
        Err(_) => text.parse::<DateTime>().ok()?.to_zoned(TimeZone::UTC).ok()?.timestamp(),
    };
    // Tables and indices have four digits for the year.
    stored(moment).starts_with(|first: char| first.is_ascii_digit()).then_some(moment)
}

/// The one form in which moments are stored: RFC 3339 in UTC with microseconds.
pub fn stored(moment: Timestamp) -> String {
    format!("{moment:.6}")
}

/// The day of a moment in UTC.
pub fn day(moment: Timestamp) -> String {
    moment.to_zoned(TimeZone::UTC).date().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<&str>) {
        assert_eq!(parse(text).map(stored).as_deref(), expected, "{text}");
    }

    #[test]
    fn dates_with_and_without_time_and_offset_are_moments() {
        check("2017-02-05", Some("2017-02-05T00:00:00.000000Z"));
        check("2017-02-05T10:00:00.123456Z", Some("2017-02-05T10:00:00.123456Z"));
        check("2017-02-05T10:00:00.5+02:00", Some("2017-02-05T08:00:00.500000Z"));
        check("2017-02-05T10:00:00", Some("2017-02-05T10:00:00.000000Z"));
        check("2017-02-05 10:00:00.1", Some("2017-02-05T10:00:00.100000Z"));
    }

    #[test]
    fn everything_else_is_none() {
        for text in ["", "bad-date", "10:00Z", "2017-02-30", "-002017-01-01T00:00:00Z", "2017"] {
            check(text, None);
        }
    }

    #[test]
    fn a_day_is_one_of_utc() {
        assert_eq!(day(parse("2017-02-05T01:00:00+02:00").unwrap()), "2017-02-04");
    }
}
