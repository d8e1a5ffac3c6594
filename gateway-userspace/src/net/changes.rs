//! Changes to this host that are undone: at the end, on an error, or, after a kill, by the next start.

use std::{net::IpAddr, path::Path, thread};

use super::{
    Error, Netlink,
    journal::{Change, Journal},
    link::Link,
    sysctl,
};

/// Who makes changes; each role has one process in a network namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// `gateway balance`
    Balance,
    /// `gateway proxy`
    Proxy,
}

impl Role {
    fn as_str(self) -> &'static str {
        match self {
            Self::Balance => "balance",
            Self::Proxy => "proxy",
        }
    }
}

/// What this process has changed, oldest first. Dropping it undoes it too, where nobody can be told of an error.
#[derive(Debug)]
pub struct Changes {
    journal: Journal,
    made: Vec<Change>,
}

impl Changes {
    /// Undoes first what a predecessor that was killed left behind. It is undone and not adopted, so that an address
    /// never stays reachable while nothing filters or serves it, and one that the file no longer names goes away.
    ///
    /// # Errors
    /// The same role is running already; no privileges.
    pub async fn begin(netlink: &Netlink, role: Role) -> Result<Self, Error> {
        let (journal, left) = Journal::open(role.as_str())?;
        let mut changes = Self { journal, made: left };
        if !changes.made.is_empty() {
            let count = changes.made.len();
            log::warn!(
                "the last `gateway {}` was killed; undoing the {count} changes it left",
                role.as_str()
            );
            changes.undo_all(netlink).await?;
            changes.journal.rewrite(&[])?;
        }
        Ok(changes)
    }

    /// Adds `ip` to the interface as /32 or /128.
    ///
    /// # Errors
    /// See [`Netlink::add_address`].
    pub async fn add_address(&mut self, netlink: &Netlink, link: &Link, ip: IpAddr) -> Result<(), Error> {
        self.note(Change::Address { link: link.index, name: link.name.clone(), ip })?;
        netlink.add_address(link.index, &link.name, ip).await.inspect_err(|_| self.forget_last())
    }

    /// Adds the route of [`super::reply`].
    pub(super) async fn add_route_back(
        &mut self,
        netlink: &Netlink,
        link: u32,
        through: IpAddr,
    ) -> Result<(), Error> {
        self.note(Change::RouteBack { link, through })?;
        netlink.add_route_back(link, through).await.inspect_err(|_| self.forget_last())
    }

    /// Adds again what the kernel took away with its interface.
    pub(super) async fn restore_routes_back(&self, netlink: &Netlink) -> Result<(), Error> {
        for change in &self.made {
            if let Change::RouteBack { link, through } = change
                && netlink.restore_route_back(*link, *through).await?
            {
                log::warn!("the route through the balancer {through} was gone; it is back");
            }
        }
        Ok(())
    }

    /// Adds a rule of [`super::reply`].
    pub(super) async fn add_reply_rule(
        &mut self,
        netlink: &Netlink,
        from: IpAddr,
        port: Option<u16>,
    ) -> Result<(), Error> {
        self.note(Change::ReplyRule { from, port })?;
        netlink.add_reply_rule(from, port).await.inspect_err(|_| self.forget_last())
    }

    /// Sets a setting under `/proc/sys`, unless it has one of the values in `enough` already.
    pub(super) fn set(&mut self, path: &Path, value: &str, enough: &[&str]) -> Result<(), Error> {
        let previous = sysctl::read(path)?;
        if enough.contains(&previous.as_str()) {
            return Ok(());
        }
        self.note(Change::Setting { path: path.into(), previous, set: value.into() })?;
        sysctl::write(path, value).inspect_err(|_| self.forget_last())
    }

    /// Takes back one address of an interface before the end; does nothing if it was not added here.
    ///
    /// # Errors
    /// No privileges.
    pub async fn remove_address(&mut self, netlink: &Netlink, link: &Link, ip: IpAddr) -> Result<(), Error> {
        let ours = |change: &Change| matches!(change, Change::Address { link: on, ip: added, .. } if *on == link.index && *added == ip);
        if let Some(at) = self.made.iter().position(ours) {
            undo(netlink, &self.made[at]).await?;
            self.made.remove(at);
            self.journal.rewrite(&self.made)?;
        }
        Ok(())
    }

    /// The addresses that were added to an interface and not taken back.
    pub fn addresses(&self, link: &Link) -> impl Iterator<Item = IpAddr> {
        self.made.iter().filter_map(|change| match change {
            Change::Address { link: on, ip, .. } if *on == link.index => Some(*ip),
            _ => None,
        })
    }

    /// Puts everything back, newest first.
    ///
    /// # Errors
    /// The first change that could not be undone; all others are.
    pub async fn undo(mut self, netlink: &Netlink) -> Result<(), Error> {
        self.undo_all(netlink).await
    }

    /// As if this process were killed: the lock goes, all else stays.
    #[cfg(test)]
    pub(super) fn abandon(self) {
        let mut this = std::mem::ManuallyDrop::new(self);
        this.journal.unlock();
    }

    /// Safe to drop half-way: what is not undone yet is still known, to Drop and to the journal.
    async fn undo_all(&mut self, netlink: &Netlink) -> Result<(), Error> {
        let mut first = Ok(());
        for at in (0..self.made.len()).rev() {
            match undo(netlink, &self.made[at]).await {
                Ok(()) => {
                    self.made.remove(at);
                }
                Err(error) => {
                    log::error!("{error}");
                    first = first.and(Err(error));
                }
            }
        }
        first
    }

    fn note(&mut self, change: Change) -> Result<(), Error> {
        self.journal.note(&change)?;
        self.made.push(change);
        Ok(())
    }

    /// The change that was noted last was not made, so it must not be undone: the address may be somebody else's.
    fn forget_last(&mut self) {
        self.made.pop();
        if let Err(error) = self.journal.rewrite(&self.made) {
            log::error!("{error}");
        }
    }
}

impl Drop for Changes {
    /// Covers early returns and futures that are dropped half-way; a panic aborts, which leaves the journal to the
    /// next start. A thread of its own, since the runtime that is dropping this may be the one that would have to do
    /// the work; it inherits the namespace.
    fn drop(&mut self) {
        if !self.made.is_empty() {
            let done = thread::scope(|scope| scope.spawn(|| undo_now(self)).join());
            match done {
                Ok(Ok(())) => {}
                Ok(Err(error)) => log::error!("left behind, for the next start to undo: {error:#}"),
                Err(_) => log::error!("left behind, for the next start to undo: the clean-up panicked"),
            }
        }
        if self.made.is_empty()
            && let Err(error) = self.journal.remove()
        {
            log::warn!("{error}");
        }
    }
}

fn undo_now(changes: &mut Changes) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let netlink = Netlink::open()?;
        Ok(changes.undo_all(&netlink).await?)
    })
}

async fn undo(netlink: &Netlink, change: &Change) -> Result<(), Error> {
    match change {
        Change::Address { link, name, ip } => netlink.remove_address(*link, name, *ip).await,
        Change::RouteBack { link, through } => netlink.remove_route_back(*link, *through).await,
        Change::ReplyRule { from, port } => netlink.remove_reply_rule(*from, *port).await,
        Change::Setting { path, previous, set } => sysctl::restore(path, set, previous),
    }
}

#[cfg(test)]
mod tests {
    use std::{future::Future, pin::pin, task::Context};

    use super::*;
    use crate::net::testing::Namespace;

    #[test]
    fn undoing_that_is_broken_off_loses_nothing() {
        let Some(namespace) = Namespace::new() else { return };
        namespace.run(async |netlink| {
            let (link, _) = netlink.add_pair("eth0", "peer").await;
            let mut changes = Changes::begin(netlink, Role::Balance).await.unwrap();
            let vips: [IpAddr; 3] = ["10.0.0.5", "10.0.0.6", "10.0.0.7"].map(|text| text.parse().unwrap());
            for vip in vips {
                changes.add_address(netlink, &link, vip).await.unwrap();
            }
            {
                let undoing = pin!(changes.undo_all(netlink));
                // The answer to the first request cannot be there yet: nothing else of this runtime has run.
                assert!(undoing.poll(&mut Context::from_waker(std::task::Waker::noop())).is_pending());
            }
            assert_eq!(changes.addresses(&link).collect::<Vec<_>>(), vips);
            drop(changes);
            let left = netlink.addresses().await.unwrap();
            assert!(left.iter().all(|address| !vips.contains(&address.ip)), "{left:?}");
        });
    }
}
