//! A client of HTTP/2.

use bytes::Bytes;
use h2::{
    RecvStream, SendStream,
    client::{ResponseFuture, SendRequest},
};
use http::{HeaderMap, Request, Response, StatusCode};
use tokio::{task::JoinHandle, time::timeout};

use crate::support::{LONG, MANAGEMENT, Running};

/// A client's connection.
pub(crate) struct Client {
    pub(crate) send: SendRequest<Bytes>,
    /// How it ends.
    pub(crate) end: JoinHandle<Result<(), h2::Error>>,
}

impl Client {
    pub(crate) async fn connect(proxy: &Running, sni: &str) -> Self {
        Self::with(proxy, sni, &mut h2::client::Builder::new()).await
    }

    pub(crate) async fn with(proxy: &Running, sni: &str, builder: &mut h2::client::Builder) -> Self {
        let address = if sni == MANAGEMENT { proxy.management } else { proxy.https };
        let stream = proxy.http2(address, sni).await;
        let (send, connection) = builder.handshake(stream).await.unwrap();
        Self { send, end: tokio::spawn(connection) }
    }

    pub(crate) async fn begin(&mut self, request: Request<()>) -> (ResponseFuture, SendStream<Bytes>) {
        std::future::poll_fn(|cx| self.send.poll_ready(cx)).await.unwrap();
        self.send.send_request(request, false).unwrap()
    }

    pub(crate) async fn get(&mut self, request: Request<()>) -> Response<RecvStream> {
        std::future::poll_fn(|cx| self.send.poll_ready(cx)).await.unwrap();
        let (response, _) = self.send.send_request(request, true).unwrap();
        timeout(LONG, response).await.unwrap().unwrap()
    }

    pub(crate) async fn status(&mut self, request: Request<()>) -> StatusCode {
        self.get(request).await.status()
    }
}

pub(crate) fn get(uri: &str) -> Request<()> {
    Request::get(uri).body(()).unwrap()
}

pub(crate) fn post(uri: &str) -> Request<()> {
    Request::post(uri).body(()).unwrap()
}

/// All of a body, and its trailers.
pub(crate) async fn whole(mut body: RecvStream) -> Result<(Vec<u8>, Option<HeaderMap>), h2::Error> {
    let mut bytes = Vec::new();
    while let Some(data) = timeout(LONG, body.data()).await.unwrap() {
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
        bytes.extend_from_slice(&data);
    }
    Ok((bytes, body.trailers().await?))
}
