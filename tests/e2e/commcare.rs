//! The processors of CommCare's documents through the real program: what tables and indices hold afterwards.

use std::fs;
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use pillowtop::model::{
    Change, Document, DocumentKey, Item, Outcome, PillowName, Position, ProcessorName, Want, WriteVersion,
};
use pillowtop::processor::{Call, Lookups, Processor as _, wasm};
use pillowtop::sink::memory::MemorySink;
use pillowtop::sink::{Sink as _, Versioned};
use serde_json::{Value, json};

use crate::support::documents::lines;
use crate::support::guests::{guest, workspace};
use crate::support::pillows;
use crate::support::site::{Site, read};

const SUBMISSIONS: &str = "select json_array(user_id, app_id, submission_date, form_id, build_version, commcare_version) \
                           from last_submissions order by user_id, app_id";

/// A pillow that tracks, with more of the processor's configuration.
fn tracker(profile: &str, more: &str) -> String {
    let topic = if profile == "form" { "form-sql" } else { "synclog-sql" };
    let processor = format!(
        r#"
[[processors]]
name = "tracker"
module = "{{form-metadata-tracker}}"
grants = ["log"]
lookups = {{ users = "store", builds = "store", entries = "entries" }}
tables = "tables"
indices = "search"
config = {{ profile = "{profile}"{more} }}
"#
    );
    pillows::reads(topic) + &processor
}

/// A site whose documents can be looked up, with a look-up for the rows that the tracker has written.
fn site() -> Site {
    Site::with_settings(
        r#"
[documents.entries]
kind = "sql"
query = """select user_id as id, json_group_object(app_id, json_object('submission_date', submission_date,
    'build_version', build_version, 'commcare_version', commcare_version)) as document
    from last_submissions where user_id in (:ids) group by user_id"""
"#,
    )
}

/// The same without that look-up, whose table is not there yet.
fn plain(text: &str) -> String {
    text.replace(", entries = \"entries\"", "")
}

fn form(id: &str, app: &str, version: &str, received_on: &str) -> Value {
    json!({
        "_id": id, "doc_type": "XFormInstance", "domain": "d", "app_id": app, "version": version,
        "xmlns": "http://openrosa.example/form", "received_on": received_on,
        "form": {"meta": {"userID": "u", "deviceID": "device-id"}},
    })
}

async fn send(site: &Site, documents: &[Value]) {
    site.publish(&lines(documents)).await;
    site.catch_up().await;
    let parked = site.parked().await;
    assert!(parked.is_empty(), "{parked:#?}");
}

#[tokio::test]
async fn the_last_submission_of_a_user_and_app_follows_its_rule_to_the_microsecond() {
    let site = site();
    site.pillow("submissions", &plain(&tracker("form", "")));
    let row = |app: &str, at: &str, form: &str, version: u32| json!(["u", app, at, form, version, null]);
    let first = row("a", "2017-02-05T00:00:00.000000Z", "f0", 2);
    // Each form and the rows after it; the earlier ones stay where they are.
    let steps = [
        // Acceptance case 76: the first one. Its build is not there, so the form says the version.
        (form("f0", "a", "2", "2017-02-05T00:00:00.000000Z"), vec![first.clone()]),
        // 77: an earlier date, also with another version; 78: no date at all.
        (form("f1", "a", "2", "2017-02-04T00:00:00.000000Z"), vec![first.clone()]),
        (form("f2", "a", "3", "2017-02-04T23:59:59.999999Z"), vec![first.clone()]),
        (form("f3", "a", "3", "bad-date"), vec![first.clone()]),
        // 86: less than, and exactly, 15 minutes later with the same version.
        (form("f4", "a", "2", "2017-02-05T00:14:59.999999Z"), vec![first.clone()]),
        (form("f5", "a", "2", "2017-02-05T00:15:00.000000Z"), vec![first.clone()]),
        // 79: two apps have two entries.
        (
            form("f6", "b", "2", "2017-02-05T00:05:00.000000Z"),
            vec![first, row("b", "2017-02-05T00:05:00.000000Z", "f6", 2)],
        ),
        // 86: more than 15 minutes later; another version at once, even at the same moment.
        (
            form("f7", "a", "2", "2017-02-05T00:15:00.000001Z"),
            vec![row("a", "2017-02-05T00:15:00.000001Z", "f7", 2), row("b", "2017-02-05T00:05:00.000000Z", "f6", 2)],
        ),
        (
            form("f8", "a", "3", "2017-02-05T00:15:00.000001Z"),
            vec![row("a", "2017-02-05T00:15:00.000001Z", "f8", 3), row("b", "2017-02-05T00:05:00.000000Z", "f6", 2)],
        ),
        (
            form("f9", "a", "4", "2017-02-05T00:15:00.000002Z"),
            vec![row("a", "2017-02-05T00:15:00.000002Z", "f9", 4), row("b", "2017-02-05T00:05:00.000000Z", "f6", 2)],
        ),
    ];
    for (at, (form, expected)) in steps.iter().enumerate() {
        send(&site, std::slice::from_ref(form)).await;
        assert_eq!(site.rows(SUBMISSIONS).await, *expected, "{form}");
        if at == 0 {
            site.execute(
                "create table touched (app_id text, form_id text);
                 create trigger watch after update on last_submissions
                 begin insert into touched values (new.app_id, new.form_id); end",
            )
            .await;
        }
    }
    // What was held back was not even written anew.
    let touched = site.rows("select json_array(app_id, form_id) from touched order by form_id").await;
    assert_eq!(touched, ["f7", "f8", "f9"].map(|form| json!(["a", form])));
    // The last one of the user is the latest row.
    let last =
        "select json_array(form_id) from last_submissions where user_id = 'u' order by submission_date desc limit 1";
    assert_eq!(site.rows(last).await, [json!(["f9"])]);
    let builds = "select json_array(app_id, build_version, build_version_date) from last_builds order by app_id";
    assert_eq!(
        site.rows(builds).await,
        [json!(["a", 4, "2017-02-05T00:15:00.000002Z"]), json!(["b", 2, "2017-02-05T00:05:00.000000Z"])]
    );
    let devices = "select json_array(device_id, app_id, event, last_used_day) from user_devices order by app_id";
    assert_eq!(
        site.rows(devices).await,
        [json!(["device-id", "a", "submission", "2017-02-05"]), json!(["device-id", "b", "submission", "2017-02-05"])]
    );
    // Reading everything again changes nothing.
    let before = (site.rows(SUBMISSIONS).await, site.rows(builds).await);
    let partitions = "select json_quote(topic || ':' || partition_number) from pillowtop_checkpoints";
    let partitions = site.rows(partitions).await;
    assert!(!partitions.is_empty());
    for partition in &partitions {
        let partition = partition.as_str().unwrap();
        site.run(&["checkpoint", "set", "submissions", partition, "0", "--why", "to read all again"]).await.well();
    }
    send(&site, &[]).await;
    assert_eq!((site.rows(SUBMISSIONS).await, site.rows(builds).await), before);
}

#[tokio::test]
async fn a_build_has_submissions_from_its_first_form_on_and_a_sync_and_a_form_are_two_entries() {
    let site = site();
    let lookups = r#", user_lookup = "users", build_lookup = "builds""#;
    site.pillow("submissions", &plain(&tracker("form", lookups)));
    site.pillow("syncs", &plain(&tracker("sync", lookups)));
    let build = |id: &str, domain: &str| json!({"_id": id, "doc_type": "Application", "domain": domain, "copy_of": "a", "version": 7});
    let user = |id: &str, doc_type: &str| json!({"_id": id, "doc_type": doc_type, "domain": "d", "username": id});
    send(
        &site,
        &[build("b1", "d"), build("b2", "other"), user("u", "CommCareUser"), user("gone", "CommCareUser-Deleted")],
    )
    .await;
    let with_build = |id: &str, build: &str, received_on: &str| {
        let mut form = form(id, "a", "2", received_on);
        form["build_id"] = json!(build);
        form
    };

    // Acceptance case 83: a sync comes first, then a form.
    let sync = json!({
        "_id": "s1", "doc_type": "SimplifiedSyncLog", "user_id": "u", "domain": "d", "app_id": "a", "build_id": "b1",
        "date": "2017-02-04T10:00:00.000000Z", "device_id": "device-id",
    });
    send(&site, std::slice::from_ref(&sync)).await;
    // 80 and 81: a form of the build; one of an unknown build; one of another domain's build.
    send(&site, &[with_build("f1", "b1", "2017-02-05T00:00:00.000000Z")]).await;
    send(&site, &[with_build("f2", "b2", "2017-02-05T01:00:00.000000Z")]).await;
    send(&site, &[with_build("f3", "nowhere", "2017-02-05T02:00:00.000000Z")]).await;
    site.execute(
        "create table touched (build_id text);
         create trigger watch after update on builds_with_submissions
         begin insert into touched values (new.build_id); end",
    )
    .await;
    send(&site, &[with_build("f4", "b1", "2017-02-05T03:00:00.000000Z")]).await;
    let builds = "select json_array(domain, build_id) from builds_with_submissions";
    assert_eq!(site.rows(builds).await, [json!(["d", "b1"])]);
    assert_eq!(site.rows("select json_array(build_id) from touched").await, [] as [Value; 0]);
    assert_eq!(site.rows(SUBMISSIONS).await, [json!(["u", "a", "2017-02-05T03:00:00.000000Z", "f4", 7, null])]);

    let syncs = "select json_array(user_id, app_id, sync_date, build_version) from last_syncs";
    let last_sync = json!(["u", "a", "2017-02-04T10:00:00.000000Z", 7]);
    assert_eq!(site.rows(syncs).await, std::slice::from_ref(&last_sync));
    let mut earlier = sync.clone();
    (earlier["_id"], earlier["date"]) = (json!("s0"), json!("2017-02-03T10:00:00.000000Z"));
    let mut of_nobody = sync;
    (of_nobody["_id"], of_nobody["user_id"]) = (json!("s2"), json!("gone"));
    send(&site, &[earlier, of_nobody]).await;
    assert_eq!(site.rows(syncs).await, [last_sync]);
    let devices = "select json_array(event, last_used) from user_devices order by event";
    assert_eq!(
        site.rows(devices).await,
        [json!(["submission", "2017-02-05T00:00:00.000000Z"]), json!(["sync", "2017-02-04T10:00:00.000000Z"])]
    );
}

#[tokio::test]
async fn users_and_their_last_submissions_share_an_index() {
    let site = site();
    let users = r#"
[[processors]]
name = "search"
module = "{es-indexer}"
grants = ["log"]
indices = "search"
config = { profile = "user", index = "users", shared = true }
"#;
    site.pillow("submissions", &plain(&tracker("form", "")));
    site.pillow("users", &(pillows::reads("commcare-user") + users));
    let user = |name: &str| json!({"_id": "u", "doc_type": "CommCareUser", "domain": "d", "username": name});
    // The table of the look-up comes with the first form.
    send(&site, &[user("ada@d.example"), form("f0", "a", "2", "2017-02-05T00:00:00Z")]).await;
    site.pillow("submissions", &tracker("form", r#", user_index = "users", entries_lookup = "entries""#));

    let indexed = async |expected: Value, username: &str| {
        let answer = site.search("users", "*").await;
        let source = &answer["hits"][0]["source"];
        assert_eq!(answer["total"], 1, "{answer}");
        assert_eq!(
            (&source["base_username"], &source["last_submission_for_user"]["submission_date"]),
            (&json!(username), &expected)
        );
    };
    send(&site, &[form("f1", "a", "2", "2017-02-05T00:10:00Z")]).await;
    indexed(Value::Null, "ada").await;
    send(&site, &[form("f2", "b", "2", "2017-02-05T00:20:00Z")]).await;
    indexed(json!("2017-02-05T00:20:00.000000Z"), "ada").await;
    // Earlier than the other app's; and the user changes, which leaves what is not the user's.
    send(&site, &[form("f3", "a", "2", "2017-02-05T00:19:00Z")]).await;
    send(&site, &[user("eve@d.example")]).await;
    indexed(json!("2017-02-05T00:20:00.000000Z"), "eve").await;
    assert_eq!(site.search("users", "last_submission_for_user.app_id:b").await["total"], 1);
    // Nobody is made by a form.
    let mut of_nobody = form("f4", "a", "2", "2017-02-05T00:00:00Z");
    of_nobody["form"]["meta"]["userID"] = json!("nobody");
    send(&site, &[of_nobody]).await;
    indexed(json!("2017-02-05T00:20:00.000000Z"), "eve").await;
}

#[tokio::test]
async fn groups_stand_in_the_documents_of_their_members() {
    // Acceptance case 104.
    let site = Site::embedded();
    let processor = |config: &str| {
        format!(
            "\n[[processors]]\nname = \"search\"\nmodule = \"{{es-indexer}}\"\ngrants = [\"log\"]\n\
             indices = \"search\"\nconfig = {{ index = \"users\", {config} }}\n"
        )
    };
    site.pillow("users", &(pillows::reads("commcare-user") + &processor("profile = \"user\", shared = true")));
    site.pillow("members", &(pillows::reads("group") + &processor("profile = \"group-members\"")));
    let user = json!({"_id": "u", "doc_type": "CommCareUser", "username": "ada@d"});
    let group = |id: &str, name: &str, users: Value, removed: Value| json!({"_id": id, "doc_type": "Group", "domain": "d", "name": name, "users": users, "removed_users": removed});
    let check = async |document: Value, ids: Value, names: Value| {
        send(&site, std::slice::from_ref(&document)).await;
        let answer = site.search("users", "*").await;
        assert_eq!(answer["total"], 1, "{answer}");
        let source = &answer["hits"][0]["source"];
        assert_eq!((&source["__group_ids"], &source["__group_names"]), (&ids, &names), "{document}");
    };
    check(user.clone(), Value::Null, Value::Null).await;
    check(group("g1", "group1", json!([]), json!([])), Value::Null, Value::Null).await;
    check(group("g1", "group1", json!(["u"]), json!([])), json!(["g1"]), json!(["group1"])).await;
    check(group("g1", "group1", json!(["u", "nobody"]), json!([])), json!(["g1"]), json!(["group1"])).await;
    check(group("g2", "group2", json!(["u"]), json!([])), json!(["g1", "g2"]), json!(["group1", "group2"])).await;
    // The user changes: what the groups wrote stays.
    check(user, json!(["g1", "g2"]), json!(["group1", "group2"])).await;
    check(group("g1", "group1", json!([]), json!(["u"])), json!(["g2"]), json!(["group2"])).await;
    let mut gone = group("g2", "group2", json!(["u"]), json!([]));
    gone["doc_type"] = json!("Group-Deleted");
    check(gone, json!([]), json!([])).await;
}

/// The shipped manifests, with their modules.
fn shipped() -> Site {
    let site = Site::embedded();
    for file in fs::read_dir(workspace().join("pipelines/commcare")).unwrap().map(|entry| entry.unwrap().path()) {
        let text = read(&file);
        for name in ["es-indexer", "form-metadata-tracker", "cache-invalidation"] {
            let module = site.path(&format!("modules/{}.wasm", name.replace('-', "_")));
            if !module.exists() {
                fs::create_dir_all(module.parent().unwrap()).unwrap();
                fs::copy(guest(name), module).unwrap();
            }
        }
        let name = file.file_name().unwrap().to_str().unwrap();
        let text = text.replace("\"modules/", &format!("\"{}/", site.path("modules").display()));
        // The settings stand where the program looks for them, and so do the manifests.
        let settings = name == "pillowtop.toml";
        site.write(&if settings { name.to_owned() } else { format!("pipelines/{name}") }, &text);
    }
    site
}

#[tokio::test]
async fn the_shipped_manifests_index_what_changes_and_forget_what_is_deleted() {
    let site = shipped();
    let documents = [
        json!({"_id": "u1", "doc_type": "CommCareUser", "domain": "clinic-a", "username": "ada@clinic-a.example",
               "user_data": {"role": "nurse"}}),
        json!({"_id": "w1", "doc_type": "WebUser", "username": "eve@example.org"}),
        json!({"_id": "g1", "doc_type": "Group", "domain": "clinic-a", "name": "Nurses", "users": ["u1"]}),
        json!({"_id": "d1", "doc_type": "Domain", "name": "clinic-a", "deployment": {"countries": ["GH"]}}),
        json!({"_id": "a1", "doc_type": "Application", "domain": "clinic-a", "version": 7}),
        json!({"_id": "b1", "doc_type": "Application", "domain": "clinic-a", "version": 7, "copy_of": "a1"}),
        json!({"_id": "m1", "doc_type": "sms", "domain": "clinic-a", "direction": "I", "text": "ok"}),
        json!({"_id": "c1", "doc_type": "CommCareCase", "domain": "clinic-a", "type": "child", "name": "Bela",
               "village": "Accra", "closed": false}),
        json!({"_id": "c2", "doc_type": "CommCareCase", "domain": "clinic-b", "type": "child", "village": "Accra"}),
    ];
    send(&site, &documents).await;
    let found = async |index: &str, query: &str| {
        let answer = site.search(index, query).await;
        let mut ids: Vec<String> =
            answer["hits"].as_array().unwrap().iter().map(|hit| hit["id"].as_str().unwrap().to_owned()).collect();
        ids.sort();
        ids
    };
    // Acceptance cases 98 to 102 and 105.
    assert_eq!(found("users", "*").await, ["u1", "w1"]);
    assert_eq!(found("users", "base_username:ada AND user_data_es.key:role AND __group_names:Nurses").await, ["u1"]);
    assert_eq!(found("groups", "users:u1").await, ["g1"]);
    assert_eq!(found("domains", "deployment.countries:GHANA").await, ["d1"]);
    assert_eq!(found("apps", "version:7").await, ["a1", "b1"]);
    assert_eq!(site.search("sms", "*").await["hits"][0]["source"], documents[6]);
    assert_eq!(found("case-search", "case_properties.key:village AND case_properties.value:accra").await, ["c1"]);
    assert_eq!(found("case-search", "*").await, ["c1"]);

    let gone = |at: usize, doc_type: &str| {
        let mut document = documents[at].clone();
        document["doc_type"] = json!(doc_type);
        document
    };
    let hard = json!({"_id": "b1", "doc_type": "Application-Deleted", "_deleted": true});
    let deletions = [
        gone(0, "CommCareUser-Deleted"),
        gone(2, "Group-Deleted"),
        gone(3, "Domain-DUPLICATE"),
        hard,
        gone(7, "CommCareCase-Deleted"),
    ];
    site.publish(&lines(&deletions)).await;
    let summary = site.catch_up().await;
    let cache = summary["pillows"].as_array().unwrap().iter().find(|pillow| pillow["pillow"] == "cache").unwrap();
    // The user and the group; it began after everything before.
    assert_eq!((&cache["status"]["counts"]["read"], &cache["status"]["counts"]["written"]), (&json!(2), &json!(4)));
    assert!(site.parked().await.is_empty());
    assert_eq!(found("users", "*").await, ["w1"]);
    for index in ["groups", "domains", "case-search"] {
        assert_eq!(found(index, "*").await, [] as [&str; 0], "{index}");
    }
    assert_eq!(found("apps", "*").await, ["a1"]);
}

/// Finds nothing.
struct NoLookups;

impl Lookups for NoLookups {
    fn fetch(&self, _: &[Want]) -> Result<Vec<Vec<Bytes>>, String> {
        Err("there are no look-ups".to_owned())
    }
}

#[tokio::test]
async fn what_a_change_makes_stale_reaches_the_cache() {
    let module = guest("cache-invalidation");
    let config = json!({"cache": "documents", "keys": ["doc:{id}"], "generations": {"Group": ["generation:groups"]}});
    let source = wasm::Source {
        path: &module,
        bytes: None,
        names: wasm::Names { pillow: PillowName::new("cache"), processor: ProcessorName::new("invalidate") },
        grants: wasm::Grants { log: true, lookups: Vec::new() },
        config: config.to_string().into_bytes(),
        limits: wasm::Limits::default(),
    };
    let processor = wasm::load(&wasm::Engine::new().unwrap(), source, None).unwrap();
    let change = |id: &str, document_type: Option<&str>| Change {
        key: DocumentKey::new("groups", id),
        position: Position::number(0),
        document_type: document_type.map(Arc::from),
        document_subtype: None,
        domain: None,
        revision: None,
        associated_id: None,
        deleted: document_type.is_none(),
        attempts: 0,
        published_at: None,
        inline: None,
    };
    let items = [("g1", Some("Group")), ("u1", Some("WebUser")), ("x", None)].map(|(id, document_type)| Item {
        change: Arc::new(change(id, document_type)),
        document: Document::Missing,
        found: Vec::new(),
    });
    let call = Call { topic: "group", time: Timestamp::UNIX_EPOCH, items: &items };
    let answers = processor.start(Arc::new(NoLookups)).unwrap().process(&call).unwrap();

    let sink = MemorySink::default();
    sink.prepare(&[], &[]).await.unwrap();
    for (item, answer) in items.iter().zip(answers) {
        let Outcome::Done { writes, .. } = answer else { panic!("{answer:?}") };
        let versioned = writes.into_iter().map(|write| Versioned {
            processor: ProcessorName::new("invalidate"),
            document: item.change.key.clone(),
            version: WriteVersion(1),
            write,
            table: None,
        });
        assert_eq!(sink.write(&versioned.collect::<Vec<_>>()).await.unwrap(), []);
    }
    sink.flush().await.unwrap();
    let dropped: Vec<String> = sink.invalidated().into_iter().map(|(cache, key)| format!("{cache} {key}")).collect();
    let expected = ["generation:groups", "doc:g1", "doc:u1", "generation:groups", "doc:x"];
    assert_eq!(dropped, expected.map(|key| format!("documents {key}")));
}
