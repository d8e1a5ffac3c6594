//! Network namespaces for tests: each test has its own, gone with the last handle to it.

use std::{env, fs::File, net::Ipv4Addr, os::fd::AsRawFd, panic, thread};

use nix::sched::{CloneFlags, setns, unshare};
use rtnetlink::{
    LinkUnspec, LinkVeth, RouteMessageBuilder,
    packet_route::{
        address::AddressHeaderFlags,
        route::{RouteAttribute, RouteMetric, RouteScope},
    },
};

use super::{Netlink, link::Link};

/// A fresh network namespace.
pub(crate) struct Namespace {
    file: File,
}

impl Namespace {
    /// None, after saying why, where the test may not make one. With `CI` set that is a failure.
    pub(crate) fn new() -> Option<Self> {
        let made = thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET)?;
            Ok::<_, anyhow::Error>(File::open("/proc/thread-self/ns/net")?)
        });
        match made.join().unwrap() {
            Ok(file) => {
                let namespace = Self { file };
                namespace.run(async |netlink| netlink.set_up("lo").await);
                Some(namespace)
            }
            Err(error) if env::var_os("CI").is_some() => panic!("no network namespace: {error:#}"),
            Err(error) => {
                eprintln!("SKIPPED: a network namespace cannot be made ({error:#}); run as root");
                None
            }
        }
    }

    /// Joins two namespaces by a cable: `here` in this one, `there` in the other, both up.
    pub(crate) fn connect(&self, here: &str, other: &Self, there: &str) {
        self.run(async |netlink| {
            netlink.add_pair(here, there).await;
            let index = netlink.link(there).await.unwrap().index;
            let request = LinkUnspec::new_with_index(index).setns_by_fd(other.file.as_raw_fd()).build();
            netlink.handle().link().set(request).execute().await.unwrap();
        });
        other.run(async |netlink| netlink.set_up(there).await);
    }

    /// Runs `test` in the namespace, on a thread and a runtime of its own.
    pub(crate) fn run<T: Send>(&self, test: impl AsyncFnOnce(&Netlink) -> T + Send) -> T {
        thread::scope(|scope| {
            let running = scope.spawn(|| {
                setns(&self.file, CloneFlags::CLONE_NEWNET).unwrap();
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async { test(&Netlink::open().unwrap()).await })
            });
            running.join().unwrap_or_else(|panicked| panic::resume_unwind(panicked))
        })
    }
}

impl Netlink {
    pub(crate) async fn set_up(&self, name: &str) {
        let index = self.link(name).await.unwrap().index;
        let request = LinkUnspec::new_with_index(index).up().build();
        self.handle().link().set(request).execute().await.unwrap();
    }

    pub(crate) async fn set_down(&self, name: &str) {
        let index = self.link(name).await.unwrap().index;
        let request = LinkUnspec::new_with_index(index).down().build();
        self.handle().link().set(request).execute().await.unwrap();
    }

    /// An address with its subnet, usable at once.
    pub(crate) async fn add_subnet(&self, link: u32, ip: &str, prefix_len: u8) {
        let mut request = self.handle().address().add(link, ip.parse().unwrap(), prefix_len);
        request.message_mut().header.flags = AddressHeaderFlags::Nodad;
        request.execute().await.unwrap();
    }

    pub(crate) async fn add_default_route(&self, gateway: Ipv4Addr) {
        let route = RouteMessageBuilder::<Ipv4Addr>::new().gateway(gateway).build();
        self.handle().route().add(route).execute().await.unwrap();
    }

    /// A /24 on the link, with an MTU of its own.
    pub(crate) async fn add_route_with_mtu(&self, network: Ipv4Addr, link: u32, mtu: u32) {
        let mut route = RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(network, 24)
            .output_interface(link)
            .scope(RouteScope::Link);
        route.get_mut().attributes.push(RouteAttribute::Metrics(vec![RouteMetric::Mtu(mtu)]));
        self.handle().route().add(route.build()).execute().await.unwrap();
    }

    /// A pair of connected interfaces, both up, both in this namespace.
    pub(crate) async fn add_pair(&self, one: &str, other: &str) -> (Link, Link) {
        self.handle().link().add(LinkVeth::new(one, other).build()).execute().await.unwrap();
        self.set_up(one).await;
        self.set_up(other).await;
        (self.link(one).await.unwrap(), self.link(other).await.unwrap())
    }
}
