//! Between the probe's port, where balancers ask, and the thread that has the kernel's tables: neither knows of the other.

use std::net::IpAddr;

use tokio::sync::{mpsc, oneshot};

use super::wire::{Order, Report};

/// Orders that wait at most; balancers are few and ask one thing at a time.
const QUEUE: usize = 16;

/// A balancer's order.
#[derive(Debug)]
pub struct Asked {
    /// Its address.
    pub from: IpAddr,
    /// What it says.
    pub order: Order,
    /// Where the answer goes.
    pub answer: oneshot::Sender<Report>,
}

/// Where orders are handed in.
#[derive(Debug, Clone)]
pub struct Desk(mpsc::Sender<Asked>);

impl Desk {
    /// And where they come out.
    pub fn new() -> (Self, mpsc::Receiver<Asked>) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        (Self(sender), receiver)
    }

    /// None: nobody takes orders, because the tables are a successor's by now or could not be written.
    pub async fn ask(&self, from: IpAddr, order: Order) -> Option<Report> {
        let (answer, answered) = oneshot::channel();
        self.0.send(Asked { from, order, answer }).await.ok()?;
        answered.await.ok()
    }
}
