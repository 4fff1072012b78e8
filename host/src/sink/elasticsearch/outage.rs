//! Why a server cannot write now, so that a reader knows what to do about it.

use reqwest::Method;

use super::http::{Answer, Content, Http};
use crate::model::Outage;

/// What keeps writes from being done, although nothing is wrong with them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trouble {
    /// It has more to do than it can take.
    Busy(String),
    /// It protects its memory.
    Memory(String),
    /// The shard has no copy that could take a write.
    Unavailable(String),
    /// The index or the whole cluster does not take writes.
    Blocked(String),
    /// The user may not write there.
    Forbidden(String),
    /// The index or alias is not there any more.
    Gone(String),
}

impl Trouble {
    /// Whether it often ends within seconds, so that the request is worth another try here.
    pub(super) fn passes(&self) -> bool {
        matches!(self, Self::Busy(_) | Self::Memory(_) | Self::Unavailable(_))
    }

    /// Says it, after asking the server for what an error does not tell.
    pub(super) async fn outage(&self, http: &Http, index: &str) -> Outage {
        let (what, said) = match self {
            Self::Busy(said) => ("has more writes to do than it takes (rejected, 429)".to_owned(), said),
            Self::Memory(said) => ("is short of memory (circuit breaker)".to_owned(), said),
            Self::Unavailable(said) => (format!("has no primary shard ready for index {index}"), said),
            Self::Blocked(said) => (block(http, index).await, said),
            Self::Forbidden(said) => (format!("does not let this user write to index {index}"), said),
            Self::Gone(said) => {
                (format!("has no index or alias {index} any more; a reload of the pillow makes it again"), said)
            }
        };
        Outage::new(format!("search server {} {what}", http.place()), said.clone())
    }
}

/// Which block it is: asked for, because the error has it as text only.
async fn block(http: &Http, index: &str) -> String {
    let disk = |setting| {
        format!("takes no writes to index {index}: a disk is nearly full, the flood-stage watermark ({setting})")
    };
    let operator = |setting| format!("takes no writes to index {index}: it is set read-only ({setting})");
    let of_index = flat(http, &format!("/{index}/_settings?flat_settings=true")).await;
    let of_cluster = flat(http, "/_cluster/settings?flat_settings=true").await;
    let is_set = |text: &str, setting: &str| text.contains(&format!("\"{setting}\":\"true\""));
    for (text, setting) in
        [(&of_index, "index.blocks.read_only_allow_delete"), (&of_cluster, "cluster.blocks.read_only_allow_delete")]
    {
        if is_set(text, setting) {
            return disk(setting);
        }
    }
    for (text, setting) in [
        (&of_index, "index.blocks.read_only"),
        (&of_index, "index.blocks.write"),
        (&of_cluster, "cluster.blocks.read_only"),
    ] {
        if is_set(text, setting) {
            return operator(setting);
        }
    }
    format!("takes no writes to index {index}: the cluster has a block")
}

/// Settings, one name for each, as compact text; empty when they cannot be had, which costs precision only.
async fn flat(http: &Http, path: &str) -> String {
    match http.send(Method::GET, path, Content::None).await {
        Ok(answer) if answer.is_success() => answer.json().to_string(),
        Ok(_) | Err(_) => String::new(),
    }
}

/// Whether a status says that the server, or what stands before it, cannot answer now.
pub(super) fn is_busy(status: u16) -> bool {
    matches!(status, 429 | 500 | 502..=504)
}

/// An answer that leaves nothing to do but wait.
pub(super) fn of_answer(http: &Http, operation: &str, answer: &Answer) -> Outage {
    let what = match answer.status {
        401 => "refuses the credentials".to_owned(),
        403 => format!("does not permit it: {operation}"),
        _ => operation.to_owned(),
    };
    Outage::new(format!("search server {}: {what}", http.place()), answer.to_string())
}
