//! What a runner may say, with a peer that says anything.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt;

use super::super::tests::invocation;
use super::*;
use crate::functions::outcome::LogLevel;
use crate::model::http::Redirects;

const OUTPUT: u64 = 1024;

/// Answers with as many bytes as it is asked to, or never.
#[derive(Default)]
struct Answers {
    bytes: Option<usize>,
    asked: AtomicUsize,
}

impl Fetch for Answers {
    fn fetch<'a>(
        &'a self,
        _invocation: &'a Invocation,
        request: OutgoingRequest,
    ) -> BoxFuture<'a, Result<OutgoingResponse, String>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let Some(bytes) = self.bytes else { return std::future::pending().boxed() };
        let answer = OutgoingResponse {
            status: 200,
            url: request.url,
            redirected: false,
            headers: Vec::new(),
            body: vec![0; bytes].into(),
        };
        std::future::ready(Ok(answer)).boxed()
    }
}

fn frame(header: &FromRunner, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    protocol::write_frame(&mut bytes, header, body);
    bytes
}

fn fetch(id: u64) -> FromRunner {
    let request = FetchHeader {
        method: "GET".to_owned(),
        url: "http://a.example/".to_owned(),
        headers: Vec::new(),
        redirects: Redirects::Follow,
    };
    FromRunner::Fetch { id, request }
}

fn done(logs: Vec<LogLine>) -> FromRunner {
    FromRunner::Done { failure: None, logs, after: AfterRun::Ready }
}

fn pair() -> (UnixStream, std::os::unix::net::UnixStream) {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().expect("a pair");
    ours.set_nonblocking(true).expect("it can be");
    (UnixStream::from_std(ours).expect("a socket"), theirs)
}

/// Has a conversation with one who says these bytes and then waits.
async fn hear(conversation: &mut Conversation<'_>, said: Vec<u8>) -> Result<Outcome, Break> {
    let (mut socket, mut theirs) = pair();
    let mut reader = theirs.try_clone().expect("a copy");
    let speaks = std::thread::spawn(move || theirs.write_all(&said));
    let reads = std::thread::spawn(move || reader.read_to_end(&mut Vec::new()));
    let (_stop, stopped) = watch::channel(false);
    let ended = conversation.hold(&mut socket, &mut BytesMut::new(), stopped).await;
    drop(socket);
    let _broken = speaks.join().expect("no panic");
    let _read = reads.join().expect("no panic");
    ended.map(|(outcome, _)| outcome)
}

#[track_caller]
fn is_nonsense(ended: Result<Outcome, Break>, part: &str) {
    match ended {
        Err(Break::Nonsense(what)) => assert!(what.contains(part), "{what}"),
        Err(Break::Lost) => panic!("lost, not {part}"),
        Err(Break::TimedOut) => panic!("timed out, not {part}"),
        Err(Break::ShuttingDown) => panic!("shut down, not {part}"),
        Ok(outcome) => panic!("{outcome:?}, not {part}"),
    }
}

/// Whoever keeps the socket full and never stops.
fn flood(mut theirs: std::os::unix::net::UnixStream) -> std::thread::JoinHandle<()> {
    let block = frame(&FromRunner::Taken { id: 1, bytes: 1 }, b"").repeat(1000);
    std::thread::spawn(move || while theirs.write_all(&block).is_ok() {})
}

#[tokio::test]
async fn a_flood_does_not_put_off_the_end() {
    let answers = Answers::default();
    for shuts_down in [false, true] {
        let mut invocation = invocation();
        invocation.timeout = Duration::from_millis(if shuts_down { 600_000 } else { 10 });
        let mut conversation = Conversation::new(&invocation, &answers, Vec::new(), OUTPUT);
        let (mut socket, theirs) = pair();
        let flooding = flood(theirs);
        let (stop, stopped) = watch::channel(false);
        let stopping = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(100));
            stop.send_replace(shuts_down);
            stop
        });
        let began = Instant::now();
        let mut incoming = BytesMut::new();
        let held = conversation.hold(&mut socket, &mut incoming, stopped);
        let ended = tokio::time::timeout(Duration::from_secs(30), held).await;
        match ended.expect("it ends in time") {
            Err(Break::TimedOut) => assert!(!shuts_down && began.elapsed() >= GRACE),
            Err(Break::ShuttingDown) => assert!(shuts_down),
            _ => panic!("it ended otherwise"),
        }
        drop(socket);
        flooding.join().expect("no panic");
        drop(stopping.join().expect("no panic"));
    }
}

#[tokio::test]
async fn what_no_runner_says_is_not_waited_for() {
    let (invocation, answers) = (invocation(), Answers::default());
    let announced = |header: &FromRunner, body: u32| {
        let mut bytes = frame(header, b"");
        bytes[4..8].copy_from_slice(&body.to_le_bytes());
        bytes
    };
    let mut twice = frame(&fetch(1), b"");
    twice.extend(frame(&fetch(1), b""));
    let large = vec![0; LARGEST_OTHER_BODY + 1];
    let output = u32::try_from(ROOM + 1025).expect("small");
    for (said, part) in [
        (vec![0xff; 8], "larger than the"),
        ([u32::to_le_bytes(5_000_000), [0; 4]].concat(), "a header of 5000000 bytes"),
        (announced(&FromRunner::Abandon { id: 1 }, 100_000), "a body of 100000 bytes"),
        (announced(&FromRunner::Send { id: 1 }, 300_000), "where 262144 are allowed"),
        (announced(&fetch(1), 200_000_000), "where 67108864 are allowed"),
        (announced(&done(Vec::new()), output), "bytes, where"),
        (frame(&FromRunner::Logs(Vec::new()), &large), "a body of 65537 bytes"),
        (frame(&FromRunner::Compiled, b""), "no place in a run"),
        (frame(&done(Vec::new()), b"no JSON"), "no JSON"),
        (frame(&done(Vec::new()), b"\xff"), "no JSON"),
        (twice, "a second request 1"),
        (b"\x01\0\0\0\0\0\0\0x".to_vec(), "header cannot be read"),
    ] {
        let mut conversation = Conversation::new(&invocation, &answers, Vec::new(), OUTPUT);
        is_nonsense(hear(&mut conversation, said).await, part);
    }
}

#[tokio::test]
async fn a_result_and_a_log_are_bounded_here_too() {
    let (invocation, answers) = (invocation(), Answers::default());
    let mut conversation = Conversation::new(&invocation, &answers, Vec::new(), OUTPUT);
    let line = |message: &str| LogLine {
        level: LogLevel::Info,
        at_ms: u64::MAX,
        message: message.to_owned(),
    };
    let mut said = Vec::new();
    for _ in 0..3 {
        said.extend(frame(&FromRunner::Logs(vec![line(&"x".repeat(700_000))]), b""));
    }
    said.extend(frame(&FromRunner::Logs(vec![line("y"); 3000]), b""));
    said.extend(frame(&done(vec![line("z")]), &[b'1'; 2000]));
    let ended = hear(&mut conversation, said).await;
    let Ok(Outcome::Failed(failure)) = ended else { panic!("the result is too large") };
    assert_eq!(failure.kind, FailureKind::OutputTooLarge);
    let logs = &conversation.logs;
    assert_eq!(logs.len(), MOST_LOG_LINES);
    assert!(logs[1].message.ends_with("x…"), "a cut is seen");
    assert!(logs.iter().map(|it| it.message.len()).sum::<usize>() < MOST_LOG_BYTES + 3 * 2001);
    assert!(logs.iter().all(|it| it.at_ms < 60_000), "nobody logs in the future");
}

#[tokio::test]
async fn what_is_given_up_keeps_its_place_until_it_is_gone() {
    let (invocation, answers) = (invocation(), Answers::default());
    let mut conversation = Conversation::new(&invocation, &answers, Vec::new(), OUTPUT);
    let mut said = Vec::new();
    for id in 0..100_000 {
        said.extend(frame(&fetch(id), b"body"));
        said.extend(frame(&FromRunner::Abandon { id }, b""));
    }
    said.extend(frame(&done(Vec::new()), b"1"));
    assert!(matches!(hear(&mut conversation, said).await, Ok(Outcome::Succeeded { .. })));
    assert!(conversation.fetches.len() <= FETCHES_AT_ONCE, "{}", conversation.fetches.len());
    assert!(conversation.waiting.is_empty());
}

#[tokio::test]
async fn answers_wait_for_who_does_not_read() {
    let invocation = invocation();
    let answers = Answers { bytes: Some(1 << 20), asked: AtomicUsize::new(0) };
    let mut conversation = Conversation::new(&invocation, &answers, Vec::new(), OUTPUT);
    let (mut socket, mut theirs) = pair();
    let said: Vec<u8> = (0..200).flat_map(|id| frame(&fetch(id), b"")).collect();
    theirs.write_all(&said).expect("it has room");
    let (_stop, stopped) = watch::channel(false);
    let mut incoming = BytesMut::new();
    let held = conversation.hold(&mut socket, &mut incoming, stopped);
    let ended = tokio::time::timeout(Duration::from_millis(500), held).await;
    assert!(ended.is_err(), "nothing ended it");
    assert!(answers.asked.load(Ordering::Relaxed) >= FETCHES_AT_ONCE);
    assert!(conversation.outgoing.len() <= 3 << 20, "{} wait", conversation.outgoing.len());
}

#[tokio::test]
async fn refusals_come_to_an_end() {
    let (invocation, answers) = (invocation(), Answers::default());
    let mut conversation = Conversation::new(&invocation, &answers, Vec::new(), OUTPUT);
    let connect = |id: u64| FromRunner::Connect { id, host: "x".repeat(300), port: 1 };
    let said: Vec<u8> =
        (0..=MOST_REFUSALS as u64).flat_map(|id| frame(&connect(id), b"")).collect();
    is_nonsense(hear(&mut conversation, said).await, "50000 times");
}

#[test]
fn cuts_have_a_sign() {
    let mut text = "aäb".to_owned();
    shorten(&mut text, 2);
    assert_eq!(text, "a…");
}
