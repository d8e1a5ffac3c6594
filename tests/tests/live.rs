//! R12: of live frames, sent as a driver sends them, none is lost while the balancer is killed, started again, upgraded and
//! downgraded.
//!
//! `GATEWAY_ROUNDS` chooses how often, `GATEWAY_PACKETS` how many frames at least.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

#[path = "packets/builder.rs"]
#[expect(dead_code, reason = "the packet tests use all of it")]
mod builder;
#[path = "../benches/forwarding/core.rs"]
mod core;
#[path = "../benches/forwarding/generator.rs"]
#[expect(dead_code, reason = "the benches use all of it")]
mod generator;
#[path = "restart/next.rs"]
mod next;
#[path = "../benches/forwarding/stage.rs"]
#[expect(dead_code, reason = "the benches use all of it")]
mod stage;

use std::{
    env,
    net::IpAddr,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use builder::{ACK, Packet};
use generator::{Generator, Stream};
use lab::{
    gateway::{Gateway, gateway},
    host::Host,
    lab::Lab,
    wait,
};
use stage::{Source, mac_text, quiet_host};

const FLOWS: u32 = 64 * 1024;
/// At a time, and the pause behind them: the machine has other work too.
const FRAMES: u32 = 16 * 1024;
const PAUSE: Duration = Duration::from_millis(2);

fn number(variable: &str, default: u64) -> u64 {
    env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn balance(lab: &Lab, host: &Host, config: &Path, object: Option<&Path>) -> Gateway {
    let mut command = gateway("balance").unwrap();
    command.arg("--config").arg(config);
    if let Some(object) = object {
        command.arg("--object").arg(object);
    }
    Gateway::start(host, command, lab.folder()).unwrap()
}

#[test]
fn r12_no_frame_is_lost_while_the_balancer_is_killed_started_again_and_upgraded() {
    let lab = Lab::raise(1).unwrap();
    let (source, host) = (Source::new().unwrap(), quiet_host("balancer").unwrap());
    let pair = source.pair(&host, 0).unwrap();
    // Whatever the instance gets comes back to the generator.
    host.ip([
        format!("address add 10.0.0.2/24 dev {}", pair.far),
        format!(
            "neighbour add 10.0.0.11 lladdr {} dev {} nud permanent",
            mac_text(builder::CLIENT),
            pair.far
        ),
    ])
    .unwrap();
    let mut file = lab.config();
    file.balancer.interface.clone_from(&pair.far);
    for addresses in
        [&mut file.vip.private, &mut file.vip.public, &mut file.instance[0].dip, &mut file.balancer.address]
    {
        addresses.retain(IpAddr::is_ipv4);
    }
    file.instance[0].admin_state = "up".into();
    let config = lab.write(&file).unwrap();
    let mut generator = Generator::load().unwrap();
    // It counts neither the balancer's own ARP nor its probes, and tells whose flow goes astray.
    generator.attach("audit", &source.0, &pair.near).unwrap();
    let frame = Packet::tcp(50_000, 443, ACK, 1).data(&[0; 6]).ip("10.8.7.7", "10.0.0.5").ethernet(&[]);
    let mut stream = Stream::new(&frame, FLOWS, &pair);
    let next = next::version(lab.folder());
    let mut balancer = Some(balance(&lab, &host, &config, None));
    let over = AtomicBool::new(false);
    let (rounds, packets) = (number("GATEWAY_ROUNDS", 3), number("GATEWAY_PACKETS", 200_000));
    // What came before it was ready is none of this.
    let before = generator.audit().unwrap().packets;
    let sent = thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let mut sent = 0;
            while !over.load(Ordering::Relaxed) || sent < packets {
                sent += generator.send(&mut stream, &source.0, FRAMES).unwrap().frames;
                thread::sleep(PAUSE);
            }
            sent
        });
        for round in 0..rounds {
            for object in [Some(next.as_path()), None] {
                let last = balancer.take().unwrap();
                if round % 2 == 0 { last.kill() } else { last.leave() }.unwrap();
                balancer = Some(balance(&lab, &host, &config, object));
            }
        }
        over.store(true, Ordering::Relaxed);
        sender.join().unwrap()
    });
    let arrived = || generator.audit().unwrap().packets - before;
    wait::eventually(Duration::from_secs(10), || arrived() >= sent);
    println!(
        "{rounds} rounds of an upgrade and a downgrade, {sent} frames, {} lost",
        sent.saturating_sub(arrived())
    );
    let drops = stage::counter(&host, &pair.far, "drops").unwrap();
    let balancer = balancer.unwrap();
    assert_eq!(generator.audit().unwrap().astray, 0);
    assert_eq!(arrived(), sent, "veth dropped {drops} for want of room\n{}", balancer.log());
    balancer.stop().unwrap();
}
