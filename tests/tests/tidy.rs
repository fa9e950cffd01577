//! Rules about the sources that no compiler checks: which part may know which, and what a file
//! looks like.
//!
//! Each rule is a function from a file to what is wrong with it, so that the tests at the end can
//! show that it finds something. An exception is a line in a table here, with its reason; one that
//! is no longer needed fails too.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use std::fs;
use std::path::{Path, PathBuf};

/// Where our Rust is.
const ROOTS: [&str; 4] = ["daemon", "plugin-abi", "plugins", "tests"];
/// A file of more lines has more than one subject.
const MOST_LINES: usize = 900;

/// A file: its path from the top of the repository, and what is in it.
struct Source {
    path: String,
    text: String,
}

impl Source {
    /// The lines with code, numbered from 1; comments may name anything.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.text.lines().enumerate().map(|(at, line)| (at + 1, line));
        lines.filter(|(_, line)| !line.trim_start().starts_with("//"))
    }
}

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The files below [`ROOTS`] whose name ends in `ending`.
fn files(ending: &str) -> Vec<Source> {
    let top = top();
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = ROOTS.iter().map(|it| top.join(it)).collect();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                // The build directory of a crate that somebody built alone.
                if !path.ends_with("target") {
                    folders.push(path);
                }
            } else if path.to_str().unwrap().ends_with(ending) {
                let text = fs::read_to_string(&path).unwrap();
                let path = path.strip_prefix(&top).unwrap().to_str().unwrap().to_owned();
                found.push(Source { path, text });
            }
        }
    }
    found
}

fn sources() -> Vec<Source> {
    let found = files(".rs");
    assert!(found.len() > 100, "only {} files found: is the walk broken?", found.len());
    found
}

fn check(rule: impl Fn(&Source) -> Vec<String>) {
    report(sources().iter().flat_map(rule).collect());
}

fn report(problems: Vec<String>) {
    assert!(problems.is_empty(), "\n{}\n", problems.join("\n"));
}

/// Whether `word` stands in `line` at `at`, rather than being the end of a longer name or path.
fn starts_word(line: &str, at: usize) -> bool {
    !line[..at].ends_with(|it: char| it.is_alphanumeric() || it == '_')
}

/// The name that follows each `prefix` in `line`, such as `store` after `crate::`.
fn names_after<'a>(line: &'a str, prefix: &str) -> Vec<&'a str> {
    let found = line.match_indices(prefix).filter(|(at, _)| starts_word(line, *at));
    let rests = found.map(|(at, _)| &line[at + prefix.len()..]);
    rests
        .flat_map(|rest| match rest.strip_prefix('{') {
            // The first names of a group that begins here.
            Some(group) => group.split(',').map(|it| name_at(it.trim_start())).collect(),
            None => vec![name_at(rest)],
        })
        .collect()
}

fn name_at(text: &str) -> &str {
    text.split(|it: char| !it.is_alphanumeric() && it != '_').next().unwrap_or_default()
}

// What a file looks like.

fn opens_with_its_subject(file: &Source) -> Vec<String> {
    if file.text.starts_with("//! ") {
        return Vec::new();
    }
    vec![format!("{}: open it with a `//!` line that says what the module is for", file.path)]
}

fn looks(file: &Source) -> Vec<String> {
    let mut problems = Vec::new();
    let lines = file.text.lines().count();
    if lines > MOST_LINES {
        problems.push(format!(
            "{}: {lines} lines; split it by subject (at most {MOST_LINES})",
            file.path
        ));
    }
    for (at, line) in file.text.lines().enumerate() {
        let place = format!("{}:{}", file.path, at + 1);
        if line.contains('\t') {
            problems.push(format!("{place}: a tab; indent with spaces, or write \\t in a string"));
        }
        if line.ends_with(' ') {
            problems.push(format!("{place}: spaces at the end of the line; remove them"));
        }
    }
    problems
}

fn unfinished(file: &Source) -> Vec<String> {
    let mut problems = Vec::new();
    for (at, line) in file.code() {
        let place = format!("{}:{at}", file.path);
        // Joined here, so that this file passes.
        for word in [concat!("to", "do!("), concat!("unimple", "mented!(")] {
            if line.contains(word) {
                problems.push(format!("{place}: `{word}`; finish it, or return an error"));
            }
        }
        let ignore = concat!("#[", "ignore");
        if line.contains(ignore) && !line.contains(&format!("{ignore} = \"")) {
            problems.push(format!(
                "{place}: a test that is ignored for no reason; write `{ignore} = \"...\"]`"
            ));
        }
    }
    problems
}

// Where the environment is read.

fn reads_environment(file: &Source) -> Vec<String> {
    const ALLOWED: [&str; 6] = [
        "daemon/src/main.rs",
        "daemon/src/cli/",
        // The main function of a runner process, whose arguments the pool writes.
        "daemon/src/functions/runner/mod.rs",
        // Goes to the folder of a version, which is not reading.
        "daemon/src/functions/runner/process/namespaces.rs",
        "daemon/tests/",
        "tests/",
    ];
    const LOOKS: [&str; 6] =
        ["env::var", "env::args", "env::current_", "env::home_dir", "env::temp_dir", "env::split"];
    if ALLOWED.iter().any(|it| file.path.starts_with(it)) {
        return Vec::new();
    }
    let lines = file.code().filter(|(_, line)| LOOKS.iter().any(|look| line.contains(look)));
    let say = |(at, _)| {
        format!(
            "{}:{at}: reads the environment; read it in main or cli and hand the value down",
            file.path
        )
    };
    lines.map(say).collect()
}

// Foreign crates.

/// A foreign crate, and where it may be named: folders (ending in `/`) and files.
type Border = (&'static str, &'static [&'static str]);

const BORDERS: [Border; 48] = [
    ("abi_stable", &["daemon/src/plugins/", "plugin-abi/src/"]),
    ("actix", &["daemon/src/actors/"]),
    ("actix_web", &["daemon/src/api/"]),
    ("arc_swap", &["daemon/src/engine/"]),
    ("chacha20poly1305", &["daemon/src/secrets/"]),
    ("clap", &["daemon/src/cli/", "tests/src/bin/"]),
    ("clap_complete", &["daemon/src/cli/"]),
    ("clap_mangen", &["daemon/src/cli/"]),
    ("encoding_rs", &["plugins/poll/"]),
    ("feed_rs", &["plugins/poll/"]),
    ("flate2", &["daemon/src/archive/"]),
    ("getrandom", &["daemon/src/random.rs"]),
    (
        "hmac",
        &[
            "daemon/src/secrets/",
            "plugins/flow-custom-webhook/",
            "plugins/http/src/signing.rs",
            "tests/src/snap_in.rs",
        ],
    ),
    ("http_body_util", &["daemon/src/cli/webhook/listen/"]),
    ("hyper", &["daemon/src/cli/webhook/listen/"]),
    ("hyper_util", &["daemon/src/cli/webhook/listen/"]),
    ("jaq_core", &["plugin-abi/jq/src/"]),
    ("jaq_std", &["plugin-abi/jq/src/"]),
    (
        "jiff",
        &[
            "daemon/src/api/times.rs",
            "daemon/src/cli/",
            "daemon/src/objects/",
            "plugins/poll/",
            "plugins/timer-events/",
            "tests/src/clock.rs",
            "tests/tests/clock.rs",
            "tests/tests/scheduled.rs",
        ],
    ),
    ("jsonschema", &["daemon/src/objects/", "daemon/src/plugins/"]),
    ("landlock", &["daemon/src/functions/"]),
    ("lettre", &["daemon/src/egress/", "plugins/email/"]),
    (
        "libc",
        &[
            "daemon/src/functions/",
            "daemon/src/run/start_code.rs",
            "daemon/tests/sandbox.rs",
            "daemon/tests/process/",
            "tests/clock/",
            "tests/src/bin/mortise-without.rs",
        ],
    ),
    ("libloading", &["daemon/src/plugins/"]),
    ("llrt_modules", &["daemon/src/functions/"]),
    ("object", &["daemon/src/plugins/"]),
    ("oxc", &["daemon/src/functions/"]),
    ("oxc_sourcemap", &["daemon/src/functions/code/"]),
    ("redb", &["daemon/src/store/"]),
    ("regex", &["daemon/src/configuration/", "plugin-abi/jq/src/"]),
    ("regorus", &["plugins/flow-custom-webhook/"]),
    ("reqwest", &["daemon/src/cli/", "daemon/src/egress/", "tests/src/bin/"]),
    // The first two by way of rustls.
    (
        "ring",
        &[
            "daemon/src/cli/",
            "daemon/src/egress/",
            "plugins/flow-custom-webhook/src/verify/ed25519.rs",
        ],
    ),
    ("rquickjs", &["daemon/src/functions/"]),
    // What is measured beside the daemon.
    ("rusqlite", &["tests/src/bin/mortise-load/"]),
    (
        "rustls",
        &["daemon/src/cli/", "daemon/src/egress/", "tests/src/bin/", "tests/src/mail_server.rs"],
    ),
    ("rustls_native_certs", &["daemon/src/egress/"]),
    ("saphyr_parser", &["daemon/src/manifest/"]),
    ("sd_notify", &["daemon/src/run.rs"]),
    (
        "seccompiler",
        &["daemon/src/functions/", "daemon/tests/process/", "tests/src/bin/mortise-without.rs"],
    ),
    ("serde_path_to_error", &["daemon/src/api/"]),
    ("strsim", &["daemon/src/configuration/", "plugins/flow-custom-webhook/"]),
    ("subtle", &["plugins/flow-custom-webhook/src/verify/"]),
    ("tar", &["daemon/src/archive/"]),
    ("tokio_rustls", &["daemon/src/egress/"]),
    ("toml", &["daemon/src/config.rs", "tests/tests/licences.rs"]),
    ("tracing_subscriber", &["daemon/src/cli/"]),
    ("zip", &["daemon/src/archive/"]),
];

/// A use outside the border.
struct Exception {
    krate: &'static str,
    /// A file, or a folder with `/` at its end.
    path: &'static str,
    /// Which names of the crate; none listed means all of it, which is for tools of the tests.
    names: &'static [&'static str],
    /// For the reader of this table.
    #[expect(dead_code, reason = "documentation that cannot be left out")]
    reason: &'static str,
}

const EXCEPTIONS: [Exception; 8] = [
    Exception {
        krate: "actix",
        path: "daemon/src/operations/",
        names: &["Addr", "Handler", "Message"],
        reason: "asking an actor needs its address, and bounds that say what it answers",
    },
    Exception {
        krate: "actix",
        path: "daemon/src/run.rs",
        names: &["System", "spawn"],
        reason: "the composition root starts the system that actors and HTTP server run on",
    },
    Exception {
        krate: "flate2",
        path: "daemon/tests/functions/network.rs",
        names: &[],
        reason: "a server of the tests that sends a compressed answer",
    },
    Exception {
        krate: "abi_stable",
        path: "tests/plugins/foreign-layout/src/lib.rs",
        names: &[],
        reason: "a plugin with another layout has to be made without our crate",
    },
    Exception {
        krate: "actix_web",
        path: "tests/src/bin/mortise-load/",
        names: &[],
        reason: "the load generator measures a bare server too, to compare with",
    },
    Exception {
        krate: "tar",
        path: "tests/src/snap_in.rs",
        names: &[],
        reason: "what clients upload is made without the daemon's own packing",
    },
    Exception {
        krate: "tar",
        path: "tests/src/registry.rs",
        names: &[],
        reason: "what a registry serves is made without the daemon's own packing",
    },
    Exception {
        krate: "tar",
        path: "tests/tests/bad_input.rs",
        names: &[],
        reason: "evil archives are not made by the daemon's own packing",
    },
];

impl Exception {
    fn covers(&self, krate: &str, path: &str, name: &str) -> bool {
        self.krate == krate
            && path.starts_with(self.path)
            && (self.names.is_empty() || self.names.contains(&name))
    }
}

/// Uses of foreign crates in `file`: line, crate, name.
fn foreign_names(file: &Source) -> Vec<(usize, &'static str, &str)> {
    let mut found = Vec::new();
    for (at, line) in file.code() {
        for (krate, _) in BORDERS {
            // A module of ours may have the same name as a crate: only what begins a path, and only
            // the whole import, counts.
            let prefix = format!("{krate}::");
            let begins_path = !line.contains(&format!("::{prefix}"));
            let names = names_after(line, &prefix).into_iter().filter(|_| begins_path);
            found.extend(names.map(|it| (at, krate, it)));
            if names_after(line, "use ").contains(&krate) && !line.contains(&format!("{krate}::")) {
                found.push((at, krate, ""));
            }
        }
    }
    found
}

fn crosses_border(file: &Source) -> Vec<String> {
    let mut problems = Vec::new();
    for (at, krate, name) in foreign_names(file) {
        let (_, inside) = BORDERS.iter().find(|it| it.0 == krate).unwrap();
        let allowed = inside.iter().any(|it| file.path.starts_with(it))
            || EXCEPTIONS.iter().any(|it| it.covers(krate, &file.path, name));
        if !allowed {
            problems.push(format!(
                "{}:{at}: `{krate}::{name}` belongs in {} only; ask that module for what you need",
                file.path,
                inside.join(" and ")
            ));
        }
    }
    problems
}

// The direction of dependencies.

/// What may be imported by everybody: time, randomness, settings and data.
const GROUND: &[&str] = &["clock", "config", "model", "random"];
const PARTS: &[&str] = &[
    "access",
    "archive",
    "configuration",
    "connections",
    "egress",
    "functions",
    "lifecycle",
    "manifest",
    "objects",
    "plugins",
    "routing",
    "secrets",
    "snap_kit",
    "store",
];

/// For each module at the top of `daemon/src`, what it may import beside itself; `None` for one
/// that has no place yet.
fn may_import(module: &str) -> Option<Vec<&'static str>> {
    let allowed: &[&[&str]] = match module {
        "clock" | "model" | "random" => &[],
        // Settings name roles.
        "config" => &[&["model"]],
        // Decisions: no time, no randomness, no settings.
        "access" | "configuration" | "connections" | "lifecycle" | "routing" => &[&["model"]],
        // Siblings: run.rs hands them what they need of each other.
        "archive" | "egress" | "functions" | "plugins" => &[&["model"]],
        // What is wrong with a default is what is wrong with a value; with a type, what a host says.
        "manifest" => &[&["configuration", "model", "objects", "snap_kit"]],
        // Names are suggested there.
        "snap_kit" => &[&["configuration"]],
        "secrets" => &[&["model", "random"]],
        // What a date is, and which name was meant.
        "objects" => &[&["configuration", "model"]],
        // It keeps what lifecycles decide, in their own types, and reads lists as they are planned.
        "store" => &[&["clock", "lifecycle", "model", "objects", "random"]],
        "engine" => &[GROUND, PARTS],
        "actors" => &[GROUND, PARTS, &["engine"]],
        "operations" => &[GROUND, PARTS, &["engine", "actors"]],
        "api" => &[GROUND, PARTS, &["engine", "actors", "operations"]],
        "run" => &[GROUND, PARTS, &["engine", "actors", "operations", "api"]],
        "cli" => &[GROUND, PARTS, &["engine", "actors", "operations", "api", "run"]],
        // The binary: the client and daemon, or a process that runs functions.
        "main" => &[&["cli", "functions"]],
        "lib" => &[],
        _ => return None,
    };
    Some(allowed.concat())
}

/// The module at the top of `daemon/src` that a file belongs to, and how deep in it the file is.
fn module_of(path: &str) -> Option<(&str, usize)> {
    let inside = path.strip_prefix("daemon/src/")?;
    let inside = inside.strip_suffix(".rs")?;
    let inside = inside.strip_suffix("/mod").unwrap_or(inside);
    Some((name_at(inside), inside.split('/').count()))
}

fn imports_against_direction(file: &Source) -> Vec<String> {
    let Some((module, depth)) = module_of(&file.path) else { return Vec::new() };
    let Some(allowed) = may_import(module) else {
        return vec![format!(
            "{}: `{module}` has no place yet; say in may_import (tests/tests/tidy.rs) what it may \
             import, and in ARCHITECTURE.md what it owns",
            file.path
        )];
    };
    let root = if module == "main" { "mortise::" } else { "crate::" };
    let up = "super::".repeat(depth);
    let mut problems = Vec::new();
    for (at, line) in file.code() {
        if line.contains(&format!("{root}{{")) {
            problems.push(format!(
                "{}:{at}: write one `use {root}...` for each module, which this check can read",
                file.path
            ));
            continue;
        }
        let mut names = names_after(line, root);
        // Up past the top by `super`; a name that is no module of ours is something else.
        names.extend(names_after(line, &up).into_iter().filter(|it| may_import(it).is_some()));
        for name in names {
            if !name.is_empty() && name != module && !allowed.contains(&name) {
                problems.push(format!(
                    "{}:{at}: `{module}` must not import `{name}` (see the order in \
                     daemon/src/lib.rs); take a value or a trait, and let run.rs connect them",
                    file.path
                ));
            }
        }
    }
    problems
}

// Dependencies.

/// The crates that a `Cargo.toml` names in sections whose header ends in `dependencies]`.
fn dependencies(manifest: &str) -> Vec<&str> {
    let mut inside = false;
    let mut found = Vec::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            inside = line.ends_with("dependencies]");
        } else if inside && !line.starts_with(['#', ' ']) && !line.is_empty() {
            found.push(line.split(['.', ' ', '=']).next().unwrap_or_default());
        }
    }
    found
}

/// The manifest of the crate that a file belongs to: the nearest one above it.
fn manifest_of<'a>(manifests: &'a [Source], file: &Source) -> &'a Source {
    let above = |it: &&Source| file.path.starts_with(it.path.trim_end_matches("Cargo.toml"));
    manifests.iter().filter(above).max_by_key(|it| it.path.len()).unwrap()
}

/// Dependencies of a crate that none of its `files` names.
fn unused<'a>(manifest: &'a str, files: &[&Source]) -> Vec<&'a str> {
    let is_used = |krate: &&str| {
        let name = match *krate {
            "md-5" => "md5".to_owned(),
            krate => krate.replace('-', "_"),
        };
        files.iter().flat_map(|it| it.code()).any(|(_, line)| {
            let mut places = line.match_indices(&name).map(|(at, _)| at);
            places.any(|at| starts_word(line, at) && name_at(&line[at..]) == name)
        })
    };
    dependencies(manifest).into_iter().filter(|it| !is_used(it)).collect()
}

// The documents.

/// Folders that `document` does not name, as `name/` or in backquotes.
fn unnamed<'a>(document: &str, folders: &[&'a str]) -> Vec<&'a str> {
    let named = |folder: &str| {
        let path = format!("{folder}/");
        document.contains(&format!("`{folder}`"))
            || document.match_indices(&path).any(|(at, _)| starts_word(document, at))
    };
    folders.iter().copied().filter(|it| !named(it)).collect()
}

#[test]
fn every_file_says_what_it_is_for() {
    check(opens_with_its_subject);
}

#[test]
fn files_are_short_and_clean() {
    check(looks);
}

#[test]
fn nothing_is_left_unfinished() {
    check(unfinished);
}

#[test]
fn environment_is_read_at_the_edge() {
    check(reads_environment);
}

#[test]
fn foreign_crates_stay_in_their_modules() {
    check(crosses_border);
}

#[test]
fn exceptions_are_needed() {
    let files = sources();
    let uses: Vec<_> = files
        .iter()
        .flat_map(|it| foreign_names(it).into_iter().map(move |use_| (it, use_)))
        .collect();
    let mut problems = Vec::new();
    for it in &EXCEPTIONS {
        let used = |name: Option<&str>| {
            uses.iter().any(|(file, (_, krate, found))| {
                it.covers(krate, &file.path, found) && name.is_none_or(|name| name == *found)
            })
        };
        let wanted: Vec<Option<&str>> = match it.names {
            [] => vec![None],
            names => names.iter().copied().map(Some).collect(),
        };
        for name in wanted.into_iter().filter(|name| !used(*name)) {
            problems.push(format!(
                "{} no longer uses `{}::{}`: remove it from EXCEPTIONS",
                it.path,
                it.krate,
                name.unwrap_or("*")
            ));
        }
    }
    report(problems);
}

#[test]
fn dependencies_point_one_way() {
    check(imports_against_direction);
}

#[test]
fn dependencies_are_used() {
    let (sources, manifests) = (sources(), files("/Cargo.toml"));
    let mut problems = Vec::new();
    for manifest in &manifests {
        let own: Vec<&Source> =
            sources.iter().filter(|it| manifest_of(&manifests, it).path == manifest.path).collect();
        for krate in unused(&manifest.text, &own) {
            problems.push(format!(
                "{}: no code names `{krate}`; remove it, here and from the workspace if nobody else \
                 needs it",
                manifest.path
            ));
        }
    }
    report(problems);
}

#[test]
fn architecture_names_every_folder() {
    let mut folders = Vec::new();
    for entry in fs::read_dir(top().join("daemon/src")).unwrap() {
        let entry = entry.unwrap();
        if entry.path().is_dir() {
            folders.push(entry.file_name().into_string().unwrap());
        }
    }
    let folders: Vec<&str> = folders.iter().map(String::as_str).collect();
    let document = fs::read_to_string(top().join("ARCHITECTURE.md")).unwrap();
    let missing = unnamed(&document, &folders);
    assert!(
        missing.is_empty(),
        "ARCHITECTURE.md does not name these folders of daemon/src: {}. Say what each one owns",
        missing.join(", ")
    );
}

/// The rules find what they are for.
mod rules {
    use super::{
        Source, crosses_border, imports_against_direction, looks, opens_with_its_subject,
        reads_environment, unfinished, unnamed, unused,
    };

    fn file(path: &str, text: &str) -> Source {
        Source { path: path.to_owned(), text: text.to_owned() }
    }

    #[test]
    fn a_file_without_a_subject() {
        assert_eq!(opens_with_its_subject(&file("daemon/src/x.rs", "use std::fs;\n")).len(), 1);
        assert!(opens_with_its_subject(&file("daemon/src/x.rs", "//! It.\n")).is_empty());
    }

    #[test]
    fn tabs_spaces_and_length() {
        assert_eq!(looks(&file("x.rs", "\tfn x() {}\n")).len(), 1);
        assert_eq!(looks(&file("x.rs", "fn x() {} \n")).len(), 1);
        assert_eq!(looks(&file("x.rs", &"\n".repeat(901))).len(), 1);
        assert!(looks(&file("x.rs", &"\n".repeat(900))).is_empty());
    }

    #[test]
    fn unfinished_code() {
        assert_eq!(unfinished(&file("x.rs", concat!("to", "do!()"))).len(), 1);
        assert_eq!(unfinished(&file("x.rs", concat!("unimple", "mented!()"))).len(), 1);
        assert_eq!(unfinished(&file("x.rs", concat!("#[", "ignore]"))).len(), 1);
        assert!(unfinished(&file("x.rs", concat!("#[", "ignore = \"slow\"]"))).is_empty());
    }

    #[test]
    fn a_look_at_the_environment() {
        let text = "let it = std::env::var_os(\"HOME\");";
        assert_eq!(reads_environment(&file("daemon/src/store/mod.rs", text)).len(), 1);
        assert!(reads_environment(&file("daemon/src/cli/mod.rs", text)).is_empty());
        let text = "let here = env::current_dir();";
        assert_eq!(reads_environment(&file("daemon/src/run.rs", text)).len(), 1);
    }

    #[test]
    fn a_foreign_crate_elsewhere() {
        // Named apart from the colons, so that this file passes.
        let krate = "redb";
        let uses = |krate: &str, name: &str| format!("use {krate}::{name};\n");
        let found = |path: &str, text: &str| crosses_border(&file(path, text)).len();
        assert_eq!(found("daemon/src/engine/mod.rs", &uses(krate, "Database")), 1);
        assert_eq!(found("daemon/src/engine/mod.rs", &format!("use {krate};\n")), 1);
        assert_eq!(found("daemon/src/engine/mod.rs", &format!("// {krate}::Database\n")), 0);
        assert_eq!(found("daemon/src/store/mod.rs", &uses(krate, "Database")), 0);
        // An exception is for the names in it only.
        assert_eq!(found("daemon/src/run.rs", &uses("actix", "System")), 0);
        assert_eq!(found("daemon/src/run.rs", &uses("actix", "Arbiter")), 1);
        assert_eq!(found("daemon/src/run.rs", &uses("actix", "{System, Arbiter}")), 1);
        // Not the end of another name.
        assert_eq!(found("daemon/src/engine/mod.rs", &uses("my_tar", "Archive")), 0);
    }

    #[test]
    fn an_import_the_wrong_way() {
        let found = |path: &str, text: &str| imports_against_direction(&file(path, text)).len();
        assert_eq!(found("daemon/src/store/runs.rs", "use crate::engine::Intake;"), 1);
        assert_eq!(found("daemon/src/lifecycle/run.rs", "use crate::clock::Clock;"), 1);
        assert_eq!(found("daemon/src/plugins/mod.rs", "use crate::functions::Pool;"), 1);
        assert_eq!(found("daemon/src/plugins/mod.rs", "use super::functions::Pool;"), 1);
        assert_eq!(found("daemon/src/plugins/pool.rs", "use super::super::functions::Pool;"), 1);
        assert_eq!(found("daemon/src/plugins/pool.rs", "use super::report::Report;"), 0);
        assert_eq!(found("daemon/src/api/runs.rs", "use crate::cli::main;"), 1);
        assert_eq!(found("daemon/src/api/runs.rs", "use crate::engine::Intake;"), 0);
        assert_eq!(found("daemon/src/api/runs.rs", "use crate::{cli, run};"), 1);
        assert_eq!(found("daemon/src/novel/mod.rs", ""), 1);
    }

    #[test]
    fn a_dependency_that_nothing_uses() {
        let manifest = "[package]\nname = \"x\"\n\n[dependencies]\nsome-crate.workspace = true\n\
                        # why\nother = \"1\"\n\n[dev-dependencies]\nthird = { path = \"t\" }\n\n\
                        [lints]\nworkspace = true\n";
        let code = file("x/src/lib.rs", "use some_crate::It;\n// other\nfn another() {}\n");
        assert_eq!(unused(manifest, &[&code]), ["other", "third"]);
    }

    #[test]
    fn a_folder_without_a_description() {
        let document = "`store/` keeps, `api` answers, myengine/ is another";
        assert_eq!(unnamed(document, &["store", "api", "engine"]), ["engine"]);
    }
}
