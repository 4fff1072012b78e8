//! A host that is looked at from outside, over its admin endpoint.

use serde_json::Value;

use crate::support::site::{Running, Site};

/// A host that runs, and its endpoint.
pub(crate) struct Watched {
    pub(crate) host: Running,
    url: String,
    client: reqwest::Client,
}

/// All samples of a host at one moment.
pub(crate) struct Samples(String);

impl Watched {
    /// Starts the program; its settings have an admin endpoint.
    pub(crate) async fn start(site: &Site) -> Self {
        let mut host = site.start(&["run"]);
        let line = host.says("the admin endpoint listens").await;
        let address = line.rsplit_once("address=").unwrap().1.trim();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { url: format!("http://{address}"), host, client }
    }

    async fn get(&self, path: &str) -> String {
        self.client.get(format!("{}{path}", self.url)).send().await.unwrap().text().await.unwrap()
    }

    pub(crate) async fn samples(&self) -> Samples {
        Samples(self.get("/metrics").await)
    }

    /// Why it is not ready.
    pub(crate) async fn reasons(&self) -> Vec<String> {
        let answer: Value = serde_json::from_str(&self.get("/readyz").await).unwrap();
        let reasons = answer["reasons"].as_array().cloned().unwrap_or_default();
        reasons.iter().map(|reason| reason.as_str().unwrap().to_owned()).collect()
    }

    /// Ends it in order.
    pub(crate) async fn stop(self) {
        self.host.signal("TERM");
        let ran = self.host.ended().await;
        assert_eq!(ran.code(), Some(0), "{}", ran.err);
    }
}

impl Samples {
    /// How many changes of a pillow are settled.
    pub(crate) fn settled(&self, pillow: &str) -> u64 {
        self.sum("pillowtop_changes_settled_total", pillow)
    }

    /// The sum of a pillow's samples of this name; 0 where there are none yet.
    pub(crate) fn sum(&self, name: &str, pillow: &str) -> u64 {
        self.of(name, pillow).sum()
    }

    fn of(&self, name: &str, pillow: &str) -> impl Iterator<Item = u64> {
        let begin = format!("{name}{{pillow=\"{pillow}\"");
        let lines = self.0.lines().filter(move |line| line.starts_with(&begin));
        lines.map(|line| line.rsplit_once(' ').unwrap().1.parse().unwrap())
    }
}
