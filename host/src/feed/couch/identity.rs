//! Which database this is: an identity that goes with the database when it is deleted.

use std::sync::Arc;

use reqwest::{Method, StatusCode};
use serde::Deserialize;

use crate::feed::Error;
use crate::http::Server;
use crate::model::Outage;

/// The document that holds the identity.
const DOCUMENT: &str = "pillowtop";

#[derive(Deserialize)]
struct Identity {
    identity: String,
}

#[derive(Deserialize)]
struct Welcome {
    #[serde(default)]
    uuid: Option<String>,
}

/// The identity of a database; a database that has none gets one.
///
/// # Errors
/// When there is no such database, or the server does not answer or does not let us in.
pub(super) async fn of(server: &Server, database: &Arc<str>) -> Result<Arc<str>, Error> {
    let failed = |error: reqwest::Error| outage(server, database, error);
    let path = [database.as_ref(), "_local", DOCUMENT];
    // Several hosts may come to a database without identity at once: one of them writes it, all of them read it.
    for _ in 0..3 {
        let answer = server.request(Method::GET, &path, &[]).send().await.map_err(failed)?;
        match answer.status() {
            StatusCode::OK => {
                let text = answer.bytes().await.map_err(failed)?;
                let identity: Identity = serde_json::from_slice(&text).map_err(|error| {
                    Error::Refused(format!("_local/{DOCUMENT} of {}/{database} is not ours: {error}", server.place()))
                })?;
                return Ok(Arc::from(identity.identity));
            }
            StatusCode::NOT_FOUND => exists(server, database).await?,
            status => return Err(refused(server, database, status)),
        }
        let body = format!(r#"{{"identity":"{}"}}"#, uuid::Uuid::new_v4());
        let put = server.request(Method::PUT, &path, &[]).header("content-type", "application/json").body(body);
        match put.send().await.map_err(failed)?.status() {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => return of_server(server, database).await,
            status if status.is_success() || status == StatusCode::CONFLICT => {}
            status => return Err(refused(server, database, status)),
        }
    }
    let operation = format!("{}/{database} does not keep its identity", server.place());
    Err(Error::Outage(Outage { operation, source: None }))
}

async fn of_server(server: &Server, database: &Arc<str>) -> Result<Arc<str>, Error> {
    let failed = |error: reqwest::Error| outage(server, database, error);
    let answer = server.request(Method::GET, &[""], &[]).send().await.map_err(failed)?;
    let text = answer.bytes().await.map_err(failed)?;
    let welcome: Welcome = serde_json::from_slice(&text)
        .map_err(|error| Error::Refused(format!("{} is no CouchDB: {error}", server.place())))?;
    let server_id = welcome.uuid.as_deref().unwrap_or(server.place());
    Ok(Arc::from(format!("{server_id}/{database}")))
}

/// Whether the database is there.
pub(super) async fn exists(server: &Server, database: &Arc<str>) -> Result<(), Error> {
    let answer = server.request(Method::GET, &[database], &[]).send().await;
    match answer.map_err(|error| outage(server, database, error))?.status() {
        StatusCode::OK => Ok(()),
        status => Err(refused(server, database, status)),
    }
}

/// What an answer that is no success means.
pub(super) fn refused(server: &Server, database: &Arc<str>, status: StatusCode) -> Error {
    let place = server.place();
    match status {
        StatusCode::NOT_FOUND => Error::Refused(format!("{place} has no database {database}")),
        StatusCode::BAD_REQUEST => Error::Refused(format!(
            "{place} does not understand a request for {database}: see `filter` and `parameters`"
        )),
        // Rights can be given while we wait, and servers that are overloaded recover.
        status => Error::Outage(Outage { operation: format!("{place}/{database} answers {status}"), source: None }),
    }
}

/// A request that got no answer.
pub(super) fn outage(server: &Server, database: &Arc<str>, error: reqwest::Error) -> Error {
    Error::Outage(Outage::new(format!("{}/{database} does not answer", server.place()), error))
}
