//! One client's connection, from accept to its end.

use std::{convert::Infallible, net::SocketAddr, sync::Arc};

use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::ServerConnection;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::watch,
    time::timeout,
};

use super::{
    counters::Outcome,
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

/// Set when the proxy stops.
pub type Stop = watch::Receiver<bool>;

/// Waits for the proxy to stop, or for whoever could say so to be gone.
pub(super) async fn stopped(stop: &mut Stop) {
    let _asked = stop.wait_for(|stop| *stop).await.is_ok();
}

/// Serves a connection that came in at `door`, until it ends.
pub async fn serve(
    worker: Arc<Worker>,
    door: Door,
    port: u16,
    stream: TcpStream,
    peer: SocketAddr,
    stop: Stop,
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
        Door::Probe => match first_byte(&stream, &worker, &mut stop.clone()).await {
            Some(byte) => byte != TLS_HANDSHAKE,
            // A probe that only connects.
            None => return,
        },
    };
    match plain {
        true => converse(asker, stream, stop).await,
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
                    converse(Asker { shown: Some(shown), ..asker }, stream, stop).await;
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
async fn first_byte(stream: &TcpStream, worker: &Worker, stop: &mut Stop) -> Option<u8> {
    let mut byte = [0];
    tokio::select! {
        read = timeout(worker.limits.first_byte, stream.peek(&mut byte)) => {
            (read.ok()?.ok()? > 0).then_some(byte[0])
        }
        () = stopped(stop) => None,
    }
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
async fn converse<S>(asker: Asker, stream: S, mut stop: Stop)
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let worker = Arc::clone(&asker.worker);
    let limits = Arc::clone(&worker.limits);
    let asker = Arc::new(asker);
    let service = service_fn(move |request| {
        let asker = Arc::clone(&asker);
        async move { Ok::<_, Infallible>(asker.answer(request).await) }
    });
    let gate = Gate::new(stream, Arc::clone(&limits));
    let mut connection = worker.http.serve_connection(TokioIo::new(gate), service);
    let outcome = tokio::select! {
        biased;
        outcome = &mut connection => outcome,
        () = stopped(&mut stop) => {
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
