//! What of a package counts for the choice.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde_json::Value;

use super::Lack;
use super::imports::specifiers;
use crate::functions::code::{Asking, Code, FileKind};
use crate::functions::packages::PackageFile;
use crate::functions::runner::{SDK, is_available_module, is_other_node_module};

/// Where a package may lie in an archive: at its top, or where authors keep it beside the manifest.
const PACKAGE_FOLDERS: [&str; 2] = ["", "code/"];
/// As many executables as still help, when one is not found.
const MOST_LISTED: usize = 20;

/// What counts for the choice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Whether there is an archive.
    pub has_files: bool,
    /// Whether there is JavaScript or TypeScript in it.
    pub has_code: bool,
    /// Whether events can be posted somewhere.
    pub has_testing_url: bool,
    /// Whether Node.js is on this host.
    pub has_node: bool,
    /// The main module as Node.js is told it.
    pub node_main: Option<String>,
    /// Production dependencies that package.json names.
    pub dependencies: BTreeSet<String>,
    /// The folder of package.json, with a slash at its end unless it is the top.
    pub folder: String,
    /// Whether the archive brings `node_modules`.
    pub has_node_modules: bool,
    /// What the embedded engine cannot give, by function.
    pub lacks: BTreeMap<String, Lack>,
    /// The files by path, and whether each can be started.
    pub files: BTreeMap<String, bool>,
}

/// What a path of the archive is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Startable {
    /// A file that can be started; its path.
    Yes(String),
    /// A file that cannot; its path.
    No(String),
    /// No file.
    NotThere,
}

impl Facts {
    /// Of the files of an archive; what the code of functions reaches is added by
    /// [`Facts::with_code`].
    pub fn of(files: &[PackageFile]) -> Facts {
        let mut facts = Facts { has_files: !files.is_empty(), ..Facts::default() };
        for file in files {
            facts.files.insert(file.path.clone(), can_be_started(file));
        }
        if let Some((folder, package)) = package_json(files) {
            let dependencies = package.get("dependencies").and_then(Value::as_object);
            let names = dependencies.into_iter().flatten().map(|(name, _)| name.clone());
            facts.dependencies = names.collect();
            folder.clone_into(&mut facts.folder);
        }
        let modules = format!("{}node_modules/", facts.folder);
        facts.has_node_modules = facts.files.keys().any(|it| it.starts_with(&modules));
        facts
    }

    /// With what functions of these names reach.
    #[must_use]
    pub fn with_code<'a>(mut self, code: &Code, functions: impl Iterator<Item = &'a str>) -> Facts {
        self.has_code = code.paths().any(|(_, kind)| kind != FileKind::Json);
        for function in functions {
            let mut roots: Vec<&str> = code.main().into_iter().collect();
            // The main module hands functions out; without one, modules named after them do.
            if roots.is_empty() {
                roots.extend(code.modules_named(function));
            }
            if let Some(lack) = self.first_lack(code, roots) {
                self.lacks.insert(function.to_owned(), lack);
            }
        }
        self
    }

    /// What a function's code needs and the embedded engine does not have.
    pub fn lack(&self, function: &str) -> Option<&Lack> {
        self.lacks.get(function)
    }

    /// What an entry point is.
    pub fn startable(&self, entry_point: &str) -> Startable {
        let entry_point = entry_point.trim().trim_start_matches("./");
        for folder in PACKAGE_FOLDERS {
            let path = format!("{folder}{entry_point}");
            match self.files.get(&path) {
                Some(true) => return Startable::Yes(path),
                Some(false) => return Startable::No(path),
                None => {}
            }
        }
        Startable::NotThere
    }

    /// What could be an entry point.
    pub fn executables(&self) -> Vec<String> {
        let all = self.files.iter().filter(|(path, can)| **can && !path.contains("node_modules/"));
        all.map(|(path, _)| path.clone()).take(MOST_LISTED).collect()
    }

    /// Packages before modules: what is not there at all weighs more.
    fn first_lack<'a>(&self, code: &'a Code, roots: Vec<&'a str>) -> Option<Lack> {
        let mut seen: HashSet<&str> = roots.iter().copied().collect();
        let mut open = roots;
        let mut lesser = None;
        while let Some(path) = open.pop() {
            let file = code.file(path).filter(|it| it.kind != FileKind::Json);
            let asking = match file.map(|it| it.kind) {
                Some(FileKind::Module) => Asking::Import,
                Some(FileKind::CommonJs | FileKind::Json) | None => Asking::Require,
            };
            for specifier in file.map(|it| specifiers(&it.text)).unwrap_or_default() {
                let bare = specifier.strip_prefix("node:").unwrap_or(specifier);
                if is_available_module(bare) {
                    continue;
                }
                let (file, name) = (path.to_owned(), bare.to_owned());
                if bare != specifier || is_other_node_module(bare) {
                    lesser.get_or_insert(Lack::Module { file, name });
                } else if let Ok(found) = code.resolve(path, specifier, asking) {
                    if seen.insert(found) {
                        open.push(found);
                    }
                } else if specifier == SDK {
                    continue;
                } else if specifier.ends_with(".node") {
                    return Some(Lack::Native { file, name });
                } else if let Some(name) = self.dependency(specifier) {
                    return Some(Lack::Package { file, name });
                }
            }
        }
        lesser
    }

    /// The dependency that a specifier is of.
    fn dependency(&self, specifier: &str) -> Option<String> {
        let parts = if specifier.starts_with('@') { 2 } else { 1 };
        let name = specifier.split('/').take(parts).collect::<Vec<_>>().join("/");
        self.dependencies.contains(&name).then_some(name)
    }
}

/// The package.json of the package, if there is one that can be read, and its folder.
fn package_json(files: &[PackageFile]) -> Option<(&'static str, Value)> {
    PACKAGE_FOLDERS.iter().find_map(|folder| {
        let path = format!("{folder}package.json");
        let file = files.iter().find(|it| it.path == path)?;
        Some((*folder, serde_json::from_slice(&file.bytes).ok()?))
    })
}

/// A bit, an interpreter's line, or a program: archives of other systems have no bits.
pub fn can_be_started(file: &PackageFile) -> bool {
    file.executable || file.bytes.starts_with(b"#!") || file.bytes.starts_with(b"\x7fELF")
}
