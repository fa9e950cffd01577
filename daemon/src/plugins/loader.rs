//! All libraries: where they are looked for, which are refused, which types they add.
//!
//! Owns the load order (permissions, then [`super::library`]'s checks, then duplicate names) and the
//! reports. It must never fail as a whole: each failure is the report of one path.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use mortise_plugin::Role;

use super::host::RegisteredType;
use super::library::{self, Library, LoadedType, Refusal};
use super::report::{LoadOutcome, LoadReport};
use super::trust::{Trust, resolve_trusted};

/// The types of every library, by name and alias.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    pub(super) reports: Vec<LoadReport>,
    pub(super) sources: BTreeMap<String, Arc<RegisteredType>>,
    pub(super) sinks: BTreeMap<String, Arc<RegisteredType>>,
}

/// Loads every `*.so` of the directories and the files in `paths`, in order of their names.
pub(super) fn load_all(paths: &[PathBuf], trust: Trust, deadline: Duration) -> Loaded {
    let mut loaded = Loaded::default();
    for path in paths {
        let files = match libraries_at(path, trust) {
            Ok(files) => files,
            Err(reason) => {
                loaded.refuse(path, &Refusal { reason, details: None });
                continue;
            }
        };
        for file in files {
            match load_one(&file, trust, deadline) {
                Ok(library) => loaded.register(&file, library),
                Err(refusal) => loaded.refuse(&file, &refusal),
            }
        }
    }
    loaded
}

/// The file itself, or the libraries in a directory that may be trusted.
fn libraries_at(path: &Path, trust: Trust) -> Result<Vec<PathBuf>, String> {
    let metadata =
        std::fs::metadata(path).map_err(|error| format!("cannot look at it: {error}"))?;
    if !metadata.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let directory = resolve_trusted(path, trust)?;
    let cannot_list = |error: std::io::Error| format!("cannot list it: {error}");
    let mut files = Vec::new();
    for entry in std::fs::read_dir(&directory).map_err(cannot_list)? {
        let file = entry.map_err(cannot_list)?.path();
        if file.extension().is_some_and(|extension| extension == "so") {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

/// Loads one library on a thread of its own, because a library's code runs from the moment it is
/// mapped, and may hang.
fn load_one(path: &Path, trust: Trust, deadline: Duration) -> Result<Library, Refusal> {
    let refuse = |reason: String| Refusal { reason, details: None };
    let path = resolve_trusted(path, trust).map_err(refuse)?;
    if !path.is_file() {
        return Err(refuse("not a regular file".to_owned()));
    }
    let (sender, receiver) = mpsc::channel();
    std::thread::Builder::new()
        .name("plugin-load".to_owned())
        .spawn(move || {
            let _ = sender.send(library::load(&path));
        })
        .map_err(|error| refuse(format!("cannot start a thread to load it: {error}")))?;
    match receiver.recv_timeout(deadline) {
        Ok(result) => result,
        Err(mpsc::RecvTimeoutError::Timeout) => {
            Err(refuse(format!("loading it took longer than {} ms", deadline.as_millis())))
        }
        Err(mpsc::RecvTimeoutError::Disconnected) => Err(refuse("loading it panicked".to_owned())),
    }
}

impl Loaded {
    fn refuse(&mut self, path: &Path, refusal: &Refusal) {
        tracing::warn!(path = %path.display(), reason = %refusal.reason, "plugin refused");
        if let Some(details) = &refusal.details {
            tracing::debug!(path = %path.display(), %details, "why the plugin was refused");
        }
        let outcome = LoadOutcome::Refused { reason: refusal.reason.clone() };
        self.reports.push(LoadReport { path: path.to_owned(), outcome });
    }

    /// Takes all types of a library, or none.
    fn register(&mut self, path: &Path, library: Library) {
        let Library { name, version, sources, sinks, module } = library;
        let names = |types: &[LoadedType]| -> Vec<String> {
            types.iter().map(|loaded| loaded.descriptor.name.clone()).collect()
        };
        let outcome = LoadOutcome::Loaded {
            name: name.clone(),
            version: version.clone(),
            sources: names(&sources),
            sinks: names(&sinks),
        };
        let mut added = BTreeMap::new();
        for (role, types) in [(Role::Source, sources), (Role::Sink, sinks)] {
            for LoadedType { descriptor, schema } in types {
                let type_names: Vec<String> =
                    std::iter::once(&descriptor.name).chain(&descriptor.aliases).cloned().collect();
                let registered = Arc::new(RegisteredType {
                    descriptor,
                    role,
                    plugin: name.clone(),
                    plugin_version: version.clone(),
                    schema,
                    module,
                });
                for type_name in type_names {
                    let taken = self.types(role).get(&type_name).map(|other| other.plugin.clone());
                    let key = (role == Role::Sink, type_name.clone());
                    let twice = added.insert(key, Arc::clone(&registered)).map(|_| name.clone());
                    if let Some(other) = taken.or(twice) {
                        let role = if role == Role::Source { "source" } else { "sink" };
                        let reason = format!(
                            "{role} type `{type_name}` of plugin `{name}` is taken already, by \
                             plugin `{other}`"
                        );
                        return self.refuse(path, &Refusal { reason, details: None });
                    }
                }
            }
        }
        for ((is_sink, type_name), registered) in added {
            let types = if is_sink { &mut self.sinks } else { &mut self.sources };
            types.insert(type_name, registered);
        }
        tracing::info!(path = %path.display(), plugin = %name, %version, "plugin loaded");
        self.reports.push(LoadReport { path: path.to_owned(), outcome });
    }

    pub(super) fn types(&self, role: Role) -> &BTreeMap<String, Arc<RegisteredType>> {
        match role {
            Role::Source => &self.sources,
            Role::Sink => &self.sinks,
        }
    }
}
