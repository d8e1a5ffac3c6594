//! The control interface: who may ask what, by which way, and that it answers as its document says.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use lab::{
    address::BALANCER,
    control,
    curl::{Answer, Curl},
    gateway::Gateway,
    host::Host,
    lab::Lab,
};
use serde_json::Value;

/// Everything that changes something.
const CHANGES: [(&str, &str, &str); 3] = [
    ("POST", "/v1/apply", "{}"),
    ("PUT", "/v1/instances/gw-1/admin-state", r#"{"admin_state":"down"}"#),
    ("DELETE", "/v1/instances/gw-1/admin-state", ""),
];
/// Everything that only looks.
const LOOKS: [&str; 6] =
    ["/v1/status", "/v1/counters", "/v1/drops", "/v1/audit", "/v1/openapi.json", "/metrics"];

struct Balancer {
    // In this order, in which they are dropped.
    gateway: Gateway,
    lab: Lab,
    file: PathBuf,
    read: String,
    write: String,
}

/// A new token, and its line.
fn token(lab: &Lab, name: &str, role: &str) -> (String, String) {
    let mut command = lab::gateway::gateway("token").unwrap();
    command.args([name, "--role", role]);
    let text = lab.hosts.balancer.run_command(command).unwrap().text();
    let word = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)).unwrap().trim().to_owned();
    (word("token"), word("line"))
}

impl Balancer {
    fn up(admin: Option<String>, with_tokens: bool) -> Self {
        let lab = Lab::raise(2).unwrap();
        let ((read, first), (write, second)) =
            (token(&lab, "graphs", "read"), token(&lab, "deploy", "write"));
        let tokens = lab.folder().join("tokens");
        fs::write(&tokens, format!("# tokens of the lab\n{first}\n{second}\n")).unwrap();
        fs::set_permissions(&tokens, fs::Permissions::from_mode(0o600)).unwrap();
        let mut config = lab.config();
        config.balancer.admin = admin;
        config.balancer.tokens = with_tokens.then(|| "tokens".into());
        let file = lab.write(&config).unwrap();
        let gateway = lab.balance(&file).unwrap();
        Self { gateway, lab, file, read, write }
    }

    fn ask(
        &self,
        from: &Host,
        at: &str,
        method: &str,
        path: &str,
        body: &str,
        token: Option<&str>,
    ) -> Answer {
        let mut curl = Curl::url(&self.lab, &format!("http://{at}{path}")).with(["--request", method]);
        if !body.is_empty() {
            curl = curl.with(["--data", body]);
        }
        if let Some(token) = token {
            curl = curl.with(["--header".to_owned(), format!("Authorization: Bearer {token}")]);
        }
        curl.send(from).unwrap()
    }

    fn socket(&self) -> PathBuf {
        self.lab.hosts.balancer.enter(|| gateway_userspace::api::socket_path("contoso").unwrap())
    }

    fn by_socket(&self, path: &str) -> Answer {
        let socket = self.socket().display().to_string();
        let curl = Curl::url(&self.lab, &format!("http://localhost{path}")).with(["--unix-socket", &socket]);
        curl.send(&self.lab.hosts.balancer).unwrap()
    }
}

fn json(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.body).unwrap_or_else(|error| panic!("{error}: {answer:?}"))
}

#[test]
fn over_tcp_nothing_is_read_without_a_token_and_nothing_changed_without_one_that_may() {
    let at = format!("{}:9180", BALANCER.v4());
    let balancer = Balancer::up(Some(at.clone()), true);
    let client = &balancer.lab.hosts.client;
    let ask = |method: &str, path: &str, body: &str, token: Option<&str>| {
        balancer.ask(client, &at, method, path, body, token)
    };
    let (read, write) = (balancer.read.as_str(), balancer.write.as_str());
    for path in LOOKS {
        assert_eq!(ask("GET", path, "", None).status, 401, "{path}");
        assert_eq!(ask("GET", path, "", Some("guess")).status, 401, "{path}");
        assert_eq!(ask("GET", path, "", Some(read)).status, 200, "{path}");
        assert_eq!(ask("GET", path, "", Some(write)).status, 200, "{path}");
    }
    let refused = ask("GET", "/v1/status", "", None);
    assert_eq!(refused.header("www-authenticate"), Some("Bearer"));
    assert_eq!(
        ask("GET", "/v1/health", "", None).status,
        200,
        "who spreads packets over balancers has no token"
    );
    let generation = || json(&ask("GET", "/v1/status", "", Some(read)))["generation"].clone();
    for (method, path, body) in CHANGES {
        assert_eq!(ask(method, path, body, None).status, 401, "{method} {path}");
        assert_eq!(ask(method, path, body, Some(read)).status, 403, "{method} {path}");
    }
    let states = |field: &str| json(&ask("GET", "/v1/status", "", Some(read)))["instances"][0][field].clone();
    assert_eq!((generation(), states("admin_state")), (1.into(), "up".into()));
    for (method, path, body) in CHANGES {
        let answer = ask(method, path, body, Some(write));
        assert_eq!(answer.status, 200, "{method} {path}: {answer:?}");
    }
    // Whoever guesses is not heard any more, with whatever token.
    let guesses: Vec<_> = (0..12).map(|_| ask("GET", "/v1/status", "", Some("guess")).status).collect();
    assert_eq!(guesses.last(), Some(&429), "{guesses:?}");
    let audit = balancer.by_socket("/v1/audit").text();
    for part in ["token deploy (10.0.0.99)", "instance gw-1 down", "nothing to do"] {
        assert!(audit.contains(part), "{part} in {audit}");
    }
    let log = balancer.gateway.log();
    assert!(log.contains("audit: token deploy (10.0.0.99): instance gw-1 down; generation 1: "), "{log}");
    for secret in [read, write, "guess"] {
        assert!(!log.contains(secret), "a token in the log: {log}");
    }
}

#[test]
fn without_tokens_tcp_is_for_looking_on_loopback_and_the_socket_for_its_owner() {
    let balancer = Balancer::up(None, false);
    let host = &balancer.lab.hosts.balancer;
    let at = "127.0.0.1:9180";
    for path in LOOKS {
        assert_eq!(balancer.ask(host, at, "GET", path, "", None).status, 200, "{path}");
    }
    for (method, path, body) in CHANGES {
        for token in [None, Some(balancer.write.as_str())] {
            assert_eq!(balancer.ask(host, at, method, path, body, token).status, 403, "{method} {path}");
        }
    }
    let rebound =
        Curl::url(&balancer.lab, "http://127.0.0.1:9180/v1/status").with(["--header", "Host: evil.example"]);
    assert_eq!(rebound.send(host).unwrap().status, 403);
    let elsewhere = balancer.ask(&balancer.lab.hosts.client, "10.0.0.2:9180", "GET", "/v1/health", "", None);
    assert_eq!(elsewhere.status, 0, "it listens on loopback only: {elsewhere:?}");
    let socket = balancer.socket();
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(balancer.by_socket("/v1/status").status, 200);
    balancer.gateway.stop().unwrap();
    assert!(!Path::new(&socket).exists(), "it goes with its balancer");
}

#[test]
fn what_is_odd_is_answered_in_words_and_changes_nothing() {
    let balancer = Balancer::up(None, true);
    let host = &balancer.lab.hosts.balancer;
    let at = "127.0.0.1:9180";
    let write = Some(balancer.write.as_str());
    let state = "/v1/instances/gw-1/admin-state";
    for (method, path, body, expected) in [
        ("GET", "/v1", "", 404),
        ("GET", "/v1/nothing", "", 404),
        ("GET", "/v1/apply", "", 405),
        ("POST", "/v1/status", "", 405),
        ("PUT", state, "{}", 400),
        ("PUT", state, r#"{"admin_state":"sideways"}"#, 400),
        ("PUT", state, r#"{"admin_state":"down","more":1}"#, 400),
        ("PUT", "/v1/instances/gw-9/admin-state", r#"{"admin_state":"down"}"#, 404),
        ("POST", "/v1/apply", r#"{"confirm":"yes"}"#, 400),
        ("POST", "/v1/apply", r#"{"file":"/etc/passwd"}"#, 409),
        ("POST", "/v1/plan", "nonsense", 422),
    ] {
        let answer = balancer.ask(host, at, method, path, body, write);
        assert_eq!(answer.status, expected, "{method} {path} {body}: {answer:?}");
        let answer = json(&answer);
        assert_eq!(answer["schema_version"], 1);
        assert!(!answer["error"].as_str().unwrap().is_empty());
    }
    let large = balancer.lab.folder().join("large");
    fs::write(&large, vec![b'#'; 3 << 20]).unwrap();
    let answer = balancer.ask(host, at, "POST", "/v1/plan", &format!("@{}", large.display()), write);
    assert_eq!(answer.status, 413, "{answer:?}");
    let status = control::json(host, "status", &balancer.file).unwrap();
    assert_eq!((&status["generation"], &status["instances"][0]["admin_state"]), (&1.into(), &"up".into()));
}

#[test]
fn r92_answers_are_as_the_document_says() {
    let balancer = Balancer::up(None, false);
    let document = json(&balancer.by_socket("/v1/openapi.json"));
    let paths = document["paths"].as_object().unwrap();
    let mut checked = 0;
    for (path, operations) in paths {
        let content = &operations["get"]["responses"]["200"]["content"]["application/json"]["schema"];
        if !content.is_object() {
            continue;
        }
        let answer = balancer.by_socket(path);
        assert!([200, 503].contains(&answer.status), "{path}: {answer:?}");
        if answer.status == 200 {
            fits(&document, content, &json(&answer), path);
            checked += 1;
        }
    }
    assert!(checked >= 4, "{checked}");
}

/// Every value is one that the schema tells of, and nothing that it asks for is missing.
fn fits(document: &Value, schema: &Value, value: &Value, at: &str) {
    if let Some(reference) = schema["$ref"].as_str() {
        let target = document.pointer(reference.trim_start_matches('#'));
        return fits(document, target.unwrap_or_else(|| panic!("{reference}")), value, at);
    }
    if let Some(any) = schema["anyOf"].as_array() {
        if value.is_null() && any.iter().any(|one| one["type"] == "null") {
            return;
        }
        let other: Vec<_> = any.iter().filter(|one| one["type"] != "null").collect();
        if let [one] = other[..] {
            fits(document, one, value, at);
        }
        return;
    }
    match value {
        Value::Object(fields) => {
            for name in schema["required"].as_array().into_iter().flatten() {
                assert!(fields.contains_key(name.as_str().unwrap()), "{at} has no {name}");
            }
            for (name, field) in fields {
                let known = schema["properties"].get(name);
                let known =
                    known.or_else(|| schema.get("additionalProperties").filter(|schema| schema.is_object()));
                let known = known.unwrap_or_else(|| panic!("{at}.{name} is not in the document"));
                fits(document, known, field, &format!("{at}.{name}"));
            }
        }
        Value::Array(items) => {
            items.iter().for_each(|item| fits(document, &schema["items"], item, &format!("{at}[]")));
        }
        _ => {}
    }
}
