//! Outgoing webhooks: how fast what waits is delivered to a local endpoint, beside a loop that only sends
//! the same signed requests.

use std::time::Duration;

use mortise_tests::snap_in::signed_with;
use serde_json::json;
use tokio::time::Instant;

use crate::client::Connection;
use crate::daemon::{Daemon, text};
use crate::receiver::{Receiver, reqwest_loop};
use crate::report::Row;
use crate::{Failure, Options, machine};

/// Requests under way at one endpoint: the most that there may be.
const CONCURRENCY: usize = 64;
const PATIENCE: Duration = Duration::from_secs(120);
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
    becomes(daemon, &id, "active").await?;

    // Held until there is enough: the objects must not be made while it is measured.
    receiver.set_echoing(false);
    let held = json!({ "id": id, "secret": SECRET, "overlap_seconds": 0 });
    daemon.call("webhooks.update", held).await?;
    receiver.reset();
    let seconds = options.time().as_secs().clamp(1, 20);
    let count = seconds * 5_000;
    make_objects(daemon, count).await?;
    receiver.set_echoing(true);
    let activate = json!({ "id": id, "action": "activate" });
    daemon.call("webhooks.update", activate).await?;
    let (mut began, before) = (Instant::now(), machine::cpu_seconds(daemon.pid()));
    let deadline = Instant::now() + PATIENCE;
    let mut first = 0;
    loop {
        let events = receiver.events();
        if first == 0 && events > 0 {
            (began, first) = (Instant::now(), events);
        }
        if events >= count {
            break;
        }
        if Instant::now() > deadline {
            return Err(format!("only {events} of {count} events arrived").into());
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
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

async fn becomes(daemon: &Daemon, id: &str, status: &str) -> Result<(), Failure> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let seen = daemon.call("webhooks.get", json!({ "id": id })).await?;
        if seen["webhook"]["status"] == status {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(format!("the webhook is not {status}: {seen:#}").into());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Makes so many objects, over several connections.
async fn make_objects(daemon: &Daemon, count: u64) -> Result<(), Failure> {
    const CONNECTIONS: u64 = 32;
    let request = daemon.api_request(
        "objects.create",
        &json!({
            "type": "load_item",
            "object": { "title": "One of many", "body": "x".repeat(500) },
        }),
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
                    return Err(Failure::from(format!("an object was answered {}", answer.status)));
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
