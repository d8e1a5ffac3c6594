//! A simulated fleet: balancers that run the real pipeline, instances that are sets of sockets, random histories.
//!
//! Plans are made by the rules of `plan::buckets`, for some hundred buckets of the 65,537 alone: those that the flows are in. What
//! an instance does with a list of hops is the rule of this file: the flow is its own, or the next hop's, and the last keeps it.
//! `GATEWAY_MODEL_HISTORIES` says how many (default 10,000), `GATEWAY_MODEL_SEED` from which seed.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Instant,
};

use gateway_ebpf::{
    address::{self, Address, Flow},
    host::HostTables,
    layout::{Bucket, FLAG_HOPS, NOTE_LINES, NOTES, Window},
    note::{self, Note},
    pipeline::{self, Verdict},
    steer,
    word::Word,
};
use gateway_userspace::{
    maglev::{self, Member},
    model::{Forwarding, Instance},
    plan::{
        self, Desired, Plan, Way,
        buckets::{self, Change, Held},
    },
};

use super::{
    builder::{ACK, Packet, RST, SYN},
    parity::now,
    targets::{Kernel, desired, mac, model, name},
};

const INSTANCES: usize = 5;
const FLOWS: usize = 24;
const STEPS: usize = 60;
const CLIENTS: u8 = 20;
/// Where IPv4's addresses and TCP's fields are in a frame without tags and options.
const SEQUENCE_AT: usize = 14 + 20 + 4;
const FLAGS_AT: usize = 14 + 20 + 13;
const GUE_AT: usize = 14 + 20 + 8;
const EPOCH: u64 = 1 << 36;

/// A rule that does not hold, to see that it is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Broken {
    Nothing,
    /// A bucket that comes back to its first owner is no longer marked.
    Flag,
    /// A SYN's note is trusted without a proof.
    Proof,
    /// A RST deletes its flow's note.
    Rst,
    /// A SYN whose flow has a trusted note makes a new one.
    Trusted,
    /// A SYN takes a slot of a full line.
    Full,
    /// Windows remember the oldest and the current owner alone.
    Owners,
    /// Packets name no hops.
    Hops,
    /// The affinity before a switch is forgotten.
    Affinity,
    /// Windows close without evidence.
    Evidence,
    /// Notes of closed windows stay.
    Stale,
}

#[derive(Debug, Clone, Copy)]
struct Setting {
    forwarding: Forwarding,
    balancers: usize,
    broken: Broken,
}

/// Xorshift64*: quick, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() >> 33) as usize % bound
    }

    fn percent(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

/// What all histories share.
struct World {
    plan: Plan,
    /// The buckets that are looked at.
    buckets: Vec<u32>,
    flows: Vec<Tuple>,
    rings: HashMap<[u16; INSTANCES], Vec<u16>>,
    ids: BTreeMap<u32, usize>,
}

/// A flow's address, in what it is needed as.
struct Tuple {
    frame: Vec<u8>,
    /// By five-tuple, and by source address.
    buckets: [u32; 2],
    flow: Flow,
    salt: u64,
}

impl Tuple {
    fn note_hash(&self, node_salt: u64) -> u64 {
        address::mix(self.flow.hash(self.salt ^ node_salt, address::FIVE_TUPLE))
    }
}

const NODES: [u64; 3] = [0x5eed, 0xbeef, 0xcafe];

fn wish(forwarding: Forwarding) -> Desired {
    let mut model = model();
    model.balancer.forwarding = forwarding;
    model.instances = (1..=INSTANCES)
        .map(|n| Instance {
            name: name(&format!("gw-{n}")),
            dip: vec![format!("10.0.0.1{n}").parse().unwrap()],
            ..model.instances[0].clone()
        })
        .collect();
    let ways = (1..).zip(&model.instances).map(|(n, instance)| {
        let way = Way { interface: 1, mac: mac(n), mtu: 1500, source: "10.0.0.2".parse().unwrap() };
        ((instance.name.clone(), instance.dip[0]), way)
    });
    let ways = ways.collect();
    Desired { ways, node_salt: NODES[0], ..desired(model) }
}

impl World {
    fn new(forwarding: Forwarding) -> Self {
        let wish = wish(forwarding);
        let mut plan = plan::plan(&wish, None).unwrap();
        // Nobody's, but for the buckets that the histories are about.
        plan.ring.fill(Bucket::settled(0));
        let vip = Address::from("10.0.0.5".parse::<std::net::IpAddr>().unwrap());
        let salt = plan.vips.values().find(|entry| entry.address == vip).unwrap().salt;
        let flows = tuples(salt);
        let buckets: BTreeSet<u32> = flows.iter().flat_map(|tuple| tuple.buckets).collect();
        let seed = &wish.model.balancer.seed;
        let ids = (0..INSTANCES).map(|n| (plan::hop_id(seed, &wish.model.instances[n].name), n));
        Self {
            ids: ids.collect(),
            plan,
            buckets: buckets.into_iter().collect(),
            flows,
            rings: HashMap::new(),
        }
    }

    /// The owners of the buckets, with these weights.
    fn owners(&mut self, weights: [u16; INSTANCES]) -> &[u16] {
        self.rings.entry(weights).or_insert_with(|| {
            let names: Vec<String> = (1..=INSTANCES).map(|n| format!("gw-{n}")).collect();
            let members: Vec<Member<'_>> = names
                .iter()
                .zip(1..)
                .zip(weights)
                .map(|((name, number), weight)| Member { name, number, weight })
                .collect();
            let ring = maglev::ring(&members, "contoso");
            self.buckets.iter().map(|&bucket| ring.get(bucket as usize).copied().unwrap_or(0)).collect()
        })
    }
}

/// Pairs that share a line of the first balancer's transition table, so that lines can be full.
fn tuples(salt: u64) -> Vec<Tuple> {
    let mut lines: HashMap<u32, (u8, u16)> = HashMap::new();
    let mut tuples = Vec::new();
    for port in 1024.. {
        for client in 1..=CLIENTS {
            let tuple = tuple(salt, client, port);
            let line = tuple.note_hash(NODES[0]) as u32 & (NOTE_LINES - 1);
            if let Some((client, port)) = lines.insert(line, (client, port)) {
                tuples.push(self::tuple(salt, client, port));
                tuples.push(tuple);
                if tuples.len() == FLOWS {
                    return tuples;
                }
            }
        }
    }
    unreachable!("there are enough")
}

fn tuple(salt: u64, client: u8, port: u16) -> Tuple {
    let flow = Flow {
        source: Address::v4(u32::from_be_bytes([10, 0, 7, client])),
        ports: address::ports(port, 443),
        protocol: 6,
    };
    let bucket = |mask| steer::bucket_of(flow.hash(salt, mask));
    let frame = Packet::tcp(port, 443, ACK, 0).ip(&format!("10.0.7.{client}"), "10.0.0.5").ethernet(&[]);
    Tuple { frame, buckets: [bucket(address::FIVE_TUPLE), bucket(address::SOURCE_ADDRESS)], flow, salt }
}

/// A socket at an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Socket {
    /// It has answered a SYN with this number.
    Half(u32),
    Established,
}

/// A client's side.
#[derive(Debug, Clone, Copy)]
enum Client {
    Closed,
    /// Its SYN went out.
    Opening {
        sequence: u32,
        at: usize,
    },
    /// The instance that has it, by place.
    Open {
        sequence: u32,
        at: usize,
    },
}

/// What the control plane wants; all balancers get the same, some later.
#[derive(Debug, Clone)]
struct Fleet {
    weights: [u16; INSTANCES],
    gone: BTreeSet<u16>,
    ended: BTreeSet<u16>,
    /// Index of [`Tuple::buckets`].
    affinity: usize,
    affinity_before: usize,
}

const MASKS: [u64; 2] = [address::FIVE_TUPLE, address::SOURCE_ADDRESS];

struct History<'w> {
    world: &'w mut World,
    setting: Setting,
    random: Random,
    nodes: &'w mut [HostTables],
    held: Vec<Vec<Held>>,
    /// Which node has which of `fleets`.
    at: Vec<usize>,
    fleets: Vec<Fleet>,
    clients: Vec<Client>,
    by: Vec<usize>,
    sockets: HashMap<(usize, usize), Socket>,
    dead: [bool; INSTANCES],
    found: Found,
    kernel: Option<&'w mut Kernel>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Found {
    packets: u64,
    /// Established flows of living instances whose packet nobody took who has them.
    astray: u64,
    /// Likewise, where the bucket was not in a window at that balancer.
    outside: u64,
    closed: u64,
    second: u64,
}

impl History<'_> {
    fn place(&self, bucket: u32) -> usize {
        self.world.buckets.binary_search(&bucket).unwrap()
    }

    /// Writes a node's state, with the rule that is broken.
    fn write(&mut self, node: usize) {
        let fleet = &self.fleets[self.at[node]];
        let broken = self.setting.broken;
        for (&bucket, &(mut word, mut window)) in self.world.buckets.iter().zip(&self.held[node]) {
            if broken == Broken::Flag && word.is_moved() && word.previous() == word.current() {
                (word, window) = buckets::close((word, window));
            }
            if broken == Broken::Owners && word.is_moved() {
                window =
                    Window { first: u64::from(word.previous()) | u64::from(word.current()) << 16, second: 0 };
            }
            self.world.plan.ring[bucket as usize] = word;
            self.world.plan.windows[bucket as usize] = window;
        }
        let plan = &mut self.world.plan;
        plan.config.affinity = MASKS[fleet.affinity];
        plan.config.affinity_before = MASKS[fleet.affinity_before];
        if broken == Broken::Affinity {
            plan.config.affinity_before = plan.config.affinity;
        }
        plan.config.note_salt = NODES[node];
        if broken == Broken::Hops {
            plan.config.flags &= !FLAG_HOPS;
        }
        for (number, entries) in &mut plan.instances {
            for entry in entries {
                entry.state = u16::from(fleet.gone.contains(number));
            }
        }
        plan.forget = fleet.ended.clone();
        // `Plan::write` for these buckets alone: all of them would take most of the test's time.
        let block = &mut self.nodes[node].block;
        for &bucket in &self.world.buckets {
            block.ring[bucket as usize] = plan.ring[bucket as usize].0;
            block.windows[bucket as usize] = plan.windows[bucket as usize];
        }
        block.config = plan.config;
        for (&number, &entries) in &plan.instances {
            block.instances[usize::from(number)] = entries;
        }
        for tuple in &self.world.flows {
            let line = tuple.note_hash(NODES[node]) as u32 & (NOTE_LINES - 1);
            for word in &self.nodes[node].notes[line as usize] {
                if plan.forget.contains(&Note(word.load()).instance()) {
                    word.store(0);
                }
            }
        }
        if let Some(kernel) = &mut self.kernel {
            kernel.dataplane.apply(plan).unwrap();
        }
    }

    /// The node takes up the next fleet.
    fn advance(&mut self, node: usize) {
        if self.at[node] + 1 == self.fleets.len() {
            return;
        }
        self.at[node] += 1;
        let fleet = self.fleets[self.at[node]].clone();
        let switched = fleet.affinity != fleet.affinity_before;
        let change = Change { ended: &fleet.ended, gone: &fleet.gone, switched };
        let owners = self.world.owners(fleet.weights);
        let held =
            self.held[node].iter().zip(owners).map(|(&held, &owner)| buckets::next(held, owner, change));
        self.held[node] = held.collect();
        self.write(node);
    }

    fn settle_all(&mut self) {
        for node in 0..self.setting.balancers {
            while self.at[node] + 1 < self.fleets.len() {
                self.advance(node);
            }
        }
    }

    /// Something changes; a balancer or two may lag.
    fn change(&mut self) {
        self.settle_all();
        let mut fleet = self.fleets[self.at[0]].clone();
        fleet.ended.clear();
        let n = self.random.below(INSTANCES);
        let number = n as u16 + 1;
        match self.random.below(12) {
            0..=3 => fleet.weights[n] = 0,
            4..=7 if !self.dead[n] => fleet.weights[n] = 100,
            8 if !self.dead[n] => fleet.weights[n] = 50,
            // It dies.
            9 if !self.dead[n] && self.dead.iter().filter(|dead| !**dead).count() > 2 => {
                fleet.weights[n] = 0;
                fleet.gone.insert(number);
                self.die(n);
            }
            // Its drain is over, and it ends what is left.
            10 if fleet.weights[n] == 0 => {
                fleet.gone.remove(&number);
                fleet.ended.insert(number);
                self.die(n);
            }
            11 if fleet.affinity == fleet.affinity_before => fleet.affinity = 1 - fleet.affinity,
            _ => return,
        }
        if fleet.weights == [0; INSTANCES] {
            let living = (0..INSTANCES).find(|&n| !self.dead[n]);
            let Some(living) = living else { return };
            fleet.weights[living] = 100;
        }
        self.fleets.push(fleet);
        self.advance(0);
        if self.random.percent(70) {
            self.settle_all();
        }
    }

    fn die(&mut self, n: usize) {
        self.dead[n] = true;
        self.sockets.retain(|&(at, _), _| at != n);
        for client in &mut self.clients {
            if matches!(client, Client::Open { at, .. } | Client::Opening { at, .. } if *at == n) {
                *client = Client::Closed;
            }
        }
    }

    /// Closes what the truth allows, on all balancers.
    fn close(&mut self) {
        self.settle_all();
        let fleet = self.fleets[self.at[0]].clone();
        let mut disagree: BTreeSet<u32> = BTreeSet::new();
        for (flow, tuple) in self.world.flows.iter().enumerate() {
            let bucket = tuple.buckets[fleet.affinity];
            let place = self.place(bucket);
            let owned = |at: usize| {
                (0..self.setting.balancers).all(|node| self.held[node][place].0.current() == at as u16 + 1)
            };
            let is_elsewhere = self.sockets.keys().any(|&(at, of)| of == flow && !owned(at));
            if is_elsewhere && self.setting.broken != Broken::Evidence {
                disagree.insert(bucket);
            }
        }
        if fleet.affinity != fleet.affinity_before {
            if !disagree.is_empty() {
                return;
            }
            self.fleets.push(Fleet { affinity_before: fleet.affinity, ended: BTreeSet::new(), ..fleet });
            self.settle_all();
        }
        for node in 0..self.setting.balancers {
            let mut closed = BTreeSet::new();
            for (bucket, held) in self.world.buckets.iter().zip(&mut self.held[node]) {
                if held.0.is_moved() && !disagree.contains(bucket) {
                    *held = buckets::close(*held);
                    closed.insert(*bucket);
                    self.found.closed += 1;
                }
            }
            self.world.plan.closed = closed;
            self.write(node);
            self.forget_closed(node);
        }
    }

    /// As `Dataplane::apply` does where windows close.
    fn forget_closed(&mut self, node: usize) {
        let closed: BTreeSet<u16> =
            std::mem::take(&mut self.world.plan.closed).into_iter().map(|bucket| bucket as u16).collect();
        for tuple in &self.world.flows {
            let line = tuple.note_hash(NODES[node]) as u32 & (NOTE_LINES - 1);
            for word in &self.nodes[node].notes[line as usize] {
                if self.setting.broken != Broken::Stale
                    && Note(word.load()).bucket().is_some_and(|bucket| closed.contains(&bucket))
                {
                    word.store(0);
                }
            }
        }
    }

    /// Sends a segment through a balancer; to whom it goes, and who else may have it.
    fn send(&mut self, node: usize, flow: usize, flags: u8, sequence: u32) -> Option<(usize, Vec<usize>)> {
        self.found.packets += 1;
        let tuple = &self.world.flows[flow];
        let mut frame = tuple.frame.clone();
        frame[SEQUENCE_AT..SEQUENCE_AT + 4].copy_from_slice(&sequence.to_be_bytes());
        frame[FLAGS_AT] = flags;
        let hash = tuple.note_hash(NODES[node]);
        let bucket = tuple.buckets[self.fleets[self.at[node]].affinity_before];
        let line = (hash as u32 & (NOTE_LINES - 1)) as usize;
        let tables = &mut self.nodes[node];
        let notes = |tables: &HostTables| -> Vec<u64> { tables.notes[line].iter().map(Word::load).collect() };
        let is_its = |word: u64| (word ^ hash) >> 40 == 0;
        let forget = |tables: &HostTables| {
            tables.notes[line].iter().filter(|word| is_its(word.load())).for_each(|word| word.store(0));
        };
        match self.setting.broken {
            Broken::Rst if flags == RST => forget(tables),
            Broken::Trusted if flags == SYN => forget(tables),
            Broken::Full if flags == SYN && !notes(tables).into_iter().any(is_its) => {
                let slot = self.random.below(NOTES);
                if notes(tables).iter().all(|&word| word != 0) {
                    tables.notes[line][slot].store(0);
                }
            }
            _ => {}
        }
        let before = frame.clone();
        if self.kernel.is_some() {
            tables.now = now();
        }
        let verdict = pipeline::balance(&mut frame, tables);
        if let Some(kernel) = &mut self.kernel {
            assert_eq!(kernel.run(&before).frame, frame, "{verdict:?}");
        }
        if self.setting.broken == Broken::Proof && flags == SYN {
            for word in tables.notes[line].iter().filter(|word| is_its(word.load())) {
                // As `note.rs` draws a trusted note.
                let note = word.load();
                word.store(
                    note::in_bucket(hash, bucket) >> 24 << 24 | note & 0x00ff_0000 | 1 << 15 | note & 0x7fff,
                );
            }
        }
        if verdict != Verdict::Transmit {
            return None;
        }
        // Else it is sent back: a reset, since the instance is gone.
        let to = (0..INSTANCES).find(|&n| frame[..6] == mac(n as u8 + 1))?;
        let mut hops = Vec::new();
        if self.setting.forwarding == Forwarding::Gue && frame[GUE_AT] != 0 {
            let list = &frame[GUE_AT + 4..GUE_AT + 40];
            for hop in list[8..].chunks(4).take(usize::from(list[1])) {
                hops.push(self.world.ids[&u32::from_be_bytes(hop.try_into().unwrap())]);
            }
        }
        Some((to, hops))
    }

    /// Who takes a segment: the first that knows the flow; the last keeps what nobody knows.
    fn deliver(&mut self, node: usize, flow: usize, flags: u8, sequence: u32) -> Option<usize> {
        let (to, hops) = self.send(node, flow, flags, sequence)?;
        let last = hops.last().copied().unwrap_or(to);
        let knows = |at: usize| match self.sockets.get(&(at, flow)) {
            Some(Socket::Established) => true,
            // A handshake's last segment, not one of a flow whose tuple somebody forged a SYN with.
            Some(Socket::Half(opened)) => sequence == opened.wrapping_add(1),
            None => false,
        };
        let taker = std::iter::once(to).chain(hops).find(|&at| knows(at));
        self.found.second += u64::from(taker.is_some_and(|at| at != to));
        Some(taker.unwrap_or(last))
    }

    fn step(&mut self) {
        let flow = self.random.below(FLOWS);
        if self.setting.balancers > 1 && self.random.percent(10) {
            // Not while one lags: a flow that began by the newer plan is nobody's by the older one.
            self.settle_all();
            self.by[flow] = self.random.below(self.setting.balancers);
        }
        let node = self.by[flow];
        let number = self.random.next() as u32;
        match self.random.below(100) {
            0..=9 => self.change(),
            10..=12 => self.close(),
            13..=15 => self.forge(node, flow, number),
            16 => {
                self.send(node, flow, RST, number);
            }
            17 if self.setting.forwarding == Forwarding::Gue => {
                let line = self.world.flows[flow].note_hash(NODES[node]) as u32 & (NOTE_LINES - 1);
                if self.kernel.is_none() {
                    self.nodes[node].notes[line as usize].iter().for_each(|word| word.store(0));
                }
            }
            18 => self.nodes.iter_mut().for_each(|node| node.now += EPOCH),
            _ => self.go_on(node, flow, number),
        }
    }

    /// A SYN that nobody meant; its number is none that the client is near (one in 2¹⁵ would be).
    fn forge(&mut self, node: usize, flow: usize, number: u32) {
        let number = match self.clients[flow] {
            Client::Open { sequence, .. } | Client::Opening { sequence, .. } => {
                sequence ^ 0x4000_0000 ^ number >> 3
            }
            Client::Closed => number,
        };
        if let Some((to, _)) = self.send(node, flow, SYN, number)
            && !self.dead[to]
        {
            self.sockets.entry((to, flow)).or_insert(Socket::Half(number));
        }
    }

    /// The client does what it would do next.
    fn go_on(&mut self, node: usize, flow: usize, number: u32) {
        match self.clients[flow] {
            Client::Closed => {
                let Some((to, _)) = self.send(node, flow, SYN, number) else { return };
                if self.dead[to] {
                    return;
                }
                self.sockets.insert((to, flow), Socket::Half(number));
                self.clients[flow] = Client::Opening { sequence: number, at: to };
                if self.random.percent(90) {
                    self.go_on(node, flow, number);
                }
            }
            Client::Opening { sequence, at } => {
                let sequence = sequence.wrapping_add(1);
                if self.deliver(node, flow, ACK, sequence) == Some(at) {
                    self.sockets.insert((at, flow), Socket::Established);
                    self.clients[flow] = Client::Open { sequence, at };
                } else {
                    self.end(flow);
                }
            }
            Client::Open { .. } if number.is_multiple_of(8) => self.end(flow),
            Client::Open { sequence, at } => {
                let more = if number.is_multiple_of(3) { number >> 8 } else { number & 0x3ff };
                let sequence = sequence.wrapping_add(more);
                let taker = self.deliver(node, flow, ACK, sequence);
                if taker == Some(at) {
                    self.clients[flow] = Client::Open { sequence, at };
                    return;
                }
                self.found.astray += 1;
                let fleet = &self.fleets[self.at[node]];
                let place = self.place(self.world.flows[flow].buckets[fleet.affinity]);
                let is_window = (0..self.setting.balancers).any(|node| self.held[node][place].0.is_moved());
                self.found.outside += u64::from(!is_window);
                self.end(flow);
            }
        }
    }

    /// Closed on both sides; what forged SYNs left behind too.
    fn end(&mut self, flow: usize) {
        self.clients[flow] = Client::Closed;
        self.sockets.retain(|&(_, of), _| of != flow);
    }
}

/// Runs histories until `count` or, if a rule is broken, until that shows.
fn run(setting: Setting, count: usize, seed: u64, mut kernel: Option<&mut Kernel>) -> Found {
    let mut world = World::new(setting.forwarding);
    let plan = world.plan.clone();
    let mut nodes: Vec<HostTables> = (0..setting.balancers).map(|_| HostTables::from(&plan)).collect();
    let mut found = Found::default();
    for n in 0..count {
        if kernel.is_none() {
            clear(&world, &mut nodes, n);
        }
        let weights = [100, 100, 100, 0, 0];
        let held: Vec<Held> =
            world.owners(weights).iter().map(|&owner| (Bucket::settled(owner), Window::default())).collect();
        let fleet =
            Fleet { weights, gone: BTreeSet::new(), ended: BTreeSet::new(), affinity: 0, affinity_before: 0 };
        let mut history = History {
            world: &mut world,
            setting,
            random: Random((seed << 32 | n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
            nodes: &mut nodes,
            held: vec![held; setting.balancers],
            at: vec![0; setting.balancers],
            fleets: vec![fleet],
            clients: vec![Client::Closed; FLOWS],
            by: (0..FLOWS).map(|flow| flow % setting.balancers).collect(),
            sockets: HashMap::new(),
            dead: [false; INSTANCES],
            found,
            kernel: kernel.as_deref_mut(),
        };
        (0..setting.balancers).for_each(|node| history.write(node));
        (0..STEPS).for_each(|_| history.step());
        found = history.found;
        if setting.broken != Broken::Nothing && found.astray > 0 {
            break;
        }
    }
    found
}

/// Empty lines; in every other history all but one slot is another's young claim.
fn clear(world: &World, nodes: &mut [HostTables], history: usize) {
    for (tables, node) in nodes.iter_mut().zip(NODES) {
        for tuple in &world.flows {
            let hash = tuple.note_hash(node);
            let line = (hash as u32 & (NOTE_LINES - 1)) as usize;
            let epoch = (tables.now >> 36 & 0xff) << 16;
            for (slot, word) in (1u64..).zip(&tables.notes[line]) {
                let foreign = (!hash ^ slot << 40) >> 40 << 40 | epoch | 1 << 15 | 1;
                word.store(if history.is_multiple_of(2) || slot == NOTES as u64 { 0 } else { foreign });
            }
        }
    }
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn check(forwarding: Forwarding, balancers: usize) -> Found {
    let setting = Setting { forwarding, balancers, broken: Broken::Nothing };
    let count = number("GATEWAY_MODEL_HISTORIES", 10_000) as usize;
    let begin = Instant::now();
    let found = run(setting, count, number("GATEWAY_MODEL_SEED", 1), None);
    println!("{forwarding:?}, {balancers}: {count} histories in {:?}, {found:?}", begin.elapsed());
    assert!(found.closed > 0);
    found
}

#[test]
fn r12_by_one_balancer_no_flow_of_a_living_instance_goes_astray() {
    assert_eq!(check(Forwarding::L2, 1).astray, 0);
    assert_eq!(check(Forwarding::Ipip, 1).astray, 0);
}

#[test]
fn r74_by_several_balancers_none_goes_astray_outside_windows() {
    assert_eq!(check(Forwarding::L2, 3).outside, 0);
}

#[test]
fn r74_by_several_balancers_in_gue_none_goes_astray_at_all() {
    let found = check(Forwarding::Gue, 3);
    assert_eq!(found.astray, 0);
    assert!(found.second > 0, "the instances had nothing to settle");
}

#[test]
fn each_rule_is_needed() {
    for (broken, forwarding, balancers) in [
        (Broken::Flag, Forwarding::L2, 1),
        (Broken::Proof, Forwarding::L2, 1),
        (Broken::Rst, Forwarding::L2, 1),
        (Broken::Trusted, Forwarding::L2, 1),
        (Broken::Full, Forwarding::L2, 1),
        (Broken::Affinity, Forwarding::L2, 1),
        (Broken::Evidence, Forwarding::L2, 1),
        (Broken::Stale, Forwarding::L2, 1),
        (Broken::Evidence, Forwarding::Gue, 3),
        (Broken::Owners, Forwarding::Gue, 3),
        (Broken::Hops, Forwarding::Gue, 3),
    ] {
        let found = run(Setting { forwarding, balancers, broken }, 10_000, 1, None);
        println!("{broken:?}, {forwarding:?}: {found:?}");
        assert!(found.astray > 0, "{broken:?}: nothing went astray");
    }
}

#[test]
fn the_kernel_agrees_with_the_host_on_whole_histories() {
    for forwarding in [Forwarding::L2, Forwarding::Gue] {
        let mut kernel = Kernel::new(&wish(forwarding));
        let setting = Setting { forwarding, balancers: 1, broken: Broken::Nothing };
        let found = run(setting, 25, 7, Some(&mut kernel));
        assert!(found.packets > 500, "{found:?}");
    }
}
