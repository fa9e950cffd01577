//! The client for people and for scripts: the real program against the real daemon, with pipes and at
//! a terminal.

use std::os::unix::fs::PermissionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use mortise_tests::client::{AtTerminal, Done, command, script};
use mortise_tests::daemon::{Daemon, Options, built, post_signed};
use mortise_tests::files::{Answer, FileServer};
use mortise_tests::snap_in::{ECHO, Parts, SIGNED, sign};
use rustix::process::Signal;
use serde_json::{Value, json};

const SECTIONS: &str = "
inputs:
  organization:
    - name: greeting
      description: What to say.
      field_type: text
      default_value: hello
      ui: {display_name: Greeting}
    - name: level
      description: How loud.
      field_type: enum
      allowed_values: [low, high]
      is_required: true
    - name: retries
      field_type: int
      lte: 9
keyrings:
  organization:
    - name: token
      display_name: The token
      description: From the settings page.
      types: [snap_in_secret]
";

const INSTRUCTIONS: &str = "display_name: Hook
      setup_instructions: |
        # Set it up

        Send to {{source.trigger_url}}
";

/// A directory with a snap-in that needs an input and a keyring.
struct Sample(tempfile::TempDir);

impl Sample {
    fn new() -> Sample {
        Sample::with(SECTIONS)
    }

    fn with(sections: &str) -> Sample {
        let sample = Sample(tempfile::tempdir().expect("/tmp"));
        sample.write(sections);
        sample
    }

    fn write(&self, sections: &str) {
        let parts = Parts::new("Greeter of tests", SIGNED, ECHO).with_sections(sections);
        parts.write_to(&self.path());
        let manifest = parts.manifest().replace("display_name: Hook\n", INSTRUCTIONS);
        self.file("greeter/manifest.yaml", &manifest, 0o644);
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("greeter")
    }

    fn shown(&self) -> String {
        self.path().display().to_string()
    }

    /// A file beside the directory.
    fn file(&self, name: &str, text: &str, mode: u32) -> String {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).expect("a temporary file");
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(&path, permissions).expect("it is ours");
        path.display().to_string()
    }
}

const SCOPE: &str = "default/default/greeter-of-tests";

/// Installs the sample with all that it needs.
fn install(daemon: &Daemon, sample: &Sample) -> Done {
    let path = sample.shown();
    script(
        daemon,
        &["snap-in", "install", &path, "--set", "level=low", "--keyring", "token=-"],
        "t1",
    )
}

#[track_caller]
fn assert_says(done: &Done, code: i32, hints: &[&str]) {
    assert_eq!(done.code, code, "{done:#?}");
    let said = format!("{}{}", done.out, done.err);
    for hint in hints {
        assert!(said.contains(hint), "{hint:?} in {said}");
    }
}

fn is_empty(daemon: &Daemon) -> bool {
    daemon.call("packages.list", &json!({}))["packages"] == json!([])
}

#[test]
fn a_script_is_told_everything_that_is_missing_before_anything_is_created() {
    let daemon = Daemon::start();
    let sample = Sample::new();
    let path = sample.shown();
    let done = script(&daemon, &["snap-in", "install", &path], "");
    let hints = [
        "input level (enum): How loud. (allowed: low, high); give it with --set level=VALUE",
        "keyring token: From the settings page.; give it with --keyring token=@FILE",
    ];
    assert_says(&done, 2, &hints);

    let wrong = ["--set", "level=middle", "--set", "retries=many", "--set", "nope=1"];
    let done = script(&daemon, &[&["snap-in", "install", &path], &wrong[..]].concat(), "");
    assert_says(&done, 2, &["level: ", "retries: ", "nope: "]);

    let done = script(&daemon, &["snap-in", "install", &path, "--keyring", "token=hush"], "");
    assert_says(&done, 2, &["standard input"]);
    assert!(!format!("{done:?}").contains("hush"));
    let done = script(&daemon, &["snap-in", "install", &path, "--keyring", "tokn=-"], "x");
    assert_says(&done, 2, &["keyring tokn: there is none (allowed: token)"]);
    assert!(is_empty(&daemon), "nothing was created");
}

#[test]
fn problems_are_shown_with_their_places() {
    let daemon = Daemon::start();
    let sample = Sample::with("hooks:\n  - {type: validate, function: nowhere}\n");
    std::fs::write(sample.path().join("src/work.ts"), "export const run = (;\n").expect("a file");
    let path = sample.shown();
    let done = script(&daemon, &["snap-in", "install", &path], "");
    let line = std::fs::read_to_string(sample.path().join("manifest.yaml")).expect("it is there");
    let line = line.lines().position(|it| it.contains("nowhere")).expect("it is there") + 1;
    let hints = [
        format!("{path}/manifest.yaml:{line}:"),
        format!("{path}/src/work.ts:1:"),
        "nothing was created".to_owned(),
    ];
    assert_says(&done, 1, &hints.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(is_empty(&daemon));

    // The same without a daemon.
    let validate = |more: &[&str]| {
        let output = Command::new(built("mortise"))
            .args(["version", "validate", &path])
            .args(more)
            .env("MORTISE_SOCKET", "/nonexistent")
            .output()
            .expect("it was built");
        (
            output.status.code(),
            String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned(),
        )
    };
    let (code, said) = validate(&[]);
    assert_eq!(code, Some(1), "{said}");
    for hint in [&hints[0], &hints[1], "the configs of event sources hook (flow-custom-webhook)"] {
        assert!(said.contains(hint), "{hint} in {said}");
    }
    sample.write("");
    let plugin = built("libflow_custom_webhook.so").display().to_string();
    let (code, said) = validate(&["--plugins", &plugin]);
    assert_eq!((code, said.contains("not checked")), (Some(0), false), "{said}");
    let manifest = std::fs::read_to_string(sample.path().join("manifest.yaml")).expect("a file");
    sample.file("greeter/manifest.yaml", &manifest.replace("} else = ", "} else = = "), 0o644);
    let (code, said) = validate(&["--plugins", &plugin, "--json"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("event_sources.organization[0].config.policy"), "{said}");
}

#[test]
fn a_script_installs_with_options_and_again_without_change() {
    let daemon = Daemon::start();
    let sample = Sample::new();
    let done = install(&daemon, &sample);
    assert_says(&done, 0, &["is ACTIVE", SCOPE, "Set it up", "/hooks/", "What next"]);
    assert!(!done.out.contains("{{source"), "rendered: {}", done.out);

    let again = install(&daemon, &sample);
    assert_says(&again, 0, &["is of this version (number 1) already; it is ACTIVE"]);
    assert!(!again.err.contains("changing"), "{again:?}");
    let path = sample.shown();
    let changed =
        script(&daemon, &["snap-in", "install", &path, "--set", "greeting=hi", "--json"], "");
    assert_says(&changed, 0, &["changing greeting"]);
    let answer = changed.json();
    assert_eq!(answer["created"], false);
    assert_eq!(answer["snap_in"]["inputs"][0]["value"], "hi", "{answer}");
    assert!(answer["event_sources"][0]["trigger_url"].is_string(), "{answer}");
    assert_eq!(
        daemon.call("versions.list", &json!({}))["versions"].as_array().map(Vec::len),
        Some(1)
    );

    sample.write(&SECTIONS.replace("How loud.", "How loud it is."));
    let other = install(&daemon, &sample);
    assert_says(&other, 1, &[&format!("mortise snap-in upgrade {SCOPE} {path}")]);
    let elsewhere = script(
        &daemon,
        &["snap-in", "install", &path, "--scope", "prod/team/greeter", "--no-activate", "--json"],
        "",
    );
    assert_says(&elsewhere, 0, &[]);
    assert_eq!(elsewhere.json()["snap_in"]["state"], "DRAFT");
    assert_eq!(elsewhere.json()["snap_in"]["missing"].as_array().map(Vec::len), Some(2));
}

#[test]
fn a_file_of_values_holds_all_of_it_and_must_be_private() {
    let daemon = Daemon::start();
    let sample = Sample::new();
    let text = "inputs:\n  level: high\n  retries: 3\nkeyrings:\n  token: planted-secret\n";
    let values = sample.file("values.yaml", text, 0o644);
    let path = sample.shown();
    let arguments = ["snap-in", "install", &path, "--values", &values, "--yes"];
    let done = script(&daemon, &arguments, "");
    assert_says(&done, 1, &["can be read by every user of this host", "chmod o="]);
    assert!(is_empty(&daemon));
    sample.file("values.yaml", text, 0o600);
    let done = script(&daemon, &arguments, "");
    assert_says(&done, 0, &["is ACTIVE"]);
    let shown = script(&daemon, &["snap-in", "show", SCOPE], "");
    assert_says(&shown, 0, &["level     high", "token  ready", "→ work"]);
    for said in [&done, &shown] {
        assert!(!format!("{said:?}").contains("planted-secret"));
    }
    assert!(!daemon.log().contains("planted-secret"));
}

#[test]
fn a_person_is_asked_for_what_is_missing() {
    let daemon = Daemon::start();
    let sample = Sample::new();
    let path = sample.shown();
    let mut person = AtTerminal::start(command(&daemon, &["snap-in", "install", &path]));
    person.wait_for("Greeter of tests");
    person.wait_for("hook (flow-custom-webhook)");
    person.wait_for("Greeting (greeting, text, optional)");
    person.wait_for("What to say.");
    person.wait_for("[hello] > ");
    person.answer("");
    person.wait_for("level (level, enum, required)");
    person.wait_for("2) high");
    person.wait_for("  > ");
    person.answer("middle");
    person.wait_for("level: ");
    person.wait_for("allowed: low, high");
    person.answer("2");
    person.wait_for("retries (retries, int, optional)");
    person.wait_for("  > ");
    person.answer("10");
    person.wait_for("retries: ");
    person.answer("9");
    person.wait_for(&format!("Install it at {SCOPE}? [Y/n] "));
    person.answer("");
    person.wait_for("The token (token, keyring, required)");
    person.wait_for("(not shown) > ");
    person.answer_secretly("typed-secret");
    let (status, shown) = person.end();
    assert!(status.success(), "{shown}");
    assert!(shown.contains("is ACTIVE") && shown.contains("Set it up"), "{shown}");
    assert!(!shown.contains("typed-secret"), "{shown}");

    let found = daemon.call("snap-ins.get", &json!({ "id": SCOPE }));
    let inputs: Vec<&Value> = (0..3).map(|at| &found["snap_in"]["inputs"][at]["value"]).collect();
    assert_eq!(inputs, [&json!("hello"), &json!("high"), &json!(9)]);
    assert_eq!(found["snap_in"]["keyrings"][0]["state"], "ready");
}

#[test]
fn what_a_hook_refuses_stays_in_draft_with_a_way_on() {
    let daemon = Daemon::start();
    let sections = format!("{SECTIONS}hooks:\n  - {{type: validate, function: check}}\n");
    let sample = Sample::new();
    let check = "export const run = async (events) => {
      if (events[0].input_data.global_values.level === 'high') throw 'too loud for this house';
      return {};
    };";
    let parts = Parts::new("Greeter of tests", SIGNED, ECHO).with_sections(&sections);
    parts.with_function("check", check).write_to(&sample.path());
    let path = sample.shown();
    let arguments = ["snap-in", "install", &path, "--set", "level=high", "--keyring", "token=-"];
    let done = script(&daemon, &arguments, "t1");
    let hints = ["too loud for this house", "its log: mortise run logs run_", "is in DRAFT now"];
    assert_says(&done, 1, &hints);
    let arguments = ["snap-in", "install", &path, "--set", "level=low", "--keyring", "token=-"];
    let done = script(&daemon, &arguments, "t1");
    assert_says(&done, 0, &["it is DRAFT", "changing level", "is ACTIVE"]);
    let loud = script(&daemon, &["snap-in", "set", SCOPE, "level=high"], "");
    assert_says(&loud, 1, &["too loud for this house"]);
}

#[test]
fn a_person_can_stop_and_go_on_later() {
    let daemon = Daemon::start();
    let sample = Sample::new();
    let path = sample.shown();
    let begin = |more: &[&str]| {
        let arguments = [&["snap-in", "install", &path], more].concat();
        AtTerminal::start(command(&daemon, &arguments))
    };
    let mut person = begin(&["--set", "level=low", "--set", "retries=1", "--set", "greeting=x"]);
    person.wait_for("Install it at");
    person.answer("n");
    let (status, shown) = person.end();
    assert_eq!(status.code(), Some(1), "{shown}");
    assert!(is_empty(&daemon), "nothing was created");

    let mut person = begin(&["--yes"]);
    person.wait_for("level (level, enum, required)");
    person.wait_for("  > ");
    person.answer("low");
    person.wait_for("(not shown) > ");
    // The end of the input.
    person.answer_secretly("\u{4}");
    let (status, shown) = person.end();
    assert_eq!(status.code(), Some(1), "{shown}");
    assert!(shown.contains("the same command goes on from here"), "{shown}");

    let mut person = begin(&["--yes"]);
    person.wait_for("it is DRAFT");
    person.wait_for("(not shown) > ");
    person.answer_secretly("typed-secret");
    person.wait_for("is ACTIVE");
    let (status, shown) = person.end();
    assert!(status.success() && !shown.contains("How loud."), "{shown}");
}

#[test]
fn an_upgrade_shows_its_plan_and_can_be_taken_back() {
    let daemon = Daemon::start();
    let sample = Sample::new();
    assert_says(&install(&daemon, &sample), 0, &["is ACTIVE"]);
    let more = "    - name: region\n      description: Where.\n      field_type: text\n      \
                is_required: true\nkeyrings:";
    sample.write(&SECTIONS.replace("keyrings:", more));
    let path = sample.shown();
    let plan = script(&daemon, &["snap-in", "upgrade", SCOPE, &path, "--plan"], "");
    assert_says(&plan, 0, &["region"]);
    let blind = script(&daemon, &["snap-in", "upgrade", SCOPE, &path, "--set", "region=eu"], "");
    assert_says(&blind, 2, &["+ ", "region", "--yes"]);
    let missing = script(&daemon, &["snap-in", "upgrade", SCOPE, &path, "--yes"], "");
    assert_says(&missing, 2, &["input region (text): Where.", "--set region=VALUE"]);
    let version = |number: u64| {
        let found = daemon.call("snap-ins.get", &json!({ "id": SCOPE }));
        assert_eq!(found["snap_in"]["version_number"], number, "{found}");
        assert_eq!(found["snap_in"]["state"], "ACTIVE", "{found}");
        found["snap_in"].clone()
    };
    version(1);

    let mut person = AtTerminal::start(command(&daemon, &["snap-in", "upgrade", SCOPE, &path]));
    person.wait_for("From version 1 to 2");
    person.wait_for("region (region, text, required)");
    person.wait_for("  > ");
    person.answer("eu");
    person.wait_for("Upgrade it? [y/N] ");
    person.answer("y");
    person.wait_for("is ACTIVE");
    let (status, shown) = person.end();
    assert!(status.success(), "{shown}");
    version(2);
    let again = script(&daemon, &["snap-in", "upgrade", SCOPE, "2"], "");
    assert_says(&again, 0, &["is of version 2 already"]);
    let back = script(&daemon, &["snap-in", "rollback", SCOPE], "");
    assert_says(&back, 2, &["region", "--yes"]);
    let back = script(&daemon, &["snap-in", "rollback", SCOPE, "--yes"], "");
    assert_says(&back, 0, &["is ACTIVE"]);
    let back = ["snap-in", "rollback", SCOPE, "--yes"];
    assert_says(&script(&daemon, &back, ""), 1, &["no earlier version"]);
    version(1);
    let page = script(&daemon, &["snap-in", "show", SCOPE], "");
    assert_says(&page, 0, &["Past versions", "snap-in upgrade", "a newer version is there"]);
    let forth = script(&daemon, &["snap-in", "upgrade", SCOPE, "2", "--yes"], "");
    assert_says(&forth, 0, &["is ACTIVE"]);
    let region = version(2)["inputs"]
        .as_array()
        .and_then(|it| it.iter().find(|it| it["name"] == "region").map(|it| it["value"].clone()));
    assert_eq!(region, Some(json!("eu")), "configuration is never deleted");
    let none = script(&daemon, &["snap-in", "upgrade", SCOPE, "7"], "");
    assert_says(&none, 1, &["no version 7 (allowed: 1, 2)"]);
}

#[test]
fn an_upgrade_gets_the_keyrings_that_only_the_new_version_has() {
    let daemon = Daemon::start();
    let sample = Sample::new();
    assert_says(&install(&daemon, &sample), 0, &["is ACTIVE"]);
    sample.write(&format!("{SECTIONS}    - {{name: second, types: [snap_in_secret]}}\n"));
    let path = sample.shown();
    let without = script(&daemon, &["snap-in", "upgrade", SCOPE, &path, "--yes"], "");
    assert_says(&without, 2, &["keyring second", "--keyring second=@FILE"]);
    let arguments = ["snap-in", "upgrade", SCOPE, &path, "--yes", "--keyring", "second=-"];
    let taken = while_events_come(&daemon, || {
        assert_says(&script(&daemon, &arguments, "s2\n"), 0, &["is ACTIVE"]);
    });
    for event in &taken {
        assert_eq!(daemon.run_of(event)["state"], "succeeded", "{event}");
    }
    let found = daemon.call("snap-ins.get", &json!({ "id": SCOPE }));
    assert_eq!(found["snap_in"]["version_number"], 2);
    assert_eq!(found["snap_in"]["keyrings"][1]["state"], "ready", "{found}");

    let more = "    - {name: second, types: [snap_in_secret]}\n    \
                - {name: third, types: [snap_in_secret]}\n";
    sample.write(&format!("{SECTIONS}{more}"));
    let mut person = AtTerminal::start(command(&daemon, &["snap-in", "upgrade", SCOPE, &path]));
    let taken = while_events_come(&daemon, || {
        person.wait_for("Upgrade it? [y/N] ");
        person.answer("y");
        person.wait_for("third (third, keyring, required)");
        person.wait_for("(not shown) > ");
        person.answer_secretly("s3");
        person.wait_for("is ACTIVE");
    });
    assert!(!taken.is_empty());
    let (status, shown) = person.end();
    assert!(status.success() && !shown.contains("deactivated"), "{shown}");
}

/// Does something while one event after the other is sent, all of which have to be taken; answers
/// their ids.
fn while_events_come(daemon: &Daemon, act: impl FnOnce()) -> Vec<String> {
    let sources = daemon.call("event-sources.list", &json!({ "snap_in": SCOPE }));
    let url = sources["event_sources"][0]["trigger_url"].as_str().expect("it has one").to_owned();
    let path = url.split_at(url.find("/hooks/").expect("it is ours")).1;
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let mut taken = Vec::new();
            // Once more after the end: what is upgraded takes events too.
            loop {
                let is_last = is_over.load(Ordering::SeqCst);
                let body = json!({ "n": taken.len() }).to_string();
                let answer = post_signed(&mut daemon.connect(), path, body.as_bytes());
                let answer = answer.expect("the daemon answers");
                assert_eq!(answer.status, 200, "{}", answer.text());
                let event = answer.json()["events"][0]["id"].as_str().expect("an event").to_owned();
                taken.push(event);
                if is_last {
                    return taken;
                }
            }
        });
        let acted = catch_unwind(AssertUnwindSafe(act));
        is_over.store(true, Ordering::SeqCst);
        let taken = sender.join().expect("every event is taken");
        acted.unwrap_or_else(|panic| resume_unwind(panic));
        taken
    })
}

/// What the present version uses as something else cannot be replaced under it.
#[test]
fn an_upgrade_that_makes_another_thing_of_a_keyring_stops_for_it() {
    let daemon = Daemon::start();
    let sample = Sample::new();
    assert_says(&install(&daemon, &sample), 0, &["is ACTIVE"]);
    let fields = "keyring_types:\n  - id: account\n    name: Account\n    description: Two.\n    \
                  kind: secret\n    external_system_name: Example\n    secret_config:\n      \
                  fields:\n        - {id: user, name: User, description: Who.}\n";
    sample.write(&format!("{}{fields}", SECTIONS.replace("[snap_in_secret]", "[account]")));
    let path = sample.shown();
    let account =
        sample.file("account.yaml", "keyrings:\n  token:\n    fields: {user: u}\n", 0o600);
    let create = ["version", "create", &path, "--package", "greeter-of-tests"];
    assert_says(&script(&daemon, &create, ""), 0, &[]);
    let plan = script(&daemon, &["snap-in", "upgrade", SCOPE, "2", "--plan"], "");
    assert_says(&plan, 0, &["token"]);
    let versions = daemon.call("versions.list", &json!({}));
    let versions = versions["versions"].as_array().expect("a list").iter();
    let ids: Vec<&str> =
        versions.filter(|it| it["number"] == 2).filter_map(|it| it["id"].as_str()).collect();
    let early = json!({
        "snap_in": SCOPE, "name": "token", "version": ids[0], "fields": { "user": "u" },
    });
    let refused = daemon.refused("keyrings.set", &early, 400);
    assert!(refused.to_string().contains("deactivate it"), "{refused}");
    let nowhere = json!({ "snap_in": SCOPE, "name": "token", "version": "7", "secret": "x" });
    daemon.refused("keyrings.set", &nowhere, 400);
    let arguments = ["snap-in", "upgrade", SCOPE, &path, "--yes", "--values", &account];
    assert_says(&script(&daemon, &arguments, ""), 0, &["is ACTIVE"]);
    let found = daemon.call("snap-ins.get", &json!({ "id": SCOPE }));
    assert_eq!(found["snap_in"]["version_number"], 2);
}

#[test]
fn inputs_and_keyrings_are_set_together() {
    let daemon = Daemon::start();
    let sample = Sample::new();
    assert_says(&install(&daemon, &sample), 0, &["is ACTIVE"]);
    let secret = sample.file("secret", "another\n", 0o600);
    let keyring = format!("token=@{secret}");
    let done = script(
        &daemon,
        &["snap-in", "set", SCOPE, "greeting=hi", "retries:=4", "--keyring", &keyring],
        "",
    );
    assert_says(&done, 0, &["greeting = hi", "retries = 4", "keyring token is set"]);
    let done = script(&daemon, &["snap-in", "set", SCOPE, "--unset", "greeting"], "");
    assert_says(&done, 0, &["greeting = hello (default)"]);
    let done = script(&daemon, &["snap-in", "set", SCOPE, "greeting=x", "level=loud"], "");
    assert_says(&done, 2, &["level: ", "low, high"]);
    let found = daemon.call("snap-ins.get", &json!({ "id": SCOPE }));
    assert_eq!(found["snap_in"]["inputs"][0]["value"], "hello", "all or nothing");
    let arguments = ["snap-in", "set", SCOPE, "--keyring", "token=-"];
    let mut person = AtTerminal::start(command(&daemon, &arguments));
    person.wait_for("token: ");
    person.answer_secretly("typed-secret");
    let (status, shown) = person.end();
    assert!(status.success() && shown.contains("keyring token is set"), "{shown}");
    assert!(!shown.contains("typed-secret"), "{shown}");
    assert_says(&script(&daemon, &["snap-in", "set", SCOPE], ""), 2, &["NAME=VALUE"]);
    assert_says(&script(&daemon, &["snap-in", "set", "a/b/c", "x=1"], ""), 1, &["a/b/c"]);
}

#[test]
fn a_person_enables_it_for_himself() {
    let daemon = Daemon::start();
    let sections = "inputs:\n  user:\n    - {name: days, description: When., field_type: array, \
                    base_type: enum, allowed_values: [mon, tue], is_required: true}\n    \
                    - {name: nick, field_type: text, default_value: you}\n";
    let sample = Sample::with(sections);
    let done = script(&daemon, &["snap-in", "install", &sample.shown()], "");
    assert_says(&done, 0, &["is ACTIVE"]);
    let alone = script(&daemon, &["snap-in", "enable", SCOPE, "--user", "ada"], "");
    assert_says(&alone, 1, &["days", "mortise snap-in set-user", "--user ada"]);
    let wrong =
        script(&daemon, &["snap-in", "enable", SCOPE, "--user", "ada", "--set", "days=sun"], "");
    assert_says(&wrong, 2, &["days[0]: ", "mon, tue"]);

    let arguments = ["snap-in", "enable", SCOPE, "--user", "ada"];
    let mut person = AtTerminal::start(command(&daemon, &arguments));
    person.wait_for("days (days, list of enum, with commas, required)");
    person.wait_for("  > ");
    person.answer("mon, tue");
    person.wait_for("ada: enabled");
    let (status, shown) = person.end();
    assert!(status.success() && shown.contains("input days = mon, tue"), "{shown}");

    let set = ["snap-in", "update-user", SCOPE, "--set", "nick=A", "--user", "ada"];
    assert_says(&script(&daemon, &set, ""), 0, &["input nick = A"]);
    let unset = ["snap-in", "set-user", SCOPE, "--unset", "nick", "--user", "ada"];
    assert_says(&script(&daemon, &unset, ""), 0, &["input nick = you (default)"]);
    let page = script(&daemon, &["snap-in", "show", SCOPE], "");
    assert_says(&page, 0, &["Users", "ada  enabled", "For each user"]);
    let off = script(&daemon, &["snap-in", "disable", SCOPE, "--user", "ada", "--json"], "");
    assert_eq!(off.json()["snap_in_user"]["enabled"], false, "{off:?}");
    let shown = script(&daemon, &["snap-in", "show-user", SCOPE, "--user", "ada"], "");
    assert_says(&shown, 0, &["ada: not enabled", "input days = mon, tue"]);
}

#[test]
fn lists_and_pages_fit_the_terminal() {
    let daemon = Daemon::start();
    let sample = Sample::new();
    assert_says(&install(&daemon, &sample), 0, &["is ACTIVE"]);
    let piped = script(&daemon, &["snap-in", "list"], "");
    assert_says(&piped, 0, &["SCOPE", "VERSION", "CHANGED", "ID", "greeter-of-tests 1"]);
    let (status, shown) = AtTerminal::start(command(&daemon, &["snap-in", "list"])).end();
    assert!(status.success(), "{shown}");
    assert!(shown.contains(SCOPE) && shown.lines().all(|it| it.chars().count() <= 80), "{shown}");
    let (status, page) = AtTerminal::start(command(&daemon, &["snap-in", "show", SCOPE])).end();
    assert!(status.success(), "{page}");
    for hint in ["Greeter of tests: ACTIVE", "Inputs", "Keyrings", "Event sources", "/hooks/"] {
        assert!(page.contains(hint), "{hint} in {page}");
    }
}

#[test]
fn what_is_at_a_url_is_installed_once_its_hash_is_right() {
    let server = FileServer::start();
    let settings = format!("[egress]\nallow = [\"{}\"]\n", server.address());
    let daemon = Daemon::start_with(Options { settings, ..Options::default() });
    let sample = Sample::new();
    let packed = Command::new("tar")
        .arg("-czC")
        .arg(sample.path().parent().unwrap_or(Path::new("/")))
        .args(["-f", "-", "greeter"])
        .output()
        .expect("tar is installed");
    server.put("/greeter-1.0.tar.gz", Answer::bytes(packed.stdout));
    let url = server.url("/greeter-1.0.tar.gz");
    let wrong = script(&daemon, &["snap-in", "install", &url, "--sha256", &"0".repeat(64)], "");
    assert_says(&wrong, 1, &["its SHA-256 is", &"0".repeat(64)]);
    assert!(is_empty(&daemon));
    let arguments =
        ["snap-in", "install", &url, "--set", "level=low", "--keyring", "token=-", "--json"];
    let done = script(&daemon, &arguments, "t1");
    assert_says(&done, 0, &[]);
    assert_eq!(done.json()["snap_in"]["scope"], SCOPE);
    assert_eq!(done.json()["snap_in"]["state"], "ACTIVE");
    let gone = script(&daemon, &["snap-in", "install", &server.url("/x.zip")], "");
    assert_says(&gone, 1, &["answered 404"]);
}

#[test]
fn a_person_grants_access_in_a_browser() {
    let server = FileServer::start();
    server.put(
        "/token",
        Answer::bytes(
            br#"{"access_token":"planted-at","token_type":"Bearer","expires_in":3600}"#.to_vec(),
        )
        .with("Content-Type", "application/json"),
    );
    let settings = format!("[egress]\nallow = [\"{}\"]\n", server.address());
    let daemon = Daemon::start_with(Options { settings, ..Options::default() });
    let sections = format!(
        "developer_keyrings:\n  - {{name: client, description: The application.}}\nkeyring_types:\n  \
         - id: granted\n    name: A grant\n    description: Of access.\n    kind: oauth2\n    \
         external_system_name: Example\n    oauth_secret: client\n    scope_delimiter: ' '\n    \
         scopes:\n      - {{name: Read, description: Reads., value: read}}\n    authorize:\n      \
         type: config\n      auth_url: {}\n      token_url: {}\n      \
         grant_type: authorization_code\n      auth_query_parameters:\n        \
         client_id: '[CLIENT_ID]'\n        scope: '[SCOPES]'\n        response_type: code\n      \
         token_query_parameters:\n        client_id: '[CLIENT_ID]'\n        \
         client_secret: '[CLIENT_SECRET]'\nkeyrings:\n  organization:\n    \
         - {{name: account, types: [granted]}}\n",
        server.url("/authorize"),
        server.url("/token"),
    );
    let sample = Sample::with(&sections);
    let path = sample.shown();
    let alone = script(&daemon, &["snap-in", "install", &path], "");
    let hints = ["developer keyring client: The application.", "mortise keyring connect"];
    assert_says(&alone, 2, &hints);

    let mut person = AtTerminal::start(command(&daemon, &["snap-in", "install", &path, "--yes"]));
    person.wait_for("client (client, OAuth2 client, required)");
    person.wait_for("client id > ");
    person.answer("the-client");
    person.wait_for("client secret (not shown, Enter for none) > ");
    person.answer_secretly("planted-cs");
    person.wait_for("account (account, keyring, required)");
    person.wait_for("Open this in a browser and grant access:");
    person.wait_for(&server.url("/authorize"));
    let state_shown = |shown: &str| {
        let state = shown.rsplit("state=").next().expect("it is in the URL");
        state.split(['&', '\r', '\n']).next().expect("it has an end").to_owned()
    };
    person.wait_for("\r\n\r\n");
    let denied =
        format!("/keyrings.authorize?error=access_denied&state={}", state_shown(&person.shown()));
    daemon.connect().send("GET", &denied, &[], b"").expect("an answer");
    person.wait_for("access was not granted");
    person.wait_for("Try again? ");
    person.answer("y");
    person.wait_for("Open this in a browser and grant access:");
    person.wait_for(&server.url("/authorize"));
    person.wait_for("\r\n\r\n");
    let shown = person.shown();
    let state = state_shown(&shown);
    assert!(shown.contains("client_id=the-client"), "{shown}");
    let back = format!("/keyrings.authorize?code=c0de&state={state}");
    let page = daemon.connect().send("GET", &back, &[], b"").expect("an answer");
    assert_eq!(page.status, 200, "{}", page.text());
    person.wait_for("connected");
    person.wait_for("is ACTIVE");
    let (status, shown) = person.end();
    assert!(status.success() && !shown.contains("planted"), "{shown}");
    let shown = script(&daemon, &["snap-in", "show", SCOPE], "");
    assert_says(&shown, 0, &["account  ready  granted, until 2"]);
}

/// What README.md shows, on the example that it shows it with.
#[test]
fn the_way_of_the_readme_leads_there() {
    let daemon = Daemon::start();
    let folder = tempfile::tempdir().expect("/tmp");
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../contrib/examples");
    let archive = folder.path().join("forge-to-chat.tar.gz");
    let packed = Command::new("tar")
        .arg("-czC")
        .arg(examples)
        .arg("-f")
        .arg(&archive)
        .arg("forge-to-chat")
        .status();
    assert!(packed.expect("tar is installed").success());
    let archive = archive.display().to_string();
    let scope = "prod/team/forge-to-chat";
    let arguments = ["snap-in", "install", &archive, "--scope", scope];
    let mut person = AtTerminal::start(command(&daemon, &arguments));
    for (question, answer) in [
        ("Chat URL (chat_url, text, required)", "https://chat.example.com/hooks/abc"),
        ("Branches (branches, list of text, with commas, optional)", "main, release"),
        ("Detail (detail, enum, optional)", "2"),
        ("Dry run (dry_run, yes or no, optional)", ""),
        ("Install it at", "y"),
    ] {
        person.wait_for(question);
        person.wait_for(if question.starts_with("Install") { "[Y/n] " } else { " > " });
        person.answer(answer);
    }
    person.wait_for("Token of the chat (chat-token, keyring, required)");
    person.wait_for("(not shown) > ");
    person.answer_secretly("planted-token");
    person.wait_for("Payload URL: ");
    person.wait_for("/hooks/");
    let (status, shown) = person.end();
    println!("{shown}");
    assert!(status.success() && !shown.contains("planted-token"), "{shown}");

    let source = daemon.call("event-sources.list", &json!({ "snap_in": scope }));
    let url = source["event_sources"][0]["trigger_url"].as_str().expect("a URL").to_owned();
    let path = url.split_at(url.find("/hooks/").expect("it is ours")).1;
    let push = json!({
        "ref": "refs/heads/main", "pusher": { "name": "ada" },
        "repository": { "full_name": "ada/engine" },
        "commits": [{ "id": "0123456789abcdef", "message": "Turn\n\nmore" }],
    })
    .to_string();
    let send = |kind: &str, signature: &str| {
        let signature = format!("sha256={signature}");
        let headers = [
            ("content-type", "application/json"),
            ("x-github-event", kind),
            ("x-hub-signature-256", signature.as_str()),
        ];
        daemon.connect().send("POST", path, &headers, push.as_bytes()).expect("an answer")
    };
    let signature = sign(push.as_bytes());
    assert_eq!(send("push", "00").status, 401);
    assert_eq!(send("ping", &signature).text(), "nothing to do");
    let taken = send("push", &signature);
    assert_eq!(taken.status, 200, "{}", taken.text());
    let run = daemon.run_of(taken.json()["events"][0]["id"].as_str().expect("an event"));
    let text = "ada pushed 1 commit(s) to main of ada/engine\n01234567 Turn";
    assert_eq!(run["result"]["text"], text, "{run}");

    let refused = script(&daemon, &["snap-in", "set", scope, "chat_url=https://localhost/x"], "");
    assert_says(&refused, 1, &["names no host of a network", "mortise run logs run_"]);
    let set = script(&daemon, &["snap-in", "set", scope, "detail=short", "branches=dev"], "");
    assert_says(&set, 0, &["detail = short", "branches = dev"]);
    let page = script(&daemon, &["snap-in", "show", scope], "");
    println!("{}", page.out);
    assert_says(&page, 0, &["chat-token  ready", "announce  succeeded", "validate  → check"]);
}

/// Whatever ends a prompt for a secret, what is typed at the terminal after it is shown again.
#[test]
fn a_signal_at_a_secret_leaves_the_terminal_as_it_was() {
    let daemon = Daemon::start();
    let sample = Sample::new();
    let path = sample.shown();
    let done =
        script(&daemon, &["snap-in", "install", &path, "--set", "level=low", "--no-activate"], "");
    assert_says(&done, 0, &[]);
    let set = ["keyring", "set", SCOPE, "token"];
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)] {
        let mut person = AtTerminal::start(command(&daemon, &set));
        person.wait_for("Secret: ");
        assert!(!person.shows_typing(), "hidden before it asks");
        person.signal(signal);
        let status = person.wait_for_end();
        assert_eq!(status.code(), Some(code));
        assert!(person.shows_typing(), "{signal:?}");
    }
    let mut person = AtTerminal::start(command(&daemon, &set));
    person.wait_for("Secret: ");
    person.type_bytes(b"abc\x03");
    assert_eq!(person.wait_for_end().code(), Some(130));
    assert!(person.shows_typing());
    let mut person = AtTerminal::start(command(&daemon, &set));
    person.wait_for("Secret: ");
    person.type_bytes(b"\xff\xfe\n");
    person.wait_for("that was no UTF-8: type it again");
    person.wait_for("Secret: ");
    person.answer("typed-secret");
    let (status, shown) = person.end();
    assert!(status.success() && !shown.contains("typed-secret"), "{shown}");
}

#[test]
fn what_never_ends_is_not_read() {
    let daemon = Daemon::start();
    let sample = Sample::new();
    let path = sample.shown();
    for arguments in [
        &["version", "validate", "/dev/zero"][..],
        &["snap-in", "install", "/dev/zero"],
        &["snap-in", "install", &path, "--values", "/dev/zero"],
        &["snap-in", "install", &path, "--keyring", "token=@/dev/zero"],
    ] {
        assert_says(&script(&daemon, arguments, ""), 1, &["/dev/zero is no regular file"]);
    }
    let zeros = "0".repeat(100_000);
    let done = script(&daemon, &["keyring", "set", SCOPE, "token"], &zeros);
    assert_says(&done, 1, &["longer than 65536 bytes"]);
    let long = sample.file("long", &zeros, 0o600);
    let keyring = format!("token=@{long}");
    let done = script(&daemon, &["snap-in", "install", &path, "--keyring", &keyring], "");
    assert_says(&done, 1, &["longer than 65536 bytes"]);
}

#[test]
fn who_asks_for_json_has_errors_as_json() {
    let daemon = Daemon::start();
    let refused = script(&daemon, &["snap-in", "get", "a/b/c", "--json"], "");
    assert_says(&refused, 1, &["mortise: "]);
    assert_eq!(refused.json()["code"], "not_found", "{refused:?}");
    let wrong = script(&daemon, &["call", "snap-ins.get", "{", "--json"], "");
    assert_says(&wrong, 2, &["is no JSON"]);
    assert_eq!(wrong.json()["code"], "usage");
    let unknown = script(&daemon, &["snap-in", "get", "--json"], "");
    assert_says(&unknown, 2, &["Usage:"]);
    assert_eq!(unknown.json()["code"], "usage");
    let nowhere = ["snap-in", "list", "--socket", "/nonexistent/socket", "--json"];
    let nowhere = script(&daemon, &nowhere, "");
    assert_eq!((nowhere.code, &nowhere.json()["code"]), (3, &json!("unreachable")));
}

#[test]
fn a_package_is_not_left_behind_empty() {
    let daemon = Daemon::start();
    let sample = Sample::new();
    let broken = sample.file("broken.tar.gz", "no archive", 0o644);
    let create = ["version", "create", &broken, "--package", "mine", "--create-package"];
    assert_says(&script(&daemon, &create, ""), 1, &[]);
    assert!(is_empty(&daemon));
    daemon.call("packages.create", &json!({ "slug": "mine" }));
    assert_says(&script(&daemon, &create, ""), 1, &[]);
    assert!(!is_empty(&daemon));
}

#[test]
fn a_plan_says_what_can_be_done_and_leaves_nothing() {
    let daemon = Daemon::start();
    let sample = Sample::new();
    assert_says(&install(&daemon, &sample), 0, &["is ACTIVE"]);
    let path = sample.shown();
    let extra = "    - {name: extra, field_type: text, is_required: true}\nkeyrings:\n";
    sample.write(&SECTIONS.replace("keyrings:\n", extra));
    let versions = || daemon.call("versions.list", &json!({}))["versions"].as_array().map(Vec::len);
    let planned = script(&daemon, &["snap-in", "upgrade", SCOPE, &path, "--plan"], "");
    let hint = format!("mortise snap-in upgrade {SCOPE} {path} --set extra=VALUE");
    assert_says(&planned, 0, &["! input `extra` is required", &hint]);
    assert_eq!(versions(), Some(1), "the plan leaves no version");
    let given = ["snap-in", "upgrade", SCOPE, &path, "--plan", "--set", "extra=x"];
    let planned = script(&daemon, &given, "");
    assert_says(&planned, 0, &["+ input `extra`"]);
    assert!(!planned.out.contains('!'), "{planned:?}");
    let other = Sample::new();
    Parts::new("Something else", SIGNED, ECHO).write_to(&other.path());
    let manifest = std::fs::read_to_string(other.path().join("manifest.yaml")).expect("a file");
    let manifest = manifest.replace("work", "labour");
    other.file("greeter/manifest.yaml", &manifest, 0o644);
    let source = other.path().join("src");
    std::fs::rename(source.join("work.ts"), source.join("labour.ts")).expect("it is there");
    let path = other.shown();
    let arguments = ["snap-in", "upgrade", SCOPE, &path, "--yes"];
    let refused = script(&daemon, &arguments, "");
    assert_says(&refused, 1, &["! this looks like another snap-in", "--force"]);
    assert_eq!(versions(), Some(1));
    let forced = script(&daemon, &[&arguments[..], &["--force"]].concat(), "");
    assert_says(&forced, 0, &["! this looks like another snap-in"]);
    let nowhere = script(&daemon, &["snap-in", "upgrade", SCOPE, "nosuch"], "");
    let hint = "nor is it a version of greeter-of-tests (1, 2)";
    assert_says(&nowhere, 1, &["nosuch", hint]);
    for url in ["file:///etc/passwd", "ftp://example.com/x.zip"] {
        let create = ["version", "create", url, "--package", "greeter-of-tests"];
        assert_says(&script(&daemon, &create, ""), 2, &["only http and https"]);
    }
}

#[test]
fn keyrings_are_shown_by_name() {
    let daemon = Daemon::start();
    let sections = "keyring_types:\n  - id: account\n    name: An account\n    description: Of two.\n    \
                    kind: secret\n    external_system_name: Example\n    secret_config:\n      \
                    secret_transform: '.user + .password'\n      fields:\n        \
                    - {id: user, name: User, description: Who.}\n        \
                    - {id: password, name: Password, description: What.}\nkeyrings:\n  organization:\n    \
                    - {name: sync, types: [account]}\n";
    let sample = Sample::with(sections);
    let done = script(&daemon, &["snap-in", "install", &sample.shown(), "--no-activate"], "");
    assert_says(&done, 0, &[]);
    let list = script(&daemon, &["keyring", "list", SCOPE], "");
    assert_says(&list, 0, &[SCOPE, "sync"]);
    let set = ["keyring", "set", SCOPE, "sync"];
    let broken = script(&daemon, &set, r#"{"user": "u", "password": "#);
    assert_says(&broken, 1, &["no JSON object of texts", r#"{"user": "...", "password": "..."}"#]);
    let done = script(&daemon, &set, r#"{"user": "u", "password": "p"}"#);
    assert_says(&done, 0, &[SCOPE]);
    let shown = script(&daemon, &["keyring", "get", SCOPE, "sync"], "");
    assert_says(&shown, 0, &[SCOPE, "account"]);
    assert!(!shown.out.contains("[{"), "{shown:?}");
}
