//! Making a version: manifest and files are checked whole, and only what is right is stored.

use std::collections::BTreeMap;
use std::sync::Arc;

use mortise_jq::Program;
use mortise_plugin::Role;

use super::version_files::{self, InstallPackages, of_archive};
use super::version_runtimes::{Around, Settled, in_file, settle};
use crate::archive::{ArchiveFile, content_hash};
use crate::functions::code::CodeProblem;
use crate::functions::packages::PackageFile;
use crate::functions::remote::TestingUrl;
use crate::manifest::{self, Parsed, Places, Problem, Severity};
use crate::model::id::PackageId;
use crate::model::manifest::{ChosenRuntime, Manifest, Runtime};
use crate::plugins::{OpenError, PluginHost};
use crate::store::{BlobHash, NewVersion, Store, StoreError, VersionCreation};

/// How often the code of a version is stored that goes with another one in the same moment.
const TRIES: u32 = 3;

/// Something to make a version of.
#[derive(Clone, Debug)]
pub struct Upload {
    /// The package it is added to.
    pub package: PackageId,
    /// What it is made of.
    pub material: Material,
    /// Name of the principal that uploads it.
    pub uploaded_by: String,
}

/// What a version is made of.
#[derive(Clone, Debug)]
pub struct Material {
    /// The manifest, YAML.
    pub manifest: String,
    /// The files of its archive.
    pub files: Vec<ArchiveFile>,
    /// Where events are posted for functions with the runtime `remote`.
    pub testing_url: Option<TestingUrl>,
    /// Whether Node.js is there for it.
    pub has_node: bool,
}

impl Material {
    /// What tells versions apart: SHA-256 over manifest, files, testing URL and what runs in Node.js,
    /// hex.
    pub fn identity(&self, runtimes: &BTreeMap<String, ChosenRuntime>) -> String {
        use sha2::{Digest, Sha256};
        let mut hash = Sha256::new();
        hash.update(Sha256::digest(&self.manifest));
        hash.update(content_hash(&self.files));
        // Without one it is what it was before there were any.
        if let Some(url) = &self.testing_url {
            hash.update(Sha256::digest(url.as_str()));
        }
        // The one thing that the same upload is settled differently by: whether the host has Node.js.
        for (function, _) in runtimes.iter().filter(|(_, it)| it.runtime == Runtime::Node) {
            hash.update(Sha256::digest(format!("node {function}")));
        }
        hex::encode(hash.finalize())
    }
}

/// What became of an upload.
#[derive(Clone, Debug)]
pub enum Uploaded {
    /// It is a version now, or was one already.
    Version {
        /// How storing it went.
        creation: VersionCreation,
        /// What was questionable.
        warnings: Vec<Problem>,
    },
    /// It cannot be one.
    Refused {
        /// Everything that is wrong, in the manifest and in the files.
        problems: Vec<Problem>,
    },
    /// Nothing is wrong with it, but its packages cannot be had now.
    NotNow {
        /// Why, and what to do.
        reason: String,
    },
}

/// What a source type that no plugin has means for a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownTypes {
    /// It is wrong: the source could not be opened.
    AreWrong,
    /// Its source is not checked: the plugins are elsewhere.
    AreSkipped,
}

/// Checks a manifest and the configuration of its sources: everything that can be said about it
/// without its files. Answers the manifest only when there is no error.
pub async fn check_manifest(
    text: &str,
    plugins: &PluginHost,
    unknown_types: UnknownTypes,
    now_ms: u64,
) -> (Option<Manifest>, Vec<Problem>) {
    let (manifest, problems, _) = read_manifest(text, plugins, unknown_types, now_ms).await;
    (manifest, problems)
}

async fn read_manifest(
    text: &str,
    plugins: &PluginHost,
    unknown_types: UnknownTypes,
    now_ms: u64,
) -> (Option<Manifest>, Vec<Problem>, Places) {
    let Parsed { manifest, partial, mut problems, places } = manifest::parse(text);
    let mut broken = false;
    let read = manifest.as_ref().or(partial.as_ref());
    for source in read.map(|it| it.event_sources.as_slice()).unwrap_or_default() {
        if source.name.is_empty() || source.kind.is_empty() {
            // That is a problem already.
            continue;
        }
        let is_known = plugins.find(Role::Source, &source.kind).is_some();
        if unknown_types == UnknownTypes::AreSkipped && !is_known {
            continue;
        }
        let path = read.and_then(|it| it.event_source_path(&source.name)).unwrap_or_default();
        let report = plugins.check(Role::Source, &source.kind, &source.config, now_ms).await;
        let (errors, warnings) = match report {
            Ok(report) => (report.errors, report.warnings),
            Err(error) => {
                let place = match error {
                    OpenError::UnknownType { .. } => "type",
                    OpenError::Config { .. }
                    | OpenError::Call(_)
                    | OpenError::ThreadsLost { .. } => "config",
                };
                let path = format!("{path}.{place}");
                let message = error.to_string();
                problems.push(places.problem(Severity::Error, &path, None, &message));
                broken = true;
                continue;
            }
        };
        broken |= !errors.is_empty();
        for (severity, found) in [(Severity::Error, errors), (Severity::Warning, warnings)] {
            for problem in found {
                let path = inner_path(&path, &problem.path);
                let inner = problem.location.map(|it| (it.line, it.column));
                problems.push(places.problem(severity, &path, inner, &problem.message));
            }
        }
    }
    for (path, program) in read.map(programs).unwrap_or_default() {
        // Some milliseconds each.
        let compiled = tokio::task::spawn_blocking(move || Program::compile(&program).err());
        let Ok(Some(error)) = compiled.await else { continue };
        broken = true;
        for error in error.others.iter().chain([&error]) {
            let inner = Some((error.line, error.column));
            let message = format!("this jq program does not compile: {}", error.message);
            problems.push(places.problem(Severity::Error, &path, inner, &message));
        }
    }
    problems.sort_by_key(|it| (it.line, it.column));
    (manifest.filter(|_| !broken), problems, places)
}

/// The jq programs of a manifest, with their paths.
fn programs(manifest: &Manifest) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (index, keyring_type) in manifest.keyring_types.iter().enumerate() {
        let secret = keyring_type.secret_config.as_ref();
        let organization = keyring_type.organization_data.as_ref();
        for (place, program) in [
            ("secret_config.secret_transform", secret.and_then(|it| it.secret_transform.as_ref())),
            ("organization_data.response_jq", organization.and_then(|it| it.response_jq.as_ref())),
        ] {
            found.extend(program.map(|it| (format!("keyring_types[{index}].{place}"), it.clone())));
        }
    }
    for source in &manifest.event_sources {
        let program = source.registration.as_ref().and_then(|it| it.register.id_jq.clone());
        let path = manifest.event_source_path(&source.name);
        found.extend(
            path.zip(program)
                .map(|(path, program)| (format!("{path}.registration.register.id_jq"), program)),
        );
    }
    found
}

/// The path of a plugin's problem, which knows only the config, within the manifest.
fn inner_path(source: &str, path: &str) -> String {
    match path.strip_prefix('/') {
        _ if path.is_empty() => format!("{source}.config"),
        // A JSON pointer, as schema checks give.
        Some(pointer) => format!("{source}.config.{}", pointer.replace('/', ".")),
        None => format!("{source}.config.{path}"),
    }
}

/// What can be made of a manifest and its files.
#[derive(Debug)]
pub struct Checked {
    /// The version-to-be; nothing when something is wrong.
    right: Option<(Manifest, Settled)>,
    /// What runs each function, as far as that is clear.
    pub runtimes: BTreeMap<String, ChosenRuntime>,
    /// Everything there is to say, the manifest's first.
    pub problems: Vec<Problem>,
}

impl Checked {
    /// Whether a version can be made of it.
    pub fn is_right(&self) -> bool {
        self.right.is_some()
    }
}

/// Checks a manifest and the files that it comes with, and stores nothing.
pub async fn check(
    material: &Material,
    plugins: &PluginHost,
    unknown_types: UnknownTypes,
    now_ms: u64,
) -> Checked {
    let text = &material.manifest;
    let (manifest, problems, places) = read_manifest(text, plugins, unknown_types, now_ms).await;
    let files: Vec<PackageFile> = material.files.iter().cloned().map(of_archive).collect();
    let (has_url, has_node) = (material.testing_url.is_some(), material.has_node);
    // Parsing all code of an archive takes a while; the thread serves others meanwhile.
    let settling = tokio::task::spawn_blocking(move || {
        let mut problems = problems;
        let around = Around { has_testing_url: has_url, has_node, only: None };
        let settled = settle(manifest.as_ref(), &places, files, around, &mut problems);
        (manifest, settled, problems)
    });
    match settling.await {
        Ok((manifest, settled, problems)) => {
            let runtimes = settled.runtimes.clone();
            let right = manifest.filter(|_| settled.is_right).map(|it| (it, settled));
            Checked { right, runtimes, problems }
        }
        Err(error) => {
            let message = format!("checking the files failed: {error}");
            let problem = CodeProblem { file: String::new(), line: 1, column: 1, message };
            let problems = vec![in_file(problem)];
            Checked { right: None, runtimes: BTreeMap::new(), problems }
        }
    }
}

/// Checks an upload and stores it when nothing is wrong with it.
pub async fn create(
    upload: Upload,
    plugins: &PluginHost,
    installer: Option<&dyn InstallPackages>,
    store: &Store,
    now_ms: u64,
) -> Result<Uploaded, StoreError> {
    let Upload { package, material, uploaded_by } = upload;
    let checked = check(&material, plugins, UnknownTypes::AreWrong, now_ms).await;
    let Checked { right: Some((manifest, settled)), mut problems, .. } = checked else {
        return Ok(Uploaded::Refused { problems: checked.problems });
    };
    let Settled { code, runtimes, on_disk, to_install, .. } = settled;
    let content_hash = material.identity(&runtimes);
    // Before anything is installed: what is there already needs no registry.
    if let Some(id) = store.read(|tables| tables.version_with_content(package, &content_hash))? {
        return Ok(Uploaded::Version { creation: VersionCreation::Exists(id), warnings: problems });
    }
    let files = match on_disk {
        Some(files) => match complete(files, to_install.as_deref(), installer).await {
            Ok(packed) => Some(Arc::from(packed)),
            Err(Incomplete::NotNow(reason)) => return Ok(Uploaded::NotNow { reason }),
            Err(Incomplete::Wrong(message)) => {
                let file = format!("{}package.json", to_install.unwrap_or_default());
                let problem = CodeProblem { file, line: 1, column: 1, message };
                problems.push(in_file(problem));
                return Ok(Uploaded::Refused { problems });
            }
        },
        None => None,
    };
    let code = code.map(|it| Arc::from(it.to_bytes()));
    let hash = |it: &Option<Arc<[u8]>>| it.as_deref().map(BlobHash::of);
    let new = NewVersion {
        package,
        content_hash,
        manifest_text: material.manifest,
        manifest,
        code: hash(&code),
        files: hash(&files),
        testing_url: material.testing_url.map(|it| it.as_str().to_owned()),
        runtimes,
        warnings: problems.iter().map(Problem::to_string).collect(),
        created_by: uploaded_by,
    };
    let new = Arc::new(new);
    let mut creation = VersionCreation::BlobsGone;
    for _ in 0..TRIES {
        for blob in [&code, &files].into_iter().flatten() {
            store.put_blob(blob.clone()).await?;
        }
        let new = new.clone();
        creation = store.write(move |tables| tables.create_version(&new)).await?;
        if !matches!(creation, VersionCreation::BlobsGone) {
            break;
        }
    }
    Ok(Uploaded::Version { creation, warnings: problems })
}

/// Why files are not complete.
enum Incomplete {
    /// It is for the author to mend.
    Wrong(String),
    /// The same files may do later.
    NotNow(String),
}

/// All files in one, with what has to be installed for them.
async fn complete(
    mut files: Vec<PackageFile>,
    to_install: Option<&str>,
    installer: Option<&dyn InstallPackages>,
) -> Result<Vec<u8>, Incomplete> {
    if let Some((folder, installer)) = to_install.zip(installer) {
        let added = version_files::add_installed(files, folder, installer).await;
        files = added.map_err(|error| match error.is_transient() {
            true => Incomplete::NotNow(error.to_string()),
            false => Incomplete::Wrong(error.to_string()),
        })?;
    }
    let packed = tokio::task::spawn_blocking(move || version_files::pack(files)).await;
    let packed = packed.map_err(|error| Incomplete::NotNow(error.to_string()))?;
    packed.map_err(|error| Incomplete::Wrong(error.to_string()))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::FutureExt;
    use futures_util::future::BoxFuture;

    use super::*;
    use crate::functions::packages::install::InstallError;
    use crate::functions::pool::PackageFolder;
    use crate::plugins::{PluginSettings, Trust};
    use crate::store::{PackageRecord, testing};

    const MINIMAL: &str = "version: '2'\nname: x\ndescription: x\nservice_account: \
                           {display_name: x}\nfunctions:\n  - {name: work, description: x}\n";

    /// Installs something once, and never again.
    struct Once(AtomicUsize, tempfile::TempDir);

    impl InstallPackages for Once {
        fn install(
            &self,
            _: Vec<u8>,
            _: Option<Vec<u8>>,
        ) -> BoxFuture<'_, Result<Arc<PackageFolder>, InstallError>> {
            let first = self.0.fetch_add(1, Ordering::SeqCst) == 0;
            let folder = PackageFolder { path: self.1.path().to_owned(), about: Vec::new() };
            let down = InstallError::Host("down".to_owned());
            std::future::ready(first.then_some(Arc::new(folder)).ok_or(down)).boxed()
        }
    }

    fn material(code: &str, has_node: bool) -> Material {
        let file = |path: &str, text: &str| ArchiveFile {
            path: path.to_owned(),
            bytes: text.into(),
            executable: false,
        };
        Material {
            manifest: MINIMAL.to_owned(),
            files: vec![
                file("index.js", code),
                file("package.json", r#"{"main":"index.js","dependencies":{"left":"1"}}"#),
            ],
            testing_url: None,
            has_node,
        }
    }

    #[tokio::test]
    async fn what_is_there_already_is_not_installed_again() {
        let plugins = PluginHost::load(PluginSettings::new(Vec::new(), Trust::Root));
        let store = testing::in_memory(1);
        let record = PackageRecord {
            slug: "x".to_owned(),
            description: String::new(),
            created_ms: 0,
            created_by: "me".to_owned(),
        };
        let package = store.write(move |it| it.create_package(&record)).await;
        let package = package.expect("written").expect("new");
        let installer = Once(AtomicUsize::new(0), tempfile::tempdir().expect("made"));
        let make = async |code: &str| {
            let material = material(code, true);
            let upload = Upload { package, material, uploaded_by: "me".to_owned() };
            create(upload, &plugins, Some(&installer), &store, 0).await.expect("stored")
        };
        let needs_package = "const it = require('left'); exports.functionFactory = {};";
        let first = make(needs_package).await;
        let Uploaded::Version { creation: VersionCreation::Created(id), .. } = first else {
            panic!("not created: {first:?}");
        };
        let again = make(needs_package).await;
        let Uploaded::Version { creation: VersionCreation::Exists(same), .. } = again else {
            panic!("not found: {again:?}");
        };
        assert_eq!((same, installer.0.load(Ordering::SeqCst)), (id, 1));
        // What the host lacks for a moment is not the author's fault.
        let other = make(&format!("{needs_package}//")).await;
        assert!(matches!(&other, Uploaded::NotNow { reason } if reason == "down"), "{other:?}");
    }

    #[tokio::test]
    async fn jq_programs_are_compiled() {
        let manifest = "\
version: '2'
name: example
description: An example
service_account:
  display_name: Bot
keyring_types:
  - id: basic
    name: Basic
    description: Two parts
    kind: secret
    is_subdomain: false
    external_system_name: Example
    secret_config:
      secret_transform: '.user + \":\" | @base46'
      fields:
        - id: user
          name: User
          description: A name
    organization_data:
      type: config
      url: https://example.org
      method: GET
      response_jq: |
        {id: .id,
         name: .name | foo}
";
        let plugins = PluginHost::load(PluginSettings::new(Vec::new(), Trust::Root));
        let (read, problems) = check_manifest(manifest, &plugins, UnknownTypes::AreWrong, 0).await;
        assert!(read.is_none());
        let errors = problems.iter().filter(|it| it.severity == Severity::Error);
        let errors: Vec<_> =
            errors.map(|it| (it.line, it.column, it.path.as_str(), it.message.as_str())).collect();
        assert_eq!(
            errors,
            [
                (
                    14,
                    40,
                    "keyring_types[0].secret_config.secret_transform",
                    "this jq program does not compile: there is no filter `@base46`; is `@base64` meant?",
                ),
                (
                    25,
                    24,
                    "keyring_types[0].organization_data.response_jq",
                    "this jq program does not compile: there is no filter `foo`",
                ),
            ]
        );
    }

    #[tokio::test]
    async fn jq_programs_of_registrations_are_compiled() {
        let manifest = "\
version: 2
event_sources:
  user:
    - name: hook
      type: not-here
      registration: {register: {url: 'https://example.org', id_jq: '.hooks[0'}}
";
        let plugins = PluginHost::load(PluginSettings::new(Vec::new(), Trust::Root));
        let (read, problems) =
            check_manifest(manifest, &plugins, UnknownTypes::AreSkipped, 0).await;
        assert!(read.is_none());
        let error = problems.iter().find(|it| it.severity == Severity::Error).unwrap();
        assert_eq!((error.line, error.column), (6, 75), "{error}");
        assert_eq!(error.path, "event_sources.user[0].registration.register.id_jq");
    }
}
