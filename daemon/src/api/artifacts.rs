//! `artifacts.*`: files that are kept. Their bytes come and go by URLs of their own
//! (`artifact_transfer`), which are signed: whoever has one needs no token.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Api;
use super::artifact_parents::{Seen, is_own, parent_id};
use super::error::{ApiError, Code};
use super::lists::{Paging, cursor, parse_id, time};
use super::object_rights::Wish;
use super::rights::{Caller, Reach};
use super::uploads::parse_sha256;
use super::versions::Done;
use crate::engine::artifacts::ArtifactError;
use crate::model::artifact::{ArtifactState, is_media_type, wrong_name};
use crate::model::id::{ArtifactId, SnapInId};
use crate::secrets::UrlPurpose;
use crate::store::{ArtifactRecord, Attachment, NewArtifact};

/// Where the bytes of artifacts are sent to and read from.
pub(super) const PATH: &str = "/artifacts";
/// How long a URL for sending is good: as long as what is not finished is kept.
const UPLOAD_MS: u64 = 24 * 60 * 60 * 1000;
/// How long a URL for reading is good, if nobody says.
const DOWNLOAD_SECONDS: u64 = 60 * 60;
/// The longest that one can be good.
const MOST_DOWNLOAD_SECONDS: u64 = 7 * 24 * 60 * 60;

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "ArtifactsPrepare")]
#[serde(deny_unknown_fields)]
pub(super) struct Prepare {
    /// Up to 255 bytes without control characters.
    #[serde(default)]
    file_name: Option<String>,
    /// Its media type; `application/octet-stream` when absent.
    #[serde(default)]
    file_type: Option<String>,
    /// How many bytes will come, if that is known: others are refused.
    #[serde(default)]
    size: Option<u64>,
    /// Their SHA-256, if that is known: others are refused.
    #[serde(default)]
    sha256: Option<String>,
    /// Id of what it belongs to.
    #[serde(default)]
    parent_id: Option<String>,
    /// An artifact that was prepared before and is not complete: gives a URL to go on with it.
    #[serde(default)]
    id: Option<String>,
    /// Means nothing here: ported callers send it.
    #[serde(default)]
    configuration_set: Option<String>,
}

/// Where the bytes go.
#[derive(Serialize, JsonSchema)]
pub(super) struct Prepared {
    id: String,
    /// POST a form with the fields of `form_data` and then `file`, or PUT or POST the bytes. Good for a
    /// day.
    url: String,
    form_data: Vec<FormField>,
    expires_at: String,
    /// How many bytes are there.
    received: u64,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct FormField {
    key: &'static str,
    value: String,
}

/// An artifact.
#[derive(Serialize, JsonSchema)]
pub(super) struct Artifact {
    id: String,
    file: File,
    /// `uploading` or `complete`.
    state: &'static str,
    /// How many bytes are there.
    received: u64,
    /// Of its bytes, hex; when it is complete.
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
    /// What it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_id: Option<String>,
    /// The snap-in that brought it.
    #[serde(skip_serializing_if = "Option::is_none")]
    snap_in: Option<String>,
    created_date: String,
    modified_date: String,
    created_by: String,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct File {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    /// Bytes, if that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct OneArtifact {
    artifact: Artifact,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct ManyArtifacts {
    /// Newest first.
    artifacts: Vec<Artifact>,
    next_cursor: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "ArtifactsWhich")]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    /// The artifact.
    id: String,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "ArtifactsList")]
pub(super) struct List {
    /// Only those that belong to this.
    #[serde(default)]
    parent_id: Option<String>,
    #[serde(flatten)]
    paging: Paging,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "ArtifactsLocate")]
#[serde(deny_unknown_fields)]
pub(super) struct Locate {
    /// The artifact.
    id: String,
    /// How long the URL is good, 1 to 604800; an hour when absent.
    #[serde(default)]
    expires_in_seconds: Option<u64>,
    /// Means nothing here: an artifact has one version.
    #[serde(default)]
    version: Option<String>,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Located {
    /// Whoever has it can read the artifact, without a token.
    url: String,
    /// Until then.
    expires_at: String,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "ArtifactsAttach")]
#[serde(deny_unknown_fields)]
pub(super) struct Attach {
    /// The artifact.
    id: String,
    /// Id of what it belongs to.
    parent_id: String,
}

impl From<ArtifactError> for ApiError {
    fn from(error: ArtifactError) -> ApiError {
        let message = error.to_string();
        match error {
            ArtifactError::Gone => ApiError::new(Code::NotFound, message),
            ArtifactError::Complete | ArtifactError::TakenOver => {
                ApiError::new(Code::Conflict, message)
            }
            ArtifactError::Moved { received } => {
                ApiError::new(Code::Conflict, message).with("received", json!(received))
            }
            ArtifactError::TooLarge { limit } => {
                ApiError::new(Code::TooLarge, message).with("limit", json!(limit))
            }
            ArtifactError::Differs { found, expected, .. } => ApiError::new(Code::Invalid, message)
                .with("found", json!(found))
                .with("expected", json!(expected)),
            ArtifactError::OtherTotal { said, found } => ApiError::new(Code::Invalid, message)
                .with("found", json!(found))
                .with("expected", json!(said)),
            ArtifactError::Full { .. } | ArtifactError::NoRoom => {
                ApiError::new(Code::DiskFull, message)
            }
            ArtifactError::Busy => ApiError::new(Code::Unavailable, message),
            ArtifactError::Store(error) => error.into(),
        }
    }
}

fn snap_in_of(caller: &Caller) -> Option<SnapInId> {
    match &caller.reach {
        Reach::SnapIn(own) => Some(*own),
        Reach::All | Reach::Under(_) | Reach::Integrations(_) => None,
    }
}

/// One that the caller may see.
fn find(api: &Api, caller: &Caller, text: &str) -> Result<(ArtifactId, ArtifactRecord), ApiError> {
    let id: ArtifactId = parse_id("id", text)?;
    let seen = Seen::by(api, caller)?;
    let found = api.artifacts.find(id)?.filter(|it| seen.has(it));
    Ok((id, found.ok_or_else(|| not_there(id))?))
}

/// One that he may change.
fn find_own(
    api: &Api,
    caller: &Caller,
    text: &str,
) -> Result<(ArtifactId, ArtifactRecord), ApiError> {
    let (id, record) = find(api, caller, text)?;
    if is_own(caller, &record) {
        return Ok((id, record));
    }
    let message = "another snap-in or somebody else brought this artifact: it can only be read";
    Err(ApiError::new(Code::Forbidden, message))
}

fn not_there(id: ArtifactId) -> ApiError {
    ApiError::not_found("artifact", &id.to_string())
}

pub(super) fn shown(id: ArtifactId, record: ArtifactRecord) -> Artifact {
    let received = record.state.bytes();
    let (state, size, sha256) = match record.state {
        ArtifactState::Uploading { .. } => ("uploading", record.expected_size, None),
        ArtifactState::Complete { size, sha256 } => ("complete", Some(size), Some(sha256)),
    };
    Artifact {
        id: id.to_string(),
        file: File { name: record.file_name, kind: record.file_type, size },
        state,
        received,
        sha256,
        parent_id: record.parent,
        snap_in: record.snap_in.map(|it| it.to_string()),
        created_date: time(record.created_ms),
        modified_date: time(record.changed_ms),
        created_by: record.created_by,
    }
}

pub(super) fn one(id: ArtifactId, record: ArtifactRecord) -> OneArtifact {
    OneArtifact { artifact: shown(id, record) }
}

/// The URL by which whoever has it may do one thing with an artifact.
fn signed_url(api: &Api, purpose: UrlPurpose, id: ArtifactId, until_ms: u64) -> String {
    let signature = api.url_signer.sign(purpose, id, until_ms);
    format!("{}{PATH}/{id}?until={until_ms}&signature={signature}", api.public_url)
}

fn new_artifact(api: &Api, caller: &Caller, prepare: Prepare) -> Result<NewArtifact, ApiError> {
    let Some(file_name) = prepare.file_name else {
        return Err(ApiError::field("file_name", "missing field `file_name`"));
    };
    if let Some(wrong) = wrong_name(&file_name) {
        return Err(ApiError::field("file_name", format!("file_name {wrong}")));
    }
    let file_type = prepare.file_type.unwrap_or_default();
    let file_type = match file_type.trim() {
        "" => "application/octet-stream".to_owned(),
        text if is_media_type(text) => text.to_owned(),
        _ => {
            let message = "file_type is no media type: expected one such as text/plain";
            return Err(ApiError::field("file_type", message));
        }
    };
    let parent = prepare.parent_id.as_deref();
    let parent = parent.map(|it| parent_id(api, caller, it, Wish::Write)).transpose()?;
    Ok(NewArtifact {
        file_name,
        file_type,
        size: prepare.size,
        sha256: prepare.sha256.as_deref().map(parse_sha256).transpose()?,
        snap_in: snap_in_of(caller),
        parent,
        created_by: caller.principal.name(),
    })
}

pub(super) async fn prepare(
    api: Arc<Api>,
    caller: Caller,
    prepare: Prepare,
) -> Result<Prepared, ApiError> {
    let _ = &prepare.configuration_set;
    let (id, received, file_type) = match &prepare.id {
        Some(text) => {
            if prepare.file_name.is_some() || prepare.parent_id.is_some() {
                let message =
                    "an artifact that is gone on with has a name already: send `id` alone";
                return Err(ApiError::field("id", message));
            }
            let (id, record) = find_own(&api, &caller, text)?;
            let ArtifactState::Uploading { received } = record.state else {
                return Err(ArtifactError::Complete.into());
            };
            (id, received, record.file_type)
        }
        None => {
            let new = new_artifact(&api, &caller, prepare)?;
            let file_type = new.file_type.clone();
            (api.artifacts.prepare(new).await?, 0, file_type)
        }
    };
    let until_ms = api.services.clock.now_ms() + UPLOAD_MS;
    Ok(Prepared {
        id: id.to_string(),
        url: signed_url(&api, UrlPurpose::Upload, id, until_ms),
        form_data: vec![
            FormField { key: "key", value: id.to_string() },
            FormField { key: "Content-Type", value: file_type },
        ],
        expires_at: time(until_ms),
        received,
    })
}

pub(super) async fn get(
    api: Arc<Api>,
    caller: Caller,
    which: Which,
) -> Result<OneArtifact, ApiError> {
    let (id, record) = find(&api, &caller, &which.id)?;
    Ok(one(id, record))
}

pub(super) async fn list(
    api: Arc<Api>,
    caller: Caller,
    list: List,
) -> Result<ManyArtifacts, ApiError> {
    let page = list.paging.newest_first()?;
    let seen = Seen::by(&api, &caller)?;
    let page = match &list.parent_id {
        Some(text) => {
            let parent = parent_id(&api, &caller, text, Wish::Read)?;
            let store = &api.services.store;
            let mut of_parent =
                store.read(|tables| tables.artifacts_of(&parent, page.from, page.limit))?;
            of_parent.rows.retain(|(_, record)| seen.has(record));
            of_parent
        }
        None => {
            let wanted = |record: &ArtifactRecord| seen.has(record);
            api.services.store.read(|tables| tables.list_artifacts(page, wanted))?
        }
    };
    let artifacts = page.rows.into_iter().map(|(id, record)| shown(id, record)).collect();
    Ok(ManyArtifacts { artifacts, next_cursor: cursor(page.next) })
}

pub(super) async fn locate(
    api: Arc<Api>,
    caller: Caller,
    locate: Locate,
) -> Result<Located, ApiError> {
    let _ = &locate.version;
    let seconds = locate.expires_in_seconds.unwrap_or(DOWNLOAD_SECONDS);
    if !(1..=MOST_DOWNLOAD_SECONDS).contains(&seconds) {
        let message =
            format!("expires_in_seconds is {seconds}: expected 1 to {MOST_DOWNLOAD_SECONDS}");
        return Err(ApiError::field("expires_in_seconds", message));
    }
    let (id, record) = find(&api, &caller, &locate.id)?;
    if let ArtifactState::Uploading { received } = record.state {
        let message = format!("the artifact is not complete: {received} bytes of it are there");
        return Err(ApiError::new(Code::Conflict, message).with("received", json!(received)));
    }
    let until_ms = api.services.clock.now_ms() + seconds * 1000;
    let url = signed_url(&api, UrlPurpose::Download, id, until_ms);
    Ok(Located { url, expires_at: time(until_ms) })
}

pub(super) async fn attach(
    api: Arc<Api>,
    caller: Caller,
    attach: Attach,
) -> Result<OneArtifact, ApiError> {
    let (id, _) = find_own(&api, &caller, &attach.id)?;
    let to = parent_id(&api, &caller, &attach.parent_id, Wish::Write)?;
    match api.services.store.write(move |tables| tables.attach_artifact(id, &to)).await? {
        Attachment::Attached(record) => Ok(one(id, *record)),
        Attachment::Elsewhere(other) => {
            let message = format!("the artifact belongs to `{other}`: detach it first");
            Err(ApiError::new(Code::Conflict, message).with("existing_parent", json!(other)))
        }
        Attachment::Gone => Err(not_there(id)),
    }
}

pub(super) async fn detach(
    api: Arc<Api>,
    caller: Caller,
    which: Which,
) -> Result<OneArtifact, ApiError> {
    let (id, _) = find_own(&api, &caller, &which.id)?;
    let detached = api.services.store.write(move |tables| tables.detach_artifact(id)).await?;
    detached.map(|record| one(id, record)).ok_or_else(|| not_there(id))
}

pub(super) async fn delete(api: Arc<Api>, caller: Caller, which: Which) -> Result<Done, ApiError> {
    let (id, _) = find_own(&api, &caller, &which.id)?;
    if api.artifacts.delete(id).await? { Ok(Done {}) } else { Err(not_there(id)) }
}
