//! What a program says: its result on standard output, its log on standard error, its exit status.
//!
//! Pure: bytes in, lines and verdicts out. Everything is bounded as it comes.

use std::collections::VecDeque;

use serde_json::value::RawValue;

use crate::functions::outcome::{Failure, FailureKind};

/// The exit status of a failure that goes away by itself: `EX_TEMPFAIL` of sysexits.h.
const TRY_AGAIN: i32 = 75;
const LONGEST_LINE: usize = 16 * 1024;
const MOST_LAST_LINES: usize = 10;
const MOST_LAST_BYTES: usize = 2 * 1024;
/// Where something was left out.
const CUT: &str = "…";

/// Takes bytes apart into lines, and remembers the last ones.
#[derive(Default)]
pub(super) struct Lines {
    partial: Vec<u8>,
    left_out: usize,
    last: VecDeque<String>,
}

impl Lines {
    /// Hands whole lines to `take`.
    pub(super) fn push(&mut self, mut bytes: &[u8], mut take: impl FnMut(&str)) {
        while let Some(end) = bytes.iter().position(|it| *it == b'\n') {
            self.extend(&bytes[..end]);
            self.finish_line(&mut take);
            bytes = &bytes[end + 1..];
        }
        self.extend(bytes);
    }

    /// Hands out what came after the last line break.
    pub(super) fn finish(&mut self, mut take: impl FnMut(&str)) {
        if !self.partial.is_empty() {
            self.finish_line(&mut take);
        }
    }

    fn extend(&mut self, bytes: &[u8]) {
        let kept = bytes.len().min(LONGEST_LINE - self.partial.len());
        self.partial.extend_from_slice(&bytes[..kept]);
        self.left_out += bytes.len() - kept;
    }

    fn finish_line(&mut self, take: &mut impl FnMut(&str)) {
        if self.partial.ends_with(b"\r") {
            self.partial.pop();
        }
        let mut line = String::from_utf8_lossy(&self.partial).into_owned();
        if self.left_out > 0 {
            line.push_str(&format!("… ({} more bytes)", self.left_out));
        }
        take(&line);
        if self.last.len() == MOST_LAST_LINES {
            self.last.pop_front();
        }
        self.last.push_back(line);
        self.partial.clear();
        self.left_out = 0;
    }

    /// The last lines, for a message.
    fn last_words(&self) -> String {
        let text = self.last.iter().map(String::as_str).collect::<Vec<_>>().join("\n");
        let text = text.trim();
        if text.len() <= MOST_LAST_BYTES {
            return text.to_owned();
        }
        let start = text.len() - (MOST_LAST_BYTES - CUT.len());
        let start = (start..=text.len()).find(|it| text.is_char_boundary(*it)).unwrap_or(start);
        // Who masks secrets has to know that one may be here in part.
        format!("{CUT}{}", &text[start..])
    }
}

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Exited(i32),
    Killed(i32),
    /// Nobody could tell any more.
    Unknown,
}

/// What the run of a program came to that was not cut short.
pub(super) fn verdict(end: End, output: Vec<u8>, lines: &Lines) -> Result<String, Failure> {
    match end {
        End::Exited(0) => result(output),
        End::Exited(status) => {
            let words = lines.last_words();
            let message = match words.as_str() {
                "" => format!("exit status {status}, and nothing on standard error"),
                words => format!("exit status {status}: {words}"),
            };
            let mut failure = Failure::new(FailureKind::Thrown, message);
            failure.name = "ExitStatus".to_owned();
            failure.exit_status = Some(status);
            failure.retry = (status == TRY_AGAIN).then_some(true);
            Err(failure)
        }
        End::Killed(libc::SIGXCPU) => Err(Failure::new(
            FailureKind::Timeout,
            "the program used more processor time than its run may take",
        )),
        End::Killed(signal) => Err(Failure::new(
            FailureKind::Crashed,
            format!("the program was ended by the signal {}", name_of(signal)),
        )),
        End::Unknown => Err(Failure::new(
            FailureKind::Crashed,
            "the program's process ended without a status; it may have run out of memory",
        )),
    }
}

fn result(output: Vec<u8>) -> Result<String, Failure> {
    let bad = |start: &str, what: &str| {
        let end = start.char_indices().nth(200).map(|(at, _)| at);
        let start = end.map_or(start.to_owned(), |end| format!("{}{CUT}", &start[..end]));
        Failure::new(
            FailureKind::BadOutput,
            format!(
                "what the program wrote to standard output is {what}; it must be one JSON value or \
                 nothing (logs go to standard error). It begins with: {start}"
            ),
        )
    };
    let text = String::from_utf8(output)
        .map_err(|error| bad(&String::from_utf8_lossy(error.as_bytes()), "not UTF-8"))?;
    let trimmed = text.trim();
    if trimmed.is_empty() {
        return Ok("null".to_owned());
    }
    match serde_json::from_str::<&RawValue>(trimmed) {
        Ok(_) => Ok(trimmed.to_owned()),
        Err(error) => Err(bad(trimmed, &format!("no JSON ({error})"))),
    }
}

fn name_of(signal: i32) -> String {
    let name = match signal {
        libc::SIGABRT => "SIGABRT",
        libc::SIGALRM => "SIGALRM",
        libc::SIGBUS => "SIGBUS",
        libc::SIGFPE => "SIGFPE",
        libc::SIGHUP => "SIGHUP",
        libc::SIGILL => "SIGILL",
        libc::SIGINT => "SIGINT",
        libc::SIGKILL => "SIGKILL",
        libc::SIGPIPE => "SIGPIPE",
        libc::SIGQUIT => "SIGQUIT",
        libc::SIGSEGV => "SIGSEGV",
        libc::SIGSYS => "SIGSYS",
        libc::SIGTERM => "SIGTERM",
        libc::SIGTRAP => "SIGTRAP",
        libc::SIGUSR1 => "SIGUSR1",
        libc::SIGUSR2 => "SIGUSR2",
        libc::SIGXFSZ => "SIGXFSZ (a file grew larger than it may)",
        _ => return signal.to_string(),
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines_of(parts: &[&[u8]]) -> Vec<String> {
        let (mut lines, mut taken) = (Lines::default(), Vec::new());
        for part in parts {
            lines.push(part, |it| taken.push(it.to_owned()));
        }
        lines.finish(|it| taken.push(it.to_owned()));
        taken
    }

    #[test]
    fn lines_come_whole_and_bounded() {
        assert_eq!(lines_of(&[b"a\nb", b"c\r\n", b"\n", b"d"]), ["a", "bc", "", "d"]);
        assert_eq!(lines_of(&[b"\xff\n"]), ["\u{fffd}"]);
        let long = lines_of(&[&[b'x'; 20_000], &[b'x'; 10_000], b"\nnext\n"]);
        assert_eq!(long[0].len(), LONGEST_LINE + "… (13616 more bytes)".len());
        assert!(long[0].ends_with("(13616 more bytes)"));
        assert_eq!(long[1], "next");
    }

    #[test]
    fn verdicts_name_what_happened() {
        let mut lines = Lines::default();
        lines.push(b"one\ntwo\n", |_| ());
        let judge = |end, output: &[u8]| verdict(end, output.to_vec(), &lines);
        assert_eq!(judge(End::Exited(0), b" {\"a\": 1}\n").as_deref(), Ok("{\"a\": 1}"));
        assert_eq!(judge(End::Exited(0), b"\n").as_deref(), Ok("null"));
        for (end, output, kind, part, retry) in [
            (End::Exited(0), &b"hello"[..], FailureKind::BadOutput, "begins with: hello", None),
            (End::Exited(0), b"1 2", FailureKind::BadOutput, "one JSON value", None),
            (End::Exited(0), b"\xff", FailureKind::BadOutput, "not UTF-8", None),
            (End::Exited(3), b"", FailureKind::Thrown, "exit status 3: one\ntwo", None),
            (End::Exited(75), b"", FailureKind::Thrown, "exit status 75", Some(true)),
            (End::Killed(libc::SIGSEGV), b"", FailureKind::Crashed, "SIGSEGV", None),
            (End::Killed(libc::SIGXCPU), b"", FailureKind::Timeout, "processor time", None),
            (End::Unknown, b"", FailureKind::Crashed, "without a status", None),
        ] {
            let failure = judge(end, output).expect_err("it failed");
            assert_eq!((failure.kind, failure.retry), (kind, retry), "{failure:?}");
            assert!(failure.message.contains(part), "{failure:?}");
        }
        let failure = judge(End::Exited(1), b"").expect_err("it failed");
        assert_eq!(failure.name, "ExitStatus");
    }

    #[test]
    fn last_words_are_bounded() {
        let mut lines = Lines::default();
        for number in 0..100 {
            lines.push(format!("{number}{}\n", "ä".repeat(1000)).as_bytes(), |_| ());
        }
        let words = lines.last_words();
        assert!(words.len() <= MOST_LAST_BYTES && words.starts_with("…ä"), "{words}");
        let said = |text: &str| {
            let failure = verdict(End::Exited(0), text.as_bytes().to_vec(), &lines);
            failure.expect_err("no JSON").message
        };
        assert!(said(&"x".repeat(200)).ends_with('x'));
        assert!(said(&"x".repeat(201)).ends_with("x…"));
    }
}
