//! A folder of scripts, a pool, and runs of the scripts; with private namespaces and without them.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use mortise::functions::kind::RunnerKind;
use mortise::functions::outcome::RunReport;
use mortise::functions::pool::{CodeSource, Connection, Fetch, Invocation, Pool, PoolOptions};
use mortise::functions::runner::process::About;
use mortise::model::http::{OutgoingRequest, OutgoingResponse};

pub(crate) use crate::folder::Package;
pub(crate) use crate::reports::*;

/// Which of the two places of a supervisor is tested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Private,
    Shared,
}

pub(crate) const PLACES: [Place; 2] = [Place::Private, Place::Shared];

/// A version: each script is the program of the function of the same name.
pub(crate) fn package(scripts: &[(&str, &str)]) -> Arc<Package> {
    let folder = tempfile::tempdir().expect("a folder");
    let open = |path: &std::path::Path, mode| {
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(path, mode).expect("a mode");
    };
    open(folder.path(), 0o755);
    for (name, text) in scripts {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("a file");
        open(&path, 0o755);
    }
    let names = scripts.iter().map(|(name, _)| ((*name).to_owned(), (*name).to_owned()));
    let entry_points = names.collect();
    Package::of(folder, |path| {
        serde_json::to_vec(&About { path: path.to_owned(), entry_points }).expect("JSON")
    })
}

/// A network of one server, for the host `allowed.test`; every other is refused.
pub(crate) struct OneHost(pub Option<std::net::SocketAddr>);

impl Fetch for OneHost {
    fn fetch<'a>(
        &'a self,
        _invocation: &'a Invocation,
        request: OutgoingRequest,
    ) -> BoxFuture<'a, Result<OutgoingResponse, String>> {
        async move { Err(format!("no network for {}", request.url)) }.boxed()
    }

    fn connect<'a>(
        &'a self,
        _invocation: &'a Invocation,
        host: String,
        port: u16,
    ) -> BoxFuture<'a, Result<Box<dyn Connection>, String>> {
        async move {
            let Some(address) = self.0.filter(|_| host == "allowed.test") else {
                return Err(format!("{host} port {port} is not among the allowed hosts"));
            };
            let stream = tokio::net::TcpStream::connect(address).await;
            let stream = stream.map_err(|error| format!("{host}: {error}"))?;
            Ok(Box::new(stream) as Box<dyn Connection>)
        }
        .boxed()
    }
}

/// What the tests of a place are given.
pub(crate) struct Host {
    pub pool: Pool,
}

impl Host {
    pub(crate) async fn run(&self, package: &Arc<Package>, function: &str) -> RunReport {
        self.pool.invoke(invocation(package, function)).await
    }
}

pub(crate) fn invocation(package: &Arc<Package>, function: &str) -> Invocation {
    let source = Arc::clone(package) as Arc<dyn CodeSource>;
    Invocation {
        function: function.to_owned(),
        event: Bytes::from_static(b"{\"payload\":{\"a\":1}}"),
        memory_bytes: 128 * 1024 * 1024,
        ..invocation_of(RunnerKind::Process, package.version, source)
    }
}

/// Runs a test with a pool in a place. Runners inherit what the thread that makes the pool may not
/// do: that is how a host without namespaces is made.
pub(crate) fn in_place<T: Send + 'static>(
    place: Place,
    fetch: OneHost,
    test: impl AsyncFnOnce(Host) -> T + Send + 'static,
) -> T {
    on_thread(None, denied_in(place), options(), fetch, test)
}

fn denied_in(place: Place) -> Vec<i64> {
    match place {
        Place::Private => Vec::new(),
        Place::Shared => vec![libc::SYS_unshare],
    }
}

/// A user without a name or power, as the daemon's is.
pub(crate) const ANOTHER_USER: u32 = 12345;

/// The same for a daemon of a user who is neither root nor nobody. Who runs the tests, unless that is
/// root.
pub(crate) fn in_place_as_another<T: Send + 'static>(
    place: Place,
    test: impl AsyncFnOnce(Host) -> T + Send + 'static,
) -> T {
    let user = rustix::process::geteuid().is_root().then_some(ANOTHER_USER);
    on_thread(user, denied_in(place), options(), OneHost(None), test)
}

/// Hands a file or folder to the user of [`in_place_as_another`].
pub(crate) fn hand_over(path: &std::path::Path) {
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(path, Some(ANOTHER_USER), Some(ANOTHER_USER)).expect("an owner");
    }
}

/// Makes only this thread, and the processes that it starts, another user's.
fn become_user(user: u32) {
    for call in [libc::SYS_setresgid, libc::SYS_setresuid] {
        // SAFETY: plain numbers; the calls themselves bind one thread.
        assert_eq!(unsafe { libc::syscall(call, user, user, user) }, 0, "becoming another user");
    }
}

/// Runs a test with a pool whose runners get EPERM for some system calls.
pub(crate) fn without_calls<T: Send + 'static>(
    denied: Vec<i64>,
    options: PoolOptions,
    fetch: OneHost,
    test: impl AsyncFnOnce(Host) -> T + Send + 'static,
) -> T {
    on_thread(None, denied, options, fetch, test)
}

fn on_thread<T: Send + 'static>(
    user: Option<u32>,
    denied: Vec<i64>,
    options: PoolOptions,
    fetch: OneHost,
    test: impl AsyncFnOnce(Host) -> T + Send + 'static,
) -> T {
    let thread = std::thread::spawn(move || {
        // First: the filter binds whoever has no power over others only without new privileges.
        if let Some(user) = user {
            rustix::thread::set_no_new_privs(true).expect("it can be given up");
            become_user(user);
        }
        if !denied.is_empty() {
            deny(&denied);
        }
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async move {
            let pool = Pool::new(options, Arc::new(fetch)).expect("a pool");
            test(Host { pool }).await
        })
    });
    match thread.join() {
        Ok(value) => value,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

fn deny(calls: &[i64]) {
    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};
    let rules = calls.iter().map(|it| (*it, Vec::new())).collect();
    let target = std::env::consts::ARCH.try_into().expect("a known processor");
    let refuse = SeccompAction::Errno(1);
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refuse, target).expect("good");
    let program: BpfProgram = filter.try_into().expect("good");
    seccompiler::apply_filter(&program).expect("filters are allowed");
}

/// Runs one script once in a place, without a network.
pub(crate) fn run_in(place: Place, script: &str) -> RunReport {
    let package = package(&[("run", script)]);
    in_place(place, OneHost(None), async move |host| host.run(&package, "run").await)
}

/// Answers every connection with one HTTP response, and hands the heads of requests out.
pub(crate) fn serve(
    answer: &'static str,
) -> (std::net::SocketAddr, std::sync::mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    let (sender, heads) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(stream) = stream else { return };
            if let Some(head) = answer_one(stream, answer)
                && sender.send(head).is_err()
            {
                return;
            }
        }
    });
    (address, heads)
}

fn answer_one(mut stream: TcpStream, answer: &str) -> Option<String> {
    use std::io::Read;
    let mut head = Vec::new();
    let mut byte = [0; 1];
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).ok()? == 0 {
            return None;
        }
        head.push(byte[0]);
    }
    let text = String::from_utf8(head).ok()?;
    let body = text.lines().find_map(|it| it.strip_prefix("Content-Length: "));
    // What is not read when the connection closes would take the answer with it.
    let mut body = vec![0; body.and_then(|it| it.parse().ok()).unwrap_or_default()];
    stream.read_exact(&mut body).ok()?;
    let length = answer.len();
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{answer}"
    )
    .ok()?;
    Some(text)
}
