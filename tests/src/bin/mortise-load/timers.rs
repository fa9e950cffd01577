//! Ten thousand timers: what they cost while none is due, and how long it takes when all are.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::daemon::{Daemon, text};
use crate::{Failure, Options, machine, samples};

/// How long the idle daemon is watched.
const IDLE: Duration = Duration::from_secs(10);
/// Sources of one snap-in.
const PER_SNAP_IN: usize = 1_000;
/// How long it may take until the last is stored.
const PATIENCE: Duration = Duration::from_secs(120);

/// Installs `options.timers` timers that are all due at the full minute, and watches both.
pub(crate) async fn timers(daemon: &Daemon, options: &Options) -> Result<Value, Failure> {
    let count = options.timers;
    let per = count.clamp(1, PER_SNAP_IN);
    let began = Instant::now();
    let first = daemon.install_timers("timers", per, "* * * * *").await?;
    let one = began.elapsed();
    for number in 1..count / per {
        daemon.activate(&first.version, &format!("load/timers/s{number}")).await?;
    }
    let all = began.elapsed();
    let count = count / per * per;
    println!("{per} timers active after {one:.1?}, {count} after {all:.1?}");
    // The seconds of a minute in which nothing is due.
    let mut wait = seconds_to_minute()?;
    while wait < IDLE.as_secs_f64() + 3.0 {
        tokio::time::sleep(Duration::from_secs_f64(wait + 15.0)).await;
        wait = seconds_to_minute()?;
    }
    let before = machine::cpu_seconds(daemon.pid());
    tokio::time::sleep(IDLE).await;
    let idle = (machine::cpu_seconds(daemon.pid()) - before) / IDLE.as_secs_f64();
    println!("{count} timers, none due: {:.2} % of one core", idle * 100.0);

    let due = seconds_to_minute()?;
    let from = daemon.count_events().await?;
    let before = machine::cpu_seconds(daemon.pid());
    tokio::time::sleep(Duration::from_secs_f64(due)).await;
    let began = Instant::now();
    let spread = loop {
        let now = daemon.count_events().await?;
        if now.0 - from.0 >= count {
            break now.1;
        }
        if began.elapsed() > PATIENCE {
            return Err(format!("{} of {count} timers fired", now.0 - from.0).into());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    let cpu = machine::cpu_seconds(daemon.pid()) - before;
    println!(
        "{count} timers due at once: stored {} to {} ms after their time, {cpu:.2} s of processor",
        spread.0, spread.1
    );
    Ok(json!({
        "timers": count,
        "first_snap_in_seconds": one.as_secs_f64(),
        "active_seconds": all.as_secs_f64(),
        "idle_cores": idle,
        "first_ms": spread.0,
        "last_ms": spread.1,
        "firing_cpu_seconds": cpu,
    }))
}

fn seconds_to_minute() -> Result<f64, Failure> {
    Ok((60_000 - samples::now_ms()? % 60_000) as f64 / 1e3)
}

/// How long after its minute an event was received, in milliseconds.
pub(crate) fn after_minute(event: &Value) -> Option<u64> {
    let date = text(&event["received_date"]);
    let seconds = date.get(17..23)?;
    let (whole, thousandths) = seconds.split_once('.')?;
    Some(whole.parse::<u64>().ok()? * 1_000 + thousandths.parse::<u64>().ok()?)
}
