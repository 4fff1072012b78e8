//! Vectors of whole runs: changes go through the component into tables of a database, whose content is compared.
//!
//! Rows are read as PostgreSQL's text; types, nulls and indexes of the tables are compared as well.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use bytes::Bytes;
use jiff::Timestamp;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _};
use ucr::value::Value;
use ucr::vectors::{Vector, Verdict, to_json};

use crate::model::{
    Change, Document, DocumentKey, FailureKind, Item, Outcome as Answer, PillowName, Position, ProcessorName, RowWrite,
    Table, Write,
};
use crate::processor::wasm::{self, WasmProcessor};
use crate::processor::{Call, Processor as _};
use crate::sql::{Database, rows, schema};

use super::component::Component;

/// Made and dropped for each vector, so that nobody's tables are touched.
const SCHEMA: &str = "pillowtop_ucr_vectors";
/// Where invalid documents are noted.
const INVALID: &str = "invalid_ucr_data";
/// The instant of all vectors.
const NOW: &str = "2021-06-15T12:34:56.789012Z";

/// The rows of a table, sorted; columns without a value are null.
type Content = BTreeMap<String, Vec<BTreeMap<String, Option<String>>>>;

/// Columns with type and whether they may be null, in order, and indexes as PostgreSQL prints them.
type Schema = BTreeMap<String, (Vec<(String, String, bool)>, BTreeSet<String>)>;

/// What a run came to.
#[derive(Debug, Default, PartialEq, Eq)]
struct Ran {
    tables: Content,
    /// Document and data source, sorted.
    errors: Vec<(String, String)>,
    /// Document and data source that were put into the queue, in order.
    queued: Vec<(String, String)>,
    /// The tables after each change, where the vector has them.
    after_each: Vec<Content>,
    /// The tables themselves, where the vector has them.
    schema: Option<Schema>,
}

/// What runs vectors of this kind.
pub(crate) struct Tables {
    url: String,
    engine: Arc<wasm::Engine>,
    module: PathBuf,
}

impl Tables {
    /// Beside a component, which keeps the module compiled.
    pub(crate) fn new(url: &str, component: &Component) -> Self {
        Self { url: url.to_owned(), engine: Arc::clone(&component.engine), module: component.module.clone() }
    }

    /// # Errors
    /// The database does not answer.
    pub(crate) async fn run(&self, vector: &Vector<'_>) -> anyhow::Result<Verdict> {
        let mut connection = PgConnection::connect(&self.url).await.context("could not connect")?;
        let anew =
            format!("drop schema if exists {SCHEMA} cascade; create schema {SCHEMA}; set search_path to {SCHEMA}");
        sqlx::raw_sql(AssertSqlSafe(anew)).execute(&mut connection).await.context("could not make a schema")?;
        let verdict = match self.in_schema(vector, &mut connection).await? {
            Ok(ran) => {
                let of = |key: &str| vector.value().property(key);
                let also = of("accept").and_then(Value::as_list).unwrap_or_default();
                let is_met =
                    of("expected").into_iter().chain(also).any(|expected| ran == expected_of(vector, expected));
                if is_met { vector.pass() } else { vector.broken(&format!("{ran:?}")) }
            }
            Err(problem) => vector.broken(&problem),
        };
        let gone = format!("drop schema {SCHEMA} cascade");
        sqlx::raw_sql(AssertSqlSafe(gone)).execute(&mut connection).await.context("could not drop the schema")?;
        Ok(verdict)
    }

    /// What came of it, or why it could not be run.
    async fn in_schema(
        &self,
        vector: &Vector<'_>,
        connection: &mut PgConnection,
    ) -> anyhow::Result<Result<Ran, String>> {
        let processor = match self.load(vector) {
            Ok(processor) => processor,
            Err(problem) => return Ok(Err(problem)),
        };
        let sign = if self.url.contains('?') { '&' } else { '?' };
        let database = Database::open(&format!("{}{sign}options[search_path]={SCHEMA}", self.url)).await?;
        let tables: Vec<Arc<Table>> = processor.description().tables.iter().cloned().map(Arc::new).collect();
        schema::prepare(&database, &processor.description().tables).await?;
        let mut ran = Ran::default();
        let snapshots =
            vector.value().property("expected").is_some_and(|of| of.property("after_each_change").is_some());
        let changes = vector.value().property("changes").and_then(Value::as_list).unwrap_or_default();
        for (at, change) in changes.iter().enumerate() {
            let answer = match ask(&processor, at, change) {
                Ok(answer) => answer,
                Err(problem) => return Ok(Err(problem)),
            };
            let document = text(change, "id");
            match answer {
                Answer::Done { writes, failures } => {
                    for failure in failures {
                        let noted = match failure.kind {
                            FailureKind::Deferred => &mut ran.queued,
                            _ => &mut ran.errors,
                        };
                        noted.extend(failure.part.map(|part| (document.clone(), part)));
                    }
                    let writes = row_writes(&tables, &document, writes);
                    let mut transaction = database.begin().await?;
                    let applied = rows::apply(&mut transaction.connection(), &writes).await?;
                    transaction.commit().await?;
                    ran.errors.extend(
                        applied
                            .refused
                            .iter()
                            .filter_map(|refused| writes.get(refused.at))
                            .map(|write| (document.clone(), write.table.name.to_string())),
                    );
                }
                Answer::Skip(_) => {}
                other @ (Answer::Need(_) | Answer::Failed(_)) => return Ok(Err(format!("{document}: {other:?}"))),
            }
            if snapshots {
                ran.after_each.push(content(connection, &tables).await?);
            }
        }
        ran.tables = content(connection, &tables).await?;
        if vector.value().property("expected").is_some_and(|of| of.property("schema").is_some()) {
            ran.schema = Some(schema_of(connection, &tables).await?);
        }
        ran.errors.sort();
        Ok(Ok(ran))
    }

    fn load(&self, vector: &Vector<'_>) -> Result<WasmProcessor, String> {
        let configs = vector.value().property("configs").map(to_json).unwrap_or_default();
        let source = wasm::Source {
            path: &self.module,
            bytes: None,
            names: wasm::Names { pillow: PillowName::new("ucr"), processor: ProcessorName::new("vectors") },
            grants: wasm::Grants { log: true, lookups: Vec::new() },
            config: format!("{{\"data-sources\":{configs}}}").into_bytes(),
            limits: wasm::Limits::default(),
        };
        wasm::load(&self.engine, source, None).map_err(|error| error.to_string())
    }
}

fn ask(processor: &WasmProcessor, at: usize, change: &Value<'_>) -> Result<Answer, String> {
    let optional = |key: &str| change.property(key).and_then(Value::as_str).map(Arc::<str>::from);
    let is_deleted = matches!(change.property("deleted"), Some(Value::Bool(true)));
    let document = match change.property("doc") {
        None | Some(Value::Null) if is_deleted => Document::Deleted,
        None | Some(Value::Null) => Document::Missing,
        Some(document) => Document::Present(Bytes::from(to_json(document))),
    };
    let time: Timestamp = NOW.parse().map_err(|error| format!("{NOW}: {error}"))?;
    let change = Change {
        key: DocumentKey::new("vectors", text(change, "id")),
        position: Position::number(at as u64),
        // The original announces the type of every document that it finds.
        document_type: change
            .property("doc")
            .and_then(|document| document.property("doc_type")?.as_str())
            .map(Arc::from),
        document_subtype: optional("document_subtype"),
        domain: optional("domain"),
        revision: None,
        associated_id: None,
        deleted: is_deleted,
        attempts: 0,
        published_at: Some(time),
        inline: None,
    };
    let items = [Item { change: Arc::new(change), document, found: Vec::new() }];
    let lookups = Arc::new(crate::pipeline::LookupStores::new(std::collections::HashMap::new()));
    let mut instance = processor.start(lookups.for_instance()).map_err(|error| error.to_string())?;
    let mut answers =
        instance.process(&Call { topic: "vectors", time, items: &items }).map_err(|fault| fault.to_string())?;
    answers.pop().ok_or_else(|| "there is no answer".to_owned())
}

fn row_writes(tables: &[Arc<Table>], document: &str, writes: Vec<Write>) -> Vec<RowWrite> {
    let row = |write| {
        let Write::Rows { table: name, op } = write else { return None };
        let table = tables.iter().find(|table| *table.name == *name)?;
        Some(RowWrite {
            processor: ProcessorName::new("vectors"),
            document: DocumentKey::new("vectors", document),
            table: Arc::clone(table),
            op,
        })
    };
    writes.into_iter().filter_map(row).collect()
}

async fn content(connection: &mut PgConnection, tables: &[Arc<Table>]) -> anyhow::Result<Content> {
    let mut content = Content::new();
    // Expectations are about the tables of data sources.
    for table in tables.iter().filter(|table| *table.name != *INVALID) {
        let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
        let columns: Vec<String> = table.columns.iter().map(|of| format!("{}::text", quoted(&of.name))).collect();
        let query = format!("select {} from {}", columns.join(", "), quoted(&table.name));
        // Tables go and come again between statements: nothing of them is to be remembered.
        let read = sqlx::query(AssertSqlSafe(query)).persistent(false).fetch_all(&mut *connection);
        let mut rows = Vec::new();
        for row in read.await.with_context(|| format!("could not read {}", table.name))? {
            let cell = |(at, column): (usize, &crate::model::Column)| {
                row.try_get::<Option<String>, _>(at).map(|value| (column.name.to_string(), value))
            };
            rows.push(table.columns.iter().enumerate().map(cell).collect::<Result<BTreeMap<_, _>, _>>()?);
        }
        rows.sort();
        content.insert(table.name.to_string(), rows);
    }
    Ok(content)
}

/// The tables of data sources as the catalogue describes them.
async fn schema_of(connection: &mut PgConnection, tables: &[Arc<Table>]) -> anyhow::Result<Schema> {
    let mut schema = Schema::new();
    for table in tables.iter().filter(|table| *table.name != *INVALID) {
        let columns = sqlx::query_as(
            "select attname::text, format_type(atttypid, atttypmod), not attnotnull from pg_attribute
             where attrelid = to_regclass(quote_ident($1)) and attnum > 0 and not attisdropped order by attnum",
        );
        let columns = columns.bind(&table.name).persistent(false).fetch_all(&mut *connection).await;
        let indexes = sqlx::query_scalar("select indexdef from pg_indexes where schemaname = $1 and tablename = $2");
        let indexes = indexes.bind(SCHEMA).bind(&table.name).persistent(false).fetch_all(&mut *connection).await;
        let indexes: Vec<String> = indexes.with_context(|| format!("could not read the indexes of {}", table.name))?;
        // The original's tables are in the schema that everybody has.
        let indexes = indexes.iter().map(|index| index.replace(&format!(" ON {SCHEMA}."), " ON public.")).collect();
        let columns = columns.with_context(|| format!("could not read the columns of {}", table.name))?;
        schema.insert(table.name.to_string(), (columns, indexes));
    }
    Ok(schema)
}

fn expected_schema(tables: &Value<'_>) -> Schema {
    let column = |column: &Value<'_>| {
        let nullable = matches!(column.property("nullable"), Some(Value::Bool(true)));
        (text(column, "name"), text(column, "type"), nullable)
    };
    let table = |(name, table): (&Value<'_>, &Value<'_>)| {
        let columns = list(table, "columns").iter().map(column).collect();
        let indexes = list(table, "indexes").iter().filter_map(Value::as_str).map(str::to_owned).collect();
        (name.to_string(), (columns, indexes))
    };
    tables.as_dict().into_iter().flat_map(|tables| tables.iter()).map(table).collect()
}

fn expected_of(vector: &Vector<'_>, expected: &Value<'_>) -> Ran {
    let configs = vector.value().property("configs").and_then(Value::as_list).unwrap_or_default();
    // Errors name the data source, parts of the processor its table.
    let table_of = |table_id: &str| {
        let config = configs.iter().find(|config| text(config, "table_id") == table_id);
        config.map_or_else(|| table_id.to_owned(), |config| ucr::names::table_name(&text(config, "domain"), table_id))
    };
    let errors = expected.property("errors").and_then(Value::as_list).unwrap_or_default();
    let mut errors: Vec<(String, String)> =
        errors.iter().map(|error| (text(error, "doc_id"), table_of(&text(error, "table")))).collect();
    errors.sort();
    // The queue names them by their ids.
    let id_of = |config: &Value<'_>| text(config, "_id");
    let by_id = |id: &str| {
        configs.iter().find(|config| id_of(config) == id).map_or_else(String::new, |config| {
            ucr::names::table_name(&text(config, "domain"), &text(config, "table_id"))
        })
    };
    let mut queued = Vec::new();
    for entry in expected.property("async_queue").and_then(Value::as_list).unwrap_or_default() {
        let sources = entry.property("configs").and_then(Value::as_list).unwrap_or_default();
        let sources = sources.iter().filter_map(Value::as_str);
        queued.extend(sources.map(|id| (text(entry, "doc_id"), by_id(id))));
    }
    let after_each = expected.property("after_each_change").and_then(Value::as_list).unwrap_or_default();
    Ran {
        tables: expected.property("tables").map(content_of).unwrap_or_default(),
        errors,
        queued,
        after_each: after_each.iter().map(content_of).collect(),
        // Another way to handle documents is no reason for other tables.
        schema: vector.value().property("expected").and_then(|of| of.property("schema")).map(expected_schema),
    }
}

fn content_of(tables: &Value<'_>) -> Content {
    let mut content = Content::new();
    for (name, rows) in tables.as_dict().into_iter().flat_map(|tables| tables.iter()) {
        let cell = |(column, value): (&Value<'_>, &Value<'_>)| (column.to_string(), value.as_str().map(str::to_owned));
        let row = |row: &Value<'_>| row.as_dict().into_iter().flat_map(|row| row.iter()).map(cell).collect();
        let mut rows: Vec<BTreeMap<_, _>> = rows.as_list().unwrap_or_default().iter().map(row).collect();
        rows.sort();
        content.insert(name.to_string(), rows);
    }
    content
}

fn list<'v, 'a>(value: &'v Value<'a>, key: &str) -> &'v [Value<'a>] {
    value.property(key).and_then(Value::as_list).unwrap_or_default()
}

fn text(value: &Value<'_>, key: &str) -> String {
    value.property(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}
