//! A probe over HTTP/2: the same question, on a connection that is known to speak it.

use std::net::SocketAddr;

use ::http::{Request, Uri, Version, uri::Scheme};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    select,
};

use super::{failure::Failure, http};
use crate::model::{Probe, ProbeKind};

/// What ALPN calls it.
pub(super) const ALPN: &[u8] = b"h2";

/// The status of the answer, of which no more is read.
pub(super) async fn ask<S>(stream: S, probe: &Probe, address: SocketAddr) -> Result<u16, Failure>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let request = request(probe, address)?;
    let (send, connection) = h2::client::handshake(stream).await.map_err(|error| failed(&error))?;
    let answer = async {
        let (answer, _) = send.ready().await?.send_request(request, true)?;
        answer.await
    };
    select! {
        biased;
        answer = answer => Ok(answer.map_err(|error| failed(&error))?.status().as_u16()),
        ended = connection => Err(ended.map_or_else(|error| failed(&error), |()| Failure::Cut(String::new()))),
    }
}

fn request(probe: &Probe, address: SocketAddr) -> Result<Request<()>, Failure> {
    let own = |error: &dyn std::error::Error| Failure::Own(error.to_string());
    let scheme = if probe.kind == ProbeKind::Https { Scheme::HTTPS } else { Scheme::HTTP };
    let uri =
        Uri::builder().scheme(scheme).authority(http::host(probe, address)).path_and_query(&*probe.path);
    let request = Request::get(uri.build().map_err(|error| own(&error))?)
        .version(Version::HTTP_2)
        .header("user-agent", http::USER_AGENT)
        .header("accept", "*/*");
    request.body(()).map_err(|error| own(&error))
}

fn failed(error: &h2::Error) -> Failure {
    match error.get_io() {
        Some(io) => Failure::of_exchange(io),
        None => Failure::NotHttp(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ::http::{Response, StatusCode};
    use tokio::{io::AsyncWriteExt, time::timeout};

    use super::*;

    #[tokio::test]
    async fn r81_the_status_is_asked_for_by_name() {
        let (here, there) = tokio::io::duplex(64 * 1024);
        let serve = tokio::spawn(async move {
            let mut server = h2::server::handshake(there).await.unwrap();
            let (request, mut respond) = server.accept().await.unwrap().unwrap();
            let answer = Response::builder().status(StatusCode::NO_CONTENT).body(()).unwrap();
            respond.send_response(answer, true).unwrap();
            while server.accept().await.is_some_and(|next| next.is_ok()) {}
            request.uri().to_string()
        });
        let probe = Probe { path: "/ready".into(), host: Some("contoso.com".into()), ..Probe::default() };
        assert_eq!(ask(here, &probe, "10.0.0.1:80".parse().unwrap()).await, Ok(204));
        assert_eq!(serve.await.unwrap(), "http://contoso.com/ready");
    }

    #[tokio::test]
    async fn what_speaks_http_1_is_told_from_it() {
        let (here, mut there) = tokio::io::duplex(64 * 1024);
        there.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        let probe = Probe::default();
        let asked = ask(here, &probe, "10.0.0.1:80".parse().unwrap());
        let failure = timeout(Duration::from_secs(60), asked).await.unwrap().unwrap_err();
        assert!(matches!(failure, Failure::NotHttp(_)), "{failure}");
    }
}
