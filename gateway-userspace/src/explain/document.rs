//! What is told, for programs: `gateway explain --json` (R92), and what the text for people is made from.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Protocol;
use crate::published;

/// Of [`Explanation`]; grows when a field changes its meaning.
pub const SCHEMA_VERSION: u32 = 1;

/// What becomes of a packet, and of the request in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Explanation {
    /// Of this structure: 1.
    pub schema_version: u32,
    /// What it was decided by.
    pub tables: Tables,
    /// What was asked.
    pub packet: Packet,
    /// What becomes of the packet.
    pub verdict: Verdict,
    /// The verdict, in a sentence.
    pub summary: String,
    /// Why it is dropped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<DropReason>,
    /// Each decision, in order.
    pub steps: Vec<Step>,
    /// By which its instance was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bucket: Option<Bucket>,
    /// Who gets it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<Instance>,
    /// What the proxy does with the request; only where a name was asked for and the packet gets there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<Request>,
    /// The same request by curl.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub curl: Option<String>,
    /// How long it took.
    pub times: Times,
}

/// What it was decided by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Tables {
    /// `live`: those that packets go by now. `file`: those that a file would make.
    pub source: Source,
    /// The file by which names and routes were decided, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// What a file does not say, and was taken for granted.
    pub assumed: Vec<String>,
}

/// Whence tables come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// Those that packets go by now.
    Live,
    /// Those that a file would make.
    File,
}

/// What was asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Packet {
    /// Address and port.
    pub from: String,
    /// Address and port.
    pub to: String,
    /// `tcp`, `udp`, `icmp`
    pub protocol: Protocol,
    /// `syn`, `ack`, `rst`, `fin`; of TCP.
    pub flags: Vec<String>,
    /// Of the IP packet.
    pub bytes: usize,
    /// By which interface of the balancer it comes.
    pub interface: String,
}

/// What becomes of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// To the host's own stack: it is for no VIP.
    Pass,
    /// Dropped, for `reason`.
    Drop,
    /// On to `instance`.
    Forward,
    /// The balancer answers it itself.
    Answer,
    /// An instance's reply, on to its client with the VIP as its source (with `nat`).
    Reply,
}

impl Verdict {
    /// As in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Drop => "drop",
            Self::Forward => "forward",
            Self::Answer => "answer",
            Self::Reply => "reply",
        }
    }
}

/// Why a packet is dropped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DropReason {
    /// As in `gateway drops`.
    pub name: String,
    /// The VIP or service where it is counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counted_at: Option<String>,
    /// What it means.
    pub meaning: String,
    /// Whose doing it is, and what to do.
    pub remedy: String,
    /// The sender is told: an ICMP error or a reset.
    pub sender_is_told: bool,
}

/// A decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Step {
    /// Which one: `vip`, `service`, `bucket`, `owner`, `instance`, `rewrite`, `tls`, `name`, `route`, `upstream`.
    pub stage: String,
    /// What was decided, and why.
    pub text: String,
}

/// A bucket of the ring, and whose it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Bucket {
    /// From 0.
    pub number: u32,
    /// How many there are.
    pub of: u32,
    /// Which parts of the flow chose it.
    pub affinity: String,
    /// Whose it is; absent: nobody's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<String>,
    /// Whose it was before it moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<String>,
    /// It changed hands, and may have flows of an earlier owner.
    pub moved: bool,
    /// How it was found whose the flow is, where it is moved: as in the counters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settled: Option<String>,
}

/// Who gets the packet, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Instance {
    /// `gw-1`
    pub name: String,
    /// `l2`, `ipip`, `gue`, `nat`, or `local`: it is this host.
    pub forwarding: String,
    /// Of the next hop; absent where it is this host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    /// The instance's own, where packets are sent to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Bytes that are put around the packet.
    pub bytes_added: usize,
    /// The largest packet of the way, with what is put around; absent where none is too large (`l2`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<usize>,
}

/// What the proxy does with a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Request {
    /// `forward`, `redirect`, `status`, `passthrough`, `not-found` (404), `bad-request` (400), `misdirected` (421), `name-refused` (a TLS
    /// alert), `no-http`.
    pub outcome: String,
    /// Whose name it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// The route's path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// Those that it may go to, the nearest first.
    pub upstreams: Vec<String>,
    /// Where it is sent instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
}

/// How long it took.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Times {
    /// To read the tables.
    pub tables_microseconds: f64,
    /// To decide.
    pub decision_microseconds: f64,
}

/// A JSON Schema (draft-07) of [`Explanation`].
pub fn schema() -> serde_json::Value {
    published::schema::<Explanation>("gateway explain")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r92_the_schema_is_the_one_of_the_code() {
        published::is_up_to_date("explain.schema.json", &format!("{:#}\n", schema()), "explain");
    }
}
