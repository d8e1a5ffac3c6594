//! One call, step by step, each with its time. Nothing of it is repeated and no redirect is followed.

use std::{
    fmt::Display,
    future::Future,
    net::SocketAddr,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_util::task::AbortOnDropHandle;

use super::{
    ask::Ask,
    certificate::{Judge, describe},
};
use crate::{api::Lent, model::authority};

/// This host's resolver need not know anything.
const RESOLVING: Duration = Duration::from_secs(2);
const CONNECTING: Duration = Duration::from_secs(5);
/// For the answer's head, which waits for an upstream.
const ANSWERING: Duration = Duration::from_secs(20);
/// For the rest of it.
const READING: Duration = Duration::from_secs(5);
/// So much of an answer is read.
const MOST: usize = 64 * 1024;

/// A step of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::api::page) struct Step {
    pub(in crate::api::page) name: &'static str,
    pub(in crate::api::page) outcome: Outcome,
    /// A line each.
    pub(in crate::api::page) lines: Vec<String>,
    pub(in crate::api::page) took: Option<Duration>,
}

/// What a step came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::api::page) enum Outcome {
    Done,
    /// Something is to be known, and the call goes on.
    Odd,
    Failed,
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::api::page) struct Answer {
    pub(in crate::api::page) status: String,
    pub(in crate::api::page) head: String,
    pub(in crate::api::page) body: String,
    pub(in crate::api::page) size: usize,
    /// There was more.
    pub(in crate::api::page) is_cut: bool,
}

/// A call that is over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::api::page) struct Course {
    pub(in crate::api::page) steps: Vec<Step>,
    pub(in crate::api::page) answer: Option<Answer>,
}

/// Why there is no next step; it has been said.
struct Over;

impl Course {
    /// For the audit log.
    pub(super) fn outcome(&self) -> &str {
        match (&self.answer, self.steps.last()) {
            (Some(answer), _) => &answer.status,
            (None, Some(step)) => step.lines.first().map_or("no answer", String::as_str),
            (None, None) => "no answer",
        }
    }

    fn note(&mut self, name: &'static str, outcome: Outcome, lines: Vec<String>, took: Option<Duration>) {
        self.steps.push(Step { name, outcome, lines, took });
    }

    /// A step that may fail, within its limit.
    async fn step<T, E: Display>(
        &mut self,
        name: &'static str,
        limit: Duration,
        work: impl Future<Output = Result<T, E>>,
        lines: impl FnOnce(&T) -> Vec<String>,
    ) -> Result<T, Over> {
        let begun = Instant::now();
        let (outcome, lines, value) = match timeout(limit, work).await {
            Ok(Ok(value)) => (Outcome::Done, lines(&value), Ok(value)),
            Ok(Err(error)) => (Outcome::Failed, vec![error.to_string()], Err(Over)),
            Err(_) => (Outcome::Failed, vec![format!("nothing within {} s", limit.as_secs())], Err(Over)),
        };
        self.note(name, outcome, lines, Some(begun.elapsed()));
        value
    }
}

/// A call for which there is no way.
pub(super) async fn without_way(ask: &Ask, why: String) -> Course {
    let mut course = Course { steps: vec![resolve(ask).await], answer: None };
    course.note("Instance", Outcome::Failed, vec![why], None);
    course
}

/// Makes the call. It ends early where a step fails.
pub(super) async fn call(ask: &Ask, way: &Lent) -> Course {
    let mut course = Course::default();
    let lines = vec![format!("{}: {}", way.instance, way.why), way.how.clone()];
    course.note("Instance", Outcome::Done, lines, None);
    // Whoever fails has said why. Nothing waits for a resolver that does not answer.
    let (resolved, _) = tokio::join!(resolve(ask), converse(&mut course, ask, way));
    course.steps.insert(0, resolved);
    course
}

/// What this host's resolver says, which the call does not depend on.
async fn resolve(ask: &Ask) -> Step {
    let begun = Instant::now();
    let looked = timeout(RESOLVING, tokio::net::lookup_host((ask.name.as_str(), ask.at.port()))).await;
    let (outcome, line) = match looked {
        Ok(Ok(found)) => {
            let mut found: Vec<_> = found.map(|at| at.ip()).collect();
            found.dedup();
            let list = found.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            match found.contains(&ask.at.ip()) {
                true => (Outcome::Done, format!("{} is {list} for this host", ask.name)),
                false => {
                    (Outcome::Odd, format!("{} is {list} for this host, and not {}", ask.name, ask.at.ip()))
                }
            }
        }
        Ok(Err(error)) => (Outcome::Odd, format!("this host cannot resolve {}: {error}", ask.name)),
        Err(_) => (Outcome::Odd, format!("this host's resolver says nothing of {} within 2 s", ask.name)),
    };
    let lines = vec![line, format!("the call goes to {} all the same", ask.at.ip())];
    Step { name: "Resolve", outcome, lines, took: Some(begun.elapsed()) }
}

async fn converse(course: &mut Course, ask: &Ask, way: &Lent) -> Result<(), Over> {
    let connected = |(stream, _): &(TcpStream, _)| {
        let from = stream.local_addr().map_or_else(|_| "?".to_owned(), |at: SocketAddr| at.to_string());
        vec![format!("{from} to {}", ask.at)]
    };
    let connecting = way.target.connect(way.connections.as_ref());
    // The port is given back after the connection is closed: its last packet goes the way of the others.
    let (stream, _port) = course.step("TCP", CONNECTING, connecting, connected).await?;
    if ask.is_secure() {
        let stream = handshake(course, ask, stream).await?;
        exchange(course, ask, stream).await
    } else {
        exchange(course, ask, stream).await
    }
}

async fn handshake(course: &mut Course, ask: &Ask, stream: TcpStream) -> Result<TlsStream<TcpStream>, Over> {
    let judge = Judge::new();
    let shaking = async {
        let client = judge.client().map_err(|error| error.to_string())?;
        let name = ServerName::try_from(ask.name.clone()).map_err(|error| error.to_string())?;
        TlsConnector::from(client).connect(name, stream).await.map_err(|error| error.to_string())
    };
    let lines = |stream: &TlsStream<TcpStream>| {
        let connection = stream.get_ref().1;
        let version = connection.protocol_version().map(|version| format!("{version:?}"));
        let suite = connection.negotiated_cipher_suite().map(|suite| format!("{:?}", suite.suite()));
        let agreed = [Some(format!("SNI {}", ask.name)), version, suite];
        let mut lines = vec![agreed.into_iter().flatten().collect::<Vec<_>>().join(", ")];
        lines.extend(
            connection.peer_certificates().and_then(<[_]>::first).map(describe).into_iter().flatten(),
        );
        lines.extend(judge.verdict().map(|verdict| verdict.text));
        lines
    };
    let stream = course.step("TLS", CONNECTING, shaking, lines).await?;
    let is_odd = judge.verdict().is_none_or(|verdict| !verdict.is_trusted);
    if let (true, Some(step)) = (is_odd, course.steps.last_mut()) {
        step.outcome = Outcome::Odd;
    }
    Ok(stream)
}

async fn exchange<S>(course: &mut Course, ask: &Ask, stream: S) -> Result<(), Over>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let shaken = http1::Builder::new().max_buf_size(MOST).handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = match shaken {
        Ok(shaken) => shaken,
        Err(error) => {
            course.note("Request", Outcome::Failed, vec![error.to_string()], None);
            return Err(Over);
        }
    };
    let request = match request(ask) {
        Ok(request) => request,
        Err(error) => {
            course.note("Request", Outcome::Failed, vec![error.to_string()], None);
            return Err(Over);
        }
    };
    let line = format!("{} {} HTTP/1.1, Host: {}", ask.method, ask.path, ask.name);
    course.note("Request", Outcome::Done, vec![line, format!("{} bytes of a body", ask.body.len())], None);
    // Its error is the answer's too.
    let _connection =
        AbortOnDropHandle::new(tokio::spawn(async move { connection.await.unwrap_or_default() }));
    let status = |answer: &Response<Incoming>| vec![format!("{:?} {}", answer.version(), answer.status())];
    let answer = course.step("Answer", ANSWERING, sender.send_request(request), status).await?;
    let (head, body) = answer.into_parts();
    let begun = Instant::now();
    let (bytes, end) = read(body).await;
    let (outcome, line) = match &end {
        End::Whole => (Outcome::Done, format!("{} bytes", bytes.len())),
        End::Cut => (Outcome::Odd, format!("more than {} KiB; the rest was not read", MOST / 1024)),
        End::Broken(why) => (Outcome::Failed, format!("{why} after {} bytes", bytes.len())),
    };
    course.note("Body", outcome, vec![line], Some(begun.elapsed()));
    let fields = head
        .headers
        .iter()
        .map(|(name, value)| format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes())));
    course.answer = Some(Answer {
        status: head.status.to_string(),
        head: fields.collect(),
        body: String::from_utf8_lossy(&bytes).into_owned(),
        size: bytes.len(),
        is_cut: end != End::Whole,
    });
    Ok(())
}

/// How an answer's body ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Whole,
    Cut,
    Broken(String),
}

async fn read(mut body: Incoming) -> (Vec<u8>, End) {
    let mut bytes = Vec::new();
    let reading = async {
        loop {
            match body.frame().await {
                None => return End::Whole,
                Some(Err(error)) => return End::Broken(error.to_string()),
                Some(Ok(frame)) => {
                    let Ok(data) = frame.into_data() else { continue };
                    let room = MOST - bytes.len();
                    bytes.extend_from_slice(data.get(..room).unwrap_or(&data));
                    if data.len() > room {
                        return End::Cut;
                    }
                }
            }
        }
    };
    let end = timeout(READING, reading).await;
    let end = end.unwrap_or_else(|_| End::Broken(format!("no end within {} s", READING.as_secs())));
    (bytes, end)
}

fn request(ask: &Ask) -> Result<Request<Full<Bytes>>, http::Error> {
    let body = Full::new(Bytes::from(ask.body.clone()));
    let mut request = Request::builder().method(&ask.method).uri(ask.path.clone()).body(body)?;
    let host = authority(&ask.name, ask.at.port());
    *request.headers_mut() = ask.headers.clone();
    request.headers_mut().insert(header::HOST, HeaderValue::from_str(&host)?);
    request.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    Ok(request)
}
