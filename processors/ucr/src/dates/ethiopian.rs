//! The Ethiopian calendar: twelve months of thirty days and a thirteenth of five, or six before every fourth new year.
//!
//! The original's converter takes Gregorian dates before 15 October 1582 for Julian ones, which is kept; days that lie
//! in the gap between the two calendars have no Ethiopian date. Beyond that the conversion is plain counting of days,
//! where the original's tables are a day late in the seven years after a turn of a century without a leap day (1901 to
//! 1907, 2101 to 2107), and count otherwise before 1583.

use jiff::civil::Date;

use super::arithmetic::{add_days, days_between};
use crate::value::Value;

/// Day 1 of the Ethiopian era is 29 August 8 in the Julian calendar, day 2796 counted from 1 January 1.
const FIRST_DAY: i64 = 2796;

/// `YYYY-MM-DD` in the Ethiopian calendar of a Gregorian date or text `Y-M-D`; `None` where there is none.
pub fn to_ethiopian(value: &Value<'_>) -> Option<String> {
    let (year, month, day) = fields(value)?;
    let number = if (year, month, day) < (1582, 10, 15) {
        if (year, month, day) > (1582, 10, 4) {
            return None;
        }
        julian_day_number(year, month, day)
    } else {
        gregorian(year, month, day).map(|date| days_between(Date::constant(1, 1, 1), date) + 1)
    };
    let since = number? - FIRST_DAY;
    let year = (4 * since + 1463).div_euclid(1461);
    let in_year = since + FIRST_DAY - new_year(year);
    Some(format!("{year}-{:02}-{:02}", in_year / 30 + 1, in_year % 30 + 1))
}

/// The Gregorian date of an Ethiopian one, given as text `Y-M-D` or as a date whose fields are Ethiopian; `None` where
/// there is none. Days beyond the end of a month run on into the next, up to the end of the Gregorian September in
/// which the year ends.
pub fn from_ethiopian(value: &Value<'_>) -> Option<Date> {
    let (year, month, day) = fields(value)?;
    if !((1..=9999).contains(&year) && (1..=14).contains(&month) && (1..=500).contains(&day)) {
        return None;
    }
    let number = new_year(year) + 30 * (month - 1) + day - 1;
    let date = add_days(Date::constant(1, 1, 1), number - 1).ok();
    date.filter(|date| gregorian(year + 8, 9, 30).is_some_and(|last| *date <= last))
}

fn fields(value: &Value<'_>) -> Option<(i64, i64, i64)> {
    let date = match value {
        Value::Date(date) => *date,
        Value::DateTime(moment) => moment.civil.date(),
        Value::Str(text) => return split(text),
        _ => return None,
    };
    Some((i64::from(date.year()), i64::from(date.month()), i64::from(date.day())))
}

fn split(text: &str) -> Option<(i64, i64, i64)> {
    let mut parts =
        text.split('-').map(|part| crate::number::parse_integer(part).and_then(|part| i64::try_from(part).ok()));
    let fields = (parts.next()??, parts.next()??, parts.next()??);
    parts.next().is_none().then_some(fields)
}

fn gregorian(year: i64, month: i64, day: i64) -> Option<Date> {
    Date::new(year.try_into().ok()?, month.try_into().ok()?, day.try_into().ok()?).ok()
}

/// Days from 1 January 1 (Gregorian, day 1) to the first day of an Ethiopian year.
fn new_year(year: i64) -> i64 {
    FIRST_DAY + 365 * (year - 1) + year.div_euclid(4)
}

fn julian_day_number(year: i64, month: i64, day: i64) -> Option<i64> {
    let leap = i64::from(year % 4 == 0);
    let lengths = [31, 28 + leap, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let before = usize::try_from(month - 1).ok().filter(|before| *before < lengths.len())?;
    if year < 9 || day < 1 || lengths.get(before).is_none_or(|length| day > *length) {
        return None;
    }
    // 1 January 1 of the Julian calendar lies two days before that of the Gregorian.
    Some(365 * (year - 1) + (year - 1) / 4 + lengths.iter().take(before).sum::<i64>() + day - 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;

    fn to(text: &'static str) -> Option<String> {
        to_ethiopian(&Value::text(text))
    }

    fn from(text: &'static str) -> Option<Date> {
        from_ethiopian(&Value::text(text))
    }

    #[test]
    fn dates_are_converted_both_ways() {
        for (gregorian, ethiopian) in [
            (date(2015, 1, 20), "2007-05-12"),
            (date(2022, 9, 30), "2015-01-20"),
            (date(1982, 11, 21), "1975-03-12"),
            (date(2010, 12, 22), "2003-04-13"),
            (date(2023, 9, 11), "2015-13-06"),
            (date(2023, 9, 12), "2016-01-01"),
            (date(2024, 9, 10), "2016-13-05"),
            (date(2024, 9, 11), "2017-01-01"),
        ] {
            assert_eq!(to_ethiopian(&Value::Date(gregorian)).as_deref(), Some(ethiopian));
            assert_eq!(from(ethiopian), Some(gregorian));
        }
    }

    #[test]
    fn what_is_no_date_has_no_counterpart() {
        for text in ["", "x", "2015", "2015-1", "2015-1-1-1", "2015-0-1", "2015-14-1", "2015-13-26", "99999-1-1"] {
            assert_eq!(from(text), None, "{text}");
        }
        for text in ["", "x", "2015-02-30", "2015-13-01", "1582-10-05", "1582-10-14", "0-1-1"] {
            assert_eq!(to(text), None, "{text}");
        }
        assert_eq!(to_ethiopian(&Value::Int(5)), None);
    }

    #[test]
    fn days_beyond_a_month_run_on() {
        assert_eq!(from("2015-1-31"), from("2015-2-1"));
        assert_eq!(from("2015-13-7"), from("2016-1-1"));
    }

    #[test]
    fn before_october_1582_dates_are_julian() {
        assert_eq!(to("1582-10-04").as_deref(), Some("1575-02-07"));
        assert_eq!(to("1582-10-15").as_deref(), Some("1575-02-08"));
    }
}
