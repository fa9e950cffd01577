//! The proxy of a private network: programs connect to it, the daemon's egress connects for them.
//!
//! Each client becomes one connection of the protocol, so that the egress decides by the host as
//! written. Owns the clients of one run; all are closed with it. Neither side can make it hold more
//! than a window of bytes a client.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::event::PollFlags;

use super::head::{refusal, understand};
use crate::functions::protocol::{FromRunner, WINDOW};
use crate::functions::runner::host::Host;

/// Clients at once; more wait until one has gone.
const MOST_CLIENTS: usize = 64;
const CHUNK: usize = 16 * 1024;

/// The clients of one run.
pub(super) struct Proxy<'a> {
    listener: &'a TcpListener,
    host: &'a Host,
    clients: BTreeMap<u64, Client>,
    next_id: &'a mut u64,
}

struct Client {
    stream: TcpStream,
    state: State,
    /// What the client has not taken yet. The first `own_bytes` are not the server's.
    outgoing: Vec<u8>,
    own_bytes: usize,
    /// Bytes that are on their way to the server.
    untaken: usize,
    /// The client may send more.
    sends: bool,
    end: End,
}

enum State {
    /// What the client wants is not all there yet.
    Head(Vec<u8>),
    /// The egress is asked; these bytes go first.
    Connecting { host: String, is_tunnel: bool, first: Vec<u8> },
    /// Bytes go both ways.
    Open,
    /// It has its answer; what it still sends goes nowhere.
    Refused,
}

/// What happens once everything is with the client.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    NotYet,
    /// The server sends no more.
    HalfClosed,
    /// Nothing more will come.
    Gone,
}

impl<'a> Proxy<'a> {
    /// Ids of connections go on from `next_id`: they are unique in a process.
    pub(super) fn new(
        listener: &'a TcpListener,
        host: &'a Host,
        next_id: &'a mut u64,
    ) -> Proxy<'a> {
        Proxy { listener, host, clients: BTreeMap::new(), next_id }
    }

    /// What to wait for. The listener has no id.
    pub(super) fn interests(&self) -> Vec<(Option<u64>, BorrowedFd<'_>, PollFlags)> {
        let mut interests = Vec::with_capacity(self.clients.len() + 1);
        if self.clients.len() < MOST_CLIENTS {
            interests.push((None, self.listener.as_fd(), PollFlags::IN));
        }
        for (id, client) in &self.clients {
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::IN, client.reads());
            flags.set(PollFlags::OUT, !client.outgoing.is_empty());
            // Without a flag only errors are heard, which would be heard for ever.
            if !flags.is_empty() {
                interests.push((Some(*id), client.stream.as_fd(), flags));
            }
        }
        interests
    }

    /// Takes a new client, if there is one.
    pub(super) fn accept(&mut self) {
        let Ok((stream, _)) = self.listener.accept() else { return };
        if stream.set_nonblocking(true).is_err() {
            return;
        }
        // What is small is often waited for.
        let _unchanged = stream.set_nodelay(true);
        *self.next_id += 1;
        let client = Client {
            stream,
            state: State::Head(Vec::new()),
            outgoing: Vec::new(),
            own_bytes: 0,
            untaken: 0,
            sends: true,
            end: End::NotYet,
        };
        self.clients.insert(*self.next_id, client);
    }

    /// Reads and writes what a client is ready for.
    pub(super) fn ready(&mut self, id: u64) {
        self.with(id, |client, host| {
            let read = client.read(id, host);
            let written = client.write(id, host);
            read && written
        });
    }

    pub(super) fn connected(&mut self, id: u64, error: Option<String>) {
        self.with(id, |client, host| {
            let State::Connecting { host: name, is_tunnel, first } =
                std::mem::replace(&mut client.state, State::Open)
            else {
                return false;
            };
            if let Some(error) = error {
                // What lies behind the rules is reported with the host in front.
                let failed = error.starts_with(&format!("{name}: "));
                client.refuse(if failed { "502 Bad Gateway" } else { "403 Forbidden" }, &error);
            } else {
                if is_tunnel {
                    client.answer(b"HTTP/1.1 200 Connection established\r\n\r\n");
                }
                client.send(id, host, &first);
                if !client.sends {
                    host.queue(&FromRunner::Send { id }, &[]);
                }
            }
            client.write(id, host)
        });
    }

    pub(super) fn received(&mut self, id: u64, bytes: &[u8]) {
        self.with(id, |client, host| {
            if bytes.is_empty() {
                client.end = client.end.or_later(End::HalfClosed);
            }
            client.outgoing.extend_from_slice(bytes);
            client.write(id, host)
        });
    }

    pub(super) fn taken(&mut self, id: u64, bytes: usize) {
        if let Some(client) = self.clients.get_mut(&id) {
            client.untaken = client.untaken.saturating_sub(bytes);
        }
    }

    pub(super) fn closed(&mut self, id: u64) {
        self.with(id, |client, host| {
            client.end = End::Gone;
            client.write(id, host)
        });
    }

    /// Ends all clients.
    pub(super) fn close_all(&mut self) {
        for (id, client) in std::mem::take(&mut self.clients) {
            client.leave(id, self.host);
        }
        // Those who connected and were never looked at.
        while self.listener.accept().is_ok() {}
    }

    fn with(&mut self, id: u64, act: impl FnOnce(&mut Client, &Host) -> bool) {
        let Some(client) = self.clients.get_mut(&id) else { return };
        if !act(client, self.host)
            && let Some(client) = self.clients.remove(&id)
        {
            client.leave(id, self.host);
        }
    }
}

impl End {
    fn or_later(self, other: End) -> End {
        if self == End::NotYet { other } else { self }
    }
}

impl Client {
    fn reads(&self) -> bool {
        self.sends
            && match self.state {
                State::Head(_) | State::Refused => true,
                State::Connecting { .. } => false,
                State::Open => self.untaken + CHUNK <= WINDOW,
            }
    }

    /// Whether the client is still of use.
    fn read(&mut self, id: u64, host: &Host) -> bool {
        if !self.reads() {
            return true;
        }
        let mut chunk = [0; CHUNK];
        let bytes = match self.stream.read(&mut chunk) {
            Ok(0) => {
                self.sends = false;
                return match self.state {
                    State::Head(_) | State::Refused => false,
                    State::Connecting { .. } => true,
                    State::Open => {
                        host.queue(&FromRunner::Send { id }, &[]);
                        true
                    }
                };
            }
            Ok(length) => &chunk[..length],
            Err(error) => {
                return matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted);
            }
        };
        match &mut self.state {
            State::Head(head) => {
                head.extend_from_slice(bytes);
                let head = std::mem::take(head);
                self.understand(id, host, head);
            }
            State::Open => self.send(id, host, bytes),
            State::Connecting { .. } | State::Refused => {}
        }
        true
    }

    fn understand(&mut self, id: u64, host: &Host, bytes: Vec<u8>) {
        match understand(&bytes) {
            Ok(None) => self.state = State::Head(bytes),
            Err(reason) => self.refuse("400 Bad Request", &reason),
            Ok(Some(wanted)) => {
                let is_tunnel = wanted.request.is_none();
                let mut first = wanted.request.unwrap_or_default();
                first.extend_from_slice(&bytes[wanted.length..]);
                host.queue(
                    &FromRunner::Connect { id, host: wanted.host.clone(), port: wanted.port },
                    &[],
                );
                self.state = State::Connecting { host: wanted.host, is_tunnel, first };
            }
        }
    }

    fn send(&mut self, id: u64, host: &Host, bytes: &[u8]) {
        // Nothing would mean the end.
        if !bytes.is_empty() {
            self.untaken += bytes.len();
            host.queue(&FromRunner::Send { id }, bytes);
        }
    }

    fn refuse(&mut self, status: &str, reason: &str) {
        self.state = State::Refused;
        self.answer(&refusal(status, reason));
        self.end = End::HalfClosed;
    }

    fn answer(&mut self, bytes: &[u8]) {
        self.own_bytes += bytes.len();
        self.outgoing.extend_from_slice(bytes);
    }

    /// Whether the client is still of use.
    fn write(&mut self, id: u64, host: &Host) -> bool {
        while !self.outgoing.is_empty() {
            match self.stream.write(&self.outgoing) {
                Ok(0) => return false,
                Ok(written) => {
                    self.outgoing.drain(..written);
                    let own = written.min(self.own_bytes);
                    self.own_bytes -= own;
                    if written > own {
                        host.queue(&FromRunner::Taken { id, bytes: written - own }, &[]);
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            }
        }
        match self.end {
            End::NotYet => true,
            End::Gone => false,
            End::HalfClosed => {
                let shut = self.stream.shutdown(Shutdown::Write);
                // Both sides have said their last.
                shut.is_ok() && self.sends
            }
        }
    }

    fn leave(self, id: u64, host: &Host) {
        match self.state {
            State::Connecting { .. } | State::Open if self.end != End::Gone => {
                host.queue(&FromRunner::Close { id }, &[]);
            }
            State::Connecting { .. } | State::Open | State::Head(_) | State::Refused => {}
        }
    }
}
