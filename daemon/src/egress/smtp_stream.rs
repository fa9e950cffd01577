//! The connection under a conversation with a mail server: bounded, and handed on line by line.
//!
//! Nothing is read ahead of a line: whatever a stranger on the way says in the clear after STARTTLS goes
//! into the handshake, which fails of it, and is never taken for an answer of the server behind it.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use lettre::transport::smtp::client::AsyncTokioStream;
use tokio::io::{
    AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader,
    ReadBuf,
};

/// More than any conversation of ours.
const MOST_BYTES: usize = 1 << 20;
/// Of one answer.
const MOST_LINES: usize = 100;
const LONGEST_LINE: u64 = 4096;

/// What a server's end of a conversation is read from.
pub(super) trait Stream:
    AsyncRead + AsyncWrite + Unpin + Send + Sync + std::fmt::Debug
{
}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + Sync + std::fmt::Debug> Stream for T {}

/// A connection, as bounded lines.
#[derive(Debug)]
pub(super) struct LineStream<S> {
    inner: BufReader<S>,
    /// Said before the server says anything.
    before: &'static [u8],
    left: usize,
}

/// An answer of a server.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) code: u16,
    pub(super) lines: Vec<String>,
}

impl<S: Stream> LineStream<S> {
    pub(super) fn new(stream: S) -> LineStream<S> {
        LineStream { inner: BufReader::new(stream), before: b"", left: MOST_BYTES }
    }

    /// With a greeting in the place of the one that the server has said already.
    pub(super) fn greeted(stream: S) -> LineStream<S> {
        LineStream { before: b"220 encrypted\r\n", ..LineStream::new(stream) }
    }

    /// Says a line, without its end, and hears the answer.
    pub(super) async fn ask(&mut self, line: &str) -> io::Result<Reply> {
        self.write_all(format!("{line}\r\n").as_bytes()).await?;
        self.flush().await?;
        self.hear().await
    }

    /// Hears an answer.
    pub(super) async fn hear(&mut self) -> io::Result<Reply> {
        let bad = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
        let mut lines = Vec::new();
        while lines.len() < MOST_LINES {
            let mut line = Vec::new();
            let read = (&mut self.inner).take(LONGEST_LINE).read_until(b'\n', &mut line).await?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            let code = line.get(..3).and_then(|it| it.parse().ok());
            let code = code.filter(|it| (200..600).contains(it));
            let code: u16 = code.ok_or_else(|| bad("the answer is none of a mail server"))?;
            let goes_on = line.as_bytes().get(3) == Some(&b'-');
            lines.push(line.get(4..).unwrap_or_default().to_owned());
            if !goes_on {
                return Ok(Reply { code, lines });
            }
        }
        Err(bad("the answer has no end"))
    }

    /// The connection itself; an error if the server has said more than was asked.
    pub(super) fn into_inner(self) -> io::Result<S> {
        if self.inner.buffer().is_empty() {
            return Ok(self.inner.into_inner());
        }
        let what = "something was said between STARTTLS and the handshake, which only somebody on the \
                    way has a reason for";
        Err(io::Error::new(io::ErrorKind::InvalidData, what))
    }
}

impl<S: Stream> AsyncRead for LineStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        to: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.before.is_empty() {
            let (now, later) = self.before.split_at(self.before.len().min(to.remaining()));
            to.put_slice(now);
            self.before = later;
            return Poll::Ready(Ok(()));
        }
        let left = self.left;
        let there = ready!(Pin::new(&mut self.inner).poll_fill_buf(context))?;
        let line = there.iter().position(|it| *it == b'\n').map_or(there.len(), |it| it + 1);
        let taken = line.min(to.remaining());
        if taken > left {
            let what = "the server says more than a conversation takes";
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, what)));
        }
        to.put_slice(&there[..taken]);
        Pin::new(&mut self.inner).consume(taken);
        self.left = left - taken;
        Poll::Ready(Ok(()))
    }
}

impl<S: Stream> AsyncWrite for LineStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(self.inner.get_mut()).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.inner.get_mut()).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.inner.get_mut()).poll_shutdown(context)
    }
}

impl<S: Stream> AsyncTokioStream for LineStream<S> {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        // Nobody asks.
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn answers_are_heard_and_bounded() {
        let (ours, mut theirs) = tokio::io::duplex(64 * 1024);
        let mut stream = LineStream::new(ours);
        theirs.write_all(b"250-a.example\r\n250-STARTTLS\r\n250 SIZE 5\r\n").await.unwrap();
        let reply = stream.ask("EHLO b.example").await.unwrap();
        let lines = ["a.example", "STARTTLS", "SIZE 5"].map(str::to_owned).to_vec();
        assert_eq!(reply, Reply { code: 250, lines });
        for nonsense in ["hello\r\n", "99 x\r\n", "999 x\r\n", "\u{e9}\u{e9}\r\n"] {
            theirs.write_all(nonsense.as_bytes()).await.unwrap();
            assert!(stream.hear().await.is_err(), "{nonsense}");
        }
        theirs.write_all("250-x\r\n".repeat(200).as_bytes()).await.unwrap();
        assert!(stream.hear().await.unwrap_err().to_string().contains("no end"));
    }

    #[tokio::test]
    async fn nothing_is_read_ahead() {
        let (ours, mut theirs) = tokio::io::duplex(1024);
        let mut stream = LineStream::greeted(ours);
        theirs.write_all(b"250 one\r\n250 two\r\n").await.unwrap();
        for expected in ["220 encrypted\r\n", "250 one\r\n", "250 two\r\n"] {
            let mut bytes = [0; 100];
            let read = stream.read(&mut bytes).await.unwrap();
            assert_eq!(&bytes[..read], expected.as_bytes());
        }
        theirs.write_all(b"220 go\r\n220 injected\r\n").await.unwrap();
        assert_eq!(stream.ask("STARTTLS").await.unwrap().code, 220);
        assert!(stream.into_inner().unwrap_err().to_string().contains("on the way"));
    }

    #[tokio::test]
    async fn a_server_that_goes_on_and_on_is_cut_off() {
        let (ours, mut theirs) = tokio::io::duplex(64 * 1024);
        let mut stream = LineStream::new(ours);
        tokio::spawn(async move { while theirs.write_all(&[b'x'; 4096]).await.is_ok() {} });
        let mut all = Vec::new();
        let error = stream.read_to_end(&mut all).await.unwrap_err();
        assert!(error.to_string().contains("more than"), "{error}");
        assert!(all.len() <= MOST_BYTES + 8192);
    }
}
