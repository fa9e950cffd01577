//! Memory of the idle daemon, with and without many snap-ins, and how fast it is back after a crash.

use serde_json::{Value, json};

use crate::client::{Load, post, run};
use crate::daemon::Daemon;
use crate::samples::{BODY, SIGNATURE};
use crate::{Failure, Options, machine};

/// Memory when idle, then with `options.snap_ins` active ones.
pub(crate) async fn memory(daemon: &Daemon, options: &Options) -> Result<Value, Failure> {
    let idle = machine::memory(daemon.pid());
    println!("memory, idle: {:.1} MiB resident, {:.1} MiB its own", idle.resident, idle.own);
    let first = daemon.install("memory", true).await?;
    for number in 1..options.snap_ins {
        daemon.activate(&first.version, &format!("load/many/s{number}")).await?;
    }
    let full = machine::memory(daemon.pid());
    let count = options.snap_ins;
    let (resident, own) = (full.resident, full.own);
    println!("memory, {count} active snap-ins: {resident:.1} MiB resident, {own:.1} its own");
    Ok(json!({
        "idle_rss_mib": idle.resident,
        "idle_own_mib": idle.own,
        "snap_ins": count,
        "full_rss_mib": resident,
        "full_own_mib": own,
    }))
}

/// Stores `options.events` events, kills the daemon, and measures how long it is away.
pub(crate) async fn restart(daemon: &mut Daemon, options: &Options) -> Result<Value, Failure> {
    let installed = daemon.install("restart", false).await?;
    let headers = [("content-type", "application/json"), ("x-signature-256", SIGNATURE)];
    let load = Load {
        address: daemon.address,
        request: post(&installed.hook, &headers, BODY),
        expected: 200,
        connections: 64,
        time: std::time::Duration::from_secs(600),
        requests: options.events,
    };
    let seen = run(load).await?;
    daemon.crash_and_restart().await?;
    let time = daemon.start_time.as_secs_f64();
    println!("ready after kill -9 with {} events: {:.0} ms", seen.answers, time * 1000.0);
    Ok(json!({ "events": seen.answers, "ready_ms": time * 1000.0 }))
}
