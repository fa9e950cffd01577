//! Connections of functions, through the daemon's egress and its guard, to a server on loopback.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use mortise::egress::{Egress, EgressOptions, LocalApi};
use mortise::functions::outcome::RunReport;
use mortise::functions::pool::{Pool, PoolOptions};
use mortise::model::http::{EgressRules, OutgoingRequest, OutgoingResponse};

use crate::harness::*;

/// `server.js`, ended with the test.
struct Server {
    child: Child,
    http: u16,
    https: u16,
    echo: u16,
}

impl Server {
    fn start() -> Server {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/node");
        let mut child = Command::new("node")
            .arg(format!("{folder}/server.js"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("Node.js is installed: contrib/ci/debian-packages.sh installs it");
        let mut line = String::new();
        let output = child.stdout.as_mut().expect("a pipe");
        BufReader::new(output).read_line(&mut line).expect("its ports");
        let mut ports = line.split_whitespace().map(|it| it.parse().expect("a port"));
        let mut next = || ports.next().expect("a port");
        Server { http: next(), https: next(), echo: next(), child }
    }

    /// Rules that reach all of it, by name and by address.
    fn allowed(&self) -> EgressRules {
        let host = |host: &str| host.parse().expect("a destination");
        EgressRules { internal: vec![host("127.0.0.1"), host("localhost")], ..Default::default() }
    }

    /// Runs the body of an async function that has the ports as `http`, `https` and `echo`.
    async fn script(&self, rules: EgressRules, body: &str) -> RunReport {
        self.script_in(&pool(), rules, body).await
    }

    async fn script_in(&self, pool: &Pool, rules: EgressRules, body: &str) -> RunReport {
        let certificate = include_str!("server.crt");
        let source = format!(
            "const [httpPort, httpsPort, echoPort] = [{}, {}, {}];
             const ca = `{certificate}`;
             const http = require('http'), https = require('https'), net = require('net'), tls = require('tls');
             const text = async (stream) => {{ let all = ''; for await (const it of stream) all += it; return all; }};
             const request = (module, options, body) => new Promise((done, fail) => {{
               const sent = module.request(options, (response) => text(response).then((it) => done(JSON.parse(it)), fail));
               sent.on('error', fail); sent.end(body);
             }});
             const event = (emitter, name) => new Promise((done, fail) => {{ emitter.once(name, done); emitter.once('error', fail); }});
             exports.run = async () => {{ {body} }}",
            self.http, self.https, self.echo
        );
        let mut invocation = invocation(&package(&[("index.js", &source)]));
        invocation.egress = rules;
        pool.invoke(invocation).await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _killed = self.child.kill();
        let _reaped = self.child.wait();
    }
}

#[tokio::test]
async fn every_client_of_node_works() {
    let server = Server::start();
    for (body, expected) in [
        (
            "const r = await fetch(`http://127.0.0.1:${httpPort}/a`, { method: 'POST', body: 'four' }); const j = await r.json(); return [r.status, j.method, j.received]",
            r#"[200,"POST",4]"#,
        ),
        (
            "const j = await (await fetch(`http://localhost:${httpPort}/a`)).json(); return j.host === `localhost:${httpPort}`",
            "true",
        ),
        (
            "return (await request(http, { host: 'localhost', port: httpPort, path: '/b', method: 'PUT' }, 'xx')).received",
            "2",
        ),
        (
            "return (await request(https, { host: 'localhost', port: httpsPort, ca }, '')).secure",
            "true",
        ),
        (
            "return (await request(https, { host: '127.0.0.1', port: httpsPort, ca, servername: 'localhost' }, '')).secure",
            "true",
        ),
        // Nobody vouches for the certificate.
        (
            "return await request(https, { host: 'localhost', port: httpsPort }, '').catch((it) => it.code)",
            "\"DEPTH_ZERO_SELF_SIGNED_CERT\"",
        ),
        (
            "return await fetch(`https://localhost:${httpsPort}/`).catch((it) => it.cause.code)",
            "\"DEPTH_ZERO_SELF_SIGNED_CERT\"",
        ),
        (
            "const agent = new http.Agent({ keepAlive: true, maxSockets: 1 }); const ports = []; for (let i = 0; i < 3; i++) ports.push((await request(http, { agent, host: 'localhost', port: httpPort }, '')).connection); return new Set(ports).size",
            "1",
        ),
        (
            "const agent = new https.Agent({ keepAlive: true, ca }); const ports = []; for (let i = 0; i < 3; i++) ports.push((await request(https, { agent, host: 'localhost', port: httpsPort }, '')).connection); return new Set(ports).size",
            "1",
        ),
        (
            "const s = net.connect(echoPort, '127.0.0.1'); s.end('hello '); return await text(s)",
            "\"hello the end\"",
        ),
        (
            "const s = new net.Socket(); await new Promise((r) => s.connect({ port: echoPort, host: 'localhost' }, r)); s.setNoDelay(true).setKeepAlive(true).setTimeout(5000); s.write('a'); s.write(Buffer.from('b')); s.cork(); s.write('c'); s.write('d'); s.uncork(); s.end(); return [await text(s), s.remotePort === undefined, s.bytesWritten]",
            r#"["abcdthe end",true,4]"#,
        ),
        (
            "const s = tls.connect({ host: 'localhost', port: httpsPort, ca }); await event(s, 'secureConnect'); s.write('GET / HTTP/1.0\\r\\n\\r\\n'); return [(await text(s)).startsWith('HTTP/1.1 200'), s.authorized]",
            "[true,true]",
        ),
        (
            "const raw = net.connect(httpsPort, 'localhost'); await event(raw, 'connect'); const s = tls.connect({ socket: raw, servername: 'localhost', ca }); s.write('GET / HTTP/1.0\\r\\n\\r\\n'); return (await text(s)).startsWith('HTTP/1.1 200')",
            "true",
        ),
        (
            "const { address } = await require('dns').promises.lookup('localhost'); return (await fetch(`http://${address}:${httpPort}/`)).status",
            "200",
        ),
        (
            "return new Promise((done) => require('dns').lookup('localhost', { all: true }, (error, all) => done([error, all.length, all[0].family])))",
            "[null,1,4]",
        ),
        (
            "const { connect } = await import('node:net'); const s = connect(echoPort, 'localhost'); s.end('esm '); return await text(s)",
            "\"esm the end\"",
        ),
        (
            "const signal = AbortSignal.timeout(50); return await fetch(`http://127.0.0.1:${httpPort}/never`, { signal }).catch((it) => it.name)",
            "\"TimeoutError\"",
        ),
        (
            "const s = net.connect(echoPort, 'localhost'); s.setTimeout(20); await event(s, 'timeout'); s.destroy(); await event(s, 'close'); return s.destroyed",
            "true",
        ),
    ] {
        let report = server.script(server.allowed(), body).await;
        assert_eq!(result(&report), expected, "{body}");
    }
}

#[tokio::test]
async fn refusals_say_what_the_rules_say() {
    let server = Server::start();
    let strict = EgressRules::only(vec!["api.example.com:443".parse().expect("a destination")]);
    for (rules, body, part) in [
        (
            EgressRules::default(),
            "await fetch(`http://127.0.0.1:${httpPort}/`)",
            "unless an egress rule allows it",
        ),
        (
            EgressRules::default(),
            "await fetch(`https://localhost:${httpsPort}/`)",
            "unless an egress rule allows it",
        ),
        (
            EgressRules::default(),
            "await event(net.connect(echoPort, '::ffff:127.0.0.1'), 'connect')",
            "unless an egress rule allows it",
        ),
        (
            EgressRules::default(),
            "await request(http, 'http://169.254.169.254/latest', '')",
            "a cloud metadata address",
        ),
        (
            strict.clone(),
            "await request(https, 'https://other.example.com/', '')",
            "other.example.com port 443 is not among the destinations",
        ),
        (
            strict,
            "const { address } = await require('dns').promises.lookup('evil.example'); await event(net.connect(443, address), 'connect')",
            "evil.example port 443 is not among",
        ),
        (server.allowed(), "await event(net.connect(1, '127.0.0.1'), 'connect')", "refused"),
        (
            EgressRules::default(),
            "await event(net.connect(80, 'a b'), 'connect')",
            "nothing to connect to",
        ),
    ] {
        let report = server.script(rules, body).await;
        let failure = failure(&report);
        assert!(failure.message.contains(part), "{body}: {failure:?}");
    }
    let report = server.script(EgressRules::default(), "return await event(net.connect(echoPort, '127.0.0.1'), 'connect').catch((it) => [it.code, it.syscall])").await;
    assert_eq!(result(&report), r#"["EACCES","connect"]"#);
}

#[tokio::test]
async fn large_bodies_pass_both_ways_and_are_not_kept() {
    let server = Server::start();
    for body in [
        "const r = await fetch(`http://127.0.0.1:${httpPort}/download?megabytes=20`); let n = 0; for await (const c of r.body) n += c.length; return n",
        "return new Promise((done, fail) => https.get({ host: 'localhost', port: httpsPort, ca, path: '/download?megabytes=20' }, (r) => { let n = 0; r.on('data', (c) => { n += c.length }); r.on('end', () => done(n)); r.on('error', fail) }))",
        "const part = Buffer.alloc(1024 * 1024, 'u'); const { Readable } = require('stream'); const { pipeline } = require('stream/promises');
         const sent = http.request({ host: 'localhost', port: httpPort, method: 'POST' }); const response = event(sent, 'response');
         await pipeline(Readable.from(Array(20).fill(part)), sent); return JSON.parse(await text(await response)).received",
    ] {
        let report = server.script(server.allowed(), body).await;
        assert_eq!(result(&report), (20 * 1024 * 1024).to_string(), "{body}");
    }
    // More than the process could hold, taken slowly; and beside it another connection.
    let report = server
        .script(
            server.allowed(),
            "const slow = await event(http.get({ host: 'localhost', port: httpPort, path: '/download?megabytes=300' }), 'response');
             const { status } = await fetch(`http://127.0.0.1:${httpPort}/`);
             let n = 0; for await (const chunk of slow) n += chunk.length;
             return [status, n]",
        )
        .await;
    assert_eq!(result(&report), format!("[200,{}]", 300 * 1024 * 1024));
}

#[tokio::test]
async fn many_connections_take_turns() {
    let server = Server::start();
    let report = server
        .script(
            server.allowed(),
            "const one = async (i) => { const s = net.connect(echoPort, 'localhost'); s.end(`${i} `); return (await text(s)) === `${i} the end` };
             const some = await Promise.all(Array.from({ length: 64 }, (_, i) => one(i)));
             const more = await Promise.all(Array.from({ length: 200 }, (_, i) => one(i)));
             return [some.every((it) => it), more.every((it) => it)]",
        )
        .await;
    assert_eq!(result(&report), "[true,true]");
}

#[tokio::test]
async fn connections_end_with_their_run() {
    let server = Server::start();
    let source = format!(
        "const net = require('net'), http = require('http'); const agent = new http.Agent({{ keepAlive: true }}); let kept;
         exports.run = async ([event]) => {{
           if (event.first) {{ kept = net.connect({}, 'localhost'); await new Promise((r) => kept.once('connect', r)); }}
           const status = await new Promise((done, fail) => http.get({{ agent, host: 'localhost', port: {} }}, (r) => {{ r.resume(); r.on('end', () => done(r.statusCode)) }}).on('error', fail));
           return [status, kept.destroyed, process.pid];
         }}",
        server.echo, server.http
    );
    let package = package(&[("index.js", &source)]);
    let pool = pool();
    let mut first = invocation(&package);
    first.event = bytes::Bytes::from_static(br#"{"first":true}"#);
    first.egress = server.allowed();
    let first = result(&pool.invoke(first).await);
    assert!(first.starts_with("[200,false,"), "{first}");
    let mut second = invocation(&package);
    second.egress = server.allowed();
    let second = result(&pool.invoke(second).await);
    assert_eq!(second, first.replace("false", "true"), "the same process");
}

/// Says where the daemon listens.
struct Here(SocketAddr);

impl LocalApi for Here {
    fn call(
        &self,
        _request: OutgoingRequest,
        _path: String,
    ) -> BoxFuture<'static, OutgoingResponse> {
        async { unreachable!("Node.js makes connections") }.boxed()
    }

    fn address(&self) -> Option<SocketAddr> {
        Some(self.0)
    }
}

#[tokio::test]
async fn the_own_url_stays_on_the_host() {
    let server = Server::start();
    for own in ["https://mortise.example.com/base", "http://mortise.example.com:8443/base"] {
        let options_of_egress =
            EgressOptions { own_endpoint: Some(own.to_owned()), ..EgressOptions::default() };
        let egress = Egress::new(options_of_egress).expect("good options");
        egress.set_local_api(Arc::new(Here(([127, 0, 0, 1], server.http).into())));
        let options = PoolOptions { own_origin: egress.own_origin(), ..options() };
        let pool = Pool::new(options, Arc::new(Bridge(egress))).expect("a pool");
        for body in [
            "const j = await (await fetch(own + '/works.list', { method: 'POST', body: '{}' })).json(); return [j.path, j.cause, j.received, j.secure]",
            "const j = await request(own.startsWith('https') ? https : http, { ...require('url').urlToHttpOptions(new URL(own + '/works.list')), method: 'POST' }, '{}'); return [j.path, j.cause, j.received, j.secure]",
        ] {
            let body = format!("const own = '{own}'; {body}");
            let report = server.script_in(&pool, EgressRules::only(Vec::new()), &body).await;
            assert_eq!(result(&report), r#"["/works.list","its token",2,false]"#, "{own} {body}");
        }
    }
}

#[tokio::test]
async fn what_is_left_of_a_run_connects_nowhere() {
    let server = Server::start();
    // What is set to run at once comes before the next frame is read: no run is on then, whenever the
    // process is stopped for its rest and woken from it.
    let source = format!(
        "const net = require('net'); let go, told;
         const goes = new Promise((r) => {{ go = r }});
         const connect = () => new Promise((r) => net.connect({}, 'localhost').on('connect', () => r('connected')).on('error', (error) => r(error.message)));
         exports.run = async ([event]) => {{
           if (event.first) {{ goes.then(connect).then((it) => {{ told = it }}); return [process.pid] }}
           const own = await connect();
           go();
           for (let i = 0; i < 500 && !told; i++) await new Promise((r) => setTimeout(r, 10));
           return [process.pid, own, told];
         }}",
        server.echo
    );
    let package = package(&[("index.js", &source)]);
    let pool = pool();
    let mut first = invocation(&package);
    first.event = bytes::Bytes::from_static(br#"{"first":true}"#);
    let first = result(&pool.invoke(first).await);
    let mut second = invocation(&package);
    second.egress = server.allowed();
    let second = result(&pool.invoke(second).await);
    let told = r#","connected","the run that wants a connection has ended"]"#;
    assert_eq!(second, first.replace(']', told), "the same process");
}

#[tokio::test]
async fn connections_and_their_timers_leave_nothing_behind() {
    let server = Server::start();
    let own = format!(
        "const agent = new http.Agent({{ keepAlive: true, timeout: 5000 }}), agents = new https.Agent({{ keepAlive: true, ca }});
         await (await fetch(`http://127.0.0.1:{}/`, {{ signal: AbortSignal.timeout(5000) }})).text();
         await request(http, {{ agent, host: 'localhost', port: {}, timeout: 5000 }}, '');
         await request(https, {{ agent: agents, host: 'localhost', port: {} }}, '');
         fetch(`http://127.0.0.1:{}/never`).catch(() => {{}});",
        server.http, server.http, server.https, server.http
    );
    let certificate = include_str!("server.crt");
    let source = format!(
        "const ca = `{certificate}`; const http = require('http'), https = require('https');
         const request = (module, options, body) => new Promise((done, fail) => {{
           module.request(options, (response) => {{ response.resume(); response.on('end', done); }}).on('error', fail).end(body);
         }});
         let count = 0;
         exports.run = async () => {{ {own} count += 1; return count; }}"
    );
    let (package, pool) = (package(&[("index.js", &source)]), pool());
    for expected in ["1", "2", "3"] {
        let mut asked = invocation(&package);
        asked.egress = server.allowed();
        let report = pool.invoke(asked).await;
        assert_eq!(result(&report), expected, "the same process: {:?}", report.logs);
    }
}
