//! A `management` endpoint without routes: the balancer's API by name, over TLS.

use std::os::unix::fs::PermissionsExt;

use gateway_userspace::{
    api::{
        Server, Settings,
        tokens::{self, Role as Access},
    },
    model::Role,
};
use tokio::{net::TcpListener, sync::mpsc};

use crate::support::{MANAGEMENT, Running, Setup};

async fn ask(proxy: &Running, path: &str, token: Option<&str>) -> String {
    let token = token.map_or_else(String::new, |token| format!("Authorization: Bearer {token}\r\n"));
    let request = format!("GET {path} HTTP/1.1\r\nHost: {MANAGEMENT}\r\nConnection: close\r\n{token}\r\n");
    let answer = proxy.ask_as(proxy.management, MANAGEMENT, request.as_bytes()).await;
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn the_api_is_there_by_name_with_a_token_and_one_who_guesses_shuts_out_nobody_else() {
    let upstream: std::net::SocketAddr = ([127, 0, 0, 1], 1).into();
    let proxy = Setup::to(upstream).start().await;
    let mut model = proxy.model.clone();
    // Free a moment ago.
    model.balancer.admin = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let route = model.balancer.api_route();
    let management = model.endpoints.iter_mut().find(|endpoint| endpoint.role == Role::Management).unwrap();
    management.routes = vec![route];
    let (token, line) = tokens::make("graphs", Access::Read).unwrap();
    let file = proxy.folder.path().join("tokens");
    std::fs::write(&file, line).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    model.balancer.tokens = Some(file);
    assert!(model.serves_api_on_loopback());

    let (calls, _called) = mpsc::channel(1);
    let socket = proxy.folder.path().join("api.sock");
    let _api = Server::start(&socket, model.balancer.admin, Settings::of(&model), calls).unwrap();
    proxy.reload(&model);
    let trail = ask(&proxy, "/v1/audit", Some(&token)).await;
    assert!(trail.starts_with("HTTP/1.1 200 ") && trail.contains("schema_version"), "{trail}");
    for bad in [None, Some("guess")] {
        let refused = ask(&proxy, "/v1/audit", bad).await;
        assert!(refused.starts_with("HTTP/1.1 401 "), "{refused}");
    }
    // The name of the gateway role does not lead there.
    let elsewhere =
        proxy.ask(b"GET /v1/audit HTTP/1.1\r\nHost: api.contoso.com\r\nConnection: close\r\n\r\n").await;
    assert!(elsewhere.starts_with(b"HTTP/1.1 502 "));
}

#[tokio::test]
async fn without_tokens_the_api_answers_nobody_who_comes_by_name() {
    let proxy = Setup::to(([127, 0, 0, 1], 1).into()).start().await;
    let mut model = proxy.model.clone();
    model.balancer.admin = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let route = model.balancer.api_route();
    model.endpoints.iter_mut().for_each(|endpoint| endpoint.routes = vec![route.clone()]);
    let (calls, _called) = mpsc::channel(1);
    let socket = proxy.folder.path().join("api.sock");
    let _api = Server::start(&socket, model.balancer.admin, Settings::of(&model), calls).unwrap();
    proxy.reload(&model);
    let refused = ask(&proxy, "/v1/audit", None).await;
    assert!(refused.starts_with("HTTP/1.1 403 "), "{refused}");
}
