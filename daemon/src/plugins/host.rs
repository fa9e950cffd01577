//! All plugins together, as the rest of the daemon sees them: what types there are, opening and
//! checking instances, the report.
//!
//! Owns the registry of types and of open instances. It must never fail because of a plugin: a
//! library that cannot be used is a report, a config that cannot be used a list of problems.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use mortise_plugin::{FaultKind, Problem, Role, TypeDescriptor};
use serde_json::Value;
use tokio::sync::oneshot;

use super::instance::{
    CallError, Instance, InstanceFacts, LogSink, OpenInstance, SinkInstance, SourceInstance,
    not_taken,
};
use super::library::Module;
use super::loader::{self, Loaded};
use super::pool::{Pool, PoolLimits};
use super::report::{InstanceReport, LoadReport, PluginReport};
use super::role::{InstanceRole, SinkRole, SourceRole};
use super::schema::ConfigSchema;
use super::trust::Trust;
use super::watch::Watch;

/// What a [`PluginHost`] is made from.
#[derive(Clone, Debug)]
pub struct PluginSettings {
    /// Directories whose `*.so` are loaded, and single libraries.
    pub paths: Vec<PathBuf>,
    /// Whose files are trusted.
    pub trust: Trust,
    /// How long loading one library may take.
    pub load_deadline: Duration,
    /// How long opening an instance may take; compiling a large policy is the slowest known case.
    pub open_deadline: Duration,
    /// How long stopping an instance may take before its thread counts as lost.
    pub close_deadline: Duration,
    /// An answer may have so many bytes, document and bodies together.
    pub max_answer_bytes: usize,
    /// Threads and queues.
    pub pool: PoolLimits,
}

impl PluginSettings {
    /// Usual limits.
    pub fn new(paths: Vec<PathBuf>, trust: Trust) -> PluginSettings {
        PluginSettings {
            paths,
            trust,
            load_deadline: Duration::from_secs(10),
            open_deadline: Duration::from_secs(5),
            close_deadline: Duration::from_secs(5),
            // A mail of the usual 25 MiB, taken apart.
            max_answer_bytes: 48 << 20,
            pool: PoolLimits::default(),
        }
    }
}

/// A source type or sink type that can be opened.
#[derive(Debug)]
pub struct RegisteredType {
    /// What the plugin says about it.
    pub descriptor: TypeDescriptor,
    /// Source or sink.
    pub role: Role,
    /// The plugin that it comes from.
    pub plugin: String,
    /// The version of that plugin.
    pub plugin_version: String,
    pub(super) schema: ConfigSchema,
    pub(super) module: Module,
}

impl RegisteredType {
    /// What is wrong with `config` according to the type's schema. Cheap, runs no plugin.
    pub fn schema_problems(&self, config: &Value) -> Vec<Problem> {
        self.schema.problems(config)
    }
}

/// An instance that could not be opened.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum OpenError {
    /// No plugin has that type.
    #[error("unknown {role} type `{kind}`, known are: {known}")]
    UnknownType {
        /// `source` or `sink`.
        role: &'static str,
        /// The name that was asked for.
        kind: String,
        /// The names that there are.
        known: String,
    },
    /// The config is wrong; every problem.
    #[error("the config of type `{kind}` has {} problem(s)", problems.len())]
    Config {
        /// The type.
        kind: String,
        /// Everything that is wrong.
        problems: Vec<Problem>,
    },
    /// Opening it failed otherwise.
    #[error(transparent)]
    Call(CallError),
    /// Too much went wrong already.
    #[error(
        "{lost} threads are lost to plugin calls that do not end, more than the {allowed} \
         allowed: nothing is opened until they return or the daemon is restarted"
    )]
    ThreadsLost {
        /// Threads lost.
        lost: usize,
        /// How many may be.
        allowed: usize,
    },
}

/// What is wrong and what is questionable about a config.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CheckReport {
    /// With any of these it cannot be used.
    pub errors: Vec<Problem>,
    /// It can be used all the same.
    pub warnings: Vec<Problem>,
}

/// The open instances, for the report.
#[derive(Default)]
pub(super) struct Registry(Mutex<BTreeMap<u64, Weak<OpenInstance>>>);

impl Registry {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Weak<OpenInstance>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(&self, id: u64, instance: &Arc<OpenInstance>) {
        self.lock().insert(id, Arc::downgrade(instance));
    }

    pub(super) fn remove(&self, id: u64) {
        self.lock().remove(&id);
    }

    fn reports(&self) -> Vec<InstanceReport> {
        // The lock is free again before any instance can be dropped here.
        let open: Vec<Weak<OpenInstance>> = self.lock().values().cloned().collect();
        open.iter().filter_map(Weak::upgrade).map(|instance| instance.report()).collect()
    }
}

/// Every plugin, and the threads that they run on.
pub struct PluginHost {
    pool: Pool,
    registry: Arc<Registry>,
    loaded: Loaded,
    settings: PluginSettings,
}

impl PluginHost {
    /// Loads all plugins. What cannot be loaded is a report.
    pub fn load(settings: PluginSettings) -> PluginHost {
        PluginHost {
            pool: Pool::start(settings.pool),
            registry: Arc::default(),
            loaded: loader::load_all(&settings.paths, settings.trust, settings.load_deadline),
            settings,
        }
    }

    /// What became of every library.
    pub fn load_reports(&self) -> &[LoadReport] {
        &self.loaded.reports
    }

    /// The type of that name or alias.
    pub fn find(&self, role: Role, kind: &str) -> Option<&RegisteredType> {
        self.loaded.types(role).get(kind).map(Arc::as_ref)
    }

    /// Every type of one role, once, in order of their names.
    pub fn types(&self, role: Role) -> impl Iterator<Item = &RegisteredType> {
        let types = self.loaded.types(role).iter();
        types.filter(|(name, found)| **name == found.descriptor.name).map(|(_, found)| &**found)
    }

    /// Opens a source: schema first, then the plugin. `name` is for reports, `log` gets the
    /// plugin's log lines.
    pub async fn open_source(
        &self,
        kind: &str,
        config: &Value,
        name: &str,
        log: LogSink,
    ) -> Result<SourceInstance, OpenError> {
        self.open::<SourceRole>(kind, config, name, log).await
    }

    /// Opens a sink, as [`PluginHost::open_source`] does a source.
    pub async fn open_sink(
        &self,
        kind: &str,
        config: &Value,
        name: &str,
        log: LogSink,
    ) -> Result<SinkInstance, OpenError> {
        self.open::<SinkRole>(kind, config, name, log).await
    }

    async fn open<R: InstanceRole>(
        &self,
        kind: &str,
        config: &Value,
        name: &str,
        log: LogSink,
    ) -> Result<Instance<R>, OpenError> {
        let Some(found) = self.find(R::ROLE, kind) else {
            return Err(self.unknown_type(R::ROLE, kind));
        };
        // An alias is the daemon's affair: the plugin hears the name from its descriptor.
        let kind = found.descriptor.name.clone();
        let problems = found.schema_problems(config);
        if !problems.is_empty() {
            return Err(OpenError::Config { kind, problems });
        }
        if self.pool.is_exhausted() {
            let lost = self.pool.counts().lost;
            return Err(OpenError::ThreadsLost { lost, allowed: self.pool.limits().lost_threads });
        }
        let facts = InstanceFacts {
            name: name.to_owned(),
            role: R::ROLE,
            kind: kind.clone(),
            max_answer_bytes: self.settings.max_answer_bytes,
            close_deadline: self.settings.close_deadline,
        };
        let lane = Arc::new(self.pool.lane(name));
        let (sender, receiver) = oneshot::channel();
        let ticket = lane.push(Box::new({
            let (module, config, kind) = (found.module, config.clone(), kind.clone());
            let (lane, registry) = (Arc::clone(&lane), Arc::clone(&self.registry));
            move || {
                let opened = module
                    .open(R::CODE, &kind, &config, log)
                    .map(|object| OpenInstance::new(object, lane, facts, &registry));
                // When nobody waits any more, the instance is dropped here, and so stopped.
                let _ = sender.send(opened);
            }
        }));
        let ticket = ticket.map_err(|reason| OpenError::Call(not_taken(reason)))?;
        let watch = Watch::new(lane.watcher(), ticket, receiver, self.settings.open_deadline);
        match watch.wait().await {
            Ok(open) => Ok(Instance::new(open)),
            Err(CallError::Fault(fault)) if fault.kind == FaultKind::Config => {
                let mut problems = fault.problems;
                if problems.is_empty() {
                    let path = String::new();
                    problems.push(Problem { path, message: fault.message, location: None });
                }
                Err(OpenError::Config { kind, problems })
            }
            Err(error) => Err(OpenError::Call(error)),
        }
    }

    fn unknown_type(&self, role: Role, kind: &str) -> OpenError {
        let known: Vec<&str> = self.loaded.types(role).keys().map(String::as_str).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        let role = match role {
            Role::Source => "source",
            Role::Sink => "sink",
        };
        OpenError::UnknownType { role, kind: kind.to_owned(), known }
    }

    /// Opens an instance of `config`, asks what is questionable about it, and stops it again.
    ///
    /// Problems of the config are in the report; an error means that nothing is known about it.
    pub async fn check(
        &self,
        role: Role,
        kind: &str,
        config: &Value,
        now_ms: u64,
    ) -> Result<CheckReport, OpenError> {
        let checked = match role {
            Role::Source => self.check_as::<SourceRole>(kind, config, now_ms).await,
            Role::Sink => self.check_as::<SinkRole>(kind, config, now_ms).await,
        };
        match checked {
            Ok(warnings) => Ok(CheckReport { errors: Vec::new(), warnings }),
            Err(OpenError::Config { mut problems, .. }) => {
                let unknown = self.find(role, kind).map(|it| it.schema.unknown(config));
                for problem in unknown.into_iter().flatten() {
                    if !problems.iter().any(|it| it.path == problem.path) {
                        problems.push(problem);
                    }
                }
                Ok(CheckReport { errors: problems, warnings: Vec::new() })
            }
            Err(error) => Err(error),
        }
    }

    async fn check_as<R: InstanceRole>(
        &self,
        kind: &str,
        config: &Value,
        now_ms: u64,
    ) -> Result<Vec<Problem>, OpenError> {
        let silent: LogSink = Arc::new(|_, _| {});
        let instance = self.open::<R>(kind, config, "check", silent).await?;
        let call = R::check_call(now_ms, self.settings.open_deadline);
        match instance.call(call, Bytes::new()).await {
            Ok(output) => Ok(R::problems(output)),
            // A plugin without an opinion.
            Err(CallError::Fault(fault)) if fault.kind == FaultKind::Unsupported => Ok(Vec::new()),
            Err(error) => Err(OpenError::Call(error)),
        }
    }

    /// Everything about plugins, for the operator.
    pub fn report(&self) -> PluginReport {
        let counts = self.pool.counts();
        PluginReport {
            libraries: self.loaded.reports.clone(),
            instances: self.registry.reports(),
            threads: counts.threads,
            lost_threads: counts.lost,
            lost_threads_allowed: self.pool.limits().lost_threads,
            queued: counts.queued,
        }
    }
}

impl std::fmt::Debug for PluginHost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PluginHost")
            .field("libraries", &self.loaded.reports)
            .finish_non_exhaustive()
    }
}
