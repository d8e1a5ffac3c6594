//! A ClientHello of our own, to see the very bytes that come back.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::Context;

use crate::host::Host;

/// Fatal alert unrecognized_name (RFC 6066, section 3) in a record of TLS 1.2, as TLS 1.3 sends it too.
pub const UNRECOGNIZED_NAME: [u8; 7] = [0x15, 0x03, 0x03, 0x00, 0x02, 0x02, 0x70];

/// For a whole conversation.
const PATIENCE: Duration = Duration::from_secs(10);

/// A ClientHello that offers TLS 1.3 and 1.2 with common suites, as one record; `name` is the SNI, put in as it is.
pub fn client_hello(name: Option<&str>) -> Vec<u8> {
    let mut extensions = Vec::new();
    if let Some(name) = name {
        let entry = [&[0][..], &sized16(name.as_bytes())].concat();
        extensions.extend(extension(0, &sized16(&entry)));
    }
    // supported_versions, supported_groups (x25519, P-256), signature_algorithms, key_share of x25519.
    extensions.extend(extension(43, &[4, 0x03, 0x04, 0x03, 0x03]));
    extensions.extend(extension(10, &sized16(&[0x00, 0x1d, 0x00, 0x17])));
    extensions.extend(extension(13, &sized16(&[0x04, 0x03, 0x08, 0x04, 0x04, 0x01, 0x05, 0x03])));
    let share = [&[0x00, 0x1d][..], &sized16(&[9; 32])].concat();
    extensions.extend(extension(51, &sized16(&share)));
    let suites = sized16(&[0x13, 0x01, 0x13, 0x02, 0xc0, 0x2b, 0xc0, 0x2f]);
    let body = [&[0x03, 0x03][..], &[7; 32], &[0], &suites, &[1, 0], &sized16(&extensions)].concat();
    let handshake = [&[1, 0][..], &sized16(&body)].concat();
    [&[0x16, 0x03, 0x01][..], &sized16(&handshake)].concat()
}

fn extension(kind: u16, content: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &sized16(content)].concat()
}

fn sized16(content: &[u8]) -> Vec<u8> {
    [&(content.len() as u16).to_be_bytes()[..], content].concat()
}

/// Connects from `host`, sends `bytes`, and has everything that comes until the other side closes.
///
/// # Errors
/// No connection, or the other side never closes; the message has what came.
pub fn exchange(host: &Host, to: SocketAddr, bytes: &[u8]) -> anyhow::Result<Vec<u8>> {
    host.enter(|| {
        let mut stream =
            TcpStream::connect_timeout(&to, PATIENCE).with_context(|| format!("no connection to {to}"))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(bytes)?;
        let mut answer = Vec::new();
        let ended = stream.read_to_end(&mut answer);
        ended
            .with_context(|| format!("{to} did not close; it sent {:?}", String::from_utf8_lossy(&answer)))?;
        Ok(answer)
    })
}
