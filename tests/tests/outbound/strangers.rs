//! R21: the public VIP's other door lets answers in, and nothing else.

use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use lab::{
    address::{OUTSIDE, PUBLIC, Station},
    control,
    lab::Lab,
};

use crate::support::{PATIENCE, has_ports};

#[test]
fn r21_who_was_not_spoken_to_reaches_no_port_of_an_outbound_flow() {
    let lab = Lab::raise(1).unwrap();
    let config = lab.config().snat(None);
    let path = lab.write(&config).unwrap();
    let _running = lab.start(&config).unwrap();
    let stranger = Station { number: OUTSIDE.number + 1, ..OUTSIDE };
    lab.hosts.outside.ip([format!("address add {}/24 dev eth0", stranger.v4())]).unwrap();
    has_ports(&lab, &path, "gw-1", &PUBLIC.to_string(), 1024);
    let (own, other) = lab.hosts.outside.enter(|| {
        let socket = |at: Station| UdpSocket::bind((at.v4(), 7000)).unwrap();
        (socket(OUTSIDE), socket(stranger))
    });
    let [dip, _] = Station::instance(1).addresses();
    let inside = lab.instance("gw-1").unwrap().enter(|| UdpSocket::bind((dip, 0)).unwrap());
    for socket in [&own, &inside] {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
    }
    inside.send_to(b"question", (OUTSIDE.v4(), 7000)).unwrap();
    let mut buffer = [0; 64];
    let (_, door) = own.recv_from(&mut buffer).unwrap();
    assert_eq!(door.ip(), PUBLIC);
    // First those that must not get in, then the one that may: what comes first is what got in.
    other.send_to(b"stranger", door).unwrap();
    let elsewhere = SocketAddr::new(door.ip(), door.port() ^ 1);
    own.send_to(b"other port", elsewhere).unwrap();
    let syn = lab.hosts.outside.enter(|| TcpStream::connect_timeout(&door, Duration::from_secs(2)));
    assert!(syn.is_err(), "a SYN never passes");
    own.send_to(b"answer", door).unwrap();
    let (length, from) = inside.recv_from(&mut buffer).unwrap();
    assert_eq!((&buffer[..length], from), (&b"answer"[..], SocketAddr::new(OUTSIDE.v4().into(), 7000)));
}

#[test]
fn r20_the_public_vip_answers_nothing_else_while_flows_leave_by_it() {
    let lab = Lab::raise(1).unwrap();
    let config = lab.config().snat(None);
    let path = lab.write(&config).unwrap();
    let running = lab.start(&config).unwrap();
    has_ports(&lab, &path, "gw-1", &PUBLIC.to_string(), 1024);
    let scan = lab::scan::ports(&lab.hosts.outside, OUTSIDE, PUBLIC.into(), 3443).unwrap();
    assert_eq!((scan.open, scan.refused), ([3443].into(), [].into()), "{}", running.balancer.log());
    assert_eq!(lab::knock::knock(&lab.hosts.outside, OUTSIDE, PUBLIC.into(), 3443).unwrap(), []);
    let drops = control::json(&lab.hosts.balancer, "drops", &path).unwrap();
    assert!(drops.to_string().contains("snat-syn"), "{drops}");
}
