//! Tables as the databases' own catalogues describe them.

use sqlx::{PgConnection, Row as _, SqliteConnection};

use super::{ExistingColumn, ExistingTable};
use crate::model::TableIndex;

pub(super) async fn sqlite(
    connection: &mut SqliteConnection,
    table: &str,
) -> Result<Option<ExistingTable>, sqlx::Error> {
    // SQLite finds names in any case; a table that differs in case alone is the same table.
    let columns = sqlx::query(
        r#"select name, type, "notnull", pk, dflt_value is not null from pragma_table_info(?) order by cid"#,
    )
    .bind(table)
    .fetch_all(&mut *connection)
    .await?;
    if columns.is_empty() {
        return Ok(None);
    }
    let mut existing = ExistingTable { columns: Vec::new(), key: Vec::new(), indexes: Vec::new() };
    let mut key: Vec<(i64, String)> = Vec::new();
    for row in columns {
        let (name, type_name): (String, String) = (row.try_get(0)?, row.try_get(1)?);
        let (not_null, place_in_key): (i64, i64) = (row.try_get(2)?, row.try_get(3)?);
        let has_default = row.try_get::<i64, _>(4)? != 0;
        if place_in_key > 0 {
            key.push((place_in_key, name.clone()));
        }
        existing.columns.push(ExistingColumn { name, type_name, nullable: not_null == 0, has_default });
    }
    key.sort();
    existing.key = key.into_iter().map(|(_, name)| name).collect();
    // `c` is "made by create index"; a partial index does not do a whole one's work.
    let indexes = sqlx::query(r#"select name, "unique" from pragma_index_list(?) where origin = 'c' and partial = 0"#)
        .bind(table)
        .fetch_all(&mut *connection)
        .await?;
    for row in indexes {
        let (name, unique): (String, i64) = (row.try_get(0)?, row.try_get(1)?);
        let columns = sqlx::query_scalar("select name from pragma_index_info(?) order by seqno")
            .bind(&name)
            .fetch_all(&mut *connection)
            .await?;
        // An expression has no name.
        let columns: Option<Vec<String>> = columns.into_iter().collect();
        existing.indexes.extend(columns.map(|columns| TableIndex { name: Some(name), columns, unique: unique != 0 }));
    }
    Ok(Some(existing))
}

/// The table that an unqualified name means, as it does in the statements that write to it.
pub(super) async fn postgres(connection: &mut PgConnection, table: &str) -> Result<Option<ExistingTable>, sqlx::Error> {
    let columns = sqlx::query(
        "select attname::text, format_type(atttypid, atttypmod), not attnotnull,
             atthasdef or attidentity <> '' or attgenerated <> ''
         from pg_attribute
         where attrelid = to_regclass(quote_ident($1)) and attnum > 0 and not attisdropped order by attnum",
    )
    .bind(table)
    .fetch_all(&mut *connection)
    .await?;
    if columns.is_empty() {
        return Ok(None);
    }
    let mut existing = ExistingTable { columns: Vec::new(), key: Vec::new(), indexes: Vec::new() };
    for row in columns {
        let (name, type_name): (String, String) = (row.try_get(0)?, row.try_get(1)?);
        let (nullable, has_default) = (row.try_get(2)?, row.try_get(3)?);
        existing.columns.push(ExistingColumn { name, type_name, nullable, has_default });
    }
    // A partial index, one over expressions, or one that was not completed does not do a whole one's work.
    let indexes = sqlx::query(
        "select index.indisprimary, index.indisunique, class.relname::text, array(
             select attribute.attname::text
             from unnest(index.indkey::int2[]) with ordinality as key (number, place)
             join pg_attribute as attribute
               on attribute.attrelid = index.indrelid and attribute.attnum = key.number
             where key.place <= index.indnkeyatts order by key.place)
         from pg_index as index
         join pg_class as class on class.oid = index.indexrelid
         join pg_am as method on method.oid = class.relam and method.amname = 'btree'
         where index.indrelid = to_regclass(quote_ident($1))
           and index.indpred is null and index.indexprs is null and index.indisvalid
         order by class.relname",
    )
    .bind(table)
    .fetch_all(&mut *connection)
    .await?;
    for row in indexes {
        let columns: Vec<String> = row.try_get(3)?;
        match row.try_get(0)? {
            true => existing.key = columns,
            false => {
                let (name, unique) = (row.try_get(2)?, row.try_get(1)?);
                existing.indexes.push(TableIndex { name, columns, unique });
            }
        }
    }
    Ok(Some(existing))
}
