//! The functions that expressions may call.

use num_bigint::BigInt;
use num_integer::Integer;
use num_traits::{Signed, ToPrimitive, Zero};

use super::collection::{iterate, pairs, set};
use super::run::{Evaluated, Run, invalid};
use super::syntax::{Call, Function};
use crate::EvalError;
use crate::arithmetic;
use crate::dates;
use crate::jsonpath::Path;
use crate::number::parse_integer;
use crate::value::{Moment, Text, Value};

/// A range of as many elements or more is null.
const MOST_IN_RANGE: usize = 100;

/// The arguments of a call, by place and by name.
struct Arguments<'a> {
    places: Vec<Value<'a>>,
    names: Vec<(Text<'static>, Value<'a>)>,
}

impl<'a> Arguments<'a> {
    /// Puts each argument to its parameter; at least so many are required.
    fn bind<const N: usize>(self, parameters: [&str; N], required: usize) -> Result<[Option<Value<'a>>; N], EvalError> {
        let wrong = || EvalError::type_error("wrong arguments for a function");
        let mut bound = [const { None }; N];
        if self.places.len() > N {
            return Err(wrong());
        }
        for (slot, value) in bound.iter_mut().zip(self.places) {
            *slot = Some(value);
        }
        for (name, value) in self.names {
            let at = parameters.iter().position(|parameter| **parameter == *name).ok_or_else(wrong)?;
            match bound.get_mut(at) {
                Some(slot @ None) => *slot = Some(value),
                _ => return Err(wrong()),
            }
        }
        if bound.iter().take(required).any(Option::is_none) { Err(wrong()) } else { Ok(bound) }
    }
}

impl<'a> Run<'_, '_, 'a> {
    pub(super) fn call(&self, call: &Call) -> Evaluated<'a> {
        let mut names = Vec::with_capacity(call.named.len());
        let mut spread = false;
        for (name, value) in &call.named {
            let value = self.evaluate(value)?;
            match name {
                Some(name) => names.push((name.clone(), value)),
                None => spread = true,
            }
        }
        let mut places = Vec::with_capacity(call.arguments.len());
        for argument in &call.arguments {
            places.push(self.evaluate(argument)?);
        }
        // The original passes `**mapping` on as an argument without a name.
        if spread {
            return Err(EvalError::type_error("keywords must be strings"));
        }
        self.apply(call.function, Arguments { places, names })
    }

    fn apply(&self, function: Function, arguments: Arguments<'a>) -> Evaluated<'a> {
        match function {
            Function::Int => int(arguments.bind(["x", "base"], 0)?),
            Function::Float => {
                let [value] = arguments.bind(["x"], 0)?;
                value.map_or(Ok(Value::Float(0.0)), |value| arithmetic::to_float(&value))
            }
            Function::Str => {
                let [value, encoding, errors] = arguments.bind(["object", "encoding", "errors"], 0)?;
                if encoding.is_some() || errors.is_some() {
                    return Err(EvalError::type_error("decoding str is not supported"));
                }
                Ok(match value {
                    Some(text @ Value::Str(_)) => text,
                    Some(value) => Value::text(self.text(&value)?),
                    None => Value::text(""),
                })
            }
            Function::Round => {
                let [number, places] = arguments.bind(["number", "ndigits"], 1)?;
                arithmetic::round(&number.unwrap_or_default(), places.as_ref())
            }
            Function::Range => range(arguments),
            Function::Today => {
                let [] = arguments.bind([], 0)?;
                Ok(Value::Date(self.context.now.civil.date()))
            }
            Function::Days => match arguments.bind(["t"], 1)? {
                [Some(Value::Duration(duration))] => Ok(Value::Int(duration.days())),
                [other] => {
                    let type_name = other.unwrap_or_default().type_name();
                    Err(EvalError::Attribute(format!("'{type_name}' object has no attribute 'days'").into()))
                }
            },
            Function::TimedeltaToSeconds => match arguments.bind(["x"], 1)? {
                [Some(Value::Duration(duration))] => {
                    arithmetic::divide(&Value::Int(duration.microseconds), &Value::Int(1_000_000))
                }
                _ => Ok(Value::Null),
            },
            Function::Context => {
                let [] = arguments.bind([], 0)?;
                Ok(self.names())
            }
            Function::RootContext => {
                let [] = arguments.bind([], 0)?;
                let none = || EvalError::Attribute("there is no root document here".into());
                self.context.root.cloned().ok_or_else(none)
            }
            Function::JsonPath => self.json_path(arguments.bind(["expr", "as_list", "context"], 1)?),
            Function::Named => {
                let [name, item] = arguments.bind(["name", "context"], 1)?;
                self.named(&name.unwrap_or_default(), item)
            }
            Function::Date => date(arguments.bind(["value", "fmt"], 1)?),
            Function::List => {
                let [value] = arguments.bind(["sequence"], 0)?;
                Ok(Value::list(self.elements_of(value)?))
            }
            Function::Tuple => {
                let [value] = arguments.bind(["sequence"], 0)?;
                Ok(Value::Tuple(self.elements_of(value)?.into()))
            }
            Function::Set => {
                let [value] = by_place(arguments)?.bind(["iterable"], 0)?;
                let elements = self.elements_of(value)?;
                self.context.limits.spend(elements.len().saturating_mul(elements.len()) / 64)?;
                set(elements)
            }
            Function::Dict => {
                let names = arguments.names.into_iter().map(|(name, value)| (Value::Str(name), value));
                let [mapping] = Arguments { places: arguments.places, names: Vec::new() }.bind([""], 0)?;
                let entries = mapping.map_or(Ok(Vec::new()), |mapping| pairs(&mapping))?;
                self.context.limits.spend(entries.len())?;
                Ok(Value::dict(entries.into_iter().chain(names).collect()))
            }
            Function::Random => Err(invalid("random numbers are not available")),
        }
    }

    fn elements_of(&self, value: Option<Value<'a>>) -> Result<Vec<Value<'a>>, EvalError> {
        let elements = value.map_or(Ok(Vec::new()), |value| iterate(&value))?;
        self.context.limits.spend(elements.len())?;
        Ok(elements)
    }

    fn json_path(&self, [path, as_list, context]: [Option<Value<'a>>; 3]) -> Evaluated<'a> {
        let context = context.filter(Value::is_true).unwrap_or_else(|| self.names());
        let path = path.unwrap_or_default();
        let text = path.as_str().ok_or_else(|| EvalError::Config("a jsonpath has to be a text".into()))?;
        let path =
            Path::compile(text).map_err(|problem| EvalError::Config(format!("jsonpath {text}: {problem}").into()))?;
        let mut found = path.find_within(&context, self.context.limits)?;
        if as_list.is_some_and(|as_list| as_list.is_true()) {
            return Ok(Value::list(found));
        }
        Ok(match found.len() {
            0 => Value::Null,
            1 => found.pop().unwrap_or_default(),
            _ => Value::list(found),
        })
    }

    fn named(&self, name: &Value<'a>, item: Option<Value<'a>>) -> Evaluated<'a> {
        let item = item.filter(Value::is_true).unwrap_or_else(|| self.names());
        let unknown = || EvalError::Config(format!("no expression is named {name}").into());
        let name = name.as_str().ok_or_else(unknown)?;
        let evaluate = || self.context.named.evaluate(name, &item, self.context).ok_or_else(unknown)?;
        self.context.limits.deeper(evaluate)
    }
}

/// For functions of Python that know no names.
fn by_place(arguments: Arguments<'_>) -> Result<Arguments<'_>, EvalError> {
    if arguments.names.is_empty() { Ok(arguments) } else { Err(EvalError::type_error("takes no keyword arguments")) }
}

fn int<'a>([value, base]: [Option<Value<'a>>; 2]) -> Evaluated<'a> {
    let Some(base) = base else {
        return value.map_or(Ok(Value::Int(0)), |value| arithmetic::to_integer(&value));
    };
    let Some(base) = base.as_index() else {
        return Err(EvalError::type_error("a base has to be an integer"));
    };
    // The base is looked at first.
    if base != 0 && !(2..=36).contains(&base) {
        return Err(EvalError::Value("int() base must be >= 2 and <= 36, or 0".into()));
    }
    let Some(Value::Str(text)) = value else {
        return Err(EvalError::type_error("int() can't convert non-string with explicit base"));
    };
    let wrong = || EvalError::Value(format!("invalid literal for int() with base {base}").into());
    if base == 10 {
        return parse_integer(&text).map(Value::from_big).ok_or_else(wrong);
    }
    let trimmed = text.trim();
    let (sign, digits) = match trimmed.strip_prefix(['+', '-']) {
        Some(digits) => (trimmed.get(..1).unwrap_or_default(), digits),
        None => ("", trimmed),
    };
    let prefix = digits.get(..2).map(str::to_ascii_lowercase);
    let prefixed = match prefix.as_deref() {
        Some("0x") => Some(16),
        Some("0o") => Some(8),
        Some("0b") => Some(2),
        _ => None,
    };
    let (radix, digits) = match (base, prefixed) {
        (0 | 16, Some(16)) | (0 | 8, Some(8)) | (0 | 2, Some(2)) => {
            (prefixed.unwrap_or(10), digits.get(2..).unwrap_or_default())
        }
        (0, None) if digits.starts_with('0') && digits.bytes().any(|digit| !matches!(digit, b'0' | b'_')) => {
            return Err(wrong());
        }
        (0, None) => (10, digits),
        (2..=36, _) => (u32::try_from(base).unwrap_or(10), digits),
        _ => return Err(EvalError::Value("int() base must be >= 2 and <= 36, or 0".into())),
    };
    let out_of_order =
        digits.contains("__") || digits.ends_with('_') || (digits.starts_with('_') && prefixed.is_none());
    if digits.len() > crate::number::MOST_INTEGER_DIGITS || out_of_order || digits.starts_with(['+', '-']) {
        return Err(wrong());
    }
    let digits = format!("{sign}{}", digits.replace('_', ""));
    BigInt::parse_bytes(digits.as_bytes(), radix).map(Value::from_big).ok_or_else(wrong)
}

fn range<'a>(arguments: Arguments<'a>) -> Evaluated<'a> {
    let Arguments { mut places, names } = arguments;
    for (name, value) in names {
        if *name != *"start" || !places.is_empty() {
            return Err(EvalError::type_error("wrong arguments for range()"));
        }
        places.push(value);
    }
    let number = |value: &Value<'_>| match value {
        Value::Bool(flag) => Ok(BigInt::from(u8::from(*flag))),
        Value::Int(integer) => Ok(BigInt::from(*integer)),
        Value::Big(integer) => Ok((**integer).clone()),
        other => {
            Err(EvalError::type_error(format!("'{}' object cannot be interpreted as an integer", other.type_name())))
        }
    };
    let (start, end, step) = match places.as_slice() {
        [end] => (BigInt::zero(), number(end)?, BigInt::from(1)),
        [start, end] => (number(start)?, number(end)?, BigInt::from(1)),
        [start, end, step] => (number(start)?, number(end)?, number(step)?),
        _ => return Err(EvalError::type_error("wrong arguments for range()")),
    };
    if step.is_zero() {
        return Err(EvalError::Value("range() arg 3 must not be zero".into()));
    }
    let distance = if step.is_positive() { &end - &start } else { &start - &end };
    let length = if distance.is_positive() { distance.div_ceil(&step.abs()) } else { BigInt::zero() };
    let Some(length) = length.to_i64() else {
        return Err(EvalError::Overflow("Python int too large to convert to C ssize_t".into()));
    };
    match usize::try_from(length) {
        Ok(length) if length < MOST_IN_RANGE => {
            Ok(Value::list((0..length).map(|at| Value::from_big(&start + &step * at)).collect()))
        }
        _ => Ok(Value::Null),
    }
}

fn date<'a>([value, format]: [Option<Value<'a>>; 2]) -> Evaluated<'a> {
    let value = value.unwrap_or_default();
    let unreadable = |value: &Value<'_>| {
        let shown: String = value.to_string().chars().take(200).collect();
        EvalError::Config(format!("unable to parse date: {shown}").into())
    };
    if matches!(value, Value::Date(_) | Value::DateTime(_)) {
        return Ok(value);
    }
    let read: Option<Moment> = match (format.filter(Value::is_true), &value) {
        (None, Value::Str(text)) => dates::parse_iso(text),
        // The original stumbles over its own message.
        (None, Value::Tuple(elements)) if elements.len() != 1 => {
            return Err(EvalError::type_error("a date has to be a text"));
        }
        (None, _) => None,
        (Some(Value::Str(format)), Value::Str(text)) => dates::parse_as(text, &format),
        (Some(_), _) => return Err(EvalError::type_error("strptime() arguments must be str")),
    };
    read.map(Value::DateTime).ok_or_else(|| unreadable(&value))
}
