//! `[[endpoint]] routes` as written.

use std::time::Duration;

use http::{HeaderName, HeaderValue};
use toml::Spanned;

use super::Certificate;
use crate::{
    config::{
        fault::Span,
        read::{Key, List, Reader},
        value::{self, Parsed, field},
    },
    model::{Balance, StatusCodes, Upstream},
};

/// `routes = [{ … }]`
#[derive(Debug)]
pub(in crate::config) struct Route {
    /// The table.
    pub at: Span,
    /// R71
    pub path: Key<String>,
    /// Where to.
    pub upstream: Key<List<Upstream>>,
    /// For people.
    pub location: Key<String>,
    /// R72
    pub priority: Key<u16>,
    /// None where the table is not written.
    pub health: Option<Health>,
    /// None where the table is not written.
    pub limits: Option<UpstreamLimits>,
    /// Of the path.
    pub balance: Key<Balance>,
    /// None where the table is not written.
    pub tls: Option<UpstreamTls>,
    /// Of the path.
    pub strip_prefix: Key<bool>,
    /// Of the path.
    pub max_body: Key<u64>,
    /// Of the path. None where the table is not written.
    pub request_headers: Option<Fields>,
    /// Of the path. None where the table is not written.
    pub response_headers: Option<Fields>,
    /// In place of upstreams. None where the table is not written.
    pub redirect: Option<Redirect>,
}

impl Route {
    pub(super) fn read(mut table: Reader<'_, '_, '_>) -> Self {
        let requests = |table| Fields::read(table, field::set_in_requests, field::removed);
        let answers = |table| Fields::read(table, field::set_in_answers, field::removed);
        Self {
            at: table.at(),
            path: table.text("path", value::route_path),
            upstream: table.texts("upstream", value::upstream),
            location: table.text("location", value::text),
            priority: table.whole("priority"),
            health: table.has("health").then(|| Health::read(table.inner("health"))),
            limits: table.has("limits").then(|| UpstreamLimits::read(table.inner("limits"))),
            balance: table.text("balance", value::balance),
            tls: table.has("tls").then(|| UpstreamTls::read(table.inner("tls"))),
            strip_prefix: table.switch("strip_prefix"),
            max_body: table.text("max_body", value::size),
            request_headers: table.has("request_headers").then(|| requests(table.inner("request_headers"))),
            response_headers: table.has("response_headers").then(|| answers(table.inner("response_headers"))),
            redirect: table.has("redirect").then(|| Redirect::read(table.inner("redirect"))),
        }
    }
}

/// `limits = { … }`
#[derive(Debug)]
pub(in crate::config) struct UpstreamLimits {
    /// The table.
    pub at: Span,
    /// In flight.
    pub requests: Key<u16>,
    /// Of HTTP/1.1.
    pub connections: Key<u16>,
    /// Waiting.
    pub pending: Key<u16>,
    /// For how long.
    pub wait: Key<Duration>,
}

impl UpstreamLimits {
    fn read(mut table: Reader<'_, '_, '_>) -> Self {
        Self {
            at: table.at(),
            requests: table.whole("requests"),
            connections: table.whole("connections"),
            pending: table.whole("pending"),
            wait: table.duration("wait"),
        }
    }
}

/// `tls = { … }`
#[derive(Debug)]
pub(in crate::config) struct UpstreamTls {
    /// The table.
    pub at: Span,
    /// A path.
    pub ca: Key<String>,
    /// SNI, and what is verified.
    pub server_name: Key<String>,
    /// What upstreams are shown. None where the table is not written.
    pub certificate: Option<Certificate>,
}

impl UpstreamTls {
    fn read(mut table: Reader<'_, '_, '_>) -> Self {
        Self {
            at: table.at(),
            ca: table.text("ca", value::file_path),
            server_name: table.text("server_name", value::host_name),
            certificate: table.has("certificate").then(|| Certificate::read(table.inner("certificate"))),
        }
    }
}

/// `health = { … }`
#[derive(Debug)]
pub(in crate::config) struct Health {
    /// The table.
    pub at: Span,
    /// What is asked for.
    pub path: Key<String>,
    /// `Host` and SNI.
    pub host: Key<String>,
    /// Good answers.
    pub status: Key<StatusCodes>,
    /// From one to the next.
    pub interval: Key<Duration>,
    /// For an answer.
    pub timeout: Key<Duration>,
    /// Good answers in a row.
    pub rise: Key<u16>,
    /// Bad ones.
    pub fall: Key<u16>,
}

impl Health {
    fn read(mut table: Reader<'_, '_, '_>) -> Self {
        Self {
            at: table.at(),
            path: table.text("path", value::probe_path),
            host: table.text("host", value::host_name),
            status: table.text("status", value::status_codes),
            interval: table.duration("interval"),
            timeout: table.duration("timeout"),
            rise: table.whole("rise"),
            fall: table.whole("fall"),
        }
    }
}

/// `redirect = { … }`
#[derive(Debug)]
pub(in crate::config) struct Redirect {
    /// The table.
    pub at: Span,
    /// A URL.
    pub to: Key<String>,
    /// Of the answer.
    pub status: Key<u16>,
    /// Whether what is below the path follows.
    pub append: Key<bool>,
}

impl Redirect {
    fn read(mut table: Reader<'_, '_, '_>) -> Self {
        Self {
            at: table.at(),
            to: table.text("to", value::redirect_target),
            status: table.whole("status"),
            append: table.switch("append"),
        }
    }
}

/// `request_headers = { … }`
#[derive(Debug)]
pub(in crate::config) struct Fields {
    /// The table.
    pub at: Span,
    /// Name and value.
    pub set: Key<Vec<(Spanned<HeaderName>, Spanned<HeaderValue>)>>,
    /// Names.
    pub remove: Key<List<HeaderName>>,
}

impl Fields {
    fn read(
        mut table: Reader<'_, '_, '_>,
        set: fn(&str) -> Parsed<HeaderName>,
        removed: fn(&str) -> Parsed<HeaderName>,
    ) -> Self {
        Self {
            at: table.at(),
            set: table.pairs("set", set, field::value),
            remove: table.texts("remove", removed),
        }
    }
}
