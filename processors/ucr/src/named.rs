//! Named expressions and filters.

use std::collections::BTreeSet;
use std::rc::Rc;

use crate::compiler::Compiler;
use crate::error::Problem;
use crate::expression::Expression;
use crate::filter::Filter;
use crate::value::{Dict, Value};
use crate::{Context, EvalError, LookUpKind, NamedExpressions};

/// What a data source gives names to.
#[derive(Debug, Default)]
pub(crate) struct Names {
    pub(crate) expressions: Vec<(String, Rc<Expression>)>,
    pub(crate) filters: Vec<(String, Rc<Filter>)>,
    pub(crate) look_ups: BTreeSet<LookUpKind>,
}

impl Names {
    /// Named expressions may use each other in any order, but not in a circle, and no named filters; named filters may
    /// use named expressions, but not each other.
    pub(crate) fn compile(
        expressions: Option<&Dict<'_>>,
        filters: Option<&Dict<'_>>,
        problems: &mut Vec<Problem>,
    ) -> Self {
        let mut names = Self::default();
        if let Some(expressions) = expressions {
            names.compile_expressions(expressions, problems);
        }
        for (name, spec) in filters.into_iter().flat_map(Dict::iter) {
            let name = name.as_str().unwrap_or_default();
            let mut compiler = Compiler::new(Some(&names.expressions), None);
            let filter =
                compiler.at_key("named_filters", |compiler| compiler.at_key(name, |compiler| compiler.filter(spec)));
            problems.append(&mut compiler.problems);
            names.look_ups.append(&mut compiler.look_ups);
            names.filters.push((name.to_owned(), Rc::new(filter)));
        }
        names
    }

    /// Goes over those that are left until none is, or until nothing changes: then they use names that do not exist,
    /// each other in a circle, or are wrong in themselves.
    fn compile_expressions(&mut self, specs: &Dict<'_>, problems: &mut Vec<Problem>) {
        let mut left: Vec<(&str, &Value<'_>)> =
            specs.iter().map(|(name, spec)| (name.as_str().unwrap_or_default(), spec)).collect();
        loop {
            let before = left.len();
            let mut found = Vec::new();
            left.retain(|(name, spec)| {
                let mut compiler = Compiler::new(Some(&self.expressions), None);
                let at = |compiler: &mut Compiler<'_>| compiler.at_key(name, |compiler| compiler.expression(spec));
                let expression = compiler.at_key("named_expressions", at);
                let mut problems = compiler.problems;
                self.look_ups.append(&mut compiler.look_ups);
                let is_right = problems.is_empty();
                found.append(&mut problems);
                if is_right {
                    self.expressions.push(((*name).to_owned(), Rc::new(expression)));
                }
                !is_right
            });
            if left.is_empty() {
                return;
            }
            if left.len() == before {
                let names: Vec<&str> = left.iter().map(|(name, _)| *name).collect();
                for problem in &mut found {
                    let unresolved = |name: &&str| problem.message.contains(&format!("named expression {name:?}"));
                    if names.iter().any(unresolved) {
                        problem.message = format!("uses, directly or through others, itself: {}", names.join(", "));
                    }
                }
                problems.append(&mut found);
                // What is left stands in the table, so that its users are not reported as well.
                let stand_ins = names.iter().map(|name| ((*name).to_owned(), Rc::new(Expression::null())));
                self.expressions.extend(stand_ins);
                return;
            }
        }
    }
}

impl NamedExpressions for Names {
    fn evaluate<'a>(
        &self,
        name: &str,
        item: &Value<'a>,
        context: &Context<'_, 'a>,
    ) -> Option<Result<Value<'a>, EvalError>> {
        let (_, expression) = self.expressions.iter().find(|(known, _)| known == name)?;
        Some(context.limits.deeper(|| expression.evaluate(item, context)))
    }
}
