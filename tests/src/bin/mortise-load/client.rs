//! The closed loop: N keep-alive HTTP/1.1 connections, each with one request under way.
//!
//! Lean on purpose: the request is made once as bytes, the answer is parsed as far as its end has to
//! be found, and all connections live on one thread, so that most of the machine is the server's.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::Failure;

/// What is sent, and for how long.
pub(crate) struct Load {
    /// Loopback only.
    pub(crate) address: SocketAddr,
    /// The whole request.
    pub(crate) request: Vec<u8>,
    /// Status of an answer that counts.
    pub(crate) expected: u16,
    pub(crate) connections: usize,
    pub(crate) time: Duration,
    /// At most so many requests, whatever time is left.
    pub(crate) requests: u64,
}

/// What was seen.
#[derive(Default)]
pub(crate) struct Seen {
    /// Answers with the expected status.
    pub(crate) answers: u64,
    /// Other answers.
    pub(crate) unexpected: u64,
    /// One of those, to be shown.
    pub(crate) example: Option<String>,
    pub(crate) elapsed: Duration,
    /// Of the expected answers, in microseconds; sorted.
    pub(crate) latencies: Vec<u32>,
    /// The last expected answer of each connection.
    pub(crate) last_bodies: Vec<Vec<u8>>,
}

impl Seen {
    pub(crate) fn rate(&self) -> f64 {
        self.answers as f64 / self.elapsed.as_secs_f64()
    }

    /// A percentile in milliseconds.
    pub(crate) fn percentile(&self, percent: f64) -> f64 {
        let last = self.latencies.len().saturating_sub(1);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "an index of a vector, not negative"
        )]
        let place = (last as f64 * percent / 100.0).round() as usize;
        self.latencies.get(place).map_or(f64::NAN, |it| f64::from(*it) / 1000.0)
    }
}

/// Makes the bytes of a POST.
pub(crate) fn post(path: &str, headers: &[(&str, &str)], body: &str) -> Vec<u8> {
    let mut text = format!("POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str(&format!("content-length: {}\r\n\r\n{body}", body.len()));
    text.into_bytes()
}

/// Sends until time or requests run out.
pub(crate) async fn run(load: Load) -> Result<Seen, Failure> {
    if !load.address.ip().is_loopback() {
        return Err(format!("{} is not on this host", load.address).into());
    }
    let load = Rc::new(load);
    let mut connections = Vec::with_capacity(load.connections);
    for _ in 0..load.connections {
        connections.push(Connection::open(load.address).await?);
    }
    let began = Instant::now();
    let until = began + load.time;
    let budget = load.requests / load.connections.max(1) as u64;
    let tasks: Vec<_> = connections
        .into_iter()
        .map(|connection| tokio::task::spawn_local(send(connection, load.clone(), until, budget)))
        .collect();
    let mut all = Seen::default();
    for task in tasks {
        let seen = task.await??;
        all.answers += seen.answers;
        all.unexpected += seen.unexpected;
        all.example = all.example.or(seen.example);
        all.latencies.extend(seen.latencies);
        all.last_bodies.extend(seen.last_bodies);
    }
    all.elapsed = began.elapsed();
    all.latencies.sort_unstable();
    Ok(all)
}

async fn send(
    mut connection: Connection,
    load: Rc<Load>,
    until: Instant,
    budget: u64,
) -> Result<Seen, Failure> {
    let mut seen = Seen::default();
    let mut before = Instant::now();
    while before < until && seen.answers + seen.unexpected < budget {
        let answer = connection.exchange(&load.request).await?;
        let now = Instant::now();
        if answer.status == load.expected {
            seen.answers += 1;
            let micros = now.saturating_duration_since(before).as_micros();
            seen.latencies.push(u32::try_from(micros).unwrap_or(u32::MAX));
        } else {
            seen.unexpected += 1;
            if seen.example.is_none() {
                let body = String::from_utf8_lossy(answer.body);
                seen.example = Some(format!("{} {body}", answer.status));
            }
        }
        before = now;
    }
    seen.last_bodies.push(connection.last_body());
    Ok(seen)
}

/// One answer, still in the connection's buffer.
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    pub(crate) body: &'a [u8],
}

/// A keep-alive connection.
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    body_from: usize,
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> Result<Connection, Failure> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Connection { stream, buffer: Vec::with_capacity(8192), body_from: 0 })
    }

    /// Sends a request and reads its whole answer.
    pub(crate) async fn exchange(&mut self, request: &[u8]) -> Result<Answer<'_>, Failure> {
        self.stream.write_all(request).await?;
        self.buffer.clear();
        loop {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err("the server closed the connection".into());
            }
            let Some(head) = Head::of(&self.buffer) else { continue };
            if self.buffer.len() >= head.length + head.body {
                self.body_from = head.length;
                return Ok(Answer { status: head.status, body: &self.buffer[head.length..] });
            }
        }
    }

    fn last_body(&self) -> Vec<u8> {
        self.buffer.get(self.body_from..).unwrap_or_default().to_vec()
    }
}

/// What has to be known of an answer's head. Chunked answers are not understood; nothing that is
/// measured sends them.
struct Head {
    status: u16,
    length: usize,
    body: usize,
}

impl Head {
    fn of(bytes: &[u8]) -> Option<Head> {
        let length = bytes.windows(4).position(|it| it == b"\r\n\r\n")? + 4;
        let text = std::str::from_utf8(&bytes[..length]).ok()?;
        let status = text.get(9..12)?.parse().ok()?;
        let body = text
            .split("\r\n")
            .filter_map(|line| line.split_once(':'))
            .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
            .map_or(Some(0), |(_, value)| value.trim().parse().ok())?;
        Some(Head { status, length, body })
    }
}
