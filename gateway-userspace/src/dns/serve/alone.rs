//! A name server by itself, without a proxy beside it.

use std::{
    future,
    net::{SocketAddr, TcpListener},
    path::Path,
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use arc_swap::ArcSwap;
use sd_notify::NotifyState;
use tokio::{
    runtime,
    signal::unix::{SignalKind, signal},
    time::sleep,
};

use super::{Answers, Current, Server, bind, tcp, udp};
use crate::{dns, model::DNS_PORT, proxy::sources::Sources, service_manager};

/// Connections at once, and of one source.
const CONNECTIONS: usize = 1_024;
const CONNECTIONS_PER_SOURCE: usize = 64;
/// Out of descriptors: to accept again at once would only spin.
const EXHAUSTED: Duration = Duration::from_millis(100);

/// Answers for the names of a file at these addresses, or where there are none at the private VIPs, until SIGINT or SIGTERM.
///
/// # Errors
/// The file has faults; an address cannot be listened on.
pub fn run(config: &Path, listen: &[SocketAddr]) -> anyhow::Result<()> {
    let (model, records) = dns::load(config)?;
    let vips = model.vip.private.iter().map(|vip| SocketAddr::new(*vip, DNS_PORT));
    let addresses = if listen.is_empty() { vips.collect() } else { listen.to_vec() };
    let current: Current = Arc::new(ArcSwap::from_pointee(Answers::new(&model.dns, &records)));
    let runtime =
        runtime::Builder::new_current_thread().enable_all().build().context("cannot start a runtime")?;
    runtime.block_on(async {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        let (mut reload, mut stop, mut end) = (
            listen(SignalKind::hangup())?,
            listen(SignalKind::terminate())?,
            listen(SignalKind::interrupt())?,
        );
        let sources = Arc::new(Sources::new(CONNECTIONS, CONNECTIONS_PER_SOURCE));
        for server in Server::for_cores(1, &current) {
            for address in &addresses {
                open(*address, &server, &sources).with_context(|| refused(*address))?;
                log::info!("listening on {address} (DNS)");
            }
        }
        service_manager::tell(&[NotifyState::Ready]);
        loop {
            tokio::select! {
                _ = stop.recv() => break,
                _ = end.recv() => break,
                _ = reload.recv() => {
                    service_manager::reloading();
                    follow(config, &current);
                    service_manager::tell(&[NotifyState::Ready]);
                }
            }
        }
        service_manager::tell(&[NotifyState::Stopping]);
        Ok(())
    })
}

fn refused(address: SocketAddr) -> String {
    format!(
        "cannot listen on {address}: it has to be this host's own, with the port free (`ss -lntup 'sport = :{}'` names who has it), \
         and below 1024 for root or CAP_NET_BIND_SERVICE",
        address.port()
    )
}

/// A file that cannot be used leaves everything as it is.
fn follow(config: &Path, current: &Current) {
    match dns::load(config) {
        Ok((model, records)) => {
            let answers = Answers::new(&model.dns, &records);
            answers.follow(&current.load());
            current.store(Arc::new(answers));
            log::info!("{} is taken up", config.display());
        }
        Err(error) => {
            log::error!("{} is not taken up, the running configuration stays: {error:#}", config.display());
        }
    }
}

/// Both sockets of an address, each served by a task.
fn open(address: SocketAddr, server: &Arc<Server>, sources: &Arc<Sources>) -> anyhow::Result<()> {
    bind::alone(address)?;
    let datagrams = tokio::net::UdpSocket::from_std(bind::shared(address, None)?)?;
    let streams = TcpListener::bind(address)?;
    streams.set_nonblocking(true)?;
    let streams = tokio::net::TcpListener::from_std(streams)?;
    tokio::spawn(udp::serve(Arc::clone(server), datagrams, future::pending()));
    tokio::spawn(accept(Arc::clone(server), streams, Arc::clone(sources)));
    Ok(())
}

async fn accept(server: Arc<Server>, listener: tokio::net::TcpListener, sources: Arc<Sources>) {
    loop {
        let Ok((stream, peer)) = listener.accept().await else {
            sleep(EXHAUSTED).await;
            continue;
        };
        // Who has too many is not answered.
        let Some(place) = sources.enter(peer.ip()) else { continue };
        let server = Arc::clone(&server);
        tokio::spawn(async move {
            tcp::converse(server, stream, peer.ip(), future::pending()).await;
            drop(place);
        });
    }
}
