//! What authors of snap-ins use: functions on fixtures without a daemon, a directory that is installed
//! at every save, and the template to begin with. The real program, and for the rest the real daemon.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use mortise_tests::client::{AtTerminal, Done, command, script};
use mortise_tests::daemon::{Daemon, Options, built};
use mortise_tests::eventually;
use mortise_tests::files::{Answer, FileServer, Held};
use mortise_tests::http::Connection;
use mortise_tests::needs::Need;
use mortise_tests::snap_in::{ECHO, Parts, SIGNED};
use rustix::process::Signal;
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);

const MANIFEST: &str = "
version: '2'
name: Sample of tests
service_account: {display_name: Sample}
inputs:
  organization:
    - {name: greeting, field_type: text, default_value: hello, description: It}
keyrings:
  organization:
    - {name: token, types: [snap_in_secret], description: It}
functions:
  - {name: give, description: Gives its event back}
  - {name: fail, description: Throws an error}
  - {name: text, description: Throws a text}
  - {name: again, description: Asks to be run again}
  - {name: call, description: Makes a request}
  - {name: spin, description: Never ends}
  - {name: hoard, description: Wants all memory}
  - {name: count, description: Counts its calls}
  - {name: absent, description: Is not in the code}
  - {name: other, description: Another runtime, runtime: process}
hooks:
  - {type: validate, function: give}
";

const CODE: &str = "
interface Event { payload: any; input_data: any; context: any }

let calls: number = 0;

function deep(n: number): never {
  // Lines that are not in what runs.
  throw new RangeError(`too deep: ${n}`);
}

export const functionFactory = {
  give: async ([event]: Event[]) => {
    console.warn('given', event.input_data.keyrings.token);
    return event;
  },
  fail: async ([event]: Event[]) => deep(event.payload.n as number),
  text: () => { throw 'a text'; },
  again: () => { throw Object.assign(new Error('later'), { retry: true, refresh: true }); },
  call: async ([event]: Event[]) => {
    const response = await fetch(event.payload.url);
    return { status: response.status, text: await response.text() };
  },
  spin: () => { for (;;); },
  hoard: () => { const all = []; for (;;) all.push(new Array(1000).fill(1)); },
  count: () => ++calls,
};
";

/// A package, and a folder for what is beside it.
struct Sample(tempfile::TempDir);

impl Sample {
    fn new() -> Sample {
        let sample = Sample(tempfile::tempdir().expect("/tmp"));
        fs::create_dir_all(sample.path().join("src")).expect("/tmp");
        fs::write(sample.path().join("manifest.yaml"), MANIFEST).expect("/tmp");
        fs::write(sample.path().join("package.json"), r#"{"main": "src/index.ts"}"#).expect("/tmp");
        fs::write(sample.path().join("src/index.ts"), CODE).expect("/tmp");
        sample
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("package")
    }

    /// Runs a function on what stands on the standard input.
    fn run(&self, function: &str, fixture: &str, more: &[&str]) -> Done {
        let path = self.path().display().to_string();
        let first = ["function", "run", function, "--fixture", "-", "--dir", &path];
        alone(&[&first, more].concat(), fixture)
    }
}

/// Runs the program where there is no daemon.
fn alone(arguments: &[&str], input: &str) -> Done {
    let mut child = Command::new(built("mortise"))
        .args(arguments)
        .env("MORTISE_SOCKET", "/nonexistent/mortise.sock")
        .env_remove("MORTISE_URL")
        .env_remove("MORTISE_TOKEN")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it was built");
    let mut stdin = child.stdin.take().expect("it is piped");
    // A command that reads nothing may have ended already.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = child.wait_with_output().expect("it is a child");
    Done {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

#[track_caller]
fn assert_says(done: &Done, code: i32, hints: &[&str]) {
    assert_eq!(done.code, code, "{done:#?}");
    for hint in hints {
        assert!(done.err.contains(hint), "{hint:?} in {}", done.err);
    }
}

#[test]
fn a_function_runs_on_a_fixture_without_a_daemon() {
    let sample = Sample::new();
    let fixture = r#"{"payload": {"n": 1}, "context": {"user_id": "usr_1"}, "more": true}"#;
    let path = sample.0.path().join("one.json");
    fs::write(&path, fixture).expect("/tmp");
    let (path, package) = (path.display().to_string(), sample.path().display().to_string());
    let done = alone(&["function", "run", "give", "--fixture", &path, "--dir", &package], "");
    assert_says(
        &done,
        0,
        &["warn  given", "filled: context.automation_id", "keyring token is not"],
    );
    let event = done.json();
    assert_eq!(event["payload"], json!({ "n": 1 }));
    assert_eq!((&event["context"]["user_id"], &event["more"]), (&json!("usr_1"), &json!(true)));
    assert_eq!(event["input_data"]["global_values"]["greeting"], "hello");
    assert_eq!(event["execution_metadata"]["function_name"], "give");

    // A list, the standard input, an archive, a secret, another value of an input.
    let archive = sample.0.path().join("package.tar");
    let packed =
        Command::new("tar").args(["-cf"]).arg(&archive).args(["-C", &package, "."]).status();
    assert!(packed.expect("tar is there").success());
    let secret = sample.0.path().join("secret");
    fs::write(&secret, "very-secret-text\n").expect("/tmp");
    let private = PermissionsExt::from_mode(0o600);
    fs::set_permissions(&secret, private).expect("it is ours");
    let done = alone(
        &[
            "function",
            "run",
            "give",
            "--fixture",
            "-",
            "--dir",
            &archive.display().to_string(),
            "--keyring",
            &format!("token=@{}", secret.display()),
            "--set",
            "greeting=hi",
        ],
        "[{}]",
    );
    assert_says(&done, 0, &["warn  given [secret]"]);
    let event = done.json();
    assert_eq!(event["input_data"]["global_values"]["greeting"], "hi");
    assert_eq!(event["input_data"]["keyrings"]["token"], "[secret]");

    // Every event of a list, a line each.
    let done = sample.run("count", "[{}, {}]", &["--repeat", "2"]);
    assert_says(&done, 0, &["4 runs: the first took"]);
    assert_eq!(done.out, "1\n2\n3\n4\n");
}

#[test]
fn failures_say_where_and_scripts_can_tell() {
    let sample = Sample::new();
    let done = sample.run("fail", r#"{"payload": {"n": 7}}"#, &[]);
    assert_says(&done, 1, &["RangeError: too deep: 7", "src/index.ts:8:", "src/index.ts:16:"]);
    assert_eq!(done.out, "");
    assert_says(&sample.run("text", "{}", &[]), 1, &["a text", "the function failed"]);
    let hint = "asks to be run again, with new keyrings";
    assert_says(&sample.run("again", "{}", &[]), 1, &["Error: later", hint]);
    assert_says(&sample.run("spin", "{}", &["--timeout", "1"]), 1, &["TimeoutError"]);
    assert_says(&sample.run("hoard", "{}", &["--memory", "16"]), 1, &["MemoryError"]);
    assert_says(&sample.run("absent", "{}", &[]), 1, &["the version has no function `absent`"]);

    assert_says(&sample.run("text", "{}", &["-v"]), 1, &["text runs in quickjs: the embedded"]);
    let done = sample.run("fail", "{}", &["--json"]);
    assert_eq!((done.code, done.err.lines().count()), (1, 1), "{done:?}");
    let answer = done.json();
    assert_eq!(answer["succeeded"], false);
    assert_eq!(answer["runs"][0]["error"]["kind"], "thrown");
    assert_eq!(answer["runs"][0]["error"]["name"], "RangeError");
    let answer = sample.run("give", "{}", &["--json"]).json();
    assert_eq!(answer["runs"][0]["logs"][0]["level"], "warn");
    assert!(answer["runs"][0]["filled"].as_array().is_some_and(|it| !it.is_empty()), "{answer}");
}

#[test]
fn what_is_wrong_before_it_runs_is_told_apart() {
    let sample = Sample::new();
    for (function, fixture, hint) in [
        ("giv", "{}", "did you mean `give`? (allowed: give, fail"),
        ("give", "[]", "the standard input: the list holds no event"),
        ("give", "{", "the standard input: it is no JSON"),
        ("give", "[1]", "[0]: an event is an object, and not a number"),
        ("give", r#"{"context": []}"#, "context: expected an object, and not a list"),
        ("other", "{}", "asks for process, but has no `entry_point`"),
    ] {
        assert_says(&sample.run(function, fixture, &[]), 2, &[hint]);
    }
    assert_says(&sample.run("give", "{}", &["--allow", "a b"]), 2, &["is no destination"]);
    let missing = ["function", "run", "give", "--fixture", "/nonexistent/x.json", "--dir"];
    let path = sample.path().display().to_string();
    assert_says(
        &alone(&[&missing, &[path.as_str()][..]].concat(), ""),
        2,
        &["/nonexistent/x.json"],
    );
    fs::write(sample.path().join("src/index.ts"), "export const a = (;\n").expect("/tmp");
    assert_says(&sample.run("give", "{}", &[]), 2, &["src/index.ts:1:19: error:"]);
    fs::write(sample.path().join("manifest.yaml"), "version: '2'\nfunctions: 7\n").expect("/tmp");
    assert_says(&sample.run("give", "{}", &[]), 2, &["manifest.yaml:2:12: error:"]);
    assert_says(&alone(&["function", "list", "--dir", "/nonexistent"], ""), 2, &["/nonexistent"]);
}

#[test]
fn requests_pass_the_guard_and_are_listed() {
    let sample = Sample::new();
    let server = FileServer::start();
    server.put("/x", Answer::bytes(b"from the server".to_vec()));
    let fixture = json!({ "payload": { "url": server.url("/x?secret=1") } }).to_string();
    assert_says(&sample.run("call", &fixture, &[]), 1, &["loopback"]);
    let done = sample.run("call", &fixture, &["--allow", "127.0.0.1", "--verbose"]);
    assert_says(&done, 0, &["request GET http://127.0.0.1:", ": 200 ("]);
    assert!(!done.err.contains("secret=1"), "{}", done.err);
    assert_eq!(done.json()["text"], "from the server");
    let offline = ["--allow", "127.0.0.1", "--offline", "--verbose"];
    assert_says(
        &sample.run("call", &fixture, &offline),
        1,
        &["every request is refused (--offline)"],
    );
    let to_daemon = json!({ "payload": { "url": "http://mortise.invalid/api/v1/x" } }).to_string();
    assert_says(&sample.run("call", &to_daemon, &[]), 1, &["there is no daemon behind this event"]);
}

/// A package of one function, whose manifest says `entry` of it.
fn package(entry: &str, files: &[(&str, &str)]) -> tempfile::TempDir {
    let manifest = format!(
        "version: '2'\nname: One\nservice_account: {{display_name: One}}\nfunctions:\n  - {{{entry}}}\n"
    );
    let directory = tempfile::tempdir().expect("/tmp");
    let manifest = ("manifest.yaml", manifest.as_str());
    for (path, text) in [&[manifest], files].concat() {
        let path = directory.path().join(path);
        fs::create_dir_all(path.parent().expect("it has one")).expect("/tmp");
        fs::write(path, text).expect("/tmp");
    }
    directory
}

fn run_in(directory: &Path, fixture: &str, more: &[&str]) -> Done {
    let path = directory.display().to_string();
    let first = ["function", "run", "one", "--fixture", "-", "--dir", &path];
    alone(&[&first, more].concat(), fixture)
}

#[test]
fn values_of_the_sdk_are_there_without_node_modules() {
    let code = "import { FunctionExecutionError, OperationErrorType } from '@mortise/snap-in-sdk';
const again = require('@mortise/snap-in-sdk');
export const one = () => {
  const same = again.FunctionExecutionError === FunctionExecutionError;
  const { RetryExecution } = OperationErrorType;
  throw new FunctionExecutionError(`${same} ${Object.keys(again)} ${RetryExecution}`, true, true);
};";
    let package_json = r#"{"main": "one.ts", "dependencies": {"@mortise/snap-in-sdk": "*"}}"#;
    let directory = package("name: one", &[("package.json", package_json), ("one.ts", code)]);
    let hints = [
        "one runs in quickjs",
        "FunctionExecutionError: true FunctionExecutionError,OperationErrorType 2",
        "run again, with new keyrings",
    ];
    assert_says(&run_in(directory.path(), "{}", &["-v"]), 1, &hints);

    // The package's own copy comes first.
    let code = "export const one = () => require('@mortise/snap-in-sdk').own;";
    let copy = "node_modules/@mortise/snap-in-sdk/index.js";
    let package_json = r#"{"main": "one.ts"}"#;
    let copied = (copy, "exports.own = 'its own';");
    let files = [("package.json", package_json), ("one.ts", code), copied];
    let directory = package("name: one", &files);
    let archive = directory.path().join("package.tar.gz");
    let done = Command::new("tar")
        .arg("-czf")
        .arg(&archive)
        .arg("-C")
        .arg(directory.path())
        .args(["manifest.yaml", "package.json", "one.ts", "node_modules"])
        .status();
    assert!(done.is_ok_and(|it| it.success()));
    assert_says(&run_in(&archive, "{}", &[]), 0, &[]);
    assert_eq!(run_in(&archive, "{}", &[]).json(), "its own");
}

#[test]
fn executables_run_without_a_daemon() {
    let script = "#!/bin/sh\necho said >&2\nread event\necho '{\"got\": 7}'\n";
    let entry = "name: one, entry_point: bin/one";
    let directory = package(entry, &[("bin/one", script)]);
    let done = run_in(directory.path(), "{}", &["-v"]);
    assert_says(&done, 0, &["one runs in process: its entry_point bin/one", "said"]);
    assert_eq!(done.json(), json!({ "got": 7 }));
}

#[test]
fn a_server_of_the_author_is_called() {
    let directory = package("name: one, runtime: remote", &[]);
    assert_says(&run_in(directory.path(), "{}", &[]), 2, &["there is no testing URL"]);
    let server = FileServer::start();
    server.put("/handle/sync", Answer::bytes(br#"{"function_result": {"n": 5}}"#.to_vec()));
    let url = server.url("");
    let done = run_in(directory.path(), r#"{"payload": {"a": 1}}"#, &["--testing-url", &url]);
    assert_says(&done, 0, &[]);
    assert_eq!(done.json(), json!({ "n": 5 }));
    let seen = server.take_seen();
    assert_eq!(seen[0].json()["payload"], json!({ "a": 1 }));
    let offline = ["--testing-url", &url, "--offline"];
    assert_says(&run_in(directory.path(), "{}", &offline), 1, &["every request is refused"]);
    let gone = ["--testing-url", "http://127.0.0.1:1"];
    assert_says(&run_in(directory.path(), "{}", &gone), 1, &["nobody answers at"]);
}

/// Where functions in `node` can be run.
fn has_node() -> bool {
    let has = ["/usr/bin/node", "/usr/local/bin/node"].iter().any(|it| Path::new(it).exists());
    if !has {
        Need::Node.is_missing("there is no Node.js here");
    }
    has
}

#[test]
fn packages_of_npm_are_those_of_the_author() {
    if !has_node() {
        return;
    }
    let code = "import left from 'left';
import right from 'right';
export const one = async ([event]: any[]) => {
  console.log(process.release.name);
  return [left(event.payload.n as number), right];
};";
    let package_json = r#"{"main": "one.ts", "dependencies": {"left": "1.0.0", "right": "1.0.0"}}"#;
    let directory = package(
        "name: one",
        &[
            ("package.json", package_json),
            ("one.ts", code),
            ("node_modules/left/index.js", "module.exports = (n) => n + 1;"),
        ],
    );
    // A package that is written beside this one.
    let beside = tempfile::tempdir().expect("/tmp");
    fs::write(beside.path().join("index.js"), "module.exports = 'right';").expect("/tmp");
    std::os::unix::fs::symlink(beside.path(), beside.path().join("itself")).expect("/tmp");
    let link = directory.path().join("node_modules/right");
    std::os::unix::fs::symlink(beside.path(), link).expect("/tmp");
    let done = run_in(directory.path(), r#"{"payload": {"n": 4}}"#, &["-v"]);
    let why = "one runs in node: one.ts uses the package";
    assert_says(&done, 0, &[why, "has to be installed from npm", "info  node"]);
    assert_eq!(done.json(), json!([5, "right"]));

    // Without them, and without a lock file by which npm could put them together.
    fs::remove_dir_all(directory.path().join("node_modules")).expect("/tmp");
    let hints = ["there is no package-lock.json beside it", "`npm install` in "];
    assert_says(&run_in(directory.path(), "{}", &[]), 1, &hints);
}

#[test]
fn functions_are_listed_with_their_callers() {
    let sample = Sample::new();
    let path = sample.path().display().to_string();
    let done = alone(&["function", "list", "--dir", &path], "");
    assert_says(&done, 0, &[]);
    let line = done.out.lines().find(|it| it.starts_with("give")).unwrap_or_default();
    assert!(line.contains("hook validate") && line.contains("Gives its event back"), "{line}");
    let answer = alone(&["function", "list", "--dir", &path, "--json"], "").json();
    assert_eq!(answer["functions"][0]["called_by"], json!(["hook validate"]));
}

#[test]
fn the_templates_work_at_once() {
    let directory = tempfile::tempdir().expect("/tmp");
    for (name, more) in [("plain", None), ("typed", Some("--typescript"))] {
        let path = directory.path().join(name).display().to_string();
        let arguments: Vec<&str> =
            ["version", "init", path.as_str()].into_iter().chain(more).collect();
        assert_says(&alone(&arguments, ""), 0, &[]);
        assert_says(&alone(&arguments, ""), 1, &["manifest.yaml", "nothing was written"]);
        assert_says(&alone(&["version", "validate", &path], ""), 0, &[]);
        // npm would look for the SDK in a registry that does not have it.
        let package = fs::read_to_string(format!("{path}/package.json")).expect("it was written");
        assert!(!package.contains("snap-in-sdk"), "{package}");
        let fixture = format!("{path}/fixtures/event.json");
        let run = ["function", "run", "greet", "--dir", &path, "--fixture", &fixture];
        let done = alone(&run, "");
        assert_says(&done, 0, &["saying: hello, world"]);
        assert_eq!(done.json(), json!({ "said": "hello, world" }));
    }
}

/// `version dev` with what it printed.
struct Session {
    child: Child,
    log: PathBuf,
}

impl Session {
    fn start(daemon: &Daemon, directory: &Path, more: &[&str]) -> Session {
        let log = daemon.directory().join("dev.log");
        let out = File::create(&log).expect("/tmp");
        let path = directory.display().to_string();
        let mut command = command(daemon, &["version", "dev", &path, "--json"]);
        let (stdin, err) = (Stdio::null(), out.try_clone().expect("descriptors are left"));
        command.args(more).env("USER", "Ada L").stdin(stdin).stdout(out).stderr(err);
        Session { child: command.spawn().expect("it was built"), log }
    }

    fn lines(&self) -> Vec<Value> {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        // The last one may be half written.
        text.lines().filter_map(|it| serde_json::from_str(it).ok()).collect()
    }

    /// Waits for a line after the first `skip`; answers it and how many lines there are up to it.
    #[track_caller]
    fn wait_for(&self, what: &str, skip: usize, is_it: impl Fn(&Value) -> bool) -> (Value, usize) {
        let look = || {
            let lines = self.lines();
            let at = lines.iter().skip(skip).position(&is_it)? + skip;
            Some((lines[at].clone(), at + 1))
        };
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            if let Some(found) = look() {
                return found;
            }
            let said = fs::read_to_string(&self.log).unwrap_or_default();
            assert!(tokio::time::Instant::now() < deadline, "no {what} in\n{said}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn interrupt(mut self) -> (Option<i32>, Vec<Value>) {
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, Signal::INT).expect("it runs");
        let status = eventually("it ends", PATIENCE, || self.child.try_wait().expect("a child"));
        (status.code(), self.lines())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn is_kind(kind: &'static str) -> impl Fn(&Value) -> bool {
    move |it| it["kind"] == kind
}

/// Code that answers with a word of its own, and source of any type.
fn answering(word: &str) -> Parts {
    Parts::new(
        "Dev sample",
        SIGNED,
        &ECHO.replace("n: event.payload.n", &format!("word: '{word}'")),
    )
}

fn versions(daemon: &Daemon) -> usize {
    daemon.list_all("versions.list", "versions", &json!({})).len()
}

#[test]
fn a_directory_is_installed_again_at_every_save() {
    let daemon = Daemon::start();
    let directory = tempfile::tempdir().expect("/tmp");
    let write = |parts: &Parts| parts.write_to(directory.path());
    write(&answering("first"));
    let session = Session::start(&daemon, directory.path(), &[]);
    let (source, _) = session.wait_for("source", 0, is_kind("source"));
    let (version, at) = session.wait_for("version", 0, is_kind("version"));
    assert_eq!(version["scope"], "dev/ada-l/dev-sample");
    assert_eq!(version["state"], "ACTIVE");
    session.wait_for("watching", at, is_kind("watching"));
    let word = || {
        let parameters = json!({
            "snap_in": "dev/ada-l/dev-sample", "function": "work", "payload": { "n": 1 },
        });
        daemon.call("functions.call", &parameters)["result"]["word"].clone()
    };
    assert_eq!(word(), "first");

    // An event with its run, as they come.
    let source = json!({
        "id": source["id"], "event_type": "custom:tick", "payload": { "n": 5 },
    });
    daemon.call("event-sources.publish", &source);
    let (event, _) = session.wait_for("event", at, is_kind("event"));
    assert_eq!(event["event"]["type"], "custom:tick");
    let is_of_event = |it: &Value| it["kind"] == "run" && it["run"]["event"].is_string();
    let (run, at) = session.wait_for("run", at, is_of_event);
    assert_eq!(run["run"]["state"], "succeeded");
    assert_eq!(run["run"]["result"], json!({ "word": "first" }));
    assert_eq!(run["logs"][0]["message"], "number 5");

    // A save, by a rename as editors do it.
    write(&answering("second"));
    let (_, at) = session.wait_for("second version", at, is_kind("version"));
    assert_eq!(word(), "second");

    // A broken one, half written, changes nothing; every problem has its place.
    let main = directory.path().join("src/work.ts");
    let whole = fs::read_to_string(&main).expect("it was written");
    fs::write(&main, &whole[..whole.len() / 2]).expect("/tmp");
    let before = versions(&daemon);
    let (problems, at) = session.wait_for("problems", at, is_kind("problems"));
    assert_eq!(problems["valid"], false);
    assert!(problems["problems"][0]["line"].as_u64().is_some_and(|it| it > 0), "{problems}");
    assert_eq!((word(), versions(&daemon)), (json!("second"), before));

    // Mended: by a file beside it that takes its place.
    let beside = main.with_extension("new~");
    fs::write(&beside, whole.replace("second", "third")).expect("/tmp");
    fs::rename(&beside, &main).expect("/tmp");
    let (_, at) = session.wait_for("third version", at, is_kind("version"));
    assert_eq!(word(), "third");

    // Versions that nothing uses do not pile up.
    write(&answering("fourth"));
    session.wait_for("fourth version", at, is_kind("version"));
    eventually("old versions are deleted", PATIENCE, || (versions(&daemon) <= 2).then_some(()));
    assert_eq!(word(), "fourth");

    let (code, lines) = session.interrupt();
    assert_eq!(code, Some(0));
    assert!(lines.iter().all(|it| it["kind"] != "trouble"), "{lines:?}");
    assert_eq!(word(), "fourth");
}

#[test]
fn lines_are_shown_as_they_come_and_a_server_may_have_the_functions() {
    let held = Held::start();
    let settings = format!("[egress]\nallow = [\"{}\"]\n", held.address());
    let daemon = Daemon::start_with(Options { settings, ..Options::default() });
    let directory = tempfile::tempdir().expect("/tmp");
    let code = format!(
        "export const run = async () => {{
  console.log('begins');
  await fetch('http://{}/');
  console.log('goes on');
}};",
        held.address()
    );
    Parts::new("live", SIGNED, &code).write_to(directory.path());
    let manifest = directory.path().join("manifest.yaml");
    let text = fs::read_to_string(&manifest).expect("it was written");
    let text =
        text.replace("  - name: work\n", "  - {name: far, runtime: remote}\n  - name: work\n");
    fs::write(&manifest, text).expect("/tmp");
    let server = FileServer::start();
    server.put("/handle/sync", Answer::bytes(br#"{"function_result": "far"}"#.to_vec()));
    let session = Session::start(&daemon, directory.path(), &["--testing-url", &server.url("")]);
    let (source, at) = session.wait_for("source", 0, is_kind("source"));
    session.wait_for("watching", at, is_kind("watching"));
    let far = json!({ "snap_in": "dev/ada-l/live", "function": "far" });
    assert_eq!(daemon.call("functions.call", &far)["result"], "far");

    let event = json!({ "id": source["id"], "event_type": "custom:tick", "payload": {} });
    daemon.call("event-sources.publish", &event);
    let (log, at) = session.wait_for("lines", at, is_kind("log"));
    assert_eq!(log["logs"][0]["message"], "begins");
    held.release("ok");
    let has_ended = |it: &Value| it["kind"] == "run" && it["run"]["id"] == log["run"];
    let (run, _) = session.wait_for("run", at, has_ended);
    assert_eq!(run["run"]["state"], "succeeded");
    let lines = session.lines();
    let said = lines.iter().flat_map(|it| it["logs"].as_array().into_iter().flatten());
    let said: Vec<_> = said.map(|it| it["message"].as_str().unwrap_or_default()).collect();
    assert_eq!(said, ["begins", "goes on"]);
}

const NEEDS: &str = "
inputs:
  organization:
    - {name: level, description: How loud., field_type: text, is_required: true}
";

#[test]
fn what_is_missing_is_said_and_what_was_made_is_removed() {
    let daemon = Daemon::start();
    let directory = tempfile::tempdir().expect("/tmp");
    answering("first").with_sections(NEEDS).write_to(directory.path());
    let more = ["--remove", "--scope", "dev/me/needy", "--package", "needy"];
    let session = Session::start(&daemon, directory.path(), &more);
    let (held_up, at) = session.wait_for("what is missing", 0, is_kind("held_up"));
    assert_eq!(held_up["missing"][0]["name"], "level");
    assert_eq!(held_up["state"], "DRAFT");
    let values = json!({ "id": "dev/me/needy", "inputs_values": { "level": "high" } });
    daemon.call("snap-ins.update", &values);
    let is_active = |it: &Value| it["kind"] == "state" && it["state"] == "ACTIVE";
    let (_, at) = session.wait_for("ACTIVE", at, is_active);

    // A save that needs more than there is: it waits for that.
    let more = format!("{NEEDS}    - {{name: colour, field_type: text, is_required: true}}\n");
    answering("second").with_sections(&more).write_to(directory.path());
    let (held_up, at) = session.wait_for("what is missing", at, is_kind("held_up"));
    assert_eq!(held_up["missing"][0]["name"], "colour");
    let values = json!({ "id": "dev/me/needy", "inputs_values": { "colour": "red" } });
    daemon.call("snap-ins.update", &values);
    session.wait_for("ACTIVE", at, is_active);

    let (code, lines) = session.interrupt();
    assert_eq!(code, Some(0), "{lines:?}");
    assert_eq!(lines.last().map(|it| it["kind"].clone()), Some(json!("removed")), "{lines:?}");
    assert_eq!(daemon.call("packages.list", &json!({}))["packages"], json!([]));
    daemon.refused("snap-ins.get", &json!({ "id": "dev/me/needy" }), 404);
}

#[test]
fn a_place_that_is_taken_and_other_mistakes_end_it() {
    let daemon = Daemon::start();
    let directory = tempfile::tempdir().expect("/tmp");
    daemon.install_at(&Parts::new("other", SIGNED, ECHO), "dev/me/taken");
    answering("first").write_to(directory.path());
    let path = directory.path().display().to_string();
    let dev = |more: &[&str]| script(&daemon, &[&["version", "dev", &path], more].concat(), "");
    assert_says(&dev(&["--scope", "dev/me/taken"]), 1, &["a snap-in of another package, other"]);
    assert_says(&dev(&["--scope", "nowhere"]), 2, &["nowhere"]);
    assert_says(&dev(&["--set", "volume=high"]), 2, &["volume"]);
    let nowhere = script(&daemon, &["version", "dev", "/nonexistent"], "");
    assert_says(&nowhere, 2, &["/nonexistent is no directory"]);
    assert_says(&alone(&["version", "dev", &path], ""), 3, &["is it running?"]);
    assert_eq!(versions(&daemon), 1);
}

/// With a hook that runs `code` when the snap-in goes out of service, or into it.
fn hooked(hook: &str, code: &str) -> Parts {
    let sections = format!("hooks:\n  - {{type: {hook}, function: pass}}\n");
    Parts::new("live", SIGNED, ECHO).with_function("pass", code).with_sections(&sections)
}

#[test]
fn what_is_in_use_is_not_touched_unless_asked_and_never_forced() {
    let daemon = Daemon::start();
    let directory = tempfile::tempdir().expect("/tmp");
    let parts = hooked("deactivate", "const run = async () => { throw new Error('not now'); };");
    let installed = daemon.install_at(&parts, "prod/team/live");
    daemon.step("activate", &installed.id, "ACTIVE");
    let state = || {
        let answer = daemon.call("snap-ins.get", &json!({ "id": installed.id }));
        (answer["snap_in"]["state"].clone(), answer["snap_in"]["version"].clone())
    };
    let before = state();
    parts.with_sections(NEEDS).write_to(directory.path());
    let path = directory.path().display().to_string();
    let first = ["version", "dev", &path, "--scope", "prod/team/live"];
    let done = script(&daemon, &first, "");
    assert_says(&done, 1, &["prod/team/live is there already, ACTIVE", "--take-over", "dev/"]);
    assert_eq!((state(), versions(&daemon)), (before.clone(), 1));

    // With consent: said, and what holds it up is not overruled.
    let done = script(&daemon, &[&first[..], &["--take-over"]].concat(), "");
    assert_says(&done, 1, &["stays at the version it has", "not now", "--force"]);
    assert!(done.out.contains("goes out of service: version 2 needs\n  input level"), "{done:?}");
    assert_eq!((state(), versions(&daemon)), ((json!("ERROR"), before.1), 1));
}

const CHECKED: &str = "
keyring_types:
  - id: checked
    name: Checked
    kind: secret
    secret_config:
      secret_transform: .token
      fields: [{id: token, name: Token, description: The token.}]
      token_verification: {url: 'URL', method: GET, headers: {x-token: '[API_KEY]'}}
keyrings:
  organization:
    - {name: token, types: [checked], description: It.}
";

#[test]
fn the_first_hooks_are_shown_and_keyrings_are_tried_again() {
    let server = FileServer::start();
    server.put("/who", Answer { status: 401, ..Answer::bytes(Vec::new()) });
    let settings =
        format!("[egress]\nallow = [\"{}\"]\n", server.url("").trim_start_matches("http://"));
    let daemon = Daemon::start_with(Options { settings, ..Options::default() });
    let directory = tempfile::tempdir().expect("/tmp");
    let write = |word: &str| {
        hooked("activate", &format!("const run = async () => {{ console.log('{word}'); }};"))
            .with_sections(&CHECKED.replace("URL", &server.url("/who")))
            .write_to(directory.path());
    };
    write("first");
    let secret = daemon.directory().join("secret");
    fs::write(&secret, r#"{"token": "a-secret-text"}"#).expect("/tmp");
    fs::set_permissions(&secret, PermissionsExt::from_mode(0o600)).expect("/tmp");
    let given = format!("token=@{}", secret.display());
    let session = Session::start(&daemon, directory.path(), &["--keyring", &given]);
    let (trouble, at) = session.wait_for("refusal", 0, is_kind("trouble"));
    assert!(trouble["message"].as_str().is_some_and(|it| it.contains("token")), "{trouble}");
    // What was given is not gone: the next save sets it.
    server.put("/who", Answer::bytes(Vec::new()));
    write("entered");
    let is_active = |it: &Value| it["kind"] == "version" && it["state"] == "ACTIVE";
    session.wait_for("ACTIVE", at, is_active);
    let is_hook = |it: &Value| it["kind"] == "run" && it["run"]["hook"] == "activate";
    let (run, _) = session.wait_for("the first hook", at, is_hook);
    assert_eq!(run["logs"][0]["message"], "entered");
}

#[test]
fn what_a_refusal_leaves_is_removed_and_no_directory_is_walked_in_vain() {
    let directory = tempfile::tempdir().expect("/tmp");
    let path = directory.path().display().to_string();
    let dev = ["version", "dev", path.as_str(), "--remove", "--package", "new"];
    assert_says(&alone(&dev, ""), 2, &["has no manifest.yaml", "version init"]);

    // One that checks everything, and refuses the last step.
    let parts = answering("first");
    parts.write_to(directory.path());
    let daemon = FileServer::start();
    let answer = |call: &str, status: u16, body: Value| {
        let body = Answer { status, ..Answer::bytes(body.to_string().into_bytes()) };
        daemon.put(&format!("/api/v1/{call}"), body);
    };
    let refusal = |code: &str| json!({ "code": code, "message": "it is not so" });
    answer("versions.validate", 200, json!({ "valid": true, "manifest": parts.manifest() }));
    answer("snap-ins.get", 404, refusal("not_found"));
    answer("packages.get", 404, refusal("not_found"));
    answer("packages.create", 200, json!({}));
    answer("versions.create", 200, json!({ "version": { "id": "ver_1", "number": 1 } }));
    answer("snap-ins.create", 409, refusal("conflict"));
    answer("versions.delete", 200, json!({}));
    answer("packages.delete", 200, json!({}));
    let done = Command::new(built("mortise"))
        .args(dev)
        .env("MORTISE_URL", daemon.url(""))
        .env("MORTISE_TOKEN", "a-token")
        .output()
        .expect("it was built");
    let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert_eq!(done.status.code(), Some(1), "{out}{err}");
    assert!(err.contains("it is not so"), "{err}");
    assert!(out.contains("removed version ver_1, package new"), "{out}");
    let seen = daemon.take_seen();
    let last: Vec<_> = seen.iter().rev().take(2).map(|it| it.path.as_str()).collect();
    assert_eq!(last, ["/api/v1/packages.delete", "/api/v1/versions.delete"]);
}

#[test]
fn on_a_terminal_it_fits_and_a_request_is_seen() {
    let daemon = Daemon::start();
    let directory = tempfile::tempdir().expect("/tmp");
    let path = directory.path().join("hello").display().to_string();
    assert_says(&alone(&["version", "init", &path], ""), 0, &[]);
    let mut terminal = AtTerminal::start(command(&daemon, &["version", "dev", &path]));
    terminal.wait_for("watching");
    let shown = terminal.shown();
    let url = shown.split("/hooks/").nth(1).and_then(|it| it.split_whitespace().next());
    let url = format!("/hooks/{}", url.expect("a trigger URL"));
    let whom = "somebody with a very long name ".repeat(8);
    let body = json!({ "whom": whom }).to_string();
    let headers = [("content-type", "application/json")];
    let answer = Connection::tcp(daemon.address())
        .and_then(|mut it| it.send("POST", &url, &headers, body.as_bytes()))
        .expect("the daemon answers");
    assert_eq!(answer.status, 200, "{}", answer.text());
    terminal.wait_for("event custom:greeting from webhook");
    terminal.wait_for("greet succeeded");
    terminal.wait_for("= {\"said\":");
    terminal.signal(Signal::TERM);
    let (status, shown) = terminal.end();
    assert_eq!(status.code(), Some(0), "{shown}");
    // What a progress line showed is wiped by the terminal.
    let lines = shown.lines().map(|it| it.rsplit("\x1b[K").next().unwrap_or_default());
    let long: Vec<_> =
        lines.filter(|it| it.chars().count() > 80 && !it.contains("/hooks/")).collect();
    assert!(long.is_empty(), "{long:?}");
}
