//! R61: calls from the test console, in every way in which packets reach instances.

use std::time::Duration;

use aya::programs::{SchedClassifier, TcAttachType};
use lab::{curl::Answer, mode::Mode, wait};

use crate::site::Site;

fn call(site: &Site, changes: &[(&str, &str)]) -> Answer {
    let visitor = site.visitor();
    visitor.log_in(&site.write);
    let csrf = visitor.csrf();
    let mut fields = vec![
        ("csrf", csrf.as_str()),
        ("name", "contoso.azure-api.net"),
        ("at", "10.0.0.5:443"),
        ("instance", ""),
        ("method", "GET"),
        ("path", "/orders?id=1"),
        ("headers", "X-Trace: 4711"),
        ("body", ""),
    ];
    for (name, value) in changes {
        fields.iter_mut().find(|(field, _)| field == name).unwrap().1 = value;
    }
    visitor.post("/console", &fields)
}

/// The steps and what each came to, and the answer's status.
fn steps(page: &str) -> Vec<String> {
    let word = |text: &str, begins: &str| {
        let (_, rest) = text.split_once(begins)?;
        let (_, rest) = rest.split_once('>')?;
        Some(rest.split('<').next()?.to_owned())
    };
    let steps = page.split("<li><span class=\"step\"").skip(1);
    steps
        .filter_map(|step| Some(format!("{} {}", word(step, "")?, word(step, "<span class=\"word")?)))
        .collect()
}

/// Has `text`, but for what HTML writes in another way.
fn has(page: &str, text: &str) {
    let text = text.replace('"', "&quot;");
    assert!(page.contains(&text), "{text} in {page}");
}

/// The page has a command for the balancer's shell, which tells this.
#[track_caller]
fn explains(site: &Site, page: &str, told: &str) {
    let (_, rest) = page.split_once("aria-label=\"gateway explain\">").unwrap_or_else(|| panic!("{page}"));
    let output = site.by_shell(rest.split('<').next().unwrap());
    assert!(output.ok() && output.text().contains(told), "{told}: {output:?}");
}

fn call_reaches_the_service(mode: Mode) {
    let site = Site::up(|config| *config = config.clone().forwarding(mode));
    for (name, at, role) in [
        ("contoso.azure-api.net", "10.0.0.5:443", "orders"),
        ("contoso.portal.azure-api.net", "[fd00:0:0:1::5]:443", "portal"),
        ("contoso.management.azure-api.net", "203.0.113.5:3443", "management"),
    ] {
        for instance in ["", "gw-1", "gw-2"] {
            let answer = call(&site, &[("name", name), ("at", at), ("instance", instance)]);
            let page = answer.text();
            assert_eq!(answer.status, 200, "{page}");
            // The lab's authority is none that this host trusts.
            let expected =
                ["Instance done", "TCP done", "TLS note", "Request done", "Answer done", "Body done"];
            assert_eq!(steps(&page)[1..], expected, "{mode:?} {at}: {page}");
            has(&page, &format!(r#""service":"{role}""#));
            has(&page, "200 OK");
            has(&page, &format!("certificate for {name}"));
            has(&page, "not trusted by this host: ");
            has(
                &page,
                &if instance.is_empty() {
                    "the ring gives it".to_owned()
                } else {
                    format!("{instance}: it was")
                },
            );
        }
    }
    let plain = call(&site, &[("at", "10.0.0.5:80")]).text();
    has(&plain, "308 Permanent Redirect");
    has(&plain, "location: https://contoso.azure-api.net/orders?id=1");
    assert!(!plain.contains("200 OK"), "no redirect is followed: {plain}");
}

#[test]
fn r61_a_call_reaches_the_service_in_l2() {
    call_reaches_the_service(Mode::L2);
}

#[test]
fn r61_a_call_reaches_the_service_in_gue() {
    call_reaches_the_service(Mode::Gue4);
}

#[test]
fn r61_a_call_reaches_the_service_in_nat() {
    call_reaches_the_service(Mode::Nat);
}

#[test]
fn r61_where_the_instance_is_on_the_same_host_a_call_goes_over_loopback_and_the_page_says_so() {
    let site = Site::on_one_host();
    for at in ["10.0.0.5:443", "[fd00:0:0:1::5]:443"] {
        // The proxy has just begun, and its first probes may be still to come.
        let done = || call(&site, &[("at", at)]).text();
        let page =
            wait::until(Duration::from_secs(30), || Some(done()).filter(|page| page.contains("200 OK")));
        let page = page.unwrap_or_else(&done);
        has(&page, r#""service":"orders""#);
        has(
            &page,
            "gw-1 runs on this host, which has the VIP itself: over the loopback interface, and not through",
        );
    }
}

/// Programs of TC on the balancer's interface.
fn programs(site: &Site) -> usize {
    let count = |direction| SchedClassifier::query_tcx("eth0", direction).unwrap().1.len();
    site.lab.hosts.balancer.enter(|| count(TcAttachType::Ingress) + count(TcAttachType::Egress))
}

#[test]
fn r61_what_a_call_takes_is_attached_for_as_long_as_it_lasts() {
    let site = Site::up(|_| {});
    assert_eq!(programs(&site), 0);
    let seen = std::thread::scope(|scope| {
        let slow = scope.spawn(|| call(&site, &[("path", "/slow?ms=3000")]).text());
        let seen = wait::eventually(Duration::from_secs(20), || programs(&site) == 2);
        has(&slow.join().unwrap(), "200 OK");
        seen
    });
    assert!(seen && wait::eventually(Duration::from_secs(10), || programs(&site) == 0), "{seen}");
    let by_file = Site::up(|config| config.probe.availability = Some("1s".to_owned()));
    let attached = || wait::eventually(Duration::from_secs(20), || programs(&by_file) == 2);
    assert!(attached());
    has(&call(&by_file, &[]).text(), "200 OK");
    assert!(attached(), "the file asks for them");
}

#[test]
fn r61_what_fails_is_the_step_that_failed_and_nothing_but_our_own_is_called() {
    let mut site = Site::up(|_| {});
    let elsewhere = call(&site, &[("at", "10.0.1.20:8080")]);
    assert!(elsewhere.status == 422 && elsewhere.text().contains("At: a VIP"), "{elsewhere:?}");
    let elsewhere = call(&site, &[("name", "evil.example")]);
    assert!(elsewhere.status == 422 && elsewhere.text().contains("Name: one of"), "{elsewhere:?}");
    explains(&site, &elsewhere.text(), "evil.example");
    let refused = call(&site, &[("at", "203.0.113.5:3443")]).text();
    assert_eq!(steps(&refused).last().unwrap(), "TLS failed", "{refused}");
    explains(&site, &refused, "unrecognized_name");
    assert!(
        refused.to_lowercase().contains("unrecognisedname") || refused.contains("UnrecognizedName"),
        "{refused}"
    );

    let posted = call(
        &site,
        &[("method", "POST"), ("body", "{\"a\":1}"), ("headers", "Content-Type: application/json")],
    );
    has(&posted.text(), "POST /orders?id=1");
    drop(site.running.proxies.remove("gw-1").unwrap());
    let gone = call(&site, &[("instance", "gw-1")]).text();
    assert_eq!(steps(&gone).last().unwrap(), "TCP failed", "{gone}");
    let log = site.running.balancer.log();
    assert!(
        log.contains(
            "audit: token deploy (10.0.0.99): call POST https://contoso.azure-api.net/orders?id=1 at"
        ),
        "{log}"
    );

    let visitor = site.visitor();
    visitor.log_in(&site.read);
    let csrf = visitor.csrf();
    let fields = [
        ("csrf", csrf.as_str()),
        ("name", "contoso.azure-api.net"),
        ("at", "10.0.0.5:443"),
        ("instance", ""),
        ("method", "GET"),
        ("path", "/"),
        ("headers", ""),
        ("body", ""),
    ];
    assert_eq!(visitor.post("/console", &fields).status, 403, "a read token calls nothing");
    assert!(!visitor.get("/console").text().contains("action=\"/console\""));
}
