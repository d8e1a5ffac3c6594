//! Where the programs are attached, and what stays of them when this process ends.

use aya::{
    programs::{
        LinkOrder, TcAttachType,
        links::{FdLink, PinnedLink},
        tc::{self, SchedClassifierLink, TcAttachOptions},
    },
    util::KernelVersion,
};

use super::{Direction, Snat, program};
use crate::dataplane::{
    Error, grace,
    loaded::index,
    pins::{Hook, Pins},
    probe::TCX,
};

impl Direction {
    const fn hook(self) -> Hook {
        match self {
            Self::Out => Hook::Out,
            Self::In => Hook::In,
        }
    }

    /// Next to the link, so that others see a packet as the host's stack does.
    fn attachment(self) -> (TcAttachType, LinkOrder) {
        match self {
            Self::In => (TcAttachType::Ingress, LinkOrder::first()),
            Self::Out => (TcAttachType::Egress, LinkOrder::last()),
        }
    }
}

impl Snat {
    /// Attaches both programs to an interface that has the DIP. Where those of a predecessor are, these take their place between two
    /// packets. Before Linux 6.6 nothing is pinned: they go with this.
    ///
    /// # Errors
    /// There is no such interface; it takes no programs.
    pub fn attach(&mut self, interface: &str) -> Result<(), Error> {
        let index = index(interface)?;
        let failed = |source| Error::AttachSnat { interface: interface.to_owned(), source: Box::new(source) };
        let Some(ebpf) = &mut self.ebpf else {
            let is_there =
                |hook| self.pins.as_ref().is_some_and(|pins| pins.links.contains_key(&(index, hook)));
            if !Direction::ALL.map(Direction::hook).into_iter().all(is_there) {
                return Err(Error::Inherit);
            }
            self.pinned.insert(index);
            return Ok(());
        };
        let warning = KernelVersion::current().ok().and_then(|running| unpinned(interface, running));
        let is_old = warning.is_some();
        if let Some(warning) = warning {
            log::warn!("{warning}");
            // It may be there already, and attaching says what is wrong.
            tc::qdisc_add_clsact(interface).ok();
        }
        for direction in Direction::ALL {
            let program = program(ebpf, direction)?;
            let (to, order) = direction.attachment();
            let known = self.pins.as_ref().and_then(|pins| pins.links.get(&(index, direction.hook())));
            if let Some(known) = known {
                let pinned = PinnedLink::from_pin(&known.path).map_err(Error::pin("the link"))?;
                let taken =
                    SchedClassifierLink::try_from(FdLink::from(pinned)).map_err(Error::pin("the link"))?;
                program.attach_to_link(taken).map_err(failed)?;
                if let Some(pins) = &mut self.pins {
                    pins.set_at_work();
                }
                continue;
            }
            let id = if is_old {
                program.attach(interface, to).map_err(failed)?
            } else {
                program
                    .attach_with_options(interface, to, TcAttachOptions::TcxOrder(order))
                    .map_err(failed)?
            };
            let link = program.take_link(id).map_err(failed)?;
            match &self.pins {
                Some(pins) if !is_old => {
                    let link = FdLink::try_from(link).map_err(Error::pin("the link"))?;
                    // The pin holds it.
                    let path = pins.link(index, direction.hook());
                    drop(link.pin(path).map_err(Error::pin("the link"))?);
                }
                _ => self.links.push(link),
            }
        }
        self.pinned.insert(index);
        Ok(())
    }

    /// An interface that the programs were attached to is gone.
    ///
    /// # Errors
    /// bpffs refuses.
    pub fn lose(&mut self, interface: u32) -> Result<(), Error> {
        self.pinned.remove(&interface);
        self.pins.as_mut().map_or(Ok(()), |pins| pins.forget(interface))
    }

    /// What is attached now stays attached when this process ends, and nothing else. Before, what was made new is gone with this.
    ///
    /// # Errors
    /// bpffs refuses.
    pub fn settle(&mut self) -> Result<(), Error> {
        let Some(pins) = &mut self.pins else { return Ok(()) };
        // No packet is half-way through a program of before.
        grace::wait();
        pins.settle(&self.pinned)
    }

    /// Detaches, and leaves nothing pinned.
    ///
    /// # Errors
    /// bpffs refuses.
    pub fn detach(mut self) -> Result<(), Error> {
        self.pins.as_mut().map_or(Ok(()), Pins::remove)
    }
}

/// What there is to know where a kernel cannot pin what is attached.
fn unpinned(interface: &str, running: KernelVersion) -> Option<String> {
    (running < TCX).then(|| {
        format!(
            "{interface}: before Linux 6.6 the programs of source NAT go with this process: from its end until the next one is up, \
             flows to the outside leave with this host's own address, and their answers do not come; a newer kernel keeps them"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r31_it_is_said_where_nothing_can_be_pinned() {
        let warning = unpinned("eth0", KernelVersion::new(6, 1, 0)).unwrap();
        assert!(
            warning.starts_with("eth0: before Linux 6.6 ") && warning.contains("own address"),
            "{warning}"
        );
        assert_eq!(unpinned("eth0", KernelVersion::new(6, 6, 0)), None);
    }
}
