//! The records as text for other programs, one file a format. The same configuration is the same text, byte for byte.
//!
//! Every full name is a zone of its own: a zone for `contoso.com` would hide everything else below it (R52).

pub mod bind;
pub mod coredns;
pub mod dnsmasq;
pub mod hosts;
pub mod nsupdate;
pub mod rpz;

use std::{fmt::Write as _, net::IpAddr};

use super::{Records, https, records::Named};
use crate::model::Mode;

/// What a text begins with: whose it is, and who may hear of it (R3, R53).
fn heading(comment: &str, records: &Records) -> String {
    let audience = match records.mode {
        Mode::External | Mode::None => "for everyone".to_owned(),
        Mode::Internal => {
            let inside: Vec<_> = records.inside.iter().map(ToString::to_string).collect();
            format!("for clients in {} only", inside.join(" "))
        }
    };
    format!("{comment} names of the service {}, {audience}\n", records.service)
}

/// A name's records as a zone file has them: owner, time to live, type, data.
fn records_of(owner: &str, named: &Named, records: &Records) -> String {
    let mut text = String::new();
    for (kind, data) in data_of(named, records) {
        let _ = writeln!(text, "{owner} {} IN {kind} {data}", records.ttl);
    }
    text
}

/// Type and data of each record.
fn data_of(named: &Named, records: &Records) -> Vec<(&'static str, String)> {
    let address = |ip: IpAddr| (if ip.is_ipv4() { "A" } else { "AAAA" }, ip.to_string());
    let https = named.https.then(|| ("HTTPS", https::text(records)));
    records.addresses().map(address).chain(https).collect()
}
