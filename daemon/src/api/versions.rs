//! `versions.*`: manifests with their code.

use std::collections::BTreeMap;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::error::{ApiError, Code};
use super::lists::{Paging, cursor, parse_id, time};
use super::rights::{Caller, Right};
use super::uploads::{Sent, Unpacked};
use super::{Api, packages};
use crate::engine::versions::{Material, UnknownTypes, Upload, Uploaded, check, check_manifest};
use crate::functions::remote::TestingUrl;
use crate::manifest::{Problem, Severity};
use crate::model::id::VersionId;
use crate::model::manifest::ChosenRuntime;
use crate::store::{VersionCreation, VersionRecord};

/// When a registry of packages that does not answer is worth another try.
const REGISTRY_RETRY_SECONDS: u32 = 30;

/// A version.
#[derive(Serialize, JsonSchema)]
pub(super) struct Version {
    id: String,
    package: String,
    /// Counts from 1 within the package.
    number: u32,
    state: &'static str,
    /// SHA-256 over manifest, files, testing URL and what runs in Node.js.
    content_hash: String,
    functions: Vec<String>,
    /// What runs each function, and why.
    runtimes: BTreeMap<String, Runs>,
    event_sources: Vec<String>,
    automations: usize,
    warnings: Vec<String>,
    created_date: String,
    created_by: String,
}

/// What runs a function.
#[derive(Serialize, JsonSchema)]
pub(super) struct Runs {
    /// `quickjs`, `node`, `process` or `remote`.
    runtime: &'static str,
    /// What in the manifest or in the archive settled it.
    why: String,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct OneVersion {
    version: Version,
    /// Whether the package had a version with this content already; then this is it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    existed: bool,
    /// The manifest as it was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    manifest: Option<String>,
    /// Where events of functions in `remote` are posted.
    #[serde(skip_serializing_if = "Option::is_none")]
    testing_url: Option<String>,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct ManyVersions {
    versions: Vec<Version>,
    next_cursor: Option<String>,
}

/// Nothing to say: it is done.
#[derive(Serialize, JsonSchema)]
pub(super) struct Done {}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "VersionsCreate")]
#[serde(deny_unknown_fields)]
pub(super) struct Create {
    /// Id or slug.
    package: String,
    /// The manifest, YAML. When absent, manifest.yaml of the archive.
    #[serde(default)]
    manifest: Option<String>,
    /// A tar, tar.gz or zip archive of the code, in base 64. The one folder that forges put around
    /// everything is taken off.
    #[serde(default)]
    archive: Option<String>,
    /// Where such an archive can be fetched, http or https, instead.
    #[serde(default)]
    url: Option<String>,
    /// SHA-256 that the archive must have, hex.
    #[serde(default)]
    sha256: Option<String>,
    /// The server, http or https, to which events are posted for functions in the runtime `remote`
    /// (at `<url>/handle/sync` and `<url>/handle/async`); it may stand in place of an archive.
    #[serde(default)]
    testing_url: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Validate {
    /// The manifest, YAML. When absent, manifest.yaml of the archive.
    #[serde(default)]
    manifest: Option<String>,
    /// A tar, tar.gz or zip archive, in base 64: its code is checked too.
    #[serde(default)]
    archive: Option<String>,
    /// Where such an archive can be fetched, http or https, instead. For those who may create
    /// versions.
    #[serde(default)]
    url: Option<String>,
    /// SHA-256 that the archive must have, hex.
    #[serde(default)]
    sha256: Option<String>,
    /// The server, http or https, to which events are posted for functions in the runtime `remote`
    /// (at `<url>/handle/sync` and `<url>/handle/async`); it may stand in place of an archive.
    #[serde(default)]
    testing_url: Option<String>,
}

/// Something that is wrong, or questionable.
#[derive(Serialize, JsonSchema)]
pub(super) struct Finding {
    /// `error` or `warning`.
    severity: &'static str,
    /// The file of the archive that it is in; absent for the manifest.
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    line: u32,
    column: u32,
    /// Such as `automations[0].source`.
    path: String,
    message: String,
    /// What would be right.
    allowed: Vec<String>,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Validation {
    /// Whether a version can be made of it.
    valid: bool,
    /// Everything there is to say, in the order of the file.
    problems: Vec<Finding>,
    /// The manifest of the archive, when none was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    manifest: Option<String>,
    /// SHA-256 of the archive, hex: `versions.create` takes it to get the same one again.
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
    /// The `content_hash` of the version that this would be; absent without an archive and a testing
    /// URL.
    #[serde(skip_serializing_if = "Option::is_none")]
    content_hash: Option<String>,
    /// What would run each function, and why, as far as that is clear.
    runtimes: BTreeMap<String, Runs>,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "VersionsWhich")]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    id: String,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "VersionsList")]
pub(super) struct List {
    /// Only those of this package: id or slug.
    #[serde(default)]
    package: Option<String>,
    #[serde(flatten)]
    paging: Paging,
}

fn version(id: VersionId, record: &VersionRecord) -> Version {
    let manifest = &record.manifest;
    Version {
        id: id.to_string(),
        package: record.package.to_string(),
        number: record.number,
        state: "ready",
        content_hash: record.content_hash.clone(),
        functions: manifest.functions.iter().map(|it| it.name.clone()).collect(),
        runtimes: runs(&record.runtimes),
        event_sources: manifest.event_sources.iter().map(|it| it.name.clone()).collect(),
        automations: manifest.automations.len(),
        warnings: record.warnings.clone(),
        created_date: time(record.created_ms),
        created_by: record.created_by.clone(),
    }
}

fn runs(runtimes: &BTreeMap<String, ChosenRuntime>) -> BTreeMap<String, Runs> {
    let shown = |it: &ChosenRuntime| Runs { runtime: it.runtime.name(), why: it.why.clone() };
    runtimes.iter().map(|(function, it)| (function.clone(), shown(it))).collect()
}

/// A testing URL as a caller wrote it.
fn testing_url(api: &Api, text: Option<&str>) -> Result<Option<TestingUrl>, ApiError> {
    let Some(text) = text else { return Ok(None) };
    let in_field = |message: String| ApiError::field("testing_url", message);
    let url = TestingUrl::parse(text).map_err(in_field)?;
    if api.egress.own_path(url.as_str()).is_some() {
        return Err(in_field("the testing URL leads to this daemon itself".to_owned()));
    }
    Ok(Some(url))
}

fn finding(problem: &Problem) -> Finding {
    Finding {
        severity: match problem.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        },
        file: problem.file.clone(),
        line: problem.line,
        column: problem.column,
        path: problem.path.clone(),
        message: problem.message.clone(),
        allowed: problem.allowed.clone(),
    }
}

fn find(api: &Api, text: &str) -> Result<(VersionId, VersionRecord), ApiError> {
    let id: VersionId = parse_id("id", text)?;
    let record = api.services.store.read(|tables| tables.version(id))?;
    Ok((id, record.ok_or_else(|| ApiError::not_found("version", text))?))
}

pub(super) async fn validate(
    api: Arc<Api>,
    caller: Caller,
    validate: Validate,
) -> Result<Validation, ApiError> {
    let services = &api.services;
    let now_ms = services.clock.now_ms();
    let unknown = UnknownTypes::AreWrong;
    let Validate { manifest, archive, url, sha256, testing_url: server } = validate;
    let server = testing_url(&api, server.as_deref())?;
    // Requests in the daemon's name are not for those who may only look.
    if url.is_some() && caller.principal.reach(Right::WritePackages).is_none() {
        let message = format!("a url needs the right {}", Right::WritePackages.name());
        return Err(ApiError::new(Code::Forbidden, message));
    }
    if let (Some(text), None, None, None) = (&manifest, &archive, &url, &server) {
        let (manifest, problems) = check_manifest(text, &services.plugins, unknown, now_ms).await;
        return Ok(Validation {
            valid: manifest.is_some(),
            problems: problems.iter().map(finding).collect(),
            manifest: None,
            sha256: None,
            content_hash: None,
            runtimes: BTreeMap::new(),
        });
    }
    let was_sent = manifest.is_some();
    let sent = Sent { manifest, archive, url, sha256 };
    let Unpacked { manifest, files, sha256 } = sent.unpack(&api).await?;
    let has_node = api.runtimes.has_node();
    let material = Material { manifest, files, testing_url: server, has_node };
    let checked = check(&material, &services.plugins, unknown, now_ms).await;
    Ok(Validation {
        valid: checked.is_right(),
        problems: checked.problems.iter().map(finding).collect(),
        content_hash: Some(material.identity(&checked.runtimes)),
        runtimes: runs(&checked.runtimes),
        manifest: Some(material.manifest).filter(|_| !was_sent),
        sha256,
    })
}

pub(super) async fn create(
    api: Arc<Api>,
    caller: Caller,
    create: Create,
) -> Result<OneVersion, ApiError> {
    let (package, _) = packages::find(&api, &create.package)?;
    let Create { package: package_name, manifest, archive, url, sha256, testing_url: server } =
        create;
    let testing_url = testing_url(&api, server.as_deref())?;
    let sent = Sent { manifest, archive, url, sha256 };
    let Unpacked { manifest, files, .. } = sent.unpack(&api).await?;
    let services = &api.services;
    let has_node = api.runtimes.has_node();
    let material = Material { manifest, files, testing_url, has_node };
    let upload = Upload { package, material, uploaded_by: caller.principal.name() };
    let uploaded = crate::engine::versions::create(
        upload,
        &services.plugins,
        api.runtimes.installer.as_deref(),
        &services.store,
        services.clock.now_ms(),
    )
    .await?;
    match uploaded {
        Uploaded::Refused { problems } => {
            let errors = problems.iter().filter(|it| it.severity == Severity::Error).count();
            let message = format!("the version has {errors} error(s)");
            Err(ApiError::problems(message, &problems))
        }
        Uploaded::NotNow { reason } => {
            Err(ApiError::new(Code::Unavailable, reason).retry_after(REGISTRY_RETRY_SECONDS))
        }
        Uploaded::Version { creation, .. } => match creation {
            VersionCreation::Created(id) => one(&api, id, false),
            VersionCreation::Exists(id) => one(&api, id, true),
            VersionCreation::BlobsGone => {
                let message = "versions with the same content are being deleted; try again";
                Err(ApiError::new(Code::Unavailable, message))
            }
            VersionCreation::NoSuchPackage => Err(ApiError::not_found("package", &package_name)),
        },
    }
}

fn one(api: &Api, id: VersionId, existed: bool) -> Result<OneVersion, ApiError> {
    let (id, record) = find(api, &id.to_string())?;
    let version = version(id, &record);
    Ok(OneVersion { version, existed, manifest: None, testing_url: record.testing_url })
}

pub(super) async fn get(
    api: Arc<Api>,
    caller: Caller,
    which: Which,
) -> Result<OneVersion, ApiError> {
    let (id, record) = find(&api, &which.id)?;
    let version = version(id, &record);
    // Authors write secrets of webhooks into manifests: who may not write them does not read them.
    let may_see = caller.principal.reach(Right::WritePackages).is_some();
    let manifest = may_see.then_some(record.manifest_text);
    let testing_url = record.testing_url.filter(|_| may_see);
    Ok(OneVersion { version, existed: false, manifest, testing_url })
}

pub(super) async fn list(api: Arc<Api>, _: Caller, list: List) -> Result<ManyVersions, ApiError> {
    let package = match &list.package {
        Some(text) => Some(packages::find(&api, text)?.0),
        None => None,
    };
    let page = list.paging.oldest_first()?;
    let page = api.services.store.read(|tables| tables.list_versions(package, page))?;
    let versions = page.rows.iter().map(|(id, it)| version(*id, it)).collect();
    Ok(ManyVersions { versions, next_cursor: cursor(page.next) })
}

pub(super) async fn delete(api: Arc<Api>, _: Caller, which: Which) -> Result<Done, ApiError> {
    let id: VersionId = parse_id("id", &which.id)?;
    let done = api.services.store.write(move |tables| tables.delete_version(id)).await?;
    api.services.contexts.forget_version(id);
    api.runtimes.forget_deleted(&api.services.store)?;
    packages::deletion(done, "version", &which.id)
}
