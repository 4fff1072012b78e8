//! Each rule of the language, as a statement and its result.

use super::Program;
use crate::value::{Dict, Moment, Text, Value, parse};
use crate::{Context, EmptyWorld, EvalError, Limits, NoNames};

const DOCUMENT: &str = r#"{"a": 5, "b": 3, "f": 2.5, "s": "abc", "n": null, "list": [3, 1, 2], "items": 7,
    "case": {"name": "bob", "age": 30, "tags": ["x", "y"]}, "cases": [{"id": 1}, {"id": 2}], "date": "2015-01-20"}"#;

fn evaluate(statement: &str, document: &str) -> Result<Value<'static>, EvalError> {
    let item = parse(document).unwrap();
    let root = parse(r#"{"name": "root"}"#).unwrap();
    let limits = Limits::default();
    let now = Moment::naive(jiff::civil::date(2021, 6, 15).at(12, 34, 56, 789_012_000));
    let context =
        Context { root: Some(&root), iteration: Some(0), now, world: &EmptyWorld, named: &NoNames, limits: &limits };
    Program::compile(statement).run(None, &item, &context).map(Option::unwrap_or_default).map(Value::into_owned)
}

fn check(statement: &str, expected: &str) {
    let result = evaluate(statement, DOCUMENT);
    assert_eq!(result.map(|value| value.repr()).as_deref(), Ok(expected), "{statement}");
}

fn all(cases: &[(&str, &str)]) {
    for (statement, expected) in cases {
        check(statement, expected);
    }
}

fn nulls(statements: &[&str]) {
    for statement in statements {
        check(statement, "None");
    }
}

fn fails(statement: &str, kind: fn(&EvalError) -> bool) {
    let result = evaluate(statement, DOCUMENT);
    assert!(result.as_ref().is_err_and(kind), "{statement}: {result:?}");
}

#[test]
fn operators_bind_as_in_python() {
    all(&[
        ("1 + 2 * 3", "7"),
        ("(1 + 2) * 3", "9"),
        ("10 - 4 - 3", "3"),
        ("2 - -3", "5"),
        ("7 // 2 * 2 + 7 % 2", "7"),
        ("1 | 2 ^ 3 & 1 << 2", "3"),
        ("not 1 == 2", "True"),
        ("1 < 2 < 3", "True"),
        ("1 < 3 < 2", "False"),
        ("a > 1 and b < 5 or n", "True"),
        ("n or s or 5", "'abc'"),
        ("a and n", "None"),
        ("1 if n else 2 if a else 3", "2"),
        ("a if a > b else b", "5"),
        ("2 in list and 9 not in list", "True"),
        ("n is None", "True"),
        ("a is not None", "True"),
        ("-a + +b - ~0", "-1"),
        ("5 .real", "5"),
    ]);
}

#[test]
fn numbers_are_pythons() {
    all(&[
        ("7 / 2", "3.5"),
        ("-7 // 2", "-4"),
        ("-7 % 3", "2"),
        ("0.1 + 0.2", "0.30000000000000004"),
        ("99999999999999999999 + 1", "100000000000000000000"),
        ("1_000 + 0x10 + 0o10 + 0b1", "1025"),
        ("1e400", "inf"),
        ("True + True", "2"),
        ("True & False", "False"),
        ("round(2.5)", "2"),
        ("round(1.005, 2)", "1.0"),
        ("round(a / 3.0, ndigits=2)", "1.67"),
        ("int('٣') + int(' 4 ') + int(2.9) + int('ff', 16)", "264"),
        ("float('1e3')", "1000.0"),
        ("str(1e16) + str(1.0) + str(True)", "'1e+161.0True'"),
    ]);
    nulls(&[
        "10 ** 2",
        "a ** b",
        "1 / 0",
        "5.0 // 0.0",
        "1 % 0",
        "1 << 10001",
        "~2.5",
        "a + s",
        "1j",
        "int(None)",
        "abs(a)",
    ]);
    fails("int('x')", |error| matches!(error, EvalError::Value(_)));
    fails("int(1e400)", |error| matches!(error, EvalError::Overflow(_)));
    fails("1 << -1", |error| matches!(error, EvalError::Value(_)));
    // The sides of a power are evaluated before it is refused.
    fails("int('x') ** 2", |error| matches!(error, EvalError::Value(_)));
}

#[test]
fn texts_are_pythons() {
    all(&[
        (r#""x" 'y' r'\n' '''z'''"#, r"'xy\\nz'"),
        (r"'\x41\u00e9\101\t'", r"'AéA\t'"),
        ("s[0] + s[-1] + s[1:] + s[::-1]", "'acbccba'"),
        ("s * 2", "'abcabc'"),
        ("'b' in s", "True"),
        ("'%s-%03d|%5.1f|%x' % (s, a, f, 255)", "'abc-005|  2.5|ff'"),
        ("'%(name)s' % case", "'bob'"),
        ("'100%%' % ()", "'100%'"),
        ("f'{a}{s!r:>5}{f:.2f}{{}}'", "'5  abc2.50{}'"),
        ("f'{a:{b}d}|{1000000:,}|{0.5:.0%}|{255:#x}'", "'  5|1,000,000|50%|0xff'"),
        ("f'{date}'[:4]", "'2015'"),
        ("f'{0.0:.1}|{0.0:.2}|{5.0:.1}'", "'0e+00|0.0|5e+00'"),
        ("'é'[0]", "'é'"),
    ]);
    nulls(&[
        "'%s %s' % a",
        "'%d' % s",
        "'a' % a",
        "s.upper()",
        "'abc'.format(a)",
        "f'{n:5}'",
        "b'x'",
        "'unfinished",
        "'\\N{BULLET}'",
    ]);
    fails("'%q' % a", |error| matches!(error, EvalError::Value(_)));
    fails("f'{s:d}'", |error| matches!(error, EvalError::Value(_)));
    fails("s[9]", |error| matches!(error, EvalError::Missing(_)));
}

#[test]
fn collections_are_pythons() {
    all(&[
        ("[a, *list, b]", "[5, 3, 1, 2, 3]"),
        ("(a, b)", "(5, 3)"),
        ("a, b", "(5, 3)"),
        ("{'x': a, b: 'y', **case}['name']", "'bob'"),
        ("{1, 1.0, True, 2}", "{1, 2}"),
        ("list[1:] + list[:1]", "[1, 2, 3]"),
        ("[x * 2 for x in list if x > 1]", "[6, 4]"),
        ("[x + y for x in [1, 2] for y in [10, 20] if y > x]", "[11, 21, 12, 22]"),
        ("[k for k, v in [('p', 1), ('q', 2)] if v > 1]", "['q']"),
        ("list(x for x in range(3))", "[0, 1, 2]"),
        ("[x for x in (y if y % 2 == 0 else 0 for y in range(5)) if x]", "[2, 4]"),
        ("dict([('k', 1)], z=2)", "{'k': 1, 'z': 2}"),
        ("tuple('ab')", "('a', 'b')"),
        ("range(10, 0, -3)", "[10, 7, 4, 1]"),
        ("range(99) == [x for x in range(99)]", "True"),
        ("{1} < {1, 2}", "True"),
    ]);
    nulls(&[
        "range(100)",
        "{x: x for x in list}",
        "{x for x in list}",
        "{[]: 1}",
        "list[s]",
        "(*list, a)",
        "list < s",
        "[x for x in 5]",
    ]);
    nulls(&["[x for x in range(99) for y in range(99) for z in range(99)]", "[0] * 100001", "s * 33334"]);
    fails("list[9]", |error| matches!(error, EvalError::Missing(_)));
    fails("case['zz']", |error| matches!(error, EvalError::Missing(_)));
    fails("list[::0]", |error| matches!(error, EvalError::Value(_)));
    fails("range(0, 1, 0)", |error| matches!(error, EvalError::Value(_)));
}

#[test]
fn attributes_fall_back_to_properties() {
    all(&[
        ("case.name", "'bob'"),
        ("case.tags[1]", "'y'"),
        ("(3).denominator", "1"),
        ("date('2015-01-20').year", "2015"),
        ("(date('2015-01-22') - date('2015-01-20')).days", "2"),
    ]);
    nulls(&["case.nope", "case.nope or 5", "case._name", "case.__class__", "n.x", "s.x", "case.format"]);
    // A method hides a property of its name, and can be neither called nor stored.
    assert!(matches!(evaluate("case.items", DOCUMENT), Ok(Value::Function("items"))));
    check("items", "7");
}

#[test]
fn functions_of_the_original() {
    all(&[
        ("today().year", "2021"),
        ("days(date('2015-02-20') - date('2015-01-20'))", "31"),
        ("timedelta_to_seconds(date('2015-01-20T00:00:01.5Z') - date('2015-01-20'))", "1.5"),
        ("timedelta_to_seconds(a)", "None"),
        ("str(date('2015-01-20T10:11:12+02:00'))", "'2015-01-20 10:11:12+02:00'"),
        ("str(date('20/01/2015', '%d/%m/%Y'))", "'2015-01-20 00:00:00'"),
        ("f\"{date('2015-01-20'):%d.%m.%y}\"", "'20.01.15'"),
        ("jsonpath('case.name')", "'bob'"),
        ("jsonpath('cases[*].id')", "[1, 2]"),
        ("jsonpath('zz')", "None"),
        ("jsonpath('zz', as_list=True)", "[]"),
        ("jsonpath('name', context=root_context())", "'root'"),
        ("jsonpath('name', False, case)", "'bob'"),
        ("context()['a']", "5"),
        ("str(context) == ''", "False"),
    ]);
    nulls(&[
        "today(1)",
        "jsonpath()",
        "rand()",
        "randint(5)",
        "unknown(a)",
        "round()",
        "date('x', 5)",
        "int(*list)",
        "int(**case)",
    ]);
    fails("days(5)", |error| matches!(error, EvalError::Attribute(_)));
    fails("date('bad')", |error| matches!(error, EvalError::Config(_)));
    fails("jsonpath('a[')", |error| matches!(error, EvalError::Config(_)));
    fails("named('nope')", |error| matches!(error, EvalError::Config(_)));
}

#[test]
fn of_several_statements_the_first_counts_and_an_assignment_is_its_value() {
    all(&[
        ("a; b", "5"),
        ("x = b", "3"),
        ("x = y = b", "3"),
        ("x += b", "3"),
        ("a\nb", "5"),
        ("  a  # a comment", "5"),
        ("(a +\n b)", "8"),
    ]);
    nulls(&[
        "",
        " ",
        "a +",
        "a b",
        "5 = a",
        "a; b b",
        "import os",
        "del a",
        "lambda: 1",
        "(lambda x: x)(1)",
        "a\n  b",
        "x: int = 5",
        "(a",
        "a)",
    ]);
    nulls(&[
        "$",
        "a ? b",
        "012",
        "1__0",
        "f(a for a in list, 1)",
        "int(x=1, 2)",
        "yield a",
        "...",
        "pass",
        "if a: b",
        "print a",
    ]);
    check("1 if True else lambda: 2", "1");
    fails("a\0", |error| matches!(error, EvalError::Value(_)));
}

#[test]
fn variables_hide_the_item_and_their_types_are_checked() {
    let item = parse(DOCUMENT).unwrap();
    let limits = Limits::default();
    let now = Moment::naive(jiff::civil::date(2021, 6, 15).at(0, 0, 0, 0));
    let context = Context { root: None, iteration: None, now, world: &EmptyWorld, named: &NoNames, limits: &limits };
    let try_run = |statement: &str, value: Value<'static>| {
        let variables: Dict<'_> = [(Text::from("v"), value)].into_iter().collect();
        Program::compile(statement).run(Some(&variables), &item, &context)
    };
    let run = |statement: &str, value: Value<'static>| try_run(statement, value).unwrap().unwrap_or_default().repr();
    assert_eq!(run("v + 1", Value::Int(1)), "2");
    assert_eq!(run("a", Value::Int(1)), "None");
    assert_eq!(run("context()", Value::Int(1)), "{'v': 1}");
    assert!(matches!(try_run("root_context()", Value::Int(1)), Err(EvalError::Attribute(_))));
    for refused in [Value::Tuple(Vec::new().into()), Value::Set(Vec::new().into()), Value::Function("int")] {
        assert_eq!(run("1", refused), "None");
    }
    assert_eq!(Program::compile("1 + 1").run(None, &Value::text("no dict"), &context).unwrap(), Some(Value::Int(2)));
}

#[test]
fn whatever_the_text_it_ends_within_the_limits() {
    let deep = 20_000;
    for (open, close) in [
        ("(", ")"),
        ("[", "]"),
        ("{1:", "}"),
        ("-", ""),
        ("not ", ""),
        ("~", ""),
        ("f'{", "}'"),
        ("int(", ")"),
        ("a[", "]"),
        ("lambda: ", ""),
    ] {
        let text = format!("{}1{}", open.repeat(deep), close.repeat(deep));
        let _finished = evaluate(&text, DOCUMENT);
        let _unfinished = evaluate(&open.repeat(deep), DOCUMENT);
        let shallow = format!("{}1{}", open.repeat(40), close.repeat(40));
        let _finished = evaluate(&shallow, DOCUMENT);
    }
    check(&vec!["1"; deep].join(" + "), &deep.to_string());
    check(&vec!["1"; deep].join(" if 0 else "), "1");
    check(&format!("s{}", "[0]".repeat(deep)), "'a'");
    check(&format!("len(str({}))", "9".repeat(10_000)), "None");
    fails(&"9".repeat(30_000), |error| matches!(error, EvalError::Limit(_)));
    fails(&format!("{}1{}", "(".repeat(95), ")".repeat(95)), |error| matches!(error, EvalError::Limit(_)));
    // Doubling by sharing: 2^60 elements in a few words.
    let mut doubled = String::from("[1]");
    for name in 0..60 {
        doubled = format!("[[x{name}, x{name}] for x{name} in {doubled}]");
    }
    assert!(matches!(evaluate(&format!("str({doubled})"), DOCUMENT), Err(EvalError::Limit(_))));
    assert!(matches!(evaluate(&doubled, DOCUMENT), Err(EvalError::Limit(_))));
    let squares: String = (0..40).map(|level| format!(" for y{} in [y{level} * y{level}]", level + 1)).collect();
    fails(&format!("[1 for y0 in [99]{squares}]"), |error| matches!(error, EvalError::Limit(_)));
    fails("'%999999999d' % 1", |error| matches!(error, EvalError::Limit(_)));
    fails("f'{1:999999999}'", |error| matches!(error, EvalError::Limit(_)));
}
