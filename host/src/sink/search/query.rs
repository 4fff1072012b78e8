//! From a syntax tree to tantivy's query, by what the mapping says of each field.
//!
//! A test without a field is made of every field, and the best one counts: fields that could not hold such a value
//! are left out. A test of an object is made of every field inside.

use std::ops::Bound;

use tantivy::Term;
use tantivy::query::{
    AllQuery, BooleanQuery, DisjunctionMaxQuery, EmptyQuery, InvertedIndexRangeQuery, Occur, PhraseQuery, Query,
    TermQuery,
};
use tantivy::schema::{Field, IndexRecordOption};
use tantivy::tokenizer::TextAnalyzer;

use super::mapping::{Kind, Mapping};
use super::parse::{Leaf, Needed, Node, SyntaxError, Test};
use super::storage::{DELETED, Fields, analyser};
use super::values;

/// A byte that no UTF-8 text holds, and that is no type of a value: behind a term, it is the end of all that go on
/// from there.
const END: u8 = 0xFF;

/// The query of a tree, without tombstones.
pub(super) fn compile(node: &Node, mapping: &Mapping, fields: Fields) -> Result<Box<dyn Query>, SyntaxError> {
    let mut compiler = Compiler { searchable: mapping.searchable(), fields, analyser: analyser() };
    let query = compiler.node(node)?;
    Ok(Box::new(BooleanQuery::new(vec![(Occur::Must, query), (Occur::MustNot, tombstones(fields))])))
}

/// The query of every document.
pub(super) fn everything(fields: Fields) -> Box<dyn Query> {
    Box::new(BooleanQuery::new(vec![(Occur::Must, Box::new(AllQuery)), (Occur::MustNot, tombstones(fields))]))
}

fn tombstones(fields: Fields) -> Box<dyn Query> {
    Box::new(TermQuery::new(Term::from_field_text(fields.state, DELETED), IndexRecordOption::Basic))
}

struct Compiler {
    searchable: Vec<(String, Kind)>,
    fields: Fields,
    analyser: TextAnalyzer,
}

type Compiled = Result<Box<dyn Query>, SyntaxError>;

impl Compiler {
    fn node(&mut self, node: &Node) -> Compiled {
        let mut clauses: Vec<(Occur, Box<dyn Query>)> = Vec::new();
        match node {
            Node::Leaf(leaf) => return self.leaf(leaf),
            Node::Not(node) => clauses.push((Occur::MustNot, self.node(node)?)),
            Node::Any(nodes) => {
                for node in nodes {
                    clauses.push((Occur::Should, self.node(node)?));
                }
            }
            Node::All(nodes) => {
                for node in nodes {
                    clauses.push((Occur::Must, self.node(node)?));
                }
            }
            Node::Clauses(nodes) => {
                for (needed, node) in nodes {
                    let occur = match needed {
                        Needed::Should => Occur::Should,
                        Needed::Must => Occur::Must,
                        Needed::MustNot => Occur::MustNot,
                    };
                    clauses.push((occur, self.node(node)?));
                }
            }
        }
        if clauses.iter().all(|(occur, _)| *occur == Occur::MustNot) {
            clauses.push((Occur::Must, Box::new(AllQuery)));
        }
        Ok(Box::new(BooleanQuery::new(clauses)))
    }

    fn leaf(&mut self, leaf: &Leaf) -> Compiled {
        match (leaf.field.as_deref(), &leaf.test) {
            (None, Test::Exists) => Ok(Box::new(AllQuery)),
            (Some("_id"), Test::Word(id) | Test::Phrase(id)) => Ok(exactly(Term::from_field_text(self.fields.id, id))),
            (Some("_id"), Test::Exists) => Ok(Box::new(AllQuery)),
            (Some("_id"), Test::Prefix(_) | Test::Range(..)) => {
                Err(SyntaxError { at: leaf.at, problem: "_id is searched by whole ids only".to_owned() })
            }
            (None, test) => {
                let searchable = self.searchable.clone();
                Ok(self.best(&searchable, test))
            }
            (Some(name), test) => {
                let found = self.resolve(name);
                match found.as_slice() {
                    [] => Err(SyntaxError { at: leaf.at, problem: self.unknown(name) }),
                    [(path, kind)] => self.test(path, *kind, test).map_err(|problem| SyntaxError {
                        at: leaf.at,
                        problem: format!("field {path} is {}: {problem}", kind.as_str()),
                    }),
                    several => Ok(self.best(several, test)),
                }
            }
        }
    }

    fn best(&mut self, searchable: &[(String, Kind)], test: &Test) -> Box<dyn Query> {
        // What a field cannot hold is no problem here: another one may.
        let queries: Vec<_> = searchable.iter().filter_map(|(path, kind)| self.test(path, *kind, test).ok()).collect();
        if queries.is_empty() { Box::new(EmptyQuery) } else { Box::new(DisjunctionMaxQuery::new(queries)) }
    }

    fn resolve(&self, name: &str) -> Vec<(String, Kind)> {
        let name = name.strip_suffix(".*").unwrap_or(name);
        if let Some(field) = self.searchable.iter().find(|(path, _)| path == name) {
            return vec![field.clone()];
        }
        let inside = format!("{name}.");
        self.searchable.iter().filter(|(path, _)| path.starts_with(&inside)).cloned().collect()
    }

    fn unknown(&self, name: &str) -> String {
        const MOST: usize = 5;
        let last = name.rsplit('.').next().unwrap_or(name).to_lowercase();
        let near = self.searchable.iter().map(|(path, _)| path.as_str());
        let near: Vec<&str> = near.filter(|path| path.to_lowercase().contains(&last)).take(MOST).collect();
        let hint = if near.is_empty() { String::new() } else { format!("; did you mean {}?", near.join(", ")) };
        format!("no field {name} is searchable{hint}")
    }

    fn test(&mut self, path: &str, kind: Kind, test: &Test) -> Result<Box<dyn Query>, String> {
        match (kind, test) {
            (Kind::Text, Test::Word(text) | Test::Phrase(text)) => Ok(self.words(path, text)),
            (Kind::Text, Test::Prefix(text)) => Ok(texts(self.fields.text, path, &text.to_lowercase())),
            (Kind::Text, Test::Range(from, to)) => {
                Ok(text_range(self.fields.text, path, &lower_case(from), &lower_case(to)))
            }
            (Kind::Text, Test::Exists) => Ok(anything(self.fields.text, path)),
            (_, Test::Exists) => Ok(anything(self.fields.exact, path)),
            (Kind::Keyword, Test::Word(text) | Test::Phrase(text)) => {
                Ok(exactly(text_term(self.fields.exact, path, text)))
            }
            (Kind::Keyword, Test::Prefix(text)) => Ok(texts(self.fields.exact, path, text)),
            (Kind::Keyword, Test::Range(from, to)) => Ok(text_range(self.fields.exact, path, from, to)),
            (kind, Test::Word(text) | Test::Phrase(text)) => {
                let range = numbers(kind, text)?;
                Ok(number_range(self.fields.exact, path, *range.start(), *range.end()))
            }
            (kind, Test::Range(from, to)) => {
                // `> 2024` starts after the year, `>= 2024` with it.
                let from = match from {
                    Bound::Unbounded => i64::MIN,
                    Bound::Included(text) => *numbers(kind, text)?.start(),
                    Bound::Excluded(text) => numbers(kind, text)?.end().saturating_add(1),
                };
                let to = match to {
                    Bound::Unbounded => i64::MAX,
                    Bound::Included(text) => *numbers(kind, text)?.end(),
                    Bound::Excluded(text) => numbers(kind, text)?.start().saturating_sub(1),
                };
                Ok(number_range(self.fields.exact, path, from, to))
            }
            (_, Test::Prefix(_)) => Err("only texts are searched by how they begin".to_owned()),
        }
    }

    fn words(&mut self, path: &str, text: &str) -> Box<dyn Query> {
        let mut terms = Vec::new();
        let mut tokens = self.analyser.token_stream(text);
        while let Some(token) = tokens.next() {
            terms.push(text_term(self.fields.text, path, &token.text));
        }
        match terms.len() {
            0 => Box::new(EmptyQuery),
            1 => Box::new(TermQuery::new(terms.remove(0), IndexRecordOption::WithFreqs)),
            _ => Box::new(PhraseQuery::new(terms)),
        }
    }
}

fn numbers(kind: Kind, text: &str) -> Result<std::ops::RangeInclusive<i64>, String> {
    values::numbers(kind, text).ok_or_else(|| format!("{text:?} is no such value"))
}

fn lower_case(bound: &Bound<String>) -> Bound<String> {
    bound.as_ref().map(|text| text.to_lowercase())
}

fn exactly(term: Term) -> Box<dyn Query> {
    Box::new(TermQuery::new(term, IndexRecordOption::Basic))
}

fn text_term(field: Field, path: &str, text: &str) -> Term {
    let mut term = Fields::path(field, path);
    term.append_type_and_str(text);
    term
}

/// Everything that goes on from `term`.
fn from_here(term: Term) -> Box<dyn Query> {
    let mut end = term.clone();
    end.append_bytes(&[END]);
    Box::new(InvertedIndexRangeQuery::new(Bound::Included(term), Bound::Excluded(end)))
}

fn anything(field: Field, path: &str) -> Box<dyn Query> {
    from_here(Fields::path(field, path))
}

fn texts(field: Field, path: &str, prefix: &str) -> Box<dyn Query> {
    from_here(text_term(field, path, prefix))
}

fn text_range(field: Field, path: &str, from: &Bound<String>, to: &Bound<String>) -> Box<dyn Query> {
    let term = |text: &String| text_term(field, path, text);
    let from = match from.as_ref().map(term) {
        Bound::Unbounded => Bound::Included(text_term(field, path, "")),
        bound => bound,
    };
    let to = match to.as_ref().map(term) {
        Bound::Unbounded => {
            let mut end = text_term(field, path, "");
            end.append_bytes(&[END]);
            Bound::Excluded(end)
        }
        bound => bound,
    };
    Box::new(InvertedIndexRangeQuery::new(from, to))
}

fn number_range(field: Field, path: &str, from: i64, to: i64) -> Box<dyn Query> {
    let term = |number: i64| {
        let mut term = Fields::path(field, path);
        term.append_type_and_fast_value(number);
        term
    };
    if from == to {
        return exactly(term(from));
    }
    Box::new(InvertedIndexRangeQuery::new(Bound::Included(term(from)), Bound::Included(term(to))))
}
