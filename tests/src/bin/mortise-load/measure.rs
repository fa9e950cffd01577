//! The measurements of design §8, rows 1 to 4, each against its reference.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use crate::client::{Load, Seen, post, run};
use crate::daemon::{Daemon, Installed, text};
use crate::references::{Echo, commits_per_second};
use crate::report::Row;
use crate::samples::{BODY, GITHUB_PREFIX, SIGNATURE, WRONG_SIGNATURE};
use crate::{Failure, Options, machine};

const WARM_UP: Duration = Duration::from_millis(500);
/// How long the disk is looked at before each measurement.
const GLANCE: Duration = Duration::from_millis(300);
const ECHO: &str = "echo";

/// Rates of the echo server, by number of connections.
pub(crate) struct References {
    directory: PathBuf,
    echo: Vec<(usize, f64)>,
}

impl References {
    /// The bare commit loop again, in short.
    fn commits(&self) -> Result<f64, Failure> {
        commits_per_second(&self.directory, GLANCE)
    }

    fn echo(&self, connections: usize) -> Option<f64> {
        self.echo.iter().find(|(it, _)| *it == connections).map(|(_, rate)| *rate)
    }
}

fn hook_request(path: &str, signature: &str) -> Vec<u8> {
    let headers = [("content-type", "application/json"), ("x-signature-256", signature)];
    post(path, &headers, BODY)
}

/// The same request, signed as GitHub does.
fn preset_request(path: &str, signature: &str) -> Vec<u8> {
    let signature = format!("{GITHUB_PREFIX}{signature}");
    let headers = [("content-type", "application/json"), ("x-hub-signature-256", &*signature)];
    post(path, &headers, BODY)
}

/// The echo server and the bare commit.
pub(crate) async fn references(
    options: &Options,
    directory: &Path,
    rows: &mut Vec<Row>,
) -> Result<References, Failure> {
    let mut rates = Vec::new();
    let echo = Echo::start()?;
    for connections in options.connections() {
        let load = Load {
            address: echo.address,
            request: hook_request("/echo", SIGNATURE),
            expected: 200,
            connections,
            time: options.time(),
            requests: options.requests,
        };
        let seen = run(load).await?;
        rates.push((connections, seen.rate()));
        add(rows, Row::of("reference: actix-web echo", connections, &seen));
    }
    drop(echo);
    let commits = commits_per_second(directory, options.time())?;
    add(rows, Row::rate("reference: 4 KiB and fdatasync", 1, commits));
    Ok(References { directory: directory.to_owned(), echo: rates })
}

fn add(rows: &mut Vec<Row>, row: Row) {
    row.print();
    rows.push(row);
}

/// Runs one closed loop against the daemon, after a short one to warm up, and counts what it costs.
async fn load(
    daemon: &Daemon,
    options: &Options,
    request: &[u8],
    connections: usize,
    expected: u16,
) -> Result<(Seen, f64), Failure> {
    let load = |time| Load {
        address: daemon.address,
        request: request.to_owned(),
        expected,
        connections,
        time,
        requests: options.requests,
    };
    run(load(WARM_UP)).await?;
    let before = machine::cpu_seconds(daemon.pid());
    let seen = run(load(options.time())).await?;
    let cost = machine::cpu_seconds(daemon.pid()) - before;
    if let Some(example) = &seen.example {
        eprintln!("an unexpected answer: {example}");
    }
    Ok((seen, cost))
}

/// Row 1: signed webhook, durable, 200, by policy and by native preset.
pub(crate) async fn webhook(
    daemon: &Daemon,
    options: &Options,
    references: &References,
    rows: &mut Vec<Row>,
) -> Result<(), Failure> {
    let alone = daemon.install("no-automation", false).await?;
    for connections in options.connections() {
        let request = hook_request(&alone.hook, SIGNATURE);
        let commits = references.commits()?;
        let (seen, cost) = load(daemon, options, &request, connections, 200).await?;
        let row = Row::of("webhook, no automation", connections, &seen)
            .costing(cost, seen.answers)
            .on_a_disk_of(commits)
            .compared_with(ECHO, references.echo(connections))
            .reaching(if connections >= 64 { 20_000.0 } else { 15_000.0 });
        add(rows, row);
    }
    let preset = daemon.install_preset("preset").await?;
    for connections in options.connections() {
        let request = preset_request(&preset.hook, SIGNATURE);
        let commits = references.commits()?;
        let (seen, cost) = load(daemon, options, &request, connections, 200).await?;
        let row = Row::of("webhook by native preset", connections, &seen)
            .costing(cost, seen.answers)
            .on_a_disk_of(commits)
            .compared_with(ECHO, references.echo(connections));
        add(rows, row);
    }
    Ok(())
}

/// Row 2: refused, by the policy and by the native preset.
pub(crate) async fn refused(
    daemon: &Daemon,
    options: &Options,
    references: &References,
    rows: &mut Vec<Row>,
) -> Result<(), Failure> {
    let installed = daemon.install("refusing", false).await?;
    for connections in options.connections() {
        let request = hook_request(&installed.hook, WRONG_SIGNATURE);
        let commits = references.commits()?;
        let (seen, cost) = load(daemon, options, &request, connections, 401).await?;
        let row = Row::of("bad signature, by policy", connections, &seen)
            .costing(cost, seen.answers)
            .on_a_disk_of(commits)
            .compared_with(ECHO, references.echo(connections))
            .reaching(38_000.0);
        add(rows, row);
    }
    let preset = daemon.install_preset("refusing-preset").await?;
    for connections in options.connections() {
        let request = preset_request(&preset.hook, WRONG_SIGNATURE);
        let commits = references.commits()?;
        let (seen, cost) = load(daemon, options, &request, connections, 401).await?;
        let row = Row::of("bad signature refused by native preset", connections, &seen)
            .costing(cost, seen.answers)
            .on_a_disk_of(commits)
            .compared_with(ECHO, references.echo(connections));
        add(rows, row);
    }
    Ok(())
}

/// Row 3: a function is called and its result awaited.
pub(crate) async fn call(
    daemon: &Daemon,
    options: &Options,
    references: &References,
    rows: &mut Vec<Row>,
) -> Result<(), Failure> {
    let installed = daemon.install("called", false).await?;
    let parameters =
        json!({ "snap_in": installed.id, "function": "trivial", "payload": { "hello": "world" } });
    let request = daemon.api_request("functions.call", &parameters);
    for connections in options.connections() {
        let commits = references.commits()?;
        let (seen, cost) = load(daemon, options, &request, connections, 200).await?;
        let row = Row::of("functions.call", connections, &seen)
            .costing(cost, seen.answers)
            .on_a_disk_of(commits)
            .compared_with(ECHO, references.echo(connections))
            .reaching(6_600.0);
        add(rows, row);
    }
    Ok(())
}

/// Row 4: event to stored result. Sends at full speed, then waits until the last run has ended.
pub(crate) async fn runs(
    daemon: &Daemon,
    options: &Options,
    references: &References,
    rows: &mut Vec<Row>,
) -> Result<(), Failure> {
    let installed = daemon.install("automated", true).await?;
    for connections in options.connections() {
        let commits = references.commits()?;
        let warm_up = sustained(daemon, options, &installed, connections, WARM_UP).await?;
        drop(warm_up);
        let before = machine::cpu_seconds(daemon.pid());
        let began = Instant::now();
        let seen = sustained(daemon, options, &installed, connections, options.time()).await?;
        let time = began.elapsed();
        let cost = machine::cpu_seconds(daemon.pid()) - before;
        let row = Row::of("webhook, while runs run", connections, &seen)
            .compared_with(ECHO, references.echo(connections));
        add(rows, row);
        let drained = time.saturating_sub(seen.elapsed);
        println!(
            "  the next: the queue was empty {:.2} s after the last event",
            drained.as_secs_f64()
        );
        let rate = seen.answers as f64 / time.as_secs_f64();
        let row = Row::rate("event, function, result stored", connections, rate)
            .costing(cost, seen.answers)
            .on_a_disk_of(commits)
            .compared_with(ECHO, references.echo(connections))
            .reaching(5_000.0);
        add(rows, row);
    }
    Ok(())
}

/// Sends for a while and returns when every run of what was accepted has ended.
async fn sustained(
    daemon: &Daemon,
    options: &Options,
    installed: &Installed,
    connections: usize,
    time: Duration,
) -> Result<Seen, Failure> {
    let load = Load {
        address: daemon.address,
        request: hook_request(&installed.hook, SIGNATURE),
        expected: 200,
        connections,
        time,
        requests: options.requests,
    };
    let seen = run(load).await?;
    // Runs of one function start in the order of their events: when the last of each connection has
    // ended, hardly any other is left, and the lists say when none is.
    for body in &seen.last_bodies {
        let answer: serde_json::Value = serde_json::from_slice(body)?;
        let event = daemon.call("events.get", json!({ "id": answer["events"][0]["id"] })).await?;
        let run = text(&event["event"]["runs"][0]);
        wait_for_run(daemon, &run).await?;
    }
    for state in ["queued", "running", "retrying"] {
        loop {
            let wanted = json!({ "snap_in": installed.id, "state": state, "limit": 1 });
            let found = daemon.call("runs.list", wanted).await?;
            if found["runs"].as_array().is_none_or(Vec::is_empty) {
                break;
            }
        }
    }
    Ok(seen)
}

async fn wait_for_run(daemon: &Daemon, run: &str) -> Result<(), Failure> {
    let deadline = Instant::now() + Duration::from_secs(300);
    while Instant::now() < deadline {
        let found = daemon.call("runs.get", json!({ "id": run, "wait_seconds": 30 })).await?;
        match found["run"]["state"].as_str() {
            Some("succeeded") => return Ok(()),
            Some("queued" | "running" | "retrying") => {}
            state => return Err(format!("run {run} ended as {state:?}: {found:#}").into()),
        }
    }
    Err(format!("run {run} has not ended after five minutes").into())
}
