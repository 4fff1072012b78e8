//! Columns that the stores in databases have alike, read from a row of either.

use sqlx::{ColumnIndex, Database, Decode, Row, Type};

use crate::model::{Checkpoint, Epoch, Partition, Position};

/// A row of a database that has texts and 64-bit integers, read by the names of its columns.
pub(super) struct Columns<'r, R>(pub(super) &'r R);

impl<'r, R, D> Columns<'r, R>
where
    R: Row<Database = D>,
    D: Database,
    for<'n> &'n str: ColumnIndex<R>,
    &'r str: Decode<'r, D> + Type<D>,
    i64: Decode<'r, D> + Type<D>,
{
    fn number(&self, column: &str) -> Result<i64, sqlx::Error> {
        self.0.try_get(column)
    }

    /// The checkpoint; none while its incarnation is null.
    pub(super) fn checkpoint(&self) -> Result<Option<Checkpoint>, sqlx::Error> {
        let Some(incarnation) = self.0.try_get::<Option<&str>, _>("incarnation")? else {
            return Ok(None);
        };
        Ok(Some(Checkpoint { incarnation: incarnation.into(), position: self.position()? }))
    }

    pub(super) fn position(&self) -> Result<Position, sqlx::Error> {
        let order = [self.number("position_first")?, self.number("position_second")?].map(i64::cast_unsigned);
        let token: Option<&str> = self.0.try_get("position_token")?;
        Ok(Position { order, token: token.map(Into::into) })
    }

    pub(super) fn partition(&self) -> Result<Partition, sqlx::Error> {
        let number = self.number("partition_number")?.try_into().map_err(undecodable)?;
        Ok(Partition::new(self.0.try_get::<&str, _>("topic")?, number))
    }

    pub(super) fn epoch(&self) -> Result<Epoch, sqlx::Error> {
        Ok(Epoch(self.number("epoch")?.cast_unsigned()))
    }
}

/// What stands in a column cannot be what was written there.
pub(super) fn undecodable(error: impl Into<sqlx::error::BoxDynError>) -> sqlx::Error {
    sqlx::Error::Decode(error.into())
}
