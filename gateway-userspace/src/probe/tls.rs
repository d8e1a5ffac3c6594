//! TLS of a probe.

use std::{net::SocketAddr, sync::Arc};

use rustls::{ClientConfig, client::Resumption};
use rustls_pki_types::ServerName;

use super::{failure::Failure, http2};
use crate::{
    model::{Probe, ProbeVersion, UpstreamTls},
    trust,
};

/// The client's side of a probe's TLS: each handshake is a whole one.
pub(super) fn config(probe: &Probe) -> Result<Arc<ClientConfig>, Failure> {
    if probe.verify {
        return config_for(None, probe.version);
    }
    let config = trust::without_verifying(|_| {}).map_err(|error| Failure::Own(error.to_string()))?;
    Ok(for_probes(config, probe.version))
}

/// The same for an upstream, by what is said of its TLS.
pub(super) fn config_for(
    tls: Option<&UpstreamTls>,
    version: ProbeVersion,
) -> Result<Arc<ClientConfig>, Failure> {
    let config = trust::client_config(tls).map_err(|error| Failure::Own(error.to_string()))?;
    Ok(for_probes(ClientConfig::clone(&config), version))
}

fn for_probes(mut config: ClientConfig, version: ProbeVersion) -> Arc<ClientConfig> {
    config.resumption = Resumption::disabled();
    config.alpn_protocols = match version {
        ProbeVersion::Http11 => vec![b"http/1.1".to_vec()],
        ProbeVersion::Http2 => vec![http2::ALPN.to_vec()],
    };
    Arc::new(config)
}

/// The name asked for: without a host the address, which is never sent (RFC 6066, 3).
pub(super) fn name(host: Option<&str>, address: SocketAddr) -> Result<ServerName<'static>, Failure> {
    match host {
        None => Ok(ServerName::IpAddress(address.ip().into())),
        Some(host) => ServerName::try_from(host.to_owned()).map_err(|error| Failure::Own(error.to_string())),
    }
}
