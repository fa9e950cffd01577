//! What runs each function of a version that is being made, and what has to be kept for that: its
//! prepared code, its files, or neither.

use std::collections::BTreeMap;

use crate::functions::choice::{Choice, Facts, Wrong, can_be_started, choose};
use crate::functions::code::{self, Code, CodeProblem};
use crate::functions::packages::PackageFile;
use crate::manifest::{Places, Problem, Severity};
use crate::model::manifest::{ChosenRuntime, Function, Manifest, Runtime};

/// What was settled.
#[derive(Debug, Default)]
pub(super) struct Settled {
    /// Whether nothing is wrong.
    pub(super) is_right: bool,
    /// For the embedded engine.
    pub(super) code: Option<Code>,
    /// What runs each function, as far as that is clear.
    pub(super) runtimes: BTreeMap<String, ChosenRuntime>,
    /// The files, when a function needs them on the disk; with what Node.js loads in place of
    /// TypeScript.
    pub(super) on_disk: Option<Vec<PackageFile>>,
    /// The folder of package.json whose dependencies are to be installed, with a slash at its end
    /// unless it is the top.
    pub(super) to_install: Option<String>,
}

/// What counts beside manifest and files.
#[derive(Clone, Copy, Debug)]
pub(super) struct Around<'a> {
    /// Whether events can be posted somewhere.
    pub(super) has_testing_url: bool,
    /// Whether Node.js is on this host.
    pub(super) has_node: bool,
    /// Nothing but this function is run; what another one lacks does not count.
    pub(super) only: Option<&'a str>,
}

/// Settles it, and says what is wrong or questionable. Parses all code: takes a while.
pub(super) fn settle(
    manifest: Option<&Manifest>,
    places: &Places,
    files: Vec<PackageFile>,
    around: Around<'_>,
    problems: &mut Vec<Problem>,
) -> Settled {
    let Around { has_testing_url, has_node, only } = around;
    let functions = manifest.map(|it| it.functions.as_slice()).unwrap_or_default();
    let counts = |it: &Function| only.is_none_or(|name| name == it.name);
    let names = functions.iter().map(|it| it.name.as_str());
    let facts = Facts { has_testing_url, has_node, ..Facts::of(&files) };
    let prepared = match files.is_empty() {
        true => Ok(None),
        false => code::prepare_with_warnings(texts(&files)).map(|(code, warnings)| {
            let warning = |it| Problem { severity: Severity::Warning, ..in_file(it) };
            problems.extend(warnings.into_iter().map(warning));
            Some(code)
        }),
    };
    let facts = match &prepared {
        Ok(Some(code)) => {
            let node_main = code.main().map(str::to_owned);
            Facts { node_main, ..facts.with_code(code, names) }
        }
        Ok(None) => facts,
        // Whatever is wrong is said; what runs it is then as good as any.
        Err(found) => {
            let has_code = found.iter().any(|it| !it.file.is_empty());
            Facts { has_code, node_main: Some(String::new()).filter(|_| has_code), ..facts }
        }
    };
    let mut settled = Settled { is_right: true, ..Settled::default() };
    for (index, function) in functions.iter().enumerate().filter(|(_, it)| counts(it)) {
        let (choice, severity) = match choose(function, &facts) {
            Ok(Choice { chosen, warnings }) => {
                settled.runtimes.insert(function.name.clone(), chosen);
                (warnings, Severity::Warning)
            }
            Err(wrong) => {
                settled.is_right = false;
                (vec![wrong], Severity::Error)
            }
        };
        let at = |wrong: Wrong| {
            let path = format!("functions[{index}].{}", wrong.key);
            let problem = places.problem(severity, &path, None, &wrong.message);
            Problem { allowed: wrong.allowed, ..problem }
        };
        problems.extend(choice.into_iter().map(at));
    }
    let runs_in = |runtime| settled.runtimes.values().any(|it| it.runtime == runtime);
    let wants_javascript = runs_in(Runtime::Quickjs) || runs_in(Runtime::Node);
    let (in_engine, in_node) = (runs_in(Runtime::Quickjs), runs_in(Runtime::Node));
    let needs_folder = in_node || runs_in(Runtime::Process);
    match prepared {
        // Code that nothing runs is not asked to be any; who runs it is not known without a manifest.
        Err(found) if wants_javascript || manifest.is_none() || asks_for_code(functions) => {
            settled.is_right = false;
            let known = |it: &CodeProblem| manifest.is_some() || !it.file.is_empty();
            problems.extend(found.into_iter().filter(known).map(in_file));
        }
        Err(_) | Ok(None) => {}
        Ok(Some(code)) => settled.code = Some(code).filter(|_| in_engine || functions.is_empty()),
    }
    if settled.is_right && needs_folder {
        let mut files = files;
        if in_node {
            add_for_node(&mut files, &mut settled, problems);
            let installs = !facts.dependencies.is_empty() && !facts.has_node_modules;
            settled.to_install = installs.then(|| facts.folder.clone());
        }
        for file in &mut files {
            // What has lost its bit on the way is started all the same.
            let starts = settled.runtimes.values().any(|it| it.entry.as_ref() == Some(&file.path));
            file.executable |= starts && can_be_started(file);
        }
        settled.on_disk = Some(files);
    }
    settled
}

/// A version without functions is code for what may be called one day, and has to be code.
fn asks_for_code(functions: &[Function]) -> bool {
    functions.is_empty()
}

/// What Node.js loads in place of TypeScript that nobody has built, beside it.
fn add_for_node(files: &mut Vec<PackageFile>, settled: &mut Settled, problems: &mut Vec<Problem>) {
    let (made, main) = match code::for_node(texts(files)) {
        Ok(made) => made,
        Err(found) => {
            settled.is_right = false;
            problems.extend(found.into_iter().map(in_file));
            return;
        }
    };
    for chosen in settled.runtimes.values_mut().filter(|it| it.runtime == Runtime::Node) {
        chosen.entry.clone_from(&main);
    }
    for made in made {
        let map = (format!("{}.map", made.path), made.map);
        for (path, text) in [(made.path, made.text), map] {
            // What the archive has under this name was built by its author.
            if !files.iter().any(|it| it.path == path) {
                files.push(PackageFile { path, bytes: text.into(), executable: false });
            }
        }
    }
}

fn texts(files: &[PackageFile]) -> Vec<(String, Vec<u8>)> {
    files.iter().map(|it| (it.path.clone(), it.bytes.clone())).collect()
}

/// A problem of a file of the archive.
pub(super) fn in_file(problem: CodeProblem) -> Problem {
    Problem {
        severity: Severity::Error,
        file: Some(problem.file).filter(|it| !it.is_empty()),
        line: problem.line.max(1),
        column: problem.column.max(1),
        path: String::new(),
        message: problem.message,
        allowed: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::parse;

    fn file(path: &str, text: &str) -> PackageFile {
        PackageFile { path: path.to_owned(), bytes: text.into(), executable: false }
    }

    fn settled(manifest: &str, files: Vec<PackageFile>) -> (Settled, Vec<Problem>) {
        let parsed = parse(manifest);
        let mut problems = Vec::new();
        let manifest = parsed.manifest.expect("a right manifest");
        let around = Around { has_testing_url: false, has_node: true, only: None };
        let found = settle(Some(&manifest), &parsed.places, files, around, &mut problems);
        (found, problems)
    }

    const HEAD: &str =
        "version: '2'\nname: x\ndescription: x\nservice_account:\n  display_name: x\n";

    #[test]
    fn what_is_wrong_is_said_at_the_function() {
        let manifest = format!(
            "{HEAD}functions:\n  - name: one\n  - name: two\n    runtime: remote\n  - name: three\n    \
             runtime: process\n    entry_point: bin/x\n  - {{name: four, runtime: process}}\n"
        );
        let (settled, problems) =
            settled(&manifest, vec![file("index.js", "1"), file("bin/y", "#!")]);
        assert!(!settled.is_right);
        let said: Vec<_> =
            problems.iter().map(|it| (it.line, it.column, it.path.as_str())).collect();
        assert_eq!(
            said,
            [
                (9, 14, "functions[1].runtime"),
                (12, 18, "functions[2].entry_point"),
                (13, 27, "functions[3].runtime"),
            ]
        );
        assert_eq!(problems[1].allowed, ["bin/y"]);
        assert_eq!(settled.runtimes["one"].runtime, Runtime::Quickjs);
    }

    #[test]
    fn only_what_is_needed_is_kept() {
        let one = |line: &str| format!("{HEAD}functions:\n  - name: one\n    {line}\n");
        let files =
            || vec![file("index.ts", "export const run: any = 1;"), file("run", "#!/bin/sh")];
        let (engine, _) = settled(&one("runtime: quickjs"), files());
        assert!(engine.code.is_some() && engine.on_disk.is_none());
        let (process, problems) = settled(
            &one("{runtime: process, entry_point: run}").replace(
                "    {runtime: process, entry_point: run}",
                "    runtime: process\n    entry_point: run",
            ),
            files(),
        );
        assert!(process.code.is_none(), "{problems:?}");
        let kept = process.on_disk.expect("kept");
        assert!(kept.iter().any(|it| it.path == "run" && it.executable));
        let (node, _) = settled(&one("runtime: node"), files());
        let kept = node.on_disk.expect("kept");
        let paths: Vec<_> = kept.iter().map(|it| it.path.as_str()).collect();
        assert_eq!(paths, ["index.ts", "run", "index.mjs", "index.mjs.map"]);
        assert_eq!(node.runtimes["one"].entry.as_deref(), Some("index.mjs"));
    }

    #[test]
    fn code_that_nothing_runs_may_be_anything() {
        let manifest = format!("{HEAD}functions:\n  - name: one\n    entry_point: run\n");
        let files = vec![file("run", "#!/bin/sh"), file("broken.js", "const = 1")];
        let (process, problems) = settled(&manifest, files);
        assert!(process.is_right, "{problems:?}");
        let manifest = format!("{HEAD}functions:\n  - name: one\n");
        let (engine, problems) = settled(&manifest, vec![file("broken.js", "const = 1")]);
        assert!(!engine.is_right);
        assert_eq!(problems[0].file.as_deref(), Some("broken.js"));
    }
}
