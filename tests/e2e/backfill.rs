//! `backfill`: alone, in a running host, stopped and gone on with; and a change log and documents in PostgreSQL.

use serde_json::{Value, json};

use crate::support::documents::{lines, visit_form};
use crate::support::pillows;
use crate::support::site::{Running, Site};
use crate::support::wait::until;

const VISITS: &str = "select json_array(form_id, case_id) from visits order by form_id";

fn forms(count: usize) -> Vec<Value> {
    (0..count).map(|number| visit_form(&format!("f{number:03}"), "c1", "2026-02-03T10:00:00Z")).collect()
}

fn rows(forms: &[Value]) -> Vec<Value> {
    forms.iter().map(|form| json!([form["_id"], form["form"]["case"]["@case_id"]])).collect()
}

/// A site that has settled the forms, and then lost its rows.
async fn emptied(forms: &[Value]) -> Site {
    let site = Site::embedded();
    site.pillow("visits", &(pillows::reads("form-sql") + &pillows::visits() + &pillows::search("form", "forms")));
    site.publish(&lines(forms)).await;
    site.catch_up().await;
    assert_eq!(site.rows(VISITS).await, rows(forms));
    site.execute("delete from visits").await;
    site
}

/// How far the latest backfill says it is.
async fn done(site: &Site) -> i64 {
    let sql = "select done from pillowtop_backfills order by number desc limit 1";
    let read: Result<i64, _> = sqlx::query_scalar(sql).fetch_one(&mut site.database().await).await;
    read.unwrap_or(0)
}

async fn running(site: &Site) -> Running {
    let mut host = site.start(&["run"]);
    host.says("starts").await;
    // It says that it is there within a second, and the command looks for that.
    until("a heartbeat", async || {
        let status = site.run(&["--json", "status"]).await.json();
        (status.to_string().contains("\"running\"")).then_some(())
    })
    .await;
    host
}

#[tokio::test]
async fn where_no_host_runs_the_command_does_it_and_reads_no_feed() {
    let forms = forms(30);
    let site = emptied(&forms).await;
    let late = visit_form("late", "c9", "2026-02-03T10:00:00Z");
    site.publish(&lines(std::slice::from_ref(&late))).await;
    site.run(&["pause", "visits"]).await.well();
    let ran = site.run(&["--json", "backfill", "visits", "--processor", "visits"]).await.json();
    let expected = json!({ "pillow": "visits", "state": "done", "documents": 31, "parked": 0, "reason": null });
    assert_eq!(ran, expected);
    // The late form is in the store; its change is still in the feed.
    let mut all = forms.clone();
    all.push(late);
    assert_eq!(site.rows(VISITS).await, rows(&all));
    let at: i64 = sqlx::query_scalar("select sum(position_first) from pillowtop_checkpoints where topic = 'form-sql'")
        .fetch_one(&mut site.database().await)
        .await
        .unwrap();
    site.run(&["resume", "visits"]).await.well();
    site.catch_up().await;
    let later: i64 =
        sqlx::query_scalar("select sum(position_first) from pillowtop_checkpoints where topic = 'form-sql'")
            .fetch_one(&mut site.database().await)
            .await
            .unwrap();
    assert!(at < later, "{at} {later}");
}

#[tokio::test]
async fn a_running_host_does_it_while_changes_go_on() {
    let forms = forms(200);
    let site = emptied(&forms).await;
    let host = running(&site).await;
    let command = ["backfill", "visits", "--rate", "100"];
    let following = site.run(&command);
    let changing = async {
        until("the backfill to begin", async || (done(&site).await > 0).then_some(())).await;
        // Documents that the backfill has passed, is at, and has before it.
        let mut changed = forms.clone();
        for form in changed.iter_mut().step_by(3) {
            form["form"]["case"]["@case_id"] = json!("moved");
        }
        let some: Vec<Value> = changed.iter().step_by(3).cloned().collect();
        site.publish(&lines(&some)).await;
        changed
    };
    let (followed, changed) = tokio::join!(following, changing);
    let followed = followed.well();
    assert!(followed.out.starts_with("200 documents done"), "{followed:?}");
    assert!(followed.err.contains("of about 200 documents"), "{followed:?}");
    host.signal("TERM");
    host.ended().await.well();
    site.catch_up().await;
    assert_eq!(site.rows(VISITS).await, rows(&changed));
}

#[tokio::test]
async fn what_was_stopped_or_killed_goes_on_where_it_was() {
    let forms = forms(90);
    let site = emptied(&forms).await;
    let command = ["backfill", "visits", "--rate", "30"];
    let alone = site.start(&command);
    until("a part of it", async || (done(&site).await >= 30).then_some(())).await;
    alone.signal("INT");
    assert_eq!(alone.ended().await.code(), Some(1));
    let before = site.rows(VISITS).await.len();
    assert!((30..90).contains(&before), "{before}");
    let other = site.run(&["backfill", "visits"]).await;
    assert_eq!(other.code(), Some(2));
    assert!(
        other.err.contains("follow it with `pillowtop backfill visits --rate 30`, or end it with --cancel"),
        "{other:?}"
    );

    // A host takes it up as it finds it, and dies.
    let mut host = running(&site).await;
    until("the host to go on", async || (site.rows(VISITS).await.len() > before).then_some(())).await;
    host.kill();
    drop(host.ended().await);
    // Rows that were there are not written again: the cursor stands behind them.
    let kept = site.rows(VISITS).await.len();
    site.execute(&format!("update visits set case_id = 'settled before' where form_id < 'f{before:03}'")).await;
    let ran = site.run(&command).await.well();
    assert!(ran.out.starts_with("90 documents done"), "{ran:?}");
    let found = site.rows(VISITS).await;
    assert!(kept <= found.len() && found.len() == 90);
    assert_eq!(found[0], json!(["f000", "settled before"]));
}

#[tokio::test]
async fn what_cannot_be_done_says_why() {
    let site = emptied(&forms(1)).await;
    for (words, code, expected) in [
        (vec!["backfill", "nobody"], 2, "there is no pillow `nobody`; the manifests declare: visits"),
        (
            vec!["backfill", "visits", "--processor", "p"],
            2,
            "pillow visits has no processor `p`; it has: visits, search",
        ),
        (vec!["backfill", "visits", "--rate", "0"], 2, "number would be zero"),
    ] {
        let ran = site.run(&words).await;
        assert_eq!(ran.code(), Some(code), "{ran:?}");
        assert!(ran.err.contains(expected), "{ran:?}");
    }
    let none = site.run(&["backfill", "visits", "--cancel"]).await.well();
    assert_eq!(none.out, "no backfill of that pillow is under way\n");
    let text = pillows::reads("form-sql").replace("\"store\"", "\"inline\"") + &pillows::visits();
    site.pillow("visits", &text);
    let ran = site.run(&["backfill", "visits"]).await;
    assert_eq!(ran.code(), Some(1), "{ran:?}");
    assert!(
        ran.err.contains("the backfill cannot be done: documents that travel in their changes are in no store"),
        "{ran:?}"
    );
}

#[tokio::test]
async fn a_change_log_and_documents_in_postgres_feed_a_pillow() {
    let url = crate::postgres::database().await;
    let site = Site::embedded();
    let settings = crate::support::site::read(&site.path("pillowtop.toml"));
    let settings = settings.replace("\"main\"", "\"hq\"").replace("id in (:ids)", "id = any(:ids)");
    site.write("pillowtop.toml", &format!("{settings}\n[databases.hq]\nurl = \"{url}\"\n"));
    site.pillow("visits", &(pillows::reads("form-sql") + &pillows::visits()));
    let forms = forms(40);
    let published = site.publish(&lines(&forms)).await;
    assert_eq!(published["documents"], 40);
    let host = running(&site).await;
    until("the rows", async || (site.rows(VISITS).await.len() == 40).then_some(())).await;
    assert_eq!(site.rows(VISITS).await, rows(&forms));
    // A change that is published while it runs is seen.
    let more = visit_form("g", "c2", "2026-02-03T10:00:00Z");
    site.publish(&lines(std::slice::from_ref(&more))).await;
    until("one more", async || (site.rows(VISITS).await.len() == 41).then_some(())).await;
    site.execute("delete from visits").await;
    let ran = site.run(&["backfill", "visits"]).await.well();
    assert!(ran.out.starts_with("41 documents done"), "{ran:?}");
    assert_eq!(site.rows(VISITS).await.len(), 41);
    host.signal("TERM");
    host.ended().await.well();
}
