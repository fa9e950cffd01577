//! Services, mail servers and programs that do their worst: every one of them ends in time as a fault that
//! says what it was, and the daemon goes on, no larger than before.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::Duration;

use mortise_tests::daemon::{Daemon, Options};
use serde_json::{Value, json};
use tokio::time::Instant;

/// A test has ten seconds; the rest is for a busy machine.
const IN_TIME: Duration = Duration::from_secs(40);
/// Of memory that the daemon may have had at its largest, with all of them at once.
const MOST_KIB: u64 = 500 * 1024;

fn start(more: &str) -> Daemon {
    let settings = format!("[egress]\nallow = [\"127.0.0.0/8\", \"localhost\"]\n{more}");
    Daemon::start_with(Options { settings, ..Options::default() })
}

/// A server that says what it likes after the first line, in a thread for each connection. It serves
/// until the process ends.
fn server(behaves: fn(&mut TcpStream) -> std::io::Result<()>, speaks_first: bool) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                stream.set_write_timeout(Some(Duration::from_secs(60)))?;
                stream.set_read_timeout(Some(Duration::from_secs(60)))?;
                if !speaks_first {
                    read_request(&stream)?;
                }
                behaves(&mut stream)
            });
        }
    });
    port
}

fn read_request(stream: &TcpStream) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        if line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
    }
    reader.take(length).read_to_end(&mut Vec::new()).map(|_| ())
}

fn for_ever(stream: &mut TcpStream, bytes: &[u8]) -> std::io::Result<()> {
    loop {
        stream.write_all(bytes)?;
    }
}

fn drip(stream: &mut TcpStream, bytes: &[u8]) -> std::io::Result<()> {
    loop {
        stream.write_all(bytes)?;
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// What a test of an integration comes to.
fn test(daemon: &Daemon, kind: &str, name: &str, connection: &Value) -> String {
    let new = json!({ "type": kind, "name": name, "connection": connection });
    let made = daemon.call("integrations.create", &new);
    let began = Instant::now();
    let tested = daemon.call("integrations.test", &json!({ "id": made["integration"]["id"] }));
    assert!(began.elapsed() < IN_TIME, "{name}: {:?}", began.elapsed());
    match tested["success"] == true {
        true => "fine".to_owned(),
        false => tested["error"].as_str().expect("it says why").to_owned(),
    }
}

/// All at once; what does not say what it is expected to is listed.
fn compare(daemon: &Daemon, kind: &str, cases: Vec<(&'static str, Value, &'static str)>) {
    let wrong: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = cases
            .iter()
            .map(|(name, connection, expected)| {
                scope.spawn(move || {
                    let said = test(daemon, kind, name, connection);
                    let is_right = said.contains(expected) && said.chars().count() <= 501;
                    (!is_right).then(|| format!("{name}: {said:?}, and not {expected:?}"))
                })
            })
            .collect();
        threads.into_iter().filter_map(|it| it.join().expect("it ended")).collect()
    });
    assert!(wrong.is_empty(), "{wrong:#?}");
    let status =
        fs::read_to_string(format!("/proc/{}/status", daemon.process_id())).expect("it runs");
    let peak = status.lines().find_map(|it| it.strip_prefix("VmHWM:")).expect("its memory");
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().expect("a number");
    assert!(peak < MOST_KIB, "{peak} KiB");
    daemon.call("whoami", &json!({}));
}

type Behaviour = fn(&mut TcpStream) -> std::io::Result<()>;

#[test]
fn services() {
    let daemon = start("");
    let behaviours: Vec<(&'static str, Behaviour, &'static str)> = vec![
        (
            "a-body-of-a-gigabyte",
            |it| {
                it.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")?;
                for_ever(it, &[b'x'; 65536])
            },
            "larger than",
        ),
        (
            "a-body-without-end",
            |it| {
                it.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
                let mut chunk = b"10000\r\n".to_vec();
                chunk.extend([b'x'; 65536]);
                chunk.extend(b"\r\n");
                for_ever(it, &chunk)
            },
            "larger than",
        ),
        (
            "headers-without-end",
            |it| {
                it.write_all(b"HTTP/1.1 200 OK\r\n")?;
                for_ever(it, &[b'x'; 65536])
            },
            "",
        ),
        ("interim-answers-without-end", |it| for_ever(it, b"HTTP/1.1 100 Continue\r\n\r\n"), ""),
        (
            "slow-headers",
            |it| {
                it.write_all(b"HTTP/1.1 200 OK\r\n")?;
                drip(it, b"x-a: b\r\n")
            },
            "",
        ),
        (
            "a-slow-body",
            |it| {
                it.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")?;
                drip(it, b"x")
            },
            "",
        ),
        ("silence", |it| it.read_to_end(&mut Vec::new()).map(|_| ()), ""),
        (
            "metadata",
            |it| it.write_all(b"HTTP/1.1 307 X\r\nLocation: http://169.254.169.254/latest\r\n\r\n"),
            "169.254.169.254",
        ),
        (
            "a-redirect-to-a-file",
            |it| it.write_all(b"HTTP/1.1 307 X\r\nLocation: file:///etc/passwd\r\n\r\n"),
            "redirected to something other than http",
        ),
        (
            "redirects-without-end",
            |it| {
                it.write_all(b"HTTP/1.1 307 X\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n")?;
                loop {
                    read_request(it)?;
                    it.write_all(
                        b"HTTP/1.1 307 X\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n",
                    )?;
                }
            },
            "redirected more than 5 times",
        ),
        (
            "closed-in-the-middle",
            |it| it.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nabc"),
            "127.0.0.1",
        ),
        ("closed-at-once", |_| Ok(()), "127.0.0.1"),
        ("no-http", |it| it.write_all(b"\x16\x03\x01 hello\r\n\r\n"), "127.0.0.1"),
        (
            "too-often-for-ever",
            |it| {
                it.write_all(
                    b"HTTP/1.1 429 X\r\nRetry-After: 1000000000000000000000000000000\r\n",
                )?;
                it.write_all(b"Content-Length: 0\r\n\r\n")
            },
            "429: it is asked too often",
        ),
        (
            "a-page",
            |it| {
                it.write_all(
                    b"HTTP/1.1 500 X\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>",
                )
            },
            "a page for browsers",
        ),
        (
            "control-characters",
            |it| {
                it.write_all(
                    b"HTTP/1.1 400 X\r\nContent-Length: 12\r\n\r\n\x1b[2J\x07\x00\xff\xfebad!",
                )
            },
            "bad!",
        ),
    ];
    let cases = behaviours.into_iter().map(|(name, behaves, expected)| {
        let url = format!("http://127.0.0.1:{}/", server(behaves, false));
        (name, json!({ "url": url }), expected)
    });
    compare(&daemon, "http", cases.collect());
}

#[test]
fn mail_servers() {
    let daemon = start("");
    let behaviours: Vec<(&'static str, Behaviour, &'static str)> = vec![
        ("silence", |it| it.read_to_end(&mut Vec::new()).map(|_| ()), ""),
        ("one-line-without-end", |it| for_ever(it, &[b'2'; 65536]), "mail server"),
        ("lines-without-end", |it| for_ever(it, b"220-hello\r\n"), "mail server"),
        ("slow-lines", |it| drip(it, b"220-hello\r\n"), ""),
        ("not-now", |it| it.write_all(b"421 4.3.2 not now\r\n"), "421"),
        ("never", |it| it.write_all(b"554 5.7.1 go away\r\n"), "554"),
        ("no-mail-server", |it| it.write_all(b"SSH-2.0-x\r\n"), "mail server"),
        ("closed", |_| Ok(()), "mail server"),
        (
            "abilities-without-end",
            |it| {
                it.write_all(b"220 hello\r\n")?;
                for_ever(it, b"250-STARTTLS\r\n")
            },
            "mail server",
        ),
        (
            "no-starttls",
            |it| {
                it.write_all(b"220 hello\r\n250-localhost\r\n250 SIZE 1\r\n")?;
                it.read_to_end(&mut Vec::new()).map(|_| ())
            },
            "does not offer STARTTLS",
        ),
        (
            "starttls-and-then-no-tls",
            |it| {
                it.write_all(b"220 hello\r\n")?;
                let mut reader = BufReader::new(it.try_clone()?);
                reader.read_line(&mut String::new())?;
                it.write_all(b"250 STARTTLS\r\n")?;
                reader.read_line(&mut String::new())?;
                it.write_all(b"250-localhost\r\n250 STARTTLS\r\n")?;
                reader.read_line(&mut String::new())?;
                it.write_all(b"220 go\r\n")?;
                drip(it, b"220 hello again\r\n")
            },
            "mail server",
        ),
    ];
    let cases = behaviours.into_iter().map(|(name, behaves, expected)| {
        let connection = json!({
            "host": "localhost", "port": server(behaves, true), "from": "a@example.com",
            "to": ["b@example.com"], "username": "me", "password": "planted",
        });
        (name, connection, expected)
    });
    compare(&daemon, "email", cases.collect());
    assert!(!daemon.log().contains("planted"));
}

#[test]
fn programs() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let folder = directory.path().join("commands.d");
    fs::create_dir(&folder).expect("a folder");
    for path in [directory.path(), &folder] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("its own");
    }
    let daemon = start(&format!("[integrations]\ncommands_dir = \"{}\"\n", folder.display()));
    let programs: Vec<(&'static str, &str, &'static str)> = vec![
        ("forks", "for i in 1 2 3 4 5; do sleep 600 & done; exit 3", "exit status 3"),
        ("leaves-one-behind", "sleep 600 & echo '{\"message_id\":\"m\"}'; exit 0", ""),
        ("never-reads", "exec sleep 600", "took longer than its 2 s"),
        ("closes-its-input", "exec 0<&-; echo closed >&2; exit 4", "exit status 4: closed"),
        ("says-a-gigabyte", "exec head -c 1000000000 /dev/zero", ""),
        ("complains-a-gigabyte", "head -c 1000000000 /dev/zero >&2; exit 5", ""),
        ("dies", "kill -SEGV $$", "broke"),
        ("is-killed", "kill -KILL $$", "broke"),
        ("wants-memory", "exec head -c 1000000000 /dev/zero | tail", ""),
        ("says-no-json", "echo '{\"message_id\": '", "broke"),
        ("colours", "printf '\\033[2J\\007bad!' >&2; exit 6", "bad!"),
        ("open-to-all", "exit 0", "writable by everybody"),
    ];
    for (name, text, _) in &programs {
        let file = folder.join(name);
        fs::write(&file, format!("#!/bin/sh\n{text}\n")).expect("a file");
        let mode = if *name == "open-to-all" { 0o777 } else { 0o755 };
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).expect("its own");
    }
    fs::write(directory.path().join("outside"), "#!/bin/sh\nexit 0\n").expect("a file");
    symlink("../outside", folder.join("leads-out")).expect("a link");
    symlink("/bin/true", folder.join("leads-to-root")).expect("a link");
    symlink("nowhere", folder.join("leads-nowhere")).expect("a link");
    fs::create_dir(folder.join("a-folder")).expect("a folder");
    let others = [
        ("leads-out", "leads-out"),
        ("leads-to-root", "symbolic link"),
        ("leads-nowhere", "no command `leads-nowhere`"),
        ("a-folder", "a-folder"),
    ];
    let all = programs.iter().map(|it| (it.0, it.2)).chain(others);
    let cases = all
        .map(|(name, expected)| (name, json!({ "program": name, "timeout_seconds": 2 }), expected));
    compare(&daemon, "command", cases.collect());
    let processes = fs::read_dir("/proc").expect("processes").flatten().filter(|it| {
        let line = fs::read(it.path().join("cmdline")).unwrap_or_default();
        line.split(|it| *it == 0).any(|it| it == b"600")
    });
    assert_eq!(processes.count(), 0, "nothing that they began is left");
}
