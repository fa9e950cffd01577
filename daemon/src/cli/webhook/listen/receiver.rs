//! What a request to the receiver is, and what is answered. Pure: time and keys are handed in.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use serde_json::{Value, json};

use crate::secrets::{Verification, VerificationKeys, verify};

/// Events whose attempts are counted.
const MOST_SEEN: usize = 10_000;
/// A longer text is no id or type of ours, and is not kept.
const LONGEST_NAME: usize = 200;

/// A request as it came.
pub(super) struct Request {
    pub(super) method: String,
    pub(super) path: String,
    /// Names in lower case.
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

/// What is answered to events, as somebody wants it.
#[derive(Clone, Debug, Default)]
pub(super) struct Behaviour {
    pub(super) status: Option<u16>,
    /// Only so many attempts of an event get that status.
    pub(super) fail_first: Option<u32>,
    pub(super) retry_after: Option<u64>,
    pub(super) delay: Duration,
    pub(super) no_echo: bool,
}

/// What a request is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// Its sender asks whether events are wanted here.
    Challenge { id: String, challenge: String },
    /// Something happened.
    Event { id: String, event_type: String },
    /// Nothing that a webhook sends.
    Strange { why: &'static str },
}

/// What is known of its signatures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Signature {
    /// There is no secret to verify with.
    Unchecked,
    /// All are right.
    Right { is_previous: bool },
    /// Some are not.
    Wrong { problems: Vec<String> },
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Value,
    pub(super) retry_after: Option<u64>,
    pub(super) delay: Duration,
}

/// A request, looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Judged {
    pub(super) what: What,
    pub(super) signature: Signature,
    /// How often it came by now.
    pub(super) attempt: u32,
    pub(super) answer: Answer,
}

/// How often which event came; the oldest are forgotten when there are many.
#[derive(Default)]
pub(super) struct Seen {
    times: HashMap<String, u32>,
    order: VecDeque<String>,
}

impl Seen {
    fn count(&mut self, id: &str) -> u32 {
        if let Some(times) = self.times.get_mut(id) {
            *times = times.saturating_add(1);
            return *times;
        }
        if self.order.len() >= MOST_SEEN
            && let Some(oldest) = self.order.pop_front()
        {
            self.times.remove(&oldest);
        }
        self.order.push_back(id.to_owned());
        self.times.insert(id.to_owned(), 1);
        1
    }
}

/// Looks at a request and decides what to answer.
pub(super) fn judge(
    request: &Request,
    keys: Option<&VerificationKeys>,
    behaviour: &Behaviour,
    seen: &mut Seen,
    now_seconds: u64,
) -> Judged {
    let what = what(request);
    let signature = match (keys, &what) {
        (None, _) | (_, What::Strange { .. }) => Signature::Unchecked,
        (Some(keys), What::Challenge { .. } | What::Event { .. }) => {
            let found = verify(keys, &request.headers, &request.body, now_seconds);
            match found {
                Verification { problems, .. } if !problems.is_empty() => {
                    Signature::Wrong { problems }
                }
                Verification { is_previous, .. } => Signature::Right { is_previous },
            }
        }
    };
    let attempt = match (&what, &signature) {
        // Whoever cannot sign does not fill what is counted.
        (_, Signature::Wrong { .. }) | (What::Strange { .. }, _) => 1,
        (What::Challenge { id, .. } | What::Event { id, .. }, _) => seen.count(id),
    };
    let answer = answer(request, &what, &signature, behaviour, attempt);
    Judged { what, signature, attempt, answer }
}

fn what(request: &Request) -> What {
    let strange = |why| What::Strange { why };
    if request.method != "POST" {
        return strange("webhooks send POST");
    }
    let Ok(Value::Object(body)) = serde_json::from_slice(&request.body) else {
        return strange("its body is no JSON object");
    };
    let text = |it: Option<&Value>| {
        it.and_then(Value::as_str).filter(|it| it.len() <= LONGEST_NAME).map(str::to_owned)
    };
    let (Some(id), Some(event_type)) = (text(body.get("id")), text(body.get("type"))) else {
        return strange("its body has no `id` and `type`");
    };
    if event_type != "verify" {
        return What::Event { id, event_type };
    }
    match text(body.get("verify").and_then(|it| it.get("challenge"))) {
        Some(challenge) => What::Challenge { id, challenge },
        None => strange("its body has no `verify.challenge`"),
    }
}

fn answer(
    request: &Request,
    what: &What,
    signature: &Signature,
    behaviour: &Behaviour,
    attempt: u32,
) -> Answer {
    let plain = |status: u16, body: Value| Answer {
        status,
        body,
        retry_after: None,
        delay: Duration::ZERO,
    };
    match (what, signature) {
        (What::Strange { why }, _) => {
            let status = if request.method == "POST" { 400 } else { 405 };
            plain(status, json!({ "message": why }))
        }
        (_, Signature::Wrong { problems }) => plain(401, json!({ "message": problems.join("; ") })),
        (What::Challenge { .. }, _) if behaviour.no_echo => {
            plain(200, json!({ "message": "--no-echo" }))
        }
        (What::Challenge { challenge, .. }, _) => plain(200, json!({ "challenge": challenge })),
        (What::Event { .. }, _) => {
            let is_told = behaviour.fail_first.is_none_or(|it| attempt <= it);
            let status = behaviour.status.filter(|_| is_told).unwrap_or(200);
            let retry_after = behaviour.retry_after.filter(|_| !(200..300).contains(&status));
            Answer { status, body: json!({}), retry_after, delay: behaviour.delay }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn post(body: &Value, headers: &[(&str, &str)]) -> Request {
        Request {
            method: "POST".to_owned(),
            path: "/".to_owned(),
            headers: headers.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect(),
            body: body.to_string().into_bytes(),
        }
    }

    fn event() -> Request {
        post(&json!({ "id": "whe_1", "type": "work_created", "work_created": {} }), &[])
    }

    fn judged(request: &Request, behaviour: &Behaviour) -> Judged {
        judge(request, None, behaviour, &mut Seen::default(), 0)
    }

    #[test]
    fn challenges_are_echoed_and_events_taken() {
        let challenge =
            json!({ "id": "whe_1", "type": "verify", "verify": { "challenge": "abc" } });
        let told = judged(&post(&challenge, &[]), &Behaviour::default());
        assert_eq!((told.answer.status, told.answer.body), (200, json!({ "challenge": "abc" })));
        let silent = Behaviour { no_echo: true, ..Behaviour::default() };
        assert!(judged(&post(&challenge, &[]), &silent).answer.body["challenge"].is_null());
        let told = judged(&event(), &Behaviour::default());
        assert_eq!((told.answer.status, told.signature), (200, Signature::Unchecked));
        for strange in [json!([]), json!({ "id": 1, "type": "a" }), json!({ "id": "a" })] {
            assert_eq!(judged(&post(&strange, &[]), &Behaviour::default()).answer.status, 400);
        }
        let get = Request { method: "GET".to_owned(), ..event() };
        assert_eq!(judged(&get, &Behaviour::default()).answer.status, 405);
    }

    #[test]
    fn the_first_attempts_fail_when_somebody_wants_that() {
        let behaviour = Behaviour {
            status: Some(503),
            fail_first: Some(2),
            retry_after: Some(7),
            delay: Duration::from_secs(1),
            no_echo: false,
        };
        let mut seen = Seen::default();
        let mut next = || {
            let told = judge(&event(), None, &behaviour, &mut seen, 0);
            (told.attempt, told.answer.status, told.answer.retry_after)
        };
        assert_eq!(
            [next(), next(), next()],
            [(1, 503, Some(7)), (2, 503, Some(7)), (3, 200, None)]
        );
    }

    #[test]
    fn what_is_not_signed_is_refused_whatever_is_wanted() {
        let keys = VerificationKeys::of("12345678");
        let behaviour = Behaviour { status: Some(204), ..Behaviour::default() };
        let mut seen = Seen::default();
        for _ in 0..2 {
            let told = judge(&event(), Some(&keys), &behaviour, &mut seen, 0);
            assert_eq!((told.answer.status, told.attempt), (401, 1));
            assert!(matches!(told.signature, Signature::Wrong { .. }));
        }
        assert!(seen.times.is_empty());
    }

    #[test]
    fn the_oldest_are_forgotten() {
        let mut seen = Seen::default();
        for number in 0..MOST_SEEN + 5 {
            seen.count(&number.to_string());
        }
        assert_eq!((seen.times.len(), seen.order.len()), (MOST_SEEN, MOST_SEEN));
        assert_eq!((seen.count("5"), seen.count("0")), (2, 1));
    }
}
