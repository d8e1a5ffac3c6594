//! Closing a connection so that what was written last arrives.

use std::time::Duration;

use tokio::{
    io::{AsyncRead, AsyncReadExt},
    time::timeout,
};

/// What a client may still send before we lose patience.
const MOST: u64 = 256 * 1024;

/// Reads and forgets until the client ends its side, for `patience` at most. A socket closed over unread bytes sends a reset, which
/// may overtake the answer (RFC 9112, section 9.6).
pub async fn linger<S: AsyncRead + Unpin>(stream: S, patience: Duration) {
    let drain = async {
        let mut buffer = vec![0; 4096];
        let mut stream = stream.take(MOST);
        while stream.read(&mut buffer).await.is_ok_and(|count| count > 0) {}
    };
    // Out of patience is as good an end as any.
    let _elapsed = timeout(patience, drain).await;
}
