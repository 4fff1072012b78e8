//! Transforms: what is done with the result of an indicator's expression before it gets the column's datatype.

use num_bigint::BigUint;
use num_traits::ToPrimitive;

use crate::compiler::{Compiler, described, unknown};
use crate::number::{Decimal, DecimalError};
use crate::value::{Dict, Value};
use crate::{Context, EvalError, LookUpKind, QueryKind, coerce, constants, dates, evaluator};

#[derive(Debug)]
pub(crate) enum Transform {
    Nothing,
    DateFormat { format: String },
    NumberFormat { format: String },
    Translation { translations: Value<'static> },
    MultipleTranslation { translations: Value<'static>, delimiter: String },
    MonthDisplay,
    ShortDecimal,
    DaysElapsed,
    ToGregorian,
    ToEthiopian,
    Person(Person),
}

/// What is shown of the user or owner with that id.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Person {
    User,
    UserWithoutDomain,
    UserWithName,
    Owner,
}

const TYPES: [&str; 5] = ["custom", "date_format", "multiple_value_string_translation", "number_format", "translation"];

type Make = fn() -> Transform;

const CUSTOM: [(&str, Make); 9] = [
    ("month_display", || Transform::MonthDisplay),
    ("short_decimal_display", || Transform::ShortDecimal),
    ("days_elapsed_from_date", || Transform::DaysElapsed),
    ("ethiopian_date_to_gregorian_date", || Transform::ToGregorian),
    ("gregorian_date_to_ethiopian_date", || Transform::ToEthiopian),
    ("user_display", || Transform::Person(Person::User)),
    ("user_without_domain_display", || Transform::Person(Person::UserWithoutDomain)),
    ("user_display_including_name", || Transform::Person(Person::UserWithName)),
    ("owner_display", || Transform::Person(Person::Owner)),
];

impl Compiler<'_> {
    /// The transform of an indicator; none for an absent or empty one.
    pub(crate) fn transform(&mut self, spec: &Dict<'_>) -> Transform {
        let Some(spec) = self.optional_dict(spec, "transform").filter(|spec| !spec.is_empty()) else {
            return Transform::Nothing;
        };
        self.at_key("transform", |compiler| compiler.typed_transform(spec))
    }

    fn typed_transform(&mut self, spec: &Dict<'_>) -> Transform {
        match spec.get("type").and_then(Value::as_str) {
            Some("date_format") => Transform::DateFormat { format: self.text(spec, "format") },
            Some("number_format") => Transform::NumberFormat { format: self.text(spec, "format_string") },
            Some("translation") => match self.translations(spec) {
                Some(translations) => Transform::Translation { translations },
                None => Transform::Nothing,
            },
            Some("multiple_value_string_translation") => {
                let delimiter = self.text(spec, "delimiter");
                match self.translations(spec) {
                    Some(translations) => Transform::MultipleTranslation { translations, delimiter },
                    None => Transform::Nothing,
                }
            }
            Some("custom") => {
                let name = self.text(spec, "custom_type");
                let found = CUSTOM.iter().find(|(known, _)| *known == name);
                if found.is_none() {
                    let known = CUSTOM.iter().map(|(name, _)| *name);
                    self.problem_at("custom_type", unknown("custom transform", &name, known));
                }
                let transform = found.map_or(Transform::Nothing, |(_, transform)| transform());
                if matches!(transform, Transform::Person(_)) {
                    self.look_ups.insert(LookUpKind::Users);
                }
                transform
            }
            Some(other) => {
                self.problem_at("type", unknown("transform type", other, TYPES.iter().copied()));
                Transform::Nothing
            }
            None => {
                self.problem_at("type", format!("is required: one of {}", TYPES.join(", ")));
                Transform::Nothing
            }
        }
    }

    /// `None` for those that are made on the phone.
    fn translations(&mut self, spec: &Dict<'_>) -> Option<Value<'static>> {
        let translations = self.optional_dict(spec, "translations").cloned().unwrap_or_default();
        match spec.get("mobile_or_web") {
            None | Some(Value::Null) => {}
            Some(Value::Str(place)) if **place == *"web" => {}
            Some(Value::Str(place)) if **place == *"mobile" => return None,
            Some(other) => {
                let found = described(other);
                self.problem_at("mobile_or_web", format!("must be \"web\" or \"mobile\", not {found}"));
            }
        }
        Some(constants::convert(&Value::dict(translations)))
    }
}

impl Transform {
    pub(crate) fn apply<'a>(&self, value: Value<'a>, context: &Context<'_, 'a>) -> Result<Value<'a>, EvalError> {
        Ok(match self {
            Self::Nothing => value,
            Self::DateFormat { format } => dates::format(&value, format).map_or(value, Value::text),
            Self::NumberFormat { format } => {
                let number = match &value {
                    Value::Str(text) => Decimal::parse(text).map(Value::decimal),
                    _ => Some(value.clone()),
                };
                // A text that is no number has no format.
                number.map_or(value, |number| evaluator::format_template(format, &number).map_or(number, Value::text))
            }
            Self::Translation { translations } => translated(value, translations)?,
            Self::MultipleTranslation { translations, delimiter } => {
                let Value::Str(text) = &value else { return Err(no_text(&value)) };
                if delimiter.is_empty() {
                    return Err(EvalError::Value("an empty delimiter splits nothing".into()));
                }
                let mut parts = Vec::new();
                for part in text.split(delimiter.as_str()) {
                    match translated(Value::text(part), translations)? {
                        Value::Str(part) => parts.push(part.to_string()),
                        other => {
                            return Err(EvalError::type_error(format!("a {} cannot be joined", other.type_name())));
                        }
                    }
                }
                Value::text(parts.join(delimiter))
            }
            Self::MonthDisplay => month_display(value)?,
            Self::ShortDecimal => short_decimal(value),
            Self::DaysElapsed => {
                let now = context.now.civil;
                let moment = match &value {
                    Value::Date(date) => Some(date.at(0, 0, 0, 0)),
                    Value::DateTime(moment) => moment.offset_minutes.is_none().then_some(moment.civil),
                    Value::Str(text) => dates::parse_filled(text, now.date()),
                    _ => None,
                };
                let Some(moment) = moment else {
                    let message = format!("{:.60} is no date, or one with a zone", value.repr());
                    return Err(EvalError::Value(message.into()));
                };
                let elapsed = now.duration_since(moment).as_micros();
                Value::Int(i64::try_from(elapsed.div_euclid(86_400_000_000)).unwrap_or_default())
            }
            Self::ToGregorian => match &value {
                Value::Str(_) => dates::from_ethiopian(&value).map_or_else(|| Value::text(""), Value::Date),
                other if !other.is_true() => Value::text(""),
                other => return Err(no_text(other)),
            },
            Self::ToEthiopian => match &value {
                Value::Str(_) | Value::Date(_) | Value::DateTime(_) => {
                    Value::text(dates::to_ethiopian(&value).unwrap_or_default())
                }
                other if !other.is_true() => Value::text(""),
                other => return Err(no_text(other)),
            },
            Self::Person(person) => person.display(value, context)?,
        })
    }
}

fn no_text(value: &Value<'_>) -> EvalError {
    EvalError::Attribute(format!("a {} cannot be split", value.type_name()).into())
}

fn translated<'a>(value: Value<'a>, translations: &Value<'static>) -> Result<Value<'a>, EvalError> {
    if matches!(value, Value::List(_) | Value::Dict(_) | Value::Set(_)) {
        return Err(EvalError::type_error(format!("a {} has no translation", value.type_name())));
    }
    let Some(found) = translations.as_dict().and_then(|translations| translations.get_value(&value)) else {
        return Ok(value);
    };
    let Value::Dict(languages) = found else { return Ok(found.clone()) };
    if let Some(english) = languages.get("en") {
        return Ok(english.clone());
    }
    let first = languages.iter().filter_map(|(key, text)| Some((key.as_str()?, text))).min_by_key(|(key, _)| *key);
    let missing = || EvalError::Missing("a translation without any language".into());
    first.map(|(_, text)| text.clone()).ok_or_else(missing)
}

fn month_display<'a>(value: Value<'a>) -> Result<Value<'a>, EvalError> {
    let number = match &value {
        // `int()`, not the datatype: a text with a point is no month.
        Value::Str(text) => crate::number::parse_integer(text).map_or(Value::Null, Value::from_big),
        _ => coerce::to_integer(value)?,
    };
    let Some(index) = number.as_index() else { return Ok(Value::text("")) };
    // From the end for a negative one; there is an empty name for 0.
    let month = if (-13..0).contains(&index) { index + 13 } else { index };
    match usize::try_from(month).ok().filter(|month| *month <= 12) {
        Some(0) => Ok(Value::text("")),
        Some(month) => Ok(Value::text(*dates::MONTHS.get(month - 1).unwrap_or(&""))),
        None => Err(EvalError::Missing("there is no such month".into())),
    }
}

/// Whole numbers without a fraction, others with two digits; unchanged where that is impossible.
fn short_decimal(value: Value<'_>) -> Value<'_> {
    match &value {
        Value::Bool(flag) => Value::Int(i64::from(*flag)),
        Value::Float(float) if float.is_finite() && float.fract() == 0.0 => {
            Decimal::from_float(*float).truncate().map_or(value, Value::from_big)
        }
        Value::Float(float) if float.is_finite() => {
            let rounded = Decimal::from_float(*float).fixed(2).and_then(|text| text.parse().ok());
            rounded.map_or(value, Value::Float)
        }
        Value::Decimal(decimal) => {
            let shortened: Result<Value<'_>, DecimalError> = match decimal.to_integer_exact() {
                // Python's decimal context has 28 digits, and finds no remainder of more.
                Some(integer) if integer.magnitude() >= &BigUint::from(10_u8).pow(28) => Err(DecimalError::Invalid),
                Some(integer) => Ok(Value::from_big(integer)),
                None => decimal.quantized(2).map(Value::decimal),
            };
            shortened.unwrap_or(value)
        }
        _ => value,
    }
}

impl Person {
    fn display<'a>(self, value: Value<'a>, context: &Context<'_, 'a>) -> Result<Value<'a>, EvalError> {
        let Some(id) = value.as_str().filter(|id| !id.is_empty()) else { return Ok(value) };
        let user = context.world.look_up(&QueryKind::User, id)?;
        let field = |name| user.property(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        let Some(username) = field("username") else {
            return match (self, field("name")) {
                // An owner may be a group or a location as well.
                (Self::Owner, Some(name)) => Ok(Value::text(name.to_owned())),
                _ => Ok(value),
            };
        };
        let short = username.split('@').next().unwrap_or(username);
        Ok(Value::text(match self {
            Self::User => username.to_owned(),
            Self::UserWithoutDomain | Self::Owner => short.to_owned(),
            Self::UserWithName => {
                let names = [field("first_name"), field("last_name")];
                let full = names.into_iter().flatten().collect::<Vec<_>>().join(" ");
                if full.is_empty() { short.to_owned() } else { format!("{short} ({full})") }
            }
        }))
    }
}

/// Days as a number of the host's integers, for balances of ledgers.
pub(crate) fn whole_days(value: &Value<'_>) -> Option<i64> {
    match value {
        Value::Decimal(decimal) => decimal.truncate().ok()?.to_i64(),
        other => coerce::to_integer(other.clone()).ok()?.as_index(),
    }
}
