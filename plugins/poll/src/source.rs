//! The source: a wake-up in, a request out; its response in; events, the next wake-up and what is
//! remembered out.
//!
//! What was remembered travels with the request and comes back with the response, so that nothing is
//! kept here. A poll that failed is an answer too: it counts the failures and says when the next try
//! is. Only what a whole response led to changes what is remembered of items.

use mortise_jq::Program;
use mortise_plugin::{
    Act, Effect, EffectOutcome, Event, Fault, HttpEffect, LogLevel, LogLine, Payload, Problem,
    Source, SourceCall, SourceInput, SourceOutput, Tick,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::backoff::{Failure, shown, wait_ms};
use crate::charset::{self, Form};
use crate::config::{First, Format};
use crate::json::Reading;
use crate::memory::{Item, Memory, fingerprint, long_hash};
use crate::template::{Request, is_header_value};
use crate::{feed, json};

/// What a request may take: less than the daemon's own limit, so that its end is for us to judge.
const TIMEOUT_MS: u64 = 8_000;
/// A larger response is not read.
const LARGEST: usize = 4 << 20;
/// A larger text is no payload.
const LARGEST_TEXT: usize = 200 << 10;
/// When the next poll is, if this one had more than it could take or the server has.
const SOON_MS: u64 = 1_000;
/// What is longer is not remembered.
const LONGEST_VALIDATOR: usize = 1_000;

/// One configured source.
#[derive(Debug)]
pub(crate) struct Poller {
    pub(crate) request: Request,
    /// Tells apart what is polled: what is remembered of something else is not used.
    pub(crate) setup: String,
    pub(crate) every_ms: u64,
    pub(crate) jitter_ms: u64,
    pub(crate) format: Format,
    pub(crate) program: Program,
    pub(crate) cursor_first: String,
    pub(crate) event_type: String,
    pub(crate) first: First,
    /// New items of one poll.
    pub(crate) most: usize,
    /// What `check` answers.
    pub(crate) warnings: Vec<Problem>,
}

/// What travels with a request.
#[derive(Serialize, Deserialize)]
struct Asked {
    memory: Memory,
}

impl Source for Poller {
    fn call(&self, call: SourceCall, body: &[u8]) -> Result<SourceOutput, Fault> {
        match call.input {
            SourceInput::Check {} => {
                Ok(SourceOutput { problems: self.warnings.clone(), ..SourceOutput::default() })
            }
            SourceInput::Tick(tick) => Ok(self.tick(tick, call.now_ms)),
            SourceInput::Response { state, outcome } => {
                let Ok(Asked { memory }) = serde_json::from_value(state) else {
                    return Err(Fault::permanent("the state of the request came back changed"));
                };
                Ok(self.answered(memory, &outcome, body, call.now_ms))
            }
            SourceInput::Published { event_type } => self.published(&event_type, body),
            SourceInput::Http(_)
            | SourceInput::Mail(_)
            | SourceInput::Object(_)
            | SourceInput::Poll(_) => {
                Err(Fault::unsupported("it takes wake-ups and published events only"))
            }
        }
    }
}

impl Poller {
    fn tick(&self, tick: Tick, now: u64) -> SourceOutput {
        // It may be of an older version of this crate.
        let kept = tick.cursor.and_then(|it| serde_json::from_value::<Memory>(it).ok());
        let kept = kept.filter(|it| it.setup == self.setup);
        let mut memory = kept.unwrap_or_else(|| Memory::of(&self.setup));
        let cursor = memory.cursor.as_deref().unwrap_or(&self.cursor_first);
        let request = self.request.with_cursor(cursor);
        let request_hash = hash(&request);
        if let Some(next) = self.not_yet(&memory, &request_hash, now) {
            return SourceOutput { next_tick_ms: Some(next), ..SourceOutput::default() };
        }
        memory.request = request_hash;
        memory.asked_ms = now;
        if let Some((name, _)) = request.headers.iter().find(|it| !is_header_value(&it.1)) {
            let message = format!(
                "the header `{name}` would be no line of ASCII, by its secret or `{{{{cursor}}}}`"
            );
            return self.failed(memory, Failure::new(message), now);
        }
        let mut headers = request.headers;
        let validators = [("if-none-match", &memory.etag), ("if-modified-since", &memory.modified)];
        for (name, value) in validators {
            headers.extend(value.iter().map(|it| (name.to_owned(), it.clone())));
        }
        let bodies: Vec<Vec<u8>> = request.body.into_iter().map(String::into_bytes).collect();
        let http = HttpEffect {
            method: request.method,
            url: request.url,
            headers,
            body: (!bodies.is_empty()).then_some(0),
        };
        let effect =
            Effect { state: json!(Asked { memory }), timeout_ms: TIMEOUT_MS, act: Act::Http(http) };
        SourceOutput { effect: Some(effect), bodies, ..SourceOutput::default() }
    }

    /// When it is due, if it is not yet: it is woken when it is opened, too.
    fn not_yet(&self, memory: &Memory, request: &str, now: u64) -> Option<u64> {
        let is_set_back = now < memory.asked_ms;
        if is_set_back || now >= memory.next_ms {
            return None;
        }
        if memory.failures > 0 {
            // Who changed the request wants to know whether it works now.
            return (memory.request == request).then_some(memory.next_ms);
        }
        // The interval may have become shorter.
        let latest = memory.asked_ms + self.every_ms + self.jitter_ms;
        Some(memory.next_ms.min(latest)).filter(|it| now < *it)
    }

    fn answered(
        &self,
        mut memory: Memory,
        outcome: &EffectOutcome,
        body: &[u8],
        now: u64,
    ) -> SourceOutput {
        let (status, headers) = match outcome {
            EffectOutcome::Http { status, headers } => (*status, headers),
            EffectOutcome::Smtp(_) | EffectOutcome::Exec { .. } => {
                let message = "the answer is none to a request";
                return self.failed(memory, Failure::new(message), now);
            }
            EffectOutcome::Failed { message, transient: true } => {
                return self.failed(memory, Failure::passing(message.as_str()), now);
            }
            EffectOutcome::Failed { message, transient: false } => {
                return self.failed(memory, Failure::new(message.as_str()), now);
            }
        };
        let header = |name: &str| {
            headers.iter().find(|it| it.0.eq_ignore_ascii_case(name)).map(|it| it.1.as_str())
        };
        if status == 304 {
            return self.goes_on(memory, SourceOutput::default(), now);
        }
        if !(200..300).contains(&status) {
            let failure = Failure::of_status(status, header("retry-after"), now);
            return self.failed(memory, failure, now);
        }
        let content_type = header("content-type").unwrap_or_default();
        let mut output = SourceOutput::default();
        match self.taken(&mut memory, body, content_type, &mut output) {
            Ok(Rest::Nothing) => {
                let validator = |name| {
                    header(name)
                        .filter(|it| it.len() <= LONGEST_VALIDATOR && is_header_value(it))
                        .map(str::to_owned)
                };
                memory.etag = validator("etag");
                memory.modified = validator("last-modified");
                self.goes_on(memory, output, now)
            }
            Ok(Rest::Soon) => {
                // What is left is in a response that has to come whole once more.
                (memory.etag, memory.modified) = (None, None);
                self.went_well(memory, output, now + SOON_MS.min(self.every_ms))
            }
            Err(message) => {
                let kind = content_type.split(';').next().unwrap_or_default().trim();
                let kind = if is_media_type(kind) { kind } else { "unknown" };
                let message =
                    format!("the response cannot be used (content type {kind}): {message}");
                self.failed(memory, Failure::new(message), now)
            }
        }
    }

    /// Takes a response in. An error leaves the memory as it was.
    fn taken(
        &self,
        memory: &mut Memory,
        body: &[u8],
        content_type: &str,
        output: &mut SourceOutput,
    ) -> Result<Rest, String> {
        if body.len() > LARGEST {
            let size = body.len();
            return Err(format!("it has {size} bytes; at most {LARGEST} are read, ask for less"));
        }
        let text = charset::decode(body, content_type);
        let form = match self.format {
            Format::Auto => charset::form(&text, content_type)?,
            Format::Json => Form::Json,
            Format::Rss | Format::Atom => Form::Feed,
            Format::Text => Form::Text,
        };
        let reading = match form {
            Form::Json => json::read(&self.program, &text)?,
            Form::Feed => feed::read(&text)?,
            Form::Text => return self.text(memory, text, output),
        };
        self.items(memory, reading, output)
    }

    fn items(
        &self,
        memory: &mut Memory,
        reading: Reading,
        output: &mut SourceOutput,
    ) -> Result<Rest, String> {
        let Reading { items, without_id, cursor, more } = reading;
        let mut say = |level, message| output.log.push(LogLine { level, message });
        if without_id > 0 {
            let message = format!(
                "{without_id} items have no id and are told apart by all that they hold; see `id_jq`"
            );
            say(LogLevel::Warn, message);
        }
        let is_skipped = !memory.is_begun && self.first == First::Skip;
        let most = if is_skipped { usize::MAX } else { self.most };
        let news = memory.news(items, most);
        if is_skipped {
            let count = news.items.len();
            let message = format!("{count} items were there at first and are only remembered");
            say(LogLevel::Info, message);
        }
        if news.left > 0 {
            let left = news.left;
            say(LogLevel::Info, format!("{left} more new items are for the next poll, at once"));
        }
        if !is_skipped {
            output.events.extend(news.items.into_iter().map(|it| self.event(it)));
        }
        if news.left > 0 {
            memory.is_begun = true;
            return Ok(Rest::Soon);
        }
        let is_moved = cursor.is_some() && cursor != memory.cursor;
        let goes_on = more && is_moved;
        memory.cursor = cursor.or(memory.cursor.take());
        // Until there is no more, what is there is what was there at first.
        memory.is_begun |= !goes_on || self.first == First::Emit;
        Ok(if goes_on { Rest::Soon } else { Rest::Nothing })
    }

    fn text(
        &self,
        memory: &mut Memory,
        text: String,
        output: &mut SourceOutput,
    ) -> Result<Rest, String> {
        if text.len() > LARGEST_TEXT {
            let size = text.len();
            return Err(format!("the text has {size} bytes; at most {LARGEST_TEXT} are an event"));
        }
        let is_other = memory.is_other_text(&text);
        if is_other && (memory.is_begun || self.first == First::Emit) {
            // The same text may come again later.
            let id = format!("{} {text}", memory.asked_ms);
            output.events.push(self.event(Item { id, payload: json!({ "text": text }) }));
        }
        memory.is_begun = true;
        Ok(Rest::Nothing)
    }

    fn event(&self, item: Item) -> Event {
        Event {
            event_type: self.event_type.clone(),
            payload: Payload::Json(item.payload),
            dedup_key: Some(format!("poll:{}", long_hash(&item.id))),
            sync_id: None,
        }
    }

    /// A poll that took all that there was.
    fn goes_on(&self, memory: Memory, output: SourceOutput, now: u64) -> SourceOutput {
        let jitter = jitter(&self.setup, memory.asked_ms, self.jitter_ms);
        let next_ms = memory.asked_ms.saturating_add(self.every_ms).saturating_add(jitter);
        self.went_well(memory, output, next_ms.max(now + 1))
    }

    /// A poll that went well, with what came of it.
    fn went_well(
        &self,
        mut memory: Memory,
        mut output: SourceOutput,
        next_ms: u64,
    ) -> SourceOutput {
        if memory.failures > 0 {
            let polls = if memory.failures == 1 { "poll" } else { "polls" };
            let message = format!("it works again, after {} failed {polls}", memory.failures);
            output.log.insert(0, LogLine { level: LogLevel::Info, message });
        }
        output.next_tick_ms = Some(next_ms);
        memory.failures = 0;
        memory.next_ms = next_ms;
        output.cursor = Some(json!(memory));
        output
    }

    /// A poll that came to nothing: nothing of what is remembered of items changes.
    fn failed(&self, mut memory: Memory, failure: Failure, now: u64) -> SourceOutput {
        let Failure { level, message, retry_after_ms } = failure;
        memory.failures = memory.failures.saturating_add(1);
        memory.next_ms = now + wait_ms(self.every_ms, memory.failures, retry_after_ms);
        let times = match memory.failures {
            1 => String::new(),
            times => format!(" ({times} times in a row)"),
        };
        let next = shown(memory.next_ms);
        let message = format!("the poll failed{times}: {message}; the next try is at {next}");
        SourceOutput {
            log: vec![LogLine { level, message }],
            next_tick_ms: Some(memory.next_ms),
            cursor: Some(json!(memory)),
            ..SourceOutput::default()
        }
    }

    /// Somebody publishes by hand.
    fn published(&self, event_type: &str, body: &[u8]) -> Result<SourceOutput, Fault> {
        if event_type != self.event_type {
            let own = &self.event_type;
            let message = format!("this source publishes `{own}` only, not `{event_type}`");
            return Err(Fault::permanent(message));
        }
        if let Err(error) = serde_json::from_slice::<Value>(body) {
            return Err(Fault::permanent(format!("the payload is no JSON: {error}")));
        }
        let event = Event {
            event_type: self.event_type.clone(),
            payload: Payload::Input,
            dedup_key: None,
            sync_id: None,
        };
        Ok(SourceOutput { events: vec![event], ..SourceOutput::default() })
    }
}

/// What a poll has not taken yet.
enum Rest {
    Nothing,
    /// It is asked again at once.
    Soon,
}

/// Two bytes: enough to see a change, too few to guess a secret from.
fn hash(request: &Request) -> String {
    let headers = request.headers.iter().flat_map(|(name, value)| [name.as_str(), value]);
    let body = request.body.as_deref().unwrap_or_default();
    fingerprint([request.method.as_str(), &request.url, body].into_iter().chain(headers), 2)
}

fn jitter(setup: &str, asked_ms: u64, most_ms: u64) -> u64 {
    let hash = fingerprint([setup, &asked_ms.to_string()], 7);
    u64::from_str_radix(&hash, 16).unwrap_or_default() % (most_ms + 1)
}

/// Whether a text of a server may be shown.
fn is_media_type(text: &str) -> bool {
    let is_part = |it: &str| {
        !it.is_empty()
            && it.len() <= 60
            && it.bytes().all(|it| it.is_ascii_alphanumeric() || b"-+.".contains(&it))
    };
    text.split_once('/').is_some_and(|(kind, part)| is_part(kind) && is_part(part))
}

#[cfg(test)]
#[path = "source_tests.rs"]
mod tests;
