//! Dates: reading, arithmetic, writing, and the Ethiopian calendar.
//!
//! All of it is pure: where the current day matters it comes in as an argument. A date lies in the years 1 to 9999, as
//! Python's do; what would leave them is an [`EvalError::Overflow`].
//!
//! Texts that say no complete date (`10:11`, `5`, `2015`), which the original fills up with fields of the current day,
//! are read by [`parse_filled`] alone.

mod arithmetic;
mod ethiopian;
mod lenient;
mod strftime;
mod strict;
mod strptime;

pub use arithmetic::{add_days, add_duration, add_hours, add_months, days_between, month_end, month_start};
pub use ethiopian::{from_ethiopian, to_ethiopian};
pub use lenient::{parse_datetime, parse_filled};
pub use strftime::{MONTHS, format};
pub use strict::{parse_date, parse_iso};
pub use strptime::parse_as;

#[cfg(doc)]
use crate::EvalError;
