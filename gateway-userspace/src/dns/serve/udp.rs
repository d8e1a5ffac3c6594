//! Datagrams.

use std::{
    io::{self, ErrorKind},
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{net::UdpSocket, time::sleep};

use super::{Handled, Server};
use crate::dns::answer::Transport;

/// What a question may have at the most; a longer one is cut, and so is not understood.
const LARGEST: usize = 4096;
/// After an error that is not one datagram's, such as no memory.
const EXHAUSTED: Duration = Duration::from_millis(100);

/// Answers what comes until `closed`, and then what waits in the socket still.
pub async fn serve(server: Arc<Server>, socket: UdpSocket, closed: impl Future<Output = ()>) {
    let socket = Arc::new(socket);
    tokio::select! {
        () = all(&server, &socket) => {}
        () = closed => {}
    }
    let mut buffer = [0; LARGEST];
    while let Ok((length, peer)) = socket.try_recv_from(&mut buffer) {
        answer(&server, &socket, &buffer[..length], peer);
    }
}

async fn all(server: &Arc<Server>, socket: &Arc<UdpSocket>) {
    let mut buffer = [0; LARGEST];
    loop {
        match socket.recv_from(&mut buffer).await {
            Ok((length, peer)) => answer(server, socket, &buffer[..length], peer),
            Err(error) if is_of_one_datagram(&error) => {}
            Err(error) => {
                log::warn!("cannot receive DNS questions: {error}; trying again");
                sleep(EXHAUSTED).await;
            }
        }
    }
}

fn answer(server: &Arc<Server>, socket: &Arc<UdpSocket>, question: &[u8], peer: SocketAddr) {
    let begun = Instant::now();
    match server.handle(question, peer.ip(), Transport::Udp, begun) {
        Handled::Silence => {}
        Handled::Answer(bytes) => send(socket, &bytes, peer),
        Handled::Forward(asked, answers) => {
            let (server, socket) = (Arc::clone(server), Arc::clone(socket));
            tokio::spawn(async move {
                if let Some(bytes) = server.forward(asked, &answers, Transport::Udp, begun).await {
                    send(&socket, &bytes, peer);
                }
            });
        }
    }
}

/// What cannot be sent now is lost, as datagrams are: the client asks again.
fn send(socket: &UdpSocket, bytes: &[u8], peer: SocketAddr) {
    if let Err(error) = socket.try_send_to(bytes, peer) {
        log::debug!("no DNS answer to {peer}: {error}");
    }
}

/// An ICMP error about an answer before.
fn is_of_one_datagram(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionRefused
            | ErrorKind::ConnectionReset
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
            | ErrorKind::Interrupted
    )
}
