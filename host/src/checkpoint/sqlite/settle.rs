//! The settle: the one transaction that moves progress.

use std::collections::HashMap;

use sqlx::SqliteConnection;

use super::super::columns::Columns;
use super::super::queue;
use super::super::rules::{self, Held};
use super::super::{SettleError, Settled, Settlement};
use super::{moves, parked};
use crate::fault;
use crate::model::{Outage, Partition};
use crate::sql::{Connection, Sqlite, rows};

/// Commits a settlement, whole or not at all. The write lock is held from the first statement on: the epochs that are
/// read hold until the commit, and the lock is held only as long as this process computes and writes.
pub(super) async fn settle(sqlite: &Sqlite, settlement: &Settlement) -> Result<Settled, SettleError> {
    let failed = |error| SettleError::Outage(Outage::new(format!("could not settle in {}", sqlite.path), error));
    fault::point("settle.begin");
    let mut transaction = sqlite.begin().await.map_err(SettleError::Outage)?;
    let held = read_owned(&mut transaction, settlement).await.map_err(failed)?;
    for (partition, to) in rules::moves(settlement, held)? {
        let (pillow, at) = (&settlement.pillow, settlement.time);
        moves::advance(&mut transaction, pillow, &partition, &to, at).await.map_err(failed)?;
        moves::remember(&mut transaction, pillow, &partition, &to, None, at).await.map_err(failed)?;
    }
    let applied = rows::apply(&mut Connection::Sqlite(&mut transaction), &settlement.rows).await;
    let applied = applied.map_err(SettleError::Outage)?;
    let rejected = rules::rejections(settlement, &applied.refused)?;
    if !settlement.resolved.is_empty() {
        let resolutions = || rules::resolutions(settlement, &rejected);
        parked::resolve(&mut transaction, &settlement.pillow, resolutions).await.map_err(failed)?;
    }
    let entries = queue::entries(settlement, &rejected);
    parked::park(&mut transaction, &settlement.pillow, &entries, settlement.time).await.map_err(failed)?;
    fault::point("settle.before-commit");
    transaction.commit().await.map_err(failed)?;
    fault::point("settle.after-commit");
    Ok(Settled { rows: applied.rows, rejected })
}

async fn read_owned(
    connection: &mut SqliteConnection,
    settlement: &Settlement,
) -> Result<HashMap<Partition, Held>, sqlx::Error> {
    let mut held = HashMap::with_capacity(settlement.owned.len());
    for (partition, _) in &settlement.owned {
        let row = sqlx::query(
            "select epoch, incarnation, position_first, position_second, position_token from pillowtop_checkpoints
             where pillow = ? and topic = ? and partition_number = ?",
        )
        .bind(settlement.pillow.as_str())
        .bind(&*partition.topic)
        .bind(partition.number)
        .fetch_optional(&mut *connection)
        .await?;
        if let Some(row) = row {
            held.insert(
                partition.clone(),
                Held { epoch: Columns(&row).epoch()?, checkpoint: Columns(&row).checkpoint()? },
            );
        }
    }
    Ok(held)
}
