//! A cache in Redis: keys are removed when what they were made of has changed, or counted up where a key is the
//! generation that cached values carry in theirs.
//!
//! Either may be done again: a cached value is made once more, a generation is one further than it had to be. Each write
//! is acknowledged by the server before the sink says that it has it, so there is nothing left to flush.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{ErrorKind, Pipeline, RedisError, ServerErrorKind};
use tokio::sync::OnceCell;

use super::{PrepareError, Rejected, Sink, Versioned};
use crate::model::{Index, Outage, RetryHelps, Table, Write};

/// How long the server may take to let us in, and how long to answer.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(5);
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(10);

/// Commands of one round trip; more are sent in several.
const COMMANDS: usize = 1000;

/// Where the cache is, and what its keys are.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `redis://USER:PASSWORD@HOST:PORT/NUMBER`, or `rediss:` for TLS.
    pub url: String,
    /// Stands before every key.
    pub prefix: String,
    /// The caches, as processors name them, whose keys are counted up instead of removed.
    pub counters: BTreeSet<Arc<str>>,
}

/// The sink. It connects when it is first used, and again by itself.
pub struct RedisSink {
    settings: Settings,
    connection: OnceCell<ConnectionManager>,
}

impl RedisSink {
    /// A sink over the server that the settings name; nothing is asked of it yet.
    pub fn new(settings: Settings) -> Self {
        Self { settings, connection: OnceCell::new() }
    }

    async fn connection(&self) -> Result<ConnectionManager, Outage> {
        let connect = || async {
            let client = redis::Client::open(self.settings.url.as_str())?;
            // The pipeline tries again, and says what it waits for: the client need not.
            let config = ConnectionManagerConfig::new()
                .set_number_of_retries(0)
                .set_connection_timeout(Some(CONNECTION_TIMEOUT))
                .set_response_timeout(Some(RESPONSE_TIMEOUT));
            ConnectionManager::new_with_config(client, config).await
        };
        let connection = self.connection.get_or_try_init(connect).await;
        connection.cloned().map_err(|error| Outage::new("could not connect to Redis", error))
    }

    fn commands(&self, cache: &Arc<str>, keys: &[String], pipeline: &mut Pipeline) {
        let key = |key: &String| format!("{}{key}", self.settings.prefix);
        if self.settings.counters.contains(cache) {
            for name in keys {
                pipeline.incr(key(name), 1);
            }
        } else {
            // Frees the memory behind the server's back, where `DEL` would hold up others for a large value.
            pipeline.unlink(keys.iter().map(key).collect::<Vec<_>>());
        }
    }
}

#[async_trait]
impl Sink for RedisSink {
    async fn prepare(&self, tables: &[Table], indices: &[Index]) -> Result<(), PrepareError> {
        if let Some(table) = tables.first() {
            return Err(PrepareError::Refused(vec![format!("table {} cannot be in Redis", table.name)]));
        }
        if let Some(index) = indices.first() {
            return Err(PrepareError::Refused(vec![format!("index {} cannot be in Redis", index.name)]));
        }
        let mut connection = self.connection().await.map_err(PrepareError::Outage)?;
        let answer: Result<String, RedisError> = redis::cmd("PING").query_async(&mut connection).await;
        answer.map(|_| ()).map_err(|error| PrepareError::Outage(Outage::new("Redis does not answer", error)))
    }

    async fn write(&self, writes: &[Versioned]) -> Result<Vec<Rejected>, Outage> {
        let mut rejected = Vec::new();
        let mut pipeline = Pipeline::new();
        // Which write each command of the pipeline belongs to.
        let mut of: Vec<usize> = Vec::new();
        let mut connection = self.connection().await?;
        for (at, versioned) in writes.iter().enumerate() {
            match &versioned.write {
                Write::Invalidate { keys, .. } if keys.is_empty() => {}
                Write::Invalidate { cache, keys } => {
                    self.commands(cache, keys, &mut pipeline);
                    of.resize(pipeline.len(), at);
                }
                _ => rejected.push(Rejected {
                    at,
                    reason: "Redis takes nothing but keys to invalidate".to_owned(),
                    retry: RetryHelps::No,
                }),
            }
            if of.len() >= COMMANDS {
                send(&mut connection, &mut pipeline, &mut of, &mut rejected).await?;
            }
        }
        send(&mut connection, &mut pipeline, &mut of, &mut rejected).await?;
        rejected.sort_by_key(|rejected| rejected.at);
        rejected.dedup_by_key(|rejected| rejected.at);
        Ok(rejected)
    }

    async fn flush(&self) -> Result<(), Outage> {
        Ok(())
    }
}

/// Sends what was collected, and leaves both empty.
async fn send(
    connection: &mut ConnectionManager,
    pipeline: &mut Pipeline,
    of: &mut Vec<usize>,
    rejected: &mut Vec<Rejected>,
) -> Result<(), Outage> {
    if of.is_empty() {
        return Ok(());
    }
    let sent: Result<Vec<Result<i64, RedisError>>, RedisError> = pipeline.ignore_errors().query_async(connection).await;
    let answers = sent.map_err(|error| Outage::new("Redis does not answer", error))?;
    for (at, answer) in of.iter().zip(answers) {
        let Err(error) = answer else { continue };
        match verdict(&error) {
            Some(retry) => rejected.push(Rejected { at: *at, reason: error.to_string(), retry }),
            None => return Err(Outage::new("Redis does not do what it is asked", error)),
        }
    }
    pipeline.clear();
    of.clear();
    Ok(())
}

/// For what is wrong with the key, whether a retry can help; none where the server is in no state to work. The words of
/// errors that the client has no name for are codes too (`WRONGTYPE`: `redis.io/docs/latest/develop/reference/protocol-spec`).
fn verdict(error: &RedisError) -> Option<RetryHelps> {
    match error.kind() {
        // A key that is no number cannot be counted up; a response error is about one command's arguments.
        ErrorKind::Server(ServerErrorKind::ResponseError) => Some(RetryHelps::Perhaps),
        ErrorKind::Extension if error.code() == Some("WRONGTYPE") => Some(RetryHelps::Perhaps),
        _ => None,
    }
}
