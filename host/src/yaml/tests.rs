//! What the safe loader makes of texts, and what JSON cannot say.

use proptest::prelude::*;

use super::to_json;

fn check(yaml: &str, expected: &str) {
    assert_eq!(to_json(yaml).as_deref(), Ok(expected), "{yaml}");
}

fn refused(yaml: &str, expected: &str) {
    assert_eq!(to_json(yaml).map_err(|error| error.to_string()), Err(expected.to_owned()), "{yaml}");
}

#[test]
fn scalars_are_what_the_rules_of_1_1_say() {
    for (yaml, expected) in [
        ("null", "null"),
        ("~", "null"),
        ("nULL", "\"nULL\""),
        ("yes", "true"),
        ("Off", "false"),
        ("y", "\"y\""),
        ("tRue", "\"tRue\""),
        ("0", "0"),
        ("-0", "0"),
        ("+12", "12"),
        ("-1_000", "-1000"),
        ("123456789012345678901234567890123456789012345", "123456789012345678901234567890123456789012345"),
        ("010", "8"),
        ("08", "\"08\""),
        ("0o17", "\"0o17\""),
        ("0b101", "5"),
        ("-0x1F", "-31"),
        ("1:30", "90"),
        ("1:60", "\"1:60\""),
        ("190:20:30", "685230"),
        ("1.50", "1.5"),
        ("1.", "1.0"),
        (".5", "0.5"),
        ("-.5", "\"-.5\""),
        ("1e3", "\"1e3\""),
        ("1.0e3", "\"1.0e3\""),
        ("1.0e+3", "1000.0"),
        ("1:30.5", "90.5"),
        ("01.5", "1.5"),
        ("1.2.3", "\"1.2.3\""),
        ("=", "\"=\""),
        ("1 000", "\"1 000\""),
        ("'12'", "\"12\""),
        ("\"yes\"", "\"yes\""),
        ("|\n  12\n", "\"12\\n\""),
        ("!!str 12", "\"12\""),
        ("! 12", "\"12\""),
        ("!!int '12'", "12"),
        ("!!float 3", "3.0"),
        ("!!float '1e3'", "1000.0"),
        ("!!bool 'no'", "false"),
        ("!!null ''", "null"),
        ("\"\\u0000\\n\u{e9}\"", "\"\\u0000\\n\u{e9}\""),
    ] {
        check(yaml, expected);
    }
}

#[test]
fn dates_are_texts_and_moments_are_texts_in_utc() {
    for (yaml, expected) in [
        ("2015-01-31", "\"2015-01-31\""),
        ("2015-1-31", "\"2015-1-31\""),
        ("2015-01-31T10:00:00Z", "\"2015-01-31T10:00:00Z\""),
        ("2015-1-31 9:00:00", "\"2015-01-31T09:00:00Z\""),
        ("2015-01-31t00:30:00.5 +1:30", "\"2015-01-30T23:00:00.500000Z\""),
        ("2015-01-31 10:00:00.1234567 -5", "\"2015-01-31T15:00:00.123456Z\""),
        ("2015-01-31 10:00", "\"2015-01-31 10:00\""),
        ("2015-01-31 10:00:00 UTC", "\"2015-01-31 10:00:00 UTC\""),
        ("2015-01-31T10:00:00.", "\"2015-01-31T10:00:00Z\""),
        ("!!timestamp '2015-01-31'", "\"2015-01-31\""),
        ("'2015-01-31 10:00:00'", "\"2015-01-31 10:00:00\""),
    ] {
        check(yaml, expected);
    }
    let error = to_json("a: 2015-02-30").unwrap_err();
    assert!(error.to_string().starts_with("line 1, column 4: `2015-02-30` is no moment: "), "{error}");
    assert!(to_json("2015-01-31 10:00:60").is_err());
}

#[test]
fn lists_and_mappings_are_those_of_json() {
    check("a: [1, 'x', {b: ~}]\nc:\n- - d\n  -\n- {}\n", r#"{"a":[1,"x",{"b":null}],"c":[["d",null],{}]}"#);
    check("# a comment\n---\n- >\n  one\n  two\n...\n", r#"["one two\n"]"#);
    check("\u{feff}a: 1\n", r#"{"a":1}"#);
    // Of several entries with one key the last counts, as in Python.
    check("{a: 1, b: 2, a: 3}", r#"{"a":3,"b":2}"#);
    check("!!map {a: !!seq [1]}", r#"{"a":[1]}"#);
}

#[test]
fn aliases_repeat_and_merges_give_way() {
    check("a: &x [1, &y 2]\nb: *x\nc: *y\n", r#"{"a":[1,2],"b":[1,2],"c":2}"#);
    check("&k key: 1\nother: *k\n", r#"{"key":1,"other":"key"}"#);
    check("a: &x 1\nb: &x 2\nc: *x\n", r#"{"a":1,"b":2,"c":2}"#);
    let text = "one: &one {a: 1, b: 1}\ntwo: &two {b: 2, c: 2}\nboth:\n  c: 3\n  <<: [*one, *two]\n";
    check(text, r#"{"one":{"a":1,"b":1},"two":{"b":2,"c":2},"both":{"b":1,"c":3,"a":1}}"#);
    check("a: &a {x: 1}\nb: {<<: *a, '<<': 2}\n", r#"{"a":{"x":1},"b":{"x":1,"<<":2}}"#);
}

#[test]
fn what_json_cannot_say_is_refused_at_its_place() {
    refused("", "line 1, column 1: it is empty");
    refused("# nothing\n", "line 1, column 1: it is empty");
    refused("a: 1\n---\nb: 2\n", "line 2, column 1: a second document begins; a file holds one");
    refused(
        "a:\n  on: 1\n",
        "line 2, column 3: a key must be a text, and `on` is the boolean true here: put it in quotes",
    );
    refused("{1: a}", "line 1, column 2: a key must be a text, and `1` is a number here: put it in quotes");
    refused("? [a]\n: b\n", "line 1, column 3: a key must be a text, not a list or a mapping");
    refused("a: &x 1\n*x : b\n", "line 2, column 1: a key must be a text");
    refused("a: .inf", "line 1, column 4: `.inf` cannot be said in JSON");
    refused("a: 1.0e+999", "line 1, column 4: too large a number");
    refused("a: !!binary aGk=", "line 1, column 4: the tag !!binary cannot be said in JSON");
    refused(
        "a: !!python/object:x.Y {}",
        "line 1, column 4: the tag !!python/object:x.Y does not fit here, or cannot be said in JSON",
    );
    refused("- !mine 1", "line 1, column 3: the tag !mine is not known");
    refused("- !!int one", "line 1, column 3: `one` is no int");
    refused("a: {<<: 1}", "line 1, column 9: `<<` merges a mapping, or a list of mappings");
}

#[test]
fn what_is_no_yaml_is_named_with_its_place() {
    for (yaml, place) in [
        ("a: [1, 2\nb: 3\n", "line 2, column "),
        ("a:\n\tb: 1\n", "line 2, column "),
        ("a: 'x\n", "line "),
        ("- a\nb: 1\n", "line 2, column 1"),
        ("a: *nobody\n", "line 1, column 4"),
    ] {
        let error = to_json(yaml).unwrap_err().to_string();
        assert!(error.starts_with(place) && error.contains("it is no YAML: "), "{yaml}: {error}");
    }
}

#[test]
fn what_would_grow_beyond_all_bounds_is_refused() {
    let mut laughs = "a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n".to_owned();
    for level in 1..40 {
        let aliases = vec![format!("*a{}", level - 1); 9].join(", ");
        laughs += &format!("a{level}: &a{level} [{aliases}]\n");
    }
    let error = to_json(&laughs).unwrap_err();
    assert!(error.problem == "aliases repeat more than 16 MiB" && error.line < 10, "{error}");
    refused("&a [1, *a]", "line 1, column 8: the alias stands within what it would repeat");
    for deep in ["[".repeat(200), "- ".repeat(100_000), "{a: ".repeat(200)] {
        let error = to_json(&deep).unwrap_err();
        assert_eq!(error.problem, "lists and mappings stand more than 100 deep in each other");
    }
    // The same by aliases, each a little deeper than the one before.
    let mut deep = "a0: &a0 [1]\n".to_owned();
    (1..200).for_each(|level| deep += &format!("a{level}: &a{level} [*a{}]\n", level - 1));
    assert_eq!(to_json(&deep).unwrap_err().line, 101);
    // What nothing repeats may be large.
    let large = format!("- {}\n", "x".repeat(1000)).repeat(20_000);
    assert!(to_json(&large).unwrap().len() > 20_000_000);
}

proptest! {
    #[test]
    fn every_text_ends_in_json_or_an_error(text in "([-:?,\\[\\]{}&*!|>'\"%@#~<=a1._ \n\t]|\\PC){0,60}") {
        if let Ok(json) = to_json(&text) {
            prop_assert!(serde_json::from_str::<&serde_json::value::RawValue>(&json).is_ok(), "{json}");
        }
    }

    #[test]
    fn json_without_tabs_is_yaml(text in "[ -~é]{0,20}", number in any::<i64>(), flag in any::<bool>()) {
        let json = serde_json::json!({ "text": text, "list": [number, flag, (), { "a": [] }] }).to_string();
        let json = serde_json::from_str::<serde_json::Value>(&json).unwrap();
        let read: serde_json::Value = serde_json::from_str(&to_json(&json.to_string()).unwrap()).unwrap();
        prop_assert_eq!(read, json);
    }
}
