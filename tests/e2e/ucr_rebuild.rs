//! `ucr rebuild`: the table of a data source filled anew by its name alone, stopped, killed and gone on with.

use serde_json::{Value, json};

use crate::support::documents::lines;
use crate::support::pillows;
use crate::support::site::{Running, Site};
use crate::support::wait::until;
use crate::ucr::{reports, source, table};

fn cases(count: usize) -> Vec<Value> {
    let case = |id| json!({"_id": format!("c{id:03}"), "doc_type": "CommCareCase", "domain": "clinic", "size": id});
    (0..count).map(case).collect()
}

fn sizes() -> Value {
    source("sizes", "CommCareCase", "size", "integer")
}

/// A site that has settled the cases, and now goes through them one by one.
async fn settled(cases: &[Value]) -> Site {
    let site = Site::embedded();
    let manifest = reports(&[sizes(), source("other", "CommCareCase", "size", "integer")]);
    site.pillow("reports", &manifest);
    site.publish(&lines(cases)).await;
    site.catch_up().await;
    let one_by_one = pillows::batches(1, 1) + "\n[[processors]]";
    site.pillow("reports", &manifest.replacen("[[processors]]", &one_by_one, 1));
    site
}

async fn rows(site: &Site, table: &str) -> Vec<Value> {
    site.rows(&format!("select json_array(doc_id, size) from \"{table}\" order by doc_id")).await
}

/// The table that is being filled.
async fn new_table(site: &Site) -> Option<String> {
    let sql = "select new_name from pillowtop_rebuilds where state = 'filling'";
    sqlx::query_scalar(sql).fetch_optional(&mut site.database().await).await.ok()?
}

/// Waits until more than so many rows are in the new table.
async fn until_more_than(site: &Site, count: usize) -> usize {
    until("the new table is being filled", async || {
        let filled = rows(site, &new_table(site).await?).await.len();
        (filled > count).then_some(filled)
    })
    .await
}

#[tokio::test]
async fn what_was_stopped_or_killed_goes_on_where_it_was() {
    let cases = cases(400);
    let expected: Vec<Value> = cases.iter().map(|case| json!([case["_id"], case["size"]])).collect();
    let site = settled(&cases).await;
    let old = table("sizes");
    // A row that no document gives, and a value that none has.
    site.execute(&format!("update \"{old}\" set size = 99; insert into \"{old}\" values ('gone', '2026-01-01', 1)"))
        .await;
    let command = ["ucr", "rebuild", "sizes"];

    let stopped = site.start(&command);
    until_more_than(&site, 10).await;
    stopped.signal("INT");
    assert_eq!(stopped.ended().await.code(), Some(1));
    let before = rows(&site, &new_table(&site).await.unwrap()).await.len();
    assert!((11..400).contains(&before), "{before}");
    assert_eq!(rows(&site, &old).await.len(), 401, "readers see the old table");

    let mut killed = site.command(&command);
    killed.env("PILLOWTOP_FAULT", "settle.before-commit=20");
    let killed = Running::of(killed).ended().await;
    assert_eq!(killed.signal(), Some(6), "{killed:?}");
    let new = new_table(&site).await.unwrap();
    let after = rows(&site, &new).await.len();
    assert!((before..400).contains(&after) && after > before, "{before} {after}");

    // What is filled is not filled again, and a change that comes meanwhile waits in the feed.
    site.execute(&format!("update \"{new}\" set size = -1 where doc_id < 'c{after:03}'")).await;
    let mut changed = cases[0].clone();
    changed["size"] = json!(7);
    site.publish(&lines(std::slice::from_ref(&changed))).await;
    let ran = site.run(&command).await.well();
    assert!(ran.out.contains("400 documents done") && ran.out.contains(&format!("{old} is rebuilt")), "{ran:?}");
    assert!(ran.err.contains("of about 400 documents"), "{ran:?}");
    let found = rows(&site, &old).await;
    assert_eq!(found[after..], expected[after..]);
    assert_eq!(found[1], json!(["c001", -1]));
    let begun = site.rows("select json_array(state, done) from pillowtop_backfills").await;
    assert_eq!(begun, [json!(["done", 400])], "it is one backfill all the time");
    site.catch_up().await;
    assert_eq!(rows(&site, &old).await[0], json!(["c000", 7]));
}

#[tokio::test]
async fn a_running_host_does_it_while_changes_go_on() {
    let mut cases = cases(120);
    let site = settled(&cases).await;
    let mut host = site.start(&["run"]);
    host.says("starts").await;
    until("a heartbeat", async || {
        let status = site.run(&["--json", "status"]).await.json().to_string();
        status.contains("\"running\"").then_some(())
    })
    .await;
    let changing = async {
        until_more_than(&site, 10).await;
        for case in cases.iter_mut().step_by(3) {
            case["size"] = json!(1000);
        }
        let changed: Vec<Value> = cases.iter().step_by(3).cloned().collect();
        site.publish(&lines(&changed)).await;
    };
    let old = table("sizes");
    let command = ["ucr", "rebuild", &old];
    let (followed, ()) = tokio::join!(site.run(&command), changing);
    assert!(followed.well().out.contains("120 documents done"));
    let expected: Vec<Value> = cases.iter().map(|case| json!([case["_id"], case["size"]])).collect();
    until("the last change", async || (rows(&site, &old).await == expected).then_some(())).await;
    host.signal("TERM");
    host.ended().await.well();
}

#[tokio::test]
async fn a_table_that_none_or_several_pillows_have_is_refused_with_what_there_is() {
    let site = settled(&cases(3)).await;
    let (sizes_table, other) = (table("sizes"), table("other"));
    let refused = async |words: &[&str], expected: &str| {
        let ran = site.run(&[&["ucr", "rebuild"], words].concat()).await;
        assert_eq!(ran.code(), Some(2), "{ran:?}");
        assert!(ran.err.contains(expected), "{expected}\n{ran:?}");
    };
    let there = |table_id: &str, pillow: &str| {
        format!("{} (table_id {table_id}, domain clinic, pillow {pillow})", table(table_id))
    };
    let both = format!("there are: {}, {}", there("sizes", "reports"), there("other", "reports"));
    refused(&["size"], &format!("no data source has the table `size`; {both}")).await;
    refused(&["sizes", "--pillow", "nobody"], "there is no pillow `nobody`; the manifests declare: reports").await;

    // A second pillow with the same data source, and one that does not start.
    site.pillow("more", &reports(&[sizes()]));
    site.pillow("broken", &reports(&[sizes()]).replace("{ucr-row-builder}", "nowhere.wasm"));
    let two = format!("{}, {}; --pillow picks one", there("sizes", "more"), there("sizes", "reports"));
    for name in ["sizes", &sizes_table] {
        refused(&[name], &format!("several data sources have the table `{name}`: {two}")).await;
        refused(&[name], "pillow broken was not asked: ").await;
    }
    refused(&["other", "--pillow", "more"], &format!("there are: {}", there("sizes", "more"))).await;
    // What only one pillow has needs no help, whatever becomes of the others.
    site.execute(&format!("delete from \"{other}\"; delete from \"{sizes_table}\"")).await;
    let ran = site.run(&["ucr", "rebuild", "other"]).await.well();
    assert!(ran.out.contains(&format!("{other} is rebuilt")), "{ran:?}");
    assert!(ran.err.contains("note: pillow broken was not asked: "), "{ran:?}");
    assert_eq!((rows(&site, &other).await.len(), rows(&site, &sizes_table).await.len()), (3, 0));

    let mut kept = sizes();
    kept["disable_destructive_rebuild"] = json!(true);
    site.pillow("reports", &reports(&[kept]));
    refused(&["sizes", "--pillow", "reports"], "as `disable_destructive_rebuild` asks for").await;
}
