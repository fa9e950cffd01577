//! The plugin contract, from the daemon's side, with real shared libraries: whatever a plugin does,
//! its caller gets an answer in time and everything else goes on.
//!
//! Every test runs in this one process, so that a plugin which takes it down fails them all.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use std::fs;
use std::future::Future;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use mortise::plugins::{
    CallError, EffectAnswer, EffectLimits, EffectRequest, LoadOutcome, LogSink, OpenError,
    PerformEffect, PluginHost, PluginSettings, PoolLimits, SourceInstance, Trust,
    call_with_effects,
};
use mortise_plugin::{
    Act, Delivery, EffectOutcome, ExecEnd, FaultKind, Host, HttpRequest, LogLevel, MailInput,
    Message, Payload, Plugin, ResponseBody, Role, SinkCall, SinkInput, SourceCall, SourceIds,
    SourceInput, SourceOutput, Tick,
};
use serde_json::{Value, json};

/// Long enough for any call that works, on a busy machine too.
const AMPLE: Duration = Duration::from_secs(30);

/// A directory of libraries and how they are loaded.
struct Bench {
    directory: tempfile::TempDir,
    settings: PluginSettings,
}

impl Bench {
    fn new(libraries: &[&str]) -> Bench {
        let directory = tempfile::tempdir().unwrap();
        for library in libraries {
            copy_library(library, &directory.path().join(format!("{library}.so")));
        }
        let trust = Trust::RootAndUser { uid: rustix::process::getuid().as_raw() };
        let mut settings = PluginSettings::new(vec![directory.path().to_owned()], trust);
        settings.open_deadline = AMPLE;
        settings.load_deadline = AMPLE;
        settings.pool = PoolLimits { threads: 4, lost_threads: 2, ..PoolLimits::default() };
        Bench { directory, settings }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn load(&self) -> PluginHost {
        PluginHost::load(self.settings.clone())
    }
}

/// The libraries lie where `cargo build` puts them, one directory above the test programs.
fn built_library(package: &str) -> PathBuf {
    let program = std::env::current_exe().unwrap();
    let profile = program.parent().unwrap().parent().unwrap();
    let path = profile.join(format!("lib{}.so", package.replace('-', "_")));
    assert!(path.exists(), "{} is missing: run cargo build --workspace first", path.display());
    path
}

fn copy_library(name: &str, target: &Path) {
    fs::copy(built_library(&format!("mortise-test-{name}")), target).unwrap();
    chmod(target, 0o644);
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn silent() -> LogSink {
    Arc::new(|_, _| {})
}

fn request(deadline: Duration) -> SourceCall {
    SourceCall {
        now_ms: 7,
        deadline_ms: u64::try_from(deadline.as_millis()).unwrap(),
        source: SourceIds::default(),
        input: SourceInput::Http(HttpRequest {
            method: "POST".to_owned(),
            query_raw: String::new(),
            headers: vec![("host".to_owned(), "localhost".to_owned())],
            peer: "192.0.2.1".to_owned(),
        }),
    }
}

async fn open(host: &PluginHost, kind: &str, config: Value) -> SourceInstance {
    host.open_source(kind, &config, kind, silent()).await.unwrap()
}

async fn call(
    source: &SourceInstance,
    deadline: Duration,
    body: &'static str,
) -> Result<SourceOutput, CallError> {
    source.call(request(deadline), Bytes::from_static(body.as_bytes())).await
}

fn text(output: SourceOutput) -> String {
    match output.response.unwrap().body {
        ResponseBody::Text(text) => text,
        other => panic!("no text but {other:?}"),
    }
}

/// What became of each file, by its name.
fn refusals(host: &PluginHost) -> Vec<(String, String)> {
    let refused = host.load_reports().iter().filter_map(|report| match &report.outcome {
        LoadOutcome::Refused { reason } => {
            let name = report.path.file_name().unwrap().to_string_lossy().into_owned();
            Some((name, reason.clone()))
        }
        LoadOutcome::Loaded { .. } => None,
    });
    refused.collect()
}

fn assert_refused(host: &PluginHost, file: &str, why: &str) {
    let refusals = refusals(host);
    let found = refusals.iter().find(|(name, _)| name == file);
    let (_, reason) = found.unwrap_or_else(|| panic!("{file} is not refused: {refusals:?}"));
    assert!(reason.contains(why), "{file}: {reason}");
    assert_eq!(reason.lines().count(), 1, "one line for the operator: {reason}");
}

/// The sign that the daemon serves on: another plugin answers.
async fn assert_serves(host: &PluginHost) {
    let second = open(host, "test-second", json!({})).await;
    assert_eq!(text(call(&second, AMPLE, "").await.unwrap()), "second");
}

/// Asks again while the instance is stuck.
async fn call_until_healthy(source: &SourceInstance) -> Result<SourceOutput, CallError> {
    let attempts = async {
        loop {
            match call(source, AMPLE, "").await {
                Err(CallError::Stuck) => tokio::time::sleep(Duration::from_millis(10)).await,
                answer => return answer,
            }
        }
    };
    tokio::time::timeout(AMPLE, attempts).await.expect("healthy in time")
}

#[tokio::test]
async fn a_good_plugin_answers_with_document_and_bodies_and_logs() {
    let host = Bench::new(&["misbehaving"]).load();
    assert_eq!(refusals(&host), vec![]);
    let lines = Arc::new(Mutex::new(Vec::new()));
    let log: LogSink = {
        let lines = Arc::clone(&lines);
        Arc::new(move |level, message| lines.lock().unwrap().push((level, message.to_owned())))
    };
    let config = json!({ "note": "hello" });
    let echo = host.open_source("test-echo", &config, "evs_1", log).await.unwrap();
    let output = call(&echo, AMPLE, "{\"a\":1}").await.unwrap();
    assert_eq!(output.events[0].payload, Payload::Body(0));
    assert_eq!(output.bodies, vec![b"{\"a\":1}".to_vec()]);
    assert_eq!(text(output), config.to_string());
    assert_eq!(*lines.lock().unwrap(), vec![(LogLevel::Info, "echoing".to_owned())]);
    let report = echo.report();
    assert_eq!((report.name.as_str(), report.calls, report.faults), ("evs_1", 1, 0));
    assert_eq!(host.report().instances.len(), 1);
    drop(echo);
    assert_eq!(host.report().instances, vec![]);
}

#[tokio::test]
async fn a_sink_answers_too() {
    let host = Bench::new(&["second"]).load();
    let sink = host.open_sink("test-second-alias", &json!({}), "int_1", silent()).await.unwrap();
    let delivery = Delivery {
        id: "dlv_1".to_owned(),
        attempt: 1,
        trigger: "run.failed".to_owned(),
        message: Message { title: "A run failed".to_owned(), ..Message::default() },
        occurrences: vec![json!({})],
        count: 1,
        thread: None,
    };
    let call = SinkCall { now_ms: 7, deadline_ms: 30_000, input: SinkInput::Deliver(delivery) };
    let output = sink.call(call, Bytes::new()).await.unwrap();
    assert_eq!(output.receipt.unwrap().message_id.as_deref(), Some("dlv_1"));
}

#[tokio::test]
async fn a_panic_in_a_call_is_the_fault_of_that_call() {
    let host = Bench::new(&["misbehaving", "second"]).load();
    let source = open(&host, "test-panics", json!({})).await;
    for _ in 0..2 {
        let error = call(&source, AMPLE, "").await.unwrap_err();
        let CallError::Fault(fault) = error else { panic!("{error:?}") };
        assert_eq!(fault.kind, FaultKind::Panicked);
        assert_eq!(fault.message, "the plugin panicked: call number 7");
    }
    assert_eq!(source.report().panics, 2);
    assert_serves(&host).await;
}

#[tokio::test]
async fn a_panic_at_open_is_an_error() {
    let host = Bench::new(&["misbehaving", "second"]).load();
    let opened = host.open_source("test-panics-at-open", &json!({}), "x", silent()).await;
    let Err(OpenError::Call(CallError::Fault(fault))) = opened else { panic!("{opened:?}") };
    assert_eq!(fault.kind, FaultKind::Panicked);
    assert_eq!(fault.message, "the plugin panicked: cannot open");
    assert_serves(&host).await;
}

#[tokio::test]
async fn a_panic_at_stop_and_in_a_destructor_ends_nothing() {
    let host = Bench::new(&["misbehaving", "second"]).load();
    let (sender, receiver) = mpsc::channel();
    let log: LogSink = Arc::new(move |_, message| drop(sender.send(message.to_owned())));
    let source = host.open_source("test-panics-at-stop", &json!({}), "x", log).await.unwrap();
    call(&source, AMPLE, "").await.unwrap();
    drop(source);
    assert_eq!(receiver.recv_timeout(AMPLE).unwrap(), "stopping");
    // The sender goes away with the instance: its destructor is over then.
    assert_eq!(receiver.recv_timeout(AMPLE), Err(mpsc::RecvTimeoutError::Disconnected));
    assert_serves(&host).await;
}

#[tokio::test]
async fn a_panic_in_the_descriptor_refuses_the_library() {
    let host = Bench::new(&["descriptor-panics", "second"]).load();
    assert_refused(
        &host,
        "descriptor-panics.so",
        "it cannot describe itself: the plugin panicked: no idea who I am",
    );
    assert_serves(&host).await;
}

#[tokio::test]
async fn a_hanging_call_gets_its_instance_stuck_until_it_returns() {
    let host = Bench::new(&["misbehaving", "second"]).load();
    let source = open(&host, "test-hangs", json!({ "hang_ms": 3000 })).await;
    let deadline = Duration::from_millis(100);
    let error = call(&source, deadline, "hang").await.unwrap_err();
    assert_eq!(error, CallError::Deadline(deadline));
    assert_eq!(call(&source, AMPLE, "").await.unwrap_err(), CallError::Stuck);
    let report = host.report();
    assert_eq!((report.threads, report.lost_threads), (4, 1), "the lost thread is replaced");
    assert_eq!((report.instances[0].stuck_calls, report.instances[0].abandoned), (1, 1));
    assert_serves(&host).await;

    assert_eq!(text(call_until_healthy(&source).await.unwrap()), "at last");
    let report = source.report();
    assert_eq!((report.stuck_calls, report.abandoned, report.returned), (0, 1, 1));
    assert_eq!(host.report().lost_threads, 0);
}

#[tokio::test]
async fn a_caller_that_goes_away_does_not_hide_a_hanging_call() {
    let host = Bench::new(&["misbehaving", "second"]).load();
    let source = open(&host, "test-hangs", json!({ "hang_ms": 3000 })).await;
    let call_of_client = call(&source, Duration::from_millis(300), "hang");
    let gone = tokio::time::timeout(Duration::from_millis(100), call_of_client).await;
    assert!(gone.is_err());
    let stuck = async {
        while source.report().stuck_calls == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(AMPLE, stuck).await.expect("found to be stuck");
    assert_eq!(call(&source, AMPLE, "").await.unwrap_err(), CallError::Stuck);
    assert_serves(&host).await;
}

#[tokio::test]
async fn one_hanging_instance_leaves_threads_for_the_others() {
    let host = Bench::new(&["misbehaving", "second"]).load();
    let source = open(&host, "test-hangs", json!({ "hang_ms": 4000 })).await;
    let mut hanging = Vec::new();
    for _ in 0..12 {
        let source = source.clone();
        hanging.push(tokio::spawn(async move {
            call(&source, Duration::from_millis(3000), "hang").await.unwrap_err()
        }));
    }
    // Its three threads hang now or soon; the fourth is for us, long before any deadline.
    let others = tokio::time::timeout(Duration::from_millis(2500), assert_serves(&host));
    others.await.expect("others are answered while one instance hangs");
    let mut deadlines = 0;
    for call in hanging {
        match call.await.unwrap() {
            CallError::Deadline(_) => deadlines += 1,
            CallError::Stuck | CallError::Busy => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(deadlines, 3, "the calls that had no thread are told so");
    call_until_healthy(&source).await.unwrap();
}

#[tokio::test]
async fn past_the_bound_of_lost_threads_nothing_is_opened() {
    let mut bench = Bench::new(&["misbehaving", "second"]);
    bench.settings.open_deadline = Duration::from_millis(100);
    let host = bench.load();
    let hang = json!({ "hang_ms": 4000 });
    // Two may be lost; the third is one too many.
    for _ in 0..3 {
        let opened = host.open_source("test-hangs-at-open", &hang, "x", silent()).await;
        let Err(OpenError::Call(CallError::Deadline(_))) = opened else { panic!("{opened:?}") };
    }
    let refused = host.open_source("test-echo", &json!({}), "x", silent()).await.unwrap_err();
    assert_eq!(refused, OpenError::ThreadsLost { lost: 3, allowed: 2 });
    assert_eq!(host.report().threads, 3, "the third was not replaced");
    let back = async {
        while host.report().lost_threads > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(AMPLE, back).await.expect("they come back");
    assert_eq!(host.report().threads, 4);
    assert_eq!(host.report().instances, vec![], "what came too late is closed again");
}

#[tokio::test]
async fn a_full_queue_is_busy() {
    let mut bench = Bench::new(&["misbehaving"]);
    bench.settings.pool.queued_per_lane = 2;
    let host = bench.load();
    let source = open(&host, "test-hangs", json!({ "hang_ms": 500 })).await;
    let mut calls = Vec::new();
    for _ in 0..20 {
        let source = source.clone();
        calls.push(tokio::spawn(async move { call(&source, AMPLE, "hang").await }));
    }
    let (mut answered, mut busy) = (0, 0);
    for call in calls {
        match call.await.unwrap() {
            Ok(_) => answered += 1,
            Err(CallError::Busy) => busy += 1,
            Err(other) => panic!("{other:?}"),
        }
    }
    assert_eq!(answered + busy, 20);
    assert!((2..=5).contains(&answered), "two wait and up to three run, {answered} answered");
}

#[tokio::test]
async fn answers_that_break_the_contract_are_not_used() {
    let mut bench = Bench::new(&["misbehaving", "second"]);
    bench.settings.max_answer_bytes = 1 << 20;
    let host = bench.load();
    for (kind, why) in [
        ("test-bad-answer", "it refers to body 7 of 0"),
        ("test-huge-answer", "at most 1048576 are allowed"),
    ] {
        let source = open(&host, kind, json!({})).await;
        let error = call(&source, AMPLE, "").await.unwrap_err();
        assert!(error.to_string().contains(why), "{kind}: {error}");
        assert_eq!(source.report().bad_answers, 1);
    }
    let echo = open(&host, "test-echo", json!({})).await;
    let error = call(&echo, AMPLE, "no JSON").await.unwrap_err();
    assert!(error.to_string().contains("the payload of event 0 is no JSON"), "{error}");
    assert_serves(&host).await;
}

#[tokio::test]
async fn files_that_are_no_plugins_are_refused_alone() {
    let bench = Bench::new(&["second", "foreign-layout"]);
    fs::write(bench.file("text.so"), "not a library").unwrap();
    fs::write(bench.file("empty.so"), "").unwrap();
    fs::write(bench.file("ignored.txt"), "not even tried").unwrap();
    fs::create_dir(bench.file("directory.so")).unwrap();
    let whole = fs::read(built_library("mortise-test-second")).unwrap();
    fs::write(bench.file("cut-off.so"), &whole[..whole.len() / 2]).unwrap();
    fs::write(bench.file("cut-early.so"), &whole[..100]).unwrap();
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let libc = maps.lines().find_map(|line| {
        line.split_whitespace()
            .nth(5)
            .filter(|path| path.contains("/libc.so") || path.contains("/libc-"))
    });
    fs::copy(libc.expect("this program uses the C library"), bench.file("libc.so")).unwrap();
    for file in ["text.so", "empty.so", "cut-off.so", "cut-early.so", "libc.so"] {
        chmod(&bench.file(file), 0o644);
    }

    let host = bench.load();
    assert_refused(&host, "foreign-layout.so", "built against another plugin interface");
    assert_refused(&host, "text.so", "not a shared library");
    assert_refused(&host, "empty.so", "the file is empty");
    assert_refused(&host, "cut-off.so", "");
    assert_refused(&host, "cut-early.so", "not a shared library");
    assert_refused(&host, "libc.so", "not a Mortise plugin");
    assert_refused(&host, "directory.so", "not a regular file");
    assert_eq!(refusals(&host).len(), 7);
    assert_serves(&host).await;
}

#[tokio::test]
async fn a_missing_directory_is_a_report() {
    let mut bench = Bench::new(&["second"]);
    bench.settings.paths.insert(0, bench.file("nowhere"));
    let host = bench.load();
    assert_refused(&host, "nowhere", "cannot look at it");
    assert_serves(&host).await;
}

#[tokio::test]
async fn what_others_can_write_is_refused() {
    let bench = Bench::new(&["misbehaving", "second"]);
    chmod(&bench.file("misbehaving.so"), 0o666);
    let host = bench.load();
    assert_refused(&host, "misbehaving.so", "is writable by everybody (mode 0666)");
    assert_serves(&host).await;
    assert!(host.find(Role::Source, "test-echo").is_none());

    chmod(bench.directory.path(), 0o777);
    let host = bench.load();
    let name = bench.directory.path().file_name().unwrap().to_string_lossy().into_owned();
    assert_refused(&host, &name, "is writable by everybody (mode 0777)");
    assert_eq!(host.types(Role::Source).count(), 0);
}

#[tokio::test]
async fn a_file_of_a_stranger_is_refused() {
    let bench = Bench::new(&["misbehaving", "second"]);
    if !rustix::process::getuid().is_root() {
        // Only root can give a file away; the rule itself is the same for every owner.
        return;
    }
    std::os::unix::fs::chown(bench.file("misbehaving.so"), Some(65_534), Some(65_534)).unwrap();
    let host = bench.load();
    assert_refused(&host, "misbehaving.so", "belongs to uid 65534");
    assert_serves(&host).await;
}

#[tokio::test]
async fn two_plugins_stand_side_by_side() {
    let host = Bench::new(&["misbehaving", "second"]).load();
    let echo = open(&host, "test-echo", json!({ "note": "first" })).await;
    let second = open(&host, "test-second", json!({})).await;
    for _ in 0..3 {
        let output = call(&echo, AMPLE, "1").await.unwrap();
        assert_eq!(text(output), "{\"note\":\"first\"}");
        assert_eq!(text(call(&second, AMPLE, "").await.unwrap()), "second");
    }
    assert!(host.types(Role::Source).any(|found| found.plugin == "misbehaving"));
    assert!(host.types(Role::Sink).any(|found| found.plugin == "second"));
}

#[tokio::test]
async fn a_type_name_belongs_to_the_first_library_that_has_it() {
    let bench = Bench::new(&["second"]);
    // Later by name, so loaded later.
    copy_library("clashing", &bench.file("zz-clashing.so"));
    copy_library("second", &bench.file("zz-copy.so"));
    let host = bench.load();
    let taken = "is taken already, by plugin `second`";
    assert_refused(
        &host,
        "zz-clashing.so",
        &format!("`test-second-alias` of plugin `clashing` {taken}"),
    );
    assert_refused(&host, "zz-copy.so", taken);
    assert_serves(&host).await;
}

#[test]
fn sixteen_threads_call_one_instance() {
    let host = Bench::new(&["misbehaving"]).load();
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let echo = runtime().block_on(open(&host, "test-echo", json!({})));
    std::thread::scope(|scope| {
        for thread in 0..16_u32 {
            let echo = &echo;
            scope.spawn(move || {
                for number in 0..250_u32 {
                    let body = format!("[{thread},{number}]");
                    let call = echo.call(request(AMPLE), Bytes::from(body.clone()));
                    let output = runtime().block_on(call).unwrap();
                    assert_eq!(output.bodies, vec![body.into_bytes()]);
                }
            });
        }
    });
    let report = echo.report();
    assert_eq!((report.calls, report.faults, report.abandoned), (4000, 0, 0));
}

/// Answers every effect with a status and the body it was asked with.
struct FakePeer {
    delay: Duration,
}

impl PerformEffect for FakePeer {
    fn perform(
        &self,
        request: EffectRequest,
    ) -> Pin<Box<dyn Future<Output = EffectAnswer> + Send + '_>> {
        Box::pin(async move {
            tokio::time::sleep(self.delay).await;
            let Act::Http(http) = request.effect.act else { panic!("plugins ask for HTTP only") };
            let body = [http.url.as_bytes(), &request.body].concat();
            let outcome = EffectOutcome::Http { status: 202, headers: Vec::new() };
            EffectAnswer { outcome, body: Bytes::from(body) }
        })
    }
}

#[tokio::test]
async fn effects_are_performed_and_answered() {
    let host = Bench::new(&["misbehaving"]).load();
    let limits = EffectLimits { rounds: 3, deadline: AMPLE };
    let quick = FakePeer { delay: Duration::ZERO };
    let ask = |kind: &'static str, peer: FakePeer, limits: EffectLimits| {
        let host = &host;
        async move {
            let source = open(host, kind, json!({})).await;
            let body = Bytes::from_static(b"body");
            let output = call_with_effects(&source, request(AMPLE), body, &peer, limits).await;
            output.map(text)
        }
    };
    let answer = ask("test-wants-http", quick, limits).await;
    assert_eq!(answer.unwrap(), "1 202 https://example.org/body");

    let quick = FakePeer { delay: Duration::ZERO };
    let answer = ask("test-wants-http-for-ever", quick, limits).await;
    assert_eq!(answer.unwrap_err(), CallError::TooManyEffects(3));

    // The effect's own time-out is the plugin's to decide on ...
    let slow = FakePeer { delay: AMPLE };
    let answer = ask("test-wants-http", slow, limits).await;
    assert_eq!(answer.unwrap(), "1 no answer within 1000 ms ");

    // ... the overall deadline is not.
    let short = EffectLimits { rounds: 3, deadline: Duration::from_millis(200) };
    let slow = FakePeer { delay: AMPLE };
    let answer = ask("test-wants-http", slow, short).await;
    assert!(matches!(answer.unwrap_err(), CallError::OverallDeadline(_)));
}

#[tokio::test]
async fn configs_are_checked_by_schema_and_by_the_plugin() {
    let host = Bench::new(&["misbehaving", "second"]).load();
    let wrong = json!({ "hang_ms": 99_999, "note": ["secret value"], "nonsense": 1 });
    let Err(OpenError::Config { problems, .. }) =
        host.open_source("test-echo", &wrong, "x", silent()).await
    else {
        panic!("opened");
    };
    let paths: Vec<&str> = problems.iter().map(|problem| problem.path.as_str()).collect();
    assert_eq!(problems.len(), 3, "{problems:?}");
    assert!(paths.contains(&"hang_ms") && paths.contains(&"note") && paths.contains(&"nonsense"));
    assert!(!format!("{problems:?}").contains("secret value"));

    let report = host.check(Role::Source, "test-refuses", &json!({}), 7).await.unwrap();
    assert_eq!((report.errors.len(), report.warnings.len()), (2, 0));
    let report = host.check(Role::Source, "test-echo", &json!({}), 7).await.unwrap();
    assert_eq!((report.errors.len(), report.warnings.len()), (0, 1));
    assert_eq!(report.warnings[0].message, "questionable");
    let report = host.check(Role::Source, "test-echo", &wrong, 7).await.unwrap();
    assert_eq!(report.errors.len(), 3);
    let report = host.check(Role::Sink, "test-second", &json!({}), 7).await.unwrap();
    assert_eq!(report.errors.len(), 0);

    let unknown = host.check(Role::Sink, "pigeon", &json!({}), 7).await.unwrap_err();
    assert_eq!(
        unknown.to_string(),
        "unknown sink type `pigeon`, known are: test-second, test-second-alias"
    );
}

#[test]
fn plugins_can_be_linked_into_one_program_and_called_plainly() {
    assert_eq!(mortise_test_misbehaving::Misbehaving::descriptor().name, "misbehaving");
    let source = mortise_test_second::Second::open_source("test-second", json!({}), Host::silent());
    let output = source.unwrap().call(request(AMPLE), b"").unwrap();
    assert_eq!(text(output), "second");
}

/// The packages of `plugins/`, which have a library each.
fn shipped_plugins() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins");
    let mut packages = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let Ok(manifest) = fs::read_to_string(entry.unwrap().path().join("Cargo.toml")) else {
            continue;
        };
        let name = manifest.lines().find_map(|line| line.strip_prefix("name = "));
        packages.push(name.unwrap().trim_matches('"').to_owned());
    }
    packages
}

#[tokio::test]
async fn every_shipped_plugin_keeps_the_contract() {
    for package in shipped_plugins() {
        let bench = Bench::new(&[]);
        let file = bench.file("plugin.so");
        fs::copy(built_library(&package), &file).unwrap();
        chmod(&file, 0o644);
        let host = bench.load();
        assert_eq!(refusals(&host), vec![], "{package}");
        for role in [Role::Source, Role::Sink] {
            for found in host.types(role) {
                let kind = &found.descriptor.name;
                let examples = found.descriptor.config_schema["examples"].as_array();
                let examples = examples.unwrap_or_else(|| panic!("{kind}: a schema has examples"));
                for config in examples {
                    let report = host.check(role, kind, config, 7).await.unwrap();
                    assert_eq!(report.errors, vec![], "{kind} opens with its own example");
                }
                // What is wrong is told, whatever it is; nothing panics and nothing is stuck.
                for config in [json!({}), json!({ "policy": 1 }), json!([]), Value::Null] {
                    host.check(role, kind, &config, 7).await.unwrap();
                }
                match role {
                    Role::Source => assert_answers_anything(&host, kind, &examples[0]).await,
                    Role::Sink => assert_sink_answers_anything(&host, kind, &examples[0]).await,
                }
            }
        }
        assert_eq!(host.report().lost_threads, 0, "{package}");
    }
}

/// Calls a source with each input it could get, none of which it need understand.
async fn assert_answers_anything(host: &PluginHost, kind: &str, config: &Value) {
    let source = open(host, kind, config.clone()).await;
    let mut inputs = vec![
        SourceInput::Mail(MailInput { sender: String::new(), recipients: Vec::new() }),
        SourceInput::Tick(Tick { due_ms: 7, last_ms: None, cursor: Some(json!("nonsense")) }),
        SourceInput::Published { event_type: String::new() },
        SourceInput::Response {
            state: json!({ "never": "asked for" }),
            outcome: EffectOutcome::Failed { message: String::new(), transient: true },
        },
    ];
    for method in ["GET", "POST", "\u{0}"] {
        inputs.push(SourceInput::Http(HttpRequest {
            method: method.to_owned(),
            query_raw: "a=%&b=%ff&&=&c".to_owned(),
            headers: vec![
                ("content-type".to_owned(), "application/json".to_owned()),
                ("".to_owned(), "\u{ff}".to_owned()),
            ],
            peer: String::new(),
        }));
    }
    for input in inputs {
        for body in [&b""[..], b"{", b"\xff\xfe\x00", b"{\"a\":1}", DEEP] {
            let call = SourceCall::new(7, 30_000, input.clone());
            match source.call(call, Bytes::from_static(body)).await {
                Err(CallError::Fault(fault)) if fault.kind != FaultKind::Panicked => {}
                Ok(_) => {}
                Err(error) => panic!("{kind}: {error:?} for {input:?}"),
            }
        }
    }
}

/// Calls a sink with each input it could get, with whatever a service could answer.
async fn assert_sink_answers_anything(host: &PluginHost, kind: &str, config: &Value) {
    let sink = host.open_sink(kind, config, kind, silent()).await.unwrap();
    let delivery = |text: &str| Delivery {
        id: text.to_owned(),
        attempt: u32::MAX,
        trigger: text.to_owned(),
        message: Message {
            title: text.to_owned(),
            text: text.to_owned(),
            fields: vec![(text.to_owned(), text.to_owned())],
            link: Some(text.to_owned()),
            ..Message::default()
        },
        occurrences: vec![Value::Null, json!([text])],
        count: u32::MAX,
        thread: Some(text.to_owned()),
    };
    let call = async |input: SinkInput, body: &'static [u8]| {
        let call = SinkCall { now_ms: 7, deadline_ms: 30_000, input: input.clone() };
        match sink.call(call, Bytes::from_static(body)).await {
            Err(CallError::Fault(fault)) if fault.kind != FaultKind::Panicked => None,
            Ok(output) => output.effect.map(|it| it.state),
            Err(error) => panic!("{kind}: {error:?} for {input:?}"),
        }
    };
    let mut states = vec![json!({ "never": "asked for" })];
    for text in ["", "\u{0}\r\n", "{{id}}", "\u{1f600}", "<@U1> | \\ \" '"] {
        states.extend(call(SinkInput::Deliver(delivery(text)), b"").await);
    }
    states.extend(call(SinkInput::Test {}, b"").await);
    let headers = vec![("retry-after".to_owned(), "soon".to_owned())];
    let outcomes = [
        EffectOutcome::Http { status: 200, headers: headers.clone() },
        EffectOutcome::Http { status: 429, headers: headers.clone() },
        EffectOutcome::Http { status: 999, headers },
        EffectOutcome::Exec { end: ExecEnd::Exited { status: -1 }, stderr: "\u{0}".to_owned() },
        EffectOutcome::Failed { message: String::new(), transient: true },
    ];
    for state in states {
        for outcome in &outcomes {
            for body in [&b""[..], b"{", b"\xff\xfe\x00", b"{\"ok\":true}", b"[1]", DEEP] {
                let (state, outcome) = (state.clone(), outcome.clone());
                call(SinkInput::Response { state, outcome }, body).await;
            }
        }
    }
}

/// JSON nested deeper than any parser should follow.
const DEEP: &[u8] = &[b'['; 100_000];
