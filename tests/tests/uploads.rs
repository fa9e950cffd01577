//! Versions from archives as forges make them, and from URLs: what is taken, and what is said when
//! something is wrong.

use std::path::Path;
use std::process::Command;

use mortise_tests::daemon::{Daemon, Options};
use mortise_tests::files::{Answer, FileServer};
use mortise_tests::snap_in::Parts;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// A daemon that may fetch from the server.
fn daemon_for(server: &FileServer, more: &str) -> Daemon {
    let settings = format!("{more}[egress]\nallow = [\"{}\"]\n", server.address());
    let daemon = Daemon::start_with(Options { settings, ..Options::default() });
    daemon.call("packages.create", &json!({ "slug": "hello" }));
    daemon
}

/// `hello-1.2.0.tar.gz` as a forge makes it: everything in one folder.
fn forge_archive() -> Vec<u8> {
    let directory = tempfile::tempdir().expect("/tmp");
    let top = directory.path().join("hello-1.2.0");
    Parts::echo().write_to(&top);
    gzipped(directory.path(), "hello-1.2.0")
}

fn gzipped(directory: &Path, name: &str) -> Vec<u8> {
    let packed = Command::new("tar").arg("-czC").arg(directory).args(["-f", "-", name]).output();
    packed.expect("tar is installed").stdout
}

fn refusal(daemon: &Daemon, parameters: &Value, status: u16) -> String {
    let response = daemon.try_call("versions.create", parameters).expect("an answer");
    assert_eq!(response.status, status, "{}", response.text());
    response.json()["message"].as_str().expect("a message").to_owned()
}

#[test]
fn a_version_comes_from_a_url_whatever_redirects_there_are() {
    let server = FileServer::start();
    let archive = forge_archive();
    let sha256 = hex::encode(Sha256::digest(&archive));
    server.put("/archive/v1.2.0.tar.gz", Answer::redirect(&server.url("/real.tar.gz")));
    server.put("/real.tar.gz", Answer::bytes(archive));
    let daemon = daemon_for(&server, "");
    let url = server.url("/archive/v1.2.0.tar.gz");

    let looked = daemon.call("versions.validate", &json!({ "url": url }));
    assert_eq!(looked["valid"], true, "{looked}");
    assert_eq!(looked["sha256"], sha256.as_str());
    assert!(looked["manifest"].as_str().is_some_and(|it| it.contains("name: echo")), "{looked}");
    assert_eq!(daemon.call("versions.list", &json!({}))["versions"], json!([]), "nothing is kept");

    let parameters = json!({ "package": "hello", "url": url, "sha256": sha256 });
    let created = daemon.call("versions.create", &parameters);
    assert_eq!(created["version"]["functions"], json!(["work"]), "{created}");
    assert_eq!(created["version"]["content_hash"], looked["content_hash"]);
    let again = daemon.call("versions.create", &parameters);
    assert_eq!(again["existed"], true);

    // The code was unpacked from below the forge's folder: it runs.
    let snap_in = daemon.call("snap-ins.create", &json!({ "version": created["version"]["id"] }));
    let id = snap_in["snap_in"]["id"].as_str().expect("an id");
    daemon.step("activate", id, "ACTIVE");
    let call = json!({ "snap_in": id, "function": "work", "payload": { "n": 7 } });
    assert_eq!(daemon.call("functions.call", &call)["result"]["n"], 7);
}

#[test]
fn what_cannot_be_fetched_is_refused_with_what_to_do() {
    let server = FileServer::start();
    let archive = forge_archive();
    server.put("/good.tar.gz", Answer::bytes(archive.clone()));
    server.put(
        "/page",
        Answer::bytes(b"<html>sign in</html>".to_vec())
            .with("Content-Type", "text/html; charset=x"),
    );
    server.put("/private", Answer { status: 403, ..Answer::bytes(Vec::new()) });
    server.put("/empty", Answer::bytes(Vec::new()));
    server.put("/cut.tar.gz", Answer::bytes(archive[..archive.len() / 2].to_vec()));
    server.put("/away", Answer::redirect("http://169.254.169.254/latest"));
    server.put("/large", Answer::bytes(vec![b'x'; 200_000]));
    let daemon = daemon_for(&server, "[limits]\narchive_bytes = 100_000\n");
    let told = |path: &str, status| {
        let url = server.url(&format!("{path}?token=hush-hush"));
        let message = refusal(&daemon, &json!({ "package": "hello", "url": url }), status);
        println!("{path}: {message}");
        assert!(!message.contains("hush-hush"), "the URL may hold a secret: {message}");
        message
    };
    let host = server.address().to_string();
    assert!(told("/nowhere.tar.gz", 422).starts_with(&format!("{host} answered 404")));
    assert!(told("/private", 422).contains("give the file"));
    assert!(told("/page", 422).contains("text/html, a page for people"));
    assert!(told("/empty", 422).contains("empty"));
    assert!(told("/cut.tar.gz", 422).contains("cannot be unpacked"));
    assert!(told("/away", 422).contains("169.254.169.254"));
    assert!(told("/large", 413).contains("limits.archive_bytes"));

    let parameters =
        json!({ "package": "hello", "url": server.url("/good.tar.gz"), "sha256": "0".repeat(64) });
    let message = refusal(&daemon, &parameters, 422);
    assert!(message.contains(&"0".repeat(64)), "{message}");
    assert!(message.contains(&hex::encode(Sha256::digest(&archive))), "{message}");

    for (parameters, hint) in [
        (json!({ "url": "ftp://example.com/x.tar" }), "http or https"),
        (json!({ "url": "no url" }), "not a URL"),
        (json!({ "url": server.url("/good.tar.gz"), "archive": "AAAA" }), "not both"),
        (json!({ "url": server.url("/good.tar.gz"), "sha256": "12" }), "64 hexadecimal"),
        (json!({ "sha256": "0".repeat(64) }), "no archive and no url"),
        (json!({ "url": format!("http://{}/api/v1/x", daemon.address()) }), "this daemon itself"),
    ] {
        let mut parameters = parameters;
        parameters["package"] = json!("hello");
        let message = refusal(&daemon, &parameters, 400);
        assert!(message.contains(hint), "{message}");
    }
    assert_eq!(daemon.call("versions.list", &json!({}))["versions"], json!([]));
}

#[test]
fn the_guard_of_outgoing_requests_holds_for_archives_too() {
    let server = FileServer::start();
    server.put("/good.tar.gz", Answer::bytes(forge_archive()));
    let daemon = Daemon::start();
    daemon.call("packages.create", &json!({ "slug": "hello" }));
    let parameters = json!({ "package": "hello", "url": server.url("/good.tar.gz") });
    let message = refusal(&daemon, &parameters, 422);
    assert!(message.contains("loopback") && message.contains("egress.allow"), "{message}");
}

#[test]
fn problems_in_code_name_the_file() {
    let daemon = Daemon::start();
    let parts = Parts::new("broken", mortise_tests::snap_in::SIGNED, "export const run = (;");
    let looked = daemon.call(
        "versions.validate",
        &json!({ "manifest": parts.manifest(), "archive": parts.archive() }),
    );
    assert_eq!(looked["valid"], false);
    let problem = &looked["problems"][0];
    assert_eq!(problem["file"], "src/work.ts", "{looked}");
    assert_eq!(problem["line"], 1, "{looked}");
}
