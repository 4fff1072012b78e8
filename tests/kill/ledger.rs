//! Counts how often rows are applied, and collects what a run leaves.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::world::World;

/// Notes each row that is inserted, changed or deleted.
pub(crate) async fn install(world: &World) {
    let mut statements = "create table applied (target text, row_key text, operation text);".to_owned();
    for (table, key) in
        [("visits", "ROW.form_id || '/' || ROW.number"), ("hostile_rows", "ROW.id"), ("last_visits", "ROW.case_id")]
    {
        for (operation, row) in [("insert", "new"), ("update", "new"), ("delete", "old")] {
            let key = key.replace("ROW", row);
            let noting = format!("insert into applied values ('{table}', {key}, '{operation}')");
            statements += &world.trigger(table, operation, &noting);
        }
    }
    world.execute(&statements).await;
}

/// What holds at every moment: each row was inserted once, each failure parked once, and exactly what stands before the
/// checkpoint is done.
pub(crate) async fn rows_and_checkpoints_agree(world: &World, when: &str) {
    let twice = world
        .rows(
            "select json_array(target, row_key, string_agg(operation, ',')) from applied where target <> 'last_visits'
             group by target, row_key having count(*) > 1 or max(operation) <> 'insert'",
        )
        .await;
    assert_eq!(twice, [] as [Value; 0], "{when}: rows that were not applied exactly once");
    // A form has a row, or its processor failed.
    let done = "select id from hostile_rows union all
                select document from pillowtop_parked where pillow = 'forms' and processor = 'hostile'";
    let passed = "select document_id from change_log join pillowtop_checkpoints as stored
                  on stored.pillow = 'forms' and stored.topic = change_log.topic
                  and stored.partition_number = change_log.\"partition\" and change_log.id < stored.position_first";
    for (sql, what) in [
        (
            format!(
                "select json_array(id) from ({done}) as done except select json_array(document_id) from ({passed}) as passed"
            ),
            "done, but to be read again",
        ),
        (
            format!(
                "select json_array(document_id) from ({passed}) as passed except select json_array(id) from ({done}) as done"
            ),
            "passed, but not done",
        ),
        (format!("select json_array(id) from ({done}) as done group by id having count(*) > 1"), "done twice"),
        (
            "select json_array(processor, document, attempts) from pillowtop_parked where attempts <> 1".to_owned(),
            "parked twice",
        ),
    ] {
        assert_eq!(world.rows(&sql).await, [] as [Value; 0], "{when}: {what}");
    }
}

/// How many documents will be written to an index again: they are there, but stand behind the checkpoint.
pub(crate) async fn to_be_replayed(world: &World) -> u64 {
    let settled = |pillow: &str| {
        format!(
            "select json_array(count(distinct document_id)) from change_log join pillowtop_checkpoints as stored
             on stored.pillow = '{pillow}' and stored.topic = change_log.topic
             and stored.partition_number = change_log.\"partition\" and change_log.id < stored.position_first
             and document_id not like 'missing-%'"
        )
    };
    let stamped = "select json_array(count(*)) from hostile_rows".to_owned();
    let mut again = 0;
    for (index, settled) in [("forms", settled("forms")), ("cases", settled("cases")), ("hostile", stamped)] {
        let (indexed, settled) = (world.indexed(index).await, world.rows(&settled).await[0][0].as_u64().unwrap());
        assert!(
            indexed >= settled,
            "{index}: a settle of {settled} committed before the index had more than {indexed}"
        );
        again += indexed - settled;
    }
    again
}

/// All that a run leaves, but for times and for the order in which things happened.
pub(crate) async fn everything(world: &World) -> BTreeMap<&'static str, Vec<Value>> {
    let mut all = BTreeMap::new();
    for (what, sql) in [
        ("visits", "select json_array(form_id, number, case_id, domain, user_id, visited_at, received_at) from visits order by form_id, number"),
        ("last visits", "select json_array(case_id, visited_at) from last_visits order by case_id"),
        ("stamps", "select json_array(id) from hostile_rows order by id"),
        (
            "parked",
            "select json_array(processor, document, kind, attempts, topic, partition_number, position_first) from pillowtop_parked
             order by processor, document",
        ),
        (
            "checkpoints",
            "select json_array(pillow, topic, partition_number, position_first) from pillowtop_checkpoints
             where pillow in ('forms', 'cases') order by pillow, topic, partition_number",
        ),
    ] {
        all.insert(what, world.rows(sql).await);
    }
    world.show_in_searches().await;
    for index in ["forms", "cases", "hostile"] {
        let answer = world.site.search(index, "*").await;
        let hits = answer["hits"].as_array().unwrap();
        assert_eq!(json!(hits.len()), answer["total"]);
        let document = |hit: &Value| {
            let mut source = hit["source"].clone();
            source.as_object_mut().unwrap().remove("inserted_at");
            (hit["id"].as_str().unwrap().to_owned(), source)
        };
        let by_id: BTreeMap<String, Value> = hits.iter().map(document).collect();
        assert_eq!(by_id.len(), hits.len(), "{index}: every hit is another document");
        all.insert(index, by_id.into_iter().map(|(id, source)| json!([id, source])).collect());
    }
    all
}
