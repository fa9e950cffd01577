//! The daemon as a process: started, asked, killed and started again on the same state directory.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

use crate::eventually;
use crate::http::{Connection, Response};
use crate::snap_in::{Parts, sign};

/// The plugins that come with it.
const SHIPPED: [&str; 9] = [
    "command",
    "email",
    "flow-custom-webhook",
    "flow-events",
    "http",
    "object-events",
    "poll",
    "slack",
    "timer-events",
];

/// How long the daemon may take to be there.
const START: Duration = Duration::from_secs(60);

/// How it is started.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// More tables of the configuration.
    pub settings: String,
    /// Where its state is; in its own temporary directory when absent.
    pub state_dir: Option<PathBuf>,
    /// A program with arguments that starts it, such as `prlimit`.
    pub wrapper: Vec<String>,
    /// Libraries beside the shipped ones, by their package's name.
    pub plugins: Vec<String>,
}

/// A running daemon. It dies with this value, and its log is shown when the test has failed.
pub struct Daemon {
    directory: tempfile::TempDir,
    options: Options,
    state: PathBuf,
    child: Mutex<Child>,
    address: Mutex<SocketAddr>,
}

/// An installed snap-in.
#[derive(Clone, Debug)]
pub struct Installed {
    /// Its id.
    pub id: String,
    /// The id of its source.
    pub source: String,
    /// Where requests go, without scheme and host: those change with each start.
    pub path: String,
}

/// A file that `cargo build --workspace` puts beside the test programs.
///
/// # Panics
///
/// When it is missing, saying what to do.
pub fn built(name: &str) -> PathBuf {
    let program = std::env::current_exe().expect("a test program has a path");
    let profile = program.parent().and_then(Path::parent).expect("cargo's layout");
    let path = profile.join(name);
    assert!(path.exists(), "{} is missing: run `cargo build --workspace` first", path.display());
    path
}

impl Daemon {
    /// Starts one with the defaults.
    pub fn start() -> Daemon {
        Daemon::start_with(Options::default())
    }

    /// Starts one and waits until it is ready.
    ///
    /// # Panics
    ///
    /// When it does not become ready.
    pub fn start_with(options: Options) -> Daemon {
        let directory = tempfile::Builder::new().prefix("mortise-test-").tempdir().expect("/tmp");
        let state = options.state_dir.clone().unwrap_or_else(|| directory.path().join("state"));
        let quoted = |path: &Path| Value::String(path.display().to_string()).to_string();
        let shipped = SHIPPED.map(str::to_owned);
        let plugins = shipped.iter().chain(&options.plugins);
        let plugins: Vec<String> =
            plugins.map(|it| quoted(&built(&format!("lib{}.so", it.replace('-', "_"))))).collect();
        let text = format!(
            "state_dir = {}\ncache_dir = {}\nplugin_dirs = [{}]\ndevelopment = true\n{}\n\
             [listen]\naddress = \"127.0.0.1:0\"\nsocket = {}\n",
            quoted(&state),
            quoted(&directory.path().join("cache")),
            plugins.join(", "),
            // Tables come after the plain keys; `listen` is the last one.
            options.settings,
            quoted(&directory.path().join("mortise.sock")),
        );
        std::fs::write(directory.path().join("mortise.toml"), text).expect("a temporary file");
        let (child, address) = launch(directory.path(), &options);
        Daemon { directory, options, state, child: Mutex::new(child), address: Mutex::new(address) }
    }

    /// Starts it again on the same state.
    pub fn restart(&self) {
        self.kill_dash_nine();
        let (child, address) = launch(self.directory.path(), &self.options);
        *self.child.lock().unwrap_or_else(PoisonError::into_inner) = child;
        *self.address.lock().unwrap_or_else(PoisonError::into_inner) = address;
    }

    /// Ends it in the middle of whatever it does.
    pub fn kill_dash_nine(&self) {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        // It may have ended already.
        let _ = child.kill();
        let _ = child.wait();
    }

    /// Asks it to end, and waits until it has.
    ///
    /// # Panics
    ///
    /// When it does not end.
    pub fn terminate(&self) -> ExitStatus {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        let id = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw);
        let id = id.expect("process ids are positive");
        rustix::process::kill_process(id, rustix::process::Signal::TERM).expect("it runs");
        eventually("the daemon ends after SIGTERM", Duration::from_secs(60), || {
            child.try_wait().expect("it is a child")
        })
    }

    /// The process.
    pub fn process_id(&self) -> u32 {
        self.child.lock().unwrap_or_else(PoisonError::into_inner).id()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        *self.address.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new connection.
    pub fn connect(&self) -> Connection {
        Connection::tcp(self.address()).expect("the daemon listens")
    }

    /// Its Unix socket.
    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("mortise.sock")
    }

    /// Its state directory.
    pub fn state_dir(&self) -> &Path {
        &self.state
    }

    /// The directory of all that belongs to it.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("daemon.log")).unwrap_or_default()
    }

    /// The token that it made at its first start.
    pub fn token(&self) -> String {
        let text = std::fs::read_to_string(self.state.join("admin.token")).expect("it was made");
        text.trim().to_owned()
    }

    /// A call of the API, as the owner.
    pub fn try_call(&self, name: &str, parameters: &Value) -> io::Result<Response> {
        self.try_call_as(&self.token(), name, parameters)
    }

    /// A call of the API with a token.
    pub fn try_call_as(&self, token: &str, name: &str, parameters: &Value) -> io::Result<Response> {
        let token = format!("Bearer {token}");
        let headers = [("authorization", token.as_str()), ("content-type", "application/json")];
        let body = parameters.to_string();
        Connection::tcp(self.address())?.send(
            "POST",
            &format!("/api/v1/{name}"),
            &headers,
            body.as_bytes(),
        )
    }

    /// A call of the API that has to work.
    ///
    /// # Panics
    ///
    /// When it does not, saying what the daemon said.
    #[track_caller]
    pub fn call(&self, name: &str, parameters: &Value) -> Value {
        let response = self.try_call(name, parameters).expect("the daemon answers");
        let is_done = matches!(response.status, 200 | 201);
        assert!(is_done, "{name} {parameters}: {} {}", response.status, response.text());
        response.json()
    }

    /// Makes a version of it and installs that, in DRAFT.
    pub fn install_draft(&self, parts: &Parts) -> Installed {
        self.install_at(parts, &format!("default/default/{}", parts.name))
    }

    /// Makes a version of it and installs that at a scope, in DRAFT.
    ///
    /// # Panics
    ///
    /// When that is refused.
    #[track_caller]
    pub fn install_at(&self, parts: &Parts, scope: &str) -> Installed {
        let made = self.try_call("packages.create", &json!({ "slug": parts.name }));
        let status = made.expect("the daemon answers").status;
        assert!(matches!(status, 200 | 409), "packages.create: {status}");
        let version = self.call(
            "versions.create",
            &json!({ "package": parts.name, "manifest": parts.manifest(), "archive": parts.archive() }),
        );
        let created = self.call(
            "snap-ins.create",
            &json!({ "version": version["version"]["id"], "scope": scope }),
        );
        let id = created["snap_in"]["id"].as_str().expect("an id").to_owned();
        let sources = self.call("event-sources.list", &json!({ "snap_in": id }));
        let source = &sources["event_sources"][0];
        let url = source["trigger_url"].as_str().expect("a trigger URL");
        let path = url.split_at(url.find("/hooks/").expect("it is ours")).1.to_owned();
        let source = source["id"].as_str().expect("an id").to_owned();
        Installed { id, source, path }
    }

    /// Makes another version of the package, and answers its id.
    pub fn add_version(&self, parts: &Parts) -> String {
        let version = self.call(
            "versions.create",
            &json!({ "package": parts.name, "manifest": parts.manifest(), "archive": parts.archive() }),
        );
        version["version"]["id"].as_str().expect("an id").to_owned()
    }

    /// A call that has to be refused with this status; answers the problem.
    ///
    /// # Panics
    ///
    /// When it is not.
    #[track_caller]
    pub fn refused(&self, name: &str, parameters: &Value, status: u16) -> Value {
        let response = self.try_call(name, parameters).expect("the daemon answers");
        assert_eq!(response.status, status, "{name} {parameters}: {}", response.text());
        response.json()
    }

    /// Installs and activates it.
    pub fn install(&self, parts: &Parts) -> Installed {
        let installed = self.install_draft(parts);
        self.step("activate", &installed.id, "ACTIVE");
        installed
    }

    /// Takes a snap-in to another state, and waits until it is there.
    ///
    /// # Panics
    ///
    /// When it gets somewhere else.
    #[track_caller]
    pub fn step(&self, verb: &str, id: &str, state: &str) {
        let parameters = json!({ "id": id, "wait_seconds": 30 });
        let answer = self.call(&format!("snap-ins.{verb}"), &parameters);
        assert_eq!(answer["snap_in"]["state"], state, "{answer}");
    }

    /// Sends a signed request.
    pub fn send(&self, installed: &Installed, body: &[u8]) -> Response {
        post_signed(&mut self.connect(), &installed.path, body).expect("the daemon answers")
    }

    /// Sends one that has to be taken, and answers the id of its event. As senders do, it tries again
    /// when it is told to: right after a start, sources are still being opened.
    ///
    /// # Panics
    ///
    /// When it is not taken.
    #[track_caller]
    pub fn send_event(&self, installed: &Installed, payload: &Value) -> String {
        let response = eventually("the source is open", Duration::from_secs(20), || {
            let response = self.send(installed, payload.to_string().as_bytes());
            (response.status != 503).then_some(response)
        });
        assert_eq!(response.status, 200, "{}", response.text());
        response.json()["events"][0]["id"].as_str().expect("an event").to_owned()
    }

    /// The run that an event led to, when it has ended, or as it is after a minute.
    #[track_caller]
    pub fn run_of(&self, event: &str) -> Value {
        let event = self.call("events.get", &json!({ "id": event }));
        let run = event["event"]["runs"][0].clone();
        self.call("runs.get", &json!({ "id": run, "wait_seconds": 60 }))["run"].clone()
    }

    /// All pages of a list.
    #[track_caller]
    pub fn list_all(&self, name: &str, key: &str, filter: &Value) -> Vec<Value> {
        let mut all = Vec::new();
        let mut parameters = filter.clone();
        parameters["limit"] = json!(500);
        loop {
            let page = self.call(name, &parameters);
            all.extend(page[key].as_array().cloned().unwrap_or_default());
            match &page["next_cursor"] {
                Value::Null => return all,
                cursor => parameters["cursor"] = cursor.clone(),
            }
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill_dash_nine();
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<_> = log.lines().collect();
            let last = &lines[lines.len().saturating_sub(60)..];
            eprintln!("--- the end of the daemon's log\n{}\n---", last.join("\n"));
        }
    }
}

/// A signed request over a connection.
pub fn post_signed(connection: &mut Connection, path: &str, body: &[u8]) -> io::Result<Response> {
    let signature = sign(body);
    let headers = [("content-type", "application/json"), ("x-signature-256", signature.as_str())];
    connection.send("POST", path, &headers, body)
}

fn launch(directory: &Path, options: &Options) -> (Child, SocketAddr) {
    let path = directory.join("daemon.log");
    let log = OpenOptions::new().create(true).append(true).open(&path).expect("a temporary file");
    let before = log.metadata().map_or(0, |it| it.len());
    let program = built("mortise").into_os_string();
    let mut words = options.wrapper.iter().map(Into::into).chain([program]);
    let child = Command::new(words.next().expect("at least the daemon"))
        .args(words)
        .args(["serve", "--config"])
        .arg(directory.join("mortise.toml"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn();
    let mut child = child.expect("the daemon can be started");
    // The port is the kernel's choice, so that no two tests want the same one.
    let address = eventually("the daemon is ready", START, || {
        let log = read_from(&path, before);
        if let Ok(Some(status)) = child.try_wait() {
            panic!("the daemon ended with {status} (signal {:?}):\n{log}", status.signal());
        }
        let line = log.lines().find(|it| it.contains(" ready address="))?;
        let address = line.split("address=").nth(1)?.split(' ').next()?;
        let address: SocketAddr = address.parse().ok()?;
        let answer = Connection::tcp(address).ok()?.send("GET", "/readyz", &[], b"").ok()?;
        (answer.status == 200).then_some(address)
    });
    (child, address)
}

fn read_from(path: &Path, offset: u64) -> String {
    let mut text = Vec::new();
    let read = File::open(path).and_then(|mut file| {
        file.seek(SeekFrom::Start(offset))?;
        file.read_to_end(&mut text)
    });
    read.map(|_| String::from_utf8_lossy(&text).into_owned()).unwrap_or_default()
}
