//! What a version is made of, as callers send it: an archive in base 64, or a URL that the daemon
//! fetches. Owns size, hash and unpacking, and what is said when one of them is wrong. It must never
//! put a URL into an error or a log: it may hold a secret; the host is enough to find it by.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::Api;
use super::error::{ApiError, Code};
use crate::archive::{ArchiveError, ArchiveFile, Limits, read_archive, without_top_folder};
use crate::egress::EgressError;
use crate::model::http::{EgressRules, OutgoingRequest, OutgoingResponse, Redirects};

/// The manifest of an archive, when none is given beside it.
const MANIFEST_NAMES: [&str; 2] = ["manifest.yaml", "manifest.yml"];
/// How long fetching an archive may take: less than clients wait for an answer.
const FETCH: Duration = Duration::from_secs(60);

/// What a caller sent.
pub(super) struct Sent {
    pub(super) manifest: Option<String>,
    pub(super) archive: Option<String>,
    pub(super) url: Option<String>,
    pub(super) sha256: Option<String>,
}

/// What it is.
pub(super) struct Unpacked {
    pub(super) manifest: String,
    /// Without the folder that forges put around everything.
    pub(super) files: Vec<ArchiveFile>,
    /// SHA-256 of the archive's bytes, hex; nothing without an archive.
    pub(super) sha256: Option<String>,
}

impl Sent {
    /// Gets the bytes, compares their hash, unpacks them and finds the manifest.
    pub(super) async fn unpack(self, api: &Arc<Api>) -> Result<Unpacked, ApiError> {
        let wanted = self.sha256.as_deref().map(parse_sha256).transpose()?;
        let (files, sha256) = match (self.archive, self.url) {
            (Some(_), Some(_)) => {
                return Err(ApiError::field("url", "send an archive or a url, not both"));
            }
            (Some(archive), None) => {
                let (files, sha256) = decode_and_unpack(api, archive, wanted).await?;
                (files, Some(sha256))
            }
            (None, Some(url)) => {
                let response = fetch(api, &url).await?;
                let (files, sha256) = unpack_fetched(response, wanted).await?;
                (files, Some(sha256))
            }
            (None, None) if wanted.is_some() => {
                let message = "a SHA-256 was given, but no archive and no url that it is of";
                return Err(ApiError::field("sha256", message));
            }
            (None, None) => (Vec::new(), None),
        };
        let manifest = match self.manifest {
            Some(manifest) => manifest,
            None => manifest_of(&files)?,
        };
        Ok(Unpacked { manifest, files, sha256 })
    }
}

pub(super) fn parse_sha256(text: &str) -> Result<String, ApiError> {
    let text = text.trim().to_ascii_lowercase();
    let bare = text.strip_prefix("sha256:").unwrap_or(&text);
    if bare.len() == 64 && bare.bytes().all(|it| it.is_ascii_hexdigit()) {
        return Ok(bare.to_owned());
    }
    Err(ApiError::field("sha256", "expected a SHA-256: 64 hexadecimal digits"))
}

async fn decode_and_unpack(
    api: &Api,
    archive: String,
    wanted: Option<String>,
) -> Result<(Vec<ArchiveFile>, String), ApiError> {
    let limit = api.limits.archive_bytes;
    blocking(move || {
        let bytes = STANDARD.decode(archive).map_err(|error| {
            ApiError::field("archive", format!("the archive is no base 64: {error}"))
        })?;
        if bytes.len() > limit {
            let message = format!("the archive is larger than the {limit} bytes that are allowed");
            return Err(ApiError::new(Code::TooLarge, message));
        }
        let sha256 = compare_hash(&bytes, wanted.as_deref())?;
        let files = read_archive(&bytes, &Limits::default())
            .map_err(|error| ApiError::new(Code::Invalid, error.to_string()))?;
        Ok((without_top_folder(files), sha256))
    })
    .await
}

async fn unpack_fetched(
    response: OutgoingResponse,
    wanted: Option<String>,
) -> Result<(Vec<ArchiveFile>, String), ApiError> {
    blocking(move || {
        let sha256 = compare_hash(&response.body, wanted.as_deref())?;
        let files = read_archive(&response.body, &Limits::default()).map_err(|error| {
            let mut message = format!("what the URL leads to cannot be used: {error}");
            if matches!(error, ArchiveError::UnknownFormat { .. })
                && let Some(kind) = content_type(&response)
            {
                message.push_str(&format!(" (the server calls it {kind}"));
                if kind.starts_with("text/html") {
                    message.push_str(
                        ", a page for people: name the archive itself, such as \
                         https://github.com/OWNER/PROJECT/archive/refs/tags/TAG.tar.gz",
                    );
                }
                message.push(')');
            }
            in_url(message)
        })?;
        Ok((without_top_folder(files), sha256))
    })
    .await
}

/// Unpacking takes a while; the thread serves others meanwhile.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    actix_web::web::block(work).await.map_err(|_| ApiError::busy("the unpacking of the archive"))?
}

fn compare_hash(bytes: &[u8], wanted: Option<&str>) -> Result<String, ApiError> {
    let found = hex::encode(Sha256::digest(bytes));
    match wanted {
        Some(wanted) if wanted != found => {
            let message = format!(
                "the archive is not the one that was asked for: its SHA-256 is {found}, expected \
                 {wanted}"
            );
            Err(ApiError::new(Code::Invalid, message).with("field", json!("sha256")))
        }
        Some(_) | None => Ok(found),
    }
}

async fn fetch(api: &Api, url: &str) -> Result<OutgoingResponse, ApiError> {
    if api.egress.own_path(url).is_some() {
        return Err(ApiError::field("url", "the URL leads to this daemon itself"));
    }
    let request = OutgoingRequest {
        method: "GET".to_owned(),
        url: url.to_owned(),
        headers: vec![("Accept".to_owned(), "*/*".to_owned())],
        body: Bytes::new(),
        timeout: FETCH,
        redirects: Redirects::Follow,
    };
    let limit = api.limits.archive_bytes;
    let response = api
        .egress
        .send_up_to(request, &EgressRules::default(), limit)
        .await
        .map_err(|error| not_fetched(&error))?;
    if (200..300).contains(&response.status) {
        return Ok(response);
    }
    Err(in_url(refusal_of(&host_of(&response.url), response.status)))
}

/// What an answer without an archive means to whoever named the URL.
fn refusal_of(host: &str, status: u16) -> String {
    match status {
        401 | 403 => format!(
            "{host} answered {status}: it wants credentials, or does not let strangers read this; \
             download the archive yourself and give the file"
        ),
        404 | 410 => format!(
            "{host} answered {status}: there is nothing at this URL, or only for those who have \
             signed in; check it, or download the archive yourself and give the file"
        ),
        429 | 500.. => format!("{host} answered {status}: try again later"),
        _ => format!("{host} answered {status} instead of an archive"),
    }
}

fn not_fetched(error: &EgressError) -> ApiError {
    match error {
        EgressError::InvalidRequest(reason) => ApiError::field("url", reason.as_str()),
        EgressError::Refused(reason) => in_url(format!(
            "{reason}; to allow it, add the host to `egress.allow` in the daemon's configuration, \
             or download the archive yourself and give the file"
        )),
        EgressError::TooLarge { host, limit } => {
            let message = format!(
                "the archive at {host} is larger than the {limit} bytes that are allowed \
                 (`limits.archive_bytes`)"
            );
            ApiError::new(Code::TooLarge, message).with("field", json!("url"))
        }
        EgressError::TimedOut { .. }
        | EgressError::NoConnection { .. }
        | EgressError::Failed { .. } => in_url(format!("the archive cannot be fetched: {error}")),
    }
}

fn in_url(message: String) -> ApiError {
    ApiError::new(Code::Invalid, message).with("field", json!("url"))
}

/// The host of a URL that a request was made to.
fn host_of(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    authority.rsplit('@').next().unwrap_or_default().to_owned()
}

fn content_type(response: &OutgoingResponse) -> Option<&str> {
    let named = |(name, _): &&(String, String)| name.eq_ignore_ascii_case("content-type");
    let (_, value) = response.headers.iter().find(named)?;
    Some(value.split(';').next().unwrap_or_default().trim()).filter(|it| !it.is_empty())
}

fn manifest_of(files: &[ArchiveFile]) -> Result<String, ApiError> {
    let found = files.iter().find(|it| MANIFEST_NAMES.contains(&it.path.as_str()));
    let found = found.ok_or_else(|| {
        let elsewhere = files
            .iter()
            .find(|it| MANIFEST_NAMES.iter().any(|name| it.path.ends_with(&format!("/{name}"))));
        let message = "send a manifest, or an archive with a manifest.yaml at its top";
        let message = match elsewhere {
            Some(file) => format!("{message} (there is one at `{}`)", file.path),
            None => message.to_owned(),
        };
        ApiError::field("manifest", message)
    })?;
    String::from_utf8(found.bytes.clone())
        .map_err(|_| ApiError::new(Code::Invalid, format!("{} is not UTF-8", found.path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_host_of_a_url_is_told() {
        assert_eq!(host_of("https://user:secret@example.com:8443/a?token=x"), "example.com:8443");
        assert_eq!(host_of("http://[::1]:80?x=@y"), "[::1]:80");
    }

    #[test]
    fn hashes_in_the_forms_that_people_copy() {
        let digits = "0123456789abcdef".repeat(4);
        for written in [digits.clone(), digits.to_uppercase(), format!(" sha256:{digits}\n")] {
            assert_eq!(parse_sha256(&written).map_err(|it| it.code()), Ok(digits.clone()));
        }
        for wrong in ["", "0123", &"g".repeat(64)] {
            assert!(parse_sha256(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn both_hashes_are_told() {
        let wanted = "0".repeat(64);
        let error = compare_hash(b"x", Some(&wanted)).expect_err("another hash");
        let text = format!("{error:?}");
        assert!(text.contains(&wanted), "{text}");
        assert!(text.contains("2d711642b726b044"), "{text}");
        assert!(compare_hash(b"x", None).is_ok());
    }
}
