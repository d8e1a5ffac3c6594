//! Whose names a client is served: by the door and, for management on a public VIP, by where the client is (R20). Pure.

use std::net::IpAddr;

use ipnet::IpNet;

use super::routes::Door;
use crate::model::{Model, Role};

/// Which roles' names there are for a client; to it, others do not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Roles {
    /// Every role.
    All,
    /// Management alone.
    Management,
    /// Every role but management.
    AllButManagement,
}

/// What is configured of it.
#[derive(Debug)]
pub struct Guard {
    public: Vec<IpAddr>,
    /// Empty: everyone.
    management: Vec<IpNet>,
}

impl Guard {
    /// Of a configuration.
    pub fn new(model: &Model) -> Self {
        Self { public: model.vip.public.clone(), management: model.balancer.management_sources.clone() }
    }

    /// For a client at `peer` that came to the address `at` by a door. The balancer asks for the list at 3443 alone; without this,
    /// in external mode management would be open to everyone beside it.
    pub fn roles(&self, door: Door, at: IpAddr, peer: IpAddr) -> Roles {
        let is_listed =
            || self.management.is_empty() || self.management.iter().any(|list| list.contains(&peer));
        match door {
            Door::Management => Roles::Management,
            Door::Https | Door::Http | Door::Redirect if self.public.contains(&at) && !is_listed() => {
                Roles::AllButManagement
            }
            Door::Https | Door::Http | Door::Redirect | Door::Probe | Door::Dns => Roles::All,
        }
    }
}

impl Roles {
    /// Whether that role is among them.
    pub fn have(self, role: Role) -> bool {
        match self {
            Self::All => true,
            Self::Management => role == Role::Management,
            Self::AllButManagement => role != Role::Management,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::model;

    #[test]
    fn r20_the_list_of_management_holds_at_every_port_of_the_public_vip() {
        let mut model = model(&["gw-1"]);
        let [private, public] = [model.vip.private[0], model.vip.public[0]];
        let [listed, other] = ["198.51.100.7", "192.0.2.1"].map(|text| text.parse::<IpAddr>().unwrap());
        let open = Guard::new(&model);
        model.balancer.management_sources = vec!["198.51.100.0/24".parse().unwrap()];
        let narrowed = Guard::new(&model);
        for (guard, door, at, peer, roles) in [
            (&open, Door::Https, public, other, Roles::All),
            (&open, Door::Management, public, other, Roles::Management),
            (&narrowed, Door::Https, public, listed, Roles::All),
            (&narrowed, Door::Https, public, other, Roles::AllButManagement),
            (&narrowed, Door::Http, public, other, Roles::AllButManagement),
            (&narrowed, Door::Redirect, public, other, Roles::AllButManagement),
            (&narrowed, Door::Https, private, other, Roles::All),
            (&narrowed, Door::Management, private, other, Roles::Management),
            (&narrowed, Door::Probe, private, other, Roles::All),
        ] {
            assert_eq!(guard.roles(door, at, peer), roles, "{door:?} at {at} from {peer}");
        }
        assert!(!Roles::AllButManagement.have(Role::Management) && Roles::AllButManagement.have(Role::Scm));
        assert!(Roles::Management.have(Role::Management) && !Roles::Management.have(Role::Gateway));
    }
}
