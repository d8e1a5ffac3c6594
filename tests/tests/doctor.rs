//! R62: `gateway doctor` finds nothing in a healthy lab, and names what one thing that is broken.
//!
//! An old kernel and interpreted programs are the machine's and no lab's: doctor reads of them in files that are put in the place of the
//! kernel's, in a mount namespace of its own. Native programs that a card's driver does not take have unit tests only.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant, SystemTime},
};

use lab::{
    address::{OUTSIDE, PRIVATE, PUBLIC, ROUTED},
    config::Config,
    control::gateway,
    gateway::binary,
    host::Host,
    lab::{Lab, Running},
    mode::Mode,
    name_server::{self, NameServer},
    pass::Pass,
    process::Output,
    wait::eventually,
};
use serde_json::Value;

/// A lab that is up, with a name server at the routed host that has the right names.
struct Healthy {
    // In this order, in which they are dropped.
    running: Option<Running>,
    _names: NameServer,
    lab: Lab,
    file: PathBuf,
}

impl Healthy {
    fn up(change: impl FnOnce(&mut Config)) -> Self {
        let lab = Lab::raise(2).unwrap();
        let mut config = lab.config();
        change(&mut config);
        let running = lab.start(&config).unwrap();
        let file = lab.folder().join("gateway.toml");
        let lines = gateway(&lab.hosts.routed, "dns zone --format dnsmasq", &file).unwrap().text();
        let names = name_server::dnsmasq(&lab.hosts.routed, lab.folder(), &lines).unwrap();
        let healthy = Self { running: Some(running), _names: names, lab, file };
        let serves = || gateway(&healthy.lab.hosts.balancer, "status --json", &healthy.file).unwrap().ok();
        assert!(eventually(PATIENCE, serves));
        healthy
    }

    /// `gateway doctor` on a host: exit code and document.
    fn doctor(&self, host: &Host, words: &str) -> (i32, Value) {
        let line = format!("doctor --json --server {} {words}", ROUTED.v4());
        let output = gateway(host, &line, &self.file).unwrap();
        (output.status.code().unwrap(), document(&output))
    }

    fn balancer(&self, words: &str) -> (i32, Value) {
        self.doctor(&self.lab.hosts.balancer, words)
    }
}

/// Long against everything that is waited for, for the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server that answers everything, and thinks that it is later than it is.
struct Clock(Arc<AtomicBool>, Option<JoinHandle<()>>);

impl Clock {
    fn an_hour_ahead(listener: TcpListener) -> Self {
        let words = ["-u", "-d", "+1 hour", "+%a, %d %b %Y %H:%M:%S GMT"];
        let date = Command::new("date").args(words).env("LC_ALL", "C").output().unwrap().stdout;
        let date = String::from_utf8(date).unwrap();
        let answer = format!(
            "HTTP/1.1 200 OK\r\nDate: {}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            date.trim()
        );
        let over = Arc::new(AtomicBool::new(false));
        listener.set_nonblocking(true).unwrap();
        let ends = Arc::clone(&over);
        let serve = move || {
            while !ends.load(Ordering::Relaxed) {
                let Ok((mut stream, _)) = listener.accept() else {
                    std::thread::sleep(Duration::from_millis(5));
                    continue;
                };
                stream.set_nonblocking(false).unwrap();
                // Whoever only connects reads nothing.
                let _read = stream.read(&mut [0; 2048]);
                let _written = stream.write_all(answer.as_bytes());
            }
        };
        Self(over, Some(std::thread::spawn(serve)))
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
        self.1.take().map(JoinHandle::join).transpose().unwrap();
    }
}

fn document(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

fn check<'r>(report: &'r Value, id: &str) -> &'r Value {
    let checks = report["checks"].as_array().unwrap();
    checks.iter().find(|check| check["id"] == id).unwrap_or_else(|| panic!("no {id} in {report:#}"))
}

/// One thing is broken: that check names it, with these words in its cause and its remedy, and it is told first.
fn names((code, report): (i32, Value), id: &str, (cause, remedy): (&str, &str)) {
    let found = check(&report, id);
    let finding = &found["findings"][0];
    assert_eq!(report["root_cause"], id, "{report:#}");
    let has = |key: &str, word: &str| finding[key].as_str().is_some_and(|text| text.contains(word));
    assert!(has("cause", cause) && has("remedy", remedy) && has("evidence", ""), "{found:#}");
    let expected = if finding["severity"] == "error" { 2 } else { 1 };
    assert_eq!(code, expected, "{report:#}");
    println!("{id}: {} | seen by {} | mend it {}", finding["cause"], finding["evidence"], finding["remedy"]);
}

/// Nothing is wrong, and these checks could look.
fn is_fine((code, report): (i32, Value), looked: &[&str]) {
    assert_eq!((code, &report["ok"], &report["root_cause"]), (0, &true.into(), &Value::Null), "{report:#}");
    for id in looked {
        assert_eq!(check(&report, id)["state"], "fine", "{report:#}");
    }
}

const ON_THE_BALANCER: [&str; 16] = [
    "file",
    "kernel",
    "privileges",
    "bpffs",
    "descriptors",
    "interface",
    "foreign-xdp",
    "balancer",
    "xdp-mode",
    "other-interfaces",
    "vip-here",
    "dip-unique",
    "mtu",
    "clock",
    "instances",
    "management",
];

#[test]
fn r62_a_healthy_lab_has_nothing_wrong_from_any_side() {
    let healthy = Healthy::up(|_| {});
    let hosts = &healthy.lab.hosts;
    is_fine(healthy.balancer(&format!("--from {}", OUTSIDE.v4())), &ON_THE_BALANCER);
    is_fine(
        healthy.doctor(&hosts.instances[0], ""),
        &["certificates", "listeners", "ways-back", "vip-unique", "checksums", "names"],
    );
    is_fine(
        healthy.doctor(&hosts.client, ""),
        &["certificates", "vip-unique", "checksums", "management", "names"],
    );
    // Its veth leaves checksums to a card, and the router's link fills them in.
    is_fine(healthy.doctor(&hosts.outside, ""), &["file", "checksums", "management"]);
    let line = format!("doctor --all --server {}", ROUTED.v4());
    let text = gateway(&hosts.balancer, &line, &healthy.file).unwrap();
    assert!(text.ok() && text.text().contains("nothing is wrong"), "{text:?}");
    assert!(text.text().lines().all(|line| line.chars().count() <= 80), "{}", text.text());
}

#[test]
fn r62_before_the_first_start_preflight_finds_nothing_in_a_healthy_lab() {
    let lab = Lab::raise(1).unwrap();
    let file = lab.write(&lab.config()).unwrap();
    let output = gateway(&lab.hosts.balancer, "doctor --preflight --json", &file).unwrap();
    is_fine(
        (output.status.code().unwrap(), document(&output)),
        &["kernel", "privileges", "bpffs", "interface", "mtu"],
    );
}

#[test]
fn r62_a_file_with_faults_is_the_cause_and_all_else_is_skipped_because_of_it() {
    let lab = Lab::raise(1).unwrap();
    let file = lab.write_text("[service]\nname = \"contoso\"\nmodus = \"internal\"\n").unwrap();
    let output = gateway(&lab.hosts.balancer, "doctor --preflight --json", &file).unwrap();
    let report = document(&output);
    for id in ["certificates", "interface", "foreign-xdp", "vip-unique"] {
        assert_eq!(check(&report, id)["state"], "skipped", "{report:#}");
        assert!(
            check(&report, id)["evidence"].as_str().unwrap().starts_with("because of file"),
            "{report:#}"
        );
    }
    assert!(
        check(&report, "file")["findings"][0]["evidence"].as_str().unwrap().contains("modus"),
        "{report:#}"
    );
    names((output.status.code().unwrap(), report), "file", ("cannot be used", "gateway check"));
}

/// Of the balancer, its instance and the switch between; the programs at the switch take frames in pieces.
fn all_links(lab: &Lab, mtu: u16) {
    let [switch, first] = [&lab.hosts.switch, &lab.hosts.instances[0]];
    let set = |name: &str| format!("link set {name} mtu {mtu}");
    switch.ip(["br0", "balancer", "gw-1"].map(set)).unwrap();
    [&lab.hosts.balancer, first].into_iter().for_each(|host| host.ip([set("eth0")]).unwrap());
}

#[test]
fn r62_preflight_names_what_would_stop_the_first_start() {
    let lab = Lab::raise(1).unwrap();
    let file = lab.write(&lab.config()).unwrap();
    let host = &lab.hosts.balancer;
    let preflight = || {
        let output = gateway(host, "doctor --preflight --json", &file).unwrap();
        (output.status.code().unwrap(), document(&output))
    };
    let pass = Pass::attach(host, "eth0").unwrap();
    names(preflight(), "foreign-xdp", ("eth0 carries XDP program", "xdp-loader unload eth0 --all"));
    drop(pass);
    all_links(&lab, 4000);
    names(preflight(), "xdp-mode", ("would run in generic mode", "mtu 3506"));
    all_links(&lab, 1500);

    // In a mount namespace of its own, where something else is mounted.
    let with_mounted = |mount: &str| {
        let line = format!(
            "{mount} && exec {} doctor --preflight --json --config {}",
            binary().unwrap().display(),
            file.display()
        );
        let mut unshare = Command::new("unshare");
        unshare.args(["--mount", "sh", "-c", &line]);
        let output = host.run_command(unshare).unwrap();
        (output.status.code().unwrap(), document(&output))
    };
    let other = with_mounted("mount -t tmpfs none /sys/fs/bpf");
    names(other, "bpffs", ("no bpffs", "mount -t bpf bpf /sys/fs/bpf"));
    // Of the host's own network namespace alone, where the kernel shows it.
    let slow =
        with_mounted("mount -t tmpfs none /proc/sys/net/core && echo 0 > /proc/sys/net/core/bpf_jit_enable");
    names(slow, "jit", ("interpreted", "sysctl -w net.core.bpf_jit_enable=1"));
    let release = lab.folder().join("osrelease");
    fs::write(&release, "5.15.0-204-generic\n").unwrap();
    let old = with_mounted(&format!("mount --bind {} /proc/sys/kernel/osrelease", release.display()));
    names(old, "kernel", ("Linux 5.15 is too old", "install 6.1"));
    let with = |program: &str, options: &[&str]| {
        let mut command = Command::new(program);
        command
            .args(options)
            .arg(binary().unwrap())
            .args(["doctor", "--preflight", "--json", "--config"])
            .arg(&file);
        let output = host.run_command(command).unwrap();
        (output.status.code().unwrap(), document(&output))
    };
    names(with("prlimit", &["--nofile=1024:1024"]), "descriptors", ("1024 descriptors", "LimitNOFILE"));
    let without = with("setpriv", &["--bounding-set=-all", "--inh-caps=-all"]);
    // What cannot be asked without them is not known, and not wrong.
    assert_eq!(check(&without.1, "vip-unique")["state"], "unknown", "{:#}", without.1);
    names(without, "privileges", ("CAP_NET_RAW", "AmbientCapabilities="));
    host.ip(["link set eth0 down"]).unwrap();
    names(preflight(), "interface", ("eth0 is down", "ip link set dev eth0 up"));
}

#[test]
fn r62_on_a_running_balancer_each_fault_of_the_link_is_named() {
    let healthy = Healthy::up(|_| {});
    let hosts = &healthy.lab.hosts;
    let (balancer, client) = (&hosts.balancer, &hosts.client);

    client.ip([format!("address add {PRIVATE}/32 dev eth0")]).unwrap();
    names(healthy.balancer(""), "vip-unique", ("another host has the VIP 10.0.0.5", "ip address del"));
    let (_, report) = healthy.balancer("");
    assert_eq!(check(&report, "management")["state"], "skipped", "{report:#}");
    let from_instance = healthy.doctor(&hosts.instances[0], "");
    names(
        from_instance,
        "vip-unique",
        ("10.0.0.5 is on the link already, or more than once", "ip address del"),
    );
    client.ip([format!("address del {PRIVATE}/32 dev eth0")]).unwrap();

    hosts.switch.ip(["link set gw-1 mtu 1400"]).unwrap();
    names(
        healthy.balancer(""),
        "mtu",
        ("on the way to gw-1 takes less than 1500 bytes", "one MTU all along"),
    );
    hosts.switch.ip(["link set gw-1 mtu 1500"]).unwrap();

    balancer
        .ip(["link add eth9 type veth peer name eth10", "link set eth9 up", "link set eth10 up"])
        .unwrap();
    names(healthy.balancer(""), "other-interfaces", ("eth9", "nftables"));
    balancer.ip(["link del eth9"]).unwrap();
    is_fine(healthy.balancer(""), &ON_THE_BALANCER);

    // Last: who asked meanwhile may have learned the wrong one.
    client.ip(["address add 10.0.0.11/32 dev eth0"]).unwrap();
    names(
        healthy.balancer(""),
        "dip-unique",
        ("two hosts have 10.0.0.11, the address of gw-1", "ip address del"),
    );
}

#[test]
fn r62_what_keeps_clients_from_port_3443_is_named_from_both_sides() {
    let healthy = Healthy::up(|config| config.balancer.management_sources = vec!["192.0.2.0/24".to_owned()]);
    let hosts = &healthy.lab.hosts;
    is_fine(healthy.balancer("--from 192.0.2.1"), &ON_THE_BALANCER);
    let outside = healthy.balancer(&format!("--from {}", OUTSIDE.v4()));
    names(outside, "management", (&format!("{PUBLIC}:3443 is closed"), "balancer.management_sources"));
    // A firewall before the client.
    hosts.client.ip(["rule add ipproto tcp dport 3443 prohibit"]).unwrap();
    names(
        healthy.doctor(&hosts.client, ""),
        "management",
        ("10.0.0.5:3443 is closed from here", "firewalls"),
    );
}

#[test]
fn r62_an_instance_names_what_keeps_its_answers_and_its_proxy() {
    let mut healthy = Healthy::up(|_| {});
    drop(healthy.running.as_mut().and_then(|running| running.proxies.remove("gw-1")));
    let lab = &healthy.lab;
    let host = &lab.hosts.instances[0];
    let on_instance = || healthy.doctor(host, "");

    let taken = host.enter(|| TcpListener::bind("[::]:443")).unwrap();
    names(on_instance(), "listeners", ("listens at [::]:443", "stop it"));
    drop(taken);

    host.ip([
        "link add eth1 type veth peer name eth2",
        "link set eth1 up",
        "link set eth2 up",
        "address add 192.0.2.2/24 dev eth1",
        // The name server of this lab is in another part of the network.
        "route add 10.8.255.0/24 via 192.0.2.1 dev eth1",
    ])
    .unwrap();
    names(on_instance(), "ways-back", ("answers leave by eth1", "a route to 10.8.0.0/16 by eth0"));
    // What it names as its evidence shows just that.
    let evidence = check(&on_instance().1, "ways-back")["findings"][0]["evidence"].clone();
    let command = evidence.as_str().unwrap().split('`').nth(1).unwrap().to_owned();
    let shown = host.must(&command).unwrap();
    assert!(shown.contains("dev eth1"), "{evidence}: {shown}");
    host.sysctl("net/ipv4/conf/eth0/rp_filter", "1").unwrap();
    names(on_instance(), "ways-back", ("so the kernel drops them", "rp_filter=2"));
    host.ip(["link del eth1"]).unwrap();

    // Its certificates: for other names, with another's key, in the wrong order, and near their end.
    let leaf = |name: &str, hosts: &[&str]| {
        let hosts: Vec<_> = hosts.iter().map(|host| (*host).to_owned()).collect();
        lab.authority.leaf(name, &hosts).unwrap()
    };
    let config = lab.config();
    let portal = config.endpoint.iter().find(|endpoint| endpoint.role == "portal").unwrap();
    let (chain, key) = (&portal.certificate.chain, &portal.certificate.key);
    let [good_chain, good_key] = [chain, key].map(|file| fs::read(file).unwrap());
    let restore = || {
        fs::write(chain, &good_chain).unwrap();
        fs::write(key, &good_key).unwrap();
    };
    leaf("portal", &["other.example"]);
    names(on_instance(), "certificates", ("does not cover `contoso.portal.azure-api.net`", "gateway check"));
    restore();
    fs::copy(leaf("elsewhere", &["other.example"]).key, key).unwrap();
    names(on_instance(), "certificates", ("does not belong to the certificate", "gateway check"));
    restore();
    let other = fs::read(leaf("elsewhere", &["other.example"]).chain).unwrap();
    fs::write(chain, [good_chain.clone(), other].concat()).unwrap();
    names(on_instance(), "certificates", ("the next one is", "behind each certificate"));
    restore();
    let soon = SystemTime::now() + Duration::from_secs(5 * 24 * 3600 + 600);
    lab.authority.leaf_until("portal", &["contoso.portal.azure-api.net".to_owned()], soon).unwrap();
    names(on_instance(), "certificates", ("good for 5 days more", "renew it"));
    let yesterday = SystemTime::now() - Duration::from_secs(24 * 3600);
    lab.authority.leaf_until("portal", &["contoso.portal.azure-api.net".to_owned()], yesterday).unwrap();
    names(on_instance(), "certificates", ("expired on", "gateway check"));
}

#[test]
fn r62_names_that_lead_elsewhere_are_named() {
    let healthy = Healthy::up(|_| {});
    let hosts = &healthy.lab.hosts;
    let folder = healthy.lab.folder().join("wrong");
    fs::create_dir_all(&folder).unwrap();
    let _wrong = name_server::dnsmasq(&hosts.services, &folder, "address=/azure-api.net/192.0.2.1").unwrap();
    let output = gateway(&hosts.client, "doctor --json --server 10.0.1.10", &healthy.file).unwrap();
    names(
        (output.status.code().unwrap(), document(&output)),
        "names",
        ("does not lead to the VIP", "gateway dns zone"),
    );
}

#[test]
fn r62_the_running_balancers_own_troubles_are_named() {
    let mut healthy = Healthy::up(|_| {});
    // An instance whose clock is an hour ahead, as far as its answers tell.
    let mut running = healthy.running.take().unwrap();
    drop(running.proxies.remove("gw-1"));
    let host = &healthy.lab.hosts.instances[0];
    let server = host.enter(|| TcpListener::bind("10.0.0.11:8080")).unwrap();
    let _clock = Clock::an_hour_ahead(server);
    healthy.running = Some(running);
    names(healthy.balancer(""), "clock", ("the clock of gw-1 is 3", "timedatectl"));

    // Nobody is there at all.
    healthy.running = None;
    names(healthy.balancer("--as balancer"), "balancer", ("does not run here", "gateway balance --config"));
    let from_client = healthy.doctor(&healthy.lab.hosts.client, "");
    names(from_client, "vip-unique", ("nobody has the VIP 10.0.0.5", "start the balancer"));
}

#[test]
fn r62_an_instance_that_stopped_and_a_vip_that_was_taken_away_are_named() {
    let mut healthy = Healthy::up(|_| {});
    let balancer = &healthy.lab.hosts.balancer;
    // The balancer soon claims it again, and asks the link about it for a second before: that long it is away.
    let mut told = None;
    assert!(eventually(PATIENCE, || {
        // Not there where the last claim goes on still.
        let _gone = balancer.ip([format!("address del {PRIVATE}/32 dev eth0")]);
        told = Some(healthy.balancer(""));
        told.as_ref().is_some_and(|(_, report)| check(report, "vip-here")["state"] == "error")
    }));
    names(told.unwrap(), "vip-here", ("10.0.0.5 is not on eth0", "start the balancer again"));
    assert!(eventually(PATIENCE, || check(&healthy.balancer("").1, "vip-here")["state"] == "fine"));

    drop(healthy.running.as_mut().and_then(|running| running.proxies.remove("gw-1")));
    let is_told = || check(&healthy.balancer("").1, "instances")["state"] == "warning";
    assert!(eventually(PATIENCE, is_told));
    names(healthy.balancer(""), "instances", ("gw-1", "gateway status"));
}

#[test]
fn r62_a_program_that_runs_in_generic_mode_is_named_with_what_kept_the_driver_from_it() {
    let lab = Lab::raise(1).unwrap();
    all_links(&lab, 4000);
    let _running = lab.start(&lab.config()).unwrap();
    let file = lab.folder().join("gateway.toml");
    let doctor = || {
        let output = gateway(&lab.hosts.balancer, "doctor --json", &file).unwrap();
        (output.status.code().unwrap(), document(&output))
    };
    let mut told = None;
    assert!(eventually(PATIENCE, || {
        told = Some(doctor().1);
        told.as_ref().is_some_and(|report| check(report, "xdp-mode")["state"] == "warning")
    }));
    let report = told.unwrap();
    let finding = &check(&report, "xdp-mode")["findings"][0];
    let has = |key: &str, word: &str| finding[key].as_str().is_some_and(|text| text.contains(word));
    assert!(has("cause", "veth takes none above an MTU of 3506, and it has 4000"), "{finding:#}");
    assert!(has("remedy", "ip link set dev eth0 mtu 1500"), "{finding:#}");
}

#[test]
fn r62_frames_that_the_switch_does_not_take_are_named_while_they_get_lost() {
    let mut healthy = Healthy::up(|_| {});
    healthy.lab.hosts.deafen_switch();
    let vip = SocketAddr::from((PRIVATE, 443));
    let client = &healthy.lab.hosts.client;
    let over = AtomicBool::new(false);
    let told = std::thread::scope(|scope| {
        scope.spawn(|| {
            // Not for ever, where the other thread panics.
            let began = Instant::now();
            while !over.load(Ordering::Relaxed) && began.elapsed() < PATIENCE {
                let opened = client.enter(|| TcpStream::connect_timeout(&vip, Duration::from_millis(100)));
                assert!(opened.is_err(), "the switch takes frames still");
            }
        });
        let told = healthy.balancer("");
        over.store(true, Ordering::Relaxed);
        told
    });
    names(told, "lost-frames", ("the other end of the veth takes none", "gro on"));
    // What was lost before is no fault for ever.
    let (_, report) = healthy.balancer("");
    let found = check(&report, "lost-frames");
    assert_eq!(found["state"], "unknown", "{report:#}");
    assert!(found["evidence"].as_str().unwrap().contains("were lost before"), "{report:#}");
}

#[test]
fn r62_a_veth_whose_checksums_nobody_fills_in_is_named_by_its_client() {
    let healthy = Healthy::up(|_| {});
    let client = &healthy.lab.hosts.client;
    client.must("ethtool -K eth0 tx on").unwrap();
    let told = healthy.doctor(client, "");
    assert_eq!(check(&told.1, "management")["state"], "skipped", "{:#}", told.1);
    names(told, "checksums", ("eth0 leaves checksums to a card", "ethtool -K eth0 tx off"));
    client.must("ethtool -K eth0 tx off").unwrap();
    is_fine(healthy.doctor(client, ""), &["checksums", "management"]);
    // The same port closed by a firewall is none of theirs.
    client.ip(["rule add ipproto tcp dport 3443 prohibit"]).unwrap();
    let (_, report) = healthy.doctor(client, "");
    assert_eq!(check(&report, "checksums")["state"], "fine", "{report:#}");
}

#[test]
fn r62_a_tunnel_that_leaves_too_little_room_is_told_with_the_mtu_that_is_enough() {
    let healthy = Healthy::up(|config| *config = config.clone().forwarding(Mode::Ipip4));
    names(healthy.balancer(""), "mtu", ("packets of more than 1480 bytes do not fit", "mtu 1520"));
}
