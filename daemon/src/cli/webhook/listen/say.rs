//! What is shown of requests: a line for people, or one JSON object a line for scripts. Pure.

use serde_json::{Value, json};

use super::receiver::{Judged, Request, Signature, What};
use crate::cli::show::plain;
use crate::model::timestamp::rfc3339;

/// A line for people, and what is to be known beside it. The time of day is UTC, as the daemon's.
pub(super) fn lines(
    request: &Request,
    judged: &Judged,
    now_ms: u64,
    with_body: bool,
) -> Vec<String> {
    let date = rfc3339(now_ms);
    let time = date.get(11..19).unwrap_or_default();
    let status = judged.answer.status;
    let signature = match &judged.signature {
        Signature::Unchecked => "not verified",
        Signature::Right { is_previous: false } => "signature ok",
        Signature::Right { is_previous: true } => "signature ok by the secret before",
        Signature::Wrong { .. } => "signature bad",
    };
    let mut lines = vec![match &judged.what {
        What::Event { id, event_type } => {
            format!("{time} {status} {event_type} {id} attempt {}, {signature}", judged.attempt)
        }
        What::Challenge { id, .. } => {
            let echoed = match judged.answer.body.get("challenge") {
                Some(_) => "echoed",
                None => "not echoed",
            };
            format!("{time} {status} verify {id} {echoed}, {signature}")
        }
        What::Strange { why } => {
            format!("{time} {status} {} {}: {why}", request.method, request.path)
        }
    }];
    if let Signature::Wrong { problems } = &judged.signature {
        lines.extend(problems.iter().map(|it| format!("  {it}")));
    }
    if with_body && !matches!(judged.what, What::Strange { .. }) {
        let body: Option<Value> = serde_json::from_slice(&request.body).ok();
        let body = body.map(|it| format!("{it:#}")).unwrap_or_default();
        lines.extend(body.lines().map(|it| format!("  {it}")));
    }
    lines.iter().map(|it| plain(it)).collect()
}

/// The same for scripts.
pub(super) fn as_json(request: &Request, judged: &Judged, now_ms: u64) -> Value {
    let (kind, id, event_type) = match &judged.what {
        What::Event { id, event_type } => ("event", Some(id), Some(event_type.as_str())),
        What::Challenge { id, .. } => ("challenge", Some(id), Some("verify")),
        What::Strange { .. } => ("other", None, None),
    };
    let (signature, problems) = match &judged.signature {
        Signature::Unchecked => ("unchecked", None),
        Signature::Right { is_previous: false } => ("ok", None),
        Signature::Right { is_previous: true } => ("ok_by_previous_secret", None),
        Signature::Wrong { problems } => ("bad", Some(problems)),
    };
    let headers: serde_json::Map<String, Value> =
        request.headers.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    let body: Value = serde_json::from_slice(&request.body)
        .unwrap_or_else(|_| json!(String::from_utf8_lossy(&request.body)));
    let mut line = json!({
        "kind": kind,
        "date": rfc3339(now_ms),
        "id": id,
        "type": event_type,
        "attempt": judged.attempt,
        "signature": signature,
        "problems": problems,
        "answered": judged.answer.status,
        "method": request.method,
        "path": request.path,
        "headers": headers,
        "body": body,
    });
    if let What::Strange { why } = &judged.what {
        line["problems"] = json!([why]);
    }
    if let Some(members) = line.as_object_mut() {
        members.retain(|_, it| !it.is_null());
    }
    line
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::receiver::Answer;
    use super::*;

    fn event(signature: Signature) -> (Request, Judged) {
        let id = "whe_01k9zx6yq8n3j4v5w6x7y8z9a1".to_owned();
        let body = json!({ "id": id, "type": "work_created" });
        let request = Request {
            method: "POST".to_owned(),
            path: "/hook".to_owned(),
            headers: vec![("webhook-id".to_owned(), id.clone())],
            body: body.to_string().into_bytes(),
        };
        let what = What::Event { id, event_type: "work_created".to_owned() };
        let answer =
            Answer { status: 200, body: json!({}), retry_after: None, delay: Duration::ZERO };
        (request, Judged { what, signature, attempt: 2, answer })
    }

    #[test]
    fn an_event_is_a_line_of_a_terminal() {
        let (request, judged) = event(Signature::Right { is_previous: false });
        let shown = lines(&request, &judged, 1_000, false);
        assert_eq!(
            shown,
            ["00:00:01 200 work_created whe_01k9zx6yq8n3j4v5w6x7y8z9a1 attempt 2, signature ok"]
        );
        assert!(shown[0].len() <= 80);
        assert_eq!(lines(&request, &judged, 0, true).len(), 5);
        let line = as_json(&request, &judged, 0);
        assert_eq!((&line["kind"], &line["attempt"]), (&json!("event"), &json!(2)));
        assert!(line.get("problems").is_none(), "{line}");
    }

    #[test]
    fn what_is_wrong_is_said_and_steers_no_terminal() {
        let problems = vec!["x: not that\u{1b}[31m".to_owned()];
        let (request, judged) = event(Signature::Wrong { problems });
        let shown = lines(&request, &judged, 0, false);
        assert_eq!(shown[1], "  x: not that\u{fffd}[31m");
        assert_eq!(as_json(&request, &judged, 0)["signature"], "bad");
    }
}
