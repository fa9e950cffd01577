//! A package on the disk: what its manifest says and its code, prepared as for a version.

use std::path::Path;

use serde_json::json;

use super::as_usage;
use crate::cli::validate::Subject;
use crate::cli::{Failure, show};
use crate::configuration::suggest;
use crate::functions::code::{self, Code};
use crate::functions::kind::RunnerKind;
use crate::manifest;
use crate::model::manifest::{Function, HookType, Manifest, Runtime};

/// A package that could be a version.
pub(super) struct Package {
    pub(super) manifest: Manifest,
    pub(super) code: Code,
}

impl Package {
    /// Reads a directory or an archive. What is wrong with its manifest or its code is a failure that
    /// names all of it.
    pub(super) fn read(path: &Path) -> Result<Package, Failure> {
        let subject = Subject::read(path).map_err(as_usage)?;
        let Some(files) = &subject.files else {
            let message = format!(
                "{} is a manifest alone: name the directory that it is in, with its code",
                path.display()
            );
            return Err(Failure::usage(message));
        };
        let wrong = |problems: serde_json::Value| {
            let lines = show::findings(&problems, &subject.whereabouts);
            let lines: Vec<String> = lines.iter().map(|it| show::plain(it)).collect();
            Failure::usage(lines.join("\n"))
        };
        let parsed = manifest::parse(&subject.manifest);
        let Some(manifest) = parsed.manifest else { return Err(wrong(json!(parsed.problems))) };
        let files = files.iter().map(|it| (it.path.clone(), it.bytes.clone())).collect();
        let code = code::prepare(files).map_err(|problems| {
            let problems: Vec<_> = problems
                .iter()
                .map(|it| {
                    json!({
                        "severity": "error", "file": Some(&it.file).filter(|it| !it.is_empty()),
                        "line": it.line.max(1), "column": it.column.max(1), "message": it.message,
                    })
                })
                .collect();
            wrong(json!(problems))
        })?;
        Ok(Package { manifest, code })
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

/// What runs a function here.
pub(super) fn runner_of(function: &Function) -> Result<RunnerKind, Failure> {
    let other = match function.runtime {
        Runtime::Auto | Runtime::Quickjs => return Ok(RunnerKind::Quickjs),
        Runtime::Node => "node",
        Runtime::Process => "process",
        Runtime::Remote => "remote",
    };
    Err(Failure::usage(format!(
        "function {} asks for the runtime {other}, which is not run without a daemon: only quickjs \
         is. `mortise version dev` tries it with one",
        suggest::quoted(&function.name)
    )))
}
