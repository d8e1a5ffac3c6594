//! The examples of the documentation.

use std::{net::IpAddr, path::PathBuf, time::Duration};

use super::{EXAMPLE, EXTERNAL, NONE, check};
use crate::{
    config::code::Severity,
    model::{
        Action, AdminState, Backend, Balance, HostPattern, Interfaces, Mode, NoSni, PlainHttp, Role, Route,
    },
};

fn backend(route: &Route) -> &Backend {
    let Action::Forward(backend) = &route.action else { panic!("{route} leads to no upstream") };
    backend
}

/// The file that shows every key, those of features to come among them.
const ALL_KEYS: &str = include_str!("all-keys.toml");

#[test]
fn the_example_passes_without_a_warning() {
    let (model, report) = check(EXAMPLE);
    assert_eq!(report.all().count(), 0, "{}", report.render(&annotate_snippets::Renderer::plain()));
    let model = model.unwrap();
    let dips = |index: usize| model.instances[index].dip.clone();
    let addresses = |texts: [&str; 2]| texts.map(|text| text.parse::<IpAddr>().unwrap()).to_vec();
    assert_eq!(dips(0), addresses(["10.0.0.11", "fd00:0:0:1::11"]));
    assert_eq!(model.vip.private, addresses(["10.0.0.5", "fd00:0:0:1::5"]));
    assert_eq!(model.instances.iter().map(|i| i.weight).collect::<Vec<_>>(), [100, 50]);
    assert_eq!(model.instances[0].admin_state, AdminState::Auto);
    assert_eq!(model.balancer.drain, Duration::from_secs(3_600));
    assert_eq!(model.balancer.seed, "contoso", "the service's name is the default");
    assert_eq!(model.proxy.http, PlainHttp::Redirect);
    assert_eq!(model.proxy.no_sni, NoSni::Reject);
}

#[test]
fn r1_r4_the_examples_of_the_other_modes_pass_without_a_warning() {
    for (text, mode) in [(EXTERNAL, Mode::External), (NONE, Mode::None)] {
        let (model, report) = check(text);
        assert_eq!(report.all().count(), 0, "{}", report.render(&annotate_snippets::Renderer::plain()));
        assert_eq!(model.unwrap().service.mode, mode);
    }
    let model = check(NONE).0.unwrap();
    assert_eq!((model.vip.all().count(), model.balancer.interfaces), (0, Interfaces::None));
}

#[test]
fn r42_r44_names_default_first_or_instead() {
    let model = check(EXAMPLE).0.unwrap();
    let hosts = |role: Role| {
        let endpoint = model.endpoints.iter().find(|e| e.role == role).unwrap();
        endpoint.hosts.iter().map(HostPattern::to_string).collect::<Vec<_>>()
    };
    assert_eq!(hosts(Role::Gateway), ["contoso.azure-api.net", "api.contoso.com", "*.api.contoso.com"]);
    assert_eq!(hosts(Role::Portal), ["contoso.portal.azure-api.net"]);
    assert_eq!(hosts(Role::Developer), ["developer.contoso.com"], "default_host = false");
    assert_eq!(hosts(Role::Management), ["contoso.management.azure-api.net"]);
    assert_eq!(hosts(Role::Scm), ["contoso.scm.azure-api.net"]);
}

#[test]
fn r44_a_default_name_written_out_is_there_once() {
    let written = "hosts = [\"contoso.developer.azure-api.net\", \"developer.contoso.com\"]";
    let text = EXAMPLE.replace("hosts = [\"developer.contoso.com\"]\ndefault_host = false", written);
    let model = check(&text).0.unwrap();
    let names: Vec<_> =
        model.hosts().filter(|(_, role)| *role == Role::Developer).map(|(h, _)| h.to_string()).collect();
    assert_eq!(names, ["contoso.developer.azure-api.net", "developer.contoso.com"]);
}

#[test]
fn routes_are_longest_first_and_paths_from_the_files_folder() {
    let model = check(EXAMPLE).0.unwrap();
    let gateway = &model.endpoints[0];
    assert_eq!(gateway.routes.iter().map(|r| r.path.as_str()).collect::<Vec<_>>(), ["/orders", "/"]);
    assert_eq!(backend(&gateway.routes[0]).locations[0].name.as_deref(), Some("on-premises"));
    assert_eq!(gateway.certificates[0].chain, PathBuf::from("etc/tls/api.pem"));
}

#[test]
fn r72_locations_are_nearest_first() {
    let route = r#"{ path = "/orders", upstream = ["http://10.8.0.30:8080"], location = "on-premises" }"#;
    assert!(EXAMPLE.contains(route));
    let routes = r#"{ path = "/orders", upstream = ["http://10.8.0.30:8080"], location = "on-premises", priority = 2, balance = "round-robin" },
      { path = "/orders", upstream = ["http://10.0.1.30:8080", "http://10.0.1.31:8080"], location = "west" }"#;
    let model = check(&EXAMPLE.replace(route, routes)).0.unwrap();
    let orders = backend(&model.endpoints[0].routes[0]);
    let locations: Vec<_> =
        orders.locations.iter().map(|l| (l.priority, l.name.as_deref().unwrap(), l.upstream.len())).collect();
    assert_eq!(locations, [(1, "west", 2), (2, "on-premises", 1)]);
    assert_eq!(orders.balance, Balance::RoundRobin);
}

#[test]
fn all_keys_are_taken() {
    let (model, report) = check(ALL_KEYS);
    let faults: Vec<_> = report.of(Severity::Fault).map(|f| (f.code(), f.message().to_owned())).collect();
    assert_eq!(faults, []);
    assert!(model.is_some());
}
