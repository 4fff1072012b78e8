//! Plans on paper, and plans against real databases.

use proptest::prelude::*;

use super::*;
use crate::sql::{Kind, Scratch, both};

/// `name kind` columns, `?` for nullable; the key; indexes as `a,b` or `unique a,b`.
fn table(columns: &str, key: &str, indexes: &[&str]) -> Table {
    let list = |text: &str| text.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect::<Vec<_>>();
    let column = |text: String| {
        let (name, kind) = text.split_once(' ').unwrap();
        let kind_text = kind.trim_end_matches('?');
        let kinds =
            [ColumnKind::Text, ColumnKind::Integer, ColumnKind::Timestamp, ColumnKind::Decimal, ColumnKind::Json];
        let found = kinds.into_iter().find(|candidate| kind_name(*candidate) == kind_text).unwrap();
        Column { name: name.to_owned(), kind: found, nullable: kind.ends_with('?') }
    };
    let index = |text: &&str| TableIndex {
        name: None,
        columns: list(text.trim_start_matches("unique ")),
        unique: text.starts_with("unique "),
    };
    Table {
        name: "t".into(),
        part: None,
        columns: list(columns).into_iter().map(column).collect(),
        key: list(key),
        document_column: None,
        indexes: indexes.iter().map(index).collect(),
        ..Table::default()
    }
}

/// A plan for SQLite, and for a declaration that is sound.
fn plan(existing: Option<&ExistingTable>, declared: &Table) -> Result<Vec<Step>, Vec<String>> {
    super::plan(Dialect::Sqlite, existing, declared).map_err(Obstacle::lines)
}

/// A plan for the kind of database that has it.
fn plan_in(kind: Kind, existing: Option<&ExistingTable>, declared: &Table) -> Result<Vec<Step>, Vec<String>> {
    super::plan(dialect(kind), existing, declared).map_err(Obstacle::lines)
}

/// What the database would say of a table that was made as declared.
fn made(table: &Table) -> ExistingTable {
    let column = |column: &Column| ExistingColumn {
        name: column.name.clone(),
        type_name: Dialect::Sqlite.column_type(column.kind).into_owned(),
        nullable: column.nullable && !table.key.contains(&column.name),
        has_default: false,
    };
    let columns = table.columns.iter().map(column).collect();
    ExistingTable { columns, key: table.key.clone(), indexes: wanted_indexes(table) }
}

fn check(before: &Table, after: &Table, expected: &[&str]) {
    let lines = match plan(Some(&made(before)), after) {
        Ok(steps) => steps.iter().map(step_name).collect(),
        Err(lines) => lines,
    };
    assert_eq!(lines, expected);
}

#[test]
fn nullable_columns_and_indexes_are_added() {
    let before = table("doc text,n integer", "doc", &["n"]);
    check(&before, &before, &[]);
    let after = table("doc text,note text?,n integer", "doc", &["n", "unique n,note"]);
    check(&before, &after, &["could not get column note", "could not get an index over (n, note)"]);
}

#[test]
fn what_would_lose_or_break_rows_is_refused_in_words() {
    let before = table("doc text,n integer,at timestamp?", "doc", &[]);
    check(
        &before,
        &table("doc text,n text,at timestamp?", "doc", &[]),
        &["t.n: the type cannot change from BIGINT to text"],
    );
    check(
        &before,
        &table("doc text,at timestamp?", "doc", &[]),
        &[
            "t.n: exists, is not declared any more, and must be nullable or have a default, since new rows have no value \
           for it",
        ],
    );
    check(
        &before,
        &table("doc text,n integer,at timestamp?,new text", "doc", &[]),
        &["t.new: a column that is added must be nullable, since existing rows have no value for it"],
    );
    check(
        &before,
        &table("doc text,n integer?,at timestamp", "doc,n", &[]),
        &["t.at: is nullable and cannot become required", "t: the key cannot change from (doc) to (doc, n)"],
    );
    check(
        &before,
        &table("doc text,n integer?,at timestamp?", "doc", &[]),
        &["t.n: is required and cannot become nullable"],
    );
}

#[test]
fn a_column_that_is_not_declared_any_more_stays_when_rows_can_do_without_it() {
    let before = table("doc text,n integer,at timestamp?", "doc", &["at"]);
    check(&before, &table("doc text,n integer", "doc", &[]), &[]);
    check(&before, &table("doc text,n integer,new text?", "doc", &[]), &["could not get column new"]);
    // And declared again later, as it was.
    check(&before, &table("doc text,n integer,at timestamp?", "doc", &[]), &[]);
    let mut existing = made(&before);
    existing.columns[1].has_default = true;
    assert_eq!(plan(Some(&existing), &table("doc text", "doc", &[])), Ok(vec![]));
}

#[test]
fn a_declaration_that_makes_no_sense_is_refused_with_everything_that_is_wrong() {
    let mut declared = table("a text,A integer,b json", "c,c", &["d", ""]);
    declared.name = "SQLite_t".into();
    declared.document_column = Some("b".into());
    let expected = [
        "SQLite_t: names that start with sqlite_ are taken",
        "SQLite_t.A: is declared twice",
        "SQLite_t: the key names column \"c\", which is not declared",
        "SQLite_t: the key names column \"c\", which is not declared",
        "SQLite_t: the index names column \"d\", which is not declared",
        "SQLite_t: the key names a column twice",
        "SQLite_t: an index has no columns",
        "SQLite_t: the document column \"b\" is not a declared column of text",
    ];
    assert_eq!(plan(None, &declared).unwrap_err(), expected);
    // PostgreSQL tells upper from lower case.
    let declared = table("a text,A integer", "a", &[]);
    assert_eq!(super::plan(Dialect::Postgres, None, &declared).map_err(Obstacle::lines), Ok(vec![Step::CreateTable]));
    for name in ["", "a\0b", "a".repeat(64).as_str()] {
        let declared = Table { name: name.into(), ..table("a text", "a", &[]) };
        assert_eq!(plan(None, &declared).unwrap_err(), [format!("{name:?} is no name for a table")]);
    }
}

#[test]
fn a_table_whose_key_does_not_lead_with_the_document_gets_an_index_for_it() {
    let mut declared = table("doc text,n integer", "n", &[]);
    declared.document_column = Some("doc".into());
    let index = TableIndex { name: None, columns: vec!["doc".into()], unique: false };
    assert_eq!(plan(None, &declared).unwrap(), [Step::CreateTable, Step::CreateIndex(index)]);
    declared.key = vec!["doc".into(), "n".into()];
    assert_eq!(plan(None, &declared).unwrap(), [Step::CreateTable]);
}

#[test]
fn index_names_differ_where_their_columns_do() {
    let name = |columns: &[&str]| {
        let columns = columns.iter().map(|name| (*name).to_owned()).collect();
        index_name("t", &TableIndex { name: None, columns, unique: false })
    };
    assert_ne!(name(&["a", "b_c"]), name(&["a_b", "c"]));
    assert!(name(&["ä"; 60]).len() <= 63);
}

fn dialect(kind: Kind) -> Dialect {
    match kind {
        Kind::Sqlite => Dialect::Sqlite,
        Kind::Postgres => Dialect::Postgres,
    }
}

async fn existing(database: &Database, name: &str) -> Option<ExistingTable> {
    let mut transaction = database.begin().await.unwrap();
    read_existing(&mut transaction.connection(), name, "read").await.unwrap()
}

async fn a_prepared_table_needs_no_further_steps(kind: Kind) {
    let scratch = Scratch::new(kind).await;
    let database = &scratch.database;
    let first = table("b text,a integer,c decimal?", "a,b", &["unique c", "c,a"]);
    prepare(database, std::slice::from_ref(&first)).await.unwrap();
    assert_eq!(plan_in(kind, existing(database, "t").await.as_ref(), &first), Ok(vec![]));
    let second = table("b text,d json?,a integer,c decimal?", "a,b", &["unique c", "c,a", "d"]);
    prepare(database, std::slice::from_ref(&second)).await.unwrap();
    assert_eq!(plan_in(kind, existing(database, "t").await.as_ref(), &second), Ok(vec![]));
}

async fn a_required_column_that_is_not_declared_needs_a_default(kind: Kind) {
    let scratch = Scratch::new(kind).await;
    let database = &scratch.database;
    let made = "create table t (a text not null primary key, b text not null default 'x', c text not null)";
    scratch.execute(made).await;
    let refused = plan_in(kind, existing(database, "t").await.as_ref(), &table("a text", "a", &[])).unwrap_err();
    assert_eq!(refused.len(), 1);
    assert!(refused[0].starts_with("t.c: exists, is not declared any more, and must be nullable"), "{refused:?}");
    prepare(database, &[table("a text,c text", "a", &[])]).await.unwrap();
}

async fn when_one_table_is_refused_no_table_is_touched(kind: Kind) {
    let scratch = Scratch::new(kind).await;
    let database = &scratch.database;
    prepare(database, &[table("a text", "a", &[])]).await.unwrap();
    let new = Table { name: "new".into(), ..table("a text", "a", &[]) };
    let refused = prepare(database, &[new, table("a integer", "a", &[])]).await.unwrap_err();
    let text = Dialect::column_type(dialect(kind), ColumnKind::Text);
    assert_eq!(refused.to_string(), format!("t.a: the type cannot change from {text} to integer"));
    assert_eq!(existing(database, "new").await, None);
}

async fn rows_that_contradict_a_new_unique_index_refuse_it(kind: Kind) {
    let scratch = Scratch::new(kind).await;
    let database = &scratch.database;
    prepare(database, &[table("a text,n integer", "a", &[])]).await.unwrap();
    scratch.execute("insert into t values ('x', 1), ('y', 1)").await;
    let refused = prepare(database, &[table("a text,n integer,c text?", "a", &["unique n"])]).await.unwrap_err();
    let reason = match kind {
        Kind::Sqlite => "UNIQUE constraint failed: t.n".to_owned(),
        Kind::Postgres => {
            let name = index_name("t", &TableIndex { name: None, columns: vec!["n".into()], unique: true });
            format!("could not create unique index \"{name}\": Key (n)=(1) is duplicated")
        }
    };
    assert_eq!(refused.to_string(), format!("t: could not get an index over (n): {reason}"));
    assert_eq!(existing(database, "t").await.unwrap().columns.len(), 2);
}

async fn a_table_of_somebody_else_with_a_foreign_type_is_left_alone(kind: Kind) {
    let scratch = Scratch::new(kind).await;
    let database = &scratch.database;
    scratch.execute("create table t (a varchar(20) not null primary key)").await;
    let refused = prepare(database, &[table("a text", "a", &[])]).await.unwrap_err();
    let varchar = match kind {
        Kind::Sqlite => "varchar(20)",
        Kind::Postgres => "character varying(20)",
    };
    assert_eq!(refused.to_string(), format!("t.a: the type cannot change from {varchar} to text"));
}

proptest! {
    /// Whatever is declared first and then: after an accepted plan nothing is left to do, every column of before is
    /// still there with its type, and the first declaration fits as it did.
    #[test]
    fn an_accepted_plan_ends_at_the_declaration_and_loses_nothing(
        before in prop::collection::btree_map("[a-d]", (any::<bool>(), any::<bool>()), 1..4),
        after in prop::collection::btree_map("[a-d]", (any::<bool>(), any::<bool>()), 1..4),
    ) {
        let declare = |columns: &std::collections::BTreeMap<String, (bool, bool)>| {
            let line = |(name, (text, nullable)): (&String, &(bool, bool))| {
                format!("{name} {}{}", if *text { "text" } else { "integer" }, if *nullable { "?" } else { "" })
            };
            table(&columns.iter().map(line).collect::<Vec<_>>().join(","), "", &[])
        };
        let (before, after) = (declare(&before), declare(&after));
        let existing = made(&before);
        if let Ok(steps) = plan(Some(&existing), &after) {
            let mut reached = existing.clone();
            for step in steps {
                let Step::AddColumn(column) = step else { panic!("only columns differ") };
                prop_assert!(column.nullable);
                reached.columns.extend(made(&Table { columns: vec![column], ..after.clone() }).columns);
            }
            prop_assert_eq!(plan(Some(&reached), &after), Ok(vec![]));
            prop_assert_eq!(plan(Some(&reached), &before), Ok(vec![]));
            prop_assert!(existing.columns.iter().all(|column| reached.columns.contains(column)));
            let dropped = before.columns.iter().filter(|column| after.column(&column.name).is_none());
            prop_assert!(dropped.into_iter().all(|column| column.nullable));
        }
    }
}

#[tokio::test]
async fn hosts_that_start_together_make_a_table_once() {
    let scratch = Scratch::new(Kind::Postgres).await;
    let hosts = [scratch.reopened().await, scratch.reopened().await, scratch.reopened().await];
    let declared = [table("a text,n integer", "a", &["n"]), Table { name: "u".into(), ..table("a text", "a", &[]) }];
    let prepared = futures_util::future::join_all(hosts.iter().map(|host| prepare(host, &declared))).await;
    assert!(prepared.iter().all(Result::is_ok), "{prepared:?}");
}

async fn a_column_of_every_kind_is_found_again(kind: Kind) {
    let scratch = Scratch::new(kind).await;
    let kinds = [
        ColumnKind::Boolean,
        ColumnKind::Integer,
        ColumnKind::Double,
        ColumnKind::Decimal,
        ColumnKind::Text,
        ColumnKind::Bytes,
        ColumnKind::Date,
        ColumnKind::Timestamp,
        ColumnKind::Json,
        ColumnKind::Integer16,
        ColumnKind::Integer32,
        ColumnKind::SizedDecimal { digits: 64, places: 16 },
        ColumnKind::LocalTimestamp,
        ColumnKind::TextList,
    ];
    let column = |(at, kind): (usize, &ColumnKind)| Column { name: format!("c{at}"), kind: *kind, nullable: true };
    let columns = kinds.iter().enumerate().map(column).collect();
    let declared = Table { name: "t".into(), columns, ..Table::default() };
    prepare(&scratch.database, std::slice::from_ref(&declared)).await.unwrap();
    assert_eq!(plan_in(kind, existing(&scratch.database, "t").await.as_ref(), &declared), Ok(vec![]));
}

async fn indexes_have_their_declared_names(kind: Kind) {
    let scratch = Scratch::new(kind).await;
    let database = &scratch.database;
    let unnamed = table("a text,b text", "a", &["b"]);
    prepare(database, std::slice::from_ref(&unnamed)).await.unwrap();
    let mut named = unnamed.clone();
    named.indexes[0].name = Some("ix_t_b".into());
    named.indexes.push(TableIndex {
        name: Some("ix_b_a".into()),
        columns: vec!["b".into(), "a".into()],
        unique: false,
    });
    let names = async || {
        let found = existing(database, "t").await.unwrap();
        let mut names: Vec<String> = found.indexes.into_iter().filter_map(|index| index.name).collect();
        names.sort();
        names
    };
    // The one that had a name of ours is the same index under another name.
    prepare(database, std::slice::from_ref(&named)).await.unwrap();
    assert_eq!(names().await, ["ix_b_a", "ix_t_b"]);
    assert_eq!(plan_in(kind, existing(database, "t").await.as_ref(), &named), Ok(vec![]));
    assert_eq!(plan_in(kind, existing(database, "t").await.as_ref(), &unnamed), Ok(vec![]));
    // A name goes over to other columns; an operator's index stays.
    scratch.execute("create index mine on t (b)").await;
    named.indexes[1].columns = vec!["a".into(), "b".into()];
    prepare(database, std::slice::from_ref(&named)).await.unwrap();
    assert_eq!(names().await, ["ix_b_a", "ix_t_b", "mine"]);
    assert_eq!(plan_in(kind, existing(database, "t").await.as_ref(), &named), Ok(vec![]));
}

#[tokio::test]
async fn a_required_column_becomes_nullable_in_place() {
    let scratch = Scratch::new(Kind::Postgres).await;
    prepare(&scratch.database, &[table("a text,b text", "a", &[])]).await.unwrap();
    let after = table("a text,b text?", "a", &[]);
    prepare(&scratch.database, std::slice::from_ref(&after)).await.unwrap();
    scratch.execute("insert into t values ('x', null)").await;
    assert_eq!(plan_in(Kind::Postgres, existing(&scratch.database, "t").await.as_ref(), &after), Ok(vec![]));
}

#[test]
fn a_table_that_may_be_rebuilt_has_no_column_that_nobody_declares() {
    let before = table("doc text,n integer,at timestamp?", "doc", &[]);
    let after = Table { on_change: TableChange::Rebuild, ..table("doc text,n integer", "doc", &[]) };
    check(&before, &after, &["t.at: exists, and is not declared any more"]);
}

both! {
    a_column_of_every_kind_is_found_again
    indexes_have_their_declared_names
    a_prepared_table_needs_no_further_steps
    a_required_column_that_is_not_declared_needs_a_default
    when_one_table_is_refused_no_table_is_touched
    rows_that_contradict_a_new_unique_index_refuse_it
    a_table_of_somebody_else_with_a_foreign_type_is_left_alone
}
