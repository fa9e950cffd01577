//! `mortise version dev`: a directory that is being written, installed anew at every save, and what
//! happens to it, live.
//!
//! Owns the order of things: look at the directory, install what is right, show what came in. What is
//! wrong with a save changes nothing. Must never end because of a save, and leaves the snap-in as it
//! is when it ends, unless told to remove what it made.

mod feed;
mod say;
mod site;
mod watch;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::Failure;
use super::connection::Client;
use super::snap_in::arguments::ValueOptions;
use super::snap_in::given::Given;
use super::snap_in::origin;
use super::stop::Stop;
use feed::Feed;
use say::Say;
use site::{Reload, Site};
use watch::Watch;

/// What makes a directory a package, by any of these names.
const MANIFEST_NAMES: [&str; 2] = ["manifest.yaml", "manifest.yml"];
/// How long nothing is done between two looks.
const TICK: Duration = Duration::from_millis(200);
/// Every so many ticks, what seldom changes is looked at.
const SELDOM: u32 = 5;

#[derive(Args, Clone, Debug)]
pub(super) struct Dev {
    /// The directory with manifest.yaml
    #[arg(default_value = ".")]
    pub(super) dir: PathBuf,
    /// Where the snap-in is to live: stack/namespace/snap-in (default: `dev/<you>/<package>`)
    #[arg(long)]
    pub(super) scope: Option<String>,
    /// Slug of the package; made from the manifest's name when absent
    #[arg(long)]
    pub(super) package: Option<String>,
    /// The server to which events of functions in the runtime `remote` are posted, such as
    /// http://localhost:8000
    #[arg(long, value_name = "URL")]
    pub(super) testing_url: Option<String>,
    #[command(flatten)]
    pub(super) values: ValueOptions,
    /// Move a snap-in that is there already, and may be in use, to what is in the directory. Without
    /// this only those in `dev/<you>/` are touched
    #[arg(long)]
    pub(super) take_over: bool,
    /// At the end, delete the snap-in, the versions and the package that were made
    #[arg(long)]
    pub(super) remove: bool,
}

/// Installs a directory and goes on until it is interrupted.
pub(super) fn run(client: &Client, as_json: bool, options: &Dev) -> Result<(), Failure> {
    if !options.dir.is_dir() {
        return Err(Failure::usage(format!("{} is no directory", options.dir.display())));
    }
    // Before anything is looked at: another directory may hold everything that somebody has.
    if !MANIFEST_NAMES.iter().any(|it| options.dir.join(it).is_file()) {
        let directory = options.dir.display();
        return Err(Failure::usage(format!(
            "{directory} has no manifest.yaml: name the directory of a package, or begin one there: \
             mortise version init {directory}"
        )));
    }
    let stop = Stop::listen()?;
    let given = Given::read(&options.values)?;
    let mut say = Say::new(as_json, origin::whereabouts(&options.dir));
    let mut watch = Watch::new(&options.dir);
    let mut site = Site::new(client, options, given);
    let ended = go_on(client, options, &stop, &mut watch, &mut site, &mut say);
    if !options.remove {
        return ended;
    }
    // Also after a failure: it was made all the same.
    let removed = site.remove().and_then(|removed| say_removed(&say, &removed));
    match (ended, removed) {
        (Ok(()), removed) => removed,
        (Err(failure), Ok(())) => Err(failure),
        (Err(failure), Err(more)) => {
            say.trouble(&more)?;
            Err(failure)
        }
    }
}

fn say_removed(say: &Say, removed: &[String]) -> Result<(), Failure> {
    say.line(&json!({ "kind": "removed", "removed": removed }), || {
        vec![match removed {
            [] => "nothing was made, and nothing is removed".to_owned(),
            removed => format!("removed {}", removed.join(", ")),
        }]
    })
}

/// Until it is told to stop, or there is nothing to go on with.
fn go_on(
    client: &Client,
    options: &Dev,
    stop: &Stop,
    watch: &mut Watch,
    site: &mut Site<'_>,
    say: &mut Say,
) -> Result<(), Failure> {
    let mut feed: Option<Feed> = None;
    let mut is_started = false;
    let mut is_reachable = true;
    let mut tick: u32 = 0;
    loop {
        if let Some(packed) = watch.next(stop) {
            // What cannot be packed at the moment may be mended by the next save.
            let reloaded = match packed {
                Ok(archive) => site.reload(&archive, say),
                Err(failure) => say.trouble(&failure).map(|()| Reload::Wrong),
            };
            feed = feed.or_else(|| site.take_feed());
            match reloaded {
                Ok(Reload::Installed) => {
                    if !is_started {
                        is_started = true;
                        say.started(&options.dir, site.sources()?.as_slice())?;
                    }
                }
                Ok(Reload::Wrong) => {}
                Err(failure) if !site.is_there() => return Err(failure),
                Err(failure) => {
                    // The next look finds it changed again, once whatever it is has passed.
                    if failure.exit_code == 3 {
                        watch.forget();
                    }
                    if is_reachable || failure.exit_code != 3 {
                        say.trouble(&failure)?;
                    }
                    is_reachable = failure.exit_code != 3;
                }
            }
        }
        if let Some(feed) = &mut feed {
            let seen = feed
                .look(client, tick.is_multiple_of(SELDOM), say)
                .and_then(|()| if tick.is_multiple_of(SELDOM) { site.look(say) } else { Ok(()) });
            match seen {
                Ok(()) => is_reachable = true,
                // A daemon that is being restarted comes back.
                Err(failure) => {
                    if is_reachable {
                        say.trouble(&failure)?;
                    }
                    is_reachable = false;
                }
            }
        }
        tick = tick.wrapping_add(1);
        if stop.wait(TICK) {
            return Ok(());
        }
    }
}
