//! `POST /snat`: a balancer says by which ports this instance's flows may leave, and is answered what is used of them.

use std::net::IpAddr;

use bytes::Bytes;
use http::StatusCode;
use http_body::Body;
use http_body_util::{BodyExt, Limited};

use crate::snat::{Desk, ORDER_LIMIT, Order};

/// The answer, or the status of a refusal.
pub(super) async fn answer<B>(desk: &Desk, from: IpAddr, body: B) -> Result<Bytes, StatusCode>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let text = Limited::new(body, ORDER_LIMIT).collect().await.map_err(|_| StatusCode::BAD_REQUEST)?;
    let order = Order::read(&text.to_bytes()).map_err(|wrong| {
        log::warn!("what the balancer {from} says of SNAT ports cannot be used: {wrong}");
        StatusCode::BAD_REQUEST
    })?;
    let report = desk.ask(from, order).await.ok_or(StatusCode::SERVICE_UNAVAILABLE)?;
    serde_json::to_vec(&report).map(Into::into).map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
}

#[cfg(test)]
mod tests {
    use http_body_util::Full;

    use super::*;
    use crate::snat::Report;

    const ORDER: &str = r#"{"schema_version":1,"vips":{"203.0.113.5":{"leased":[[128,135]]}}}"#;

    async fn ask(desk: &Desk, text: &str) -> Result<Bytes, StatusCode> {
        answer(desk, "10.0.0.2".parse().unwrap(), Full::new(Bytes::from(text.to_owned()))).await
    }

    #[tokio::test]
    async fn r34_an_order_reaches_who_has_the_tables_and_its_report_the_balancer() {
        let (desk, mut orders) = Desk::new();
        let asking = tokio::spawn(async move { ask(&desk, ORDER).await });
        let asked = orders.recv().await.unwrap();
        assert_eq!(asked.from, "10.0.0.2".parse::<IpAddr>().unwrap());
        assert_eq!(asked.order.vips.values().next().unwrap().leased.len(), 8);
        asked.answer.send(Report::new("gw-1")).unwrap();
        assert!(Report::read(&asking.await.unwrap().unwrap(), "gw-1").is_ok());
    }

    #[tokio::test]
    async fn r34_what_is_no_order_or_too_long_is_refused_and_where_nobody_takes_it_it_may_come_again() {
        let (desk, orders) = Desk::new();
        for text in ["", "{}", r#"{"schema_version":2,"vips":{}}"#, &" ".repeat(ORDER_LIMIT + 1)] {
            assert_eq!(ask(&desk, text).await, Err(StatusCode::BAD_REQUEST));
        }
        drop(orders);
        assert_eq!(ask(&desk, ORDER).await, Err(StatusCode::SERVICE_UNAVAILABLE));
    }
}
