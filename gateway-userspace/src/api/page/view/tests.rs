//! R60, R90: what the page says, in words, of states that were made up.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{super::door::Viewer, *};
use crate::{
    api::{call::Who, tokens::Role},
    status::testing::{full, serving},
};

/// A while after the examples' times.
fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_790_004_000)
}

fn looker() -> Viewer {
    let who = Who::Local { uid: 0, pid: None };
    Viewer { name: "graphs".into(), role: Role::Read, session: None, who }
}

fn rendered(status: &Status) -> String {
    let viewer = looker();
    let rates = Rates {
        packets: vec![1.0, 1_200.0],
        reasons: [("no-service".to_owned(), vec![0.0, 2.0])].into(),
        ..Rates::default()
    };
    overview(status, &Glance { viewer: &viewer, rates, notice: None, now: now() }).0
}

#[test]
fn r60_all_that_an_operator_asks_is_there_as_a_word() {
    let text = rendered(&full());
    for part in [
        "contoso is <span class=\"state odd\" role=\"status\">degraded</span>",
        "internal mode",
        "<span class=\"mono\">10.0.0.5</span>",
        "Copy 10.0.0.5",
        "port 53, 80, 443, 3443, 53/udp",
        "contoso.azure-api.net",
        "*.api.contoso.com",
        "days left",
        "shown by gw-2",
        "503 Service Unavailable",
        "does not answer",
        "set at run time; the file says up",
        "drains, 10 min left",
        "33.3 %",
        "removed",
        "700 of 1,024",
        "600 flows",
        "7 packets found no port",
        "no leased port is free towards this destination",
        "Packets: 1.2 k a second now",
        "the client's own address",
        "refused",
        "C012 unknown key",
        "native XDP",
        "gw-2 is down",
    ] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
}

#[test]
fn r9_an_address_is_shown_once_it_is_ready_and_until_then_why_not() {
    let text = rendered(&full());
    assert!(text.contains("eth0: 203.0.113.5 is already used") && !text.contains("Copy 203.0.113.5"));
    assert!(rendered(&serving()).contains("Copy 203.0.113.5"));
}

#[test]
fn r45_a_certificate_looks_well_until_three_weeks_before_its_end() {
    let mut status = full();
    for (days, word) in [(22, "good\">22 days left"), (21, "good\">21 days left"), (20, "odd\">20 days left")]
    {
        let ends = now() + Duration::from_secs(days * 86_400 + 1);
        status.endpoints[0].certificates[0].expires = Some(ends.into());
        let text = rendered(&status);
        assert!(text.contains(word), "{word} in\n{text}");
    }
}

#[test]
fn r60_of_certificates_that_are_not_here_instances_tell_and_else_nobody() {
    let mut status = full();
    let only = |status: &Status| {
        let text = rendered(status);
        (text.contains("not known here"), text.contains("shown by gw-2"))
    };
    status.endpoints[0].certificates.remove(0);
    assert_eq!(only(&status), (false, true));
    status.endpoints[0].first_end = None;
    assert_eq!(only(&status), (true, false));
    // The same in a file here needs no saying twice.
    let mut status = full();
    let expires = status.endpoints[0].certificates[0].expires.unwrap();
    status.endpoints[0].first_end.as_mut().unwrap().expires = expires;
    assert_eq!(only(&status), (false, false));
}

#[test]
fn who_may_only_look_is_offered_no_change() {
    let text = rendered(&full());
    assert!(!text.contains("<form") && !text.contains("csrf"), "{text}");
}

#[test]
fn nothing_in_a_page_needs_more_than_the_policy_allows() {
    let text = rendered(&full());
    assert!(!text.contains("style=") && !text.contains("onclick") && !text.contains("http://www"));
    assert_eq!(text.matches("<script").count(), 1);
    assert!(text.contains("<script src=\"/page.js\" defer></script>"));
}

#[test]
fn what_others_wrote_is_text() {
    let mut status = full();
    status.trouble = vec!["<script>alert(1)</script>".into()];
    status.instances[0].name = "\"><img src=x>".into();
    let text = rendered(&status);
    assert!(!text.contains("<script>alert") && !text.contains("<img src=x"), "{text}");
}
