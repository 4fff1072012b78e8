//! What the program says: a transcript for each kind of mistake and answer, in `transcripts/`.
//!
//! `UPDATE=1` writes the transcripts; what changed shows in the diff of the commit.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;

use crate::support::documents::{lines, visit_form};
use crate::support::guests::{guest, workspace};
use crate::support::pillows;
use crate::support::site::{Ran, Site, read};

/// A pillow that indexes forms.
fn pillow() -> String {
    pillows::reads("form-sql") + &pillows::search("form", "forms")
}

/// A pillow whose processor misbehaves.
fn hostile(mode: &str) -> String {
    pillows::reads("form-sql") + &pillows::hostile(mode)
}

/// Commands and what they said, for people to read.
struct Transcript<'a> {
    site: &'a Site,
    text: String,
}

impl<'a> Transcript<'a> {
    fn new(site: &'a Site) -> Self {
        Self { site, text: String::new() }
    }

    /// Runs a command line, words between blanks.
    async fn run(&mut self, line: &str) -> Ran {
        self.run_on(line, "").await
    }

    async fn run_on(&mut self, line: &str, input: &str) -> Ran {
        let arguments: Vec<&str> = line.split(' ').collect();
        // The log has the time in it; what a command says does not.
        let mut command = self.site.command(&arguments);
        command.env("RUST_LOG", "off");
        let ran = crate::support::site::finish(command, &arguments, Some(input)).await;
        writeln!(self.text, "$ pillowtop {}", line.trim_end()).unwrap();
        self.text += &ran.out;
        for said in ran.err.lines() {
            writeln!(self.text, "{}", format!("! {said}").trim_end()).unwrap();
        }
        writeln!(self.text, "exit code {}\n", ran.code().map_or("none".to_owned(), |code| code.to_string())).unwrap();
        ran
    }

    /// Compares with the file of this name.
    fn check(self, name: &str) {
        let mut found = self.text.replace(&self.site.path("").display().to_string(), "SITE/");
        for guest_name in ["es-indexer", "visit-rows", "hostile"] {
            found = found.replace(&guest(guest_name).display().to_string(), &format!("GUESTS/{guest_name}.wasm"));
        }
        let file = workspace().join(format!("tests/e2e/transcripts/{name}.txt"));
        if std::env::var_os("UPDATE").is_some() {
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(&file, &found).unwrap();
        }
        let expected = if file.exists() { read(&file) } else { String::new() };
        assert!(
            found == expected,
            "{}:\n--- expected\n{expected}\n--- found\n{found}\nif this is right, run the test with UPDATE=1",
            file.display()
        );
    }
}

#[tokio::test]
async fn wrong_flags_are_explained() {
    let site = Site::embedded();
    let mut transcript = Transcript::new(&site);
    for line in [
        "rum",
        "run --util-caught-up",
        "run --only",
        "search forms",
        "search forms * --limit many",
        "errors retry",
        "errors drop --all --pillow forms",
        "errors show seven",
        "checkpoint set forms form-sql:0 7",
        "processor inspect",
        "--settings",
    ] {
        transcript.run(line).await;
    }
    transcript.check("flags");
}

#[tokio::test]
async fn help_lists_the_exit_codes() {
    let site = Site::embedded();
    let mut transcript = Transcript::new(&site);
    transcript.run("--help").await;
    transcript.check("help");
}

#[tokio::test]
async fn settings_and_manifests_that_cannot_be_used_are_shown_by_every_command() {
    let site = Site::embedded();
    let mut transcript = Transcript::new(&site);
    let commands =
        ["check", "run --until-caught-up", "status", "publish log", "search forms *", "errors list", "checkpoint list"];
    for line in commands {
        transcript.run(&format!("--settings nowhere.toml {line}")).await;
    }
    transcript.run("--pipelines nowhere check").await;
    site.write("bad.toml", "[database]\nurl = \"postgres:x\"\n\n[feeds.log]\nkind = \"changeling\"\n");
    for line in commands {
        transcript.run(&format!("--settings bad.toml {line}")).await;
    }
    site.pillow("bad", "[feed]\nfrom = \"lag\"\ntopics = []\n");
    site.pillow("worse", "[feed\n");
    for line in ["check", "run --until-caught-up"] {
        transcript.run(line).await;
    }
    transcript.check("files");
    let ran = site.run(&["--json", "check"]).await;
    assert_eq!(ran.code(), Some(2));
    let said: Value = serde_json::from_str(&ran.out).unwrap();
    for problem in said["problems"].as_array().unwrap() {
        for key in ["file", "span", "line", "column", "code", "message", "help"] {
            assert!(problem.get(key).is_some(), "{key}: {problem}");
        }
    }
}

#[tokio::test]
async fn modules_that_cannot_run_are_refused_by_name() {
    let site = Site::embedded();
    for name in ["foreign-import", "wrong-contract"] {
        let text = read(&workspace().join(format!("tests/guests/{name}.wat")));
        std::fs::write(site.path(&format!("{name}.wasm")), wat::parse_str(text).unwrap()).unwrap();
    }
    site.write("text.wasm", "this is no module");
    let with = |module: &str| pillow().replace("{es-indexer}", module);
    let mut transcript = Transcript::new(&site);
    for module in ["nowhere", "foreign-import", "wrong-contract", "text"] {
        site.pillow("forms", &with(&format!("../{module}.wasm")));
        transcript.run("check").await;
    }
    site.pillow("forms", &pillow().replace("profile = \"form\"", "profile = \"from\", nonsense = 1"));
    transcript.run("check").await;
    transcript.run("run --until-caught-up").await;
    site.pillow("forms", &pillow().replace("indices = \"search\"", ""));
    transcript.run("check").await;
    transcript.run("run --until-caught-up").await;
    for mode in ["refuse", "bad-mapping", "bad-description"] {
        site.pillow("forms", &hostile(mode));
        transcript.run("check").await;
    }
    transcript.check("modules");
}

#[tokio::test]
async fn names_that_nothing_has_are_refused() {
    let site = Site::embedded();
    site.pillow("forms", &pillow());
    let mut transcript = Transcript::new(&site);
    transcript.run("search forms *").await;
    transcript.run("checkpoint show forms").await;
    site.publish(&lines(&[visit_form("f1", "c1", "2026-02-03T10:00:00.000000Z")])).await;
    site.catch_up().await;
    for line in [
        "publish lag",
        "run --only from",
        "run --until-caught-up --only from",
        "search from *",
        "search --sink tables forms *",
        "search --sink nowhere forms *",
        "pause from",
        "resume from",
        "checkpoint show from",
        "checkpoint set from form-sql:0 7 --why test",
        "errors show 7",
        "errors list --pillow from",
        "errors retry --document nobody",
        "processor inspect nowhere.wasm",
        "processor run nowhere.wasm --input nowhere.jsonl",
    ] {
        transcript.run(line).await;
    }
    transcript.check("names");
}

#[tokio::test]
async fn a_wrong_query_is_explained_at_its_place() {
    let site = Site::embedded();
    site.pillow("forms", &pillow());
    site.publish(&lines(&[visit_form("f1", "c1", "2026-02-03T10:00:00.000000Z")])).await;
    site.catch_up().await;
    let mut transcript = Transcript::new(&site);
    for line in [
        "search forms (a",
        "search forms a)",
        "search forms received_on:soon",
        "search forms nofield:x",
        "search forms \"open",
        "search forms AND",
        "search forms ",
        "search forms f1 --limit 0",
    ] {
        transcript.run(line).await;
    }
    transcript.check("queries");
}

#[tokio::test]
async fn a_line_that_cannot_be_published_is_named_with_what_was_published() {
    let site = Site::embedded();
    let good = lines(&[visit_form("f1", "c1", "2026-02-03T10:00:00.000000Z")]);
    let mut transcript = Transcript::new(&site);
    for bad in [
        "no json",
        "[1, 2]",
        r#"{"name": "neither"}"#,
        r#"{"_id": "x"}"#,
        r#"{"_id": [1], "doc_type": "XFormInstance"}"#,
        r#"{"_id": "gone", "_deleted": true}"#,
        r#"{"_id": "f1", "doc_type": "CommCareCase"}"#,
        r#"{"document_id": "x"}"#,
        r#"{"document_id": [], "data_source_name": "form-sql"}"#,
    ] {
        transcript.text += &format!("# line 2: {bad}\n");
        transcript.run_on("publish log", &format!("{good}{bad}\n{good}")).await;
    }
    // Lines are published in chunks: those of the chunks before stay.
    let many = lines(&vec![visit_form("f1", "c1", "2026-02-03T10:00:00.000000Z"); 1100]);
    transcript.text += "# line 1101: no json\n";
    transcript.run_on("publish log", &format!("{many}no json\n")).await;
    assert_eq!(site.rows("select json_array(count(*)) from change_log").await, [json!([1000])]);
    transcript.run("publish log nowhere.jsonl").await;
    transcript.run_on("publish log", "").await;
    transcript.run_on("publish log", &good).await;
    transcript.check("publish");
}

#[tokio::test]
async fn a_checkpoint_goes_only_where_it_can() {
    let site = Site::embedded();
    site.pillow("forms", &pillow());
    site.publish(&lines(&[visit_form("f1", "c1", "2026-02-03T10:00:00.000000Z")])).await;
    site.catch_up().await;
    let stored = site.run(&["--json", "checkpoint", "list"]).await.json();
    let stored = stored.as_array().unwrap();
    assert_eq!(stored.len(), 4);
    for checkpoint in stored {
        for key in ["pillow", "topic", "partition", "position", "incarnation", "epoch", "moved_at"] {
            assert!(checkpoint.get(key).is_some(), "{key}: {checkpoint}");
        }
    }
    let moved = stored.iter().find(|checkpoint| !checkpoint["position"].is_null()).unwrap();
    let lane = format!("form-sql:{}", moved["partition"]);
    let mut transcript = Transcript::new(&site);
    for line in [
        "checkpoint set forms form-sql 7 --why test",
        "checkpoint set forms form-sql:x 7 --why test",
        "checkpoint set forms form-sql:-1 7 --why test",
        "checkpoint set forms form-sql:99 7 --why test",
        &format!("checkpoint set forms {lane} -7 --why test"),
        &format!("checkpoint set forms {lane} seven --why test"),
        &format!("checkpoint set forms {lane} 7:x --why test"),
        &format!("checkpoint set forms {lane} 99999999999999999999 --why test"),
        &format!("checkpoint set forms {lane} 0 --why test"),
    ] {
        transcript.run(line).await;
    }
    transcript.check("checkpoint");

    let shown = site.run(&["--json", "checkpoint", "show", "forms"]).await.json();
    let set = &shown["moves"][0];
    assert_eq!(
        (&set["who"], &set["why"], &set["position"]),
        (&json!("tester"), &json!("test"), &json!("0")),
        "{shown}"
    );
    for key in ["at", "partition", "incarnation"] {
        assert!(set[key].is_string(), "{key}: {set}");
    }
    // It is read again from there, and no other lane is.
    let summary = site.catch_up().await;
    assert_eq!(summary["pillows"][0]["status"]["counts"]["settled"], 1, "{summary}");

    let host = site.start(&["run"]);
    let running = async || site.run(&["--json", "status"]).await.json()[0]["alive"] == true;
    crate::support::wait::until("it runs", async || running().await.then_some(())).await;
    let refused = site.run(&["checkpoint", "set", "forms", &lane, "0", "--why", "test"]).await;
    assert_eq!(refused.code(), Some(1));
    assert!(refused.err.starts_with("error: pillow forms is running on "), "{refused:?}");
    host.signal("TERM");
    host.ended().await.well();
}

#[tokio::test]
async fn status_tells_of_pillows_with_and_without_a_host() {
    let site = Site::embedded();
    site.pillow("forms", &pillow());
    site.publish("").await;
    let mut transcript = Transcript::new(&site);
    transcript.run("status").await;
    transcript.run("--json status").await;
    transcript.run("pause forms").await;
    transcript.run("run --until-caught-up").await;
    transcript.run("resume forms").await;
    transcript.check("status");

    let host = site.start(&["run"]);
    let row = crate::support::wait::until("a host says how it is", async || {
        let status = site.run(&["--json", "status"]).await.json();
        (status[0]["status"]["state"] == "running").then(|| status[0].clone())
    })
    .await;
    for key in ["pillow", "host", "at", "alive", "status"] {
        assert!(row.get(key).is_some(), "{key}: {row}");
    }
    for key in ["state", "lanes", "counts", "processors", "generation", "rate", "last_swap"] {
        assert!(row["status"].get(key).is_some(), "{key}: {row}");
    }
    let shown = site.run(&["status"]).await.well().out;
    let cells: Vec<&str> = shown.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(cells[..2], ["forms", "running"], "{shown}");
    host.signal("TERM");
    host.ended().await.well();
    // Who left in order is gone at once.
    assert_eq!(site.run(&["--json", "status"]).await.json(), json!([{"pillow": "forms", "alive": false}]));
}

#[tokio::test]
async fn a_pillow_of_which_too_much_fails_halts_and_says_why() {
    let site = Site::embedded();
    let failures = "\n[failures]\nhalt-above = 0.5\nwindow = 20\nminimum = 10\n";
    site.pillow("forms", &(pillows::reads("form-sql") + failures + &pillows::hostile("fail")));
    let forms: Vec<Value> = (0..200)
        .map(|n| {
            let mut form = visit_form(&format!("f{n:03}"), "c1", "2026-02-03T10:00:00.000000Z");
            form["form"]["note"] = json!("poison");
            form
        })
        .collect();
    site.publish(&lines(&forms)).await;
    let mut transcript = Transcript::new(&site);
    let ran = site.run(&["run", "--until-caught-up"]).await;
    assert_eq!(ran.code(), Some(3), "{ran:?}");
    let said = ran.err.lines().last().unwrap();
    let (count, cause) = said.strip_prefix("error: forms halted: ").unwrap().split_once(" × ").unwrap();
    assert!(cause.contains("told to fail"), "{said}");
    // How many are judged at once depends on how many batches wait to be settled.
    assert!((10..=200).contains(&count.parse::<usize>().unwrap()), "{said}");
    assert!(site.parked().await.is_empty(), "a bad deploy does not drain the feed into the parked failures");
    transcript.run("run --until-caught-up").await;
    transcript.text = transcript.text.replace(&format!("halted: {count} ×"), "halted: COUNT ×");
    transcript.check("halted");
}

#[tokio::test]
async fn parked_failures_are_listed_shown_and_dropped() {
    let site = Site::embedded();
    site.pillow("forms", &hostile("fail"));
    let mut form = visit_form("f1", "c1", "2026-02-03T10:00:00.000000Z");
    form["form"]["note"] = json!("poison");
    site.publish(&lines(&[form])).await;
    site.catch_up().await;
    let parked = site.parked().await;
    assert_eq!(parked.len(), 1);
    const KEYS: &str = "number pillow processor part source document partition position kind message last_log \
                        retry_can_help digest bytes attempts first_at last_at due";
    for key in KEYS.split(' ') {
        assert!(parked[0].get(key).is_some(), "{key}: {}", parked[0]);
    }
    let shown = site.run(&["--json", "errors", "show", "1"]).await.json();
    assert_eq!(shown, parked[0]);
    let mut transcript = Transcript::new(&site);
    for line in [
        "errors list",
        "errors retry 1",
        "--json errors retry --pillow forms",
        "errors drop --document f1",
        "--json errors drop --all",
        "errors list",
    ] {
        transcript.run(line).await;
    }
    transcript.check("errors");
    let shown = site.run(&["errors", "show", "1"]).await;
    assert_eq!(shown.code(), Some(1));
}

#[tokio::test]
async fn a_processor_is_inspected_and_tried_without_a_pipeline() {
    let site = Site::embedded();
    let module = guest("visit-rows").display().to_string();
    let inspected = site.run(&["--json", "processor", "inspect", &module]).await.json();
    for key in ["kind", "size", "digest", "contract", "imports", "exports"] {
        assert!(!inspected[key].is_null(), "{key}: {inspected}");
    }
    let shown = site.run(&["processor", "inspect", &module]).await.well().out;
    assert!(shown.contains(inspected["digest"].as_str().unwrap()), "{shown}");

    let mut archived = visit_form("f2", "c1", "2026-02-03T10:00:00.000000Z");
    archived["doc_type"] = json!("XFormArchived");
    let forms = [
        visit_form("f1", "c1", "2026-02-03T10:00:00.000000Z"),
        archived,
        json!({"_id": "x", "doc_type": "XFormInstance"}),
    ];
    site.write("forms.jsonl", &lines(&forms));
    site.write("bad.jsonl", &(lines(&forms) + "\n{\n"));
    let config = r#"{"xmlns":"http://openrosa.org/formdesigner/household-visit"}"#;
    let mut transcript = Transcript::new(&site);
    for line in [
        format!("processor run {module} --input forms.jsonl --config {config}"),
        format!("processor run {module} --input bad.jsonl --config {config}"),
        format!("processor run {module} --input nowhere.jsonl --config {config}"),
        format!("processor run {module} --input forms.jsonl"),
        format!("processor run {module} --input forms.jsonl --config {{"),
        "processor inspect forms.jsonl".to_owned(),
    ] {
        transcript.run(&line).await;
    }
    transcript.check("processor");
    assert!(!Path::new(&site.path("pillowtop.db")).exists(), "nothing was opened");
}

#[tokio::test]
async fn a_reader_that_has_seen_enough_is_no_error() {
    let site = Site::embedded();
    site.pillow("forms", &pillow());
    let forms: Vec<Value> =
        (0..3000).map(|n| visit_form(&format!("f{n}"), "c1", "2026-02-03T10:00:00.000000Z")).collect();
    site.publish(&lines(&forms)).await;
    site.catch_up().await;
    for arguments in
        [&["search", "forms", "*", "--limit", "3000"][..], &["--json", "search", "forms", "*", "--limit", "3000"]]
    {
        let mut child = site.command(arguments).stdin(Stdio::null()).spawn().unwrap();
        // More than a pipe holds is printed; the reader goes after the first bytes.
        let mut stdout = child.stdout.take().unwrap();
        stdout.read_exact(&mut [0; 10]).await.unwrap();
        drop(stdout);
        let output = child.wait_with_output().await.unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), said.as_str()), (Some(0), ""), "{arguments:?}");
    }
}
