//! What should not come: each kind is answered with the right status, a code that does not change,
//! and a message that helps; and a normal client is served meanwhile.

use std::io::Read;
use std::net::TcpStream;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mortise_tests::daemon::{Daemon, Options};
use mortise_tests::eventually;
use mortise_tests::http::{Connection, Response};
use mortise_tests::snap_in::{ECHO, Parts, SIGNED, pack, sign};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(30);

#[track_caller]
fn check(response: &Response, status: u16, code: &str, hint: &str) -> Value {
    let text = response.text();
    assert_eq!(response.status, status, "{text}");
    assert_eq!(response.header("content-type"), Some("application/problem+json"), "{text}");
    let problem = response.json();
    assert_eq!(problem["code"], code, "{text}");
    assert_eq!(problem["status"], status, "{text}");
    assert!(problem["message"].as_str().is_some_and(|it| it.contains(hint)), "{hint:?}: {text}");
    problem
}

fn small() -> Daemon {
    let settings =
        "[limits]\nbody_bytes = 20_000\nrequest_head_seconds = 2\nrequest_body_seconds = 3\n"
            .to_owned();
    Daemon::start_with(Options { settings, ..Options::default() })
}

fn source_log(daemon: &Daemon, source: &str) -> String {
    daemon.call("event-sources.logs", &json!({ "id": source }))["lines"].to_string()
}

#[test]
fn trigger_urls_that_lead_nowhere() {
    let daemon = Daemon::start();
    let unknown = daemon.connect().send("POST", "/hooks/nobody", &[], b"{}").expect("an answer");
    check(&unknown, 404, "not_found", "no event source");
    let draft = daemon.install_draft(&Parts::echo());
    check(&daemon.send(&draft, b"{}"), 404, "not_found", "no event source");
    daemon.step("activate", &draft.id, "ACTIVE");
    assert_eq!(daemon.send(&draft, b"{\"n\":1}").status, 200);
    daemon.call("event-sources.pause", &json!({ "id": draft.source }));
    check(&daemon.send(&draft, b"{}"), 404, "not_found", "no event source");
    daemon.call("event-sources.resume", &json!({ "id": draft.source }));
    assert_eq!(daemon.send(&draft, b"{\"n\":2}").status, 200);
    let nowhere = daemon.connect().send("GET", "/nothing/here", &[], b"").expect("an answer");
    check(&nowhere, 404, "not_found", "/api/v1/");
}

#[test]
fn bodies_over_the_limit() {
    let daemon = small();
    let installed = daemon.install(&Parts::echo());
    let response = daemon.send(&installed, &vec![b'1'; 20_001]);
    check(&response, 413, "too_large", "20000 bytes");
    let mut chunked = format!(
        "POST {} HTTP/1.1\r\nHost: mortise\r\nTransfer-Encoding: chunked\r\n\r\n",
        installed.path
    );
    for _ in 0..21 {
        chunked.push_str(&format!("3e8\r\n{}\r\n", "1".repeat(1000)));
    }
    chunked.push_str("0\r\n\r\n");
    let response = daemon.connect().send_raw(chunked.as_bytes()).expect("an answer");
    check(&response, 413, "too_large", "20000 bytes");
    assert_eq!(daemon.send(&installed, b"{\"n\":1}").status, 200);
}

#[test]
fn broken_json_with_a_json_content_type() {
    let daemon = Daemon::start();
    let installed = daemon.install(&Parts::echo());
    for body in [&b"{\"n\":"[..], b"{} {}", b"nothing", b"\xff\xfe"] {
        let response = daemon.send(&installed, body);
        assert_eq!(response.status, 400, "{}", response.text());
        assert!(response.text().to_lowercase().contains("json"), "{}", response.text());
    }
    assert!(source_log(&daemon, &installed.source).to_lowercase().contains("json"));
}

#[test]
fn forms_and_queries_of_very_many_fields() {
    let daemon = Daemon::start();
    let it = daemon.install(&Parts::echo());
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let fields = |count: usize| (0..count).map(|n| format!("a{n}=1&")).collect::<String>();
    let post = |path: &str, body: &str| {
        daemon.connect().send("POST", path, &form, body.as_bytes()).expect("an answer")
    };
    let response = post(&it.path, &fields(60_000));
    assert_eq!(response.status, 400, "{}", response.text());
    assert!(response.text().contains("more than 10000 fields"), "{}", response.text());
    let long = format!("{}?{}", it.path, "a&".repeat(10_000));
    assert_eq!(post(&long, "").status, 400);
    // Who sends it keeps nobody else waiting.
    assert_eq!(daemon.send(&it, b"{\"n\":1}").status, 200);
    assert_eq!(post(&it.path, &fields(1_000)).status, 401, "it is read, and not signed");
}

#[test]
fn bodies_that_are_no_text_are_signed_like_others() {
    let daemon = Daemon::start();
    let policy = r#"
package rego
signature := crypto.hmac.sha256(base64.decode(input.request.body_raw), input.parameters.secret)
output = {"event": {"n": 1}, "event_key": "tick"} {
  signature == input.request.headers["X-Signature-256"]
} else = {"response": {"status_code": 401, "body": "Unauthenticated"}} { true }
"#;
    let installed = daemon.install(&Parts::new("bytes", policy, ECHO));
    let body = b"\xff\xfe\x00\x80 no text";
    let mut signature = sign(body);
    let post = |signature: &str| {
        let headers =
            [("content-type", "application/octet-stream"), ("x-signature-256", signature)];
        daemon.connect().send("POST", &installed.path, &headers, body).expect("an answer")
    };
    assert_eq!(post(&signature).status, 200);
    signature.replace_range(0..1, if signature.starts_with('0') { "1" } else { "0" });
    assert_eq!(post(&signature).status, 401);
}

#[test]
fn too_many_and_too_long_headers() {
    let daemon = Daemon::start();
    let installed = daemon.install(&Parts::echo());
    let many: String = (0..10_000).map(|it| format!("X-{it}: {it}\r\n")).collect();
    for headers in [many, format!("X-Long: {}\r\n", "a".repeat(1 << 20))] {
        let text = format!(
            "POST {} HTTP/1.1\r\nHost: mortise\r\n{headers}Content-Length: 2\r\n\r\n{{}}",
            installed.path
        );
        // The server may close before it has read all of it; then there is nothing to read.
        match daemon.connect().send_raw(text.as_bytes()) {
            Ok(response) => assert!((400..500).contains(&response.status), "{}", response.status),
            Err(error) => println!("closed without an answer: {error}"),
        }
        assert_eq!(daemon.send(&installed, b"{\"n\":1}").status, 200);
    }
}

#[test]
fn clients_that_send_slowly() {
    let daemon = small();
    let installed = daemon.install(&Parts::echo());
    let head = format!("POST {} HTTP/1.1\r\nHost: mor", installed.path);
    let mut slow: Vec<_> = (0..200)
        .map(|_| {
            let mut connection = TcpStream::connect(daemon.address()).expect("it listens");
            std::io::Write::write_all(&mut connection, head.as_bytes()).expect("it is read");
            connection.set_read_timeout(Some(PATIENCE)).expect("a socket");
            connection
        })
        .collect();
    for number in 0..20 {
        daemon.send_event(&installed, &json!({ "n": number }));
    }
    for connection in &mut slow {
        let mut answer = Vec::new();
        connection.read_to_end(&mut answer).expect("closed within the time limit");
        let text = String::from_utf8_lossy(&answer);
        assert!(text.is_empty() || text.starts_with("HTTP/1.1 408"), "{text}");
    }
    daemon.send_event(&installed, &json!({ "n": 20 }));
}

#[test]
fn bodies_that_never_come() {
    let daemon = small();
    let installed = daemon.install(&Parts::echo());
    let head = format!(
        "POST {} HTTP/1.1\r\nHost: mortise\r\nContent-Length: 100\r\n\r\n{{",
        installed.path
    );
    let mut slow: Vec<_> = (0..100)
        .map(|_| {
            let mut connection = daemon.connect();
            connection.write(head.as_bytes()).expect("it is read");
            connection
        })
        .collect();
    for number in 0..20 {
        daemon.send_event(&installed, &json!({ "n": number }));
    }
    for connection in &mut slow {
        let response = connection.read().expect("an answer when the time is over");
        check(&response, 408, "request_timeout", "3 s");
    }
}

#[test]
fn wrong_methods() {
    let daemon = Daemon::start();
    let installed = daemon.install(&Parts::echo());
    let token = daemon.token();
    let headers = [("authorization", token.as_str())];
    for (method, path, allowed) in [
        ("DELETE", installed.path.as_str(), json!(["GET", "POST"])),
        ("PUT", "/api/v1/snap-ins.list", json!(["GET", "POST"])),
        ("GET", "/api/v1/snap-ins.create", json!(["POST"])),
    ] {
        let response = daemon.connect().send(method, path, &headers, b"").expect("an answer");
        let problem = check(&response, 405, "method_not_allowed", method);
        assert_eq!(problem["allowed"], allowed);
    }
}

#[test]
fn manifest_bombs() {
    let daemon = Daemon::start();
    let mut bomb = "a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n".to_owned();
    for level in 1..40 {
        let inner = vec![format!("*a{}", level - 1); 9].join(", ");
        bomb.push_str(&format!("a{level}: &a{level} [{inner}]\n"));
    }
    let deep = format!("version: {}", "[".repeat(100_000));
    for manifest in [bomb, deep, "version: \"2\"\nname: \"\u{0}\"".to_owned()] {
        let answer = daemon.try_call("versions.validate", &json!({ "manifest": manifest }));
        let answer = answer.expect("an answer");
        assert_eq!(answer.status, 200, "{}", answer.text());
        let answer = answer.json();
        assert_eq!(answer["valid"], false);
        let problem = &answer["problems"][0];
        assert!(problem["line"].as_u64() > Some(0), "{problem}");
        assert!(!problem["message"].as_str().unwrap_or_default().is_empty(), "{problem}");
    }
}

/// An archive with one entry whose header says whatever it likes.
fn forged(path: &str, kind: tar::EntryType, size: u64) -> String {
    let mut header = tar::Header::new_old();
    header.set_mode(0o644);
    header.set_size(size);
    header.set_entry_type(kind);
    header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
    if kind == tar::EntryType::Symlink || kind == tar::EntryType::Link {
        header.set_link_name("/etc/passwd").expect("short enough");
    }
    header.set_cksum();
    let mut bytes = header.as_bytes().to_vec();
    bytes.resize(bytes.len() + 1024 + usize::try_from(size).expect("small"), 0);
    STANDARD.encode(bytes)
}

#[test]
fn archives_that_want_out() {
    use tar::EntryType as T;
    let daemon = Daemon::start();
    daemon.call("packages.create", &json!({ "slug": "bad" }));
    let manifest = Parts::echo().manifest();
    let too_many: Vec<_> = (0..10_001).map(|it| format!("f{it}")).collect();
    let too_many: Vec<_> = too_many.iter().map(|it| (it.as_str(), "")).collect();
    for (archive, hint) in [
        (forged("../out.ts", T::Regular, 0), "../out.ts"),
        (forged("src/../../out.ts", T::Regular, 0), "src/../../out.ts"),
        (forged("/etc/out.ts", T::Regular, 0), "/etc/out.ts"),
        (forged("link.ts", T::Symlink, 0), "link"),
        (forged("link.ts", T::Link, 0), "link"),
        (forged("pipe", T::Fifo, 0), "pipe"),
        (pack(&too_many), "10000"),
        (STANDARD.encode("neither tar nor zip"), "no archive"),
    ] {
        let parameters = json!({ "package": "bad", "manifest": manifest, "archive": archive });
        let response = daemon.try_call("versions.create", &parameters).expect("an answer");
        check(&response, 422, "invalid", hint);
    }
    let parameters = json!({ "package": "bad", "manifest": manifest, "archive": "%%%" });
    let response = daemon.try_call("versions.create", &parameters).expect("an answer");
    assert_eq!(check(&response, 400, "bad_request", "base 64")["field"], "archive");
    assert_eq!(daemon.call("versions.list", &json!({}))["versions"], json!([]));
}

#[test]
fn archives_with_too_many_bytes() {
    let settings = "[limits]\narchive_bytes = 100_000\n".to_owned();
    let daemon = Daemon::start_with(Options { settings, ..Options::default() });
    daemon.call("packages.create", &json!({ "slug": "bad" }));
    let archive = pack(&[("big.ts", &" ".repeat(200_000))]);
    let parameters = json!({ "package": "bad", "archive": archive });
    let response = daemon.try_call("versions.create", &parameters).expect("an answer");
    check(&response, 413, "too_large", "100000 bytes");
}

#[test]
fn calls_of_the_api_that_make_no_sense() {
    let daemon = Daemon::start();
    let token = daemon.token();
    let post = |token: Option<&str>, name: &str, body: &str| {
        let headers: Vec<_> = token.iter().map(|it| ("authorization", *it)).collect();
        let path = format!("/api/v1/{name}");
        daemon.connect().send("POST", &path, &headers, body.as_bytes()).expect("an answer")
    };
    let owner = Some(token.as_str());
    check(&post(None, "snap-ins.list", "{}"), 401, "unauthenticated", "admin.token");
    check(&post(Some("mta_wrong"), "snap-ins.list", "{}"), 401, "unauthenticated", "token");
    check(&post(owner, "snap-ins.lst", "{}"), 404, "not_found", "snap-ins.lst");
    check(&post(owner, "snap-ins.list", "{"), 400, "invalid_json", "line 1");
    check(&post(owner, "snap-ins.get", "[]"), 400, "bad_request", "");
    check(&post(owner, "snap-ins.get", "{\"id\":1}"), 400, "bad_request", "string");
    let unknown = r#"{"id":"x","idd":1}"#;
    check(&post(owner, "snap-ins.activate", unknown), 400, "bad_request", "idd");
    check(&post(owner, "runs.get", r#"{"id":"run_!"}"#), 400, "bad_request", "run_");
    check(&post(owner, "runs.get", r#"{"id":"evt_1"}"#), 400, "bad_request", "run_");
    check(&post(owner, "snap-ins.get", r#"{"id":"none"}"#), 404, "not_found", "none");
    check(&post(owner, "events.list", r#"{"limit":0}"#), 400, "bad_request", "limit");
    check(&post(owner, "events.list", r#"{"cursor":"?"}"#), 400, "bad_request", "cursor");
}

#[test]
fn what_has_the_wrong_type_is_named_with_its_field() {
    let daemon = Daemon::start();
    let press = "snap-kit-action.execute.deferred";
    for (name, body, field) in [
        ("snap-ins.get", json!({ "id": 1 }), "id"),
        ("snap-ins.get", json!({}), "id"),
        ("snap-ins.activate", json!({ "id": "x", "idd": 1 }), "idd"),
        ("snap-ins.update", json!({ "id": "x", "inputs_values": [] }), "inputs_values"),
        ("runs.get", json!({ "id": "run_1", "wait_seconds": "x" }), "wait_seconds"),
        // Parts that all lists have.
        ("events.list", json!({ "limit": "x" }), "limit"),
        ("events.list", json!({ "type": "a", "limit": true }), "limit"),
        ("runs.list", json!({ "limit": -1, "function": "a" }), "limit"),
        ("packages.list", json!({ "cursor": 5 }), "cursor"),
        ("runs.list", json!({ "state": "odd" }), "state"),
        // Within others.
        (press, json!({ "id": "x", "actions": [{ "id": "a" }, { "id": 5 }] }), "actions[1].id"),
        (press, json!({ "id": "x", "actions": [], "context": { "objct": "a" } }), "context.objct"),
        (
            press,
            json!({ "id": "x", "actions": [], "from": { "configuration_page": "odd" } }),
            "from.configuration_page",
        ),
    ] {
        let response = daemon.try_call(name, &body).expect("an answer");
        let problem = check(&response, 400, "bad_request", &format!("`{field}`"));
        assert_eq!(problem["field"], field, "{name} {body}: {problem:#}");
    }
    for limit in [json!("2"), json!(2), json!(null)] {
        daemon.call("events.list", &json!({ "limit": limit }));
    }
}

#[test]
fn policies_that_misbehave() {
    let daemon = Daemon::start();
    let looping = "
package rego
numbers := numbers.range(1, 4000)
output = {\"event\": {}, \"event_key\": \"tick\"} {
  count([1 | some a, b, c; a = numbers[_]; b = numbers[_]; c = numbers[_]; a + b == c * 7]) > 0
}";
    let looping = looping.replace("numbers :=", "all :=").replace("numbers[_]", "all[_]");
    let looping = looping.replace("some a, b, c; ", "");
    let installed = daemon.install(&Parts::new("looping", &looping, ECHO));
    let response = daemon.send(&installed, b"{}");
    check(&response, 503, "unavailable", "");
    let log = eventually("it is in the source's log", PATIENCE, || {
        let log = source_log(&daemon, &installed.source);
        (log != "[]").then_some(log)
    });
    println!("looping: {} {log}", response.text());

    let undefined = "package rego\noutput = {\"event\": {}, \"event_key\": \"tick\"} { false }";
    let installed = daemon.install(&Parts::new("undefined", undefined, ECHO));
    let response = daemon.send(&installed, b"{}");
    assert_eq!(response.status, 400, "{}", response.text());
    assert!(source_log(&daemon, &installed.source).contains("gave no output"));
}

#[test]
fn policies_that_do_not_compile() {
    let daemon = Daemon::start();
    daemon.call("packages.create", &json!({ "slug": "broken" }));
    let parts = Parts::new("broken", &SIGNED.replace("} else = ", "} else = = "), ECHO);
    let manifest = parts.manifest();
    let wrong = manifest.lines().position(|it| it.contains("else = =")).expect("it is there") + 1;
    let parameters =
        json!({ "package": "broken", "manifest": manifest, "archive": parts.archive() });
    let response = daemon.try_call("versions.create", &parameters).expect("an answer");
    let problem = check(&response, 422, "invalid", "error");
    let found = &problem["problems"][0];
    let line = found["line"].as_u64().and_then(|it| usize::try_from(it).ok()).unwrap_or_default();
    assert!(line.abs_diff(wrong) <= 1, "line {wrong} is wrong: {problem}");
    assert!(found["column"].as_u64() > Some(10), "inside the block: {problem}");
}

#[test]
fn bytes_that_are_no_http() {
    let daemon = Daemon::start();
    let tls = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
    for bytes in [&tls[..], b"\0\0\0\0\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n"] {
        let answer = Connection::tcp(daemon.address()).expect("it listens").send_raw(bytes);
        assert!(answer.map_or(true, |it| (400..600).contains(&it.status)), "{bytes:?}");
    }
    assert_eq!(daemon.call("system.status", &json!({}))["ready"], true);
}
