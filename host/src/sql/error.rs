//! Whether the database refused what it was given, or is not there: decided once, from the database's error code.

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

impl Error {
    /// Judges an error met during `operation`.
    pub(crate) fn judge(operation: &str, error: sqlx::Error) -> Self {
        match verdict(&error) {
            Some(retry) => {
                let reason = match &error {
                    sqlx::Error::Database(refusal) => refusal.message().to_owned(),
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

/// For a refusal, whether a retry can help; none for an outage. What is not known to concern the written values counts
/// as an outage: holding a pillow is visible and loses nothing, parking its whole feed is not.
fn verdict(error: &sqlx::Error) -> Option<RetryHelps> {
    match error {
        sqlx::Error::Database(error) => {
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

#[cfg(test)]
mod tests {
    use super::*;

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
