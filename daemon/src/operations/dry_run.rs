//! Dry runs of event sources: an input goes through verification, policy or filter, and what it would
//! have come to is shown, with the reasons.
//!
//! Owns what is called, with which config, and what is said about it. Must never store or change
//! anything: no event, counter, cursor or wake-up; an effect that a plugin asks for is shown and not
//! performed. Secrets of the source are masked in everything but [`Tried::taken`], which is for
//! making the sender's answer of.

use std::time::Duration;

use bytes::Bytes;
use mortise_plugin::{
    Act, HttpRequest, LogLevel, LogLine, Role, SourceCall, SourceIds, SourceInput, SourceOutput,
    Tick,
};
use serde_json::Value;
use tokio::time::Instant;

use crate::actors::{Services, filled};
use crate::engine::contexts::{SnapInContext, VersionContext};
use crate::engine::intake::{
    CALL_DEADLINE, IntakeError, Taken, dedup_by, failed, idempotency_key, planned, taken,
};
use crate::engine::keyrings::Masks;
use crate::engine::recording::mask_url;
use crate::engine::source_log::OpenState;
use crate::model::event::{DEV_OID, MOST_PAYLOAD_BYTES};
use crate::model::id::{AutomationId, EventId, SourceId};
use crate::model::manifest::Manifest;
use crate::model::recording::RequestOutcome;
use crate::model::snap_in::SourceStatus;
use crate::plugins::{CallError, LogSink, SourceInstance};
use crate::routing::Route;
use crate::store::{NewEvent, SourceRecord, StoreError};

/// What a dry run may take, with opening the source and filling in its secrets.
const DEADLINE: Duration = Duration::from_secs(20);

/// What is tried.
#[derive(Clone, Debug)]
pub enum Trial {
    /// A request to the trigger URL.
    Http(HttpRequest),
    /// Something that somebody publishes.
    Published {
        /// The event type.
        event_type: String,
    },
    /// A wake-up.
    Tick {
        /// When it was due; now, when absent.
        due_ms: Option<u64>,
        /// The cursor instead of the one that is kept.
        cursor: Option<Value>,
    },
}

/// What came of it.
pub struct Tried {
    /// In a word.
    pub outcome: RequestOutcome,
    /// Why there is no event, in a word that counters know.
    pub reason: Option<String>,
    /// Why, for people.
    pub message: String,
    /// What the plugin was tried with: its open instance, or one that was opened for this and why.
    pub temporary: Option<String>,
    /// What the plugin was told the time is.
    pub now_ms: u64,
    /// For making the sender's answer of. Secrets are not masked here.
    pub taken: Result<Taken, IntakeError>,
    /// The events that would be stored.
    pub events: Vec<TriedEvent>,
    /// The request that the plugin wants made first: method, URL and the names of the headers.
    pub would_request: Option<(String, String, Vec<String>)>,
    /// When it wants to be woken next.
    pub next_tick_ms: Option<u64>,
    /// The cursor that it wants kept.
    pub cursor: Option<Value>,
    /// What the plugin said.
    pub log: Vec<LogLine>,
    /// How long the plugin took.
    pub took: Duration,
    /// Why something else would happen in earnest.
    pub notes: Vec<String>,
    /// The secrets of the source.
    pub masks: Masks,
}

/// An event that would be stored.
pub struct TriedEvent {
    /// Its type.
    pub event_type: String,
    /// Its payload.
    pub payload: Value,
    /// How long that is.
    pub payload_bytes: usize,
    /// Its dedup key.
    pub dedup_key: Option<String>,
    /// Its ordering key.
    pub sync_id: Option<String>,
    /// Whether an event with its dedup key is there already, or comes before it.
    pub is_duplicate: bool,
    /// That event, when it is stored.
    pub first: Option<EventId>,
    /// The automations that would run: id, name and function.
    pub automations: Vec<(AutomationId, String, String)>,
    /// What the automations listen for, when none listens for this.
    pub unheard: Option<String>,
}

/// Why there is nothing to try.
#[derive(Debug, thiserror::Error)]
pub enum NotTried {
    /// Its snap-in or version is gone.
    #[error("the snap-in of this event source is gone")]
    Gone,
    /// The present version does not have the source.
    #[error(
        "the present version of the snap-in has no event source `{0}`: it is kept for when one comes \
         that has"
    )]
    Detached(String),
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A source, and what is to be called.
struct Subject<'a> {
    services: &'a Services,
    id: SourceId,
    record: SourceRecord,
    snap_in: std::sync::Arc<SnapInContext>,
    version: std::sync::Arc<VersionContext>,
    most_queued: usize,
}

/// An instance of the plugin, open already or opened for this.
struct Opened {
    instance: SourceInstance,
    masks: Masks,
    temporary: Option<String>,
}

/// Tries an input at a source. Only what is wrong with the question is an error.
pub async fn dry_run(
    services: &Services,
    (id, record): (SourceId, SourceRecord),
    trial: Trial,
    body: Bytes,
    now_ms: Option<u64>,
    most_queued: usize,
) -> Result<Tried, NotTried> {
    let snap_in = services.contexts.snap_in(record.snap_in)?.ok_or(NotTried::Gone)?;
    let version = services.contexts.version(snap_in.record.version)?.ok_or(NotTried::Gone)?;
    if version.manifest.event_source(&record.name).is_none() {
        return Err(NotTried::Detached(record.name));
    }
    let subject = Subject { services, id, record, snap_in, version, most_queued };
    subject.dry_run(trial, body, now_ms.unwrap_or_else(|| services.clock.now_ms())).await
}

impl Subject<'_> {
    async fn dry_run(&self, trial: Trial, body: Bytes, now_ms: u64) -> Result<Tried, NotTried> {
        let notes = self.in_earnest(&trial);
        let key = match &trial {
            Trial::Http(request) => idempotency_key(request),
            Trial::Published { .. } | Trial::Tick { .. } => None,
        };
        let is_tick = matches!(trial, Trial::Tick { .. });
        let input = self.input(trial, now_ms)?;
        // Masks that no instance is needed for, in case that there is none.
        let literals = Masks::default().and_literals_of(&self.config());
        let said = LinesSaid::default();
        let work = async {
            let opened = self.open(is_tick, &said).await?;
            let call = SourceCall {
                now_ms,
                deadline_ms: u64::try_from(CALL_DEADLINE.as_millis()).unwrap_or(u64::MAX),
                source: SourceIds {
                    event_source_id: Some(self.id.to_string()),
                    dev_oid: Some(DEV_OID.to_owned()),
                },
                input,
            };
            let started = Instant::now();
            let answer = opened.instance.call(call, body.clone()).await;
            Ok((opened, answer, started.elapsed()))
        };
        let limited = tokio::time::timeout(DEADLINE, work).await;
        let (opened, answer, took) = match limited {
            Ok(Ok(done)) => done,
            Ok(Err(problem)) => return Ok(self.not_opened(problem, literals, said, now_ms, notes)),
            Err(_) => {
                let problem = format!("it was not done within {} s: try again", DEADLINE.as_secs());
                return Ok(self.not_opened(problem, literals, said, now_ms, notes));
            }
        };
        let mut tried = Tried {
            outcome: RequestOutcome::Failed,
            reason: None,
            message: String::new(),
            temporary: opened.temporary,
            now_ms,
            taken: Err(IntakeError::NoSuchSource),
            events: Vec::new(),
            would_request: None,
            next_tick_ms: None,
            cursor: None,
            log: said.into_lines(),
            took,
            notes,
            masks: opened.masks,
        };
        match answer {
            Ok(output) => self.explain(&mut tried, output, &body, key.as_deref())?,
            Err(error) => tried.fail(error),
        }
        for line in &mut tried.log {
            line.message = tried.masks.mask(&line.message);
        }
        Ok(tried)
    }

    /// The live instance, unless it must not be called now. One wake-up at a time is what plugins are
    /// promised, and the live one may be having its own.
    async fn open(&self, is_tick: bool, said: &LinesSaid) -> Result<Opened, String> {
        let services = self.services;
        let why = match services.routes.by_id(self.id) {
            Some(open) if !is_tick => {
                let (instance, masks) = (open.instance.clone(), open.masks.clone());
                return Ok(Opened { instance, masks, temporary: None });
            }
            Some(_) => "the source may be woken just now".to_owned(),
            None => "the source is not open".to_owned(),
        };
        let record = &self.record;
        let (config, _, masks) = filled(services, record.snap_in, record.user, self.config())
            .await
            .map_err(|error| format!("the source cannot be opened: {error}"))?;
        let name = format!("a dry run of {} of {}", record.name, record.snap_in);
        let instance = services
            .plugins
            .open_source(&record.kind, &config, &name, said.sink())
            .await
            .map_err(|error| masks.mask(&format!("the source cannot be opened: {error}")))?;
        Ok(Opened { instance, masks, temporary: Some(why) })
    }

    fn config(&self) -> Value {
        let declared = self.version.manifest.event_source(&self.record.name);
        declared.map(|it| it.config.clone()).unwrap_or_default()
    }

    fn input(&self, trial: Trial, now_ms: u64) -> Result<SourceInput, StoreError> {
        Ok(match trial {
            Trial::Http(request) => SourceInput::Http(request),
            Trial::Published { event_type } => SourceInput::Published { event_type },
            Trial::Tick { due_ms, cursor } => {
                let kept = self.services.store.read(|it| it.timer(self.id))?.unwrap_or_default();
                SourceInput::Tick(Tick {
                    due_ms: due_ms.unwrap_or(now_ms),
                    last_ms: kept.last_ms,
                    cursor: cursor.or(kept.cursor),
                })
            }
        })
    }

    fn route(&self) -> Route {
        Route::new(
            self.id,
            &self.record.name,
            self.record.snap_in,
            self.snap_in.record.version,
            0,
            &self.version.manifest,
            &self.snap_in.record.automations,
        )
    }

    fn explain(
        &self,
        tried: &mut Tried,
        mut output: SourceOutput,
        body: &Bytes,
        key: Option<&str>,
    ) -> Result<(), StoreError> {
        tried.log.append(&mut output.log);
        if let Some(Act::Http(http)) = output.effect.take().map(|it| it.act) {
            let url = mask_url(&http.url, &tried.masks);
            tried.message = format!(
                "the source would request {} {url} first, and decide by the answer; a dry run \
                 requests nothing",
                http.method
            );
            let names = http.headers.into_iter().map(|(name, _)| name).collect();
            tried.would_request = Some((http.method, url, names));
            tried.outcome = RequestOutcome::Answered;
            tried.taken = Ok(taken(self.id, Vec::new(), SourceOutput::default()));
            return Ok(());
        }
        let route = self.route();
        let mut events = match planned(&route, &output, body) {
            Ok(events) => events,
            Err(problem) => {
                tried.message = tried.masks.mask(&problem);
                tried.taken = Err(IntakeError::Broken(problem));
                return Ok(());
            }
        };
        if let Some(key) = key {
            dedup_by(key, &mut events);
        }
        let status = output.response.as_ref().map(|it| it.status);
        tried.outcome = RequestOutcome::of(!events.is_empty(), output.refused.is_some(), status);
        tried.reason = output.refused.as_ref().map(|it| it.reason.clone());
        tried.message = match (&output.refused, tried.outcome) {
            (Some(refused), RequestOutcome::Refused) => refused.message.clone(),
            (_, outcome) => said_of(outcome, events.len(), status, warning(&tried.log)),
        };
        tried.message = tried.masks.mask(&tried.message);
        tried.next_tick_ms = output.next_tick_ms;
        tried.cursor = output.cursor.as_ref().map(|it| tried.masks.mask_json(it));
        let mut ids = Vec::new();
        for event in events {
            let shown = self.shown(event, &route, tried)?;
            ids.push((shown.first.unwrap_or(EventId(0)), shown.is_duplicate));
            tried.events.push(shown);
        }
        tried.taken = Ok(taken(self.id, ids, output));
        Ok(())
    }

    fn shown(
        &self,
        event: NewEvent,
        route: &Route,
        tried: &Tried,
    ) -> Result<TriedEvent, StoreError> {
        let mask = |it: &String| tried.masks.mask(it);
        let now_ms = self.services.clock.now_ms();
        let first = match &event.dedup_key {
            Some(key) => self
                .services
                .store
                .read(|it| it.first_event(self.id, key, route.dedup_window_ms, now_ms))?,
            None => None,
        };
        let dedup_key = event.dedup_key.as_ref().map(mask);
        let came_before =
            dedup_key.is_some() && tried.events.iter().any(|it| it.dedup_key == dedup_key);
        let payload = serde_json::from_slice(&event.payload).unwrap_or_default();
        let manifest = &self.version.manifest;
        Ok(TriedEvent {
            unheard: unheard(&event, route),
            payload: tried.masks.mask_json(&payload),
            payload_bytes: event.payload.len(),
            dedup_key,
            sync_id: event.sync_id.as_ref().map(mask),
            is_duplicate: first.is_some() || came_before,
            first,
            automations: event
                .runs
                .iter()
                .map(|run| {
                    let name = name_of(manifest, &self.snap_in.record.automations, run.automation);
                    (run.automation, name, run.function.to_string())
                })
                .collect(),
            event_type: tried.masks.mask(&event.event_type),
        })
    }

    fn not_opened(
        &self,
        problem: String,
        masks: Masks,
        said: LinesSaid,
        now_ms: u64,
        notes: Vec<String>,
    ) -> Tried {
        let message = masks.mask(&problem);
        Tried {
            outcome: RequestOutcome::Failed,
            reason: None,
            temporary: None,
            now_ms,
            taken: Err(IntakeError::NoSuchSource),
            events: Vec::new(),
            would_request: None,
            next_tick_ms: None,
            cursor: None,
            log: said.into_lines(),
            took: Duration::ZERO,
            notes,
            message,
            masks,
        }
    }

    /// Why something else would happen if this came in earnest.
    fn in_earnest(&self, trial: &Trial) -> Vec<String> {
        let services = self.services;
        let state = services.source_logs.open_state(self.id).borrow().clone();
        let is_live = services.routes.by_id(self.id).is_some();
        let known = services.plugins.find(Role::Source, &self.record.kind);
        let takes = known.is_none_or(|it| match trial {
            Trial::Http(_) => it.descriptor.takes_http,
            Trial::Tick { .. } => it.descriptor.takes_ticks,
            Trial::Published { .. } => true,
        });
        let waiting = services.dispatcher.depth(self.record.snap_in);
        let waiting = waiting.load(std::sync::atomic::Ordering::Relaxed);
        let snap_in = &self.snap_in.record;
        let closed = match (self.record.status, snap_in.state.sources_open()) {
            (SourceStatus::Paused, _) => Some("the source is paused".to_owned()),
            (SourceStatus::Blocked, _) => Some("the source is blocked".to_owned()),
            (SourceStatus::Active, false) => {
                Some(format!("the snap-in is {}", snap_in.state.name()))
            }
            (SourceStatus::Active, true) if !snap_in.sources.contains(&self.id) => {
                Some("its user has disabled the snap-in".to_owned())
            }
            (SourceStatus::Active, true) => match state {
                OpenState::Failed(problem) => Some(format!("the source is not open: {problem}")),
                OpenState::Closed | OpenState::Opening if !is_live => {
                    Some("the source is being opened".to_owned())
                }
                OpenState::Closed | OpenState::Opening | OpenState::Open => None,
            },
        };
        let is_opening = closed.as_deref() == Some("the source is being opened");
        let mut notes = Vec::new();
        if !takes {
            notes.push(format!("sources of type `{}` are not called with this", self.record.kind));
        }
        if let Some(closed) = closed {
            notes.push(format!("{closed}: {}", told(trial, if is_opening { 503 } else { 404 })));
        } else if !services.store.has_room() {
            notes.push(format!("the disk is full: {}", told(trial, 507)));
        } else if waiting >= self.most_queued {
            let full = format!("{waiting} runs of the snap-in are waiting already");
            notes.push(format!("{full}: {}", told(trial, 503)));
        }
        notes
    }
}

impl Tried {
    fn fail(&mut self, error: CallError) {
        let error = failed(error);
        self.outcome = RequestOutcome::Failed;
        self.message = self.masks.mask(&error.to_string());
        self.taken = Err(error);
    }
}

/// What happens instead.
fn told(trial: &Trial, status: u16) -> String {
    match trial {
        Trial::Http(_) => format!("a sender would get {status}"),
        Trial::Published { .. } => format!(
            "whoever publishes would get {}",
            match status {
                404 => 409,
                other => other,
            }
        ),
        Trial::Tick { .. } => "it would not be woken now".to_owned(),
    }
}

fn said_of(
    outcome: RequestOutcome,
    events: usize,
    status: Option<u16>,
    warning: Option<&str>,
) -> String {
    match outcome {
        RequestOutcome::Accepted if events == 1 => "one event would be stored".to_owned(),
        RequestOutcome::Accepted => format!("{events} events would be stored"),
        RequestOutcome::Refused | RequestOutcome::Failed => {
            let status = status.unwrap_or_default();
            let why = warning.map(|it| format!(": {it}")).unwrap_or_default();
            format!("the source answers {status} and makes no event of it{why}")
        }
        RequestOutcome::Answered => "the source answers itself, without an event".to_owned(),
    }
}

/// What the plugin complains of last.
fn warning(log: &[LogLine]) -> Option<&str> {
    let is_complaint = |it: &&LogLine| match it.level {
        LogLevel::Warn | LogLevel::Error => true,
        LogLevel::Debug | LogLevel::Info => false,
    };
    log.iter().rev().find(is_complaint).map(|it| it.message.as_str())
}

fn name_of(manifest: &Manifest, ids: &[AutomationId], id: AutomationId) -> String {
    let place = ids.iter().position(|it| *it == id);
    let found = place.and_then(|it| manifest.automations.get(it));
    found.map(|it| it.name.clone()).unwrap_or_default()
}

fn unheard(event: &NewEvent, route: &Route) -> Option<String> {
    if !event.runs.is_empty() {
        if event.payload.len() > MOST_PAYLOAD_BYTES {
            return Some(format!(
                "the payload is {} bytes of JSON: functions are called with at most \
                 {MOST_PAYLOAD_BYTES}, so nothing is run for it",
                event.payload.len()
            ));
        }
        return None;
    }
    let mut heard: Vec<&str> = route.event_types().collect();
    heard.sort_unstable();
    heard.dedup();
    Some(if heard.is_empty() {
        format!("no automation listens for `{}`, nor for anything of this source", event.event_type)
    } else {
        format!(
            "no automation listens for `{}`; they listen for {}",
            event.event_type,
            heard.join(", ")
        )
    })
}

/// What a plugin says while it is opened for a dry run, or called.
#[derive(Clone, Default)]
struct LinesSaid(std::sync::Arc<std::sync::Mutex<Vec<LogLine>>>);

impl LinesSaid {
    /// More are not kept.
    const MOST: usize = 200;

    fn sink(&self) -> LogSink {
        let lines = self.0.clone();
        std::sync::Arc::new(move |level: LogLevel, message: &str| {
            let mut lines = lines.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            if lines.len() < LinesSaid::MOST {
                lines.push(LogLine { level, message: message.to_owned() });
            }
        })
    }

    fn into_lines(self) -> Vec<LogLine> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::id::{SnapInId, VersionId};
    use crate::model::manifest::Automation;
    use crate::store::PlannedRun;

    fn event(event_type: &str, runs: usize, bytes: usize) -> NewEvent {
        let run = PlannedRun {
            automation: AutomationId(2),
            function: "f".into(),
            version: VersionId(1),
            ordered: false,
        };
        NewEvent {
            event_type: event_type.to_owned(),
            payload: vec![b'1'; bytes].into(),
            dedup_key: None,
            sync_id: None,
            runs: vec![run; runs],
            cause: None,
        }
    }

    #[test]
    fn it_is_said_what_automations_listen_for() {
        let automation = |types: &[&str]| Automation {
            name: format!("On {}", types.join(" ")),
            source: "a".to_owned(),
            event_types: types.iter().map(|it| (*it).to_owned()).collect(),
            function: "f".to_owned(),
            ..Automation::default()
        };
        let manifest = Manifest {
            automations: vec![automation(&["y", "x"]), automation(&["x"])],
            ..Manifest::default()
        };
        let ids = [AutomationId(1), AutomationId(2)];
        let route = |name: &str| {
            Route::new(SourceId(1), name, SnapInId(1), VersionId(1), 1, &manifest, &ids)
        };
        assert_eq!(
            unheard(&event("z", 0, 1), &route("a")).as_deref(),
            Some("no automation listens for `z`; they listen for x, y")
        );
        assert!(unheard(&event("z", 0, 1), &route("b")).is_some_and(|it| it.contains("anything")));
        assert_eq!(unheard(&event("x", 2, 1), &route("a")), None);
        let large = unheard(&event("x", 2, MOST_PAYLOAD_BYTES + 1), &route("a"));
        assert!(large.is_some_and(|it| it.contains("nothing is run")));
        assert_eq!(name_of(&manifest, &ids, AutomationId(2)), "On x");
    }

    #[test]
    fn it_is_said_what_would_happen_in_earnest() {
        let published = Trial::Published { event_type: "x".to_owned() };
        assert_eq!(told(&published, 404), "whoever publishes would get 409");
        let tick = Trial::Tick { due_ms: None, cursor: None };
        assert_eq!(told(&tick, 404), "it would not be woken now");
        let line = |level, text: &str| LogLine { level, message: text.to_owned() };
        let log = [line(LogLevel::Warn, "no output"), line(LogLevel::Info, "printed")];
        let refused = said_of(RequestOutcome::Refused, 0, Some(401), warning(&log));
        assert_eq!(refused, "the source answers 401 and makes no event of it: no output");
    }
}
