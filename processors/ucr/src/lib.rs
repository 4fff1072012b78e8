//! The language of user configurable reports: a data source says which documents it takes and what rows they give.
//!
//! A configuration is compiled once into a typed tree ([`DataSource`]), in which constants are converted, paths
//! resolved and columns numbered; a document is read once ([`value::parse`]) and then goes through any number of data
//! sources. What is wrong with a configuration is a list of problems with their places ([`ConfigError`]); what goes
//! wrong with one document is an [`EvalError`]. Nothing here panics, whatever the JSON, and nothing reads a clock, a
//! file or the network: the instant and the answers of look-ups come in through the [`Context`].
//!
//! From the bottom up, each room uses those above it in this list:
//!
//! - `number`: integers of any size, decimals, floats as text.
//! - `value`: [`value::Value`], Python's equality, order, truth and text, JSON.
//! - `error`, `context`: the two kinds of errors; what an evaluation knows beside the item.
//! - `dates`: reading, counting and writing dates, and the Ethiopian calendar.
//! - `arithmetic`: Python's operators over values.
//! - `regex`: Python's regular expressions, within limits.
//! - `jsonpath`: paths into documents.
//! - `evaluator`: Python expressions, and Python's formats.
//! - `reads`: what of a document a data source reads.
//! - `coerce`, `constants`: datatypes; the conversion of constants in configurations.

#![forbid(unsafe_code)]

pub mod number;
pub mod value;

pub mod coerce;

mod compiler;
mod constants;
mod context;
pub mod data_source;
mod error;
mod expression;
mod filter;
mod indicator;
mod named;
pub mod names;
mod operator;
mod reads;
#[cfg(test)]
mod testing;
mod transform;
#[cfg(any(test, feature = "vectors"))]
pub mod vectors;
mod watch;
pub mod arithmetic;
pub mod dates;
pub mod evaluator;
pub mod jsonpath;
pub mod regex;

pub use context::{
    Context, EmptyWorld, Limits, LookUpKind, MOST_NESTING, MOST_STEPS, NamedExpressions, NoNames, Query, QueryKind,
    World,
};
pub use data_source::{DataSource, FailedValidation, Outcome};
pub use error::{ConfigError, EvalError, Problem};
pub use filter::Refusal;
pub use indicator::Column;
pub use watch::{Part, Watch};
