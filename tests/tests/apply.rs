//! R7, R8, R83: plan, apply and admin states, as an operator at the balancer uses them.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    time::Duration,
};

use lab::{config::Config, control, gateway::Gateway, lab::Lab, wait};
use serde_json::Value;

/// Long against everything that is waited for, for the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// A balancer alone: its instances count as up whatever their probes say.
struct Balancer {
    // In this order, in which they are dropped.
    gateway: Gateway,
    lab: Lab,
    file: PathBuf,
}

impl Balancer {
    fn up(instances: u8) -> Self {
        let lab = Lab::raise(instances).unwrap();
        let file = lab.write(&lab.config()).unwrap();
        let gateway = lab.balance(&file).unwrap();
        Self { gateway, lab, file }
    }

    fn json(&self, line: &str) -> Value {
        control::json(&self.lab.hosts.balancer, line, &self.file).unwrap()
    }

    fn status(&self) -> Value {
        self.json("status")
    }

    /// The exit code, what it printed, what it complained of.
    fn run(&self, line: &str, file: &Path) -> (i32, String, String) {
        let output = control::gateway(&self.lab.hosts.balancer, line, file).unwrap();
        (output.status.code().unwrap(), output.text(), output.stderr)
    }

    fn change(&self, change: impl FnOnce(&mut Config)) {
        let mut config = self.lab.config();
        change(&mut config);
        self.lab.write(&config).unwrap();
    }
}

/// What of a status must not change where nothing changes; neighbours may become known meanwhile.
fn essence(status: &Value) -> Value {
    let instance = |one: &Value| ["name", "admin_state", "weight", "buckets"].map(|key| one[key].clone());
    let vip = |one: &Value| ["address", "kind", "ports"].map(|key| one[key].clone());
    let list = |key: &str| status[key].as_array().unwrap().iter();
    serde_json::json!({
        "generation": status["generation"],
        "program": status["program"],
        "instances": list("instances").map(instance).collect::<Vec<_>>(),
        "vips": list("vips").map(vip).collect::<Vec<_>>(),
        "windows": status["windows"],
    })
}

#[test]
fn r7_the_same_file_twice_does_nothing_and_a_change_is_one_generation() {
    let balancer = Balancer::up(3);
    let before = balancer.status();
    assert_eq!(before["generation"], 1);
    let nothing = balancer.json("apply");
    assert_eq!((&nothing["changed"], &nothing["outcome"]), (&false.into(), &"nothing-to-do".into()));
    assert_eq!((&nothing["buckets"], &nothing["entries"]), (&0.into(), &0.into()));
    assert_eq!(essence(&balancer.status()), essence(&before));

    balancer.change(|config| config.instance[0].weight = 50);
    let applied = balancer.json("apply --confirm");
    assert_eq!((&applied["changed"], &applied["generation"]), (&true.into(), &2.into()), "{applied}");
    let buckets = applied["buckets"].as_u64().unwrap();
    assert!((5_000..20_000).contains(&buckets), "only those that changed hands: {applied}");
    let again = balancer.json("apply");
    assert_eq!((&again["changed"], &again["generation"]), (&false.into(), &2.into()));
    let (code, text, _) = balancer.run("apply", &balancer.file);
    assert_eq!((code, text.as_str()), (0, "nothing to do: generation 2 is what the file says\n"));
}

#[test]
fn r8_plan_shows_the_difference_and_changes_nothing() {
    let balancer = Balancer::up(3);
    let before = balancer.status();
    let (code, text, _) = balancer.run("plan --exit-code", &balancer.file);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("nothing would change"), "{text}");

    balancer.change(|config| {
        config.instance.remove(2);
        config.instance[1].weight = 50;
        config.vip.public.truncate(1);
    });
    let (code, text, error) = balancer.run("plan --exit-code", &balancer.file);
    assert_eq!(code, 3, "{text}{error}");
    for part in [
        "generation 1 would become 2",
        "!- vip public: ",
        " ~ instance gw-2 weight: 100 -> 50",
        " - instance gw-3: 10.0.0.13",
        " of 65,537 buckets would move (",
    ] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
    assert!(!text.contains('\x1b'), "no colour off a terminal");
    let plan = balancer.json("plan");
    assert_eq!(essence(&balancer.status()), essence(&before));
    // What it foretells comes true.
    let applied = balancer.json("apply --confirm");
    assert_eq!(applied["buckets"], plan["buckets"]["moved"], "{plan} {applied}");

    balancer.change(|config| config.balancer.forwarding = "ipip".to_owned());
    let (code, text, _) = balancer.run("plan", &balancer.file);
    assert_eq!(code, 0);
    assert!(text.contains("! balancer.forwarding takes a restart: "), "{text}");
    let (code, _, error) = balancer.run("apply", &balancer.file);
    assert_eq!(code, 1);
    assert!(error.contains("balancer.forwarding changed from l2 to ipip; that takes a restart"), "{error}");
}

#[test]
fn a_file_with_faults_changes_nothing_and_stays_visible_until_the_next() {
    let mut balancer = Balancer::up(2);
    let before = balancer.status();
    let text = fs::read_to_string(&balancer.file).unwrap().replace("weight = 100", "wieght = 100");
    balancer.lab.write_text(&text).unwrap();
    for verb in ["plan", "apply"] {
        let (code, _, error) = balancer.run(verb, &balancer.file);
        assert_eq!(code, 2, "{error}");
        assert!(
            error.contains("did you mean `weight`?") && error.contains("--> "),
            "as `gateway check` draws it: {error}"
        );
    }
    assert_eq!(balancer.status()["configuration"]["last_apply"]["ok"], true, "it never came to the balancer");
    balancer.gateway.reload().unwrap();
    let status = balancer.status();
    let last = &status["configuration"]["last_apply"];
    assert_eq!(
        (&last["ok"], &last["outcome"], &last["by"]),
        (&false.into(), &"refused".into(), &"SIGHUP".into())
    );
    assert!(last["error"].as_str().unwrap().contains("`wieght`"), "{last}");
    assert_eq!(essence(&status), essence(&before));
    let (code, text, _) = balancer.run("status", &balancer.file);
    assert_eq!(code, 1, "something is wrong: {text}");
    assert!(text.contains("\n! ") && text.contains("gateway apply"), "{text}");

    balancer.change(|_| ());
    balancer.run("apply", &balancer.file);
    assert_eq!(balancer.status()["configuration"]["last_apply"]["ok"], true);
}

#[test]
fn another_file_is_compared_but_not_applied() {
    let balancer = Balancer::up(2);
    let mut other = balancer.lab.config();
    other.instance.pop();
    let path = balancer.lab.folder().join("other.toml");
    fs::write(&path, fs::read_to_string(balancer.lab.write(&other).unwrap()).unwrap()).unwrap();
    balancer.change(|_| ());
    let (code, text, error) = balancer.run("plan", &path);
    assert_eq!(code, 0, "{error}");
    assert!(text.contains(" - instance gw-2: "), "{text}");
    let (code, _, error) = balancer.run("apply", &path);
    assert_eq!(code, 1);
    assert!(error.contains("other.toml") && error.contains("change that file"), "{error}");
}

#[test]
fn without_a_balancer_a_verb_says_how_to_start_one() {
    let lab = Lab::raise(1).unwrap();
    let file = lab.write(&lab.config()).unwrap();
    for verb in ["status", "plan", "apply", "drops", "instance down gw-1"] {
        let output = control::gateway(&lab.hosts.balancer, verb, &file).unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(output.stderr.contains("is not running for the service contoso"), "{output:?}");
        assert!(output.stderr.contains("gateway balance --config"), "{output:?}");
    }
}

/// Instances with proxies, that their probes decide about, soon.
#[test]
fn drops_are_followed_with_the_packet_that_is_shown() {
    let balancer = Balancer::up(1);
    let mut command = lab::gateway::gateway("drops").unwrap();
    command.args(["--follow", "--json", "--config"]).arg(&balancer.file);
    let follows = balancer.lab.hosts.balancer.spawn(command).unwrap();
    // It tells of what comes after its first question, which is asked some time after its start.
    let closed = std::net::SocketAddr::from((lab::address::PRIVATE, 22));
    let told = wait::until(PATIENCE, || {
        let knock = || std::net::TcpStream::connect_timeout(&closed, Duration::from_millis(300));
        assert!(balancer.lab.hosts.client.enter(knock).is_err());
        let text = String::from_utf8(follows.stdout()).unwrap();
        Some(serde_json::from_str::<Value>(text.lines().next()?).unwrap())
    });
    let told = told.unwrap();
    assert_eq!((&told["name"], &told["reason"]), (&"10.0.0.5".into(), &"no-service".into()), "{told}");
    assert!(told["packets"].as_u64().unwrap() > 0 && told["time"].is_string(), "{told}");
    if let Some(line) = told["sample"]["line"].as_str() {
        assert!(line.contains(" > 10.0.0.5:22 TCP SYN "), "{line}");
    }
}

fn probed(lab: &Lab) -> Config {
    let mut config = lab.config().probed();
    config.probe.interval = Some("200ms".to_owned());
    config.probe.timeout = Some("200ms".to_owned());
    config
}

fn is_healthy(balancer: &Lab, file: &Path) -> bool {
    let status = control::json(&balancer.hosts.balancer, "status", file).unwrap();
    status["instances"].as_array().unwrap().iter().any(|one| one["health"]["state"] == "up")
}

#[test]
fn an_apply_that_loses_all_healthy_instances_is_rolled_back_unless_it_is_confirmed() {
    let lab = Lab::raise(2).unwrap();
    let config = probed(&lab);
    let running = lab.start(&config).unwrap();
    let file = lab.folder().join("gateway.toml");
    assert!(wait::eventually(PATIENCE, || is_healthy(&lab, &file)), "{}", running.balancer.log());
    // Probes that nobody answers as they should.
    let mut broken = config.clone();
    broken.probe.status = Some("299".to_owned());
    lab.write(&broken).unwrap();
    let finished = control::json(&lab.hosts.balancer, "apply --window 60s", &file).unwrap();
    assert_eq!(finished["outcome"], "rolled-back", "{finished}\n{}", running.balancer.log());
    let status = control::json(&lab.hosts.balancer, "status", &file).unwrap();
    assert_eq!(status["generation"], 3, "there and back");
    assert_eq!(status["configuration"]["last_apply"]["outcome"], "rolled-back");
    assert!(status["trouble"].to_string().contains("rolled back"), "{status}");
    assert!(wait::eventually(PATIENCE, || is_healthy(&lab, &file)));
    let output = control::gateway(&lab.hosts.balancer, "apply --window 60s", &file).unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(output.stderr.contains("rolled back"), "{output:?}");
    assert!(wait::eventually(PATIENCE, || is_healthy(&lab, &file)));

    let confirmed = control::json(&lab.hosts.balancer, "apply --confirm", &file).unwrap();
    assert_eq!(confirmed["outcome"], "applied");
    assert!(wait::eventually(PATIENCE, || !is_healthy(&lab, &file)), "it stays");
    let status = control::json(&lab.hosts.balancer, "status", &file).unwrap();
    assert_eq!(status["generation"], confirmed["generation"]);
}

#[test]
fn r83_an_admin_state_set_at_run_time_holds_until_it_is_given_back() {
    let balancer = Balancer::up(2);
    let state = balancer.json("instance down gw-1");
    assert_eq!((&state["admin_state"], &state["overridden"]), (&"down".into(), &true.into()));
    assert!((3_590..=3_600).contains(&state["drain_ends_in"].as_u64().unwrap()), "{state}");
    let first = |status: &Value| status["instances"][0].clone();
    let one = first(&balancer.status());
    assert_eq!((&one["buckets"], &one["override"]["file"]), (&0.into(), &"up".into()), "{one}");
    // Whatever the file says.
    balancer.change(|config| config.instance[1].weight = 7);
    assert!(balancer.json("plan")["overrides"].to_string().contains("gw-1"));
    balancer.json("apply --confirm");
    assert_eq!(first(&balancer.status())["buckets"], 0);
    let state = balancer.json("instance up gw-1");
    assert_eq!((&state["admin_state"], &state["overridden"]), (&"up".into(), &false.into()));
    let one = first(&balancer.status());
    assert!(one["buckets"].as_u64().unwrap() > 0 && one["override"].is_null(), "{one}");

    let (code, _, error) = balancer.run("instance down gw-11", &balancer.file);
    assert_eq!(code, 1);
    assert!(error.contains("there is no instance gw-11; did you mean gw-1?"), "{error}");
}

#[test]
fn with_watch_an_edit_and_a_swapped_link_are_taken_up() {
    let lab = Lab::raise(2).unwrap();
    let config = lab.config();
    let written = lab.write(&config).unwrap();
    let at = |name: &str| lab.folder().join(name);
    for version in ["one", "two"] {
        fs::create_dir(at(version)).unwrap();
        fs::copy(&written, at(version).join("gateway.toml")).unwrap();
    }
    let mut lighter = config.clone();
    lighter.instance[0].weight = 1;
    fs::copy(lab.write(&lighter).unwrap(), at("two/gateway.toml")).unwrap();
    symlink("one", at("data")).unwrap();
    let file = at("data/gateway.toml");
    let mut command = lab::gateway::gateway("balance").unwrap();
    command.arg("--config").arg(&file).arg("--watch");
    let balancer = Gateway::start(&lab.hosts.balancer, command, lab.folder()).unwrap();
    let generation = |expected: u64| {
        let status = || control::json(&lab.hosts.balancer, "status", &file).unwrap();
        assert!(wait::eventually(PATIENCE, || status()["generation"] == expected), "{}", balancer.log());
        assert_eq!(status()["configuration"]["last_apply"]["by"], "file watch");
    };
    let mut edited = config.clone();
    edited.instance[1].weight = 50;
    fs::copy(lab.write(&edited).unwrap(), at("one/gateway.toml")).unwrap();
    generation(2);
    symlink("two", at("data.new")).unwrap();
    fs::rename(at("data.new"), at("data")).unwrap();
    generation(3);
}
