//! The probe's port, plain HTTP on the instance's own address: what balancers ask an instance.

mod flows;

use std::{net::IpAddr, sync::Arc};

use http::{Method, Request, Response, StatusCode, Uri};
use ipnet::IpNet;

pub use self::flows::Flows;
use super::{answers, body::ResponseBody};
use crate::{
    model::{Instance, InstanceName, Model},
    plan::Served,
};

/// What of a configuration the answers here depend on.
#[derive(Debug)]
pub struct Asked {
    name: InstanceName,
    served: Served,
    /// Who may ask for flows.
    observers: Vec<IpNet>,
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
        let balancers: Vec<IpNet> =
            model.balancer.address.iter().chain(own).copied().map(IpNet::from).collect();
        Self {
            name: instance.name.clone(),
            served: Served::of(model, &instance.dip),
            observers: if model.balancer.address.is_empty() {
                balancers.iter().chain(&model.network.subnet).copied().collect()
            } else {
                balancers
            },
        }
    }

    fn may_observe(&self, peer: IpAddr) -> bool {
        self.observers.iter().any(|network| network.contains(&peer))
    }
}

/// What is asked for besides the status paths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Question<'a> {
    Flows(Option<&'a str>),
}

impl<'a> Question<'a> {
    fn of(method: &Method, uri: &'a Uri) -> Option<Self> {
        match (method, uri.path()) {
            (&Method::GET, "/flows") => Some(Self::Flows(uri.query())),
            _ => None,
        }
    }
}

/// The answer to `peer`. None: there is no such path for it.
pub(super) async fn answer<B>(
    asked: &Asked,
    flows: &Arc<Flows>,
    peer: IpAddr,
    request: &Request<B>,
) -> Option<Response<ResponseBody>> {
    match Question::of(request.method(), request.uri())? {
        Question::Flows(query) if asked.may_observe(peer) => {
            let Some(affinity) = flows::affinity(query) else {
                return Some(answers::last(StatusCode::BAD_REQUEST));
            };
            Some(match flows.report(&asked.name, &asked.served, affinity).await {
                Ok(report) => answers::json(report),
                Err(error) => {
                    log::warn!("cannot report living flows: {:#}", anyhow::Error::from(error));
                    answers::empty(StatusCode::SERVICE_UNAVAILABLE)
                }
            })
        }
        Question::Flows(_) => None,
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
    fn only_get_asks_for_flows() {
        let of = |method, uri: &str| Question::of(&method, &uri.parse().unwrap()).is_some();
        assert!(of(Method::GET, "/flows?affinity=five-tuple"));
        assert!(!of(Method::POST, "/flows"));
        assert!(!of(Method::GET, "/flows/"));
    }
}
