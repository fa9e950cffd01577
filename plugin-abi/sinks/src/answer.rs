//! What came of an HTTP effect, and what a status means when the service says no more.

use mortise_plugin::{Act, Effect, EffectOutcome, Fault, HttpEffect, SinkOutput};
use serde_json::Value;

use crate::text::{one_line, shortened};
use crate::wait::retry_after_ms;

/// Of what a service says in its own words.
const MOST_SAID: usize = 300;

/// The answer of a service.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// Status code.
    pub status: u16,
    /// Headers, names in lower case.
    pub headers: &'a [(String, String)],
    /// Body.
    pub body: &'a [u8],
}

impl<'a> Answer<'a> {
    /// The first header with this name, in lower case.
    pub fn header(&self, name: &str) -> Option<&'a str> {
        let mut headers = self.headers.iter();
        headers.find(|it| it.0.eq_ignore_ascii_case(name)).map(|it| it.1.as_str())
    }

    /// The body as JSON.
    pub fn json(&self) -> Option<Value> {
        serde_json::from_slice(self.body).ok()
    }

    /// Whether the status is one of success.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// How long the service wants to be left alone, by `Retry-After`.
    pub fn retry_after_ms(&self, now_ms: u64) -> Option<u64> {
        retry_after_ms(self.header("retry-after")?, now_ms)
    }

    /// What it says, in one line that is not too long; nothing of a page for browsers. Where it is cut off,
    /// there is the sign of that, so that the daemon knows the beginning of a secret from a whole text.
    pub fn said(&self) -> String {
        let read = &self.body[..self.body.len().min(4 * MOST_SAID)];
        let mut text = String::from_utf8_lossy(read);
        if read.len() < self.body.len() {
            // A character may be cut in two.
            text = format!("{}\u{2026}", text.trim_end_matches('\u{fffd}')).into();
        }
        let is_page = text.trim_start().starts_with('<')
            || self.header("content-type").is_some_and(|it| it.starts_with("text/html"));
        if is_page {
            "a page for browsers".to_owned()
        } else {
            shortened(&one_line(&text), MOST_SAID)
        }
    }
}

/// The answer in an outcome. Where there is none, the fault says whether there may be one later: what is
/// refused by the daemon's own guard stays refused until somebody changes something.
pub fn http_answer<'a>(outcome: &'a EffectOutcome, body: &'a [u8]) -> Result<Answer<'a>, Fault> {
    match outcome {
        EffectOutcome::Http { status, headers } => Ok(Answer { status: *status, headers, body }),
        EffectOutcome::Failed { message, transient: true } => {
            Err(Fault::transient(message.as_str()))
        }
        EffectOutcome::Failed { message, transient: false } => {
            Err(Fault::config(message.as_str(), Vec::new()))
        }
        EffectOutcome::Smtp(_) | EffectOutcome::Exec { .. } => {
            Err(Fault::permanent("the outcome is none of a request"))
        }
    }
}

/// What a status other than success means of a service that says no more about it. `said` is in its own
/// words, or empty.
pub fn fault_of_status(
    service: &str,
    status: u16,
    said: &str,
    retry_after_ms: Option<u64>,
) -> Fault {
    let said = if said.is_empty() { String::new() } else { format!(" ({said})") };
    let message = |what: &str| format!("{service} answered {status}: {what}{said}");
    match status {
        401 => Fault::config(message("the credentials are missing, wrong or expired"), Vec::new()),
        403 => Fault::config(message("the credentials do not allow this"), Vec::new()),
        404 | 410 => Fault::config(message("nothing is there, or nothing any more"), Vec::new()),
        405 => Fault::config(message("there is something else; check the URL"), Vec::new()),
        300..=399 => Fault::config(message("a redirect that leads nowhere"), Vec::new()),
        408 | 425 => Fault::transient(message("it did not take the request in time")),
        429 => Fault::transient(message("it is asked too often")).not_before(retry_after_ms),
        500..=599 => {
            Fault::transient(message("it is in trouble itself")).not_before(retry_after_ms)
        }
        _ => Fault::permanent(message("it does not take the message")),
    }
}

/// Asks for a request with a JSON body.
pub fn post_json(
    url: String,
    mut headers: Vec<(String, String)>,
    body: &Value,
    state: Value,
    timeout_ms: u64,
) -> SinkOutput {
    headers.push(("content-type".to_owned(), "application/json; charset=utf-8".to_owned()));
    let http = HttpEffect { method: "POST".to_owned(), url, headers, body: Some(0) };
    let effect = Effect { state, timeout_ms, act: Act::Http(http) };
    SinkOutput::ask(effect, Some(body.to_string().into_bytes()))
}

#[cfg(test)]
mod tests {
    use mortise_plugin::FaultKind;

    use super::*;

    #[test]
    fn a_status_says_what_to_do() {
        for (status, kind) in [
            (302, FaultKind::Config),
            (400, FaultKind::Permanent),
            (401, FaultKind::Config),
            (403, FaultKind::Config),
            (404, FaultKind::Config),
            (408, FaultKind::Transient),
            (413, FaultKind::Permanent),
            (429, FaultKind::Transient),
            (500, FaultKind::Transient),
            (503, FaultKind::Transient),
        ] {
            let fault = fault_of_status("It", status, "no", Some(5));
            assert_eq!(fault.kind, kind, "{status}");
            assert!(fault.message.starts_with(&format!("It answered {status}: ")));
            assert!(fault.message.ends_with(" (no)"));
        }
        assert_eq!(fault_of_status("It", 429, "", Some(5)).retry_after_ms, Some(5));
    }

    #[test]
    fn answers_are_read() {
        let headers = vec![("retry-after".to_owned(), "7".to_owned())];
        let outcome = EffectOutcome::Http { status: 429, headers };
        let answer = http_answer(&outcome, b"{\"a\":\n 1}").unwrap();
        assert_eq!(answer.retry_after_ms(0), Some(7_000));
        assert_eq!(answer.said(), "{\"a\": 1}");
        assert_eq!(answer.json().unwrap()["a"], 1);
        let page = Answer { body: b"  <!doctype html>secret", ..answer };
        assert_eq!(page.said(), "a page for browsers");
        for filler in ["x", " "] {
            let long = format!("{}\u{e9}\u{e9}", filler.repeat(1_199));
            let long = Answer { body: long.as_bytes(), ..answer };
            let said = long.said();
            assert!(said.ends_with('\u{2026}') && !said.contains('\u{fffd}'), "{said}");
        }
        for (transient, kind) in [(true, FaultKind::Transient), (false, FaultKind::Config)] {
            let failed = EffectOutcome::Failed { message: "no".to_owned(), transient };
            assert_eq!(http_answer(&failed, b"").unwrap_err().kind, kind);
        }
    }
}
