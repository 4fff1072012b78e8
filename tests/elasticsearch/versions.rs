//! What versions keep from happening, on each server.

use pillowtop::model::{Epoch, Era, Position, WriteVersion};
use serde_json::{Value, json};

use super::searching::{Apart, Server, elasticsearch, opensearch};
use super::{CASES, declared, delete, index, mapping, merge, write};
use pillowtop::sink::Sink as _;

macro_rules! on_each_server {
    ($($case:ident),* $(,)?) => {
        mod opensearch_2 {
            $(#[tokio::test] async fn $case() { super::$case(super::Server { url: super::opensearch() }).await; })*
        }
        mod elasticsearch_7 {
            $(#[tokio::test] async fn $case() { super::$case(super::Server { url: super::elasticsearch() }).await; })*
        }
    };
}

on_each_server! {
    a_replay_ends_in_the_same_state,
    a_retry_after_a_newer_write_changes_nothing,
    a_rewind_writes_again,
    a_paused_owner_puts_nothing_old_over_what_is_newer,
    a_topic_made_again_is_newer_than_the_one_before,
    a_late_write_does_not_bring_a_deleted_document_back,
    owners_on_several_hosts_lose_none_of_their_merges,
    tombstones_of_a_shared_index_are_dropped_when_nothing_can_be_older,
}

/// A drawn version, as the host draws them: microseconds.
const DRAWN: u64 = 1_795_271_244_261_000;

async fn prepared(server: Server) -> Apart {
    let sink = Apart::new(server);
    sink.prepare(&[], &[declared(&mapping(), &[])]).await.unwrap();
    sink
}

async fn shared(server: Server) -> Apart {
    let sink = Apart::new(server);
    let owners = [declared(&mapping(), &["name"]), declared(&mapping(), &["age"])];
    sink.prepare(&[], &owners).await.unwrap();
    sink
}

/// The same sink in another process.
async fn another(sink: &Apart, owned: &[&str]) -> Apart {
    let another = Apart::with(sink.server, sink.server.settings(), sink.prefix.clone());
    another.prepare(&[], &[declared(&mapping(), owned)]).await.unwrap();
    another
}

fn named(name: &str) -> Value {
    json!({ "name": name })
}

async fn a_replay_ends_in_the_same_state(server: Server) {
    let sink = prepared(server).await;
    let batch = [index(DRAWN, "a", &named("a")), index(DRAWN, "b", &named("b")), delete(DRAWN + 1, "b")];
    for _ in 0..3 {
        write(&sink, &batch).await;
        assert_eq!((sink.get(CASES, "a").await, sink.count(CASES).await), (Some(named("a")), 1));
    }
}

async fn a_retry_after_a_newer_write_changes_nothing(server: Server) {
    let sink = prepared(server).await;
    write(&sink, &[index(DRAWN + 5, "a", &named("newer"))]).await;
    write(&sink, &[index(DRAWN, "a", &named("retried"))]).await;
    assert_eq!(sink.get(CASES, "a").await, Some(named("newer")));
}

async fn a_rewind_writes_again(server: Server) {
    let sink = prepared(server).await;
    write(&sink, &[index(DRAWN, "a", &named("wrong")), delete(DRAWN, "gone")]).await;
    // Whoever reads from further back draws new versions, which are greater.
    write(&sink, &[index(DRAWN + 9, "a", &named("right")), index(DRAWN + 9, "gone", &named("back"))]).await;
    assert_eq!(sink.get(CASES, "a").await, Some(named("right")));
    assert_eq!(sink.get(CASES, "gone").await, Some(named("back")));
}

async fn a_paused_owner_puts_nothing_old_over_what_is_newer(server: Server) {
    let paused = prepared(server).await;
    let owner = another(&paused, &[]).await;
    write(&owner, &[index(DRAWN + 7, "a", &named("of the new owner")), delete(DRAWN + 7, "b")]).await;
    write(&paused, &[index(DRAWN, "a", &named("of the paused one")), index(DRAWN, "b", &named("b"))]).await;
    write(&paused, &[delete(DRAWN, "a")]).await;
    assert_eq!(owner.get(CASES, "a").await, Some(named("of the new owner")));
    assert_eq!(owner.count(CASES).await, 1);
}

async fn a_topic_made_again_is_newer_than_the_one_before(server: Server) {
    let sink = prepared(server).await;
    let at = |epoch, position| {
        let era = Era::new(Epoch(epoch), WriteVersion(DRAWN));
        WriteVersion::at(era, &Position::number(position)).0
    };
    // Places of the first topic go far; those of the second begin again.
    write(&sink, &[index(at(1, 1 << 40), "a", &named("first topic"))]).await;
    write(&sink, &[index(at(2, 0), "a", &named("second topic"))]).await;
    assert_eq!(sink.get(CASES, "a").await, Some(named("second topic")));
    write(&sink, &[index(at(1, u64::MAX), "a", &named("first topic, late"))]).await;
    assert_eq!(sink.get(CASES, "a").await, Some(named("second topic")));
}

async fn a_late_write_does_not_bring_a_deleted_document_back(server: Server) {
    for sink in [prepared(server).await, shared(server).await] {
        let settings = server.done("GET", &format!("/{}/_settings?flat_settings=true", sink.named(CASES)), None).await;
        let settings = settings.as_object().unwrap().values().next().unwrap();
        assert_eq!(settings["settings"]["index.gc_deletes"], "3600000ms");
        write(&sink, &[index(DRAWN, "a", &named("there")), delete(DRAWN + 5, "a"), delete(DRAWN + 5, "never")]).await;
        server.done("POST", &format!("/{}/_flush", sink.named(CASES)), None).await;
        write(&sink, &[index(DRAWN + 4, "a", &named("late")), index(DRAWN + 4, "never", &named("late"))]).await;
        write(&sink, &[merge(DRAWN + 4, "a", &named("late")), merge(DRAWN + 4, "never", &named("late"))]).await;
        assert_eq!(sink.count(CASES).await, 0);
        write(&sink, &[index(DRAWN + 5, "a", &named("equal"))]).await;
        assert_eq!(sink.get(CASES, "a").await, Some(named("equal")));
    }
}

async fn owners_on_several_hosts_lose_none_of_their_merges(server: Server) {
    let one = shared(server).await;
    let other = another(&one, &["age"]).await;
    let ids: Vec<String> = (0..20).map(|number| format!("user-{number}")).collect();
    let names = async {
        for round in 0..5_u64 {
            let writes: Vec<_> = ids.iter().map(|id| merge(DRAWN + round, id, &json!({ "name": round }))).collect();
            write(&one, &writes).await;
        }
    };
    let ages = async {
        for round in 0..5_u64 {
            let writes: Vec<_> = ids.iter().rev().map(|id| merge(round, id, &json!({ "age": round }))).collect();
            write(&other, &writes).await;
        }
    };
    tokio::join!(names, ages);
    for id in &ids {
        assert_eq!(one.get(CASES, id).await, Some(json!({"name": 4, "age": 4})), "{id}");
    }
}

async fn tombstones_of_a_shared_index_are_dropped_when_nothing_can_be_older(server: Server) {
    let sink = shared(server).await;
    let name = sink.named(CASES);
    for (id, age) in [("old", 8), ("young", 6)] {
        let deleted_at = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(24 * age);
        let tombstone = json!({"pillowtop": {"version": DRAWN, "deleted_at": deleted_at.to_string()}});
        server.done("PUT", &format!("/{name}/_doc/{id}?refresh=true"), Some(tombstone)).await;
    }
    // The first write of a sink looks for them.
    write(&another(&sink, &["name"]).await, &[merge(DRAWN, "a", &named("a"))]).await;
    let found = |id: &'static str| {
        let path = format!("/{name}/_doc/{id}");
        async move { server.ask("GET", &path, None).await.1["found"] == true }
    };
    assert!(!found("old").await);
    assert!(found("young").await);
}
