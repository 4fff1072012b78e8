//! A database of a PostgreSQL server that the program writes to, looked at beside it.

use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use crate::support::embedded;
use crate::support::site::limits;

/// Where checkpoints and tables are.
pub(crate) struct Database {
    pub(crate) url: String,
}

/// Settings with checkpoints and tables in the database at `url`; the change log and the documents stay in a file beside
/// the settings.
pub(crate) fn settings(url: &str) -> String {
    let databases = format!("[database]\nurl = \"{url}\"\n\n[databases.log]\nurl = \"sqlite:log.db\"\n");
    databases + &embedded::change_log("log") + embedded::TABLES + embedded::SEARCH + &limits()
}

impl Database {
    pub(crate) async fn execute(&self, statements: &str) {
        let mut connection = PgConnection::connect(&self.url).await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(statements.to_owned())).execute(&mut connection).await.unwrap();
    }

    /// The rows of a query whose only column is JSON; none while the server does not answer.
    pub(crate) async fn try_rows(&self, query: &str) -> Option<Vec<Value>> {
        let mut connection = PgConnection::connect(&self.url).await.ok()?;
        let query = AssertSqlSafe(query.to_owned());
        let texts: Vec<String> = sqlx::query_scalar(query).fetch_all(&mut connection).await.ok()?;
        Some(texts.iter().map(|text| serde_json::from_str(text).unwrap()).collect())
    }

    pub(crate) async fn rows(&self, query: &str) -> Vec<Value> {
        self.try_rows(query).await.unwrap()
    }

    /// How many rows there are; none while there is no such table, or no server.
    pub(crate) async fn count(&self, table: &str) -> Option<u64> {
        let rows = self.try_rows(&format!("select json_build_array(count(*))::text from {table}")).await?;
        rows[0][0].as_u64()
    }

    /// The table of visits, by form.
    pub(crate) async fn visits(&self) -> Vec<Value> {
        self.rows(&format!(
            "select json_build_array(form_id, number, case_id, domain, user_id, {}, {})::text from visits
             order by form_id collate \"C\", number",
            stored("visited_at"),
            stored("received_at")
        ))
        .await
    }

    /// The table of last visits, by case.
    pub(crate) async fn last_visits(&self) -> Vec<Value> {
        self.rows(&format!(
            "select json_build_array(case_id, {})::text from last_visits order by case_id collate \"C\"",
            stored("visited_at")
        ))
        .await
    }
}

/// A time as SQLite has it.
fn stored(column: &str) -> String {
    format!(r#"to_char({column} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"#)
}
