//! The admin endpoint of the real program: scraped, asked, told what to do, and called by those who may not.

use std::collections::BTreeMap;
use std::fs;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use crate::support::documents::{lines, visit_form};
use crate::support::pillows;
use crate::support::site::{Running, Site};
use crate::support::wait::{LIMIT, until};

pub(crate) const ADMIN: &str = "[admin]\nlisten = \"127.0.0.1:0\"\n";

fn pillow() -> String {
    pillows::reads("form-sql") + &pillows::search("form", "forms")
}

/// A host with its endpoint.
pub(crate) struct Endpoint {
    host: Running,
    address: String,
    client: reqwest::Client,
}

pub(crate) struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }
}

impl Endpoint {
    pub(crate) async fn start(site: &Site) -> Self {
        let mut host = site.start(&["run"]);
        let line = host.says("the admin endpoint listens").await;
        let address = line.rsplit_once("address=").unwrap().1.trim().to_owned();
        Self { host, address, client: reqwest::Client::new() }
    }

    async fn ask(&self, method: Method, path: &str, token: Option<&str>) -> Answer {
        let mut request = self.client.request(method, format!("http://{}{path}", self.address));
        if let Some(token) = token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let answer = request.send().await.unwrap();
        let (status, headers) = (answer.status(), answer.headers().clone());
        Answer { status, headers, text: answer.text().await.unwrap() }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask(Method::GET, path, None).await
    }

    async fn post(&self, path: &str) -> Answer {
        self.ask(Method::POST, path, None).await
    }

    /// The value of a sample by its whole name, labels included.
    async fn sample(&self, name: &str) -> Option<f64> {
        let text = self.get("/metrics").await.text;
        let line = text.lines().find(|line| line.starts_with(name) && line[name.len()..].starts_with(' '))?;
        line[name.len()..].trim().parse().ok()
    }

    /// Waits until the state of the only pillow is this one.
    async fn until_state(&self, state: &str) {
        until(state, async || {
            let rows = self.get("/status").await.json();
            (rows[0]["status"]["state"] == state).then_some(())
        })
        .await;
    }

    async fn until_ready(&self) {
        until("it is ready", async || (self.get("/readyz").await.status == StatusCode::OK).then_some(())).await;
    }

    pub(crate) async fn stop(self) {
        self.host.signal("TERM");
        assert_eq!(self.host.ended().await.code(), Some(0));
    }
}

fn forms(from: usize, to: usize) -> String {
    let form = |n| visit_form(&format!("f{n:03}"), "c1", "2026-02-03T10:00:00.000000Z");
    lines(&(from..to).map(form).collect::<Vec<_>>())
}

#[tokio::test]
async fn an_operator_scrapes_looks_pauses_resumes_and_reloads() {
    let site = Site::with_settings(ADMIN);
    site.pillow("forms", &pillow());
    site.publish(&forms(0, 7)).await;
    let endpoint = Endpoint::start(&site).await;
    endpoint.until_ready().await;
    assert_eq!(endpoint.get("/readyz").await.json(), json!({ "ready": true }));
    assert_eq!(endpoint.get("/healthz").await.json(), json!({ "alive": true }));

    // What is counted is what was done, under both names.
    let settled = "pillowtop_changes_settled_total{pillow=\"forms\"}";
    until("all is settled", async || (endpoint.sample(settled).await == Some(7.0)).then_some(())).await;
    let scraped = endpoint.get("/metrics").await;
    assert_eq!(scraped.headers[CONTENT_TYPE], "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert!(scraped.text.ends_with("# EOF\n"));
    for (name, value) in [
        ("pillowtop_changes_read_total{pillow=\"forms\"}", 7.0),
        ("pillowtop_sink_writes_total{pillow=\"forms\",sink=\"search\",result=\"taken\"}", 7.0),
        ("pillowtop_processor_faults_total{pillow=\"forms\",processor=\"search\",result=\"trap\"}", 0.0),
        ("commcare_change_feed_changes_success_total{pillow_name=\"forms\",datasource=\"form-sql\"}", 7.0),
    ] {
        assert_eq!(endpoint.sample(name).await, Some(value), "{name}\n{}", scraped.text);
    }
    for name in [
        "pillowtop_processor_calls_total{pillow=\"forms\",processor=\"search\"}",
        "pillowtop_processor_cpu_seconds_total{pillow=\"forms\",processor=\"search\"}",
        "commcare_change_feed_processing_time_total{pillow_name=\"forms\"}",
        "commcare_change_feed_change_feed_checkpoint_total{pillow_name=\"forms\"}",
    ] {
        assert!(endpoint.sample(name).await.is_some_and(|value| value > 0.0), "{name}\n{}", scraped.text);
    }

    // Hosts say once a second how they are.
    let said = until("the status has caught up", async || {
        let said = endpoint.get("/status").await.json();
        (said[0]["status"]["counts"]["settled"] == 7).then_some(said)
    })
    .await;
    let printed = site.run(&["--json", "status"]).await.json();
    assert_eq!((&said[0]["pillow"], &said[0]["host"]), (&printed[0]["pillow"], &printed[0]["host"]));
    assert_eq!(said[0]["status"]["counts"], printed[0]["status"]["counts"]);
    let page = endpoint.get("/").await;
    assert!(page.headers[CONTENT_TYPE].to_str().unwrap().starts_with("text/html"));
    assert!(page.text.contains("forms") && page.text.contains("running"), "{}", page.text);

    assert_eq!(endpoint.post("/pillows/forms/pause").await.json(), json!({ "pillow": "forms", "paused": true }));
    endpoint.until_state("paused").await;
    assert_eq!(endpoint.get("/readyz").await.status, StatusCode::OK, "a paused pillow does as it was told");
    site.publish(&forms(7, 9)).await;
    assert_eq!(endpoint.post("/pillows/forms/resume").await.status, StatusCode::OK);
    until("it went on", async || (endpoint.sample(settled).await == Some(9.0)).then_some(())).await;

    site.pillow("again", &pillow().replace("\"forms\"", "\"again\""));
    let reloaded = endpoint.post("/reload").await.json();
    assert_eq!(reloaded, json!({ "pillows": ["again", "forms"], "problems": [], "changed_settings": null }));
    endpoint.until_ready().await;
    site.pillow("again", "[feed");
    let reloaded = endpoint.post("/reload").await.json();
    assert_eq!(reloaded["pillows"], json!(["forms"]));
    assert!(reloaded["problems"][0].as_str().unwrap().contains("again.toml"), "{reloaded}");
    let unready = endpoint.get("/readyz").await;
    assert_eq!(unready.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(unready.json()["reasons"][0].as_str().unwrap().contains("again.toml"), "{}", unready.text);
    endpoint.stop().await;
}

#[tokio::test]
async fn what_cannot_be_answered_is_a_clear_error() {
    let site = Site::with_settings(ADMIN);
    site.pillow("forms", &pillow());
    let endpoint = Endpoint::start(&site).await;
    for (method, path, status, error) in [
        (Method::GET, "/nowhere", 404, "there is nothing at /nowhere"),
        (Method::POST, "/pillows/from/pause", 404, "there is no pillow `from`"),
        (Method::GET, "/pillows/from/queue", 404, "there is no pillow `from`"),
        (Method::POST, "/pillows/forms/queue", 405, "/pillows/forms/queue takes GET,HEAD, not POST"),
        (Method::GET, "/pillows/forms/queue?limit=1001", 400, "`limit` is at most 1000"),
        (
            Method::GET,
            "/pillows/forms/queue?limit=all",
            400,
            "Failed to deserialize query string: limit: invalid digit found in string",
        ),
        (Method::GET, "/reload", 405, "/reload takes POST, not GET"),
        (Method::POST, "/metrics", 405, "/metrics takes GET,HEAD, not POST"),
        (Method::DELETE, "/healthz", 405, "/healthz takes GET,HEAD, not DELETE"),
    ] {
        let answer = endpoint.ask(method, path, None).await;
        assert_eq!(answer.status.as_u16(), status, "{path}: {}", answer.text);
        assert_eq!(answer.json(), json!({ "error": error }));
    }
    let mut large = TcpStream::connect(&endpoint.address).await.unwrap();
    large.write_all(b"POST /reload HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100000\r\n\r\n").await.unwrap();
    let mut said = [0; 12];
    timeout(LIMIT, large.read_exact(&mut said)).await.unwrap().unwrap();
    assert_eq!(&said, b"HTTP/1.1 413");
    let foreign = endpoint.client.post(format!("http://{}/reload", endpoint.address));
    let foreign = foreign.header("origin", "http://example.org").send().await.unwrap();
    assert_eq!(foreign.status(), StatusCode::FORBIDDEN);

    // A caller that sends a head without end is cut off, and holds nobody meanwhile.
    let mut endless = TcpStream::connect(&endpoint.address).await.unwrap();
    endless.write_all(b"GET / HTTP/1.1\r\nx: ").await.unwrap();
    endless.write_all(&vec![b'x'; 64 << 10]).await.unwrap_or_default();
    let mut said = Vec::new();
    timeout(LIMIT, endless.read_to_end(&mut said)).await.unwrap().unwrap_or_default();
    assert!(said.is_empty() || said.starts_with(b"HTTP/1.1 431"), "{}", String::from_utf8_lossy(&said));
    // A caller that says nothing does not keep the host from ending.
    let _silent = TcpStream::connect(&endpoint.address).await.unwrap();
    assert_eq!(endpoint.get("/healthz").await.status, StatusCode::OK);
    endpoint.stop().await;
}

#[tokio::test]
async fn a_token_opens_everything_but_the_probes() {
    let site = Site::with_settings(&format!("{ADMIN}token-file = \"token\"\n"));
    site.write("token", "0123456789abcdef0123456789abcdef\n");
    site.pillow("forms", &pillow());
    site.publish("").await;
    let endpoint = Endpoint::start(&site).await;
    let right = Some("0123456789abcdef0123456789abcdef");
    for (method, path) in [
        (Method::GET, "/"),
        (Method::GET, "/metrics"),
        (Method::GET, "/status"),
        (Method::GET, "/pillows/forms/queue"),
        (Method::POST, "/pillows/forms/pause"),
        (Method::POST, "/pillows/forms/resume"),
        (Method::POST, "/reload"),
    ] {
        for token in [None, Some("0123456789abcdef0123456789abcdee")] {
            let refused = endpoint.ask(method.clone(), path, token).await;
            assert_eq!(refused.status, StatusCode::UNAUTHORIZED, "{path} {token:?}");
            assert!(refused.headers.contains_key("www-authenticate"));
            assert!(refused.json()["error"].as_str().unwrap().contains("Bearer"), "{}", refused.text);
        }
        assert_eq!(endpoint.ask(method, path, right).await.status, StatusCode::OK, "{path}");
    }
    // Probes are answered, and told no more than they need.
    endpoint.until_ready().await;
    site.pillow("broken", "[feed");
    assert_eq!(endpoint.ask(Method::POST, "/reload", right).await.status, StatusCode::OK);
    assert_eq!(endpoint.get("/readyz").await.json(), json!({ "ready": false }));
    assert!(endpoint.ask(Method::GET, "/readyz", right).await.json()["reasons"].is_array());
    endpoint.stop().await;
}

#[tokio::test]
async fn an_address_that_is_taken_or_open_to_all_is_refused_at_the_start() {
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap();
    let site = Site::with_settings(&format!("[admin]\nlisten = \"{address}\"\n"));
    site.pillow("forms", &pillow());
    let ran = site.run(&["run", "--until-caught-up"]).await;
    assert_eq!(ran.code(), Some(1));
    let expected = format!("error: the admin endpoint cannot listen on {address} (`[admin] listen`): ");
    assert!(ran.err.lines().last().unwrap().starts_with(&expected), "{}", ran.err);

    let settings = fs::read_to_string(site.path("pillowtop.toml")).unwrap();
    site.write("pillowtop.toml", &settings.replace(&address.to_string(), "0.0.0.0:0"));
    let ran = site.run(&["run", "--until-caught-up"]).await;
    assert_eq!(ran.code(), Some(2));
    assert!(ran.err.contains("other machines can call this address, so there must be a `token`"), "{}", ran.err);
}

#[tokio::test]
async fn an_agent_is_sent_what_was_counted_until_the_end() {
    let agent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = agent.local_addr().unwrap();
    let site = Site::with_settings(&format!("[metrics]\nstatsd = \"{address}\"\nfile = \"metrics.prom\"\n"));
    site.pillow("forms", &(pillows::reads("form-sql") + &pillows::hostile("trap")));
    let mut documents: Vec<Value> =
        (0..9).map(|n| visit_form(&format!("f{n}"), "c1", "2026-02-03T10:00:00.000000Z")).collect();
    documents[4]["form"]["note"] = json!("poison");
    site.publish(&lines(&documents)).await;
    site.catch_up().await;

    // What is sent is what was added since the last time.
    let mut sums: BTreeMap<String, f64> = BTreeMap::new();
    let mut packet = [0; 2048];
    while let Ok(length) = agent.try_recv(&mut packet) {
        for line in std::str::from_utf8(&packet[..length]).unwrap().lines() {
            let (name, rest) = line.split_once(':').unwrap();
            let (value, rest) = rest.split_once('|').unwrap();
            let (kind, tags) = rest.split_once("|#").unwrap_or((rest, ""));
            assert!(matches!(kind, "c" | "g"), "{line}");
            *sums.entry(format!("{name} {tags}")).or_default() += value.parse::<f64>().unwrap();
        }
    }
    for (name, value) in [
        ("pillowtop.changes_settled pillow:forms", 9.0),
        ("pillowtop.failures_parked pillow:forms,processor:hostile,result:trap", 1.0),
        ("commcare.change_feed.changes.count pillow_name:forms,datasource:form-sql,case_type:NA", 9.0),
        ("commcare.change_feed.changes.success pillow_name:forms,datasource:form-sql", 8.0),
        ("commcare.change_feed.changes.exceptions pillow_name:forms,exception_type:trap", 1.0),
    ] {
        assert_eq!(sums.get(name), Some(&value), "{name}: {sums:#?}");
    }
    let faults = sums.get("pillowtop.processor_faults pillow:forms,processor:hostile,result:trap");
    assert!(faults.is_some_and(|faults| *faults >= 1.0), "{sums:#?}");
    assert!(site.path("metrics.prom").exists());
}
