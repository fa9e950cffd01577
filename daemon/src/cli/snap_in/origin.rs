//! Where a version comes from: a directory, an archive, a URL, or the daemon that has it already.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::arguments::Source;

use crate::cli::connection::Client;
use crate::cli::show::{self, Whereabouts};
use crate::cli::{Failure, files};
use crate::manifest;
use crate::model::id::VersionId;
use crate::model::manifest::Manifest;

/// Where a version comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Origin {
    /// A directory or an archive of this host.
    Path(PathBuf),
    /// An archive that the daemon fetches.
    Url(String),
    /// A version that is there: its id.
    Version(String),
    /// A version that is there: its number within the package.
    Number(u64),
}

impl Origin {
    /// What a text means. A path that is there comes before a number.
    pub(in crate::cli) fn of(text: &str) -> Origin {
        if text.starts_with("https://") || text.starts_with("http://") {
            return Origin::Url(text.to_owned());
        }
        if text.parse::<VersionId>().is_ok() {
            return Origin::Version(text.to_owned());
        }
        match text.parse() {
            Ok(number) if !Path::new(text).exists() => Origin::Number(number),
            _ => Origin::Path(text.into()),
        }
    }
}

impl Source {
    /// A directory, an archive or a URL, and nothing beside it.
    pub(in crate::cli) fn of(origin: &str) -> Source {
        let origin = Some(origin.to_owned());
        Source { origin, manifest: None, testing_url: None, sha256: None }
    }

    /// What it is called in messages.
    pub(in crate::cli) fn shown(&self) -> &str {
        let manifest = self.manifest.as_deref().and_then(Path::to_str);
        self.origin.as_deref().or(manifest).unwrap_or_default()
    }
}

/// Something that a version can be made of, as the daemon sees it.
pub(super) struct Looked {
    /// `archive` or `url`, and the hash that pins it.
    pub(super) upload: Value,
    pub(super) manifest: Manifest,
    /// What tells versions apart.
    pub(super) content_hash: String,
    /// What is questionable, in lines.
    pub(super) warnings: Vec<String>,
}

/// Has the daemon check it, and stores nothing. A failure names everything that is wrong.
pub(super) fn look(client: &Client, source: &Source) -> Result<Looked, Failure> {
    let mut upload = upload(source)?;
    let whereabouts = match (&source.manifest, source.origin.as_deref().map(Origin::of)) {
        (Some(manifest), _) => of_manifest(manifest),
        (None, Some(Origin::Path(path))) if is_manifest(&path) => of_manifest(&path),
        (None, Some(Origin::Path(path))) => whereabouts(&path),
        (None, Some(Origin::Url(_) | Origin::Version(_) | Origin::Number(_)) | None) => nowhere(),
    };
    let answer = client.slow_call("checking", "versions.validate", &upload)?;
    let findings = show::findings(&answer["problems"], &whereabouts);
    if answer["valid"] != true {
        let message = format!("{}\nnothing was created", findings.join("\n"));
        return Err(Failure::refused(message));
    }
    // It is answered when it was not sent.
    let text = answer["manifest"].as_str().or(upload["manifest"].as_str());
    let manifest = read_manifest(text.unwrap_or_default())?;
    // So that what is created is what was looked at, whatever the URL gives next time.
    upload["sha256"] = answer["sha256"].clone();
    Ok(Looked {
        upload,
        manifest,
        content_hash: answer["content_hash"].as_str().unwrap_or_default().to_owned(),
        warnings: findings,
    })
}

/// What is sent: manifest, archive or its URL, the hash that it must have, and the testing URL.
pub(in crate::cli) fn upload(source: &Source) -> Result<Value, Failure> {
    let mut upload = match source.origin.as_deref().map(Origin::of) {
        Some(Origin::Path(path)) if is_other_url(&path) => {
            let message = format!("cannot fetch {}: only http and https", path.display());
            return Err(Failure::usage(message));
        }
        Some(Origin::Path(path)) if is_manifest(&path) => {
            json!({ "manifest": files::read_text(&path)? })
        }
        Some(Origin::Path(path)) => json!({ "archive": files::archive(&path)? }),
        Some(Origin::Url(url)) => json!({ "url": url }),
        Some(Origin::Version(_) | Origin::Number(_)) => {
            return Err(Failure::usage("expected a directory, an archive or a URL"));
        }
        None => json!({}),
    };
    if let Some(manifest) = &source.manifest {
        upload["manifest"] = json!(files::read_text(manifest)?);
    }
    if let Some(sha256) = &source.sha256 {
        upload["sha256"] = json!(sha256);
    }
    if let Some(url) = &source.testing_url {
        upload["testing_url"] = json!(url);
    }
    Ok(upload)
}

/// A manifest alone, for functions that run elsewhere.
fn is_manifest(path: &Path) -> bool {
    path.extension().is_some_and(|it| it == "yaml" || it == "yml") && !path.is_dir()
}

fn of_manifest(path: &Path) -> Whereabouts {
    Whereabouts { manifest: path.display().to_string(), top: String::new() }
}

/// Whether this is a URL that nothing is fetched from, rather than a path.
fn is_other_url(path: &Path) -> bool {
    path.to_str().is_some_and(|it| it.contains("://")) && !path.exists()
}

/// What takes long there.
const CREATING: &str = "creating the version: checking its code, installing what it needs from npm";

/// Makes a version of an upload, or finds the one with this content.
pub(in crate::cli) fn create(
    client: &Client,
    mut upload: Value,
    package: &str,
) -> Result<Value, Failure> {
    upload["package"] = json!(package);
    client.slow_call(CREATING, "versions.create", &upload)
}

/// A manifest that the daemon has accepted.
pub(in crate::cli) fn read_manifest(text: &str) -> Result<Manifest, Failure> {
    let parsed = manifest::parse(text);
    parsed.manifest.ok_or_else(|| {
        let message = "the daemon takes a manifest that this program does not: are they of \
                       different versions?";
        Failure::failed(message)
    })
}

/// Where the files of a path are, for messages.
pub(in crate::cli) fn whereabouts(path: &Path) -> Whereabouts {
    let top = path.display().to_string();
    let top = top.trim_end_matches('/');
    let yml = path.join("manifest.yml");
    let name = if yml.is_file() { "manifest.yml" } else { "manifest.yaml" };
    Whereabouts { manifest: format!("{top}/{name}"), top: top.to_owned() }
}

fn nowhere() -> Whereabouts {
    Whereabouts { manifest: "manifest.yaml".to_owned(), top: String::new() }
}

/// A slug for a package from what its manifest or a file is called.
pub(in crate::cli) fn slug_of(name: &str) -> Option<String> {
    let mut slug = String::new();
    for character in name.to_lowercase().chars() {
        if character.is_ascii_alphanumeric() {
            slug.push(character);
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
        if slug.len() >= 63 {
            break;
        }
    }
    let slug = slug.trim_end_matches('-').to_owned();
    crate::model::scope::is_segment(&slug).then_some(slug)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_told_apart() {
        assert_eq!(Origin::of("https://x/y"), Origin::Url("https://x/y".to_owned()));
        assert_eq!(Origin::of("./x"), Origin::Path("./x".into()));
        assert_eq!(Origin::of("x.tar.gz"), Origin::Path("x.tar.gz".into()));
        assert_eq!(Origin::of("31415"), Origin::Number(31415));
        let id = VersionId(7).to_string();
        assert_eq!(Origin::of(&id), Origin::Version(id.clone()));
    }

    #[test]
    fn slugs_of_names() {
        let slug = |name: &str| slug_of(name).unwrap_or_default();
        assert_eq!(slug("Hello, webhook"), "hello-webhook");
        assert_eq!(slug("  GitHub → Slack (v2)! "), "github-slack-v2");
        assert_eq!(slug("日本"), "");
        assert_eq!(slug(""), "");
        assert_eq!(slug(&"a".repeat(100)).len(), 63);
        assert_eq!(slug(&format!("{} b", "a".repeat(62))), "a".repeat(62));
    }
}
