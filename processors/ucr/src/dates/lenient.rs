//! Dates and times as people and other programs write them.

use jiff::civil::{Date, DateTime};

use super::arithmetic::{add_duration, civil};
use super::strftime::MONTHS;
use super::strict::{Scan, parse_date, parse_strict};
use crate::value::{Duration, Moment};

/// A date, or a date and time, as a naive moment in UTC: the strict forms of [`parse_date`], then ISO 8601 with `T` or
/// a space, any fraction (cut behind six digits) and any offset, `20150120`, and the American forms `1/20/2015`,
/// `Jan 20 2015` and `20 January 2015`, all with or without a time (also `1:30 pm`). `None` for everything else.
pub fn parse_datetime(text: &str) -> Option<Moment> {
    let (moment, offset) = read(text)?;
    let back = Duration { microseconds: -offset.unwrap_or(0) * 60_000_000 };
    add_duration(moment, back).ok()
}

/// A moment as the original's library reads a text for which it knows today's date: the forms of [`parse_datetime`], but
/// none with a zone, and those that say only a day of this month (`5`), a year (`2015`) or a time (`10:11`).
pub fn parse_filled(text: &str, today: Date) -> Option<DateTime> {
    match read(text) {
        Some((moment, offset)) => offset.is_none().then_some(moment.civil),
        None if text.len() <= 200 => filled(text.trim(), today),
        None => None,
    }
}

fn filled(text: &str, today: Date) -> Option<DateTime> {
    let (year, month, day) = (i64::from(today.year()), i64::from(today.month()), i64::from(today.day()));
    let mut scan = Scan(text);
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit());
    // A fraction of a day is ignored.
    let fraction = text.split_once('.').filter(|(whole, fraction)| whole.len() <= 2 && is_digits(fraction));
    if is_digits(fraction.map_or(text, |(whole, _)| whole)) {
        let number = (digits <= 4).then(|| scan.ascii(1, 4))??;
        let date = match number {
            // The nearest year that ends so.
            32..=99 if digits <= 2 => (year + (number - year + 50).rem_euclid(100) - 50, month, day),
            _ if digits <= 2 => (year, month, number),
            _ => (number, month, day),
        };
        return civil(date, (0, 0, 0, 0));
    }
    let time = (digits <= 2).then(|| read_time(&mut scan))??;
    scan.0.is_empty().then(|| civil((year, month, day), time))?
}

/// What a text says, as it stands there, and its offset in minutes, if it says one.
fn read(text: &str) -> Option<(Moment, Option<i64>)> {
    // A time needs more than a date has.
    if text.len() > "YYYY-MM-DD".len()
        && let Some(moment) = parse_strict(text)
    {
        return Some((moment, Some(0)));
    }
    if let Some(date) = parse_date(text) {
        return Some((Moment::naive(date.at(0, 0, 0, 0)), None));
    }
    // No form is longer than this, but for the digits of a fraction.
    if text.len() > 200 {
        return None;
    }
    let mut scan = Scan(text.trim());
    let date = iso_date(&mut scan).or_else(|| us_date(&mut scan)).or_else(|| named_date(&mut scan))?;
    let (time, offset) = time_and_offset(&mut scan)?;
    Some((Moment::naive(civil(date, time)?), offset))
}

fn iso_date(scan: &mut Scan<'_>) -> Option<(i64, i64, i64)> {
    let mut ahead = Scan(scan.0);
    let year = ahead.ascii(4, 4)?;
    let (month, day) = match ahead.0.chars().next()? {
        separator @ ('-' | '/' | '.') => {
            ahead.exact(separator)?;
            let month = ahead.ascii(1, 2)?;
            ahead.exact(separator)?;
            (month, ahead.ascii(1, 2)?)
        }
        _ => (ahead.ascii(2, 2)?, ahead.ascii(2, 2)?),
    };
    if ahead.0.starts_with(|next: char| next.is_ascii_digit()) {
        return None;
    }
    scan.0 = ahead.0;
    Some((year, month, day))
}

/// Month before day, unless the first number can only be a day.
fn us_date(scan: &mut Scan<'_>) -> Option<(i64, i64, i64)> {
    let mut ahead = Scan(scan.0);
    let first = ahead.ascii(1, 2)?;
    let separator = ahead.0.chars().next().filter(|next| matches!(next, '/' | '-' | '.'))?;
    ahead.exact(separator)?;
    let second = ahead.ascii(1, 2)?;
    ahead.exact(separator)?;
    let year = ahead.ascii(4, 4)?;
    scan.0 = ahead.0;
    Some(if first > 12 { (year, second, first) } else { (year, first, second) })
}

fn named_date(scan: &mut Scan<'_>) -> Option<(i64, i64, i64)> {
    let mut ahead = Scan(scan.0);
    let gap = |ahead: &mut Scan<'_>| ahead.0 = ahead.0.trim_start_matches([' ', ',', '-']);
    let day = ahead.ascii(1, 2);
    gap(&mut ahead);
    let month = month(&mut ahead)?;
    gap(&mut ahead);
    let day = match day {
        Some(day) => day,
        None => ahead.ascii(1, 2)?,
    };
    gap(&mut ahead);
    let year = ahead.ascii(4, 4)?;
    scan.0 = ahead.0;
    Some((year, month, day))
}

/// An English month, in full or its first three letters.
fn month(scan: &mut Scan<'_>) -> Option<i64> {
    let length = scan.0.bytes().take_while(u8::is_ascii_alphabetic).count();
    let (word, rest) = scan.0.split_at_checked(length)?;
    let number = MONTHS.iter().zip(1..).find_map(|(name, number)| {
        let short = name.get(..3)?;
        (word.eq_ignore_ascii_case(name) || word.eq_ignore_ascii_case(short)).then_some(number)
    })?;
    scan.0 = rest.strip_prefix('.').unwrap_or(rest);
    Some(number)
}

type Time = (i64, i64, i64, i64);

/// The rest of a text behind its date: nothing, an offset, or a time with or without one; the offset in minutes.
fn time_and_offset(scan: &mut Scan<'_>) -> Option<(Time, Option<i64>)> {
    let mut time = None;
    if scan.letter('t').is_some() || scan.0.starts_with([' ', ',']) {
        scan.0 = scan.0.trim_start_matches([' ', ',']);
        if scan.0.starts_with(|next: char| next.is_ascii_digit()) {
            time = Some(read_time(scan)?);
        }
    }
    scan.0 = scan.0.trim_start();
    // A zone without a time is no date to the original's library.
    let Some(time) = time else { return scan.0.is_empty().then_some(((0, 0, 0, 0), None)) };
    let utc = scan.letter('z').is_some() || scan.word("UTC") || scan.word("GMT");
    let offset = match utc {
        true => Some(0),
        false if scan.0.is_empty() => None,
        false => Some(i64::from(scan.offset()?)),
    };
    scan.0.is_empty().then_some((time, offset))
}

fn read_time(scan: &mut Scan<'_>) -> Option<Time> {
    let compact = scan.0.bytes().take_while(u8::is_ascii_digit).count() >= 4;
    let hour = scan.ascii(1, 2)?;
    let (mut minute, mut second, mut microsecond) = (0, 0, 0);
    if compact || scan.exact(':').is_some() {
        minute = scan.ascii(if compact { 2 } else { 1 }, 2)?;
        let seconds =
            if compact { scan.0.starts_with(|next: char| next.is_ascii_digit()) } else { scan.exact(':').is_some() };
        if seconds {
            second = scan.ascii(if compact { 2 } else { 1 }, 2)?;
            if scan.exact('.').or_else(|| scan.exact(',')).is_some() {
                microsecond = scan.fraction(usize::MAX)?;
            }
        }
    }
    let half = scan.0.trim_start();
    let afternoon = match half.get(..2).map(str::to_ascii_lowercase).as_deref() {
        Some("am") => Some(false),
        Some("pm") => Some(true),
        _ => None,
    };
    let hour = match afternoon {
        Some(_) if !(1..=12).contains(&hour) => return None,
        Some(afternoon) => {
            scan.0 = half.get(2..)?;
            hour % 12 + if afternoon { 12 } else { 0 }
        }
        None => hour,
    };
    Some((hour, minute, second, microsecond))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_people_and_programs_are_read() {
        for (text, expected) in [
            ("2015-01-20", "2015-01-20T00:00:00"),
            ("2015-1-5", "2015-01-05T00:00:00"),
            (" 2015-01-20 ", "2015-01-20T00:00:00"),
            ("2015-01-20T", "2015-01-20T00:00:00"),
            ("2015-01-20T10:11:12.123456Z", "2015-01-20T10:11:12.123456"),
            ("2015-01-20T10:11:12.1234567Z", "2015-01-20T10:11:12.123456"),
            ("2015-01-20T10:11:12.5+05:30", "2015-01-20T04:41:12.5"),
            ("2015-01-20T23:30:00-05:00", "2015-01-21T04:30:00"),
            ("2015-01-20 10:11:12", "2015-01-20T10:11:12"),
            ("2015-01-20T10:11Z", "2015-01-20T10:11:00"),
            ("2020-03-12T20:33:49.134+02", "2020-03-12T18:33:49.134"),
            ("2015-01-20T10:11:12+0530", "2015-01-20T04:41:12"),
            ("2015-01-20 10:11:12 +0100", "2015-01-20T09:11:12"),
            ("20150120", "2015-01-20T00:00:00"),
            ("20150120T101112Z", "2015-01-20T10:11:12"),
            ("Jan 20 2015", "2015-01-20T00:00:00"),
            ("20 january 2015 1:30 PM", "2015-01-20T13:30:00"),
            ("01/02/2015", "2015-01-02T00:00:00"),
            ("20/01/2015 12:05 am", "2015-01-20T00:05:00"),
        ] {
            let read = parse_datetime(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!((read.civil.to_string().as_str(), read.offset_minutes), (expected, None), "{text}");
        }
    }

    #[test]
    fn what_a_text_leaves_out_is_taken_from_today() {
        let today = jiff::civil::date(2021, 6, 15);
        for (text, expected) in [
            ("2015-01-20", "2015-01-20T00:00:00"),
            ("2015-01-20 10:11:12", "2015-01-20T10:11:12"),
            ("5", "2021-06-05T00:00:00"),
            (" 30 ", "2021-06-30T00:00:00"),
            ("32", "2032-06-15T00:00:00"),
            ("70", "2070-06-15T00:00:00"),
            ("71", "1971-06-15T00:00:00"),
            ("100", "0100-06-15T00:00:00"),
            ("2015", "2015-06-15T00:00:00"),
            ("3.14159", "2021-06-03T00:00:00"),
            ("32.5", "2032-06-15T00:00:00"),
            ("10:11", "2021-06-15T10:11:00"),
            ("1:5", "2021-06-15T01:05:00"),
            ("10:11:12.5", "2021-06-15T10:11:12.5"),
            ("5pm", "2021-06-15T17:00:00"),
        ] {
            assert_eq!(parse_filled(text, today).map(|read| read.to_string()).as_deref(), Some(expected), "{text}");
        }
        for text in [
            "",
            "0",
            "00",
            "31",
            "0.5",
            "1e3",
            "2015.1",
            "12345",
            "10:11Z",
            "10:11+01:00",
            "24:00",
            "red",
            "N",
            "-",
            "2015-01-20T10:11:12Z",
            "2015-01-20T10:11:12+00:00",
        ] {
            assert_eq!(parse_filled(text, today), None, "{text}");
        }
    }

    #[test]
    fn what_is_no_complete_date_is_not_read() {
        for text in [
            "",
            " ",
            "abc",
            "5",
            "2015",
            "10:11",
            "10:11:12",
            "1.5",
            "1,5",
            "2015-02-30",
            "2015-01-20T25:00:00Z",
            "2015-01-20x",
            "0001-01-01T00:00:00+01:00",
            "99999999999999999999",
            "日本語",
            "2015-01-20T10:11:12+25:00",
            "Foo 20 2015",
            "2015-01-20Z",
            "2015-01-20TZ",
            "20150120 UTC",
            "2015-1-5 +05",
        ] {
            assert_eq!(parse_datetime(text), None, "{text}");
        }
    }
}
