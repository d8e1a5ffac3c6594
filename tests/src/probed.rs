//! What answers probes in a proxy's place: as a test wishes, on any number of addresses.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
};

use anyhow::{Context, anyhow};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{oneshot, watch},
};

use crate::host::Host;

/// How probes are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// With that status.
    Status(u16),
    /// With a greeting of another protocol.
    OtherProtocol,
    /// With interim responses, for ever.
    Endless,
    /// Not at all: connections stay open.
    Silence,
    /// The connection is closed at once.
    Nothing,
}

/// Answers probes on all addresses of a host.
#[derive(Debug)]
pub struct Answerer {
    answer: watch::Sender<Answer>,
    asked: Arc<AtomicU64>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Answerer {
    /// Listens on that port of every IPv4 address that the host has.
    ///
    /// # Errors
    /// The port is taken.
    pub fn start(host: &Host, port: u16, answer: Answer) -> anyhow::Result<Self> {
        let at = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
        // A socket stays where it was made, so only this has to happen on the host.
        let listener =
            host.enter(|| std::net::TcpListener::bind(at)).with_context(|| format!("{at} is taken"))?;
        listener.set_nonblocking(true)?;
        let (answer, answers) = watch::channel(answer);
        let (stop, stopped) = oneshot::channel();
        let asked = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&asked);
        let (ready, is_ready) = mpsc::channel();
        let thread = thread::Builder::new().name(format!("answers on {}", host.name())).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let Ok(runtime) = runtime else { return };
            runtime.block_on(async {
                let Ok(listener) = TcpListener::from_std(listener) else { return };
                if ready.send(()).is_ok() {
                    tokio::select! {
                        () = accept(&listener, &answers, &counter) => {}
                        _ = stopped => {}
                    }
                }
            });
        })?;
        is_ready.recv().map_err(|_| anyhow!("no runtime to answer probes on"))?;
        Ok(Self { answer, asked, stop: Some(stop), thread: Some(thread) })
    }

    /// From now on, that.
    pub fn set(&self, answer: Answer) {
        self.answer.send_replace(answer);
    }

    /// How many connections came.
    pub fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }
}

impl Drop for Answerer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // Its panic is on the screen already.
            let _ = thread.join();
        }
    }
}

async fn accept(listener: &TcpListener, answers: &watch::Receiver<Answer>, asked: &AtomicU64) {
    loop {
        // Out of descriptors, or a client that is gone again: neither is what a test is about.
        let Ok((stream, _)) = listener.accept().await else { continue };
        asked.fetch_add(1, Ordering::Relaxed);
        tokio::spawn(answer(stream, *answers.borrow()));
    }
}

/// Whatever goes wrong is the prober's doing: it has read enough.
async fn answer(mut stream: TcpStream, how: Answer) -> Option<()> {
    if how == Answer::Nothing {
        return None;
    }
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut request).await.ok()? == 0 {
            return None;
        }
    }
    match how {
        Answer::Status(status) => {
            let response = format!("HTTP/1.1 {status} so\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            stream.write_all(response.as_bytes()).await.ok()?;
        }
        Answer::OtherProtocol => stream.write_all(b"220 mail.contoso.com ESMTP\r\n").await.ok()?,
        Answer::Endless => loop {
            stream.write_all(b"HTTP/1.1 103 Early Hints\r\n\r\n").await.ok()?;
        },
        Answer::Silence | Answer::Nothing => {}
    }
    // Until the prober has closed.
    stream.read_buf(&mut request).await.ok().map(|_| ())
}
