//! Callers that do not wait for what they called: the function is carried to its end all the same,
//! and its run can be found.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use mortise_tests::daemon::{Daemon, Installed, Options};
use mortise_tests::eventually;
use mortise_tests::snap_in::{Parts, SIGNED};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);

/// Tells a server which run it is, waits for the answer and returns it.
const TELLS: &str = "
export const run = async ([event]) => {
  const { url } = event.payload;
  const answer = await fetch(`${url}/${encodeURIComponent(event.execution_metadata.request_id)}`);
  console.log('told');
  return { heard: await answer.text() };
};";

/// Refuses what it is asked about once the server has answered anything but that it is good.
const ASKS: &str = "
export const run = async ([event]) => {
  const { url } = event.input_data.global_values;
  if (url) {
    const answer = await fetch(`${url}/${encodeURIComponent(event.execution_metadata.request_id)}`);
    if ((await answer.text()) !== 'good') throw 'not like that';
  }
  return {};
};";

const SECTIONS: &str = "
inputs:
  organization:
    - {name: url, description: Where to ask., field_type: text}
hooks:
  - {type: validate, function: ask}
";

/// A server that answers when it is told to, and the function that was called.
struct Bench {
    daemon: Daemon,
    server: TcpListener,
    installed: Installed,
}

fn bench() -> Bench {
    let settings = "[egress]\nallow = [\"127.0.0.1\"]\n".to_owned();
    let daemon = Daemon::start_with(Options { settings, ..Options::default() });
    let parts = Parts::new("teller", SIGNED, TELLS).with_function("ask", ASKS);
    let installed = daemon.install(&parts.with_sections(SECTIONS));
    Bench { daemon, server: TcpListener::bind("127.0.0.1:0").expect("a free port"), installed }
}

impl Bench {
    fn url(&self) -> String {
        format!("http://{}", self.server.local_addr().expect("it is bound"))
    }

    /// Sends a request and does not wait for its answer.
    fn ask(&self, name: &str, parameters: &Value) -> TcpStream {
        let body = parameters.to_string();
        let (token, length) = (self.daemon.token(), body.len());
        let mut connection = TcpStream::connect(self.daemon.address()).expect("the daemon listens");
        let request = format!(
            "POST /api/v1/{name} HTTP/1.1\r\nHost: mortise\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        connection.write_all(request.as_bytes()).expect("the daemon listens");
        connection
    }

    fn call(&self) -> TcpStream {
        let payload = json!({ "url": self.url() });
        let id = &self.installed.id;
        let call = json!({ "snap_in": id, "function": "work", "payload": payload });
        self.ask("functions.call", &call)
    }

    /// The run that has come to the server, and its connection.
    fn told(&self) -> (String, TcpStream) {
        let (mut stream, _) = self.server.accept().expect("the function calls");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            assert_eq!(stream.read(&mut byte).expect("a request"), 1);
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).expect("text");
        let target = head.split(' ').nth(1).expect("a target");
        (target.trim_start_matches('/').to_owned(), stream)
    }

    fn run(&self, id: &str) -> Option<Value> {
        let response = self.daemon.try_call("runs.get", &json!({ "id": id })).ok()?;
        (response.status == 200).then(|| response.json()["run"].clone())
    }
}

fn answer(stream: TcpStream) {
    answer_with(stream, "done");
}

fn answer_with(mut stream: TcpStream, word: &str) {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close";
    let answer = format!("{head}\r\n\r\n{word}");
    stream.write_all(answer.as_bytes()).expect("the function still waits");
}

/// Resets the connection: one that is only closed may still be read from, as far as the daemon can
/// know. Waits until it has given its side up too.
fn hang_up(daemon: &Daemon, connection: TcpStream) {
    let before = open_connections(daemon);
    rustix::net::sockopt::set_socket_linger(&connection, Some(Duration::ZERO)).expect("a socket");
    drop(connection);
    eventually("the daemon notices", PATIENCE / 3, || {
        (open_connections(daemon) < before).then_some(())
    });
}

/// How many sockets the daemon has open.
fn open_connections(daemon: &Daemon) -> usize {
    let folder = format!("/proc/{}/fd", daemon.process_id());
    let files = std::fs::read_dir(folder).expect("it is on").flatten();
    let is_socket = |it: &std::fs::DirEntry| {
        std::fs::read_link(it.path()).is_ok_and(|to| to.to_string_lossy().starts_with("socket:"))
    };
    files.filter(is_socket).count()
}

#[test]
fn a_call_whose_caller_hangs_up_is_carried_to_its_end() {
    let bench = bench();
    let connection = bench.call();
    let (run, stream) = bench.told();
    hang_up(&bench.daemon, connection);
    answer(stream);
    let run = eventually("its run is stored", PATIENCE, || bench.run(&run));
    assert_eq!(run["state"], "succeeded", "{run:#}");
    assert_eq!(run["result"], json!({ "heard": "done" }));
    assert_eq!(run["requests"][0]["status"], 200, "{run:#}");
}

#[test]
fn a_hook_whose_asker_hangs_up_is_carried_to_its_end() {
    let bench = bench();
    let update = json!({ "id": bench.installed.id, "inputs_values": { "url": bench.url() } });
    let connection = bench.ask("snap-ins.update", &update);
    let (run, stream) = bench.told();
    hang_up(&bench.daemon, connection);
    answer(stream);
    let run = eventually("its run is stored", PATIENCE, || bench.run(&run));
    assert_eq!((&run["state"], &run["trigger"]["hook"]), (&json!("failed"), &json!("validate")));
    assert_eq!(run["error"]["message"], "not like that", "{run:#}");
}

#[test]
fn a_change_whose_asker_hangs_up_is_made_and_audited() {
    let bench = bench();
    let update = json!({ "id": bench.installed.id, "inputs_values": { "url": bench.url() } });
    let connection = bench.ask("snap-ins.update", &update);
    let (_, stream) = bench.told();
    hang_up(&bench.daemon, connection);
    answer_with(stream, "good");
    let ended = eventually("how it ended is written down", PATIENCE, || {
        let listed = bench.daemon.call("audit.list", &json!({ "call": "snap-ins.update" }));
        let rows = listed["rows"].as_array().expect("a list").clone();
        rows.into_iter().find(|it| it["outcome"] == "done")
    });
    assert_eq!(ended["target"], json!(bench.installed.id), "{ended:#}");
    let shown = bench.daemon.call("snap-ins.get", &json!({ "id": bench.installed.id }));
    assert_eq!(shown["snap_in"]["inputs"][0]["value"], json!(bench.url()), "{shown:#}");
}

#[test]
fn a_stop_waits_for_a_call_whose_caller_has_gone() {
    let bench = bench();
    let connection = bench.call();
    let (run, stream) = bench.told();
    hang_up(&bench.daemon, connection);
    std::thread::scope(|threads| {
        let stop = threads.spawn(|| bench.daemon.terminate());
        eventually("it stops", PATIENCE, || {
            bench.daemon.log().contains("stopping: running functions").then_some(())
        });
        answer(stream);
        assert!(stop.join().expect("it ends").success());
    });
    bench.daemon.restart();
    let run = bench.run(&run).expect("its run is stored");
    assert_eq!(run["result"], json!({ "heard": "done" }), "{run:#}");
}
