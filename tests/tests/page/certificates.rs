//! R60: how long certificates are good for, where the balancer has none of them.

use std::{fs, time::Duration};

use lab::wait;

use crate::site::Site;

#[test]
fn r60_certificates_that_instances_alone_have_are_told_of_by_page_and_status() {
    let site = Site::up(|_| {});
    let status = site.status();
    let endpoints = status["endpoints"].as_array().unwrap();
    let roles: Vec<_> = endpoints.iter().map(|one| one["role"].as_str().unwrap()).collect();
    // The instances have read them.
    for file in endpoints.iter().flat_map(|one| one["certificates"].as_array().unwrap()) {
        fs::remove_file(file["file"].as_str().unwrap()).unwrap();
    }
    let told = |endpoint: &serde_json::Value| {
        let name = endpoint["first_end"]["instance"].as_str();
        endpoint["certificates"][0]["expires"].is_null() && name.is_some_and(|name| name.starts_with("gw-"))
    };
    let all = || site.status()["endpoints"].as_array().unwrap().iter().all(told);
    assert!(wait::eventually(Duration::from_secs(60), all), "{}", site.status());

    let visitor = site.visitor();
    visitor.log_in(&site.read);
    let page = visitor.get("/").text();
    assert_eq!(page.matches(", shown by gw-").count(), roles.len(), "{page}");
    assert!(!page.contains("not known here"), "{page}");
    let file = site.lab.folder().join("gateway.toml");
    let text = site.by_shell(&format!("gateway status --config {}", file.display())).text();
    for role in roles {
        let line = text.lines().find(|line| line.starts_with(role) && line.contains(" days left "));
        assert!(line.is_some_and(|line| line.contains(" gw-")), "{role} in\n{text}");
    }
}
