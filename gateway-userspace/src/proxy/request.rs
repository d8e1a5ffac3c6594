//! One request: who is asked, what becomes of it, and the answer.

use std::{
    net::{IpAddr, SocketAddr},
    pin::pin,
    sync::Arc,
};

use http::{
    HeaderValue, StatusCode, Uri, Version,
    header::{CONTENT_LENGTH, TRANSFER_ENCODING},
    uri::PathAndQuery,
};
use hyper::body::Body;

use super::{
    answers,
    body::{ClientBody, RequestBody, ResponseBody, UpstreamBody},
    counters::Outcome,
    decide::Asking,
    headers::{self, Client},
    host::{self, Asked},
    message::{Message, Request, RequestHead, Response},
    observe::{
        self, Notes, ObservedBody,
        trace::{self, X_REQUEST_ID},
    },
    probe,
    received::Received,
    routes::{Decision, Door, Rule},
    state::State,
    tls::{Identity, Served},
    tunnel::Tunnel,
    unknown::Unknown,
    upstream::{Fault, exchange},
    websocket,
    worker::Worker,
};

/// The client of a connection.
pub(super) struct Asker {
    pub(super) worker: Arc<Worker>,
    pub(super) door: Door,
    /// The VIP, or in mode `none` the host's own address.
    pub(super) at: SocketAddr,
    pub(super) peer: IpAddr,
    /// `peer` as upstreams are told of it.
    pub(super) address: HeaderValue,
    /// What it was shown, where there is TLS.
    pub(super) shown: Option<Shown>,
}

/// What a client of TLS was shown, and for which name.
pub(super) struct Shown {
    pub(super) served: Arc<Served>,
    /// As [`host::normalise`] has it.
    pub(super) sni: Option<String>,
    /// What it has shown itself.
    pub(super) client: Option<Identity>,
}

impl Asker {
    /// Before TLS, if there is any.
    pub(super) fn new(worker: Arc<Worker>, door: Door, at: SocketAddr, peer: IpAddr) -> Self {
        let address = HeaderValue::from_str(&peer.to_string()).unwrap_or(HeaderValue::from_static("unknown"));
        Self { worker, door, at, peer, address, shown: None }
    }

    /// What is not taken of `request` goes with it.
    pub(super) async fn answer(&self, request: &mut Request<Received>) -> Response<ObservedBody> {
        let state = self.worker.current.load_full();
        let mut seen = self.begin(&state, &request.head);
        let answer = pin!(self.answer_and_note(&state, request, seen.notes())).await;
        seen.answered(answer)
    }

    /// What balancers ask all the time is no news for the log.
    fn begin(&self, state: &State, head: &RequestHead) -> observe::Request {
        let log = state.access_log.as_ref().filter(|_| self.door != Door::Probe);
        observe::Request::begin(&self.worker, log, head, self.peer)
    }

    async fn answer_and_note(
        &self,
        state: &State,
        request: &mut Request<Received>,
        notes: &mut Notes,
    ) -> Response<ResponseBody> {
        let RequestHead { method, uri, headers, .. } = &request.head;
        if self.door == Door::Probe {
            if state.routes.probed(method, uri) {
                return notes.with(Outcome::Status, answers::dated(answers::empty(StatusCode::OK)));
            }
            return match Box::pin(probe::answer(state, &self.worker.port, self.peer, request)).await {
                Some(answer) => notes.with(Outcome::Observed, answer),
                None => notes.with(Outcome::NotFound, answers::last(StatusCode::NOT_FOUND)),
            };
        }
        let host = host::written(uri, headers);
        let host = host.unwrap_or(HeaderValue::from_static(""));
        let Ok(asked) = host::parse(host.as_bytes()) else {
            return notes.with(Outcome::Refused, answers::last(StatusCode::BAD_REQUEST));
        };
        let decision = match &asked {
            Asked::Name(name) => state.rules().site(&self.asking(), name).map(|(site, door)| {
                notes.host = Some(Arc::clone(&site.traffic));
                site.decide(door, name, method, uri)
            }),
            _ => None,
        };
        match decision {
            None => {
                let unknown = Unknown { asked: &asked, peer: self.peer, over: "HTTP", port: self.at.port() };
                self.worker.unknown.note(unknown, &state.routes);
                notes.with(Outcome::Misdirected, answers::misdirected())
            }
            Some(Decision::Status) => notes.with(Outcome::Status, answers::empty(StatusCode::OK)),
            Some(Decision::Redirect(location)) => {
                notes.with(Outcome::Redirected, answers::redirect(&location))
            }
            Some(Decision::NotFound) => notes.with(Outcome::NotFound, answers::empty(StatusCode::NOT_FOUND)),
            Some(Decision::Move(moved, rest)) => notes.with(Outcome::Redirected, moved.answer(&rest)),
            Some(Decision::Ambiguous) => {
                notes.with(Outcome::Refused, answers::empty(StatusCode::BAD_REQUEST))
            }
            Some(Decision::Forward(rule, path)) => {
                pin!(self.forward(state, &rule, path, host, request, notes)).await
            }
        }
    }

    /// The answer to what is not let in.
    pub(super) fn refuse(&self, head: &RequestHead, status: StatusCode) -> Response<ObservedBody> {
        let mut seen = self.begin(&self.worker.current.load(), head);
        let answer = seen.notes().with(Outcome::Refused, answers::last(status));
        seen.answered(answer)
    }

    /// This connection, as rules have it.
    fn asking(&self) -> Asking<'_> {
        let shown = self.shown.as_ref().map(|shown| (&*shown.served, shown.sni.as_deref()));
        Asking { door: self.door, at: self.at.ip(), peer: self.peer, shown }
    }

    async fn forward(
        &self,
        state: &State,
        rule: &Rule,
        path: Option<PathAndQuery>,
        host: HeaderValue,
        request: &mut Request<Received>,
        notes: &mut Notes,
    ) -> Response<ResponseBody> {
        let Worker { limits, pool, .. } = &*self.worker;
        if rule.max_body.is_some_and(|most| request.body.size_hint().lower() > most) {
            return notes.with(Outcome::Refused, answers::last(StatusCode::PAYLOAD_TOO_LARGE));
        }
        let Some(admitted) = self.worker.overload.admit(limits.requests) else {
            return notes.with(Outcome::Overloaded, answers::busy());
        };
        let id = trace::identify(&mut request.head.headers, &self.worker.ids);
        let key = websocket::Key::of(&request.head);
        let mut body = self.to_upstream(rule, path, request, host, key.as_ref());
        notes.id = Some(id.clone());
        let (cluster, patience) = (&rule.cluster, limits.upstream_answer);
        // In its place: a future that is awaited is moved first.
        let answer =
            pin!(exchange(cluster, &request.head, &mut body, pool, &state.connector, patience)).await;
        match answer {
            Ok((Response { mut head, body }, mut lease)) => {
                lease.keep(admitted);
                let switches = head.status == StatusCode::SWITCHING_PROTOCOLS;
                if key.as_ref().is_some_and(|key| !key.is_heeded(&mut head)) {
                    return notes.with(Outcome::UpstreamFailed, answers::empty(StatusCode::BAD_GATEWAY));
                }
                headers::to_client(&mut head.headers);
                head.headers.insert_if_absent(X_REQUEST_ID, || id);
                head.headers.change(&rule.response_fields);
                notes.upstream = Some(lease.upstream());
                let body = if switches {
                    if key.is_none() {
                        websocket::put(&mut head.headers);
                    }
                    lease.into_other().map_or(ResponseBody::Empty, |(stream, in_flight)| {
                        ResponseBody::Tunnel(Box::new(Tunnel::new(stream, in_flight)))
                    })
                } else {
                    ResponseBody::Upstream(UpstreamBody::new(body, lease, limits.upstream_stall))
                };
                notes.with(Outcome::Forwarded, Response { head, body })
            }
            Err(fault) => self.failed(rule, &fault, notes),
        }
    }

    /// Makes the head one for the upstream; the body is taken.
    fn to_upstream(
        &self,
        rule: &Rule,
        path: Option<PathAndQuery>,
        Message { head, body }: &mut Request<Received>,
        host: HeaderValue,
        key: Option<&websocket::Key>,
    ) -> RequestBody {
        let upgrades = websocket::is_asked(head);
        let scheme = if self.shown.is_some() { &headers::HTTPS } else { &headers::HTTP };
        let certificate = self.shown.as_ref().and_then(|shown| shown.client.as_ref());
        let client = Client { address: &self.address, via: &self.worker.via, scheme, certificate };
        headers::to_upstream(&mut head.headers, host, client, head.version);
        head.headers.change(&rule.request_fields);
        if upgrades {
            websocket::put(&mut head.headers);
        }
        if let Some(key) = key {
            key.put(head);
        }
        match path {
            Some(path) => head.uri = path.into(),
            None => make_origin_form(&mut head.uri),
        }
        let received = std::mem::replace(&mut head.version, Version::HTTP_11);
        if body.is_end_stream() {
            return RequestBody::Empty;
        }
        // Without a field that announces it there is no body.
        if !head.headers.contains(CONTENT_LENGTH) {
            head.headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        // Over HTTP/1.1 the gate times it.
        let stall = (received == Version::HTTP_2).then_some(self.worker.limits.body_stall);
        RequestBody::Client(ClientBody::new(std::mem::take(body), stall, rule.max_body))
    }

    fn failed(&self, rule: &Rule, fault: &Fault, notes: &mut Notes) -> Response<ResponseBody> {
        let status = fault.status();
        let outcome = match status {
            StatusCode::GATEWAY_TIMEOUT => Outcome::UpstreamTimeout,
            StatusCode::BAD_GATEWAY => Outcome::UpstreamFailed,
            StatusCode::SERVICE_UNAVAILABLE => return notes.with(Outcome::UpstreamBusy, answers::busy()),
            _ => return notes.with(Outcome::Refused, answers::last(status)),
        };
        log::debug!("route {}: {fault}", rule.path);
        // The client's connection is as good as before; if its body was not read to the end, it ends with this.
        notes.with(outcome, answers::empty(status))
    }
}

/// Without scheme and authority; `OPTIONS http://name` asks `*` (RFC 9112, section 3.2.4), but a path is what routes know.
fn make_origin_form(uri: &mut Uri) {
    if uri.authority().is_some() {
        *uri = uri.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/")).into();
    }
}
