//! From a claimed attempt to a function call and back: builds the event object of spec §2.2, asks
//! the runtime, and puts what came of it in the terms of a run.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::contexts::{Contexts, SnapInContext, VersionContext};
use super::dispatcher::{Execute, Execution, StartedAttempt};
use super::handed_out::{HandedOut, Running};
use super::keyrings::{KeyringError, Keyrings, ResolvedKeyring};
use super::live_logs::{Followed, LiveLogs};
use super::remote_call::{RemoteCall, may_report};
use super::runtimes::{Means, Runtimes};
use super::turns::{Turn, Turns};
use crate::clock::Clock;
use crate::config::FunctionSettings;
use crate::functions::outcome::{Failure, FailureKind, LogLevel, Outcome, RunReport};
use crate::functions::pool::{Invocation, Pool, SecretTexts, mask, mask_texts};
use crate::lifecycle::run::RetryPolicy;
use crate::model::actor::Actor;
use crate::model::event::{DEV_OID, MOST_PAYLOAD_BYTES};
use crate::model::http::EgressRules;
use crate::model::id::{IdSource, KeyringId, RunId, ServiceAccountId, SnapInId, VersionId};
use crate::model::manifest::{Function, Runtime};
use crate::model::run::{
    Attempt, AttemptOutcome, RunError, RunHead, RunLogLine, RunOutput, RunRequest, RunTrigger,
};
use crate::random::RandomPool;
use crate::secrets::{ServiceTokens, TokenRun};
use crate::store::{Store, StoreError};

/// Calls functions.
#[derive(Clone)]
pub struct Invoker {
    parts: Arc<Parts>,
    /// Ids of runs that are called: they are needed before there is a transaction.
    run_ids: Arc<Mutex<(IdSource, RandomPool)>>,
    handed_out: HandedOut,
    live_logs: LiveLogs,
    turns: Turns,
}

/// What an [`Invoker`] needs.
pub struct Parts {
    /// Payloads that were not at hand.
    pub store: Arc<Store>,
    /// Manifests and code.
    pub contexts: Arc<Contexts>,
    /// What functions run by.
    pub runtimes: Runtimes,
    /// The runner processes.
    pub runners: Arc<Pool>,
    /// Secrets for functions.
    pub keyrings: Keyrings,
    /// Tokens for functions.
    pub tokens: ServiceTokens,
    /// Wall time.
    pub clock: Clock,
    /// Defaults.
    pub settings: FunctionSettings,
    /// Where functions may send requests.
    pub egress: EgressRules,
    /// `execution_metadata.devrev_endpoint`, without a slash at its end.
    pub endpoint: String,
}

/// One call of a function.
#[derive(Clone, Debug)]
pub struct Call {
    /// The run; also the request id that the function sees.
    pub run: RunId,
    /// The run's record.
    pub head: RunHead,
    /// The payload, valid JSON.
    pub payload: Bytes,
    /// The event type that the function sees.
    pub event_type: String,
    /// What caused the call: the id of an automation, a snap-in (for its hooks), a command, an
    /// action, and so on; empty for a plain call.
    pub source_id: String,
    /// Who gave the order, for commands and actions.
    pub actor: Option<Actor>,
    /// For a function that does not say how long it may take; the settings when absent.
    pub default_timeout: Option<Duration>,
    /// When the attempt began that asked for keyrings, tokens and inputs to be made anew before this
    /// one, milliseconds of the Unix epoch: what was made since was not what it had.
    pub refresh_since_ms: Option<u64>,
    /// The configuration that a hook is asked about, when that is not the stored one.
    pub proposed: Option<Arc<SnapInContext>>,
    /// The inputs before the proposed ones, for the update hook.
    pub previous_inputs: Option<Object>,
    /// A keyring that is not stored yet, in place of the stored one of that name.
    pub offered: Option<OfferedKeyring>,
}

/// A keyring that a hook is asked about.
#[derive(Clone)]
pub struct OfferedKeyring {
    /// Name in the manifest.
    pub name: String,
    /// Id of its type.
    pub type_id: String,
    /// What functions get.
    pub secret: Zeroizing<String>,
}

impl std::fmt::Debug for OfferedKeyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OfferedKeyring").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Call {
    /// A call under the configuration that is stored.
    pub fn new(
        run: RunId,
        head: RunHead,
        payload: Bytes,
        event_type: String,
        source_id: String,
    ) -> Call {
        Call {
            run,
            head,
            payload,
            event_type,
            source_id,
            actor: None,
            default_timeout: None,
            refresh_since_ms: None,
            proposed: None,
            previous_inputs: None,
            offered: None,
        }
    }
}

impl Invoker {
    /// With everything it needs.
    pub fn new(parts: Parts) -> Invoker {
        let run_ids = Arc::new(Mutex::new((IdSource::after(0), RandomPool::new())));
        Invoker {
            parts: Arc::new(parts),
            run_ids,
            handed_out: HandedOut::default(),
            live_logs: LiveLogs::default(),
            turns: Turns::default(),
        }
    }

    /// An id for a run that is called at once.
    pub fn new_run(&self) -> RunId {
        let mut run_ids = self.run_ids.lock().unwrap_or_else(PoisonError::into_inner);
        let (ids, random) = &mut *run_ids;
        RunId(ids.next(self.parts.clock.now_ms(), random.next_u128()))
    }

    /// What no other call has, to tell those of one run apart.
    fn new_number(&self) -> u64 {
        let mut run_ids = self.run_ids.lock().unwrap_or_else(PoisonError::into_inner);
        // Half of what is random is random.
        u64::try_from(run_ids.1.next_u128() >> 64).unwrap_or_default()
    }

    /// Calls a function and says what came of it. Never fails: what goes wrong is an outcome.
    pub async fn call(&self, call: Call) -> Execution {
        let running = self.handed_out.begin(call.run);
        let followed = self.live_logs.begin(call.run);
        let number = self.new_number();
        let called = self.parts.call(call, &running, &followed, number, &self.turns).await;
        called.unwrap_or_else(|error| {
            // The store will work again: the attempt was not the function's.
            not_started(AttemptOutcome::Interrupted { reason: error.to_string() })
        })
    }

    /// A run was given a secret while it is on: its log must not show it.
    pub fn handed_out(&self, run: RunId, secret: &Zeroizing<String>) {
        self.handed_out.add(run, secret);
    }

    /// What the last attempt of a run that has not ended has logged so far, masked as it will be when it has ended.
    pub fn logs_so_far(&self, run: RunId) -> Vec<RunLogLine> {
        let mut lines = self.live_logs.of(run);
        if !lines.is_empty() {
            let secrets: SecretTexts = with_parts(self.handed_out.of(run)).into();
            mask_texts(lines.iter_mut().map(|it| &mut it.message), &secrets);
        }
        lines
    }

    /// Ends the processes of a snap-in that functions no more.
    pub fn retire(&self, snap_in: SnapInId) {
        self.parts.runners.retire(snap_in);
    }
}

impl Execute for Invoker {
    fn execute(&self, attempt: StartedAttempt) -> BoxFuture<'static, Execution> {
        let this = self.clone();
        async move {
            match this.parts.event_of(&attempt) {
                // Here rather than where events come in, so that a retry and a replay end the same way.
                Ok(Ok((_, payload))) if payload.len() > MOST_PAYLOAD_BYTES => {
                    not_started(failed("payload_too_large", too_large(payload.len())))
                }
                Ok(Ok((event_type, payload))) => {
                    let source_id = automation_of(&attempt.head.trigger).unwrap_or_default();
                    let StartedAttempt { run, head, .. } = attempt;
                    let refresh_since_ms = refresh_wanted(&head.attempts);
                    let call = Call::new(run, head, payload, event_type, source_id);
                    this.call(Call { refresh_since_ms, ..call }).await
                }
                Ok(Err(outcome)) => not_started(outcome),
                Err(error) => {
                    not_started(AttemptOutcome::Interrupted { reason: error.to_string() })
                }
            }
        }
        .boxed()
    }

    fn concurrency(&self, version: VersionId, function: &str) -> u32 {
        let default = self.parts.settings.max_concurrency;
        match self.parts.contexts.version(version) {
            Ok(Some(context)) => context
                .manifest
                .function(function)
                .and_then(|it| it.max_concurrency)
                .unwrap_or(default),
            Ok(None) | Err(_) => default,
        }
    }
}

impl Parts {
    /// Type and payload of the event that a run is for.
    fn event_of(
        &self,
        attempt: &StartedAttempt,
    ) -> Result<Result<(String, Bytes), AttemptOutcome>, StoreError> {
        if let Some(at_hand) = &attempt.event {
            return Ok(Ok((at_hand.event_type.to_string(), at_hand.payload.clone())));
        }
        let Some(event) = attempt.head.trigger.event() else {
            return Ok(Ok((String::new(), Bytes::from_static(b"{}"))));
        };
        Ok(match self.store.read(|tables| tables.event(event))? {
            Some((head, payload)) => Ok((head.event_type, payload)),
            None => Err(failed("not_found", format!("its event {event} is not there any more"))),
        })
    }

    /// `number` is this call's own.
    async fn call(
        &self,
        call: Call,
        running: &Running,
        followed: &Followed,
        number: u64,
        turns: &Turns,
    ) -> Result<Execution, StoreError> {
        let head = &call.head;
        if call.refresh_since_ms.is_some() {
            self.contexts.forget(head.snap_in);
        }
        let Some(version) = self.contexts.version(head.version)? else {
            let message = format!("version {} is not there any more", head.version);
            return Ok(not_started(failed("not_found", message)));
        };
        let Some(function) = version.manifest.function(&head.function) else {
            let message = format!("version {} has no function `{}`", head.version, head.function);
            return Ok(not_started(failed("not_found", message)));
        };
        let means = match self.runtimes.of(&version, function) {
            Ok(means) => means,
            Err(why) => return Ok(not_started(failed("load", format!("cannot run it: {why}")))),
        };
        let most = function.max_concurrency.unwrap_or(self.settings.max_concurrency);
        let limit = self.timeout(function, &call);
        // The next run of a queue has waited for its turn there; whoever waits for an answer does so
        // here, and that takes from the time that he has. Both count together.
        let patience = head.trigger.event().is_none().then_some(limit);
        let turn = turns.take((head.version, &head.function), most, patience).await;
        let Some(Turn { waited, .. }) = &turn else {
            let message = format!(
                "as many calls of the function `{}` as may run at the same time ({most}, \
                 `max_concurrency`) were under way for {} ms",
                head.function,
                limit.as_millis()
            );
            return Ok(not_started(failed("timeout", message)));
        };
        let timeout = if patience.is_some() { limit.saturating_sub(*waited) } else { limit };
        let snap_in = match &call.proposed {
            Some(proposed) => Some(proposed.clone()),
            None => self.contexts.snap_in(head.snap_in)?,
        };
        let Some(snap_in) = snap_in else {
            let message = format!("snap-in {} is not there any more", head.snap_in);
            return Ok(not_started(failed("not_found", message)));
        };
        let policy = self.policy(function);
        let keyrings = match self.keyrings_for(&call, &version, &snap_in).await? {
            Ok(keyrings) => keyrings,
            Err(error) => {
                // An outage of whoever renews a token, or somebody has to set it anew: the event is
                // not lost for that. A snap-in with a broken keyring is in ERROR, which holds runs.
                return Ok(not_started(AttemptOutcome::Postponed { reason: error.to_string() }));
            }
        };
        let tokens = self.tokens_for(&call, number, snap_in.record.service_account);
        let event = self.event_object(&call, &version, &snap_in, &keyrings, &tokens);
        let secrets = masked_texts(tokens, &keyrings);
        let started_ms = self.clock.now_ms();
        let report = match means {
            Means::Runner { runtime, code } => {
                self.runners
                    .invoke(Invocation {
                        run_id: call.run.to_string(),
                        snap_in: head.snap_in,
                        version: head.version,
                        runtime,
                        code,
                        function: head.function.clone(),
                        event,
                        timeout,
                        memory_bytes: self.memory_bytes(function),
                        fresh: function.fresh_context,
                        egress: self.egress.clone(),
                        secrets,
                        on_log: Some(followed.listener(started_ms)),
                    })
                    .await
            }
            Means::Remote(url) => {
                let (run, trigger, payload) = (call.run, &head.trigger, &call.payload);
                let call = RemoteCall {
                    url,
                    run,
                    call: number,
                    trigger,
                    payload,
                    event,
                    timeout,
                    secrets,
                };
                match self.runtimes.remote.call(call).await {
                    Ok(report) => report,
                    Err(not_begun) => return Ok(not_started(not_begun)),
                }
            }
        };
        let report = mask(report, with_parts(running.secrets()).into()).await;
        followed.ended(started_ms, &report.logs);
        Ok(executed(report, policy, started_ms))
    }

    fn tokens_for(&self, call: &Call, number: u64, account: ServiceAccountId) -> Tokens {
        let now_ms = self.clock.now_ms();
        let run = TokenRun {
            service_account: account,
            snap_in: call.head.snap_in,
            run: call.run,
            cause: call.head.cause,
        };
        let for_person = |actor: &Actor| self.tokens.issue_for(actor.clone(), &run, now_ms);
        let own = match may_report(&call.head.trigger) {
            true => self.tokens.issue_for_hook(number, &run, now_ms),
            false => self.tokens.issue(&run, now_ms),
        };
        Tokens {
            service_account: own.into(),
            actor: call.actor.as_ref().map(|it| for_person(it).into()),
        }
    }

    /// The secrets that a call gets. Hooks are called with what is usable: mending a keyring is what
    /// they are for.
    async fn keyrings_for(
        &self,
        call: &Call,
        version: &VersionContext,
        snap_in: &SnapInContext,
    ) -> Result<Result<Vec<ResolvedKeyring>, KeyringError>, StoreError> {
        let package = snap_in.record.package;
        let bindings = snap_in.keyrings(&version.manifest, operation_of(&call.head.trigger));
        if let Some(since_ms) = call.refresh_since_ms {
            match self.keyrings.renew_older(&bindings, since_ms).await {
                Ok(()) => {}
                Err(KeyringError::Store(error)) => return Err(error),
                Err(error) => return Ok(Err(error)),
            }
        }
        // So do the pages on which snap-ins are configured that do not function yet.
        let mends = matches!(
            call.head.trigger,
            RunTrigger::Hook { .. } | RunTrigger::ConfigurationPage { .. }
        ) || !snap_in.record.state.runs_start();
        let mut keyrings = if mends {
            self.keyrings.usable(&bindings, package).await?.0
        } else {
            match self.keyrings.resolve(&bindings, package).await {
                Ok(keyrings) => keyrings,
                Err(KeyringError::Store(error)) => return Err(error),
                Err(error) => return Ok(Err(error)),
            }
        };
        if let Some(OfferedKeyring { name, secret, .. }) = &call.offered {
            let known = bindings.get(name).copied();
            keyrings.retain(|it| it.name != *name);
            let (name, secret) = (name.clone(), secret.clone());
            keyrings.push(ResolvedKeyring { name, id: known.unwrap_or(KeyringId(0)), secret });
        }
        Ok(Ok(keyrings))
    }

    fn policy(&self, function: &Function) -> RetryPolicy {
        let seconds = function.retry.min_interval.unwrap_or(self.settings.retry_seconds);
        RetryPolicy {
            max_retries: function.retry.max_retries.unwrap_or(0),
            min_interval_ms: u64::from(seconds) * 1000,
        }
    }

    /// What the function says of itself comes first, then whoever waits for it.
    fn timeout(&self, function: &Function, call: &Call) -> Duration {
        let seconds = |it: u32| Duration::from_secs(it.max(1).into());
        let own = function.timeout_seconds.map(seconds);
        own.or(call.default_timeout).unwrap_or_else(|| match is_awaited(&call.head.trigger) {
            true => seconds(self.settings.call_timeout_seconds),
            false => seconds(self.settings.timeout_seconds),
        })
    }

    fn memory_bytes(&self, function: &Function) -> u64 {
        u64::from(function.memory_mb.unwrap_or(self.settings.memory_mb).max(1)) << 20
    }

    fn event_object(
        &self,
        call: &Call,
        version: &VersionContext,
        snap_in: &SnapInContext,
        keyrings: &[ResolvedKeyring],
        tokens: &Tokens,
    ) -> Bytes {
        let head = &call.head;
        let tags = snap_in.record.tags.iter();
        let event = FunctionEvent {
            payload: raw(&call.payload),
            context: EventContext {
                dev_oid: DEV_OID,
                source_id: &call.source_id,
                snap_in_id: head.snap_in.to_string(),
                snap_in_version_id: head.version.to_string(),
                service_account_id: snap_in.record.service_account.to_string(),
                user_id: head.user.map(|it| it.to_string()),
                automation_id: automation_of(&head.trigger).unwrap_or_default(),
                secrets: EventSecrets {
                    service_account_token: &tokens.service_account,
                    actor_session_token: tokens.actor.as_ref().map(|it| it.as_str()),
                },
            },
            execution_metadata: ExecutionMetadata {
                request_id: call.run.to_string(),
                function_name: &head.function,
                event_type: Some(call.event_type.as_str()).filter(|it| !it.is_empty()),
                devrev_endpoint: &match version.runtime(&head.function) {
                    Runtime::Process => unencrypted(&self.endpoint),
                    Runtime::Auto | Runtime::Quickjs | Runtime::Node | Runtime::Remote => {
                        Cow::Borrowed(self.endpoint.as_str())
                    }
                },
                operation_slug: operation_of(&head.trigger),
                previous_inputs: call.previous_inputs.as_ref(),
            },
            input_data: InputData {
                global_values: snap_in.inputs(head.version, &version.manifest),
                event_sources: snap_in
                    .sources
                    .iter()
                    .map(|(name, id)| (name.clone(), id.to_string().into()))
                    .collect(),
                keyrings: keyrings
                    .iter()
                    .map(|it| (it.name.clone(), it.secret.as_str().into()))
                    .collect(),
                resources: Resources {
                    keyrings: keyrings
                        .iter()
                        .map(|it| {
                            let shown = json!({ "id": it.id, "secret": it.secret.as_str() });
                            (it.name.clone(), shown)
                        })
                        .collect(),
                    tags: tags.map(|(name, id)| (name.clone(), json!({ "id": id }))).collect(),
                },
            },
        };
        Bytes::from(serde_json::to_vec(&event).expect("an event object is plain data"))
    }
}

/// The own URL for programs, whose connections to it never leave the host: what encrypts them would
/// find nobody who decrypts them. The port stays, because it is what the URL is known by.
fn unencrypted(endpoint: &str) -> Cow<'_, str> {
    let Some(rest) = endpoint.strip_prefix("https://") else { return Cow::Borrowed(endpoint) };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host_end = authority.rfind(']').unwrap_or_default();
    let port = if authority[host_end..].contains(':') { "" } else { ":443" };
    Cow::Owned(format!("http://{authority}{port}{path}"))
}

/// The tokens of one run.
struct Tokens {
    service_account: Zeroizing<String>,
    /// For runs that a person ordered.
    actor: Option<Zeroizing<String>>,
}

/// `context.automation_id`, which only automations have.
fn automation_of(trigger: &RunTrigger) -> Option<String> {
    match trigger {
        RunTrigger::Automation { automation, .. } => Some(automation.to_string()),
        RunTrigger::Call
        | RunTrigger::Hook { .. }
        | RunTrigger::Command { .. }
        | RunTrigger::SnapKitAction { .. }
        | RunTrigger::SnapComponent { .. }
        | RunTrigger::ConfigurationPage { .. }
        | RunTrigger::Operation { .. } => None,
    }
}

/// `execution_metadata.operation_slug`, which only operations have.
fn operation_of(trigger: &RunTrigger) -> Option<&str> {
    match trigger {
        RunTrigger::Operation { slug } => Some(slug),
        RunTrigger::Automation { .. }
        | RunTrigger::Call
        | RunTrigger::Hook { .. }
        | RunTrigger::Command { .. }
        | RunTrigger::SnapKitAction { .. }
        | RunTrigger::SnapComponent { .. }
        | RunTrigger::ConfigurationPage { .. } => None,
    }
}

/// Whether somebody waits for what the function returns (spec §2.4).
fn is_awaited(trigger: &RunTrigger) -> bool {
    match trigger {
        RunTrigger::Automation { .. } => false,
        RunTrigger::Hook { hook } => hook == "validate" || hook == "update",
        RunTrigger::Call
        | RunTrigger::Command { .. }
        | RunTrigger::SnapKitAction { .. }
        | RunTrigger::SnapComponent { .. }
        | RunTrigger::ConfigurationPage { .. }
        | RunTrigger::Operation { .. } => true,
    }
}

/// What must not appear in logs, errors and results: the token of the service account first, by
/// which requests to the daemon itself are known, then the actor's, then every secret, and every text
/// within one that is a document.
fn masked_texts(tokens: Tokens, keyrings: &[ResolvedKeyring]) -> SecretTexts {
    let Tokens { service_account, actor } = tokens;
    let mut texts: Vec<_> = std::iter::once(service_account).chain(actor).collect();
    texts.extend(with_parts(keyrings.iter().map(|it| it.secret.clone())));
    texts.into()
}

/// Secrets, and the texts within those that are JSON: functions take them apart.
pub fn with_parts(secrets: impl IntoIterator<Item = Zeroizing<String>>) -> Vec<Zeroizing<String>> {
    let mut texts = Vec::new();
    for secret in secrets {
        if secret.starts_with(['{', '['])
            && let Ok(document) = serde_json::from_str(&secret)
        {
            add_texts(document, &mut texts);
        }
        texts.push(secret);
    }
    texts
}

fn add_texts(document: Value, texts: &mut Vec<Zeroizing<String>>) {
    match document {
        Value::String(text) => texts.push(text.into()),
        Value::Array(items) => items.into_iter().for_each(|it| add_texts(it, texts)),
        Value::Object(members) => members.into_iter().for_each(|(_, it)| add_texts(it, texts)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn executed(report: RunReport, policy: RetryPolicy, started_ms: u64) -> Execution {
    let logs = report
        .logs
        .into_iter()
        .map(|it| RunLogLine {
            level: level_name(it.level).to_owned(),
            at_ms: started_ms.saturating_add(it.at_ms),
            message: it.message,
        })
        .collect();
    let requests = report
        .requests
        .into_iter()
        .map(|it| RunRequest {
            method: it.method,
            // Not before now: half a secret would not have been known as one.
            target: shortened(it.target),
            at_ms: started_ms.saturating_add(it.at_ms),
            duration_ms: it.duration_ms,
            status: it.status,
            error: it.error.map(shortened),
        })
        .collect();
    let (outcome, result) = match report.outcome {
        Outcome::Succeeded { result } => (AttemptOutcome::Succeeded, Some(result)),
        Outcome::Failed(failure) => (AttemptOutcome::Failed(run_error(failure)), None),
        Outcome::Interrupted { reason } => (AttemptOutcome::Interrupted { reason }, None),
    };
    Execution { outcome, output: RunOutput { result, logs, requests }, policy }
}

/// When the last attempt that counts began, if it asked for a refresh. `attempts` ends with the one
/// that is about to start.
fn refresh_wanted(attempts: &[Attempt]) -> Option<u64> {
    let before = attempts.split_last()?.1.iter().rev();
    for attempt in before {
        match &attempt.outcome {
            Some(AttemptOutcome::Failed(error)) => {
                return (error.retry && error.refresh).then_some(attempt.started_ms);
            }
            // What was asked for is still to be done.
            Some(AttemptOutcome::Postponed { .. } | AttemptOutcome::Interrupted { .. }) | None => {}
            Some(AttemptOutcome::Succeeded | AttemptOutcome::Cancelled { .. }) => return None,
        }
    }
    None
}

/// Why a function is not run for an event.
pub(super) fn too_large(bytes: usize) -> String {
    format!(
        "the payload of the event is {bytes} bytes of JSON: automations are run for at most \
         {MOST_PAYLOAD_BYTES}. The event is stored; have the source send less, or hand over an address \
         from which the function fetches the rest"
    )
}

/// The longest target and the longest error that are kept of a request, bytes.
const LONGEST_TARGET: usize = 500;

fn shortened(mut text: String) -> String {
    if text.len() > LONGEST_TARGET {
        let end = (0..=LONGEST_TARGET).rev().find(|it| text.is_char_boundary(*it)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}

fn run_error(failure: Failure) -> RunError {
    RunError {
        kind: kind_name(failure.kind).to_owned(),
        name: failure.name,
        message: failure.message,
        stack: failure.stack,
        retry: failure.kind == FailureKind::Thrown && failure.retry == Some(true),
        refresh: failure.refresh,
    }
}

pub(super) fn level_name(level: LogLevel) -> &'static str {
    match level {
        LogLevel::Debug => "debug",
        LogLevel::Info => "info",
        LogLevel::Warn => "warn",
        LogLevel::Error => "error",
    }
}

fn kind_name(kind: FailureKind) -> &'static str {
    match kind {
        FailureKind::Thrown => "thrown",
        FailureKind::Timeout => "timeout",
        FailureKind::Memory => "memory",
        FailureKind::StackOverflow => "stack_overflow",
        FailureKind::NotFound => "not_found",
        FailureKind::Load => "load",
        FailureKind::NeverSettled => "never_settled",
        FailureKind::BadOutput => "bad_output",
        FailureKind::OutputTooLarge => "output_too_large",
        FailureKind::Crashed => "crashed",
        FailureKind::Refused => "refused",
    }
}

fn failed(kind: &str, message: String) -> AttemptOutcome {
    AttemptOutcome::Failed(RunError { kind: kind.to_owned(), message, ..RunError::default() })
}

fn not_started(outcome: AttemptOutcome) -> Execution {
    Execution {
        outcome,
        output: RunOutput::default(),
        policy: RetryPolicy { max_retries: 0, min_interval_ms: 0 },
    }
}

type Object = serde_json::Map<String, Value>;

/// The payload as it was stored: nothing is parsed and written again.
fn raw(payload: &Bytes) -> Box<RawValue> {
    std::str::from_utf8(payload)
        .ok()
        .and_then(|it| RawValue::from_string(it.to_owned()).ok())
        .unwrap_or_default()
}

#[derive(Serialize)]
struct FunctionEvent<'a> {
    payload: Box<RawValue>,
    context: EventContext<'a>,
    execution_metadata: ExecutionMetadata<'a>,
    input_data: InputData<'a>,
}

#[derive(Serialize)]
struct EventContext<'a> {
    dev_oid: &'a str,
    source_id: &'a str,
    snap_in_id: String,
    snap_in_version_id: String,
    service_account_id: String,
    /// On whose behalf it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<String>,
    automation_id: String,
    secrets: EventSecrets<'a>,
}

#[derive(Serialize)]
struct EventSecrets<'a> {
    service_account_token: &'a str,
    /// Only for commands and snap-kit actions.
    #[serde(skip_serializing_if = "Option::is_none")]
    actor_session_token: Option<&'a str>,
}

#[derive(Serialize)]
struct ExecutionMetadata<'a> {
    request_id: String,
    function_name: &'a str,
    /// Absent when no event and no hook is the reason, as in the fixtures of the contract.
    #[serde(skip_serializing_if = "Option::is_none")]
    event_type: Option<&'a str>,
    devrev_endpoint: &'a str,
    /// Only for operations.
    #[serde(skip_serializing_if = "Option::is_none")]
    operation_slug: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    previous_inputs: Option<&'a Object>,
}

#[derive(Serialize)]
struct InputData<'a> {
    global_values: Cow<'a, Object>,
    event_sources: Object,
    keyrings: Object,
    resources: Resources,
}

#[derive(Serialize)]
struct Resources {
    keyrings: Object,
    tags: Object,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(started_ms: u64, outcome: Option<AttemptOutcome>) -> Attempt {
        Attempt { started_ms, ended_ms: outcome.as_ref().map(|_| started_ms + 900), outcome }
    }

    fn asks(refresh: bool) -> Option<AttemptOutcome> {
        let error = RunError { retry: true, refresh, ..RunError::default() };
        Some(AttemptOutcome::Failed(error))
    }

    #[test]
    fn what_was_renewed_while_an_attempt_ran_is_not_renewed_for_it() {
        let postponed = Some(AttemptOutcome::Postponed { reason: String::new() });
        let now = || attempt(5000, None);
        for (before, wanted) in [
            (vec![], None),
            (vec![attempt(1000, asks(false))], None),
            (vec![attempt(1000, asks(true))], Some(1000)),
            (vec![attempt(1000, asks(true)), attempt(3000, postponed)], Some(1000)),
            (vec![attempt(1000, asks(true)), attempt(3000, asks(false))], None),
        ] {
            let attempts = [before, vec![now()]].concat();
            assert_eq!(refresh_wanted(&attempts), wanted, "{attempts:?}");
        }
    }

    #[test]
    fn programs_reach_the_own_url_without_encryption() {
        for (endpoint, expected) in [
            ("https://m.example/base/api/v1", "http://m.example:443/base/api/v1"),
            ("https://m.example:8443/api/v1", "http://m.example:8443/api/v1"),
            ("https://[2001:db8::1]/api/v1", "http://[2001:db8::1]:443/api/v1"),
            ("https://[2001:db8::1]:8443/api/v1", "http://[2001:db8::1]:8443/api/v1"),
            ("http://127.0.0.1:8080/api/v1", "http://127.0.0.1:8080/api/v1"),
        ] {
            assert_eq!(unencrypted(endpoint), expected);
        }
    }

    #[test]
    fn times_that_nobody_can_have_meant_do_no_harm() {
        let line = crate::functions::outcome::LogLine {
            level: LogLevel::Info,
            at_ms: u64::MAX,
            message: String::new(),
        };
        let report = RunReport {
            outcome: Outcome::Interrupted { reason: String::new() },
            logs: vec![line],
            requests: Vec::new(),
            duration: Duration::ZERO,
        };
        let policy = RetryPolicy { max_retries: 0, min_interval_ms: 0 };
        assert_eq!(executed(report, policy, 5).output.logs[0].at_ms, u64::MAX);
    }
}
