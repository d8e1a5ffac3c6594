//! Connections through the VIP: the programs that they need, and how often they come about (R84).

use super::{Daemon, Message};
use crate::{
    balance::paths::{self, Which},
    dataplane::{Connections, Dataplane},
    model::{Forwarding, InstanceName, Model, Probe, ProbeKind, Via},
    net::link::Link,
    probe::{Prober, Report},
    status::{DataPath, VipPath},
};

/// Has the programs attached that such connections need, where the file asks for any. With nat they need none.
pub(super) fn open(
    dataplane: &mut Dataplane,
    model: &Model,
    links: &[Link],
) -> anyhow::Result<Option<Connections>> {
    if !model.probe.uses_data_path() || model.balancer.forwarding == Forwarding::Nat {
        return Ok(None);
    }
    let connections = dataplane.connections()?;
    if !dataplane.has_probes() {
        dataplane.attach_probes(links.iter().map(|link| link.name.as_str()))?;
    }
    Ok(Some(connections))
}

impl Daemon<'_> {
    /// Has probes follow the file, the routes and the running tables.
    pub(super) fn follow_probes(&mut self) {
        let probe = &self.state.model().probe;
        let targets = match probe.via {
            Via::Instance => self.state.targets(),
            Via::Vip => self.state.paths(&self.plan, Which::First),
        };
        self.prober.follow(probe, targets, self.connections.clone());
        self.follow_availability();
    }

    /// Where probes go through the VIP they are what is counted.
    fn follow_availability(&mut self) {
        let probe = &self.state.model().probe;
        let (Some(interval), Via::Instance) = (probe.availability, probe.via) else {
            self.measurer = None;
            if !self.state.model().probe.uses_data_path() {
                self.state.forget_paths();
            }
            return;
        };
        let asked = Probe {
            kind: ProbeKind::Tcp,
            via: Via::Vip,
            interval,
            timeout: probe.timeout.min(interval),
            ..probe.clone()
        };
        let targets = self.state.paths(&self.plan, Which::All);
        if self.measurer.is_none() {
            match Prober::start(self.outbox.clone(), Message::Path) {
                Ok(prober) => self.measurer = Some(prober),
                Err(error) => return log::error!("the data path's availability is not measured: {error}"),
            }
        }
        if let Some(measurer) = &self.measurer {
            measurer.follow(&asked, targets, self.connections.clone());
        }
    }

    /// A connection through the VIP that no health depends on is over.
    pub(super) fn measured(&mut self, report: &Report) {
        if !self.is_blind_to(report) {
            self.state.note_paths(report);
        }
    }

    /// After a file that was not taken up after all.
    pub(super) fn reopen_data_path(&mut self) {
        let links = self.links();
        match open(&mut self.dataplane, self.state.model(), &links) {
            Ok(connections) => self.connections = connections,
            Err(error) => log::error!("connections through the VIP cannot be made: {error:#}"),
        }
        self.close_data_path();
    }

    /// Programs that the file does not ask for any more go.
    pub(super) fn close_data_path(&mut self) {
        if self.connections.is_none()
            && self.dataplane.has_probes()
            && let Err(error) = self.dataplane.attach_probes([])
        {
            log::error!("{error:#}");
        }
    }

    /// How connections through the VIP to an instance fare, for those who ask.
    pub(super) fn data_path(&self, name: &InstanceName) -> Option<DataPath> {
        let paths = self.state.availability().of(name)?;
        let vip = |(address, path): (&std::net::SocketAddr, &crate::probe::availability::Path)| VipPath {
            vip: address.to_string(),
            tried: path.tried,
            answered: path.answered,
            recent: path.recent().unwrap_or_default(),
            seconds: path.took.map(|took| took.as_secs_f64()),
            last_error: path.last_error.clone(),
        };
        let vips: Vec<_> = paths.iter().map(vip).collect();
        Some(DataPath {
            tried: vips.iter().map(|one| one.tried).sum(),
            answered: vips.iter().map(|one| one.answered).sum(),
            last_error: vips.iter().find_map(|one| one.last_error.clone()),
            vips,
        })
    }
}

/// Whether connections through the VIP can be made as the file asks for.
pub(super) fn check(
    model: &Model,
    hops: &crate::balance::ways::Hops,
    local: Option<&InstanceName>,
) -> Result<(), paths::NoPath> {
    if model.probe.uses_data_path() { paths::check(model, hops, local) } else { Ok(()) }
}
