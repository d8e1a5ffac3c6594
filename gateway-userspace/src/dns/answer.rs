//! From a question to what is answered. Pure.
//!
//! Each full name is a zone of its own: the server is authoritative for the name and for what is below it, where there is nothing,
//! and knows nothing of its parents. A name that a wildcard stands for is such a zone too.

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
};

use hickory_proto::{
    op::{Edns, Header, Message, MessageType, Metadata, OpCode, Query, ResponseCode},
    rr::{
        DNSClass, Name, RData, Record, RecordType,
        rdata::{A, AAAA, NS, SOA},
    },
    serialize::binary::{BinDecodable as _, BinDecoder},
};
use ipnet::IpNet;

use super::{Records, https};

/// The least that everybody takes over UDP (RFC 1035, 4.2.1).
const LEAST: u16 = 512;
/// The most that is sent over UDP: what passes everywhere without fragments (RFC 9715).
pub const MOST_UDP: u16 = 1232;
/// What a message over TCP may have.
const MOST_TCP: u16 = u16::MAX;
/// Times of SOA records in seconds: to ask for a new serial, to ask again, to give up.
const REFRESH: i32 = 3_600;
const RETRY: i32 = 600;
const EXPIRE: i32 = 86_400;

/// How a question came, and an answer goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// A datagram.
    Udp,
    /// A stream.
    Tcp,
}

/// What became of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The records that were asked for.
    Answered,
    /// The name is ours and has no such record.
    NoData,
    /// There is no such name below one of ours.
    NoName,
    /// From outside (R3).
    Outside,
    /// Neither ours nor to be forwarded: another name, class, or a transfer of a zone.
    Refused,
    /// Not to be understood.
    Malformed,
    /// Another operation, or version of EDNS.
    NotImplemented,
    /// The answer of another server.
    Forwarded,
    /// No other server has answered.
    Failed,
    /// Too many from this source.
    Limited,
}

impl Outcome {
    /// All of them, as metrics have them.
    pub const ALL: [(Self, &str); 10] = [
        (Self::Answered, "answered"),
        (Self::NoData, "no-data"),
        (Self::NoName, "no-name"),
        (Self::Outside, "outside"),
        (Self::Refused, "refused"),
        (Self::Malformed, "malformed"),
        (Self::NotImplemented, "not-implemented"),
        (Self::Forwarded, "forwarded"),
        (Self::Failed, "failed"),
        (Self::Limited, "limited"),
    ];
}

/// Whose a question is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Viewer {
    /// A client of the networks, or this host itself.
    Inside,
    /// Nobody who gets an address (R3).
    Outside,
}

/// What to do about a message.
#[derive(Debug)]
pub enum Decision {
    /// No answer: it is no question.
    Silence,
    /// This.
    Answer(Answer),
    /// It is for another server to answer.
    Forward(Asked),
}

/// An answer, and what it counts as.
#[derive(Debug)]
pub struct Answer {
    /// Itself.
    pub message: Message,
    /// What became of the question.
    pub outcome: Outcome,
    /// What was asked for, as far as it was understood.
    pub kind: Option<RecordType>,
    /// What fits where it goes.
    pub limit: u16,
}

/// A question that is understood, and what its answer will be like.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The question.
    pub query: Query,
    /// Its header.
    pub metadata: Metadata,
    /// Whether signatures are wanted; none: there was no EDNS.
    pub dnssec_ok: Option<bool>,
    /// What fits where the answer goes.
    pub limit: u16,
}

/// What we are authoritative for.
#[derive(Debug)]
pub struct Zones {
    /// Keys are names in lower case as on the wire.
    exact: HashMap<Box<[u8]>, Zone>,
    /// By the name above: `api.contoso.com` of `*.api.contoso.com`.
    wildcards: HashMap<Box<[u8]>, Zone>,
    /// Names between one of ours and another one below it: they exist, and have no records (RFC 8020).
    between: HashSet<Box<[u8]>>,
    a: Vec<RData>,
    aaaa: Vec<RData>,
    https: RData,
    name_servers: Vec<Name>,
    ttl: u32,
    serial: u32,
    inside: Vec<IpNet>,
    /// Whether other servers are asked for other names.
    forwards: bool,
}

#[derive(Debug, Clone, Copy)]
struct Zone {
    https: bool,
}

/// A name in lower case, label by label.
struct Key {
    bytes: Vec<u8>,
    /// Where each label begins; the last one is the end.
    starts: Vec<usize>,
}

impl Key {
    fn of(name: &Name) -> Self {
        let (mut bytes, mut starts) = (Vec::with_capacity(name.len()), Vec::with_capacity(8));
        for label in name {
            starts.push(bytes.len());
            bytes.push(label.len() as u8);
            bytes.extend(label.iter().map(u8::to_ascii_lowercase));
        }
        starts.push(bytes.len());
        Self { bytes, starts }
    }

    fn labels(&self) -> usize {
        self.starts.len() - 1
    }

    /// Without the first `labels`.
    fn without(&self, labels: usize) -> &[u8] {
        &self.bytes[self.starts[labels]..]
    }
}

impl Zones {
    /// Of these records; questions for other names go elsewhere where `forwards` says so.
    pub fn new(records: &Records, forwards: bool) -> Self {
        // Names were checked when the file was read; what hickory refuses all the same is not served.
        let name = |text: &str| {
            Name::from_ascii(text).ok().map(|mut name| {
                name.set_fqdn(true);
                name
            })
        };
        let key = |text: &str| name(text).map(|name| Key::of(&name));
        let zones = |named: &super::records::Named| Zone { https: named.https };
        let exact: HashMap<_, _> = records
            .exact()
            .filter_map(|(text, named)| Some((key(text)?.bytes.into(), zones(named))))
            .collect();
        let wildcards: HashMap<_, _> = records
            .wildcards()
            .filter_map(|(text, named)| Some((key(text)?.bytes.into(), zones(named))))
            .collect();
        let ancestors = |text: &str, from: usize| {
            let key = key(text);
            key.into_iter().flat_map(move |key| {
                (from..key.labels()).map(|n| Box::from(key.without(n))).collect::<Vec<Box<[u8]>>>()
            })
        };
        let between = records
            .exact()
            .flat_map(|(text, _)| ancestors(text, 1))
            .chain(records.wildcards().flat_map(|(text, _)| ancestors(text, 0)))
            .collect();
        Self {
            exact,
            wildcards,
            between,
            a: records.v4.iter().map(|ip| RData::A(A(*ip))).collect(),
            aaaa: records.v6.iter().map(|ip| RData::AAAA(AAAA(*ip))).collect(),
            https: RData::HTTPS(https::data(records)),
            name_servers: records.name_servers.iter().filter_map(|text| name(text)).collect(),
            ttl: records.ttl,
            serial: records.serial.0,
            inside: records.inside.clone(),
            forwards,
        }
    }

    /// Whose a question from there is.
    pub fn viewer(&self, source: IpAddr) -> Viewer {
        let source = source.to_canonical();
        let inside = source.is_loopback() || self.inside.iter().any(|net| net.contains(&source));
        if inside { Viewer::Inside } else { Viewer::Outside }
    }

    /// What to do about these bytes.
    pub fn decide(&self, bytes: &[u8], viewer: Viewer, transport: Transport) -> Decision {
        let Ok(header) = Header::read(&mut BinDecoder::new(bytes)) else { return Decision::Silence };
        // An answer to an answer would go round.
        if header.metadata.message_type == MessageType::Response {
            return Decision::Silence;
        }
        let metadata = header.metadata;
        let bare = |code, outcome| Decision::Answer(Answer::bare(metadata, code, outcome));
        if viewer == Viewer::Outside {
            return bare(ResponseCode::Refused, Outcome::Outside);
        }
        if metadata.op_code != OpCode::Query {
            return bare(ResponseCode::NotImp, Outcome::NotImplemented);
        }
        let Ok(message) = Message::from_vec(bytes) else {
            return bare(ResponseCode::FormErr, Outcome::Malformed);
        };
        let limit = match (transport, &message.edns) {
            (Transport::Tcp, _) => MOST_TCP,
            (Transport::Udp, None) => LEAST,
            (Transport::Udp, Some(edns)) => edns.max_payload().clamp(LEAST, MOST_UDP),
        };
        let mut queries = message.queries;
        let dnssec_ok = message.edns.as_ref().map(|edns| edns.flags().dnssec_ok);
        let Some(query) = queries.pop().filter(|_| queries.is_empty()) else {
            // RFC 9619: more than one is as wrong as none.
            return bare(ResponseCode::FormErr, Outcome::Malformed);
        };
        let asked = Asked { query, metadata, dnssec_ok, limit };
        if message.edns.is_some_and(|edns| edns.version() > 0) {
            return asked.answer(ResponseCode::BADVERS, Outcome::NotImplemented);
        }
        self.answer(asked)
    }

    fn answer(&self, asked: Asked) -> Decision {
        let kind = asked.query.query_type();
        if kind == RecordType::OPT {
            return asked.answer(ResponseCode::FormErr, Outcome::Malformed);
        }
        if asked.query.query_class() != DNSClass::IN || matches!(kind, RecordType::AXFR | RecordType::IXFR) {
            return asked.answer(ResponseCode::Refused, Outcome::Refused);
        }
        let key = Key::of(asked.query.name());
        let Some((below, zone)) = self.zone(&key) else {
            return match self.forwards {
                true => Decision::Forward(asked),
                false => asked.answer(ResponseCode::Refused, Outcome::Refused),
            };
        };
        let apex = asked.query.name().trim_to(key.labels() - below);
        let (code, outcome, data) = match below {
            0 => match self.data(zone, kind, &apex) {
                data if data.is_empty() => (ResponseCode::NoError, Outcome::NoData, data),
                data => (ResponseCode::NoError, Outcome::Answered, data),
            },
            _ if self.between.contains(key.without(0)) => {
                (ResponseCode::NoError, Outcome::NoData, Vec::new())
            }
            _ => (ResponseCode::NXDomain, Outcome::NoName, Vec::new()),
        };
        let record = |data| Record::from_rdata(apex.clone(), self.ttl, data);
        let mut message = asked.message(code);
        message.metadata.authoritative = true;
        if data.is_empty() {
            message.authorities.push(record(self.soa(&apex)));
        }
        message.answers = data.into_iter().map(record).collect();
        Decision::Answer(Answer { message, outcome, kind: Some(kind), limit: asked.limit })
    }

    /// The zone that a name is in, and how many labels it is below that zone's own. The nearest one wins, and an exact name over a
    /// wildcard (R44).
    fn zone(&self, key: &Key) -> Option<(usize, Zone)> {
        (0..key.labels()).find_map(|below| {
            let zone =
                self.exact.get(key.without(below)).or_else(|| self.wildcards.get(key.without(below + 1)));
            Some((below, *zone?))
        })
    }

    /// What a zone's own name has of that type.
    fn data(&self, zone: Zone, kind: RecordType, apex: &Name) -> Vec<RData> {
        match kind {
            RecordType::A => self.a.clone(),
            RecordType::AAAA => self.aaaa.clone(),
            RecordType::HTTPS if zone.https => vec![self.https.clone()],
            RecordType::SOA => vec![self.soa(apex)],
            RecordType::NS if self.name_servers.is_empty() => vec![RData::NS(NS(apex.clone()))],
            RecordType::NS => self.name_servers.iter().map(|name| RData::NS(NS(name.clone()))).collect(),
            // One set of records is enough (RFC 8482, 4.1).
            RecordType::ANY if self.a.is_empty() => self.aaaa.clone(),
            RecordType::ANY => self.a.clone(),
            _ => Vec::new(),
        }
    }

    fn soa(&self, apex: &Name) -> RData {
        let server = self.name_servers.first().unwrap_or(apex).clone();
        // A name of the greatest length has no room for one more label.
        let mailbox = apex.prepend_label("hostmaster").unwrap_or_else(|_| apex.clone());
        RData::SOA(SOA::new(server, mailbox, self.serial, REFRESH, RETRY, EXPIRE, self.ttl))
    }
}

impl Asked {
    /// An answer without records.
    pub fn message(&self, code: ResponseCode) -> Message {
        let mut message = Message::new(self.metadata.id, MessageType::Response, OpCode::Query);
        message.metadata = Metadata::response_from_request(&self.metadata);
        message.metadata.response_code = code;
        message.queries.push(self.query.clone());
        message.edns = self.edns();
        message
    }

    /// Ours, where the question had one (RFC 6891, 6.1.1).
    pub fn edns(&self) -> Option<Edns> {
        let dnssec_ok = self.dnssec_ok?;
        let mut edns = Edns::new();
        edns.set_max_payload(MOST_UDP).set_dnssec_ok(dnssec_ok);
        Some(edns)
    }

    fn answer(self, code: ResponseCode, outcome: Outcome) -> Decision {
        let message = self.message(code);
        let kind = Some(self.query.query_type());
        Decision::Answer(Answer { message, outcome, kind, limit: self.limit })
    }
}

impl Answer {
    /// A header and nothing else: smaller than any question.
    fn bare(asked: Metadata, code: ResponseCode, outcome: Outcome) -> Self {
        let mut message = Message::new(asked.id, MessageType::Response, asked.op_code);
        message.metadata = Metadata::response_from_request(&asked);
        message.metadata.response_code = code;
        Self { message, outcome, kind: None, limit: LEAST }
    }

    /// As on the wire. What does not fit goes without records and says so (TC); the client comes again over TCP.
    pub fn to_bytes(&self) -> Option<Vec<u8>> {
        let bytes = self.message.to_vec().ok()?;
        if bytes.len() <= usize::from(self.limit) {
            return Some(bytes);
        }
        self.message.truncate().to_vec().ok()
    }
}

#[cfg(test)]
mod tests;
