//! Whatever is too deep, too large or too long ends in an error, soon and within little memory.
#![expect(clippy::unwrap_used, reason = "helpers of a test")]

use std::time::{Duration, Instant};

use jiff::civil::date;
use ucr::value::{Moment, Value, parse};
use ucr::vectors::to_json;
use ucr::{ConfigError, DataSource, EmptyWorld, Outcome};

/// Generous, for a build without optimisation on a busy machine; what has no limit takes years.
const SOON: Duration = Duration::from_secs(60);

fn source(more: &str) -> Result<DataSource, ConfigError> {
    let config = format!(r#"{{"domain": "d", "table_id": "t", "referenced_doc_type": "CommCareCase", {more}}}"#);
    DataSource::compile(&parse(&config).unwrap())
}

/// A data source with one column of this type.
fn column(datatype: &str, expression: &str) -> Result<DataSource, ConfigError> {
    source(&format!(
        r#""configured_indicators": [
            {{"type": "expression", "column_id": "c", "datatype": "{datatype}", "expression": {expression}}}]"#
    ))
}

/// The value of the last column of the first row, or what goes wrong.
fn value(source: &DataSource, document: &str) -> String {
    let document = format!(r#"{{"_id": "c1", "domain": "d", "doc_type": "CommCareCase", {document}}}"#);
    let document = parse(&document).unwrap();
    let now = Moment::naive(date(2021, 6, 15).at(12, 0, 0, 0));
    match source.process(&document, now, &EmptyWorld) {
        Ok(Outcome::Rows(rows)) => to_json(rows.first().and_then(|row| row.last()).unwrap_or(&Value::Null)),
        Ok(other) => format!("{other:?}"),
        Err(error) => error.to_string(),
    }
}

fn soon<T>(run: impl FnOnce() -> T) -> T {
    #[expect(clippy::disallowed_methods, reason = "there is nothing to pause")]
    let start = Instant::now();
    let result = run();
    assert!(start.elapsed() < SOON, "took {:?}", start.elapsed());
    result
}

fn check(datatype: &str, expression: &str, document: &str, expected: &str) {
    let found = soon(|| value(&column(datatype, expression).unwrap(), document));
    assert!(found.contains(expected), "{expression:.200} gives {found:.200}");
}

fn repeated(count: usize, text: impl Fn(usize) -> String) -> String {
    (0..count).map(text).collect::<Vec<_>>().join(", ")
}

/// `core`, within so many layers.
fn wrapped(count: usize, before: &str, core: &str, behind: &str) -> String {
    format!("{}{core}{}", before.repeat(count), behind.repeat(count))
}

/// A list of the value twice, of which each is such a list, and so on: as large as that in writing, and small in memory.
fn doubled(levels: usize) -> String {
    let twice = r#"{"type": "iterator", "expressions": [{"type": "identity"}, {"type": "identity"}]}"#;
    (0..levels).fold(twice.to_owned(), |inner, _| {
        format!(r#"{{"type": "nested", "argument_expression": {twice}, "value_expression": {inner}}}"#)
    })
}

#[test]
fn configurations_nested_too_deep_are_refused() {
    let expression = wrapped(90, r#"{"type": "root_doc", "expression": "#, r#"{"type": "identity"}"#, "}");
    assert!(column("string", &expression).is_ok());
    for (before, core, behind) in [
        (r#"{"type": "root_doc", "expression": "#, r#"{"type": "identity"}"#, "}"),
        (
            r#"{"type": "nested", "value_expression": {"type": "identity"}, "argument_expression": "#,
            r#"{"type": "identity"}"#,
            "}",
        ),
    ] {
        let problems = column("string", &wrapped(110, before, core, behind)).map(|_| ()).unwrap_err();
        assert!(problems.to_string().contains("nested deeper"), "{problems}");
    }
    let filter = wrapped(110, r#"{"type": "not", "filter": "#, r#"{"type": "and", "filters": []}"#, "}");
    assert!(source(&format!(r#""configured_filter": {filter}"#)).is_err());
    assert!(parse(&wrapped(1_000_000, "[", "", "]")).is_err());
    assert!(parse(&wrapped(1_000_000, r#"{"a":"#, "1", "}")).is_err());
}

#[test]
fn names_that_lead_to_themselves_are_refused() {
    let named = |name: &str| format!(r#"{{"type": "named", "name": "{name}"}}"#);
    let circle = format!(r#""named_expressions": {{"a": {}, "b": {}, "c": {}}}"#, named("b"), named("c"), named("a"));
    let problems = soon(|| source(&circle)).map(|_| ()).unwrap_err();
    assert!(problems.to_string().contains("itself"), "{problems}");
    let own = r#""named_expressions": {"a": {"type": "evaluator", "statement": "named('a')", "context_variables": {}}},
        "configured_indicators": [{"type": "expression", "column_id": "c", "datatype": "string",
            "expression": {"type": "named", "name": "a"}}]"#;
    let found = soon(|| value(&source(own).unwrap(), "\"a\": 1"));
    assert!(found.contains("nested too deep"), "{found}");
}

#[test]
fn names_that_use_others_twice_take_no_more_than_the_steps() {
    let names = repeated(60, |at| {
        let used = if at == 0 { "1".to_owned() } else { format!(r#"{{"type": "named", "name": "n{}"}}"#, at - 1) };
        format!(r#""n{at}": {{"type": "iterator", "expressions": [{used}, {used}]}}"#)
    });
    let config = format!(
        r#""named_expressions": {{{names}}}, "configured_indicators": [{{"type": "expression", "column_id": "c",
            "datatype": "string", "expression": {{"type": "named", "name": "n59"}}}}]"#
    );
    let found = soon(|| value(&source(&config).unwrap(), "\"a\": 1"));
    assert!(found.contains("steps"), "{found}");
}

#[test]
fn thousands_of_names_in_the_wrong_order_are_read_soon() {
    let count = 10_000;
    let constant = r#"{"type": "constant", "constant": 1}"#;
    let names = repeated(count, |at| {
        let used = if at + 1 == count {
            constant.to_owned()
        } else {
            format!(r#"{{"type": "named", "name": "n{}"}}"#, at + 1)
        };
        format!(r#""n{at}": {{"type": "coalesce", "expression": {used}, "default_expression": {constant}}}"#)
    });
    let read = soon(|| source(&format!(r#""named_expressions": {{{names}}}"#))).unwrap();
    // Each holds the next one, and dropping them takes no stack either.
    drop(read);
}

#[test]
fn lists_that_are_larger_than_they_look_end_in_an_error() {
    for datatype in ["string", "array", "integer", "decimal", "date"] {
        soon(|| value(&column(datatype, &doubled(40)).unwrap(), "\"a\": 1"));
    }
    let compared = format!(
        r#"{{"type": "conditional", "expression_if_true": 1, "expression_if_false": 0, "test": {{
            "type": "boolean_expression", "operator": "eq", "expression": {0}, "property_value": {0}}}}}"#,
        doubled(40)
    );
    soon(|| value(&column("string", &compared).unwrap(), "\"a\": 1"));
}

#[test]
fn huge_lists_are_counted_as_steps() {
    let items = format!("\"l\": [{}]", repeated(600_000, |at| at.to_string()));
    let list = r#"{"type": "property_name", "property_name": "l"}"#;
    let mapped = format!(
        r#"{{"type": "map_items", "items_expression": {list}, "map_expression": {{"type": "map_items",
            "items_expression": {{"type": "root_doc", "expression": {list}}}, "map_expression": {{"type": "identity"}}}}}}"#
    );
    check("string", &mapped, &items, "more steps");
    check(
        "integer",
        &format!(r#"{{"type": "reduce_items", "items_expression": {list}, "aggregation_fn": "count"}}"#),
        &items,
        "600000",
    );
}

#[test]
fn texts_and_numbers_do_not_grow_without_end() {
    let statement = |statement: &str| {
        format!(r#"{{"type": "evaluator", "statement": "{statement}", "context_variables": {{"s": "x", "n": 9}}}}"#)
    };
    for endless in [
        "s * 10**9",
        "s * 1000 * 1000 * 1000 * 1000",
        "[s] * 10**8",
        "9**9**9",
        "n**n**n**n",
        "1 << 10**9",
        "'%1000000000d' % n",
        "'{:>999999999}'.format(s)",
        "f'{s:>999999999}'",
        "[[[x for x in range(100)] for y in range(100)] for z in range(100)]",
        "(lambda f: f(f))(lambda f: f(f))",
    ] {
        let found = soon(|| value(&column("string", &statement(endless)).unwrap(), "\"a\": 1"));
        assert!(found.len() < 10_000, "{endless} gives a text of {} bytes", found.len());
    }
    let deep = statement(&wrapped(5_000, "(", "1", ")"));
    soon(|| value(&column("string", &deep).unwrap(), "\"a\": 1"));
}

#[test]
fn patterns_that_go_back_for_ever_end_in_an_error() {
    let filter = |pattern: &str| {
        format!(
            r#"{{"type": "conditional", "expression_if_true": "found", "expression_if_false": "not found", "test": {{
                "type": "boolean_expression", "operator": "regex", "property_value": "{pattern}",
                "expression": {{"type": "property_name", "property_name": "t"}}}}}}"#
        )
    };
    let text = format!("\"t\": \"{}b\"", "a".repeat(50_000));
    check("string", &filter("^(a+)+$"), &text, "not found");
    check("string", &filter(r"(?=a)(a+)+\\1c"), &text, "takes too long");
    let found = soon(|| value(&column("string", &filter("((a{100}){100}){100}")).unwrap(), &text));
    assert!(found.contains("no regular expression"), "{found}");
}

#[test]
fn a_table_has_no_more_columns_than_a_database_takes() {
    let choices = repeated(1_700, |at| format!("\"c{at}\""));
    let list = format!(
        r#""configured_indicators": [{{"type": "choice_list", "column_id": "c", "property_name": "p", "choices": [{choices}]}}]"#
    );
    assert!(source(&list).map(|_| ()).unwrap_err().to_string().contains("1600 columns"));
}

#[test]
fn a_million_problems_are_not_all_told() {
    let wrong = repeated(20_000, |_| "{}".to_owned());
    let error = soon(|| source(&format!("\"configured_indicators\": [{wrong}]"))).map(|_| ()).unwrap_err();
    assert!(error.problems.len() <= 300, "{}", error.problems.len());
    let names = repeated(5_000, |at| format!("\"n{at}\": {{}}"));
    let error = soon(|| source(&format!("\"named_filters\": {{{names}}}, \"named_expressions\": {{{names}}}")));
    let count = error.map(|_| ()).unwrap_err().problems.len();
    assert!(count <= 300, "{count}");
}
