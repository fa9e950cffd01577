//! Tries to break out of the runner's sandbox, as code would that has taken over the engine.
//!
//! A program of its own without the test harness, because the sandbox is for a process with one
//! thread and cannot be taken off: it starts itself once for every attempt.

#![expect(clippy::disallowed_methods, reason = "the clock is one of the things that are tried")]

use std::io;
use std::net::{TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::process::{Command, ExitCode};

use mortise::functions::sandbox;

type Attempt = (&'static str, fn() -> io::Result<()>);

/// Each must fail with EPERM or EACCES once the sandbox is on, and must succeed without it.
const ATTEMPTS: &[Attempt] = &[
    ("read a file", || std::fs::read("/etc/passwd").map(drop)),
    ("list a folder", || std::fs::read_dir("/").map(drop)),
    ("look at a file", || std::fs::metadata("/etc/passwd").map(drop)),
    ("write a file", || {
        std::fs::write("/tmp/mortise-escaped", "x")?;
        std::fs::remove_file("/tmp/mortise-escaped")
    }),
    ("open a socket", || UdpSocket::bind("127.0.0.1:0").map(drop)),
    ("connect by TCP", || match TcpStream::connect("127.0.0.1:9") {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        other => other.map(drop),
    }),
    ("open a pair of sockets", || UnixStream::pair().map(drop)),
    ("start a program", || Command::new("/bin/true").status().map(drop)),
    ("fork", || {
        // SAFETY: the child does nothing but end.
        match unsafe { libc::fork() } {
            -1 => Err(io::Error::last_os_error()),
            // SAFETY: ends the child at once, running nothing of the parent's.
            0 => unsafe { libc::_exit(0) },
            _ => Ok(()),
        }
    }),
    ("start a thread", || std::thread::Builder::new().spawn(|| ()).map(drop)),
    ("signal the parent", || {
        // SAFETY: signal 0 only asks.
        check(unsafe { libc::kill(libc::getppid(), 0) })
    }),
    ("map executable memory", || {
        let protection = libc::PROT_READ | libc::PROT_EXEC;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: a new mapping that nothing refers to.
        let mapped = unsafe { libc::mmap(std::ptr::null_mut(), 4096, protection, flags, -1, 0) };
        if mapped == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(()) }
    }),
    ("watch another process", || {
        // SAFETY: asks to be traced by the parent, which changes nothing here.
        check(i32::try_from(unsafe { libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) }).unwrap_or(-1))
    }),
    ("enter a namespace", || {
        // SAFETY: affects this short-lived process only.
        check(unsafe { libc::unshare(libc::CLONE_FS) })
    }),
    ("read a limit of another process", || {
        // SAFETY: null pointers stand for nothing to set and nothing to tell.
        check(unsafe {
            libc::prlimit(
                libc::getppid(),
                libc::RLIMIT_CORE,
                std::ptr::null(),
                std::ptr::null_mut(),
            )
        })
    }),
];

/// These must go on working.
const NEEDED: &[Attempt] = &[
    ("allocate", || {
        let block = vec![1u8; 50_000_000];
        if block.iter().map(|it| usize::from(*it)).sum::<usize>() == block.len() {
            Ok(())
        } else {
            Err(io::Error::other("wrong sum"))
        }
    }),
    ("tell the time", || {
        let _now = std::time::SystemTime::now();
        Ok(())
    }),
    ("write to standard error", || {
        use std::io::Write;
        io::stderr().write_all(b"")
    }),
    ("catch a panic", || {
        std::panic::set_hook(Box::new(|_| ()));
        match std::panic::catch_unwind(|| panic!("caught")) {
            Ok(()) => Err(io::Error::other("no panic")),
            Err(_) => Ok(()),
        }
    }),
];

fn check(result: i32) -> io::Result<()> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [how, name] = arguments.as_slice()
        && let Some((_, attempt)) = ATTEMPTS.iter().chain(NEEDED).find(|it| it.0 == name.as_str())
        && ["inside", "outside"].contains(&how.as_str())
    {
        return carry_out(how == "inside", *attempt);
    }
    let mut failed = 0;
    for (list, inside) in [(ATTEMPTS, 1), (NEEDED, 0)] {
        for (name, _) in list {
            for (how, expected) in [("outside", 0), ("inside", inside)] {
                let itself = std::env::current_exe().expect("this program");
                let output = Command::new(itself).args([how, name]).output().expect("it starts");
                if output.status.code() != Some(expected) {
                    failed += 1;
                    let said = String::from_utf8_lossy(&output.stderr);
                    println!("FAILED to {name} {how}: {} {said}", output.status);
                }
            }
        }
    }
    println!("{} attempts, {failed} not as expected", ATTEMPTS.len() + NEEDED.len());
    ExitCode::from(u8::from(failed > 0))
}

/// Ends with 0 if the attempt succeeded, 1 if it was denied, 2 if anything else happened.
fn carry_out(inside: bool, attempt: fn() -> io::Result<()>) -> ExitCode {
    if inside {
        let applied = sandbox::apply(8 << 30);
        if !applied.report.is_full() {
            eprintln!("not the whole sandbox: {:?}", applied.report);
            return ExitCode::from(3);
        }
    }
    match attempt() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => ExitCode::from(1),
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}
