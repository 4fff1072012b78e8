//! Dates read by a format, as Python's `strptime` reads them with the C locale.

use std::fmt::Write as _;

use jiff::civil::{Date, ISOWeekDate, Weekday};

use super::arithmetic::civil;
use super::strftime::{DAYS, MONTHS};
use crate::number::parse_integer;
use crate::value::Moment;

/// `None` for a text that the format does not describe, a format with an unknown directive, and fields that make no
/// date.
pub fn parse_as(text: &str, format: &str) -> Option<Moment> {
    let (pattern, letters) = pattern(format)?;
    let regex = fancy_regex::Regex::new(&pattern).ok()?;
    let captures = regex.captures(text).ok()??;
    if captures.get(0)?.end() != text.len() {
        return None;
    }
    let mut fields = Fields::default();
    for (at, letter) in letters.iter().enumerate() {
        fields.take(*letter, captures.get(at + 1)?.as_str())?;
    }
    fields.moment()
}

/// A pattern with one group for each directive, in their order.
fn pattern(format: &str) -> Option<(String, Vec<char>)> {
    let names = |names: &[&str]| names.join("|");
    let short = |names: &[&str]| names.iter().filter_map(|name| name.get(..3)).collect::<Vec<_>>().join("|");
    let mut pattern = String::from("(?i)^");
    let mut letters = Vec::new();
    let mut rest = format.chars().peekable();
    while let Some(c) = rest.next() {
        if c.is_whitespace() {
            while rest.next_if(|next| next.is_whitespace()).is_some() {}
            pattern.push_str(r"\s+");
            continue;
        }
        if c != '%' {
            if c.is_ascii_punctuation() {
                pattern.push('\\');
            }
            pattern.push(c);
            continue;
        }
        let letter = rest.next()?;
        let part = match letter {
            '%' => {
                pattern.push('%');
                continue;
            }
            'd' => r"3[01]|[12]\d|0[1-9]|[1-9]| [1-9]".to_owned(),
            'f' => "[0-9]{1,6}".to_owned(),
            'H' => r"2[0-3]|[01]\d|\d".to_owned(),
            'I' => "1[0-2]|0[1-9]|[1-9]".to_owned(),
            'G' | 'Y' => r"\d\d\d\d".to_owned(),
            'j' => r"36[0-6]|3[0-5]\d|[12]\d\d|0[1-9]\d|00[1-9]|[1-9]\d|0[1-9]|[1-9]".to_owned(),
            'm' => "1[0-2]|0[1-9]|[1-9]".to_owned(),
            'M' => r"[0-5]\d|\d".to_owned(),
            'S' => r"6[01]|[0-5]\d|\d".to_owned(),
            'U' | 'W' => r"5[0-3]|[0-4]\d|\d".to_owned(),
            'w' => "[0-6]".to_owned(),
            'u' => "[1-7]".to_owned(),
            'V' => r"5[0-3]|0[1-9]|[1-4]\d|\d".to_owned(),
            'y' => r"\d\d".to_owned(),
            'z' => r"[+-]\d\d[0-5]\d".to_owned(),
            'Z' => "utc|gmt".to_owned(),
            'A' => names(&DAYS),
            'a' => short(&DAYS),
            'B' => names(&MONTHS),
            'b' => short(&MONTHS),
            'p' => "am|pm".to_owned(),
            'c' | 'x' | 'X' => {
                let expanded = match letter {
                    'c' => "%a %b %d %H:%M:%S %Y",
                    'x' => "%m/%d/%y",
                    _ => "%H:%M:%S",
                };
                let (inner, inner_letters) = self::pattern(expanded)?;
                pattern.push_str(inner.strip_prefix("(?i)^")?);
                letters.extend(inner_letters);
                continue;
            }
            _ => return None,
        };
        // Python names its groups by the directive, so one cannot stand twice.
        if letters.contains(&letter) {
            return None;
        }
        letters.push(letter);
        // Writing to a text cannot fail.
        let _written = write!(pattern, "({part})");
    }
    Some((pattern, letters))
}

#[derive(Default)]
struct Fields {
    year: Option<i64>,
    month: Option<i64>,
    day: Option<i64>,
    hour: i64,
    afternoon: Option<bool>,
    twelve: Option<i64>,
    minute: i64,
    second: i64,
    microsecond: i64,
    day_of_year: Option<i64>,
    weekday: Option<Weekday>,
    week: Option<(Weekday, i64)>,
    iso: (Option<i64>, Option<i64>),
    offset_minutes: Option<i16>,
}

impl Fields {
    fn take(&mut self, letter: char, text: &str) -> Option<()> {
        let number = || parse_integer(text).and_then(|number| i64::try_from(number).ok());
        let place = |names: &[&str], length: usize| {
            let found = names.iter().position(|name| {
                name.get(..length.min(name.len())).is_some_and(|name| name.eq_ignore_ascii_case(text))
            });
            found.and_then(|at| i64::try_from(at).ok())
        };
        let monday_based = |day: i64| i8::try_from(day).ok().and_then(|day| Weekday::from_monday_zero_offset(day).ok());
        match letter {
            'd' => self.day = Some(number()?),
            'f' => self.microsecond = format!("{text:0<6}").parse().ok()?,
            'H' => self.hour = number()?,
            'I' => self.twelve = Some(number()?),
            'p' => self.afternoon = Some(text.eq_ignore_ascii_case("pm")),
            'Y' => self.year = Some(number()?),
            'y' => {
                let year = number()?;
                self.year = Some(if year <= 68 { 2000 + year } else { 1900 + year });
            }
            'm' => self.month = Some(number()?),
            'B' => self.month = Some(place(&MONTHS, 20)? + 1),
            'b' => self.month = Some(place(&MONTHS, 3)? + 1),
            'M' => self.minute = number()?,
            'S' => self.second = number()?,
            'j' => self.day_of_year = Some(number()?),
            'A' => self.weekday = Some(monday_based(place(&DAYS, 20)?)?),
            'a' => self.weekday = Some(monday_based(place(&DAYS, 3)?)?),
            'w' => self.weekday = Some(monday_based((number()? + 6) % 7)?),
            'u' => self.weekday = Some(monday_based(number()? - 1)?),
            'U' => self.week = Some((Weekday::Sunday, number()?)),
            'W' => self.week = Some((Weekday::Monday, number()?)),
            'G' => self.iso.0 = Some(number()?),
            'V' => self.iso.1 = Some(number()?),
            'z' => {
                let digits = text.get(1..)?;
                let minutes = parse_integer(digits).and_then(|digits| i16::try_from(digits).ok())?;
                let minutes = minutes / 100 * 60 + minutes % 100;
                self.offset_minutes = Some(if text.starts_with('-') { -minutes } else { minutes });
            }
            _ => {}
        }
        Some(())
    }

    fn moment(self) -> Option<Moment> {
        let hour = match (self.twelve, self.afternoon) {
            (None, _) => self.hour,
            (Some(twelve), Some(true)) => twelve % 12 + 12,
            (Some(twelve), _) => twelve % 12,
        };
        let date = match (self.iso, self.day_of_year, self.week, self.weekday) {
            ((Some(year), Some(week)), _, _, Some(weekday)) => {
                ISOWeekDate::new(year.try_into().ok()?, week.try_into().ok()?, weekday).ok()?.date()
            }
            // Each is only good for something together with the others.
            ((Some(_), _) | (_, Some(_)), _, _, _) => return None,
            (_, Some(day), _, _) if self.month.is_none() && self.day.is_none() => {
                super::add_days(first_day(self.year.unwrap_or(1900))?, day - 1).ok()?
            }
            (_, None, Some((first, week)), Some(weekday)) if self.year.is_some() => {
                let new_year = first_day(self.year?)?;
                // Days from new year to the first of those weekdays, with which week 1 begins.
                let to_first = i64::from(new_year.weekday().until(first));
                let days = to_first + (week - 1) * 7 + i64::from(weekday.since(first));
                super::add_days(new_year, days).ok()?
            }
            _ => {
                let year = match (self.year, self.month, self.day) {
                    (Some(year), _, _) => year,
                    // Python reads a leap day without a year in a leap year, and then puts 1900 for it.
                    (None, Some(2), Some(29)) => return None,
                    _ => 1900,
                };
                civil((year, self.month.unwrap_or(1), self.day.unwrap_or(1)), (0, 0, 0, 0))?.date()
            }
        };
        let fields = (i64::from(date.year()), i64::from(date.month()), i64::from(date.day()));
        let civil = civil(fields, (hour, self.minute, self.second, self.microsecond))?;
        Some(Moment { civil, offset_minutes: self.offset_minutes })
    }
}

fn first_day(year: i64) -> Option<Date> {
    civil((year, 1, 1), (0, 0, 0, 0)).map(|moment| moment.date())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_read_by_their_format() {
        for (text, format, expected) in [
            ("20/01/2015", "%d/%m/%Y", "2015-01-20T00:00:00"),
            ("5/1/15", "%d/%m/%y", "2015-01-05T00:00:00"),
            ("2015-01-20T10:11:12.5", "%Y-%m-%dT%H:%M:%S.%f", "2015-01-20T10:11:12.5"),
            ("112015", "%d%m%Y", "2015-01-01T00:00:00"),
            ("jan 20,   2015  1:05 PM", "%b %d, %Y %I:%M %p", "2015-01-20T13:05:00"),
            ("Tuesday 20 January 2015", "%A %d %B %Y", "2015-01-20T00:00:00"),
            ("2015 033", "%Y %j", "2015-02-02T00:00:00"),
            ("2015 1 1", "%Y %U %w", "2015-01-05T00:00:00"),
            ("2015 1 0", "%Y %W %w", "2015-01-11T00:00:00"),
            ("2015 04 2", "%G %V %u", "2015-01-20T00:00:00"),
            ("10:11", "%H:%M", "1900-01-01T10:11:00"),
            ("100% 2015", "100%% %Y", "2015-01-01T00:00:00"),
        ] {
            assert_eq!(
                parse_as(text, format).map(|moment| moment.civil.to_string()).as_deref(),
                Some(expected),
                "{text}"
            );
        }
        let with_offset = parse_as("2015-01-20 -0130", "%Y-%m-%d %z").unwrap();
        assert_eq!(with_offset.offset_minutes, Some(-90));
    }

    #[test]
    fn what_the_format_does_not_describe_is_refused() {
        for (text, format) in [
            ("20/01/2015x", "%d/%m/%Y"),
            ("2015-02-30", "%Y-%m-%d"),
            ("20", "%Q"),
            ("20", "%"),
            ("1 1", "%d %d"),
            ("0000", "%Y"),
            ("23:59:60", "%H:%M:%S"),
            ("", "%Y"),
            ("2015 04", "%G %V"),
        ] {
            assert_eq!(parse_as(text, format), None, "{text} {format}");
        }
    }
}
