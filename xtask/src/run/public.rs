//! What the internet gets from the public VIP.

use std::net::{IpAddr, SocketAddr};

use anyhow::Result;
use lab::{
    address::{OUTSIDE, PUBLIC, PUBLIC6},
    config::default_host,
    curl::Curl,
    knock::{self, Knock},
    lab::{Lab, Running},
    scan,
};

use super::{
    private::{as_from, refused_by_name, served, status},
    report::{Report, expect},
};

/// The one door.
const MANAGEMENT: u16 = 3443;

/// R20 (c), (d)
pub(super) fn management(lab: &Lab, _: &mut Running, report: &mut Report) -> Result<()> {
    report.heading(&format!("Port {MANAGEMENT} of the public VIP, from outside"));
    for (vip, outside) in addresses() {
        let at = SocketAddr::new(vip, MANAGEMENT);
        let ask = |role: &str| Curl::new(lab, "https", &default_host(role), at, "/").send(&lab.hosts.outside);
        let right = ask("management")?;
        report.outcome(
            &default_host("management"),
            &served(lab, &right),
            as_from(&right, "management", outside),
        );
        for role in ["gateway", "portal"] {
            let wrong = ask(role)?;
            report.outcome(&default_host(role), &status(&wrong), refused_by_name(&wrong));
        }
    }
    Ok(())
}

/// R20 (a), (b)
pub(super) fn everything_else(lab: &Lab, _: &mut Running, report: &mut Report) -> Result<()> {
    report.heading("Everything else at the public VIP, from outside");
    for (vip, outside) in addresses() {
        let scan = scan::ports(&lab.hosts.outside, OUTSIDE, vip, MANAGEMENT)?;
        let ports = |ports: &std::collections::BTreeSet<u16>| match ports.len() {
            0 => "none".to_owned(),
            1..=5 => ports.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
            many => format!("{many} ports"),
        };
        report.outcome(
            &format!("{vip}, a SYN to each TCP port"),
            &format!("answered by {}, refused by {}", ports(&scan.open), ports(&scan.refused)),
            expect(
                scan.open.iter().eq([&MANAGEMENT]) && scan.refused.is_empty(),
                format!("{MANAGEMENT} alone was to answer, and nothing to refuse"),
            ),
        );
        let knocks = Knock::all(outside, vip);
        let answers = knock::knock(&lab.hosts.outside, OUTSIDE, vip, MANAGEMENT)?;
        report.outcome(
            &format!("{vip}, {} other packets", knocks.len()),
            &format!("{} answers to UDP, ICMP, SCTP, GRE …", answers.len()),
            expect(answers.is_empty(), "silence was to come"),
        );
    }
    Ok(())
}

/// What of all this was dropped, and why, as the balancer counts it.
pub(super) fn drops(lab: &Lab, running: &mut Running, report: &mut Report) -> Result<()> {
    report.heading("Dropped, as the balancer counts it");
    let counters = lab.counters(&mut running.balancer)?;
    for (vip, outside) in addresses() {
        let of_vip: Vec<_> = counters.drops.iter().filter(|line| line.name == vip.to_string()).collect();
        for line in &of_vip {
            report.fact(
                &format!("{vip}"),
                &format!("{:>7} {:<12} {}", line.packets, line.reason, line.meaning),
            );
        }
        let dropped: u64 = of_vip.iter().map(|line| line.packets).sum();
        // Every port but one, and every knock.
        let sent = u64::from(u16::MAX - 1) + Knock::all(outside, vip).len() as u64;
        report.outcome(
            &format!("{vip}, in all"),
            &format!("{dropped} dropped of {sent} sent that had to be"),
            expect(dropped >= sent, "some went elsewhere"),
        );
    }
    Ok(())
}

/// The public VIP in both families, each with the address that the host outside has in it.
fn addresses() -> [(IpAddr, IpAddr); 2] {
    let [outside4, outside6] = OUTSIDE.addresses();
    [(PUBLIC.into(), outside4), (PUBLIC6.into(), outside6)]
}
