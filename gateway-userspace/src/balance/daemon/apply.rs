//! Going over to the file as it is now, in one generation, and back where no instance is healthy then.

use std::{
    fs,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Daemon, data_path, of, route_replies};
use crate::{
    api::{self, Applied, Refused, Who},
    balance::{
        preflight,
        reload::{self, VipChanges},
        status,
        trial::{self, Fate, Seen, Trial, Verdict},
        ways::Hops,
    },
    config::{self, Faults, Rendering},
    model::{Instance, Model},
    net::claim::claim,
    plan::Changes,
    service_manager,
    status::{Apply, Outcome, Time},
};

/// How long a new state is watched where nobody says otherwise.
const WINDOW: Duration = Duration::from_secs(30);
/// Between two looks at it.
const LOOK: Duration = Duration::from_millis(250);
/// The longest time for which one is watched.
const LONGEST: Duration = Duration::from_secs(3_600);

/// What was written, and when that was done.
#[derive(Debug, Clone, Copy)]
struct Written {
    changes: Changes,
    at: Instant,
}

impl Daemon<'_> {
    /// Takes up the file. Whatever comes of it is said to the service manager, in the log, in the status and to the audit.
    pub(super) async fn take_up_file(&mut self, who: &Who, wish: &api::Apply) -> Result<Applied, Refused> {
        service_manager::reloading();
        let outcome = self.try_file(who, wish).await;
        let (word, error) = match &outcome {
            Ok(Applied { changed: false, .. }) => (Outcome::NothingToDo, None),
            Ok(Applied { window: Some(_), .. }) => (Outcome::Watched, None),
            Ok(_) => (Outcome::Applied, None),
            Err(refused) => (Outcome::Refused, Some(one_line_each(refused))),
        };
        let what = format!("apply {}", self.args.config.display());
        let said = error.as_ref().map_or(word.word().to_owned(), |error| format!("{}: {error}", word.word()));
        self.api.audit().note(who, &what, self.generation, &said);
        self.note_apply(who, word, error);
        status::reloaded(&self.args.config, &outcome);
        outcome
    }

    fn note_apply(&mut self, who: &Who, outcome: Outcome, error: Option<String>) {
        let ok = error.is_none();
        self.last_apply = Apply { ok, outcome, time: Time::now(), by: who.to_string(), error };
    }

    async fn try_file(&mut self, who: &Who, wish: &api::Apply) -> Result<Applied, Refused> {
        let begun = Instant::now();
        if let Some(meant) = &wish.file {
            is_the_same(&self.args.config, Path::new(meant))?;
        }
        let new = config::load(&self.args.config).map_err(refused)?;
        let running = Arc::clone(self.state.model());
        if *running == new {
            if wish.confirm {
                self.confirm();
            }
            return Ok(self.applied(begun, None, None));
        }
        let hops = self.can_take_up(&new).await?;
        let had = self.fate();
        let overrides = self.state.overrides().clone();
        let written = self.go_over(new, hops).await.map_err(|error| Refused::Failed(format!("{error:#}")))?;
        // What was lost already cannot be lost by this.
        let is_watched = !wish.confirm && had == Fate::Healthy;
        let window = wish.window.map_or(WINDOW, |seconds| Duration::from_secs(seconds.into())).min(LONGEST);
        self.trial = is_watched.then(|| Trial {
            until: Instant::now() + window,
            look: Instant::now(),
            before: running,
            overrides,
            who: who.clone(),
        });
        Ok(self.applied(begun, Some(written), is_watched.then_some(window)))
    }

    fn applied(&self, begun: Instant, written: Option<Written>, window: Option<Duration>) -> Applied {
        let changes = written.map(|written| written.changes).unwrap_or_default();
        let end = written.map_or_else(Instant::now, |written| written.at);
        Applied {
            schema_version: api::SCHEMA,
            changed: written.is_some(),
            generation: self.generation,
            window: window.map(|window| u32::try_from(window.as_secs()).unwrap_or(u32::MAX)),
            microseconds: u64::try_from((end - begun).as_micros()).unwrap_or(u64::MAX),
            buckets: changes.buckets,
            entries: changes.entries,
        }
    }

    /// The ways to its instances, or why this process cannot go over to it.
    pub(super) async fn can_take_up(&self, new: &Model) -> Result<Hops, Refused> {
        let conflict = |error: anyhow::Error| Refused::Conflict(format!("{error:#}"));
        reload::check(self.state.model(), new).map_err(|error| conflict(error.into()))?;
        if let Some(local) = self.local.as_ref().filter(|name| new.instance(&name.0).is_none()) {
            return Err(Refused::Conflict(format!(
                "{local} runs on this host and is no longer in the file; stop `gateway run` to remove it"
            )));
        }
        let links = self.links();
        // The ways that are known are followed anyway; a question for each of thousands would take longer than all the rest.
        let (mut hops, mut unknown) = (Hops::new(), new.clone());
        unknown.instances.retain(|one| {
            let known: Hops =
                self.state.hops_of(&one.name).map(|(dip, hop)| ((one.name.clone(), dip), *hop)).collect();
            let is_known = one.dip.iter().all(|dip| known.contains_key(&(one.name.clone(), *dip)));
            if is_known {
                hops.extend(known.into_iter().filter(|((_, dip), _)| one.dip.contains(dip)));
            }
            !is_known
        });
        let found = preflight::hops(&self.netlink, &unknown, &links, self.local.as_ref()).await;
        hops.extend(found.map_err(|error| conflict(error.into()))?);
        data_path::check(new, &hops, self.local.as_ref()).map_err(|error| conflict(error.into()))?;
        Ok(hops)
    }

    /// Goes over to another configuration; on an error everything is as before.
    async fn go_over(&mut self, new: Model, hops: Hops) -> anyhow::Result<Written> {
        let running = Arc::clone(self.state.model());
        let links = self.links();
        route_replies(&mut self.changes, &new, &links, &self.netlink.links().await?)?;
        self.connections = data_path::open(&mut self.dataplane, &new, &links)?;
        let vips = VipChanges::between(&running, &new);
        let before = self.state.clone();
        let now = Instant::now();
        let settings = api::Settings::of(&new);

        // Tables first, then addresses come; addresses go, then tables: a VIP's packets never reach the host's stack.
        let mut written = Changes::default();
        if vips != VipChanges::default() {
            self.state.take_up(Arc::new(reload::with_both_vips(&running, &new)), hops.clone(), now);
            match self.change_vips(&vips).await {
                Ok(changes) => written = changes,
                Err(error) => {
                    self.take_back(before, &vips).await;
                    return Err(error);
                }
            }
        }
        self.state.take_up(Arc::new(new), hops, now);
        // Before the tables, with which it is saved.
        self.generation += 1;
        match self.apply() {
            Ok(changes) => {
                written.buckets += changes.buckets;
                written.entries += changes.entries;
            }
            Err(error) if vips == VipChanges::default() => {
                self.generation -= 1;
                self.take_back(before, &vips).await;
                return Err(error);
            }
            Err(error) => {
                // The addresses are those of the new file, and tables that know the VIPs of both files serve either.
                log::error!(
                    "the tables could not be brought up to date, which is tried again soon: {error:#}"
                );
                self.behind = true;
            }
        }
        let at = Instant::now();
        self.api.set(settings);
        self.follow_probes();
        self.close_data_path();
        if let Err(error) = self.know_own_addresses().await {
            log::error!("who leases which SNAT ports stays as it was: {error}");
        }
        self.lend();
        self.ask_neighbours().await;
        Ok(Written { changes: written, at })
    }

    async fn take_back(&mut self, before: crate::balance::state::State, vips: &VipChanges) {
        for port in &self.ports {
            for vip in of(port.side, &vips.added) {
                if let Err(error) = self.changes.remove_address(&self.netlink, &port.link, vip).await {
                    log::error!("{error:#}");
                }
            }
        }
        self.state = before;
        self.reopen_data_path();
        self.apply_or_retry();
        // A VIP that was given up already comes back.
        self.settle(&[]).await;
    }

    async fn change_vips(&mut self, vips: &VipChanges) -> anyhow::Result<Changes> {
        let written = self.apply()?;
        for port in self.ports.iter().filter(|port| port.is_there()) {
            claim(&mut self.changes, &self.netlink, &port.link, &of(port.side, &vips.added)).await?;
        }
        for port in &self.ports {
            for vip in of(port.side, &vips.removed) {
                self.changes.remove_address(&self.netlink, &port.link, vip).await?;
            }
        }
        Ok(written)
    }

    /// Ends the watch over a new state: it stays.
    pub(super) fn confirm(&mut self) {
        if self.trial.take().is_some() {
            self.last_apply.outcome = Outcome::Applied;
        }
    }

    /// Takes a new state back that lost all healthy instances, or ends the watch over it.
    pub(super) async fn judge_trial(&mut self) {
        let (fate, now) = (self.fate(), Instant::now());
        let Some(trial) = &mut self.trial else { return };
        match trial.verdict(fate, now) {
            None => trial.look = (now + LOOK).min(trial.until),
            Some(Verdict::Kept) => self.confirm(),
            Some(Verdict::TakenBack) => {
                if let Some(trial) = self.trial.take() {
                    self.roll_back(trial).await;
                }
            }
        }
    }

    fn fate(&self) -> Fate {
        let seen = |one: &Instance| Seen {
            admin_state: self.state.overrides().get(&one.name).copied().unwrap_or(one.admin_state),
            is_reached: self.local.as_ref() == Some(&one.name)
                || one.dip.iter().any(|dip| self.state.way(&one.name, *dip).is_some()),
            health: self.state.watched(&one.name).map(|watched| watched.health.verdict()),
        };
        trial::fate(self.state.model().instances.iter().map(seen))
    }

    async fn roll_back(&mut self, trial: Trial) {
        let failed = self.generation;
        let outcome = match self.can_take_up(&trial.before).await {
            Ok(hops) => self.go_over((*trial.before).clone(), hops).await,
            Err(refused) => Err(anyhow::anyhow!(refused.text().to_owned())),
        };
        let error = match outcome {
            Ok(_) => {
                self.state.set_overrides(trial.overrides, Instant::now());
                self.apply_or_retry();
                format!(
                    "generation {failed} left no healthy instance, so what was before it is in force again, as generation {}; \
                     mend the file, or `gateway apply --confirm` to keep it all the same",
                    self.generation
                )
            }
            Err(error) => {
                format!(
                    "generation {failed} left no healthy instance, and what was before it cannot come back: {error:#}"
                )
            }
        };
        log::error!("rolled back: {error}");
        self.api.audit().note(&Who::Itself, "roll back", self.generation, &error);
        self.note_apply(&trial.who, Outcome::RolledBack, Some(error));
    }
}

/// Refuses a file that is not the one that the balancer runs with.
fn is_the_same(own: &Path, meant: &Path) -> Result<(), Refused> {
    let same = match (fs::canonicalize(own), fs::canonicalize(meant)) {
        (Ok(own), Ok(meant)) => own == meant,
        _ => own == meant,
    };
    let own = fs::canonicalize(own).unwrap_or_else(|_| own.to_owned());
    if same {
        return Ok(());
    }
    Err(Refused::Conflict(format!(
        "the balancer runs with {}, not with {}: change that file (`gateway plan --config {}` shows what would be other then), \
         or restart the balancer with this one",
        own.display(),
        meant.display(),
        meant.display()
    )))
}

pub(super) fn refused(faults: Faults) -> Refused {
    let json = faults.report.json();
    Refused::Faults(Faults { rendering: Rendering::Plain, ..faults }.to_string(), json)
}

/// For places that have a line for each fault: the caret and its place are for others.
fn one_line_each(refused: &Refused) -> String {
    let Refused::Faults(text, report) = refused else { return refused.text().to_owned() };
    let Some(faults) = report["faults"].as_array() else { return text.clone() };
    let line = |fault: &serde_json::Value| {
        let word = |key: &str| fault[key].as_str().unwrap_or_default().to_owned();
        let place =
            fault["line"].as_u64().map_or_else(String::new, |line| format!(":{line}:{}", fault["column"]));
        format!("{}{place}: {} {}", word("path"), word("code"), word("message"))
    };
    faults.iter().map(line).collect::<Vec<_>>().join("\n")
}
