//! Python expressions over the properties of a document.
//!
//! A [`Program`] is compiled once and run many times. What it computes is what Python 3.6 with `simpleeval` 0.9.13 and
//! the original's functions computes: every type error, division by zero, unknown name, forbidden feature and syntax
//! error gives null, while bad values (`int("x")`), missing keys and indexes, and overflows fail the document.
//!
//! The parser is our own: `rustpython-parser` 0.4 adds 2.0 MB to a component and the parser of `ruff` 1.3 MB (both
//! measured alone for wasm32 with full optimisation), several times what everything else here takes together, for a
//! language of which most is forbidden; and neither knows the depth at which to stop.
//!
//! Differences that are left:
//! - `rand()` and `randint()` give null, because the same document has to give the same rows again;
//! - lists and objects of the configuration are refused as variables where they stand there as such or have a name; the
//!   original also refuses those that come out of another expression, such as the default of a `coalesce`;
//! - complex numbers (`1j`) and texts with `\N{…}` or lone surrogates give null;
//! - sets keep the order of insertion, where Python's order depends on a random number for texts;
//! - `is` between equal texts, floats, dates and large integers says true, where Python may say either;
//! - behind a first expression and `;`, statements other than expressions are not checked for their syntax;
//! - brackets nest to 60 levels (93 in Python 3.6), integers end at 300 000 digits, repetitions at 10 million elements,
//!   and everything at the limits of [`crate::Context`]; Python goes on until memory is full.

mod attribute;
mod call;
mod collection;
mod format;
mod fstring;
mod parse;
mod percent;
mod primary;
mod run;
mod syntax;
#[cfg(test)]
mod tests;
mod text;
mod token;

pub use format::{format_template, format_value};

use crate::value::{Dict, Value};
use crate::{Context, EvalError};
use syntax::Expression;

#[derive(Clone, Debug)]
pub struct Program {
    body: Body,
    may_reach_document: bool,
}

#[derive(Clone, Debug)]
enum Body {
    Expression(Expression),
    /// Bad syntax, or a statement that is no expression.
    Null,
    Fails(EvalError),
}

impl Program {
    /// Never fails: what cannot be compiled gives null, or fails when it is run, as in the original.
    pub fn compile(statement: &str) -> Self {
        let body = match parse::parse(statement) {
            Ok(expression) => Body::Expression(expression),
            Err(parse::Problem::Syntax) => Body::Null,
            Err(parse::Problem::Fails(error)) => Body::Fails(error),
        };
        // Whatever the syntax makes of it: these functions cannot be called without their names.
        let may_reach_document =
            !statement.is_ascii() || statement.contains("root_context") || statement.contains("named");
        Self { body, may_reach_document }
    }

    /// Whether it may look at the document beside its variables: at the root document, or through named expressions.
    pub(crate) fn may_reach_document(&self) -> bool {
        self.may_reach_document
    }

    /// Gives null, for variables of types that the original refuses whatever the statement.
    pub fn null() -> Self {
        Self { body: Body::Null, may_reach_document: false }
    }

    /// The value of the expression, with these variables or, without any, the properties of the item; none where the
    /// original gives up with null.
    ///
    /// # Errors
    ///
    /// Whatever Python does not count as a wrong type, a division by zero or an invalid expression, and limits.
    pub fn run<'a>(
        &self,
        variables: Option<&Dict<'a>>,
        item: &Value<'a>,
        context: &Context<'_, 'a>,
    ) -> Result<Option<Value<'a>>, EvalError> {
        let names = variables.or_else(|| item.as_dict());
        let allowed = |value: &Value<'_>| {
            !matches!(value, Value::Time(_) | Value::Duration(_) | Value::Tuple(_) | Value::Set(_) | Value::Function(_))
        };
        if !names.is_none_or(|names| names.iter().all(|(_, value)| allowed(value))) {
            return Ok(None);
        }
        let expression = match &self.body {
            Body::Expression(expression) => expression,
            Body::Null => return Ok(None),
            Body::Fails(error) => return Err(error.clone()),
        };
        match run::run(expression, variables, item, context) {
            Err(EvalError::Type(_) | EvalError::DivisionByZero) => Ok(None),
            result => result.map(Some),
        }
    }
}
