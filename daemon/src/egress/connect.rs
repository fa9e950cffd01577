//! Plain TCP connections for functions, under the same rules as requests.
//!
//! A connection is opened only to an address that the guard has seen in the same breath. One to the
//! daemon's own URL leads to its own listening address, and its first request gets there what the
//! daemon knows of it and the sender may not choose.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::{Egress, EgressError, guard};
use crate::model::http::EgressRules;

impl Egress {
    /// Whether a connection to there is one to the daemon itself.
    pub fn is_own_host(&self, host: &str, port: u16) -> bool {
        self.own_endpoint.as_ref().is_some_and(|own| {
            let name = own.host_str().unwrap_or_default();
            let name = name.trim_start_matches('[').trim_end_matches(']');
            own.port_or_known_default() == Some(port) && name.eq_ignore_ascii_case(host)
        })
    }

    /// The scheme, host and port of the daemon's own URL, such as `https://mortise.example.com`.
    pub fn own_origin(&self) -> Option<String> {
        Some(self.own_endpoint.as_ref()?.origin().ascii_serialization())
    }

    /// Opens a connection to another host under the sender's rules.
    pub async fn connect(
        &self,
        host: &str,
        port: u16,
        rules: &EgressRules,
    ) -> Result<TcpStream, EgressError> {
        let rules = self.effective_rules(rules);
        let connecting = async {
            let addresses = self.vetted(&rules, host, port).await?;
            let mut last = None;
            for address in addresses {
                match TcpStream::connect(address).await {
                    Ok(stream) => {
                        // What is small is often waited for.
                        let _unchanged = stream.set_nodelay(true);
                        return Ok(stream);
                    }
                    Err(error) => last = Some(error.to_string()),
                }
            }
            let reason = last.unwrap_or_else(|| "the name has no address".to_owned());
            Err(EgressError::Failed { host: host.to_owned(), reason })
        };
        let timeout = self.options.connect_timeout;
        let late = || EgressError::Failed {
            host: host.to_owned(),
            reason: format!("no connection within {} ms", timeout.as_millis()),
        };
        tokio::time::timeout(timeout, connecting).await.map_err(|_| late())?
    }

    async fn vetted(
        &self,
        rules: &EgressRules,
        host: &str,
        port: u16,
    ) -> Result<Vec<SocketAddr>, EgressError> {
        check_target(rules, host, port)?;
        let found = match host.parse() {
            Ok(address) => Ok(vec![SocketAddr::new(address, port)]),
            Err(_) => self.clients.resolver.resolve(host.to_owned(), port).await,
        };
        let addresses = found.map_err(|error| EgressError::Failed {
            host: host.to_owned(),
            reason: error.to_string(),
        })?;
        // One bad address makes the name bad, as for requests.
        for address in &addresses {
            guard::check_address(rules, host, address.ip(), port)?;
        }
        Ok(addresses)
    }

    /// Opens a connection to the daemon itself. `header` is added to the first request on it, and
    /// the path of the own URL is taken off that request's path.
    pub async fn connect_home(&self, header: Option<(&str, &str)>) -> Result<Home, EgressError> {
        let failed =
            |reason: String| EgressError::Failed { host: "this daemon".to_owned(), reason };
        let address = self.local_api.get().and_then(|it| it.address());
        let address = address.ok_or_else(|| failed("it does not listen".to_owned()))?;
        let stream = TcpStream::connect(address).await.map_err(|it| failed(it.to_string()))?;
        let _unchanged = stream.set_nodelay(true);
        let path = self.own_endpoint.as_ref().map_or("", |it| it.path().trim_end_matches('/'));
        let first = FirstHead {
            path: path.to_owned(),
            header: header.map(|(name, value)| (name.to_owned(), value.to_owned())),
        };
        Ok(Home { stream, first: Some(first), held: Vec::new(), rewritten: Bytes::new() })
    }
}

fn check_target(rules: &EgressRules, host: &str, port: u16) -> Result<(), EgressError> {
    let is_host = !host.is_empty()
        && host.len() <= 253
        && host.bytes().all(|it| it.is_ascii_alphanumeric() || b"-._:%".contains(&it));
    if !is_host || port == 0 {
        let shown: String = host.chars().take(64).collect();
        return Err(EgressError::InvalidRequest(format!(
            "`{shown}` port {port} is nothing to connect to: expected a host name or an address, \
             and a port from 1 to 65535"
        )));
    }
    Ok(guard::check_host(rules, host, port)?)
}

/// A connection to the daemon itself.
pub struct Home {
    stream: TcpStream,
    /// Until the first request's head was seen.
    first: Option<FirstHead>,
    held: Vec<u8>,
    rewritten: Bytes,
}

/// What is to be done to the head of a first request.
struct FirstHead {
    path: String,
    header: Option<(String, String)>,
}

/// What every connection with TLS begins with: no method of HTTP does.
const TLS_HANDSHAKE: u8 = 0x16;
/// Longer heads are refused by every server.
const LONGEST_HEAD: usize = 64 * 1024;

impl FirstHead {
    /// The head as the daemon is to see it; `None` until all of it is there. There is one request
    /// to a connection, because only the first one's head is known to be one.
    ///
    /// What a server may read in another way than it is read here is refused: it would be a way to
    /// leave out the header.
    fn rewrite(&self, held: &[u8]) -> Result<Option<Vec<u8>>, &'static str> {
        if held.first() == Some(&TLS_HANDSHAKE) {
            return Err(
                "connections to the daemon's own URL never leave the host and are not encrypted: \
                 send plain HTTP to the URL in `execution_metadata.devrev_endpoint`",
            );
        }
        let end = held.windows(4).position(|it| it == b"\r\n\r\n");
        let (head, rest) = held.split_at(end.unwrap_or(held.len()));
        if head.first().is_some_and(u8::is_ascii_whitespace) || end == Some(0) {
            return Err("a request to the daemon itself does not begin with its method");
        }
        let is_bare = |at: usize| match head[at] {
            b'\n' => at == 0 || head[at - 1] != b'\r',
            b'\r' => head.get(at + 1).is_some_and(|it| *it != b'\n'),
            _ => false,
        };
        if (0..head.len()).any(is_bare) {
            return Err("a line of a request to the daemon itself does not end with CR and LF");
        }
        if end.is_none() {
            return Ok(None);
        }
        let mut written = Vec::with_capacity(held.len() + 256);
        for (at, line) in head.split(|it| *it == b'\n').enumerate() {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if at == 0 {
                self.write_request_line(&mut written, line);
            } else if !self.is_ours(line) {
                written.extend_from_slice(line);
            } else {
                continue;
            }
            written.extend_from_slice(b"\r\n");
        }
        if let Some((name, value)) = &self.header {
            written.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        written.extend_from_slice(b"connection: close\r\n\r\n");
        written.extend_from_slice(&rest[4..]);
        Ok(Some(written))
    }

    fn write_request_line(&self, written: &mut Vec<u8>, line: &[u8]) {
        let target = line.iter().position(|it| *it == b' ').map_or(line.len(), |it| it + 1);
        let (method, target) = line.split_at(target);
        written.extend_from_slice(method);
        match target.strip_prefix(self.path.as_bytes()) {
            Some(rest) if rest.starts_with(b"/") => written.extend_from_slice(rest),
            Some(rest) if !self.path.is_empty() => {
                written.push(b'/');
                written.extend_from_slice(rest);
            }
            Some(_) | None => written.extend_from_slice(target),
        }
    }

    fn is_ours(&self, line: &[u8]) -> bool {
        let Some(colon) = line.iter().position(|it| *it == b':') else { return false };
        let name = line[..colon].trim_ascii();
        name.eq_ignore_ascii_case(b"connection")
            || name.eq_ignore_ascii_case(b"keep-alive")
            || self.header.as_ref().is_some_and(|(it, _)| name.eq_ignore_ascii_case(it.as_bytes()))
    }
}

impl Home {
    fn poll_rewritten(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.rewritten.is_empty() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(context, &self.rewritten))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.rewritten.advance(written);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Home {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_rewritten(context))?;
        let Some(first) = &this.first else {
            return Pin::new(&mut this.stream).poll_write(context, bytes);
        };
        this.held.extend_from_slice(bytes);
        let refused = |error| Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, error)));
        match first.rewrite(&this.held) {
            Ok(Some(rewritten)) => {
                this.rewritten = rewritten.into();
                (this.held, this.first) = (Vec::new(), None);
            }
            Ok(None) if this.held.len() > LONGEST_HEAD => {
                return refused("a request to the daemon itself has no end of its head");
            }
            Ok(None) => {}
            Err(why) => return refused(why),
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_rewritten(context))?;
        Pin::new(&mut this.stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_rewritten(context))?;
        Pin::new(&mut this.stream).poll_shutdown(context)
    }
}

impl AsyncRead for Home {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(context, buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(path: &str) -> FirstHead {
        let header = Some(("mortise-cause".to_owned(), "the token".to_owned()));
        FirstHead { path: path.to_owned(), header }
    }

    fn rewritten(path: &str, head: &str) -> Option<String> {
        let rewritten = first(path).rewrite(head.as_bytes()).expect("it is a head");
        rewritten.map(|it| String::from_utf8(it).expect("text"))
    }

    #[test]
    fn what_may_be_read_in_another_way_is_refused_at_once() {
        for (head, part) in [
            ("GET / HTTP/1.1\nHost: a\n\nx", "CR and LF"),
            ("GET / HTTP/1.1\r\nHost: a\r\n\nPOST / HTTP/1.1\r\n\r\n", "CR and LF"),
            ("GET / HTTP/1.1\r\nHost: a\n\r\n\r\n", "CR and LF"),
            ("GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n", "CR and LF"),
            ("\r\n\r\nGET / HTTP/1.1\r\n\r\n", "its method"),
            ("\r\nGET / HTTP/1.1\r\n\r\n", "its method"),
            ("\nGET / HTTP/1.1\r\n\r\n", "its method"),
            ("\x16\x03\x01\x02", "not encrypted"),
        ] {
            let refused = first("").rewrite(head.as_bytes());
            assert!(refused.is_err_and(|it| it.contains(part)), "{head:?}");
        }
        // The body is nobody's business, and the rest of the head may still come.
        assert!(rewritten("", "GET / HTTP/1.1\r\n\r\n\n\n").is_some());
        assert!(rewritten("", "GET / HTTP/1.1\r").is_none());
    }

    #[test]
    fn the_first_head_says_what_the_daemon_knows() {
        let head = "POST /m/works.list?x=1 HTTP/1.1\r\nHost: a\r\nMortise-Cause: forged\r\n\
                    Connection: keep-alive\r\nContent-Length: 2\r\n\r\n{}";
        let expected = "POST /works.list?x=1 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\
                        mortise-cause: the token\r\nconnection: close\r\n\r\n{}";
        assert_eq!(rewritten("/m", head).as_deref(), Some(expected));
        for (path, before, after) in [
            ("", "GET /a HTTP/1.1", "GET /a HTTP/1.1\r\n"),
            ("/m", "GET /m HTTP/1.1", "GET / HTTP/1.1\r\n"),
            ("/m", "GET /m?a HTTP/1.1", "GET /?a HTTP/1.1\r\n"),
            ("/m", "GET /other HTTP/1.1", "GET /other HTTP/1.1\r\n"),
        ] {
            let head = rewritten(path, &format!("{before}\r\n\r\n")).expect("whole");
            assert!(head.starts_with(after), "{path} {before}: {head}");
        }
        assert_eq!(rewritten("", "GET / HTTP/1.1\r\nHost: a\r\n"), None);
    }

    #[tokio::test]
    async fn only_vetted_addresses_are_connected_to() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let egress = Egress::new(super::super::EgressOptions::default()).expect("good options");
        let open = EgressRules::default();
        for host in ["127.0.0.1", "localhost", "0.0.0.0", "::1", "::ffff:127.0.0.1", "127.1", ""] {
            let refused = egress.connect(host, port, &open).await;
            assert!(refused.is_err(), "{host}");
        }
        let refused = egress.connect("127.0.0.1", port, &open).await.expect_err("it is refused");
        assert!(refused.to_string().contains("unless an egress rule allows it"), "{refused}");
        let allowed = format!("127.0.0.1:{port}").parse().expect("a destination");
        let rules = EgressRules { internal: vec![allowed], ..EgressRules::default() };
        egress.connect("127.0.0.1", port, &rules).await.expect("it is allowed");
    }
}
