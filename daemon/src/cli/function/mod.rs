//! `mortise function run` and `list`: the functions of a package that is no version yet, without a
//! daemon, but with its runtime. Must never reach a daemon, and never run code in this process.

mod event;
mod local;
mod package;
mod report;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::snap_in::arguments::ValueOptions;
use super::snap_in::given::Given;
use super::table::{Fit, table};
use super::{Failure, files, show, terminal};
use crate::functions::remote::TestingUrl;
use crate::functions::runner::node_is_at;
use crate::model::http::Destination;
use crate::model::manifest::Level;
use event::Names;
use local::{Local, Way};
use package::Package;
use report::Ended;

/// The longest fixture: longer than any event.
const MOST_FIXTURE: u64 = 8 * 1024 * 1024;

#[derive(Args, Clone, Debug)]
pub(super) struct Run {
    /// The function, as manifest.yaml names it
    pub(super) function: String,
    /// A JSON file with an event or a list of events; - for the standard input. What an event leaves
    /// out is filled
    #[arg(long, value_name = "FILE")]
    pub(super) fixture: PathBuf,
    /// The package: a directory with manifest.yaml, or an archive of one
    #[arg(long, value_name = "DIR|FILE", default_value = ".")]
    pub(super) dir: PathBuf,
    #[command(flatten)]
    pub(super) values: ValueOptions,
    /// Let it reach this host, address or network although it is on this host or its network, as
    /// egress.allow does for the daemon
    #[arg(long, value_name = "HOST[:PORT]")]
    pub(super) allow: Vec<Destination>,
    /// Refuse every request
    #[arg(long)]
    pub(super) offline: bool,
    /// Seconds that it may take, rather than what manifest.yaml says
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) timeout: Option<u32>,
    /// Megabytes that it may use, rather than what manifest.yaml says
    #[arg(long, value_name = "MB", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) memory: Option<u32>,
    /// Run it so often, in the same process as the daemon does, and say how long each run took
    #[arg(long, value_name = "N", default_value_t = 1,
        value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(super) repeat: u32,
    /// Say what runs it and why, and list the requests that it made
    #[arg(long, short)]
    pub(super) verbose: bool,
    /// The server of the author's own that functions in the runtime `remote` are on, such as
    /// http://localhost:8000: the event is posted to /handle/sync there
    #[arg(long, value_name = "URL")]
    pub(super) testing_url: Option<String>,
}

/// Runs a function on each event of a fixture.
pub(super) fn run(as_json: bool, options: &Run) -> Result<(), Failure> {
    let package = Package::read(&options.dir)?;
    let function = package.function(&options.function)?;
    let testing_url = options.testing_url.as_deref().map(TestingUrl::parse).transpose();
    let testing_url = testing_url.map_err(Failure::usage)?;
    let has_node = local::node().is_some() || node_is_at(None);
    let settled = package.settle(function, testing_url, has_node)?;
    let given = Given::read(&options.values)?;
    let keyrings = given.plain_keyrings()?;
    let inputs = given.values(&package.manifest, Level::Organization);
    let inputs = inputs.map_err(|wrong| Failure::usage(wrong.join("\n")))?;
    let (text, shown) = fixture(&options.fixture)?;
    let wrong = |what: String| Failure::usage(format!("{shown}: {what}"));
    let mut events = Vec::new();
    for event in event::read(&text).map_err(wrong)? {
        let names = Names { manifest: &package.manifest, function: &function.name };
        let mut completed = event::complete(event, &names).map_err(wrong)?;
        event::set(&mut completed.event, &inputs, &keyrings);
        events.push(completed);
    }
    if !as_json {
        for line in events.iter().flat_map(|it| &it.notes) {
            eprintln!("{}", show::plain(line));
        }
    }
    let way = Way {
        timeout: options.timeout.map(u64::from).map(Duration::from_secs),
        memory_mb: options.memory,
        allow: options.allow.clone(),
        offline: options.offline,
    };
    let chosen = settled.chosen().clone();
    if !as_json {
        let warnings = package.findings(settled.warnings());
        if !warnings.is_empty() {
            eprintln!("{warnings}");
        }
        if options.verbose {
            let (name, runtime) = (&function.name, chosen.runtime.name());
            eprintln!("{}", show::plain(&format!("{name} runs in {runtime}: {}", chosen.why)));
        }
    }
    let local = Local::start(&package, function, settled, &way)?;
    if !as_json && let Some(lack) = local.missing_protections() {
        eprintln!("this kernel lacks protections that functions run under elsewhere: {lack}");
    }
    let mut all = Vec::new();
    for completed in &events {
        for _ in 0..options.repeat {
            let ended = local.run(&completed.event, !as_json);
            if !as_json {
                report::say(&ended, options, events.len() > 1)?;
            }
            all.push((ended, completed));
        }
    }
    if !as_json && options.repeat > 1 {
        eprintln!("{}", report::durations(all.iter().map(|(it, _)| it)));
    }
    if as_json {
        let runs: Vec<_> = all.iter().map(|(it, of)| report::as_json(it, of)).collect();
        let succeeded = all.iter().all(|(it, _)| it.succeeded());
        let runtime = json!({ "name": chosen.runtime.name(), "why": chosen.why });
        let answer = json!({
            "function": function.name, "runtime": runtime, "succeeded": succeeded, "runs": runs,
        });
        show::print(&format!("{answer:#}"))?;
    }
    match all.iter().filter(|(it, _)| !it.succeeded()).count() {
        0 => Ok(()),
        _ if all.len() == 1 => Err(Failure::refused("the function failed")),
        failed => Err(Failure::refused(format!("{failed} of {} runs failed", all.len()))),
    }
}

fn fixture(path: &Path) -> Result<(String, String), Failure> {
    let shown = if path == Path::new("-") {
        "the standard input".to_owned()
    } else {
        path.display().to_string()
    };
    let bytes = if path == Path::new("-") {
        files::bytes(std::io::stdin().lock(), MOST_FIXTURE, &shown)
    } else {
        files::open(path).and_then(|it| files::bytes(it, MOST_FIXTURE, &shown))
    };
    let text = bytes.and_then(|it| files::text(it, &shown)).map_err(as_usage)?;
    Ok((text.as_str().to_owned(), shown))
}

/// What cannot be read here was named wrongly.
fn as_usage(failure: Failure) -> Failure {
    Failure::usage(failure.message)
}

/// Lists the functions of a package, with what calls them.
pub(super) fn list(as_json: bool, directory: &Path) -> Result<(), Failure> {
    let package = Package::read(directory)?;
    let functions = &package.manifest.functions;
    let callers: Vec<_> = functions.iter().map(|it| package.callers(&it.name)).collect();
    if as_json {
        let functions: Vec<_> = functions
            .iter()
            .zip(&callers)
            .map(|(it, callers)| {
                json!({
                    "name": it.name, "description": it.description, "runtime": it.runtime,
                    "timeout_seconds": it.timeout_seconds, "memory_mb": it.memory_mb,
                    "called_by": callers,
                })
            })
            .collect();
        return show::print(&format!("{:#}", json!({ "functions": functions })));
    }
    let rows: Vec<Vec<String>> = functions
        .iter()
        .zip(callers)
        .map(|(it, callers)| {
            let about = it.description.clone().unwrap_or_default().replace(['\n', '\r'], " ");
            let callers = callers.join(", ");
            vec![show::plain(&it.name), show::plain(&callers), show::plain(&about)]
        })
        .collect();
    let columns = [("FUNCTION", Fit::Whole), ("CALLED BY", Fit::Cut), ("DESCRIPTION", Fit::Cut)];
    show::print(&table(&columns, &rows, terminal::width()))
}

impl Ended {
    /// Whether the function returned.
    fn succeeded(&self) -> bool {
        self.failure.is_none()
    }
}
