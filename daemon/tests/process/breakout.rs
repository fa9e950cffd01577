//! Programs that try to get out, to be too much, or to do harm.
//!
//! Written so that a sandbox that fails cannot hurt the machine: what bombs, fills or spins bounds
//! itself by limits and deadlines of its own before it begins.

use std::time::Duration;

use mortise::functions::outcome::FailureKind;

use crate::harness::{
    OneHost, PLACES, Place, assert_failure, hand_over, in_place, in_place_as_another, invocation,
    package, result, run_in, until,
};

/// Python that says for each attempt whether it succeeded.
const ATTEMPTS: &str = r#"#!/usr/bin/python3
import ctypes, json, os, resource, signal, socket, sys
libc = ctypes.CDLL(None, use_errno=True)
def call(*arguments):
    if libc.syscall(*arguments) == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
event = json.load(sys.stdin)
private = 'http_proxy' in os.environ
def read(path):
    return lambda: open(path, 'rb').read(1)
def write(path):
    return lambda: open(path, 'w').write('x')
def sock(family, kind, protocol=0):
    return lambda: socket.socket(family, kind, protocol)
def connect(address):
    return lambda: socket.create_connection(address, timeout=2)
def unix():
    s = socket.socket(socket.AF_UNIX)
    s.connect(event['socket'])
attempts = {
    'passwd': read('/etc/passwd'), 'shadow': read('/etc/shadow'), 'key': read(event['key']),
    'other snap-in': read(event['other']), 'environ of 1': read('/proc/1/environ'),
    'environ of parent': read(f'/proc/{event["daemon"]}/environ'),
    'memory of daemon': read(f'/proc/{event["daemon"]}/mem'),
    'maps of parent': read(f'/proc/{os.getppid()}/maps'),
    'list the state': lambda: os.listdir(os.path.dirname(event['key'])),
    'write here': write('./x'), 'write usr': write('/usr/x'), 'write var': write('/var/tmp/x'),
    'write home': write('/root/x'), 'write shm': write('/dev/shm/x'), 'write run': write('/run/x'),
    'overwrite itself': write('./run'),
    'tcp to the daemon': connect(('127.0.0.1', event['port'])),
    'unix to the daemon': unix,
    'udp out': lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('192.0.2.1', 9)),
    'netlink': sock(socket.AF_NETLINK, socket.SOCK_RAW),
    'packet': sock(socket.AF_PACKET, socket.SOCK_RAW), 'raw': sock(socket.AF_INET, socket.SOCK_RAW, 1),
    'vsock': sock(40, socket.SOCK_STREAM), 'alg': sock(38, socket.SOCK_SEQPACKET),
    'signal the daemon': lambda: os.kill(event['daemon'], 0),
    'queue a signal': lambda: call(129, event['daemon'], 0, 0),
    'ptrace': lambda: call(101, 16, event['daemon'], 0, 0),
    'read memory': lambda: call(310, event['daemon'], 0, 0, 0, 0, 0),
    'namespace': lambda: call(272, 0x10000000), 'mounts': lambda: call(272, 0x20000),
    'clone a namespace': lambda: call(56, 0x10000000 | 17, 0, 0, 0, 0),
    'clone3': lambda: call(435, 0, 0), 'mount': lambda: call(165, 0, b'/tmp', b'tmpfs', 0, 0),
    'pivot_root': lambda: call(155, b'.', b'.'), 'chroot': lambda: os.chroot('/tmp'),
    'keyctl': lambda: call(250, 0, -3, 0), 'bpf': lambda: call(321, 0, 0, 0),
    'perf': lambda: call(298, 0, 0, -1, -1, 0), 'io_uring': lambda: call(425, 1, 0),
    'userfaultfd': lambda: call(323, 0), 'by handle': lambda: call(304, 0, 0, 0),
    'become root': lambda: os.setuid(0), 'become another': lambda: os.setuid(1),
    'limits of daemon': lambda: resource.prlimit(event['daemon'], resource.RLIMIT_CORE),
    'raise a limit': lambda: resource.setrlimit(resource.RLIMIT_NPROC, (10**6, 10**6)),
    'set the time': lambda: call(227, 0, b'\0' * 16), 'reboot': lambda: call(169, 0, 0, 0, 0),
    'owner of a descriptor': lambda: __import__('fcntl').fcntl(0, 8, event['daemon']),
}
done, odd = [], {}
for name, attempt in attempts.items():
    try:
        attempt()
        done.append(name)
    except (OSError, ValueError) as error:
        odd[name] = str(error)
print(json.dumps({'done': done, 'refused': odd}))
"#;

#[test]
fn nothing_outside_can_be_reached() {
    let outside = tempfile::tempdir().expect("a folder");
    let key = outside.path().join("master.key");
    std::fs::write(&key, "secret").expect("a file");
    let other = package(&[("code", "other")]);
    for place in PLACES {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let socket = outside.path().join(format!("{place:?}.socket"));
        let unix = std::os::unix::net::UnixListener::bind(&socket).expect("a socket");
        // The attempts succeed for whoever is not held back: not everybody may do all of them.
        for path in [&key, &other.path().join("code"), &socket] {
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o777);
            std::fs::set_permissions(path, mode).expect("a mode");
        }
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(outside.path(), mode).expect("a mode");
        let event = serde_json::json!({
            "key": key,
            "other": other.path().join("code"),
            "daemon": std::process::id(),
            "port": listener.local_addr().expect("bound").port(),
            "socket": socket,
        });
        let package = package(&[("run", ATTEMPTS)]);
        let report = in_place(place, OneHost(None), async move |host| {
            let mut asked = invocation(&package, "run");
            asked.event = serde_json::to_vec(&event).expect("JSON").into();
            host.pool.invoke(asked).await
        });
        let value: serde_json::Value = serde_json::from_str(&result(&report)).expect("JSON");
        assert_eq!(value["done"], serde_json::json!([]), "{place:?}: {value}");
        let refused = value["refused"].as_object().expect("an object").len();
        assert!(refused > 40, "only {refused} were tried");
        drop((listener, unix));
    }
}

/// What a program tries with files and processes of its own user, whom the daemon runs as too.
const OF_THE_SAME_USER: &str = r#"#!/usr/bin/python3
import ctypes, json, os, socket, sys
libc = ctypes.CDLL(None, use_errno=True)
def call(*arguments):
    if libc.syscall(*arguments) == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
event = json.load(sys.stdin)
key, daemon = event['key'], event['daemon']
def opened(flags):
    def act():
        file = os.open(key, flags)
        os.fchmod(file, 0o666)
        os.ftruncate(file, 0)
    return act
def datagram():
    one, _ = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    one.sendto(b'x', event['datagrams'])
attempts = {
    'chmod': lambda: os.chmod(key, 0o666), 'old chmod': lambda: call(90, key.encode(), 0o666),
    'chmod folder': lambda: os.chmod(os.path.dirname(key), 0o777),
    'chown': lambda: os.chown(key, -1, os.getgid()), 'utime': lambda: os.utime(key, (1, 1)),
    'truncate': lambda: os.truncate(key, 0), 'open for nothing': opened(3),
    'empty for nothing': opened(3 | os.O_TRUNC), 'empty': opened(os.O_TRUNC),
    'empty own': lambda: os.open('./run', os.O_TRUNC),
    'chmod own': lambda: os.chmod('./run', 0o777), 'chmod own folder': lambda: os.chmod('.', 0o777),
    'datagram': datagram, 'signal': lambda: os.kill(daemon, 0),
    'renice': lambda: os.setpriority(os.PRIO_PROCESS, daemon, 19),
    'renice group': lambda: os.setpriority(os.PRIO_PGRP, os.getpgid(daemon), 19),
    'affinity': lambda: os.sched_setaffinity(daemon, [0]),
    'scheduler': lambda: os.sched_setscheduler(daemon, os.SCHED_IDLE, os.sched_param(0)),
}
if 'http_proxy' not in os.environ:
    attempts['renice user'] = lambda: os.setpriority(os.PRIO_USER, os.getuid(), 0)
done = []
for name, attempt in attempts.items():
    try:
        attempt()
        done.append(name)
    except OSError:
        pass
one, other = socket.socketpair()
one.send(b'x')
os.setpriority(os.PRIO_PROCESS, 0, 5)
with open('/dev/null', 'w') as file: file.write('x')
print(json.dumps([done, 'http_proxy' in os.environ, os.getuid()]))
"#;

/// A daemon that is not root shares its user with its programs.
#[test]
fn what_is_of_the_same_user_is_out_of_reach() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    for place in PLACES {
        let outside = tempfile::tempdir().expect("a folder");
        let key = outside.path().join("master.key");
        std::fs::write(&key, "secret").expect("a file");
        let path = outside.path().join("datagrams");
        let datagrams = std::os::unix::net::UnixDatagram::bind(&path).expect("a socket");
        datagrams.set_nonblocking(true).expect("it can be asked");
        let package = package(&[("run", OF_THE_SAME_USER)]);
        let ours = [
            outside.path().to_owned(),
            key.clone(),
            package.path().to_owned(),
            package.path().join("run"),
        ];
        for path in ours.iter().chain([&path]) {
            hand_over(path);
        }
        let looks = || {
            let look = |path: &std::path::PathBuf| {
                let it = std::fs::metadata(path).expect("it is there");
                (it.permissions().mode(), it.len(), it.mtime())
            };
            ours.iter().map(look).collect::<Vec<_>>()
        };
        let before = looks();
        // A process of the same user, in whose place the daemon could be.
        let mut bystander = std::process::Command::new("/bin/sleep");
        bystander.arg("60");
        if rustix::process::geteuid().is_root() {
            std::os::unix::process::CommandExt::uid(&mut bystander, crate::harness::ANOTHER_USER);
        }
        let mut bystander = bystander.spawn().expect("it starts");
        let event = serde_json::json!({
            "key": key, "daemon": bystander.id(), "datagrams": path,
        });
        let its_package = std::sync::Arc::clone(&package);
        let report = in_place_as_another(place, async move |host| {
            let mut asked = invocation(&its_package, "run");
            asked.event = serde_json::to_vec(&event).expect("JSON").into();
            host.pool.invoke(asked).await
        });
        let _killed = bystander.kill();
        let _reaped = bystander.wait();
        let value: serde_json::Value = serde_json::from_str(&result(&report)).expect("JSON");
        assert_eq!(value[0], serde_json::json!([]), "{place:?}: {report:?}");
        assert_eq!(value[1], place == Place::Private, "the place of a daemon that is not root");
        assert_ne!(value[2], 0);
        assert_eq!(looks(), before, "{place:?}");
        assert!(datagrams.recv(&mut [0]).is_err(), "{place:?}: a datagram came");
    }
}

/// Memory that is not the program's data is memory all the same.
#[test]
fn shared_memory_is_no_way_around_the_limit() {
    let script = r#"#!/usr/bin/python3
import ctypes, json, mmap, os, resource
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
size, got = 300 << 20, []
def fill(name, make):
    try: memory = make()
    except OSError: return
    for at in range(0, size, 4096): memory[at] = 1
    got.append(name)
def memfd():
    file = os.memfd_create('x')
    os.ftruncate(file, size)
    return mmap.mmap(file, size)
def zero():
    return mmap.mmap(os.open('/dev/zero', os.O_RDWR), size)
fill('shared', lambda: mmap.mmap(-1, size))
fill('memfd', memfd)
fill('zero', zero)
if libc.mmap(None, ctypes.c_size_t(size), 3, 0x122, -1, 0) not in (None, 2**64 - 1): got.append('down')
try:
    resource.setrlimit(resource.RLIMIT_STACK, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    got.append('stack')
except (OSError, ValueError): pass
file = os.open('./run', os.O_RDONLY)
begin = mmap.mmap(file, 0, access=mmap.ACCESS_READ)[:2].decode()
print(json.dumps([got, begin]))
"#;
    for place in PLACES {
        assert_eq!(result(&run_in(place, script)), "[[], \"#!\"]", "{place:?}");
    }
}

/// The same attempts outside of the sandbox: most of them work for who runs the tests, so that their
/// refusal says something.
#[test]
fn attempts_would_succeed_outside() {
    let folder = tempfile::tempdir().expect("a folder");
    let key = folder.path().join("key");
    std::fs::write(&key, "x").expect("a file");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let socket = folder.path().join("socket");
    let _unix = std::os::unix::net::UnixListener::bind(&socket).expect("a socket");
    let event = serde_json::json!({
        "key": key, "other": key, "daemon": std::process::id(), "socket": socket,
        "port": listener.local_addr().expect("bound").port(),
    });
    // Only those that change nothing.
    let harmless = "import sys\nkeep = ['passwd', 'key', 'other snap-in', 'environ of parent', \
                    'maps of parent', 'list the state', 'tcp to the daemon', 'unix to the daemon', \
                    'netlink', 'signal the daemon', 'limits of daemon', 'owner of a descriptor']\n\
                    attempts = {name: attempts[name] for name in keep}\ndone, odd = [], {}\n";
    let script = ATTEMPTS.replace("done, odd = [], {}\n", harmless);
    let mut child = std::process::Command::new("/usr/bin/python3")
        .args(["-c", &script])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("python");
    let input = child.stdin.take().expect("a pipe");
    serde_json::to_writer(input, &event).expect("it is read");
    let output = child.wait_with_output().expect("it ends");
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(value["refused"], serde_json::json!({}));
    assert_eq!(value["done"].as_array().expect("an array").len(), 12);
}

#[test]
fn processes_are_bounded() {
    // Bounded by itself: 600 children that end after 5 s at the latest.
    let script = "#!/usr/bin/python3\nimport os, time\nmade = 0\nfor _ in range(600):\n    \
                  try: child = os.fork()\n    except OSError: break\n    \
                  if child == 0:\n        time.sleep(5)\n        os._exit(0)\n    made += 1\nprint(made)\n";
    for place in PLACES {
        let made: usize = result(&run_in(place, script)).parse().expect("a number");
        // Among others of its user there is room for some of theirs.
        let most = match place {
            Place::Private => 64,
            Place::Shared => 64 + 256,
        };
        assert!((10..=most).contains(&made), "{place:?}: {made} processes");
    }
}

/// Every process starts others for as long as it lives, in sessions of their own.
#[test]
fn a_fork_bomb_ends_with_its_run() {
    for place in PLACES {
        let word = format!("bomb-{}-{place:?}", std::process::id());
        let script = format!(
            "#!/usr/bin/python3\nimport os, resource, time\nword = '{word}'\nend = time.time() + 60\n\
             while time.time() < end:\n    try:\n        if os.fork() == 0:\n            os.setsid()\n    \
             except OSError: pass\n"
        );
        let package = package(&[(&word, &script)]);
        in_place(place, OneHost(None), async move |host| {
            let mut asked = invocation(&package, &word);
            asked.timeout = Duration::from_millis(700);
            let report = host.pool.invoke(asked).await;
            assert_failure(&report, FailureKind::Timeout, "700 ms");
            let left = || {
                let processes = std::fs::read_dir("/proc").expect("a /proc").filter_map(Result::ok);
                let named = processes.filter(|it| {
                    let line = std::fs::read(it.path().join("cmdline")).unwrap_or_default();
                    String::from_utf8_lossy(&line).contains(&word)
                });
                named.count()
            };
            // All were killed at once; the kernel may still be taking the last of them down.
            until("none of them is left", || left() == 0).await;
        });
    }
}

#[test]
fn memory_and_disk_are_bounded() {
    for place in PLACES {
        // Stops at 1 GB by itself.
        let script = "#!/usr/bin/python3\nblocks = [bytearray(10**7) for _ in range(100)]\n";
        assert_failure(&run_in(place, script), FailureKind::Thrown, "MemoryError");
        let script = "#!/usr/bin/python3\nimport os\nwritten = 0\ntry:\n    for number in range(20):\n        \
                      with open(f'/tmp/{number}', 'wb') as file:\n            \
                      for _ in range(10): written += file.write(bytes(10**6))\n\
                      except OSError as error: print(error.errno if written < 10**8 else 0)\n";
        let errno: i32 = result(&run_in(place, script)).parse().expect("a number");
        let expected = match place {
            Place::Private => [libc::ENOSPC, libc::EFBIG],
            Place::Shared => [libc::EACCES, libc::EACCES],
        };
        assert!(expected.contains(&errno), "{place:?}: error {errno}");
    }
}

/// What one run writes to /tmp the next one does not see.
#[test]
fn temporary_files_go_with_their_run() {
    let package = package(&[("run", "#!/bin/sh\nls /tmp | wc -l\ntouch /tmp/x\n")]);
    in_place(Place::Private, OneHost(None), async move |host| {
        for _ in 0..2 {
            assert_eq!(result(&host.run(&package, "run").await), "0");
        }
    });
}

#[test]
fn spinning_ends_at_the_deadline() {
    for place in PLACES {
        let package = package(&[("run", "#!/bin/sh\nwhile :; do :; done\n")]);
        let report = in_place(place, OneHost(None), async move |host| {
            let mut asked = invocation(&package, "run");
            asked.timeout = Duration::from_millis(500);
            host.pool.invoke(asked).await
        });
        assert_failure(&report, FailureKind::Timeout, "500 ms");
        assert!(report.duration < Duration::from_secs(5));
    }
}

/// Signals to everybody, the parent, the group: they reach the run's own processes only.
#[test]
fn signals_stay_inside() {
    for place in PLACES {
        // A bystander of the same user as the programs, as other runs are.
        let user = if rustix::process::geteuid().is_root() { 65534 } else { 0 };
        let mut command = std::process::Command::new("/bin/sleep");
        command.arg("60");
        if user != 0 {
            std::os::unix::process::CommandExt::uid(&mut command, user);
        }
        let mut bystander = command.spawn().expect("it starts");
        let script = format!(
            "#!/usr/bin/python3\nimport os, signal\n\
             for target in [-1, {}, os.getppid(), 1]:\n    try: os.kill(target, signal.SIGKILL)\n    \
             except OSError: pass\nprint(1)\n",
            bystander.id()
        );
        let report = run_in(place, &script);
        let survived = bystander.try_wait().expect("ours").is_none();
        let _killed = bystander.kill();
        let _reaped = bystander.wait();
        assert!(survived, "{place:?}: the bystander was killed");
        // It spares itself, and its guard is out of its reach.
        assert_eq!(result(&report), "1", "{place:?}");
    }
}
