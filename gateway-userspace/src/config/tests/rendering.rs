//! How findings are shown, and files that cannot be read at all.

use annotate_snippets::Renderer;
use serde_json::json;

use super::{EXAMPLE, check};
use crate::config::{Code, Faults, Rendering, load};

fn two_dips_alike() -> String {
    EXAMPLE.replace(r#"dip  = ["10.0.0.12", "fd00:0:0:1::12"]"#, r#"dip  = ["10.0.0.11"]"#)
}

#[test]
fn a_fault_looks_as_rustc_shows_it() {
    let (_, report) = check(&two_dips_alike());
    let expected = "\
error[C019]: the DIP 10.0.0.11 belongs to another instance
  --> etc/gateway.toml:31:9
   |
27 | dip  = [\"10.0.0.11\", \"fd00:0:0:1::11\"]
   |         ----------- given to that instance here
...
31 | dip  = [\"10.0.0.11\"]
   |         ^^^^^^^^^^^ expected an address of this instance's own

etc/gateway.toml: 1 fault, 0 warnings; `gateway help C019` says more
";
    assert_eq!(report.render(&Renderer::plain()), expected);
}

#[test]
fn did_you_mean() {
    let help = |from: &str, to: &str| {
        let (_, report) = check(&EXAMPLE.replace(from, to));
        report.all().find_map(|f| f.help().map(str::to_owned))
    };
    let said = |text: &str| Some(text.to_owned());
    assert_eq!(help("weight = 50 ", "wieght = 50 "), said("did you mean `weight`?"));
    assert_eq!(help("[proxy]", "[proxi]"), said("did you mean `proxy`?"));
    assert_eq!(help("weight = 50 ", "no_sni = 50 "), said("there is a `no_sni` in `[proxy]`"));
    assert_eq!(help(r#"mode   = "internal""#, r#"mode = "Internl""#), said("did you mean `\"internal\"`?"));
    assert_eq!(
        help(r#"vnet   = ["10.0.0.0/16"]"#, r#"vnet = ["10.0.7.0/16"]"#),
        said("did you mean the network `\"10.0.0.0/16\"`?")
    );
    assert_eq!(help(r#"drain      = "1h""#, "drain = 5"), said("did you mean `\"5s\"`?"));
}

#[test]
fn colour_on_demand_only() {
    let faults = |rendering| Faults { report: check(&two_dips_alike()).1, rendering }.to_string();
    assert!(faults(Rendering::Styled).contains('\u{1b}'));
    assert!(!faults(Rendering::Plain).contains('\u{1b}'));
    assert_eq!(faults(Rendering::Done), "", "JSON has said it already");
}

#[test]
fn control_characters_of_the_file_do_not_reach_the_terminal() {
    let (_, report) = check(&EXAMPLE.replace("\"contoso\" ", "\"\\u001b[31mcontoso\" "));
    assert!(!report.render(&Renderer::plain()).contains('\u{1b}'));
    assert!(report.all().all(|fault| !report.line(fault).contains('\u{1b}')));
}

#[test]
fn json_for_programs() {
    let text = two_dips_alike()
        .replace("[proxy]", "[probe2]\n[proxy]")
        .replace("port = 8080", "port = 8080\nverify = true");
    let (_, report) = check(&text);
    let expected = json!({
        "schema_version": 1,
        "faults": [
            {
                "code": "C019",
                "message": "the DIP 10.0.0.11 belongs to another instance",
                "path": "etc/gateway.toml",
                "line": 31,
                "column": 9,
                "help": null,
            },
            {
                "code": "C003",
                "message": "unknown table `probe2` at the top of the file",
                "path": "etc/gateway.toml",
                "line": 72,
                "column": 2,
                "help": "did you mean `probe`?",
            },
        ],
        "warnings": [{
            "code": "C063",
            "message": "`probe.verify` has no effect on a `http` probe",
            "path": "etc/gateway.toml",
            "line": 38,
            "column": 10,
            "help": null,
        }],
    });
    assert_eq!(report.json(), expected);
}

#[test]
fn files_that_cannot_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let missing = load(&folder.path().join("gateway.toml")).unwrap_err();
    let codes: Vec<_> = missing.report.all().map(|f| (f.code(), missing.report.position(f))).collect();
    assert_eq!(codes, [(Code::Unreadable, None)]);
    assert!(missing.to_string().contains("gateway.toml"), "{missing}");

    let latin = folder.path().join("latin-1.toml");
    std::fs::write(&latin, b"[service]\nname = \"k\xe4se\"\n").unwrap();
    let latin = load(&latin).unwrap_err();
    let codes: Vec<_> = latin.report.all().map(|f| (f.code(), latin.report.position(f))).collect();
    assert_eq!(codes, [(Code::Unreadable, Some((2, 10)))]);
    assert!(latin.to_string().contains("not UTF-8"), "{latin}");
}

#[test]
fn load_gives_the_model_of_a_file_with_warnings_only() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gateway.toml");
    std::fs::write(&path, EXAMPLE.replace("port = 8080", "port = 8080\nverify = true")).unwrap();
    let model = load(&path).unwrap();
    assert_eq!(model.endpoints[0].certificates[0].key, folder.path().join("tls/api.key"));
}
