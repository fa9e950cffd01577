//! The TCP connections of one run: opened by the daemon's egress, relayed over the runner's socket.
//!
//! Owns how many there are and how much of each is on its way. Either side of a connection may send
//! [`WINDOW`] bytes that the other has not taken yet, so that a peer that does not read, or a
//! function that does not, holds up nothing but its own connection. All are closed with the run.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{Notify, mpsc};

use super::line::Line;
use super::{Connection, Fetch, Invocation};
use crate::functions::protocol::{ToRunner, WINDOW};

/// Connections of one run at once; further ones wait for a place.
const MOST_OPEN: usize = 64;
/// Connections of one run that wait for a place; further ones are refused.
const MOST_WAITING: usize = 1024;
/// No name of a host has more bytes.
const LONGEST_HOST: usize = 253;
/// The most that is read of a connection at once.
const CHUNK: usize = 64 * 1024;
/// Frames for the runner that wait until it reads.
const MOST_FRAMES: usize = 4;
/// How long what was sent before a `Close` may take to reach the peer.
const LINGER: Duration = Duration::from_secs(2);

/// What a connection has to tell the runner: a frame and its body.
pub(super) type Said = (ToRunner, Bytes);

pub(super) struct Tunnels<'a> {
    invocation: &'a Invocation,
    fetch: &'a dyn Fetch,
    open: HashMap<u64, Tunnel>,
    waiting: Line<(String, u16)>,
    relays: FuturesUnordered<BoxFuture<'a, u64>>,
    said: mpsc::Receiver<Said>,
    say: mpsc::Sender<Said>,
}

/// The conversation's end of a relay.
struct Tunnel {
    orders: mpsc::UnboundedSender<Order>,
    shared: Arc<Shared>,
    /// The runner has said that it sends no more.
    ended: bool,
    /// It was out of step or wants no more of it; whatever else it says of it is not kept.
    closed: bool,
}

#[derive(Default)]
struct Shared {
    /// Bytes of the runner that the peer has not been given yet.
    unsent: AtomicUsize,
    /// Bytes of the peer that the runner has not taken yet.
    untaken: AtomicUsize,
    /// The runner has taken something.
    room: Notify,
    /// The runner wants no more of it.
    closing: Notify,
}

enum Order {
    Send(Bytes),
    End,
    Close,
}

impl<'a> Tunnels<'a> {
    pub(super) fn new(invocation: &'a Invocation, fetch: &'a dyn Fetch) -> Tunnels<'a> {
        let (say, said) = mpsc::channel(MOST_FRAMES);
        Tunnels {
            invocation,
            fetch,
            open: HashMap::new(),
            waiting: Line::new(),
            relays: FuturesUnordered::new(),
            said,
            say,
        }
    }

    /// The runner wants a connection. What is returned goes to it at once.
    pub(super) fn connect(&mut self, id: u64, host: String, port: u16) -> Option<Said> {
        let error = if self.open.contains_key(&id) || self.waiting.has(id) {
            Some(format!("there is a connection {id} already"))
        } else if host.len() > LONGEST_HOST {
            Some(format!("the name of the host has more than {LONGEST_HOST} bytes"))
        } else if self.waiting.len() >= MOST_WAITING {
            Some(format!(
                "{MOST_OPEN} connections are open and {MOST_WAITING} wait: a run may not want more"
            ))
        } else {
            None
        };
        if error.is_some() {
            return Some((ToRunner::Connected { id, error }, Bytes::new()));
        }
        self.waiting.push(id, (host, port));
        self.open_waiting();
        None
    }

    fn open_waiting(&mut self) {
        while self.open.len() < MOST_OPEN
            && let Some((id, (host, port))) = self.waiting.pop()
        {
            let (orders, heard) = mpsc::unbounded_channel();
            let shared = Arc::new(Shared::default());
            let tunnel =
                Tunnel { orders, shared: Arc::clone(&shared), ended: false, closed: false };
            self.open.insert(id, tunnel);
            let opened = self.fetch.connect(self.invocation, host, port);
            let say = self.say.clone();
            self.relays.push(Box::pin(async move {
                relay(id, opened, heard, say, &shared).await;
                id
            }));
        }
    }

    /// Bytes of the runner for a connection; none means that it sends no more.
    pub(super) fn send(&mut self, id: u64, body: Bytes) {
        // Of a connection that is gone already: the runner has not heard of it yet.
        let Some(tunnel) = self.open.get_mut(&id) else { return };
        if tunnel.closed {
            return;
        }
        let unsent = tunnel.shared.unsent.fetch_add(body.len(), Ordering::Relaxed) + body.len();
        let order = if tunnel.ended || unsent > WINDOW {
            // Out of step: nothing that it sends can be trusted to be whole.
            tunnel.shared.closing.notify_one();
            tunnel.closed = true;
            Order::Close
        } else if body.is_empty() {
            tunnel.ended = true;
            Order::End
        } else {
            Order::Send(body)
        };
        // If the relay is over, its end is told by itself.
        let _heard = tunnel.orders.send(order);
    }

    /// The runner has taken bytes of a connection; as many more may follow.
    pub(super) fn taken(&mut self, id: u64, bytes: usize) {
        let Some(tunnel) = self.open.get(&id) else { return };
        let less = |now: usize| Some(now.saturating_sub(bytes));
        // It never fails: there is always a value.
        let _before =
            tunnel.shared.untaken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        tunnel.shared.room.notify_one();
    }

    /// The runner does not want a connection any more. What it sent before still goes out.
    pub(super) fn close(&mut self, id: u64) {
        self.waiting.remove(id);
        if let Some(tunnel) = self.open.get_mut(&id)
            && !std::mem::replace(&mut tunnel.closed, true)
        {
            let _heard = tunnel.orders.send(Order::Close);
            tunnel.shared.closing.notify_one();
        }
    }

    /// What is to be told to the runner next, if it `listens`. Pends for ever while there is
    /// nothing; connections move on meanwhile.
    pub(super) async fn next(&mut self, listens: bool) -> Said {
        loop {
            tokio::select! {
                biased;
                Some(said) = self.said.recv(), if listens => return said,
                Some(id) = self.relays.next(), if !self.relays.is_empty() => {
                    self.open.remove(&id);
                    self.open_waiting();
                }
                else => std::future::pending().await,
            }
        }
    }
}

/// The whole life of a connection. That it is closed is its last word.
async fn relay(
    id: u64,
    opened: BoxFuture<'_, Result<Box<dyn Connection>, String>>,
    orders: mpsc::UnboundedReceiver<Order>,
    say: mpsc::Sender<Said>,
    shared: &Shared,
) {
    let opened = tokio::select! {
        biased;
        opened = opened => opened,
        () = shared.closing.notified() => return,
    };
    let (connection, error) = match opened {
        Ok(connection) => (Some(connection), None),
        Err(error) => (None, Some(error)),
    };
    // Nobody hears it only when the run is over, and this with it.
    let _heard = say.send((ToRunner::Connected { id, error }, Bytes::new())).await;
    let Some(connection) = connection else { return };
    let (reader, writer) = tokio::io::split(connection);
    let last_sent = Notify::new();
    let ended = tokio::select! {
        biased;
        ended = send_all(writer, orders, shared, &say, id, &last_sent) => ended,
        ended = async {
            receive_all(reader, shared, &say, id).await?;
            last_sent.notified().await;
            Ok(())
        } => ended,
        () = async {
            shared.closing.notified().await;
            tokio::time::sleep(LINGER).await;
        } => Ok(()),
    };
    let error = ended.err().map(|error| error.to_string());
    let _heard = say.send((ToRunner::Closed { id, error }, Bytes::new())).await;
}

/// From the runner to the peer, until the runner wants the connection closed.
async fn send_all(
    mut writer: impl AsyncWrite + Unpin,
    mut orders: mpsc::UnboundedReceiver<Order>,
    shared: &Shared,
    say: &mpsc::Sender<Said>,
    id: u64,
    last_sent: &Notify,
) -> std::io::Result<()> {
    loop {
        match orders.recv().await {
            Some(Order::Send(bytes)) => {
                writer.write_all(&bytes).await?;
                writer.flush().await?;
                shared.unsent.fetch_sub(bytes.len(), Ordering::Relaxed);
                let taken = ToRunner::Taken { id, bytes: bytes.len() };
                let _heard = say.send((taken, Bytes::new())).await;
            }
            Some(Order::End) => {
                writer.shutdown().await?;
                last_sent.notify_one();
            }
            Some(Order::Close) | None => return Ok(()),
        }
    }
}

/// From the peer to the runner, until the peer has sent its last.
async fn receive_all(
    mut reader: impl AsyncRead + Unpin,
    shared: &Shared,
    say: &mpsc::Sender<Said>,
    id: u64,
) -> std::io::Result<()> {
    let mut buffer = BytesMut::new();
    loop {
        let room = WINDOW.saturating_sub(shared.untaken.load(Ordering::Relaxed));
        if room == 0 {
            shared.room.notified().await;
            continue;
        }
        buffer.reserve(CHUNK);
        let read = (&mut reader).take(room.min(CHUNK) as u64).read_buf(&mut buffer).await?;
        shared.untaken.fetch_add(read, Ordering::Relaxed);
        let received = (ToRunner::Received { id }, buffer.split().freeze());
        let _heard = say.send(received).await;
        if read == 0 {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use futures_util::FutureExt;
    use tokio::io::DuplexStream;

    use super::super::tests::invocation;
    use super::*;
    use crate::model::http::{OutgoingRequest, OutgoingResponse};

    /// Gives out pipes and keeps their other ends.
    #[derive(Default)]
    struct Pipes(Mutex<Vec<DuplexStream>>);

    impl Fetch for Pipes {
        fn fetch<'a>(
            &'a self,
            _invocation: &'a Invocation,
            _request: OutgoingRequest,
        ) -> BoxFuture<'a, Result<OutgoingResponse, String>> {
            std::future::ready(Err("none".to_owned())).boxed()
        }

        fn connect<'a>(
            &'a self,
            _invocation: &'a Invocation,
            host: String,
            _port: u16,
        ) -> BoxFuture<'a, Result<Box<dyn Connection>, String>> {
            if host == "refused" {
                return std::future::ready(Err("refused".to_owned())).boxed();
            }
            let (ours, theirs) = tokio::io::duplex(1024);
            self.0.lock().expect("no panic").push(theirs);
            std::future::ready(Ok(Box::new(ours) as Box<dyn Connection>)).boxed()
        }
    }

    impl Pipes {
        fn take(&self) -> DuplexStream {
            self.0.lock().expect("no panic").remove(0)
        }
    }

    async fn connected(tunnels: &mut Tunnels<'_>, id: u64) {
        assert!(tunnels.connect(id, "host".to_owned(), 80).is_none());
        let (said, _) = tunnels.next(true).await;
        assert!(matches!(said, ToRunner::Connected { id: it, error: None } if it == id));
    }

    #[tokio::test]
    async fn both_sides_may_end_one_after_the_other() {
        let (invocation, pipes) = (invocation(), Pipes::default());
        let mut tunnels = Tunnels::new(&invocation, &pipes);
        connected(&mut tunnels, 1).await;
        let mut peer = pipes.take();
        tunnels.send(1, Bytes::from_static(b"question"));
        tunnels.send(1, Bytes::new());
        let (said, _) = tunnels.next(true).await;
        assert!(matches!(said, ToRunner::Taken { id: 1, bytes: 8 }), "{said:?}");
        let read = async {
            let mut heard = String::new();
            peer.read_to_string(&mut heard).await.expect("it is read");
            heard
        };
        let heard = tokio::select! { heard = read => heard, said = tunnels.next(true) => panic!("{said:?}") };
        assert_eq!(heard, "question");
        peer.write_all(b"answer").await.expect("it is written");
        drop(peer);
        let (said, body) = tunnels.next(true).await;
        assert!(matches!(said, ToRunner::Received { id: 1 }) && body == "answer", "{said:?}");
        let (said, body) = tunnels.next(true).await;
        assert!(matches!(said, ToRunner::Received { id: 1 }) && body.is_empty(), "{said:?}");
        let (said, _) = tunnels.next(true).await;
        assert!(matches!(said, ToRunner::Closed { id: 1, error: None }), "{said:?}");
    }

    #[tokio::test]
    async fn what_is_not_taken_stops_only_its_own_connection() {
        let (invocation, pipes) = (invocation(), Pipes::default());
        let mut tunnels = Tunnels::new(&invocation, &pipes);
        connected(&mut tunnels, 1).await;
        let mut flood = pipes.take();
        connected(&mut tunnels, 2).await;
        let mut other = pipes.take();
        let flooding = async {
            let block = [7; 1024];
            let mut written = 0;
            while flood.write_all(&block).await.is_ok() {
                written += block.len();
            }
            written
        };
        tokio::pin!(flooding);
        let mut received = 0;
        while received < WINDOW {
            tokio::select! {
                _ = &mut flooding => panic!("the peer gave up"),
                (said, body) = tunnels.next(true) => {
                    assert!(matches!(said, ToRunner::Received { id: 1 }), "{said:?}");
                    received += body.len();
                }
            }
        }
        assert_eq!(received, WINDOW);
        other.write_all(b"still here").await.expect("it is written");
        tokio::select! {
            _ = &mut flooding => panic!("the peer gave up"),
            (said, body) = tunnels.next(true) => {
                assert!(matches!(said, ToRunner::Received { id: 2 }) && body == "still here");
            }
        }
        tunnels.taken(1, 10);
        tokio::select! {
            _ = &mut flooding => panic!("the peer gave up"),
            (said, body) = tunnels.next(true) => {
                assert!(matches!(said, ToRunner::Received { id: 1 }) && body.len() == 10);
            }
        }
        // In the other direction: nobody reads the second connection, and the runner keeps sending.
        tunnels.send(2, Bytes::from(vec![0; WINDOW]));
        tunnels.send(2, Bytes::from_static(b"too much"));
        tokio::select! {
            _ = &mut flooding => panic!("the peer gave up"),
            (said, _) = tunnels.next(true) => {
                assert!(matches!(said, ToRunner::Closed { id: 2, .. }), "{said:?}");
            }
        }
    }

    #[tokio::test]
    async fn too_many_wait_and_refusals_are_told() {
        let (invocation, pipes) = (invocation(), Pipes::default());
        let mut tunnels = Tunnels::new(&invocation, &pipes);
        tunnels.connect(0, "refused".to_owned(), 1);
        let (said, _) = tunnels.next(true).await;
        let ToRunner::Connected { id: 0, error: Some(error) } = said else { panic!("{said:?}") };
        assert_eq!(error, "refused");
        for id in 1..=70 {
            assert!(tunnels.connect(id, "host".to_owned(), 80).is_none());
        }
        for _ in 0..MOST_OPEN {
            let (said, _) = tunnels.next(true).await;
            assert!(matches!(said, ToRunner::Connected { error: None, .. }), "{said:?}");
        }
        assert!(tunnels.next(true).now_or_never().is_none(), "only so many are open");
        tunnels.close(1);
        let (said, _) = tunnels.next(true).await;
        assert!(matches!(said, ToRunner::Closed { id: 1, .. }), "{said:?}");
        let (said, _) = tunnels.next(true).await;
        assert!(matches!(said, ToRunner::Connected { id: 65.., error: None }), "{said:?}");
        for id in 100..100 + MOST_WAITING as u64 {
            let _refused = tunnels.connect(id, "host".to_owned(), 80);
        }
        assert!(tunnels.connect(9999, "host".to_owned(), 80).is_some());
    }

    #[tokio::test]
    async fn an_id_is_one_connection_while_it_waits_too() {
        let (invocation, pipes) = (invocation(), Pipes::default());
        let mut tunnels = Tunnels::new(&invocation, &pipes);
        for id in 0..=MOST_OPEN as u64 {
            assert!(tunnels.connect(id, "host".to_owned(), 80).is_none());
        }
        let waits = MOST_OPEN as u64;
        for id in [0, waits] {
            let (said, _) = tunnels.connect(id, "host".to_owned(), 80).expect("it is refused");
            let ToRunner::Connected { error: Some(error), .. } = said else { panic!("{said:?}") };
            assert!(error.contains("already"), "{error}");
        }
        let long = tunnels.connect(9999, "x".repeat(254), 80);
        assert!(matches!(long, Some((ToRunner::Connected { error: Some(_), .. }, _))));
    }
}
