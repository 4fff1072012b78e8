//! A database of a real PostgreSQL for each test that asks.
#![allow(dead_code, reason = "each suite that includes this file uses a part of it")]

use std::sync::OnceLock;

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use super::service::Service;

/// The server that all tests of this process share, or the one that `PILLOWTOP_TEST_POSTGRES` names.
pub(crate) fn server() -> &'static Service {
    static SHARED: OnceLock<Service> = OnceLock::new();
    SHARED.get_or_init(|| Service::shared("postgres"))
}

/// The address of a new, empty database of the shared server.
pub(crate) async fn database() -> String {
    // Starting a server blocks.
    let server = tokio::task::spawn_blocking(server).await.expect("a server");
    create_in(&server.address).await
}

/// The address of a new, empty database of the server at `address`.
pub(crate) async fn create_in(address: &str) -> String {
    let name = format!("t{}", uuid::Uuid::new_v4().simple());
    let mut connection = PgConnection::connect(address).await.expect("the server lets us in");
    sqlx::query(AssertSqlSafe(format!("create database {name}"))).execute(&mut connection).await.expect("a database");
    let (server, _) = address.rsplit_once('/').expect("an address with a database");
    format!("{server}/{name}")
}
