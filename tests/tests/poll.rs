//! Polling with a real daemon and a real server: what is new comes once, whatever becomes of either.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mortise_tests::daemon::{Daemon, Options};
use mortise_tests::eventually;
use mortise_tests::snap_in::pack;
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);

/// Answers with what it was told.
const CODE: &str = "
const work = async (events) => events[0].payload;
export const functionFactory = { work };
";

/// What a server has, and how it is.
#[derive(Default)]
struct Content {
    items: u64,
    /// It hangs up on whoever asks.
    is_down: bool,
    /// `If-None-Match` of each request, and the status of its answer.
    asked: Vec<(Option<String>, u16)>,
}

/// A server with a list that grows.
#[derive(Clone)]
struct Server {
    address: SocketAddr,
    content: Arc<Mutex<Content>>,
}

impl Server {
    fn start() -> Server {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let server = Server { address, content: Arc::default() };
        let serving = server.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // Whoever hangs up is not our concern.
                let _ = serving.serve(&stream);
            }
        });
        server
    }

    fn with<T>(&self, change: impl FnOnce(&mut Content) -> T) -> T {
        change(&mut self.content.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn serve(&self, stream: &TcpStream) -> std::io::Result<()> {
        let mut seen = None;
        for line in BufReader::new(stream).lines() {
            let line = line?;
            if line.is_empty() {
                break;
            }
            if let Some(("if-none-match", value)) = line.split_once(": ") {
                seen = Some(value.to_owned());
            }
        }
        let answer = self.with(|content| {
            if content.is_down {
                content.asked.push((seen, 0));
                return None;
            }
            let etag = format!("\"v{}\"", content.items);
            let is_known = seen.as_ref() == Some(&etag);
            content.asked.push((seen, if is_known { 304 } else { 200 }));
            let list: Value = (1..=content.items).map(|it| json!({ "id": it })).collect();
            let body = if is_known { String::new() } else { list.to_string() };
            let status = if is_known { "304 Not Modified" } else { "200 OK" };
            Some(format!(
                "HTTP/1.1 {status}\r\nETag: {etag}\r\nContent-Type: application/json\r\n\
                 Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            ))
        });
        let mut stream = stream;
        answer.map_or(Ok(()), |it| stream.write_all(it.as_bytes()))
    }

    /// Waits for so many more answers with this status; 0 for none.
    fn is_asked(&self, status: u16, more: usize) {
        let count = || self.with(|it| it.asked.iter().filter(|it| it.1 == status).count());
        let before = count();
        eventually("the server is asked", PATIENCE, || (count() >= before + more).then_some(()));
    }
}

/// A snap-in that polls the server every second.
struct Polling<'a> {
    daemon: &'a Daemon,
    snap_in: String,
    source: String,
}

fn daemon_for(server: &Server) -> Daemon {
    let settings = format!("[egress]\nallow = [\"{}\"]\n", server.address);
    Daemon::start_with(Options { settings, ..Options::default() })
}

fn upload(config: &Value) -> Value {
    let package = r#"{"name":"tested","version":"1.0.0","main":"src/index.ts"}"#;
    let archive = pack(&[("package.json", package), ("src/index.ts", CODE)]);
    let manifest = format!(
        "version: \"2\"\nname: News\ndescription: For tests.\n\
         service_account:\n  display_name: Tester\n\
         event_sources:\n  organization:\n    - name: news\n      display_name: News\n      \
         description: News.\n      type: poll\n      config: {config}\n\
         functions:\n  - name: work\n    description: Works.\n\
         automations:\n  - name: All\n    source: news\n    event_types: [poll.item]\n    \
         function: work\n"
    );
    json!({ "package": "news", "manifest": manifest, "archive": archive })
}

impl Polling<'_> {
    fn start<'a>(daemon: &'a Daemon, server: &Server) -> Polling<'a> {
        let config = json!({ "url": format!("http://{}/", server.address), "every_seconds": 1 });
        daemon.call("packages.create", &json!({ "slug": "news" }));
        let version = daemon.call("versions.create", &upload(&config));
        let version = &version["version"]["id"];
        let snap_in = daemon.call("snap-ins.create", &json!({ "version": version }));
        let snap_in = snap_in["snap_in"]["id"].as_str().expect("an id").to_owned();
        let sources = daemon.call("event-sources.list", &json!({ "snap_in": snap_in }));
        let source = sources["event_sources"][0]["id"].as_str().expect("an id").to_owned();
        daemon.step("activate", &snap_in, "ACTIVE");
        Polling { daemon, snap_in, source }
    }

    /// Waits until these have come, once each.
    fn has(&self, ids: impl Iterator<Item = u64>) {
        let expected: Vec<u64> = ids.collect();
        eventually("the events come", PATIENCE, || {
            (self.events().len() >= expected.len()).then_some(())
        });
        let mut found: Vec<u64> = self
            .events()
            .iter()
            .map(|event| {
                let run = self.daemon.run_of(event["id"].as_str().expect("an id"));
                assert_eq!(run["state"], "succeeded", "{run:#}");
                run["result"]["id"].as_u64().expect("the payload is the item")
            })
            .collect();
        found.sort_unstable();
        assert_eq!(found, expected);
    }

    fn events(&self) -> Vec<Value> {
        self.daemon.list_all("events.list", "events", &json!({ "snap_in": self.snap_in }))
    }

    fn is_told(&self, what: &str) -> String {
        eventually(what, PATIENCE, || {
            let log =
                self.daemon.call("event-sources.logs", &json!({ "id": self.source })).to_string();
            log.contains(what).then_some(log)
        })
    }
}

#[test]
fn what_is_new_comes_once_and_the_rest_is_not_fetched() {
    let server = Server::start();
    server.with(|it| it.items = 3);
    let daemon = daemon_for(&server);
    let polling = Polling::start(&daemon, &server);
    polling.is_told("3 items were there at first and are only remembered");
    // The first answer may be refused and asked for again, while the snap-in is being activated.
    server.is_asked(304, 2);
    let fetched = || server.with(|it| it.asked.iter().filter(|it| it.1 == 200).count());
    let before = fetched();
    assert!(polling.events().is_empty());
    server.with(|it| it.items = 5);
    polling.has(4..=5);
    server.is_asked(304, 1);
    server.with(|it| it.items = 6);
    polling.has(4..=6);
    assert_eq!(fetched(), before + 2, "each state was fetched once");
}

#[test]
fn after_kill_dash_nine_every_item_is_there_once() {
    let server = Server::start();
    let daemon = daemon_for(&server);
    let polling = Polling::start(&daemon, &server);
    polling.is_told("0 items were there at first");
    server.is_asked(304, 1);
    for round in 1..=3 {
        server.with(|it| it.items += 2);
        daemon.kill_dash_nine();
        server.with(|it| it.items += 1);
        daemon.restart();
        polling.has(1..=round * 3);
    }
}

#[test]
fn a_server_that_is_down_is_left_alone_and_heard_again() {
    let server = Server::start();
    server.with(|it| it.items = 1);
    let daemon = daemon_for(&server);
    let polling = Polling::start(&daemon, &server);
    polling.is_told("1 items were there at first");
    server.is_asked(304, 1);
    server.with(|it| it.is_down = true);
    let told = polling.is_told("3 times in a row");
    assert!(told.contains("the poll failed") && told.contains("the next try is at"), "{told}");
    server.with(|it| (it.is_down, it.items) = (false, 3));
    polling.has(2..=3);
    polling.is_told("it works again, after");
}

#[test]
fn a_paused_source_asks_nobody() {
    let server = Server::start();
    let daemon = daemon_for(&server);
    let polling = Polling::start(&daemon, &server);
    server.is_asked(304, 1);
    daemon.call("event-sources.pause", &json!({ "id": polling.source }));
    // One that was under way may still arrive.
    std::thread::sleep(Duration::from_millis(500));
    let before = server.with(|it| it.asked.len());
    std::thread::sleep(Duration::from_millis(2_500));
    assert_eq!(server.with(|it| it.asked.len()), before);
    server.with(|it| it.items = 2);
    daemon.call("event-sources.resume", &json!({ "id": polling.source }));
    polling.has(1..=2);
}

#[test]
fn an_address_that_is_refused_is_told() {
    let server = Server::start();
    let daemon = Daemon::start();
    let polling = Polling::start(&daemon, &server);
    polling.is_told("the poll failed");
    assert!(server.with(|it| it.asked.is_empty()));

    let wrong = json!({ "url": "ftp://a.example", "items_jq": ".[" });
    let problem = daemon.refused("versions.create", &upload(&wrong), 422).to_string();
    assert!(problem.contains("config.url") && problem.contains("config.items_jq"), "{problem}");
}
