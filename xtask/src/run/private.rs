//! What a client inside gets from the private VIP.

use std::net::{IpAddr, SocketAddr};

use anyhow::Result;
use lab::{
    address::{CLIENT, PRIVATE, PRIVATE6},
    config::{custom_host, default_host},
    curl::{Answer, Curl},
    flows,
    lab::{Lab, ROLES, Running},
};

use super::report::{Report, expect};

/// How many connections are counted.
const FLOWS: usize = 300;

/// R11: which instance serves a connection.
pub(super) fn flows(lab: &Lab, _: &mut Running, report: &mut Report) -> Result<()> {
    report.heading(&format!("{FLOWS} connections from the client ({}) to the private VIP", CLIENT.v4()));
    for vip in [IpAddr::from(PRIVATE), PRIVATE6.into()] {
        let spread = flows::spread(lab, &lab.hosts.client, &default_host("gateway"), vip, 443, FLOWS)?;
        let config = lab.config();
        let weights: u32 = config.instance.iter().map(|instance| instance.weight).sum();
        for instance in &config.instance {
            let share = f64::from(instance.weight) / f64::from(weights);
            let served = spread.get(&instance.name).copied().unwrap_or_default();
            let expected = share * FLOWS as f64;
            // Flows fall at random: four standard deviations are left to chance, which is once in sixteen thousand times.
            let chance = 4.0 * (expected * (1.0 - share)).sqrt();
            let off = (served as f64 - expected).abs();
            report.outcome(
                &format!("{vip}:443 on {}", instance.name),
                &format!("{served} flows, {:.0} % (weight: {:.0} %)", percent(served), share * 100.0),
                expect(off <= chance, format!("more than {chance:.0} flows off its weight")),
            );
        }
        for (stranger, served) in
            spread.iter().filter(|(name, _)| !lab.hosts.instances.iter().any(|i| i.name() == *name))
        {
            report.outcome(stranger, &format!("{served} flows"), Err("no instance has this address".into()));
        }
    }
    Ok(())
}

fn percent(flows: usize) -> f64 {
    flows as f64 * 100.0 / FLOWS as f64
}

/// R42: every role by its name.
pub(super) fn roles(lab: &Lab, _: &mut Running, report: &mut Report) -> Result<()> {
    report.heading("Each role by name, asked by the client at the private VIP");
    for role in ROLES {
        for host in [Some(default_host(role)), custom_host(role).map(str::to_owned)].into_iter().flatten() {
            role_at(lab, report, &host, "/", role, PRIVATE.into())?;
        }
    }
    role_at(lab, report, &default_host("gateway"), "/orders/7", "orders", PRIVATE.into())?;
    role_at(lab, report, &default_host("gateway"), "/", "gateway", PRIVATE6.into())?;
    let redirect =
        Curl::new(lab, "http", &default_host("gateway"), SocketAddr::new(PRIVATE.into(), 80), "/a?b");
    let answer = redirect.send(&lab.hosts.client)?;
    let location = answer.header("location").unwrap_or_default().to_owned();
    report.outcome(
        &format!("http://{}/a?b", default_host("gateway")),
        &format!("{} to {location}", status(&answer)),
        expect(
            matches!(answer.status, 301 | 302 | 307 | 308)
                && location == format!("https://{}/a?b", default_host("gateway")),
            "a redirect to https was to come",
        ),
    );
    Ok(())
}

fn role_at(lab: &Lab, report: &mut Report, host: &str, path: &str, service: &str, vip: IpAddr) -> Result<()> {
    let answer = Curl::https(lab, host, vip, path).send(&lab.hosts.client)?;
    let client = if vip.is_ipv4() { CLIENT.v4().into() } else { IpAddr::from(CLIENT.v6()) };
    let what = format!("{host}{}", if path == "/" { "" } else { path });
    let what = if vip.is_ipv4() { what } else { format!("{what} (IPv6)") };
    report.outcome(&what, &served(lab, &answer), as_from(&answer, service, client));
    Ok(())
}

/// Who answered, on whose connection, and whom that service took for the client.
pub(super) fn served(lab: &Lab, answer: &Answer) -> String {
    let Ok(seen) = answer.seen() else { return status(answer) };
    let instance = flows::instance_of(lab, seen.peer);
    let client = seen.header("x-forwarded-for").join(", ");
    format!("{} by service {}, via {instance}, for {client}", answer.status, seen.service)
}

/// Whether that service answered, and was told that client.
pub(super) fn as_from(answer: &Answer, service: &str, client: IpAddr) -> Result<(), String> {
    let Ok(seen) = answer.seen() else { return Err(format!("service {service} was to answer")) };
    expect(answer.status == 200 && seen.service == service, format!("200 by service {service} was to come"))?;
    expect(seen.header("x-forwarded-for") == [client.to_string()], format!("the client is {client}"))
}

/// R40, R41: what a request without a name, or with an unknown one, gets.
pub(super) fn bare_address(lab: &Lab, _: &mut Running, report: &mut Report) -> Result<()> {
    report.heading("Without a name that is configured, at the private VIP");
    for vip in [format!("{PRIVATE}"), format!("[{PRIVATE6}]")] {
        let url = format!("https://{vip}/");
        let answer = Curl::url(lab, &url).send(&lab.hosts.client)?;
        report.outcome(&url, &status(&answer), refused_by_name(&answer));
        let url = format!("http://{vip}/");
        let answer = Curl::url(lab, &url).send(&lab.hosts.client)?;
        let connection = answer.header("connection").unwrap_or("none");
        report.outcome(
            &url,
            &format!("{}, {} bytes, Connection: {connection}", status(&answer), answer.body.len()),
            expect(
                answer.status == 421 && answer.body.is_empty() && connection.eq_ignore_ascii_case("close"),
                "421 without a body and `Connection: close` were to come",
            ),
        );
    }
    let unknown = Curl::https(lab, "unknown.azure-api.net", PRIVATE, "/").send(&lab.hosts.client)?;
    report.outcome("https://unknown.azure-api.net", &status(&unknown), refused_by_name(&unknown));
    Ok(())
}

/// The status, or why there is none.
pub(super) fn status(answer: &Answer) -> String {
    match answer.status {
        0 if is_refused_by_name(answer) => "refused in the TLS handshake: unrecognized_name".to_owned(),
        0 => answer.error.lines().next().unwrap_or("no answer").to_owned(),
        status => status.to_string(),
    }
}

/// R40: the alert, before any certificate.
pub(super) fn refused_by_name(answer: &Answer) -> Result<(), String> {
    expect(is_refused_by_name(answer), "the TLS alert unrecognized_name was to come")
}

fn is_refused_by_name(answer: &Answer) -> bool {
    answer.status == 0 && answer.error.contains("unrecognized name")
}
