//! Lists as arrays of texts, as the original's driver and PostgreSQL make them: the elements of an array are of one
//! type, which is found before they become texts.

use std::fmt::Write as _;

use ucr::number::Decimal;
use ucr::value::Value;

/// What all elements of an array are, but for nulls and for texts, which are read as what the others are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Type {
    Text,
    Boolean,
    Integer,
    Number,
    Date,
    Moment,
}

/// The list as JSON of texts, nulls and lists of them.
///
/// # Errors
/// Elements of types that do not go into one array.
pub(crate) fn json(elements: &[Value<'_>]) -> Result<String, &'static str> {
    let of = common(elements, Type::Text)?;
    let mut text = String::new();
    write_list(&mut text, elements, of)?;
    Ok(text)
}

/// The type of an array that has been `so_far` and has these elements, too.
fn common(elements: &[Value<'_>], mut so_far: Type) -> Result<Type, &'static str> {
    for element in elements {
        let found = match element {
            Value::Null | Value::Str(_) => continue,
            Value::List(elements) => common(elements, so_far)?,
            Value::Bool(_) => Type::Boolean,
            Value::Int(_) | Value::Big(_) => Type::Integer,
            Value::Float(_) | Value::Decimal(_) => Type::Number,
            Value::Date(_) => Type::Date,
            Value::DateTime(_) => Type::Moment,
            Value::Dict(_) => return Err("an object is no element of an array"),
            _ => return Err("an element is of a type that arrays do not have"),
        };
        so_far = match (so_far, found) {
            (Type::Text, found) | (found, Type::Text) => found,
            (one, other) if one == other => one,
            (Type::Integer | Type::Number, Type::Integer | Type::Number) => Type::Number,
            (Type::Date | Type::Moment, Type::Date | Type::Moment) => Type::Moment,
            _ => return Err("the elements are of several types, which do not go into one array"),
        };
    }
    Ok(so_far)
}

fn write_list(json: &mut String, elements: &[Value<'_>], of: Type) -> Result<(), &'static str> {
    json.push('[');
    for (index, element) in elements.iter().enumerate() {
        if index > 0 {
            json.push(',');
        }
        match element {
            Value::Null => json.push_str("null"),
            Value::List(elements) => write_list(json, elements, of)?,
            Value::Bool(flag) => quote(json, if *flag { "true" } else { "false" }),
            Value::Str(text) if text.contains('\0') => return Err("a text must not contain a null character"),
            Value::Str(text) if of == Type::Text => quote(json, text),
            Value::Str(text) => {
                quote(json, &read_as(text, of).ok_or("a text does not say what the other elements are")?);
            }
            Value::Date(date) if of == Type::Moment => quote(json, &format!("{date} 00:00:00")),
            Value::Float(float) => quote(json, &number(&Decimal::parse(&element.to_string()), *float)?),
            Value::Decimal(decimal) => {
                quote(json, &number(&Some(decimal.as_ref().clone()), decimal.to_float())?);
            }
            other => quote(json, &other.to_string()),
        }
    }
    json.push(']');
    Ok(())
}

/// A text among elements of another type, as the database reads it.
fn read_as(text: &str, of: Type) -> Option<String> {
    let trimmed = text.trim();
    match of {
        Type::Text => Some(text.to_owned()),
        Type::Boolean => match trimmed.to_ascii_lowercase().as_str() {
            "t" | "true" | "y" | "yes" | "on" | "1" => Some("true".to_owned()),
            "f" | "false" | "n" | "no" | "off" | "0" => Some("false".to_owned()),
            _ => None,
        },
        Type::Integer => trimmed.parse::<i64>().ok().map(|number| number.to_string()),
        Type::Number if trimmed.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte)) => {
            let decimal = Decimal::parse(trimmed)?;
            number(&Some(decimal), 0.0).ok()
        }
        Type::Number => None,
        Type::Date => trimmed.parse::<jiff::civil::Date>().ok().map(|date| date.to_string()),
        Type::Moment => trimmed.parse::<jiff::civil::DateTime>().ok().map(|at| at.to_string().replace('T', " ")),
    }
}

/// Without an exponent, as a database writes numbers; those that are none by their names.
fn number(decimal: &Option<Decimal>, float: f64) -> Result<String, &'static str> {
    const TOO_LONG: &str = "a number in it has too many digits";
    let Some((_, _, exponent)) = decimal.as_ref().and_then(Decimal::parts) else {
        return Ok(match float {
            float if float.is_nan() => "NaN",
            float if float < 0.0 => "-Infinity",
            _ => "Infinity",
        }
        .to_owned());
    };
    let places = u32::try_from(exponent.saturating_neg().max(0)).unwrap_or(u32::MAX);
    // Not more than PostgreSQL has behind the point.
    const MOST_PLACES: u32 = 16_383;
    if places > MOST_PLACES {
        return Err(TOO_LONG);
    }
    decimal.as_ref().and_then(|decimal| decimal.fixed(places)).ok_or(TOO_LONG)
}

fn quote(json: &mut String, text: &str) {
    json.push('"');
    for c in text.chars() {
        match c {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            '\0'..='\u{1f}' => {
                let written = write!(json, "\\u{:04x}", u32::from(c));
                debug_assert!(written.is_ok(), "writing to a text cannot fail");
            }
            c => json.push(c),
        }
    }
    json.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(list: &str, expected: Result<&str, &str>) {
        let value = ucr::value::parse(list).unwrap();
        let found = json(value.as_list().unwrap());
        assert_eq!(found.as_deref().map_err(|reason| *reason), expected, "{list}");
    }

    #[test]
    fn elements_of_one_type_become_texts() {
        check("[]", Ok("[]"));
        check("[null]", Ok("[null]"));
        check(r#"["a", null, "b,c"]"#, Ok(r#"["a",null,"b,c"]"#));
        check("[true, false]", Ok(r#"["true","false"]"#));
        check("[1, 2.0, 1e22, 1.5e-7]", Ok(r#"["1","2.0","10000000000000000000000","0.00000015"]"#));
        check("[[1],[2]]", Ok(r#"[["1"],["2"]]"#));
    }

    #[test]
    fn a_text_among_others_is_read_as_what_they_are() {
        check(r#"["05", 1]"#, Ok(r#"["5","1"]"#));
        check(r#"["1.50", 1.5]"#, Ok(r#"["1.50","1.5"]"#));
        check(r#"["yes", false]"#, Ok(r#"["true","false"]"#));
        check(r#"["a", 1]"#, Err("a text does not say what the other elements are"));
    }

    #[test]
    fn elements_of_several_types_are_no_array() {
        let several = Err("the elements are of several types, which do not go into one array");
        check("[true, 1.5]", several);
        check("[[true], [1]]", several);
        check(r#"[{"a": 1}]"#, Err("an object is no element of an array"));
        check(r#"["nul\u0000byte"]"#, Err("a text must not contain a null character"));
    }
}
