//! A processor that misbehaves as its configuration tells it, for tests of the host; see [`Mode`]. Where nothing else
//! is said, it misbehaves at documents whose bytes contain `poison`, and puts `{"version", "id"}` for all others into
//! its index and its table, so that a test can see that the innocent went on.
//!
//! `STAMP=v2 guest-sdk/wasm-std build -p hostile` makes a module that differs from others and says so in its writes.

#![expect(clippy::panic, reason = "misbehaving is its purpose")]

use pillowtop_sdk::{
    Absence, Answer, Batch, Change, Column, ColumnKind, Config, Description, Error, Index, Problem, Processor, Table,
    Value, Write, Writes, log, lookup,
};
use serde::Deserialize;
use serde_json::json;

/// The processor.
#[derive(Debug)]
pub struct Hostile(Settings);

/// Its configuration.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// What to do.
    pub mode: Mode,
    /// Written into each document and row; what was compiled in as `STAMP` comes first.
    #[serde(default)]
    pub version: String,
    /// The index.
    #[serde(default = "default_index")]
    pub index: String,
    /// The table.
    #[serde(default = "default_table")]
    pub table: String,
    /// A further column of the table, which may be null; none when empty.
    #[serde(default)]
    pub extra_column: String,
    /// Whether the column `number` holds text, so that the table cannot be extended to what is declared.
    #[serde(default)]
    pub number_is_text: bool,
    /// For `huge-output` the bytes of the document, for `many-writes` and `log-flood` how many.
    #[serde(default = "default_count")]
    pub count: usize,
}

/// What it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Nothing bad: each document is stamped with the version.
    Stamp,
    /// Nothing bad: each document is published to the topic `published`, under its id; a deleted one as a tombstone.
    Publish,
    /// Panics.
    Trap,
    /// Panics in `configure`.
    TrapAtConfigure,
    /// Aborts in `configure`, without a panic.
    AbortAtConfigure,
    /// Never comes back from `configure`.
    LoopAtConfigure,
    /// Refuses its configuration with two problems.
    Refuse,
    /// Never comes back.
    Loop,
    /// Takes memory without end.
    MemoryBomb,
    /// Calls itself without end.
    Recursion,
    /// Answers one change too few.
    TooFew,
    /// Answers one change too many.
    TooMany,
    /// Writes one document of `count` bytes.
    HugeOutput,
    /// Writes `count` small documents.
    ManyWrites,
    /// Writes a document that is not UTF-8.
    InvalidUtf8,
    /// Writes a document that is not JSON.
    InvalidJson,
    /// Writes a document that is JSON, but no object.
    NoObject,
    /// Writes to an index that it did not declare.
    UndeclaredIndex,
    /// Writes to a table that it did not declare.
    UndeclaredTable,
    /// Publishes to a topic that it did not declare.
    UndeclaredTopic,
    /// Invalidates a cache that it did not declare.
    UndeclaredCache,
    /// Blames a part that it did not declare.
    UndeclaredPart,
    /// Asks a look-up that it did not declare.
    UndeclaredLookup,
    /// Writes a row with a value too few.
    ShortRow,
    /// Writes a text into a column of integers, and null where none may be.
    WrongValue,
    /// Describes a table whose key is no column.
    BadDescription,
    /// Describes an index whose mapping is no JSON.
    BadMapping,
    /// Logs `count` lines, then stamps.
    LogFlood,
    /// Logs one line of `count` bytes, then stamps.
    LongLog,
    /// Asks look-up `parent` with `need`, with the document's `parent` as key, and writes how many it found.
    Need,
    /// Asks with `need` again and again.
    NeedForever,
    /// As `need`, but from within the call.
    Fetch,
    /// Fails, and says so.
    Fail,
    /// Grows by `count` bytes with each batch, and keeps them.
    Leak,
}

fn default_index() -> String {
    "hostile".to_owned()
}

fn default_table() -> String {
    "hostile_rows".to_owned()
}

fn default_count() -> usize {
    1_000_000
}

impl Processor for Hostile {
    fn configure(config: Config<'_>) -> Result<(Self, Description), Vec<Problem>> {
        let settings: Settings = config.parse()?;
        let number = if settings.number_is_text { ColumnKind::Text } else { ColumnKind::Integer };
        let mut columns = vec![
            Column::new("id", ColumnKind::Text),
            Column::new("version", ColumnKind::Text),
            Column::new("number", number),
        ];
        if !settings.extra_column.is_empty() {
            columns.push(Column::new(&settings.extra_column, ColumnKind::Text).nullable());
        }
        let key = if settings.mode == Mode::BadDescription { "nowhere" } else { "id" };
        let mapping: &[u8] = if settings.mode == Mode::BadMapping { b"{" } else { MAPPING };
        let mut description = Description::new()
            .index(Index::new(&settings.index, mapping))
            .table(Table::new(&settings.table, columns).key([key]).document_column("id"));
        match settings.mode {
            Mode::TrapAtConfigure => panic!("told to trap at configure"),
            Mode::AbortAtConfigure => std::process::abort(),
            Mode::LoopAtConfigure => endless(),
            Mode::Refuse => {
                return Err(vec![Problem::new("mode", "told to refuse"), Problem::new("version", "and once more")]);
            }
            Mode::Publish => description = Description::new().topic("published"),
            Mode::Need | Mode::NeedForever | Mode::Fetch => description = description.lookup("parent"),
            _ => {}
        }
        Ok((Self(settings), description))
    }

    fn begin(&mut self, _batch: &Batch<'_>) {
        if self.0.mode == Mode::Leak {
            std::mem::forget(vec![1_u8; self.0.count]);
        }
    }

    fn process(&mut self, _batch: &Batch<'_>, change: &Change<'_>) -> Result<Answer, Error> {
        let Settings { index, table, count, mode, .. } = &self.0;
        if *mode == Mode::Publish {
            let value = change.document().ok().map(<[u8]>::to_vec);
            return Ok(Answer::write(Write::publish("published", Some(change.id().into()), value)));
        }
        if change.document() == Err(Absence::Deleted) {
            return Ok(Writes::new().with(Write::delete(index)).with(Write::delete_rows(table)).into());
        }
        let document = change.document()?;
        match mode {
            Mode::LogFlood => (0..*count).for_each(|line| log::info(format_args!("line {line}"))),
            Mode::LongLog => log::info("x".repeat(*count)),
            Mode::Need => return self.need(change),
            Mode::Fetch => return self.fetch(change),
            Mode::NeedForever => return Ok(Answer::need([("parent", change.id())])),
            _ if !contains(document, b"poison") => {}
            Mode::Trap => panic!("told to trap"),
            Mode::Loop => endless(),
            Mode::MemoryBomb => memory_bomb(),
            Mode::Recursion => return Ok(Answer::skip(&recurse(1).to_string())),
            Mode::HugeOutput => {
                return Ok(Answer::write(Write::index(index, &json!({"text": "x".repeat(*count)}))?));
            }
            Mode::ManyWrites => return many_writes(index, *count),
            Mode::InvalidUtf8 => return Ok(Answer::write(Write::index_json(index, b"{\"text\":\"\xff\"}".to_vec()))),
            Mode::InvalidJson => return Ok(Answer::write(Write::index_json(index, b"{\"text\":".to_vec()))),
            Mode::NoObject => return Ok(Answer::write(Write::index(index, &[1, 2])?)),
            Mode::UndeclaredIndex => return Ok(Answer::write(Write::index("undeclared", &json!({}))?)),
            Mode::UndeclaredTable => return Ok(Answer::write(Write::delete_rows("undeclared"))),
            Mode::UndeclaredTopic => return Ok(Answer::write(Write::publish("undeclared", None, None))),
            Mode::UndeclaredCache => return Ok(Answer::write(Write::invalidate("undeclared", ["key"]))),
            Mode::UndeclaredPart => {
                let mut writes = Writes::new();
                writes.fail_part("undeclared", Error::other("told to fail"));
                return Ok(writes.into());
            }
            Mode::UndeclaredLookup => return Ok(Answer::need([("undeclared", "key")])),
            Mode::ShortRow => return Ok(Answer::write(Write::replace_rows(table, [vec![change.id().into()]]))),
            Mode::WrongValue => {
                let row = vec![change.id().into(), Value::Null, "no number".into()];
                return Ok(Answer::write(Write::replace_rows(table, [row])));
            }
            Mode::Fail => return Err(Error::other("told to fail").retry_can_help(true)),
            _ => {}
        }
        self.stamp(change, 0)
    }
}

impl Hostile {
    fn version(&self) -> &str {
        option_env!("STAMP").unwrap_or(&self.0.version)
    }

    fn stamp(&self, change: &Change<'_>, number: u32) -> Result<Answer, Error> {
        let version = self.version();
        let mut row = vec![change.id().into(), version.into(), number.into()];
        if !self.0.extra_column.is_empty() {
            row.push("extra".into());
        }
        let document = json!({"version": version, "id": change.id(), "number": number});
        let writes =
            Writes::new().with(Write::index(&self.0.index, &document)?).with(Write::replace_rows(&self.0.table, [row]));
        Ok(writes.into())
    }

    fn need(&self, change: &Change<'_>) -> Result<Answer, Error> {
        let Some(parent) = parent(change)? else {
            return self.stamp(change, 0);
        };
        match change.found("parent", &parent) {
            Some(found) => self.stamp(change, count(found)),
            None => Ok(Answer::need([("parent", parent)])),
        }
    }

    fn fetch(&self, change: &Change<'_>) -> Result<Answer, Error> {
        let Some(parent) = parent(change)? else {
            return self.stamp(change, 0);
        };
        let found = lookup::fetch("parent", &[&parent]);
        self.stamp(change, found.first().map_or(0, |found| count(found)))
    }
}

const MAPPING: &[u8] =
    br#"{"dynamic":false,"properties":{"version":{"type":"keyword"},"id":{"type":"keyword"},"number":{"type":"long"}}}"#;

fn parent(change: &Change<'_>) -> Result<Option<String>, Error> {
    #[derive(Deserialize)]
    struct Child {
        parent: Option<String>,
    }
    Ok(change.parse::<Child>()?.parent)
}

fn count(documents: &[Vec<u8>]) -> u32 {
    u32::try_from(documents.len()).unwrap_or(u32::MAX)
}

fn contains(document: &[u8], word: &[u8]) -> bool {
    document.windows(word.len()).any(|window| window == word)
}

fn many_writes(index: &str, count: usize) -> Result<Answer, Error> {
    let mut writes = Writes::new();
    for number in 0..count {
        writes.push(Write::index(index, &json!({}))?.id(number.to_string()));
    }
    Ok(writes.into())
}

// `black_box` in each of these: without it the compiler may see what they come to and leave it out.

fn endless() -> ! {
    let mut turns = 0_u64;
    loop {
        turns = std::hint::black_box(turns.wrapping_add(1));
    }
}

fn memory_bomb() -> ! {
    let mut kept = Vec::new();
    loop {
        kept.push(std::hint::black_box(vec![1_u8; 1 << 20]));
    }
}

#[expect(unconditional_recursion, reason = "misbehaving is its purpose")]
fn recurse(depth: u64) -> u64 {
    let frame = std::hint::black_box([depth; 64]);
    recurse(depth + 1) + frame[usize::try_from(depth % 64).unwrap_or(0)]
}

/// The exports: the SDK's, but for the number of outcomes, which its users cannot get wrong.
#[cfg(target_arch = "wasm32")]
mod exports {
    use std::cell::Cell;

    use pillowtop_sdk::private::Export;
    use pillowtop_sdk::private::bindings::exports::pillowtop::processor::guest::Guest;
    use pillowtop_sdk::private::bindings::pillowtop::processor::types;

    use super::{Hostile, Mode, Settings};

    thread_local! {
        static MODE: Cell<Option<Mode>> = const { Cell::new(None) };
    }

    struct Exports;

    impl Guest for Exports {
        fn configure(config: Vec<u8>, lookups: Vec<String>) -> Result<types::Description, Vec<types::Problem>> {
            MODE.set(serde_json::from_slice(&config).ok().map(|settings: Settings| settings.mode));
            Export::<Hostile>::configure(config, lookups)
        }

        fn process(batch: types::Batch) -> Vec<types::Outcome> {
            let mut outcomes = Export::<Hostile>::process(batch);
            match MODE.get() {
                Some(Mode::TooFew) => {
                    outcomes.pop();
                }
                Some(Mode::TooMany) => outcomes.push(types::Outcome::Skip("one too many".to_owned())),
                _ => {}
            }
            outcomes
        }
    }

    pillowtop_sdk::private::export_bindings!(Exports);
}

#[cfg(test)]
mod tests {
    use pillowtop_sdk::testing::{Fixture, Harness};

    use super::*;

    #[test]
    fn what_is_not_poison_is_stamped_in_every_mode_that_looks_for_poison() {
        for mode in ["stamp", "trap", "loop", "memory-bomb", "recursion", "invalid-json", "fail"] {
            let mut harness = Harness::<Hostile>::configure(json!({"mode": mode, "version": "v1"})).unwrap();
            let answer = harness.process_one(Fixture::present("a", json!({"name": "harmless"})));
            let stamped = json!({"version": "v1", "id": "a", "number": 0});
            assert_eq!(answer["writes"][0]["index"]["document"], stamped, "{mode}");
            assert_eq!(answer["writes"][1]["replace_rows"]["rows"], json!([stamped]), "{mode}");
        }
    }

    #[test]
    fn a_look_up_is_asked_once_and_then_answered() {
        for mode in ["need", "fetch"] {
            let mut harness = Harness::<Hostile>::configure(json!({"mode": mode})).unwrap();
            harness.answer("parent", "p", [json!({}), json!({})]);
            let answer = harness.process_one(Fixture::present("a", json!({"parent": "p"})));
            assert_eq!(answer["writes"][0]["index"]["document"]["number"], 2, "{mode}");
        }
        let mut harness = Harness::<Hostile>::configure(json!({"mode": "need"})).unwrap();
        let answer = harness.process_one(Fixture::present("a", json!({"parent": "p"})));
        assert_eq!(answer, json!({"need": [{"lookup": "parent", "key": "p"}]}));
    }

    #[test]
    fn a_failure_is_one_change_s() {
        let mut harness = Harness::<Hostile>::configure(json!({"mode": "fail"})).unwrap();
        let answers = harness.process([Fixture::present("a", json!("poison")), Fixture::present("b", json!({}))]);
        assert_eq!(answers[0], json!({"failed": {"kind": "other", "message": "told to fail", "retry_can_help": true}}));
        assert_eq!(answers[1]["writes"][0]["index"]["id"], "b");
    }
}
