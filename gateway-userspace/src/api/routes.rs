//! What there is: one table, from which router, access rules and the OpenAPI document are made.

use axum::{
    Router,
    http::{HeaderValue, StatusCode, header},
    middleware,
    response::Response,
    routing::{MethodRouter, delete, get, post, put},
};
use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::{
    access::{self, Access, failure},
    audit::Trail,
    handlers::{self, Context, Drops},
    page,
    wire::{Applied, Apply, Health, InstanceState, SetState},
};
use crate::{dataplane::Counters, plan::Difference, status::Status};

/// A route.
pub(super) struct Route {
    /// In lower case, as OpenAPI writes it.
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    /// What it does, in a sentence.
    pub(super) summary: &'static str,
    pub(super) access: Access,
    pub(super) body: Content,
    pub(super) answer: Content,
    /// Other statuses than 200 that it has an answer of its own for.
    pub(super) also: &'static [(&'static str, &'static str)],
    handler: fn() -> MethodRouter<Context>,
}

/// What a body is.
#[derive(Clone, Copy)]
pub(super) enum Content {
    None,
    Json(fn(&mut SchemaGenerator) -> Schema),
    /// Of a media type, which nothing more is said about.
    Text(&'static str),
}

fn json<T: JsonSchema>() -> Content {
    Content::Json(SchemaGenerator::subschema_for::<T>)
}

/// All of them.
pub(super) fn routes() -> Vec<Route> {
    let route = |method, path, access, handler, answer, summary| Route {
        method,
        path,
        summary,
        access,
        body: Content::None,
        answer,
        also: &[],
        handler,
    };
    let look = |path, handler, answer, summary| route("get", path, Access::Read, handler, answer, summary);
    vec![
        Route {
            also: &[("503", "it should get no packets")],
            ..route(
                "get",
                "/v1/health",
                Access::Open,
                || get(handlers::health),
                json::<Health>(),
                "Whether this balancer should get packets: for what spreads them over several.",
            )
        },
        look("/v1/status", || get(handlers::status), json::<Status>(), "The balancer's state."),
        look("/v1/counters", || get(handlers::counters), json::<Counters>(), "What was counted."),
        look(
            "/v1/drops",
            || get(handlers::drops),
            json::<Drops>(),
            "Dropped packets by VIP, service and reason.",
        ),
        Route {
            body: Content::Text("application/toml"),
            also: &[("422", "the file has faults")],
            ..route(
                "post",
                "/v1/plan",
                Access::Read,
                || post(handlers::plan),
                json::<Difference>(),
                "What this file would change; changes nothing. `?path=` names it, for messages.",
            )
        },
        Route {
            body: json::<Apply>(),
            also: &[
                ("409", "it cannot be taken up by a running balancer, or another file is meant"),
                ("422", "the file has faults"),
            ],
            ..route(
                "post",
                "/v1/apply",
                Access::Write,
                || post(handlers::apply),
                json::<Applied>(),
                "Takes up the balancer's file, in one generation.",
            )
        },
        Route {
            body: json::<SetState>(),
            also: &[("404", "there is no such instance")],
            ..route(
                "put",
                "/v1/instances/{name}/admin-state",
                Access::Write,
                || put(handlers::set_state),
                json::<InstanceState>(),
                "Sets an instance's admin state in place of the file's, until it is given back; kept over a restart.",
            )
        },
        Route {
            also: &[("404", "there is no such instance")],
            ..route(
                "delete",
                "/v1/instances/{name}/admin-state",
                Access::Write,
                || delete(handlers::clear_state),
                json::<InstanceState>(),
                "Gives an instance's admin state back to the file.",
            )
        },
        look("/v1/audit", || get(handlers::audit), json::<Trail>(), "Who changed what."),
        look(
            "/metrics",
            || get(handlers::metrics),
            Content::Text("application/openmetrics-text"),
            "The state and the counters for Prometheus.",
        ),
        look(
            "/v1/openapi.json",
            || get(handlers::openapi),
            Content::Text("application/json"),
            "This document.",
        ),
    ]
}

pub(super) fn router(context: &Context) -> Router {
    let mut router = Router::new();
    for route in routes() {
        let admit = middleware::from_fn_with_state((context.clone(), route.access), access::admit);
        router = router.route(route.path, (route.handler)().route_layer(admit));
    }
    router
        .merge(page::router())
        .fallback(async || {
            failure(StatusCode::NOT_FOUND, "there is nothing here; /v1/openapi.json lists what there is")
        })
        .method_not_allowed_fallback(async || {
            failure(
                StatusCode::METHOD_NOT_ALLOWED,
                "not by this method; /v1/openapi.json lists what there is",
            )
        })
        .layer(middleware::map_response(async |mut response: Response| {
            let headers = response.headers_mut();
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
            headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
            response
        }))
        .with_state(context.clone())
}
