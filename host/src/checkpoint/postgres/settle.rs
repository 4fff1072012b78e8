//! The settle: the one transaction that moves progress.

use std::collections::HashMap;

use jiff::Timestamp;
use sqlx::{PgConnection, Row as _};

use super::super::columns::Columns;
use super::super::queue;
use super::super::rules::{self, Held, minute};
use super::super::{SettleError, Settled, Settlement};
use super::{moves, parked, time};
use crate::fault;
use crate::model::{Outage, Partition};
use crate::sql::{Connection, Postgres, rows};

/// A partition as it was locked.
struct Owned {
    held: Held,
    moved_at: Option<Timestamp>,
}

/// Commits a settlement, whole or not at all. The rows of its partitions are locked first: the epochs that are read
/// hold until the commit.
pub(super) async fn settle(postgres: &Postgres, settlement: &Settlement) -> Result<Settled, SettleError> {
    let failed = |error| SettleError::Outage(Outage::new(format!("could not settle in {}", postgres.place), error));
    fault::point("settle.begin");
    let mut transaction = postgres.begin_read_committed().await.map_err(failed)?;
    let owned = lock_owned(&mut transaction, settlement).await.map_err(failed)?;
    let moved_at: HashMap<&Partition, Option<Timestamp>> =
        owned.iter().map(|(partition, owned)| (partition, owned.moved_at)).collect();
    let held = owned.iter().map(|(partition, owned)| (partition.clone(), owned.held.clone())).collect();
    let moved = rules::moves(settlement, held)?;
    if !moved.is_empty() {
        let (pillow, at) = (&settlement.pillow, settlement.time);
        moves::advance(&mut transaction, pillow, &moved, at).await.map_err(failed)?;
        for (partition, _) in &moved {
            // The first move of a minute: what is older can be thinned out.
            let before = moved_at.get(partition).copied().flatten();
            if before.is_none_or(|before| minute(before) != minute(at)) {
                moves::prune(&mut transaction, pillow, partition, minute(at)).await.map_err(failed)?;
            }
        }
    }
    let applied = rows::apply(&mut Connection::Postgres(&mut transaction), &settlement.rows).await;
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

/// Locks and reads the partitions, all hosts in the same order. A row that another transaction holds is read as that one
/// committed it.
async fn lock_owned(
    connection: &mut PgConnection,
    settlement: &Settlement,
) -> Result<HashMap<Partition, Owned>, sqlx::Error> {
    let topics: Vec<&str> = settlement.owned.iter().map(|(partition, _)| &*partition.topic).collect();
    let numbers: Vec<i64> = settlement.owned.iter().map(|(partition, _)| i64::from(partition.number)).collect();
    let rows = sqlx::query(
        "select owned.topic, owned.partition_number, epoch, incarnation, position_first, position_second, position_token,
             (extract(epoch from moved_at) * 1000000)::bigint as moved_at
         from pillowtop_checkpoints as held
         join unnest($2::text[], $3::bigint[]) as owned (topic, partition_number)
           on held.topic = owned.topic and held.partition_number = owned.partition_number
         where held.pillow = $1
         order by owned.topic, owned.partition_number for update of held",
    )
    .bind(settlement.pillow.as_str())
    .bind(topics)
    .bind(numbers)
    .fetch_all(connection)
    .await?;
    let mut owned = HashMap::with_capacity(rows.len());
    for row in &rows {
        let moved_at = match row.try_get::<Option<i64>, _>("moved_at")? {
            Some(_) => Some(time(row, "moved_at")?),
            None => None,
        };
        let held = Held { epoch: Columns(row).epoch()?, checkpoint: Columns(row).checkpoint()? };
        owned.insert(Columns(row).partition()?, Owned { held, moved_at });
    }
    Ok(owned)
}
