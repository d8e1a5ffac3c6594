use std::{fs, io::Read, net::TcpStream, os::unix::fs::PermissionsExt};

use super::*;
use crate::proxy::{bind::Address, tls::Tickets};

fn offered(count: usize) -> (Offered, fs::File) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = Address { door: Door::Management, socket: listener.local_addr().unwrap() };
    let lock = tempfile::tempfile().unwrap();
    let listeners = (0..count).map(|_| (address, listener.try_clone().unwrap())).collect();
    let tickets = Tickets::new().unwrap().secrets();
    let offered =
        Offered { lock: lock.try_clone().unwrap().into(), listeners, tickets, drain: Drain::default() };
    (offered, lock)
}

#[tokio::test]
async fn more_listeners_than_fit_into_a_message_are_handed_over_and_what_waits_with_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("proxy.sock");
    assert!(ask(&path).unwrap().is_none(), "nobody is there");
    let successors = Successors::listen(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let (offered, _lock) = offered(600);
    let address = offered.listeners[0].0;
    let mut waiting = TcpStream::connect(address.socket).unwrap();
    let successor = {
        let path = path.clone();
        std::thread::spawn(move || {
            let mut predecessor = ask(&path).unwrap().unwrap();
            let listeners = std::mem::take(&mut predecessor.listeners);
            predecessor.serving().unwrap();
            listeners
        })
    };
    let gone = successors.next().await.offer(offered).await.unwrap().unwrap();
    assert_eq!(gone.pid, std::process::id());
    gone.left().unwrap();
    let listeners = successor.join().unwrap();
    assert!(listeners.len() == 600 && listeners.iter().all(|one| one.address == address));
    drop(listeners[0].socket.accept().unwrap());
    assert_eq!(waiting.read(&mut [0]).unwrap(), 0, "served by the successor, not reset");
    drop(successors);
    assert!(!path.exists());
}

#[tokio::test]
async fn a_successor_that_dies_is_told_of_and_one_of_another_release_gets_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("proxy.sock");
    let successors = Successors::listen(&path).unwrap();
    let dies = {
        let path = path.clone();
        std::thread::spawn(move || drop(ask(&path).unwrap().unwrap()))
    };
    let error = successors.next().await.offer(offered(3).0).await.unwrap().unwrap_err();
    assert!(matches!(error, Error::Gone(_)), "{error}");
    dies.join().unwrap();
    let (one, other) = std::os::unix::net::UnixDatagram::pair().unwrap();
    say(&other.into(), &Message::Hello { version: VERSION + 1, pid: 1 }, &[]).unwrap();
    let told = Asked::from(OwnedFd::from(one)).offer(offered(3).0);
    assert!(matches!(told.await.unwrap(), Err(Error::Strange)));
}

#[tokio::test]
async fn the_name_is_the_successors_once_it_listens_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("proxy.sock");
    let first = Successors::listen(&path).unwrap();
    let second = Successors::listen(&path).unwrap();
    drop(first);
    assert!(path.exists());
    drop(second);
    assert!(!path.exists() && fs::read_dir(folder.path()).unwrap().next().is_none());
}
