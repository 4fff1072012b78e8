//! What signals do: the first one stops in order, the second one at once, and nothing is lost or done twice.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::documents::{id, lines, visit_forms};
use crate::support::pillows;
use crate::support::site::{Running, Site, count};
use crate::support::wait::until;

/// Small batches, so that there is much left to stop in.
fn pillow(mode: &str) -> String {
    pillows::reads("form-sql") + &pillows::batches(3, 2) + &pillows::hostile(mode)
}

async fn ids_of_rows(site: &Site) -> BTreeSet<String> {
    let rows = site.rows("select json_array(id) from hostile_rows").await;
    rows.iter().map(|row| row[0].as_str().unwrap().to_owned()).collect()
}

async fn ids_of_index(site: &Site) -> BTreeSet<String> {
    let answer = site.search("hostile", "*").await;
    answer["hits"].as_array().unwrap().iter().map(|hit| hit["id"].as_str().unwrap().to_owned()).collect()
}

/// A site with `forms` published and the tables made, where each row that is written leaves a trace.
async fn watched(mode: &str, settings: &str, forms: &[Value]) -> Site {
    let site = Site::with_settings(settings);
    site.pillow("forms", &pillow(mode));
    site.publish("").await;
    site.catch_up().await;
    site.execute(
        "create table applied (id text);
         create trigger inserted after insert on hostile_rows begin insert into applied values (new.id); end;
         create trigger updated after update on hostile_rows begin insert into applied values (new.id); end",
    )
    .await;
    site.publish(&lines(forms)).await;
    site
}

async fn until_rows(site: &Site, running: &mut Running, rows: u64) {
    let mut database = site.database().await;
    until("rows are written", async || {
        assert!(!running.has_ended(), "it ended before it was stopped");
        (count(&mut database, "hostile_rows").await >= Some(rows)).then_some(())
    })
    .await;
}

/// A host that has settled all of `forms` but the one at `poison`, which a processor holds for longer than a test lasts.
async fn with_one_in_hand(site: &Site, forms: &[Value], poison: usize) -> Running {
    let mut host = site.start(&["run"]);
    until_rows(site, &mut host, forms.len() as u64 - 1).await;
    site.publish(&lines(&forms[poison..=poison])).await;
    until("all is read", async || {
        let status = site.run(&["--json", "status"]).await.json();
        (status[0]["status"]["counts"]["read"] == forms.len()).then_some(())
    })
    .await;
    host
}

/// All but one of them.
fn but_for(forms: &[Value], poison: usize) -> Vec<Value> {
    [&forms[..poison], &forms[poison + 1..]].concat()
}

async fn check_all_applied_once(site: &Site, forms: &[Value]) {
    let all: BTreeSet<String> = forms.iter().map(|form| id(form).to_owned()).collect();
    assert_eq!(ids_of_rows(site).await, all);
    assert_eq!(ids_of_index(site).await, all);
    let twice = site.rows("select json_array(id, count(*)) from applied group by id having count(*) > 1").await;
    assert_eq!(twice, [] as [Value; 0], "applied more than once");
    assert!(site.parked().await.is_empty());
}

#[tokio::test]
async fn a_signal_under_load_settles_what_is_in_hand_and_ends_well() {
    let forms = visit_forms(400, 11);
    let site = watched("stamp", "", &forms).await;
    for signal in ["TERM", "INT"] {
        let before = ids_of_rows(&site).await.len();
        let mut host = site.start(&["run"]);
        until_rows(&site, &mut host, before as u64 + 30).await;
        host.signal(signal);
        let ran = host.ended().await;
        assert_eq!(ran.code(), Some(0), "{signal}: {ran:?}");
        let rows = ids_of_rows(&site).await;
        assert!(rows.len() < forms.len(), "{signal}: all was done before it was stopped");
        assert_eq!(ids_of_index(&site).await, rows, "{signal}: what was written is settled");
        assert_eq!(site.rows("select json_array(pillow) from pillowtop_heartbeats").await, [] as [Value; 0]);
    }
    site.catch_up().await;
    check_all_applied_once(&site, &forms).await;
}

#[tokio::test]
async fn a_second_signal_aborts_and_the_next_run_does_the_rest() {
    let mut forms = visit_forms(60, 12);
    // With this one the processor never comes back: nobody can settle it, so that an orderly stop would take long.
    forms[17]["form"]["note"] = json!("poison");
    let limits = "workers = 2\ncpu-deadline = \"10min\"\nwall-limit = \"10min\"\ngrace-period = \"10min\"\n";
    let site = watched("loop", limits, &but_for(&forms, 17)).await;
    let mut host = with_one_in_hand(&site, &forms, 17).await;
    host.signal("TERM");
    host.says("once more aborts").await;
    assert!(!host.has_ended(), "it waits for what is in hand");
    host.signal("TERM");
    let ran = host.ended().await;
    assert_eq!(ran.code(), Some(1), "{ran:?}");
    assert!(ids_of_rows(&site).await.len() < forms.len());

    site.pillow("forms", &pillow("stamp"));
    site.catch_up().await;
    check_all_applied_once(&site, &forms).await;
}

#[tokio::test]
async fn what_cannot_settle_within_the_grace_period_is_left_to_the_next_run() {
    let mut forms = visit_forms(30, 13);
    forms[5]["form"]["note"] = json!("poison");
    let limits = "workers = 2\ncpu-deadline = \"10min\"\nwall-limit = \"10min\"\ngrace-period = \"1s\"\n";
    let site = watched("loop", limits, &but_for(&forms, 5)).await;
    let host = with_one_in_hand(&site, &forms, 5).await;
    host.signal("TERM");
    let ran = host.ended().await;
    assert_eq!(ran.code(), Some(1), "{ran:?}");
    assert!(ran.err.ends_with("error: not everything settled within the grace period"), "{}", ran.err);

    site.pillow("forms", &pillow("stamp"));
    site.catch_up().await;
    check_all_applied_once(&site, &forms).await;
}
