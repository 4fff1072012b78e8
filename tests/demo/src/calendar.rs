//! Dates of the made-up years, without a clock.

use std::fmt;

/// A moment, in microseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub u64);

const SECOND: u64 = 1_000_000;
const DAY: u64 = 86_400 * SECOND;

impl Moment {
    /// 1 November 2012: when the oldest of the forms are filled in.
    pub const START: Self = Self(15_645 * DAY);

    /// Later by so many seconds.
    pub fn plus_seconds(self, seconds: u64) -> Self {
        Self(self.0 + seconds * SECOND)
    }

    /// Later by so many days.
    pub fn plus_days(self, days: u64) -> Self {
        Self(self.0 + days * DAY)
    }

    /// Earlier by so many seconds.
    pub fn minus_seconds(self, seconds: u64) -> Self {
        Self(self.0.saturating_sub(seconds * SECOND))
    }

    /// Earlier by so many days.
    pub fn minus_days(self, days: u64) -> Self {
        Self(self.0.saturating_sub(days * DAY))
    }

    /// The year.
    pub fn year(self) -> u64 {
        self.civil().0
    }

    /// `2013-03-09`.
    pub fn date(self) -> String {
        let (year, month, day) = self.civil();
        format!("{year:04}-{month:02}-{day:02}")
    }

    /// Year, month and day. From Howard Hinnant's `civil_from_days`, for days after the epoch.
    fn civil(self) -> (u64, u64, u64) {
        let days = self.0 / DAY + 719_468;
        let era = days / 146_097;
        let day_of_era = days % 146_097;
        let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
        let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
        (year_of_era + era * 400 + u64::from(month <= 2), month, day)
    }
}

/// As CommCare writes it: `2013-03-09T06:30:09.007000Z`.
impl fmt::Display for Moment {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of_day = self.0 % DAY;
        let (hour, minute) = (of_day / (3_600 * SECOND), of_day / (60 * SECOND) % 60);
        let (second, fraction) = (of_day / SECOND % 60, of_day % SECOND);
        write!(formatter, "{}T{hour:02}:{minute:02}:{second:02}.{fraction:06}Z", self.date())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_counted_as_in_the_calendar() {
        assert_eq!(Moment::START.to_string(), "2012-11-01T00:00:00.000000Z");
        assert_eq!(Moment::START.plus_days(1_215).date(), "2016-02-29");
        assert_eq!(Moment::START.plus_days(1_216).date(), "2016-03-01");
        assert_eq!(Moment(951_782_400 * SECOND + 7).to_string(), "2000-02-29T00:00:00.000007Z");
        assert_eq!(Moment::START.minus_days(1).date(), "2012-10-31");
    }
}
