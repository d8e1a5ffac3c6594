//! Server-sent events: the overview anew whenever it has changed.

use std::{convert::Infallible, time::Duration};

use axum::{
    extract::{FromRequestParts as _, State},
    http::{HeaderMap, StatusCode},
    response::{
        IntoResponse, Response, Sse,
        sse::{Event, KeepAlive},
    },
};
use futures_util::{StreamExt as _, stream};
use tokio::{sync::OwnedSemaphorePermit, time::sleep};

use super::{door::Viewer, glance, message, status, view};
use crate::api::{access::Origin, handlers::Context};

/// Between two looks.
const PACE: Duration = Duration::from_secs(2);

/// After that a stream ends, before the connection's own limit cuts it off; the browser asks for the next one.
const LONGEST: Duration = Duration::from_secs(120);
/// So soon.
const AGAIN: Duration = Duration::from_millis(500);

/// A page that is kept up to date.
struct Watcher {
    context: Context,
    /// By which its session is looked up each time: it may end meanwhile.
    headers: HeaderMap,
    origin: Origin,
    shown: String,
    _place: OwnedSemaphorePermit,
}

pub(super) async fn stream(
    State(context): State<Context>,
    axum::Extension(origin): axum::Extension<Origin>,
    _: Viewer,
    headers: HeaderMap,
) -> Response {
    let Ok(place) = std::sync::Arc::clone(&context.page.streams).try_acquire_owned() else {
        return message(StatusCode::SERVICE_UNAVAILABLE, "Too many pages are kept up to date.");
    };
    let watcher = Watcher { context, headers, origin, shown: String::new(), _place: place };
    let events = stream::unfold(Some(watcher), async |watcher| {
        let mut watcher = watcher?;
        let event = watcher.next().await;
        let goes_on = event.is_some();
        let event = event.unwrap_or_else(|| Event::default().event("ended").data(""));
        Some((Ok::<_, Infallible>(event), goes_on.then_some(watcher)))
    });
    let events = events.take_until(Box::pin(sleep(LONGEST)));
    Sse::new(Box::pin(events)).keep_alive(KeepAlive::default()).into_response()
}

impl Watcher {
    /// What is to be shown next. None: the session has ended, or the balancer.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if !self.shown.is_empty() {
                sleep(PACE).await;
            }
            let viewer = self.viewer().await?;
            let status = status(&self.context).await.ok()?;
            let html = view::live(&status, &glance(&self.context, &viewer)).0;
            if html != self.shown {
                // A carriage return cannot be in an event.
                let event = Event::default().event("overview").retry(AGAIN).data(html.replace('\r', " "));
                self.shown = html;
                return Some(event);
            }
        }
    }

    async fn viewer(&self) -> Option<Viewer> {
        let mut request = http::Request::new(());
        *request.headers_mut() = self.headers.clone();
        request.extensions_mut().insert(self.origin);
        let (mut parts, ()) = request.into_parts();
        Viewer::from_request_parts(&mut parts, &self.context).await.ok()
    }
}
