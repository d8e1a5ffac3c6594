//! One client's connection, from accept to its end.

use std::{net::SocketAddr, sync::Arc};

use rustls::ServerConnection;
use tokio::{
    net::TcpStream,
    time::{Instant, sleep_until, timeout},
};

use super::{
    arrival::{Arrival, arrive},
    counters::Outcome,
    course::{self, Orders},
    decide::Goes,
    guard::Roles,
    host::{self, Asked},
    http1, http2,
    passthrough::{self, To},
    request::{Asker, Shown},
    routes::Door,
    state::State,
    tls::{self, Accepted, Hello, Identity},
    unknown::Unknown,
    worker::Worker,
};
use crate::dns;

/// The type of TLS's first record (RFC 8446, 5.1).
const TLS_HANDSHAKE: u8 = 22;

/// What a connection is told.
#[derive(Clone)]
pub(super) struct Told {
    pub(super) orders: Orders,
    /// When it was accepted, in the orders' terms.
    generation: u64,
}

impl Told {
    /// Whether what is answered now is the connection's last answer.
    pub(super) fn is_last(&self, door: Door) -> bool {
        let course = *self.orders.borrow();
        match door {
            // A drain is not for those whom balancers ask by.
            Door::Probe => !course.accepts,
            _ => course.closes || course.ending > self.generation,
        }
    }
}

/// Serves a connection that came in at `door`, until it ends or is cut.
pub async fn serve(worker: Arc<Worker>, door: Door, stream: TcpStream, peer: SocketAddr, orders: Orders) {
    let generation = orders.borrow().generation;
    let counted = Arc::clone(&worker);
    let mut cut = orders.clone();
    tokio::select! {
        biased;
        () = until_its_end(worker, door, stream, peer, Told { orders, generation }) => {}
        // A balancer's questions are no flow of a drain.
        () = course::cut(&mut cut, generation), if door != Door::Probe => counted.counters.count(Outcome::Cut),
    }
}

async fn until_its_end(worker: Arc<Worker>, door: Door, mut stream: TcpStream, peer: SocketAddr, told: Told) {
    // An error: the client is gone already.
    let Ok(local) = stream.local_addr() else { return };
    // Each phase is in a box that goes with it: a connection is in its last one for most of its life, and is kept in great numbers.
    let Some(Arrival { peer, destination, _place }) =
        Box::pin(arrive(&worker, door, &mut stream, peer)).await
    else {
        return;
    };
    if door == Door::Dns {
        let over = over(told, door);
        return Box::pin(dns::serve::tcp::converse(Arc::clone(&worker.dns), stream, peer.ip(), over)).await;
    }
    let at = worker.current.load().arrivals.vip_of(local);
    let asker = Asker::new(Arc::clone(&worker), door, at, peer.ip().to_canonical());
    // A probe may be over TLS (`probe.kind`), whose first byte no method of HTTP begins with.
    let plain = match door {
        Door::Redirect | Door::Http => true,
        Door::Https | Door::Management | Door::Dns => false,
        Door::Probe => match first_byte(&stream, &worker, told.clone()).await {
            Some(byte) => byte != TLS_HANDSHAKE,
            // A probe that only connects.
            None => return,
        },
    };
    match plain {
        true => Box::pin(http1::converse(Arc::new(asker), stream, told)).await,
        false => {
            let accepted = tls::accept(stream, &worker.limits, |hello| {
                let state = worker.current.load();
                let roles = state.guard.roles(door, at.ip(), asker.peer);
                let shown = choose(&state, door, roles, hello);
                if shown.is_none() {
                    let unknown = Unknown { asked: hello, peer: asker.peer, over: "TLS", port: at.port() };
                    worker.unknown.note(unknown, &state.routes);
                    worker.counters.count(Outcome::NameRefused);
                }
                shown
            });
            match Box::pin(accepted).await {
                Accepted::Stream(stream, served) => {
                    // Resumed by a ticket, a session may outlive the certificate that began it.
                    let Ok(client) = Identity::of(stream.get_ref().1.peer_certificates().unwrap_or_default())
                    else {
                        return worker.counters.count(Outcome::HandshakeFailed);
                    };
                    let shown = Shown { sni: sni(stream.get_ref().1), served, client };
                    let is_http2 = stream.get_ref().1.alpn_protocol() == Some(http2::ALPN);
                    let asker = Arc::new(Asker { shown: Some(shown), ..asker });
                    match is_http2 {
                        true => Box::pin(http2::converse(asker, stream, told)).await,
                        false => Box::pin(http1::converse(asker, stream, told)).await,
                    }
                }
                Accepted::Elsewhere { stream, hello, to } => {
                    let (client, state) = (
                        passthrough::Client { stream, hello, peer, destination },
                        worker.current.load_full(),
                    );
                    Box::pin(passthrough::serve(&worker, state, to, client)).await;
                }
                Accepted::NameRefused => {}
                Accepted::Failed(error) => {
                    worker.counters.count(Outcome::HandshakeFailed);
                    log::debug!("handshake with {peer}: {error}");
                }
            }
        }
    }
}

/// What comes first, left where it is; none if nothing comes.
async fn first_byte(stream: &TcpStream, worker: &Worker, told: Told) -> Option<u8> {
    let mut byte = [0];
    tokio::select! {
        biased;
        read = timeout(worker.limits.first_byte, stream.peek(&mut byte)) => {
            (read.ok()?.ok()? > 0).then_some(byte[0])
        }
        () = over(told, Door::Probe) => None,
    }
}

/// Waits until the connection shall end.
async fn over(Told { mut orders, generation }: Told, door: Door) {
    match door {
        // A drain is not for those whom balancers ask by.
        Door::Probe => course::left(&mut orders, generation).await,
        _ => course::ends(&mut orders, generation).await,
    }
}

/// The same, but a connection that has only just come may ask first.
pub(super) async fn over_and_known(told: Told, door: Door, known: Instant) {
    over(told, door).await;
    sleep_until(known).await;
}

/// What a client is shown.
fn choose(state: &State, door: Door, roles: Roles, hello: &Hello<'_>) -> Option<tls::Shown<To>> {
    let served = match state.rules().hello(door, roles, hello)? {
        Goes::Elsewhere(to) => return Some(tls::Shown::Elsewhere(to)),
        Goes::Here(role) => state.certificates.get(&role),
        Goes::Anyhow => state.certificates.values().next(),
    };
    served.cloned().map(tls::Shown::Certificate)
}

/// The name a client asked for in TLS.
fn sni(connection: &ServerConnection) -> Option<String> {
    match host::normalise(connection.server_name()?) {
        Asked::Name(name) => Some(name.into_owned()),
        Asked::Address | Asked::Nothing => None,
    }
}
