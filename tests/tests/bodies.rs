//! Bodies of any size pass in little memory. `GATEWAY_MIB=10240 cargo test -p lab --test bodies`

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{env, fs, process::Command, time::Duration};

use lab::{address::PRIVATE, config::default_host, curl::Curl, gateway::Gateway, lab::Lab, service::Sunk};

/// More than a proxy ever needs for some requests, whatever their size.
const MOST_MIB: u64 = 64;
const MIB: u64 = 1 << 20;
/// For the whole of a body.
const PATIENCE: Duration = Duration::from_secs(1800);

fn size() -> u64 {
    env::var("GATEWAY_MIB").map_or(256, |count| count.parse().expect("a number of MiB"))
}

/// The most memory that it has had so far, in MiB (proc_pid_status(5)).
fn peak(proxy: &Gateway) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", proxy.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}

/// What `curl` says, run in a shell behind `before`.
fn told(lab: &Lab, before: &str, curl: &Curl) -> String {
    let quoted = |word: &std::ffi::OsStr| format!("'{}'", word.to_str().unwrap());
    let command = curl.command();
    let words: Vec<_> = [command.get_program()].into_iter().chain(command.get_args()).map(quoted).collect();
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("{before}{}", words.join(" "))]);
    let output = lab.hosts.client.spawn(shell).unwrap().wait(PATIENCE).unwrap();
    assert!(output.ok(), "{}{}", output.text(), output.stderr);
    output.text()
}

#[test]
fn bodies_of_any_size_pass_in_little_memory() {
    let lab = Lab::raise(1).unwrap();
    let config = lab.write(&lab.config()).unwrap();
    let proxy = lab.proxy(&config, "gw-1").unwrap();
    let _balancer = lab.balance(&config).unwrap();
    let bytes = size() * MIB;
    let ask = |path: &str, options: &[&str]| {
        let whole = ["--max-time", "1800"];
        Curl::https(&lab, &default_host("gateway"), PRIVATE, path).with(whole).with(options.iter().copied())
    };
    for version in ["--http1.1", "--http2"] {
        let count = ["--output", "/dev/null", "--write-out", "%{size_download}", version];
        assert_eq!(told(&lab, "", &ask(&format!("/bytes/{bytes}"), &count)), bytes.to_string(), "{version}");
        let upload = ask("/sink", &["--upload-file", "-", "--request", "POST", version]);
        let sunk = told(&lab, &format!("head -c {bytes} /dev/zero | "), &upload);
        let sunk: Sunk = serde_json::from_str(&sunk).unwrap();
        assert_eq!(sunk.bytes as u64, bytes, "{version}");
    }
    let peak = peak(&proxy);
    eprintln!("{} MiB four times, at most {peak} MiB of memory", size());
    assert!(peak < MOST_MIB, "{peak} MiB");
}
