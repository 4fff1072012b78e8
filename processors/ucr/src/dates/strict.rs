//! The forms in which the original itself writes dates, and ISO 8601.

use jiff::civil::Date;

use super::arithmetic::civil;
use crate::number::unicode_digit;
use crate::value::Moment;

/// `YYYY-MM-DD`, or the date of `YYYY-MM-DDTHH:MM:SS[.ffffff]Z`. One digit is enough for every field but the year.
pub fn parse_date(text: &str) -> Option<Date> {
    // What a document nearly always holds.
    if let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = text.as_bytes() {
        if let (Some(year), Some(month), Some(day)) =
            (digits_of(&[*y1, *y2, *y3, *y4]), digits_of(&[*m1, *m2]), digits_of(&[*d1, *d2]))
        {
            return civil((year, month, day), (0, 0, 0, 0)).map(|moment| moment.date());
        }
    }
    if let Some(moment) = usual(text.as_bytes()) {
        return Some(moment.civil.date());
    }
    let mut scan = Scan(text);
    let date = scan.date()?;
    if scan.0.is_empty() {
        return civil(date, (0, 0, 0, 0)).map(|moment| moment.date());
    }
    parse_strict(text).map(|moment| moment.civil.date())
}

/// `YYYY-MM-DDTHH:MM:SSZ` or `YYYY-MM-DDTHH:MM:SS.fZ` with one to six digits.
pub(super) fn parse_strict(text: &str) -> Option<Moment> {
    if let Some(moment) = usual(text.as_bytes()) {
        return Some(moment);
    }
    let mut scan = Scan(text);
    let date = scan.date()?;
    scan.letter('t')?;
    let hour = scan.number(2)?;
    scan.exact(':')?;
    let minute = scan.number(2)?;
    scan.exact(':')?;
    let second = scan.number(2)?;
    let microsecond = if scan.exact('.').is_some() { scan.fraction(6)? } else { 0 };
    scan.letter('z')?;
    if !scan.0.is_empty() {
        return None;
    }
    civil(date, (hour, minute, second, microsecond)).map(Moment::naive)
}

/// What documents nearly always hold: two ASCII digits for every field, and `T` and `Z` as they are; `None` for all
/// else, which may still be a time.
fn usual(text: &[u8]) -> Option<Moment> {
    let (time, fraction) = text.strip_suffix(b"Z")?.split_first_chunk::<19>()?;
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2, b'T', h1, h2, b':', i1, i2, b':', s1, s2] = time else {
        return None;
    };
    let microsecond = match fraction.split_first() {
        None => 0,
        Some((b'.', digits)) if (1..=6).contains(&digits.len()) => {
            digits_of(digits)? * 10_i64.pow(6_u32.saturating_sub(u32::try_from(digits.len()).ok()?))
        }
        Some(_) => return None,
    };
    let date = (digits_of(&[*y1, *y2, *y3, *y4])?, digits_of(&[*m1, *m2])?, digits_of(&[*d1, *d2])?);
    let clock = (digits_of(&[*h1, *h2])?, digits_of(&[*i1, *i2])?, digits_of(&[*s1, *s2])?, microsecond);
    civil(date, clock).map(Moment::naive)
}

fn digits_of(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0_i64, |sum, digit| match digit {
        b'0'..=b'9' => Some(sum * 10 + i64::from(digit - b'0')),
        _ => None,
    })
}

/// ISO 8601 as the evaluator's `date()` reads it: a year alone up to a time with an offset, UTC where none is given.
pub fn parse_iso(text: &str) -> Option<Moment> {
    // Its pattern ends in `$`, which also stands before a last line break.
    let mut scan = Scan(text.strip_suffix('\n').unwrap_or(text));
    let year = scan.ascii(4, 4)?;
    let (mut month, mut day, mut time, mut offset) = (1, 1, (0, 0, 0, 0), 0);
    if !scan.0.is_empty() {
        let dashed = scan.exact('-').is_some();
        month = if dashed { scan.ascii(1, 2)? } else { scan.ascii(2, 2)? };
        if !dashed && scan.0.is_empty() {
            return None;
        }
        if !scan.0.is_empty() {
            day = if scan.exact('-').is_some() { scan.ascii(1, 2)? } else { scan.ascii(2, 2)? };
        }
        if !scan.0.is_empty() {
            scan.exact('T').or_else(|| scan.exact(' '))?;
            time.0 = scan.ascii(2, 2)?;
            if let Some(minute) = scan.colon_and(2) {
                time.1 = minute;
                if let Some(second) = scan.colon_and(1) {
                    time.2 = second;
                    if scan.exact('.').or_else(|| scan.exact(',')).is_some() {
                        time.3 = scan.fraction(usize::MAX)?;
                    }
                }
            }
            offset = if scan.0.is_empty() { 0 } else { scan.offset()? };
        }
    }
    if !scan.0.is_empty() {
        return None;
    }
    let zero_is_absent = |field: i64| if field == 0 { 1 } else { field };
    // The original takes a zero for a field that is not there.
    let civil = civil((year, zero_is_absent(month), zero_is_absent(day)), time)?;
    Some(Moment { civil, offset_minutes: Some(offset) })
}

/// What is left of a text that is being read.
pub(super) struct Scan<'t>(pub(super) &'t str);

impl Scan<'_> {
    pub(super) fn exact(&mut self, wanted: char) -> Option<()> {
        self.0 = self.0.strip_prefix(wanted)?;
        Some(())
    }

    pub(super) fn letter(&mut self, lower: char) -> Option<()> {
        self.0 = self.0.strip_prefix([lower, lower.to_ascii_uppercase()])?;
        Some(())
    }

    pub(super) fn word(&mut self, word: &str) -> bool {
        let behind = self.0.strip_prefix(word);
        self.0 = behind.unwrap_or(self.0);
        behind.is_some()
    }

    /// `YYYY-M-D` as `strptime` reads it: digits of any script, a space before a day of one digit.
    fn date(&mut self) -> Option<(i64, i64, i64)> {
        let mut year = 0;
        for _ in 0..4 {
            year = year * 10 + self.digit()?;
        }
        self.exact('-')?;
        let month = self.number(2)?;
        self.exact('-')?;
        let spaced = self.exact(' ').is_some();
        let day = self.number(if spaced { 1 } else { 2 })?;
        Some((year, month, day))
    }

    /// One to so many digits of any script.
    pub(super) fn number(&mut self, most: usize) -> Option<i64> {
        let mut number = self.digit()?;
        for _ in 1..most {
            match self.digit() {
                Some(digit) => number = number * 10 + digit,
                None => break,
            }
        }
        Some(number)
    }

    pub(super) fn ascii(&mut self, least: usize, most: usize) -> Option<i64> {
        let length = self.0.bytes().take(most).take_while(u8::is_ascii_digit).count();
        if length < least {
            return None;
        }
        let (digits, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        digits.parse().ok()
    }

    fn digit(&mut self) -> Option<i64> {
        let c = self.0.chars().next()?;
        let digit = unicode_digit(c)?;
        self.0 = self.0.get(c.len_utf8()..)?;
        Some(i64::from(digit))
    }

    /// Digits behind a point as microseconds, cut behind the sixth; more than `most` of them are refused.
    pub(super) fn fraction(&mut self, most: usize) -> Option<i64> {
        let length = self.0.bytes().take_while(u8::is_ascii_digit).count();
        if length == 0 || length > most {
            return None;
        }
        let (digits, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        let digits = digits.bytes().chain(std::iter::repeat(b'0')).take(6);
        Some(digits.fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0')))
    }

    /// `:MM` or `MM`; nothing is read where that is not what follows.
    fn colon_and(&mut self, least: usize) -> Option<i64> {
        let before = self.0;
        let colon = self.exact(':').is_some();
        let number = self.ascii(least, 2);
        if number.is_none() {
            self.0 = before;
        }
        number.filter(|_| colon || least > 0)
    }

    /// `Z`, `+HH`, `+HHMM` or `+HH:MM`, in minutes.
    pub(super) fn offset(&mut self) -> Option<i16> {
        if self.exact('Z').is_some() {
            return Some(0);
        }
        let sign = if self.exact('-').is_some() {
            -1
        } else {
            self.exact('+')?;
            1
        };
        let hours = self.ascii(2, 2)?;
        let before = self.0;
        let colon = self.exact(':').is_some();
        let minutes = match self.ascii(2, 2) {
            Some(minutes) => minutes,
            None if colon => {
                self.0 = before.strip_prefix(':')?;
                0
            }
            None => 0,
        };
        let offset = sign * (hours * 60 + minutes);
        // Python's time zones end below a full day.
        i16::try_from(offset).ok().filter(|offset| offset.abs() < 24 * 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;

    #[test]
    fn a_date_is_read_from_its_own_form_and_from_that_of_timestamps() {
        for (text, expected) in [
            ("2015-01-20", Some(date(2015, 1, 20))),
            ("2015-1-5", Some(date(2015, 1, 5))),
            ("2015-1- 5", Some(date(2015, 1, 5))),
            ("0001-01-01", Some(date(1, 1, 1))),
            ("٢٠١٥-01-20", Some(date(2015, 1, 20))),
            ("2015-01-20T23:30:00Z", Some(date(2015, 1, 20))),
            ("2015-01-20T1:2:3.5Z", Some(date(2015, 1, 20))),
            ("2015-01-20t10:11:12z", Some(date(2015, 1, 20))),
            ("2015-02-30", None),
            ("0000-01-01", None),
            ("2015-13-01", None),
            ("15-01-20", None),
            (" 2015-01-20", None),
            ("2015-01-20 ", None),
            ("2015-01-20 10:11:12", None),
            ("2015-01-20T10:11:12+05:30", None),
            ("2015-01-20T10:11:12.1234567Z", None),
            ("2015-01-20T10:11:12.Z", None),
            ("2015-01-20T25:00:00Z", None),
            ("2015-01-20T10:11Z", None),
            ("", None),
        ] {
            assert_eq!(parse_date(text), expected, "{text}");
        }
    }

    #[test]
    fn iso_8601_is_read_with_its_offset() {
        let read = |text| {
            let moment = parse_iso(text)?;
            Some((moment.civil.to_string(), moment.offset_minutes?))
        };
        for (text, civil, offset) in [
            ("2015-01-20", "2015-01-20T00:00:00", 0),
            ("2015", "2015-01-01T00:00:00", 0),
            ("2015-3", "2015-03-01T00:00:00", 0),
            ("20150120", "2015-01-20T00:00:00", 0),
            ("2015-01-20T10:11:12.1234567Z", "2015-01-20T10:11:12.123456", 0),
            ("2015-01-20 10:11", "2015-01-20T10:11:00", 0),
            ("2015-01-20T101112+0530", "2015-01-20T10:11:12", 330),
            ("2015-01-20T10-03", "2015-01-20T10:00:00", -180),
            ("2015-01-20T10:11:12,5-03:30", "2015-01-20T10:11:12.5", -210),
        ] {
            assert_eq!(read(text), Some((civil.to_owned(), offset)), "{text}");
        }
        for text in
            ["", "bad", "201501", "2015-01-20T", "2015-01-20x", "2015-02-30", "2015-01-20T10:11:12+25:00", "20/01/2015"]
        {
            assert_eq!(parse_iso(text), None, "{text}");
        }
    }
}
