//! `mortise version init`: a small snap-in to begin with, which is in `contrib/template`. Must never
//! write over anything.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::snap_in::origin::slug_of;
use super::{Failure, show};

#[derive(Args, Clone, Debug)]
pub(super) struct Init {
    /// Where to write it; made when it is not there
    #[arg(value_name = "DIR")]
    pub(super) directory: PathBuf,
    /// TypeScript rather than JavaScript
    #[arg(long)]
    pub(super) typescript: bool,
}

type Files = [(&'static str, &'static str)];

macro_rules! template {
    ($file:literal) => {
        include_str!(concat!("../../../contrib/template/", $file))
    };
}

const SHARED: &Files = &[
    ("manifest.yaml", template!("shared/manifest.yaml")),
    ("README.md", template!("shared/README.md")),
    (".gitignore", template!("shared/gitignore")),
    ("fixtures/event.json", template!("shared/fixtures/event.json")),
];
const JAVASCRIPT: &Files = &[
    ("package.json", template!("javascript/package.json")),
    ("src/index.js", template!("javascript/src/index.js")),
    ("src/greet.js", template!("javascript/src/greet.js")),
    ("test/greet.test.js", template!("javascript/test/greet.test.js")),
];
const TYPESCRIPT: &Files = &[
    ("package.json", template!("typescript/package.json")),
    ("tsconfig.json", template!("typescript/tsconfig.json")),
    ("src/index.ts", template!("typescript/src/index.ts")),
    ("src/greet.ts", template!("typescript/src/greet.ts")),
];
/// What the README says about the tests of the template in JavaScript.
const TESTS: &str = "    npm test\n";

/// Writes the files, all of them or none.
pub(super) fn run(as_json: bool, options: &Init) -> Result<(), Failure> {
    let directory = &options.directory;
    let cannot = |path: &Path, error: std::io::Error| {
        Failure::refused(format!("cannot write {}: {error}", path.display()))
    };
    std::fs::create_dir_all(directory).map_err(|error| cannot(directory, error))?;
    let whole = directory.canonicalize().map_err(|error| cannot(directory, error))?;
    let name = whole.file_name().and_then(|it| it.to_str()).unwrap_or_default();
    let Some(slug) = slug_of(name) else {
        return Err(Failure::usage(format!(
            "a package cannot be named after {}: its name needs a letter or a digit of ASCII",
            directory.display()
        )));
    };
    let files = files(options.typescript, &slug);
    let there: Vec<&str> = files
        .iter()
        .filter(|(path, _)| directory.join(path).symlink_metadata().is_ok())
        .map(|(path, _)| *path)
        .collect();
    if !there.is_empty() {
        return Err(Failure::refused(format!(
            "{} holds {} already: nothing was written",
            directory.display(),
            there.join(", ")
        )));
    }
    for (path, text) in &files {
        let path = directory.join(path);
        let folder = path.parent().map_or(Ok(()), std::fs::create_dir_all);
        let written = folder.and_then(|()| {
            let mut file = std::fs::OpenOptions::new().write(true).create_new(true).open(&path)?;
            file.write_all(text.as_bytes())
        });
        written.map_err(|error| cannot(&path, error))?;
    }
    if as_json {
        let paths: Vec<_> = files.iter().map(|(path, _)| path).collect();
        let answer = json!({ "directory": directory, "package": slug, "files": paths });
        return show::print(&format!("{answer:#}"));
    }
    let shown = show::plain(&directory.display().to_string());
    show::print(&format!(
        "{slug} is in {shown}. What next:\n  cd {shown}\n  \
         mortise function run greet --fixture fixtures/event.json\n  mortise version dev"
    ))
}

fn files(typescript: bool, slug: &str) -> Vec<(&'static str, String)> {
    let own = if typescript { TYPESCRIPT } else { JAVASCRIPT };
    let tests = if typescript { "" } else { TESTS };
    let filled = |text: &str| {
        text.replace("NAME", slug).replace("SLUG", slug).replace("TESTS\n", &format!("{tests}\n"))
    };
    SHARED.iter().chain(own).map(|(path, text)| (*path, filled(text))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_filled_in() {
        for typescript in [false, true] {
            for (path, text) in files(typescript, "a-b") {
                for word in ["NAME", "SLUG", "TESTS"] {
                    assert!(!text.contains(word), "{word} in {path}");
                }
            }
        }
        let readme = |typescript| {
            let readme = files(typescript, "a").into_iter().find(|(path, _)| *path == "README.md");
            readme.map(|(_, text)| text.contains("npm test"))
        };
        assert_eq!((readme(false), readme(true)), (Some(true), Some(false)));
    }
}
