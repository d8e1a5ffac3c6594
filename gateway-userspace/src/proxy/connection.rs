//! One client's connection, from accept to its end.

use std::{convert::Infallible, net::SocketAddr, sync::Arc};

use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::ServerConnection;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::{Instant, sleep_until, timeout},
};

use super::{
    answers,
    counters::Outcome,
    course::{self, Orders},
    gate::Gate,
    host::{self, Asked},
    linger::linger,
    request::{Asker, Shown},
    routes::Door,
    state::State,
    tls::{self, Accepted, Hello, Served},
    unknown::Unknown,
    worker::Worker,
};
use crate::model::{NoSni, Role};

/// The type of TLS's first record (RFC 8446, 5.1).
const TLS_HANDSHAKE: u8 = 22;

/// What a connection is told.
#[derive(Clone)]
struct Told {
    orders: Orders,
    /// When it was accepted, in the orders' terms.
    generation: u64,
}

/// Serves a connection that came in at `door`, until it ends or is cut.
pub async fn serve(
    worker: Arc<Worker>,
    door: Door,
    port: u16,
    stream: TcpStream,
    peer: SocketAddr,
    orders: Orders,
) {
    let generation = orders.borrow().generation;
    let counted = Arc::clone(&worker);
    let mut cut = orders.clone();
    tokio::select! {
        biased;
        () = until_its_end(worker, door, port, stream, peer, Told { orders, generation }) => {}
        // A balancer's questions are no flow of a drain.
        () = course::cut(&mut cut, generation), if door != Door::Probe => counted.counters.count(Outcome::Cut),
    }
}

async fn until_its_end(
    worker: Arc<Worker>,
    door: Door,
    port: u16,
    stream: TcpStream,
    peer: SocketAddr,
    told: Told,
) {
    worker.counters.count(Outcome::Connection);
    let Some(_place) = worker.sources.enter(peer.ip()) else {
        worker.counters.count(Outcome::TooManyConnections);
        return;
    };
    let asker = Asker::new(Arc::clone(&worker), door, port, peer.ip().to_canonical());
    // A probe may be over TLS (`probe.kind`), whose first byte no method of HTTP begins with.
    let plain = match door {
        Door::Redirect => true,
        Door::Https | Door::Management => false,
        Door::Probe => match first_byte(&stream, &worker, told.clone()).await {
            Some(byte) => byte != TLS_HANDSHAKE,
            // A probe that only connects.
            None => return,
        },
    };
    match plain {
        true => converse(asker, stream, told).await,
        false => {
            let accepted = tls::accept(stream, &worker.limits, |hello| {
                let state = worker.current.load();
                let served = choose(&state, door, hello);
                if served.is_none() {
                    let unknown = Unknown { asked: hello, peer: asker.peer, over: "TLS", port };
                    worker.unknown.note(unknown, &state.routes);
                    worker.counters.count(Outcome::NameRefused);
                }
                served
            });
            match accepted.await {
                Accepted::Stream(stream, served) => {
                    let shown = Shown { sni: sni(stream.get_ref().1), served };
                    converse(Asker { shown: Some(shown), ..asker }, stream, told).await;
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
async fn over_and_known(told: Told, door: Door, known: Instant) {
    over(told, door).await;
    sleep_until(known).await;
}

/// R40, R41, R20(d): the certificate of the name asked for, if that name is served at this door. A probe need not ask for one.
fn choose(state: &State, door: Door, hello: &Hello<'_>) -> Option<Arc<Served>> {
    let role = match hello {
        Hello::Name(name) => state.routes.site(door, name)?.role,
        Hello::Nothing if state.no_sni == NoSni::DefaultCertificate && door == Door::Https => Role::Gateway,
        Hello::Nothing if door == Door::Probe => return state.certificates.values().next().cloned(),
        Hello::Nothing | Hello::Address => return None,
    };
    state.certificates.get(&role).cloned()
}

/// The name a client asked for in TLS.
fn sni(connection: &ServerConnection) -> Option<String> {
    match host::normalise(connection.server_name()?) {
        Asked::Name(name) => Some(name.into_owned()),
        Asked::Address | Asked::Nothing => None,
    }
}

/// Speaks HTTP/1.1 until one side ends it.
async fn converse<S>(asker: Asker, stream: S, told: Told)
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let worker = Arc::clone(&asker.worker);
    let limits = Arc::clone(&worker.limits);
    let asker = Arc::new(asker);
    let (door, orders) = (asker.door, told.orders.clone());
    let service = service_fn(move |request| {
        let (asker, orders) = (Arc::clone(&asker), orders.clone());
        async move {
            let answer = asker.answer(request).await;
            let course = *orders.borrow();
            let is_last = if door == Door::Probe { !course.accepts } else { course.closes };
            Ok::<_, Infallible>(if is_last { answers::closing(answer) } else { answer })
        }
    });
    let gate = Gate::new(stream, Arc::clone(&limits));
    let mut connection = worker.http.serve_connection(TokioIo::new(gate), service);
    let outcome = tokio::select! {
        biased;
        outcome = &mut connection => outcome,
        () = over_and_known(told, door, Instant::now() + limits.moment) => {
            Pin::new(&mut connection).graceful_shutdown();
            (&mut connection).await
        }
    };
    match outcome {
        Ok(()) => {
            if let Some(stream) = connection.into_parts().io.into_inner().into_unended() {
                linger(stream, limits.linger).await;
            }
        }
        Err(error) => log::debug!("connection: {error}"),
    }
}
