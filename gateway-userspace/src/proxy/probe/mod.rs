//! The probe's port, plain HTTP on the instance's own address: what balancers ask an instance.

mod drain;
mod flows;
mod leases;

use std::{
    net::IpAddr,
    sync::{Arc, OnceLock, Weak},
};

use http::{HeaderValue, Method, StatusCode, Uri};
use ipnet::IpNet;
use tokio::sync::mpsc;

pub use self::drain::Told;
use self::flows::Flows;
use super::{
    answers,
    body::ResponseBody,
    message::{Request, Response},
    metrics::Snapshot,
    received::Received,
    state::State,
    worker::Worker,
};
use crate::{
    model::{Instance, InstanceName, Model},
    plan::Served,
    snat::Desk,
};

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const OPENMETRICS: HeaderValue = HeaderValue::from_static(crate::metrics::CONTENT_TYPE);

/// What of a configuration the answers here depend on.
#[derive(Debug)]
pub struct Asked {
    name: InstanceName,
    served: Served,
    /// Who may drain, and lease ports.
    balancers: Vec<IpAddr>,
    /// Who may ask for flows.
    observers: Vec<IpNet>,
    /// Who may ask for metrics besides.
    scrapers: Vec<IpNet>,
}

/// Whether the balancer runs on the instance's own host, from whose addresses it asks then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BalancerAt {
    /// It does (`gateway run`).
    Here,
    /// It does not.
    Elsewhere,
}

impl Asked {
    /// Of one instance.
    pub fn of(model: &Model, instance: &Instance, balancer: BalancerAt) -> Self {
        let own = instance.dip.iter().filter(|_| balancer == BalancerAt::Here);
        let balancers: Vec<IpAddr> = model.balancer.address.iter().chain(own).copied().collect();
        let hosts = balancers.iter().copied().map(IpNet::from);
        Self {
            name: instance.name.clone(),
            served: Served::of(model, &instance.dip),
            observers: if model.balancer.address.is_empty() {
                hosts.chain(model.network.subnet.iter().copied()).collect()
            } else {
                hosts.collect()
            },
            balancers,
            scrapers: model.proxy.metrics_sources.clone(),
        }
    }

    fn may_observe(&self, peer: IpAddr) -> bool {
        self.observers.iter().any(|network| network.contains(&peer))
    }

    fn may_scrape(&self, peer: IpAddr) -> bool {
        self.may_observe(peer) || self.scrapers.iter().any(|network| network.contains(&peer))
    }
}

/// What answers here are made from, for all workers.
#[derive(Debug)]
pub struct Port {
    flows: Flows,
    told: mpsc::Sender<Told>,
    /// With SNAT.
    desk: Option<Desk>,
    /// All of them, for metrics.
    workers: OnceLock<Vec<Weak<Worker>>>,
}

impl Port {
    /// What balancers say of drains goes to `told`, what they say of SNAT ports to `desk`.
    pub fn new(told: mpsc::Sender<Told>, desk: Option<Desk>) -> Self {
        Self { flows: Flows::default(), told, desk, workers: OnceLock::new() }
    }
}

impl Port {
    /// Whose counts are told. The first word counts.
    pub fn tell_of(&self, workers: &[Arc<Worker>]) {
        self.workers.get_or_init(|| workers.iter().map(Arc::downgrade).collect());
    }

    fn metrics(&self, state: &State) -> String {
        let workers: Vec<_> = self.workers.get().into_iter().flatten().filter_map(Weak::upgrade).collect();
        Snapshot::of(&workers, state).text()
    }
}

/// What is asked for besides the status paths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Question<'a> {
    Flows(Option<&'a str>),
    Drain,
    Metrics,
    Leases,
}

impl<'a> Question<'a> {
    fn of(method: &Method, uri: &'a Uri) -> Option<Self> {
        match (method, uri.path()) {
            (&Method::GET, "/flows") => Some(Self::Flows(uri.query())),
            (&Method::GET, "/metrics") => Some(Self::Metrics),
            (&Method::POST, "/snat") => Some(Self::Leases),
            (&Method::PUT | &Method::DELETE, "/drain") => Some(Self::Drain),
            _ => None,
        }
    }
}

/// The answer to `peer`. None: there is no such path for it.
pub(super) async fn answer(
    state: &State,
    port: &Port,
    peer: IpAddr,
    request: &mut Request<Received>,
) -> Option<Response<ResponseBody>> {
    let asked = &state.asked;
    let Request { head, body } = request;
    let body = std::mem::take(body);
    let bad = || Some(answers::last(StatusCode::BAD_REQUEST));
    match Question::of(&head.method, &head.uri)? {
        Question::Flows(query) if asked.may_observe(peer) => {
            let Some(affinity) = flows::affinity(query) else { return bad() };
            let ends = state.certificates.iter().map(|(role, served)| (role.as_str(), served.expires_at()));
            Some(match port.flows.report(&asked.name, &asked.served, affinity, &ends.collect()).await {
                Ok(report) => answers::document(JSON, report),
                Err(error) => {
                    log::warn!("cannot report living flows: {:#}", anyhow::Error::from(error));
                    answers::empty(StatusCode::SERVICE_UNAVAILABLE)
                }
            })
        }
        Question::Drain if asked.balancers.contains(&peer) => {
            let Some(order) = drain::order(&head.method, body).await else { return bad() };
            // An error: the proxy leaves, which is more than a drain.
            let _gone = port.told.send(order).await;
            Some(answers::empty(StatusCode::NO_CONTENT))
        }
        Question::Metrics if asked.may_scrape(peer) => {
            Some(answers::document(OPENMETRICS, port.metrics(state).into()))
        }
        Question::Leases if asked.balancers.contains(&peer) => {
            let desk = port.desk.as_ref()?;
            Some(match leases::answer(desk, peer, body).await {
                Ok(report) => answers::document(JSON, report),
                Err(status) => answers::last(status),
            })
        }
        Question::Flows(_) | Question::Drain | Question::Metrics | Question::Leases => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::model;

    fn observers(addresses: &[&str], balancer: BalancerAt) -> Vec<String> {
        let mut model = model(&["gw-1"]);
        model.balancer.address = addresses.iter().map(|text| text.parse().unwrap()).collect();
        let asked = Asked::of(&model, &model.instances[0], balancer);
        asked.observers.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn flows_are_for_balancers_or_where_none_is_named_for_the_subnet() {
        assert_eq!(observers(&["10.0.0.2"], BalancerAt::Elsewhere), ["10.0.0.2/32"]);
        assert_eq!(observers(&["10.0.0.2"], BalancerAt::Here), ["10.0.0.2/32", "10.0.0.11/32"]);
        assert_eq!(observers(&[], BalancerAt::Elsewhere), ["10.0.0.0/24"]);
    }

    #[test]
    fn only_balancers_that_are_named_or_here_may_drain() {
        let model = model(&["gw-1"]);
        let of = |at| Asked::of(&model, &model.instances[0], at).balancers;
        assert!(of(BalancerAt::Elsewhere).is_empty());
        assert_eq!(of(BalancerAt::Here), model.instances[0].dip);
    }

    #[test]
    fn a_question_is_a_method_and_a_path() {
        let of = |method, uri: &str| Question::of(&method, &uri.parse().unwrap()).is_some();
        assert!(of(Method::GET, "/flows?affinity=five-tuple"));
        assert!(of(Method::GET, "/metrics") && !of(Method::POST, "/metrics"));
        assert!(!of(Method::POST, "/flows"));
        assert!(!of(Method::GET, "/flows/"));
        assert!(of(Method::PUT, "/drain") && of(Method::DELETE, "/drain"));
        assert!(of(Method::POST, "/snat") && !of(Method::GET, "/snat"));
        assert!(!of(Method::GET, "/drain"));
    }
}
