//! A package on the disk: its files, and what its manifest says.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::as_usage;
use crate::archive::ArchiveFile;
use crate::cli::validate::Subject;
use crate::cli::{Failure, show};
use crate::configuration::suggest;
use crate::engine::local_package::{LocalFunction, LocalPackage};
use crate::functions::remote::TestingUrl;
use crate::manifest::{self, Places, Problem};
use crate::model::manifest::{Function, HookType, Manifest};

/// A package with a manifest that is right.
pub(super) struct Package {
    pub(super) manifest: Manifest,
    places: Places,
    files: Vec<ArchiveFile>,
    whereabouts: show::Whereabouts,
    /// Where it lies, unless it is an archive.
    pub(super) directory: Option<PathBuf>,
}

impl Package {
    /// Reads a directory or an archive. What is wrong with its manifest is a failure that names all of
    /// it.
    pub(super) fn read(path: &Path) -> Result<Package, Failure> {
        let subject = Subject::read(path).map_err(as_usage)?;
        let Subject { manifest, files, testing_url: _, whereabouts } = subject;
        let Some(files) = files else {
            let message = format!(
                "{} is a manifest alone: name the directory that it is in, with its code",
                path.display()
            );
            return Err(Failure::usage(message));
        };
        let parsed = manifest::parse(&manifest);
        let Some(manifest) = parsed.manifest else {
            return Err(Failure::usage(lines(&parsed.problems, &whereabouts)));
        };
        let directory = path.is_dir().then(|| path.to_owned());
        Ok(Package { manifest, places: parsed.places, files, whereabouts, directory })
    }

    /// Chooses what runs a function, as for a version. What is wrong with that, or with the code, is a
    /// failure that names all of it.
    pub(super) fn settle(
        &self,
        function: &Function,
        testing_url: Option<TestingUrl>,
        has_node: bool,
    ) -> Result<LocalFunction, Failure> {
        let (manifest, places, files) = (&self.manifest, &self.places, self.files.clone());
        let package = LocalPackage { manifest, places, files, testing_url, has_node };
        LocalFunction::settle(package, &function.name)
            .map_err(|problems| Failure::usage(lines(&problems, &self.whereabouts)))
    }

    /// What is wrong or questionable, for people.
    pub(super) fn findings(&self, problems: &[Problem]) -> String {
        lines(problems, &self.whereabouts)
    }

    /// A function that the manifest declares.
    pub(super) fn function(&self, name: &str) -> Result<&Function, Failure> {
        self.manifest.function(name).ok_or_else(|| {
            let names: Vec<&str> = self.manifest.functions.iter().map(|it| &*it.name).collect();
            let unknown = suggest::unknown("function", name, names.iter().copied());
            Failure::usage(match names.as_slice() {
                [] => format!("{unknown}: the manifest declares no functions"),
                names => format!("{unknown} (allowed: {})", names.join(", ")),
            })
        })
    }

    /// What of the manifest calls a function.
    pub(super) fn callers(&self, function: &str) -> Vec<String> {
        let it = &self.manifest;
        let mut callers = Vec::new();
        let mut add = |called: &str, by: String| {
            if called == function {
                callers.push(by);
            }
        };
        for automation in &it.automations {
            add(&automation.function, format!("automation {}", automation.name));
        }
        for hook in &it.hooks {
            let name = match hook.hook_type {
                HookType::Validate => "validate",
                HookType::Activate => "activate",
                HookType::Deactivate => "deactivate",
                HookType::Update => "update",
            };
            add(&hook.function, format!("hook {name}"));
        }
        for command in &it.commands {
            add(&command.function, format!("command {} {}", command.namespace, command.name));
        }
        for action in &it.snap_kit_actions {
            add(&action.function, format!("snap-kit action {}", action.name));
        }
        for component in &it.snap_components {
            if let Some(initializer) = &component.initializer {
                add(initializer, format!("snap component {}", component.name));
            }
        }
        let handlers = &it.configuration_handler;
        for handler in handlers.organization.iter().chain(&handlers.user) {
            add(&handler.initializer, "configuration handler".to_owned());
        }
        for operation in &it.operations {
            add(&operation.function, format!("operation {}", operation.slug));
        }
        for import in &it.imports {
            add(&import.extractor_function, format!("import {}", import.slug));
            if let Some(loader) = &import.loader_function {
                add(loader, format!("import {}", import.slug));
            }
        }
        callers
    }
}

fn lines(problems: &[Problem], whereabouts: &show::Whereabouts) -> String {
    let lines = show::findings(&json!(problems), whereabouts);
    let lines: Vec<String> = lines.iter().map(|it| show::plain(it)).collect();
    lines.join("\n")
}
