//! `mortise-load`: what the daemon does per second, beside what the machine could do at best.
//!
//! A closed loop over keep-alive connections, on loopback only, bounded in time and count. It
//! starts the daemon as a process of its own on a temporary state directory and stops by itself.
//! `tests/load/README.md` has figures and how to read them.

mod calls;
mod client;
mod daemon;
mod footprint;
mod machine;
mod measure;
mod objects;
mod receiver;
mod references;
mod report;
mod samples;
#[cfg(feature = "sqlite")]
mod sqlite;
mod timers;
mod webhooks;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use serde_json::json;

use crate::daemon::Daemon;
use crate::receiver::Receiver;

/// What went wrong, for the person at the terminal.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Measures the daemon under load, each figure beside its reference in the same run.
#[derive(Parser)]
#[command(name = "mortise-load")]
struct Options {
    /// Seconds per measurement.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Most requests per measurement.
    #[arg(long, default_value_t = 5_000_000)]
    requests: u64,
    /// Keep-alive connections, each with one request under way; several numbers are measured in turn.
    #[arg(long, value_delimiter = ',', default_values_t = [16, 64])]
    connections: Vec<usize>,
    /// Measure only these, separated by commas. The references are always measured.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Measurement>,
    /// The daemon's binary; by default the `mortise` beside this program.
    #[arg(long, value_name = "PATH")]
    daemon: Option<PathBuf>,
    /// A file with more of the daemon's configuration: whole TOML tables other than `listen`,
    /// `limits`, `egress` and `webhooks`.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Directory for the daemon's state, on the file system to be measured.
    #[arg(long, value_name = "PATH", default_value = ".")]
    directory: PathBuf,
    /// Writes every figure as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Active snap-ins for `memory`.
    #[arg(long, default_value_t = 1000)]
    snap_ins: usize,
    /// Stored events for `restart`.
    #[arg(long, default_value_t = 100_000)]
    events: u64,
    /// Timers for `timers`, 1,000 to a snap-in.
    #[arg(long, default_value_t = 10_000)]
    timers: usize,
    /// Numbers of stored objects for `objects`, from few to many: what is measured is measured at each.
    #[arg(long, value_delimiter = ',', default_values_t = [1_000])]
    objects: Vec<u64>,
    /// Seconds to wait, once everything is started, before each measurement: to attach a profiler.
    #[arg(long, default_value_t = 0.0)]
    pause: f64,
}

/// What can be measured.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Measurement {
    /// Signed webhook, policy, durable, 200.
    Webhook,
    /// Bad signature, refused by the policy.
    Refused,
    /// A function is called and its result awaited.
    Call,
    /// Event, durable, function, result stored.
    Runs,
    /// One cold and one warm call at a time, per runtime.
    Calls,
    /// Memory when idle and with many snap-ins. Only when asked for.
    Memory,
    /// Time until ready after kill -9. Only when asked for.
    Restart,
    /// Many timers: idle, and all due at once. Only when asked for.
    Timers,
    /// Objects: made, changed, read and listed. Only when asked for.
    Objects,
    /// Outgoing webhooks to a local endpoint.
    Webhooks,
}

impl Options {
    fn connections(&self) -> impl Iterator<Item = usize> {
        self.connections.iter().copied()
    }

    fn time(&self) -> Duration {
        Duration::from_secs_f64(self.seconds.clamp(0.1, 600.0))
    }

    fn wants(&self, measurement: Measurement) -> bool {
        use Measurement::{Memory, Objects, Restart, Timers};
        let usual = !matches!(measurement, Memory | Restart | Timers | Objects);
        if self.only.is_empty() { usual } else { self.only.contains(&measurement) }
    }

    fn daemon(&self) -> Result<PathBuf, Failure> {
        if let Some(path) = &self.daemon {
            return Ok(path.canonicalize().map_err(|it| format!("{}: {it}", path.display()))?);
        }
        let own = std::env::current_exe()?;
        let beside = own.with_file_name("mortise");
        if beside.exists() {
            return Ok(beside);
        }
        Err(format!("there is no {}: name the daemon with --daemon", beside.display()).into())
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let outcome = runtime.map_err(Failure::from).and_then(|runtime| {
        let local = tokio::task::LocalSet::new();
        local.block_on(&runtime, measure_all(&options))
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("mortise-load: {failure}");
            ExitCode::FAILURE
        }
    }
}

async fn measure_all(options: &Options) -> Result<(), Failure> {
    let program = options.daemon()?;
    let base = options.directory.canonicalize()?;
    let directory = tempfile::Builder::new().prefix("mortise-load-").tempdir_in(base)?;
    let facts = machine::facts();
    println!(
        "{} cores, Linux {}, load average {}",
        facts["cores"],
        facts["kernel"].as_str().unwrap_or_default(),
        machine::load_average()
    );
    let more = options.config.as_ref().map(std::fs::read_to_string).transpose()?;
    let more = more.unwrap_or_default();
    let mut rows = Vec::new();
    let mut others = serde_json::Map::new();
    // Before the daemon, whose configuration names it; lives as long as that.
    let receiver = Receiver::start()?;
    let more = format!("{}{more}", webhooks::configuration(&receiver));
    let mut daemon = Daemon::start(&program, directory.path(), &more).await?;
    println!(
        "ready after {:.0} ms, process {}",
        daemon.start_time.as_secs_f64() * 1e3,
        daemon.pid()
    );
    if options.wants(Measurement::Memory) {
        others.insert("memory".to_owned(), footprint::memory(&daemon, options).await?);
    }
    if options.wants(Measurement::Restart) {
        others.insert("restart".to_owned(), footprint::restart(&mut daemon, options).await?);
    }
    if options.wants(Measurement::Timers) {
        others.insert("timers".to_owned(), timers::timers(&daemon, options).await?);
    }
    if options.wants(Measurement::Objects) {
        report::print_head();
        objects::objects(&daemon, options, directory.path(), &mut rows).await?;
    }
    if options.wants(Measurement::Webhooks) {
        report::print_head();
        webhooks::webhooks(&daemon, options, &receiver, &mut rows).await?;
    }
    if options.wants(Measurement::Calls) {
        report::print_head();
        calls::calls(&daemon, options, &mut rows).await?;
    }
    use Measurement::{Call, Refused, Runs, Webhook};
    if [Webhook, Refused, Call, Runs].into_iter().any(|it| options.wants(it)) {
        report::print_head();
        let references = measure::references(options, directory.path(), &mut rows).await?;
        tokio::time::sleep(Duration::from_secs_f64(options.pause.max(0.0))).await;
        if options.wants(Webhook) {
            measure::webhook(&daemon, options, &references, &mut rows).await?;
        }
        if options.wants(Refused) {
            measure::refused(&daemon, options, &references, &mut rows).await?;
        }
        if options.wants(Call) {
            measure::call(&daemon, options, &references, &mut rows).await?;
        }
        if options.wants(Runs) {
            measure::runs(&daemon, options, &references, &mut rows).await?;
        }
    }
    let after = machine::load_average();
    println!("load average {after}");
    if let Some(path) = &options.json {
        let document = report::document(&facts, &after, &rows, &json!(others));
        std::fs::write(path, format!("{document:#}\n"))?;
    }
    Ok(())
}
