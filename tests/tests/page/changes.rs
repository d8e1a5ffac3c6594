//! What the page may change, for whom, and by which requests.

use lab::curl::Answer;

use crate::site::Site;

/// Everything that changes something.
const CHANGES: [(&str, &[(&str, &str)]); 3] =
    [("/instances/gw-1", &[("state", "down")]), ("/instances/gw-1", &[("state", "auto")]), ("/apply", &[])];

fn state(site: &Site) -> (u64, String) {
    let status = site.status();
    let state = status["instances"][0]["admin_state"].as_str().unwrap().to_owned();
    (status["generation"].as_u64().unwrap(), state)
}

fn went_home(answer: &Answer) -> bool {
    answer.status == 303 && answer.header("location") == Some("/")
}

#[test]
fn r83_a_write_token_sets_admin_states_and_applies_the_file_and_the_page_says_what_came_of_it() {
    let site = Site::up(|_| {});
    let visitor = site.visitor();
    visitor.log_in(&site.write);
    let csrf = visitor.csrf();
    let post = |path: &str, field: (&str, &str)| {
        let answer = visitor.post(path, &[("csrf", &csrf), field]);
        assert!(went_home(&answer), "{answer:?}");
        visitor.get("/").text()
    };
    let page = post("/instances/gw-1", ("state", "down"));
    assert!(page.contains("gw-1 is down now; it drains, for 3600 s at most."), "{page}");
    assert!(page.contains("set at run time; the file says auto") && page.contains("drains, "), "{page}");
    assert_eq!(state(&site).1, "down");
    let page = post("/instances/gw-1", ("state", "auto"));
    assert!(page.contains("gw-1 is auto now."), "{page}");
    assert_eq!(state(&site).1, "auto");
    let page = post("/instances/gw-9", ("state", "down"));
    assert!(page.contains("Not done: ") && page.contains("gw-9"), "{page}");
    let page = post("/apply", ("confirm", "yes"));
    assert!(page.contains("The file says what is so already: generation 1."), "{page}");

    let file = site.lab.folder().join("gateway.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    site.lab.write_text(&text.replacen("weight = 100", "weight = 50", 1)).unwrap();
    let page = post("/apply", ("confirm", "yes"));
    assert!(page.contains("The file is in force, as generation 2."), "{page}");
    site.lab.write_text("nonsense").unwrap();
    let page = post("/apply", ("confirm", "yes"));
    assert!(
        page.contains("Not done: ") && page.contains("is degraded") || page.contains("degraded</span>"),
        "{page}"
    );
    let log = site.running.balancer.log();
    assert!(log.contains("audit: token deploy (10.0.0.99): instance gw-1 down"), "{log}");
}

#[test]
fn a_read_token_sees_and_changes_nothing() {
    let site = Site::up(|_| {});
    let visitor = site.visitor();
    visitor.log_in(&site.read);
    let page = visitor.get("/").text();
    assert!(!page.contains("/apply") && !page.contains("/instances/"), "no form is offered: {page}");
    let csrf = visitor.csrf();
    let before = state(&site);
    for (path, fields) in CHANGES {
        let fields: Vec<_> = fields.iter().copied().chain([("csrf", csrf.as_str())]).collect();
        let answer = visitor.post(path, &fields);
        assert!(answer.status == 403 && answer.text().contains("role `write`"), "{path}: {answer:?}");
    }
    assert_eq!(state(&site), before);
}

#[test]
fn a_change_needs_the_sessions_secret_and_a_page_of_our_own_and_no_get_changes_anything() {
    let site = Site::up(|_| {});
    let mut visitor = site.visitor();
    visitor.log_in(&site.write);
    let csrf = visitor.csrf();
    let before = state(&site);
    for (path, fields) in CHANGES {
        for wrong in ["", "guess", &csrf[1..]] {
            let fields: Vec<_> = fields.iter().copied().chain([("csrf", wrong)]).collect();
            assert_eq!(visitor.post(path, &fields).status, 403, "{path} with {wrong:?}");
        }
        assert_eq!(visitor.post(path, fields).status, 422, "{path} without the field");
        let fields: Vec<_> = fields.iter().copied().chain([("csrf", csrf.as_str())]).collect();
        for origin in ["http://evil.example", "null", "https://10.0.0.2:9181"] {
            visitor.origin = origin.to_owned();
            assert_eq!(visitor.post(path, &fields).status, 403, "{path} from {origin}");
        }
        visitor.origin = format!("http://{}", crate::site::AT);
        let asked: Vec<_> = fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let answer = visitor.get(&format!("{path}?{}", asked.join("&")));
        assert_eq!(answer.status, 405, "{path}: {answer:?}");
    }
    assert_eq!(
        site.visitor().post("/apply", &[("csrf", &csrf)]).status,
        303,
        "without a session: to the login"
    );
    assert_eq!(state(&site), before);
    let large = site.lab.folder().join("large");
    std::fs::write(&large, "x".repeat(200_000)).unwrap();
    assert_eq!(visitor.post_file("/apply", "csrf", &large).status, 413);
}
