//! `fetch` of functions, through the daemon's egress and its guard, to a server on loopback.

use std::collections::HashMap;
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use mortise::egress::{Egress, EgressOptions, LocalApi};
use mortise::functions::outcome::{FailureKind, RunReport};
use mortise::functions::pool::{Fetch, Invocation, Pool};
use mortise::model::http::{EgressRules, OutgoingRequest, OutgoingResponse};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::harness::*;

/// What `run.rs` of the daemon does: lends the egress to the pool.
struct Bridge(Egress);

impl Fetch for Bridge {
    fn fetch<'a>(
        &'a self,
        invocation: &'a Invocation,
        request: OutgoingRequest,
    ) -> BoxFuture<'a, Result<OutgoingResponse, String>> {
        async move {
            self.0.send(request, &invocation.egress).await.map_err(|error| error.to_string())
        }
        .boxed()
    }
}

/// A server that answers by path and remembers what it was asked.
struct Server {
    port: u16,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Server {
    async fn start(answers: &[(&str, Vec<u8>)]) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let answers: Arc<HashMap<String, Vec<u8>>> = Arc::new(
            answers.iter().map(|(path, answer)| ((*path).to_owned(), answer.clone())).collect(),
        );
        let remember = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (answers, remember) = (Arc::clone(&answers), Arc::clone(&remember));
                tokio::spawn(async move {
                    let request = read_request(&mut stream).await;
                    let path = request.split(' ').nth(1).unwrap_or_default();
                    let path = path.split('?').next().unwrap_or_default().to_owned();
                    remember.lock().expect("no panic").push(request);
                    match answers.get(&path) {
                        Some(answer) => drop(stream.write_all(answer).await),
                        // Never answered.
                        None => std::future::pending().await,
                    }
                });
            }
        });
        Server { port, seen }
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().expect("no panic").clone()
    }

    fn allowed(&self) -> EgressRules {
        let destination = format!("127.0.0.1:{}", self.port).parse().expect("a destination");
        EgressRules { internal: vec![destination], ..EgressRules::default() }
    }
}

async fn read_request(stream: &mut tokio::net::TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|it| it.strip_prefix("content-length: "))
                .map_or(0, |it| it.parse().expect("a length"));
            if body.len() >= length {
                return text;
            }
        }
        match stream.read(&mut chunk).await {
            Ok(0) | Err(_) => return text,
            Ok(read) => bytes.extend_from_slice(&chunk[..read]),
        }
    }
}

fn answer(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let mut bytes = format!(
        "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n"
    )
    .into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

fn moved(status: &str, to: &str) -> Vec<u8> {
    answer(status, &format!("location: {to}\r\n"), b"")
}

fn egress_pool(options: EgressOptions) -> Pool {
    let egress = Egress::new(options).expect("good options");
    Pool::new(crate::harness::options(), Arc::new(Bridge(egress))).expect("a pool")
}

/// Runs the body of an async function that has the server's address as `base`.
async fn script(server: &Server, rules: EgressRules, body: &str) -> RunReport {
    let pool = egress_pool(EgressOptions { response_bytes: 1_000_000, ..EgressOptions::default() });
    let source =
        format!("const base = '{}'; exports.run = async () => {{ {body} }}", server.url(""));
    let mut invocation = invocation(&stored(&[("index.js", &source)]));
    invocation.egress = rules;
    pool.invoke(invocation).await
}

#[tokio::test]
async fn requests_and_responses_arrive_whole() {
    let server = Server::start(&[
        (
            "/json",
            answer(
                "201 Created",
                "x-a: 1\r\nset-cookie: a=1\r\nset-cookie: b=2\r\n",
                br#"{"ok":true}"#,
            ),
        ),
        ("/empty", b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n".to_vec()),
        ("/binary", answer("200 OK", "", &[0, 255, 128])),
        ("/bad", answer("500 Oh", "", b"no")),
    ])
    .await;
    let report = script(
        &server,
        server.allowed(),
        "const posted = await fetch(base + '/json?q=1', { method: 'POST', headers: { Authorization: 'tok', 'Host': 'evil', 'Content-Type': 'application/json' }, body: JSON.stringify({ a: 'é' }) });
         const empty = await fetch(base + '/empty');
         const binary = Buffer.from(await (await fetch(new Request(base + '/binary'))).arrayBuffer());
         const bad = await fetch(base + '/bad');
         const form = new FormData(); form.append('f', new Blob(['x'], { type: 'text/plain' }), 'n.txt'); form.append('t', 'v');
         await fetch(base + '/empty', { method: 'PUT', body: form });
         return [posted.status, posted.ok, posted.headers.get('x-a'), posted.headers.getSetCookie(), await posted.json(), posted.url.endsWith('/json?q=1'),
           empty.status, await empty.text(), [...binary], bad.ok, bad.status, await bad.text()];",
    )
    .await;
    assert_eq!(
        result(&report),
        r#"[201,true,"1",["a=1","b=2"],{"ok":true},true,204,"",[0,255,128],false,500,"no"]"#
    );
    let seen = server.seen();
    assert!(seen[0].starts_with("POST /json?q=1 HTTP/1.1\r\n"), "{}", seen[0]);
    assert!(seen[0].contains("authorization: tok\r\n") && seen[0].ends_with(r#"{"a":"é"}"#));
    assert!(!seen[0].contains("evil") && seen[0].contains("user-agent: mortise/"), "{}", seen[0]);
    assert!(seen[4].contains("content-type: multipart/form-data; boundary="), "{}", seen[4]);
    assert!(seen[4].contains(r#"name="f"; filename="n.txt""#), "{}", seen[4]);
}

#[tokio::test]
async fn addresses_of_the_host_are_refused_unless_allowed() {
    let server = Server::start(&[("/", answer("200 OK", "", b"reached"))]).await;
    for url in [
        "base + '/'",
        "base.replace('127.0.0.1', 'localhost')",
        "base.replace('127.0.0.1', '127.1')",
        "base.replace('127.0.0.1', '2130706433')",
        "base.replace('127.0.0.1', '0x7f.0.0.1')",
        "base.replace('127.0.0.1', '0.0.0.0')",
        "base.replace('127.0.0.1', '[::ffff:127.0.0.1]')",
        "base.replace('127.0.0.1', '[::1]')",
        "'http://169.254.169.254/latest/meta-data/'",
    ] {
        let report =
            script(&server, EgressRules::default(), &format!("return (await fetch({url})).status"))
                .await;
        assert_failure(&report, FailureKind::Thrown, "unless an egress rule allows it");
        assert_eq!(failure(&report).name, "TypeError");
    }
    for url in ["'file:///etc/passwd'", "'ftp://x/'", "'http:///'", "'nonsense'"] {
        let report = script(&server, EgressRules::default(), &format!("await fetch({url})")).await;
        assert_eq!(failure(&report).kind, FailureKind::Thrown);
    }
    assert!(server.seen().is_empty());
    let report = script(&server, server.allowed(), "return (await fetch(base + '/')).text()").await;
    assert_eq!(result(&report), r#""reached""#);
    // Allowed for one sender is not allowed for another, whatever connections are open.
    let only = EgressRules::only(vec!["api.example.com".parse().expect("a destination")]);
    let report = script(&server, only, "await fetch(base + '/')").await;
    assert_failure(&report, FailureKind::Thrown, "not among the destinations");
}

#[tokio::test]
async fn redirects_are_followed_with_care() {
    let other = Server::start(&[("/end", answer("200 OK", "", b"end"))]).await;
    let server = Server::start(&[
        ("/same", moved("302 Found", "/end")),
        ("/end", answer("200 OK", "", b"same end")),
        ("/other", moved("307 Temporary Redirect", &other.url("/end"))),
        ("/circle", moved("302 Found", "/circle")),
        ("/metadata", moved("302 Found", "http://169.254.169.254/")),
        ("/file", moved("302 Found", "file:///etc/passwd")),
    ])
    .await;
    let mut rules = server.allowed();
    rules.internal.extend(other.allowed().internal);
    let report = script(
        &server,
        rules.clone(),
        "const same = await fetch(base + '/same', { method: 'POST', body: 'x', headers: { 'X-Key': 'k' } });
         const other = await fetch(base + '/other', { method: 'POST', body: 'y', headers: { Authorization: 'tok', 'X-Key': 'k', Accept: 'a/b' } });
         const manual = await fetch(base + '/same', { redirect: 'manual' });
         const errors = [];
         for (const [path, redirect] of [['/circle'], ['/metadata'], ['/file'], ['/same', 'error']]) {
           try { await fetch(base + path, { redirect }); } catch (e) { errors.push(e.message); }
         }
         return [await same.text(), same.redirected, await other.text(), manual.status, manual.headers.get('location'), errors.length];",
    )
    .await;
    assert_eq!(result(&report), r#"["same end",true,"end",302,"/end",4]"#);
    let seen = server.seen();
    assert!(seen[1].starts_with("GET /end") && seen[1].contains("x-key: k"), "{}", seen[1]);
    assert_eq!(seen.iter().filter(|it| it.starts_with("GET /circle")).count(), 6);
    let seen = other.seen();
    assert!(seen[0].starts_with("POST /end") && seen[0].ends_with('y'), "{}", seen[0]);
    assert!(!seen[0].contains("tok") && !seen[0].contains("x-key"), "{}", seen[0]);
    // Where it leads is checked like where it began.
    let report = script(&server, server.allowed(), "await fetch(base + '/other')").await;
    assert_failure(&report, FailureKind::Thrown, "loopback");
}

#[tokio::test]
async fn responses_and_time_are_bounded() {
    let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    bomb.write_all(&vec![0; 20_000_000]).expect("in memory");
    let bomb = bomb.finish().expect("in memory");
    assert!(bomb.len() < 100_000);
    let endless = b"HTTP/1.1 200 OK\r\ncontent-length: 99999999\r\n\r\n".to_vec();
    let server = Server::start(&[
        ("/bomb", answer("200 OK", "content-encoding: gzip\r\n", &bomb)),
        ("/endless", endless),
        ("/broken", b"this is not HTTP\r\n\r\n".to_vec()),
    ])
    .await;
    for (path, part) in [
        ("/bomb", "larger than the 1000000 bytes allowed"),
        ("/endless", "larger than the 1000000 bytes allowed"),
        ("/broken?token=s3cret", "127.0.0.1: "),
    ] {
        let report =
            script(&server, server.allowed(), &format!("await fetch(base + '{path}')")).await;
        assert_failure(&report, FailureKind::Thrown, part);
        assert!(!failure(&report).message.contains("s3cret"), "{report:?}");
    }
    let report = script(
        &server,
        server.allowed(),
        "try { await fetch(base + '/silent', { signal: AbortSignal.timeout(30) }) } catch (e) { return e.name }",
    )
    .await;
    assert_eq!(result(&report), r#""TimeoutError""#);
    let pool = egress_pool(EgressOptions::default());
    let source = format!("exports.run = () => fetch('{}')", server.url("/silent"));
    let mut invocation = invocation(&stored(&[("index.js", &source)]));
    invocation.egress = server.allowed();
    invocation.timeout = Duration::from_millis(100);
    let report = pool.invoke(invocation).await;
    assert!(matches!(failure(&report).kind, FailureKind::Timeout | FailureKind::Thrown));
}

#[tokio::test]
async fn many_requests_at_once_and_unawaited_ones_are_made() {
    let server = Server::start(&[("/", answer("200 OK", "", &[b'x'; 100_000]))]).await;
    let report = script(
        &server,
        server.allowed(),
        "const all = await Promise.all([...Array(50)].map(() => fetch(base + '/', { method: 'POST', body: 'y'.repeat(100000) })));
         return (await Promise.all(all.map((r) => r.text()))).join('').length",
    )
    .await;
    assert_eq!(result(&report), "5000000");
    assert_eq!(server.seen().len(), 50);
    let report = script(
        &server,
        server.allowed(),
        "(async () => { await fetch(base + '/'); console.log('seen through'); })(); return 1",
    )
    .await;
    assert_eq!(result(&report), "1");
    assert_eq!(messages(&report), ["seen through"]);
    assert_eq!(server.seen().len(), 51);
}

struct Echo;

impl LocalApi for Echo {
    fn call(
        &self,
        request: OutgoingRequest,
        _path: String,
    ) -> BoxFuture<'static, OutgoingResponse> {
        async move {
            OutgoingResponse {
                status: 200,
                url: request.url.clone(),
                redirected: false,
                headers: vec![("content-type".to_owned(), "application/json".to_owned())],
                body: Bytes::from(format!(
                    "{} {} {:?}",
                    request.method, request.url, request.headers
                )),
            }
        }
        .boxed()
    }
}

#[tokio::test]
async fn calls_to_the_own_api_never_leave_the_host() {
    let egress = Egress::new(EgressOptions {
        own_endpoint: Some("http://127.0.0.1:8460/api/v1".to_owned()),
        ..EgressOptions::default()
    })
    .expect("good options");
    egress.set_local_api(Arc::new(Echo));
    let pool = Pool::new(options(), Arc::new(Bridge(egress))).expect("a pool");
    let call = async |url: &str| {
        let source = format!(
            "exports.run = async () => (await fetch('{url}', {{ headers: {{ Authorization: 't' }} }})).text()"
        );
        pool.invoke(invocation(&stored(&[("index.js", &source)]))).await
    };
    let report = call("http://127.0.0.1:8460/api/v1/works.list?a=1").await;
    assert_eq!(
        result(&report),
        r#""GET http://127.0.0.1:8460/api/v1/works.list?a=1 [(\"authorization\", \"t\")]""#
    );
    for url in [
        "http://127.0.0.1:8460/api/v10/x",
        "http://127.0.0.1:8460/api/v1/../x",
        "http://127.0.0.1:8460/hooks/x",
        "http://127.0.0.1:8461/api/v1/x",
    ] {
        assert_failure(&call(url).await, FailureKind::Thrown, "loopback");
    }
}
