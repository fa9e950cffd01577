//! Integrations: how fast what waits is told through a sink to a local server, beside a loop that only
//! sends the same requests.

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::daemon::{Daemon, text};
use crate::receiver::{Receiver, reqwest_loop};
use crate::report::Row;
use crate::{Failure, Options, machine};

/// Messages under way at one integration: the most that there may be.
const CONCURRENCY: usize = 64;
/// As many as may wait.
const MOST: u64 = 9_000;

/// The row.
pub(crate) async fn integrations(
    daemon: &Daemon,
    options: &Options,
    receiver: &Receiver,
    rows: &mut Vec<Row>,
) -> Result<(), Failure> {
    let url = format!("http://{}/tell", receiver.address);
    // Off until there is enough: nothing is to be published while it is measured.
    let new = json!({
        "type": "http", "name": "load", "supplied_to_all": true, "concurrency": CONCURRENCY,
        "connection": { "url": url },
    });
    let made = daemon.call("integrations.create", new).await?;
    let id = text(&made["integration"]["id"]);
    let subscription = json!({ "integration": id, "trigger": "custom.load" });
    daemon.call("subscriptions.create", subscription).await?;
    // The first one is what a request looks like.
    receiver.reset();
    publish(daemon, 1).await?;
    receiver.has(1).await?;
    let sent = receiver.first().ok_or("nothing came")?;

    let count = (options.time().as_secs() * 5_000).clamp(1_000, MOST);
    // Held by its rate: what is switched off is not told at all.
    hold(daemon, &id, json!(1)).await?;
    publish(daemon, count).await?;
    let are_queued = |seen: &Value| {
        seen["integration"]["queued"].as_u64().is_some_and(|it| it >= count * 9 / 10)
    };
    daemon.call_until("integrations.get", json!({ "id": id }), are_queued).await?;
    receiver.reset();
    let before = machine::cpu_seconds(daemon.pid());
    let began = Instant::now();
    hold(daemon, &id, json!(null)).await?;
    let left = daemon.call("integrations.get", json!({ "id": id })).await?;
    let left = left["integration"]["queued"].as_u64().unwrap_or_default().min(count);
    receiver.has(left).await?;
    let rate = receiver.events() as f64 / began.elapsed().as_secs_f64();
    let cost = machine::cpu_seconds(daemon.pid()) - before;
    let alone = reqwest_loop(receiver.address, &sent, CONCURRENCY, options.time(), |_| ()).await?;
    let reference = Row::rate("reference: reqwest loop", CONCURRENCY, alone);
    reference.print();
    rows.push(reference);
    let row = Row::rate("message through an integration, durable", CONCURRENCY, rate)
        .compared_with("reqwest", Some(alone))
        .costing(cost, left)
        .reaching(5_000.0);
    row.print();
    rows.push(row);
    daemon.call("integrations.delete", json!({ "id": id })).await?;
    Ok(())
}

async fn hold(daemon: &Daemon, id: &str, per_second: Value) -> Result<(), Failure> {
    daemon.call("integrations.update", json!({ "id": id, "per_second": per_second })).await?;
    Ok(())
}

/// Publishes so many.
async fn publish(daemon: &Daemon, count: u64) -> Result<(), Failure> {
    let one = json!({ "name": "load", "title": "One of many", "message": "x".repeat(300) });
    daemon.call_often("occurrences.publish", &one, count).await
}
