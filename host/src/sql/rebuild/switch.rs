//! The new table takes the old one's place.

use sqlx::{AssertSqlSafe, PgConnection};

use super::super::{Connection, Database, Dialect, Error, Rejection, schema};
use super::{Rebuild, State, alone, operation, registry};
use crate::model::{Outage, TableIndex};

/// One transaction: whoever reads sees the one table or the other. Somebody who reads the old one for longer than the
/// lock is waited for is not waited for any longer now, since writers wait behind us.
pub(super) async fn switch(database: &Database, rebuild: &Rebuild) -> Result<bool, Outage> {
    let operation = operation(&rebuild.table);
    let mut transaction = database.begin().await?;
    let mut connection = transaction.connection();
    schema::lock(&mut connection).await?;
    alone(&mut connection, &operation).await?;
    let known = registry::find(&mut connection, &rebuild.table).await?;
    if known.is_none_or(|known| known.state != State::Filling || known.new_name != rebuild.new_name) {
        return Ok(false);
    }
    let done = match &mut connection {
        Connection::Sqlite(_) => switch_in_sqlite(&mut connection, rebuild, &operation).await,
        Connection::Postgres(_) => switch_in_postgres(&mut connection, rebuild, &operation).await,
    };
    done.map_err(|error| error.into_outage(&operation))?;
    transaction.commit().await?;
    Ok(true)
}

/// Drops the old table, where it is still there.
pub(super) async fn drop_old(database: &Database, rebuild: &Rebuild) -> Result<Result<(), String>, Outage> {
    let operation = operation(&rebuild.table);
    let mut transaction = database.begin().await?;
    let mut connection = transaction.connection();
    schema::lock(&mut connection).await?;
    let statement = format!("drop table if exists \"{}\"", rebuild.old_name);
    match connection.execute(&operation, statement).await {
        Ok(_) => registry::remove(&mut connection, &rebuild.table).await?,
        Err(Error::Outage(outage)) => return Err(outage),
        Err(Error::Rejected(rejection)) => {
            drop(transaction);
            let mut transaction = database.begin().await?;
            registry::note_state(&mut transaction.connection(), rebuild, State::Kept).await?;
            transaction.commit().await?;
            return Ok(Err(format!("the old table stays as {}: {}", rebuild.old_name, rejection.reason)));
        }
    }
    transaction.commit().await?;
    Ok(Ok(()))
}

/// There indexes cannot be renamed, so they are made anew; and nothing can refer to a table but by its name, so the old
/// one goes at once.
async fn switch_in_sqlite(connection: &mut Connection<'_>, rebuild: &Rebuild, operation: &str) -> Result<(), Error> {
    let dialect = Dialect::Sqlite;
    let (table, new) = (dialect.quote(&rebuild.table)?, dialect.quote(&rebuild.new_name)?);
    let existing = schema::read_existing(connection, &rebuild.new_name, operation).await.map_err(Error::Outage)?;
    let existing = existing.ok_or_else(|| gone(rebuild))?;
    let mut statements = vec![
        // Otherwise every view is looked at when a table is renamed, and those of the dropped one would be in the way.
        "pragma legacy_alter_table = on".to_owned(),
        format!("drop table {table}"),
        format!("alter table {new} rename to {table}"),
        "pragma legacy_alter_table = off".to_owned(),
    ];
    for (from, to) in &rebuild.indexes {
        let Some(index) = existing.indexes.iter().find(|index| index.name.as_ref() == Some(from)) else { continue };
        statements.push(format!("drop index {}", dialect.quote(from)?));
        let index = TableIndex { name: None, ..index.clone() };
        statements.push(dialect.create_index(&rebuild.table, to, &index)?);
    }
    for statement in statements {
        connection.execute(operation, statement).await?;
    }
    registry::remove(connection, &rebuild.table).await.map_err(Error::Outage)
}

/// The old table and its indexes make room, under names of ours; then the new ones get the names, and who was allowed to
/// read the old table may read the new one.
async fn switch_in_postgres(connection: &mut Connection<'_>, rebuild: &Rebuild, operation: &str) -> Result<(), Error> {
    let dialect = Dialect::Postgres;
    let Connection::Postgres(postgres) = connection else { return Ok(()) };
    let old_indexes = index_names(postgres, &rebuild.table, operation).await?;
    let new_indexes = index_names(postgres, &rebuild.new_name, operation).await?;
    let grants = grants(postgres, rebuild, operation).await?;
    let mut statements = grants;
    let mut taken = None;
    for (at, (name, is_key)) in old_indexes.iter().enumerate() {
        let to = format!("{}_{at}", rebuild.old_name);
        statements.push(format!("alter index {} rename to {}", dialect.quote(name)?, dialect.quote(&to)?));
        if *is_key {
            taken = Some(name.clone());
        }
    }
    let rename = |from: &str, to: &str| {
        Ok::<_, Rejection>(format!("alter table {} rename to {}", dialect.quote(from)?, dialect.quote(to)?))
    };
    statements.push(rename(&rebuild.table, &rebuild.old_name)?);
    statements.push(rename(&rebuild.new_name, &rebuild.table)?);
    for (name, is_key) in new_indexes {
        let declared = rebuild.indexes.iter().find(|(from, _)| *from == name).map(|(_, to)| to.clone());
        let to = match is_key {
            // As PostgreSQL names it, or as it was named.
            true => taken.take().unwrap_or_else(|| format!("{}_pkey", rebuild.table)),
            false => match declared {
                Some(to) => to,
                None => continue,
            },
        };
        statements.push(format!("alter index {} rename to {}", dialect.quote(&name)?, dialect.quote(&to)?));
    }
    for statement in statements {
        connection.execute(operation, statement).await?;
    }
    registry::note_state(connection, rebuild, State::Switched).await.map_err(Error::Outage)
}

/// The indexes of a table, and whether each is the key's.
async fn index_names(
    connection: &mut PgConnection,
    table: &str,
    operation: &str,
) -> Result<Vec<(String, bool)>, Error> {
    let query = "select class.relname::text, index.indisprimary from pg_index as index
         join pg_class as class on class.oid = index.indexrelid
         where index.indrelid = to_regclass(quote_ident($1)) order by class.relname";
    let read = sqlx::query_as(query).bind(table).persistent(false).fetch_all(connection).await;
    read.map_err(|error| Error::judge(operation, error))
}

/// Statements that give the new table the rights that others have in the old one.
async fn grants(connection: &mut PgConnection, rebuild: &Rebuild, operation: &str) -> Result<Vec<String>, Error> {
    let query = "select format('grant %s on %I to %s%s', acl.privilege_type, $2,
             case acl.grantee when 0 then 'public' else quote_ident(pg_get_userbyid(acl.grantee)) end,
             case when acl.is_grantable then ' with grant option' else '' end)
         from pg_class as class, aclexplode(class.relacl) as acl
         where class.oid = to_regclass(quote_ident($1)) and acl.grantee <> class.relowner";
    let read: Result<Vec<String>, sqlx::Error> = sqlx::query_scalar(AssertSqlSafe(query))
        .bind(&rebuild.table)
        .bind(&rebuild.new_name)
        .persistent(false)
        .fetch_all(connection)
        .await;
    read.map_err(|error| Error::judge(operation, error))
}

fn gone(rebuild: &Rebuild) -> Error {
    Error::Rejected(Rejection::for_good(format!("the new table {} is not there", rebuild.new_name)))
}
