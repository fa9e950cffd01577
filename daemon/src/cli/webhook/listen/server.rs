//! The receiver's HTTP server: hands requests to [`super::receiver`] and shows what came. Everything
//! that a stranger sends is bounded in size, number and time.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Response, server};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::receiver::{Answer, Behaviour, Request, Seen, Signature, What, judge};
use super::say;
use crate::cli::show;
use crate::cli::stop::Stop;
use crate::clock::Clock;
use crate::secrets::VerificationKeys;

/// Connections that are served at once; others wait.
const CONNECTIONS: usize = 64;
const LARGEST_BODY: usize = 16 * 1024 * 1024;
const LARGEST_HEAD: usize = 64 * 1024;
/// For a head, for a body, and for taking an answer.
const PATIENCE: Duration = Duration::from_secs(15);

/// What the server works with.
pub(super) struct Site {
    pub(super) keys: Option<VerificationKeys>,
    pub(super) behaviour: Behaviour,
    pub(super) as_json: bool,
    pub(super) with_body: bool,
    /// After so many events it ends.
    pub(super) count: Option<u64>,
    pub(super) stop: Stop,
    pub(super) clock: Clock,
    pub(super) tally: Mutex<Tally>,
}

/// What came so far.
#[derive(Default)]
pub(super) struct Tally {
    seen: Seen,
    events: u64,
    /// How many of them are answered.
    answered: u64,
    /// Requests whose signature was wrong.
    pub(super) bad: u64,
    /// What is shown goes nowhere any more.
    pub(super) unheard: Option<crate::cli::Failure>,
}

/// Serves until the runtime ends.
pub(super) async fn serve(listener: TcpListener, site: Arc<Site>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = room.clone().acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            // Such as too many open files: others end meanwhile.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let site = site.clone();
        tokio::spawn(async move {
            let is_event = connection(stream, &site).await;
            if is_event {
                site.answered();
            }
            drop(place);
        });
    }
}

/// One connection, which is good for one request. Answers whether that was an event.
async fn connection(stream: TcpStream, site: &Arc<Site>) -> bool {
    let longest = PATIENCE * 3 + site.behaviour.delay;
    let is_event = Arc::new(Mutex::new(false));
    let (heard, served) = (is_event.clone(), site.clone());
    let service = service_fn(move |request| {
        let (site, heard) = (served.clone(), heard.clone());
        async move { Ok::<_, Infallible>(respond(request, &site, &heard).await) }
    });
    let mut builder = server::conn::http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(PATIENCE);
    builder.max_buf_size(LARGEST_HEAD).keep_alive(false);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    // Whoever hangs up or takes too long gets no answer; what came is shown already.
    let _ = tokio::time::timeout(longest, connection).await;
    *is_event.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn respond(
    request: hyper::Request<Incoming>,
    site: &Site,
    is_event: &Mutex<bool>,
) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let body = tokio::time::timeout(PATIENCE, Limited::new(body, LARGEST_BODY).collect()).await;
    let body = match body {
        Ok(Ok(body)) => body.to_bytes().to_vec(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => return plain(413),
        Ok(Err(_)) => return plain(400),
        Err(_) => return plain(408),
    };
    let headers = head.headers.iter().map(|(name, value)| {
        (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    });
    let request = Request {
        method: head.method.as_str().to_owned(),
        path: head.uri.path().to_owned(),
        headers: headers.collect(),
        body,
    };
    let Some((answer, heard)) = site.take(&request) else {
        return plain(503);
    };
    *is_event.lock().unwrap_or_else(PoisonError::into_inner) = heard;
    tokio::time::sleep(answer.delay).await;
    response(&answer)
}

fn plain(status: u16) -> Response<Full<Bytes>> {
    let body = serde_json::json!({});
    response(&Answer { status, body, retry_after: None, delay: Duration::ZERO })
}

fn response(answer: &Answer) -> Response<Full<Bytes>> {
    // A redirect leads nowhere, and 204 and 304 have no body.
    let body = match answer.status {
        204 | 304 => Bytes::new(),
        _ => Bytes::from(format!("{}\n", answer.body)),
    };
    let mut builder =
        Response::builder().status(answer.status).header("content-type", "application/json");
    if let Some(seconds) = answer.retry_after {
        builder = builder.header("retry-after", seconds);
    }
    // All parts of it are ours.
    builder.body(Full::new(body)).unwrap_or_default()
}

impl Site {
    /// Looks at a request, shows it and says what is answered, and whether it is an event; nothing when
    /// nothing more is taken.
    fn take(&self, request: &Request) -> Option<(Answer, bool)> {
        let now_ms = self.clock.now_ms();
        // Held while it is shown, so that lines stand in the order of what they count.
        let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        if self.count.is_some_and(|it| tally.events >= it) {
            return None;
        }
        let judged =
            judge(request, self.keys.as_ref(), &self.behaviour, &mut tally.seen, now_ms / 1000);
        let is_event = matches!(judged.what, What::Event { .. });
        tally.events += u64::from(is_event);
        tally.bad += u64::from(matches!(judged.signature, Signature::Wrong { .. }));
        let shown = if self.as_json {
            say::as_json(request, &judged, now_ms).to_string()
        } else {
            say::lines(request, &judged, now_ms, self.with_body).join("\n")
        };
        if let Err(failure) = show::print(&shown) {
            tally.unheard = Some(failure);
            self.stop.tell();
        }
        Some((judged.answer, is_event))
    }

    /// An event was answered, or its sender is gone.
    fn answered(&self) {
        let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        tally.answered += 1;
        if self.count.is_some_and(|it| tally.answered >= it) {
            self.stop.tell();
        }
    }
}
