//! Checks over facts that no lab has: old kernels, drivers without XDP, interpreted programs.

use super::*;
use crate::{
    config::{CertificateFault, Certified},
    dataplane::XdpMode,
    doctor::{
        facts::{Configured, Interface, Seen},
        report::{Finding, Severity},
    },
    net::link::Link,
    status::{
        Status,
        testing::{full, serving},
    },
    testing::model,
};

const NOW: i64 = 1_800_000_000;
const DAY: i64 = 24 * 3600;

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
            lost: Some(0),
        }]),
        status: Seen::Seen(Some(serving())),
        addresses: Seen::Seen(model(&[]).vip.all().collect()),
        ..Facts::default()
    };
    facts.host.kernel = Seen::Seen((6, 1));
    facts.host.memlock = Seen::Seen(Some(65_536));
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
fn r62_locked_memory_counts_on_kernels_that_count_maps_by_it() {
    let with = |kernel, limit| {
        move |facts: &mut Facts| {
            (facts.host.kernel, facts.host.memlock) = (Seen::Seen(kernel), Seen::Seen(limit));
        }
    };
    let few = found("memlock", with((5, 10), Some(65_536)));
    says(&few, Severity::Error, ("65536 bytes may be locked", "LimitMEMLOCK=infinity"));
    for (kernel, limit) in [((5, 10), None), ((5, 11), Some(65_536))] {
        let outcome = judged("memlock", with(kernel, limit));
        assert!(is_fine(&outcome), "{outcome:?}");
    }
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
fn r62_frames_that_got_lost_are_counted_where_the_driver_counts_them() {
    let lost = |count| move |facts: &mut Facts| interface(facts).lost = count;
    says(&found("lost-frames", lost(Some(3))), Severity::Error, ("3 frames", "ethtool -K PEER gro on"));
    assert!(is_fine(&judged("lost-frames", lost(Some(0)))));
    assert!(matches!(judged("lost-frames", lost(None)), Outcome::Elsewhere(_)));
}

#[test]
fn r62_a_vip_that_the_balancer_has_lost_is_named() {
    let lost = found("vip-here", |facts| {
        facts.addresses = Seen::Seen(["203.0.113.5".parse().expect("an address")].into());
    });
    says(&lost, Severity::Error, ("10.0.0.5 is not on its interface", "start the balancer again"));
    assert!(!lost.cause.contains("203.0.113.5"), "{lost:?}");
    assert!(is_fine(&judged("vip-here", |_| {})));
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
