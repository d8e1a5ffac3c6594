//! `gateway check` as an operator or a script sees it: exit codes, stdout and stderr.
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use serde_json::Value;
use tempfile::TempDir;

const FILE: &str = r#"
[service]
name = "contoso"
[network]
subnet = ["10.0.0.0/24"]
[vip]
private = ["10.0.0.5"]
[balancer]
interface = "eth0"
[[instance]]
name = "gw-1"
dip = ["10.0.0.11"]
[[endpoint]]
role = "gateway"
certificate = { chain = "api.pem", key = "api.key" }
routes = [{ path = "/", upstream = ["http://10.0.1.20:8080"] }]
"#;

/// A folder with `gateway.toml` and a certificate for the name it needs, valid until that year.
fn folder(file: &str, until: i32) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut params = CertificateParams::new(["contoso.azure-api.net".to_owned()]).unwrap();
    params.not_after = date_time_ymd(until, 1, 1);
    let key = KeyPair::generate().unwrap();
    fs::write(folder.path().join("api.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
    fs::write(folder.path().join("api.key"), key.serialize_pem()).unwrap();
    fs::write(folder.path().join("gateway.toml"), file).unwrap();
    folder
}

/// Runs in the folder, where `gateway.toml` is the default.
fn check(folder: &Path, options: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gateway"));
    command.arg("check").args(options).current_dir(folder).env_remove("RUST_LOG").output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn a_good_file_is_summed_up() {
    let folder = folder(FILE, 2999);
    let output = check(folder.path(), &["--deny-warnings"]);
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()));
    let expected = "\
service      contoso (internal)
subnet       10.0.0.0/24
inside too   none
private VIP  10.0.0.5
public VIP   none
interface    eth0
probes       http on port 8080, /status-0123456789abcdef
instance     gw-1  10.0.0.11  weight 100
gateway      contoso.azure-api.net
             / -> http://10.0.1.20:8080
";
    assert_eq!(text(&output.stdout), expected);
}

#[test]
fn faults_go_to_stderr_and_exit_with_2() {
    let folder = folder(&FILE.replace("10.0.0.11", "10.0.1.11"), 2999);
    let output = check(folder.path(), &[]);
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(2), String::new()));
    let stderr = text(&output.stderr);
    assert!(stderr.contains("error[C018]") && stderr.contains("gateway.toml:12:8"), "{stderr}");
    assert!(!stderr.contains('\u{1b}'), "no colour off a terminal");
}

#[test]
fn json_goes_to_stdout_and_exits_the_same() {
    let folder = folder(&FILE.replace("10.0.0.11", "10.0.1.11"), 2000);
    let output = check(folder.path(), &["--json"]);
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(2), String::new()));
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["schema_version"], 1);
    assert_eq!(json["faults"][0]["code"], "C018");
    assert_eq!((&json["faults"][0]["line"], &json["faults"][0]["column"]), (&12.into(), &8.into()));
    assert_eq!(json["faults"][1]["code"], "C044", "the certificate is looked at as well");
    assert_eq!(json["warnings"], Value::Array(Vec::new()));
}

#[test]
fn warnings_are_denied_on_demand() {
    let folder = folder(&format!("{FILE}[probe]\nverify = true\n"), 2999);
    let fine = check(folder.path(), &[]);
    assert_eq!(fine.status.code(), Some(0));
    assert!(text(&fine.stderr).contains("warning[C063]"));
    assert!(text(&fine.stdout).contains("contoso.azure-api.net"));

    let denied = check(folder.path(), &["--deny-warnings", "--json"]);
    assert_eq!(denied.status.code(), Some(1));
    assert_eq!(serde_json::from_slice::<Value>(&denied.stdout).unwrap()["warnings"][0]["code"], "C063");
    assert!(text(&denied.stderr).contains("--deny-warnings"));
}

#[test]
fn a_file_that_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let output = check(folder.path(), &["--config", "elsewhere.toml"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("elsewhere.toml"));
    let output = check(folder.path(), &["--json"]);
    assert_eq!(output.status.code(), Some(2));
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&json["faults"][0]["code"], &json["faults"][0]["line"]), (&"C001".into(), &Value::Null));
}
