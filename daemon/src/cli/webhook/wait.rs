//! Waiting until a webhook is active, or until it is known that it will not be.

use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

use crate::cli::Failure;
use crate::cli::connection::Client;
use crate::cli::show::plain;
use crate::cli::table::cut;

/// The daemon asks a new endpoint for three minutes. One that was degraded is asked for ever.
const LONGEST: Duration = Duration::from_secs(200);
const LOOK: Duration = Duration::from_millis(300);
/// What fits beside the rest of a line that says what is waited for.
const SAID: usize = 68;

/// Where a webhook stands.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Settled {
    Active,
    /// Its endpoint is still being asked.
    Waiting {
        /// Why it is not active yet, once it was asked.
        reason: Option<String>,
    },
    /// It is not asked any more.
    Refused {
        /// Why.
        reason: String,
    },
}

/// Where it stands. Pure.
pub(super) fn settled(webhook: &Value) -> Settled {
    let (status, url) = (&webhook["status"], webhook["url"].as_str().unwrap_or_default());
    let reason = webhook["reason"].as_str().map(|it| with_advice(it, url));
    let known = || reason.clone().unwrap_or_else(|| "its endpoint is not asked".to_owned());
    match status.as_str() {
        Some("active") => Settled::Active,
        Some("inactive") => Settled::Refused { reason: format!("it is inactive: {}", known()) },
        _ if webhook["next_challenge_date"].is_string() => Settled::Waiting { reason },
        _ => Settled::Refused { reason: known() },
    }
}

/// What the guard forbids is allowed by whoever runs the daemon.
pub(super) fn with_advice(reason: &str, url: &str) -> String {
    if !reason.contains("egress rule") {
        return reason.to_owned();
    }
    let place = url.split("://").nth(1).and_then(|it| it.split(['/', '?']).next());
    let place = place.unwrap_or_default();
    format!("{reason}; in the daemon's configuration: [egress] allow = [\"{place}\"]")
}

/// Waits, saying on a terminal for what; answers the webhook as it is when it is active.
pub(super) fn until_active(client: &Client, id: &Value) -> Result<Value, Failure> {
    let said = Mutex::new(String::new());
    let deadline = tokio::time::Instant::now() + LONGEST;
    let look = |answer: &Value| {
        let webhook = &answer["webhook"];
        let reason = match settled(webhook) {
            Settled::Active => return Some(Ok(webhook.clone())),
            Settled::Refused { reason } => return Some(Err(not_active(webhook, &reason))),
            Settled::Waiting { reason } => reason.unwrap_or_default(),
        };
        if tokio::time::Instant::now() > deadline {
            return Some(Err(not_active(webhook, &reason)));
        }
        let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
        if *said != reason {
            if !std::io::stderr().is_terminal() {
                eprintln!("not yet: {}", plain(&reason));
            }
            *said = reason;
        }
        None
    };
    let shown = || {
        let said = said.lock().unwrap_or_else(PoisonError::into_inner);
        let why = if said.is_empty() { String::new() } else { format!(": {}", plain(&said)) };
        cut(&format!("not active yet{why}"), SAID)
    };
    client.poll("webhooks.get", &json!({ "id": id }), LOOK, shown, look)?
}

fn not_active(webhook: &Value, reason: &str) -> Failure {
    let id = webhook["id"].as_str().unwrap_or_default();
    Failure::refused(format!(
        "the webhook is not active: {reason}\nafter mending: mortise webhook activate {id} --wait"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_still_asked_is_waited_for() {
        let webhook = |status: &str, next: Value| {
            json!({
                "url": "http://127.0.0.1:9/x", "status": status, "reason": "it answered 500",
                "next_challenge_date": next,
            })
        };
        let date = json!("2026-01-01T00:00:00.000Z");
        assert_eq!(settled(&webhook("active", Value::Null)), Settled::Active);
        for status in ["unverified", "degraded"] {
            let reason = Some("it answered 500".to_owned());
            assert_eq!(settled(&webhook(status, date.clone())), Settled::Waiting { reason });
        }
        let refused = |it: Value| matches!(settled(&it), Settled::Refused { .. });
        assert!(refused(webhook("unverified", Value::Null)));
        assert!(refused(webhook("inactive", Value::Null)));
    }

    #[test]
    fn what_is_forbidden_comes_with_what_allows_it() {
        let said = with_advice(
            "127.0.0.1 has a loopback address, which requests may not go to unless an egress rule allows it",
            "http://127.0.0.1:9000/hook",
        );
        assert!(said.ends_with(r#"[egress] allow = ["127.0.0.1:9000"]"#), "{said}");
        assert_eq!(with_advice("it answered 500", "http://a/"), "it answered 500");
    }
}
