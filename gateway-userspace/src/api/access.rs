//! Who may ask what.
//!
//! | came by | may look | may change |
//! |---|---|---|
//! | Unix socket | yes: its file's mode guards it | yes |
//! | TCP, with a token of the file | yes | with role `write` |
//! | TCP, without one | only on a loopback address, and only where no tokens are configured | never |

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum::{
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::{
    call::Who,
    failures::Failures,
    handlers::Context,
    tokens::{self, Role},
    wire::{Failure, SCHEMA},
};

/// The largest body: a file with 4,000 instances has half a megabyte.
const BODY: usize = 2 * 1024 * 1024;
/// A body that takes longer is no operator's.
const BODY_PATIENCE: Duration = Duration::from_secs(10);

/// What a route asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Nothing.
    Open,
    /// To look.
    Read,
    /// To change.
    Write,
}

/// Where a request came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// The Unix socket, with the peer's user and process.
    Local { uid: u32, pid: Option<i32> },
    /// TCP.
    Remote { peer: SocketAddr, listener: SocketAddr },
}

impl Origin {
    /// Who asks through one of these proxies, which name their client and let none name another: so one who guesses tokens
    /// does not shut out everybody behind it.
    pub(super) fn behind(self, proxies: &[IpAddr], headers: &HeaderMap) -> Self {
        match self {
            Self::Remote { peer, listener } if proxies.contains(&peer.ip().to_canonical()) => {
                let client = headers.get("x-forwarded-for").and_then(|client| client.to_str().ok());
                let client = client.and_then(|client| client.parse::<IpAddr>().ok());
                let peer = client.map_or(peer, |client| SocketAddr::new(client, 0));
                Self::Remote { peer, listener }
            }
            other => other,
        }
    }
}

/// Whether a proxy of the service says that its client came over TLS.
pub(super) fn is_over_tls(origin: Origin, proxies: &[IpAddr], headers: &HeaderMap) -> bool {
    let Origin::Remote { peer, .. } = origin else { return false };
    let said = headers.get("x-forwarded-proto").is_some_and(|scheme| scheme == "https");
    said && proxies.contains(&peer.ip().to_canonical())
}

/// Knows the tokens' file, and who guesses.
#[derive(Debug, Default)]
pub(super) struct Guard {
    failures: Mutex<Failures>,
}

/// Why a request is not heard.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Denied {
    /// No token, where one is needed.
    Missing,
    /// A token that is none.
    Wrong,
    /// A token for looking only.
    Role,
    /// Too many wrong ones.
    TooMany,
    /// There are no tokens at all.
    NoTokens,
    /// The file cannot be used. What is wrong with it is for the log.
    File(String),
    /// A name that somebody else may have pointed here (DNS rebinding).
    Host,
}

impl Guard {
    /// Who asks. `tokens` is the file, where one is configured.
    pub(super) fn admit(
        &self,
        access: Access,
        origin: Origin,
        headers: &HeaderMap,
        tokens: Option<&PathBuf>,
        now: Instant,
    ) -> Result<Who, Denied> {
        let (peer, listener) = match origin {
            Origin::Local { uid, pid } => return Ok(Who::Local { uid, pid }),
            Origin::Remote { peer, listener } => (peer, listener),
        };
        let nameless = || Who::Token { name: "none".to_owned(), from: peer };
        if access == Access::Open {
            return Ok(nameless());
        }
        let Some(token) = bearer(headers) else {
            return match (tokens, access) {
                (Some(_), _) => Err(Denied::Missing),
                (None, Access::Read) if listener.ip().is_loopback() => match names_this_host(headers) {
                    true => Ok(nameless()),
                    false => Err(Denied::Host),
                },
                (None, _) => Err(Denied::NoTokens),
            };
        };
        let entry = self.recognize(token, peer.ip(), tokens, now)?;
        if access == Access::Write && entry.role != Role::Write {
            return Err(Denied::Role);
        }
        Ok(Who::Token { name: entry.name, from: peer })
    }

    /// Whose token it is; who guesses from `source` is not heard for a while.
    pub(super) fn recognize(
        &self,
        token: &str,
        source: IpAddr,
        tokens: Option<&PathBuf>,
        now: Instant,
    ) -> Result<tokens::Entry, Denied> {
        let Some(file) = tokens else { return Err(Denied::NoTokens) };
        if !self.failures().allows(source, now) {
            return Err(Denied::TooMany);
        }
        let entries = tokens::read(file).map_err(|error| Denied::File(error.to_string()))?;
        let Some(entry) = tokens::find(&entries, token) else {
            self.failures().failed(source, now);
            return Err(Denied::Wrong);
        };
        Ok(entry.clone())
    }

    fn failures(&self) -> std::sync::MutexGuard<'_, Failures> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// RFC 6750, 2.1.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// An address or `localhost`: a page from elsewhere cannot have a browser here send that.
fn names_this_host(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST).and_then(|host| host.to_str().ok()) else { return false };
    let name =
        host.rsplit_once(':').map_or(host, |(name, port)| if port.ends_with(']') { host } else { name });
    let name = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

/// Lets a request on with who asks, and its body whole: who may not ask sends none.
pub(super) async fn admit(
    State((context, access)): State<(Context, Access)>,
    request: Request,
    next: Next,
) -> Response {
    let Some(&origin) = request.extensions().get::<Origin>() else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let settings = context.settings.load();
    let origin = origin.behind(&settings.proxies, request.headers());
    let admitted =
        context.guard.admit(access, origin, request.headers(), settings.tokens.as_ref(), Instant::now());
    let who = match admitted {
        Ok(who) => who,
        Err(denied) => {
            if !matches!(denied, Denied::Missing) {
                log::warn!(
                    "{} {} from {origin}: {}",
                    request.method(),
                    request.uri().path(),
                    denied.reason()
                );
            }
            return denied.into_response();
        }
    };
    match whole(request, BODY).await {
        Ok(mut request) => {
            request.extensions_mut().insert(who);
            next.run(request).await
        }
        Err(refusal) => refusal,
    }
}

/// With its body whole, of so many bytes at most.
pub(super) async fn whole(request: Request, most: usize) -> Result<Request, Response> {
    let (parts, body) = request.into_parts();
    match tokio::time::timeout(BODY_PATIENCE, to_bytes(body, most)).await {
        Ok(Ok(body)) => Ok(Request::from_parts(parts, Body::from(body))),
        Ok(Err(_)) => {
            let error = format!("the body is larger than {} KiB, or was cut off", most / 1024);
            Err(failure(StatusCode::PAYLOAD_TOO_LARGE, &error))
        }
        Err(_) => Err(failure(StatusCode::REQUEST_TIMEOUT, "the body did not come within 10 s")),
    }
}

/// An answer that is an error.
pub(super) fn failure(status: StatusCode, error: &str) -> Response {
    let body = Failure { schema_version: SCHEMA, error: error.to_owned(), report: None };
    (status, axum::Json(body)).into_response()
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Local { uid, .. } => write!(f, "uid {uid}"),
            Self::Remote { peer, .. } => write!(f, "{}", peer.ip()),
        }
    }
}

impl Denied {
    /// For the log.
    pub(super) fn reason(&self) -> &str {
        match self {
            Self::Missing => "no token",
            Self::Wrong => "an unknown token",
            Self::Role => "a token that may not change anything",
            Self::TooMany => "too many unknown tokens before",
            Self::NoTokens => "there are no tokens (`balancer.tokens`)",
            Self::File(why) => why,
            Self::Host => "a Host that is neither an address nor localhost",
        }
    }
}

impl IntoResponse for Denied {
    fn into_response(self) -> Response {
        let (status, text) = match self {
            Self::Missing => (StatusCode::UNAUTHORIZED, "a token is needed: `Authorization: Bearer TOKEN`"),
            Self::Wrong => (StatusCode::UNAUTHORIZED, "this token is not known"),
            Self::Role => {
                (StatusCode::FORBIDDEN, "this token is for reading; a change needs one with role `write`")
            }
            Self::TooMany => (
                StatusCode::TOO_MANY_REQUESTS,
                "too many unknown tokens from this address; try again in a minute",
            ),
            Self::NoTokens => (
                StatusCode::FORBIDDEN,
                "this needs a token, and the balancer has none: name a file of them by `balancer.tokens` \
                 (`gateway token` makes them), or use the Unix socket on the balancer's host",
            ),
            Self::File(_) => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "the tokens' file cannot be used; the balancer's log says why",
            ),
            Self::Host => (
                StatusCode::FORBIDDEN,
                "without a token, ask by an IP address or `localhost`, not by another name",
            ),
        };
        let mut response = failure(status, text);
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    const PEER: &str = "127.0.0.1:40000";

    fn remote(listener: &str) -> Origin {
        Origin::Remote { peer: PEER.parse().unwrap(), listener: listener.parse().unwrap() }
    }

    fn headers(token: Option<&str>, host: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().unwrap());
        if let Some(token) = token {
            headers.insert(header::AUTHORIZATION, format!("Bearer {token}").parse().unwrap());
        }
        headers
    }

    struct Tokens {
        _folder: tempfile::TempDir,
        file: PathBuf,
        read: String,
        write: String,
    }

    fn tokens() -> Tokens {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tokens");
        let (read, first) = tokens::make("graphs", Role::Read).unwrap();
        let (write, second) = tokens::make("deploy", Role::Write).unwrap();
        fs::write(&file, format!("{first}\n{second}\n")).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        Tokens { _folder: folder, file, read, write }
    }

    fn ask(
        access: Access,
        origin: Origin,
        token: Option<&str>,
        file: Option<&PathBuf>,
    ) -> Result<Who, Denied> {
        Guard::default().admit(access, origin, &headers(token, "10.0.0.2:9180"), file, Instant::now())
    }

    #[test]
    fn nothing_is_changed_over_tcp_without_a_token_that_may() {
        let tokens = tokens();
        for listener in ["127.0.0.1:9180", "10.0.0.2:9180", "[::]:9180"] {
            let ask = |token, file| ask(Access::Write, remote(listener), token, file);
            let file = Some(&tokens.file);
            assert_eq!(ask(None, None), Err(Denied::NoTokens));
            assert_eq!(ask(Some(tokens.write.as_str()), None), Err(Denied::NoTokens));
            assert_eq!(ask(None, file), Err(Denied::Missing));
            assert_eq!(ask(Some("x"), file), Err(Denied::Wrong));
            assert_eq!(ask(Some(tokens.read.as_str()), file), Err(Denied::Role));
            let who = Who::Token { name: "deploy".into(), from: PEER.parse().unwrap() };
            assert_eq!(ask(Some(tokens.write.as_str()), file), Ok(who));
        }
    }

    #[test]
    fn nothing_is_read_over_tcp_without_a_token_but_on_loopback_where_there_are_none() {
        let tokens = tokens();
        for listener in ["127.0.0.1:9180", "10.0.0.2:9180", "0.0.0.0:9180"] {
            let ask = |token, file| ask(Access::Read, remote(listener), token, file);
            assert_eq!(ask(None, None).is_ok(), listener.starts_with("127."));
            assert_eq!(ask(None, Some(&tokens.file)), Err(Denied::Missing));
            assert!(ask(Some(tokens.read.as_str()), Some(&tokens.file)).is_ok());
            assert!(ask(Some(tokens.write.as_str()), Some(&tokens.file)).is_ok());
        }
        assert!(ask(Access::Open, remote("10.0.0.2:9180"), None, Some(&tokens.file)).is_ok());
    }

    #[test]
    fn the_unix_socket_needs_none() {
        let origin = Origin::Local { uid: 0, pid: Some(7) };
        assert_eq!(ask(Access::Write, origin, None, None), Ok(Who::Local { uid: 0, pid: Some(7) }));
    }

    #[test]
    fn a_token_is_gone_with_its_line_and_a_file_that_others_may_change_is_not_used() {
        let tokens = tokens();
        let ask = || ask(Access::Read, remote("10.0.0.2:9180"), Some(&tokens.read), Some(&tokens.file));
        assert!(ask().is_ok());
        fs::write(&tokens.file, "").unwrap();
        assert_eq!(ask(), Err(Denied::Wrong));
        fs::set_permissions(&tokens.file, fs::Permissions::from_mode(0o666)).unwrap();
        assert!(matches!(ask(), Err(Denied::File(_))));
    }

    #[test]
    fn who_guesses_is_not_heard_even_with_the_right_token() {
        let tokens = tokens();
        let guard = Guard::default();
        let (origin, now) = (remote("10.0.0.2:9180"), Instant::now());
        let ask =
            |token| guard.admit(Access::Read, origin, &headers(Some(token), "x"), Some(&tokens.file), now);
        for _ in 0..10 {
            assert_eq!(ask("guess"), Err(Denied::Wrong));
        }
        assert_eq!(ask(&tokens.read), Err(Denied::TooMany));
    }

    #[test]
    fn a_proxy_of_the_service_names_its_client_and_others_name_nobody() {
        let proxies = ["10.0.0.11".parse().unwrap()];
        let behind = |peer: &str, field: Option<&str>| {
            let peer = peer.parse().unwrap();
            let origin = Origin::Remote { peer, listener: "10.0.0.2:9180".parse().unwrap() };
            let mut headers = HeaderMap::new();
            if let Some(field) = field {
                headers.insert("x-forwarded-for", field.parse().unwrap());
            }
            origin.behind(&proxies, &headers).to_string()
        };
        for (peer, field, expected) in [
            ("10.0.0.11:4000", Some("192.0.2.1"), "192.0.2.1"),
            ("[::ffff:10.0.0.11]:4000", Some("192.0.2.1"), "192.0.2.1"),
            ("10.0.0.11:4000", Some("192.0.2.1, 192.0.2.2"), "10.0.0.11"),
            ("10.0.0.11:4000", None, "10.0.0.11"),
            ("10.0.0.12:4000", Some("192.0.2.1"), "10.0.0.12"),
        ] {
            assert_eq!(behind(peer, field), expected, "{peer} {field:?}");
        }
    }

    #[test]
    fn a_foreign_name_that_leads_here_is_no_way_in() {
        for (host, good) in [
            ("127.0.0.1:9180", true),
            ("127.0.0.1", true),
            ("[::1]:9180", true),
            ("[::1]", true),
            ("localhost:9180", true),
            ("LOCALHOST", true),
            ("evil.example:9180", false),
            ("127.0.0.1.evil.example", false),
        ] {
            assert_eq!(names_this_host(&headers(None, host)), good, "{host}");
        }
    }
}
