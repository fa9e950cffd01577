//! Tables of packages, and what is chosen for them.

use super::*;
use crate::functions::code;
use crate::functions::packages::PackageFile;

fn file(path: &str, text: &str) -> PackageFile {
    PackageFile { path: path.to_owned(), bytes: text.into(), executable: path.starts_with("bin/") }
}

fn function(runtime: Runtime, entry_point: Option<&str>) -> Function {
    let entry_point = entry_point.map(str::to_owned);
    Function { name: "work".to_owned(), runtime, entry_point, ..Function::default() }
}

fn facts(files: &[(&str, &str)]) -> Facts {
    let files: Vec<PackageFile> = files.iter().map(|(path, text)| file(path, text)).collect();
    let facts = Facts { has_node: true, ..Facts::of(&files) };
    let files = files.into_iter().map(|it| (it.path, it.bytes)).collect();
    match code::prepare(files) {
        Ok(code) => {
            let main = code.main().map(str::to_owned);
            Facts { node_main: main, ..facts.with_code(&code, ["work"].into_iter()) }
        }
        Err(_) => facts,
    }
}

const PLAIN: (&str, &str) = ("index.js", "exports.functionFactory = {}; require('node:path')");
const TOOL: (&str, &str) = ("bin/tool", "anything");
const AXIOS: (&str, &str) = ("package.json", r#"{"dependencies":{"axios":"1","@a/b":"1"}}"#);

/// Runtime, and a part of why; or the key that is wrong, and a part of what is said.
type Expected = Result<(Runtime, &'static str), (&'static str, &'static str)>;

fn check(case: &str, function: Function, facts: &Facts, expected: Expected) {
    match (choose(&function, facts), expected) {
        (Ok(choice), Ok((runtime, why))) => {
            assert_eq!(choice.chosen.runtime, runtime, "{case}: {choice:?}");
            assert!(choice.chosen.why.contains(why), "{case}: {choice:?}");
        }
        (Err(wrong), Err((key, what))) => {
            assert_eq!(wrong.key, key, "{case}: {wrong:?}");
            assert!(wrong.message.contains(what), "{case}: {wrong:?}");
            assert!(wrong.message.contains("function `work`"), "{case}: {wrong:?}");
        }
        (found, expected) => panic!("{case}: {found:?} is not {expected:?}"),
    }
}

fn without_node(facts: Facts) -> Facts {
    Facts { has_node: false, ..facts }
}

fn with_url(facts: Facts) -> Facts {
    Facts { has_testing_url: true, ..facts }
}

fn uses(text: &str) -> Facts {
    facts(&[("index.js", text), AXIOS])
}

fn tools() -> Facts {
    facts(&[TOOL, ("run.sh", "#!/bin/sh"), ("notes.txt", "x")])
}

#[test]
fn auto_goes_by_what_the_package_needs() {
    use Runtime::{Node, Quickjs, Remote};
    let in_archive = |text| {
        facts(&[AXIOS, ("index.js", "require('axios')"), ("node_modules/axios/index.js", text)])
    };
    let types = "import { T } from 'axios'; export const a: T = 1;";
    let table: Vec<(&str, Facts, Expected)> = vec![
        ("plain code", facts(&[PLAIN]), Ok((Quickjs, "has everything"))),
        ("no Node.js", without_node(facts(&[PLAIN])), Ok((Quickjs, ""))),
        ("code beside a URL", with_url(facts(&[PLAIN])), Ok((Quickjs, ""))),
        ("only a URL", with_url(facts(&[])), Ok((Remote, "no archive"))),
        ("a URL and no code", with_url(tools()), Ok((Remote, "no JavaScript"))),
        ("nothing", facts(&[]), Err(("name", "no files were given"))),
        ("a package", uses("require('axios')"), Ok((Node, "index.js uses the package `axios`"))),
        ("a part of one", uses("import('@a/b/c')"), Ok((Node, "`@a/b`"))),
        ("one that is nowhere", uses("require('other')"), Ok((Quickjs, ""))),
        ("one that is not used", uses("1"), Ok((Quickjs, ""))),
        ("types alone", facts(&[AXIOS, ("index.ts", types)]), Ok((Quickjs, ""))),
        ("one in the archive", in_archive("1"), Ok((Quickjs, ""))),
        (
            "what that uses",
            in_archive("require('net')"),
            Ok((Node, "axios/index.js uses `node:net`")),
        ),
        ("a module of Node.js", uses("require('fs')"), Ok((Node, "`node:fs`"))),
        ("another one", uses("import x from 'node:http'"), Ok((Node, "`node:http`"))),
        ("a newer one", uses("import x from 'node:sea'"), Ok((Node, "`node:sea`"))),
        ("one that is here", uses("require('crypto')"), Ok((Quickjs, ""))),
        ("native code", uses("require('./x.node')"), Ok((Node, "native code"))),
        (
            "a package, no Node.js",
            without_node(uses("require('axios')")),
            Err(("name", "apt install nodejs")),
        ),
        (
            "a module, no Node.js",
            without_node(uses("require('fs')")),
            Ok((Quickjs, "no Node.js here")),
        ),
    ];
    for (case, facts, expected) in table {
        check(case, function(Runtime::Auto, None), &facts, expected);
    }
    let plain = facts(&[PLAIN]);
    let with = |entry| function(Runtime::Auto, Some(entry));
    check("an executable", with("bin/tool"), &tools(), Ok((Runtime::Process, "bin/tool")));
    check("no executable", with("index.js"), &plain, Ok((Quickjs, "")));
    check("not there", with("dist/index"), &plain, Ok((Quickjs, "")));
}

#[test]
fn a_named_runtime_works_or_says_what_to_do() {
    use Runtime::{Node, Process, Quickjs, Remote};
    let written = |runtime| Ok((runtime, "the manifest says so"));
    let table: Vec<(&str, Runtime, Facts, Expected)> = vec![
        ("quickjs", Quickjs, uses("require('fs')"), written(Quickjs)),
        ("no files", Quickjs, with_url(facts(&[])), Err(("runtime", "no files"))),
        ("node", Node, facts(&[PLAIN]), written(Node)),
        ("no Node.js", Node, without_node(facts(&[PLAIN])), Err(("runtime", "apt install nodejs"))),
        ("no main module", Node, tools(), Err(("runtime", "no main module"))),
        ("no files", Node, facts(&[]), Err(("runtime", "no files"))),
        ("no entry point", Process, tools(), Err(("runtime", "no `entry_point`"))),
        ("remote", Remote, with_url(facts(&[])), written(Remote)),
        ("no URL", Remote, facts(&[PLAIN]), Err(("runtime", "--testing-url"))),
    ];
    for (case, runtime, facts, expected) in table {
        check(case, function(runtime, None), &facts, expected);
    }
    let deep = facts(&[("code/bin/deep", "#!/bin/sh")]);
    let not_there = || Err(("entry_point", "not in the archive"));
    let table: Vec<(&str, Facts, Expected)> = vec![
        ("./bin/tool", tools(), written(Process)),
        ("run.sh", tools(), written(Process)),
        ("bin/deep", deep, written(Process)),
        ("bin/tol", tools(), not_there()),
        ("/bin/sh", tools(), not_there()),
        ("../bin/sh", tools(), not_there()),
        ("notes.txt", tools(), Err(("entry_point", "chmod +x"))),
    ];
    for (entry_point, facts, expected) in table {
        check(entry_point, function(Process, Some(entry_point)), &facts, expected);
    }
}

#[test]
fn what_starts_is_said() {
    let entry = |function, facts: &Facts| choose(&function, facts).map(|it| it.chosen.entry);
    let plain = facts(&[PLAIN]);
    let process = function(Runtime::Process, Some("./bin/tool"));
    assert_eq!(entry(process, &tools()), Ok(Some("bin/tool".to_owned())));
    assert_eq!(entry(function(Runtime::Node, None), &plain), Ok(Some("index.js".to_owned())));
    assert_eq!(entry(function(Runtime::Auto, None), &plain), Ok(None));
    let wrong = choose(&function(Runtime::Process, Some("tool")), &tools()).expect_err("not there");
    assert_eq!(wrong.allowed, ["bin/tool", "run.sh"]);
}

#[test]
fn what_is_questionable_is_said() {
    let warnings = |function, facts: &Facts| choose(&function, facts).expect("fine").warnings;
    let uses_fs = without_node(facts(&[("index.js", "require('fs')")]));
    assert!(warnings(function(Runtime::Quickjs, None), &uses_fs)[0].message.contains("node:fs"));
    let found = warnings(function(Runtime::Auto, None), &uses_fs);
    assert!(found[0].message.contains("no Node.js here"), "{found:?}");
    let found = warnings(function(Runtime::Auto, Some("x")), &facts(&[PLAIN]));
    assert_eq!(found[0].key, "entry_point");
    assert!(warnings(function(Runtime::Auto, None), &facts(&[PLAIN])).is_empty());
}

#[test]
fn what_has_no_effect_at_a_testing_url_is_said() {
    let url = with_url(Facts::default());
    let mut asks = function(Runtime::Remote, None);
    let choice = choose(&asks, &url).expect("chosen");
    assert_eq!(choice.warnings, []);
    asks.retry.max_retries = Some(3);
    asks.supports_synchronization = true;
    for runtime in [Runtime::Remote, Runtime::Auto] {
        let choice = choose(&Function { runtime, ..asks.clone() }, &url).expect("chosen");
        assert_eq!(choice.chosen.runtime, Runtime::Remote);
        let keys: Vec<_> = choice.warnings.iter().map(|it| it.key).collect();
        assert_eq!(keys, ["config.runtime.max_retries", "supports_synchronization"]);
        assert!(choice.warnings.iter().all(|it| it.message.contains("has no effect")));
    }
}
