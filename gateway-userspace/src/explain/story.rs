//! What the pipeline told, in words.

use gateway_ebpf::{
    answer,
    layout::{BUCKETS, Instance as Entry, WAY_LINK, WAY_LOCAL, WAY_NAT, WAY_NONE},
    pipeline::Verdict as Outcome,
    step::Step as Told,
    tables::Answered,
};

use super::{
    Decision, Explanation, Known, Protocol, Question,
    document::{Bucket, DropReason, Instance, Packet, SCHEMA_VERSION, Step, Tables, Times, Verdict},
    names,
};

/// Bytes of an Ethernet header.
const ETHERNET: usize = 14;

/// All but the request.
pub(super) fn tell(question: &Question, known: &Known, decision: &Decision) -> Explanation {
    let mut story = Story { question, known, decision, steps: Vec::new(), bucket: None, instance: None };
    decision.steps.iter().for_each(|told| story.step(told));
    let (verdict, summary) = story.verdict();
    let Story { steps, bucket, instance, .. } = story;
    Explanation {
        schema_version: SCHEMA_VERSION,
        tables: Tables { source: known.source, file: None, assumed: known.assumed.clone() },
        packet: packet(question, known, decision),
        verdict,
        summary,
        reason: reason(known, decision),
        steps,
        bucket,
        instance,
        request: None,
        curl: None,
        times: Times::default(),
    }
}

fn packet(question: &Question, known: &Known, decision: &Decision) -> Packet {
    let flags = if question.protocol == Protocol::Tcp { question.flags.names() } else { Vec::new() };
    Packet {
        from: question.from.to_string(),
        to: question.to.to_string(),
        protocol: question.protocol,
        flags: flags.into_iter().map(ToOwned::to_owned).collect(),
        bytes: decision.before.len() - ETHERNET,
        interface: known.name(known.tables.interface),
    }
}

fn reason(known: &Known, decision: &Decision) -> Option<DropReason> {
    let (scope, reason) = decision.drop?;
    Some(DropReason {
        name: reason.name().to_owned(),
        counted_at: names::scope(&known.plan, scope),
        meaning: reason.meaning().to_owned(),
        remedy: reason.remedy().to_owned(),
        sender_is_told: answer::has_answer(reason) && decision.verdict == Outcome::Transmit,
    })
}

struct Story<'s> {
    question: &'s Question,
    known: &'s Known,
    decision: &'s Decision,
    steps: Vec<Step>,
    bucket: Option<Bucket>,
    instance: Option<Instance>,
}

impl Story<'_> {
    fn say(&mut self, stage: &str, text: impl Into<String>) {
        self.steps.push(Step { stage: stage.to_owned(), text: text.into() });
    }

    fn step(&mut self, told: &Told) {
        let plan = &self.known.plan;
        match told {
            Told::Vip(vip) => {
                let who = if vip.sources == 0 { "everyone" } else { "listed networks" };
                self.say("vip", format!("{} is a VIP, open to {who}", names::ip(vip.address)));
            }
            Told::Service { scope, flow, .. } => {
                let name = names::scope(plan, *scope).unwrap_or_default();
                let source = names::ip(flow.source);
                self.say("service", format!("{source} may reach it, and {name} is served"));
            }
            Told::Leased { owner, flow } => {
                let name = names::instance(plan, *owner).unwrap_or_default();
                let port = flow.port();
                self.say(
                    "service",
                    format!("none, but port {port} is leased to {name}, whose own flows leave by it"),
                );
            }
            Told::Bucket { number, bucket } => {
                let current = names::instance(plan, bucket.current());
                let previous = bucket.is_moved().then(|| names::instance(plan, bucket.previous())).flatten();
                let affinity = names::affinity(plan.config.affinity);
                let whose = current.as_deref().unwrap_or("nobody");
                let moved = match &previous {
                    Some(previous) => format!("; it is moving, and was {previous}'s"),
                    None if bucket.is_moved() => "; it is moving, and was nobody's".to_owned(),
                    None => String::new(),
                };
                self.say("bucket", format!("number {number} of {BUCKETS}, by {affinity}: {whose}'s{moved}"));
                self.bucket = Some(Bucket {
                    number: *number,
                    of: BUCKETS as u32,
                    affinity: affinity.to_owned(),
                    current,
                    previous,
                    moved: bucket.is_moved(),
                    settled: None,
                });
            }
            Told::Settled { how, .. } => {
                let (name, why) = names::settled(*how);
                self.say("owner", format!("{name}: {why}"));
                if let Some(bucket) = &mut self.bucket {
                    bucket.settled = Some(name.to_owned());
                }
            }
            Told::Instance { number, entry } => self.instance(*number, entry),
            Told::Fragment => self.say("owner", "a later fragment: it follows its datagram's first one"),
            Told::Ping => self.say("service", "an echo request that is answered here"),
            Told::Reply => self.say("vip", "from an instance, which answers clients through the balancer"),
            Told::Slow => {}
        }
    }

    fn instance(&mut self, number: u16, entry: &Entry) {
        let name = names::instance(&self.known.plan, number).unwrap_or_default();
        let share = self.known.plan.ring.iter().filter(|bucket| bucket.current() == number).count();
        let share = share as f64 * 100.0 / BUCKETS as f64;
        self.say("instance", format!("{name}, which has {share:.1} % of the buckets"));
        let added = match self.decision.is_forwarded() {
            true => self.decision.after.len().saturating_sub(self.decision.before.len()),
            false => 0,
        };
        let is_bounded = !matches!(entry.way, WAY_LINK | WAY_LOCAL | WAY_NONE);
        let has_address = !matches!(entry.way, WAY_LOCAL | WAY_NONE);
        self.instance = Some(Instance {
            name,
            forwarding: names::way(entry.way).to_owned(),
            mac: has_address.then(|| names::next_mac(entry.macs)),
            address: has_address.then(|| names::ip(entry.address).to_string()),
            bytes_added: added,
            mtu: is_bounded.then(|| usize::from(entry.mtu) + added),
        });
        if self.decision.is_forwarded() {
            self.say("rewrite", self.rewrite(entry, added));
        }
    }

    fn rewrite(&self, entry: &Entry, added: usize) -> String {
        let bytes = self.decision.before.len() - ETHERNET;
        let mac = names::next_mac(entry.macs);
        let address = names::ip(entry.address);
        match entry.way {
            WAY_LOCAL => "none: the instance is this host".to_owned(),
            WAY_LINK => format!(
                "to the MAC address {mac}; all else stays, and the answer goes straight to the client"
            ),
            WAY_NAT => {
                let is_leased = self.decision.steps.iter().any(|told| matches!(told, Told::Leased { .. }));
                let port = if is_leased { "the same port" } else { "its port for this VIP" };
                format!("to {address}, with {port}, by the MAC address {mac}")
            }
            way => format!(
                "{} from {} to {address}, by the MAC address {mac}: {bytes} + {added} = {} bytes, of at most {}",
                names::way(way),
                names::ip(entry.source),
                bytes + added,
                usize::from(entry.mtu) + added
            ),
        }
    }

    fn verdict(&self) -> (Verdict, String) {
        let decision = self.decision;
        if let Some(reason) = decision.reason() {
            let told = match decision.verdict {
                Outcome::Transmit => ", and its sender is told",
                _ => "",
            };
            return (Verdict::Drop, format!("dropped ({}): {}{told}", reason.name(), reason.meaning()));
        }
        if decision.answered == Some(Answered::Echo) {
            return (Verdict::Answer, "answered by the balancer: an echo reply".to_owned());
        }
        let is_reply = decision.steps.contains(&Told::Reply);
        match decision.verdict {
            Outcome::Transmit | Outcome::Redirect(_) | Outcome::Deliver if is_reply => {
                (Verdict::Reply, "on to its client, with the VIP as its source".to_owned())
            }
            Outcome::Transmit | Outcome::Redirect(_) | Outcome::Deliver => {
                let to = self.instance.as_ref().map_or("an instance", |one| one.name.as_str());
                (Verdict::Forward, format!("forwarded to {to}"))
            }
            _ => {
                let to = self.question.to.ip;
                (Verdict::Pass, format!("passed to the host's own stack: {to} is no VIP here"))
            }
        }
    }
}

impl Explanation {
    /// One more step.
    pub(super) fn say(&mut self, stage: &str, text: impl Into<String>) {
        self.steps.push(Step { stage: stage.to_owned(), text: text.into() });
    }
}
