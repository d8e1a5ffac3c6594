//! The page that people look at: the overview (R60), admin states and apply, the test console (R61).
//!
//! HTML from the server, in full without a script; with one it is kept up to date. Nothing is loaded from elsewhere, and
//! nothing that is not a file of its own is run (Content-Security-Policy). A browser logs in with a token of the API and
//! has a session from then on ([`session`]); each change is a POST with the session's secret, from our own pages ([`door`]).

mod change;
mod console;
mod door;
mod history;
mod live;
mod session;
mod view;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderName, HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use maud::Markup;
use tokio::{
    sync::Semaphore,
    time::{MissedTickBehavior, interval},
};

use self::{
    door::Viewer,
    history::{History, PACE},
    session::Sessions,
};
use super::{access, call::Call, certificates, handlers::Context};
use crate::status::Status;

/// The longest body of a form.
const FORM: usize = 128 * 1024;
/// How long a page waits for the balancer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Pages that are kept up to date at once.
const STREAMS: usize = 12;

/// Nothing but our own files, in nobody's frame, and forms lead here only.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
    form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// What the page keeps.
#[derive(Debug)]
pub(super) struct Page {
    sessions: Sessions,
    history: Mutex<History>,
    streams: Arc<Semaphore>,
    /// One call at a time.
    console: Arc<Semaphore>,
}

impl Default for Page {
    fn default() -> Self {
        Self {
            sessions: Sessions::default(),
            history: Mutex::default(),
            streams: Arc::new(Semaphore::new(STREAMS)),
            console: Arc::new(Semaphore::new(1)),
        }
    }
}

impl Page {
    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What there is for people.
pub(super) fn router() -> Router<Context> {
    let file = |kind, content| get(async move || ([(header::CONTENT_TYPE, kind)], content));
    Router::new()
        .route("/", get(overview))
        .route("/live", get(live::stream))
        .route("/login", get(door::form).post(door::log_in))
        .route("/logout", post(door::log_out))
        .route("/instances/{name}", post(change::instance))
        .route("/apply", post(change::apply))
        .route("/console", get(console::form).post(console::run))
        .route("/page.css", file("text/css; charset=utf-8", include_str!("page.css")))
        .route("/page.js", file("text/javascript; charset=utf-8", include_str!("page.js")))
        .route("/page.svg", file("image/svg+xml", include_str!("page.svg")))
        .layer(middleware::from_fn(guarded))
}

/// Takes down the counters from time to time. Does not end.
pub(super) async fn sample(context: &Context) {
    let mut times = interval(PACE);
    times.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        times.tick().await;
        if let Some(Ok(counters)) = context.ask(Call::Counters).await {
            context.page.history().note(&counters, Instant::now());
        }
    }
}

async fn overview(State(context): State<Context>, viewer: Viewer) -> Response {
    match status(&context).await {
        Ok(status) => document(StatusCode::OK, &view::overview(&status, &glance(&context, &viewer))),
        Err(refusal) => refusal,
    }
}

/// What an overview shows beside the status.
fn glance<'v>(context: &Context, viewer: &'v Viewer) -> view::Glance<'v> {
    let notice = viewer.session.as_ref();
    let notice = notice.and_then(|one| context.page.sessions.notice(&one.id, Instant::now()));
    view::Glance { viewer, rates: context.page.history().rates(), notice, now: SystemTime::now() }
}

async fn status(context: &Context) -> Result<Box<Status>, Response> {
    match tokio::time::timeout(PATIENCE, context.ask(Call::Status)).await {
        Ok(Some(mut status)) => {
            certificates::read(&mut status.endpoints);
            Ok(status)
        }
        Ok(None) => Err(message(StatusCode::SERVICE_UNAVAILABLE, "The balancer is stopping.")),
        Err(_) => Err(message(StatusCode::SERVICE_UNAVAILABLE, "The balancer is busy. Try again.")),
    }
}

fn document(status: StatusCode, markup: &Markup) -> Response {
    (status, axum::response::Html(markup.0.clone())).into_response()
}

/// A page that says one thing.
fn message(status: StatusCode, text: &str) -> Response {
    document(status, &view::message(text))
}

/// Bodies within their limits, answers with what protects a browser.
async fn guarded(request: Request, next: Next) -> Response {
    let mut response = match access::whole(request, FORM).await {
        Ok(request) => next.run(request).await,
        Err(refusal) => refusal,
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        // Not `no-referrer`: with that a browser says of its own forms that they come from nowhere.
        (header::REFERRER_POLICY, "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}
