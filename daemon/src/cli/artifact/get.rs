//! `mortise artifact get`: the bytes of an artifact into a file, which is there only when it is right.

use std::fs::File;
use std::io::{ErrorKind, IsTerminal, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use clap::Args;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::{is_regular, shown, so_far};
use crate::cli::Failure;
use crate::cli::connection::{Client, Received};

/// So often in a row nothing may come.
const TRIES: u32 = 8;
/// Before it is tried again.
const PAUSE: Duration = Duration::from_secs(1);

#[derive(Args, Debug)]
pub(in crate::cli) struct Get {
    /// Id of the artifact
    artifact: String,
    /// The file; standard output when absent, or for -
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Where bytes go.
enum Target {
    /// A file that gets its name when it is right.
    Draft(tempfile::NamedTempFile, PathBuf),
    /// Something that is written to as it is.
    Open(File),
    StandardOutput,
}

impl Target {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        match self {
            Target::Draft(file, _) => file.write_all(bytes),
            Target::Open(file) => file.write_all(bytes),
            Target::StandardOutput => std::io::stdout().lock().write_all(bytes),
        }
    }
}

/// Reads it.
pub(super) fn run(client: &Client, as_json: bool, options: &Get) -> Result<(), Failure> {
    let mut target = open(options)?;
    let answer = client.call("artifacts.get", &json!({ "id": options.artifact }))?;
    let located = client.call("artifacts.locate", &json!({ "id": options.artifact }))?;
    let (Some(url), Some(expected)) =
        (located["url"].as_str(), answer["artifact"]["sha256"].as_str())
    else {
        return Err(Failure::failed("cannot read the daemon's answer: it has no url and sha256"));
    };
    let size = answer["artifact"]["file"]["size"].as_u64().unwrap_or_default();
    let found = fetch(client, url, size, &mut target)?;
    if found != expected {
        let message = format!("what came has the SHA-256 {found}, but {expected} was expected");
        return Err(Failure::failed(message));
    }
    match target {
        Target::Draft(file, path) => {
            file.persist(&path).map_err(|error| unwritable(&path, &error.error))?;
        }
        Target::Open(_) => {}
        Target::StandardOutput => {
            return std::io::stdout().lock().flush().map_err(|error| cannot_print(&error));
        }
    }
    shown(&answer, as_json)
}

fn open(options: &Get) -> Result<Target, Failure> {
    let path = match &options.output {
        Some(path) if path.as_os_str() != "-" => path,
        Some(_) | None => {
            if options.output.is_none() && std::io::stdout().is_terminal() {
                let message = "a terminal is no place for a file: give one by -o, or -o - if it is \
                               meant to be shown";
                return Err(Failure::usage(message));
            }
            return Ok(Target::StandardOutput);
        }
    };
    if !is_regular(path) {
        let file = File::options().write(true).open(path);
        return Ok(Target::Open(file.map_err(|error| unwritable(path, &error))?));
    }
    let folder = path.parent().filter(|it| !it.as_os_str().is_empty());
    let draft = tempfile::Builder::new()
        .prefix(".mortise-")
        // As usual: what the user's mask leaves of it.
        .permissions(std::fs::Permissions::from_mode(0o666))
        .tempfile_in(folder.unwrap_or(Path::new(".")))
        .map_err(|error| unwritable(path, &error))?;
    Ok(Target::Draft(draft, path.clone()))
}

fn unwritable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::refused(format!("cannot write {}: {error}", path.display()))
}

fn cannot_print(error: &std::io::Error) -> Failure {
    Failure::refused(format!("cannot write what came: {error}"))
}

/// Gets all bytes, in as many goes as it takes; answers their SHA-256.
fn fetch(client: &Client, url: &str, size: u64, target: &mut Target) -> Result<String, Failure> {
    let mut hash = Sha256::new();
    let at = Arc::new(AtomicU64::new(0));
    let mut left = TRIES;
    loop {
        let from = at.load(Ordering::Relaxed);
        let counted = at.clone();
        let said = move || so_far("got", counted.load(Ordering::Relaxed), Some(size));
        let received = client.receive_bytes(url, from, said, |bytes| {
            target.write(bytes)?;
            hash.update(bytes);
            at.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            Ok(())
        })?;
        let why = match received {
            Received::All => return Ok(hex::encode(hash.finalize())),
            Received::Refused(refusal) if refusal.is_passing() => refusal.text(),
            Received::Refused(refusal) => return Err(refusal.into()),
            // Nobody reads on: that is no failure of ours.
            Received::Unwritten(error) if error.kind() == ErrorKind::BrokenPipe => {
                return Err(Failure::refused("nobody reads what is written"));
            }
            Received::Unwritten(error) => return Err(cannot_print(&error)),
            Received::BrokeOff(why) => why,
        };
        let came = at.load(Ordering::Relaxed) > from;
        left = if came { TRIES } else { left.saturating_sub(1) };
        if left == 0 {
            return Err(Failure::unreachable(format!("the download broke off: {why}")));
        }
        client.pause(&format!("{why}; trying again"), PAUSE);
    }
}
