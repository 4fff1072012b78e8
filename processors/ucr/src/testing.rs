//! Helps tests to say specification, document and result in a line each.

use std::collections::BTreeMap;

use crate::compiler::Compiler;
use crate::named::Names;
use crate::value::{Moment, Value, parse};
use crate::{Context, EvalError, Limits, QueryKind, World};

pub(crate) fn now() -> Moment {
    Moment::naive(jiff::civil::date(2021, 6, 15).at(12, 34, 56, 789_012_000))
}

/// Answers by kind and key.
#[derive(Default)]
pub(crate) struct Known(pub(crate) BTreeMap<(QueryKind, String), &'static str>);

impl Known {
    pub(crate) fn with(mut self, kind: QueryKind, key: &str, answer: &'static str) -> Self {
        self.0.insert((kind, key.to_owned()), answer);
        self
    }

    pub(crate) fn document(self, doc_type: &str, key: &str, answer: &'static str) -> Self {
        self.with(QueryKind::Document { doc_type: doc_type.to_owned() }, key, answer)
    }
}

impl<'a> World<'a> for Known {
    fn look_up(&self, kind: &QueryKind, key: &str) -> Result<Value<'a>, EvalError> {
        let answer = self.0.get(&(kind.clone(), key.to_owned()));
        Ok(answer.map(|json| parse(json).unwrap()).unwrap_or_default())
    }
}

/// What evaluating an expression gives, as Python writes it: `config: …` for what is wrong with it, `error: …` for what
/// goes wrong with the document.
pub(crate) fn expression(spec: &str, document: &str) -> String {
    expression_in(&Known::default(), spec, document)
}

pub(crate) fn expression_in(world: &Known, spec: &str, document: &str) -> String {
    applied(
        world,
        document,
        |compiler| compiler.expression(&parse(spec).unwrap()),
        |expression, item, context| expression.evaluate(item, context).map(|value| value.repr()),
    )
}

pub(crate) fn filter(spec: &str, document: &str) -> String {
    applied(
        &Known::default(),
        document,
        |compiler| compiler.filter(&parse(spec).unwrap()),
        |filter, item, context| filter.holds(item, context).map(|result| result.to_string()),
    )
}

/// The columns of an indicator with their values: `id=value, …`.
pub(crate) fn indicator(world: &Known, spec: &str, document: &str) -> String {
    applied(
        world,
        document,
        |compiler| compiler.indicator(&parse(spec).unwrap()),
        |indicator, item, context| {
            let Some(indicator) = indicator else { return Ok("no indicator".to_owned()) };
            let mut row = Vec::new();
            indicator.fill(item, context, &mut row)?;
            let columns = indicator.columns.iter().zip(row);
            let columns: Vec<String> =
                columns.map(|(column, value)| format!("{}={}", column.id, value.repr())).collect();
            Ok(columns.join(", "))
        },
    )
}

fn applied<T>(
    world: &Known,
    document: &str,
    compile: impl FnOnce(&mut Compiler<'_>) -> T,
    evaluate: impl for<'a> FnOnce(&T, &Value<'a>, &Context<'_, 'a>) -> Result<String, EvalError>,
) -> String {
    let mut compiler = Compiler::new(None, None);
    let compiled = compile(&mut compiler);
    if !compiler.problems.is_empty() {
        let problems: Vec<String> = compiler.problems.iter().map(ToString::to_string).collect();
        return format!("config: {}", problems.join("; "));
    }
    let document = parse(document).unwrap();
    let (names, limits) = (Names::default(), Limits::default());
    let context =
        Context { root: Some(&document), iteration: Some(7), now: now(), world, named: &names, limits: &limits };
    evaluate(&compiled, &document, &context).unwrap_or_else(|error| format!("error: {error}"))
}
