//! Builds the rows of user configurable reports: one table per data source, and its rows per document.
//!
//! A document is read once, whatever the number of data sources, and only those are asked whose domain, type of
//! documents and case types or form namespaces fit. Each data source is a part: one that is wrong is left out and
//! reported, one that fails for a document keeps that document's old rows, and the others go on.

mod dispatch;
mod list;
mod row;
mod selection;
mod vectors;
mod world;

use std::collections::BTreeSet;

use pillowtop_sdk::{
    Absence, Answer, Batch, Change, Column, ColumnKind, Condition, Config, Description, Error, Problem, Processor,
    Table, TableChange, Value as Cell, Write, Writes,
};
use ucr::value::{JsonError, Moment, Value, parse, parse_parts};
use ucr::{DataSource, EvalError, FailedValidation, LookUpKind, Outcome};

use dispatch::{Announced, Dispatch};
use selection::Selection;
use world::Lookups;

pillowtop_sdk::export_processor!(UcrRowBuilder);

/// Where documents that fail validations are noted, as the original names the table.
const INVALID: &str = "invalid_ucr_data";

/// The processor.
#[derive(Debug)]
pub struct UcrRowBuilder {
    sources: Vec<DataSource>,
    dispatch: Dispatch,
    /// Answer test vectors on this topic, and do nothing else.
    vectors: Option<String>,
}

impl Processor for UcrRowBuilder {
    fn configure(config: Config<'_>) -> Result<(Self, Description), Vec<Problem>> {
        let text = std::str::from_utf8(config.bytes()).map_err(|error| vec![Problem::new("", error)])?;
        let settings = parse(text).map_err(|error| vec![Problem::new("", error)])?;
        if let Some(topic) = settings.property("vectors").and_then(Value::as_str) {
            let answering = Self { sources: Vec::new(), dispatch: Dispatch::new(&[]), vectors: Some(topic.to_owned()) };
            return Ok((answering, Description::new().topic(topic)));
        }
        let definitions = settings.property("data-sources").and_then(Value::as_list);
        let Some(definitions) = definitions else {
            return Err(vec![Problem::new("data-sources", "is required: a list of data sources")]);
        };
        let selection = Selection::read(&settings)?;
        let environment = settings.property("server-environment").and_then(Value::as_str);
        let mut description = Description::new();
        let mut sources: Vec<DataSource> = Vec::new();
        for (index, definition) in definitions.iter().enumerate() {
            match ucr::data_source::read_definitions(definition, environment) {
                Ok(read) => {
                    let here = environment.is_none_or(|here| {
                        read.server_environments.is_empty() || read.server_environments.iter().any(|name| name == here)
                    });
                    let taken = |source: &DataSource| here && !source.is_deactivated && selection.takes(source);
                    for source in read.sources.into_iter().filter(taken) {
                        if sources.iter().any(|known| known.table_name == source.table_name) {
                            let message = format!("makes the table {} a second time", source.table_name);
                            description =
                                description.problem(Problem::new(place(index, ""), message).part(part(index)));
                        } else if let Some(message) = world::not_granted(&source, &config) {
                            let problem = Problem::new(place(index, ""), message).part(&source.table_name);
                            description = description.problem(problem);
                        } else {
                            sources.push(source);
                        }
                    }
                }
                Err(error) => {
                    for problem in error.problems {
                        let problem = Problem::new(place(index, &problem.path), problem.message).part(part(index));
                        description = description.problem(problem);
                    }
                }
            }
        }
        let mut look_ups: BTreeSet<LookUpKind> = BTreeSet::new();
        for source in &sources {
            look_ups.extend(&source.look_ups);
            description = description.table(table(source)).part(&source.table_name);
        }
        if sources.iter().any(DataSource::has_validations) {
            description = description.table(invalid_table());
        }
        description = look_ups.into_iter().fold(description, |description, kind| description.lookup(kind.name()));
        let dispatch = Dispatch::new(&sources);
        Ok((Self { sources, dispatch, vectors: None }, description))
    }

    fn process(&mut self, batch: &Batch<'_>, change: &Change<'_>) -> Result<Answer, Error> {
        if let Some(topic) = &self.vectors {
            return vectors::answer(topic, change);
        }
        // The original announces the domain of every document that has one. A change that says nothing of its document
        // at all comes from a feed that cannot.
        if change.document_type().is_some() && change.domain().is_none_or(str::is_empty) {
            return Ok(Answer::skip("the change names no domain"));
        }
        if change.is_deleted() || change.document() == Err(Absence::Deleted) {
            return Ok(self.delete(change.domain()));
        }
        if change.domain().is_some_and(|domain| !self.dispatch.has_domain(domain)) {
            return Ok(Answer::skip("no data source in the domain"));
        }
        let text = std::str::from_utf8(change.document()?)?;
        let document = self.read(text, change)?;
        let concerned = self.dispatch.concerned(&document, announced(change));
        if concerned.is_empty() {
            return Ok(Answer::skip("no data source for such documents"));
        }
        let now = moment(batch.time())?;
        let world = Lookups::new(change);
        let mut writes = Writes::new();
        let mut needed = Vec::new();
        for source in concerned.iter().filter_map(|index| self.sources.get(*index)) {
            // What comes again is due: an asynchronous data source is computed then.
            let outcome = if source.asynchronous && change.attempts() == 0 {
                match source.filter(&document, now, &world) {
                    Ok(true) => {
                        writes.defer_part(&source.table_name);
                        continue;
                    }
                    Ok(false) => Ok(Outcome::NotTaken),
                    Err(error) => Err(error),
                }
            } else {
                source.process(&document, now, &world)
            };
            match outcome {
                Ok(Outcome::NotTaken) => writes.push(Write::delete_rows(&source.table_name)),
                Ok(Outcome::Rows(rows)) => match row::block(source, &rows) {
                    Ok(rows) => writes.push(Write::replace_block(&source.table_name, rows)),
                    Err(error) => writes.fail_part(&source.table_name, error),
                },
                Ok(Outcome::Invalid(failed)) => {
                    // As the original's worker; the others keep the rows that they have.
                    if source.asynchronous {
                        writes.push(Write::delete_rows(&source.table_name));
                    }
                    for failed in failed {
                        writes.push(note_invalid(source, change, &document, batch.time(), failed));
                    }
                }
                Err(EvalError::Need(queries)) => needed.extend(queries),
                Err(error) => writes.fail_part(&source.table_name, Error::invalid_input(error)),
            }
        }
        if needed.is_empty() {
            return Ok(writes.into());
        }
        let wants: BTreeSet<(&str, String)> =
            needed.iter().map(|query| (query.kind.look_up().name(), query.full_key())).collect();
        Ok(Answer::need(wants))
    }
}

impl UcrRowBuilder {
    /// The document, without what no data source reads where the change announces which these are.
    fn read<'a>(&self, text: &'a str, change: &Change<'_>) -> Result<Value<'a>, JsonError> {
        let announced = announced(change);
        if let Some(reads) = self.dispatch.reads(announced) {
            let document = parse_parts(text, reads)?;
            if Dispatch::is_as_announced(&document, announced) {
                return Ok(document);
            }
        }
        parse(text)
    }

    /// Nothing is known of a document that is gone but its domain, so that every table of the domain is meant.
    fn delete(&self, domain: Option<&str>) -> Answer {
        let is_meant =
            |source: &&DataSource| domain.is_none_or(|domain| source.domains().iter().any(|of| of == domain));
        let meant = self.sources.iter().filter(is_meant);
        Answer::writes(meant.map(|source| Write::delete_rows(&source.table_name)))
    }
}

fn announced<'c>(change: &'c Change<'_>) -> Announced<'c> {
    let (domain, doc_type) = (change.domain(), change.document_type());
    Announced { domain, doc_type, subtype: change.document_subtype() }
}

fn place(index: usize, path: &str) -> String {
    let dot = if path.is_empty() { "" } else { "." };
    format!("data-sources[{index}]{dot}{path}")
}

/// The part that a definition that cannot be read would have been.
fn part(index: usize) -> String {
    format!("data-sources[{index}]")
}

fn table(source: &DataSource) -> Table {
    let columns = source.columns.iter().map(|column| {
        let described = Column::new(&column.name, row::kind(column.datatype));
        if column.is_nullable && !source.primary_key.contains(&column.name) { described.nullable() } else { described }
    });
    let table = Table::new(&source.table_name, columns)
        .key(source.primary_key.iter().cloned())
        .document_column("doc_id")
        .part(&source.table_name)
        .on_change(if source.disable_destructive_rebuild { TableChange::Keep } else { TableChange::Rebuild });
    // The default engine alone needs no word.
    let engines = std::iter::once(&source.engine_id).chain(&source.mirrored_engine_ids);
    let is_elsewhere = source.engine_id != ucr::data_source::DEFAULT_ENGINE || !source.mirrored_engine_ids.is_empty();
    let table = engines.filter(|_| is_elsewhere).fold(table, |table, engine| table.engine(engine));
    source.indexes.iter().fold(table, |table, index| table.named_index(&index.name, index.columns.iter().cloned()))
}

fn invalid_table() -> Table {
    let text = |name: &str| Column::new(name, ColumnKind::Text);
    let columns = [
        text("doc_id"),
        text("doc_type").nullable(),
        text("domain").nullable(),
        text("indicator_config_id"),
        Column::new("date_created", ColumnKind::Timestamp),
        text("validation_name"),
        text("validation_text"),
        text("notes").nullable(),
    ];
    Table::new(INVALID, columns).key(["doc_id", "indicator_config_id", "validation_name"])
}

fn note_invalid(
    source: &DataSource,
    change: &Change<'_>,
    document: &Value<'_>,
    time: &str,
    failed: FailedValidation,
) -> Write {
    let text = |name| Cell::from(document.property(name).and_then(Value::as_str));
    let row = vec![
        change.id().into(),
        text("doc_type"),
        text("domain"),
        source.id.clone().unwrap_or_else(|| source.table_name.clone()).into(),
        Cell::timestamp(time),
        failed.name.into(),
        failed.error_message.into(),
        Cell::Null,
    ];
    Write::upsert_row(INVALID, row, Condition::Always)
}

/// The batch's time, which is in UTC.
fn moment(time: &str) -> Result<Moment, Error> {
    let civil = time.strip_suffix('Z').unwrap_or(time).parse();
    civil.map(Moment::naive).map_err(|error| Error::other(format!("the batch has no time: {error}")))
}

#[cfg(test)]
mod tests;
