//! Arithmetic on dates, within the years that Python's dates have.

use jiff::civil::{Date, DateTime};
use jiff::{SignedDuration, Span};

use crate::EvalError;
use crate::value::{Duration, Moment};

const MICROSECONDS_PER_DAY: i64 = 86_400_000_000;

/// # Errors
///
/// A result outside the years 1 to 9999.
pub fn add_days(date: Date, days: i64) -> Result<Date, EvalError> {
    let span = Span::new().try_days(days).map_err(|_outside| out_of_range())?;
    in_range(date.checked_add(span).map_err(|_outside| out_of_range())?)
}

/// The same day of another month, or that month's last day where it is shorter.
///
/// # Errors
///
/// A result outside the years 1 to 9999.
pub fn add_months(date: Date, months: i64) -> Result<Date, EvalError> {
    let span = Span::new().try_months(months).map_err(|_outside| out_of_range())?;
    in_range(date.checked_add(span).map_err(|_outside| out_of_range())?)
}

/// # Errors
///
/// A result outside the years 1 to 9999.
pub fn add_hours(moment: Moment, hours: i64) -> Result<Moment, EvalError> {
    let microseconds = hours.checked_mul(3_600_000_000).ok_or_else(out_of_range)?;
    add_duration(moment, Duration { microseconds })
}

/// # Errors
///
/// A result outside the years 1 to 9999.
pub fn add_duration(moment: Moment, duration: Duration) -> Result<Moment, EvalError> {
    let distance = SignedDuration::from_micros(duration.microseconds);
    let civil = moment.civil.checked_add(distance).map_err(|_outside| out_of_range())?;
    in_range(civil.date())?;
    Ok(Moment { civil, ..moment })
}

pub fn month_start(date: Date) -> Result<Date, EvalError> {
    Ok(date.first_of_month())
}

pub fn month_end(date: Date) -> Result<Date, EvalError> {
    Ok(date.last_of_month())
}

pub fn days_between(from: Date, to: Date) -> i64 {
    to.duration_since(from).as_secs() / 86_400
}

impl Duration {
    /// `None` beyond what Python's `timedelta` holds.
    pub fn from_days(days: i64) -> Option<Self> {
        days.checked_mul(MICROSECONDS_PER_DAY).and_then(Self::from_microseconds)
    }

    /// `None` beyond what Python's `timedelta` holds, or 292 000 years.
    pub fn from_microseconds(microseconds: i64) -> Option<Self> {
        Some(Self { microseconds })
    }

    /// Whole days, rounded down.
    pub fn days(self) -> i64 {
        self.microseconds.div_euclid(MICROSECONDS_PER_DAY)
    }
}

pub(super) fn in_range(date: Date) -> Result<Date, EvalError> {
    if date.year() >= 1 { Ok(date) } else { Err(out_of_range()) }
}

/// A date and time in Python's range; `None` for fields that no date has.
pub(super) fn civil(date: (i64, i64, i64), time: (i64, i64, i64, i64)) -> Option<DateTime> {
    let (year, month, day) = date;
    let (hour, minute, second, microsecond) = time;
    let date = Date::new(year.try_into().ok()?, month.try_into().ok()?, day.try_into().ok()?).ok()?;
    let nanosecond = i32::try_from(microsecond).ok()?.checked_mul(1000)?;
    let (hour, minute, second) = (hour.try_into().ok()?, minute.try_into().ok()?, second.try_into().ok()?);
    let time = jiff::civil::Time::new(hour, minute, second, nanosecond).ok()?;
    in_range(date).ok().map(|date| date.to_datetime(time))
}

fn out_of_range() -> EvalError {
    EvalError::Overflow("date value out of range".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;

    #[test]
    fn months_are_clamped_to_their_last_day() {
        assert_eq!(add_months(date(2015, 1, 31), 1).unwrap(), date(2015, 2, 28));
        assert_eq!(add_months(date(2016, 1, 31), 1).unwrap(), date(2016, 2, 29));
        assert_eq!(add_months(date(2016, 2, 29), -12).unwrap(), date(2015, 2, 28));
        assert_eq!(add_months(date(2015, 12, 31), -22).unwrap(), date(2014, 2, 28));
    }

    #[test]
    fn results_outside_the_years_1_to_9999_are_refused() {
        for result in [
            add_days(date(9999, 12, 31), 1),
            add_days(date(1, 1, 1), -1),
            add_days(date(2015, 1, 1), i64::MAX),
            add_months(date(1, 1, 1), -1),
            add_months(date(2015, 1, 1), i64::MIN),
        ] {
            assert!(matches!(result, Err(EvalError::Overflow(_))), "{result:?}");
        }
        let late = Moment::naive(date(9999, 12, 31).at(0, 0, 0, 0));
        assert!(add_hours(late, 23).is_ok());
        assert!(add_hours(late, 24).is_err());
        assert!(add_hours(late, i64::MAX).is_err());
    }

    #[test]
    fn days_between_dates_are_signed() {
        assert_eq!(days_between(date(2015, 1, 1), date(2016, 1, 1)), 365);
        assert_eq!(days_between(date(2016, 3, 1), date(2016, 2, 28)), -2);
        assert_eq!(days_between(date(1, 1, 1), date(9999, 12, 31)), 3_652_058);
    }

    #[test]
    fn the_days_of_a_negative_duration_are_rounded_down() {
        assert_eq!(Duration { microseconds: -1 }.days(), -1);
        assert_eq!(Duration { microseconds: MICROSECONDS_PER_DAY }.days(), 1);
    }
}
