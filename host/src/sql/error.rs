//! Whether the database refused what it was given, or is not there: decided once, from the database's error code.

use sqlx::error::DatabaseError;
use sqlx::postgres::PgDatabaseError;

use crate::model::{Outage, RetryHelps};

/// Why a statement did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database refuses what it was given, and would refuse it again.
    #[error("{}", .0.reason)]
    Rejected(Rejection),
    /// The database does not do its work now.
    #[error(transparent)]
    Outage(Outage),
}

/// What the database refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// Why, in the words of the database or of the check before it.
    pub reason: String,
    /// Whether a later retry can help.
    pub retry: RetryHelps,
}

impl Rejection {
    /// A value that does not become better by itself.
    pub(crate) fn for_good(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), retry: RetryHelps::No }
    }
}

impl From<Rejection> for Error {
    fn from(rejection: Rejection) -> Self {
        Self::Rejected(rejection)
    }
}

impl Error {
    /// Judges an error met during `operation`.
    pub(crate) fn judge(operation: &str, error: sqlx::Error) -> Self {
        match verdict(&error) {
            Some(retry) => {
                let reason = match &error {
                    sqlx::Error::Database(refusal) => reason(refusal.as_ref()),
                    other => other.to_string(),
                };
                Self::Rejected(Rejection { reason, retry })
            }
            None => Self::Outage(Outage::new(operation, error)),
        }
    }

    /// The outage that this is where nothing was written that could be refused.
    pub(crate) fn into_outage(self, operation: &str) -> Outage {
        match self {
            Self::Outage(outage) => outage,
            Self::Rejected(rejection) => Outage::new(operation, rejection.reason),
        }
    }
}

/// In the words of the database; of PostgreSQL with the key that is in the way, which it keeps apart.
fn reason(refusal: &dyn DatabaseError) -> String {
    let message = refusal.message();
    let in_the_way = refusal.try_downcast_ref::<PgDatabaseError>().filter(|refusal| is_in_the_way(refusal.code()));
    match in_the_way.and_then(PgDatabaseError::detail) {
        Some(detail) => format!("{message}: {}", detail.trim_end_matches('.')),
        None => message.to_owned(),
    }
}

/// For a refusal, whether a retry can help; none for an outage. What is not known to concern the written values counts
/// as an outage: holding a pillow is visible and loses nothing, parking its whole feed is not.
fn verdict(error: &sqlx::Error) -> Option<RetryHelps> {
    match error {
        sqlx::Error::Database(error) => {
            if let Some(refusal) = error.try_downcast_ref::<PgDatabaseError>() {
                return postgres_verdict(refusal.code());
            }
            error.try_downcast_ref::<sqlx::sqlite::SqliteError>()?;
            sqlite_verdict(error.code()?.parse().ok()?)
        }
        // A value that cannot even be sent.
        sqlx::Error::Encode(_) => Some(RetryHelps::No),
        _ => None,
    }
}

/// Extended result codes of SQLite 3.51 (`sqlite.org/rescode.html`); the low byte is the primary code.
fn sqlite_verdict(code: u32) -> Option<RetryHelps> {
    const TOO_BIG: u32 = 18;
    const CONSTRAINT: u32 = 19;
    const MISMATCH: u32 = 20;
    const CONSTRAINT_CHECK: u32 = CONSTRAINT | (1 << 8);
    const CONSTRAINT_NOT_NULL: u32 = CONSTRAINT | (5 << 8);
    const CONSTRAINT_DATATYPE: u32 = CONSTRAINT | (12 << 8);
    match (code & 0xff, code) {
        (TOO_BIG | MISMATCH, _) | (_, CONSTRAINT_CHECK | CONSTRAINT_NOT_NULL | CONSTRAINT_DATATYPE) => {
            Some(RetryHelps::No)
        }
        // A unique or foreign key, or a trigger: rows of other documents are in the way, and they may leave.
        (CONSTRAINT, _) => Some(RetryHelps::Perhaps),
        _ => None,
    }
}

/// `SQLSTATE` codes of PostgreSQL (its manual, appendix A); the first two signs are the class.
fn postgres_verdict(code: &str) -> Option<RetryHelps> {
    const NOT_NULL: &str = "23502";
    const CHECK: &str = "23514";
    const CHECK_OF_A_VIEW: &str = "44000";
    /// Such as a key that is too long for its index.
    const PROGRAM_LIMIT: &str = "54000";
    /// Such as JSON that is too deep.
    const TOO_COMPLEX: &str = "54001";
    /// `raise` and `assert` in a trigger.
    const RAISED: [&str; 2] = ["P0001", "P0004"];
    /// Two rows of a statement meet the same row: keys that differ here and not there. Alone each of them is fine.
    const CARDINALITY: &str = "21000";
    /// A table that something else needs is dropped.
    const DEPENDENT: &str = "2BP01";
    match code {
        NOT_NULL | CHECK | CHECK_OF_A_VIEW | PROGRAM_LIMIT | TOO_COMPLEX => Some(RetryHelps::No),
        // Values that are out of range, or no text (a NUL), or otherwise not of the column's type.
        data if data.starts_with("22") => Some(RetryHelps::No),
        // Rows of other documents are in the way, and they may leave.
        code if is_in_the_way(code) || RAISED.contains(&code) => Some(RetryHelps::Perhaps),
        CARDINALITY | DEPENDENT => Some(RetryHelps::Perhaps),
        _ => None,
    }
}

/// A unique or foreign key, an exclusion, or another constraint between rows.
fn is_in_the_way(code: &str) -> bool {
    matches!(code, "23000" | "23001" | "23503" | "23505" | "23P01")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_postgresql_too_only_what_concerns_the_values_is_a_refusal() {
        let cases = [
            ("23502", Some(RetryHelps::No)),      // NOT NULL
            ("23514", Some(RetryHelps::No)),      // CHECK
            ("22003", Some(RetryHelps::No)),      // out of range
            ("22021", Some(RetryHelps::No)),      // a NUL in a text
            ("22P05", Some(RetryHelps::No)),      // a NUL in JSON
            ("22008", Some(RetryHelps::No)),      // a date that it cannot hold
            ("54000", Some(RetryHelps::No)),      // a key that is too long
            ("23505", Some(RetryHelps::Perhaps)), // UNIQUE
            ("23503", Some(RetryHelps::Perhaps)), // FOREIGN KEY
            ("P0001", Some(RetryHelps::Perhaps)), // RAISE in a trigger
            ("40001", None),                      // serialization failure
            ("40P01", None),                      // deadlock
            ("55P03", None),                      // lock not available
            ("57P01", None),                      // the backend was terminated
            ("57014", None),                      // the statement was cancelled
            ("53100", None),                      // disk full
            ("53300", None),                      // too many connections
            ("42P01", None),                      // no such table
            ("42703", None),                      // no such column
            ("42804", None),                      // a column of another type
            ("42501", None),                      // no right to write
            ("25006", None),                      // a standby
            ("08006", None),                      // connection lost
        ];
        for (code, expected) in cases {
            assert_eq!(postgres_verdict(code), expected, "{code}");
        }
    }

    #[test]
    fn only_what_concerns_the_values_is_a_refusal() {
        let cases = [
            (1299, Some(RetryHelps::No)),      // NOT NULL
            (275, Some(RetryHelps::No)),       // CHECK
            (18, Some(RetryHelps::No)),        // too big
            (2067, Some(RetryHelps::Perhaps)), // UNIQUE
            (1555, Some(RetryHelps::Perhaps)), // PRIMARY KEY
            (1811, Some(RetryHelps::Perhaps)), // RAISE in a trigger
            (5, None),                         // busy
            (261, None),                       // busy, recovering
            (6, None),                         // locked
            (778, None),                       // write failed
            (13, None),                        // disk full
            (1, None),                         // no such table
        ];
        for (code, expected) in cases {
            assert_eq!(sqlite_verdict(code), expected, "{code}");
        }
    }

    #[test]
    fn a_closed_pool_is_an_outage() {
        assert!(matches!(Error::judge("could not write", sqlx::Error::PoolClosed), Error::Outage(_)));
    }
}
