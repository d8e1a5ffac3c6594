//! `Expect: 100-continue` (RFC 9110, section 10.1.1): whoever holds a body back is told to go on once an upstream takes it, and not
//! before.

use std::{future::poll_fn, process::Stdio};

use h2::client::ResponseFuture;
use http::{Request, StatusCode};
use tokio::{io::AsyncWriteExt, process::Command, time::timeout};

use crate::{
    client::{Client, whole},
    support::{API, LONG, Recorder, Setup, played, request, until},
};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const URI: &str = "https://api.contoso.com/";

fn expecting() -> Request<()> {
    Request::post(URI).header("expect", "100-continue").body(()).unwrap()
}

/// What comes first: a status before the answer's, or the answer's.
async fn first(response: &mut ResponseFuture) -> Option<StatusCode> {
    let first = timeout(LONG, poll_fn(|cx| response.poll_informational(cx))).await.unwrap();
    first.map(|interim| interim.unwrap().status())
}

#[tokio::test]
async fn over_http2_a_client_is_told_to_go_on_once_an_upstream_takes_the_body() {
    let (listener, setup) = played().await;
    let proxy = setup.start().await;
    let mut client = Client::connect(&proxy, API).await;
    let (mut response, mut body) = client.begin(expecting()).await;
    let (mut upstream, head) = request(&listener).await;
    assert!(!head.to_ascii_lowercase().contains("expect"), "{head}");
    assert_eq!(first(&mut response).await, Some(StatusCode::CONTINUE));
    body.send_data("held back".into(), true).unwrap();
    until(&mut upstream, "9\r\nheld back\r\n0\r\n\r\n").await;
    upstream.write_all(OK).await.unwrap();
    let answer = timeout(LONG, response).await.unwrap().unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(whole(answer.into_body()).await.unwrap().0, b"ok");
}

#[tokio::test]
async fn over_http2_nobody_is_told_to_go_on_whose_body_no_upstream_takes() {
    // Nobody listens there.
    let (listener, setup) = played().await;
    drop(listener);
    let proxy = setup.start().await;
    let mut client = Client::connect(&proxy, API).await;
    for (uri, status) in [(URI, 502), ("https://unknown.contoso.com/", 421)] {
        let mut request = expecting();
        *request.uri_mut() = uri.parse().unwrap();
        let (mut response, _body) = client.begin(request).await;
        assert_eq!(first(&mut response).await, None, "{uri}");
        assert_eq!(timeout(LONG, response).await.unwrap().unwrap().status(), status, "{uri}");
    }
}

#[tokio::test]
async fn over_http2_nobody_is_told_to_go_on_who_has_not_waited() {
    let (listener, setup) = played().await;
    let proxy = setup.start().await;
    let mut client = Client::connect(&proxy, API).await;
    let (mut response, mut body) = client.begin(expecting()).await;
    body.send_data("at once".into(), true).unwrap();
    let (mut upstream, _) = request(&listener).await;
    until(&mut upstream, "7\r\nat once\r\n0\r\n\r\n").await;
    upstream.write_all(OK).await.unwrap();
    assert_eq!(first(&mut response).await, None);
    assert_eq!(timeout(LONG, response).await.unwrap().unwrap().status(), 200);
}

/// curl would wait for longer than the test does.
#[tokio::test]
async fn curl_goes_on_at_once_by_either_version() {
    const SIZE: usize = 2 << 20;
    let upstream = Recorder::start(OK).await;
    let proxy = Setup::to(upstream.address).start().await;
    let file = proxy.folder.path().join("upload");
    std::fs::write(&file, vec![b'u'; SIZE]).unwrap();
    for (option, told) in [("--http1.1", "< HTTP/1.1 100 "), ("--http2", "< HTTP/2 100")] {
        let mut command = Command::new("curl");
        command
            .args(["--silent", "--show-error", "--verbose", option, "--expect100-timeout", "600"])
            .args(["--header", "Expect: 100-continue", "--cacert"])
            .arg(proxy.ca_file())
            .arg("--data-binary")
            .arg(format!("@{}", file.display()))
            .args(["--connect-to", &format!("{API}:443:127.0.0.1:{}", proxy.https.port()), URI])
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let output = timeout(LONG, command.output()).await.expect("curl is told to go on").unwrap();
        let (said, log) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(said, "ok", "{log}");
        assert!(log.contains(told), "{option}: {log}");
        assert!(upstream.take().len() > SIZE);
    }
}
