//! Who gets in, and how sessions end.

use lab::curl::{Answer, Curl};

use crate::site::{AT, Site, without};

fn refers(answer: &Answer) -> Option<&str> {
    (answer.status == 303).then(|| answer.header("location")).flatten()
}

#[test]
fn r60_a_token_opens_the_overview_and_nothing_else_does() {
    let site = Site::up(|_| {});
    let visitor = site.visitor();
    assert_eq!(refers(&visitor.get("/")), Some("/login"));
    assert_eq!(refers(&visitor.get("/live")), Some("/login"));
    let form = visitor.get("/login");
    assert_eq!(form.status, 200);
    assert!(form.text().contains("name=\"token\" type=\"password\""), "{form:?}");

    let wrong = visitor.log_in("guess");
    assert_eq!(wrong.status, 401);
    assert!(wrong.text().contains("This token is not known."), "{wrong:?}");
    assert_eq!(wrong.header("set-cookie"), None);

    let entered = visitor.log_in(&site.read);
    assert_eq!(refers(&entered), Some("/"), "{entered:?}");
    let cookie = entered.header("set-cookie").unwrap();
    for part in ["gateway=", "; HttpOnly", "; SameSite=Strict", "; Path=/", "; Max-Age=43200"] {
        assert!(cookie.contains(part), "{part} in {cookie}");
    }
    assert!(!cookie.contains(&site.read));
    let page = visitor.get("/");
    let text = page.text();
    for part in
        ["contoso is ", "10.0.0.5", "gw-2", "api.contoso.com", "Who sees which source address", "graphs"]
    {
        assert!(text.contains(part), "{part} in {text}");
    }
    for (name, value) in [
        ("cache-control", "no-store"),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "same-origin"),
    ] {
        assert_eq!(page.header(name), Some(value));
    }
    let policy = page.header("content-security-policy").unwrap();
    for part in [
        "default-src 'none'",
        "script-src 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
        "form-action 'self'",
    ] {
        assert!(policy.contains(part), "{part} in {policy}");
    }
    assert!(!policy.contains("unsafe") && !policy.contains('*') && !policy.contains("data:"), "{policy}");
}

#[test]
fn a_session_ends_by_logging_out_and_with_its_token() {
    let site = Site::up(|_| {});
    let (one, other) = (site.visitor(), site.visitor());
    one.log_in(&site.read);
    other.log_in(&site.write);
    let csrf = one.csrf();
    assert_eq!(one.post("/logout", &[("csrf", &other.csrf())]).status, 403, "another session's secret");
    assert_eq!(one.get("/").status, 200);
    assert_eq!(refers(&one.post("/logout", &[("csrf", &csrf)])), Some("/login"));
    assert_eq!(refers(&one.get("/")), Some("/login"));

    assert_eq!(other.get("/").status, 200);
    without(&site.tokens(), "deploy");
    assert_eq!(refers(&other.get("/")), Some("/login"), "its token is gone");
}

#[test]
fn who_guesses_tokens_is_not_heard_any_more() {
    let site = Site::up(|_| {});
    let visitor = site.visitor();
    let statuses: Vec<_> = (0..12).map(|_| visitor.log_in("guess").status).collect();
    assert_eq!(statuses.first(), Some(&401));
    assert_eq!(statuses.last(), Some(&429), "{statuses:?}");
    assert_eq!(visitor.log_in(&site.read).status, 429, "not even with the right one");
    let log = site.running.balancer.log();
    assert!(log.contains("the page, from 10.0.0.99: too many unknown tokens before"), "{log}");
    assert!(!log.contains("guess") && !log.contains(&site.read), "a token in the log: {log}");
}

#[test]
fn a_login_from_a_page_elsewhere_is_none() {
    let site = Site::up(|_| {});
    let mut visitor = site.visitor();
    for origin in ["http://evil.example", "null", "http://10.0.0.2"] {
        visitor.origin = origin.to_owned();
        let answer = visitor.log_in(&site.read);
        assert_eq!((answer.status, answer.header("set-cookie")), (403, None), "{origin}");
    }
}

#[test]
fn r60_by_the_management_name_the_cookie_is_for_tls_only() {
    let site = Site::up(|config| {
        let management = config.endpoint.iter_mut().find(|one| one.role == "management").unwrap();
        management.routes = Vec::new();
    });
    let host = "contoso.management.azure-api.net";
    let jar = site.lab.folder().join("jar").display().to_string();
    let send = |path: &str, options: &[&str]| {
        let curl = Curl::new(&site.lab, "https", host, "10.0.0.5:3443".parse().unwrap(), path);
        let curl = curl.with(["--cookie", &jar, "--cookie-jar", &jar]).with(options.iter().copied());
        curl.send(&site.lab.hosts.client).unwrap()
    };
    let token = format!("token={}", site.read);
    let entered = send("/login", &["--data-urlencode", &token, "--header", "Sec-Fetch-Site: same-origin"]);
    let cookie = entered.header("set-cookie").unwrap_or_else(|| panic!("{entered:?}"));
    assert!(cookie.starts_with("__Host-gateway=") && cookie.ends_with("; Secure"), "{cookie}");
    let page = send("/", &[]);
    assert!(page.status == 200 && page.text().contains("contoso is "), "{page:?}");
    let log = site.running.balancer.log();
    assert!(log.contains("audit: token graphs (10.0.0.99): log in"), "the client and not the proxy: {log}");
}

#[test]
fn on_loopback_without_tokens_the_page_is_for_looking() {
    let site = Site::up(|config| (config.balancer.admin, config.balancer.tokens) = (None, None));
    let host = &site.lab.hosts.balancer;
    let send = |name: &str| {
        let curl = Curl::url(&site.lab, "http://127.0.0.1:9180/").with(["--header", name]);
        curl.send(host).unwrap()
    };
    let page = send("Host: localhost:9180");
    assert!(page.status == 200 && page.text().contains("contoso is "), "{page:?}");
    assert!(!page.text().contains("<form"), "{page:?}");
    assert_eq!(send("Host: evil.example").status, 403, "DNS rebinding");
    let curl = Curl::url(&site.lab, "http://127.0.0.1:9180/apply");
    let answer =
        curl.with(["--data", "csrf=", "--header", "Origin: http://127.0.0.1:9180"]).send(host).unwrap();
    assert_eq!(answer.status, 403);
}

#[test]
fn r60_the_overview_is_sent_anew_when_something_has_changed_and_the_stream_ends_with_its_session() {
    let site = Site::up(|_| {});
    let visitor = site.visitor();
    visitor.log_in(&site.write);
    let csrf = visitor.csrf();
    let stream = site.lab.hosts.client.enter(|| {
        use std::{io::Read as _, net::TcpStream, time::Duration};
        let mut stream = TcpStream::connect(AT).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let cookie = visitor.cookie();
        let request = format!("GET /live HTTP/1.1\r\nHost: {AT}\r\nCookie: {cookie}\r\n\r\n");
        std::io::Write::write_all(&mut stream, request.as_bytes()).unwrap();
        let mut heard = String::new();
        let mut until = |piece: &str| {
            let mut chunk = [0; 65_536];
            while !heard.contains(piece) {
                let count = stream.read(&mut chunk).unwrap();
                assert!(count > 0, "the stream ended before `{piece}`: {heard}");
                heard += &String::from_utf8_lossy(&chunk[..count]);
            }
        };
        until("event: overview");
        let down = visitor.post("/instances/gw-1", &[("csrf", &csrf), ("state", "down")]);
        assert_eq!(refers(&down), Some("/"), "{down:?}");
        until("gw-1 is down now");
        visitor.post("/logout", &[("csrf", &csrf)]);
        until("event: ended");
        heard
    });
    assert!(stream.contains("content-type: text/event-stream"), "{stream}");
}
