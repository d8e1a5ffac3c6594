//! Network namespaces for tests: each test has its own, gone with the last handle to it.

use std::{env, fs::File, panic, thread};

use nix::sched::{CloneFlags, setns, unshare};
use rtnetlink::{LinkUnspec, LinkVeth};

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
        self.handle.link().set(request).execute().await.unwrap();
    }

    /// A pair of connected interfaces, both up, both in this namespace.
    pub(crate) async fn add_pair(&self, one: &str, other: &str) -> (Link, Link) {
        self.handle.link().add(LinkVeth::new(one, other).build()).execute().await.unwrap();
        self.set_up(one).await;
        self.set_up(other).await;
        (self.link(one).await.unwrap(), self.link(other).await.unwrap())
    }
}
