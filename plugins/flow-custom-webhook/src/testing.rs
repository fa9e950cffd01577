//! What the tests of whole requests share: the seed's policy, a source with its log, requests.

use std::sync::{Arc, Mutex};

use mortise_plugin::{
    Event, Fault, FaultKind, Host, HttpRequest, Payload, Plugin, Problem, Source, SourceCall,
    SourceIds, SourceInput, SourceOutput,
};
use serde_json::{Value, json};

use crate::{CustomWebhook, KIND};

/// The policy of the seed, with its own layout and comment.
pub(crate) const SEED: &str = r#"package rego
payload_as_string := base64.decode(input.request.body_raw) ## body_raw is a base64 encoded string
expected_signature := crypto.hmac.sha256(payload_as_string, input.parameters.secret)
output = {"event": event, "event_key": event_key} {
input.request.method == "POST"
expected_signature == input.request.headers["X-Signature-256"]
event := input.request.body
event_key := "my-event"
} else = {"response": response} {
response := {
"status_code": 401,
"body": "Unauthenticated"
}
}
"#;

pub(crate) const SIGNATURE: &str =
    "f1809d5135917b311644058cf1994c5ff4898ad20dbf6e282c1433e6be4e2fe1";
pub(crate) const HELLO: &[u8] = b"{\"hello\":\"world\"}";

pub(crate) struct Opened {
    pub(crate) source: Box<dyn Source>,
    pub(crate) log: Arc<Mutex<Vec<String>>>,
}

pub(crate) fn open(policy: &str) -> Opened {
    open_with(json!({
        "policy": policy,
        "parameters": { "secret": "EnterYourRandomSecretHere" },
    }))
    .unwrap_or_else(|fault| panic!("{fault:?}"))
}

pub(crate) fn open_with(config: Value) -> Result<Opened, Fault> {
    let log = Arc::new(Mutex::new(Vec::new()));
    let lines = Arc::clone(&log);
    let host = Host::new(move |_, line| lines.lock().unwrap().push(line.to_owned()));
    Ok(Opened { source: CustomWebhook::open_source(KIND, config, host)?, log })
}

pub(crate) fn post(headers: &[(&str, &str)]) -> SourceCall {
    request("POST", headers)
}

pub(crate) fn request(method: &str, headers: &[(&str, &str)]) -> SourceCall {
    SourceCall {
        now_ms: 1_700_000_000_000,
        deadline_ms: 5000,
        source: SourceIds::default(),
        input: SourceInput::Http(HttpRequest {
            method: method.to_owned(),
            query_raw: "q=1".to_owned(),
            headers: headers.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect(),
            peer: "192.0.2.7".to_owned(),
        }),
    }
}

impl Opened {
    pub(crate) fn call(&self, call: SourceCall, body: &[u8]) -> SourceOutput {
        self.source.call(call, body).unwrap()
    }

    /// The one event and its payload as text.
    pub(crate) fn event(&self, call: SourceCall, body: &[u8]) -> (Event, String) {
        let output = self.call(call, body);
        assert_eq!(output.events.len(), 1, "{output:?}");
        let payload = match &output.events[0].payload {
            Payload::Input => String::from_utf8(body.to_vec()).unwrap(),
            Payload::Body(at) => String::from_utf8(output.bodies[*at].clone()).unwrap(),
            Payload::Json(value) => value.to_string(),
        };
        (output.events[0].clone(), payload)
    }

    /// The status of a request that publishes nothing, and the log.
    pub(crate) fn refused(&self, call: SourceCall, body: &[u8]) -> (u16, String) {
        let output = self.call(call, body);
        assert_eq!(output.events, []);
        let lines: Vec<String> = output.log.into_iter().map(|line| line.message).collect();
        (output.response.map_or(200, |response| response.status), lines.join("\n"))
    }
}

pub(crate) fn problems(policy: &str) -> Vec<Problem> {
    let Err(fault) = open_with(json!({ "policy": policy })) else {
        panic!("it compiles: {policy}")
    };
    assert_eq!(fault.kind, FaultKind::Config);
    assert!(!fault.problems.is_empty());
    fault.problems
}

pub(crate) fn problem(policy: &str) -> String {
    let problem = problems(policy).remove(0);
    assert_eq!(problem.path, "policy");
    crate::diagnose::sentence(&problem)
}
