//! Asks the DNS.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use hickory_resolver::{
    TokioResolver,
    config::{ConnectionConfig, NameServerConfig, ResolverConfig},
    lookup::Lookup,
    net::{NetError, runtime::TokioRuntimeProvider},
    proto::rr::RData,
};
use tokio::time::timeout;

use super::known::Answer;

/// For one server to answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// For all of it: other servers, search domains, TCP.
const AT_MOST: Duration = Duration::from_secs(8);

/// Asks the servers of a configuration, or those of the system.
pub(super) struct Resolver(Result<TokioResolver, String>);

impl Resolver {
    /// Of these servers. Where there are none it goes by `/etc/resolv.conf`, and reads it now.
    pub(super) fn new(servers: &[SocketAddr]) -> Self {
        let builder = match servers {
            [] => TokioResolver::builder_tokio(),
            _ => {
                let config = ResolverConfig::from_name_servers(servers.iter().map(server).collect());
                Ok(TokioResolver::builder_with_config(config, TokioRuntimeProvider::default()))
            }
        };
        let resolver = builder.and_then(|mut builder| {
            let options = builder.options_mut();
            // Each name is asked for when its time has come, by one for all.
            options.cache_size = 0;
            options.timeout = options.timeout.min(PATIENCE);
            builder.build()
        });
        Self(resolver.map_err(|error| match servers {
            [] => format!("/etc/resolv.conf cannot be used: {error}"),
            _ => error.to_string(),
        }))
    }

    /// What it says of a name's IPv4 and IPv6 addresses.
    pub(super) async fn ask(&self, host: &str) -> (Answer, Answer) {
        match &self.0 {
            Ok(resolver) => {
                tokio::join!(answer(resolver.ipv4_lookup(host)), answer(resolver.ipv6_lookup(host)))
            }
            Err(why) => (Answer::Failed(why.clone()), Answer::Failed(why.clone())),
        }
    }
}

/// By UDP, and by TCP for what does not fit.
fn server(address: &SocketAddr) -> NameServerConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
        connection.port = address.port();
        connection
    });
    NameServerConfig::new(address.ip(), true, connections.into())
}

async fn answer(lookup: impl Future<Output = Result<Lookup, NetError>>) -> Answer {
    match timeout(AT_MOST, lookup).await {
        Ok(Ok(lookup)) => {
            let lifetime = lookup.answers().iter().map(|record| record.ttl).min().unwrap_or_default();
            let addresses = lookup.answers().iter().filter_map(|record| match &record.data {
                RData::A(address) => Some(IpAddr::V4(address.0)),
                RData::AAAA(address) => Some(IpAddr::V6(address.0)),
                _ => None,
            });
            Answer::Addresses(addresses.collect(), Duration::from_secs(lifetime.into()))
        }
        Ok(Err(error)) if error.is_no_records_found() => Answer::Nothing,
        Ok(Err(error)) => Answer::Failed(error.to_string()),
        Err(_) => Answer::Failed("no answer in time".to_owned()),
    }
}
