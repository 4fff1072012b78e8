//! What the original's own tests of its report pillow hold, through the real program.
//!
//! `tests/ucr-cases.md` says which test holds which of them.

use serde_json::{Value, json};

use crate::data_sources::{FILES, case, generation, ids, reports, says, source, status, stop, table};
use crate::support::documents::lines;
use crate::support::pillows;
use crate::support::site::Site;
use crate::support::wait::until;

/// A site with these data sources, in batches of at most so many changes.
fn site(sources: &[Value], batch: usize) -> Site {
    let site = Site::embedded();
    site.pillow("reports", &reports(&(FILES.to_owned() + &pillows::batches(batch, 1))));
    site.write("sources/all.json", &json!(sources).to_string());
    site
}

fn ten() -> Vec<Value> {
    (0..10).map(|number| case(&format!("c{number}"))).collect()
}

async fn send(site: &Site, documents: &[Value]) -> Value {
    site.publish(&lines(documents)).await;
    site.catch_up().await
}

#[tokio::test]
async fn documents_of_a_batch_have_their_rows_also_when_some_were_missing_at_first() {
    for batch in [100, 1] {
        let site = site(&[source("people", "person", "name")], batch);
        site.publish(&lines(&ten())).await;
        site.execute(
            "create table late as select * from documents where id < 'c4'; delete from documents where id < 'c4'",
        )
        .await;
        site.catch_up().await;
        assert_eq!(ids(&site, "people").await.len(), 6);
        let parked = site.parked().await;
        assert_eq!(parked.len(), 4, "{parked:#?}");
        // They come, and a retry finds them.
        site.execute("insert into documents select * from late").await;
        site.run(&["errors", "retry", "--all"]).await.well();
        assert_eq!(ids(&site, "people").await.len(), 10);
        assert_eq!(site.parked().await, [] as [Value; 0]);
    }
}

#[tokio::test]
async fn documents_that_no_validation_passes_have_no_rows_and_are_noted() {
    for batch in [100, 1] {
        let mut impossible = source("people", "person", "name");
        impossible["validations"] = json!([{
            "name": "impossible", "error_message": "never",
            "expression": {
                "type": "boolean_expression", "operator": "eq", "property_value": "nobody",
                "expression": {"type": "property_name", "property_name": "name"},
            },
        }]);
        let site = site(&[impossible], batch);
        send(&site, &ten()).await;
        assert_eq!(ids(&site, "people").await, [] as [&str; 0]);
        let noted =
            site.rows("select distinct json_array(validation_name, validation_text) from invalid_ucr_data").await;
        assert_eq!(noted, [json!(["impossible", "never"])]);
        let count = site.rows("select json_array(count(distinct doc_id)) from invalid_ucr_data").await;
        assert_eq!(count, [json!([10])]);
        assert_eq!(site.parked().await, [] as [Value; 0]);
    }
}

#[tokio::test]
async fn bad_integers_are_null_and_documents_that_are_elsewhere_or_deleted_have_no_rows() {
    for batch in [100, 1] {
        let mut counting = source("people", "person", "number");
        counting["configured_indicators"][0]["datatype"] = json!("integer");
        let site = site(&[counting], batch);
        let numbered = |id: &str, number: Value| {
            let mut case = case(id);
            case["number"] = number;
            case
        };
        let mut elsewhere = numbered("elsewhere", json!(1));
        elsewhere["domain"] = json!("school");
        let bad = [("letter", json!("a")), ("empty", json!("")), ("null", Value::Null), ("right", json!("7"))];
        let mut cases: Vec<Value> = bad.into_iter().map(|(id, number)| numbered(id, number)).collect();
        cases.push(elsewhere);
        send(&site, &cases).await;
        let rows =
            site.rows(&format!("select json_array(doc_id, number) from {} order by doc_id", table("people"))).await;
        assert_eq!(rows, [json!(["empty", null]), json!(["letter", null]), json!(["null", null]), json!(["right", 7])]);
        // Deleted softly: by its type alone, or with everything else still there. And hard.
        let mut soft = numbered("letter", json!("a"));
        soft["doc_type"] = json!("CommCareCase-Deleted");
        let bare = json!({"_id": "empty", "doc_type": "CommCareCase-Deleted", "domain": "clinic"});
        send(&site, &[soft, bare, json!({"_id": "null", "_deleted": true})]).await;
        let left = ids(&site, "people").await;
        assert!(!left.contains(&"letter".to_owned()) && !left.contains(&"empty".to_owned()), "{left:?}");
        assert_eq!(site.parked().await, [] as [Value; 0]);
    }
}

#[tokio::test]
async fn a_table_that_was_dropped_holds_its_pillow_and_is_made_again_with_the_next_list() {
    let site = site(&[source("people", "person", "name")], 100);
    site.publish("").await;
    let host = site.start(&["run"]);
    generation(&site, 1).await;
    let name = table("people");
    site.execute(&format!("drop table {name}")).await;
    site.publish(&lines(&[case("c1")])).await;
    says(&site, "no such table: ucr_clinic_people").await;
    site.write(
        "sources/all.json",
        &json!([source("people", "person", "name"), source("dogs", "dog", "name")]).to_string(),
    );
    until("the row is there", async || (ids(&site, "people").await == ["c1"]).then_some(())).await;
    until("it runs again", async || (status(&site, "reports").await["state"] == "running").then_some(())).await;
    assert_eq!(site.parked().await, [] as [Value; 0]);
    stop(host).await;
}

#[tokio::test]
async fn pillows_divide_data_sources_among_them() {
    // The MD5s of `a` and `b` begin with 0 and 9.
    let site = Site::embedded();
    site.write("sources/all.json", &json!([source("a", "person", "name"), source("b", "person", "name")]).to_string());
    let chosen = |config: &str| reports(&format!("config = {{ {config} }}\n{FILES}"));
    site.pillow("low", &chosen("ucr-division = \"07\""));
    send(&site, &ten()).await;
    assert_eq!((ids(&site, "a").await.len(), ids(&site, "b").await.len()), (10, 0));
    site.pillow("high", &chosen("ucr-division = \"8f\""));
    send(&site, &ten()).await;
    assert_eq!((ids(&site, "a").await.len(), ids(&site, "b").await.len()), (10, 10));
    site.pillow("low", &chosen("ucr-division = \"07\", include-ucrs = [\"a\"]"));
    let checked = site.run(&["check"]).await;
    assert_eq!(checked.code(), Some(2), "{checked:?}");
    assert!(checked.err.contains("cannot be given together with include-ucrs"), "{}", checked.err);
}
