//! `ucr rebuild`: finds the pillow that fills the table of a data source, and has the table filled anew.

use std::collections::BTreeSet;
use std::sync::Arc;

use ucr::DataSource;
use ucr::data_source::read_definitions;
use ucr::value::{Value, parse};

use crate::control::{DeclaredTable, declared_tables};
use crate::manifest::{Manifest, Processor};

use super::super::args::{Arguments, UcrRebuild};
use super::super::context::Context;
use super::super::{Outcome, WrongInput, rebuild};

/// What the configuration of a processor calls its data sources.
const SOURCES: &str = "data-sources";
/// More names than this are no help to anybody.
const MOST_NAMED: usize = 20;

/// The table of a data source in a pillow.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    table: String,
    table_id: String,
    domain: String,
    pillow: String,
}

pub(crate) async fn run(arguments: &Arguments, wanted: &UcrRebuild) -> anyhow::Result<Outcome> {
    let Some(context) = Context::open(arguments).await? else { return Ok(Outcome::WrongInput) };
    let mut tables: Vec<DeclaredTable> = Vec::new();
    // A pillow that does not start must not keep the tables of others as they are.
    let mut unasked = Vec::new();
    for manifest in pillows(&context, wanted)? {
        match declared_tables(&context.settings, manifest).await {
            Ok(declared) => tables.extend(declared),
            Err(reason) => unasked.push(format!("pillow {} was not asked: {reason}", manifest.name())),
        }
    }
    let found: Vec<(Candidate, &DeclaredTable)> =
        tables.chunk_by(|one, next| Arc::ptr_eq(&one.config, &next.config)).flat_map(candidates).collect();
    let candidates: Vec<&Candidate> = found.iter().map(|(candidate, _)| candidate).collect();
    match choose(&candidates, &wanted.table) {
        Ok(at) => {
            unasked.iter().for_each(|line| eprintln!("note: {line}"));
            rebuild::rebuild(arguments, &context, found[at].1).await
        }
        Err(reason) => {
            let lines: Vec<String> = std::iter::once(reason).chain(unasked).collect();
            Err(WrongInput(lines.join("\n")).into())
        }
    }
}

/// The pillows that may have it.
fn pillows<'a>(context: &'a Context, wanted: &UcrRebuild) -> Result<Vec<&'a Manifest>, WrongInput> {
    if let Some(name) = &wanted.pillow {
        return Ok(vec![context.manifest(name)?]);
    }
    let with_sources = |manifest: &&Manifest| manifest.pillow().processors.iter().any(has_sources);
    Ok(context.manifests.iter().filter(with_sources).collect())
}

fn has_sources(processor: &Processor) -> bool {
    let own = parse(processor.config.json());
    processor.lists.iter().any(|list| &*list.key == SOURCES) || own.is_ok_and(|own| own.property(SOURCES).is_some())
}

/// Those tables of a processor that are of data sources.
fn candidates(tables: &[DeclaredTable]) -> Vec<(Candidate, &DeclaredTable)> {
    // All of them have the one configuration.
    let sources = tables.first().and_then(|declared| sources(&declared.config)).unwrap_or_default();
    let candidate = |declared: &DeclaredTable| {
        let source = sources.iter().find(|source| source.table_name == declared.table.name)?;
        Some(Candidate {
            table: source.table_name.clone(),
            table_id: source.table_id.clone(),
            domain: source.domain.clone(),
            pillow: declared.owner.pillow.to_string(),
        })
    };
    tables.iter().filter_map(|declared| Some((candidate(declared)?, declared))).collect()
}

/// The data sources in the configuration of a processor, as far as they can be used; none when it has no place for any.
fn sources(config: &str) -> Option<Vec<DataSource>> {
    let config = parse(config).ok()?;
    let environment = config.property("server-environment").and_then(Value::as_str);
    let definitions = config.property(SOURCES).and_then(Value::as_list)?;
    let read = definitions.iter().filter_map(|definition| read_definitions(definition, environment).ok());
    Some(read.flat_map(|read| read.sources).collect())
}

/// Which of the candidates the words mean: the name of a table, or else the id of one.
///
/// # Errors
/// None or several, and what there is to choose from.
fn choose(candidates: &[&Candidate], wanted: &str) -> Result<usize, String> {
    let matching = |matches: &dyn Fn(&Candidate) -> bool| -> Vec<usize> {
        candidates.iter().enumerate().filter(|(_, candidate)| matches(candidate)).map(|(at, _)| at).collect()
    };
    let mut fitting = matching(&|candidate| candidate.table == wanted);
    if fitting.is_empty() {
        fitting = matching(&|candidate| candidate.table_id == wanted);
    }
    let Some(first) = fitting.first().copied() else {
        if candidates.is_empty() {
            return Err(format!(
                "no data source has the table `{wanted}`: no pillow has data sources that can be used"
            ));
        }
        return Err(format!("no data source has the table `{wanted}`; there are: {}", listed(candidates)));
    };
    let distinct: BTreeSet<&Candidate> = fitting.iter().map(|at| candidates[*at]).collect();
    if distinct.len() == 1 {
        return Ok(first);
    }
    let tables: BTreeSet<&str> = distinct.iter().map(|candidate| candidate.table.as_str()).collect();
    let help = match tables.len() {
        1 => "--pillow picks one",
        _ => "give the name of the table, and --pillow where several pillows have it",
    };
    let distinct: Vec<&Candidate> = distinct.into_iter().collect();
    Err(format!("several data sources have the table `{wanted}`: {}; {help}", listed(&distinct)))
}

fn listed(candidates: &[&Candidate]) -> String {
    let one = |candidate: &&Candidate| {
        let Candidate { table, table_id, domain, pillow } = candidate;
        format!("{table} (table_id {table_id}, domain {domain}, pillow {pillow})")
    };
    let mut named: Vec<String> = candidates.iter().take(MOST_NAMED).map(one).collect();
    if candidates.len() > MOST_NAMED {
        named.push(format!("and {} more", candidates.len() - MOST_NAMED));
    }
    named.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(table_id: &str, domain: &str, pillow: &str) -> Candidate {
        let table = format!("ucr_{domain}_{table_id}");
        Candidate { table, table_id: table_id.to_owned(), domain: domain.to_owned(), pillow: pillow.to_owned() }
    }

    fn check(candidates: &[Candidate], wanted: &str, expected: Result<usize, &str>) {
        let candidates: Vec<&Candidate> = candidates.iter().collect();
        assert_eq!(choose(&candidates, wanted), expected.map_err(str::to_owned), "{wanted}");
    }

    #[test]
    fn a_table_is_known_by_its_name_or_its_id() {
        let candidates =
            [candidate("visits", "a", "p"), candidate("people", "a", "p"), candidate("ucr_a_people", "b", "p")];
        check(&candidates, "people", Ok(1));
        check(&candidates, "ucr_a_people", Ok(1));
        check(&candidates, "ucr_b_ucr_a_people", Ok(2));
    }

    #[test]
    fn none_or_several_are_refused_with_what_there_is() {
        let candidates = [candidate("visits", "a", "p"), candidate("visits", "b", "p"), candidate("visits", "b", "q")];
        check(
            &candidates[..1],
            "visit",
            Err("no data source has the table `visit`; there are: ucr_a_visits (table_id visits, domain a, pillow p)"),
        );
        check(&[], "visits", Err("no data source has the table `visits`: no pillow has data sources that can be used"));
        check(
            &candidates[..2],
            "visits",
            Err("several data sources have the table `visits`: ucr_a_visits (table_id visits, domain a, pillow p), \
                 ucr_b_visits (table_id visits, domain b, pillow p); give the name of the table, and --pillow where \
                 several pillows have it"),
        );
        check(
            &candidates,
            "ucr_b_visits",
            Err(
                "several data sources have the table `ucr_b_visits`: ucr_b_visits (table_id visits, domain b, pillow p), \
                 ucr_b_visits (table_id visits, domain b, pillow q); --pillow picks one",
            ),
        );
        let many: Vec<Candidate> = (0..25).map(|at| candidate(&format!("t{at}"), "a", "p")).collect();
        let many: Vec<&Candidate> = many.iter().collect();
        assert!(choose(&many, "x").unwrap_err().ends_with("pillow p), and 5 more"));
    }
}
