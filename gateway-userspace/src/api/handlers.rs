//! From requests to calls, and from answers to responses.

use std::{path::PathBuf, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use axum::{
    Extension, Json,
    body::Bytes,
    extract::{Path, Query, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use super::{
    access::{Guard, failure},
    audit::Audit,
    call::{Answer, Call, Plan, Refused, Who},
    certificates,
    page::Page,
    server::Settings,
    wire::{Apply, SCHEMA, SetState},
};
use crate::{dataplane::Dropped, metrics, model::InstanceName, status::Status};

/// An apply may claim addresses, which takes a second or two each.
const PATIENCE: Duration = Duration::from_secs(120);
/// Whoever asks this wants to know soon.
const HEALTH_PATIENCE: Duration = Duration::from_secs(2);

/// What handlers have.
#[derive(Debug, Clone)]
pub(super) struct Context {
    pub(super) calls: mpsc::Sender<Call>,
    pub(super) settings: Arc<ArcSwap<Settings>>,
    pub(super) guard: Arc<Guard>,
    pub(super) audit: Audit,
    pub(super) page: Arc<Page>,
}

impl Context {
    pub(super) async fn ask<T>(&self, call: impl FnOnce(Answer<T>) -> Call) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        self.calls.send(call(answer)).await.ok()?;
        answered.await.ok()
    }

    async fn respond<T: IntoAnswer>(&self, call: impl FnOnce(Answer<T>) -> Call) -> Response {
        match tokio::time::timeout(PATIENCE, self.ask(call)).await {
            Ok(Some(answer)) => answer.respond(),
            Ok(None) => failure(StatusCode::SERVICE_UNAVAILABLE, "the balancer is stopping"),
            Err(_) => failure(StatusCode::SERVICE_UNAVAILABLE, "the balancer is busy; try again"),
        }
    }
}

/// What the owner task answers, as a response.
trait IntoAnswer {
    fn respond(self) -> Response;
}

impl<T: Serialize> IntoAnswer for Result<T, Refused> {
    fn respond(self) -> Response {
        match self {
            Ok(answer) => Json(answer).into_response(),
            Err(refused) => {
                let status = match refused {
                    Refused::Unknown(_) => StatusCode::NOT_FOUND,
                    Refused::Faults(..) => StatusCode::UNPROCESSABLE_ENTITY,
                    Refused::Conflict(_) => StatusCode::CONFLICT,
                    Refused::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
                };
                (status, Json(refused.wire())).into_response()
            }
        }
    }
}

/// Dropped packets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(super) struct Drops {
    /// 1
    schema_version: u32,
    /// Reasons that occurred.
    drops: Vec<Dropped>,
}

pub(super) async fn health(State(context): State<Context>) -> Response {
    match tokio::time::timeout(HEALTH_PATIENCE, context.ask(Call::Health)).await {
        Ok(Some(health)) if health.healthy => Json(health).into_response(),
        Ok(Some(health)) => (StatusCode::SERVICE_UNAVAILABLE, Json(health)).into_response(),
        Ok(None) | Err(_) => failure(StatusCode::SERVICE_UNAVAILABLE, "the balancer does not answer"),
    }
}

pub(super) async fn status(State(context): State<Context>) -> Response {
    context.respond(Call::Status).await
}

impl IntoAnswer for Box<Status> {
    fn respond(mut self) -> Response {
        certificates::read(&mut self.endpoints);
        Json(self).into_response()
    }
}

pub(super) async fn counters(State(context): State<Context>) -> Response {
    context.respond(Call::Counters).await
}

pub(super) async fn drops(State(context): State<Context>) -> Response {
    match tokio::time::timeout(PATIENCE, context.ask(Call::Counters)).await {
        Ok(Some(counters)) => {
            counters.map(|counters| Drops { schema_version: SCHEMA, drops: counters.drops }).respond()
        }
        Ok(None) | Err(_) => failure(StatusCode::SERVICE_UNAVAILABLE, "the balancer does not answer"),
    }
}

/// What may come with a file.
#[derive(Debug, Deserialize)]
pub(super) struct Named {
    path: Option<PathBuf>,
}

pub(super) async fn plan(
    State(context): State<Context>,
    Query(named): Query<Named>,
    body: Bytes,
) -> Response {
    let Ok(text) = String::from_utf8(body.into()) else {
        return failure(
            StatusCode::BAD_REQUEST,
            "the body is not UTF-8; it has to be the text of a gateway.toml",
        );
    };
    context.respond(|answer| Call::Plan(Plan { text, path: named.path }, answer)).await
}

pub(super) async fn apply(
    State(context): State<Context>,
    Extension(who): Extension<Who>,
    body: Bytes,
) -> Response {
    // No body is the default.
    let wish = if body.is_empty() { Ok(Apply::default()) } else { serde_json::from_slice(&body) };
    match wish {
        Ok(wish) => context.respond(|answer| Call::Apply(who, wish, answer)).await,
        Err(error) => bad_body(&error),
    }
}

pub(super) async fn set_state(
    State(context): State<Context>,
    Extension(who): Extension<Who>,
    Path(name): Path<String>,
    body: Bytes,
) -> Response {
    match serde_json::from_slice(&body) {
        Ok(SetState { admin_state }) => {
            context.respond(|answer| Call::Instance(who, InstanceName(name), Some(admin_state), answer)).await
        }
        Err(error) => bad_body(&error),
    }
}

pub(super) async fn clear_state(
    State(context): State<Context>,
    Extension(who): Extension<Who>,
    Path(name): Path<String>,
) -> Response {
    context.respond(|answer| Call::Instance(who, InstanceName(name), None, answer)).await
}

pub(super) async fn audit(State(context): State<Context>) -> Response {
    Json(context.audit.trail()).into_response()
}

pub(super) async fn metrics(State(context): State<Context>) -> Response {
    match tokio::time::timeout(PATIENCE, context.ask(Call::Status)).await {
        Ok(Some(status)) => {
            ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], metrics::text(&status)).into_response()
        }
        Ok(None) | Err(_) => failure(StatusCode::SERVICE_UNAVAILABLE, "the balancer does not answer"),
    }
}

pub(super) async fn openapi() -> Response {
    Json(super::openapi::document()).into_response()
}

fn bad_body(error: &serde_json::Error) -> Response {
    failure(StatusCode::BAD_REQUEST, &format!("the body is not as /v1/openapi.json says: {error}"))
}
