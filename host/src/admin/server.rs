//! Takes connections: so many at once, each for a bounded time, all of them owned and ended with the host.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::guard::Guard;
use super::routes;
use crate::control::Console;
use crate::manifest::Admin;

/// Callers at once; more wait to be accepted. A scraper, an orchestrator and some people need far fewer.
const MOST_CONNECTIONS: usize = 64;
/// How long the head of a request may take to arrive, also of the next one on the same connection.
const HEAD_LIMIT: Duration = Duration::from_secs(10);
/// What the head of a request may hold.
const HEAD_BYTES: usize = 16 << 10;
/// Beyond this a connection is closed after its answer, and cut off when that is not taken.
const CONNECTION_LIMIT: Duration = Duration::from_secs(300);
/// How long answers that are under way may take when the host ends.
const LAST_ANSWERS: Duration = Duration::from_secs(2);
/// The wait after the system could not give a connection: it is out of files.
const AFTER_FAILURE: Duration = Duration::from_millis(200);

/// Why the endpoint is not there.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address cannot be had: it is taken, or not this machine's.
    #[error("the admin endpoint cannot listen on {address} (`[admin] listen`)")]
    Bind {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
}

/// The endpoint, bound to its address.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    router: Router,
}

impl Server {
    /// Binds the address; whoever calls waits until [`Server::serve`].
    ///
    /// # Errors
    /// When the address cannot be had.
    pub async fn bind(settings: &Admin, console: Console) -> Result<Self, Error> {
        let failed = |source| Error::Bind { address: settings.listen, source };
        let listener = TcpListener::bind(settings.listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let router = routes::router(console, Guard::new(settings.token.clone()));
        Ok(Self { listener, address, router })
    }

    /// Where it listens: with the real port, where any was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `stop`; then the answers that are under way are given, as far as they are taken.
    pub async fn serve(self, stop: CancellationToken) {
        let room = Arc::new(Semaphore::new(MOST_CONNECTIONS));
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(_) = connections.join_next() => continue,
                accepted = accept(&self.listener, &room) => accepted,
            };
            match accepted {
                Ok((stream, permit)) => {
                    let (router, stop) = (self.router.clone(), stop.child_token());
                    connections.spawn(async move {
                        converse(stream, router, stop).await;
                        drop(permit);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "the admin endpoint takes no connection");
                    sleep(AFTER_FAILURE).await;
                }
            }
        }
        drop(self.listener);
        let ended = timeout(LAST_ANSWERS, async { while connections.join_next().await.is_some() {} }).await;
        if ended.is_err() {
            connections.shutdown().await;
        }
    }
}

/// The next connection, when there is room for it. Cancel-safe: what was accepted is returned at once.
async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> std::io::Result<(TcpStream, Option<OwnedSemaphorePermit>)> {
    // It is never closed.
    let permit = Arc::clone(room).acquire_owned().await.ok();
    let (stream, _) = listener.accept().await?;
    Ok((stream, permit))
}

/// Answers the requests of one connection.
async fn converse(stream: TcpStream, router: Router, stop: CancellationToken) {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_LIMIT).max_buf_size(HEAD_BYTES);
    let connection = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = std::pin::pin!(connection);
    let is_over = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        () = stop.cancelled() => None,
        () = sleep(CONNECTION_LIMIT) => None,
    };
    let ended = match is_over {
        Some(ended) => ended,
        None => {
            connection.as_mut().graceful_shutdown();
            match timeout(HEAD_LIMIT, connection).await {
                Ok(ended) => ended,
                Err(_) => return,
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection to the admin endpoint broke off");
    }
}
