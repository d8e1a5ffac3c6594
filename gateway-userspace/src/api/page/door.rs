//! Who may look and who may change: logging in and out, sessions, and where forms come from.
//!
//! A change has to come from a page of ours, by three signs: the cookie, which a browser sends with no request from elsewhere
//! (SameSite=Strict); what it says of the request's origin; and the session's secret in the form.

use std::time::Instant;

use axum::{
    Extension, Form,
    extract::{FromRequestParts, State},
    http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts},
    response::{IntoResponse, Redirect, Response},
};
use serde::Deserialize;

use super::{
    document, message,
    session::{LONGEST, Seen},
    view,
};
use crate::api::{
    access::{Access, Denied, Origin, is_over_tls},
    call::Who,
    handlers::Context,
    tokens::{self, Role},
};

/// Over TLS: a browser takes it from nobody but this very host.
const SECURE_COOKIE: &str = "__Host-gateway";
const PLAIN_COOKIE: &str = "gateway";

/// Somebody who may look.
#[derive(Debug)]
pub(super) struct Viewer {
    /// For people.
    pub(super) name: String,
    pub(super) role: Role,
    /// Who came in without logging in has none, and changes nothing.
    pub(super) session: Option<Session>,
    pub(super) who: Who,
}

/// A session that is going on.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) id: String,
    pub(super) seen: Seen,
}

impl Viewer {
    /// Whether pages offer changes.
    pub(super) fn may_change(&self) -> bool {
        self.session.is_some() && self.role == Role::Write
    }

    /// What a form has to have.
    pub(super) fn csrf(&self) -> Option<&str> {
        self.session.as_ref().map(|session| session.seen.csrf.as_str())
    }

    /// The session, if this form is one of its own.
    pub(super) fn own_form(&self, headers: &HeaderMap, csrf: &str) -> Result<&Session, Unwelcome> {
        let Some(session) = &self.session else { return Err(Unwelcome::Nobody) };
        match is_from_here(headers) && session.seen.is_known(csrf) {
            true => Ok(session),
            false => {
                log::warn!("a form from {}: not of a page of its session", self.who);
                Err(Unwelcome::Foreign)
            }
        }
    }

    /// The same, if it may change something.
    pub(super) fn own_change(&self, headers: &HeaderMap, csrf: &str) -> Result<&Session, Unwelcome> {
        let session = self.own_form(headers, csrf)?;
        match self.role {
            Role::Write => Ok(session),
            Role::Read => {
                log::warn!("a change from {}: a token that may not change anything", self.who);
                Err(Unwelcome::Looker)
            }
        }
    }
}

/// Why what a form asks for is not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unwelcome {
    #[error("Log in with a token first.")]
    Nobody,
    #[error("This form is not from a page of this session. Go back, load the page again, and try once more.")]
    Foreign,
    #[error("This token is for looking; a change needs one with role `write`.")]
    Looker,
}

impl IntoResponse for Unwelcome {
    fn into_response(self) -> Response {
        message(StatusCode::FORBIDDEN, &self.to_string())
    }
}

/// By its session, or as whoever asks the API.
impl FromRequestParts<Context> for Viewer {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, context: &Context) -> Result<Self, Response> {
        let Some(&origin) = parts.extensions.get::<Origin>() else {
            return Err(StatusCode::INTERNAL_SERVER_ERROR.into_response());
        };
        let settings = context.settings.load();
        let (headers, now) = (&parts.headers, Instant::now());
        let over_tls = is_over_tls(origin, &settings.proxies, headers);
        let origin = origin.behind(&settings.proxies, headers);
        if let (Some(file), Some(id)) = (&settings.tokens, cookie(headers, over_tls))
            && let Ok(tokens) = tokens::read(file)
            && let Some(seen) = context.page.sessions.find(id, &tokens, now)
            && let Origin::Remote { peer, .. } = origin
        {
            let name = seen.entry.name.clone();
            let who = Who::Token { name: name.clone(), from: peer };
            let session = Session { id: id.to_owned(), seen };
            return Ok(Self { name, role: session.seen.entry.role, session: Some(session), who });
        }
        match context.guard.admit(Access::Read, origin, headers, settings.tokens.as_ref(), now) {
            Ok(who) => Ok(Self { name: who.to_string(), role: Role::Read, session: None, who }),
            Err(Denied::Missing | Denied::NoTokens) => Err(Redirect::to("/login").into_response()),
            Err(denied) => Err(refused(&denied, &origin)),
        }
    }
}

/// What the form has.
#[derive(Deserialize)]
pub(super) struct Login {
    token: String,
}

pub(super) async fn form(State(context): State<Context>) -> Response {
    let has_tokens = context.settings.load().tokens.is_some();
    document(StatusCode::OK, &view::login(has_tokens, None))
}

pub(super) async fn log_in(
    State(context): State<Context>,
    Extension(origin): Extension<Origin>,
    headers: HeaderMap,
    Form(login): Form<Login>,
) -> Response {
    let settings = context.settings.load();
    let over_tls = is_over_tls(origin, &settings.proxies, &headers);
    let Origin::Remote { peer, .. } = origin.behind(&settings.proxies, &headers) else {
        return message(StatusCode::FORBIDDEN, "Who comes by the Unix socket needs no session.");
    };
    if !is_from_here(&headers) {
        return message(StatusCode::FORBIDDEN, "This form is not from a page of this host.");
    }
    let now = Instant::now();
    let token = login.token.trim();
    let entry = match context.guard.recognize(token, peer.ip(), settings.tokens.as_ref(), now) {
        Ok(entry) => entry,
        Err(denied) => return refused(&denied, &origin),
    };
    let who = Who::Token { name: entry.name.clone(), from: peer };
    let Ok(id) = context.page.sessions.begin(entry, now) else {
        return message(StatusCode::INTERNAL_SERVER_ERROR, "The system gives no random numbers.");
    };
    log::info!(target: "audit", "audit: {who}: log in");
    with_cookie(Redirect::to("/"), &id, LONGEST.as_secs(), over_tls)
}

pub(super) async fn log_out(
    State(context): State<Context>,
    Extension(origin): Extension<Origin>,
    viewer: Viewer,
    headers: HeaderMap,
    Form(form): Form<Signed>,
) -> Response {
    let over_tls = is_over_tls(origin, &context.settings.load().proxies, &headers);
    match viewer.own_form(&headers, &form.csrf) {
        Ok(session) => {
            context.page.sessions.end(&session.id, Instant::now());
            with_cookie(Redirect::to("/login"), "", 0, over_tls)
        }
        Err(unwelcome) => unwelcome.into_response(),
    }
}

/// A form with nothing in it but the session's secret.
#[derive(Deserialize)]
pub(super) struct Signed {
    csrf: String,
}

/// Why somebody does not get in, on the page where it can be tried again.
fn refused(denied: &Denied, origin: &Origin) -> Response {
    log::warn!("the page, from {origin}: {}", denied.reason());
    let (status, text) = match denied {
        Denied::Missing | Denied::Wrong => (StatusCode::UNAUTHORIZED, "This token is not known."),
        Denied::Role => (StatusCode::FORBIDDEN, "This token may not do that."),
        Denied::TooMany => (
            StatusCode::TOO_MANY_REQUESTS,
            "Too many unknown tokens came from this address. Try again in a minute.",
        ),
        Denied::NoTokens => (StatusCode::FORBIDDEN, "The balancer has no tokens."),
        Denied::File(_) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            "The file of tokens cannot be used; the balancer's log says why.",
        ),
        Denied::Host => (
            StatusCode::FORBIDDEN,
            "Without a token, ask by an IP address or localhost, not by another name.",
        ),
    };
    document(status, &view::login(!matches!(denied, Denied::NoTokens | Denied::Host), Some(text)))
}

/// Whether a browser says that one of our own pages sent it. What says nothing is no browser, and has the API.
fn is_from_here(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(site) = text("sec-fetch-site") {
        return site == "same-origin";
    }
    let origin = text("origin").and_then(|origin| origin.split_once("://"));
    origin.is_some_and(|(_, authority)| text("host").is_some_and(|host| host.eq_ignore_ascii_case(authority)))
}

fn name_of_cookie(over_tls: bool) -> &'static str {
    if over_tls { SECURE_COOKIE } else { PLAIN_COOKIE }
}

fn cookie(headers: &HeaderMap, over_tls: bool) -> Option<&str> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find_map(|(name, value)| (name == name_of_cookie(over_tls)).then_some(value))
}

fn with_cookie(answer: Redirect, value: &str, seconds: u64, over_tls: bool) -> Response {
    let secure = if over_tls { "; Secure" } else { "" };
    let name = name_of_cookie(over_tls);
    let text = format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}");
    let mut response = answer.into_response();
    if let Ok(field) = HeaderValue::from_str(&text) {
        response.headers_mut().insert(header::SET_COOKIE, field);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(fields: &[(&'static str, &str)]) -> HeaderMap {
        fields
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect::<HeaderMap>()
    }

    #[test]
    fn forms_come_from_here_or_are_refused() {
        for (headers, expected) in [
            (&[("sec-fetch-site", "same-origin")][..], true),
            (&[("sec-fetch-site", "same-site")], false),
            (&[("sec-fetch-site", "cross-site"), ("host", "a"), ("origin", "http://a")], false),
            (&[("sec-fetch-site", "none")], false),
            (&[("host", "10.0.0.2:9180"), ("origin", "http://10.0.0.2:9180")], true),
            (&[("host", "Contoso:3443"), ("origin", "https://contoso:3443")], true),
            (&[("host", "10.0.0.2:9180"), ("origin", "http://10.0.0.2")], false),
            (&[("host", "10.0.0.2:9180"), ("origin", "null")], false),
            (&[("host", "10.0.0.2:9180"), ("origin", "http://evil.example")], false),
            (&[("host", "10.0.0.2:9180")], false),
        ] {
            assert_eq!(is_from_here(&fields(headers)), expected, "{headers:?}");
        }
    }

    #[test]
    fn over_tls_only_a_cookie_counts_that_no_other_host_can_have_set() {
        let headers = fields(&[("cookie", "a=b; gateway=plain; __Host-gateway=secure")]);
        assert_eq!((cookie(&headers, true), cookie(&headers, false)), (Some("secure"), Some("plain")));
        assert_eq!(cookie(&fields(&[("cookie", "gateway=plain")]), true), None);
        let text = |over_tls| {
            let response = with_cookie(Redirect::to("/"), "x", 9, over_tls);
            response.headers()[header::SET_COOKIE].to_str().unwrap().to_owned()
        };
        assert_eq!(text(false), "gateway=x; Path=/; Max-Age=9; HttpOnly; SameSite=Strict");
        assert_eq!(text(true), "__Host-gateway=x; Path=/; Max-Age=9; HttpOnly; SameSite=Strict; Secure");
    }
}
