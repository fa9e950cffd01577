//! Integrations: how fast what waits is told through a sink to a local server, beside a loop that only
//! sends the same requests.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use crate::client::Connection;
use crate::daemon::{Daemon, text};
use crate::receiver::{Receiver, reqwest_loop};
use crate::report::Row;
use crate::{Failure, Options, machine};

/// Messages under way at one integration: the most that there may be.
const CONCURRENCY: usize = 64;
/// As many as may wait.
const MOST: u64 = 9_000;
const PATIENCE: Duration = Duration::from_secs(120);

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
    arrived(receiver, 1).await?;
    let sent = receiver.first().ok_or("nothing came")?;

    let count = (options.time().as_secs() * 5_000).clamp(1_000, MOST);
    // Held by its rate: what is switched off is not told at all.
    hold(daemon, &id, json!(1)).await?;
    publish(daemon, count).await?;
    queued(daemon, &id, count * 9 / 10).await?;
    receiver.reset();
    let before = machine::cpu_seconds(daemon.pid());
    let began = Instant::now();
    hold(daemon, &id, json!(null)).await?;
    let left = daemon.call("integrations.get", json!({ "id": id })).await?;
    let left = left["integration"]["queued"].as_u64().unwrap_or_default().min(count);
    arrived(receiver, left).await?;
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

async fn hold(daemon: &Daemon, id: &str, per_second: serde_json::Value) -> Result<(), Failure> {
    daemon.call("integrations.update", json!({ "id": id, "per_second": per_second })).await?;
    Ok(())
}

async fn arrived(receiver: &Receiver, count: u64) -> Result<(), Failure> {
    let deadline = Instant::now() + PATIENCE;
    while receiver.events() < count {
        if Instant::now() > deadline {
            return Err(format!("only {} of {count} messages arrived", receiver.events()).into());
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(())
}

async fn queued(daemon: &Daemon, id: &str, count: u64) -> Result<(), Failure> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let seen = daemon.call("integrations.get", json!({ "id": id })).await?;
        if seen["integration"]["queued"].as_u64().is_some_and(|it| it >= count) {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(format!("the messages are not queued: {seen:#}").into());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Publishes so many, over several connections.
async fn publish(daemon: &Daemon, count: u64) -> Result<(), Failure> {
    const CONNECTIONS: u64 = 32;
    let request = daemon.api_request(
        "occurrences.publish",
        &json!({ "name": "load", "title": "One of many", "message": "x".repeat(300) }),
    );
    let mut tasks = Vec::new();
    for at in 0..CONNECTIONS {
        let share = count / CONNECTIONS + u64::from(at < count % CONNECTIONS);
        let (address, request) = (daemon.address, request.clone());
        tasks.push(tokio::task::spawn_local(async move {
            let mut connection = Connection::open(address).await?;
            for _ in 0..share {
                let answer = connection.exchange(&request).await?;
                if answer.status != 200 {
                    return Err(Failure::from(format!(
                        "an occurrence was answered {}",
                        answer.status
                    )));
                }
            }
            Ok(())
        }));
    }
    for task in tasks {
        task.await??;
    }
    Ok(())
}
