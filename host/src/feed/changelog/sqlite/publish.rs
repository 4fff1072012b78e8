//! Writes published lines into SQLite.

use crate::feed::changelog::lines::{LineError, Parsed};
use crate::feed::changelog::outage;
use crate::feed::changelog::publish::{PublishOptions, Published, rows_of};
use crate::model::Outage;
use crate::sql::Sqlite;

/// Writes a chunk in one transaction; the inner error is a line that turned out wrong, and then nothing was written.
pub(in crate::feed::changelog) async fn write(
    sqlite: &Sqlite,
    chunk: &[Parsed],
    options: &PublishOptions,
    published: &mut Published,
) -> Result<Result<(), (u64, LineError)>, Outage> {
    let failed = || outage(&sqlite.path, "publish");
    // Takes the write lock at once, so that what is looked up stays true until the commit.
    let mut transaction = sqlite.writer.begin_with("begin immediate").await.map_err(failed())?;
    let ids: Vec<&str> = chunk.iter().map(|line| line.id.as_str()).collect();
    let known: Vec<(String, String)> =
        sqlx::query_as("select id, source from documents where id in (select value from json_each(?1))")
            .bind(json(&ids))
            .fetch_all(&mut *transaction)
            .await
            .map_err(failed())?;
    let mut counted = published.clone();
    let rows = match rows_of(chunk, known.into_iter().collect(), options, &mut counted) {
        Ok(rows) => rows,
        Err(wrong) => return Ok(Err(wrong)),
    };
    sqlx::query(
        "insert into documents (id, source, document, revision, deleted)
         select value->>0, value->>1, value->>2, value->>3, value->>2 is null from json_each(?1) where true
         on conflict (id) do update
         set document = excluded.document, revision = excluded.revision, deleted = excluded.deleted",
    )
    .bind(json(&rows.documents))
    .execute(&mut *transaction)
    .await
    .map_err(failed())?;
    sqlx::query(
        "insert into change_log (topic, document_id, change)
         select value->>0, value->>1, value->>2 from json_each(?1) order by key",
    )
    .bind(json(&rows.changes))
    .execute(&mut *transaction)
    .await
    .map_err(failed())?;
    transaction.commit().await.map_err(failed())?;
    *published = counted;
    Ok(Ok(()))
}

fn json(rows: &impl serde::Serialize) -> String {
    serde_json::to_string(rows).expect("texts are always JSON")
}
