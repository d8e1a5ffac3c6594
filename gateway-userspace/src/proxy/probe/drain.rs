//! `PUT /drain` and `DELETE /drain`: the balancer says how long connections may go on here.

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use http_body::Body;
use http_body_util::{BodyExt, Limited};
use serde::Deserialize;

/// More than any order has.
const MOST: usize = 1024;

/// What the balancer says: how much time a drain has left; None: there is none.
pub type Told = Option<Duration>;

#[derive(Debug, Deserialize)]
struct Order {
    seconds: u64,
}

/// The order of a request. None: it is none that can be read.
pub(super) async fn order<B>(method: &Method, body: B) -> Option<Told>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    if method == Method::DELETE {
        return Some(None);
    }
    let text = Limited::new(body, MOST).collect().await.ok()?.to_bytes();
    let order: Order = serde_json::from_slice(&text).ok()?;
    Some(Some(Duration::from_secs(order.seconds)))
}

#[cfg(test)]
mod tests {
    use http_body_util::Full;

    use super::*;

    #[tokio::test]
    async fn an_order_is_a_number_of_seconds_or_the_end_of_a_drain() {
        let of = async |method, text: &str| order(&method, Full::new(Bytes::from(text.to_owned()))).await;
        assert_eq!(of(Method::PUT, r#"{"seconds":60}"#).await, Some(Some(Duration::from_secs(60))));
        assert_eq!(of(Method::DELETE, "").await, Some(None));
        for text in ["", "60", r#"{"seconds":-1}"#, r#"{"seconds":1.5}"#, &" ".repeat(MOST + 1)] {
            assert_eq!(of(Method::PUT, text).await, None, "{text}");
        }
    }
}
