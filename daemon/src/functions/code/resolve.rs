//! Names of modules: which file of the archive a specifier means, which file is the main one, and
//! where a function of a given name lives.
//!
//! Follows Node.js for CommonJS and TypeScript for extensions: `./a` may be `a.ts`, `a.js`, `a.json`
//! or `a/index.*`, and `./a.js` may be `a.ts`. Packages are looked for in `node_modules` of the
//! archive. Nothing outside the archive is ever looked at.

use std::collections::BTreeMap;

use serde_json::Value;

use super::package::{Asking, Package};
use super::{Code, CodeFile, CodeProblem, FileKind, problem};

const EXTENSIONS: [&str; 7] = ["ts", "js", "mts", "mjs", "cts", "cjs", "json"];

/// Why a specifier means no file of the archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unresolved {
    /// A relative path without a file.
    NoFile,
    /// A package that is not in the archive.
    NoPackage,
}

/// The path without `.` and `..` and leading slashes; `None` if it leaves the archive.
pub(super) fn normal_path(path: &str) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            _ => parts.push(part),
        }
    }
    (!parts.is_empty()).then(|| parts.join("/"))
}

pub(super) fn folder_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

fn join(folder: &str, rest: &str) -> Option<String> {
    normal_path(&format!("{folder}/{rest}"))
}

/// What each package.json of the archive says about the kind of its modules.
pub(super) struct ModuleTypes {
    /// Nothing for a package.json that leaves it open.
    by_folder: BTreeMap<String, Option<FileKind>>,
}

pub(super) fn module_types(
    texts: &BTreeMap<String, String>,
    problems: &mut Vec<CodeProblem>,
) -> ModuleTypes {
    let mut by_folder = BTreeMap::new();
    for (path, text) in texts {
        let folder = folder_of(path);
        if path.rsplit('/').next() != Some("package.json") {
            continue;
        }
        let package: Value = serde_json::from_str(text).unwrap_or_default();
        match package.get("type").and_then(Value::as_str) {
            Some("module") => {
                by_folder.insert(folder.to_owned(), Some(FileKind::Module));
            }
            Some("commonjs") => {
                by_folder.insert(folder.to_owned(), Some(FileKind::CommonJs));
            }
            Some(other) if !super::script::in_node_modules(path) => problems.push(problem(
                path,
                &format!("`type` is `{other}`: expected `module` or `commonjs`"),
            )),
            Some(_) | None => {
                by_folder.insert(folder.to_owned(), None);
            }
        }
    }
    ModuleTypes { by_folder }
}

impl ModuleTypes {
    /// The kind that extension and package.json give a file; `None` lets its syntax decide.
    pub(super) fn kind_of(&self, path: &str) -> Option<FileKind> {
        match path.rsplit_once('.')?.1 {
            "mjs" | "mts" => return Some(FileKind::Module),
            "cjs" | "cts" => return Some(FileKind::CommonJs),
            _ => {}
        }
        let mut folder = folder_of(path);
        loop {
            if let Some(kind) = self.by_folder.get(folder) {
                return *kind;
            }
            // A package in node_modules does not inherit from the one around it.
            if folder.is_empty() || folder_of(folder).ends_with("node_modules") {
                return None;
            }
            folder = folder_of(folder);
        }
    }
}

/// Where a package may lie in an archive: at its top, or where authors keep it beside the manifest.
const PACKAGE_FOLDERS: [&str; 2] = ["", "code"];

/// The main module: what package.json names, or its source when it was not built, or the usual
/// places.
pub(super) fn find_main(files: &BTreeMap<String, CodeFile>) -> Option<String> {
    PACKAGE_FOLDERS.into_iter().find_map(|folder| find_main_in(files, folder))
}

fn find_main_in(files: &BTreeMap<String, CodeFile>, folder: &str) -> Option<String> {
    let find = |path: &str| join(folder, path).and_then(|it| find_file(files, &it));
    let package: Value = join(folder, "package.json")
        .and_then(|it| files.get(&it))
        .and_then(|it| serde_json::from_str(&it.text).ok())
        .unwrap_or_default();
    if let Some(main) = package.get("main").and_then(Value::as_str)
        && let Some(main) = normal_path(main)
    {
        if let Some(found) = find(&main) {
            return Some(found);
        }
        // Not built: the TypeScript that it would have been built from.
        let source = main.strip_prefix("dist/").or(main.strip_prefix("build/"));
        if let Some(found) = source.and_then(|it| find(&format!("src/{it}"))) {
            return Some(found);
        }
    }
    ["dist/index", "index", "src/index", "main", "src/main"]
        .into_iter()
        .find_map(find)
        .filter(|it| files.get(it).is_some_and(|file| file.kind != FileKind::Json))
}

/// A path as it is, with an extension, as TypeScript source, or as a folder with an index.
fn find_file(files: &BTreeMap<String, CodeFile>, path: &str) -> Option<String> {
    find_as_file(files, path).or_else(|| find_as_file(files, &format!("{path}/index")))
}

fn find_as_file(files: &BTreeMap<String, CodeFile>, path: &str) -> Option<String> {
    if files.contains_key(path) {
        return Some(path.to_owned());
    }
    for (built, source) in [(".js", ".ts"), (".mjs", ".mts"), (".cjs", ".cts")] {
        if let Some(stem) = path.strip_suffix(built)
            && files.contains_key(&format!("{stem}{source}"))
        {
            return Some(format!("{stem}{source}"));
        }
    }
    EXTENSIONS
        .iter()
        .map(|extension| format!("{path}.{extension}"))
        .find(|it| files.contains_key(it))
}

pub(super) fn resolve<'a>(
    code: &'a Code,
    base: &str,
    specifier: &str,
    asking: Asking,
) -> Result<&'a str, Unresolved> {
    let specifier = specifier.strip_prefix("file://").unwrap_or(specifier);
    if is_path(specifier) {
        let folder = if specifier.starts_with('/') { "" } else { folder_of(base) };
        return key_of(code, find_path(code, folder, specifier)).ok_or(Unresolved::NoFile);
    }
    if specifier.starts_with('#') {
        return own_name(code, base, specifier, asking);
    }
    let inside = Inside::of(specifier);
    if let Some((folder, package)) = scope_of(code, base)
        && package.has_exports()
        && package.name() == Some(inside.package)
    {
        let found = exported_file(code, &folder, &package, &inside, asking);
        return key_of(code, found).ok_or(Unresolved::NoPackage);
    }
    let mut folder = folder_of(base);
    loop {
        let found = join(folder, &format!("node_modules/{}", inside.package))
            .and_then(|it| find_in_package(code, &it, &inside, asking));
        if let Some(found) = key_of(code, found) {
            return Ok(found);
        }
        if folder.is_empty() {
            return Err(Unresolved::NoPackage);
        }
        folder = folder_of(folder);
    }
}

fn is_path(specifier: &str) -> bool {
    ["./", "../", "/"].iter().any(|it| specifier.starts_with(it))
        || [".", ".."].contains(&specifier)
}

fn find_path(code: &Code, folder: &str, specifier: &str) -> Option<String> {
    let means_folder = ["/", "/.", "/.."].iter().any(|it| specifier.ends_with(it))
        || [".", ".."].contains(&specifier);
    match join(folder, specifier) {
        Some(path) if means_folder => find_folder(code, &path),
        Some(path) => find_package_file(code, &path),
        // The root folder itself, or what is outside of it.
        None => means_folder.then(|| find_file(&code.files, "index")).flatten(),
    }
}

/// A name that a package gives to something for itself, such as `#config`.
fn own_name<'a>(
    code: &'a Code,
    base: &str,
    specifier: &str,
    asking: Asking,
) -> Result<&'a str, Unresolved> {
    let (folder, package) = scope_of(code, base).ok_or(Unresolved::NoPackage)?;
    let target = package.imported(specifier, asking).ok_or(Unresolved::NoPackage)?;
    if is_path(&target) {
        return key_of(code, find_path(code, &folder, &target)).ok_or(Unresolved::NoFile);
    }
    // As Node.js, no names of its own in a circle.
    if target.starts_with('#') {
        return Err(Unresolved::NoPackage);
    }
    resolve(code, base, &target, asking)
}

/// The package that a module belongs to: the nearest package.json and its folder.
fn scope_of(code: &Code, base: &str) -> Option<(String, Package)> {
    let mut folder = folder_of(base);
    loop {
        let path = if folder.is_empty() {
            "package.json".to_owned()
        } else {
            format!("{folder}/package.json")
        };
        if let Some(file) = code.files.get(&path) {
            return Some((folder.to_owned(), Package::read(&file.text)));
        }
        if folder.is_empty() || folder.ends_with("node_modules") {
            return None;
        }
        folder = folder_of(folder);
    }
}

/// The parts of `package/inside` and `@scope/package/inside`.
struct Inside<'a> {
    package: &'a str,
    /// Empty, or what follows with its slash.
    rest: &'a str,
}

impl Inside<'_> {
    fn of(specifier: &str) -> Inside<'_> {
        let slashes = if specifier.starts_with('@') { 1 } else { 0 };
        let end = specifier.match_indices('/').nth(slashes).map_or(specifier.len(), |it| it.0);
        let (package, rest) = specifier.split_at(end);
        Inside { package, rest }
    }
}

fn key_of(code: &Code, path: Option<String>) -> Option<&str> {
    path.and_then(|it| code.files.get_key_value(&it)).map(|(key, _)| key.as_str())
}

/// A file, with an extension if need be, or a folder.
fn find_package_file(code: &Code, path: &str) -> Option<String> {
    find_as_file(&code.files, path).or_else(|| find_folder(code, path))
}

/// A folder: the main module that its package.json names, or its index.
fn find_folder(code: &Code, path: &str) -> Option<String> {
    let package = code.files.get(&format!("{path}/package.json"));
    let package = package.map(|it| Package::read(&it.text)).unwrap_or_default();
    package
        .main()
        .and_then(|main| join(path, main))
        .and_then(|main| find_file(&code.files, &main))
        .or_else(|| find_as_file(&code.files, &format!("{path}/index")))
}

/// A package of `node_modules`, or a file inside one.
fn find_in_package(
    code: &Code,
    folder: &str,
    inside: &Inside<'_>,
    asking: Asking,
) -> Option<String> {
    let package = code.files.get(&format!("{folder}/package.json"));
    let package = package.map(|it| Package::read(&it.text)).unwrap_or_default();
    if package.has_exports() {
        return exported_file(code, folder, &package, inside, asking);
    }
    if inside.rest.trim_matches('/').is_empty() {
        return find_folder(code, folder).or_else(|| find_package_file(code, folder));
    }
    find_path(code, folder, &format!(".{}", inside.rest))
}

fn exported_file(
    code: &Code,
    folder: &str,
    package: &Package,
    inside: &Inside<'_>,
    asking: Asking,
) -> Option<String> {
    let target = package.exported(&format!(".{}", inside.rest), asking)?;
    join(folder, &target).and_then(|it| find_file(&code.files, &it))
}

pub(super) fn modules_named<'a>(code: &'a Code, name: &str) -> Vec<&'a str> {
    let mut found: Vec<&str> = Vec::new();
    if name.is_empty() || name.split('/').any(|it| it.is_empty() || it.starts_with('.')) {
        return found;
    }
    for folder in function_folders(code) {
        let candidate = join(&folder, name).and_then(|it| find_file(&code.files, &it));
        if let Some(key) = key_of(code, candidate)
            && !found.contains(&key)
            && code.files.get(key).is_some_and(|it| it.kind != FileKind::Json)
        {
            found.push(key);
        }
    }
    found
}

/// Where modules of functions lie: beside the main module first, then at the root.
fn function_folders(code: &Code) -> Vec<String> {
    let beside = code.main().map(folder_of).unwrap_or_default();
    let mut folders = Vec::new();
    for folder in [beside, "", "dist", "src", "code", "code/dist", "code/src"] {
        for folder in [format!("{folder}/functions"), folder.to_owned()] {
            let folder = normal_path(&folder).unwrap_or_default();
            if !folders.contains(&folder) {
                folders.push(folder);
            }
        }
    }
    folders
}

pub(super) fn function_names(code: &Code) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for folder in function_folders(code).iter().filter(|it| it.ends_with("functions")) {
        for (path, file) in &code.files {
            let Some(rest) = path.strip_prefix(folder.as_str()).and_then(|it| it.strip_prefix('/'))
            else {
                continue;
            };
            let name = match rest.split_once('/') {
                Some((name, inside)) if inside.starts_with("index.") => name,
                Some(_) => continue,
                None => rest.rsplit_once('.').map_or(rest, |(stem, _)| stem),
            };
            let is_test = name.ends_with(".test") || name.ends_with(".spec");
            if file.kind != FileKind::Json && !is_test && !names.contains(&name) {
                names.push(name);
            }
        }
    }
    names
}
