//! A connection: messages, each behind its length in two bytes (RFC 1035, 4.2.2), as many at once as the client likes, answered in the
//! order in which answers are there (RFC 7766).

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::mpsc,
    time::{sleep, timeout},
};

use super::{Handled, Server};
use crate::dns::answer::Transport;

/// From one question to the next, and for all of one to come.
const IDLE: Duration = Duration::from_secs(10);
/// For an answer to be taken.
const WRITE: Duration = Duration::from_secs(10);
/// Questions have some hundred bytes.
const LARGEST: usize = 4096;
/// Answers that wait to be written, and questions that wait for another server. Who asks more is not read from.
const PIPELINED: usize = 32;
/// Who asks faster than its rate waits.
const SLOWED: Duration = Duration::from_millis(20);

/// Answers the questions of a client until it has no more, or `over`.
pub async fn converse(server: Arc<Server>, stream: TcpStream, peer: IpAddr, over: impl Future<Output = ()>) {
    let (mut read, write) = stream.into_split();
    let (say, said) = mpsc::channel(PIPELINED);
    let reader = async {
        tokio::select! {
            () = over => {}
            () = listen(&server, &mut read, peer, say) => {}
        }
    };
    tokio::join!(reader, speak(write, said));
}

/// Ends where the writer has.
async fn listen(server: &Arc<Server>, read: &mut OwnedReadHalf, peer: IpAddr, say: mpsc::Sender<Vec<u8>>) {
    let mut buffer = Vec::new();
    while let Ok(Some(())) = timeout(IDLE, message(read, &mut buffer)).await {
        while !server.may_go_on(peer, Instant::now()) {
            sleep(SLOWED).await;
        }
        // Its place is kept for it, so that what is asked elsewhere is bounded too.
        let Ok(place) = say.clone().reserve_owned().await else { return };
        let begun = Instant::now();
        match server.handle(&buffer, peer, Transport::Tcp, begun) {
            Handled::Silence => {}
            Handled::Answer(bytes) => drop(place.send(bytes)),
            Handled::Forward(asked, answers) => {
                let server = Arc::clone(server);
                tokio::spawn(async move {
                    if let Some(bytes) = server.forward(asked, &answers, Transport::Tcp, begun).await {
                        place.send(bytes);
                    }
                });
            }
        }
    }
}

/// The next message; none if there is none, or if it is too long.
async fn message(read: &mut OwnedReadHalf, buffer: &mut Vec<u8>) -> Option<()> {
    let length = usize::from(read.read_u16().await.ok()?);
    if length > LARGEST {
        return None;
    }
    buffer.resize(length, 0);
    read.read_exact(buffer).await.ok().map(drop)
}

async fn speak(mut write: OwnedWriteHalf, mut said: mpsc::Receiver<Vec<u8>>) {
    let mut framed = Vec::new();
    while let Some(bytes) = said.recv().await {
        frame(&mut framed, &bytes);
        // What is there already goes with it.
        while let Ok(more) = said.try_recv() {
            frame(&mut framed, &more);
        }
        if !matches!(timeout(WRITE, write.write_all(&framed)).await, Ok(Ok(()))) {
            return;
        }
        framed.clear();
    }
}

/// A message is never longer: [`super::super::answer::Answer::to_bytes`].
fn frame(framed: &mut Vec<u8>, bytes: &[u8]) {
    if let Ok(length) = u16::try_from(bytes.len()) {
        framed.extend(length.to_be_bytes());
        framed.extend(bytes);
    }
}
