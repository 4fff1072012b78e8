//! The sink: sorts writes by index and by what they need, and gives each kind its way to the server.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::bulk::{Action, Guard, check};
use super::merge::{self, Group, Member, Refusal};
use super::prepare::{self, Declared, Plan, Target};
use super::send::{Place, Sender, Verdict};
use super::server::{Server, Unknown};
use super::settings::Settings;
use super::tombstones;
use crate::model::{Clock, Index, Outage, RetryHelps, Table, Write, chain};
use crate::sink::{PrepareError, Rejected, Sink, Versioned};

/// Indices of one server.
pub struct ElasticsearchSink {
    settings: Settings,
    sender: Sender,
    /// Held while indices are prepared, so that what was checked is what is changed. What the server is, once it said so.
    preparing: Mutex<Option<Server>>,
    targets: RwLock<HashMap<Arc<str>, Arc<Prepared>>>,
}

/// An index that was prepared.
struct Prepared {
    name: String,
    target: Target,
    require_alias: bool,
    /// When tombstones were last looked for.
    swept: Mutex<Option<Instant>>,
}

impl ElasticsearchSink {
    /// A sink for this server, which is asked nothing yet.
    ///
    /// # Errors
    /// When the certificates or credentials cannot be used.
    pub fn new(settings: Settings) -> Result<Self, Outage> {
        let sender = Sender::new(&settings)?;
        Ok(Self { settings, sender, preparing: Mutex::new(None), targets: RwLock::default() })
    }

    async fn server(&self, known: &mut Option<Server>) -> Result<Server, PrepareError> {
        if let Some(server) = known {
            return Ok(*server);
        }
        let server = Server::ask(&self.sender.http).await.map_err(|unknown| match unknown {
            Unknown::Outage(outage) => PrepareError::Outage(outage),
            Unknown::Unsupported(problem) => PrepareError::Refused(vec![problem]),
        })?;
        tracing::info!(
            server = self.sender.http.place(),
            distribution = %server.distribution,
            version = format!("{}.{}", server.major, server.minor),
            "search server found"
        );
        *known = Some(server);
        Ok(server)
    }

    async fn plan(&self, declared: &Declared) -> Result<Result<Plan, Vec<String>>, PrepareError> {
        prepare::plan(&self.sender.http, &self.settings, declared).await.map_err(PrepareError::Outage)
    }

    fn prepared(&self, name: &str) -> Option<Arc<Prepared>> {
        self.targets.read().unwrap_or_else(PoisonError::into_inner).get(name).map(Arc::clone)
    }

    /// Writes to one index. `places` are those of its writes.
    async fn write_to(
        &self,
        prepared: &Prepared,
        writes: &[Versioned],
        places: &[usize],
    ) -> Result<Vec<Refusal>, Outage> {
        let place = prepared.place();
        let mut refused = Vec::new();
        let shared = !prepared.target.owners.is_empty();
        let merged: HashSet<&str> = places
            .iter()
            .filter_map(|at| match &writes[*at].write {
                Write::Merge { target, .. } => Some(&*target.id),
                _ => None,
            })
            .collect();
        let mut plain = Vec::new();
        let mut plain_at = Vec::new();
        let mut groups: Vec<Group<'_>> = Vec::new();
        let mut group_of: HashMap<&str, usize> = HashMap::new();
        for at in places {
            let Versioned { version, write, .. } = &writes[*at];
            let (id, document) = match write {
                Write::Index(target) | Write::Merge { target, .. } => (&*target.id, Some(&target.document[..])),
                Write::Delete { id, .. } => (&**id, None),
                Write::Rows { .. } | Write::Publish(_) | Write::Invalidate { .. } => continue,
            };
            if let Err(reason) = check(id, document) {
                refused.push((*at, reason, RetryHelps::No));
            } else if shared || merged.contains(id) {
                let group = *group_of.entry(id).or_insert_with(|| {
                    groups.push(Group { id, writes: Vec::new() });
                    groups.len() - 1
                });
                groups[group].writes.push(Member { at: *at, version: *version, write });
            } else {
                plain.push(Action { id, document, guard: Guard::Version(*version) });
                plain_at.push(*at);
            }
        }
        let plain = async { if plain.is_empty() { Ok(Vec::new()) } else { self.sender.send(place, &plain).await } };
        let now = Clock::System.now();
        let merged = merge::apply(&self.sender, place, &prepared.target, groups, now);
        let (plain, merged) = tokio::join!(plain, merged);
        for (at, verdict) in plain_at.iter().zip(plain?) {
            // A conflict is a write that is older than what is there: passed over.
            if let Verdict::Refused(reason, retry) = verdict {
                refused.push((*at, reason, retry));
            }
        }
        refused.extend(merged?);
        Ok(refused)
    }

    async fn sweep(&self, prepared: &Prepared) {
        let Ok(mut swept) = prepared.swept.try_lock() else { return };
        if prepared.target.owners.is_empty() || swept.is_some_and(|swept| swept.elapsed() < tombstones::EVERY) {
            return;
        }
        *swept = Some(Instant::now());
        // They do no harm: they are looked for again tomorrow.
        if let Err(outage) = tombstones::drop_old(&self.sender, prepared.place(), Clock::System.now()).await {
            tracing::warn!(index = prepared.name, error = %chain(&outage), "old tombstones stay for now");
        }
    }
}

impl Prepared {
    fn place(&self) -> Place<'_> {
        Place { index: &self.name, require_alias: self.require_alias }
    }
}

#[async_trait]
impl Sink for ElasticsearchSink {
    async fn prepare(&self, tables: &[Table], indices: &[Index]) -> Result<(), PrepareError> {
        let mut problems: Vec<String> =
            tables.iter().map(|table| format!("table {}: a search server holds no tables", table.name)).collect();
        let declared = prepare::declared(indices).unwrap_or_else(|more| {
            problems.extend(more);
            Vec::new()
        });
        if !problems.is_empty() {
            return Err(PrepareError::Refused(problems));
        }
        if declared.is_empty() {
            return Ok(());
        }
        let mut known = self.preparing.lock().await;
        let server = self.server(&mut known).await?;
        let mut plans = Vec::new();
        for declared in &declared {
            match self.plan(declared).await? {
                Ok(plan) => plans.push((declared, plan)),
                Err(more) => problems.extend(more),
            }
        }
        if !problems.is_empty() {
            return Err(PrepareError::Refused(problems));
        }
        for (declared, plan) in plans {
            let target = match prepare::carry_out(&self.sender.http, plan).await? {
                Some(target) => Some(target),
                // What another host made meanwhile is there now.
                None => {
                    let plan = self.plan(declared).await?.map_err(PrepareError::Refused)?;
                    prepare::carry_out(&self.sender.http, plan).await?
                }
            };
            let name = declared.name.clone();
            let Some(target) = target else {
                let operation = format!("index {name} comes and goes while it is prepared");
                return Err(PrepareError::Outage(Outage { operation, source: None }));
            };
            let require_alias = target.alias && server.knows_require_alias();
            let prepared = Prepared { name: name.clone(), target, require_alias, swept: Mutex::new(None) };
            let mut targets = self.targets.write().unwrap_or_else(PoisonError::into_inner);
            targets.insert(name.into(), Arc::new(prepared));
        }
        Ok(())
    }

    async fn write(&self, writes: &[Versioned]) -> Result<Vec<Rejected>, Outage> {
        let mut by_index: Vec<(&Arc<str>, Vec<usize>)> = Vec::new();
        let mut rejected = Vec::new();
        for (at, versioned) in writes.iter().enumerate() {
            let name = match &versioned.write {
                Write::Index(target) | Write::Merge { target, .. } => &target.index,
                Write::Delete { index, .. } => index,
                Write::Rows { .. } | Write::Publish(_) | Write::Invalidate { .. } => {
                    rejected.push(refuse(at, "a search server takes documents only".to_owned(), RetryHelps::No));
                    continue;
                }
            };
            match by_index.iter_mut().find(|(known, _)| *known == name) {
                Some((_, places)) => places.push(at),
                None => by_index.push((name, vec![at])),
            }
        }
        for (name, places) in by_index {
            let Some(prepared) = self.prepared(name) else {
                let refused = |at| refuse(at, format!("index {name} was not prepared"), RetryHelps::No);
                rejected.extend(places.into_iter().map(refused));
                continue;
            };
            self.sweep(&prepared).await;
            let refused = self.write_to(&prepared, writes, &places).await?;
            let named = |(at, reason, retry)| refuse(at, format!("index {name}: {reason}"), retry);
            rejected.extend(refused.into_iter().map(named));
        }
        rejected.sort_by_key(|rejected| rejected.at);
        Ok(rejected)
    }

    /// The server has what it acknowledged on disk (`index.translog.durability`, which was looked at).
    async fn flush(&self) -> Result<(), Outage> {
        Ok(())
    }
}

fn refuse(at: usize, reason: String, retry: RetryHelps) -> Rejected {
    Rejected { at, reason, retry }
}
