//! The tables, and the rows that an event becomes.
//!
//! One row holds what one kind of event last said, so that no event overwrites what it knows nothing of; what is known
//! of a user as a whole is the latest of the user's rows.

use pillowtop_sdk::{Column, ColumnKind, Condition, Row, Table, Value, Write};

use crate::config::{Config, Profile};
use crate::event::{Event, UsedBuild};
use crate::moment;

const LAST_SUBMISSIONS: &str = "last_submissions";
const LAST_SYNCS: &str = "last_syncs";
const LAST_BUILDS: &str = "last_builds";
const USER_DEVICES: &str = "user_devices";
const USED_BUILDS: &str = "builds_with_submissions";

/// The tables of a configuration.
pub fn declared(config: &Config) -> Vec<Table> {
    let mut tables = match config.profile {
        Profile::Form => vec![last_submissions(config), last_builds(config), user_devices(config)],
        Profile::Sync => vec![last_syncs(config), last_builds(config), user_devices(config)],
    };
    if config.profile == Profile::Form && config.build_lookup.is_some() {
        tables.push(used_builds(config));
    }
    tables
}

/// The write that notes that a build has submissions. All columns are the key's: a row that is there stays untouched.
pub fn used_build(config: &Config, build: &UsedBuild) -> Write {
    let row = vec![build.domain.as_str().into(), build.build_id.as_str().into()];
    Write::upsert_row(name(config, USED_BUILDS), row, Condition::Always)
}

/// The writes that an event becomes.
pub fn rows(config: &Config, event: &Event, document_id: &str) -> Vec<Write> {
    let interval = |column: &str| Condition::Interval {
        column: column.to_owned(),
        seconds: config.frequency_minutes.saturating_mul(60),
        or_differs: vec!["build_version".to_owned(), "commcare_version".to_owned()],
    };
    let newer = |column: &str| Condition::Newer(column.to_owned());
    let mut writes = Vec::with_capacity(3);
    match config.profile {
        Profile::Form => {
            let row = last_submission(event, document_id);
            writes.push(Write::upsert_row(name(config, LAST_SUBMISSIONS), row, interval("submission_date")));
        }
        Profile::Sync => {
            writes.push(Write::upsert_row(name(config, LAST_SYNCS), last_sync(event, document_id), newer("sync_date")));
        }
    }
    if let Some(row) = last_build(event) {
        let when = match config.profile {
            Profile::Form => interval("build_version_date"),
            Profile::Sync => newer("build_version_date"),
        };
        writes.push(Write::upsert_row(name(config, LAST_BUILDS), row, when));
    }
    if let Some(row) = user_device(config.profile, event) {
        writes.push(Write::upsert_row(name(config, USER_DEVICES), row, newer("last_used_day")));
    }
    writes
}

fn name(config: &Config, table: &str) -> String {
    format!("{}{table}", config.table_prefix)
}

/// What every key begins with.
fn user_and_app() -> Vec<Column> {
    ["domain", "user_id", "app_id"].map(|column| Column::new(column, ColumnKind::Text)).into()
}

fn nullable(name: &str, kind: ColumnKind) -> Column {
    Column::new(name, kind).nullable()
}

fn last_submissions(config: &Config) -> Table {
    let mut columns = user_and_app();
    columns.extend([
        Column::new("submission_date", ColumnKind::Timestamp),
        Column::new("form_id", ColumnKind::Text),
        nullable("device_id", ColumnKind::Text),
        nullable("build_id", ColumnKind::Text),
        nullable("build_version", ColumnKind::Integer),
        nullable("commcare_version", ColumnKind::Text),
    ]);
    Table::new(name(config, LAST_SUBMISSIONS), columns).key(["domain", "user_id", "app_id"]).index(["user_id"])
}

fn last_submission(event: &Event, form_id: &str) -> Row {
    let mut row = user_and_app_of(event);
    row.extend([
        Value::timestamp(moment::stored(event.at)),
        form_id.into(),
        event.device_id.as_deref().into(),
        event.build_id.as_deref().into(),
        event.build_version.map(i64::from).into(),
        event.commcare_version.as_deref().into(),
    ]);
    row
}

fn last_syncs(config: &Config) -> Table {
    let mut columns = user_and_app();
    columns.extend([
        Column::new("sync_date", ColumnKind::Timestamp),
        Column::new("sync_id", ColumnKind::Text),
        nullable("device_id", ColumnKind::Text),
        nullable("build_id", ColumnKind::Text),
        nullable("build_version", ColumnKind::Integer),
    ]);
    Table::new(name(config, LAST_SYNCS), columns).key(["domain", "user_id", "app_id"]).index(["user_id"])
}

fn last_sync(event: &Event, sync_id: &str) -> Row {
    let mut row = user_and_app_of(event);
    row.extend([
        Value::timestamp(moment::stored(event.at)),
        sync_id.into(),
        event.device_id.as_deref().into(),
        event.build_id.as_deref().into(),
        event.build_version.map(i64::from).into(),
    ]);
    row
}

fn last_builds(config: &Config) -> Table {
    let mut columns = user_and_app();
    columns.extend([
        Column::new("build_version_date", ColumnKind::Timestamp),
        Column::new("build_version", ColumnKind::Integer),
        nullable("build_id", ColumnKind::Text),
        nullable("commcare_version", ColumnKind::Text),
    ]);
    Table::new(name(config, LAST_BUILDS), columns).key(["domain", "user_id", "app_id"])
}

/// None where nobody knows the version.
fn last_build(event: &Event) -> Option<Row> {
    let version = i64::from(event.build_version?);
    let mut row = user_and_app_of(event);
    row.extend([
        Value::timestamp(moment::stored(event.at)),
        version.into(),
        event.build_id.as_deref().into(),
        event.commcare_version.as_deref().into(),
    ]);
    Some(row)
}

fn user_devices(config: &Config) -> Table {
    let mut columns: Vec<Column> =
        ["domain", "user_id", "device_id", "app_id", "event"].map(|name| Column::new(name, ColumnKind::Text)).into();
    columns.extend([
        Column::new("last_used_day", ColumnKind::Date),
        Column::new("last_used", ColumnKind::Timestamp),
        nullable("build_id", ColumnKind::Text),
        nullable("build_version", ColumnKind::Integer),
        nullable("commcare_version", ColumnKind::Text),
    ]);
    Table::new(name(config, USER_DEVICES), columns).key(["domain", "user_id", "device_id", "app_id", "event"])
}

/// None for users without devices, and where the device is not named.
fn user_device(profile: Profile, event: &Event) -> Option<Row> {
    let device_id = event.device_id.as_deref().filter(|_| event.has_devices)?;
    let kind = match profile {
        Profile::Form => "submission",
        Profile::Sync => "sync",
    };
    Some(vec![
        event.domain.as_str().into(),
        event.user_id.as_str().into(),
        device_id.into(),
        event.app_id.as_str().into(),
        kind.into(),
        Value::date(moment::day(event.at)),
        Value::timestamp(moment::stored(event.at)),
        event.build_id.as_deref().into(),
        event.build_version.map(i64::from).into(),
        event.commcare_version.as_deref().into(),
    ])
}

fn used_builds(config: &Config) -> Table {
    let columns = ["domain", "build_id"].map(|name| Column::new(name, ColumnKind::Text));
    Table::new(name(config, USED_BUILDS), columns).key(["domain", "build_id"])
}

fn user_and_app_of(event: &Event) -> Row {
    vec![event.domain.as_str().into(), event.user_id.as_str().into(), event.app_id.as_str().into()]
}
