//! CouchDB's changes and documents, from a server that speaks its protocol.
#![allow(clippy::unwrap_used, clippy::panic, reason = "the lint's exemption for tests does not cover their helpers")]

#[path = "support/couchdb.rs"]
mod couchdb;
#[path = "support/service.rs"]
mod service;

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use couchdb::Couch;
use pillowtop::documents::DocumentStore as _;
use pillowtop::documents::couch::CouchDocuments;
use pillowtop::feed::couch::{CouchSource, Mode, Settings};
use pillowtop::feed::{Error, Event, Feed, From, Limits, Read, Source as _, Start};
use pillowtop::model::{Change, Checkpoint, Document, DocumentKey, Entry, Partition, Position};
use reqwest::{Method, StatusCode};
use serde_json::json;
use service::Service;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(30);
const LIMITS: Limits = Limits { count: NonZeroUsize::new(1000).unwrap(), bytes: NonZeroUsize::new(1 << 20).unwrap() };

fn settings(server: &str) -> Settings {
    Settings {
        url: server.to_owned(),
        mode: Mode::Continuous,
        heartbeat: Duration::from_secs(1),
        filter: None,
        parameters: Vec::new(),
        include_docs: false,
    }
}

async fn started(
    settings: Settings,
    databases: &[&str],
    start: Start,
    checkpoint: Option<Checkpoint>,
) -> Result<Box<dyn Feed>, Error> {
    let topics: Vec<Arc<str>> = databases.iter().map(|database| Arc::from(*database)).collect();
    let mut feed = CouchSource::new(settings).unwrap().open(&topics, start).await?;
    let from = feed.partitions().await?.into_iter();
    feed.start(from.map(|partition| From { partition, checkpoint: checkpoint.clone() }).collect()).await?;
    Ok(feed)
}

async fn read(feed: &mut Box<dyn Feed>) -> Read {
    loop {
        if let Event::Read(read) = timeout(PATIENCE, feed.next(LIMITS)).await.expect("it reads in time").unwrap() {
            return read;
        }
    }
}

/// Reads until so many changes came.
async fn changes(feed: &mut Box<dyn Feed>, count: usize) -> Vec<Change> {
    let mut found = Vec::new();
    while found.len() < count {
        found.extend(read(feed).await.entries.into_iter().map(|entry| match entry {
            Entry::Change(change) => change,
            Entry::Undecodable(undecodable) => panic!("{undecodable:?}"),
        }));
    }
    found
}

fn ids(changes: &[Change]) -> Vec<&str> {
    changes.iter().map(|change| change.key.id.as_ref()).collect()
}

/// A way to the server that a test can cut: everybody who goes it is thrown out when its tasks end.
async fn detour(to: &str) -> (String, tokio::task::JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (format!("http://{address}"), detour_at(listener, to))
}

fn detour_at(listener: TcpListener, to: &str) -> tokio::task::JoinSet<()> {
    let to = to.trim_start_matches("http://").to_owned();
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(async move {
        let mut streams = tokio::task::JoinSet::new();
        while let Ok((mut from, _)) = listener.accept().await {
            let to = to.clone();
            streams.spawn(async move {
                if let Ok(mut server) = TcpStream::connect(to).await {
                    // However it ends, the connection is over.
                    drop(copy_bidirectional(&mut from, &mut server).await);
                }
            });
        }
    });
    tasks
}

#[tokio::test]
async fn both_ways_of_waiting_bring_what_is_there_and_what_comes() {
    for mode in [Mode::Continuous, Mode::LongPoll] {
        let couch = Couch::new().await;
        couch.put("a", None, json!({"n": 1})).await;
        couch.put("b", None, json!({"n": 1})).await;
        couch.put("a", None, json!({"n": 2})).await;
        let settings = Settings { mode, ..settings(&couch.server) };
        let mut feed = started(settings, &[&couch.database], Start::Earliest, None).await.unwrap();
        let found = changes(&mut feed, 2).await;
        assert_eq!(ids(&found), ["b", "a"], "{mode:?}: the latest change of each document");
        assert!(found[1].revision.as_deref().unwrap().starts_with("2-"), "{found:?}");
        assert_eq!(found[0].key.source.as_ref(), couch.database);
        for name in ["c", "d"] {
            couch.put(name, None, json!({})).await;
            assert_eq!(ids(&changes(&mut feed, 1).await), [name], "{mode:?}");
        }
        couch.delete("c").await;
        let found = changes(&mut feed, 1).await;
        assert!(found[0].deleted && ids(&found) == ["c"], "{mode:?}: {found:?}");
    }
}

#[tokio::test]
async fn more_changes_than_a_page_come_in_order_and_once() {
    let couch = Couch::new().await;
    let all: Vec<String> = (0..2500).map(|number| format!("d{number:04}")).collect();
    let docs: Vec<_> = all.iter().map(|id| json!({ "_id": id })).collect();
    let (status, _) = couch.ask(Method::POST, "/_bulk_docs", Some(json!({ "docs": docs }))).await;
    assert!(status.is_success());
    let mut feed = started(settings(&couch.server), &[&couch.database], Start::Earliest, None).await.unwrap();
    assert_eq!(ids(&changes(&mut feed, all.len()).await), all);
}

#[tokio::test]
async fn several_databases_are_partitions_of_one_feed() {
    let (first, second) = (Couch::new().await, Couch::new().await);
    for (couch, id) in [(&first, "a"), (&second, "b")] {
        couch.put(id, None, json!({})).await;
    }
    let databases = [first.database.as_str(), second.database.as_str()];
    let mut feed = started(settings(&first.server), &databases, Start::Earliest, None).await.unwrap();
    let partitions: BTreeSet<Partition> =
        [read(&mut feed).await, read(&mut feed).await].map(|read| read.progress.partition).into();
    assert_eq!(partitions, databases.map(|database| Partition::new(database, 0)).into());
}

#[tokio::test]
async fn now_begins_after_what_is_there_and_says_so_at_once() {
    let couch = Couch::new().await;
    couch.put("old", None, json!({})).await;
    let mut feed = started(settings(&couch.server), &[&couch.database], Start::Latest, None).await.unwrap();
    let begun = read(&mut feed).await;
    assert!(begun.entries.is_empty());
    drop(feed);
    couch.put("new", None, json!({})).await;
    let checkpoint = Checkpoint { incarnation: begun.progress.incarnation, position: begun.progress.next };
    let mut feed = started(settings(&couch.server), &[&couch.database], Start::Latest, Some(checkpoint)).await.unwrap();
    assert_eq!(ids(&changes(&mut feed, 1).await), ["new"]);
}

#[tokio::test]
async fn documents_travel_along_when_they_should() {
    let couch = Couch::new().await;
    couch.put("u", None, json!({"doc_type": "CommCareUser", "domain": "clinic"})).await;
    let settings = Settings { include_docs: true, ..settings(&couch.server) };
    let mut feed = started(settings, &[&couch.database], Start::Earliest, None).await.unwrap();
    let [user] = &changes(&mut feed, 1).await[..] else { panic!("one change") };
    assert_eq!((user.document_type.as_deref(), user.domain.as_deref()), (Some("CommCareUser"), Some("clinic")));
    let document: serde_json::Value = serde_json::from_slice(user.inline.as_ref().unwrap()).unwrap();
    assert_eq!(document["_id"], "u");
}

#[tokio::test]
async fn a_filter_of_the_server_leaves_changes_out() {
    let couch = Couch::new().await;
    let filters = json!({ "filters": { "kept": "function (doc, req) { return doc.kind === req.query.kind; }" } });
    let (status, answer) = couch.ask(Method::PUT, "/_design/pillowtop", Some(filters)).await;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
    for (id, kind) in [("a", "x"), ("b", "y"), ("c", "x")] {
        couch.put(id, None, json!({ "kind": kind })).await;
    }
    let settings = Settings {
        filter: Some("pillowtop/kept".to_owned()),
        parameters: vec![("kind".to_owned(), "x".to_owned())],
        ..settings(&couch.server)
    };
    let mut feed = started(settings, &[&couch.database], Start::Earliest, None).await.unwrap();
    assert_eq!(ids(&changes(&mut feed, 2).await), ["a", "c"]);
}

#[tokio::test]
async fn a_connection_that_breaks_loses_nothing_and_doubles_nothing() {
    let couch = Couch::new().await;
    let (address, mut way) = detour(&couch.server).await;
    let mut feed = started(settings(&address), &[&couch.database], Start::Earliest, None).await.unwrap();
    let mut found = Vec::new();
    for round in 0..5 {
        let names: Vec<String> = (0..20).map(|number| format!("r{round}n{number:02}")).collect();
        for name in &names[..10] {
            couch.put(name, None, json!({})).await;
        }
        found.extend(changes(&mut feed, 10).await);
        way.shutdown().await;
        for name in &names[10..] {
            couch.put(name, None, json!({})).await;
        }
        let listener = TcpListener::bind(address.trim_start_matches("http://")).await.unwrap();
        way = detour_at(listener, &couch.server);
        found.extend(changes(&mut feed, 10).await);
    }
    let expected: Vec<String> =
        (0..5).flat_map(|round| (0..20).map(move |number| format!("r{round}n{number:02}"))).collect();
    assert_eq!(ids(&found), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_falls_silent_is_left_and_asked_again() {
    let service = tokio::task::spawn_blocking(|| Service::own("couchdb")).await.unwrap();
    let couch = Couch::on(&service.address).await;
    couch.put("a", None, json!({})).await;
    let mut feed = started(settings(&couch.server), &[&couch.database], Start::Earliest, None).await.unwrap();
    assert_eq!(ids(&changes(&mut feed, 1).await), ["a"]);
    tokio::task::block_in_place(|| service.pause());
    // Longer than three heartbeats: the feed gives the connection up, and waits.
    assert!(
        timeout(Duration::from_secs(5), async { while let Event::AtEnd = feed.next(LIMITS).await.unwrap() {} })
            .await
            .is_err()
    );
    tokio::task::block_in_place(|| service.resume());
    couch.put("b", None, json!({})).await;
    assert_eq!(ids(&changes(&mut feed, 1).await), ["b"]);
}

#[tokio::test]
async fn a_database_that_was_made_again_is_recognised_also_while_it_is_read() {
    let couch = Couch::new().await;
    couch.put("a", None, json!({})).await;
    let (address, mut way) = detour(&couch.server).await;
    let mut feed = started(settings(&address), &[&couch.database], Start::Earliest, None).await.unwrap();
    let before = read(&mut feed).await.progress;
    way.shutdown().await;
    couch.drop_database().await;
    couch.create().await;
    for id in ["b", "c"] {
        couch.put(id, None, json!({})).await;
    }
    let _way = detour_at(TcpListener::bind(address.trim_start_matches("http://")).await.unwrap(), &couch.server);
    let error = timeout(PATIENCE, async {
        loop {
            if let Err(error) = feed.next(LIMITS).await {
                break error;
            }
        }
    });
    assert!(matches!(error.await.unwrap(), Error::Incarnation { .. }));
    let checkpoint = Checkpoint { incarnation: before.incarnation, position: before.next };
    let again = started(settings(&couch.server), &[&couch.database], Start::Earliest, Some(checkpoint)).await;
    let refused = again.err().unwrap().to_string();
    let remedy = format!("; to read all of it again: pillowtop checkpoint set PILLOW {}:0 0", couch.database);
    assert!(refused.ends_with(&remedy), "{refused}");
}

#[tokio::test]
async fn a_database_that_is_not_there_is_named() {
    let couch = Couch::new().await;
    let refused =
        started(settings(&couch.server), &["nowhere"], Start::Earliest, None).await.err().unwrap().to_string();
    assert_eq!(refused, format!("{} has no database nowhere", couch.server));
}

#[tokio::test]
async fn lag_counts_what_is_left() {
    let couch = Couch::new().await;
    for id in ["a", "b", "c"] {
        couch.put(id, None, json!({})).await;
    }
    let mut feed = started(settings(&couch.server), &[&couch.database], Start::Earliest, None).await.unwrap();
    let partition = Partition::new(couch.database.as_str(), 0);
    let places = [(partition.clone(), Position::number(0)), (partition.clone(), Position::number(2))];
    let ends = feed.ends(&places).await.unwrap();
    assert_eq!(ends.iter().map(|end| end.lag).collect::<Vec<_>>(), [Some(3), Some(1)]);
    assert_eq!(ends[0].position, Position::number(3));
}

#[tokio::test]
async fn changes_of_several_databases_find_their_documents() {
    let (first, second) = (Couch::new().await, Couch::new().await);
    first.put("same", None, json!({"n": 1})).await;
    second.put("same", None, json!({"n": 2})).await;
    let store = CouchDocuments::new(&first.server, None).unwrap();
    let change = |couch: &Couch| {
        let message = json!({"document_id": "same", "data_source_name": couch.database}).to_string();
        Arc::new(Change::decode(message.as_bytes(), Position::number(0)).unwrap())
    };
    let found = store.fetch(&[change(&second), change(&first), change(&second)]).await.unwrap();
    let numbers: Vec<i64> = found
        .iter()
        .map(|document| match document {
            Document::Present(bytes) => {
                serde_json::from_slice::<serde_json::Value>(bytes).unwrap()["n"].as_i64().unwrap()
            }
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(numbers, [2, 1, 2]);
}

#[tokio::test]
async fn documents_are_listed_page_by_page_without_designs() {
    let couch = Couch::new().await;
    let (status, _) = couch.ask(Method::PUT, "/_design/views", Some(json!({}))).await;
    assert_eq!(status, StatusCode::CREATED);
    // pouchdb-server leaves ids beyond ASCII out of its listing, which CouchDB does not.
    let ids = ["12", "0012", "it's \" here", "a", "b", "B"];
    for id in ids {
        couch.put(id, None, json!({})).await;
    }
    couch.put("gone", None, json!({})).await;
    couch.delete("gone").await;
    let store = CouchDocuments::new(&couch.server, Some(couch.database.as_str().into())).unwrap();
    for most in [1, 2, 5, 100] {
        let (mut listed, mut after) = (Vec::new(), None);
        loop {
            let page = store.list(after.as_deref(), NonZeroUsize::new(most).unwrap()).await.unwrap();
            assert!(page.documents.len() <= most);
            listed.extend(page.documents.into_iter().map(|document| document.id.to_string()));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        listed.sort();
        let mut expected = ids.map(str::to_owned);
        expected.sort();
        assert_eq!(listed, expected, "pages of {most}");
    }
    assert_eq!(store.count().await.unwrap(), ids.len() as u64 + 1);
    let of_all = CouchDocuments::new(&couch.server, None).unwrap();
    let error = of_all.list(None, NonZeroUsize::MIN).await.unwrap_err().to_string();
    assert_eq!(error, "to list its documents, the store needs `database` in the settings");
}

#[tokio::test]
async fn a_store_tells_what_changed_after_a_mark() {
    let couch = Couch::new().await;
    couch.put("a", None, json!({"n": 1})).await;
    couch.put("b", None, json!({"n": 1})).await;
    let store = CouchDocuments::new(&couch.server, Some(couch.database.as_str().into())).unwrap();
    let mark = store.mark().await.unwrap().unwrap();
    let all = NonZeroUsize::new(100).unwrap();
    let nothing = store.changed(&mark, all).await.unwrap();
    assert_eq!((nothing.documents.len(), nothing.more, &nothing.mark), (0, false, &mark));

    couch.put("a", None, json!({"n": 2})).await;
    couch.put("c", None, json!({"n": 1})).await;
    couch.delete("b").await;
    assert_ne!(store.mark().await.unwrap(), Some(Arc::clone(&mark)));
    let (mut found, mut at) = (Vec::new(), mark);
    loop {
        let changed = store.changed(&at, NonZeroUsize::new(2).unwrap()).await.unwrap();
        found.extend(changed.documents);
        at = changed.mark;
        if !changed.more {
            break;
        }
    }
    let number = |document: &[u8]| serde_json::from_slice::<serde_json::Value>(document).unwrap()["n"].clone();
    let found: Vec<_> = found.iter().map(|(id, document)| (id.as_ref(), document.as_deref().map(number))).collect();
    assert_eq!(found, [("a", Some(json!(2))), ("c", Some(json!(1))), ("b", None)]);
    assert_eq!(store.mark().await.unwrap(), Some(at));
}

#[tokio::test]
async fn a_store_that_is_not_there_is_an_outage() {
    let couch = Couch::new().await;
    let key = DocumentKey::new("nowhere", "a");
    let change = Change {
        key,
        ..Change::decode(br#"{"document_id":"a","data_source_name":"s"}"#, Position::number(0)).unwrap()
    };
    let change = [Arc::new(change)];
    for url in [couch.server.as_str(), "http://127.0.0.1:9"] {
        assert!(CouchDocuments::new(url, None).unwrap().fetch(&change).await.is_err(), "{url}");
    }
}
