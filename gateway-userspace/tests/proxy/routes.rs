//! What a route changes of requests and answers, and routes that lead elsewhere.

use gateway_userspace::{
    model::{Action, Backend, FieldChanges, Prefix, Redirect, Rest, Route},
    proxy::counters::Outcome,
};
use http::{HeaderName, HeaderValue, StatusCode};

use crate::support::{Recorder, Running, Setup, without_ids};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nServer: theirs\r\nX-Kept: 1\r\n\r\nok";

fn set(fields: &[(&'static str, &'static str)]) -> Vec<(HeaderName, HeaderValue)> {
    let field = |(name, value): &(&'static str, &'static str)| {
        (HeaderName::from_static(name), HeaderValue::from_static(value))
    };
    fields.iter().map(field).collect()
}

fn remove(names: &[&'static str]) -> Vec<HeaderName> {
    names.iter().map(|name| HeaderName::from_static(name)).collect()
}

/// A proxy whose only route is to this upstream, changed in this way.
async fn with(upstream: &Recorder, change: impl Fn(&mut Route, &mut Backend)) -> Running {
    let proxy = Setup::to(upstream.address).start().await;
    let mut route = proxy.model.endpoints[0].routes[0].clone();
    let Action::Forward(mut backend) = route.action.clone() else { panic!("{route}") };
    change(&mut route, &mut backend);
    route.action = Action::Forward(backend);
    proxy.reroute(&[route]);
    proxy
}

fn lines(text: &str) -> Vec<String> {
    let mut lines: Vec<_> = without_ids(text).lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

#[tokio::test]
async fn fields_are_set_and_removed_on_the_wire() {
    let upstream = Recorder::start(OK).await;
    let proxy = with(&upstream, |route, backend| {
        backend.request_headers = FieldChanges {
            set: set(&[("host", "orders.internal"), ("x-team", "orders"), ("x-forwarded-proto", "http")]),
            remove: remove(&["cookie", "via"]),
        };
        route.response_headers = FieldChanges {
            set: set(&[("strict-transport-security", "max-age=31536000"), ("x-kept", "2")]),
            remove: remove(&["server"]),
        };
    })
    .await;
    let answer = proxy
        .ask(b"GET / HTTP/1.1\r\nHost: api.contoso.com\r\nConnection: close\r\nCookie: a=b\r\nX-Team: mine\r\nX-Team: mine too\r\n\r\n")
        .await;
    assert_eq!(
        lines(&String::from_utf8(answer).unwrap()),
        [
            "",
            "HTTP/1.1 200 OK",
            "connection: close",
            "content-length: 2",
            "ok",
            "strict-transport-security: max-age=31536000",
            "x-kept: 2"
        ]
    );
    assert_eq!(
        lines(&upstream.take()),
        [
            "",
            "GET / HTTP/1.1",
            "host: orders.internal",
            "x-forwarded-for: 127.0.0.1",
            "x-forwarded-host: api.contoso.com",
            "x-forwarded-proto: http",
            "x-team: orders"
        ]
    );
}

#[tokio::test]
async fn a_stripped_prefix_is_told_and_cannot_be_climbed_out_of() {
    let upstream = Recorder::start(OK).await;
    let proxy = with(&upstream, |route, backend| {
        route.path = "/orders".into();
        backend.prefix = Prefix::Strip;
    })
    .await;
    for (target, seen) in [
        ("/orders/1?x=/../y", Some("/1?x=/../y")),
        ("/orders", Some("/")),
        ("/orders//evil.example/x", Some("/evil.example/x")),
        ("/orders/a/%2e%2e/1", Some("/1")),
        ("http://api.contoso.com/orders/1", Some("/1")),
        ("/orders/../admin", None),
        ("/orders/%2e%2e/admin", None),
        ("/orders/..%2fadmin", None),
        ("/orders/..;/admin", None),
        ("/orders/%2%65%2%65/admin", None),
    ] {
        let request = format!(
            "GET {target} HTTP/1.1\r\nHost: api.contoso.com\r\nConnection: close\r\nX-Forwarded-Prefix: /theirs\r\n\r\n"
        );
        let answer = String::from_utf8(proxy.ask(request.as_bytes()).await).unwrap();
        let came = upstream.take();
        match seen {
            Some(path) => {
                assert!(answer.starts_with("HTTP/1.1 200 "), "{target}: {answer}");
                assert!(came.starts_with(&format!("GET {path} HTTP/1.1\r\n")), "{target}: {came}");
                assert_eq!(came.matches("x-forwarded-prefix: /orders\r\n").count(), 1, "{came}");
                assert!(!came.contains("theirs"), "{came}");
            }
            None => {
                assert!(answer.starts_with("HTTP/1.1 40"), "{target}: {answer}");
                assert_eq!(came, "", "{target}");
            }
        }
    }
}

#[tokio::test]
async fn a_route_that_redirects_asks_no_upstream() {
    let upstream = Recorder::start(OK).await;
    let proxy = Setup::to(upstream.address).start().await;
    let route = |path: &str, to: &str, status, rest| Route {
        path: path.into(),
        action: Action::Redirect(Redirect { to: to.into(), status, rest }),
        response_headers: FieldChanges { set: set(&[("cache-control", "no-store")]), remove: vec![] },
    };
    proxy.reroute(&[
        route("/old", "https://new.contoso.com/a", StatusCode::PERMANENT_REDIRECT, Rest::Append),
        route("/", "https://www.contoso.com/?from=api", StatusCode::FOUND, Rest::Drop),
    ]);
    for (target, status, location) in [
        ("/old/x?y=1", "308 Permanent Redirect", "https://new.contoso.com/a/x?y=1"),
        ("/old//evil.example", "308 Permanent Redirect", "https://new.contoso.com/a/evil.example"),
        ("/x?y", "302 Found", "https://www.contoso.com/?from=api"),
    ] {
        let request = format!("GET {target} HTTP/1.1\r\nHost: api.contoso.com\r\nConnection: close\r\n\r\n");
        let answer = String::from_utf8(proxy.ask(request.as_bytes()).await).unwrap();
        assert_eq!(
            lines(&answer),
            lines(&format!(
                "HTTP/1.1 {status}\r\nlocation: {location}\r\ncache-control: no-store\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
            )),
            "{target}"
        );
    }
    assert_eq!(upstream.requests(), 0);
    assert_eq!(proxy.worker.counters().get(Outcome::Redirected), 3);
}

#[tokio::test]
async fn a_body_larger_than_its_route_allows_gets_413() {
    let upstream = Recorder::start(OK).await;
    let proxy = with(&upstream, |_, backend| backend.max_body = Some(5)).await;
    let ask = async |head: &str, body: &str| {
        let request =
            format!("POST / HTTP/1.1\r\nHost: api.contoso.com\r\nConnection: close\r\n{head}\r\n{body}");
        let answer = String::from_utf8(proxy.ask(request.as_bytes()).await).unwrap();
        (answer[9..12].to_owned(), upstream.take())
    };
    let (status, came) = ask("Content-Length: 5\r\n", "12345").await;
    assert!(status == "200" && came.ends_with("12345"), "{came}");
    let (status, came) = ask("Transfer-Encoding: chunked\r\n", "3\r\n123\r\n2\r\n45\r\n0\r\n\r\n").await;
    assert!(status == "200" && came.contains("45"), "{came}");
    // Before anything is sent.
    for head in ["Content-Length: 6\r\n", "Content-Length: 6\r\nExpect: 100-continue\r\n"] {
        assert_eq!(ask(head, "").await, ("413".to_owned(), String::new()), "{head}");
    }
    let (status, came) = ask("Transfer-Encoding: chunked\r\n", "3\r\n123\r\n3\r\n456\r\n0\r\n\r\n").await;
    assert!(status == "413" && !came.contains("0\r\n\r\n"), "never as whole: {came}");
}
