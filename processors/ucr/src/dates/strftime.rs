//! Dates as text, as Python's `strftime` writes them over the GNU C library with the C locale.

use std::fmt::Write as _;

use jiff::civil::{Date, DateTime, Weekday};

use crate::value::{Moment, Value};

pub const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

pub(super) const DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

/// `None` for values that are no dates, for formats that end in a lone `%`, and for those whose result would be unreasonably long.
pub fn format(value: &Value<'_>, format: &str) -> Option<String> {
    let moment = match value {
        Value::Date(date) => Moment::naive(date.at(0, 0, 0, 0)),
        Value::DateTime(moment) => *moment,
        Value::Time(time) => Moment::naive(Date::constant(1900, 1, 1).to_datetime(*time)),
        _ => return None,
    };
    let mut out = String::with_capacity(format.len() + 16);
    let mut rest = format.chars();
    while let Some(c) = rest.next() {
        if out.len() > 100_000 {
            return None;
        }
        if c != '%' {
            out.push(c);
            continue;
        }
        let behind = rest.as_str();
        // Python refuses a format that ends in a lone sign.
        if behind.is_empty() {
            return None;
        }
        match Directive::read(&mut rest) {
            Some(directive) if directive.write(&moment, &mut out).is_some() => {}
            // What is no directive stays as it is.
            _ => {
                out.push('%');
                rest = behind.chars();
            }
        }
    }
    Some(out)
}

struct Directive {
    pad: Option<char>,
    upper: bool,
    width: Option<usize>,
    letter: char,
}

impl Directive {
    fn read(rest: &mut std::str::Chars<'_>) -> Option<Self> {
        let (mut pad, mut upper, mut width) = (None, false, None);
        loop {
            let letter = rest.next()?;
            match letter {
                '-' | '_' => pad = Some(letter),
                '0' if width.is_none() => pad = Some(letter),
                '^' => upper = true,
                '0'..='9' => {
                    let digit = letter.to_digit(10).and_then(|digit| usize::try_from(digit).ok())?;
                    width = Some(width.unwrap_or(0) * 10 + digit);
                    if width > Some(1000) {
                        return None;
                    }
                }
                'E' | 'O' if rest.as_str().starts_with(|next: char| next.is_ascii_alphabetic()) => {}
                letter => return Some(Self { pad, upper, width, letter }),
            }
        }
    }

    fn write(&self, moment: &Moment, out: &mut String) -> Option<()> {
        let civil = moment.civil;
        let date = civil.date();
        let number = |value: i64, width: usize, pad: char| Part::Number { value, width, pad };
        let part = match self.letter {
            'a' => Part::Text(DAYS.get(weekday(date))?.get(..3)?.to_owned()),
            'A' => Part::Text((*DAYS.get(weekday(date))?).to_owned()),
            'b' | 'h' => Part::Text(month_name(date)?.get(..3)?.to_owned()),
            'B' => Part::Text(month_name(date)?.to_owned()),
            'c' => Part::Text(format(&Value::DateTime(*moment), "%a %b %e %H:%M:%S %Y")?),
            'C' => number(i64::from(date.year()) / 100, 2, '0'),
            'd' => number(date.day().into(), 2, '0'),
            'D' | 'x' => Part::Text(format(&Value::DateTime(*moment), "%m/%d/%y")?),
            'e' => number(date.day().into(), 2, ' '),
            'f' => Part::Text(format!("{:06}", civil.subsec_nanosecond() / 1000)),
            'F' => Part::Text(format(&Value::DateTime(*moment), "%Y-%m-%d")?),
            'g' => number(iso_week(date).0.rem_euclid(100), 2, '0'),
            'G' => number(iso_week(date).0, 0, '0'),
            'H' => number(civil.hour().into(), 2, '0'),
            'I' => number(twelve(civil), 2, '0'),
            'j' => number(date.day_of_year().into(), 3, '0'),
            'k' => number(civil.hour().into(), 2, ' '),
            'l' => number(twelve(civil), 2, ' '),
            'm' => number(date.month().into(), 2, '0'),
            'M' => number(civil.minute().into(), 2, '0'),
            'n' => Part::Text("\n".to_owned()),
            'p' => Part::Text(half(civil).to_owned()),
            'P' => Part::Text(half(civil).to_ascii_lowercase()),
            'r' => Part::Text(format(&Value::DateTime(*moment), "%I:%M:%S %p")?),
            'R' => Part::Text(format(&Value::DateTime(*moment), "%H:%M")?),
            's' => number(civil.duration_since(DateTime::constant(1970, 1, 1, 0, 0, 0, 0)).as_secs(), 0, '0'),
            'S' => number(civil.second().into(), 2, '0'),
            't' => Part::Text("\t".to_owned()),
            'T' | 'X' => Part::Text(format(&Value::DateTime(*moment), "%H:%M:%S")?),
            'u' => number(i64::from(date.weekday().to_monday_one_offset()), 0, '0'),
            'U' => number(week_from(date, Weekday::Sunday), 2, '0'),
            'V' => number(iso_week(date).1, 2, '0'),
            'w' => number(i64::from(date.weekday().to_sunday_zero_offset()), 0, '0'),
            'W' => number(week_from(date, Weekday::Monday), 2, '0'),
            'y' => number(i64::from(date.year()).rem_euclid(100), 2, '0'),
            // Not filled up: the C library writes the year 5 as "5".
            'Y' => number(date.year().into(), 0, '0'),
            'z' => Part::Text(offset(moment, "")),
            'Z' => Part::Text(zone_name(moment)),
            '%' => Part::Text("%".to_owned()),
            _ => return None,
        };
        match part {
            Part::Text(text) => {
                let text = if self.upper { text.to_uppercase() } else { text };
                let fill = if self.pad == Some('0') { '0' } else { ' ' };
                let missing = self.width.unwrap_or(0).saturating_sub(text.chars().count());
                out.extend(std::iter::repeat_n(fill, missing));
                out.push_str(&text);
            }
            Part::Number { value, width, pad } => {
                let digits = value.to_string();
                let (fill, width) = match self.pad {
                    Some('-') => (pad, 0),
                    Some('_') => (' ', width),
                    Some(_) => ('0', width),
                    None => (pad, width),
                };
                let missing = self.width.unwrap_or(width).saturating_sub(digits.len());
                out.extend(std::iter::repeat_n(fill, missing));
                out.push_str(&digits);
            }
        }
        Some(())
    }
}

enum Part {
    Text(String),
    Number { value: i64, width: usize, pad: char },
}

fn month_name(date: Date) -> Option<&'static str> {
    MONTHS.get(usize::try_from(date.month() - 1).ok()?).copied()
}

fn weekday(date: Date) -> usize {
    usize::try_from(date.weekday().to_monday_zero_offset()).unwrap_or(0)
}

fn twelve(civil: DateTime) -> i64 {
    (i64::from(civil.hour()) + 11) % 12 + 1
}

fn half(civil: DateTime) -> &'static str {
    if civil.hour() < 12 { "AM" } else { "PM" }
}

fn iso_week(date: Date) -> (i64, i64) {
    let week = date.iso_week_date();
    (week.year().into(), week.week().into())
}

/// Number of the week of the year, where the first such weekday begins week 1.
fn week_from(date: Date, first: Weekday) -> i64 {
    let since = i64::from(date.weekday().since(first));
    (i64::from(date.day_of_year()) + 6 - since) / 7
}

fn offset(moment: &Moment, separator: &str) -> String {
    let mut text = String::new();
    if let Some(minutes) = moment.offset_minutes {
        let sign = if minutes < 0 { '-' } else { '+' };
        let minutes = minutes.abs();
        // Writing to a text cannot fail.
        let _written = write!(text, "{sign}{:02}{separator}{:02}", minutes / 60, minutes % 60);
    }
    text
}

/// As Python names the zones that it makes of offsets.
fn zone_name(moment: &Moment) -> String {
    match moment.offset_minutes {
        None => String::new(),
        Some(0) => "UTC".to_owned(),
        Some(_) => offset(moment, ":"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;

    fn written(format_text: &str) -> String {
        let moment = Moment::naive(date(2015, 1, 5).at(13, 2, 3, 4000));
        format(&Value::DateTime(moment), format_text).unwrap()
    }

    #[test]
    fn directives_are_those_of_the_c_locale() {
        for (text, expected) in [
            ("%Y-%m-%d %H:%M:%S.%f", "2015-01-05 13:02:03.000004"),
            ("%d/%m/%Y", "05/01/2015"),
            ("%B %Y", "January 2015"),
            ("%a %A %b", "Mon Monday Jan"),
            ("%I:%M %p", "01:02 PM"),
            ("%j %U %W %V %G %u %w", "005 01 01 02 2015 1 1"),
            ("%c|%x|%X", "Mon Jan  5 13:02:03 2015|01/05/15|13:02:03"),
            ("%-d %_d %e %y %C", "5  5  5 15 20"),
            ("%^a %5d", "MON 00005"),
            ("100%% %Q", "100% %Q"),
            ("%z%Z", ""),
            ("", ""),
        ] {
            assert_eq!(written(text), expected, "{text}");
        }
    }

    #[test]
    fn early_years_are_not_filled_up_and_offsets_are_written() {
        assert_eq!(format(&Value::Date(date(5, 1, 1)), "%Y-%f").as_deref(), Some("5-000000"));
        let moment = Moment { civil: date(2015, 1, 5).at(0, 0, 0, 0), offset_minutes: Some(-90) };
        assert_eq!(format(&Value::DateTime(moment), "%z %Z").as_deref(), Some("-0130 -01:30"));
    }

    #[test]
    fn only_dates_can_be_written() {
        assert_eq!(format(&Value::text("2015-01-05"), "%Y"), None);
        assert_eq!(format(&Value::Null, "%Y"), None);
    }
}
