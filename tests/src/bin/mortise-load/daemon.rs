//! The daemon as a process of its own, on a temporary state directory and a free port.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::Failure;
use crate::client::{Connection, post};
use crate::samples::{self, Sample};
use crate::timers::after_minute;

/// All that come with it: what they cost is part of every figure.
const PLUGINS: [&str; 9] = [
    "libcommand.so",
    "libemail.so",
    "libflow_custom_webhook.so",
    "libflow_events.so",
    "libhttp.so",
    "libobject_events.so",
    "libpoll.so",
    "libslack.so",
    "libtimer_events.so",
];
const READY_WITHIN: Duration = Duration::from_secs(60);
/// How long something may take that is prepared or waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// A running daemon; it ends with this value.
pub(crate) struct Daemon {
    program: PathBuf,
    directory: PathBuf,
    pub(crate) address: SocketAddr,
    token: String,
    child: Child,
    /// From the start of the process to its first answer that it is ready.
    pub(crate) start_time: Duration,
}

/// A snap-in that was installed.
pub(crate) struct Installed {
    pub(crate) id: String,
    pub(crate) version: String,
    /// Path of its trigger URL.
    pub(crate) hook: String,
}

impl Daemon {
    /// Starts `program` with its state in `directory`, and with more TOML than the usual.
    pub(crate) async fn start(
        program: &Path,
        directory: &Path,
        more_configuration: &str,
    ) -> Result<Daemon, Failure> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let beside = program.parent().unwrap_or(Path::new("."));
        let quoted = |path: &Path| Value::String(path.display().to_string()).to_string();
        let text = format!(
            "state_dir = {}\ncache_dir = {}\nplugin_dirs = [{}]\ndevelopment = true\n\
             [listen]\naddress = \"{address}\"\nsocket = \"\"\n\
             [limits]\nqueued_runs = 10_000_000\n{more_configuration}",
            quoted(&directory.join("state")),
            quoted(&directory.join("cache")),
            PLUGINS.map(|it| quoted(&beside.join(it))).join(", "),
        );
        std::fs::write(directory.join("mortise.toml"), text)?;
        let child = spawn(program, directory)?;
        let mut daemon = Daemon {
            program: program.to_owned(),
            directory: directory.to_owned(),
            address,
            token: String::new(),
            child,
            start_time: Duration::ZERO,
        };
        daemon.wait_until_ready().await?;
        Ok(daemon)
    }

    /// Kills it as a crash would, and starts it again on the same state.
    pub(crate) async fn crash_and_restart(&mut self) -> Result<(), Failure> {
        self.child.kill()?;
        self.child.wait()?;
        self.child = spawn(&self.program, &self.directory)?;
        self.wait_until_ready().await
    }

    async fn wait_until_ready(&mut self) -> Result<(), Failure> {
        let began = Instant::now();
        let ready = b"GET /readyz HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n";
        while began.elapsed() < READY_WITHIN {
            if let Some(status) = self.child.try_wait()? {
                let log = std::fs::read_to_string(self.directory.join("daemon.log"))?;
                return Err(format!("the daemon ended with {status}:\n{log}").into());
            }
            if let Ok(mut connection) = Connection::open(self.address).await
                && connection.exchange(ready).await.is_ok_and(|it| it.status == 200)
            {
                self.start_time = began.elapsed();
                let token = self.directory.join("state/admin.token");
                self.token = std::fs::read_to_string(token)?.trim().to_owned();
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Err("the daemon is not ready in time".into())
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The bytes of an API call.
    pub(crate) fn api_request(&self, name: &str, parameters: &Value) -> Vec<u8> {
        let bearer = format!("Bearer {}", self.token);
        let headers = [("content-type", "application/json"), ("authorization", bearer.as_str())];
        post(&format!("/api/v1/{name}"), &headers, &parameters.to_string())
    }

    /// Makes one API call.
    pub(crate) async fn call(&self, name: &str, parameters: Value) -> Result<Value, Failure> {
        let mut connection = Connection::open(self.address).await?;
        let request = self.api_request(name, &parameters);
        let answer = connection.exchange(&request).await?;
        if !matches!(answer.status, 200 | 201) {
            let body = String::from_utf8_lossy(answer.body);
            return Err(format!("{name} was answered {}: {body}", answer.status).into());
        }
        Ok(serde_json::from_slice(answer.body)?)
    }

    /// Makes the same API call so often, over several connections.
    pub(crate) async fn call_often(
        &self,
        name: &'static str,
        parameters: &Value,
        count: u64,
    ) -> Result<(), Failure> {
        const CONNECTIONS: u64 = 32;
        let request = self.api_request(name, parameters);
        let mut tasks = Vec::new();
        for at in 0..CONNECTIONS {
            let share = count / CONNECTIONS + u64::from(at < count % CONNECTIONS);
            let (address, request) = (self.address, request.clone());
            tasks.push(tokio::task::spawn_local(async move {
                let mut connection = Connection::open(address).await?;
                for _ in 0..share {
                    let answer = connection.exchange(&request).await?;
                    if answer.status != 200 {
                        let status = answer.status;
                        return Err(Failure::from(format!("{name} was answered {status}")));
                    }
                }
                Ok(())
            }));
        }
        for task in tasks {
            task.await??;
        }
        Ok(())
    }

    /// Asks again and again until the answer is as it should be.
    pub(crate) async fn call_until(
        &self,
        name: &str,
        parameters: Value,
        is_so: impl Fn(&Value) -> bool,
    ) -> Result<(), Failure> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let seen = self.call(name, parameters.clone()).await?;
            if is_so(&seen) {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(format!("{name} does not get there: {seen:#}").into());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Installs and activates a sample snap-in.
    pub(crate) async fn install(
        &self,
        name: &str,
        with_automation: bool,
    ) -> Result<Installed, Failure> {
        let source = self.directory.join(name);
        samples::write(&source, with_automation)?;
        self.install_from(name, &source, None).await
    }

    /// Installs and activates the sample with a native preset.
    pub(crate) async fn install_preset(&self, name: &str) -> Result<Installed, Failure> {
        let source = self.directory.join(name);
        samples::write_preset(&source)?;
        self.install_from(name, &source, None).await
    }

    /// Installs and activates a snap-in with so many timers and no function.
    pub(crate) async fn install_timers(
        &self,
        name: &str,
        count: usize,
        cron: &str,
    ) -> Result<Installed, Failure> {
        let source = self.directory.join(name);
        samples::write_timers(&source, count, cron)?;
        self.install_from(name, &source, None).await
    }

    /// How many events there are, and how long after their minute the newest of them, as many as one
    /// second may see, were stored: the least and the most, in milliseconds.
    pub(crate) async fn count_events(&self) -> Result<(usize, (u64, u64)), Failure> {
        let mut count = 0;
        let mut spread = (u64::MAX, 0);
        let mut cursor = Value::Null;
        let mut minute = None;
        loop {
            let mut page = json!({ "limit": 1000 });
            if cursor.is_string() {
                page["cursor"] = cursor;
            }
            let page = self.call("events.list", page).await?;
            for event in page["events"].as_array().into_iter().flatten() {
                count += 1;
                let date = text(&event["received_date"]);
                let this = date.get(..16).unwrap_or_default().to_owned();
                // Newest first: those of the last minute.
                if *minute.get_or_insert_with(|| this.clone()) == this
                    && let Some(ms) = after_minute(event)
                {
                    spread = (spread.0.min(ms), spread.1.max(ms));
                }
            }
            cursor = page["next_cursor"].clone();
            if cursor.is_null() {
                return Ok((count, spread));
            }
        }
    }

    /// Installs and activates a sample for one runtime.
    pub(crate) async fn install_sample(
        &self,
        name: &str,
        sample: Sample,
        server: &str,
    ) -> Result<Installed, Failure> {
        let source = self.directory.join(name);
        samples::write_for(&source, sample)?;
        let server = matches!(sample, Sample::Remote).then_some(server);
        self.install_from(name, &source, server).await
    }

    async fn install_from(
        &self,
        name: &str,
        source: &Path,
        testing_url: Option<&str>,
    ) -> Result<Installed, Failure> {
        let made = Command::new(&self.program)
            .args(["version", "create", "--json", "--create-package", "--package", name])
            .arg(source)
            .args(testing_url.into_iter().flat_map(|it| ["--testing-url", it]))
            .env("MORTISE_URL", format!("http://{}", self.address))
            .env("MORTISE_TOKEN", &self.token)
            .output()?;
        if !made.status.success() {
            return Err(String::from_utf8_lossy(&made.stderr).into_owned().into());
        }
        let made: Value = serde_json::from_slice(&made.stdout)?;
        let version = text(&made["version"]["id"]);
        self.activate(&version, &format!("load/load/{name}")).await
    }

    /// One more snap-in of a version.
    pub(crate) async fn activate(&self, version: &str, scope: &str) -> Result<Installed, Failure> {
        let created = json!({ "version": version, "scope": scope });
        let created = self.call("snap-ins.create", created).await?;
        let id = text(&created["snap_in"]["id"]);
        let activate = json!({ "id": id, "wait_seconds": 30 });
        let activated = self.call("snap-ins.activate", activate).await?;
        if activated["snap_in"]["state"] != "ACTIVE" {
            return Err(format!("the snap-in is not active: {activated:#}").into());
        }
        let sources = self.call("event-sources.list", json!({ "snap_in": id })).await?;
        let url = text(&sources["event_sources"][0]["trigger_url"]);
        let hook = url.find("/hooks/").and_then(|at| url.get(at..)).unwrap_or_default();
        Ok(Installed { id, version: version.to_owned(), hook: hook.to_owned() })
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // It may have ended already.
            let _ = kill_process(pid, Signal::TERM);
        }
        let _ = self.child.wait();
    }
}

fn spawn(program: &Path, directory: &Path) -> Result<Child, Failure> {
    let log =
        std::fs::OpenOptions::new().create(true).append(true).open(directory.join("daemon.log"))?;
    let child = Command::new(program)
        .args(["serve", "--config"])
        .arg(directory.join("mortise.toml"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .map_err(|error| format!("cannot start {}: {error}", program.display()))?;
    Ok(child)
}

pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
