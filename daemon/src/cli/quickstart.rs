//! `mortise quickstart`: the whole of it once, on real input, in a temporary directory.
//!
//! Everything that is shown was really seen: the daemon is a process of its own, and each line
//! comes from its answers.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use super::Failure;
use super::client::create_version;
use super::connection::Client;
use super::show::{self, heading};
use super::snap_in::arguments::Source;
use crate::run::ADMIN_TOKEN;

/// The example of `contrib/examples/hello-webhook`, as it was when this binary was built.
const EXAMPLE: [(&str, &str); 5] = [
    ("manifest.yaml", include_str!("../../../contrib/examples/hello-webhook/manifest.yaml")),
    ("package.json", include_str!("../../../contrib/examples/hello-webhook/package.json")),
    ("src/index.ts", include_str!("../../../contrib/examples/hello-webhook/src/index.ts")),
    (
        "src/function-factory.ts",
        include_str!("../../../contrib/examples/hello-webhook/src/function-factory.ts"),
    ),
    (
        "src/functions/greet/index.ts",
        include_str!("../../../contrib/examples/hello-webhook/src/functions/greet/index.ts"),
    ),
];

/// The plugins that come with it, as cargo names them.
const PLUGINS: [&str; 4] =
    ["libflow_custom_webhook.so", "libflow_events.so", "libpoll.so", "libtimer_events.so"];
/// Where packages put plugins.
const INSTALLED_PLUGINS: &str = "/usr/lib/mortise/plugins";

const BODY: &str = r#"{"hello":"world"}"#;
const SIGNATURE: &str = "f1809d5135917b311644058cf1994c5ff4898ad20dbf6e282c1433e6be4e2fe1";
const WRONG_SIGNATURE: &str = "00000d5135917b311644058cf1994c5ff4898ad20dbf6e282c1433e6be4e2fe1";

/// Shows it, and stays up unless `once`.
pub(super) fn run(once: bool) -> Result<(), Failure> {
    let directory = tempfile::Builder::new()
        .prefix("mortise-quickstart-")
        .tempdir()
        .map_err(|error| Failure::failed(format!("cannot make a temporary directory: {error}")))?;
    let mut daemon = Daemon::start(directory.path())?;
    let shown = demonstrate(&mut daemon, directory.path());
    if let Err(failure) = shown {
        daemon.stop();
        let log = std::fs::read_to_string(directory.path().join("daemon.log")).unwrap_or_default();
        eprintln!("--- the daemon's log\n{log}---");
        return Err(failure);
    }
    let snap_in = shown?;
    if once {
        daemon.stop();
        return show::print("All of it was seen.");
    }
    what_next(&daemon, &snap_in, directory.path())?;
    daemon.wait_for_interrupt()
}

/// What the example became.
struct Installed {
    trigger_url: String,
    run: String,
}

fn demonstrate(daemon: &mut Daemon, directory: &Path) -> Result<Installed, Failure> {
    step("The daemon is up", &format!("{} (process {})", daemon.url, daemon.child.id()))?;
    let client = &daemon.client;

    let example = directory.join("hello-webhook");
    write_example(&example)?;
    let origin = example.display().to_string();
    let version = create_version(client, &Source::of(&origin), "hello-webhook", true)?;
    let version = text(&version["version"]["id"]);
    step("The example is a version", &version)?;
    let snap_in = client.call("snap-ins.create", &json!({ "version": version }))?;
    let snap_in = text(&snap_in["snap_in"]["id"]);
    let body = json!({ "id": snap_in, "wait_seconds": 30 });
    let activated = client.call("snap-ins.activate", &body)?;
    let state = text(&activated["snap_in"]["state"]);
    step("It is installed", &format!("{snap_in}, {state}"))?;
    expect("the snap-in is ACTIVE", state == "ACTIVE", &activated)?;

    let sources = client.call("event-sources.list", &json!({ "snap_in": snap_in }))?;
    let trigger_url = text(&sources["event_sources"][0]["trigger_url"]);
    show::print(&format!("\n{}", heading("A signed webhook")))?;
    show::print(&format!("  POST {trigger_url}\n  X-Signature-256: {SIGNATURE}\n  {BODY}"))?;
    let (status, answer) = post(client, &trigger_url, SIGNATURE)?;
    step("The answer", &format!("{status} {answer}"))?;
    expect("the answer is 200", status == 200, &json!(answer))?;

    let answer: Value = serde_json::from_str(&answer).unwrap_or_default();
    let event_id = text(&answer["events"][0]["id"]);
    let event = client.call("events.get", &json!({ "id": event_id }))?;
    let event = &event["event"];
    step("The event", &format!("{event_id} {} {}", text(&event["type"]), event["payload"]))?;
    expect("its type is custom:my-event", event["type"] == "custom:my-event", event)?;
    let run_id = text(&event["runs"][0]);
    let run = client.call("runs.get", &json!({ "id": run_id, "wait_seconds": 30 }))?;
    let run = &run["run"];
    step("The run", &format!("{run_id} {} {}", text(&run["function"]), text(&run["state"])))?;
    expect("the run succeeded", run["state"] == "succeeded", run)?;
    let logs = client.call("runs.logs", &json!({ "id": run_id }))?;
    let lines = logs["logs"].as_array().cloned().unwrap_or_default();
    for line in &lines {
        step("Its log", &text(&line["message"]))?;
    }
    expect("the run logged something", !lines.is_empty(), &logs)?;
    step("Its result", &run["result"].to_string())?;
    expect("it greets the world", run["result"]["greeting"] == "hello, world", run)?;

    show::print(&format!("\n{}", heading("The same with a wrong signature")))?;
    let (status, answer) = post(client, &trigger_url, WRONG_SIGNATURE)?;
    step("The answer", &format!("{status} {answer}"))?;
    expect("the answer is 401", status == 401, &json!(answer))?;
    let events = client.call("events.list", &json!({ "snap_in": snap_in }))?;
    let count = events["events"].as_array().map_or(0, Vec::len);
    step("Events now", &count.to_string())?;
    expect("nothing was stored", count == 1, &events)?;
    Ok(Installed { trigger_url, run: run_id })
}

fn post(client: &Client, url: &str, signature: &str) -> Result<(u16, String), Failure> {
    let headers = [("content-type", "application/json"), ("x-signature-256", signature)];
    client.post(url, &headers, BODY.to_owned())
}

fn what_next(daemon: &Daemon, installed: &Installed, directory: &Path) -> Result<(), Failure> {
    let Installed { trigger_url, run } = installed;
    let program = std::env::current_exe().map(|it| it.display().to_string());
    let program = program.unwrap_or_else(|_| "mortise".to_owned());
    let text = format!(
        "
{}
  curl -i -H 'Content-Type: application/json' \\
    -H 'X-Signature-256: {SIGNATURE}' \\
    -d '{BODY}' {trigger_url}

  export MORTISE_URL={} MORTISE_TOKEN=$(cat {})
  {program} snap-in list
  {program} event list
  {program} run logs {run}
  {program} run replay {run}
  {program} function call default/default/hello-webhook greet '{BODY}'

  The example is in {}: change it, and install it beside this one with
  {program} snap-in install {} --scope default/default/mine

Ctrl-C ends the daemon and removes everything.",
        heading("What to try next"),
        daemon.url,
        directory.join("state").join(ADMIN_TOKEN).display(),
        directory.join("hello-webhook").display(),
        directory.join("hello-webhook").display(),
    );
    show::print(&text)
}

fn write_example(directory: &Path) -> Result<(), Failure> {
    for (name, content) in EXAMPLE {
        let path = directory.join(name);
        let made = path.parent().map_or(Ok(()), std::fs::create_dir_all);
        made.and_then(|()| std::fs::write(&path, content)).map_err(|error| {
            Failure::failed(format!("cannot write {}: {error}", path.display()))
        })?;
    }
    Ok(())
}

fn step(what: &str, detail: &str) -> Result<(), Failure> {
    show::print(&format!("  {what:<26} {detail}"))
}

fn expect(what: &str, seen: bool, instead: &Value) -> Result<(), Failure> {
    if seen {
        return Ok(());
    }
    Err(Failure::refused(format!("expected that {what}, but saw: {instead:#}")))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// A daemon that ends with this process.
struct Daemon {
    child: Child,
    url: String,
    client: Client,
}

impl Daemon {
    fn start(directory: &Path) -> Result<Daemon, Failure> {
        let failed =
            |what: &str, error: std::io::Error| Failure::failed(format!("{what}: {error}"));
        let program = std::env::current_exe()
            .map_err(|error| failed("cannot find this program's own file", error))?;
        let port = free_port().map_err(|error| failed("cannot find a free port", error))?;
        let config = directory.join("mortise.toml");
        let text = configuration(directory, port, &plugin_paths(&program));
        std::fs::write(&config, text)
            .map_err(|error| failed("cannot write the configuration", error))?;
        let log = std::fs::File::create(directory.join("daemon.log"))
            .map_err(|error| failed("cannot write the daemon's log", error))?;
        let child = Command::new(program)
            .args(["serve", "--config"])
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(|error| failed("cannot start the daemon", error))?;
        let url = format!("http://127.0.0.1:{port}");
        let mut daemon = Daemon { child, client: Client::to_url(&url, None)?, url };
        daemon.wait_until_ready(directory)?;
        Ok(daemon)
    }

    fn wait_until_ready(&mut self, directory: &Path) -> Result<(), Failure> {
        const PATIENCE: Duration = Duration::from_secs(30);
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let token = directory.join("state").join(ADMIN_TOKEN);
        loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                let log = std::fs::read_to_string(directory.join("daemon.log")).unwrap_or_default();
                return Err(Failure::failed(format!("the daemon ended with {status}:\n{log}")));
            }
            if let Ok(token) = std::fs::read_to_string(&token) {
                self.client = Client::to_url(&self.url, Some(token.trim().to_owned()))?;
                let status = self.client.call("system.status", &json!({}));
                if status.is_ok_and(|it| it["ready"] == true) {
                    return Ok(());
                }
            }
            if tokio::time::Instant::now() > deadline {
                return Err(Failure::failed("the daemon is not ready after 30 s"));
            }
            // Bounded by the deadline above; there is nothing to wait on before it listens.
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn stop(&mut self) {
        if let Some(process) =
            i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw)
        {
            // It may have ended already.
            let _ = rustix::process::kill_process(process, rustix::process::Signal::TERM);
        }
        let _ = self.child.wait();
    }

    /// Waits for Ctrl-C, which the terminal sends to the daemon as well.
    fn wait_for_interrupt(mut self) -> Result<(), Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::failed(error.to_string()))?;
        let told = runtime.block_on(async {
            let mut terminate =
                tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
            tokio::select! {
                interrupted = tokio::signal::ctrl_c() => interrupted,
                _ = terminate.recv() => Ok(()),
            }
        });
        self.stop();
        told.map_err(|error| Failure::failed(error.to_string()))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.stop();
    }
}

fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// The plugins beside this program, as cargo builds them, or where packages put them.
fn plugin_paths(program: &Path) -> Vec<PathBuf> {
    let beside = PLUGINS.iter().filter_map(|it| Some(program.parent()?.join(it)));
    let found: Vec<PathBuf> = beside.filter(|it| it.exists()).collect();
    if found.is_empty() { vec![INSTALLED_PLUGINS.into()] } else { found }
}

fn configuration(directory: &Path, port: u16, plugins: &[PathBuf]) -> String {
    let quoted = |path: &Path| Value::String(path.display().to_string()).to_string();
    let plugins = plugins.iter().map(|it| quoted(it)).collect::<Vec<_>>().join(", ");
    format!(
        "# Made by `mortise quickstart`.\n\
         state_dir = {}\n\
         cache_dir = {}\n\
         plugin_dirs = [{}]\n\
         development = true\n\
         [listen]\n\
         address = \"127.0.0.1:{port}\"\n\
         socket = {}\n",
        quoted(&directory.join("state")),
        quoted(&directory.join("cache")),
        plugins,
        quoted(&directory.join("mortise.sock")),
    )
}
