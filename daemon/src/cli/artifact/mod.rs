//! `mortise artifact`: files that the daemon keeps. One file for each direction of their bytes.

mod get;
mod put;

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::{Value, json};

use super::Failure;
use super::arguments::Page;
use super::client::paged;
use super::connection::Client;
use super::show::{self, View};

const ARTIFACTS: View = View::Table(
    "artifacts",
    &[
        ("ID", "id"),
        ("FILE", "/file/name"),
        ("STATE", "state"),
        ("BYTES", "/file/size"),
        ("CREATED", "created_date"),
        ("PARENT", "parent_id"),
    ],
);

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum ArtifactCommand {
    /// Bring a file, or what comes on standard input
    #[command(after_help = "\
A connection that breaks off is made again, and the upload goes on where it stopped. Artifacts that \
belong to nothing are deleted after a while (artifacts.keep_loose_days).

Examples:
  mortise artifact put report.pdf
  mortise artifact put report.pdf --type application/pdf --parent ISS-1
  pg_dump db | mortise artifact put - --name db.sql
  mortise artifact put report.pdf --resume art_01k9...")]
    Put(put::Put),
    /// Read an artifact into a file, or to standard output
    #[command(after_help = "\
What comes is compared with the SHA-256 that the daemon has; a file is there only when it is right.

Examples:
  mortise artifact get ARTIFACT -o report.pdf
  mortise artifact get ARTIFACT | tar -t")]
    Get(get::Get),
    /// List artifacts, newest first
    #[command(after_help = "Examples:
  mortise artifact list
  mortise artifact list --parent ISS-1 --json | jq -r '.artifacts[].id'")]
    List {
        /// Only those that belong to this
        #[arg(long, value_name = "ID")]
        parent: Option<String>,
        #[command(flatten)]
        page: Page,
    },
    /// Show what is known of an artifact
    Show {
        /// Id of the artifact
        artifact: String,
    },
    /// Print a URL at which an artifact can be read without a token
    #[command(after_help = "\
Whoever has the URL can read the artifact until it expires, or until half an hour after the master key \
was replaced.

Example:
  mortise artifact url ARTIFACT --expires-in 86400")]
    Url {
        /// Id of the artifact
        artifact: String,
        /// For how long: 1 to 604800, an hour when absent
        #[arg(long, value_name = "SECONDS")]
        expires_in: Option<u64>,
    },
    /// Say what an artifact belongs to
    Attach {
        /// Id of the artifact
        artifact: String,
        /// Id of the object that it belongs to
        parent: String,
    },
    /// Take an artifact from what it belongs to
    Detach {
        /// Id of the artifact
        artifact: String,
    },
    /// Delete an artifact
    Delete {
        /// Id of the artifact
        artifact: String,
    },
}

/// Makes the calls and shows what came back.
pub(super) fn run(client: &Client, as_json: bool, command: ArtifactCommand) -> Result<(), Failure> {
    let (name, artifact) = match command {
        ArtifactCommand::Put(options) => return put::run(client, as_json, &options),
        ArtifactCommand::Get(options) => return get::run(client, as_json, &options),
        ArtifactCommand::List { parent, page } => {
            let answer =
                client.call("artifacts.list", &paged(page, json!({ "parent_id": parent })))?;
            return show::answer(&answer, &ARTIFACTS, as_json);
        }
        ArtifactCommand::Url { artifact, expires_in } => {
            let mut parameters = json!({ "id": artifact });
            if let Some(seconds) = expires_in {
                parameters["expires_in_seconds"] = json!(seconds);
            }
            let answer = client.call("artifacts.locate", &parameters)?;
            if as_json {
                return show::answer(&answer, &View::EVERYTHING, true);
            }
            return show::print(&show::plain(answer["url"].as_str().unwrap_or_default()));
        }
        ArtifactCommand::Attach { artifact, parent } => {
            let parameters = json!({ "id": artifact, "parent_id": parent });
            return shown(&client.call("artifacts.attach", &parameters)?, as_json);
        }
        ArtifactCommand::Show { artifact } => ("artifacts.get", artifact),
        ArtifactCommand::Detach { artifact } => ("artifacts.detach", artifact),
        ArtifactCommand::Delete { artifact } => {
            let answer = client.call("artifacts.delete", &json!({ "id": artifact }))?;
            return show::answer(&answer, &View::DONE, as_json);
        }
    };
    shown(&client.call(name, &json!({ "id": artifact }))?, as_json)
}

/// One artifact: for people with the members of its file beside the others.
fn shown(answer: &Value, as_json: bool) -> Result<(), Failure> {
    if as_json {
        return show::answer(answer, &View::EVERYTHING, true);
    }
    let artifact = &answer["artifact"];
    let mut flat = json!({
        "file": artifact["file"]["name"],
        "type": artifact["file"]["type"],
        "bytes": artifact["file"]["size"],
    });
    let others = artifact.as_object().into_iter().flatten().filter(|(name, _)| *name != "file");
    for (name, value) in others {
        flat[name] = value.clone();
    }
    show::answer(&json!({ "artifact": flat }), &View::One("artifact"), false)
}

/// How far bytes have come, for people.
fn so_far(what: &str, bytes: u64, of: Option<u64>) -> String {
    const MEGABYTE: u64 = 1_000_000;
    let tenths = |bytes: u64| format!("{}.{}", bytes / MEGABYTE, bytes % MEGABYTE / 100_000);
    match of.filter(|it| *it > 0) {
        Some(of) => {
            let percent = bytes.min(of).saturating_mul(100) / of;
            format!("{what} {percent} %, {} of {} MB", tenths(bytes), tenths(of))
        }
        None => format!("{what} {} MB", tenths(bytes)),
    }
}

/// A regular file, or something that is not to be replaced, such as a pipe.
fn is_regular(path: &PathBuf) -> bool {
    std::fs::metadata(path).map_or(true, |it| it.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_on_its_way_is_said() {
        assert_eq!(so_far("sent", 2_540_000, Some(10_000_000)), "sent 25 %, 2.5 of 10.0 MB");
        assert_eq!(so_far("sent", 0, Some(0)), "sent 0.0 MB");
        assert_eq!(so_far("got", 99_999, None), "got 0.0 MB");
    }
}
