//! Changes to this host that are undone: at the end, on an error, or, after a kill, by the next start.

use std::{
    io,
    net::IpAddr,
    os::fd::{BorrowedFd, OwnedFd},
    path::Path,
    thread,
};

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
    /// What a predecessor changed and nobody has asked for again yet.
    left: Vec<Change>,
    /// What a predecessor that still runs has changed: its own to undo, until it has left.
    lent: Option<Vec<Change>>,
    /// Another process has them, or will.
    is_left: bool,
}

impl Changes {
    /// Undoes first what a predecessor that was killed left behind. It is undone and not adopted, so that an address
    /// never stays reachable while nothing filters or serves it, and one that the file no longer names goes away.
    ///
    /// # Errors
    /// The same role is running already; no privileges.
    pub async fn begin(netlink: &Netlink, role: Role) -> Result<Self, Error> {
        let mut changes = Self::adopt(role)?;
        if !changes.left.is_empty() {
            let count = changes.left.len();
            log::warn!(
                "the last `gateway {}` was killed; undoing the {count} changes it left",
                role.as_str()
            );
            changes.settle(netlink).await?;
        }
        Ok(changes)
    }

    /// Takes over what a predecessor that ended without undoing it has left: what is asked for again stays as it is, without a
    /// moment in which it is not there. The rest is undone by [`Self::settle`]; without that, all of it at the end.
    ///
    /// # Errors
    /// The same role is running already.
    pub fn adopt(role: Role) -> Result<Self, Error> {
        let (journal, left) = Journal::open(role.as_str())?;
        Ok(Self { journal, made: Vec::new(), left, lent: None, is_left: false })
    }

    /// What a predecessor left is still in use: until [`Self::settle`], giving up leaves it as it is.
    pub fn lend(&mut self) {
        self.lent = Some(self.left.clone());
    }

    /// Takes back what a predecessor left, and what is not wanted any more of it, before anything else changes.
    ///
    /// # Errors
    /// No privileges.
    pub async fn give_up_addresses(
        &mut self,
        netlink: &Netlink,
        is_wanted: impl Fn(u32, IpAddr) -> bool,
    ) -> Result<(), Error> {
        let is_over =
            |change: &Change| matches!(change, Change::Address { link, ip, .. } if !is_wanted(*link, *ip));
        let (mut over, kept) = std::mem::take(&mut self.left).into_iter().partition(is_over);
        self.left = kept;
        let outcome = undo_each(netlink, &mut over).await;
        // What could not be undone is still to be.
        self.left.append(&mut over);
        if let Some(lent) = &mut self.lent {
            lent.clone_from(&self.left);
        }
        self.journal.rewrite(self.left.iter().chain(&self.made))?;
        outcome
    }

    /// Takes over from a process that still runs, by the descriptor of its journal, which carries the lock. Until
    /// [`Self::settle`], giving up leaves what is the other's.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn inherit(role: Role, journal: OwnedFd) -> Result<Self, Error> {
        let (journal, left) = Journal::inherit(role.as_str(), journal)?;
        let lent = Some(left.clone());
        Ok(Self { journal, made: Vec::new(), left, lent, is_left: false })
    }

    /// All is asked for: undoes what the predecessor left and nobody wants any more.
    ///
    /// # Errors
    /// No privileges.
    pub async fn settle(&mut self, netlink: &Netlink) -> Result<(), Error> {
        self.lent = None;
        undo_each(netlink, &mut self.left).await?;
        self.journal.rewrite(&self.made)
    }

    /// For a successor: the descriptor that [`Self::inherit`] wants.
    pub fn lock(&self) -> BorrowedFd<'_> {
        self.journal.descriptor()
    }

    /// All of it stays: a successor has it now, or the next process will find it in the journal.
    pub fn leave(mut self) {
        self.is_left = true;
    }

    /// A successor that has [inherited](Self::inherit) died: undoes what it had changed besides.
    ///
    /// # Errors
    /// No privileges.
    pub async fn reclaim(&mut self, netlink: &Netlink) -> Result<(), Error> {
        let mut others = self.journal.read()?;
        others.retain(|change| !self.made.contains(change));
        undo_each(netlink, &mut others).await?;
        self.journal.rewrite(&self.made)
    }

    /// Adds `ip` to the interface as /32 or /128.
    ///
    /// # Errors
    /// See [`Netlink::add_address`].
    pub async fn add_address(&mut self, netlink: &Netlink, link: &Link, ip: IpAddr) -> Result<(), Error> {
        if self.take_up(|change| is_address(change, link.index, ip)) {
            return unless_there(netlink.add_address(link.index, &link.name, ip).await);
        }
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
        let change = Change::RouteBack { link, through };
        if self.take_up(|left| *left == change) {
            return unless_there(netlink.add_route_back(link, through).await);
        }
        self.note(change)?;
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
        let change = Change::ReplyRule { from, port };
        if self.take_up(|left| *left == change) {
            return unless_there(netlink.add_reply_rule(from, port).await);
        }
        self.note(change)?;
        netlink.add_reply_rule(from, port).await.inspect_err(|_| self.forget_last())
    }

    /// Sets a setting under `/proc/sys`, unless it has one of the values in `enough` already.
    pub(super) fn set(&mut self, path: &Path, value: &str, enough: &[&str]) -> Result<(), Error> {
        let previous = sysctl::read(path)?;
        let is_enough = |value: &str| enough.contains(&value);
        let is_same = |left: &Change| matches!(left, Change::Setting { path: at, set, .. } if at == path && is_enough(set));
        if self.take_up(is_same) {
            return if is_enough(&previous) { Ok(()) } else { sysctl::write(path, value) };
        }
        if is_enough(&previous) {
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
        if let Some(at) = self.made.iter().position(|change| is_address(change, link.index, ip)) {
            undo(netlink, &self.made[at]).await?;
            self.made.remove(at);
            self.journal.rewrite(self.left.iter().chain(&self.made))?;
        }
        Ok(())
    }

    /// An interface is gone, and with it the addresses that were added to it.
    ///
    /// # Errors
    /// The journal cannot be written.
    pub fn forget_addresses(&mut self, interface: u32) -> Result<(), Error> {
        self.made.retain(|change| !matches!(change, Change::Address { link, .. } if *link == interface));
        self.journal.rewrite(self.left.iter().chain(&self.made))
    }

    /// The addresses that were added to an interface and not taken back.
    pub fn addresses(&self, link: &Link) -> impl Iterator<Item = IpAddr> {
        self.made.iter().filter_map(|change| match change {
            Change::Address { link: on, ip, .. } if *on == link.index => Some(*ip),
            _ => None,
        })
    }

    /// Whether a predecessor added `ip` to the interface, and it may be taken over.
    pub fn has_left(&self, link: &Link, ip: IpAddr) -> bool {
        self.left.iter().any(|change| is_address(change, link.index, ip))
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
        if let Some(lent) = &self.lent {
            self.made.retain(|change| !lent.contains(change));
            self.left.clear();
        }
        let made = undo_each(netlink, &mut self.made).await;
        let left = undo_each(netlink, &mut self.left).await;
        made.and(left)
    }

    /// Takes over a change that a predecessor made.
    fn take_up(&mut self, is_wanted: impl Fn(&Change) -> bool) -> bool {
        let Some(at) = self.left.iter().position(is_wanted) else { return false };
        self.made.push(self.left.remove(at));
        true
    }

    fn note(&mut self, change: Change) -> Result<(), Error> {
        self.journal.note(&change)?;
        self.made.push(change);
        Ok(())
    }

    /// The change that was noted last was not made, so it must not be undone: the address may be somebody else's.
    fn forget_last(&mut self) {
        self.made.pop();
        if let Err(error) = self.journal.rewrite(self.left.iter().chain(&self.made)) {
            log::error!("{error}");
        }
    }
}

impl Drop for Changes {
    /// Covers early returns and futures that are dropped half-way; a panic aborts, which leaves the journal to the
    /// next start. A thread of its own, since the runtime that is dropping this may be the one that would have to do
    /// the work; it inherits the namespace.
    fn drop(&mut self) {
        if self.is_left {
            return;
        }
        if !(self.made.is_empty() && self.left.is_empty()) {
            let done = thread::scope(|scope| scope.spawn(|| undo_now(self)).join());
            match done {
                Ok(Ok(())) => {}
                Ok(Err(error)) => log::error!("left behind, for the next start to undo: {error:#}"),
                Err(_) => log::error!("left behind, for the next start to undo: the clean-up panicked"),
            }
        }
        // What is lent stays its owner's, and so does the file: both writing it, through one open file, would mix it up.
        if self.lent.is_none()
            && self.made.is_empty()
            && self.left.is_empty()
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

/// The newest first; what is undone is taken from the list. The first error is told once all others are undone.
async fn undo_each(netlink: &Netlink, changes: &mut Vec<Change>) -> Result<(), Error> {
    let mut first = Ok(());
    for at in (0..changes.len()).rev() {
        match undo(netlink, &changes[at]).await {
            Ok(()) => {
                changes.remove(at);
            }
            Err(error) => {
                log::error!("{error}");
                first = first.and(Err(error));
            }
        }
    }
    first
}

fn is_address(change: &Change, link: u32, ip: IpAddr) -> bool {
    matches!(change, Change::Address { link: on, ip: added, .. } if *on == link && *added == ip)
}

/// What was taken over is there, unless somebody took it away.
fn unless_there(added: Result<(), Error>) -> Result<(), Error> {
    match added {
        Err(Error::Kernel { source, .. }) if source.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
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
