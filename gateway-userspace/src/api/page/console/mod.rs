//! The test console (R61): a call from this host to a VIP, by a name that is configured, and what became of it, step by step.
//!
//! A call reaches the services behind the VIP as any client's does, so it takes a token that may change something.

mod ask;
mod call;
mod certificate;

use std::sync::Arc;

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse as _, Response},
};
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc},
    time::timeout,
};

pub(super) use self::{
    ask::{Form, METHODS, names, places},
    call::{Answer, Course, Outcome, Step},
};
use super::{PATIENCE, document, door::Viewer, message, status, view};
use crate::api::{
    call::{Call, WayWish},
    handlers::Context,
};

pub(super) async fn form(State(context): State<Context>, viewer: Viewer) -> Response {
    let status = match status(&context).await {
        Ok(status) => status,
        Err(refusal) => return refusal,
    };
    let form = Form { method: "GET".into(), path: "/".into(), ..Form::default() };
    document(StatusCode::OK, &view::console(&status, &viewer, &form, &[], None))
}

pub(super) async fn run(
    State(context): State<Context>,
    viewer: Viewer,
    headers: HeaderMap,
    axum::Form(form): axum::Form<Form>,
) -> Response {
    if let Err(unwelcome) = viewer.own_change(&headers, &form.csrf) {
        return unwelcome.into_response();
    }
    let status = match status(&context).await {
        Ok(status) => status,
        Err(refusal) => return refusal,
    };
    let asked = match ask::ask(&form, &status) {
        Ok(asked) => asked,
        Err(faults) => {
            let page = view::console(&status, &viewer, &form, &faults, None);
            return document(StatusCode::UNPROCESSABLE_ENTITY, &page);
        }
    };
    let Ok(turn) = Arc::clone(&context.page.console).try_acquire_owned() else {
        return message(StatusCode::TOO_MANY_REQUESTS, "Another call is being made. Try again in a moment.");
    };
    let what = format!("call {} https://{}{} at {}", asked.method, asked.name, asked.path, asked.at);
    let course = course(&context, &asked, turn).await;
    context.audit.note(&viewer.who, &what, status.generation, course.outcome());
    document(StatusCode::OK, &view::console(&status, &viewer, &form, &[], Some(&course)))
}

async fn course(context: &Context, asked: &ask::Ask, turn: OwnedSemaphorePermit) -> Course {
    let wish = WayWish { vip: asked.at, instance: asked.instance.clone() };
    let lent = timeout(PATIENCE, context.ask(|answer| Call::Way(wish, answer))).await;
    // Also where it came too late to be used.
    let _back = Back { calls: context.calls.clone(), turn: Some(turn) };
    match lent {
        Ok(Some(Ok(way))) => call::call(asked, &way).await,
        Ok(Some(Err(refused))) => call::without_way(asked, refused.text().to_owned()).await,
        Ok(None) | Err(_) => call::without_way(asked, "the balancer does not answer".to_owned()).await,
    }
}

/// Gives the way back, whatever becomes of whoever had it; only then it is another call's turn.
struct Back {
    calls: mpsc::Sender<Call>,
    turn: Option<OwnedSemaphorePermit>,
}

impl Drop for Back {
    fn drop(&mut self) {
        let (calls, turn) = (self.calls.clone(), self.turn.take());
        tokio::spawn(async move {
            // Where nobody takes it the balancer ends, and all programs with it.
            let _ = calls.send(Call::WayBack).await;
            drop(turn);
        });
    }
}
