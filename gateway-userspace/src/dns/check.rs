//! What resolvers say of the names, compared with what they should. Pure.

use std::{collections::BTreeSet, net::IpAddr};

use hickory_proto::{
    op::{Message, ResponseCode},
    rr::RData,
};
use schemars::JsonSchema;
use serde::Serialize;

use super::Serial;
use crate::published;

/// Of the document.
const SCHEMA_VERSION: u32 = 1;

/// What was found, for programs (R92).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Report {
    /// 1
    pub schema_version: u32,
    /// Everything is as it should be.
    pub ok: bool,
    /// The addresses that every name should have.
    pub expected: Vec<IpAddr>,
    /// The serial number of the file.
    pub serial: u32,
    /// One for each name and server.
    pub checks: Vec<Check>,
}

/// What one server says of one name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Check {
    /// What was asked for; of a wildcard a name that it stands for.
    pub name: String,
    /// Who was asked.
    pub server: String,
    /// How it is.
    pub state: State,
    /// The addresses that were heard.
    pub addresses: Vec<IpAddr>,
    /// What to do; absent where all is fine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

/// How a name is at a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It leads where it should, over UDP and TCP.
    Fine,
    /// It leads elsewhere.
    WrongAddress,
    /// It leads nowhere.
    DoesNotResolve,
    /// It leads where it did before: an earlier file, or a cache.
    Stale,
    /// Right over UDP, and no answer over TCP.
    NoTcp,
    /// Nobody answers.
    NoAnswer,
}

impl State {
    /// As in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fine => "fine",
            Self::WrongAddress => "wrong-address",
            Self::DoesNotResolve => "does-not-resolve",
            Self::Stale => "stale",
            Self::NoTcp => "no-tcp",
            Self::NoAnswer => "no-answer",
        }
    }
}

/// What a server says of a name's addresses, over one transport.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// IPv4 and IPv6.
    pub addresses: BTreeSet<IpAddr>,
    /// The worse code of the two answers.
    pub code: ResponseCode,
    /// It says so of itself, and not from memory.
    pub authoritative: bool,
    /// The least time for which it will say so still, in seconds.
    pub ttl: Option<u32>,
}

impl Heard {
    /// From the answers for both kinds of address.
    pub fn of(answers: &[Message]) -> Self {
        let records = || answers.iter().flat_map(|answer| &answer.answers);
        let address = |data: &RData| match data {
            RData::A(address) => Some(IpAddr::V4(address.0)),
            RData::AAAA(address) => Some(IpAddr::V6(address.0)),
            _ => None,
        };
        let codes = answers.iter().map(|answer| answer.metadata.response_code);
        Self {
            addresses: records().filter_map(|record| address(&record.data)).collect(),
            code: codes.max_by_key(|code| u16::from(*code)).unwrap_or_default(),
            authoritative: answers.iter().all(|answer| answer.metadata.authoritative),
            ttl: records().map(|record| record.ttl).min(),
        }
    }
}

/// What is known of a name at a server.
#[derive(Debug, Clone)]
pub struct Known<'k> {
    /// What it should be.
    pub expected: &'k BTreeSet<IpAddr>,
    /// The file's.
    pub serial: Serial,
    /// None: no answer.
    pub udp: Option<Heard>,
    /// None: no answer.
    pub tcp: Option<Heard>,
    /// Of the zone of that name, as this server has it.
    pub zone: Option<Serial>,
    /// The instances themselves say what is right, where they answer.
    pub instances_are_right: bool,
    /// Whether this server is one of our VIPs.
    pub is_ours: bool,
}

/// How it is, and what to do.
pub fn judge(known: &Known<'_>) -> (State, Option<String>) {
    let Some(heard) = known.udp.as_ref().or(known.tcp.as_ref()) else {
        let remedy = match known.is_ours {
            true => {
                "nobody answers at the VIP: is `dns.serve` on, is this host inside (`network.*`), is an instance healthy (`gateway status`)?"
            }
            false => "the server does not answer: is it the right one, and port 53 open from here to it?",
        };
        return (State::NoAnswer, Some(remedy.to_owned()));
    };
    // Over TCP it may be another one behind the same address.
    let odd = known.tcp.as_ref().filter(|tcp| tcp.addresses != *known.expected).unwrap_or(heard);
    if odd.addresses == *known.expected {
        return match (&known.udp, &known.tcp) {
            (Some(_), Some(_)) => (State::Fine, None),
            (Some(_), None) => {
                (State::NoTcp, Some("open TCP port 53 from here to it: long answers need it".to_owned()))
            }
            _ => (
                State::NoAnswer,
                Some("it answers over TCP only: open UDP port 53 from here to it".to_owned()),
            ),
        };
    }
    if let Some(zone) = known.zone.filter(|zone| zone.is_older_than(known.serial)) {
        let remedy = match known.is_ours {
            true => format!(
                "the instances have an earlier file (serial {zone}): give them this one, and reload the proxies"
            ),
            false => format!(
                "the server has an earlier file's records (serial {zone}): `gateway dns zone` again, and reload it"
            ),
        };
        return (State::Stale, Some(remedy));
    }
    if odd.addresses.is_empty() {
        return (State::DoesNotResolve, Some(nowhere(odd.code, known.is_ours).to_owned()));
    }
    if let (false, true, Some(ttl)) = (odd.authoritative, known.instances_are_right, odd.ttl) {
        return (
            State::Stale,
            Some(format!("an answer from before is kept: flush the server's cache, or wait {ttl} s")),
        );
    }
    (
        State::WrongAddress,
        Some(format!(
            "expected {}: another record of that name is in the way; `gateway dns zone` makes the right ones",
            list(known.expected)
        )),
    )
}

fn nowhere(code: ResponseCode, is_ours: bool) -> &'static str {
    match (code, is_ours) {
        (ResponseCode::Refused, true) => {
            "refused by the instances: this host is not inside (`network.*`), or they have another file without that name"
        }
        (ResponseCode::Refused, false) => {
            "refused: the server answers for other clients, or has nobody to ask; load `gateway dns zone` there, or forward the name to the private VIP"
        }
        (ResponseCode::ServFail, _) => {
            "the server fails: it cannot reach whom it asks, or DNSSEC of a parent forbids the answer; its log knows"
        }
        _ => {
            "the server does not know the name: load `gateway dns zone` there, or forward the name to the private VIP (`dns.serve`)"
        }
    }
}

/// Addresses in a row.
pub fn list(addresses: &BTreeSet<IpAddr>) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

impl Report {
    /// Of these checks.
    pub fn new(expected: &BTreeSet<IpAddr>, serial: Serial, checks: Vec<Check>) -> Self {
        Self {
            schema_version: SCHEMA_VERSION,
            ok: checks.iter().all(|check| check.state == State::Fine),
            expected: expected.iter().copied().collect(),
            serial: serial.0,
            checks,
        }
    }
}

/// A JSON Schema (draft-07) of [`Report`].
pub fn schema() -> serde_json::Value {
    published::schema::<Report>("gateway dns check")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(addresses: &[&str]) -> BTreeSet<IpAddr> {
        addresses.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn heard(addresses: &[&str], code: ResponseCode) -> Option<Heard> {
        Some(Heard { addresses: set(addresses), code, authoritative: true, ttl: Some(60) })
    }

    const OK: ResponseCode = ResponseCode::NoError;

    #[test]
    fn r54_each_fault_is_told_from_the_others_and_has_a_remedy() {
        let expected = set(&["10.0.0.5", "fd00::5"]);
        let right = || heard(&["10.0.0.5", "fd00::5"], OK);
        let wrong = || heard(&["192.0.2.1"], OK);
        let kept = || wrong().map(|heard| Heard { authoritative: false, ..heard });
        let base = Known {
            expected: &expected,
            serial: Serial(100),
            udp: right(),
            tcp: right(),
            zone: Some(Serial(100)),
            instances_are_right: false,
            is_ours: false,
        };
        let nothing = |code| heard(&[], code);
        for (known, state, word) in [
            (base.clone(), State::Fine, ""),
            (Known { tcp: None, ..base.clone() }, State::NoTcp, "TCP port 53"),
            (Known { udp: None, ..base.clone() }, State::NoAnswer, "UDP port 53"),
            (Known { udp: None, tcp: None, ..base.clone() }, State::NoAnswer, "does not answer"),
            (Known { udp: None, tcp: None, is_ours: true, ..base.clone() }, State::NoAnswer, "dns.serve"),
            (
                Known { udp: wrong(), tcp: wrong(), ..base.clone() },
                State::WrongAddress,
                "expected 10.0.0.5 fd00::5",
            ),
            (
                Known { udp: heard(&["10.0.0.5"], OK), tcp: None, ..base.clone() },
                State::WrongAddress,
                "fd00::5",
            ),
            (Known { tcp: wrong(), ..base.clone() }, State::WrongAddress, "expected"),
            (
                Known { udp: wrong(), tcp: wrong(), zone: Some(Serial(99)), ..base.clone() },
                State::Stale,
                "serial 99",
            ),
            (
                Known { udp: wrong(), tcp: wrong(), zone: Some(Serial(101)), ..base.clone() },
                State::WrongAddress,
                "expected",
            ),
            (
                Known { udp: kept(), tcp: kept(), instances_are_right: true, ..base.clone() },
                State::Stale,
                "wait 60 s",
            ),
            (Known { udp: kept(), tcp: kept(), ..base.clone() }, State::WrongAddress, "expected"),
            (
                Known { udp: nothing(ResponseCode::NXDomain), tcp: None, ..base.clone() },
                State::DoesNotResolve,
                "does not know",
            ),
            (
                Known { udp: nothing(ResponseCode::Refused), tcp: None, ..base.clone() },
                State::DoesNotResolve,
                "other clients",
            ),
            (
                Known { udp: nothing(ResponseCode::Refused), tcp: None, is_ours: true, ..base.clone() },
                State::DoesNotResolve,
                "not inside",
            ),
            (
                Known { udp: nothing(ResponseCode::ServFail), tcp: None, ..base },
                State::DoesNotResolve,
                "fails",
            ),
        ] {
            let (found, remedy) = judge(&known);
            assert_eq!(found, state, "{known:?}");
            assert!(remedy.unwrap_or_default().contains(word), "{known:?}");
        }
    }

    #[test]
    fn r92_the_schema_is_the_one_of_the_code() {
        published::is_up_to_date("dns-check.schema.json", &format!("{:#}\n", schema()), "dns");
    }
}
