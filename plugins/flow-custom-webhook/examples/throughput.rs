//! How many requests per second are decided, on one thread and on two: by the policy of the
//! documentation, and by a native preset that checks the same signature.
//!
//! Plain calls, no daemon: `cargo run --release -p flow-custom-webhook --example throughput`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use flow_custom_webhook::{CustomWebhook, KIND};
use mortise_plugin::{
    Fault, Host, HttpRequest, Plugin, Source, SourceCall, SourceIds, SourceInput,
};

const POLICY: &str = r#"
package rego
payload_as_string := base64.decode(input.request.body_raw)
expected_signature := crypto.hmac.sha256(payload_as_string, input.parameters.secret)
output = {"event": event, "event_key": event_key} {
    input.request.method == "POST"
    expected_signature == input.request.headers["X-Signature-256"]
    event := input.request.body
    event_key := "my-event"
} else = {"response": response} {
    response := { "status_code": 401, "body": "Unauthenticated" }
}
"#;

const SIGNATURE: &str = "f1809d5135917b311644058cf1994c5ff4898ad20dbf6e282c1433e6be4e2fe1";

fn main() -> Result<(), Fault> {
    let policy = serde_json::json!({
        "policy": POLICY,
        "parameters": { "secret": "EnterYourRandomSecretHere" },
    });
    let preset = serde_json::json!({
        "verify": {
            "scheme": "hmac",
            "secret": "EnterYourRandomSecretHere",
            "header": "X-Signature-256",
            "event_key": { "value": "my-event" },
        },
    });
    for (by, config) in [("policy", policy), ("preset", preset)] {
        let source: Arc<dyn Source> =
            CustomWebhook::open_source(KIND, config, Host::silent())?.into();
        for threads in [1, 2] {
            for (name, signature, published) in
                [("accepted", SIGNATURE, true), ("refused", &"0".repeat(64), false)]
            {
                let rate = measure(&source, signature, published, threads)?;
                println!("{by}, {name:9} {threads} thread(s): {rate:>8.0} calls/s");
            }
        }
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "wall time is what is measured")]
fn measure(
    source: &Arc<dyn Source>,
    signature: &str,
    published: bool,
    threads: usize,
) -> Result<f64, Fault> {
    let run = Duration::from_secs(2);
    let workers: Vec<_> = (0..threads)
        .map(|_| {
            let (source, call) = (Arc::clone(source), request(signature));
            std::thread::spawn(move || {
                let start = Instant::now();
                let mut calls = 0_u32;
                while start.elapsed() < run {
                    let output = source.call(call.clone(), b"{\"hello\":\"world\"}")?;
                    assert_eq!(output.events.len(), usize::from(published));
                    calls += 1;
                }
                Ok(f64::from(calls) / start.elapsed().as_secs_f64())
            })
        })
        .collect();
    let mut total = 0.0;
    for worker in workers {
        total += worker.join().map_err(|_| Fault::permanent("a worker panicked"))??;
    }
    Ok(total)
}

fn request(signature: &str) -> SourceCall {
    let headers = [
        ("host", "localhost:8460"),
        ("user-agent", "throughput"),
        ("accept", "*/*"),
        ("content-type", "application/json"),
        ("content-length", "17"),
        ("x-signature-256", signature),
    ];
    SourceCall {
        now_ms: 1_700_000_000_000,
        deadline_ms: 1000,
        source: SourceIds::default(),
        input: SourceInput::Http(HttpRequest {
            method: "POST".to_owned(),
            query_raw: String::new(),
            headers: headers.map(|(n, v)| (n.to_owned(), v.to_owned())).to_vec(),
            peer: "127.0.0.1:40000".to_owned(),
        }),
    }
}
