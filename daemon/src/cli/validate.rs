//! `mortise version validate`: everything that is wrong with a version, without a daemon. Plugins
//! check what only they understand, as far as they are here; what was not checked is said.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::show::{self, plain};
use super::snap_in::origin::whereabouts;
use super::{Failure, files};
use crate::archive::{ArchiveFile, Limits, pack_directory, read_archive, without_top_folder};
use crate::clock::Clock;
use crate::engine::versions::{Material, UnknownTypes, check, check_manifest};
use crate::functions::remote::TestingUrl;
use crate::manifest::{self, Problem};
use crate::model::manifest::ChosenRuntime;
use crate::plugins::{LoadOutcome, PluginHost, PluginSettings, Trust};
use mortise_plugin::Role;

/// Where packages put plugins.
pub(super) const INSTALLED_PLUGINS: &str = "/usr/lib/mortise/plugins";
const MANIFEST_NAMES: [&str; 2] = ["manifest.yaml", "manifest.yml"];

/// Checks a directory, an archive or a manifest, and says what it finds.
pub(super) fn validate(
    as_json: bool,
    path: &Path,
    plugin_paths: Vec<PathBuf>,
    testing_url: Option<&str>,
) -> Result<(), Failure> {
    let testing_url = testing_url.map(TestingUrl::parse).transpose().map_err(Failure::usage)?;
    let subject = Subject { testing_url, ..Subject::read(path)? };
    let are_named = !plugin_paths.is_empty();
    let plugins = load_plugins(plugin_paths);
    let Verdict { is_valid, problems, runtimes } = subject.check(&plugins)?;
    let unchecked = unchecked(&subject.manifest, &plugins);
    let found = json!(problems);
    if as_json {
        let answer = json!({ "valid": is_valid, "problems": found, "unchecked": unchecked, "runtimes": runtimes });
        show::print(&format!("{answer:#}"))?;
    } else {
        for line in show::findings(&found, &subject.whereabouts) {
            show::print(&plain(&line))?;
        }
        for (function, chosen) in &runtimes {
            let ChosenRuntime { runtime, why, .. } = chosen;
            show::print(&plain(&format!("{function} runs in {}: {why}", runtime.name())))?;
        }
        if are_named {
            say_refused(&plugins);
        }
        let unchecked = unchecked.as_array().into_iter().flatten();
        let of = |it: &Value, key: &str| plain(it[key].as_str().unwrap_or_default());
        let unchecked: Vec<String> =
            unchecked.map(|it| format!("{} ({})", of(it, "name"), of(it, "type"))).collect();
        if !unchecked.is_empty() {
            eprintln!(
                "not checked, because no plugin here has their types: the configs of event \
                 sources {}; --plugins DIR says where plugins are",
                unchecked.join(", ")
            );
        }
    }
    let shown = path.display();
    match (is_valid, as_json) {
        (true, true) => Ok(()),
        (true, false) => show::print(&format!("{shown} is valid")),
        (false, _) => Err(Failure::refused(format!("{shown} is not valid"))),
    }
}

/// What is checked.
pub(super) struct Subject {
    pub(super) manifest: String,
    /// Nothing when a manifest is checked alone.
    pub(super) files: Option<Vec<ArchiveFile>>,
    pub(super) testing_url: Option<TestingUrl>,
    pub(super) whereabouts: show::Whereabouts,
}

impl Subject {
    pub(super) fn read(path: &Path) -> Result<Subject, Failure> {
        let is_manifest = path.extension().is_some_and(|it| it == "yaml" || it == "yml");
        if is_manifest && !path.is_dir() {
            let manifest = path.display().to_string();
            let whereabouts = show::Whereabouts { manifest, top: String::new() };
            return Ok(Subject {
                manifest: files::read_text(path)?,
                files: None,
                testing_url: None,
                whereabouts,
            });
        }
        let refused = |error: crate::archive::ArchiveError| Failure::refused(error.to_string());
        let bytes = if path.is_dir() {
            pack_directory(path).map_err(refused)?
        } else {
            files::archive_bytes(path)?
        };
        let unpacked = read_archive(&bytes, &Limits::default()).map_err(refused)?;
        let unpacked = without_top_folder(unpacked);
        let manifest = unpacked.iter().find(|it| MANIFEST_NAMES.contains(&it.path.as_str()));
        let manifest = manifest.ok_or_else(|| {
            Failure::refused(format!("there is no manifest.yaml at the top of {}", path.display()))
        })?;
        let text = String::from_utf8(manifest.bytes.clone())
            .map_err(|_| Failure::refused(format!("{} is not UTF-8", manifest.path)))?;
        Ok(Subject {
            manifest: text,
            files: Some(unpacked),
            testing_url: None,
            whereabouts: whereabouts(path),
        })
    }

    fn check(&self, plugins: &PluginHost) -> Result<Verdict, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::failed(error.to_string()))?;
        let now_ms = Clock::System.now_ms();
        let unknown = UnknownTypes::AreSkipped;
        if let (None, None) = (&self.files, &self.testing_url) {
            let checked = check_manifest(&self.manifest, plugins, unknown, now_ms);
            let (manifest, problems) = runtime.block_on(checked);
            let is_valid = manifest.is_some();
            return Ok(Verdict { is_valid, problems, runtimes: BTreeMap::new() });
        }
        let material = Material {
            manifest: self.manifest.clone(),
            files: self.files.clone().unwrap_or_default(),
            testing_url: self.testing_url.clone(),
            // The host that counts is the daemon's, which may be another one.
            has_node: true,
        };
        let checked = runtime.block_on(check(&material, plugins, unknown, now_ms));
        let is_valid = checked.is_right();
        Ok(Verdict { is_valid, problems: checked.problems, runtimes: checked.runtimes })
    }
}

/// What a check found.
struct Verdict {
    is_valid: bool,
    problems: Vec<Problem>,
    runtimes: BTreeMap<String, ChosenRuntime>,
}

fn load_plugins(paths: Vec<PathBuf>) -> PluginHost {
    let paths = if paths.is_empty() { vec![INSTALLED_PLUGINS.into()] } else { paths };
    let trust = Trust::RootAndUser { uid: rustix::process::geteuid().as_raw() };
    PluginHost::load(PluginSettings::new(paths, trust))
}

/// Sources whose type no plugin here has.
fn unchecked(manifest: &str, plugins: &PluginHost) -> Value {
    let parsed = manifest::parse(manifest);
    let read = parsed.manifest.or(parsed.partial).unwrap_or_default();
    let sources = read.event_sources.iter().filter(|it| !it.kind.is_empty());
    let unknown = sources.filter(|it| plugins.find(Role::Source, &it.kind).is_none());
    unknown.map(|it| json!({ "name": it.name, "type": it.kind })).collect()
}

fn say_refused(plugins: &PluginHost) {
    for report in plugins.load_reports() {
        if let LoadOutcome::Refused { reason } = &report.outcome {
            eprintln!("{}: {}", report.path.display(), plain(reason));
        }
    }
}
