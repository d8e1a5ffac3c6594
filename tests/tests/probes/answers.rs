//! R81: what is a good answer.

use std::thread;

use lab::{
    address::PRIVATE,
    config::default_host,
    curl::Curl,
    gateway::{Gateway, gateway},
    lab::{Lab, Running},
    probed::Answer,
};

use super::{PORT, Probed, SOON, eventually, named, quick, says, says_again, taking};

#[test]
fn r81_r82_a_stopped_proxy_gets_no_new_flows_transfers_elsewhere_go_on_and_it_comes_back() {
    let lab = Lab::raise(3).unwrap();
    let config = quick(lab.config());
    let Running { balancer, mut proxies } = lab.start(&config).unwrap();
    assert_eq!(taking(&lab), named(&["gw-1", "gw-2", "gw-3"]));
    let curl = Curl::https(&lab, &default_host("gateway"), PRIVATE, "/bytes/3276800?pause=100");
    let mut during: Vec<_> = (0..9).map(|_| lab.hosts.client.spawn(curl.command()).unwrap()).collect();
    for download in &mut during {
        assert!(eventually(SOON, || download.stdout().len() > 64 * 1024), "{}", download.stderr());
    }
    let hit = proxies.remove("gw-2").unwrap();
    let stopping = thread::spawn(move || hit.stop());
    says(&balancer, "gw-2 is down: 4 probes in a row failed: connection refused (10.0.0.12:8080)");
    assert_eq!(taking(&lab), named(&["gw-1", "gw-3"]));
    for mut download in during {
        let output = download.wait(SOON).unwrap();
        // Those of the stopped one end with it, whole or not: as an end of file or a reset.
        let cut = ["(18)", "(56)"].iter().any(|code| output.stderr.contains(code));
        assert!(output.ok() && output.stdout.len() == 3_276_800 || cut, "{}", output.stderr);
    }
    stopping.join().unwrap().unwrap();
    let again = lab.proxy(&lab.write(&config).unwrap(), "gw-2").unwrap();
    // It was said at the start, too.
    says_again(&balancer, "gw-2 is up: 2 probes in a row succeeded (10.0.0.12:8080)", 2);
    assert_eq!(taking(&lab), named(&["gw-1", "gw-2", "gw-3"]));
    assert_eq!(balancer.log().matches("gw-2 is down").count(), 1, "it is said once");
    drop(again);
}

#[test]
fn r81_each_bad_answer_is_told_and_none_holds_up_the_others() {
    let probed = Probed::up(6, |_| ());
    let answers = [
        (Answer::Status(503), "status 503"),
        (Answer::OtherProtocol, "no HTTP/1 response: \"220 mail.contoso.com ESMTP\\r\\n\""),
        (Answer::Endless, "no HTTP/1 response: interim responses without an end"),
        (Answer::Silence, "no answer within 200ms"),
        (Answer::Nothing, "the connection ended before an answer"),
    ];
    let names = ["gw-2", "gw-3", "gw-4", "gw-5", "gw-6"];
    for (name, (answer, _)) in names.iter().zip(answers) {
        probed.answer(name, answer);
    }
    for (name, (_, text)) in names.iter().zip(answers) {
        says(&probed.balancer, &format!("{name} is down: 4 probes in a row failed: {text}"));
    }
    assert_eq!(probed.taking(), named(&["gw-1"]));
}

#[test]
fn r81_the_file_says_which_status_is_good_and_is_taken_up_live() {
    let mut probed = Probed::up(2, |_| ());
    probed.answer("gw-2", Answer::Status(401));
    says(&probed.balancer, "gw-2 is down: 4 probes in a row failed: status 401");
    probed.config.probe.status = Some("200-299, 401".to_owned());
    probed.lab.write(&probed.config).unwrap();
    probed.balancer.reload().unwrap();
    says_again(&probed.balancer, "gw-2 is up", 2);
    assert_eq!(probed.taking(), named(&["gw-1", "gw-2"]));
}

#[test]
fn r81_over_tls_with_the_name_of_the_file_and_a_certificate_that_is_verified() {
    let lab = Lab::raise(2).unwrap();
    let mut config = quick(lab.config());
    config.probe.kind = Some("https".to_owned());
    config.probe.host = Some(default_host("gateway"));
    config.probe.verify = Some(true);
    let path = lab.write(&config).unwrap();
    let _proxies = ["gw-1", "gw-2"].map(|name| lab.proxy(&path, name).unwrap());
    let mut command = gateway("balance").unwrap();
    command.arg("--config").arg(&path).env("SSL_CERT_FILE", lab.authority.root());
    let mut balancer = Gateway::start(&lab.hosts.balancer, command, lab.folder()).unwrap();
    for name in ["gw-1", "gw-2"] {
        says(&balancer, &format!("{name} is up"));
    }
    config.probe.host = Some("elsewhere.contoso.com".to_owned());
    lab.write(&config).unwrap();
    balancer.reload().unwrap();
    says(&balancer, "gw-1 is down: 4 probes in a row failed: TLS: received fatal alert: ");
    says(&balancer, "no instance is in service: new flows are dropped");
    // A name of the file again; the certificate is not looked at.
    config.probe.host = None;
    config.probe.verify = Some(false);
    lab.write(&config).unwrap();
    balancer.reload().unwrap();
    says_again(&balancer, "gw-1 is up", 2);
}

#[test]
fn r81_a_connection_is_enough_for_tcp() {
    let probed = Probed::up(2, |config| config.probe.kind = Some("tcp".to_owned()));
    probed.answer("gw-2", Answer::Nothing);
    let asked = probed.answerers["gw-2"].asked();
    assert!(eventually(SOON, || probed.answerers["gw-2"].asked() > asked + 8));
    assert!(!probed.balancer.log().contains("is down"), "{}", probed.balancer.log());
    let address = format!("(10.0.0.12:{PORT})");
    assert!(probed.balancer.log().contains(&address));
    let sockets = probed.lab.hosts.balancer.must("ss -Htan state time-wait dst 10.0.0.12").unwrap();
    assert_eq!(sockets, "", "probes leave nothing in TIME_WAIT");
}
