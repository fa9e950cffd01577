//! The end of a run ends everything that it has started, however it hides.

use std::time::Duration;

use mortise::functions::outcome::FailureKind;

use crate::harness::{
    OneHost, PLACES, Place, assert_failure, in_place, invocation, package, result, until,
};

/// Processes of this host whose command line holds a word.
fn alive(word: &str) -> Vec<i32> {
    let entries = std::fs::read_dir("/proc").expect("a /proc").filter_map(Result::ok);
    let numbers = entries.filter_map(|it| it.file_name().to_str()?.parse::<i32>().ok());
    let has = |it: &i32| {
        std::fs::read(format!("/proc/{it}/cmdline"))
            .is_ok_and(|line| String::from_utf8_lossy(&line).contains(word))
    };
    numbers.filter(has).collect()
}

/// A number that no other process has on its command line.
fn word(place: Place, name: &str) -> String {
    let number = std::process::id();
    let (place, name) = (place as u32, name.bytes().map(u32::from).sum::<u32>());
    format!("{}.{number}{place}{name}", 900)
}

/// Each leaves a `sleep WORD` behind in its own way.
const WAYS: [(&str, &str); 5] = [
    ("background", "sleep WORD & true"),
    ("session", "setsid -f sleep WORD"),
    ("nohup", "nohup sleep WORD >/dev/null 2>&1 & true"),
    ("orphan", "(setsid sh -c '(sleep WORD &) ; exit' &)"),
    (
        "deaf",
        "python3 -c \"import os, signal, sys\nfor s in range(1, 65):\n    try: signal.signal(s, signal.SIG_IGN)\n    \
         except (OSError, ValueError): pass\nif os.fork(): sys.exit()\nos.setsid()\n\
         if os.fork(): sys.exit()\nos.execvp('sleep', ['sleep', 'WORD'])\"",
    ),
];

#[test]
fn nothing_outlives_its_run() {
    for place in PLACES {
        for (name, way) in WAYS {
            let word = word(place, name);
            let way = way.replace("WORD", &word);
            let package = package(&[
                ("ends", &format!("#!/bin/sh\n{way}\nsleep 0.2\necho 1\n")),
                ("hangs", &format!("#!/bin/sh\n{way}\nexec sleep {word}\n")),
            ]);
            in_place(place, OneHost(None), async move |host| {
                assert_eq!(result(&host.run(&package, "ends").await), "1", "{place:?} {name}");
                assert_eq!(alive(&word), [0_i32; 0], "{place:?} {name} at the end");
                let mut asked = invocation(&package, "hangs");
                asked.timeout = Duration::from_millis(600);
                let report = host.pool.invoke(asked).await;
                assert_failure(&report, FailureKind::Timeout, "600 ms");
                assert_eq!(alive(&word), [0_i32; 0], "{place:?} {name} at the deadline");
                assert_eq!(host.pool.status().idle, 1, "the supervisor stays");
            });
        }
    }
}

/// A supervisor that is killed takes everything with it: what happens when the daemon dies.
#[test]
fn nothing_outlives_its_supervisor() {
    for place in PLACES {
        let word = word(place, "supervisor");
        let script = format!("#!/bin/sh\nsetsid -f sleep {word}\nexec sleep {word}\n");
        let package = package(&[("run", &script)]);
        in_place(place, OneHost(None), async move |host| {
            let run = host.run(&package, "run");
            tokio::pin!(run);
            let started = until("both run", || alive(&word).len() >= 2);
            tokio::select! {
                report = &mut run => panic!("it ended: {report:?}"),
                () = started => {}
            }
            let folder = package.path().display().to_string();
            let supervisors = alive(&folder);
            // Its guard is a copy of it.
            assert!(!supervisors.is_empty(), "no supervisor of {folder}");
            let first = supervisors.iter().min().expect("one");
            let first = rustix::process::Pid::from_raw(*first).expect("a process");
            rustix::process::kill_process(first, rustix::process::Signal::KILL).expect("ours");
            let _report = run.await;
            until("it has ended with its supervisor", || alive(&word).is_empty()).await;
            until("its guard has ended with it", || alive(&folder).is_empty()).await;
        });
    }
}

/// A run that nobody waits for any more ends at once.
#[test]
fn nothing_outlives_interest_in_it() {
    for place in PLACES {
        let word = word(place, "interest");
        let script = format!("#!/bin/sh\nsetsid -f sleep {word}\nexec sleep {word}\n");
        let package = package(&[("run", &script)]);
        in_place(place, OneHost(None), async move |host| {
            let run = host.run(&package, "run");
            let started = until("both run", || alive(&word).len() >= 2);
            tokio::select! {
                report = run => panic!("it ended: {report:?}"),
                () = started => {}
            }
            until("it has ended, as nobody waits", || alive(&word).is_empty()).await;
        });
    }
}
