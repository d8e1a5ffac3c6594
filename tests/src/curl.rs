//! Requests by real curl.

use std::{
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context;
use serde::Deserialize;

use crate::{host::Host, lab::Lab, process::Output, service::Seen};

/// One request, or several alike: a builder over curl's command line.
#[derive(Debug, Clone)]
pub struct Curl {
    url: String,
    resolve: Option<String>,
    root: PathBuf,
    options: Vec<String>,
}

/// What curl got.
#[derive(Debug, Clone)]
pub struct Answer {
    /// HTTP status; 0 where there was no answer.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
    /// curl's own exit code: 0, 28 for a timeout, 35 for a refused TLS handshake, 52 for an empty answer.
    pub exit: i32,
    /// Status line and headers as they came, if any.
    pub head: String,
    /// What curl said about a failure.
    pub error: String,
    /// Connections that were made for it.
    pub connections: u32,
    /// Where it connected from; 0 where it did not.
    pub local_port: u16,
}

/// Of curl's `%{json}`.
#[derive(Debug, Deserialize)]
struct Written {
    http_code: u16,
    num_connects: u32,
    local_port: u16,
}

impl Curl {
    /// `scheme://host:port/path`, at `address` whatever the name resolves to.
    pub fn new(lab: &Lab, scheme: &str, host: &str, at: SocketAddr, path: &str) -> Self {
        let address = match at.ip() {
            IpAddr::V4(v4) => v4.to_string(),
            IpAddr::V6(v6) => format!("[{v6}]"),
        };
        let port = at.port();
        Self {
            url: format!("{scheme}://{host}:{port}{path}"),
            resolve: Some(format!("{host}:{port}:{address}")),
            root: lab.authority.root(),
            options: Vec::new(),
        }
    }

    /// `https://host/path` at a VIP.
    pub fn https(lab: &Lab, host: &str, vip: impl Into<IpAddr>, path: &str) -> Self {
        Self::new(lab, "https", host, SocketAddr::new(vip.into(), 443), path)
    }

    /// To a URL as it stands.
    pub fn url(lab: &Lab, url: &str) -> Self {
        Self { url: url.to_owned(), resolve: None, root: lab.authority.root(), options: Vec::new() }
    }

    /// Adds options of curl's.
    #[must_use]
    pub fn with<S: Into<String>>(mut self, options: impl IntoIterator<Item = S>) -> Self {
        self.options.extend(options.into_iter().map(Into::into));
        self
    }

    /// The command line, for tests that run it in their own way and for people who want to repeat it.
    pub fn command(&self) -> Command {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--noproxy", "*", "--max-time", "20", "--cacert"])
            .arg(&self.root);
        if let Some(resolve) = &self.resolve {
            curl.args(["--resolve", resolve]);
        }
        curl.args(&self.options).arg(&self.url);
        curl
    }

    /// Sends it from a host.
    ///
    /// # Errors
    /// curl is not there. A failed request is an [`Answer`] too.
    pub fn send(&self, from: &Host) -> anyhow::Result<Answer> {
        let head = tempfile::NamedTempFile::new()?;
        let mut curl = self.command();
        curl.arg("--dump-header").arg(head.path()).args(["--write-out", "%{stderr}\n%{json}"]);
        let output = from.run_command(curl)?;
        answer(output, head.path())
    }
}

fn answer(output: Output, head: &Path) -> anyhow::Result<Answer> {
    let (error, json) = output.stderr.rsplit_once('\n').context("curl wrote no summary")?;
    let written: Written = serde_json::from_str(json).with_context(|| format!("curl's summary: {json}"))?;
    Ok(Answer {
        status: written.http_code,
        body: output.stdout,
        exit: output.status.code().unwrap_or(-1),
        head: String::from_utf8_lossy(&std::fs::read(head)?).into_owned(),
        error: error.trim().to_owned(),
        connections: written.num_connects,
        local_port: written.local_port,
    })
}

impl Answer {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// What a service of the lab said that it saw.
    ///
    /// # Errors
    /// The answer is no service's.
    pub fn seen(&self) -> anyhow::Result<Seen> {
        serde_json::from_slice(&self.body)
            .with_context(|| format!("no service of the lab answered this: {self:?}"))
    }

    /// The first value of a header, by its name in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let fields = self.head.lines().filter_map(|line| line.split_once(':'));
        fields.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).next()
    }
}
