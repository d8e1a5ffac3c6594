//! An upstream as the file has it.

use std::{fmt, net::SocketAddr, path::PathBuf, sync::Arc};

use super::{CertificateFiles, UpstreamScheme};

/// `http://10.0.1.20:8080`, `https://orders.internal:443`
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Upstream {
    /// http, https, h2c or h2; tcp for what is passed through.
    pub scheme: UpstreamScheme,
    /// Where to connect.
    pub address: UpstreamAddress,
    /// What is said of its TLS, if anything is.
    pub tls: Option<Arc<UpstreamTls>>,
}

/// Where an upstream is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum UpstreamAddress {
    /// There.
    Ip(SocketAddr),
    /// At each address that the DNS has for it.
    Name {
        /// Lower case, no trailing dot.
        host: String,
        /// At all of them.
        port: u16,
    },
}

/// How TLS is spoken to an upstream, where it is not as the system has it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct UpstreamTls {
    /// Who may have issued its certificate, in place of those that the system trusts.
    pub ca: Option<PathBuf>,
    /// What is asked for (SNI) and what its certificate has to name, in place of the upstream's own name or address.
    pub server_name: Option<String>,
    /// What it is shown.
    pub certificate: Option<CertificateFiles>,
}

impl Upstream {
    /// At an address, with nothing said of its TLS.
    pub fn at(scheme: UpstreamScheme, address: SocketAddr) -> Self {
        Self { scheme, address: UpstreamAddress::Ip(address), tls: None }
    }

    /// Its name, if that is what it is known by.
    pub fn host(&self) -> Option<&str> {
        match &self.address {
            UpstreamAddress::Ip(_) => None,
            UpstreamAddress::Name { host, .. } => Some(host),
        }
    }

    /// What its certificate has to name; None: its address.
    pub fn tls_name(&self) -> Option<&str> {
        self.tls.as_ref().and_then(|tls| tls.server_name.as_deref()).or(self.host())
    }
}

impl fmt::Display for Upstream {
    /// As written in the file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.as_str(), self.address)
    }
}

impl fmt::Display for UpstreamAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => write!(f, "{address}"),
            Self::Name { host, port } => write!(f, "{host}:{port}"),
        }
    }
}

impl fmt::Display for UpstreamTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(ca) = &self.ca {
            write!(f, " trusted by {}", ca.display())?;
        }
        if let Some(name) = &self.server_name {
            write!(f, " as {name}")?;
        }
        match &self.certificate {
            Some(files) => write!(f, " shown {}, {}", files.chain.display(), files.key.display()),
            None => Ok(()),
        }
    }
}
