//! What holds for all dates, numbers and texts.
#![expect(clippy::unwrap_used, reason = "helpers of a test")]

use jiff::civil::{Date, date};
use proptest::prelude::*;
use ucr::arithmetic;
use ucr::coerce::{Datatype, coerce};
use ucr::dates;
use ucr::evaluator::{Program, format_template, format_value};
use ucr::jsonpath::Path;
use ucr::regex::Pattern;
use ucr::value::{Moment, Value, parse};
use ucr::{Context, EmptyWorld, EvalError, Limits, NoNames};

fn any_date() -> impl Strategy<Value = Date> {
    (0_i64..3_652_059).prop_map(|days| dates::add_days(date(1, 1, 1), days).unwrap())
}

fn any_moment() -> impl Strategy<Value = Moment> {
    (any_date(), 0_i8..24, 0_i8..60, 0_i8..60, 0_i32..1_000_000)
        .prop_map(|(date, hour, minute, second, micro)| Moment::naive(date.at(hour, minute, second, micro * 1000)))
}

fn any_integer() -> impl Strategy<Value = Value<'static>> {
    prop_oneof![
        any::<i64>().prop_map(Value::Int),
        (-100_i64..100).prop_map(Value::Int),
        any::<i128>().prop_map(|integer| Value::from_big(integer.into())),
        any::<bool>().prop_map(Value::Bool),
    ]
}

/// Texts that look like the language in question, beside arbitrary ones.
fn made_of(words: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop_oneof![
        proptest::collection::vec(proptest::sample::select(words), 0..30).prop_map(|words| words.concat()),
        any::<String>(),
    ]
}

fn run(statement: &str) -> Result<Value<'static>, EvalError> {
    let item = parse(r#"{"a": 5, "s": "text", "l": [1, [2], {"k": null}], "n": null}"#).unwrap();
    let limits = Limits::default();
    let now = Moment::naive(date(2021, 6, 15).at(12, 34, 56, 0));
    let context =
        Context { root: Some(&item), iteration: Some(0), now, world: &EmptyWorld, named: &NoNames, limits: &limits };
    Program::compile(statement).run(None, &item, &context).map(Option::unwrap_or_default).map(Value::into_owned)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn a_date_that_is_written_is_read_again(date in any_date()) {
        let text = Value::Date(date).to_string();
        prop_assert_eq!(dates::parse_date(&text), Some(date));
        prop_assert_eq!(dates::parse_datetime(&text), Some(Moment::naive(date.at(0, 0, 0, 0))));
        prop_assert_eq!(dates::parse_iso(&text).map(|moment| moment.civil.date()), Some(date));
    }

    #[test]
    fn a_moment_that_is_written_is_read_again(moment in any_moment(), minutes in -720_i16..=720) {
        let text = Value::DateTime(moment).to_string();
        prop_assert_eq!(dates::parse_datetime(&text), Some(moment));
        prop_assert_eq!(dates::parse_datetime(&format!("{}Z", text.replace(' ', "T"))), Some(moment));
        let with_offset = Value::DateTime(Moment { offset_minutes: Some(minutes), ..moment });
        let shifted = dates::add_duration(moment, ucr::value::Duration { microseconds: -i64::from(minutes) * 60_000_000 });
        prop_assert_eq!(dates::parse_datetime(&with_offset.to_string()), shifted.ok());
        let iso = dates::parse_iso(&with_offset.to_string());
        prop_assert_eq!(iso, Some(Moment { offset_minutes: Some(minutes), ..moment }));
        if moment.civil.year() >= 1000 {
            let format = "%Y-%m-%d %H:%M:%S.%f";
            let written = dates::format(&Value::DateTime(moment), format).unwrap();
            prop_assert_eq!(dates::parse_as(&written, format), Some(moment));
        }
    }

    #[test]
    fn days_are_counted_back_and_forth(date in any_date(), days in -4_000_000_i64..4_000_000) {
        if let Ok(other) = dates::add_days(date, days) {
            prop_assert_eq!(dates::days_between(date, other), days);
            prop_assert_eq!(dates::add_days(other, -days).unwrap(), date);
            prop_assert!((1..=9999).contains(&other.year()));
        } else {
            let first = dates::days_between(date, Date::constant(1, 1, 1));
            let last = dates::days_between(date, Date::constant(9999, 12, 31));
            prop_assert!(!(first..=last).contains(&days));
        }
    }

    #[test]
    fn months_keep_the_day_or_take_the_last(date in any_date(), months in -200_000_i64..200_000) {
        if let Ok(other) = dates::add_months(date, months) {
            let count = |date: Date| i64::from(date.year()) * 12 + i64::from(date.month());
            prop_assert_eq!(count(other) - count(date), months);
            prop_assert_eq!(other.day(), date.day().min(other.days_in_month()));
        }
        prop_assert_eq!(dates::month_start(date).unwrap().day(), 1);
        prop_assert_eq!(dates::month_end(date).unwrap().day(), date.days_in_month());
    }

    #[test]
    fn the_ethiopian_calendar_leads_back(days in 0_i64..1_200_000) {
        // Until, late in the fifth millennium, its years end beyond the Gregorian September, which the original does not expect.
        let date = dates::add_days(date(1583, 1, 1), days).unwrap();
        let ethiopian = dates::to_ethiopian(&Value::Date(date)).unwrap();
        prop_assert_eq!(dates::from_ethiopian(&Value::text(ethiopian)), Some(date));
    }

    #[test]
    fn whatever_is_read_as_a_date_lies_in_range(text in made_of(&[
        "2015", "-", "/", ":", " ", "T", "Z", "+", "01", "1", "31", "12", "Jan", "pm", ".", "000", ",", "\u{663}", "9999", "é",
    ])) {
        for moment in [dates::parse_datetime(&text), dates::parse_iso(&text), dates::parse_as(&text, "%Y-%m-%d")] {
            prop_assert!(moment.is_none_or(|moment| (1..=9999).contains(&moment.civil.year())));
        }
        let _format_of_anything = dates::format(&Value::Date(date(2015, 1, 1)), &text);
        let _read_by_anything = dates::parse_as("2015-01-01", &text);
    }

    #[test]
    fn quotient_and_remainder_make_the_dividend(a in any_integer(), b in any_integer()) {
        if b.is_true() {
            let quotient = arithmetic::floor_divide(&a, &b).unwrap();
            let rest = arithmetic::remainder(&a, &b).unwrap();
            let product = arithmetic::multiply(&quotient, &b).unwrap();
            prop_assert_eq!(arithmetic::add(&product, &rest).unwrap(), arithmetic::plus(&a).unwrap());
        } else {
            prop_assert_eq!(arithmetic::floor_divide(&a, &b).unwrap_err(), EvalError::DivisionByZero);
        }
    }

    #[test]
    fn integers_survive_text_and_subtraction(a in any_integer(), b in any_integer()) {
        let a = arithmetic::plus(&a).unwrap();
        prop_assert_eq!(arithmetic::to_integer(&Value::text(a.to_string())).unwrap(), a.clone());
        let sum = arithmetic::add(&a, &b).unwrap();
        prop_assert_eq!(arithmetic::subtract(&sum, &b).unwrap(), a);
    }

    #[test]
    fn dividing_integers_gives_the_nearest_float(a in -(1_i64 << 53)..(1 << 53), b in 1_i64..1_000_000, shift in 0_u32..60) {
        #[expect(clippy::cast_precision_loss, reason = "both are held exactly")]
        let expected = Value::Float(a as f64 / b as f64);
        prop_assert_eq!(arithmetic::divide(&Value::Int(a), &Value::Int(b)).unwrap(), expected.clone());
        // The long way, over integers that no longer fit a float.
        let scale = Value::from_big(num_bigint::BigInt::from(1) << shift);
        let (a, b) = (arithmetic::multiply(&Value::Int(a), &scale).unwrap(), arithmetic::multiply(&Value::Int(b), &scale).unwrap());
        prop_assert_eq!(arithmetic::divide(&a, &b).unwrap(), expected);
    }

    #[test]
    fn a_float_survives_its_text_and_rounding_twice_changes_nothing(float in any::<f64>(), places in -5_i64..20) {
        prop_assume!(float.is_finite());
        let value = Value::Float(float);
        prop_assert_eq!(arithmetic::to_float(&Value::text(value.to_string())).unwrap(), value.clone());
        if let Ok(once) = arithmetic::round(&value, Some(&Value::Int(places))) {
            prop_assert_eq!(arithmetic::round(&once, Some(&Value::Int(places))).unwrap(), once);
        }
        let fixed = format_value(&value, ".3f").unwrap();
        if let Ok(Value::Float(rounded)) = arithmetic::round(&value, Some(&Value::Int(3))) {
            prop_assert_eq!(fixed.parse::<f64>().unwrap().to_bits(), rounded.to_bits());
        }
    }

    #[test]
    fn a_datatype_is_applied_once_and_for_all(text in made_of(&[
        "1", "2015", "-", "01", "20", "T", ":", "Z", ".", "e", "5", " ", "inf", "nan", "_", "\u{663}", "x",
    ])) {
        for datatype in ["date", "datetime", "string", "integer", "decimal", "array", "small_integer"] {
            let datatype = Datatype::from_name(datatype).unwrap();
            // Infinity is no integer, and that is an error.
            let Ok(once) = coerce(Value::text(text.clone()), datatype) else { continue };
            let twice = coerce(once.clone(), datatype).unwrap();
            let is_nan = matches!(&once, Value::Decimal(decimal) if decimal.is_nan());
            prop_assert!(is_nan || once == twice, "{:?} {:?}", once, twice);
        }
    }

    #[test]
    fn an_integer_is_read_from_its_text_and_from_a_float(integer in -(1_i64 << 53)..(1 << 53), blank in "[ \t\n]{0,2}") {
        let text = Value::text(format!("{blank}{integer}{blank}"));
        prop_assert_eq!(coerce(text, Datatype::Integer).unwrap(), Value::Int(integer));
        let fraction = coerce(Value::text(format!("{integer}.25")), Datatype::Integer).unwrap();
        prop_assert!(!fraction.is_null());
        #[expect(clippy::cast_precision_loss, reason = "held exactly")]
        let float = Value::Float(integer as f64);
        prop_assert_eq!(coerce(float, Datatype::Integer).unwrap(), Value::Int(integer));
        prop_assert_eq!(coerce(Value::Int(integer), Datatype::String).unwrap(), Value::text(integer.to_string()));
    }

    #[test]
    fn a_decimal_keeps_the_exact_value_of_a_float(float in any::<f64>()) {
        prop_assume!(float.is_finite());
        let decimal = coerce(Value::Float(float), Datatype::Decimal).unwrap();
        prop_assert_eq!(&decimal, &Value::Float(float));
        prop_assert_eq!(arithmetic::to_float(&decimal).unwrap(), Value::Float(float));
    }

    #[test]
    fn no_statement_panics(statement in made_of(&[
        "a", "s", "l", "n", "x", "1", "2.5", "-", "+", "*", "**", "/", "//", "%", "(", ")", "[", "]", "{", "}", ",", ":", ".", "'", "\"",
        "f'", "r'", "'%s'", " if ", " else ", " for ", " in ", " and ", " not ", " is ", "lambda ", "int(", "str(", "range(", "date(",
        "jsonpath(", "==", "<", "<<", ">>", "&", "~", "=", ";", "\n", "\\", "#", "!r", ":>5", "0x", "1e", "_", "é", "100000", "dict(", "set(",
    ])) {
        let _any_result = run(&statement);
    }

    #[test]
    fn no_path_panics(path in made_of(&[
        "a", "l", "$", "@", ".", "..", "*", "[", "]", "[0]", "[*]", "[-1:]", "[?(", "@.a", ">", "1", ")]", "[/", "\\", "`len`", "`parent`",
        "`sub(/a/, b)`", "|", "&", " where ", "+", "(", ")", ",", "'", "\"", "`", "=~", "true", "1.5", "é",
    ])) {
        let value = parse(r#"{"a": [{"a": 1}, {"a": "x"}, null], "l": {"a": [[1, 2], 3.5]}}"#).unwrap();
        if let Ok(path) = Path::compile(&path) {
            let _any_result = path.find(&value);
        }
    }

    #[test]
    fn no_pattern_panics(pattern in made_of(&[
        "a", "b", ".", "*", "+", "?", "(", ")", "(?:", "(?=", "(?<!", "(?P<n>", "(?P=n)", "(?i)", "[", "]", "^", "$", "|", "\\", "d", "1",
        "{", "}", "2", ",", "-", "&&", "é", "\\b", "\\Z", "[^",
    ]), text in "[ab1é\n]{0,30}") {
        if let Ok(pattern) = Pattern::compile(&pattern) {
            let _any_result = pattern.is_match(&text);
            let _any_replacement = pattern.replace_all(&text, r"\1x");
        }
    }

    #[test]
    fn no_format_panics(spec in made_of(&[
        "0", "5", "<", ">", "^", "=", "+", " ", "#", ",", "_", ".", "2", "d", "f", "e", "g", "x", "%", "s", "c", "n", "*", "{", "}", "!r", ":", "é",
    ]), float in any::<f64>(), integer in any::<i64>()) {
        let decimal = Value::decimal(ucr::number::Decimal::from_float(float));
        for value in [Value::Float(float), Value::Int(integer), Value::Bool(true), Value::text("text"), Value::Null, decimal] {
            let _any_result = format_value(&value, &spec);
            let _any_template = format_template(&spec, &value);
            let _any_percent = run(&format!("'%{}' % {}", spec.replace(['\'', '\\', '\n'], ""), value.repr()));
        }
    }
}
