//! Questions for names that are not ours, asked of other servers.
//!
//! Nothing is kept: the other server does that. Each question has a socket and so a port of its own, and a number, both of the
//! kernel's or a generator's choice, and is connected, so that only who was asked is heard (RFC 5452).

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use hickory_proto::op::{Edns, Message, MessageType, ResponseCode};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, UdpSocket},
    sync::Semaphore,
    time::timeout,
};

use super::counters::{Asking, Counters};
use crate::dns::answer::{Answer, Asked, MOST_UDP, Outcome, Transport};

/// For one server to answer. Clients ask again after 5 s.
const PATIENCE: Duration = Duration::from_millis(1_500);
/// For all of them.
const AT_MOST: Duration = Duration::from_millis(4_500);
/// How long a server that has not answered comes last.
const MISTRUST: Duration = Duration::from_secs(10);
/// Questions that wait for other servers at once.
const AT_ONCE: usize = 1_024;

/// Other servers.
#[derive(Debug)]
pub struct Forwarder {
    servers: Vec<Server>,
    places: Semaphore,
    begun: Instant,
}

#[derive(Debug)]
struct Server {
    address: SocketAddr,
    /// Milliseconds from `begun` on until which it comes last.
    mistrusted: AtomicU64,
}

/// Why a server has not helped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Failure {
    /// No answer in time, or no way there.
    Silent,
    /// It cannot, or will not.
    Said(ResponseCode),
}

impl Forwarder {
    /// Asks these, in this order.
    pub fn new(servers: &[SocketAddr]) -> Self {
        let server = |address: &SocketAddr| Server { address: *address, mistrusted: AtomicU64::new(0) };
        Self {
            servers: servers.iter().map(server).collect(),
            places: Semaphore::new(AT_ONCE),
            begun: Instant::now(),
        }
    }

    /// What the first server says that answers; SERVFAIL if none does.
    pub(super) async fn answer(&self, asked: Asked, transport: Transport, counters: &Counters) -> Answer {
        let kind = Some(asked.query.query_type());
        let found = match self.places.try_acquire() {
            Ok(_place) => timeout(AT_MOST, self.ask(&asked, transport, counters)).await.ok().flatten(),
            Err(_) => None,
        };
        let (message, outcome) = match found {
            Some(found) => (relayed(&asked, found), Outcome::Forwarded),
            None => {
                let mut message = asked.message(ResponseCode::ServFail);
                message.metadata.recursion_available = true;
                (message, Outcome::Failed)
            }
        };
        Answer { message, outcome, kind, limit: asked.limit }
    }

    async fn ask(&self, asked: &Asked, transport: Transport, counters: &Counters) -> Option<Message> {
        for server in self.in_order() {
            match exchange(server.address, asked, transport).await {
                Ok(message) => {
                    server.mistrusted.store(0, Ordering::Relaxed);
                    counters.count_asked(Asking::Answered);
                    return Some(message);
                }
                Err(Failure::Silent) => {
                    server.mistrusted.store(self.now() + MISTRUST.as_millis() as u64, Ordering::Relaxed);
                    counters.count_asked(Asking::NoAnswer);
                }
                Err(Failure::Said(code)) => {
                    log::debug!("{} answers {code} for {}", server.address, asked.query);
                    counters.count_asked(Asking::Failed);
                }
            }
        }
        None
    }

    /// In the file's order; who has not answered of late comes last.
    fn in_order(&self) -> impl Iterator<Item = &Server> {
        let now = self.now();
        let is_trusted = move |server: &&Server| server.mistrusted.load(Ordering::Relaxed) <= now;
        let trusted = self.servers.iter().filter(is_trusted);
        trusted.chain(self.servers.iter().filter(move |server| !is_trusted(server)))
    }

    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// Asks one server: over UDP, and over TCP where the answer is too long for that and the client came so itself.
async fn exchange(server: SocketAddr, asked: &Asked, transport: Transport) -> Result<Message, Failure> {
    let question = question(asked);
    let bytes = question.to_vec().map_err(|_| Failure::Silent)?;
    let answer =
        timeout(PATIENCE, over_udp(server, &question, &bytes)).await.map_err(|_| Failure::Silent)??;
    let answer = match answer.metadata.truncation && transport == Transport::Tcp {
        true => {
            timeout(PATIENCE, over_tcp(server, &question, &bytes)).await.map_err(|_| Failure::Silent)??
        }
        false => answer,
    };
    match answer.metadata.response_code {
        ResponseCode::NoError | ResponseCode::NXDomain => Ok(answer),
        code => Err(Failure::Said(code)),
    }
}

/// The client's, with a number of our own and our own EDNS: that is between neighbours (RFC 6891, 6.1.1).
fn question(asked: &Asked) -> Message {
    let mut message = Message::query();
    message.metadata.recursion_desired = asked.metadata.recursion_desired;
    message.metadata.checking_disabled = asked.metadata.checking_disabled;
    message.metadata.authentic_data = asked.metadata.authentic_data;
    message.queries.push(asked.query.clone());
    let mut edns = Edns::new();
    edns.set_max_payload(MOST_UDP).set_dnssec_ok(asked.dnssec_ok.unwrap_or_default());
    message.edns = Some(edns);
    message
}

async fn over_udp(server: SocketAddr, question: &Message, bytes: &[u8]) -> Result<Message, Failure> {
    let any: IpAddr =
        if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let silent = |_| Failure::Silent;
    let socket = UdpSocket::bind(SocketAddr::new(any, 0)).await.map_err(silent)?;
    socket.connect(server).await.map_err(silent)?;
    socket.send(bytes).await.map_err(silent)?;
    let mut buffer = [0; MOST_UDP as usize];
    loop {
        let length = socket.recv(&mut buffer).await.map_err(silent)?;
        // What is not the answer may be forged: the true one may still come.
        if let Some(answer) = answer_to(question, &buffer[..length]) {
            return Ok(answer);
        }
    }
}

async fn over_tcp(server: SocketAddr, question: &Message, bytes: &[u8]) -> Result<Message, Failure> {
    let silent = |_| Failure::Silent;
    let mut stream = TcpStream::connect(server).await.map_err(silent)?;
    let length = u16::try_from(bytes.len()).map_err(|_| Failure::Silent)?;
    stream.write_all(&[&length.to_be_bytes()[..], bytes].concat()).await.map_err(silent)?;
    let length = stream.read_u16().await.map_err(silent)?;
    let mut buffer = vec![0; length.into()];
    stream.read_exact(&mut buffer).await.map_err(silent)?;
    answer_to(question, &buffer).ok_or(Failure::Silent)
}

fn answer_to(question: &Message, bytes: &[u8]) -> Option<Message> {
    let answer = Message::from_vec(bytes).ok()?;
    let fits = answer.metadata.id == question.metadata.id
        && answer.metadata.message_type == MessageType::Response
        && answer.queries == question.queries;
    fits.then_some(answer)
}

/// The other server's answer as ours: number, EDNS and the question's own letters are the client's.
fn relayed(asked: &Asked, found: Message) -> Message {
    let mut message = asked.message(found.metadata.response_code);
    message.metadata.recursion_available = found.metadata.recursion_available;
    message.metadata.authentic_data = found.metadata.authentic_data;
    message.metadata.truncation = found.metadata.truncation;
    message.answers = found.answers;
    message.authorities = found.authorities;
    message.additionals = found.additionals;
    message
}

#[cfg(test)]
mod tests {
    use hickory_proto::{
        op::{Metadata, OpCode, Query},
        rr::{Name, RData, Record, RecordType, rdata::A},
    };

    use super::*;

    fn asked() -> Asked {
        let mut metadata = Metadata::new(4711, MessageType::Query, OpCode::Query);
        metadata.recursion_desired = true;
        let name = Name::from_ascii("example.com.").unwrap();
        Asked { query: Query::query(name, RecordType::A), metadata, dnssec_ok: None, limit: 512 }
    }

    /// A server that answers with what `say` makes of a question, to as many as ask.
    async fn server(say: impl Fn(Message) -> Vec<Message> + Send + 'static) -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        tokio::spawn(async move {
            let mut buffer = [0; 2048];
            while let Ok((length, peer)) = socket.recv_from(&mut buffer).await {
                for answer in say(Message::from_vec(&buffer[..length]).unwrap()) {
                    socket.send_to(&answer.to_vec().unwrap(), peer).await.unwrap();
                }
            }
        });
        address
    }

    fn good(question: &Message) -> Message {
        let mut answer = Message::new(question.metadata.id, MessageType::Response, OpCode::Query);
        answer.metadata.recursion_available = true;
        answer.queries.clone_from(&question.queries);
        let name = question.queries[0].name().clone();
        answer.answers.push(Record::from_rdata(name, 60, RData::A(A([192, 0, 2, 1].into()))));
        answer
    }

    fn coded(question: &Message, code: ResponseCode) -> Message {
        let mut answer = good(question);
        answer.answers.clear();
        answer.metadata.response_code = code;
        answer
    }

    #[tokio::test]
    async fn what_is_forged_is_passed_over_for_the_true_answer() {
        let forging = server(|question| {
            let mut other_number = good(&question);
            other_number.metadata.id ^= 1;
            let mut other_name = good(&question);
            other_name.queries[0].set_name(Name::from_ascii("example.org.").unwrap());
            let mut a_question = good(&question);
            a_question.metadata.message_type = MessageType::Query;
            vec![other_number, other_name, a_question, good(&question)]
        })
        .await;
        let counters = Counters::default();
        let answer = Forwarder::new(&[forging]).answer(asked(), Transport::Udp, &counters).await;
        assert_eq!((answer.message.metadata.id, answer.outcome), (4711, Outcome::Forwarded));
        assert_eq!(answer.message.answers.len(), 1);
        assert!(answer.message.edns.is_none() && answer.message.metadata.recursion_available);
    }

    #[tokio::test]
    async fn the_next_server_is_asked_where_one_fails_and_who_was_silent_comes_last() {
        let silent = server(|_| vec![]).await;
        let failing = server(|question| vec![coded(&question, ResponseCode::ServFail)]).await;
        let right = server(|question| vec![good(&question)]).await;
        let forwarder = Forwarder::new(&[silent, failing, right]);
        let counters = Counters::default();
        let answer = forwarder.answer(asked(), Transport::Udp, &counters).await;
        assert_eq!(answer.outcome, Outcome::Forwarded);
        let order: Vec<_> = forwarder.in_order().map(|server| server.address).collect();
        assert_eq!(order, [failing, right, silent]);
        let mut sum = super::super::counters::Sum::default();
        counters.add_to(&mut sum);
        assert_eq!(sum.asked, [1, 1, 1]);
    }

    #[tokio::test]
    async fn no_answer_anywhere_is_servfail_and_no_such_name_is_an_answer() {
        let refusing = server(|question| vec![coded(&question, ResponseCode::Refused)]).await;
        let counters = Counters::default();
        let answer = Forwarder::new(&[refusing]).answer(asked(), Transport::Udp, &counters).await;
        assert_eq!(answer.message.metadata.response_code, ResponseCode::ServFail);
        assert_eq!(answer.outcome, Outcome::Failed);
        let knowing = server(|question| vec![coded(&question, ResponseCode::NXDomain)]).await;
        let answer = Forwarder::new(&[knowing]).answer(asked(), Transport::Udp, &counters).await;
        assert_eq!(answer.message.metadata.response_code, ResponseCode::NXDomain);
        assert_eq!(answer.outcome, Outcome::Forwarded);
    }

    #[test]
    fn each_question_has_a_number_of_its_own() {
        let numbers: std::collections::HashSet<u16> =
            (0..64).map(|_| question(&asked()).metadata.id).collect();
        assert!(numbers.len() > 48, "{}", numbers.len());
    }
}
