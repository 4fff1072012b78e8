//! HTTP for operators and their machines: health, readiness, metrics, status, queues, pause, resume, reload, and a page
//! to look at.
//!
//! Promise: it listens only where the settings say, and beyond this machine only with a token. Connections, and the
//! size and time of requests, are bounded; a slow or hostile caller costs one of the connections and nothing of the
//! pillows. Everything it says comes from the [`Console`](crate::control::Console) of the host or the checkpoint
//! database; it holds no state.
//!
//! Deliberately absent: TLS (a proxy's work), users and roles, and anything that commands of the command line change in
//! the database itself.

mod guard;
mod page;
mod routes;
mod server;

pub use server::{Error, Server};
