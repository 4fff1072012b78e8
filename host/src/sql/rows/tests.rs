//! Row operations against real databases.

mod many;

use std::sync::Arc;

use super::*;
use crate::model::{Column, ColumnKind, Condition, ProcessorName, Table, Value};
use crate::sql::{Database, Dialect, Kind, Scratch, both, schema};

/// A database with the table `visits (doc, n, at, note)`, and what triggers it gets.
struct Bench {
    scratch: Scratch,
    table: Arc<Table>,
}

impl Bench {
    async fn new(kind: Kind, key: &[&str], extra: &str) -> Self {
        let scratch = Scratch::new(kind).await;
        let table = Arc::new(table(key));
        schema::prepare(&scratch.database, &[Table::clone(&table)]).await.unwrap();
        scratch.execute(extra).await;
        Self { scratch, table }
    }

    async fn apply(&self, writes: &[RowWrite]) -> Applied {
        let mut transaction = self.scratch.database.begin().await.unwrap();
        let applied = apply(&mut transaction.connection(), writes).await.unwrap();
        transaction.commit().await.unwrap();
        applied
    }

    /// All rows, as `doc n at note`.
    async fn rows(&self) -> Vec<String> {
        let (at, order) = match self.scratch.kind {
            Kind::Sqlite => ("at", "doc"),
            Kind::Postgres => {
                (r#"to_char(at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"#, r#"doc collate "C""#)
            }
        };
        let query = format!(
            "select doc || ' ' || n || coalesce(' ' || {at}, '') || coalesce(' ' || note, '') from visits
             order by {order}, n"
        );
        self.scratch.texts(&query).await
    }

    fn write(&self, doc: &str, op: RowOp) -> RowWrite {
        let document = DocumentKey::new("source", doc);
        RowWrite { processor: ProcessorName::new("rows"), document, table: Arc::clone(&self.table), op }
    }

    fn replace(&self, doc: &str, numbers: &[i64]) -> RowWrite {
        self.write(doc, RowOp::Replace(numbers.iter().map(|n| row(doc, *n, None, None)).collect()))
    }

    fn upsert(&self, doc: &str, n: i64, at: Option<&str>, note: Option<&str>, when: Condition) -> RowWrite {
        self.write(doc, RowOp::Upsert { row: row(doc, n, at, note), when })
    }
}

fn table(key: &[&str]) -> Table {
    let column = |name: &str, kind, nullable| Column { name: name.into(), kind, nullable };
    Table {
        name: "visits".into(),
        part: None,
        columns: vec![
            column("doc", ColumnKind::Text, false),
            column("n", ColumnKind::Integer, false),
            column("at", ColumnKind::Timestamp, true),
            column("note", ColumnKind::Text, true),
        ],
        key: key.iter().map(|name| (*name).to_owned()).collect(),
        document_column: Some("doc".into()),
        indexes: vec![],
        ..Table::default()
    }
}

fn row(doc: &str, n: i64, at: Option<&str>, note: Option<&str>) -> Vec<Value> {
    let at = at.map_or(Value::Null, |at| Value::Timestamp(at.into()));
    vec![Value::Text(doc.into()), Value::Integer(n), at, note.map_or(Value::Null, |note| Value::Text(note.into()))]
}

async fn a_column_that_the_table_has_and_nobody_declares_is_null_in_new_rows_and_kept_by_upserts(kind: Kind) {
    let bench = Bench::new(kind, &["doc", "n"], "alter table visits add column added TEXT").await;
    bench.apply(&[bench.replace("a", &[1]), bench.upsert("b", 1, None, Some("x"), Condition::Always)]).await;
    bench.scratch.execute("update visits set added = doc").await;
    let writes = [bench.replace("a", &[1, 2]), bench.upsert("b", 1, None, Some("y"), Condition::Always)];
    assert_eq!(bench.apply(&writes).await.refused, []);
    assert_eq!(bench.rows().await, ["a 1", "a 2", "b 1 y"]);
    let added = bench.scratch.texts("select coalesce(added, '-') from visits order by doc, n").await;
    assert_eq!(added, ["-", "-", "b"]);
}

async fn all_rows_of_a_document_are_replaced_and_other_documents_stay(kind: Kind) {
    let bench = Bench::new(kind, &["doc", "n"], "").await;
    bench.apply(&[bench.replace("a", &[1, 2]), bench.replace("b", &[1]), bench.replace("c", &[9])]).await;
    let applied = bench.apply(&[bench.replace("a", &[2, 3]), bench.write("c", RowOp::Delete)]).await;
    assert_eq!(bench.rows().await, ["a 2", "a 3", "b 1"]);
    assert_eq!(applied, Applied { rows: 3 + 2, refused: vec![] });
}

async fn of_a_document_that_appears_twice_the_last_version_counts(kind: Kind) {
    let bench = Bench::new(kind, &["doc", "n"], "").await;
    let broken = bench.write("b", RowOp::Replace(vec![vec![]]));
    let writes = [bench.replace("a", &[1, 2]), broken, bench.replace("b", &[1]), bench.replace("a", &[3])];
    assert_eq!(bench.apply(&writes).await.refused, []);
    assert_eq!(bench.rows().await, ["a 3", "b 1"]);
}

async fn a_version_that_an_upsert_met_in_between_is_not_left_out(kind: Kind) {
    let bench = Bench::new(kind, &["n"], "").await;
    let first = bench.write("a", RowOp::Replace(vec![row("a", 1, ELEVEN, None)]));
    let older = bench.upsert("b", 1, TEN, None, Condition::Newer("at".into()));
    bench.apply(&[first, older, bench.write("a", RowOp::Delete)]).await;
    assert!(bench.rows().await.is_empty());
}

async fn a_key_passes_from_one_document_to_another(kind: Kind) {
    let bench = Bench::new(kind, &["n"], "").await;
    bench.apply(&[bench.replace("a", &[1])]).await;
    assert_eq!(bench.apply(&[bench.replace("b", &[1]), bench.replace("a", &[2])]).await.refused, []);
    assert_eq!(bench.rows().await, ["a 2", "b 1"]);
}

async fn a_refused_document_keeps_its_old_rows_and_the_others_are_written(kind: Kind) {
    let bench = Bench::new(kind, &["n"], "").await;
    bench.apply(&[bench.replace("a", &[1]), bench.replace("b", &[2])]).await;
    let writes = [bench.replace("c", &[3]), bench.replace("b", &[5, 1]), bench.replace("d", &[4])];
    let applied = bench.apply(&writes).await;
    let reason = match kind {
        Kind::Sqlite => "table visits: UNIQUE constraint failed: visits.n".to_owned(),
        Kind::Postgres => "table visits: duplicate key value violates unique constraint \"visits_pkey\": Key (n)=(1) \
             already exists"
            .to_owned(),
    };
    let refused = Refused { at: 1, reason, retry: RetryHelps::Perhaps };
    assert_eq!(applied, Applied { rows: 2, refused: vec![refused] });
    assert_eq!(bench.rows().await, ["a 1", "b 2", "c 3", "d 4"]);
}

async fn a_document_is_refused_whole_also_when_its_first_upsert_was_fine(kind: Kind) {
    let refuse_seven = match kind {
        Kind::Sqlite => {
            "create trigger seven before insert on visits when new.n = 7 begin select raise(abort, 'no sevens'); end"
        }
        Kind::Postgres => {
            "create function seven() returns trigger language plpgsql as
                 $$ begin if new.n = 7 then raise 'no sevens'; end if; return new; end $$;
             create trigger seven before insert on visits for each row execute function seven()"
        }
    };
    let bench = Bench::new(kind, &["n"], refuse_seven).await;
    let always = |doc, n| bench.upsert(doc, n, None, None, Condition::Always);
    let applied = bench.apply(&[always("a", 1), always("b", 2), always("a", 7), always("c", 2)]).await;
    assert_eq!(applied.refused.len(), 1);
    assert_eq!((applied.refused[0].at, applied.refused[0].reason.as_str()), (2, "table visits: no sevens"));
    assert_eq!(bench.rows().await, ["c 2"]);
    // Also when it comes first.
    let applied = bench.apply(&[always("d", 7), always("e", 3), always("d", 4), always("f", 7)]).await;
    assert_eq!(applied.refused.iter().map(|refused| refused.at).collect::<Vec<_>>(), [0, 3]);
    assert_eq!(bench.rows().await, ["c 2", "e 3"]);
}

async fn what_does_not_fit_the_table_never_reaches_the_database(kind: Kind) {
    let bench = Bench::new(kind, &["doc", "n"], "").await;
    let mut foreign = bench.replace("a", &[1]);
    foreign.document = DocumentKey::new("source", "z");
    let unknown = Condition::Newer("when".into());
    let no_time = Condition::Interval { column: "note".into(), seconds: 1, or_differs: vec![] };
    let cases = [
        (foreign, "visits.doc: is not the id of the document"),
        (bench.write("b", RowOp::Replace(vec![vec![Value::Null]])), "table visits: a row has 1 values for 4 columns"),
        (
            bench.upsert("c", 1, Some("soon"), None, Condition::Always),
            "visits.at: is not a time (RFC 3339, years 0000 to 9999)",
        ),
        (bench.upsert("d", 1, None, None, unknown), "table visits has no column when to compare"),
        (bench.upsert("e", 1, None, None, no_time), "visits.note: an interval needs a timestamp"),
        (bench.replace("f\0", &[1]), "table visits: the id of the document holds a NUL character"),
    ];
    let (mut writes, reasons): (Vec<_>, Vec<_>) = cases.into_iter().unzip();
    writes.push(bench.replace("good", &[1]));
    let refused = bench.apply(&writes).await.refused;
    assert_eq!(refused, refusals(&writes));
    assert_eq!(refused.iter().map(|refused| refused.reason.as_str()).collect::<Vec<_>>(), reasons);
    assert_eq!(refused.iter().map(|refused| refused.at).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5]);
    assert_eq!(bench.rows().await, ["good 1"]);
}

async fn every_kind_of_value_comes_back_as_it_was_written(kind: Kind) {
    let kinds = [
        (Value::Boolean(true), ["integer 1", "boolean true"]),
        (Value::Integer(i64::MIN), ["integer -9223372036854775808", "bigint -9223372036854775808"]),
        (Value::Double(0.5), ["real 0.5", "double precision 0.5"]),
        (Value::Decimal("-0012.500".into()), ["text -0012.500", "numeric -12.500"]),
        (Value::Text("a\"b\u{e4}".into()), ["text a\"b\u{e4}", "text a\"b\u{e4}"]),
        (Value::Text("12".into()), ["text 12", "text 12"]),
        (Value::Bytes(vec![0x61, 0]), ["blob a\0", "bytea \\x6100"]),
        (Value::Date("2026-02-03".into()), ["text 2026-02-03", "date 2026-02-03"]),
        (
            Value::Timestamp("2026-02-03T12:00:00+02:00".into()),
            ["text 2026-02-03T10:00:00.000000Z", "timestamp with time zone 2026-02-03 10:00:00+00"],
        ),
        (Value::Json("12".into()), ["text 12", "jsonb 12"]),
        (Value::Null, ["null -", "text -"]),
    ];
    let bench = Bench::new(kind, &["doc"], "").await;
    let kind_of = |value: &Value| match value {
        Value::Boolean(_) => ColumnKind::Boolean,
        Value::Integer(_) => ColumnKind::Integer,
        Value::Double(_) => ColumnKind::Double,
        Value::Decimal(_) => ColumnKind::Decimal,
        Value::Text(_) | Value::Null => ColumnKind::Text,
        Value::Bytes(_) => ColumnKind::Bytes,
        Value::Date(_) => ColumnKind::Date,
        Value::Timestamp(_) => ColumnKind::Timestamp,
        Value::Json(_) => ColumnKind::Json,
    };
    // A name that needs its quotes.
    let name = |at: usize| format!("c\" {at}");
    let column = |(at, (value, _)): (usize, &(Value, [&str; 2]))| Column {
        name: name(at),
        kind: kind_of(value),
        nullable: true,
    };
    let table = Table {
        name: "every \"kind\"".into(),
        columns: kinds.iter().enumerate().map(column).collect(),
        key: vec![],
        document_column: Some(name(4)),
        ..table(&[])
    };
    schema::prepare(&bench.scratch.database, std::slice::from_ref(&table)).await.unwrap();
    let values = kinds.iter().map(|(value, ..)| value.clone()).collect();
    let write = RowWrite { table: Arc::new(table), ..bench.write("a\"b\u{e4}", RowOp::Replace(vec![values])) };
    for _ in 0..2 {
        assert_eq!(bench.apply(std::slice::from_ref(&write)).await.refused, []);
    }
    let (type_of, expected_at) = match kind {
        Kind::Sqlite => ("typeof", 0),
        Kind::Postgres => ("pg_typeof", 1),
    };
    for (at, (value, expected)) in kinds.iter().enumerate() {
        let column = Dialect::Sqlite.quote(&name(at)).unwrap();
        let text = format!("coalesce(cast({column} as text), '-')");
        let query = format!(r#"select cast({type_of}({column}) as text) || ' ' || {text} from "every ""kind""""#);
        assert_eq!(bench.scratch.texts(&query).await, [expected[expected_at]], "{value:?}");
    }
}

/// Upserts of one key in one call, and the row that is left.
async fn check_upserts(kind: Kind, when: Condition, steps: &[(Option<&str>, Option<&str>)], expected: &str) {
    let bench = Bench::new(kind, &["n"], "").await;
    let upsert = |(at, note): &(Option<&str>, Option<&str>)| bench.upsert("a", 1, *at, *note, when.clone());
    bench.apply(&steps.iter().map(upsert).collect::<Vec<_>>()).await;
    assert_eq!(bench.rows().await, [expected], "{when:?} {steps:?}");
}

const TEN: Option<&str> = Some("2026-02-03T10:00:00Z");
const TEN_EARLIER: Option<&str> = Some("2026-02-03T09:59:59.999999Z");
const TEN_AND_A_BIT: Option<&str> = Some("2026-02-03T10:00:00.000001Z");
const ALMOST_ELEVEN: Option<&str> = Some("2026-02-03T10:59:59.999999Z");
const ELEVEN: Option<&str> = Some("2026-02-03T12:00:00+01:00");
const AFTER_ELEVEN: Option<&str> = Some("2026-02-03T11:00:00.000001Z");

async fn an_upsert_always_overwrites(kind: Kind) {
    check_upserts(
        kind,
        Condition::Always,
        &[(ELEVEN, Some("x")), (TEN, Some("y"))],
        "a 1 2026-02-03T10:00:00.000000Z y",
    )
    .await;
}

async fn a_newer_row_overwrites_and_an_equal_or_older_one_does_not(kind: Kind) {
    let newer = || Condition::Newer("at".into());
    let (ten, bit) = ("a 1 2026-02-03T10:00:00.000000Z x", "a 1 2026-02-03T10:00:00.000001Z y");
    for older in [TEN, TEN_EARLIER, None] {
        check_upserts(kind, newer(), &[(TEN, Some("x")), (older, Some("y"))], ten).await;
    }
    check_upserts(kind, newer(), &[(TEN, Some("x")), (TEN_AND_A_BIT, Some("y"))], bit).await;
    check_upserts(kind, newer(), &[(None, Some("y")), (TEN, Some("x"))], ten).await;
    check_upserts(
        kind,
        newer(),
        &[(TEN, Some("x")), (ELEVEN, Some("z")), (TEN_AND_A_BIT, Some("y"))],
        "a 1 2026-02-03T11:00:00.000000Z z",
    )
    .await;
}

async fn an_interval_holds_back_what_comes_too_soon_unless_a_column_differs(kind: Kind) {
    let interval = |or_differs: &[&str]| Condition::Interval {
        column: "at".into(),
        seconds: 3600,
        or_differs: or_differs.iter().map(|name| (*name).to_owned()).collect(),
    };
    let ten = "a 1 2026-02-03T10:00:00.000000Z x";
    check_upserts(kind, interval(&[]), &[(TEN, Some("x")), (ALMOST_ELEVEN, Some("y"))], ten).await;
    check_upserts(kind, interval(&[]), &[(TEN, Some("x")), (ELEVEN, Some("x"))], ten).await;
    let after_eleven = "a 1 2026-02-03T11:00:00.000001Z x";
    check_upserts(kind, interval(&[]), &[(TEN, Some("x")), (AFTER_ELEVEN, Some("x"))], after_eleven).await;
    check_upserts(kind, interval(&["note"]), &[(TEN, Some("x")), (ALMOST_ELEVEN, Some("x"))], ten).await;
    check_upserts(
        kind,
        interval(&["note"]),
        &[(TEN, Some("x")), (TEN, Some("y"))],
        "a 1 2026-02-03T10:00:00.000000Z y",
    )
    .await;
    check_upserts(kind, interval(&["note"]), &[(TEN, Some("x")), (TEN_EARLIER, Some("y"))], ten).await;
    check_upserts(kind, interval(&["note"]), &[(TEN, Some("x")), (None, Some("y"))], ten).await;
    let bit = "a 1 2026-02-03T10:00:00.000001Z";
    check_upserts(kind, interval(&["note"]), &[(TEN, Some("x")), (TEN_AND_A_BIT, None)], bit).await;
}

#[test]
fn statements_come_in_few_sizes() {
    for (rows, most, expected) in [(1, 256, 1), (3, 256, 1), (4, 256, 4), (1000, 256, 256), (1000, 100, 64), (5, 1, 1)]
    {
        assert_eq!(run::chunk_size(rows, most), expected, "{rows} of at most {most}");
    }
}

async fn thousands_of_rows_take_a_fraction_of_a_second(kind: Kind) {
    let bench = Bench::new(kind, &["doc", "n"], "").await;
    let writes: Vec<RowWrite> = (0..5000).map(|at| bench.replace(&format!("document-{at}"), &[1, 2])).collect();
    for round in ["new", "replaced"] {
        let started = tokio::time::Instant::now();
        assert_eq!(bench.apply(&writes).await.refused, []);
        println!("{round}: 10000 rows of 5000 documents in {:?}", started.elapsed());
    }
    assert_eq!(bench.rows().await.len(), 10_000);
}

async fn an_index_that_a_table_needs_is_used_to_remove_rows(kind: Kind) {
    let bench = Bench::new(kind, &["n"], "").await;
    match &bench.scratch.database {
        Database::Sqlite(sqlite) => {
            let statement = Dialect::Sqlite.delete_documents("visits", "doc").unwrap();
            let plan: Vec<(i64, i64, i64, String)> =
                sqlx::query_as(sqlx::AssertSqlSafe(format!("explain query plan {statement}")))
                    .bind("[\"a\"]")
                    .fetch_all(&sqlite.readers)
                    .await
                    .unwrap();
            let first = &plan[0].3;
            assert!(first.starts_with("SEARCH visits USING") && first.contains("INDEX visits_by_doc_"), "{first}");
        }
        Database::Postgres(_) => {
            let fill = "insert into visits select 'd' || n, n from generate_series(1, 20000) as n; analyze visits";
            bench.scratch.execute(fill).await;
            let statement = Dialect::Postgres.delete_documents("visits", "doc").unwrap().replace("$1", "'{d7}'");
            let plan = bench.scratch.texts(&format!("explain {statement}")).await;
            assert!(plan.iter().any(|line| line.contains("visits_by_doc_")), "{plan:#?}");
        }
    }
}

async fn texts_are_newer_by_their_bytes_whatever_the_database_makes_of_them(kind: Kind) {
    let sorted_otherwise = match kind {
        Kind::Sqlite => "",
        Kind::Postgres => "alter table visits alter column note type text collate \"und-x-icu\"",
    };
    let bench = Bench::new(kind, &["n"], sorted_otherwise).await;
    let upsert = |note| bench.upsert("a", 1, None, Some(note), Condition::Newer("note".into()));
    // In one call, and against what is stored.
    bench.apply(&[upsert("a"), upsert("B")]).await;
    assert_eq!(bench.rows().await, ["a 1 a"]);
    bench.apply(&[upsert("B")]).await;
    bench.apply(&[upsert("b")]).await;
    assert_eq!(bench.rows().await, ["a 1 b"]);
}

async fn a_wide_table_takes_thousands_of_rows(kind: Kind) {
    let scratch = Scratch::new(kind).await;
    let wide = |at| Column { name: format!("c{at}"), kind: ColumnKind::Integer, nullable: at > 0 };
    let columns = (0..300).map(wide).collect();
    let table = Table { columns, key: vec!["c0".into()], document_column: None, ..table(&[]) };
    schema::prepare(&scratch.database, std::slice::from_ref(&table)).await.unwrap();
    let table = Arc::new(table);
    let write = |n: i64| RowWrite {
        processor: ProcessorName::new("rows"),
        document: DocumentKey::new("source", format!("{n}")),
        table: Arc::clone(&table),
        op: RowOp::Upsert { row: (0..300).map(|at| Value::Integer(n + at)).collect(), when: Condition::Always },
    };
    let writes: Vec<RowWrite> = (0..1200).map(write).collect();
    let mut transaction = scratch.database.begin().await.unwrap();
    let applied = apply(&mut transaction.connection(), &writes).await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(applied, Applied { rows: 1200, refused: vec![] });
    assert_eq!(scratch.texts("select cast(sum(c299) as text) from visits").await, ["1078200"]);
}

#[tokio::test]
async fn keys_that_only_the_database_holds_for_equal_are_one_row() {
    let scratch = Scratch::new(Kind::Postgres).await;
    let column = |name: &str, kind| Column { name: name.into(), kind, nullable: false };
    let columns = vec![column("key", ColumnKind::Decimal), column("n", ColumnKind::Integer)];
    let table = Table { columns, key: vec!["key".into()], document_column: None, ..table(&[]) };
    schema::prepare(&scratch.database, std::slice::from_ref(&table)).await.unwrap();
    let table = Arc::new(table);
    let write = |(text, n): &(&str, i64)| RowWrite {
        processor: ProcessorName::new("rows"),
        document: DocumentKey::new("source", format!("{n}")),
        table: Arc::clone(&table),
        op: RowOp::Upsert {
            row: vec![Value::Decimal((*text).to_owned()), Value::Integer(*n)],
            when: Condition::Always,
        },
    };
    let writes: Vec<RowWrite> = [("1.0", 1), ("2", 2), ("1.00", 3), ("3", 4)].iter().map(write).collect();
    let mut transaction = scratch.database.begin().await.unwrap();
    let applied = apply(&mut transaction.connection(), &writes).await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(applied.refused, []);
    let rows = scratch.texts("select trim_scale(key) || ' ' || n from visits order by visits.key").await;
    assert_eq!(rows, ["1 3", "2 2", "3 4"]);
}

#[tokio::test]
async fn hosts_that_upsert_the_same_keys_in_any_order_do_not_wait_in_a_circle() {
    let bench = Bench::new(Kind::Postgres, &["n"], "").await;
    let host = async |host: usize| {
        for round in 0..10 {
            // A step that is prime to 101 visits every key, in another order for each host and round.
            let step = 1 + host * 10 + round;
            let key = |at: usize| i64::try_from(at * step % 101).unwrap();
            let writes: Vec<RowWrite> =
                (0..101).map(|at| bench.upsert("a", key(at), None, None, Condition::Always)).collect();
            assert_eq!(bench.apply(&writes).await.refused, []);
        }
    };
    futures_util::future::join_all((0..4).map(host)).await;
    assert_eq!(bench.rows().await.len(), 101);
}

both! {
    a_column_that_the_table_has_and_nobody_declares_is_null_in_new_rows_and_kept_by_upserts
    all_rows_of_a_document_are_replaced_and_other_documents_stay
    of_a_document_that_appears_twice_the_last_version_counts
    a_version_that_an_upsert_met_in_between_is_not_left_out
    a_key_passes_from_one_document_to_another
    a_refused_document_keeps_its_old_rows_and_the_others_are_written
    a_document_is_refused_whole_also_when_its_first_upsert_was_fine
    what_does_not_fit_the_table_never_reaches_the_database
    every_kind_of_value_comes_back_as_it_was_written
    an_upsert_always_overwrites
    a_newer_row_overwrites_and_an_equal_or_older_one_does_not
    an_interval_holds_back_what_comes_too_soon_unless_a_column_differs
    thousands_of_rows_take_a_fraction_of_a_second
    an_index_that_a_table_needs_is_used_to_remove_rows
    texts_are_newer_by_their_bytes_whatever_the_database_makes_of_them
    a_wide_table_takes_thousands_of_rows
}
