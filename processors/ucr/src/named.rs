//! Named expressions and filters.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use crate::compiler::{Compiler, MOST_PROBLEMS};
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
            add(problems, compiler.problems);
            names.look_ups.append(&mut compiler.look_ups);
            names.filters.push((name.to_owned(), Rc::new(filter)));
        }
        names
    }

    /// Reads each when those that it uses are there: at most twice, whatever their order. What is left at the end uses
    /// itself, directly or through others, or what is wrong or does not exist.
    fn compile_expressions(&mut self, specs: &Dict<'_>, problems: &mut Vec<Problem>) {
        let specs: Vec<(&str, &Value<'_>)> =
            specs.iter().map(|(name, spec)| (name.as_str().unwrap_or_default(), spec)).collect();
        let numbers: BTreeMap<&str, usize> = specs.iter().enumerate().map(|(at, (name, _))| (*name, at)).collect();
        // Which wait for a name, and where each of them uses those that it waits for.
        let mut waiting: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        let mut uses: Vec<BTreeMap<usize, String>> = vec![BTreeMap::new(); specs.len()];
        let mut ready: VecDeque<usize> = (0..specs.len()).collect();
        while let Some(at) = ready.pop_front() {
            let (Some((name, spec)), Some(uses_here)) = (specs.get(at), uses.get_mut(at)) else { continue };
            let mut compiler = Compiler::new(Some(&self.expressions), None);
            compiler.coming = Some(&numbers);
            let read = |compiler: &mut Compiler<'_>| compiler.at_key(name, |compiler| compiler.expression(spec));
            let expression = compiler.at_key("named_expressions", read);
            let Compiler { problems: found, mut look_ups, needed, .. } = compiler;
            if !needed.is_empty() {
                for (number, place) in needed {
                    if uses_here.insert(number, place).is_none() {
                        waiting.entry(number).or_default().push(at);
                    }
                }
                continue;
            }
            add(problems, found);
            self.look_ups.append(&mut look_ups);
            // A wrong one as well, so that its users are not reported beside it.
            self.expressions.push(((*name).to_owned(), Rc::new(expression)));
            for user in waiting.remove(&at).unwrap_or_default() {
                if let Some(uses_there) = uses.get_mut(user) {
                    uses_there.remove(&at);
                    if uses_there.is_empty() {
                        ready.push_back(user);
                    }
                }
            }
        }
        let left: Vec<(&str, &String)> =
            specs.iter().zip(&uses).flat_map(|((name, _), uses)| uses.values().map(|place| (*name, place))).collect();
        let mut names: Vec<&str> = left.iter().map(|(name, _)| *name).take(MOST_PROBLEMS).collect();
        names.dedup();
        let message = format!("uses, directly or through others, itself: {}", names.join(", "));
        let circle = |(_, place): &(&str, &String)| Problem { path: (*place).clone(), message: message.clone() };
        add(problems, left.iter().take(MOST_PROBLEMS).map(circle).collect());
        self.expressions.extend(left.iter().map(|(name, _)| ((*name).to_owned(), Rc::new(Expression::null()))));
    }
}

/// Problems beyond [`MOST_PROBLEMS`] are not kept.
fn add(problems: &mut Vec<Problem>, mut found: Vec<Problem>) {
    found.truncate(MOST_PROBLEMS.saturating_sub(problems.len()));
    problems.append(&mut found);
}

/// Users before what they use: the other way round, each would drop the next within itself, as deep as there are names.
impl Drop for Names {
    fn drop(&mut self) {
        self.filters.clear();
        while self.expressions.pop().is_some() {}
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
