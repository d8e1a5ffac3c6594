//! What is on the wire: addresses, interfaces, instances.

use super::{
    DIP_2, EXAMPLE, FORWARDING, INTERFACE, NAME, PRIVATE, PROBE, PROXY, PUBLIC, finds, finds_all, finds_in,
};
use crate::config::code::Code;

const VNET: &str = r#"vnet   = ["10.0.0.0/16"]"#;
const NAME_2: &str = r#"name = "gw-2""#;

#[test]
fn r5_service_name() {
    for name in ["", "5contoso", "con_toso", "contoso-", "käse", &"a".repeat(51)] {
        finds(Code::ServiceName, NAME, &format!("name = «\"{name}\" "));
    }
}

#[test]
fn prefixes() {
    finds(Code::BadPrefix, VNET, "vnet = [«\"10.0.0.0\"]");
    finds(Code::BadPrefix, VNET, "vnet = [«\"10.0.0.0/33\"]");
    finds_all(&[Code::HostBits, Code::HostBits], VNET, "vnet = [«\"10.0.0.5/16\", «\"fd00::1/64\"]");
}

#[test]
fn r10_vips() {
    finds(Code::BadAddress, PRIVATE, r#"private = [«"10.0.0.500"]"#);
    finds(Code::BadAddress, PRIVATE, r#"private = [«"10.0.0.5/24"]"#);
    finds(Code::BadAddress, PRIVATE, r#"private = [«"10.0.0.5:443"]"#);
    finds(Code::VipOutsideSubnet, PRIVATE, r#"private = ["10.0.0.5", «"10.0.1.5"]"#);
    for reserved in [
        "10.0.0.0",
        "10.0.0.255",
        "fd00:0:0:1::",
        "0.0.0.0",
        "127.0.0.1",
        "224.0.0.1",
        "169.254.0.1",
        "::ffff:10.0.0.5",
        "fe80::1",
    ] {
        finds(Code::ReservedAddress, PRIVATE, &format!("private = [\"10.0.0.5\", «\"{reserved}\"]"));
    }
    finds(Code::ReservedAddress, PUBLIC, r#"public = [«"10.0.0.255"]"#);
    finds(Code::AddressClash, PRIVATE, r#"private = [«"10.0.0.12"]"#);
    finds(Code::AddressClash, PUBLIC, r#"public = [«"10.0.0.12"]"#);
    finds(Code::AddressClash, PUBLIC, r#"public = [«"10.0.0.5"]"#);
    finds(Code::GivenTwice, PRIVATE, r#"private = ["10.0.0.5", «"10.0.0.5"]"#);
    let nine: Vec<_> = (20..29).map(|host| format!("\"10.0.0.{host}\"")).collect();
    finds(Code::OutOfRange, PRIVATE, &format!("private = «[{}]", nine.join(", ")));
}

#[test]
fn r33_dips() {
    finds(Code::DipOutsideSubnet, DIP_2, r#"dip = [«"10.0.1.12"]"#);
    finds(Code::ReservedAddress, DIP_2, r#"dip = [«"10.0.0.255"]"#);
    finds(Code::DipTaken, DIP_2, r#"dip = [«"10.0.0.11"]"#);
    finds(Code::GivenTwice, DIP_2, r#"dip = ["10.0.0.12", «"10.0.0.12"]"#);
    finds(Code::DipFamilyTwice, DIP_2, r#"dip = ["10.0.0.12", «"10.0.0.13"]"#);
}

#[test]
fn instances() {
    finds(Code::GivenTwice, NAME_2, "name = «\"gw-1\"");
    for name in ["", "-gw", "gw 2", "gw/2", &"g".repeat(64)] {
        finds(Code::InstanceName, NAME_2, &format!("name = «\"{name}\""));
    }
    // Two are in the example, 3,999 more are one too many.
    let more: String = (0..3_999)
        .map(|n| {
            let mark = if n == 3_998 { "«" } else { "" };
            format!("{mark}[[instance]]\nname = \"n{n}\"\ndip = [\"fd00:0:0:1::1:{n}\"]\n")
        })
        .collect();
    finds(Code::OutOfRange, "[probe]", &format!("{more}[probe]"));
}

#[test]
fn interface_name() {
    for name in ["", "sixteen-bytes-xx", "eth 0", "eth/0", "eth:0", ".."] {
        finds(Code::InterfaceName, INTERFACE, &format!("interface = «\"{name}\""));
    }
}

#[test]
fn r14_one_interface_or_two_different_ones() {
    finds_in(&[], &EXAMPLE.replace(INTERFACE, "inside = \"eth1\"\noutside = \"eth0\""));
    finds(Code::Interfaces, INTERFACE, "interface = «\"eth0\"\ninside = \"eth1\"\noutside = \"eth0\"");
    finds(Code::Interfaces, INTERFACE, "inside = \"eth0\"\noutside = «\"eth0\"");
    finds(Code::Interfaces, INTERFACE, "inside = «\"eth0\"");
    finds(Code::Interfaces, INTERFACE, "outside = «\"eth0\"");
    finds(Code::InterfaceName, INTERFACE, "inside = «\"eth 0\"\noutside = \"eth0\"");
}

#[test]
fn balancers_own_addresses() {
    let with = |mode: &str, address: &str| format!("forwarding = \"{mode}\"\naddress = {address}");
    for mode in ["l2", "ipip", "gue", "nat"] {
        finds_in(
            &[],
            &EXAMPLE.replace(FORWARDING, &with(mode, r#"["10.0.0.2", "fd00:0:0:1::2", "10.8.0.2"]"#)),
        );
    }
    for mode in ["ipip", "gue", "nat"] {
        finds(Code::BalancerAddress, FORWARDING, &with(mode, r#"«["10.0.0.2"]"#));
        finds(Code::BalancerAddress, FORWARDING, &with(mode, r#"«["fd00:0:0:1::2"]"#));
        finds_all(&[Code::BalancerAddress; 2], FORWARDING, &with(mode, "««[]"));
        let bare = format!("forwarding = \"{mode}\"");
        finds_in(
            &[Code::BalancerAddress; 2],
            &EXAMPLE.replace(FORWARDING, &bare).replace("[balancer]", "««[balancer]"),
        );
    }
    let ipip = |first: &str| with("ipip", &format!(r#"[{first}, "10.0.0.2", "fd00:0:0:1::2"]"#));
    finds(Code::BalancerAddress, FORWARDING, &ipip(r#"«"192.0.2.2""#));
    finds(Code::AddressClash, FORWARDING, &ipip(r#"«"10.0.0.5""#));
    finds(Code::AddressClash, FORWARDING, &ipip(r#"«"203.0.113.5""#));
    finds(Code::AddressClash, FORWARDING, &ipip(r#"«"10.0.0.11""#));
    finds(Code::ReservedAddress, FORWARDING, &ipip(r#"«"10.0.0.255""#));
    finds(Code::GivenTwice, FORWARDING, &with("ipip", r#"["10.0.0.2", «"10.0.0.2", "fd00:0:0:1::2"]"#));
}

#[test]
fn r80_every_affinity_is_taken() {
    for affinity in ["five-tuple", "three-tuple", "source-address"] {
        finds_in(
            &[],
            &EXAMPLE.replace(r#"affinity   = "five-tuple""#, &format!("affinity = \"{affinity}\"")),
        );
    }
}

#[test]
fn nat_needs_ports_and_dips_of_its_own() {
    let nat =
        EXAMPLE.replace(FORWARDING, "forwarding = \"nat\"\naddress = [\"10.0.0.2\", \"fd00:0:0:1::2\"]");
    // Those of the public VIP's closed ports are kept free too: the mode may change.
    for taken in [10_080, 10_443, 13_443, 20_080, 20_443, 23_443] {
        finds_in(&[Code::ProbePort], &nat.replace(PROBE, &format!("port = «{taken}")));
    }
    finds_in(&[], &nat.replace(PROBE, "port = 30443"));
    finds_in(&[], &nat.replace(PROBE, "port = 10053"));
    let dns = nat.replacen(PROXY, "[dns]\nserve = true\n[proxy]", 1);
    finds_in(&[Code::DnsPort], &dns.replace(PROBE, "port = «10053"));
    finds_in(
        &[Code::BackendPort],
        &nat.replace(
            PRIVATE,
            r#"private = ["fd00:0:0:1::5", "10.0.0.5", "10.0.0.6", "10.0.0.7", «"10.0.0.8"]"#,
        ),
    );
    finds_in(
        &[Code::BackendPort],
        &nat.replace(PUBLIC, r#"public = ["203.0.113.5", "203.0.113.6", "203.0.113.7", «"203.0.113.8"]"#),
    );
    finds_in(&[Code::DipFamilyMissing], &nat.replace(DIP_2, r#"dip = «["10.0.0.12"]"#));
    finds_in(&[Code::DipFamilyMissing], &nat.replace(DIP_2, r#"dip = «["fd00:0:0:1::12"]"#));
}
