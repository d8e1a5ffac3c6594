//! What a write token may change from the page: admin states, and taking up the file.

use std::time::{Duration, Instant};

use axum::{
    Form,
    extract::{Path, State},
    http::HeaderMap,
    response::{IntoResponse, Redirect, Response},
};
use serde::Deserialize;

use super::{
    door::{Session, Viewer},
    session::Notice,
};
use crate::{
    api::{
        call::{Answer, Call, Refused},
        handlers::Context,
        wire::{Applied, Apply, InstanceState},
    },
    model::{AdminState, InstanceName},
};

/// An apply may claim addresses, which takes a second or two each.
const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Deserialize)]
pub(super) struct Choice {
    csrf: String,
    state: AdminState,
}

pub(super) async fn instance(
    State(context): State<Context>,
    Path(name): Path<String>,
    viewer: Viewer,
    headers: HeaderMap,
    Form(form): Form<Choice>,
) -> Response {
    let session = match viewer.own_change(&headers, &form.csrf) {
        Ok(session) => session,
        Err(unwelcome) => return unwelcome.into_response(),
    };
    let who = viewer.who.clone();
    let call = |answer| Call::Instance(who, InstanceName(name), Some(form.state), answer);
    carry_out(&context, session, call, |done: InstanceState| {
        let drains = done.drain_ends_in.map(|left| format!("; it drains, for {left} s at most"));
        format!("{} is {} now{}.", done.name, done.admin_state.as_str(), drains.unwrap_or_default())
    })
    .await
}

#[derive(Deserialize)]
pub(super) struct Wish {
    csrf: String,
    /// Present where it is ticked.
    confirm: Option<String>,
}

pub(super) async fn apply(
    State(context): State<Context>,
    viewer: Viewer,
    headers: HeaderMap,
    Form(form): Form<Wish>,
) -> Response {
    let session = match viewer.own_change(&headers, &form.csrf) {
        Ok(session) => session,
        Err(unwelcome) => return unwelcome.into_response(),
    };
    let who = viewer.who.clone();
    let wish = Apply { confirm: form.confirm.is_some(), ..Apply::default() };
    let call = |answer| Call::Apply(who, wish, answer);
    carry_out(&context, session, call, |done: Applied| match (done.changed, done.window) {
        (false, _) => format!("The file says what is so already: generation {}.", done.generation),
        (true, None) => format!("The file is in force, as generation {}.", done.generation),
        (true, Some(seconds)) => {
            format!("The file is in force, as generation {}, and watched for {seconds} s.", done.generation)
        }
    })
    .await
}

/// What came of it is shown by the overview, to which the browser is sent: loading that again changes nothing.
async fn carry_out<T>(
    context: &Context,
    session: &Session,
    call: impl FnOnce(Answer<Result<T, Refused>>) -> Call,
    words: impl FnOnce(T) -> String,
) -> Response {
    let notice = match tokio::time::timeout(PATIENCE, context.ask(call)).await {
        Ok(Some(Ok(done))) => Notice { good: true, text: words(done) },
        Ok(Some(Err(refused))) => Notice { good: false, text: format!("Not done: {}", refused.text()) },
        Ok(None) => Notice { good: false, text: "Not done: the balancer is stopping.".to_owned() },
        Err(_) => Notice {
            good: false,
            text: "The balancer is busy; whether it was done, the overview tells.".to_owned(),
        },
    };
    context.page.sessions.note(&session.id, notice, Instant::now());
    Redirect::to("/").into_response()
}
