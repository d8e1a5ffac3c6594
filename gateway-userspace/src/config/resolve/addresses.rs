//! `[vip]`: where VIPs come from and what they must not be (R10).

use std::{collections::HashMap, net::IpAddr};

use ipnet::IpNet;
use toml::Spanned;

use super::{given_twice, instances::Placed, list, required_list, values};
use crate::{
    config::{
        code::Code,
        fault::{Fault, Problem, Span},
        file::File,
        read::Key,
    },
    model::{Network, Vips},
};

/// VIPs of a kind; the data plane finds them by a hash made for few.
const MOST: usize = 8;

/// The VIPs, each checked against the subnet, the DIPs and each other.
pub(super) fn resolve(file: &File, network: &Network, instances: &[Placed], faults: &mut Vec<Fault>) -> Vips {
    let private = required_list(&file.vip.private, "vip.private", &file.vip.at, faults);
    let public = file.vip.public.value().map_or(&[][..], Vec::as_slice);
    let dips: HashMap<IpAddr, &Span> =
        instances.iter().flat_map(|i| i.instance.dip.iter().copied().zip(&i.dip_at)).collect();

    for vip in private.iter().filter(|vip| !in_subnet(*vip.get_ref(), network)) {
        let message = format!("the private VIP {} is not in the subnet", vip.get_ref());
        let problem = Problem::new(Code::VipOutsideSubnet, message).label(expected_subnet(network));
        faults.push(problem.at(vip.span()));
    }
    for vip in private.iter().chain(public) {
        let address = *vip.get_ref();
        faults.extend(reserved(address, network).map(|problem| problem.at(vip.span())));
        if let Some(dip_at) = dips.get(&address) {
            let problem =
                Problem::new(Code::AddressClash, format!("{address} is a VIP and an instance's DIP"))
                    .label("expected an address that no host has");
            faults.push(problem.at(vip.span()).also((*dip_at).clone(), "the DIP"));
        }
    }
    for vip in public {
        if let Some(other) = private.iter().find(|other| other.get_ref() == vip.get_ref()) {
            let message = format!("{} is both a private and a public VIP", vip.get_ref());
            let problem = Problem::new(Code::AddressClash, message)
                .label("expected another address: all ports but 3443 are closed on a public VIP");
            faults.push(problem.at(vip.span()).also(other.span(), "the private VIP"));
        }
    }
    for (key, entries) in [(&file.vip.private, private), (&file.vip.public, public)] {
        few_and_different(key, entries, faults);
    }
    Vips { private: values(private), public: list(&file.vip.public) }
}

fn few_and_different(key: &Key<Vec<Spanned<IpAddr>>>, entries: &[Spanned<IpAddr>], faults: &mut Vec<Fault>) {
    if let (true, Some(at)) = (entries.len() > MOST, key.span()) {
        let problem =
            Problem::new(Code::OutOfRange, format!("{} VIPs of a kind are too many", entries.len()))
                .label(format!("expected at most {MOST}"));
        faults.push(problem.at(at));
    }
    for (index, vip) in entries.iter().enumerate() {
        if let Some(first) = entries[..index].iter().find(|first| first.get_ref() == vip.get_ref()) {
            faults.push(given_twice(&format!("the VIP {}", vip.get_ref()), &first.span(), &vip.span()));
        }
    }
}

/// Whether an address is from the subnet. True as long as nobody knows the subnet: that is one fault, not many.
pub(super) fn in_subnet(address: IpAddr, network: &Network) -> bool {
    network.subnet.is_empty() || network.subnet.iter().any(|net| net.contains(&address))
}

/// What stands beside the caret of an address from elsewhere.
pub(super) fn expected_subnet(network: &Network) -> String {
    let subnet: Vec<_> = network.subnet.iter().map(ToString::to_string).collect();
    format!("expected an address from {}", subnet.join(", "))
}

/// Why a subnet reserves that address: its first and last one in IPv4 (not in /31 and /32, RFC 3021), the
/// subnet-router anycast address in IPv6 (RFC 4291 section 2.6.1; not in /127 and /128, RFC 6164).
pub(super) fn reserved(address: IpAddr, network: &Network) -> Option<Problem> {
    let what = network.subnet.iter().find_map(|net| match net {
        IpNet::V4(v4) if v4.prefix_len() < 31 && IpAddr::V4(v4.network()) == address => {
            Some(format!("the network address of {net}"))
        }
        IpNet::V4(v4) if v4.prefix_len() < 31 && IpAddr::V4(v4.broadcast()) == address => {
            Some(format!("the broadcast address of {net}"))
        }
        IpNet::V6(v6) if v6.prefix_len() < 127 && IpAddr::V6(v6.network()) == address => {
            Some(format!("the subnet-router anycast address of {net}"))
        }
        _ => None,
    })?;
    let message = format!("no host can have {address}: it is {what}");
    Some(Problem::new(Code::ReservedAddress, message).label("expected the address of a host"))
}
