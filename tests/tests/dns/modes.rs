//! R4, R52, R54: what is answered in which mode, and while the file goes from one to another.

use std::{
    fs, mem,
    net::IpAddr,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use lab::{
    address::{PRIVATE, PRIVATE6, PUBLIC, PUBLIC6},
    config::Config,
    control,
    dig::{Dig, dig},
    gateway::{Gateway, gateway},
    lab::{Lab, Running},
    wait::eventually,
};

use super::{VIPS, names};

/// For a reload to be known everywhere.
const PATIENCE: Duration = Duration::from_secs(15);
const NAME: &str = "contoso.azure-api.net";

fn ask(lab: &Lab, vip: IpAddr, words: &str) -> Dig {
    dig(&lab.hosts.client, vip, words).unwrap()
}

fn serial(lab: &Lab) -> u32 {
    ask(lab, VIPS[0], &format!("{NAME} MX")).serial().unwrap()
}

/// Writes the file, so many seconds later than now: by its time the serial goes.
fn write(lab: &Lab, config: &Config, seconds: u64) -> PathBuf {
    let file = lab.write(config).unwrap();
    let later = SystemTime::now() + Duration::from_secs(seconds);
    fs::File::options().append(true).open(&file).unwrap().set_modified(later).unwrap();
    file
}

fn apply(lab: &Lab, file: &Path) {
    control::json(&lab.hosts.balancer, "apply --confirm", file).unwrap();
}

fn reload(running: &mut Running) {
    running.proxies.values_mut().for_each(|proxy| proxy.reload().unwrap());
}

/// Every name has these addresses, whoever inside is asked, over UDP and TCP.
#[track_caller]
fn have(lab: &Lab, addresses: [IpAddr; 2]) {
    let [v4, v6] = addresses.map(|address| address.to_string());
    let hints = format!("ipv4hint={v4} ipv6hint={v6}");
    assert!(
        eventually(PATIENCE, || ask(lab, VIPS[0], &format!("{NAME} A")).data() == [v4.as_str()]),
        "{}",
        ask(lab, VIPS[0], &format!("{NAME} A")).text
    );
    for vip in VIPS {
        for name in names() {
            for transport in ["+notcp", "+tcp"] {
                let said = |kind: &str| ask(lab, vip, &format!("{name} {kind} {transport}"));
                assert_eq!(said("A").data(), [v4.as_str()], "{name} at {vip} {transport}");
                assert_eq!(said("AAAA").data(), [v6.as_str()], "{name} at {vip} {transport}");
                let https = said("HTTPS");
                assert!(https.data()[0].ends_with(&hints), "{name} at {vip} {transport}: {}", https.text);
            }
        }
    }
}

/// R3: nobody outside is told anything, in whichever mode.
fn outside_is_told_nothing(lab: &Lab) {
    for vip in [PUBLIC.into(), PUBLIC6.into(), VIPS[0]] {
        let said = dig(&lab.hosts.outside, vip, &format!("{NAME} A")).unwrap();
        assert_eq!(said.status, "", "{vip}: {}", said.text);
    }
}

#[test]
fn r54_answers_and_serial_follow_a_switch_of_the_mode_and_back() {
    let lab = Lab::raise(2).unwrap();
    let mut config = lab.config().answering_dns();
    let mut running = lab.start(&config).unwrap();
    have(&lab, [PRIVATE.into(), PRIVATE6.into()]);
    outside_is_told_nothing(&lab);
    let internal = serial(&lab);

    "external".clone_into(&mut config.service.mode);
    let file = write(&lab, &config, 5);
    reload(&mut running);
    apply(&lab, &file);
    have(&lab, [PUBLIC.into(), PUBLIC6.into()]);
    outside_is_told_nothing(&lab);
    let external = serial(&lab);
    assert!(external > internal, "{external} after {internal}");

    "internal".clone_into(&mut config.service.mode);
    let file = write(&lab, &config, 10);
    apply(&lab, &file);
    reload(&mut running);
    have(&lab, [PRIVATE.into(), PRIVATE6.into()]);
    assert!(serial(&lab) > external, "{} after {external}", serial(&lab));
}

#[test]
fn r52_answering_is_switched_on_and_off_by_a_reload() {
    let lab = Lab::raise(2).unwrap();
    let config = lab.config();
    let mut running = lab.start(&config).unwrap();
    let is_silent = || VIPS.iter().all(|&vip| ask(&lab, vip, &format!("{NAME} A +time=1")).status.is_empty());
    assert!(is_silent());
    for round in [1, 2] {
        let file = write(&lab, &config.clone().answering_dns(), 5 * round);
        reload(&mut running);
        apply(&lab, &file);
        have(&lab, [PRIVATE.into(), PRIVATE6.into()]);
        let file = write(&lab, &config, 5 * round);
        apply(&lab, &file);
        reload(&mut running);
        assert!(is_silent(), "round {round}");
    }
}

/// Balancer and instance on one host.
fn run(lab: &Lab, config: &Config) -> Gateway {
    let mut command = gateway("run").unwrap();
    command.arg("--config").arg(lab.write(config).unwrap());
    Gateway::start(&lab.hosts.balancer, command, lab.folder()).unwrap()
}

#[test]
fn r54_with_run_one_apply_switches_the_answers_too() {
    let lab = Lab::raise(1).unwrap();
    let mut config = lab.config().answering_dns();
    config.instance[0].dip = mem::take(&mut config.balancer.address);
    let _gateway = run(&lab, &config);
    have(&lab, [PRIVATE.into(), PRIVATE6.into()]);
    outside_is_told_nothing(&lab);
    let before = serial(&lab);
    "external".clone_into(&mut config.service.mode);
    apply(&lab, &write(&lab, &config, 5));
    have(&lab, [PUBLIC.into(), PUBLIC6.into()]);
    outside_is_told_nothing(&lab);
    assert!(serial(&lab) > before);
}
