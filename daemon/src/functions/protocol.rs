//! What the pool and a runner say to each other over their one socket.
//!
//! A frame is the length of its header, the length of its body, the header as JSON, the body as
//! bytes. Code, events, results and HTTP bodies travel as bodies and are never escaped. Either side
//! may be newer only by a new build: both are the same binary, so there is no negotiation, only
//! [`PROTOCOL`] to notice a binary that was replaced under a running daemon.

use serde::{Deserialize, Serialize};

use super::outcome::{Failure, LogLine};
use super::sandbox::SandboxReport;
use crate::model::http::{Headers, Redirects};

/// Changes whenever a frame changes.
pub(super) const PROTOCOL: u32 = 3;

/// The most that one frame may hold. A peer that announces more is out of step or hostile.
pub(super) const LARGEST_FRAME: usize = 256 * 1024 * 1024;

/// How many bytes of one TCP connection either side may send before the other has said, with
/// `Taken`, that it has passed them on. Who sends more has its connection closed.
pub(super) const WINDOW: usize = 256 * 1024;

/// From the pool to a runner.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum ToRunner {
    /// The code of the runs that follow; the body is prepared code.
    Code,
    /// Something to be compiled, for a process that does nothing else ever: files, with the prepared
    /// code that they are part of as the body, or with no files the runtime's own scripts.
    Compile { files: Vec<String> },
    /// What a [`FromRunner::Compiled`] answered for the runtime's own scripts.
    OwnCompiled,
    /// What a [`FromRunner::Compiled`] answered, for the code that was sent last.
    Compiled,
    /// One run; the body is the event, a JSON object.
    Run(RunHeader),
    /// The answer to a [`FromRunner::Fetch`]; the body is the response's.
    Fetched { id: u64, answer: FetchAnswer },
    /// The answer to a [`FromRunner::Connect`]: nothing is wrong, or why there is no connection.
    Connected { id: u64, error: Option<String> },
    /// Bytes that came over a connection, as the body. An empty body: the other side sends no more.
    Received { id: u64 },
    /// So many bytes of [`FromRunner::Send`] have reached the other side's host.
    Taken { id: u64, bytes: usize },
    /// The connection is gone; nothing more comes for it.
    Closed { id: u64, error: Option<String> },
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct RunHeader {
    pub run_id: String,
    pub function: String,
    pub timeout_ms: u64,
    pub memory_bytes: u64,
    pub output_bytes: u64,
    pub fresh: bool,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum FetchAnswer {
    Response { status: u16, url: String, redirected: bool, headers: Headers },
    Failed { message: String },
}

/// From a runner to the pool.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum FromRunner {
    /// The first frame: the process is up and in its sandbox.
    Hello { protocol: u32, sandbox: SandboxReport },
    /// The function wants an HTTP request made; the body is the request's.
    Fetch { id: u64, request: FetchHeader },
    /// The function does not want the answer any more.
    Abandon { id: u64 },
    /// The run wants a TCP connection; the daemon's egress decides, by the host as written. Ids are
    /// unique among the connections of a process.
    Connect { id: u64, host: String, port: u16 },
    /// Bytes for a connection, as the body. An empty body: no more will be sent.
    Send { id: u64 },
    /// So many bytes of [`ToRunner::Received`] have been read; as many more may come.
    Taken { id: u64, bytes: usize },
    /// The connection is not wanted any more; what was sent before still goes out.
    Close { id: u64 },
    /// The answer to [`ToRunner::Compile`]; the body is the compiled files.
    Compiled,
    /// Files that a first run had to compile itself, when that was worth telling.
    Loaded { files: Vec<String> },
    /// Console output of a run that is still going.
    Logs(Vec<LogLine>),
    /// The run is over; the body is its result, when there is no failure.
    Done { failure: Option<Failure>, logs: Vec<LogLine>, after: AfterRun },
}

/// What a runner is good for after a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum AfterRun {
    /// The next run.
    Ready,
    /// Nothing: it holds too much that it cannot let go of. The pool ends it.
    Spent,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct FetchHeader {
    pub method: String,
    pub url: String,
    pub headers: Headers,
    pub redirects: Redirects,
}

const PREFIX: usize = 8;

/// Appends one frame to `bytes`.
pub(super) fn write_frame<H: Serialize>(bytes: &mut Vec<u8>, header: &H, body: &[u8]) {
    let start = bytes.len();
    bytes.extend_from_slice(&[0; PREFIX]);
    serde_json::to_writer(&mut *bytes, header).expect("frames hold nothing that JSON cannot");
    let header_length = bytes.len() - start - PREFIX;
    bytes[start..start + 4].copy_from_slice(&length(header_length));
    bytes[start + 4..start + PREFIX].copy_from_slice(&length(body.len()));
    bytes.extend_from_slice(body);
}

fn length(length: usize) -> [u8; 4] {
    // Longer frames are refused where their content enters; this one will be refused by the peer.
    u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes()
}

/// A frame that was taken from the front of the bytes received so far.
pub(super) struct Frame<H> {
    pub header: H,
    pub body: std::ops::Range<usize>,
    /// How many bytes the frame took.
    pub length: usize,
}

/// Bytes that are no frame.
#[derive(Debug, thiserror::Error)]
pub(super) enum BadFrame {
    #[error("a frame of {0} bytes is larger than the {LARGEST_FRAME} allowed")]
    TooLarge(usize),
    #[error("a frame's header cannot be read: {0}")]
    Header(#[from] serde_json::Error),
}

/// The header of the first frame of `bytes`, whose body need not be there yet.
pub(super) fn read_header<'a, H: Deserialize<'a>>(bytes: &'a [u8]) -> Result<Option<H>, BadFrame> {
    let Some(Lengths { header, .. }) = frame_lengths(bytes)? else { return Ok(None) };
    let Some(header) = bytes.get(PREFIX..PREFIX + header) else { return Ok(None) };
    Ok(Some(serde_json::from_slice(header)?))
}

/// The first frame of `bytes`; `None` until all of it is there.
pub(super) fn read_frame<'a, H: Deserialize<'a>>(
    bytes: &'a [u8],
) -> Result<Option<Frame<H>>, BadFrame> {
    let Some(Lengths { header, body }) = frame_lengths(bytes)? else { return Ok(None) };
    let header_end = PREFIX + header;
    let length = header_end + body;
    if bytes.len() < length {
        return Ok(None);
    }
    let header = serde_json::from_slice(&bytes[PREFIX..header_end])?;
    Ok(Some(Frame { header, body: header_end..length, length }))
}

/// How long the parts of a frame are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lengths {
    pub header: usize,
    pub body: usize,
}

/// How long the first frame of `bytes` is, once its prefix is there.
pub(super) fn frame_length(bytes: &[u8]) -> Result<Option<usize>, BadFrame> {
    Ok(frame_lengths(bytes)?.map(|Lengths { header, body }| PREFIX + header + body))
}

/// How long the parts of the first frame of `bytes` are, once its prefix is there.
pub(super) fn frame_lengths(bytes: &[u8]) -> Result<Option<Lengths>, BadFrame> {
    let Some(prefix) = bytes.get(..PREFIX) else { return Ok(None) };
    let (header, body) = (number(&prefix[..4]), number(&prefix[4..]));
    let length = PREFIX + header + body;
    if length > LARGEST_FRAME {
        return Err(BadFrame::TooLarge(length));
    }
    Ok(Some(Lengths { header, body }))
}

fn number(bytes: &[u8]) -> usize {
    bytes.iter().rev().fold(0, |sum, byte| sum << 8 | usize::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_read_whole_or_not_at_all() {
        let mut bytes = Vec::new();
        write_frame(&mut bytes, &ToRunner::Code, b"one");
        write_frame(&mut bytes, &FromRunner::Abandon { id: 7 }, b"");
        let first = read_frame::<ToRunner>(&bytes).expect("good").expect("whole");
        assert_eq!(&bytes[first.body], b"one");
        let header = read_header::<ToRunner>(&bytes[..first.length - 3]).expect("good");
        assert!(matches!(header, Some(ToRunner::Code)), "before its body is there");
        assert!(read_header::<ToRunner>(&bytes[..PREFIX + 1]).expect("good").is_none());
        for end in 0..first.length {
            assert!(read_frame::<ToRunner>(&bytes[..end]).expect("good").is_none());
        }
        let second = read_frame::<FromRunner>(&bytes[first.length..]).expect("good");
        assert!(matches!(second.expect("whole").header, FromRunner::Abandon { id: 7 }));
    }

    #[test]
    fn nonsense_is_refused_before_it_is_waited_for() {
        assert!(read_frame::<ToRunner>(&[0xff; 8]).is_err());
        let mut bytes = Vec::new();
        write_frame(&mut bytes, &FromRunner::Abandon { id: 7 }, b"");
        assert!(read_frame::<ToRunner>(&bytes).is_err());
    }
}
