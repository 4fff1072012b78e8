//! Backfills that operators asked for: rows in the checkpoint database, which the host that runs the pillow takes up.
//!
//! A pillow has one open backfill at most. What is written here is only the wish and how far it is said to be; where it
//! really goes on is its checkpoint. The table is made where it is first needed.

use std::num::NonZeroU32;

use jiff::Timestamp;
use sqlx::{ColumnIndex, Database as SqlxDatabase, Decode, FromRow, Row, Type};

use crate::model::{Outage, PillowName, timestamp_text};
use crate::sql::{Database, Given};

use super::{Progressing, Report};

/// The statements are the same in both databases, but for the number that a row gets.
const TABLE: &str = "
create table if not exists pillowtop_backfills (
  NUMBER,
  pillow text not null,
  processor text,
  parts text,
  purpose text,
  rate bigint,
  state text not null,
  done bigint not null default 0,
  total bigint,
  note text,
  asked_at text not null
)";
/// Of two that ask at once, one is refused.
const ONE_OPEN: &str = "create unique index if not exists pillowtop_backfills_open on pillowtop_backfills (pillow)
    where state = 'open'";
const COLUMNS: &str = "number, pillow, processor, parts, purpose, rate, state, done, total, note";

/// The backfills of a checkpoint database.
#[derive(Debug, Clone)]
pub struct Backfills {
    database: Database,
}

/// A backfill that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Its number.
    pub number: i64,
    /// Whose documents.
    pub pillow: PillowName,
    /// The only processor that runs; all when none.
    pub processor: Option<String>,
    /// The only parts of it that are written; all when none.
    pub parts: Option<Vec<String>>,
    /// What it is for, where the host itself asked for it.
    pub purpose: Option<String>,
    /// At most so many documents a second.
    pub rate: Option<NonZeroU32>,
    /// What became of it.
    pub state: RequestState,
    /// Documents done with.
    pub done: u64,
    /// About how many there are, once that is known.
    pub total: Option<u64>,
    /// What it waits for, or why it failed.
    pub note: Option<String>,
}

/// What a backfill is to do.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wanted<'a> {
    /// The only processor that runs; all when none.
    pub processor: Option<&'a str>,
    /// The only parts of it that are written; all when none.
    pub parts: Option<&'a [String]>,
    /// What it is for, where the host itself asks for it.
    pub purpose: Option<&'a str>,
    /// At most so many documents a second.
    pub rate: Option<NonZeroU32>,
}

/// What became of a backfill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestState {
    /// It is to be done.
    Open,
    /// It was.
    Done,
    /// It cannot be.
    Failed,
    /// An operator does not want it any more.
    Cancelled,
}

impl RequestState {
    const ALL: [(Self, &'static str); 4] =
        [(Self::Open, "open"), (Self::Done, "done"), (Self::Failed, "failed"), (Self::Cancelled, "cancelled")];

    /// Its name in the table.
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(state, _)| *state == self).map_or("open", |(_, name)| name)
    }
}

impl Backfills {
    /// The backfills of the main database; makes their table unless it is there.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn open(database: Database) -> Result<Self, Outage> {
        let failed = |error| Outage::new("could not make the table of backfills", error);
        match &database {
            Database::Sqlite(sqlite) => {
                let table = TABLE.replace("NUMBER", "number integer primary key autoincrement");
                for statement in [table.as_str(), ONE_OPEN] {
                    let query = sqlx::query(sqlx::AssertSqlSafe(statement));
                    query.execute(&sqlite.writer).await.map_err(failed)?;
                }
            }
            Database::Postgres(postgres) => {
                let mut transaction = postgres.begin().await?;
                // `if not exists` alone fails for one of two that come together.
                let table = TABLE.replace("NUMBER", "number bigint generated always as identity primary key");
                let lock = "select pg_advisory_xact_lock(hashtext('pillowtop_backfills'))";
                for statement in [lock, table.as_str(), ONE_OPEN] {
                    let query = sqlx::query(sqlx::AssertSqlSafe(statement));
                    query.execute(&mut *transaction).await.map_err(failed)?;
                }
                transaction.commit().await.map_err(failed)?;
            }
        }
        Ok(Self { database })
    }

    /// Asks for a backfill, unless one of the pillow is open; answers the open one.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn ask(&self, pillow: &PillowName, wanted: Wanted<'_>, at: Timestamp) -> Result<Option<Request>, Outage> {
        let parts = wanted.parts.map(|parts| serde_json::json!(parts).to_string());
        self.change(
            "insert into pillowtop_backfills (pillow, processor, parts, purpose, rate, state, asked_at)
             values ($1, $2, $3, $4, $5, 'open', $6) on conflict do nothing",
            &[
                pillow.as_str().into(),
                wanted.processor.into(),
                parts.as_deref().into(),
                wanted.purpose.into(),
                wanted.rate.map(|rate| i64::from(rate.get())).into(),
                timestamp_text(at).as_str().into(),
            ],
        )
        .await?;
        self.of(pillow).await
    }

    /// The open backfill of a pillow.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn of(&self, pillow: &PillowName) -> Result<Option<Request>, Outage> {
        Ok(self.open_ones().await?.into_iter().find(|request| request.pillow == *pillow))
    }

    /// All that are to be done.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn open_ones(&self) -> Result<Vec<Request>, Outage> {
        self.read(&format!("select {COLUMNS} from pillowtop_backfills where state = 'open' order by number"), &[]).await
    }

    /// One of them, whatever became of it.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn get(&self, number: i64) -> Result<Option<Request>, Outage> {
        let statement = format!("select {COLUMNS} from pillowtop_backfills where number = $1");
        Ok(self.read(&statement, &[number.into()]).await?.pop())
    }

    /// Notes how far a backfill is, as long as it is open.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn note(&self, number: i64, report: &Report) -> Result<(), Outage> {
        let (state, note) = match &report.state {
            Progressing::Under => (RequestState::Open, None),
            Progressing::Waiting(reason) => (RequestState::Open, Some(reason.as_str())),
            Progressing::Done => (RequestState::Done, None),
            Progressing::Failed(reason) => (RequestState::Failed, Some(reason.as_str())),
        };
        let signed = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        self.change(
            "update pillowtop_backfills set state = $2, note = $3, done = $4, total = $5
             where number = $1 and state = 'open'",
            &[
                number.into(),
                state.as_str().into(),
                note.into(),
                signed(report.done).into(),
                report.total.map(signed).into(),
            ],
        )
        .await
        .map(|_| ())
    }

    /// Takes the wish for a backfill back; says whether there was one.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn cancel(&self, pillow: &PillowName) -> Result<bool, Outage> {
        let statement = "update pillowtop_backfills set state = 'cancelled' where pillow = $1 and state = 'open'";
        Ok(self.change(statement, &[pillow.as_str().into()]).await? > 0)
    }

    async fn change(&self, statement: &str, values: &[Given<'_>]) -> Result<u64, Outage> {
        let changed = self.database.change(statement, values).await;
        changed.map_err(|error| Outage::new("could not change the list of backfills", error))
    }

    async fn read(&self, query: &str, values: &[Given<'_>]) -> Result<Vec<Request>, Outage> {
        let read = self.database.read(query, values).await;
        read.map_err(|error| Outage::new("could not read the list of backfills", error))
    }
}

impl<'r, R> FromRow<'r, R> for Request
where
    R: Row,
    &'static str: ColumnIndex<R>,
    i64: Decode<'r, R::Database> + Type<R::Database>,
    String: Decode<'r, R::Database> + Type<R::Database>,
    R::Database: SqlxDatabase,
{
    fn from_row(row: &'r R) -> Result<Self, sqlx::Error> {
        let state: String = row.try_get("state")?;
        let known = RequestState::ALL.iter().find(|(_, name)| *name == state);
        let count = |number: i64| u64::try_from(number).unwrap_or(0);
        Ok(Request {
            number: row.try_get("number")?,
            pillow: PillowName::new(&row.try_get::<String, _>("pillow")?),
            processor: row.try_get("processor")?,
            purpose: row.try_get("purpose")?,
            parts: row.try_get::<Option<String>, _>("parts")?.and_then(|parts| serde_json::from_str(&parts).ok()),
            rate: row.try_get::<Option<i64>, _>("rate")?.and_then(|rate| NonZeroU32::new(u32::try_from(rate).ok()?)),
            state: known.map_or(RequestState::Failed, |(state, _)| *state),
            done: count(row.try_get("done")?),
            total: row.try_get::<Option<i64>, _>("total")?.map(count),
            note: row.try_get("note")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_pillow_has_one_open_backfill_at_most() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(&format!("sqlite:{}", folder.path().join("p.db").display())).await.unwrap();
        let backfills = Backfills::open(database.clone()).await.unwrap();
        let backfills_again = Backfills::open(database).await.unwrap();
        let (pillow, other) = (PillowName::new("p"), PillowName::new("other"));
        let at = Timestamp::UNIX_EPOCH;
        let wanted = Wanted { processor: Some("search"), rate: NonZeroU32::new(10), ..Wanted::default() };
        let parts = ["a".to_owned()];
        let wanted = Wanted { parts: Some(&parts), purpose: Some("p"), ..wanted };
        let first = backfills.ask(&pillow, wanted, at).await.unwrap().unwrap();
        assert_eq!((first.processor.as_deref(), first.rate.map(NonZeroU32::get)), (Some("search"), Some(10)));
        assert_eq!(first.parts, Some(vec!["a".to_owned()]));
        assert_eq!(backfills_again.ask(&pillow, Wanted::default(), at).await.unwrap().unwrap(), first);
        assert_ne!(backfills.ask(&other, Wanted::default(), at).await.unwrap().unwrap().number, first.number);
        let report = Report { done: 3, total: Some(9), state: Progressing::Waiting("a store".into()) };
        backfills.note(first.number, &report).await.unwrap();
        let noted = backfills.of(&pillow).await.unwrap().unwrap();
        assert_eq!((noted.done, noted.total, noted.note.as_deref()), (3, Some(9), Some("a store")));
        backfills.note(first.number, &Report { done: 9, state: Progressing::Done, ..report }).await.unwrap();
        assert_eq!(backfills.get(first.number).await.unwrap().unwrap().state, RequestState::Done);
        let second = backfills.ask(&pillow, Wanted::default(), at).await.unwrap().unwrap();
        assert_ne!(second.number, first.number);
        assert!(backfills.cancel(&pillow).await.unwrap());
        assert!(!backfills.cancel(&pillow).await.unwrap());
        // What comes too late does not open it again.
        backfills.note(second.number, &Report::default()).await.unwrap();
        assert_eq!(backfills.get(second.number).await.unwrap().unwrap().state, RequestState::Cancelled);
    }
}
