//! A name server: sockets, and who may ask how much.
//!
//! [`udp`] and [`tcp`] hand messages to a [`Server`], which has the answer at once, or asks another server ([`forward`]).

pub mod alone;
pub mod bind;
pub mod counters;
pub mod forward;
mod limiter;
pub mod tcp;
pub mod udp;

use std::{net::IpAddr, sync::Arc, time::Instant};

use arc_swap::ArcSwap;

use self::{counters::Counters, forward::Forwarder, limiter::Limiter};
use super::{
    Records,
    answer::{Asked, Decision, Outcome, Transport, Viewer, Zones},
};
use crate::{model::Dns, proxy::rate::Rate};

/// Answers a second to all who are outside together: one each would do, and they get nothing else.
const OUTSIDE: u32 = 100;

/// What a configuration comes to; swapped whole.
#[derive(Debug)]
pub struct Answers {
    zones: Zones,
    forwarder: Option<Forwarder>,
    rate: u32,
    serial: super::Serial,
}

/// What is served now.
pub type Current = Arc<ArcSwap<Answers>>;

impl Answers {
    /// Of a file and its records.
    pub fn new(dns: &Dns, records: &Records) -> Self {
        let forwarder = (!dns.forward.is_empty()).then(|| Forwarder::new(&dns.forward));
        Self {
            zones: Zones::new(records, forwarder.is_some()),
            forwarder,
            rate: dns.rate,
            serial: records.serial,
        }
    }

    /// To be swapped in: says what resolvers and secondaries could take amiss.
    pub fn follow(&self, before: &Self) {
        if self.serial.is_older_than(before.serial) {
            log::warn!(
                "the serial number of SOA records goes back from {} to {}: `touch` the file, or write a greater `dns.serial`",
                before.serial,
                self.serial
            );
        }
    }
}

/// Answers messages. Each core has one; what they count is their own, and who asks too much is known to all.
#[derive(Debug)]
pub struct Server {
    current: Current,
    /// What became of questions.
    pub counters: Counters,
    limiter: Arc<Limiter>,
    refused: Rate,
}

/// What is to be done with a message.
#[derive(Debug)]
enum Handled {
    /// Nothing.
    Silence,
    /// This goes back.
    Answer(Vec<u8>),
    /// Another server is to be asked.
    Forward(Asked, Arc<Answers>),
}

impl Server {
    /// One for each core.
    pub fn for_cores(cores: usize, current: &Current) -> Vec<Arc<Self>> {
        let limiter = Arc::new(Limiter::default());
        let one = || Self {
            current: Arc::clone(current),
            counters: Counters::default(),
            limiter: Arc::clone(&limiter),
            refused: Rate::default(),
        };
        (0..cores).map(|_| Arc::new(one())).collect()
    }

    /// The answer to a datagram or a message of a stream, unless another server has to be asked for it.
    fn handle(&self, bytes: &[u8], peer: IpAddr, transport: Transport, begun: Instant) -> Handled {
        let answers = self.current.load();
        let viewer = answers.zones.viewer(peer);
        if !self.may_ask(peer, viewer, answers.rate, transport, begun) {
            return Handled::Silence;
        }
        match answers.zones.decide(bytes, viewer, transport) {
            Decision::Silence => Handled::Silence,
            Decision::Answer(answer) => {
                if answer.outcome == Outcome::Outside {
                    self.note_refused(peer);
                }
                self.counters.count(answer.outcome, answer.kind, transport, begun.elapsed());
                answer.to_bytes().map_or(Handled::Silence, Handled::Answer)
            }
            Decision::Forward(asked) => Handled::Forward(asked, Arc::clone(&answers)),
        }
    }

    /// A stream's source is known to be true, and is slowed down by its reader.
    fn may_ask(&self, peer: IpAddr, viewer: Viewer, rate: u32, transport: Transport, now: Instant) -> bool {
        let may = match (viewer, transport) {
            (Viewer::Inside, Transport::Tcp) => true,
            (Viewer::Inside, Transport::Udp) => self.limiter.take(Some(peer), rate, now),
            (Viewer::Outside, _) => self.limiter.take(None, OUTSIDE, now),
        };
        if !may {
            self.counters.count_limited(transport);
        }
        may
    }

    /// Whether a stream of this source may bring its next question now.
    fn may_go_on(&self, peer: IpAddr, now: Instant) -> bool {
        let answers = self.current.load();
        answers.zones.viewer(peer) == Viewer::Outside || self.limiter.take(Some(peer), answers.rate, now)
    }

    /// What the other server says, as bytes for the client.
    async fn forward(
        &self,
        asked: Asked,
        answers: &Answers,
        transport: Transport,
        begun: Instant,
    ) -> Option<Vec<u8>> {
        let forwarder = answers.forwarder.as_ref()?;
        let answer = forwarder.answer(asked, transport, &self.counters).await;
        self.counters.count(answer.outcome, answer.kind, transport, begun.elapsed());
        answer.to_bytes()
    }

    fn note_refused(&self, peer: IpAddr) {
        if let Some(suppressed) = self.refused.take() {
            log::warn!(
                "a DNS question from {} is refused: that is not in `network.subnet`, `vnet` or `peered`{suppressed}",
                peer.to_canonical()
            );
        }
    }
}
