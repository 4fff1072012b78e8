//! Fuzzes the reader of documents, beside another one.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde::de::IgnoredAny;
use serde_json::Value as Other;
use ucr::value::{Value, parse};
use ucr_fuzz::properties;

// The other reader accepts what the grammar of JSON does, when it ignores the values.
fuzz_target!(|input: &str| {
    let is_json = serde_json::from_str::<IgnoredAny>(input).is_ok();
    match parse(input) {
        Ok(value) => {
            assert!(is_json, "accepted what is no JSON");
            if let Ok(other) = serde_json::from_str(input) {
                assert!(is_same(&value, &other), "{value:?} is not {other:?}");
            }
        }
        Err(error) => {
            let is_a_limit = ["nested too deep", "an integer with too many digits"].contains(&error.problem);
            assert!(!is_json || is_a_limit, "{error}");
        }
    }
    properties::json_is_written_and_read(input);
});

fn is_same(value: &Value<'_>, other: &Other) -> bool {
    match (value, other) {
        (Value::Null, Other::Null) => true,
        (Value::Bool(flag), Other::Bool(other)) => flag == other,
        (Value::Str(text), Other::String(other)) => **text == **other,
        (Value::Int(integer), Other::Number(other)) => other.as_str().parse() == Ok(*integer),
        (Value::Big(integer), Other::Number(other)) => integer.to_string() == other.as_str(),
        (Value::Float(float), Other::Number(other)) => {
            other.as_str().parse::<f64>().is_ok_and(|other| other.to_bits() == float.to_bits())
        }
        (Value::List(elements), Other::Array(others)) => {
            elements.len() == others.len() && elements.iter().zip(others).all(|(value, other)| is_same(value, other))
        }
        (Value::Dict(dict), Other::Object(others)) => {
            dict.len() == others.len()
                && others.iter().all(|(key, other)| dict.get(key).is_some_and(|value| is_same(value, other)))
        }
        _ => false,
    }
}
