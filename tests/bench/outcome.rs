//! The check of the output: what any engine must have made of the input, asked of the servers that it wrote to.

use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgPool};

use super::input;

/// Documents that are looked at in full; of the others the number is checked.
const LOOKED_AT: usize = 200;

/// Every document has its row, each of the ten columns is right, and there is no other row.
pub(crate) async fn rows(database: &str, table: &str, documents: usize) {
    let pool = PgPool::connect(database).await.unwrap();
    // The rule by which the input is made, said once more.
    let right = "id = lpad(to_hex(number), 32, '0') and name = 'visit ' || number and domain = 'clinic-' || number % 50 \
                 and owner = lpad(to_hex(number % 977), 32, '0') and kind = 'visit' \
                 and village = 'village ' || number % 311 and weight = 0.5 + number % 90 and closed = (number % 3 = 0) \
                 and opened_on::text like '2026-02-03%'";
    let query = format!(
        "select count(*), count(*) filter (where {right}), count(distinct number), coalesce(max(number), -1) from {table}"
    );
    let found: (i64, i64, i64, i64) = sqlx::query_as(AssertSqlSafe(query)).fetch_one(&pool).await.unwrap();
    let all = i64::try_from(documents).unwrap();
    assert_eq!(found, (all, all, all, all - 1), "rows, right ones, distinct ones, the last number");
    pool.close().await;
}

/// Every document is in the index, as often as it was published: once. A sample of them is compared in full.
pub(crate) async fn index(server: &str, index: &str, documents: usize) {
    let client = reqwest::Client::new();
    let ask = async |path: &str, body: Value| -> Value {
        let request = client.post(format!("{server}/{index}/{path}")).header("content-type", "application/json");
        let answer = request.body(body.to_string()).send().await.unwrap().bytes().await.unwrap();
        serde_json::from_slice(&answer).unwrap()
    };
    ask("_refresh", json!({})).await;
    assert_eq!(ask("_count", json!({})).await["count"], documents, "documents in the index");
    let numbers: Vec<usize> = (0..documents).step_by((documents / LOOKED_AT).max(1)).collect();
    let ids: Vec<String> = numbers.iter().map(|number| format!("{number:032x}")).collect();
    let found = ask("_mget", json!({ "ids": ids })).await;
    for (document, number) in found["docs"].as_array().unwrap().iter().zip(numbers) {
        assert_eq!(document["_source"], input::document(number), "document {number}");
    }
}
