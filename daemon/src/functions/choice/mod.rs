//! What runs a function: what its manifest says, or, for `auto`, what its package needs. Pure.
//!
//! Owns the decision and the words for it. Must never look at a disk or run anything: everything that
//! counts is in [`Facts`].

mod facts;
mod imports;
#[cfg(test)]
mod tests;

pub use facts::{Facts, Startable, can_be_started};

use crate::model::manifest::{ChosenRuntime, Function, Runtime};

/// What of a function's code the embedded engine cannot give it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lack {
    /// A module of Node.js.
    Module {
        /// The file that wants it.
        file: String,
        /// Its name, without `node:`.
        name: String,
    },
    /// A package that package.json names and the archive does not hold.
    Package {
        /// The file that wants it.
        file: String,
        /// Its name.
        name: String,
    },
    /// Code that is no JavaScript.
    Native {
        /// The file that wants it.
        file: String,
        /// What it wants.
        name: String,
    },
}

impl std::fmt::Display for Lack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Lack::Module { file, name } => {
                write!(f, "{file} uses `node:{name}`, which only Node.js has")
            }
            Lack::Package { file, name } => {
                write!(f, "{file} uses the package `{name}`, which has to be installed from npm")
            }
            Lack::Native { file, name } => write!(f, "{file} uses `{name}`, which is native code"),
        }
    }
}

/// What was chosen for a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// What runs it, and why.
    pub chosen: ChosenRuntime,
    /// What is questionable about that.
    pub warnings: Vec<Wrong>,
}

/// What is wrong with a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// The key of the function that it is about.
    pub key: &'static str,
    /// What, and what to do.
    pub message: String,
    /// What would be right, when that can be listed.
    pub allowed: Vec<String>,
}

const RUNTIME: &str = "runtime";
const ENTRY_POINT: &str = "entry_point";
const NAME: &str = "name";
const MAX_RETRIES: &str = "config.runtime.max_retries";
const SYNCHRONIZATION: &str = "supports_synchronization";
const AS_WRITTEN: &str = "the manifest says so";

const INSTALL_NODE: &str = "install Node.js on the daemon's host (18 or later, such as `apt install \
                            nodejs npm`)";

/// Chooses what runs a function.
pub fn choose(function: &Function, facts: &Facts) -> Result<Choice, Wrong> {
    match function.runtime {
        Runtime::Auto => automatic(function, facts),
        Runtime::Quickjs => quickjs(function, facts),
        Runtime::Node => node(function, facts),
        Runtime::Process => process(function, facts),
        Runtime::Remote if facts.has_testing_url => Ok(remote(function, AS_WRITTEN, Vec::new())),
        Runtime::Remote => {
            let message = format!(
                "{} asks for remote, but there is no testing URL that its events could be posted to: \
                 give one with the version (`testing_url`, or `mortise version create --testing-url \
                 URL`)",
                named(function)
            );
            Err(wrong(RUNTIME, message))
        }
    }
}

fn automatic(function: &Function, facts: &Facts) -> Result<Choice, Wrong> {
    let mut warnings = Vec::new();
    if !facts.has_files {
        if facts.has_testing_url {
            return Ok(remote(function, "there is a testing URL and no archive", warnings));
        }
        needs_files(function, facts, NAME)?;
    }
    if let Some(entry_point) = &function.entry_point {
        match facts.startable(entry_point) {
            Startable::Yes(path) => {
                let why = format!("its entry_point {path} is an executable of the archive");
                return Ok(chosen(Runtime::Process, &why, Some(path)));
            }
            Startable::No(path) => warnings.push(wrong(
                ENTRY_POINT,
                format!(
                    "{} names {path}, which is not executable, so it does not count: only the \
                     runtime process starts one",
                    named(function)
                ),
            )),
            Startable::NotThere => warnings.push(wrong(
                ENTRY_POINT,
                format!(
                    "{} names `{entry_point}`, which is not in the archive, so it does not count",
                    named(function)
                ),
            )),
        }
    }
    if !facts.has_code && facts.has_testing_url {
        let why = "there is a testing URL, and no JavaScript or TypeScript in the archive";
        return Ok(remote(function, why, warnings));
    }
    let Some(lack) = facts.lack(&function.name) else {
        let why = "the embedded engine has everything that its code imports";
        return Ok(Choice { warnings, ..chosen(Runtime::Quickjs, why, None) });
    };
    match (facts.has_node, lack) {
        (true, _) => {
            let why = lack.to_string();
            let choice = chosen(Runtime::Node, &why, facts.node_main.clone());
            Ok(Choice { warnings, ..choice })
        }
        // What it needs cannot be there.
        (false, Lack::Package { .. } | Lack::Native { .. }) => {
            let message = format!(
                "{} needs Node.js ({lack}), which is not here: {INSTALL_NODE}, or put what it needs \
                 into the archive as JavaScript (a bundler does that)",
                named(function)
            );
            Err(wrong(NAME, message))
        }
        // It may get by without: many ask for such a module and go on when it is not there.
        (false, Lack::Module { .. }) => {
            let message = format!(
                "{} runs in the embedded engine, because there is no Node.js here, but {lack}; if \
                 it fails for that, {INSTALL_NODE} and create the version again",
                named(function)
            );
            warnings.push(wrong(NAME, message));
            let why = format!("there is no Node.js here, although {lack}");
            Ok(Choice { warnings, ..chosen(Runtime::Quickjs, &why, None) })
        }
    }
}

/// Automations end when their events are handed over: what they ask for beyond that is not done.
fn remote(function: &Function, why: &str, mut warnings: Vec<Wrong>) -> Choice {
    let retries = function.retry.max_retries.is_some_and(|it| it > 0);
    for (is_asked, key, what) in [
        (retries, MAX_RETRIES, "`max_retries`"),
        (function.supports_synchronization, SYNCHRONIZATION, "`supports_synchronization`"),
    ] {
        if !is_asked {
            continue;
        }
        let message = format!(
            "{} runs at the testing URL: events of automations are handed over to the server and have \
             succeeded then, so {what} has no effect for them; the server has to see to it",
            named(function)
        );
        warnings.push(wrong(key, message));
    }
    Choice { warnings, ..chosen(Runtime::Remote, why, None) }
}

fn quickjs(function: &Function, facts: &Facts) -> Result<Choice, Wrong> {
    needs_files(function, facts, RUNTIME)?;
    let mut choice = chosen(Runtime::Quickjs, AS_WRITTEN, None);
    if let Some(lack) = facts.lack(&function.name) {
        let message = format!(
            "{} asks for quickjs, but {lack}: it fails when it gets there; `runtime: node` has it",
            named(function)
        );
        choice.warnings.push(wrong(RUNTIME, message));
    }
    Ok(choice)
}

fn node(function: &Function, facts: &Facts) -> Result<Choice, Wrong> {
    needs_files(function, facts, RUNTIME)?;
    if !facts.has_node {
        let message = format!(
            "{} asks for node, but there is no Node.js here: {INSTALL_NODE}, or take another runtime",
            named(function)
        );
        return Err(wrong(RUNTIME, message));
    }
    let main = facts.node_main.clone();
    if main.is_none() {
        let message = format!(
            "{} asks for node, but the archive has no main module: name it with `main` in \
             package.json, or call it dist/index.js, index.js or src/index.ts",
            named(function)
        );
        return Err(wrong(RUNTIME, message));
    }
    Ok(chosen(Runtime::Node, AS_WRITTEN, main))
}

fn process(function: &Function, facts: &Facts) -> Result<Choice, Wrong> {
    needs_files(function, facts, RUNTIME)?;
    let refuse = |key, message| Err(Wrong { allowed: facts.executables(), ..wrong(key, message) });
    let Some(entry_point) = &function.entry_point else {
        let message = format!(
            "{} asks for process, but has no `entry_point`: name the file of the archive that is to \
             be started",
            named(function)
        );
        return refuse(RUNTIME, message);
    };
    match facts.startable(entry_point) {
        Startable::Yes(path) => Ok(chosen(Runtime::Process, AS_WRITTEN, Some(path))),
        Startable::No(path) => {
            let message = format!(
                "{} cannot start {path}: it has no executable bit, and neither begins with `#!` nor \
                 is a program; `chmod +x` it before it is packed",
                named(function)
            );
            refuse(ENTRY_POINT, message)
        }
        Startable::NotThere => {
            let function = named(function);
            let message = format!("{function} names `{entry_point}`, which is not in the archive");
            refuse(ENTRY_POINT, message)
        }
    }
}

fn needs_files(function: &Function, facts: &Facts, key: &'static str) -> Result<(), Wrong> {
    if facts.has_files {
        return Ok(());
    }
    let or_url = if key == NAME { ", or a testing URL" } else { "" };
    let message = format!(
        "the manifest declares {}, but no files were given: send the archive with its code{or_url}",
        named(function),
    );
    Err(wrong(key, message))
}

fn named(function: &Function) -> String {
    format!("function `{}`", function.name)
}

fn wrong(key: &'static str, message: String) -> Wrong {
    Wrong { key, message, allowed: Vec::new() }
}

fn chosen(runtime: Runtime, why: &str, entry: Option<String>) -> Choice {
    Choice { chosen: ChosenRuntime { runtime, why: why.to_owned(), entry }, warnings: Vec::new() }
}
