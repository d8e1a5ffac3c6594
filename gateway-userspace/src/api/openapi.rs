//! The OpenAPI document, made from the table of routes and the types of the bodies.

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::{
    access::Access,
    routes::{Content, Route, routes},
    wire::Failure,
};

/// OpenAPI 3.1, whose schemas are JSON Schema's.
pub fn document() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut generator = settings.into_generator();
    let failure = generator.subschema_for::<Failure>();
    let mut paths = Map::new();
    for route in routes() {
        let operation = operation(&route, &mut generator, &failure);
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        path[route.method] = operation;
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "gateway",
            "version": "1",
            "description": "The control interface of a gateway balancer. Over TCP a change needs a bearer token with role \
                `write`, and so does looking need one with role `read`, except on a loopback address where no tokens are configured.",
        },
        "paths": paths,
        "components": {
            "schemas": generator.take_definitions(true),
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
        },
    })
}

fn operation(route: &Route, generator: &mut schemars::SchemaGenerator, failure: &schemars::Schema) -> Value {
    let mut content = |content: Content| match content {
        Content::None => None,
        Content::Json(schema) => Some(json!({ "application/json": { "schema": schema(generator) } })),
        Content::Text(media) => Some(json!({ media: {} })),
    };
    let mut operation = json!({
        "summary": route.summary,
        "operationId": id(route),
        "responses": {},
    });
    if let Some(content) = content(route.body) {
        operation["requestBody"] = json!({ "content": content });
    }
    let parameters: Vec<_> = route
        .path
        .split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }))
        .collect();
    if !parameters.is_empty() {
        operation["parameters"] = parameters.into();
    }
    let mut answer = json!({ "description": "done" });
    if let Some(content) = content(route.answer) {
        answer["content"] = content;
    }
    let responses = &mut operation["responses"];
    responses["200"] = answer;
    let denied = [
        ("401", "no token, or an unknown one"),
        ("403", "not with this token"),
        ("429", "too many unknown tokens"),
    ];
    let denied = if route.access == Access::Open { &[][..] } else { &denied };
    for (status, description) in route.also.iter().chain(denied) {
        responses[status] = json!({
            "description": description,
            "content": { "application/json": { "schema": failure } },
        });
    }
    if route.access == Access::Open {
        operation["security"] = json!([]);
    } else {
        operation["security"] = json!([{ "token": [] }]);
    }
    operation
}

/// `get-v1-health`
fn id(route: &Route) -> String {
    let path = route.path.replace(['{', '}'], "").replace(['/', '.'], "-");
    format!("{}{path}", route.method)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::published;

    #[test]
    fn r92_every_route_is_in_the_document_and_every_reference_leads_somewhere() {
        let document = document();
        for route in routes() {
            let operation = &document["paths"][route.path][route.method];
            assert_eq!(operation["summary"], route.summary);
            assert!(operation["responses"]["200"].is_object());
            let is_open = operation["security"] == json!([]);
            assert_eq!(is_open, route.access == Access::Open, "{}", route.path);
        }
        let ids: BTreeSet<_> = routes().iter().map(id).collect();
        assert_eq!(ids.len(), routes().len());
        for reference in references(&document) {
            assert!(document.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
        }
    }

    #[test]
    fn what_changes_something_needs_a_token_that_may() {
        for route in routes() {
            let changes = match route.method {
                "get" => false,
                // It asks a question that does not fit into a URL.
                "post" => route.path != "/v1/plan",
                _ => true,
            };
            assert_eq!(route.access == Access::Write, changes, "{} {}", route.method, route.path);
        }
    }

    #[test]
    fn r92_the_published_document_is_the_one_of_the_code() {
        published::is_up_to_date("openapi.json", &format!("{:#}\n", document()), "openapi");
    }

    fn references(value: &Value) -> Vec<String> {
        match value {
            Value::Object(map) => map
                .iter()
                .flat_map(|(key, value)| match value {
                    Value::String(text) if key == "$ref" => vec![text.clone()],
                    other => references(other),
                })
                .collect(),
            Value::Array(list) => list.iter().flat_map(references).collect(),
            _ => Vec::new(),
        }
    }
}
