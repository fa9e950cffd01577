//! Event in, result out, logs, exit status, and what is wrong with a program that does not start.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use mortise::functions::kind::RunnerKind;
use mortise::functions::outcome::FailureKind;

use crate::harness::{
    OneHost, PLACES, Place, assert_failure, in_place, invocation, messages, options, package,
    result, run_in, without_calls,
};

#[test]
fn event_comes_in_and_result_goes_out() {
    for place in PLACES {
        let report = run_in(
            place,
            "#!/usr/bin/python3\nimport json, os, sys\nevent = json.load(sys.stdin)\n\
             print('one', file=sys.stderr)\nprint('two\\xff', file=sys.stderr)\n\
             print(json.dumps([event['payload']['a'], sorted(os.environ), os.getuid() != 0,\n\
             os.environ['MORTISE_RUN_ID'], os.environ['MORTISE_FUNCTION'], os.listdir('.')]))\n",
        );
        let value: serde_json::Value = serde_json::from_str(&result(&report)).expect("JSON");
        assert_eq!(value[0], 1);
        let variables = value[1].as_array().expect("an array");
        let own = ["PATH", "HOME", "LANG", "TZ", "MORTISE_RUN_ID", "LC_CTYPE", "TMPDIR"];
        for variable in variables.iter().filter_map(|it| it.as_str()) {
            let proxy = variable.to_lowercase().ends_with("_proxy");
            let known = own.contains(&variable) || variable.starts_with("MORTISE_");
            assert!(known || proxy, "{variable} is in the environment");
            assert!(place == Place::Private || !proxy, "{variable} leads nowhere");
        }
        assert_eq!((&value[2], &value[3]), (&true.into(), &"run_test".into()), "{place:?}");
        assert_eq!((&value[4], &value[5]), (&"run".into(), &serde_json::json!(["run"])));
        assert_eq!(messages(&report), ["one", "twoÿ"]);
    }
}

#[test]
fn results_and_ends_are_what_they_say() {
    let package = package(&[
        ("empty", "#!/bin/sh\nexit 0\n"),
        ("text", "#!/bin/sh\necho hello there\n"),
        ("many", "#!/bin/sh\necho 1; echo 2\n"),
        ("fails", "#!/bin/sh\necho 'no such thing' >&2\nexit 3\n"),
        ("later", "#!/bin/sh\nexit 75\n"),
        ("dies", "#!/bin/sh\nkill -SEGV $$\n"),
        ("aborts", "#!/usr/bin/python3\nimport os\nos.abort()\n"),
        ("bytes", "#!/bin/sh\nprintf '\\377\\376 bytes\\n' >&2\nprintf '\\377'\n"),
    ]);
    in_place(Place::Private, OneHost(None), async move |host| {
        assert_eq!(result(&host.run(&package, "empty").await), "null");
        for (function, kind, part, retry) in [
            ("text", FailureKind::BadOutput, "begins with: hello there", None),
            ("many", FailureKind::BadOutput, "one JSON value", None),
            ("fails", FailureKind::Thrown, "exit status 3: no such thing", None),
            ("later", FailureKind::Thrown, "exit status 75", Some(true)),
            ("dies", FailureKind::Crashed, "SIGSEGV", None),
            ("aborts", FailureKind::Crashed, "SIGABRT", None),
            ("bytes", FailureKind::BadOutput, "not UTF-8", None),
            ("other", FailureKind::NotFound, "aborts, bytes, dies", None),
        ] {
            let report = host.run(&package, function).await;
            let failure = assert_failure(&report, kind, part);
            assert_eq!(failure.retry, retry, "{failure:?}");
        }
        let report = host.run(&package, "bytes").await;
        assert_eq!(messages(&report), ["\u{fffd}\u{fffd} bytes"]);
    });
}

#[test]
fn what_does_not_start_is_explained() {
    let package = package(&[
        ("bare", "echo hello\n"),
        ("ruby", "#!/usr/bin/env no-such-interpreter\n"),
        ("crlf", "#!/bin/sh\r\nexit 0\r\n"),
        ("foreign", "\x7fELF\x02\x01\x01 but nothing else"),
        ("closed", "#!/bin/sh\n"),
        ("gone", ""),
    ]);
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(package.path().join("closed"), mode).expect("a mode");
    std::fs::remove_file(package.path().join("gone")).expect("it was there");
    in_place(Place::Private, OneHost(None), async move |host| {
        for (function, part) in [
            ("bare", "such as `#!/bin/sh`"),
            ("ruby", "the interpreter `no-such-interpreter`"),
            ("crlf", "CR LF"),
            ("foreign", "another kind of processor"),
            ("closed", "chmod +x closed"),
            ("gone", "no file `gone`"),
        ] {
            assert_failure(&host.run(&package, function).await, FailureKind::Load, part);
        }
    });
}

#[test]
fn floods_are_held_back() {
    let package = package(&[
        ("log", "#!/usr/bin/python3\nimport sys\nwhile True: sys.stderr.write('x' * 99 + '\\n')\n"),
        ("line", "#!/usr/bin/python3\nimport sys\nwhile True: sys.stderr.write('x' * 100000)\n"),
        ("result", "#!/bin/sh\nexec yes\n"),
        ("gigabyte", "#!/bin/sh\nyes | head -c 1000000000\n"),
        ("silent", "#!/bin/sh\nexec >&- 2>&-\nsleep 1000\n"),
    ]);
    in_place(Place::Private, OneHost(None), async move |host| {
        for function in ["log", "line", "silent"] {
            let mut asked = invocation(&package, function);
            asked.timeout = Duration::from_secs(1);
            let report = host.pool.invoke(asked).await;
            assert_failure(&report, FailureKind::Timeout, "longer than its 1000 ms");
            let bytes: usize = report.logs.iter().map(|it| it.message.len()).sum();
            assert!(bytes < 100_000, "{function}: {bytes} bytes of log");
        }
        for function in ["result", "gigabyte"] {
            let report = host.run(&package, function).await;
            assert_failure(&report, FailureKind::OutputTooLarge, "1048576 bytes");
            assert!(report.duration < Duration::from_secs(10), "{:?}", report.duration);
        }
    });
}

#[test]
fn large_events_need_not_be_read() {
    let package = package(&[
        ("ignores", "#!/bin/sh\necho 1\n"),
        ("counts", "#!/bin/sh\nwc -c\n"),
        ("slow", "#!/bin/sh\nsleep 0.3\nwc -c\n"),
    ]);
    in_place(Place::Private, OneHost(None), async move |host| {
        let event = Bytes::from(format!("\"{}\"", "x".repeat(3_000_000)));
        for (function, expected) in [("ignores", "1"), ("counts", "3000002"), ("slow", "3000002")] {
            let mut asked = invocation(&package, function);
            asked.event = event.clone();
            assert_eq!(result(&host.pool.invoke(asked).await), expected);
        }
    });
}

#[test]
fn logs_come_while_the_run_is_on() {
    let package =
        package(&[("run", "#!/bin/sh\necho first >&2\nread event\nsleep 1\necho last >&2\n")]);
    in_place(Place::Private, OneHost(None), async move |host| {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let hears = heard.clone();
        let mut asked = invocation(&package, "run");
        asked.on_log = Some(Arc::new(move |lines: &[_]| {
            hears.lock().expect("sound").push(lines.len());
        }));
        result(&host.pool.invoke(asked).await);
        assert_eq!(*heard.lock().expect("sound"), [1, 1], "one line came ahead of the other");
    });
}

#[test]
fn reports_say_what_is_missing() {
    let probe = async |host: crate::harness::Host| host.pool.probe(RunnerKind::Process).await;
    let report = in_place(Place::Private, OneHost(None), probe).expect("it starts");
    assert!(report.is_full() && report.reduced.is_empty(), "{report:?}");
    let report = in_place(Place::Shared, OneHost(None), probe).expect("it starts");
    assert!(report.is_full(), "{report:?}");
    assert!(report.reduced[0].contains("no network"), "{report:?}");
    assert!(report.reduced[0].contains("process-network.conf"), "{report:?}");
}

/// A kernel without Landlock, as the unit would be whose filter lacks its calls.
#[test]
fn without_the_sandbox_nothing_runs_unless_allowed() {
    let landlock = vec![444, 445, 446];
    for required in [true, false] {
        let package = package(&[("run", "#!/bin/sh\necho 1\n")]);
        let mut options = options();
        options.require_sandbox = required;
        let calls = landlock.clone();
        let report = without_calls(calls, options, OneHost(None), async move |host| {
            let probed = host.pool.probe(RunnerKind::Process).await.expect("it starts");
            assert!(!probed.is_full() && !probed.missing.is_empty(), "{probed:?}");
            host.run(&package, "run").await
        });
        if required {
            assert_failure(&report, FailureKind::Refused, "Landlock: ");
        } else {
            assert_eq!(result(&report), "1");
        }
    }
}

/// One supervisor serves run after run, and starts each program anew.
#[test]
fn warm_calls_use_the_same_supervisor() {
    let package = package(&[("run", "#!/bin/sh\necho 1\n")]);
    let folder = package.path().display().to_string();
    in_place(Place::Private, OneHost(None), async move |host| {
        let supervisors = || {
            let entries = std::fs::read_dir("/proc").expect("a /proc").filter_map(Result::ok);
            let is_one = |it: &std::path::PathBuf| {
                std::fs::read(it.join("cmdline"))
                    .is_ok_and(|line| String::from_utf8_lossy(&line).contains(&folder))
            };
            entries.map(|it| it.path()).filter(is_one).collect::<Vec<_>>()
        };
        assert_eq!(result(&host.run(&package, "run").await), "1");
        let first = supervisors();
        assert_eq!(first.len(), 1, "{first:?}");
        for _ in 0..3 {
            assert_eq!(result(&host.run(&package, "run").await), "1");
            assert_eq!(supervisors(), first);
        }
    });
}
