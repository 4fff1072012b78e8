//! Which texts are dates that the index can hold.

/// Whether `text` is a date, or a date with a time, in ISO 8601: `2024-02-29`, `2024-02-29T13:54:07.25Z`,
/// `2024-02-29 13:54+05:30`. A time without a date is none.
pub fn is_date(text: &str) -> bool {
    let mut rest = Rest(text.as_bytes());
    let (Some(year), true) = (rest.digits(4), rest.literal(b'-')) else {
        return false;
    };
    let (Some(month), true) = (rest.digits(2), rest.literal(b'-')) else {
        return false;
    };
    let Some(day) = rest.digits(2) else {
        return false;
    };
    if year == 0 || day == 0 || day > days_in(year, month) {
        return false;
    }
    rest.is_empty() || ((rest.literal(b'T') || rest.literal(b' ')) && rest.time() && rest.zone() && rest.is_empty())
}

/// How many days a month has; 0 for what is no month.
fn days_in(year: u32, month: u32) -> u32 {
    match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        _ => 0,
    }
}

/// What of the text was not read yet.
struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn literal(&mut self, byte: u8) -> bool {
        let rest = self.0.strip_prefix(&[byte]);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    /// Exactly `count` digits as a number.
    fn digits(&mut self, count: usize) -> Option<u32> {
        let (digits, rest) = self.0.split_at_checked(count)?;
        let number = digits
            .iter()
            .try_fold(0, |number, byte| byte.is_ascii_digit().then(|| number * 10 + u32::from(byte - b'0')))?;
        self.0 = rest;
        Some(number)
    }

    /// `HH:MM`, `HH:MM:SS` or the latter with 1 to 9 digits of a second.
    fn time(&mut self) -> bool {
        if !(self.digits(2).is_some_and(|hour| hour < 24)
            && self.literal(b':')
            && self.digits(2).is_some_and(|minute| minute < 60))
        {
            return false;
        }
        if !self.literal(b':') {
            return true;
        }
        if self.digits(2).is_none_or(|second| second >= 60) {
            return false;
        }
        !self.literal(b'.') || {
            let count = self.0.iter().take_while(|byte| byte.is_ascii_digit()).count();
            self.0 = &self.0[count..];
            (1..=9).contains(&count)
        }
    }

    /// Nothing, `Z`, or an offset: `+05`, `+0530`, `+05:30`.
    fn zone(&mut self) -> bool {
        if self.is_empty() || self.literal(b'Z') {
            return true;
        }
        if !(self.literal(b'+') || self.literal(b'-')) || self.digits(2).is_none_or(|hours| hours > 18) {
            return false;
        }
        let colon = self.literal(b':');
        (self.is_empty() && !colon) || self.digits(2).is_some_and(|minutes| minutes < 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_with_and_without_a_time_are_dates() {
        for text in [
            "2013-03-09",
            "2024-02-29",
            "2000-02-29",
            "2013-03-09T06:30:09.007000Z",
            "2013-03-09T06:30:09Z",
            "2013-03-09T06:30",
            "2013-03-09 06:30:09",
            "2010-07-22T13:54:27.971+02",
            "2010-07-22T13:54:27.971000+0530",
            "2010-07-22T13:54:27-05:00",
        ] {
            assert!(is_date(text), "{text}");
        }
    }

    #[test]
    fn everything_else_is_not() {
        for text in [
            "",
            "13:54Z",
            "2013",
            "2013-3-9",
            "2013-02-29",
            "1900-02-29",
            "2013-13-01",
            "2013-00-01",
            "2013-01-00",
            "0000-01-01",
            "2013-03-09T",
            "2013-03-09T24:00",
            "2013-03-09T06:60",
            "2013-03-09T06:30:09.",
            "2013-03-09T06:30:09.1234567890",
            "2013-03-09T06:30Zx",
            "2013-03-09T06:30+05:",
            "2013-03-09T06:30+19:00",
            "2013-03-09x",
            "２０１３-03-09",
            "not a date",
        ] {
            assert!(!is_date(text), "{text}");
        }
    }
}
