//! Why a packet was dropped: the one table that enum, counters, messages and documentation come from.

macro_rules! reasons {
    ($($number:literal $variant:ident $name:literal $meaning:literal $remedy:literal)+) => {
        /// Why a packet for a VIP was dropped. The discriminant is the index of its counter, and never changes.
        #[repr(u8)]
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Reason { $(#[doc = $meaning] $variant = $number),+ }

        impl Reason {
            /// All of them, by number.
            #[cfg(not(target_arch = "bpf"))]
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// As in output for people, JSON and metrics.
            #[cfg(not(target_arch = "bpf"))]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }

            /// What happened.
            #[cfg(not(target_arch = "bpf"))]
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning),+ }
            }

            /// Whose doing it is, and what to do about it.
            #[cfg(not(target_arch = "bpf"))]
            pub const fn remedy(self) -> &'static str {
                match self { $(Self::$variant => $remedy),+ }
            }
        }
    };
}

reasons! {
    1 VlanDepth "vlan-depth" "more than two VLAN tags" "sender: nothing legitimate nests three tags here"
    2 LinkMulticast "link-multicast" "a VIP's packet in a multicast or broadcast frame" "sender: RFC 1122 §3.3.6 forbids it"
    3 BadHeader "bad-header" "an IP or TCP header that contradicts itself" "sender: broken or hostile"
    4 BadLength "bad-length" "lengths that contradict each other or the frame" "sender: broken or hostile"
    5 Truncated "truncated" "the frame ends inside a header" "sender: broken or hostile"
    6 ExtensionDepth "extension-depth" "more than four IPv6 extension headers, or a kilobyte of them" "sender: nothing legitimate needs that many"
    7 RoutingHeader "routing-header" "an IPv6 routing header with segments left" "sender: source routing is not followed (RFC 5095)"
    8 Fragment "fragment" "a fragment of an IP datagram" "path: lower the sender's MTU, or let ICMP through so that it finds out"
    9 Protocol "protocol" "neither TCP nor UDP nor ICMP" "by design: nothing else is served on a VIP"
    10 IcmpEcho "icmp-echo" "an echo request that is not answered" "by design: only the private VIP is pinged, without IP options or extension headers; ask a service's status path"
    11 IcmpType "icmp-type" "an ICMP message of another type" "by design"
    12 IcmpQuote "icmp-quote" "an ICMP error about no flow of ours" "sender: stray or forged"
    13 NoService "no-service" "no service on this protocol and port of the VIP" "by design: in internal mode the public VIP has TCP 3443 only; else name the right port"
    14 Source "source" "a source outside the networks that may reach this VIP" "configuration: network.vnet, network.peered, balancer.management_sources"
    15 NoInstance "no-instance" "no instance is in service" "configuration: an instance that is up and resolvable"
    16 Neighbour "neighbour" "the way to the instance is not known" "network: is the instance on, and on this link? `ip neigh`"
    17 OtherHost "other-host" "a VIP's packet in a frame for another host" "network: a flooded frame, or another interface's MAC on this one"
    18 Interface "interface" "a VIP's packet by an interface that does not lead to those who may reach it" "network: the private VIP is answered on balancer.inside only; who sends it there from outside?"
    19 TooBig "too-big" "a packet too big for the way to its instance" "network: a larger MTU between balancer and instances; senders are told by ICMP unless it is filtered"
    20 HopLimit "hop-limit" "no hops left for the way to the instance" "sender: a trace, or a loop in the network"
    21 NoRoom "no-room" "no room in the buffer for an outer header" "host: the interface's driver leaves too little headroom for XDP"
    30 FragmentEarly "fragment-early" "a later fragment of a datagram whose first one has not come" "path: it changes the order of fragments, or loses them; lower the sender's MTU"
    22 Gone "gone" "a packet of a flow whose instance is gone" "instances: the host that had the flow does not answer; its clients are reset and connect anew"
    23 RateLimit "rate-limit" "an echo request beyond what is answered in a second" "sender: pings too often, or somebody forges its address"
    35 Stranger "stranger" "a tunnel's packet from no balancer" "configuration: balancer.address has to list every balancer; else somebody forges"
    36 OuterHeader "outer-header" "an outer header with a VLAN tag, options or extension headers, or of a fragment" "network: balancers send none of these; does a smaller MTU on their way cut packets?"
    37 OuterLength "outer-length" "an outer header whose lengths contradict each other or the frame" "network: broken, or forged"
    38 Gue "gue" "GUE of another variant, with other fields, or a control message" "version: balancers and instances of one release"
    39 NotVip "not-vip" "a tunnel's packet that is for no VIP" "configuration: the same VIPs in the balancers' file and the instance's"
    40 Congestion "congestion" "congestion was experienced by a packet that cannot say so" "network: as if lost by the router that marked it (RFC 6040 §4.2)"
    41 Stale "stale" "a segment of nobody's here, sent by a balancer that is behind another" "balancer: does its file or its health of instances differ from the others'?"
    45 NatFragment "nat-fragment" "a fragment from an instance, which cannot get its VIP back" "instance: send no more than the path's MTU; in nat mode replies are not fragmented"
    46 SnatSyn "snat-syn" "a connection attempt to a port by which an instance's own flows leave" "by design: answers come to such a port, and nothing else"
    47 SnatUnsolicited "snat-unsolicited" "nothing of this instance's spoke to this peer from this port" "sender: late, a scan, or forged"
    48 SnatPort "snat-port" "no leased port is free towards this destination" "configuration: snat.ports_per_instance, another public VIP; or fewer and longer connections to one destination"
    49 SnatLease "snat-lease" "no port of a public VIP is leased to this instance" "configuration: a public VIP of this family; is a balancer there to lease ports?"
    50 SnatEntry "snat-entry" "would leave with the DIP: in the middle of a connection that is not known" "host: its connection is too old or began before SNAT; it has to connect anew"
    51 SnatProtocol "snat-protocol" "would leave with the DIP: neither TCP nor UDP nor a ping" "host: only those can go out by a public VIP; `network.peered` if it is for inside"
    52 SnatFragment "snat-fragment" "would leave with the DIP: a fragment whose first one is not known" "host: it changes the order of fragments"
    53 SnatFull "snat-full" "the table of outbound flows is full" "host: who opens so many connections?"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_lists_every_reason() {
        let operations = include_str!("../../docs/operations.md");
        for reason in Reason::ALL {
            let row = format!("| `{}` | {} | {} |\n", reason.name(), reason.meaning(), reason.remedy());
            assert!(operations.contains(&row), "docs/operations.md has no row\n{row}");
        }
    }

    #[test]
    fn numbers_fit_the_counters_and_names_are_unique() {
        let mut names: Vec<_> = Reason::ALL.iter().map(|r| r.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Reason::ALL.len());
        assert!(Reason::ALL.iter().all(|&r| (r as u32) < crate::layout::REASONS));
    }
}
