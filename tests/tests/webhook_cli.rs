//! `mortise webhook` as people and scripts use it: the real client, the real daemon, and the receiver that
//! comes with the client at the other end. The receivers of `contrib/webhook-receiver` too.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use mortise_tests::client::{Done, command, script};
use mortise_tests::daemon::{Daemon, Options, built};
use mortise_tests::eventually;
use mortise_tests::http::Connection;
use mortise_tests::receiver::{Receiver as Endpoint, Reply, echo};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);
const SECRET: &str = "EnterYourRandomSecretHere";
const BODY: &[u8] = br#"{"hello":"world"}"#;

fn with_notes(settings: &str) -> Daemon {
    let settings = format!("[egress]\nallow = [\"127.0.0.1\"]\n{settings}");
    let daemon = Daemon::start_with(Options { settings, ..Options::default() });
    let note = json!({
        "name": "note", "id_prefix": "note", "title_field": "title",
        "schema": { "properties": { "title": { "type": "string" } } },
    });
    daemon.call("object-types.apply", &json!({ "object_types": [note] }));
    daemon
}

/// Makes a note; answers its id.
fn note(daemon: &Daemon, title: &str) -> String {
    let made =
        daemon.call("objects.create", &json!({ "type": "note", "object": { "title": title } }));
    made["object"]["id"].as_str().expect("an id").to_owned()
}

/// A program that says in JSON or text what it receives, a line each.
struct Listening {
    child: Child,
    lines: Receiver<String>,
    url: String,
}

impl Listening {
    /// `mortise webhook listen`, at a port that is free, without a daemon.
    fn start(arguments: &[&str]) -> Listening {
        let mut command = Command::new(built("mortise"));
        command.args(["webhook", "listen", "0", "--json"]).args(arguments);
        command.env("MORTISE_SOCKET", "/nonexistent/mortise.sock");
        let mut started = Listening::of(command);
        let first = started.next();
        assert_eq!(first["kind"], "listening", "{first}");
        started.url = first["url"].as_str().expect("a URL").to_owned();
        started
    }

    fn of(mut command: Command) -> Listening {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("it is there");
        let out = child.stdout.take().expect("it is piped");
        let (say, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                if say.send(line).is_err() {
                    return;
                }
            }
        });
        Listening { child, lines, url: String::new() }
    }

    fn next_line(&mut self) -> String {
        self.lines.recv_timeout(PATIENCE).expect("it says something")
    }

    fn next(&mut self) -> Value {
        serde_json::from_str(&self.next_line()).expect("JSON")
    }

    /// The next one of this kind: a challenge may come again.
    fn next_of(&mut self, kind: &str) -> Value {
        loop {
            let line = self.next();
            if line["kind"] == kind {
                return line;
            }
        }
    }

    fn connect(&self) -> Connection {
        let address = self.url.trim_start_matches("http://").trim_end_matches('/');
        Connection::tcp(address.parse().expect("an address")).expect("it listens")
    }

    fn signal(&self) {
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, rustix::process::Signal::INT).expect("it runs");
    }

    fn end(&mut self) -> i32 {
        let status = eventually("it ends", PATIENCE, || self.child.try_wait().expect("a child"));
        status.code().unwrap_or(-1)
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn secret_file() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("/tmp");
    let path = directory.path().join("secret");
    std::fs::write(&path, format!("{SECRET}\n")).expect("it is ours");
    (directory, path)
}

#[track_caller]
fn done(daemon: &Daemon, arguments: &[&str]) -> Done {
    let done = script(daemon, arguments, "");
    assert_eq!(done.code, 0, "{arguments:?}: {}{}", done.out, done.err);
    done
}

/// Makes a webhook for notes that leads to `url`, and waits until it is active; answers its id.
#[track_caller]
fn create(daemon: &Daemon, url: &str, more: &[&str]) -> String {
    let mut arguments =
        vec!["webhook", "create", url, "--event", "note_created", "--wait", "--json"];
    arguments.extend(more);
    let made = script(daemon, &arguments, SECRET);
    assert_eq!(made.code, 0, "{}{}", made.out, made.err);
    made.json()["webhook"]["id"].as_str().expect("an id").to_owned()
}

/// The deliveries of a webhook in a state, once there are so many.
#[track_caller]
fn deliveries(daemon: &Daemon, webhook: &str, state: &str, count: usize) -> Vec<Value> {
    eventually("as many deliveries", PATIENCE, || {
        let listed = done(daemon, &["webhook", "deliveries", webhook, "--state", state, "--json"]);
        let all = listed.json()["deliveries"].as_array().cloned().unwrap_or_default();
        (all.len() == count).then_some(all)
    })
}

#[test]
fn an_event_is_sent_looked_at_and_sent_again() {
    let daemon = with_notes("");
    let (_directory, secret) = secret_file();
    let secret = secret.display().to_string();
    let mut listening = Listening::start(&["--secret-file", &secret]);
    let webhook =
        create(&daemon, &listening.url, &["--secret-file", "-", "--header", "x-team=ops"]);
    let challenge = listening.next();
    assert_eq!((&challenge["kind"], &challenge["signature"]), (&json!("challenge"), &json!("ok")));

    let object = note(&daemon, "one");
    let event = listening.next_of("event");
    assert_eq!(event["signature"], "ok", "{event}");
    assert_eq!((&event["type"], &event["attempt"]), (&json!("note_created"), &json!(1)));
    assert_eq!(event["headers"]["x-team"], "ops");
    assert_eq!(event["body"]["note_created"]["note"]["id"], object.as_str());
    let id = event["id"].as_str().expect("an id");

    let delivered = deliveries(&daemon, &webhook, "delivered", 1);
    assert_eq!((&delivered[0]["id"], &delivered[0]["last_status"]), (&json!(id), &json!(200)));
    let table = done(&daemon, &["webhook", "deliveries", &webhook]).out;
    assert!(table.starts_with("EVENT ") && table.contains(id), "{table}");
    let page = done(&daemon, &["webhook", "delivery", &webhook, id, "--body"]).out;
    assert!(
        page.contains("note_created delivered") && page.contains("\"title\": \"one\""),
        "{page}"
    );

    let again = done(&daemon, &["webhook", "resend", &webhook, id]);
    assert_eq!(again.out, "1 queued\n");
    let event = listening.next_of("event");
    assert_eq!((&event["id"], &event["attempt"]), (&json!(id), &json!(2)), "{event}");
    deliveries(&daemon, &webhook, "delivered", 1);
    let all = done(&daemon, &["webhook", "resend", &webhook, "--since", "1h", "--all", "--json"]);
    assert_eq!(all.json(), json!({ "queued": 1 }));
    assert_eq!(listening.next_of("event")["attempt"], 3);
    deliveries(&daemon, &webhook, "delivered", 1);
    let piped = script(&daemon, &["webhook", "resend", &webhook, "-"], &format!("{id}\n"));
    assert_eq!((piped.code, piped.out.as_str()), (0, "1 queued\n"), "{}", piped.err);
    assert_eq!(listening.next_of("event")["attempt"], 4);
    let unknown =
        script(&daemon, &["webhook", "resend", &webhook, &webhook.replace("whk", "whe")], "");
    assert_eq!(unknown.code, 1);
    assert!(unknown.err.contains("1 of 1 are unknown"), "{}", unknown.err);

    let fetched = done(&daemon, &["webhook", "fetch", &webhook, &object]).out;
    let event = listening.next_of("event");
    assert_eq!((&event["id"], &event["type"]), (&json!(fetched.trim()), &json!("note_fetched")));

    listening.signal();
    assert_eq!(listening.end(), 0);
}

#[test]
fn a_secret_is_rotated_while_its_receiver_has_the_one_before() {
    let daemon = with_notes("");
    let (_directory, secret) = secret_file();
    let secret = secret.display().to_string();
    let mut listening = Listening::start(&["--secret-file", &secret]);
    let webhook = create(&daemon, &listening.url, &["--secret-file", &secret]);
    let rotated = done(&daemon, &["webhook", "rotate", &webhook, "--wait", "--json"]).json();
    let new = rotated["webhook"]["secret"].as_str().expect("a secret");
    assert_ne!(new, SECRET);
    assert!(rotated["webhook"]["previous_secret_until"].is_string(), "{rotated}");
    note(&daemon, "two");
    let event = listening.next_of("event");
    assert_eq!(event["signature"], "ok_by_previous_secret", "{event}");
    deliveries(&daemon, &webhook, "delivered", 1);

    // Without an overlap the receiver refuses, and says why to whoever looks at the webhook.
    let rotated =
        done(&daemon, &["webhook", "rotate", &webhook, "--overlap", "0", "--print-secret"]);
    assert!(rotated.out.trim().len() == 32 && rotated.err.contains(&webhook), "{rotated:?}");
    let challenge = eventually("a challenge that is refused", PATIENCE, || {
        Some(listening.next_of("challenge")).filter(|it| it["signature"] == "bad")
    });
    assert_eq!(
        (&challenge["answered"], challenge["problems"].as_array().map(Vec::len)),
        (&json!(401), Some(3))
    );
    eventually("the page says why", PATIENCE, || {
        let page = done(&daemon, &["webhook", "show", &webhook]).out;
        (page.contains("unverified") && page.contains("answered 401")).then_some(())
    });
    listening.signal();
    assert_eq!(listening.end(), 1, "a signature was wrong");
}

#[test]
fn an_endpoint_that_does_not_do_well_shows_what_becomes_of_it() {
    let daemon = with_notes("[webhooks]\nretry_seconds = [1, 1]\n");
    let mut listening = Listening::start(&["--status", "503", "--fail-first", "2", "--count", "3"]);
    let webhook = create(&daemon, &listening.url, &[]);
    note(&daemon, "three");
    let attempts: Vec<Value> = (0..3).map(|_| listening.next_of("event")).collect();
    let answered: Vec<&Value> = attempts.iter().map(|it| &it["answered"]).collect();
    assert_eq!(answered, [503, 503, 200]);
    assert!(attempts.iter().all(|it| it["id"] == attempts[0]["id"]), "{attempts:?}");
    assert_eq!(attempts[0]["signature"], "unchecked");
    assert_eq!(listening.end(), 0);
    let id = attempts[0]["id"].as_str().expect("an id");
    deliveries(&daemon, &webhook, "delivered", 1);
    let page = done(&daemon, &["webhook", "delivery", &webhook, id]).out;
    assert_eq!(page.matches("answered 503").count(), 2, "{page}");

    // Nobody is there any more.
    note(&daemon, "four");
    deliveries(&daemon, &webhook, "failed", 1);
    eventually("it is degraded", PATIENCE, || {
        let page = done(&daemon, &["webhook", "show", &webhook]).out;
        page.contains(": degraded").then_some(())
    });
    let refused = script(&daemon, &["webhook", "resend", &webhook, "--since", "1h"], "");
    assert!(refused.code == 1 && refused.err.contains("degraded"), "{}", refused.err);
    let listed = done(&daemon, &["webhook", "list"]).out;
    assert!(listed.contains(&webhook) && listed.contains("degraded"), "{listed}");
    done(&daemon, &["webhook", "deactivate", &webhook]);
    let changed = [
        "webhook",
        "update",
        &webhook,
        "--add-event",
        "note_deleted",
        "--header",
        "x-team=ops",
        "--on-degraded",
        "hold",
        "--in-order",
        "--per-second",
        "5",
        "--filter",
        ".type == \"note_deleted\"",
    ];
    let changed = done(&daemon, &changed).out;
    for part in ["inactive", "note_created, note_deleted", "x-team", "events wait", ".type =="] {
        assert!(changed.contains(part), "{part}: {changed}");
    }
    let changed = [
        "webhook",
        "update",
        &webhook,
        "--no-filter",
        "--no-limit",
        "--remove-header",
        "x-team",
        "--json",
    ];
    let changed = done(&daemon, &changed).json();
    assert!(
        changed["webhook"].get("filter").is_none() && changed["webhook"]["headers"] == json!([])
    );
    done(&daemon, &["webhook", "delete", &webhook]);
    let gone = script(&daemon, &["webhook", "show", &webhook, "--json"], "");
    assert_eq!((gone.code, &gone.json()["code"]), (1, &json!("not_found")));
}

#[test]
fn a_receiver_registers_itself_and_leaves_nothing_behind() {
    let daemon = with_notes("");
    let register = ["webhook", "listen", "0", "--json", "--register", "--event", "note_created"];
    let mut listening = Listening::of(command(&daemon, &register));
    assert_eq!(listening.next()["verifies"], true);
    assert_eq!(listening.next_of("challenge")["signature"], "ok");
    let active = || {
        let all = daemon.call("webhooks.list", &json!({}));
        (all["webhooks"][0]["status"] == "active").then_some(())
    };
    eventually("it is active", PATIENCE, active);
    note(&daemon, "five");
    assert_eq!(listening.next_of("event")["signature"], "ok");
    listening.signal();
    assert_eq!(listening.end(), 0);
    assert_eq!(daemon.call("webhooks.list", &json!({}))["webhooks"], json!([]));
}

#[test]
fn secrets_and_what_is_forbidden() {
    let settings = "[webhooks]\ntimeout_seconds = 3\n".to_owned();
    let daemon = Daemon::start_with(Options { settings, ..Options::default() });
    let made = ["webhook", "create", "http://127.0.0.1:9/hook", "--event", "note_created"];
    let with = |more: &[&str], input: &str| script(&daemon, &[&made[..], more].concat(), input);

    // Nobody has defined notes here.
    let early = with(&["--event", "integration_created", "--print-secret"], "");
    assert_eq!(early.code, 0, "{early:?}");
    let warning = "warning: event_types[0]: there is no type of objects `note`";
    assert!(early.err.contains(warning) && !early.err.contains("event_types[1]"), "{early:?}");

    let refused = with(&["--header", "authorization=Bearer abc"], "");
    assert_eq!(refused.code, 2);
    assert!(
        refused.err.contains("authorization=@FILE") && !refused.err.contains("abc"),
        "{refused:?}"
    );
    let twice = with(&["--header", "x-a=-", "--secret-file", "-"], SECRET);
    assert!(twice.code == 2 && twice.err.contains("standard input was read already"), "{twice:?}");
    let short = with(&["--secret-file", "-"], "short");
    assert!(short.code == 1 && short.err.contains("8 to 32"), "{short:?}");

    let known = with(&["--secret-file", "-"], SECRET);
    assert!(known.code == 0 && !known.out.contains(SECRET), "{known:?}");
    let alone = with(&["--print-secret"], "");
    assert!(alone.code == 0 && alone.out.trim().len() == 32, "{alone:?}");
    let id = alone.err.lines().find_map(|it| it.strip_prefix("webhook ")).expect("it is named");
    let advice = "[egress] allow = [\"127.0.0.1:9\"]";
    eventually("what allows it is said", PATIENCE, || {
        let page = done(&daemon, &["webhook", "show", id]).out;
        page.contains(advice).then_some(())
    });
    let shown = script(&daemon, &["webhook", "update", id], "");
    assert_eq!(shown.code, 2, "{shown:?}");
    assert_eq!(script(&daemon, &["webhook", "resend", id], "").code, 2);

    // The receiver that registers itself goes when it is told to, also before it is active.
    let register = ["webhook", "listen", "0", "--json", "--register", "--event", "note_created"];
    let count = || {
        let all = daemon.call("webhooks.list", &json!({}));
        all["webhooks"].as_array().expect("a list").len()
    };
    let before = count();
    let mut listening = Listening::of(command(&daemon, &register));
    listening.next();
    eventually("it is registered", PATIENCE, || (count() == before + 1).then_some(()));
    listening.signal();
    assert_eq!(listening.end(), 0);
    assert_eq!(count(), before);
}

#[test]
fn what_an_endpoint_repeats_is_shown_to_nobody() {
    const TOKEN: &str = "0123456789abcdefghij";
    let daemon = with_notes("[webhooks]\nretry_seconds = []\n");
    let (directory, secret) = secret_file();
    // It tells whoever asks all that it got, and its secret.
    let endpoint = Endpoint::start(|request| {
        echo(request).unwrap_or_else(|| {
            let told = json!({ "got": request.header("authorization"), "secret": SECRET });
            let mut told = Reply::json(&told);
            if let Reply::Answer { status, .. } = &mut told {
                *status = 500;
            }
            told
        })
    });
    let token = directory.path().join("token");
    std::fs::write(&token, format!("Bearer {TOKEN}\n")).expect("it is ours");
    let header = format!("authorization=@{}", token.display());
    let secret = secret.display().to_string();
    let more = ["--header", &header, "--secret-file", &secret];
    let webhook = create(&daemon, &endpoint.url("/"), &more);
    note(&daemon, "six");
    let failed = deliveries(&daemon, &webhook, "failed", 1);
    let id = failed[0]["id"].as_str().expect("an id");
    let shown = done(&daemon, &["webhook", "delivery", &webhook, id, "--json"]).out;
    assert!(shown.contains("answered 500") && shown.contains("got"), "{shown}");
    assert!(!shown.contains(TOKEN) && !shown.contains(SECRET), "{shown}");
    let sent = endpoint.seen();
    let sent = sent.last().expect("a request");
    assert_eq!(sent.header("authorization"), format!("Bearer {TOKEN}"));
}

#[test]
fn strangers_are_answered_and_bounded() {
    let (_directory, secret) = secret_file();
    let mut listening =
        Listening::start(&["--secret-file", &secret.display().to_string(), "--count", "1"]);
    let answer = listening.connect().send("GET", "/", &[], b"").expect("an answer");
    assert_eq!(answer.status, 405);
    let answer = listening.connect().send("POST", "/", &[], BODY).expect("an answer");
    assert_eq!((answer.status, &listening.next()["kind"]), (400, &json!("other")));
    assert_eq!(listening.next()["problems"][0], "its body has no `id` and `type`");
    let head = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", 17 << 20);
    let mut connection = listening.connect();
    connection.write(head.as_bytes()).expect("it takes it");
    let mut sent = 0;
    while sent < 17 << 20 && connection.write(&[b' '; 65_536]).is_ok() {
        sent += 65_536;
    }
    // What it had not read yet may have cut the answer off.
    if let Ok(answer) = connection.read() {
        assert_eq!(answer.status, 413);
    }
    let forged = br#"{"id":"whe_1","type":"verify","verify":{"challenge":"c"}}"#;
    let signature = "0".repeat(64);
    let headers = [("x-mortise-signature", signature.as_str())];
    let answer = listening.connect().send("POST", "/", &headers, forged).expect("an answer");
    assert_eq!(answer.status, 401);
    assert!(
        !answer.text().contains("\"c\"") && answer.text().contains("not that of"),
        "{answer:?}"
    );
    let event = br#"{"id":"whe_1","type":"note_created"}"#;
    let answer = listening.connect().send("POST", "/", &[], event).expect("an answer");
    assert!(answer.status == 401 && answer.text().contains("no signature"), "{}", answer.text());
    assert_eq!(listening.end(), 1);

    let taken = Command::new(built("mortise"))
        .args(["webhook", "listen", "0", "--delay", "601"])
        .output()
        .expect("it was built");
    assert_eq!(taken.status.code(), Some(2));
}

#[test]
fn receivers_of_the_documents_work() {
    let daemon = with_notes("");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../contrib/webhook-receiver");
    let (_directory, secret) = secret_file();
    for (program, file) in [("node", "receiver.mjs"), ("python3", "receiver.py")] {
        if Command::new(program).arg("--version").output().is_err() {
            eprintln!("no {program} here: {file} is not tried");
            continue;
        }
        let mut command = Command::new(program);
        command.arg(folder.join(file)).arg("0").env("WEBHOOK_SECRET_FILE", &secret);
        let mut listening = Listening::of(command);
        let first = listening.next_line();
        listening.url = first.trim_start_matches("listening at ").to_owned();
        let webhook = create(&daemon, &listening.url, &["--secret-file", "-"]);
        note(&daemon, program);
        let line = listening.next_line();
        assert!(line.starts_with("note_created whe_"), "{file}: {line}");
        let id = line.split(' ').nth(1).expect("an id");
        deliveries(&daemon, &webhook, "delivered", 1);
        // Once, however often it comes.
        done(&daemon, &["webhook", "resend", &webhook, id]);
        deliveries(&daemon, &webhook, "delivered", 1);
        note(&daemon, program);
        assert!(!listening.next_line().contains(id), "{file}");
        let forged = br#"{"id":"whe_1","type":"note_created"}"#;
        let at = "99999999999";
        let headers =
            [("webhook-id", "whe_1"), ("webhook-timestamp", at), ("webhook-signature", "v1,x")];
        let answer = listening.connect().send("POST", "/", &headers, forged).expect("an answer");
        assert_eq!(answer.status, 401, "{file}");
        done(&daemon, &["webhook", "delete", &webhook]);
    }
}
