//! What the API asks, and what it has changed.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Daemon, apply::refused, stamped};
use crate::{
    api::{self, Call, Health, InstanceState, Refused, Who},
    balance::reload,
    config,
    model::{AdminState, InstanceName},
    plan::{self, Difference, Override, Restart, Way},
    status::State,
};

impl Daemon<'_> {
    pub(super) async fn answer(&mut self, call: Call) {
        // Whoever asked may be gone: then nobody is told.
        match call {
            Call::Status(answer) => drop(answer.send(Box::new(self.status()))),
            Call::Health(answer) => drop(answer.send(self.is_fit())),
            Call::Counters(answer) => {
                let counters = self.dataplane.counters().map_err(anyhow::Error::from);
                drop(answer.send(counters.map_err(|error| Refused::Failed(format!("{error:#}")))));
            }
            Call::Plan(file, answer) => drop(answer.send(self.compare(file).await)),
            Call::Apply(who, wish, answer) => {
                let outcome = self.take_up_file(&who, &wish).await;
                drop(answer.send(outcome));
            }
            Call::Instance(who, name, state, answer) => {
                drop(answer.send(self.set_admin_state(&who, &name, state)));
            }
            Call::Way(wish, answer) => {
                if answer.send(self.lend_way(&wish)).is_err() {
                    self.take_way_back();
                }
            }
            Call::WayBack => self.take_way_back(),
        }
    }

    fn is_fit(&self) -> Health {
        let status = self.status();
        let serves = matches!(status.state, State::Serving | State::Degraded);
        Health { schema_version: api::SCHEMA, healthy: serves && status.vips.iter().all(|vip| vip.ready) }
    }

    /// What a text would change if it were in the file. Changes nothing.
    async fn compare(&self, file: api::Plan) -> Result<Difference, Refused> {
        let own = &self.args.config;
        let name = file.path.unwrap_or_else(|| own.clone());
        let folder = own.parent().unwrap_or(Path::new(""));
        let new = config::parse(file.text, &name, folder).map_err(refused)?;
        let running = Arc::clone(self.state.model());
        let restarts: Vec<_> = reload::restarts(&running, &new)
            .into_iter()
            .map(|one| Restart { key: one.key.into(), from: one.from, to: one.to, why: one.why.into() })
            .collect();
        let changes = plan::changes(&running, &new);
        let overrides = self.state.overrides().iter();
        let overrides =
            overrides.map(|(name, &state)| Override { instance: name.0.clone(), admin_state: state });
        let mut difference = Difference {
            schema_version: api::SCHEMA,
            generation: self.generation,
            changes,
            restarts,
            refusals: Vec::new(),
            buckets: None,
            overrides: overrides.collect(),
        };
        if !difference.restarts.is_empty() {
            return Ok(difference);
        }
        match self.moved_by(new).await {
            Ok(moved) => difference.buckets = Some(moved),
            Err(refusal) => difference.refusals.push(refusal),
        }
        Ok(difference)
    }

    /// Buckets that would change hands, once new instances are reached and healthy.
    async fn moved_by(&self, new: crate::model::Model) -> Result<plan::Moved, String> {
        let hops = self.can_take_up(&new).await.map_err(|refused| refused.text().to_owned())?;
        let mut state = self.state.clone();
        let weights: Vec<_> = new
            .instances
            .iter()
            .filter(|one| self.state.model().instance(&one.name.0).is_none())
            .map(|one| (one.name.clone(), if one.admin_state == AdminState::Down { 0 } else { one.weight }))
            .collect();
        state.take_up(Arc::new(new), hops.clone(), Instant::now());
        let mut desired = stamped(state.desired());
        desired.shares.extend(weights);
        for (key, hop) in hops {
            let supposed = Way { interface: hop.interface, mac: [0; 6], mtu: hop.mtu, source: hop.source };
            desired.ways.entry(key).or_insert(supposed);
        }
        let plan = plan::plan(&desired, Some(&self.plan)).map_err(|error| error.to_string())?;
        Ok(plan::moved(&self.plan, &plan))
    }

    fn set_admin_state(
        &mut self,
        who: &Who,
        name: &InstanceName,
        wish: Option<AdminState>,
    ) -> Result<InstanceState, Refused> {
        let Some(configured) = self.state.model().instance(&name.0).map(|one| one.admin_state) else {
            let error = self.state.model().no_instance(&name.0);
            let what = format!("instance {name}");
            self.api.audit().note(who, &what, self.generation, &format!("refused: {error}"));
            return Err(Refused::Unknown(error));
        };
        // What the file says needs no override.
        let wish = wish.filter(|state| *state != configured);
        if self.state.set_admin_state(name, wish, Instant::now()) {
            self.apply_or_retry();
        }
        let admin_state = self.state.admin_state(name).unwrap_or(configured);
        let word = match admin_state {
            AdminState::Up => "up",
            AdminState::Down => "down",
            AdminState::Auto => "auto",
        };
        let by = if wish.is_some() { "at run time" } else { "by the file" };
        log::info!("{name} is {word} {by}");
        self.api.audit().note(who, &format!("instance {name} {word}"), self.generation, by);
        let drain = self.state.drains().find(|(one, _)| *one == name).and_then(|(_, end)| end);
        let left =
            drain.map(|end| end.saturating_duration_since(Instant::now()) + Duration::from_millis(500));
        let flows = self.instances().into_iter().find(|one| one.name == name.0).and_then(|one| one.flows);
        Ok(InstanceState {
            schema_version: api::SCHEMA,
            name: name.0.clone(),
            admin_state,
            configured,
            overridden: wish.is_some(),
            drain_ends_in: left.map(|left| left.as_secs()),
            flows: flows.map(|flows| flows.living),
        })
    }
}
