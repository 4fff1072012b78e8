//! Writes published lines into PostgreSQL.

use std::collections::BTreeMap;

use crate::feed::changelog::lines::{LineError, Parsed};
use crate::feed::changelog::outage;
use crate::feed::changelog::publish::{PublishOptions, Published, rows_of};
use crate::model::Outage;
use crate::sql::Postgres;

/// Writes a chunk in one transaction; the inner error is a line that turned out wrong, and then nothing was written.
pub(in crate::feed::changelog) async fn write(
    postgres: &Postgres,
    chunk: &[Parsed],
    options: &PublishOptions,
    published: &mut Published,
) -> Result<Result<(), (u64, LineError)>, Outage> {
    let failed = || outage(&postgres.place, "publish");
    let mut transaction = postgres.begin().await?;
    // One publisher at a time, so that what is looked up stays true until the commit; readers go on.
    sqlx::query("lock table documents in share row exclusive mode")
        .execute(&mut *transaction)
        .await
        .map_err(failed())?;
    let ids: Vec<&str> = chunk.iter().map(|line| line.id.as_str()).collect();
    let known: Vec<(String, String)> = sqlx::query_as("select id, source from documents where id = any($1)")
        .bind(ids)
        .fetch_all(&mut *transaction)
        .await
        .map_err(failed())?;
    let mut counted = published.clone();
    let rows = match rows_of(chunk, known.into_iter().collect(), options, &mut counted) {
        Ok(rows) => rows,
        Err(wrong) => return Ok(Err(wrong)),
    };
    // One statement updates a row once only: of each document the last line counts.
    let documents: BTreeMap<&str, _> =
        rows.documents.into_iter().map(|(id, source, document, revision)| (id, (source, document, revision))).collect();
    let (ids, rest): (Vec<&str>, Vec<_>) = documents.into_iter().unzip();
    let mut columns: (Vec<String>, Vec<Option<&str>>, Vec<Option<&str>>) = Default::default();
    for (source, document, revision) in rest {
        columns.0.push(source);
        columns.1.push(document);
        columns.2.push(revision);
    }
    sqlx::query(
        "insert into documents (id, source, document, revision, deleted)
         select id, source, document, revision, document is null
         from unnest($1::text[], $2::text[], $3::text[], $4::text[]) as line (id, source, document, revision)
         on conflict (id) do update
         set document = excluded.document, revision = excluded.revision, deleted = excluded.deleted",
    )
    .bind(ids)
    .bind(columns.0)
    .bind(columns.1)
    .bind(columns.2)
    .execute(&mut *transaction)
    .await
    .map_err(failed())?;
    let mut columns: (Vec<String>, Vec<&str>, Vec<String>) = Default::default();
    for (topic, id, message) in rows.changes {
        columns.0.push(topic);
        columns.1.push(id);
        columns.2.push(message);
    }
    // Ids are drawn in the order of the select.
    sqlx::query(
        "insert into change_log (topic, document_id, change)
         select topic, id, change
         from unnest($1::text[], $2::text[], $3::text[]) with ordinality as line (topic, id, change, at) order by at",
    )
    .bind(columns.0)
    .bind(columns.1)
    .bind(columns.2)
    .execute(&mut *transaction)
    .await
    .map_err(failed())?;
    transaction.commit().await.map_err(failed())?;
    *published = counted;
    Ok(Ok(()))
}
