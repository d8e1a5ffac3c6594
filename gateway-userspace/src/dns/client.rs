//! A question to one server, over one transport: what is heard is told as it is. Blocks.

use std::{
    io::{self, Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket},
    time::{Duration, Instant},
};

use hickory_proto::{
    op::{Message, MessageType, Query},
    rr::{Name, RecordType},
};

use super::answer::{MOST_UDP, Transport};

/// For an answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Not in time, or no way there.
    #[error("no answer: {0}")]
    NoAnswer(#[from] io::Error),
    /// This name cannot be asked for.
    #[error("{0} cannot be asked for")]
    Name(String),
    /// Something else came.
    #[error("an answer that cannot be understood")]
    Broken,
}

/// Asks `server` for records of a name, with recursion.
///
/// # Errors
/// No answer, or none that can be understood.
pub fn ask(
    server: SocketAddr,
    name: &str,
    kind: RecordType,
    transport: Transport,
) -> Result<Message, Failure> {
    let mut asked = Name::from_ascii(name).map_err(|_| Failure::Name(name.to_owned()))?;
    asked.set_fqdn(true);
    let mut question = Message::query();
    question.metadata.recursion_desired = true;
    question.queries.push(Query::query(asked, kind));
    let bytes = question.to_vec().map_err(|_| Failure::Broken)?;
    match transport {
        Transport::Udp => over_udp(server, &question, &bytes),
        Transport::Tcp => over_tcp(server, &question, &bytes),
    }
}

fn over_udp(server: SocketAddr, question: &Message, bytes: &[u8]) -> Result<Message, Failure> {
    let any: IpAddr =
        if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0))?;
    socket.connect(server)?;
    socket.send(bytes)?;
    let end = Instant::now() + PATIENCE;
    let mut buffer = [0; MOST_UDP as usize];
    loop {
        let left = end.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        socket.set_read_timeout(Some(left))?;
        let length = socket.recv(&mut buffer)?;
        // Late answers to other questions are passed over.
        match Message::from_vec(&buffer[..length]) {
            Ok(answer) if is_answer(&answer, question) => return Ok(answer),
            _ if Instant::now() >= end => return Err(Failure::Broken),
            _ => {}
        }
    }
}

fn over_tcp(server: SocketAddr, question: &Message, bytes: &[u8]) -> Result<Message, Failure> {
    let mut stream = TcpStream::connect_timeout(&server, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let length = u16::try_from(bytes.len()).map_err(|_| Failure::Broken)?;
    stream.write_all(&[&length.to_be_bytes()[..], bytes].concat())?;
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut buffer = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut buffer)?;
    let answer = Message::from_vec(&buffer).map_err(|_| Failure::Broken)?;
    if is_answer(&answer, question) { Ok(answer) } else { Err(Failure::Broken) }
}

/// Some servers leave the question out of a refusal.
fn is_answer(answer: &Message, question: &Message) -> bool {
    answer.metadata.id == question.metadata.id
        && answer.metadata.message_type == MessageType::Response
        && (answer.queries == question.queries || answer.queries.is_empty())
}
