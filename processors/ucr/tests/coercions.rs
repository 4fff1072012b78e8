//! The rules of datatypes, for any value.
#![expect(clippy::unwrap_used, reason = "helpers of a test")]

use jiff::civil::Date;
use proptest::prelude::*;
use ucr::coerce::{Datatype, coerce};
use ucr::dates;
use ucr::value::{Duration, Moment, Value};

fn any_date() -> impl Strategy<Value = Date> {
    (0_i64..3_652_059).prop_map(|days| dates::add_days(Date::constant(1, 1, 1), days).unwrap())
}

/// Whatever a document can hold, and the dates that expressions make.
fn any_value() -> impl Strategy<Value = Value<'static>> {
    let plain = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        any::<i128>().prop_map(|integer| Value::from_big(integer.into())),
        any::<f64>().prop_map(Value::Float),
        any::<String>().prop_map(Value::text),
        "[ +-]{0,2}[0-9_.e]{0,8}|inf|-Infinity|nan|20[0-9]{2}-[01]?[0-9]-[0-3]?[0-9]".prop_map(Value::text),
        any_date().prop_map(Value::Date),
    ];
    plain.prop_recursive(3, 16, 4, |inner| proptest::collection::vec(inner, 0..4).prop_map(Value::list))
}

fn as_type(value: &Value<'static>, datatype: Datatype) -> Value<'static> {
    coerce(value.clone(), datatype).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn a_value_becomes_one_of_its_datatype_or_null_and_only_the_infinite_fails(value in any_value()) {
        let is_infinite = match &value {
            Value::Float(float) => float.is_infinite(),
            Value::Str(text) => ucr::number::parse_float(text).is_some_and(f64::is_infinite),
            _ => false,
        };
        for datatype in [Datatype::Integer, Datatype::SmallInteger] {
            match coerce(value.clone(), datatype) {
                Ok(integer) => prop_assert!(matches!(integer, Value::Null | Value::Int(_) | Value::Big(_))),
                Err(_) => prop_assert!(is_infinite),
            }
        }
        prop_assert!(matches!(as_type(&value, Datatype::Decimal), Value::Null | Value::Decimal(_)));
        prop_assert!(matches!(as_type(&value, Datatype::Date), Value::Null | Value::Date(_)));
        prop_assert!(matches!(as_type(&value, Datatype::DateTime), Value::Null | Value::DateTime(_)));
        prop_assert_eq!(as_type(&value, Datatype::String).is_null(), value.is_null());
        let array = as_type(&value, Datatype::Array);
        match &value {
            Value::List(elements) => prop_assert_eq!(array.as_list().unwrap().len(), elements.len()),
            _ => prop_assert_eq!(array.as_list().unwrap().len(), 1),
        }
    }

    #[test]
    fn numbers_and_flags_are_no_dates(integer in any::<i64>(), float in any::<f64>(), flag in any::<bool>()) {
        for value in [Value::Int(integer), Value::Float(float), Value::Bool(flag)] {
            prop_assert!(as_type(&value, Datatype::Date).is_null());
            prop_assert!(as_type(&value, Datatype::DateTime).is_null());
        }
    }

    #[test]
    fn integers_may_have_spaces_a_sign_and_digits_of_any_script(integer in -999_999_i64..=999_999, spaces in "[ \t\n]{0,3}") {
        let written = integer.to_string();
        let arabic = written.chars().map(|digit| match digit.to_digit(10) {
            Some(digit) => char::from_u32(0x660 + digit).unwrap(),
            None => digit,
        });
        let grouped = format!("{integer}_0");
        for (text, expected) in [
            (format!("{spaces}{integer}{spaces}"), integer),
            (format!("{integer:+}"), integer),
            (arabic.collect(), integer),
            (grouped, integer * 10),
        ] {
            prop_assert_eq!(as_type(&Value::text(text), Datatype::Integer), Value::Int(expected));
        }
        for wrong in [format!("{integer}__0"), format!("{integer}_"), format!("{integer} 0"), format!("--{integer}")] {
            prop_assert!(as_type(&Value::text(wrong), Datatype::Integer).is_null());
        }
    }

    #[test]
    fn fractions_are_cut_towards_zero(whole in 0_i64..1_000_000, fraction in 0_u32..1_000, is_negative in any::<bool>()) {
        let sign = if is_negative { "-" } else { "" };
        let text = format!("{sign}{whole}.{fraction:03}");
        let expected = Value::Int(if is_negative { -whole } else { whole });
        prop_assert_eq!(as_type(&Value::text(text.clone()), Datatype::Integer), expected.clone());
        prop_assert_eq!(as_type(&Value::Float(text.parse().unwrap()), Datatype::Integer), expected);
        // A decimal keeps all its digits, zeros at the end as well.
        prop_assert_eq!(as_type(&Value::text(text.clone()), Datatype::Decimal).to_string(), text);
    }

    #[test]
    fn dates_are_read_with_one_digit_and_from_strict_moments_without_a_shift(date in any_date()) {
        let (year, month, day) = (date.year(), date.month(), date.day());
        let expected = Value::Date(date);
        for text in [
            format!("{year:04}-{month:02}-{day:02}"),
            format!("{year:04}-{month}-{day}"),
            format!("{year:04}-{month:02}-{day:02}T23:59:59Z"),
            format!("{year:04}-{month:02}-{day:02}T00:00:00.123456Z"),
        ] {
            prop_assert_eq!(as_type(&Value::text(text), Datatype::Date), expected.clone());
        }
        for text in [
            format!(" {year:04}-{month:02}-{day:02}"),
            format!("{year:04}-{month:02}-{day:02} 10:11:12"),
            format!("{year:04}-{month:02}-{day:02}T10:11:12+01:00"),
            format!("{year:04}-{month:02}-32"),
            format!("{year:04}-13-{day:02}"),
        ] {
            prop_assert!(as_type(&Value::text(text), Datatype::Date).is_null());
        }
        let midnight = Value::DateTime(Moment::naive(date.at(0, 0, 0, 0)));
        prop_assert_eq!(as_type(&expected, Datatype::DateTime), midnight);
        prop_assert_eq!(as_type(&expected, Datatype::String), Value::text(format!("{year:04}-{month:02}-{day:02}")));
    }

    #[test]
    fn moments_with_an_offset_are_converted_to_utc(
        date in any_date(), hour in 0_i8..24, minute in 0_i8..60, offset_hours in 0_i64..14, offset_minutes in 0_i64..60,
    ) {
        prop_assume!((2..9999).contains(&date.year()));
        let local = Moment::naive(date.at(hour, minute, 0, 0));
        let text = format!("{date}T{hour:02}:{minute:02}:00-{offset_hours:02}:{offset_minutes:02}");
        let shift = Duration { microseconds: (offset_hours * 60 + offset_minutes) * 60_000_000 };
        let utc = dates::add_duration(local, shift).unwrap();
        prop_assert_eq!(as_type(&Value::text(text), Datatype::DateTime), Value::DateTime(utc));
    }
}
