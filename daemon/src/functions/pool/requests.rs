//! What a run called out to: one entry per request or connection, for people who look at the run.
//!
//! Must never keep a query, user information, a header or a body: those are where secrets are. What
//! is left is masked like a log.

use std::collections::HashMap;

use futures_util::future::Aborted;
use tokio::time::Instant;

use super::redact::Redactor;
use crate::functions::outcome::{LogLevel, LogLine, MadeRequest};
use crate::model::http::OutgoingResponse;

/// How many are kept of one run.
const MOST: usize = 100;
/// What is longer is not even searched for secrets, bytes.
const LONGEST_SEARCHED: usize = 64 * 1024;

/// What a conversation leaves behind, beside its outcome.
pub(super) struct Said {
    pub(super) logs: Vec<LogLine>,
    pub(super) requests: Vec<MadeRequest>,
}

/// The requests of one run so far.
pub(super) struct Requests {
    began: Instant,
    made: Vec<MadeRequest>,
    /// Where those are that have not ended.
    open: HashMap<Which, usize>,
    left_out: usize,
}

/// One of them, by the id that the runner gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Which {
    Fetch(u64),
    Connection(u64),
}

impl Requests {
    pub(super) fn new() -> Requests {
        Requests { began: Instant::now(), made: Vec::new(), open: HashMap::new(), left_out: 0 }
    }

    /// A request leaves.
    pub(super) fn fetches(&mut self, id: u64, method: &str, url: &str) {
        if let Some(place) = self.begin(Which::Fetch(id)) {
            place.method = or_sign(method, "(no HTTP method)").to_owned();
            place.target = target_of(url);
        }
    }

    /// A connection is opened.
    pub(super) fn connects(&mut self, id: u64, host: &str, port: u16) {
        if let Some(place) = self.begin(Which::Connection(id)) {
            place.method = "CONNECT".to_owned();
            place.target = format!("{}:{port}", or_sign(host, "…"));
        }
    }

    /// The answer to a request is there, or never will be.
    pub(super) fn fetched(
        &mut self,
        id: u64,
        result: &Result<Result<OutgoingResponse, String>, Aborted>,
    ) {
        let (status, error) = match result {
            Ok(Ok(response)) => (Some(response.status), None),
            Ok(Err(message)) => (None, Some(message.as_str())),
            Err(Aborted) => (None, Some("the function gave it up")),
        };
        self.end(Which::Fetch(id), status, error);
    }

    /// A connection is closed, or was never open.
    pub(super) fn closed(&mut self, id: u64, error: Option<&str>) {
        self.end(Which::Connection(id), None, error);
    }

    /// All of them, with a line for the log when there were more than are kept.
    pub(super) fn into_list(self, redactor: &Redactor<'_>) -> (Vec<MadeRequest>, Option<LogLine>) {
        let Requests { began, mut made, left_out, .. } = self;
        for it in &mut made {
            mask(redactor, it);
        }
        let line = (left_out > 0).then(|| LogLine {
            level: LogLevel::Info,
            at_ms: milliseconds(began),
            message: format!("{left_out} more requests were made than the {MOST} that are listed"),
        });
        (made, line)
    }

    fn begin(&mut self, which: Which) -> Option<&mut MadeRequest> {
        if self.made.len() >= MOST {
            self.left_out += 1;
            return None;
        }
        self.open.insert(which, self.made.len());
        self.made.push(MadeRequest { at_ms: milliseconds(self.began), ..MadeRequest::default() });
        self.made.last_mut()
    }

    fn end(&mut self, which: Which, status: Option<u16>, error: Option<&str>) {
        let now_ms = milliseconds(self.began);
        if let Some(place) = self.open.remove(&which)
            && let Some(request) = self.made.get_mut(place)
        {
            request.duration_ms = Some(now_ms.saturating_sub(request.at_ms));
            request.status = status;
            request.error = error.map(|it| or_sign(it, "…").to_owned());
        }
    }
}

/// Masks secrets in what is kept of a request.
pub(super) fn mask(redactor: &Redactor<'_>, request: &mut MadeRequest) {
    let MadeRequest { method, target, error, at_ms: _, duration_ms: _, status: _ } = request;
    for text in [Some(method), Some(target), error.as_mut()].into_iter().flatten() {
        redactor.text(text);
    }
}

/// What is too long to be searched is not kept at all: half a secret would not be known as one.
fn or_sign<'a>(text: &'a str, sign: &'a str) -> &'a str {
    if text.len() > LONGEST_SEARCHED { sign } else { text }
}

fn milliseconds(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// Scheme, host, port and path of a URL as a function wrote it. Read the way in which the egress
/// reads it, as far as it matters for what is left out.
fn target_of(url: &str) -> String {
    let is_ignored = |it: &char| matches!(it, '\t' | '\n' | '\r');
    let url: String = url.trim().chars().filter(|it| !is_ignored(it)).collect();
    let url = url.split(['?', '#']).next().unwrap_or_default();
    let scheme = url.split(':').next().unwrap_or_default();
    let lower = scheme.to_ascii_lowercase();
    if !matches!(lower.as_str(), "http" | "https") || scheme.len() == url.len() {
        return "(no HTTP URL)".to_owned();
    }
    let rest = url[scheme.len() + 1..].trim_start_matches(['/', '\\']);
    let (authority, path) = rest.split_at(rest.find(['/', '\\']).unwrap_or(rest.len()));
    let host = authority.rsplit('@').next().unwrap_or_default();
    let (path, host) = (or_sign(path, "/…"), or_sign(host, "…"));
    format!("{lower}://{host}{path}")
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::*;
    use crate::functions::pool::SecretTexts;

    #[test]
    fn of_a_url_only_the_harmless_parts_are_kept() {
        for (url, expected) in [
            ("https://api.example.com/v1/things?key=s3cret#x", "https://api.example.com/v1/things"),
            ("https://ada:s3cret@example.com:8443/a@b", "https://example.com:8443/a@b"),
            ("HTTP://a:s3@cret@example.com", "http://example.com"),
            ("http:\\\\ada:s3cret@example.com\\a?s3cret", "http://example.com\\a"),
            ("https:ada:s3cret@example.com/a", "https://example.com/a"),
            (" ht\ntps:///ada:s3cret@exa\tmple.com/ ", "https://example.com/"),
            ("https://example.com?s3cret@x", "https://example.com"),
            ("data:text/plain,s3cret", "(no HTTP URL)"),
            ("s3cret", "(no HTTP URL)"),
            ("http", "(no HTTP URL)"),
            ("", "(no HTTP URL)"),
        ] {
            assert_eq!(target_of(url), expected, "{url}");
        }
        assert_eq!(target_of(&format!("http://a/{}", "x".repeat(100_000))), "http://a/…");
    }

    #[test]
    fn secrets_are_masked_and_only_so_many_are_kept() {
        let secrets: SecretTexts = [Zeroizing::new("tok-123456".to_owned())].into_iter().collect();
        let redactor = Redactor::new(&secrets);
        let mut requests = Requests::new();
        for id in 0..103 {
            requests.fetches(id, "GET", "http://a.example/bot-tok-123456/send?tok-123456");
        }
        requests.fetched(1, &Ok(Err("no way to tok-123456".to_owned())));
        requests.fetched(102, &Err(Aborted));
        let (made, line) = requests.into_list(&redactor);
        assert_eq!(made.len(), 100);
        assert_eq!(made[0].target, "http://a.example/bot-[secret]/send");
        assert_eq!((made[0].duration_ms, made[0].status), (None, None));
        assert_eq!(made[1].error.as_deref(), Some("no way to [secret]"));
        assert!(made[1].duration_ms.is_some());
        assert!(line.expect("three more").message.starts_with("3 more requests"));
    }

    #[test]
    fn what_is_too_long_to_be_searched_is_not_kept() {
        let long = "x".repeat(LONGEST_SEARCHED + 1);
        let secrets: SecretTexts = [].into_iter().collect();
        let mut requests = Requests::new();
        requests.fetches(1, &long, "http://a.example/");
        requests.connects(1, &long, 80);
        requests.closed(1, Some(&long));
        let (made, _) = requests.into_list(&Redactor::new(&secrets));
        assert_eq!(
            (made[0].method.as_str(), made[1].target.as_str()),
            ("(no HTTP method)", "…:80")
        );
        assert_eq!(made[1].error.as_deref(), Some("…"));
    }

    #[test]
    fn a_connection_and_a_request_of_the_same_id_are_two() {
        let secrets: SecretTexts = [].into_iter().collect();
        let mut requests = Requests::new();
        requests.fetches(1, "POST", "http://a.example/");
        requests.connects(1, "db.example", 5432);
        requests.closed(1, Some("refused"));
        let (made, line) = requests.into_list(&Redactor::new(&secrets));
        assert!(line.is_none() && made[0].duration_ms.is_none() && made[0].error.is_none());
        assert_eq!(
            (made[1].method.as_str(), made[1].target.as_str()),
            ("CONNECT", "db.example:5432")
        );
        assert_eq!(made[1].error.as_deref(), Some("refused"));
    }
}
