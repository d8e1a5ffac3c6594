//! What clients may make of it.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream, UdpSocket},
    time::{Duration, Instant},
};

use lab::{
    address::PRIVATE,
    lab::{Lab, Running},
};

const VIP: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(PRIVATE), 53);
/// For an answer that has to come.
const PATIENCE: Duration = Duration::from_secs(5);
/// For one that must not.
const SILENCE: Duration = Duration::from_millis(300);

fn up(rate: Option<u32>) -> (Lab, Running) {
    let lab = Lab::raise(1).unwrap();
    let mut config = lab.config().answering_dns();
    config.dns.as_mut().unwrap().rate = rate;
    let running = lab.start(&config).unwrap();
    (lab, running)
}

/// A question for the A record of a name, with this number.
fn question(number: u16, name: &str) -> Vec<u8> {
    let mut bytes = number.to_be_bytes().to_vec();
    bytes.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.') {
        bytes.push(u8::try_from(label.len()).unwrap());
        bytes.extend(label.bytes());
    }
    bytes.extend([0, 0, 1, 0, 1]);
    bytes
}

fn framed(message: &[u8]) -> Vec<u8> {
    [&u16::try_from(message.len()).unwrap().to_be_bytes(), message].concat()
}

fn read_message(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut message = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut message)?;
    Ok(message)
}

/// Number and code of an answer.
fn head(message: &[u8]) -> (u16, u8) {
    (u16::from_be_bytes([message[0], message[1]]), message[3] & 15)
}

#[test]
fn r52_many_questions_of_one_connection_are_answered_however_they_are_cut() {
    let (lab, _running) = up(None);
    lab.hosts.client.enter(|| {
        let mut stream = TcpStream::connect(VIP).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let all: Vec<u8> = (0..200).flat_map(|n| framed(&question(n, "contoso.azure-api.net"))).collect();
        for piece in all.chunks(97) {
            stream.write_all(piece).unwrap();
        }
        let mut numbers: Vec<_> = (0..200).map(|_| head(&read_message(&mut stream).unwrap())).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (0..200).map(|n| (n, 0)).collect::<Vec<_>>());
        // A message that is too long ends the connection; so does one that never ends, in its time.
        stream.write_all(&[0xff, 0xff, 0, 0]).unwrap();
        assert_eq!(stream.read(&mut [0; 16]).unwrap_or(0), 0);
    });
}

#[test]
fn r52_broken_messages_are_told_so_and_none_is_answered_with_more_than_it_has() {
    let (lab, running) = up(None);
    lab.hosts.client.enter(|| {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        socket.connect(VIP).unwrap();
        let ask = |message: &[u8], patience| {
            socket.set_read_timeout(Some(patience)).unwrap();
            socket.send(message).unwrap();
            let mut answer = [0; 1500];
            socket.recv(&mut answer).ok().map(|length| answer[..length].to_vec())
        };
        let good = question(7, "contoso.azure-api.net");
        assert_eq!(head(&ask(&good, PATIENCE).unwrap()), (7, 0));
        // Cut anywhere behind its head.
        for length in [12, 20, good.len() - 1] {
            let answer = ask(&good[..length], PATIENCE).unwrap();
            assert_eq!(head(&answer), (7, 1), "{length} bytes");
            assert!(answer.len() <= length);
        }
        let mut circle = good[..12].to_vec();
        circle.extend([0xc0, 12, 0, 1, 0, 1]);
        assert_eq!(head(&ask(&circle, PATIENCE).unwrap()), (7, 1));
        // Neither a head nor a question: nobody is answered.
        let mut answer = good.clone();
        answer[2] |= 0x80;
        for silent in [&good[..11], &answer[..], &[]] {
            assert_eq!(ask(silent, SILENCE), None, "{silent:?}");
        }
        for n in 0..2_000_u16 {
            let mut noise = good.clone();
            let (at, byte) = (usize::from(n) * 7 % noise.len(), (n / 5) as u8);
            noise[at] ^= byte;
            socket.send(&noise).unwrap();
        }
        assert!(lab::wait::eventually(PATIENCE, || {
            ask(&question(4711, "contoso.azure-api.net"), SILENCE)
                .is_some_and(|answer| head(&answer) == (4711, 0))
        }));
    });
    let log = running.proxies["gw-1"].log();
    assert!(!log.contains("panicked"), "{log}");
}

#[test]
fn r52_a_source_gets_its_rate_and_no_more() {
    let (lab, _running) = up(Some(50));
    lab.hosts.client.enter(|| {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        socket.connect(VIP).unwrap();
        socket.set_read_timeout(Some(SILENCE)).unwrap();
        let begun = Instant::now();
        for n in 0..500 {
            socket.send(&question(n, "contoso.azure-api.net")).unwrap();
        }
        let mut answered = 0;
        while socket.recv(&mut [0; 1500]).is_ok() {
            answered += 1;
        }
        // A burst of one second, and what the time since has brought.
        let most = 50 + 50 * (begun.elapsed().as_secs() + 1);
        assert!((50..=most).contains(&answered), "{answered} of 500");
        // Over TCP, whose source is true, it waits.
        let mut stream = TcpStream::connect(VIP).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let begun = Instant::now();
        let all: Vec<u8> = (0..60).flat_map(|n| framed(&question(n, "contoso.azure-api.net"))).collect();
        stream.write_all(&all).unwrap();
        for _ in 0..60 {
            assert_eq!(head(&read_message(&mut stream).unwrap()).1, 0);
        }
        assert!(begun.elapsed() >= Duration::from_millis(150), "{:?}", begun.elapsed());
    });
}
