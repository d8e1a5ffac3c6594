//! A connection to one of a cluster's upstreams, for bytes of which nothing is known.

use std::sync::Arc;

use tokio::net::TcpStream;

use super::{
    choose::Set,
    cluster::{Choice, Cluster, View},
    connect::Connector,
    exchange::Fault,
    kept::Pool,
    limit::Busy,
    peer::Flight,
};
use crate::proxy::message::Headers;

/// A connection that counts as in flight while this is there.
#[derive(Debug)]
pub struct Dialled<'c> {
    /// Itself.
    pub stream: TcpStream,
    cluster: View<'c>,
    choice: Choice,
    flight: Flight,
}

/// Connects to an upstream, and to the next one while they take no connection.
///
/// # Errors
/// The last one's.
pub async fn dial<'c>(
    cluster: &'c Cluster,
    pool: &Pool,
    connector: &Connector,
) -> Result<Dialled<'c>, Fault> {
    let cluster = cluster.now().await;
    let by = cluster.by(&Headers::new(), pool);
    let (mut tried, mut fault) = (Set::EMPTY, None);
    while let Some(choice) = cluster.choose(by, tried, pool) {
        let flight = cluster.enter(choice, pool).await.map_err(|Busy| Fault::Busy)?;
        match connector.dial(&cluster.peer(choice).server).await {
            Ok(stream) => return Ok(Dialled { stream, cluster, choice, flight }),
            Err(failed) => {
                cluster.note_failure(choice, pool);
                fault = Some(failed);
                tried = choice.added_to(tried);
            }
        }
    }
    Err(fault.unwrap_or(Fault::NoAddress))
}

impl Dialled<'_> {
    /// Whom it is with, for people.
    pub fn upstream(&self) -> Arc<str> {
        Arc::clone(self.flight.part().name())
    }

    /// The upstream has answered.
    pub fn answered(&self, pool: &Pool) {
        self.cluster.note_success(self.choice, pool);
    }

    /// It took the connection, and nothing came of it.
    pub fn failed(&self, pool: &Pool) {
        self.cluster.note_failure(self.choice, pool);
    }
}
