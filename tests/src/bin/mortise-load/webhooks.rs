//! Outgoing webhooks: how fast what waits is delivered to a local endpoint, beside a loop that only sends
//! the same signed requests.

use mortise_tests::snap_in::signed_with;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::daemon::{Daemon, text};
use crate::receiver::{Receiver, reqwest_loop};
use crate::report::Row;
use crate::{Failure, Options, machine};

/// Requests under way at one endpoint: the most that there may be.
const CONCURRENCY: usize = 64;
const SECRET: &str = "EnterYourRandomSecretHere";

/// What the daemon's configuration needs for it.
pub(crate) fn configuration(receiver: &Receiver) -> String {
    format!("[egress]\nallow = [\"{}\"]\n[webhooks]\nqueued = 1_000_000\n", receiver.address)
}

/// Both signatures that a request has.
pub(crate) fn sign(body: &[u8]) {
    std::hint::black_box(signed_with(SECRET, body));
    std::hint::black_box(signed_with(SECRET, body));
}

/// The row.
pub(crate) async fn webhooks(
    daemon: &Daemon,
    options: &Options,
    receiver: &Receiver,
    rows: &mut Vec<Row>,
) -> Result<(), Failure> {
    let object_type = json!({
        "name": "load_item", "id_prefix": "lditem", "title_field": "title",
        "schema": { "properties": { "title": { "type": "string" }, "body": { "type": "string" } } },
    });
    daemon.call("object-types.create", object_type).await?;
    receiver.set_echoing(true);
    let made = daemon
        .call(
            "webhooks.create",
            json!({
                "url": format!("http://{}/hook", receiver.address), "secret": SECRET,
                "event_types": ["load_item_created"], "concurrency": CONCURRENCY,
            }),
        )
        .await?;
    let id = text(&made["webhook"]["id"]);
    let is_active = |seen: &Value| seen["webhook"]["status"] == "active";
    daemon.call_until("webhooks.get", json!({ "id": id }), is_active).await?;

    // Held until there is enough: the objects must not be made while it is measured.
    receiver.set_echoing(false);
    let held = json!({ "id": id, "secret": SECRET, "overlap_seconds": 0 });
    daemon.call("webhooks.update", held).await?;
    receiver.reset();
    let seconds = options.time().as_secs().clamp(1, 20);
    let count = seconds * 5_000;
    let one = json!({
        "type": "load_item", "object": { "title": "One of many", "body": "x".repeat(500) },
    });
    daemon.call_often("objects.create", &one, count).await?;
    receiver.set_echoing(true);
    let activate = json!({ "id": id, "action": "activate" });
    daemon.call("webhooks.update", activate).await?;
    let before = machine::cpu_seconds(daemon.pid());
    receiver.has(1).await?;
    let (began, first) = (Instant::now(), receiver.events());
    receiver.has(count).await?;
    let rate = (count - first) as f64 / began.elapsed().as_secs_f64();
    let cost = machine::cpu_seconds(daemon.pid()) - before;
    let sent = receiver.first().ok_or("nothing came")?;
    let alone = reqwest_loop(receiver.address, &sent, CONCURRENCY, options.time(), sign).await?;
    let reference = Row::rate("reference: reqwest loop, signed", CONCURRENCY, alone);
    reference.print();
    rows.push(reference);
    let row = Row::rate("outgoing webhook, durable", CONCURRENCY, rate)
        .compared_with("reqwest", Some(alone))
        .costing(cost, count)
        .reaching(5_000.0);
    row.print();
    rows.push(row);
    daemon.call("webhooks.delete", json!({ "id": id })).await?;
    Ok(())
}
