//! `[proxy]` as written.

use std::net::SocketAddr;

use ipnet::IpNet;

use super::ProxyLimits;
use crate::{
    config::{
        fault::Span,
        read::{Key, List, Reader},
        value,
    },
    model::{AccessLogFormat, NoSni, PlainHttp},
};

/// `[proxy]`
#[derive(Debug)]
pub(in crate::config) struct Proxy {
    /// R40
    pub(in crate::config) no_sni: Key<NoSni>,
    /// R13
    pub(in crate::config) http: Key<PlainHttp>,
    /// Who tells of clients.
    pub(in crate::config) proxy_protocol_from: Key<List<IpNet>>,
    /// What clients may have and send.
    pub(in crate::config) limits: ProxyLimits,
    /// Who knows the addresses of names.
    pub(in crate::config) resolver: Key<List<SocketAddr>>,
    /// A path.
    pub(in crate::config) ticket_secret: Key<String>,
    /// None where the table is not written.
    pub(in crate::config) access_log: Option<AccessLog>,
    /// Prometheus.
    pub(in crate::config) metrics_sources: Key<List<IpNet>>,
}

impl Proxy {
    pub(super) fn read(mut table: Reader<'_, '_, '_>) -> Self {
        let http = [PlainHttp::Redirect, PlainHttp::Serve, PlainHttp::Off].map(|one| (one.as_str(), one));
        let answers = [("reject", NoSni::Reject), ("default-certificate", NoSni::DefaultCertificate)];
        Self {
            no_sni: table.word("no_sni", &answers),
            http: table.word("http", &http),
            proxy_protocol_from: table.texts("proxy_protocol_from", value::prefix),
            limits: ProxyLimits::read(table.inner("limits")),
            resolver: table.texts("resolver", value::name_server),
            ticket_secret: table.text("ticket_secret", value::file_path),
            access_log: table.has("access_log").then(|| AccessLog::read(table.inner("access_log"))),
            metrics_sources: table.texts("metrics_sources", value::prefix),
        }
    }
}

/// `[proxy.access_log]`
#[derive(Debug)]
pub(in crate::config) struct AccessLog {
    /// The table.
    pub(in crate::config) at: Span,
    /// The file.
    pub(in crate::config) path: Key<String>,
    /// Of a line.
    pub(in crate::config) format: Key<AccessLogFormat>,
    /// Whether it has query strings.
    pub(in crate::config) query: Key<bool>,
}

impl AccessLog {
    fn read(mut table: Reader<'_, '_, '_>) -> Self {
        let formats = [("json", AccessLogFormat::Json), ("combined", AccessLogFormat::Combined)];
        Self {
            at: table.at(),
            path: table.text("path", value::file_path),
            format: table.word("format", &formats),
            query: table.switch("query"),
        }
    }
}
