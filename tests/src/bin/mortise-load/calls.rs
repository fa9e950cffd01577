//! What one call costs per runtime, cold and warm, beside starting a process that does nothing.
//!
//! Cold: the daemon has no process for the snap-in, because there are more snap-ins than it keeps
//! processes and they take turns. Warm: the process and its context are there. One call at a time.

use std::process::{Command, Stdio};

use mortise_tests::harness::Harness;
use serde_json::json;
use tokio::time::Instant;

use crate::client::Connection;
use crate::daemon::{Daemon, Installed};
use crate::report::Row;
use crate::samples::Sample;
use crate::{Failure, Options, machine};

/// More snap-ins than the daemon keeps processes on any machine that this is for.
const SNAP_INS: usize = 40;
const MOST_CALLS: usize = 2000;

/// The rows of every runtime that the daemon has.
pub(crate) async fn calls(
    daemon: &Daemon,
    options: &Options,
    rows: &mut Vec<Row>,
) -> Result<(), Failure> {
    let bare = starts(options)?;
    let bare_rate = bare.per_second;
    bare.print();
    rows.push(bare);
    let server = Harness::start(|_| Ok(json!({ "events": 1 })));
    for sample in Sample::ALL {
        let name = sample.name();
        let first = match daemon.install_sample(name, sample, &server.url()).await {
            Ok(installed) => installed,
            Err(why) => {
                println!("  {name} is left out: {why}");
                continue;
            }
        };
        let mut all = vec![first];
        for number in 1..SNAP_INS {
            let scope = format!("load/load/{name}-{number}");
            all.push(daemon.activate(&all[0].version, &scope).await?);
        }
        for (what, snap_ins) in [("cold", all.as_slice()), ("warm", &all[..1])] {
            let row = in_turn(daemon, options, &format!("{what} call, {name}"), snap_ins).await?;
            let row = row.compared_with("fork+exec", Some(bare_rate));
            row.print();
            rows.push(row);
        }
    }
    Ok(())
}

/// Calls the function of one snap-in after the other, one at a time.
async fn in_turn(
    daemon: &Daemon,
    options: &Options,
    what: &str,
    snap_ins: &[Installed],
) -> Result<Row, Failure> {
    let requests: Vec<Vec<u8>> = snap_ins
        .iter()
        .map(|it| {
            let parameters = json!({ "snap_in": it.id, "function": "trivial", "payload": {} });
            daemon.api_request("functions.call", &parameters)
        })
        .collect();
    let mut connection = Connection::open(daemon.address).await?;
    // What is made once per version is made by then.
    for request in &requests {
        connection.exchange(request).await?;
    }
    let before = machine::cpu_seconds(daemon.pid());
    let began = Instant::now();
    let mut times = Vec::new();
    let mut unexpected = 0;
    for request in requests.iter().cycle().take(MOST_CALLS) {
        let sent = Instant::now();
        let answer = connection.exchange(request).await?;
        unexpected += u64::from(answer.status != 200);
        times.push(sent.elapsed().as_secs_f64() * 1e3);
        if began.elapsed() >= options.time() {
            break;
        }
    }
    let cost = machine::cpu_seconds(daemon.pid()) - before;
    let calls = u64::try_from(times.len()).unwrap_or(u64::MAX);
    let mut row = timed(what, times).costing(cost, calls);
    row.unexpected = unexpected;
    Ok(row)
}

/// How long it takes to start `/bin/true` and to hear that it has ended.
fn starts(options: &Options) -> Result<Row, Failure> {
    let began = Instant::now();
    let mut times = Vec::new();
    while times.len() < MOST_CALLS && began.elapsed() < options.time() {
        let started = Instant::now();
        Command::new("/bin/true").stdin(Stdio::null()).status()?;
        times.push(started.elapsed().as_secs_f64() * 1e3);
    }
    Ok(timed("reference: fork+exec /bin/true", times))
}

/// A row from milliseconds.
fn timed(what: &str, mut times: Vec<f64>) -> Row {
    times.sort_by(f64::total_cmp);
    let at = |per_mille: usize| {
        let last = times.len().saturating_sub(1);
        times.get(last * per_mille / 1000).copied().unwrap_or_default()
    };
    let total: f64 = times.iter().sum();
    let mut row = Row::rate(what, 1, times.len() as f64 / (total / 1e3).max(1e-9));
    row.latency = Some([at(500), at(990), at(999)]);
    row
}
