//! Plain calls of a sink, for tests.

use mortise_plugin::{
    Act, Delivery, Effect, EffectOutcome, Fault, HttpEffect, Message, MessageLevel, Sink, SinkCall,
    SinkInput, SinkOutput,
};
use serde_json::{Value, json};

/// 2024-03-01T00:00:00Z.
pub const NOW_MS: u64 = 1_709_251_200_000;

/// A delivery with everything in it.
pub fn delivery() -> Delivery {
    Delivery {
        id: "dlv_01hq".to_owned(),
        attempt: 1,
        trigger: "run.failed".to_owned(),
        message: Message {
            title: "sync failed in prod/team/sync".to_owned(),
            text: "It threw: <b>no & such</b>\nsecond line".to_owned(),
            level: MessageLevel::Error,
            fields: vec![
                ("Run".to_owned(), "run_01".to_owned()),
                ("Attempt".to_owned(), "3 < 4".to_owned()),
            ],
            link: Some("https://mortise.example.com/runs/run_01?a=1&b=2".to_owned()),
        },
        occurrences: vec![json!({ "run": { "id": "run_01", "attempt": 3 } })],
        count: 1,
        thread: None,
    }
}

/// Calls a sink.
pub fn call(sink: &dyn Sink, input: SinkInput, body: &[u8]) -> Result<SinkOutput, Fault> {
    sink.call(SinkCall { now_ms: NOW_MS, deadline_ms: 5_000, input }, body)
}

/// Hands an outcome back.
pub fn answer(
    sink: &dyn Sink,
    state: Value,
    outcome: EffectOutcome,
    body: &[u8],
) -> Result<SinkOutput, Fault> {
    call(sink, SinkInput::Response { state, outcome }, body)
}

/// An HTTP answer.
pub fn answered(status: u16, headers: &[(&str, &str)]) -> EffectOutcome {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    EffectOutcome::Http { status, headers: headers.collect() }
}

/// The request that an answer asks for, its body as JSON (null when it is none), and its state.
///
/// # Panics
///
/// When it asks for none.
pub fn request(output: SinkOutput) -> (HttpEffect, Value, Value) {
    let Some(Effect { state, act: Act::Http(http), .. }) = output.effect else {
        panic!("no request but {output:?}");
    };
    let body = http.body.and_then(|it| output.bodies.get(it));
    let body = body.and_then(|it| serde_json::from_slice(it).ok()).unwrap_or_default();
    (http, body, state)
}

/// What is asked for a delivery.
///
/// # Panics
///
/// When the sink fails at once.
pub fn deliver(sink: &dyn Sink, delivery: Delivery) -> (HttpEffect, Value, Value) {
    match call(sink, SinkInput::Deliver(delivery), b"") {
        Ok(output) => request(output),
        Err(fault) => panic!("{fault:?}"),
    }
}
