//! TLS to upstreams, by what the file says of each.

use std::{collections::HashMap, io, sync::Arc};

use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::server::Server;
use crate::{
    model::{Upstream, UpstreamTls},
    trust::{TrustError, client_config},
};

/// A client's side of TLS for each way in which the file has it. Sessions are resumed within one of them.
#[derive(Debug, Clone, Default)]
pub struct TlsConfigs(HashMap<Option<Arc<UpstreamTls>>, Arc<ClientConfig>>);

impl TlsConfigs {
    /// Reads what these upstreams need.
    ///
    /// # Errors
    /// A file cannot be used.
    pub fn load<'u>(upstreams: impl IntoIterator<Item = &'u Upstream>) -> Result<Self, TrustError> {
        let mut configs = HashMap::new();
        for upstream in upstreams.into_iter().filter(|upstream| upstream.scheme.is_tls()) {
            if !configs.contains_key(&upstream.tls) {
                configs.insert(upstream.tls.clone(), client_config(upstream.tls.as_deref())?);
            }
        }
        Ok(Self(configs))
    }

    /// With this one in place of what the system has.
    #[must_use]
    pub fn with_system(mut self, config: Arc<ClientConfig>) -> Self {
        self.0.insert(None, config);
        self
    }

    /// Speaks TLS, and verifies who answers. `alpn`: the protocols that are offered, if any are.
    pub(super) async fn connect(
        &self,
        server: &Server,
        stream: TcpStream,
        alpn: Option<Vec<Vec<u8>>>,
    ) -> io::Result<TlsStream<TcpStream>> {
        let config = self.0.get(&server.upstream.tls).cloned();
        let config =
            config.ok_or_else(|| io::Error::other("no trusted certificate authorities were loaded"))?;
        let name = match server.upstream.tls_name() {
            Some(name) => ServerName::try_from(name.to_owned()).map_err(io::Error::other)?,
            None => ServerName::IpAddress(server.address.ip().into()),
        };
        let connector = TlsConnector::from(config);
        match alpn {
            Some(alpn) => connector.with_alpn(alpn).connect(name, stream).await,
            None => connector.connect(name, stream).await,
        }
    }
}
