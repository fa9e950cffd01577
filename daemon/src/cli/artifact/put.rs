//! `mortise artifact put`: the bytes of a file to the daemon, in as many goes as it takes.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use clap::Args;
use futures_util::stream;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{shown, so_far};
use crate::cli::connection::{Client, Refusal};
use crate::cli::{Failure, files};

/// Bytes that are read at once.
const PIECE: usize = 256 * 1024;
/// So often in a row nothing may come of it.
const TRIES: u32 = 8;
/// Before it is tried again.
const PAUSE: Duration = Duration::from_secs(1);

#[derive(Args, Debug)]
pub(in crate::cli) struct Put {
    /// The file, or - for standard input
    file: PathBuf,
    /// What it is called; the name of the file when absent
    #[arg(long, conflicts_with = "resume")]
    name: Option<String>,
    /// Its media type, such as application/pdf
    #[arg(long = "type", value_name = "TYPE", conflicts_with = "resume")]
    media_type: Option<String>,
    /// Id of what it belongs to
    #[arg(long, value_name = "ID", conflicts_with = "resume")]
    parent: Option<String>,
    /// Go on with an artifact that is not complete
    #[arg(long, value_name = "ARTIFACT")]
    resume: Option<String>,
}

/// What is sent.
enum Source {
    File { file: File, size: u64 },
    StandardInput,
}

/// Sends it and shows the artifact.
pub(super) fn run(client: &Client, as_json: bool, options: &Put) -> Result<(), Failure> {
    let source = open(options)?;
    let prepared = client.call("artifacts.prepare", &parameters(options, &source)?)?;
    let (Some(id), Some(url)) = (prepared["id"].as_str(), prepared["url"].as_str()) else {
        return Err(Failure::failed("cannot read the daemon's answer: it has no id and url"));
    };
    let mut at = prepared["received"].as_u64().unwrap_or_default();
    if matches!(source, Source::StandardInput) && at > 0 {
        return Err(Failure::usage("standard input cannot be sent from its middle: give the file"));
    }
    let mut left = TRIES;
    loop {
        let sent = Arc::new(AtomicU64::new(at));
        let outcome = send(client, url, &source, at, &sent)?;
        let why = match outcome {
            Ok(Ok(answer)) => return shown(&answer, as_json),
            Ok(Err(refusal)) => match refusal.answer["received"].as_u64() {
                // Somebody else knows better where it stands.
                Some(received) if received != at && left > 0 => {
                    at = received;
                    left -= 1;
                    continue;
                }
                _ if refusal.is_passing() => refusal.text(),
                _ => return Err(refusal.into()),
            },
            Err(why) => why,
        };
        if left == 0 || matches!(source, Source::StandardInput) {
            return Err(broke_off(options, &source, id, &why));
        }
        // Where something came through, it is worth it to go on.
        left = if sent.load(Ordering::Relaxed) > at + PIECE as u64 { TRIES } else { left - 1 };
        client.pause(&format!("{why}; trying again"), PAUSE);
        if let Ok(Ok(answer)) = client.try_call("artifacts.get", &json!({ "id": id })) {
            if answer["artifact"]["state"] == "complete" {
                return shown(&answer, as_json);
            }
            at = answer["artifact"]["received"].as_u64().unwrap_or(at);
        }
    }
}

fn open(options: &Put) -> Result<Source, Failure> {
    if options.file.as_os_str() == "-" {
        return Ok(Source::StandardInput);
    }
    let file = files::open(&options.file)?;
    let about = file.metadata().map_err(|error| unreadable(options, &error))?;
    if !about.is_file() {
        let message = format!("{} is no regular file: use -", options.file.display());
        return Err(Failure::usage(message));
    }
    Ok(Source::File { file, size: about.len() })
}

fn unreadable(options: &Put, error: &std::io::Error) -> Failure {
    Failure::refused(format!("cannot read {}: {error}", options.file.display()))
}

fn parameters(options: &Put, source: &Source) -> Result<Value, Failure> {
    if let Some(id) = &options.resume {
        return Ok(json!({ "id": id }));
    }
    let own_name = options.file.file_name().map(|it| it.to_string_lossy().into_owned());
    let name = match (&options.name, own_name) {
        (Some(name), _) => name.clone(),
        (None, Some(name)) if name != "-" => name,
        (None, _) => return Err(Failure::usage("standard input has no name: give one by --name")),
    };
    let mut parameters = json!({ "file_name": name });
    if let Some(media_type) = &options.media_type {
        parameters["file_type"] = json!(media_type);
    }
    if let Some(parent) = &options.parent {
        parameters["parent_id"] = json!(parent);
    }
    if let Source::File { file, size } = source {
        parameters["size"] = json!(size);
        let hash = hash_of(file).map_err(|error| unreadable(options, &error))?;
        parameters["sha256"] = json!(hash);
    }
    Ok(parameters)
}

fn hash_of(mut file: &File) -> std::io::Result<String> {
    let (mut hash, mut piece) = (Sha256::new(), vec![0; PIECE]);
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(hex::encode(hash.finalize())),
            count => hash.update(&piece[..count]),
        }
    }
}

type Sent = Result<Result<Value, Refusal>, String>;

/// Sends what comes after so many bytes. The inner failures are those after which it can go on.
fn send(
    client: &Client,
    url: &str,
    source: &Source,
    at: u64,
    sent: &Arc<AtomicU64>,
) -> Result<Sent, Failure> {
    let cannot = |error: std::io::Error| Failure::refused(format!("cannot read: {error}"));
    let (reader, size): (Box<dyn Read + Send>, _) = match source {
        Source::StandardInput => (Box::new(std::io::stdin()), None),
        Source::File { file, size } => {
            let mut file = file.try_clone().map_err(cannot)?;
            file.seek(SeekFrom::Start(at)).map_err(cannot)?;
            // What is appended meanwhile is not meant.
            (Box::new(file.take(size.saturating_sub(at))), Some(*size))
        }
    };
    let counted = sent.clone();
    let pieces = stream::try_unfold(reader, move |mut reader| {
        let counted = counted.clone();
        async move {
            let mut piece = vec![0; PIECE];
            let count = reader.read(&mut piece)?;
            if count == 0 {
                return Ok::<_, std::io::Error>(None);
            }
            piece.truncate(count);
            counted.fetch_add(count as u64, Ordering::Relaxed);
            Ok(Some((piece, reader)))
        }
    });
    let sent = sent.clone();
    let said = move || so_far("sent", sent.load(Ordering::Relaxed), size);
    let path = format!("{url}&offset={at}");
    client.send_bytes(&path, reqwest::Body::wrap_stream(pieces), said)
}

fn broke_off(options: &Put, source: &Source, id: &str, why: &str) -> Failure {
    let file = options.file.display();
    Failure::refused(match source {
        Source::File { .. } => {
            format!(
                "the upload broke off: {why}; go on with: mortise artifact put {file} --resume {id}"
            )
        }
        Source::StandardInput => format!(
            "the upload of {id} broke off: {why}; what came on standard input has to be sent again"
        ),
    })
}
