//! Every timer and every bound of the proxy, each with its reason. A struct, so that tests can shrink them.

use std::time::Duration;

use crate::model::ProxyLimits;

/// How long each phase may take and how large each input may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// From accept (after the handshake: from its end) to the first byte of the first request. Browsers open spare connections
    /// ahead of need and use them within seconds; a silent one costs a descriptor.
    pub first_byte: Duration,
    /// From accept to the end of the TLS handshake: two round trips and a signature, generous for a slow mobile link.
    pub tls_handshake: Duration,
    /// From accept to the end of the PROXY protocol's header, which the proxy before us sends with its first segment.
    pub proxy_header: Duration,
    /// From the first byte of a request's head to its last, however the bytes trickle: the whole head fits one flight.
    pub head: Duration,
    /// Between two requests of a connection. Above the 60 s after which common clients drop idle connections themselves, so
    /// that it is seldom us who closes while a request is on its way.
    pub idle: Duration,
    /// Between two requests until nothing is held for a connection but what it is: what is then made anew costs a
    /// fraction of a request.
    pub rest: Duration,
    /// Without any byte of a request body.
    pub body_stall: Duration,
    /// Without the client taking any byte of an answer.
    pub write_stall: Duration,
    /// One TCP (and TLS) connect to an upstream: a lost SYN is repeated after 1 s and again 2 s later.
    pub upstream_connect: Duration,
    /// From the last byte of the request to the head of the answer.
    pub upstream_answer: Duration,
    /// Without any byte of an answer's body, and without the upstream taking any byte of a request.
    pub upstream_stall: Duration,
    /// How long an upstream connection is kept unused: below the 60 to 75 s after which common servers close it, which
    /// makes the race between our request and their close rare.
    pub upstream_idle: Duration,
    /// Without any byte either way on a connection that is passed through: what is within may be long polling, or idle between
    /// two requests of a pool.
    pub tunnel_idle: Duration,
    /// The same once one side has ended: the other has only to finish.
    pub tunnel_half_closed: Duration,
    /// From one question whether an HTTP/2 connection with requests in flight still lives to the next, and for its answer: behind
    /// it wait many.
    pub upstream_ping: Duration,
    /// How long a connection that we close is still read from, so that unread bytes do not turn our FIN into a reset that
    /// destroys the answer on its way (RFC 9112, section 9.6).
    pub linger: Duration,
    /// What requests get once the connections of a drain shall end, and kept connections once the proxy leaves: a client that is
    /// busy asks again within it, and its answer says that it is the last.
    pub moment: Duration,
    /// From SIGTERM until requests in flight are cut.
    pub shutdown: Duration,
    /// What is held of a body in each direction, for a client or an upstream that is slow: they cost this much each. An answer's head
    /// has to fit as well. Over HTTP/2: what is held of all
    /// answers before they wait.
    pub buffer_bytes: usize,
    /// A request's head, leading empty line included.
    pub head_bytes: usize,
    /// The request target: RFC 9110, section 4.1 asks for 8,000 at least.
    pub target_bytes: usize,
    /// Fields of a head.
    pub fields: usize,
    /// Requests that a client may have in flight on an HTTP/2 connection: what common servers allow, and more than browsers use.
    pub streams: u32,
    /// What a client may send of one body over HTTP/2 before an upstream has taken it …
    pub stream_window: u32,
    /// … and of all bodies of its connection: one that an upstream does not take must leave room for another.
    pub connection_window: u32,
    /// Requests of an HTTP/2 connection, more than [`Self::streams`], that were reset and on which work has not ended yet; who makes
    /// more is sent away.
    pub reset_streams: usize,
    /// Chunk extensions of a body in all: nobody uses them but to hide things in.
    pub chunk_extension_bytes: usize,
    /// Trailer section of a body.
    pub trailer_bytes: usize,
    /// Connections of a worker (one worker a core); more are closed at once. See [`Limits::fit`].
    pub connections: usize,
    /// Connections of a worker from one IPv4 address or one IPv6 /64: large enough for a company behind one NAT address.
    pub connections_per_source: usize,
    /// Requests of a worker in flight to upstreams; more are turned away.
    pub requests: usize,
    /// How long what a worker has to do may wait for it; once it does for a while, requests are turned away ([`super::overload`]).
    /// Well above what a burst or a neighbour on the same core costs.
    pub queue_wait: Duration,
    /// Unused connections kept to one upstream by a worker.
    pub upstream_idle_connections: usize,
    /// Connections of HTTP/2 to one upstream by a worker …
    pub upstream_connections: usize,
    /// … and requests on each of them, if the upstream allows as many.
    pub upstream_streams: usize,
}

/// Descriptors that are no client's: listeners, kept connections, files, epoll.
const RESERVED: u64 = 256;

impl Limits {
    /// As the file says, for each of so many workers.
    pub fn of(file: &ProxyLimits, workers: usize) -> Self {
        let default = Self::default();
        let share = |all: Option<u32>, default: usize| {
            all.map_or(default, |all| (all as usize).div_ceil(workers.max(1)))
        };
        let head_bytes = file.head_bytes as usize;
        Self {
            first_byte: file.first_byte,
            tls_handshake: file.handshake,
            head: file.head,
            idle: file.idle,
            body_stall: file.request_body,
            write_stall: file.response,
            upstream_connect: file.upstream_connect,
            upstream_answer: file.upstream_answer,
            upstream_stall: file.upstream_body,
            upstream_idle: file.upstream_idle,
            buffer_bytes: default.buffer_bytes.max(2 * head_bytes),
            head_bytes,
            target_bytes: file.target_bytes as usize,
            connections: share(file.connections, default.connections),
            connections_per_source: share(file.connections_per_source, default.connections_per_source),
            queue_wait: file.queue_wait,
            requests: share(file.requests, default.requests),
            ..default
        }
    }

    /// Lowers `connections` to what so many descriptors allow. A connection in use takes two, its upstream's included: without
    /// them, accepted clients would get 502 and others would wait unaccepted, instead of being closed at once.
    pub fn fit(&mut self, descriptors: u64, workers: usize) {
        let share = descriptors.saturating_sub(RESERVED) / 2 / (workers.max(1) as u64);
        self.connections = self.connections.min(usize::try_from(share).unwrap_or(usize::MAX)).max(1);
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            first_byte: Duration::from_secs(20),
            tls_handshake: Duration::from_secs(10),
            proxy_header: Duration::from_secs(5),
            head: Duration::from_secs(10),
            idle: Duration::from_secs(75),
            rest: Duration::from_millis(100),
            body_stall: Duration::from_secs(30),
            write_stall: Duration::from_secs(30),
            upstream_connect: Duration::from_secs(5),
            upstream_answer: Duration::from_secs(60),
            upstream_stall: Duration::from_secs(60),
            upstream_idle: Duration::from_secs(30),
            tunnel_idle: Duration::from_secs(600),
            tunnel_half_closed: Duration::from_secs(60),
            upstream_ping: Duration::from_secs(10),
            linger: Duration::from_secs(1),
            moment: Duration::from_secs(2),
            shutdown: Duration::from_secs(10),
            buffer_bytes: 64 * 1024,
            head_bytes: 32 * 1024,
            target_bytes: 8 * 1024,
            fields: 100,
            streams: 100,
            stream_window: 256 * 1024,
            connection_window: 512 * 1024,
            reset_streams: 50,
            chunk_extension_bytes: 4 * 1024,
            trailer_bytes: 8 * 1024,
            connections: 32_768,
            connections_per_source: 4_096,
            requests: usize::MAX,
            queue_wait: Duration::from_millis(100),
            upstream_idle_connections: 256,
            upstream_connections: 16,
            upstream_streams: 100,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_says_nothing_leaves_everything_as_it_is() {
        assert_eq!(Limits::of(&ProxyLimits::default(), 4), Limits::default());
    }

    #[test]
    fn numbers_are_shared_out_and_a_whole_head_fits_its_buffer() {
        let file = ProxyLimits {
            connections: Some(1_000),
            connections_per_source: Some(1),
            head_bytes: 262_144,
            ..ProxyLimits::default()
        };
        let limits = Limits::of(&file, 3);
        assert_eq!((limits.connections, limits.connections_per_source), (334, 1));
        assert!(limits.buffer_bytes > limits.head_bytes);
    }

    #[test]
    fn connections_fit_the_descriptors() {
        for (descriptors, workers, connections) in
            [(1024, 2, 192), (u64::MAX, 1, 32_768), (524_288, 2, 32_768), (524_288, 64, 4_094), (100, 4, 1)]
        {
            let mut limits = Limits::default();
            limits.fit(descriptors, workers);
            assert_eq!(limits.connections, connections, "{descriptors} descriptors, {workers} workers");
        }
    }
}
