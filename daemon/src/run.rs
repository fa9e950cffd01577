//! The composition root: puts the parts together, and takes them apart in order.
//!
//! Start: state directory, plugins, database, master key, recovery, sockets, actors, READY. Stop: no new
//! requests, running functions finish for a while, the rest is interrupted and tried again after the
//! next start, the writer runs empty.

mod bridges;
mod commands;
mod effects;
mod start_code;

use std::net::IpAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{error, info, warn};

use crate::actors::{self, BrokenKeyrings, EffectsUnderWay, Registry, Services};
use crate::api::{self, Api, Bound, RuntimeStatus, Status, UnderWay, WrongTokens};
use crate::clock::Clock;
use crate::config::{Config, RequireSandbox, WebhookSettings};
use crate::egress::{Egress, EgressOptions};
use crate::engine::access::Access;
use crate::engine::artifacts::Artifacts;
use crate::engine::calls::Calls;
use crate::engine::change_bodies::ChangeBodies;
use crate::engine::changes::Changes;
use crate::engine::contexts::Contexts;
use crate::engine::dispatcher::{self, Dispatcher};
use crate::engine::fan_out::{self, FanOut};
use crate::engine::housekeeping;
use crate::engine::intake::Intake;
use crate::engine::invocation::{self, Invoker};
use crate::engine::key_check;
use crate::engine::key_rotation::KeyKeeper;
use crate::engine::keyrings::{self, Keyrings};
use crate::engine::objects::Objects;
use crate::engine::recording;
use crate::engine::refused_calls::RefusedCallLog;
use crate::engine::remote_call::RemoteServers;
use crate::engine::routes::Routes;
use crate::engine::runtimes::Runtimes;
use crate::engine::scheduled::Scheduler;
use crate::engine::source_counts::SourceCounts;
use crate::engine::source_log::SourceLogs;
use crate::engine::tell::{self, Tell};
use crate::engine::timers::{SHORTEST_TICK, Timers};
use crate::engine::version_files::InstallPackages;
use crate::engine::webhooks::{self, Webhooks};
use crate::functions::kind::RunnerKind;
use crate::functions::node_host::{self, NodeHost};
use crate::functions::packages::Packages;
use crate::functions::packages::install::Installer;
use crate::functions::pool::{Pool, PoolOptions};
use crate::model::access::StoredToken;
use crate::model::http::EgressRules;
use crate::operations::Operations;
use crate::plugins::{PluginHost, PluginSettings, Trust};
use crate::random::secret_text;
use crate::secrets::{ServiceTokens, UrlSigner, Vault};
use crate::store::{FileLocation, Options, Store, StoreError};
use bridges::{EgressFetch, LocalRequests};
pub use commands::Commands;
pub use effects::PluginEffects;

/// How long running functions may take to finish when the daemon stops.
const DRAIN: Duration = Duration::from_secs(20);
/// Attempts that may be claimed at the same time, for each process that runs functions.
const STARTED_PER_PROCESS: usize = 16;
/// Name of the database in the state directory.
pub const DATABASE: &str = "mortise.redb";
/// Name of the file with the first token, in the state directory.
pub const ADMIN_TOKEN: &str = "admin.token";

/// What `main` found in the environment and on the command line.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// systemd's `$CREDENTIALS_DIRECTORY`.
    pub credentials: Option<PathBuf>,
    /// Whether secrets whose master key is lost are given up.
    pub forget_lost_secrets: bool,
}

/// Runs the daemon until it is told to stop. An error says why it could not start.
pub fn run(config: Config, environment: &Environment) -> Result<(), String> {
    // Two threads: the dispatcher and its tasks on one, the talk with runner processes on either.
    let engine = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("engine")
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start threads: {error}"))?;
    let outcome =
        actix::System::new().block_on(serve(config, environment, engine.handle().clone()));
    engine.shutdown_timeout(Duration::from_secs(2));
    outcome
}

async fn serve(
    config: Config,
    environment: &Environment,
    engine: tokio::runtime::Handle,
) -> Result<(), String> {
    let clock = Clock::System;
    // Heard from here on, so that a stop during a long start is not missed.
    let mut stop = StopSignals::listen()?;
    // What the daemon writes is its own: database, key and token. The socket says so itself.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    make_state_dir(&config.state_dir)?;
    let plugins = Arc::new(load_plugins(&config).await?);
    let store = Arc::new(open_store(&config, &clock).await?);
    let credentials = environment.credentials.as_deref();
    if environment.forget_lost_secrets {
        let forgotten = key_check::forget_lost(&store, credentials, &config.state_dir).await;
        forgotten.map_err(|error| error.to_string())?;
    }
    let keys = key_check::open_keys(&store, credentials, &config.state_dir)
        .map_err(|error| error.to_string())?;
    let tokens = ServiceTokens::new(&keys);
    let url_signer = UrlSigner::new(&keys);
    let artifacts = Artifacts::new(store.clone(), config.artifacts.clone());
    let vault = Arc::new(Vault::new(&keys));
    make_first_token(&store, &config.state_dir, &clock).await?;
    let access = Access::open(store.clone(), clock.clone());
    let access = access.map_err(|error| error.to_string())?;
    let refused_calls = RefusedCallLog::new(store.clone(), clock.clone());
    let socket = Some(config.listen.socket.as_path()).filter(|it| !it.as_os_str().is_empty());
    let (listeners, bound) = api::bind(config.listen.address, socket)?;
    let public_url = public_url(&config, &bound);

    let egress = Arc::new(make_egress(&config, &public_url, &bound)?);
    let pool = Arc::new(make_pool(&config, &engine, &egress)?);
    let contexts = Arc::new(Contexts::new(store.clone()));
    let keyrings = Keyrings::new(keyrings::Parts {
        store: store.clone(),
        contexts: contexts.clone(),
        vault: vault.clone(),
        egress: egress.clone(),
        runtime: engine.clone(),
        clock: clock.clone(),
        redirect_uri: format!("{public_url}/keyrings.authorize"),
        public_url: public_url.clone(),
    })
    .map_err(|error| error.to_string())?;
    let processes = processes(&config);
    let runtimes = make_runtimes(&config, &store, &contexts, &egress, &pool)?;
    let invoker = Invoker::new(invocation::Parts {
        store: store.clone(),
        contexts: contexts.clone(),
        runtimes: runtimes.clone(),
        runners: pool.clone(),
        keyrings: keyrings.clone(),
        tokens: tokens.clone(),
        clock: clock.clone(),
        settings: config.functions.clone(),
        egress: EgressRules::default(),
        endpoint: format!("{public_url}/api/v1"),
    });
    let changes = Changes::new();
    let dispatcher = Dispatcher::start(
        &engine,
        store.clone(),
        Arc::new(invoker.clone()),
        changes.clone(),
        clock.clone(),
        processes * STARTED_PER_PROCESS,
    );
    let status = Arc::new(Status::default());
    look_at_sandbox(&pool, &status, &config).await?;
    let unfinished = dispatcher::recover(&store).await.map_err(|error| error.to_string())?;
    let waiting = unfinished.len();
    dispatcher.queued(unfinished);

    let routes = Arc::new(Routes::new(clock.clone()));
    let source_logs = Arc::new(SourceLogs::default());
    let source_counts = SourceCounts::open(&store, clock.clone());
    let source_counts = Arc::new(source_counts.map_err(|error| error.to_string())?);
    recording::recover(&store, &source_logs).map_err(|error| error.to_string())?;
    let effects = Arc::new(PluginEffects {
        egress: egress.clone(),
        commands: make_commands(&config, &pool),
        causes: Some((tokens.clone(), clock.clone())),
    });
    let intake = Arc::new(Intake {
        routes: routes.clone(),
        source_logs: source_logs.clone(),
        store: store.clone(),
        dispatcher: dispatcher.clone(),
        effects: effects.clone(),
        clock: clock.clone(),
        most_queued: config.limits.queued_runs,
    });
    let timers = Timers::start(&engine, intake.clone(), clock.clone(), SHORTEST_TICK);
    let scheduler = Scheduler::start(&engine, intake.clone());
    let objects = Objects::open(store.clone(), engine.clone()).await;
    let objects = objects.map_err(|error| error.to_string())?;
    let bodies = Arc::new(ChangeBodies::new(store.clone(), objects.clone()));
    let fan_out = FanOut::start(&engine, intake.clone(), bodies.clone());
    let webhooks = Webhooks::start(webhooks::Parts {
        store: store.clone(),
        clock: clock.clone(),
        egress: egress.clone(),
        vault: vault.clone(),
        bodies,
        settings: webhook_settings(&config.webhooks),
        runtime: engine.clone(),
    })
    .map_err(|error| error.to_string())?;
    let tell = Tell::start(tell::Parts {
        store: store.clone(),
        plugins: plugins.clone(),
        effects: intake.effects.clone(),
        vault,
        access: access.clone(),
        clock: clock.clone(),
        runtime: engine.clone(),
        keep_days: config.store.keep_days,
    });
    let calls = Calls::new(engine.clone());
    let services = Services::new(actors::Parts {
        store: store.clone(),
        contexts,
        routes,
        timers: timers.clone(),
        scheduled: scheduler.timers().clone(),
        fan_out: fan_out.clone(),
        plugins,
        dispatcher: dispatcher.clone(),
        invoker: Arc::new(invoker.clone()),
        calls: calls.clone(),
        registrar: Arc::new(keyrings.clone()),
        secrets: Arc::new(keyrings.clone()),
        tell: tell.clone(),
        changes,
        source_logs,
        source_counts: source_counts.clone(),
        clock: clock.clone(),
        under_way: EffectsUnderWay::default(),
    });
    let registry = Registry::start(services.clone());
    keyrings.tell(Arc::new(BrokenKeyrings::new(registry.clone(), dispatcher.clone())));
    let api = Arc::new(Api {
        services: services.clone(),
        keyrings: keyrings.clone(),
        operations: Operations::new(
            services.clone(),
            registry,
            invoker.clone(),
            keyrings.clone(),
            objects.clone(),
        ),
        objects,
        intake,
        scheduler: scheduler.clone(),
        runtimes: runtimes.clone(),
        invoker,
        webhooks: webhooks.clone(),
        artifacts: artifacts.clone(),
        url_signer,
        tokens,
        key_keeper: KeyKeeper::start(&engine, store.clone(), keys),
        tell: tell.clone(),
        under_way: UnderWay::default(),
        egress,
        limits: config.limits.clone(),
        access: access.clone(),
        owner_uids: config.listen.owner_uids.clone(),
        peers: config.access.peers.clone(),
        refused_calls: refused_calls.clone(),
        wrong_tokens: WrongTokens::default(),
        public_url: public_url.clone(),
        status: status.clone(),
    });
    let server = listeners
        .serve(api, config.listen.workers)
        .map_err(|error| format!("cannot serve: {error}"))?;
    let handle = server.handle();
    let server = actix::spawn(server);
    let fresh = engine.spawn(keyrings.clone().keep_fresh());
    engine.spawn(housekeeping::watch_space(store.clone()));
    engine.spawn(refused_calls.clone().keep_written_down());
    engine.spawn(housekeeping::keep_tidy(runtimes.packages));
    engine.spawn(source_counts.clone().keep_written_down(store.clone()));
    engine.spawn(housekeeping::forget_scheduled(store.clone()));
    engine.spawn(fan_out::keep_pruned(
        services.routes.clone(),
        services.plugins.clone(),
        store.clone(),
        clock.clone(),
    ));
    engine.spawn(artifacts.keep_swept(clock.clone()));
    engine.spawn(webhooks.clone().keep_pruned(config.store.keep_days));
    let keep_audit = config.audit.keep_days;
    engine.spawn(housekeeping::keep_audit_pruned(store.clone(), clock.clone(), keep_audit));
    engine.spawn(housekeeping::keep_pruned(store.clone(), clock, config.store.keep_days));
    status.set_ready(true);
    start_code::let_go();
    let socket = bound.socket.as_deref().map(|it| it.display().to_string()).unwrap_or_default();
    info!(address = %bound.address, socket, public_url, waiting, "ready");
    let said = format!("serving on {}", bound.address);
    tell_systemd(&[NotifyState::Ready, NotifyState::Status(&said)]);

    let signal = tokio::select! {
        signal = stop.received() => signal,
        () = dispatcher.died() => {
            return Err("the dispatcher has died: start again to go on where it stopped".to_owned());
        }
        () = timers.died() => {
            return Err("what wakes timers has died: start again to go on".to_owned());
        }
        () = scheduler.timers().died() => {
            return Err("what publishes scheduled events has died: start again to go on".to_owned());
        }
        () = fan_out.died() => {
            return Err("what tells of changes of objects has died: start again to go on".to_owned());
        }
    };
    info!(signal, "stopping: running functions have {} s to finish", DRAIN.as_secs());
    tell_systemd(&[NotifyState::Stopping, NotifyState::Status("finishing running functions")]);
    status.set_ready(false);
    // What it has begun goes on without it.
    fresh.abort();
    timers.stop();
    scheduler.timers().stop();
    fan_out.stop();
    handle.stop(true).await;
    if let Ok(Err(error)) = server.await {
        warn!(%error, "the server ended with an error");
    }
    // What is under way has a short deadline.
    webhooks.stop().await;
    let running = async { tokio::join!(dispatcher.stop(), calls.settled()) };
    let (drained, settled) = tokio::join!(
        tokio::time::timeout(DRAIN, running),
        tokio::time::timeout(DRAIN, keyrings.settled()),
    );
    if tokio::time::timeout(DRAIN, tell.stop()).await.is_err() {
        warn!(
            "messages through integrations are still under way; they are sent again at the next start"
        );
    }
    if settled.is_err() {
        warn!("access tokens are still being renewed; some may have to be granted again");
    }
    if drained.is_err() {
        warn!(
            "functions are still running and are cut off; those that an event caused are tried \
             again after the next start"
        );
    }
    pool.shutdown(Duration::ZERO).await;
    // Those that run elsewhere.
    calls.cut_off();
    // What was cut off is being stored.
    let last = async { tokio::join!(dispatcher.stop(), calls.settled(), keyrings.settled()) };
    if tokio::time::timeout(Duration::from_secs(5), last).await.is_err() {
        warn!("the ends of some runs are not stored; they count as interrupted");
    }
    if let Err(error) = refused_calls.write_down().await {
        warn!(%error, "calls that were refused last are not in the audit log");
    }
    if let Err(error) = source_counts.write_down(&store).await {
        warn!(%error, "what event sources counted last is lost");
    }
    if let Some(path) = &bound.socket {
        // A leftover is replaced by the next start.
        let _ = std::fs::remove_file(path);
    }
    info!("stopped");
    Ok(())
}

fn webhook_settings(config: &WebhookSettings) -> webhooks::Settings {
    webhooks::Settings {
        timeout: Duration::from_secs(config.timeout_seconds),
        pauses_ms: config.retry_seconds.iter().map(|it| it.saturating_mul(1000)).collect(),
        most_queued: config.queued.max(1),
        largest_body: config.body_bytes,
    }
}

fn make_state_dir(path: &Path) -> Result<(), String> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|error| format!("cannot make the state directory {}: {error}", path.display()))
}

/// Whose libraries and commands are run.
fn trust(config: &Config) -> Trust {
    if config.development {
        Trust::RootAndUser { uid: rustix::process::geteuid().as_raw() }
    } else {
        Trust::Root
    }
}

fn make_commands(config: &Config, pool: &Arc<Pool>) -> Commands {
    let directory = &config.integrations.commands_dir;
    Commands {
        pool: pool.clone(),
        directory: (!directory.as_os_str().is_empty()).then(|| directory.clone()),
        trust: trust(config),
        memory_bytes: u64::from(config.functions.memory_mb) * 1024 * 1024,
    }
}

async fn load_plugins(config: &Config) -> Result<PluginHost, String> {
    let mut settings = PluginSettings::new(config.plugin_dirs.clone(), trust(config));
    settings.pool.queued = config.limits.plugin_calls;
    let plugins = tokio::task::spawn_blocking(move || PluginHost::load(settings))
        .await
        .map_err(|error| format!("loading plugins failed: {error}"))?;
    Ok(plugins)
}

async fn open_store(config: &Config, clock: &Clock) -> Result<Store, String> {
    let path = config.state_dir.join(DATABASE);
    let shown = path.display().to_string();
    let options = Options { cache_bytes: config.store.cache_bytes };
    let location = Box::new(FileLocation(path));
    let store = Store::open(location, options, config.store.reserve_bytes, clock.clone())
        .map_err(|error| format!("cannot open the database {shown}: {error}"))?;
    // Nothing refers to blobs of uploads that a crash cut off.
    let laid_out = store.write(|tables| {
        tables.lay_out_own_objects()?;
        tables.sweep_blobs()
    });
    match laid_out.await {
        Ok(0) => {}
        Ok(orphans) => info!(orphans, "removed blobs that nothing refers to"),
        Err(StoreError::Full) => {
            warn!("the disk is full: nothing can be stored until there is room")
        }
        Err(error) => return Err(format!("cannot write to the database {shown}: {error}")),
    }
    Ok(store)
}

/// Makes the first API token and writes it to a file that only the daemon's user can read.
async fn make_first_token(store: &Store, state: &Path, clock: &Clock) -> Result<(), String> {
    if !store.read(|tables| tables.has_no_tokens()).map_err(|error| error.to_string())? {
        return Ok(());
    }
    let token = format!("{}{}", api::TOKEN_PREFIX, secret_text());
    let path = state.join(ADMIN_TOKEN);
    // The file first: a token that is stored but was never written down is lost.
    write_private(&path, &token)
        .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    let record = StoredToken {
        name: "admin".to_owned(),
        created_ms: clock.now_ms(),
        scope: None,
        created_by: None,
        principal: None,
        roles: None,
        expires_ms: None,
    };
    let stored = token.clone();
    store
        .write(move |tables| tables.add_token(&stored, &record))
        .await
        .map_err(|error| format!("cannot store the first token: {error}"))?;
    info!(path = %path.display(), "made the first API token");
    Ok(())
}

fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let draft = path.with_extension("token.new");
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&draft)?;
    file.write_all(text.as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    std::fs::rename(draft, path)
}

fn public_url(config: &Config, bound: &Bound) -> String {
    match config.listen.public_url.trim_end_matches('/') {
        "" => format!("http://{}", bound.address),
        url => url.to_owned(),
    }
}

fn make_egress(config: &Config, public_url: &str, bound: &Bound) -> Result<Egress, String> {
    let mut internal = Vec::with_capacity(config.egress.allow.len());
    for text in &config.egress.allow {
        let allowed = text.parse().map_err(|error| format!("egress.allow `{text}`: {error}"))?;
        internal.push(allowed);
    }
    let options = EgressOptions {
        internal,
        refuse_private: config.egress.refuse_private,
        own_endpoint: Some(public_url.to_owned()),
        ..EgressOptions::default()
    };
    let egress = Egress::new(options).map_err(|error| error.to_string())?;
    let mut own_address = bound.address;
    if own_address.ip().is_unspecified() {
        own_address.set_ip(match own_address.ip() {
            IpAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    egress.set_local_api(Arc::new(LocalRequests::new(own_address)?));
    Ok(egress)
}

fn make_runtimes(
    config: &Config,
    store: &Store,
    contexts: &Arc<Contexts>,
    egress: &Arc<Egress>,
    pool: &Arc<Pool>,
) -> Result<Runtimes, String> {
    let most_bytes = config.functions.cache_mb.saturating_mul(1 << 20);
    let packages = Packages::open(&config.cache_dir, most_bytes);
    if let Some(problem) = packages.problem() {
        warn!(problem, "functions in `node` and `process` do not run");
    }
    let remote = RemoteServers::new(egress.clone());
    let node = Some(config.functions.node.clone()).filter(|it| !it.as_os_str().is_empty());
    let registry = &config.functions.npm_registry;
    let installer = Installer::open(packages.clone(), pool.clone(), registry, node.clone())?;
    let installer = Some(Arc::new(installer) as Arc<dyn InstallPackages>);
    let runtimes = Runtimes { contexts: contexts.clone(), packages, remote, installer, node };
    runtimes.forget_deleted(store).map_err(|error| error.to_string())?;
    Ok(runtimes)
}

fn make_pool(
    config: &Config,
    engine: &tokio::runtime::Handle,
    egress: &Arc<Egress>,
) -> Result<Pool, String> {
    let options = PoolOptions {
        most_processes: processes(config),
        require_sandbox: config.functions.require_sandbox != RequireSandbox::No,
        node: (!config.functions.node.as_os_str().is_empty())
            .then(|| config.functions.node.clone()),
        own_origin: egress.own_origin(),
        ..PoolOptions::default()
    };
    let fetch = Arc::new(EgressFetch { egress: egress.clone() });
    let _entered = engine.enter();
    Pool::new(options, fetch).map_err(|error| format!("cannot start functions' processes: {error}"))
}

fn processes(config: &Config) -> usize {
    match config.functions.processes {
        0 => std::thread::available_parallelism().map_or(2, usize::from) * 2,
        given => given,
    }
}

/// Finds out what the kernel enforces on each kind of process, and says what it does not. An error says
/// why the daemon must not start without it.
async fn look_at_sandbox(pool: &Pool, status: &Status, config: &Config) -> Result<(), String> {
    let required = config.functions.require_sandbox;
    let mut runtimes = Vec::new();
    let mut lacking = Vec::new();
    for kind in RunnerKind::ALL {
        let runtime = kind.name();
        let mut seen = RuntimeStatus::new(runtime);
        if kind == RunnerKind::Node {
            look_at_node(config, &mut seen).await;
        }
        if pool.has(kind) {
            look_at_kind(pool, kind, required, &mut seen).await;
        }
        seen.runs &= seen.problem.is_none();
        lacking.extend(seen.missing.iter().map(|lack| format!("{runtime}: {lack}")));
        runtimes.push(seen);
    }
    *status.runtimes.lock().unwrap_or_else(PoisonError::into_inner) = runtimes;
    if required == RequireSandbox::ToStart && !lacking.is_empty() {
        return Err(format!(
            "the kernel does not enforce the whole sandbox of functions, which \
             `functions.require_sandbox = true` asks for: {}; mend that (Landlock needs Linux 5.13 or \
             later with `landlock` in /sys/kernel/security/lsm, and no filter of system calls of the \
             service against it), or set it to \"functions\" for a daemon that runs no functions",
            lacking.join("; ")
        ));
    }
    Ok(())
}

/// Says where Node.js is, or why it cannot be used.
async fn look_at_node(config: &Config, seen: &mut RuntimeStatus) {
    let given = Some(config.functions.node.as_path()).filter(|it| !it.as_os_str().is_empty());
    let NodeHost { path, version, problem } = node_host::look(given).await;
    let shown = path.as_ref().map(|it| it.display().to_string()).unwrap_or_default();
    match (&problem, &path) {
        (None, _) => {
            let version = version.as_deref().unwrap_or_default();
            info!(path = shown, version, "functions in `node` have Node.js");
        }
        // Nobody has asked for it.
        (Some(problem), None) if given.is_none() => {
            info!(problem, "no function in `node` will run");
        }
        (Some(problem), _) => warn!(path = shown, problem, "no function in `node` will run"),
    }
    seen.program = path.map(|_| shown);
    seen.program_version = version;
    seen.problem = problem;
}

async fn look_at_kind(
    pool: &Pool,
    kind: RunnerKind,
    required: RequireSandbox,
    seen: &mut RuntimeStatus,
) {
    let runtime = kind.name();
    match pool.probe(kind).await {
        Ok(report) => {
            seen.runs = report.is_full() || required == RequireSandbox::No;
            seen.reduced = report.reduced.clone();
            for lack in &report.reduced {
                warn!(runtime, lack, "functions can do less here than elsewhere");
            }
            if report.is_full() {
                for lack in &report.missing {
                    warn!(runtime, lack, "a second layer of the sandbox is missing");
                }
                seen.second_layers_missing = report.missing;
            } else {
                seen.missing = report.missing;
            }
        }
        Err(error) => seen.missing.push(format!("no process can be started: {error}")),
    }
    let missing = &seen.missing;
    match (missing.is_empty(), seen.runs) {
        (true, _) => {}
        (false, true) => {
            warn!(runtime, ?missing, "functions run although the sandbox is not whole");
        }
        (false, false) => error!(
            runtime,
            ?missing,
            "no function of this runtime will run: the sandbox is not whole (require_sandbox)"
        ),
    }
}

fn tell_systemd(state: &[NotifyState<'_>]) {
    // Without systemd there is nobody to tell; at the end its socket may have gone before us.
    if let Err(error) = sd_notify::notify(state) {
        warn!(%error, "systemd could not be told");
    }
}

/// SIGTERM and SIGINT stop the daemon; SIGHUP must not kill it.
struct StopSignals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    hang_up: tokio::signal::unix::Signal,
}

impl StopSignals {
    fn listen() -> Result<StopSignals, String> {
        let listen = |kind| signal(kind).map_err(|error| format!("cannot hear signals: {error}"));
        Ok(StopSignals {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hang_up: listen(SignalKind::hangup())?,
        })
    }

    async fn received(&mut self) -> &'static str {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return "SIGTERM",
                _ = self.interrupt.recv() => return "SIGINT",
                _ = self.hang_up.recv() => {
                    info!("the configuration is read at start only: restart the daemon to change it");
                }
            }
        }
    }
}
