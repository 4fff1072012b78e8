//! The values that documents and configurations hold and that expressions compute.
//!
//! A value borrows its texts from the document where it can, and a clone of it copies a few words at most. Equality,
//! order, truth and text are Python's, because the rows of the original came out of Python.

mod compare;
mod dict;
mod display;
mod json;
mod name;
mod reads;
mod text;

pub use compare::{Incomparable, compare, equal};
pub use dict::Dict;
pub use json::{JsonError, MOST_DEPTH, parse, parse_parts};
pub use name::Name;
pub use reads::{Parts, Reads};
pub use text::Text;

use jiff::civil;
use num_bigint::BigInt;
use num_traits::ToPrimitive;
use std::borrow::Cow;
use std::rc::Rc;

use crate::number::Decimal;

#[derive(Clone, Debug, Default)]
pub enum Value<'a> {
    #[default]
    Null,
    Bool(bool),
    Int(i64),
    /// An integer outside the range of `Int`, never inside it; see [`Value::from_big`].
    Big(Rc<BigInt>),
    Float(f64),
    Decimal(Rc<Decimal>),
    Str(Text<'a>),
    Date(civil::Date),
    DateTime(Moment),
    Time(civil::Time),
    Duration(Duration),
    List(Rc<Vec<Value<'a>>>),
    /// Only the evaluator makes tuples, sets and functions.
    Tuple(Rc<Vec<Value<'a>>>),
    /// Without equal elements, in the order of insertion.
    Set(Rc<Vec<Value<'a>>>),
    Dict(Rc<Dict<'a>>),
    Function(&'static str),
}

/// A date and time to the microsecond: naive (UTC by convention), or with an offset, which only the evaluator's
/// `date()` gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    pub civil: civil::DateTime,
    pub offset_minutes: Option<i16>,
}

/// A difference of dates or moments, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Duration {
    pub microseconds: i64,
}

impl Moment {
    pub const fn naive(civil: civil::DateTime) -> Self {
        Self { civil, offset_minutes: None }
    }
}

impl<'a> Value<'a> {
    pub fn text(text: impl Into<Text<'a>>) -> Self {
        Self::Str(text.into())
    }

    pub fn list(elements: Vec<Value<'a>>) -> Self {
        Self::List(Rc::new(elements))
    }

    pub fn dict(dict: Dict<'a>) -> Self {
        Self::Dict(Rc::new(dict))
    }

    pub fn decimal(decimal: Decimal) -> Self {
        Self::Decimal(Rc::new(decimal))
    }

    /// An integer, in its short form where that is large enough.
    pub fn from_big(integer: BigInt) -> Self {
        integer.to_i64().map_or_else(|| Self::Big(Rc::new(integer)), Self::Int)
    }

    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Str(text) => Some(text),
            _ => None,
        }
    }

    /// What Python's `str(value)` says.
    pub fn as_text(&self) -> Cow<'_, str> {
        match self {
            Self::Str(text) => Cow::Borrowed(text),
            other => Cow::Owned(other.to_string()),
        }
    }

    pub fn as_list(&self) -> Option<&[Value<'a>]> {
        match self {
            Self::List(elements) => Some(elements),
            _ => None,
        }
    }

    pub fn as_dict(&self) -> Option<&Dict<'a>> {
        match self {
            Self::Dict(dict) => Some(dict),
            _ => None,
        }
    }

    /// An integer as Python's `isinstance(value, int)` sees it: true and false count.
    pub fn as_index(&self) -> Option<i64> {
        match self {
            Self::Int(integer) => Some(*integer),
            Self::Bool(flag) => Some(i64::from(*flag)),
            // Beyond the end of everything, on its side.
            Self::Big(integer) => Some(if integer.sign() == num_bigint::Sign::Minus { i64::MIN } else { i64::MAX }),
            _ => None,
        }
    }

    /// The property of a dict; `None` for a missing one and for everything that is no dict.
    pub fn property(&self, name: &str) -> Option<&Value<'a>> {
        self.as_dict()?.get(name)
    }

    /// As [`Value::property`], with a name whose hash is known.
    #[inline]
    pub fn named(&self, name: &Name) -> Option<&Value<'a>> {
        self.as_dict()?.find(name, name.hash)
    }

    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// What Python's `bool(value)` says.
    pub fn is_true(&self) -> bool {
        match self {
            Self::Null => false,
            Self::Bool(flag) => *flag,
            Self::Int(integer) => *integer != 0,
            Self::Float(float) => *float != 0.0,
            Self::Decimal(decimal) => !decimal.is_zero(),
            Self::Str(text) => !text.is_empty(),
            Self::Duration(duration) => duration.microseconds != 0,
            Self::List(elements) | Self::Tuple(elements) | Self::Set(elements) => !elements.is_empty(),
            Self::Dict(dict) => !dict.is_empty(),
            Self::Big(_) | Self::Date(_) | Self::DateTime(_) | Self::Time(_) | Self::Function(_) => true,
        }
    }

    /// Python's name of the type.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "NoneType",
            Self::Bool(_) => "bool",
            Self::Int(_) | Self::Big(_) => "int",
            Self::Float(_) => "float",
            Self::Decimal(_) => "Decimal",
            Self::Str(_) => "str",
            Self::Date(_) => "date",
            Self::DateTime(_) => "datetime",
            Self::Time(_) => "time",
            Self::Duration(_) => "timedelta",
            Self::List(_) => "list",
            Self::Tuple(_) => "tuple",
            Self::Set(_) => "set",
            Self::Dict(_) => "dict",
            Self::Function(_) => "function",
        }
    }

    /// A copy that borrows nothing.
    pub fn into_owned(self) -> Value<'static> {
        let all = |elements: &[Value<'a>]| Rc::new(elements.iter().cloned().map(Value::into_owned).collect());
        match self {
            Self::Null => Value::Null,
            Self::Bool(flag) => Value::Bool(flag),
            Self::Int(integer) => Value::Int(integer),
            Self::Big(integer) => Value::Big(integer),
            Self::Float(float) => Value::Float(float),
            Self::Decimal(decimal) => Value::Decimal(decimal),
            Self::Str(text) => Value::Str(text.into_owned()),
            Self::Date(date) => Value::Date(date),
            Self::DateTime(moment) => Value::DateTime(moment),
            Self::Time(time) => Value::Time(time),
            Self::Duration(duration) => Value::Duration(duration),
            Self::List(elements) => Value::List(all(&elements)),
            Self::Tuple(elements) => Value::Tuple(all(&elements)),
            Self::Set(elements) => Value::Set(all(&elements)),
            Self::Dict(dict) => Value::dict(
                dict.iter().map(|(key, value)| (key.clone().into_owned(), value.clone().into_owned())).collect(),
            ),
            Self::Function(name) => Value::Function(name),
        }
    }
}

/// Python's `==`.
impl PartialEq for Value<'_> {
    fn eq(&self, other: &Self) -> bool {
        equal(self, other)
    }
}
