//! Every crate that is built in has a licence that `deny.toml` allows, and comes from crates.io.
//!
//! cargo-deny checks the same and more; this runs where it is not installed. Only the parts of SPDX
//! expressions that crates use are read: `OR` (also as `/`), `AND`, `WITH` and brackets.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// What deny.toml allows.
struct Policy {
    allow: Vec<String>,
    /// Crates with further licences.
    exceptions: Vec<(String, Vec<String>)>,
    targets: Vec<String>,
}

impl Policy {
    fn read(text: &str) -> Policy {
        let document: toml::Table = text.parse().unwrap();
        let strings = |value: &toml::Value| -> Vec<String> {
            let items = value.as_array().unwrap().iter();
            items.map(|it| it.as_str().unwrap().to_owned()).collect()
        };
        let licenses = &document["licenses"];
        let exceptions = licenses["exceptions"].as_array().unwrap().iter();
        Policy {
            allow: strings(&licenses["allow"]),
            exceptions: exceptions
                .map(|it| (it["crate"].as_str().unwrap().to_owned(), strings(&it["allow"])))
                .collect(),
            targets: strings(&document["graph"]["targets"]),
        }
    }

    /// What is wrong with a crate of this name and licence.
    fn problem(&self, name: &str, licence: Option<&str>) -> Option<String> {
        let Some(licence) = licence else {
            return Some(format!("{name} says no licence: read its files, or use another crate"));
        };
        let allowed = |it: &str| {
            let listed = |list: &[String]| list.iter().any(|allowed| allowed == it);
            listed(&self.allow)
                || self.exceptions.iter().any(|(krate, list)| krate == name && listed(list))
        };
        match Expression::satisfied(licence, &allowed) {
            Some(true) => None,
            Some(false) => Some(format!(
                "{name} is under {licence}, which deny.toml does not allow: use another crate, or \
                 add an exception for it there with the reason"
            )),
            None => Some(format!("{name}: {licence:?} is no licence expression")),
        }
    }
}

/// What is left to read of an SPDX expression.
struct Expression<'a> {
    words: Vec<&'a str>,
    allowed: &'a dyn Fn(&str) -> bool,
}

impl Expression<'_> {
    /// Whether the licences that are `allowed` satisfy an expression; `None` if it is none.
    fn satisfied(text: &str, allowed: &dyn Fn(&str) -> bool) -> Option<bool> {
        // Old manifests write "MIT/Apache-2.0", which means OR.
        let spaced = text.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
        // Read from the end of the list, which is the start of the text.
        let words = spaced.split_whitespace().rev().collect();
        let mut expression = Expression { words, allowed };
        let answer = expression.any()?;
        expression.words.is_empty().then_some(answer)
    }

    fn take(&mut self, word: &str) -> bool {
        let found = self.words.last() == Some(&word);
        if found {
            self.words.pop();
        }
        found
    }

    fn any(&mut self) -> Option<bool> {
        let mut answer = self.all()?;
        while self.take("OR") {
            answer |= self.all()?;
        }
        Some(answer)
    }

    fn all(&mut self) -> Option<bool> {
        let mut answer = self.one()?;
        while self.take("AND") {
            answer &= self.one()?;
        }
        Some(answer)
    }

    fn one(&mut self) -> Option<bool> {
        if self.take("(") {
            let answer = self.any()?;
            return self.take(")").then_some(answer);
        }
        let name = self.name()?;
        if self.take("WITH") {
            let exception = self.name()?;
            return Some((self.allowed)(&format!("{name} WITH {exception}")));
        }
        Some((self.allowed)(&name))
    }

    fn name(&mut self) -> Option<String> {
        let word = self.words.pop()?;
        let is_name = !["(", ")", "OR", "AND", "WITH"].contains(&word);
        is_name.then(|| word.to_owned())
    }
}

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn policy() -> Policy {
    Policy::read(&std::fs::read_to_string(top().join("deny.toml")).unwrap())
}

/// What cargo knows about the crates that are built on the platforms of `policy`.
fn packages(policy: &Policy) -> Vec<Value> {
    // Without the network: what this platform needs is there, since this test was built.
    let mut command = Command::new(env!("CARGO"));
    command.args(["metadata", "--offline", "--locked", "--format-version", "1"]);
    for target in &policy.targets {
        command.args(["--filter-platform", target]);
    }
    let output = command.current_dir(top()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo metadata (run `cargo fetch --locked` first): {said}");
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    document["packages"].as_array().unwrap().clone()
}

#[test]
fn licences_are_allowed() {
    let policy = policy();
    let packages = packages(&policy);
    assert!(packages.len() > 100, "only {} crates: has cargo changed its answer?", packages.len());
    let problems: Vec<String> = packages
        .iter()
        .filter_map(|it| policy.problem(it["name"].as_str().unwrap(), it["license"].as_str()))
        .collect();
    assert!(problems.is_empty(), "\n{}\n", problems.join("\n"));
}

#[test]
fn crates_come_from_crates_io() {
    for package in packages(&policy()) {
        let (name, source) = (&package["name"], package["source"].as_str());
        assert!(
            source.is_none_or(|it| it == CRATES_IO),
            "{name} comes from {source:?}: use a version that is published on crates.io"
        );
    }
}

#[test]
fn exceptions_are_needed() {
    let policy = policy();
    let packages = packages(&policy);
    for (krate, _) in &policy.exceptions {
        assert!(
            packages.iter().any(|it| it["name"] == krate.as_str()),
            "{krate} is no longer used: remove its exception from deny.toml"
        );
    }
}

#[test]
fn expressions_are_understood() {
    let policy = Policy {
        allow: ["MIT", "ISC", "Apache-2.0 WITH LLVM-exception"].map(str::to_owned).into(),
        exceptions: vec![("arena".to_owned(), vec!["MPL-2.0".to_owned()])],
        targets: Vec::new(),
    };
    let fine = |name, licence| policy.problem(name, Some(licence)).is_none();
    for licence in [
        "MIT",
        "GPL-3.0 OR MIT",
        "GPL-3.0/MIT",
        "MIT AND ISC",
        "(GPL-3.0 OR MIT) AND ISC",
        "GPL-3.0 AND Zlib OR MIT",
        "Apache-2.0 WITH LLVM-exception",
    ] {
        assert!(fine("other", licence), "{licence}");
    }
    for licence in [
        "GPL-3.0",
        "Apache-2.0",
        "MIT AND GPL-3.0",
        "GPL-3.0 AND (MIT OR ISC)",
        "MPL-2.0",
        "mit",
        "",
        "MIT OR",
        "(MIT",
        "MIT ISC",
    ] {
        assert!(!fine("other", licence), "{licence}");
    }
    assert!(fine("arena", "MPL-2.0"));
    assert!(policy.problem("other", None).is_some());
}
