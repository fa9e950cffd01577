//! Attempts to get out, to be too much, or to do harm, past JavaScript: an addon of the version's own
//! makes any call of the kernel.
//!
//! Written so that a sandbox that fails cannot hurt the machine: whatever bombs, fills or spins bounds
//! itself.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use mortise::functions::outcome::{FailureKind, Outcome, RunReport};
use mortise::functions::pool::Pool;
use mortise::model::id::SnapInId;

use crate::harness::*;

/// `call(number, ...)` makes a call of the kernel and answers what it answers, or `-errno`; `spin()` never
/// ends and is deaf; `threads(n)` starts threads that sleep, and answers how many.
const ADDON: &str = r#"
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>
#include <sys/syscall.h>
typedef void *any;
int napi_create_function(any, const char *, size_t, any (*)(any, any), void *, any *);
int napi_set_named_property(any, any, const char *, any);
int napi_get_cb_info(any, any, size_t *, any *, any *, void **);
int napi_get_value_int64(any, any, int64_t *);
int napi_create_int64(any, int64_t, any *);
static any call(any env, any info) {
    size_t count = 7; any argv[7], out; int64_t v[7] = {0};
    napi_get_cb_info(env, info, &count, argv, NULL, NULL);
    for (size_t i = 0; i < count && i < 7; i++) napi_get_value_int64(env, argv[i], &v[i]);
    long r = syscall(v[0], v[1], v[2], v[3], v[4], v[5], v[6]);
    napi_create_int64(env, r == -1 ? -errno : r, &out);
    return out;
}
static any spin(any env, any info) {
    sigset_t all; sigfillset(&all); sigprocmask(SIG_SETMASK, &all, NULL);
    for (int i = 1; i < 65; i++) signal(i, SIG_IGN);
    for (volatile int i = 0;; i++) ;
}
static void *rest(void *none) { for (;;) pause(); }
static any threads(any env, any info) {
    size_t count = 1; any argv[1], out; int64_t most = 0, made = 0;
    napi_get_cb_info(env, info, &count, argv, NULL, NULL);
    napi_get_value_int64(env, argv[0], &most);
    pthread_attr_t a; pthread_attr_init(&a); pthread_attr_setstacksize(&a, 1 << 20);
    for (pthread_t t; made < most && !pthread_create(&t, &a, rest, NULL); made++) ;
    napi_create_int64(env, made, &out);
    return out;
}
static void add(any env, any to, const char *name, any (*f)(any, any)) {
    any it; napi_create_function(env, name, (size_t)-1, f, NULL, &it);
    napi_set_named_property(env, to, name, it);
}
any napi_register_module_v1(any env, any exports) {
    add(env, exports, "call", call); add(env, exports, "spin", spin);
    add(env, exports, "threads", threads);
    return exports;
}
"#;

/// A package with the addon.
fn armed(body: &str) -> Arc<Package> {
    let source = format!(
        "const {{ call, spin, threads }} = require('./addon.node'); const fs = require('fs');\n\
         exports.run = async ([event]) => {{ {body} }}"
    );
    let package = package(&[("index.js", &source), ("addon.c", ADDON)]);
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-pthread", "-w", "-o", "addon.node", "addon.c"]);
    let status = compiler.current_dir(package.path()).status();
    assert!(status.expect("contrib/ci/debian-packages.sh installs a compiler").success());
    package
}

async fn strike(body: &str) -> RunReport {
    pool().invoke(invocation(&armed(body))).await
}

/// Another snap-in on the same pool: nothing of what happened may show there.
async fn others_are_well(pool: &Pool) {
    let mut other = invocation(&package(&[("index.js", "exports.run = () => 'well'")]));
    other.snap_in = SnapInId(2);
    assert_eq!(result(&pool.invoke(other).await), "\"well\"");
}

#[tokio::test]
async fn the_kernel_makes_no_socket_of_any_family() {
    let body = "const made = []; let tried = 0;
        for (let family = 0; family < 46; family++) for (const kind of [1, 2, 3, 5]) {
            tried++; if (call(41, family, kind, 0) >= 0 || call(53, family, kind, 0, 0) >= 0) made.push([family, kind]);
        }
        return { made, tried, own: call(51, 0, 0, 0) };";
    let answer = result(&strike(body).await);
    assert!(answer.contains(r#""made":[],"tried":184"#), "{answer}");
    // That the addon calls the kernel at all: getsockname of what is a socket, with a bad address.
    assert!(answer.contains(r#""own":-14"#), "{answer}");
}

/// Numbers of x86-64. What asks for nothing changes nothing where it is not refused.
#[tokio::test]
#[cfg(target_arch = "x86_64")]
async fn the_kernel_refuses_whatever_leads_out() {
    let body = format!(
        "const daemon = {daemon}, parent = process.ppid;
         const attempts = {{
            fork: [57], vfork: [58], 'clone a process': [56, 17], 'a namespace': [56, 0x10000011], clone3: [435, 0, 0],
            unshare: [272, 0x10000000], setns: [308, 0, 0], mount: [165, 0, 0, 0, 0, 0], chroot: [161, 0], pivot: [155, 0, 0],
            'kill the daemon': [62, daemon, 0], 'kill the parent': [62, parent, 0], 'kill all': [62, -1, 0], 'kill the group': [62, 0, 0],
            tkill: [200, daemon, 0], tgkill: [234, daemon, daemon, 0], sigqueue: [129, daemon, 0, 0], pidfd: [434, daemon, 0],
            'pidfd signal': [424, 0, 0, 0, 0], ptrace: [101, 16, daemon, 0, 0], 'traced by the parent': [101, 0, 0, 0, 0],
            'read memory': [310, daemon, 0, 0, 0, 0, 0], 'write memory': [311, daemon, 0, 0, 0, 0, 0], kcmp: [312, daemon, daemon, 0, 0, 0],
            'limits of the daemon': [302, daemon, 7, 0, 0], setrlimit: [160, 7, 0], priority: [141, 0, 0, -5], scheduler: [144, 0, 0, 0],
            'outlive the daemon': [157, 1, 0], dumpable: [157, 4, 1], subreaper: [157, 36, 1], 'a session': [112], 'a group': [109, 0, 0],
            setuid: [105, 1], setgid: [106, 1], setgroups: [116, 0, 0], capset: [126, 0, 0], personality: [135, 0x0040000],
            'a file in memory': [319, 0, 0], 'shared memory': [29, 0, 4096, 0o1600], 'a queue': [68, 0, 0o1600], semaphores: [64, 0, 1, 0o1600],
            'map shared': [9, 0, 4096, 3, 0x21, -1, 0], 'a timer with a signal': [222, 0, 0, 0], inotify: [294, 0], fanotify: [300, 0, 0],
            'io_uring': [425, 1, 0], aio: [206, 1, 0], bpf: [321, 0, 0, 0], perf: [298, 0, 0, -1, -1, 0], userfaultfd: [323, 0], keys: [250, 0, -3, 0],
            'by handle': [304, 0, 0, 0], 'a module': [313, 0, 0, 0], kexec: [246, 0, 0, 0, 0], reboot: [169, 0, 0, 0, 0], clock: [227, 0, 0],
            hostname: [170, 0, 0], swap: [167, 0, 0], 'the log of the kernel': [103, 3, 0, 0], landlock: [444, 0, 0, 0],
            'send a descriptor': [46, 0, 0, 0], 'receive one': [47, 0, 0, 0], sendto: [44, 0, 0, 0, 0, 0, 0], connect: [42, 0, 0, 0], bind: [49, 0, 0, 0],
            'owner of the socket': [72, 0, 8, daemon], 'signal of the socket': [72, 0, 10, 9], 'lease': [72, 0, 1024, 0], terminal: [16, 0, 0x5412, 0],
            'run a program by descriptor': [322, 0, 0, 0, 0, 0x1000], 'other ids': [117, 1, 1, 1], 'create a node': [133, 0, 0, 0], chmod: [90, 0, 0],
         }};
         const done = [];
         for (const [name, it] of Object.entries(attempts)) {{
            const answer = call(...it); if (answer !== -1 && answer !== -38 && answer !== -13) done.push([name, answer]);
         }}
         return {{ done, tried: Object.keys(attempts).length }};",
        daemon = std::process::id()
    );
    let answer = result(&strike(&body).await);
    assert!(answer.contains(r#""done":[]"#) && answer.contains(r#""tried":74"#), "{answer}");
}

#[tokio::test]
async fn files_of_the_daemon_and_of_others_are_out_of_reach() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let outside = tempfile::tempdir().expect("a folder");
    let mode = PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(outside.path(), mode).expect("a mode");
    let key = outside.path().join("master.key");
    std::fs::write(&key, "secret").expect("a file");
    let other = package(&[("index.js", "exports.run = () => 1")]);
    let daemon = std::process::id();
    let body = format!(
        "const got = {{}};
         for (const path of [{key:?}, {other:?}, '/etc/passwd', '/etc/shadow', __dirname + '/passwd', __dirname + '/key',
             '/proc/self/environ', '/proc/self/mem', '/proc/self/maps', '/proc/self/root/etc/passwd',
             '/proc/{daemon}/environ', '/proc/{daemon}/mem', '/proc/{daemon}/maps', '/proc/1/cmdline']) {{
             try {{ fs.readFileSync(path); got[path] = 'read' }} catch (error) {{ if (error.code !== 'EACCES') got[path] = error.code }}
         }}
         for (const path of [{folder:?}, '/proc', '/proc/self/task', '/tmp', '/', '/etc', '/root', __dirname + '/..']) {{
             try {{ fs.readdirSync(path); got[path] = 'listed' }} catch (error) {{ if (error.code !== 'EACCES') got[path] = error.code }}
         }}
         for (const path of ['/tmp', '/var/tmp', '/dev/shm', '/run', __dirname]) {{
             for (const flags of [fs.constants.O_CREAT | fs.constants.O_WRONLY, 0o20200000 | fs.constants.O_WRONLY]) {{
                 const at = flags & 0o100 ? path + '/mortise-escaped' : path;
                 try {{ fs.openSync(at, flags, 0o600); got[at] = 'made' }} catch (error) {{ if (error.code !== 'EACCES') got[at] = error.code }}
             }}
         }}
         return [got, fs.readFileSync(__dirname + '/index.js').length > 0];",
        key = key.display().to_string(),
        other = other.path().join("index.js").display().to_string(),
        folder = outside.path().display().to_string(),
    );
    let package = armed(&body);
    symlink("/etc/passwd", package.path().join("passwd")).expect("a link");
    symlink(&key, package.path().join("key")).expect("a link");
    assert_eq!(result(&pool().invoke(invocation(&package)).await), "[{},true]");
}

#[tokio::test]
async fn threads_and_a_deaf_spin_end_with_their_run() {
    let pool = pool();
    let body = "const made = threads(5000); console.log(`${process.pid} ${made}`); spin();";
    let mut asked = invocation(&armed(body));
    asked.timeout = Duration::from_secs(3);
    let report = pool.invoke(asked).await;
    assert_failure(&report, FailureKind::Timeout, "did not let itself be stopped");
    let (id, made) = report.logs[0].message.split_once(' ').expect("two numbers");
    let made: u32 = made.parse().expect("a number");
    // Their stacks count as memory.
    assert!((10..400).contains(&made), "{made} threads");
    let ended = || {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat"));
        stat.map_or(true, |it| it.contains(") Z "))
    };
    until("it has ended", ended).await;
    others_are_well(&pool).await;
}

#[tokio::test]
async fn memory_of_webassembly_and_of_mappings_is_limited() {
    let body = "const memory = new WebAssembly.Memory({ initial: 1, maximum: 65536 });
        let pages = 1; try { for (; pages < 32768; pages += 256) { memory.grow(256); new Uint8Array(memory.buffer).fill(1, (pages - 1) * 65536) } } catch {}
        return pages / 16;";
    let report = strike(body).await;
    match &report.outcome {
        Outcome::Succeeded { result } => {
            let megabytes: f64 = result.get().parse().expect("a number");
            assert!(megabytes < 400.0, "{megabytes} MiB");
        }
        other => assert!(
            matches!(other, Outcome::Failed(it) if it.kind == FailureKind::Memory),
            "{report:?}"
        ),
    }
    let body = "let all = 0; for (; all < 1024; all += 8) if (call(9, 0, 8 << 20, 3, 0x8022, -1, 0) < 0) break; return all;";
    let megabytes: u32 = result(&strike(body).await).parse().expect("a number");
    assert!(megabytes < 400, "{megabytes} MiB");
}

/// Frames as the launcher's own script would write them, by a function that knows how.
#[tokio::test]
async fn forged_frames_hurt_only_their_own_run() {
    const FRAME: &str = "const frame = (header, body = '', claimed = Buffer.byteLength(body)) => {
        const text = Buffer.from(JSON.stringify(header)); const prefix = Buffer.alloc(8);
        prefix.writeUInt32LE(text.length, 0); prefix.writeUInt32LE(claimed, 4);
        return Buffer.concat([prefix, text, Buffer.from(body)]) };
        const write = (bytes) => { for (let at = 0; at < bytes.length;) { try { at += fs.writeSync(0, bytes, at) } catch (e) { if (e.code !== 'EAGAIN') throw e } } };
        const failure = (message) => ({ kind: 'thrown', name: 'Error', message, refresh: false });\n";
    let pool = pool();
    for (attack, expected) in [
        // It may say of itself whatever it likes.
        (
            "write(frame({ Done: { failure: null, logs: [], after: 'Ready' } }, '\"forged\"'))",
            "Succeeded",
        ),
        (
            "write(frame({ Done: { failure: null, logs: [], after: 'Ready' } }, 'no JSON'))",
            "kind: Crashed",
        ),
        (
            "write(frame({ Done: { failure: null, logs: [], after: 'Ready' } }, '\"' + 'x'.repeat(8 << 20) + '\"'))",
            "the limit is 1048576",
        ),
        (
            "write(frame({ Done: { failure: failure('x'.repeat(3 << 20)), logs: [], after: 'Ready' } }))",
            "Thrown",
        ),
        (
            "write(frame({ Done: { failure: null, logs: Array(50000).fill({ level: 'info', at_ms: 0, message: 'x'.repeat(100) }), after: 'Ready' } }, '1'))",
            "kind: Crashed",
        ),
        // What no runner says is the function's own failure, not an accident of the host's.
        ("write(Buffer.alloc(64, 0xff))", "kind: Crashed"),
        ("write(frame({ Done: {} }, '', 0x7fffffff))", "kind: Crashed"),
        ("write(frame({ Hello: { protocol: 3, sandbox: {} } }))", "kind: Crashed"),
        ("write(frame('Compiled', 'x'))", "kind: Crashed"),
        ("write(frame({ Nonsense: 1 }))", "kind: Crashed"),
        ("fs.closeSync(0)", "kind: Crashed"),
        (
            "write(frame({ Logs: [{ level: 'info', at_ms: 0, message: 'x'.repeat(6 << 20) }] }))",
            "kind: Crashed",
        ),
        (
            "write(frame({ Logs: [{ level: 'info', at_ms: 18446744073709551615n.toString() }] }))",
            "kind: Crashed",
        ),
        // More than it could hold, and more requests than anybody waits for.
        (
            "for (let i = 0; i < 200; i++) write(frame({ Fetch: { id: i, request: { method: 'POST', url: 'http://127.0.0.1:1/', headers: [], redirects: 'Follow' } } }, 'x'.repeat(1 << 20)))",
            "",
        ),
        (
            "for (let i = 0; i < 3000; i++) write(frame({ Connect: { id: i, host: '127.0.0.1', port: 1 } }))",
            "",
        ),
        (
            "for (let i = 0; i < 3000; i++) write(frame({ Taken: { id: i, bytes: 4e9 } })); write(frame({ Send: { id: 77 } }, 'x'))",
            "",
        ),
    ] {
        let body =
            format!("{FRAME}{attack}; await new Promise((r) => setTimeout(r, 300)); return 1");
        let package = package(&[(
            "index.js",
            &format!("const fs = require('fs'); exports.run = async () => {{ {body} }}"),
        )]);
        let mut asked = invocation(&package);
        asked.timeout = Duration::from_secs(10);
        let report = pool.invoke(asked).await;
        let said = format!("{:?}", report.outcome);
        assert!(said.contains(expected), "{attack}: {}", &said[..said.len().min(500)]);
        assert!(said.len() < 300_000, "{attack}: {} bytes are kept", said.len());
        let logged: usize = report.logs.iter().map(|it| it.message.len()).sum();
        assert!(report.logs.len() <= 2001 && logged <= 1 << 21, "{attack}: {logged} bytes of log");
        others_are_well(&pool).await;
    }
}

#[tokio::test]
async fn floods_past_the_console_change_nothing() {
    let pool = pool();
    for body in [
        "const block = Buffer.alloc(1 << 16, 120); let wrote = 0; try { for (let i = 0; i < 1000; i++) wrote += fs.writeSync(2, block) } catch (error) { return error.code } return 'done'",
        "for (let i = 0; i < 200_000; i++) console.log('x'.repeat(100)); return 'done'",
        "process._rawDebug('x'.repeat(1 << 20)); return 'done'",
    ] {
        let package = package(&[(
            "index.js",
            &format!("const fs = require('fs'); exports.run = async () => {{ {body} }}"),
        )]);
        let mut asked = invocation(&package);
        asked.timeout = Duration::from_secs(10);
        let report = pool.invoke(asked).await;
        let fine = match &report.outcome {
            Outcome::Succeeded { .. } => true,
            Outcome::Failed(failure) => failure.kind == FailureKind::Timeout,
            Outcome::Interrupted { .. } => false,
        };
        assert!(fine, "{body}: {:?}", report.outcome);
        others_are_well(&pool).await;
    }
}

#[tokio::test]
async fn a_flood_of_frames_ends_with_its_deadline() {
    let pool = pool();
    let body = "const text = Buffer.from(JSON.stringify({ Taken: { id: 1, bytes: 1 } })); const prefix = Buffer.alloc(8); prefix.writeUInt32LE(text.length, 0);
        const block = Buffer.concat(Array(1000).fill(Buffer.concat([prefix, text])));
        for (let at = 0;;) { try { at = (at + fs.writeSync(0, block, at)) % block.length } catch (e) { if (e.code !== 'EAGAIN') throw e } }";
    let package = package(&[(
        "index.js",
        &format!("const fs = require('fs'); exports.run = async () => {{ {body} }}"),
    )]);
    let mut asked = invocation(&package);
    asked.timeout = Duration::from_secs(2);
    let invoked = tokio::time::timeout(Duration::from_secs(40), pool.invoke(asked)).await;
    assert_failure(&invoked.expect("it ends"), FailureKind::Timeout, "");
    others_are_well(&pool).await;
}

#[tokio::test]
async fn nothing_goes_on_between_runs() {
    // What a module does for itself is not what a run has left behind.
    let source = "const busy = () => setImmediate(busy); let runs = 0; busy();
        exports.run = async () => [process.pid, ++runs]";
    let package = package(&[("index.js", source)]);
    let pool = pool();
    let first = result(&pool.invoke(invocation(&package)).await);
    let id = first.trim_start_matches('[').split(',').next().expect("its id");
    let is_stopped = || {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).expect("it is there");
        stat.contains(") T ")
    };
    until("it is stopped while there is no run", is_stopped).await;
    let second = result(&pool.invoke(invocation(&package)).await);
    assert_eq!(second, first.replace(",1]", ",2]"), "the same process");
}
