//! Checks over facts that no lab has: old kernels, drivers without XDP.

use std::collections::BTreeSet;

use super::*;
use crate::{
    config::{CertificateFault, Certified},
    dataplane::XdpMode,
    doctor::{
        facts::{Configured, Door, Interface, Seen, Sent, Tried, WayBack},
        report::{Finding, Severity},
    },
    model::{Forwarding, Interfaces},
    net::link::Link,
    status::{
        Status,
        testing::{full, serving},
    },
    testing::model,
};

const NOW: i64 = 1_800_000_000;
const DAY: i64 = 24 * 3600;

fn on(interfaces: &[&str]) -> BTreeSet<String> {
    interfaces.iter().map(ToString::to_string).collect()
}

/// A balancer that is up, with all as it should be.
fn facts() -> Facts {
    let link = Link {
        index: 2,
        name: "eth0".into(),
        mac: Some([2, 0, 0, 0, 0, 1]),
        mtu: 1500,
        up: true,
        carrier: true,
        port: false,
        xdp: vec![],
    };
    let mut facts = Facts {
        place: [Place::Balancer].into(),
        file: Seen::Seen(Configured {
            path: "gateway.toml".into(),
            model: model(&["gw-1"]),
            certified: Certified::default(),
            now: NOW,
        }),
        interfaces: Seen::Seen(vec![Interface {
            name: "eth0".into(),
            link: Some(link),
            driver: Seen::Seen("veth".into()),
            foreign: vec![],
            sent: Some(Sent::default()),
        }]),
        status: Seen::Seen(Some(serving())),
        addresses: Seen::Seen(model(&[]).vip.all().map(|vip| (vip, on(&["eth0"]))).collect()),
        ..Facts::default()
    };
    facts.host.kernel = Seen::Seen((6, 1));
    facts.host.has_jit = Seen::Seen(true);
    facts
}

fn judged(id: &str, change: impl FnOnce(&mut Facts)) -> Outcome {
    let mut facts = facts();
    change(&mut facts);
    let check = ALL.iter().find(|check| check.id == id).expect("a check of that name");
    (check.judge)(&facts)
}

/// The one finding.
fn found(id: &str, change: impl FnOnce(&mut Facts)) -> Finding {
    match judged(id, change) {
        Outcome::Found(mut findings) if findings.len() == 1 => findings.remove(0),
        other => panic!("{id}: {other:?}"),
    }
}

#[track_caller]
fn says(finding: &Finding, severity: Severity, (cause, remedy): (&str, &str)) {
    assert_eq!(finding.severity, severity, "{finding:?}");
    assert!(finding.cause.contains(cause) && finding.remedy.contains(remedy), "{finding:?}");
}

fn is_fine(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Fine(_))
}

fn interface(facts: &mut Facts) -> &mut Interface {
    let Seen::Seen(all) = &mut facts.interfaces else { panic!("no interfaces") };
    &mut all[0]
}

fn runs(facts: &mut Facts, change: impl FnOnce(&mut Status)) {
    let mut status = serving();
    change(&mut status);
    facts.status = Seen::Seen(Some(status));
}

#[test]
fn r62_a_kernel_before_the_first_that_takes_the_programs_is_named() {
    for (version, is_enough) in [((5, 15), false), ((6, 0), false), ((6, 1), true), ((7, 0), true)] {
        let outcome = judged("kernel", |facts| facts.host.kernel = Seen::Seen(version));
        assert_eq!(is_fine(&outcome), is_enough, "{outcome:?}");
    }
    let old = found("kernel", |facts| facts.host.kernel = Seen::Seen((5, 15)));
    says(&old, Severity::Error, ("Linux 5.15 is too old", "install 6.1"));
    let unseen = judged("kernel", |facts| facts.host.kernel = Seen::Unseen("no /proc".into()));
    assert_eq!(unseen, Outcome::Unknown("no /proc".into()));
}

#[test]
fn r62_programs_that_are_interpreted_are_named_on_a_balancer_alone() {
    let interpreted = |facts: &mut Facts| facts.host.has_jit = Seen::Seen(false);
    says(&found("jit", interpreted), Severity::Warning, ("interpreted", "bpf_jit_enable=1"));
    assert!(is_fine(&judged("jit", |_| {})));
    let on_a_client = judged("jit", |facts| {
        interpreted(facts);
        facts.place = [Place::Client].into();
    });
    assert!(matches!(on_a_client, Outcome::Elsewhere(_)), "{on_a_client:?}");
}

#[test]
fn r62_a_running_program_in_generic_mode_is_named_with_what_kept_the_driver_from_it() {
    let generic = |driver: &'static str, mtu| {
        move |facts: &mut Facts| {
            runs(facts, |status| status.interfaces.iter_mut().for_each(|one| one.xdp = XdpMode::Generic));
            let one = interface(facts);
            one.driver = Seen::Seen(driver.into());
            one.link.iter_mut().for_each(|link| link.mtu = mtu);
        }
    };
    let veth = found("xdp-mode", generic("veth", 9000));
    says(&veth, Severity::Warning, ("veth takes none above an MTU of 3506, and it has 9000", "mtu 1500"));
    let card = found("xdp-mode", generic("e1000", 1500));
    says(&card, Severity::Warning, ("the driver e1000 took none", "whose driver has XDP"));
    let native = judged("xdp-mode", |facts| {
        runs(facts, |status| status.interfaces.iter_mut().for_each(|one| one.xdp = XdpMode::Native));
    });
    assert!(is_fine(&native), "{native:?}");
}

#[test]
fn r62_frames_that_get_lost_are_named_and_those_that_were_lost_long_ago_are_not() {
    let sent = |taken, lost, lost_before| {
        move |facts: &mut Facts| interface(facts).sent = Some(Sent { taken, lost, lost_before })
    };
    let lost = found("lost-frames", sent(4, 3, 0));
    says(&lost, Severity::Error, ("3 of 7 frames that the program just sent", "ethtool -K PEER gro on"));
    assert!(is_fine(&judged("lost-frames", sent(0, 0, 0))));
    let mended = Outcome::Fine("none of 4 was lost just now; 3 were before".into());
    assert_eq!(judged("lost-frames", sent(4, 0, 3)), mended);
    // Nothing was sent: as lost as it was then, or not.
    let quiet = Outcome::Unknown("none was sent just now, and 3 were lost before".into());
    assert_eq!(judged("lost-frames", sent(0, 0, 3)), quiet);
    let uncounted = judged("lost-frames", |facts| interface(facts).sent = None);
    assert!(matches!(uncounted, Outcome::Elsewhere(_)), "{uncounted:?}");
}

#[test]
fn r62_a_vip_that_the_balancer_has_lost_is_named() {
    let [private, public] = ["10.0.0.5", "203.0.113.5"].map(|ip| ip.parse().expect("an address"));
    let with = |private_on: &'static [&'static str]| {
        move |facts: &mut Facts| {
            facts.addresses = Seen::Seen([(private, on(private_on)), (public, on(&["eth0"]))].into());
        }
    };
    let lost = found("vip-here", |facts| facts.addresses = Seen::Seen([(public, on(&["eth0"]))].into()));
    says(&lost, Severity::Error, ("10.0.0.5 is not on eth0: nobody", "start the balancer again"));
    assert!(!lost.cause.contains("203.0.113.5"), "{lost:?}");
    // Of the link nobody hears of those.
    for elsewhere in [&["lo"][..], &["eth1"]] {
        let word = format!("10.0.0.5 is not on eth0, but on {}", elsewhere[0]);
        says(&found("vip-here", with(elsewhere)), Severity::Error, (&word, "start the balancer again"));
    }
    // With an instance on the balancer's host it is on both.
    assert!(is_fine(&judged("vip-here", with(&["eth0", "lo"]))));
    let on_instance = judged("vip-here", |facts| {
        with(&["lo"])(facts);
        facts.place = [Place::Instance].into();
    });
    assert!(matches!(on_instance, Outcome::Elsewhere(_)), "{on_instance:?}");
}

#[test]
fn r62_each_side_of_the_balancer_has_the_vips_of_its_own() {
    let [private, public] = ["10.0.0.5", "203.0.113.5"].map(|ip| ip.parse().expect("an address"));
    let with = |inside: &'static str, outside: &'static str| {
        move |facts: &mut Facts| {
            let Seen::Seen(file) = &mut facts.file else { panic!("no file") };
            file.model.balancer.interfaces =
                Interfaces::Two { inside: "eth0".into(), outside: "eth1".into() };
            facts.addresses = Seen::Seen([(private, on(&[inside])), (public, on(&[outside]))].into());
        }
    };
    assert!(is_fine(&judged("vip-here", with("eth0", "eth1"))));
    let wrong = found("vip-here", with("eth0", "eth0"));
    says(&wrong, Severity::Error, ("203.0.113.5 is not on eth1, but on eth0", "start the balancer again"));
}

/// Doors, as they were tried.
type Doors = &'static [fn() -> Tried];

#[test]
fn r62_checksums_that_nobody_fills_in_are_named_where_no_connection_is_answered() {
    const SILENT: Doors = &[|| Tried::Silent];
    const BOTH: Doors = &[|| Tried::Silent, || Tried::Connected];
    const REFUSED: Doors = &[|| Tried::Failed("refused".into())];
    let tried = |doors: Doors, unfinished: &'static [&'static str]| {
        move |facts: &mut Facts| {
            facts.place = [Place::Client].into();
            facts.unfinished = on(unfinished);
            let door = |tried: &fn() -> Tried| Door {
                at: "10.0.0.5:3443".parse().expect("an address"),
                from: "here".into(),
                tried: Seen::Seen(tried()),
            };
            facts.management = doors.iter().map(door).collect();
        }
    };
    let trap = found("checksums", tried(SILENT, &["eth0"]));
    says(&trap, Severity::Error, ("eth0 leaves checksums to a card", "ethtool -K eth0 tx off"));
    for (doors, unfinished) in [(SILENT, &[][..]), (BOTH, &["eth0"]), (REFUSED, &["eth0"]), (&[], &["eth0"])]
    {
        let outcome = judged("checksums", tried(doors, unfinished));
        assert!(is_fine(&outcome), "{outcome:?}");
    }
    // From an instance nothing can be tried.
    for (forwarding, is_known) in [(Forwarding::L2, true), (Forwarding::Nat, false)] {
        let outcome = judged("checksums", |facts| {
            tried(&[], &["eth0"])(facts);
            facts.place = [Place::Instance].into();
            let Seen::Seen(file) = &mut facts.file else { panic!("no file") };
            file.model.balancer.forwarding = forwarding;
        });
        assert!(
            is_known == is_fine(&outcome) && is_known != matches!(outcome, Outcome::Unknown(_)),
            "{outcome:?}"
        );
    }
}

#[test]
fn r62_the_way_back_that_is_shown_is_the_one_that_was_asked_for() {
    let way = WayBack {
        network: "10.8.0.0/16".parse().expect("a network"),
        sample: "10.8.255.254".parse().expect("an address"),
        comes_by: "eth0".into(),
        leaves_by: Some("eth1".into()),
        is_strict: false,
    };
    let without = WayBack { leaves_by: None, ..way.clone() };
    let strict = WayBack { is_strict: true, ..way.clone() };
    for (way, severity) in [(way, Severity::Warning), (without, Severity::Error), (strict, Severity::Error)] {
        let told = found("ways-back", |facts| {
            facts.place = [Place::Instance].into();
            facts.ways_back = Seen::Seen(vec![way]);
        });
        assert!(
            told.severity == severity && told.evidence.contains("`ip route get 10.8.255.254`"),
            "{told:?}"
        );
    }
}

#[test]
fn r62_troubles_of_instances_are_errors_once_nobody_is_served() {
    let with = |ready: bool| {
        move |facts: &mut Facts| {
            runs(facts, |status| {
                status.trouble = full().trouble;
                status.vips.iter_mut().for_each(|vip| vip.ready = ready);
            });
        }
    };
    says(&found("instances", with(true)), Severity::Warning, ("gw-2 is down", "gateway status"));
    says(&found("instances", with(false)), Severity::Error, ("gw-2 is down", "gateway status"));
    assert!(is_fine(&judged("instances", |_| {})));
    let none = judged("instances", |facts| facts.status = Seen::Seen(None));
    assert!(matches!(none, Outcome::Unknown(_)), "{none:?}");
}

#[test]
fn r62_a_certificate_is_told_of_three_weeks_before_its_end_and_once_after_it() {
    let ends = |until| {
        move |facts: &mut Facts| {
            let Seen::Seen(file) = &mut facts.file else { panic!("no file") };
            file.certified.ends = vec![("portal.pem".into(), until)];
        }
    };
    says(
        &found("certificates", ends(NOW + 5 * DAY)),
        Severity::Warning,
        ("good for 5 days more", "renew it"),
    );
    let last = found("certificates", ends(NOW + 21 * DAY - 1));
    says(&last, Severity::Warning, ("good for 20 days more", "renew it"));
    assert!(is_fine(&judged("certificates", ends(NOW + 21 * DAY))));
    // As `gateway check` says it; that it ends soon is not told besides.
    let expired = found("certificates", |facts| {
        ends(NOW - DAY)(facts);
        let Seen::Seen(file) = &mut facts.file else { panic!("no file") };
        file.certified.faults = vec![CertificateFault {
            code: "C045".into(),
            message: "the certificate has expired".into(),
            help: Some("renew it".into()),
            is_unreadable: false,
        }];
    });
    says(&expired, Severity::Error, ("has expired", "renew it; `gateway check --config gateway.toml`"));
}

#[test]
fn r62_certificates_that_cannot_be_read_are_missing_on_instances_alone() {
    let unreadable = |place| {
        move |facts: &mut Facts| {
            facts.place = [place].into();
            let Seen::Seen(file) = &mut facts.file else { panic!("no file") };
            file.certified.faults = vec![CertificateFault {
                code: "C040".into(),
                message: "portal.pem cannot be read".into(),
                help: None,
                is_unreadable: true,
            }];
        }
    };
    let on_instance = found("certificates", unreadable(Place::Instance));
    says(&on_instance, Severity::Error, ("portal.pem cannot be read", "gateway check"));
    let on_balancer = judged("certificates", unreadable(Place::Balancer));
    assert!(matches!(on_balancer, Outcome::Elsewhere(_)), "{on_balancer:?}");
}
