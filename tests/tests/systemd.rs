//! The unit file: systemd understands every line of it, and it stays as tight as it is.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

/// The exposure that fails, in tenths of the scale that `systemd-analyze security` shows. The unit has
/// 1.2; most of that is the network, which it is for.
const MOST_EXPOSURE: &str = "15";

fn unit() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../systemd/mortise.service");
    fs::read_to_string(path).unwrap()
}

/// Runs systemd-analyze on `text` as a unit of its own, with a program that every host has.
fn analyze(arguments: &[&str], text: &str) -> Output {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("mortise.service");
    let lines = text.lines().map(|line| match line.strip_prefix("ExecStart=") {
        Some(_) => "ExecStart=/bin/true",
        None => line,
    });
    fs::write(&path, lines.collect::<Vec<_>>().join("\n") + "\n").unwrap();
    let output = Command::new("systemd-analyze").args(arguments).arg(&path).output();
    output.unwrap_or_else(|error| {
        panic!("systemd-analyze: {error}; run contrib/ci/debian-packages.sh, which installs it")
    })
}

/// What systemd says against a unit. An unknown key is a warning only, so that the exit status alone
/// does not tell.
fn complaints(text: &str) -> Option<String> {
    let output = analyze(&["--man=no", "verify"], text);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let fine = output.status.success() && said.is_empty();
    (!fine).then(|| format!("{}\n{said}", output.status))
}

fn is_tight(text: &str) -> bool {
    let threshold = format!("--threshold={MOST_EXPOSURE}");
    analyze(&["security", "--offline=true", &threshold], text).status.success()
}

#[test]
fn systemd_understands_the_unit() {
    if let Some(said) = complaints(&unit()) {
        panic!("correct systemd/mortise.service; systemd-analyze verify: {said}");
    }
}

/// The unit with a drop-in, which comes after it: what is said last counts.
fn unit_with(drop_in: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../systemd").join(drop_in);
    let drop_in = fs::read_to_string(path).unwrap();
    let settings = drop_in.split("[Service]").nth(1).unwrap();
    unit().replace("[Install]", &format!("{settings}\n[Install]"))
}

#[test]
fn node_needs_one_line_and_no_more() {
    let text = unit_with("mortise.service.d-node.conf");
    if let Some(said) = complaints(&text) {
        panic!("correct systemd/mortise.service.d-node.conf; systemd-analyze verify: {said}");
    }
    assert!(is_tight(&text), "the drop-in for Node.js opens more than it has to");
    let settings: Vec<&str> =
        text.lines().filter(|it| it.starts_with("MemoryDenyWriteExecute=")).collect();
    assert_eq!(settings, ["MemoryDenyWriteExecute=yes", "MemoryDenyWriteExecute=no"]);
}

#[test]
fn unit_is_hardened() {
    assert!(
        is_tight(&unit()),
        "systemd/mortise.service is too exposed ({MOST_EXPOSURE} tenths or more): find the line that is missing \
         with `systemd-analyze security --offline=true systemd/mortise.service`"
    );
}

#[test]
fn checks_find_what_is_wrong() {
    assert!(complaints(&unit().replace("RestartSec=", "RestartSecs=")).is_some());
    assert!(complaints(&unit().replace("Type=notify", "Type=notified")).is_some());
    let open = "[Service]\nExecStart=/bin/true\n";
    assert!(!is_tight(open));
}

/// Later lines of a filter add to and take from earlier ones, so their order decides. The sandbox of
/// functions needs these calls; without them the daemon would run no code.
#[test]
fn sandbox_calls_are_allowed_last() {
    const NEEDED: [&str; 7] = [
        "landlock_create_ruleset",
        "landlock_add_rule",
        "landlock_restrict_self",
        "seccomp",
        "close_range",
        "prctl",
        "prlimit64",
    ];
    let unit = unit();
    let filters = unit.lines().filter_map(|it| it.strip_prefix("SystemCallFilter="));
    let after: Vec<&str> = filters.skip_while(|it| !it.starts_with('~')).skip(1).collect();
    let allowed: Vec<&str> = after.iter().flat_map(|it| it.split(' ')).collect();
    for call in NEEDED {
        assert!(
            allowed.contains(&call),
            "systemd/mortise.service: allow {call} after the line that denies @resources"
        );
    }
}

/// What of a unit systemd counts as open: the keys of its table of exposures.
fn open_doors(text: &str) -> BTreeSet<String> {
    let output = analyze(&["security", "--offline=true", "--json=short"], text);
    let rows: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let open = rows.as_array().unwrap().iter().filter(|it| it["exposure"].is_string());
    open.map(|it| it["json_field"].as_str().unwrap().to_owned()).collect()
}

/// The supervisor of programs needs namespaces for their network, and mounts inside of them. What the
/// drop-in opens is read from what systemd makes of it, not from its lines.
#[test]
fn programs_get_namespaces_and_no_more() {
    let text = unit_with("mortise.service.d-process-network.conf");
    if let Some(said) = complaints(&text) {
        panic!("correct the drop-in for programs; systemd-analyze verify: {said}");
    }
    let (before, after) = (open_doors(&unit()), open_doors(&text));
    let opened: Vec<&str> = after.difference(&before).map(String::as_str).collect();
    let expected = [
        "RestrictNamespaces_ipc",
        "RestrictNamespaces_mnt",
        "RestrictNamespaces_net",
        "RestrictNamespaces_pid",
        "RestrictNamespaces_user",
        "RestrictNamespaces_uts",
        "SystemCallFilter_mount",
        // Mounts are among them.
        "SystemCallFilter_privileged",
    ];
    assert_eq!(opened, expected, "the drop-in opens more or less than the supervisor needs");
    assert_eq!(before.difference(&after).next(), None, "and it closes nothing");
}

/// Lines that a host would not miss until something goes wrong, which no check of systemd's asks for.
#[test]
fn service_survives_its_functions() {
    let unit = unit();
    for (line, reason) in [
        ("KillMode=mixed", "a stop must not kill the running functions that the daemon waits for"),
        ("OOMPolicy=continue", "a function that takes too much memory must not end the service"),
        ("NotifyAccess=main", "a function's process must not speak to systemd for the daemon"),
        ("PrivateUsers=no", "the daemon has to see which user calls on its socket"),
    ] {
        assert!(
            unit.lines().any(|it| it == line),
            "systemd/mortise.service needs `{line}`: {reason}"
        );
    }
}
