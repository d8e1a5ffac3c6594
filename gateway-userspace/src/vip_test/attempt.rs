//! One connection, as a client makes it: TCP, TLS with the name, a request, an answer's status.

use std::{
    error::Error,
    future::Future,
    io,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use axum::body::Body;
use hyper::{Request, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, client::Resumption};
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;
use tokio_util::task::AbortOnDropHandle;

use super::{
    report::{Check, State},
    targets::{Expects, Target},
};
use crate::model::authority;

const USER_AGENT: &str = concat!("gateway-test/", env!("CARGO_PKG_VERSION"));
const DAY: u64 = 24 * 3_600;

/// Makes connections.
pub(super) struct Attempts {
    tls: TlsConnector,
    path: String,
    patience: Duration,
}

impl Attempts {
    pub(super) fn new(tls: &ClientConfig, path: String, patience: Duration) -> Self {
        let mut tls = tls.clone();
        // Each handshake is a whole one, and each connection speaks what is spoken everywhere.
        tls.resumption = Resumption::disabled();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        Self { tls: TlsConnector::from(Arc::new(tls)), path, patience }
    }

    /// Makes one, and tells what came of it.
    pub(super) async fn of(&self, target: Target) -> Check {
        let mut check = Check::of(&target);
        if let Err((state, why)) = self.attempt(&target, &mut check).await {
            check.state = state;
            check.detail = Some(why);
        }
        check
    }

    async fn attempt(&self, target: &Target, check: &mut Check) -> Result<(), (State, String)> {
        let began = Instant::now();
        let tcp = self.step("no connection", TcpStream::connect(target.at)).await;
        let tcp = tcp.map_err(|(why, refused)| match refused {
            true => (State::Refused, why),
            false => (State::Failed, why),
        })?;
        check.connect_ms = Some(milliseconds(began));
        if matches!(target.expects, Expects::Plain | Expects::Redirect) {
            return self.request(tcp, target, check).await;
        }
        let name =
            ServerName::try_from(target.host.clone()).map_err(|error| (State::Failed, error.to_string()))?;
        let began = Instant::now();
        let tls = self
            .step("no TLS", self.tls.connect(name, tcp))
            .await
            .map_err(|(why, _)| (State::Failed, why))?;
        check.tls_ms = Some(milliseconds(began));
        let leaf = tls.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        check.certificate_days = leaf.and_then(days_left);
        match target.expects {
            Expects::Handshake => {
                check.detail = Some("TLS ends at the upstream; nothing is asked there".to_owned());
                Ok(())
            }
            Expects::ClientCertificate => {
                check.detail =
                    Some("clients have to show a certificate here, so nothing is asked".to_owned());
                Ok(())
            }
            _ => self.request(tls, target, check).await,
        }
    }

    async fn request(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        target: &Target,
        check: &mut Check,
    ) -> Result<(), (State, String)> {
        let began = Instant::now();
        let failed = |(why, _)| (State::Failed, why);
        let (mut sender, connection) =
            self.step("no HTTP", http1::handshake(TokioIo::new(stream))).await.map_err(failed)?;
        let request = Request::get(self.path.as_str())
            .header(header::HOST, authority(&target.host, target.at.port()))
            .header(header::USER_AGENT, USER_AGENT)
            .header(header::CONNECTION, "close")
            .body(Body::empty())
            .map_err(|error| (State::Failed, format!("{} cannot be asked for: {error}", self.path)))?;
        let _connection = AbortOnDropHandle::new(tokio::spawn(connection));
        let response = self.step("no answer", sender.send_request(request)).await.map_err(failed)?;
        check.answer_ms = Some(milliseconds(began));
        let status = response.status().as_u16();
        check.status = Some(status);
        match (target.expects, status) {
            (Expects::Redirect, 300..=399) => Ok(()),
            (Expects::Redirect, _) => Err((State::Failed, "a redirect to https was expected".to_owned())),
            (_, 421) => Err((
                State::Failed,
                "the instance that answered does not serve this name: has it the same file?".to_owned(),
            )),
            (_, 502..=504) => {
                Err((State::Failed, "the proxy answers, and its upstream does not: is it on?".to_owned()))
            }
            _ => Ok(()),
        }
    }

    /// What it was that did not come about, and whether it was refused.
    async fn step<T, E: Error + 'static>(
        &self,
        what: &str,
        step: impl Future<Output = Result<T, E>>,
    ) -> Result<T, (String, bool)> {
        match timeout(self.patience, step).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(error)) => Err((format!("{what}: {}", chain(&error)), is_refused(&error))),
            Err(_) => Err((format!("{what} within {}", humantime::format_duration(self.patience)), false)),
        }
    }
}

/// With its causes, each said once.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let said = cause.to_string();
        if !text.contains(&said) {
            text += &format!(": {said}");
        }
        next = cause.source();
    }
    text
}

fn is_refused(error: &(dyn Error + 'static)) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

fn milliseconds(since: Instant) -> f64 {
    (since.elapsed().as_secs_f64() * 10_000.0).round() / 10.0
}

/// Whole days; the name and that it is valid now have been verified.
fn days_left(leaf: &CertificateDer<'_>) -> Option<u64> {
    let (_, leaf) = x509_parser::parse_x509_certificate(leaf).ok()?;
    let end = u64::try_from(leaf.validity().not_after.timestamp()).ok()?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs();
    Some(end.saturating_sub(now) / DAY)
}
