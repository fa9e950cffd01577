//! The proxy: clients that people use reach allowed hosts by name, and nothing else.

use mortise::functions::outcome::FailureKind;

use crate::harness::{OneHost, Place, assert_failure, in_place, package, result, run_in, serve};

const PYTHON: &str = "#!/usr/bin/python3
import json, sys, urllib.request, urllib.error
url = 'http://allowed.test/path?q=1'
body = urllib.request.urlopen(url, data=b'x' * 300000, timeout=10).read().decode()
try:
    urllib.request.urlopen('http://other.test/', timeout=10)
    refused = None
except urllib.error.HTTPError as error:
    refused = [error.code, error.read().decode()]
print(json.dumps([body, refused]))
";

/// A tunnel, and what is said through it.
const TUNNEL: &str = "#!/usr/bin/python3
import json, os, socket, urllib.parse
proxy = urllib.parse.urlparse(os.environ['HTTPS_PROXY'])
def ask(target):
    s = socket.create_connection((proxy.hostname, proxy.port), timeout=10)
    s.sendall(f'CONNECT {target} HTTP/1.1\\r\\nHost: {target}\\r\\n\\r\\n'.encode())
    head = s.recv(1000).decode()
    if ' 200 ' not in head:
        while (more := s.recv(1000).decode()): head += more
        return head
    s.sendall(b'GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n')
    s.shutdown(socket.SHUT_WR)
    body = b''
    while (more := s.recv(100000)): body += more
    return body.decode()
print(json.dumps([ask('allowed.test:443'), ask('other.test:443'), ask('nonsense')]))
";

#[test]
fn allowed_hosts_are_reached_and_others_refused() {
    let (address, heads) = serve("hello from afar");
    let package = package(&[
        ("python", PYTHON),
        ("curl", "#!/bin/sh\ncurl -sS http://allowed.test/x | sed 's/.*/\"&\"/'\n"),
        ("refused", "#!/bin/sh\ncurl -sS http://other.test/ >&2\n"),
        ("tunnel", TUNNEL),
    ]);
    in_place(Place::Private, OneHost(Some(address)), async move |host| {
        let report = host.run(&package, "python").await;
        let refusal = "other.test port 80 is not among the allowed hosts\n";
        let value: serde_json::Value = serde_json::from_str(&result(&report)).expect("JSON");
        assert_eq!(value, serde_json::json!(["hello from afar", [403, refusal]]));
        let head = heads.recv().expect("a request");
        assert!(head.starts_with("POST /path?q=1 HTTP/1.1\r\nHost: allowed.test\r\n"), "{head}");
        assert!(head.contains("Content-Length: 300000\r\n"), "{head}");
        assert!(head.contains("Connection: close\r\n"), "{head}");
        assert_eq!(result(&host.run(&package, "curl").await), "\"hello from afar\"");
        let report = host.run(&package, "refused").await;
        assert!(report.logs.iter().any(|it| it.message == refusal.trim()), "{report:?}");
        let report = host.run(&package, "tunnel").await;
        let value: Vec<String> = serde_json::from_str(&result(&report)).expect("JSON");
        assert!(value[0].ends_with("\r\n\r\nhello from afar"), "{value:?}");
        assert!(value[1].starts_with("HTTP/1.1 403 Forbidden\r\n"), "{value:?}");
        assert!(value[1].contains("other.test port 443 is not among"), "{value:?}");
        assert!(value[2].starts_with("HTTP/1.1 400 "), "{value:?}");
    });
}

#[test]
fn large_bodies_pass_both_ways() {
    let body: &'static str = Box::leak("0123456789".repeat(500_000).into_boxed_str());
    let (address, _heads) = serve(body);
    let package =
        package(&[("run", "#!/bin/sh\ncurl -sS http://allowed.test/ | (sleep 0.2; wc -c)\n")]);
    in_place(Place::Private, OneHost(Some(address)), async move |host| {
        assert_eq!(result(&host.run(&package, "run").await), "5000000");
    });
}

/// A connection that is open at the end of a run does not live on: the run's processes are killed, also
/// one in a session of its own, and the pool drops its end of what they had.
#[test]
fn connections_end_with_their_run() {
    use std::io::Read;
    const RUNS: usize = 3;
    let server = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = server.local_addr().expect("bound");
    let (sender, ended) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for _ in 0..RUNS {
            let (mut stream, _) = server.accept().expect("a connection");
            stream.set_read_timeout(Some(std::time::Duration::from_secs(20))).expect("a limit");
            sender.send(stream.read(&mut [0]).map_err(|it| it.kind())).expect("it is waited for");
        }
    });
    let script = "#!/usr/bin/python3\nimport os, socket, time\n\
                  port = int(os.environ['http_proxy'].rsplit(':', 1)[1])\n\
                  s = socket.create_connection(('127.0.0.1', port))\n\
                  s.send(b'CONNECT allowed.test:1 HTTP/1.1\\r\\n\\r\\n')\n\
                  print(s.recv(1000).split()[1].decode(), flush=True)\n\
                  if os.fork() == 0:\n    os.setsid()\n    time.sleep(100)\n";
    let package = package(&[("run", script)]);
    in_place(Place::Private, OneHost(Some(address)), async move |host| {
        for _ in 0..RUNS {
            assert_eq!(result(&host.run(&package, "run").await), "200");
            // The pool closes it on this thread, so that this thread must not wait for it.
            let end = loop {
                match ended.try_recv() {
                    Ok(end) => break end,
                    Err(_) => tokio::time::sleep(std::time::Duration::from_millis(5)).await,
                }
            };
            assert!(
                matches!(end, Ok(0) | Err(std::io::ErrorKind::ConnectionReset)),
                "the connection went on: {end:?}"
            );
        }
    });
}

#[test]
fn without_namespaces_there_is_no_network() {
    let script = "#!/usr/bin/python3\nimport socket\nsocket.socket()\n";
    assert_failure(&run_in(Place::Shared, script), FailureKind::Thrown, "not permitted");
}
