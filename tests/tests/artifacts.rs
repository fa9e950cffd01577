//! Artifacts over the real daemon: bytes that come in pieces, after a kill, in forms, wrong or in the
//! wrong place, and go out again whole, in parts, by URLs that are good for a while.

use std::fmt::Write as _;
use std::io;
use std::time::Duration;

use mortise_tests::client::{command, script};
use mortise_tests::daemon::{Daemon, Options};
use mortise_tests::http::{Connection, Response};
use mortise_tests::snap_in::{Parts, SIGNED};
use mortise_tests::{Numbers, eventually};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

const PATIENCE: Duration = Duration::from_secs(60);
/// As the daemon cuts them.
const CHUNK: usize = 255 * 1024;

/// Bytes that do not repeat.
fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut numbers = Numbers(seed);
    let words = std::iter::repeat_with(|| numbers.next_number().to_le_bytes());
    words.flatten().take(length).collect()
}

fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// The path of a URL, with its query.
fn path_of(url: &str) -> &str {
    &url[url.find("/artifacts/").expect("one of an artifact")..]
}

/// Prepares an artifact: its id and the path that its bytes go to.
#[track_caller]
fn prepare(daemon: &Daemon, parameters: &Value) -> (String, String) {
    let answer = daemon.call("artifacts.prepare", parameters);
    let text = |key: &str| answer[key].as_str().expect("a text").to_owned();
    (text("id"), path_of(&text("url")).to_owned())
}

fn put(daemon: &Daemon, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
    daemon.connect().send("PUT", path, headers, body).expect("the daemon answers")
}

/// Brings a whole artifact.
#[track_caller]
fn bring(daemon: &Daemon, name: &str, bytes: &[u8]) -> String {
    let (id, path) = prepare(daemon, &json!({ "file_name": name }));
    let answer = put(daemon, &path, &[], bytes);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["artifact"]["sha256"], sha256(bytes));
    id
}

#[track_caller]
fn locate(daemon: &Daemon, id: &str) -> String {
    let answer = daemon.call("artifacts.locate", &json!({ "id": id }));
    assert!(answer["expires_at"].is_string(), "{answer}");
    path_of(answer["url"].as_str().expect("a URL")).to_owned()
}

fn get(daemon: &Daemon, path: &str, headers: &[(&str, &str)]) -> Response {
    daemon.connect().send("GET", path, headers, b"").expect("the daemon answers")
}

fn received(daemon: &Daemon, id: &str) -> usize {
    let answer = daemon.call("artifacts.get", &json!({ "id": id }));
    let received = answer["artifact"]["received"].as_u64().expect("a number");
    usize::try_from(received).expect("it is small")
}

/// Begins a request and sends only so much of its body.
fn send_part(daemon: &Daemon, path: &str, body: &[u8], length: usize) -> io::Result<Connection> {
    let mut connection = daemon.connect();
    let head = format!("PUT {path} HTTP/1.1\r\nHost: m\r\nContent-Length: {length}\r\n\r\n");
    connection.write(head.as_bytes())?;
    connection.write(body)?;
    Ok(connection)
}

#[test]
fn an_upload_goes_on_after_a_lost_connection_and_after_a_kill() {
    let daemon = Daemon::start();
    let bytes = noise(20_000_000, 1);
    let announced = json!({
        "file_name": "large.bin", "size": bytes.len(), "sha256": sha256(&bytes), "parent_id": "wrk_1",
    });
    let (id, path) = prepare(&daemon, &announced);

    // A connection that is lost: all that came by then is kept.
    let lost = send_part(&daemon, &path, &bytes[..5_000_000], bytes.len()).expect("it is taken");
    eventually("some is on the disk", PATIENCE, || {
        (received(&daemon, &id) >= 4_000_000).then_some(())
    });
    drop(lost);
    eventually("all of it is", PATIENCE, || (received(&daemon, &id) == 5_000_000).then_some(()));

    // A daemon that is killed: what was stored is kept.
    let rest = format!("{path}&offset=5000000");
    let cut = send_part(&daemon, &rest, &bytes[5_000_000..12_000_000], bytes.len() - 5_000_000);
    let cut = cut.expect("it is taken");
    eventually("more is on the disk", PATIENCE, || {
        (received(&daemon, &id) >= 8_000_000).then_some(())
    });
    daemon.kill_dash_nine();
    drop(cut);
    daemon.restart();
    let kept = received(&daemon, &id);
    assert!((8_000_000..=12_000_000).contains(&kept), "{kept}");

    // It asks where it goes on, is told when it is wrong about that, and sends the rest in parts.
    let asked = put(&daemon, &path, &[("content-range", "bytes */*")], b"");
    assert_eq!((asked.status, &asked.json()["artifact"]["received"]), (202, &json!(kept)));
    let wrong = put(&daemon, &format!("{path}&offset=7"), &[], b"x");
    assert_eq!((wrong.status, &wrong.json()["received"]), (409, &json!(kept)), "{}", wrong.text());
    let mut at = kept;
    let mut last = None;
    while at < bytes.len() {
        let end = (at + 3_333_333).min(bytes.len());
        let range = format!("bytes {at}-{}/{}", end - 1, bytes.len());
        let answer = put(&daemon, &path, &[("content-range", &range)], &bytes[at..end]);
        assert_eq!(answer.status, if end < bytes.len() { 202 } else { 200 }, "{}", answer.text());
        last = Some(answer.json()["artifact"].clone());
        at = end;
    }
    let artifact = last.expect("something was left");
    assert_eq!(artifact["state"], "complete", "{artifact}");
    assert_eq!(artifact["file"]["size"], bytes.len());
    let again = put(&daemon, &path, &[], b"other bytes");
    assert_eq!(again.status, 409, "{}", again.text());

    daemon.restart();
    let whole = get(&daemon, &locate(&daemon, &id), &[]);
    assert_eq!((whole.status, whole.body.len()), (200, bytes.len()));
    assert!(whole.body == bytes, "other bytes came back");
    let listed = daemon.call("artifacts.list", &json!({ "parent_id": "wrk_1" }));
    assert_eq!(listed["artifacts"][0]["id"], id.as_str(), "{listed}");
    assert_eq!(listed["artifacts"].as_array().map(Vec::len), Some(1));
}

#[test]
fn what_is_not_what_was_announced_is_refused_and_not_kept() {
    let daemon = Daemon::start();
    let bytes = noise(600_000, 2);
    let other = sha256(b"something else");
    let announced =
        json!({ "file_name": "a", "sha256": format!("sha256:{}", other.to_uppercase()) });
    let (id, path) = prepare(&daemon, &announced);
    let answer = put(&daemon, &path, &[], &bytes);
    assert_eq!(answer.status, 422, "{}", answer.text());
    let problem = answer.json();
    let message = problem["message"].as_str().expect("a text");
    assert!(message.contains(&other) && message.contains(&sha256(&bytes)), "{message}");
    assert_eq!((&problem["expected"], &problem["found"]), (&json!(other), &json!(sha256(&bytes))));
    assert_eq!(received(&daemon, &id), 0);
    // The right bytes are taken at the same place.
    assert_eq!(put(&daemon, &path, &[], b"something else").status, 200);

    for (size, came, found) in
        [(10, 9, "9 bytes"), (10, 11, "11 bytes or more"), (0, 1, "1 bytes or more")]
    {
        let (id, path) = prepare(&daemon, &json!({ "file_name": "a", "size": size }));
        let answer = put(&daemon, &path, &[], &bytes[..came]);
        assert_eq!(answer.status, 422, "{size}, {came}: {}", answer.text());
        let problem = answer.json();
        assert_eq!(problem["expected"], format!("{size} bytes"), "{problem}");
        assert_eq!(problem["found"], found, "{problem}");
        assert_eq!(received(&daemon, &id), 0);
    }
    let (_, path) = prepare(&daemon, &json!({ "file_name": "nothing", "size": 0 }));
    assert_eq!(put(&daemon, &path, &[], b"").status, 200);

    // Parts that are not what their header says: what came is kept, and nothing is complete.
    let (id, path) = prepare(&daemon, &json!({ "file_name": "a" }));
    for range in ["bytes 0-9/5", "bytes 5-1/10", "0-9/10", "bytes x", "bytes 0-9"] {
        let answer = put(&daemon, &path, &[("content-range", range)], b"0123456789");
        assert_eq!(answer.status, 400, "{range}: {}", answer.text());
    }
    let answer = put(&daemon, &path, &[("content-range", "bytes 0-9/10")], b"01234");
    assert_eq!((answer.status, &answer.json()["received"]), (400, &json!(5)), "{}", answer.text());
    let answer = put(&daemon, &path, &[("content-range", "bytes 5-9/10")], b"5678910");
    assert_eq!(answer.status, 400, "{}", answer.text());
    let answer = put(&daemon, &path, &[("content-range", "bytes 5-9/*")], b"56789");
    assert_eq!((answer.status, received(&daemon, &id)), (202, 10), "{}", answer.text());
    let answer = put(&daemon, &path, &[("content-range", "bytes */10")], b"");
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["artifact"]["sha256"], sha256(b"0123456789"));
}

#[test]
fn a_late_sender_harms_no_other_and_ranges_mean_what_they_say() {
    let daemon = Daemon::start();
    let (id, path) = prepare(&daemon, &json!({ "file_name": "a", "size": 500_000 }));
    let bytes = noise(600_000, 7);
    // It sends more than was announced, and takes its time.
    let mut late = send_part(&daemon, &path, &bytes[..3], bytes.len()).expect("sent");
    // A busy daemon may begin with it only now: then the part is ended, as its sender is told, and sent again.
    let send =
        || put(&daemon, &path, &[("content-range", "bytes 0-399999/500000")], &bytes[..400_000]);
    let part = Some(send()).filter(|it| it.status != 409).unwrap_or_else(send);
    assert_eq!(part.status, 202, "{}", part.text());
    // Whatever becomes of it, what the other one brought stays.
    let refused = late.write(&bytes[3..]).and_then(|()| late.read());
    assert!(refused.map_or(true, |it| it.status >= 400), "the late one is refused or cut off");
    let rest = put(
        &daemon,
        &path,
        &[("content-range", "bytes 400000-499999/500000")],
        &bytes[400_000..500_000],
    );
    assert_eq!(rest.status, 200, "{}", rest.text());
    assert_eq!(received(&daemon, &id), 500_000);

    let (_, path) = prepare(&daemon, &json!({ "file_name": "b" }));
    let answer = put(&daemon, &path, &[("content-range", "bytes */0")], b"but here are some");
    assert_eq!(answer.status, 400, "{}", answer.text());
}

#[test]
fn whoever_has_one_url_holds_one_place() {
    let daemon = Daemon::start();
    let (id, path) = prepare(&daemon, &json!({ "file_name": "a" }));
    // More than there are places: each begins and sends no more, and whoever comes later ends it. Who is
    // later is the daemon's to say.
    let (tell, told) = std::sync::mpsc::channel();
    for _ in 0..41 {
        let mut slow = send_part(&daemon, &path, b"abc", 1_000).expect("it is taken");
        let tell = tell.clone();
        std::thread::spawn(move || tell.send(slow.read().map(|it| it.status).unwrap_or(0)));
    }
    let next_ended = || told.recv_timeout(PATIENCE).expect("one of them is answered");
    (0..40).for_each(|_| assert_eq!(next_ended(), 409));
    bring(&daemon, "another", b"bytes");
    let answer = put(&daemon, &path, &[], b"whole");
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(received(&daemon, &id), 5);
    assert_eq!(next_ended(), 409);
}

#[test]
fn a_slow_sender_is_cut_off_however_regularly_it_sends() {
    let settings = "[limits]\nrequest_body_seconds = 2\n".to_owned();
    let daemon = Daemon::start_with(Options { settings, ..Options::default() });
    let (id, path) = prepare(&daemon, &json!({ "file_name": "a" }));
    let mut slow = send_part(&daemon, &path, b"x", 100_000).expect("it is taken");
    // What came is kept when it is cut off, and not before: it is less than what is stored at once.
    eventually("it is cut off", PATIENCE, || {
        let _ = slow.write(b"x");
        (received(&daemon, &id) > 0).then_some(())
    });
    let answer = slow.read().expect("it is answered");
    assert_eq!(answer.status, 408, "{}", answer.text());
    let kept = answer.json()["received"].as_u64().expect("a number");
    let rest = put(&daemon, &format!("{path}&offset={kept}"), &[], b"the rest");
    assert_eq!(rest.status, 200, "{}", rest.text());
}

#[test]
fn parts_say_the_same_of_the_whole() {
    let daemon = Daemon::start();
    let (id, path) = prepare(&daemon, &json!({ "file_name": "a" }));
    let part = |range: &str, bytes: &[u8]| put(&daemon, &path, &[("content-range", range)], bytes);
    assert_eq!(part("bytes 0-4/10", b"01234").status, 202);
    for (range, bytes) in [
        ("bytes 5-9/12", &b"56789"[..]),
        ("bytes 5-7/8", b"567"),
        ("bytes */5", b""),
        ("bytes 5-11/*", b"56789ab"),
    ] {
        let answer = part(range, bytes);
        assert_eq!(answer.status, 422, "{range}: {}", answer.text());
        assert_eq!(answer.json()["expected"], 10, "{}", answer.text());
        assert_eq!(received(&daemon, &id), 5, "{range}");
    }
    daemon.restart();
    let rest = put(&daemon, &format!("{path}&offset=5"), &[], b"567");
    assert_eq!(rest.status, 422, "that is not all: {}", rest.text());
    let at = received(&daemon, &id);
    let last = format!("bytes {at}-9/10");
    let answer = put(&daemon, &path, &[("content-range", &last)], &b"0123456789"[at..]);
    assert_eq!(answer.status, 200, "{}", answer.text());
    // Whoever begins anew may say another one.
    let (_, path) = prepare(&daemon, &json!({ "file_name": "b" }));
    let part = |range: &str, bytes: &[u8]| put(&daemon, &path, &[("content-range", range)], bytes);
    assert_eq!(part("bytes 0-4/10", b"01234").status, 202);
    assert_eq!(part("bytes 0-4/5", b"01234").status, 409);
    assert_eq!(put(&daemon, &path, &[], b"0123456").status, 200);
}

#[test]
fn limits_hold() {
    let settings = "[artifacts]\nbytes = 600_000\ntotal_bytes = 1_000_000\n".to_owned();
    let daemon = Daemon::start_with(Options { settings, ..Options::default() });
    let refused =
        daemon.refused("artifacts.prepare", &json!({ "file_name": "a", "size": 600_001 }), 413);
    assert_eq!(refused["limit"], 600_000, "{refused}");
    let (_, path) = prepare(&daemon, &json!({ "file_name": "a" }));
    let answer = put(&daemon, &path, &[], &noise(600_001, 3));
    assert_eq!(answer.status, 413, "{}", answer.text());
    assert_eq!(answer.json()["code"], "too_large");

    let first = noise(600_000, 4);
    let id = bring(&daemon, "first", &first);
    // The same again needs no room.
    let same = bring(&daemon, "the same", &first);
    let (other, path) = prepare(&daemon, &json!({ "file_name": "other" }));
    let answer = put(&daemon, &path, &[], &noise(600_000, 5));
    assert_eq!(answer.status, 507, "{}", answer.text());
    assert!(answer.header("retry-after").is_some());
    for gone in [&id, &same, &other] {
        daemon.call("artifacts.delete", &json!({ "id": gone }));
        daemon.refused("artifacts.get", &json!({ "id": gone }), 404);
    }
    eventually("there is room again", PATIENCE, || {
        let (_, path) = prepare(&daemon, &json!({ "file_name": "other" }));
        (put(&daemon, &path, &[], &noise(600_000, 5)).status == 200).then_some(())
    });
}

#[test]
fn parts_of_an_artifact_are_read_as_http_has_it() {
    let daemon = Daemon::start();
    let bytes = noise(2 * CHUNK + 1000, 6);
    let id = bring(&daemon, "a.bin", &bytes);
    let path = locate(&daemon, &id);
    let whole = get(&daemon, &path, &[]);
    let tag = format!("\"{}\"", sha256(&bytes));
    for (name, value) in [
        ("etag", tag.as_str()),
        ("accept-ranges", "bytes"),
        ("content-type", "application/octet-stream"),
        ("x-content-type-options", "nosniff"),
        ("content-security-policy", "default-src 'none'; sandbox"),
        ("referrer-policy", "no-referrer"),
    ] {
        assert_eq!(whole.header(name), Some(value), "{name}");
    }
    assert!(whole.body == bytes);

    let size = bytes.len();
    for (range, first, last) in [
        ("bytes=0-0".to_owned(), 0, 0),
        (format!("bytes={}-{}", CHUNK - 1, CHUNK), CHUNK - 1, CHUNK),
        (format!("bytes={CHUNK}-"), CHUNK, size - 1),
        ("bytes=-1001".to_owned(), size - 1001, size - 1),
        (format!("bytes=5-{}", 10 * size), 5, size - 1),
    ] {
        let part = get(&daemon, &path, &[("range", &range)]);
        assert_eq!(part.status, 206, "{range}");
        let expected = format!("bytes {first}-{last}/{size}");
        assert_eq!(part.header("content-range"), Some(expected.as_str()));
        assert!(part.body == bytes[first..=last], "{range}");
    }
    let beyond = get(&daemon, &path, &[("range", &format!("bytes={size}-"))]);
    assert_eq!(beyond.status, 416, "{}", beyond.text());
    assert_eq!(beyond.header("content-range"), Some(format!("bytes */{size}").as_str()));
    // What is not understood, or of another file, is not followed.
    for headers in [
        vec![("range", "bytes=0-1,5-6")],
        vec![("range", "rows=0-1")],
        vec![("range", "bytes=0-1"), ("if-range", "\"other\"")],
    ] {
        assert_eq!(get(&daemon, &path, &headers).status, 200, "{headers:?}");
    }
    let same = [("range", "bytes=0-1"), ("if-range", tag.as_str())];
    assert_eq!(get(&daemon, &path, &same).status, 206);
    let known = get(&daemon, &path, &[("if-none-match", &format!("\"x\", {tag}"))]);
    assert_eq!((known.status, known.body.len()), (304, 0));
    let weak = get(&daemon, &path, &[("if-none-match", &format!("W/{tag}"))]);
    assert_eq!((weak.status, weak.body.len()), (304, 0));

    // Who asks for the head gets no body: the next answer on the connection is that of the next request.
    let mut connection = daemon.connect();
    let asked =
        format!("HEAD {path} HTTP/1.1\r\nHost: m\r\n\r\nGET /healthz HTTP/1.1\r\nHost: m\r\n\r\n");
    connection.write(asked.as_bytes()).expect("sent");
    let head = connection.read_head().expect("a head");
    assert_eq!(head.header("content-length"), Some(size.to_string().as_str()));
    assert_eq!(connection.read().expect("an answer").status, 200);

    // With a token of the API the URL needs no signature.
    let plain = path.split('?').next().expect("a path");
    let bearer = format!("Bearer {}", daemon.token());
    assert_eq!(get(&daemon, plain, &[("authorization", &bearer)]).status, 200);
    assert_eq!(get(&daemon, plain, &[]).status, 401);
    let other = daemon.connect().send("DELETE", &path, &[], b"").expect("an answer");
    assert_eq!(other.status, 405);
}

#[test]
fn urls_are_good_for_one_thing_and_a_while() {
    let daemon = Daemon::start();
    let id = bring(&daemon, "a", b"some bytes");
    let other = bring(&daemon, "b", b"other bytes");
    let path = locate(&daemon, &id);
    assert_eq!(get(&daemon, &path, &[]).body, b"some bytes");
    let (bare, query) = path.split_once('?').expect("a query");
    let until = query.split(['=', '&']).nth(1).expect("a time");
    let (_, upload) = prepare(&daemon, &json!({ "file_name": "c" }));
    let upload_query = upload.split_once('?').expect("a query").1;
    for forged in [
        path.replace(&id, &other),
        path.replace(until, &format!("{until}0")),
        format!("{path}x"),
        format!("{bare}?until={until}&signature="),
        format!("{bare}?until={until}&signature={}", "A".repeat(43)),
        // Good for sending another one.
        format!("{bare}?{upload_query}"),
    ] {
        let answer = get(&daemon, &forged, &[]);
        assert_eq!(answer.status, 403, "{forged}: {}", answer.text());
        assert!(!answer.text().contains("expired"), "{}", answer.text());
    }
    for nothing in [format!("{bare}?until={until}"), bare.to_owned()] {
        assert_eq!(get(&daemon, &nothing, &[]).status, 401, "{nothing}");
    }
    let odd = format!("{bare}?until=soon&signature=x");
    assert_eq!(get(&daemon, &odd, &[]).status, 400);
    // One for reading is not good for sending.
    assert_eq!(put(&daemon, &path, &[], b"x").status, 403);
    assert_eq!(put(&daemon, &path.replace(&id, "art_1"), &[], b"x").status, 404);

    let short = json!({ "id": id, "expires_in_seconds": 1 });
    let answer = daemon.call("artifacts.locate", &short);
    let short = path_of(answer["url"].as_str().expect("a URL")).to_owned();
    let expired = eventually("it expires", PATIENCE, || {
        let answer = get(&daemon, &short, &[]);
        (answer.status != 200).then_some(answer)
    });
    assert_eq!(expired.status, 403);
    assert!(expired.text().contains("expired") && expired.text().contains("artifacts.locate"));
    for seconds in [0, 604_801] {
        let wrong = json!({ "id": id, "expires_in_seconds": seconds });
        assert_eq!(daemon.refused("artifacts.locate", &wrong, 400)["field"], "expires_in_seconds");
    }
    // They outlive a change of the master key for a while.
    daemon.call("keys.rotate", &json!({ "wait_seconds": 60 }));
    assert_eq!(get(&daemon, &path, &[]).status, 200);
}

#[test]
fn names_and_types_of_others_do_no_harm() {
    let daemon = Daemon::start();
    for (name, expected) in [
        ("../../etc/passwd", "attachment; filename=\"passwd\"; filename*=UTF-8''passwd"),
        ("a\"b;c.txt", "attachment; filename=\"a_b;c.txt\"; filename*=UTF-8''a%22b%3Bc.txt"),
        ("ünï.txt", "attachment; filename=\"_n_.txt\"; filename*=UTF-8''%C3%BCn%C3%AF.txt"),
    ] {
        let (id, path) = prepare(&daemon, &json!({ "file_name": name, "file_type": "text/html" }));
        assert_eq!(put(&daemon, &path, &[], b"<script>").status, 200);
        let answer = get(&daemon, &locate(&daemon, &id), &[]);
        assert_eq!(answer.header("content-disposition"), Some(expected));
        assert_eq!(answer.header("content-type"), Some("text/html"));
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    }
    for (field, value) in [
        ("file_name", "a\r\nSet-Cookie: x"),
        ("file_name", ""),
        ("file_name", &"x".repeat(256)),
        ("file_type", "text/html\r\nx: y"),
        ("file_type", "html"),
        ("sha256", "0123"),
        ("parent_id", "a b"),
        ("parent_id", ""),
    ] {
        let mut parameters = json!({ "file_name": "a" });
        parameters[field] = json!(value);
        let refused = daemon.refused("artifacts.prepare", &parameters, 400);
        assert_eq!(refused["field"], field, "{refused}");
    }
    daemon.refused("artifacts.prepare", &json!({}), 400);
    daemon.refused("artifacts.prepare", &json!({ "file_name": "a", "file": "b" }), 400);
}

/// A form as callers send it: the fields of `form_data`, then the file.
fn form_of(prepared: &Value, bytes: &[u8]) -> Vec<u8> {
    let mut head = String::new();
    for field in prepared["form_data"].as_array().expect("fields") {
        let (key, value) = (field["key"].as_str(), field["value"].as_str());
        let (key, value) = (key.expect("a key"), value.expect("a value"));
        write!(
            head,
            "--b0undary\r\nContent-Disposition: form-data; name=\"{key}\"\r\n\r\n{value}\r\n"
        )
        .expect("a text");
    }
    head.push_str(
        "--b0undary\r\nContent-Disposition: form-data; name=\"file\"; filename=\"x\"\r\n\
         Content-Type: text/plain\r\n\r\n",
    );
    let mut form = head.into_bytes();
    form.extend_from_slice(bytes);
    form.extend_from_slice(b"\r\n--b0undary--\r\n");
    form
}

#[test]
fn a_form_brings_a_file() {
    let daemon = Daemon::start();
    let headers = [("content-type", "multipart/form-data; boundary=b0undary")];
    let post = |path: &str, body: &[u8]| {
        daemon.connect().send("POST", path, &headers, body).expect("the daemon answers")
    };
    let mut bytes = noise(700_000, 7);
    bytes.extend_from_slice(b"\r\n--b0undar\r\n--");
    let prepared =
        daemon.call("artifacts.prepare", &json!({ "file_name": "f", "file_type": "text/plain" }));
    let id = prepared["id"].as_str().expect("an id");
    let path = path_of(prepared["url"].as_str().expect("a URL")).to_owned();
    let form = form_of(&prepared, &bytes);
    // Without its end, without a file, for another artifact, and no form at all.
    let broken = post(&path, &form[..form.len() - 20]);
    assert_eq!(broken.status, 400, "{}", broken.text());
    let empty = post(&path, b"--b0undary--\r\n");
    assert_eq!((empty.status, &empty.json()["field"]), (400, &json!("file")), "{}", empty.text());
    let mut other = prepared.clone();
    other["form_data"][0]["value"] = json!("art_00000000000000000000000000");
    let other = post(&path, &form_of(&other, &bytes));
    assert_eq!((other.status, &other.json()["field"]), (400, &json!("key")), "{}", other.text());
    assert_eq!(post(&path, b"what is this").status, 400);

    let taken = post(&path, &form);
    assert_eq!(taken.status, 200, "{}", taken.text());
    assert_eq!(taken.json()["artifact"]["sha256"], sha256(&bytes));
    let read = get(&daemon, &locate(&daemon, id), &[]);
    assert!(read.body == bytes);
    assert_eq!(read.header("content-type"), Some("text/plain"));
}

#[test]
fn equal_files_are_there_once() {
    let daemon = Daemon::start();
    let stored = || {
        let path = daemon.state_dir().join("mortise.redb");
        std::fs::metadata(path).expect("it is there").len()
    };
    let bytes = noise(8_000_000, 8);
    let first = bring(&daemon, "first", &bytes);
    let before = stored();
    for round in 0..4 {
        bring(&daemon, &format!("again {round}"), &bytes);
    }
    let grown = stored() - before;
    assert!(grown < 8_000_000, "four more of the same took {grown} bytes");
    daemon.call("artifacts.delete", &json!({ "id": first }));
    for artifact in daemon.list_all("artifacts.list", "artifacts", &json!({})) {
        let id = artifact["id"].as_str().expect("an id");
        assert!(get(&daemon, &locate(&daemon, id), &[]).body == bytes, "the others have theirs");
    }
}

#[test]
fn artifacts_are_attached_and_detached() {
    let daemon = Daemon::start();
    let (id, _) = prepare(&daemon, &json!({ "file_name": "a" }));
    daemon.refused("artifacts.locate", &json!({ "id": id }), 409);
    let attached = daemon.call("artifacts.attach", &json!({ "id": id, "parent_id": "wrk_1" }));
    assert_eq!(attached["artifact"]["parent_id"], "wrk_1");
    let refused =
        daemon.refused("artifacts.attach", &json!({ "id": id, "parent_id": "wrk_2" }), 409);
    assert_eq!(refused["existing_parent"], "wrk_1");
    let detached = daemon.call("artifacts.detach", &json!({ "id": id }));
    assert!(detached["artifact"]["parent_id"].is_null(), "{detached}");
    daemon.call("artifacts.attach", &json!({ "id": id, "parent_id": "wrk_2" }));
    let listed = |parent: &str| {
        daemon.list_all("artifacts.list", "artifacts", &json!({ "parent_id": parent })).len()
    };
    assert_eq!((listed("wrk_1"), listed("wrk_2")), (0, 1));
    daemon.refused("artifacts.get", &json!({ "id": "art_00000000000000000000000000" }), 404);
    daemon.refused("artifacts.get", &json!({ "id": "a" }), 400);
}

/// A function that reads artifacts of objects, and tries to attach one.
const READER: &str = "
export const run = async (events) => {
  const { secrets, execution } = { secrets: events[0].context.secrets, execution: events[0].execution_metadata };
  const headers = { authorization: secrets.service_account_token, 'content-type': 'application/json' };
  const answers = [];
  for (const [name, body] of events[0].payload.calls) {
    const answer = await fetch(`${execution.devrev_endpoint}/${name}`,
      { method: 'POST', headers, body: JSON.stringify(body) });
    answers.push(answer.status);
  }
  return answers;
};
";

#[test]
fn artifacts_of_objects_come_and_go_with_them() {
    let daemon = Daemon::start();
    for (name, prefix) in [("ticket", "TKT"), ("diary", "DIA")] {
        let definition = json!({
            "name": name,
            "id_prefix": name,
            "title_field": "title",
            "display_id": prefix,
            "schema": { "properties": { "title": { "type": "string" } } },
        });
        daemon.call("object-types.create", &definition);
    }
    let ticket = daemon.call("tickets.create", &json!({ "title": "a" }))["ticket"].clone();
    daemon.call("diarys.create", &json!({ "title": "b" }));
    // By its id or by what people call it, it is the same object.
    let by_id = bring(&daemon, "by id", b"1");
    daemon.call("artifacts.attach", &json!({ "id": by_id, "parent_id": ticket["id"] }));
    let (by_name, path) = prepare(&daemon, &json!({ "file_name": "n", "parent_id": "TKT-1" }));
    assert_eq!(put(&daemon, &path, &[], b"2").status, 200);
    let secret = bring(&daemon, "secret", b"3");
    daemon.call("artifacts.attach", &json!({ "id": secret, "parent_id": "DIA-1" }));
    let got = daemon.call("artifacts.get", &json!({ "id": by_name }));
    assert_eq!(got["artifact"]["parent_id"], ticket["id"], "{got}");
    let of_ticket = |parent: &Value| {
        daemon.list_all("artifacts.list", "artifacts", &json!({ "parent_id": parent })).len()
    };
    assert_eq!((of_ticket(&json!("TKT-1")), of_ticket(&ticket["id"])), (2, 2));
    let gone = ticket["id"].as_str().expect("an id").replace("ticket_", "ticket_0");
    let gone = &gone[..gone.len() - 1];
    daemon.refused("artifacts.prepare", &json!({ "file_name": "x", "parent_id": gone }), 400);

    // A snap-in reads the artifacts of objects that it may read, and attaches to those it may write.
    let reader = Parts::new("reader", SIGNED, READER).with_scope("ticket:read");
    let installed = daemon.install(&reader);
    let calls = json!([
        ["artifacts.get", { "id": by_name }],
        ["artifacts.locate", { "id": by_name }],
        ["artifacts.list", { "parent_id": "TKT-1" }],
        ["artifacts.get", { "id": secret }],
        ["artifacts.list", { "parent_id": "DIA-1" }],
        ["artifacts.delete", { "id": by_name }],
        ["artifacts.detach", { "id": by_name }],
        ["artifacts.prepare", { "file_name": "mine", "parent_id": "TKT-1" }],
    ]);
    let call =
        json!({ "snap_in": installed.id, "function": "work", "payload": { "calls": calls } });
    let answer = daemon.call("functions.call", &call);
    assert_eq!(answer["result"], json!([200, 200, 200, 404, 403, 403, 403, 403]), "{answer}");

    daemon.call("tickets.delete", &json!({ "id": "TKT-1" }));
    for id in [by_id, by_name] {
        let left = daemon.call("artifacts.get", &json!({ "id": id }));
        assert!(
            left["artifact"]["parent_id"].is_null(),
            "it goes as what was never attached: {left}"
        );
    }
    daemon.refused("artifacts.list", &json!({ "parent_id": ticket["id"] }), 400);
    assert_eq!(of_ticket(&json!("DIA-1")), 1);
}

/// A function that keeps a file, reads it again, and tries to read another.
const KEEPER: &str = "
export const run = async (events) => {
  const { secrets, execution } = { secrets: events[0].context.secrets, execution: events[0].execution_metadata };
  const headers = { authorization: secrets.service_account_token, 'content-type': 'application/json' };
  const call = async (name, body) => {
    const answer = await fetch(`${execution.devrev_endpoint}/${name}`,
      { method: 'POST', headers, body: JSON.stringify(body) });
    return { status: answer.status, body: await answer.json() };
  };
  const prepared = (await call('artifacts.prepare', { file_name: 'f.txt' })).body;
  const form = prepared.form_data.map(({ key, value }) =>
    `--b\\r\\nContent-Disposition: form-data; name=\"${key}\"\\r\\n\\r\\n${value}\\r\\n`).join('');
  const sent = await fetch(prepared.url, {
    method: 'POST',
    headers: { 'content-type': 'multipart/form-data; boundary=b' },
    body: `${form}--b\\r\\nContent-Disposition: form-data; name=\"file\"\\r\\n\\r\\nkept\\r\\n--b--\\r\\n`,
  });
  const located = (await call('artifacts.locate', { id: prepared.id })).body;
  const read = await (await fetch(located.url)).text();
  const other = (await call('artifacts.get', { id: events[0].payload.other })).status;
  const listed = (await call('artifacts.list', {})).body.artifacts.map((it) => it.id);
  return { id: prepared.id, sent: sent.status, read, other, listed };
};
";

#[test]
fn a_snap_in_has_its_own_artifacts_and_no_others() {
    let daemon = Daemon::start();
    let other = bring(&daemon, "of the host", b"not yours");
    let installed = daemon.install(&Parts::new("keeper", SIGNED, KEEPER));
    let call =
        json!({ "snap_in": installed.id, "function": "work", "payload": { "other": other } });
    let answer = daemon.call("functions.call", &call);
    let result = answer["result"].clone();
    assert_eq!(result["sent"], 200, "{answer}");
    assert_eq!(result["read"], "kept", "{result}");
    assert_eq!(result["other"], 404, "{result}");
    assert_eq!(result["listed"], json!([result["id"]]), "{result}");
    let artifact = daemon.call("artifacts.get", &json!({ "id": result["id"] }))["artifact"].clone();
    assert_eq!(artifact["snap_in"], installed.id.as_str(), "{artifact}");

    // A token for a part of the host has none of them.
    let made = daemon.call("tokens.create", &json!({ "name": "part", "scope": "default/default" }));
    let token = made["token"].as_str().expect("a token");
    for (name, parameters) in [
        ("artifacts.list", json!({})),
        ("artifacts.get", json!({ "id": other })),
        ("artifacts.prepare", json!({ "file_name": "a" })),
    ] {
        let answer = daemon.try_call_as(token, name, &parameters).expect("an answer");
        assert_eq!(answer.status, 403, "{name}: {}", answer.text());
    }
}

#[test]
fn the_client_brings_and_gets_files() {
    let daemon = Daemon::start();
    let folder = tempfile::tempdir().expect("/tmp");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let bytes = noise(3_000_000, 9);
    std::fs::write(path("in.bin"), &bytes).expect("a temporary file");

    let input = path("in.bin");
    let put = script(&daemon, &["artifact", "put", &input, "--parent", "wrk_1", "--json"], "");
    assert_eq!(put.code, 0, "{put:?}");
    let artifact = put.json()["artifact"].clone();
    assert_eq!(
        (&artifact["file"]["name"], &artifact["state"]),
        (&json!("in.bin"), &json!("complete"))
    );
    let id = artifact["id"].as_str().expect("an id");
    let got = script(&daemon, &["artifact", "get", id, "-o", &path("out.bin")], "");
    assert_eq!(got.code, 0, "{got:?}");
    assert!(std::fs::read(path("out.bin")).expect("written") == bytes);
    let piped = command(&daemon, &["artifact", "get", id]).output().expect("it runs");
    assert!(piped.status.success() && piped.stdout == bytes);

    let put = script(&daemon, &["artifact", "put", "-", "--name", "said.txt"], "what was said");
    assert_eq!(put.code, 0, "{put:?}");
    assert!(put.out.contains("said.txt") && put.out.contains("complete"), "{}", put.out);
    assert_eq!(script(&daemon, &["artifact", "put", "-"], "x").code, 2, "it has no name");

    // What was begun elsewhere goes on.
    let (begun, upload) = prepare(&daemon, &json!({ "file_name": "in.bin" }));
    let range = format!("bytes 0-999999/{}", bytes.len());
    let part =
        daemon.connect().send("PUT", &upload, &[("content-range", &range)], &bytes[..1_000_000]);
    assert_eq!(part.expect("an answer").status, 202);
    let resumed = script(&daemon, &["artifact", "put", &input, "--resume", &begun, "--json"], "");
    assert_eq!(resumed.code, 0, "{resumed:?}");
    assert_eq!(resumed.json()["artifact"]["sha256"], sha256(&bytes));

    let listed = script(&daemon, &["artifact", "list", "--parent", "wrk_1"], "");
    assert!(listed.out.contains(id) && listed.out.lines().count() == 2, "{}", listed.out);
    let shown = script(&daemon, &["artifact", "show", id], "");
    assert!(shown.out.contains("3000000") && shown.out.contains("in.bin"), "{}", shown.out);
    let url = script(&daemon, &["artifact", "url", id, "--expires-in", "60"], "");
    assert!(get(&daemon, path_of(url.out.trim()), &[]).body == bytes);
    assert_eq!(script(&daemon, &["artifact", "detach", id], "").code, 0);
    assert_eq!(script(&daemon, &["artifact", "attach", id, "wrk_2"], "").code, 0);
    assert_eq!(script(&daemon, &["artifact", "delete", id], "").code, 0);
    let gone = script(&daemon, &["artifact", "get", id, "-o", &path("gone.bin")], "");
    assert_eq!(gone.code, 1, "{gone:?}");
    assert!(!folder.path().join("gone.bin").exists());
    let left: Vec<_> = std::fs::read_dir(folder.path()).expect("read").flatten().collect();
    assert_eq!(left.len(), 2, "{left:?}");
}
