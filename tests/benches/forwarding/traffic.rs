//! A server and clients of TCP that do as little as can be.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use lab::host::Host;

use crate::core;

/// More than there are clients at a time.
const SERVERS: usize = 24;
const CLIENTS: usize = 16;
const CHUNK: usize = 128 * 1024;
/// Bytes of a request and of its answer, where round trips are measured.
const MESSAGE: usize = 64;
/// For any one step.
const PATIENCE: Duration = Duration::from_secs(10);

/// The first byte of a connection says what its client wants.
const CLOSE: u8 = b'c';
const ECHO: u8 = b'e';
const TAKE: u8 = b't';
const GIVE: u8 = b'g';

/// Serves in the host's namespace until the process ends.
pub(crate) fn serve(host: &Host, at: SocketAddr) -> anyhow::Result<()> {
    let listener = host.enter(|| TcpListener::bind(at))?;
    for _ in 0..SERVERS {
        let listener = listener.try_clone()?;
        thread::spawn(move || {
            core::take().unwrap();
            // A client that goes away is its own business.
            listener.incoming().flatten().for_each(|stream| drop(answer(stream)));
        });
    }
    Ok(())
}

fn answer(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut wish = [0; 9];
    stream.read_exact(&mut wish[..1])?;
    match wish[0] {
        CLOSE => stream.write_all(&[CLOSE]),
        ECHO => {
            let mut message = [0; MESSAGE];
            loop {
                stream.read_exact(&mut message)?;
                stream.write_all(&message)?;
            }
        }
        TAKE => {
            let mut chunk = vec![0; CHUNK];
            while stream.read(&mut chunk)? > 0 {}
            stream.write_all(&[TAKE])
        }
        _ => {
            stream.read_exact(&mut wish[1..])?;
            let mut left = u64::from_be_bytes(wish[1..].try_into().unwrap());
            let chunk = vec![0; CHUNK];
            while left > 0 {
                left -= stream.write(&chunk[..chunk.len().min(left as usize)])? as u64;
            }
            Ok(())
        }
    }
}

fn connect(to: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&to, PATIENCE)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Runs on the one core, in the host's namespace.
fn on<T: Send>(host: &Host, work: impl FnOnce() -> io::Result<T> + Send) -> anyhow::Result<T> {
    host.enter(|| {
        core::take()?;
        Ok(work()?)
    })
}

/// Connections a second: made, a byte there and a byte back, closed by the server; several at a time.
pub(crate) fn connections(host: &Host, to: SocketAddr, time: Duration) -> anyhow::Result<f64> {
    let one = || -> io::Result<()> {
        let mut stream = connect(to)?;
        stream.write_all(&[CLOSE])?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        if answer == [CLOSE] { Ok(()) } else { Err(io::Error::other(format!("answer {answer:?}"))) }
    };
    on(host, || {
        let began = Instant::now();
        let client = || -> io::Result<u32> {
            let mut made = 0;
            while began.elapsed() < time {
                one()?;
                made += 1;
            }
            Ok(made)
        };
        // Threads inherit namespace, core and priority.
        let made = thread::scope(|scope| {
            let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(client)).collect();
            clients.into_iter().map(|client| client.join().unwrap()).sum::<io::Result<u32>>()
        })?;
        Ok(f64::from(made) / began.elapsed().as_secs_f64())
    })
}

/// Microseconds of round trips on one connection.
pub(crate) fn round_trips(host: &Host, to: SocketAddr, count: usize) -> anyhow::Result<Vec<f64>> {
    on(host, || {
        let mut stream = connect(to)?;
        stream.write_all(&[ECHO])?;
        let mut message = [0; MESSAGE];
        let mut trip = || {
            let began = Instant::now();
            stream.write_all(&message)?;
            stream.read_exact(&mut message)?;
            Ok(began.elapsed().as_secs_f64() * 1e6)
        };
        (0..count).map(|_| trip()).collect()
    })
}

/// Gigabits a second of so many bytes from the client, until the server has all of them.
pub(crate) fn upload(host: &Host, to: SocketAddr, bytes: u64) -> anyhow::Result<f64> {
    on(host, || {
        let mut stream = connect(to)?;
        stream.write_all(&[TAKE])?;
        let began = Instant::now();
        let chunk = vec![0; CHUNK];
        let mut left = bytes;
        while left > 0 {
            left -= stream.write(&chunk[..chunk.len().min(left as usize)])? as u64;
        }
        stream.shutdown(Shutdown::Write)?;
        stream.read_exact(&mut [0])?;
        Ok(gigabits(bytes, began))
    })
}

/// The same from the server.
pub(crate) fn download(host: &Host, to: SocketAddr, bytes: u64) -> anyhow::Result<f64> {
    on(host, || {
        let mut stream = connect(to)?;
        let began = Instant::now();
        stream.write_all(&[&[GIVE][..], &bytes.to_be_bytes()].concat())?;
        let mut chunk = vec![0; CHUNK];
        let mut got = 0;
        while got < bytes {
            match stream.read(&mut chunk)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                more => got += more as u64,
            }
        }
        Ok(gigabits(bytes, began))
    })
}

fn gigabits(bytes: u64, began: Instant) -> f64 {
    bytes as f64 * 8.0 / began.elapsed().as_secs_f64() / 1e9
}
