//! Whole lives of sources: every wake-up and every response, with servers that behave and others.

use mortise_plugin::{Host, Plugin};
use proptest::prelude::*;

use super::*;
use crate::{KIND, Poll};

/// 2024-03-01T00:00:00Z.
const START: u64 = 1_709_251_200_000;

/// A source, and what is kept of it.
struct Life {
    source: Box<dyn Source>,
    cursor: Option<Value>,
    due: u64,
    now: u64,
}

/// What a poll came to.
#[derive(Debug, Default, PartialEq)]
struct Polled {
    payloads: Vec<Value>,
    keys: Vec<String>,
    log: Vec<String>,
    wait_s: u64,
}

fn open(config: &Value) -> Box<dyn Source> {
    Poll::open_source(KIND, config.clone(), Host::silent()).unwrap()
}

impl Life {
    fn new(config: Value) -> Life {
        let mut config = config;
        if config["url"].is_null() {
            config["url"] = json!("https://a.example/");
        }
        Life { source: open(&config), cursor: None, due: START, now: START }
    }

    /// What is asked when it is due.
    fn ask(&mut self) -> (HttpEffect, Effect, Vec<Vec<u8>>) {
        self.now = self.now.max(self.due);
        let output = self.tick();
        let effect = output.effect.expect("it asks");
        let Act::Http(http) = effect.act.clone() else { panic!("{effect:?}") };
        (http, effect, output.bodies)
    }

    fn tick(&mut self) -> SourceOutput {
        let tick = Tick { due_ms: self.due, last_ms: None, cursor: self.cursor.clone() };
        self.source.call(SourceCall::new(self.now, 2_000, SourceInput::Tick(tick)), b"").unwrap()
    }

    fn hear(&mut self, effect: Effect, outcome: EffectOutcome, body: &[u8]) -> Polled {
        self.now += 50;
        let input = SourceInput::Response { state: effect.state, outcome };
        let output = self.source.call(SourceCall::new(self.now, 2_000, input), body).unwrap();
        self.keep(output)
    }

    fn keep(&mut self, output: SourceOutput) -> Polled {
        assert!(output.effect.is_none());
        self.cursor = output.cursor.or(self.cursor.take());
        self.due = output.next_tick_ms.expect("there is always a next time");
        let mut polled = Polled {
            log: output.log.into_iter().map(|it| it.message).collect(),
            wait_s: (self.due + 50 - self.now) / 1_000,
            ..Polled::default()
        };
        for event in output.events {
            let Payload::Json(payload) = event.payload else { panic!("a body") };
            polled.payloads.push(payload);
            polled.keys.push(event.dedup_key.unwrap());
        }
        polled
    }

    fn poll(&mut self, status: u16, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Polled {
        let (_, effect, _) = self.ask();
        let headers = headers.iter().map(|(key, it)| ((*key).to_owned(), (*it).to_owned()));
        self.hear(effect, EffectOutcome::Http { status, headers: headers.collect() }, body.as_ref())
    }

    fn get(&mut self, body: &Value) -> Polled {
        self.poll(200, &[("content-type", "application/json")], body.to_string())
    }
}

fn list(ids: impl IntoIterator<Item = u64>) -> Value {
    ids.into_iter().map(|it| json!({ "id": it })).collect()
}

fn ids(polled: &Polled) -> Vec<u64> {
    polled.payloads.iter().map(|it| it["id"].as_u64().unwrap()).collect()
}

#[test]
fn what_is_new_is_emitted_once() {
    let mut life = Life::new(json!({}));
    let first = life.get(&list([1, 2]));
    assert!(first.payloads.is_empty());
    assert_eq!(first.log, ["2 items were there at first and are only remembered"]);
    assert_eq!(first.wait_s, 300);
    let second = life.get(&list([1, 2, 3, 4]));
    assert_eq!(ids(&second), [3, 4]);
    assert_ne!(second.keys[0], second.keys[1]);
    assert!(second.log.is_empty());
    assert!(life.get(&list([2, 3, 4])).payloads.is_empty());
}

#[test]
fn what_is_there_at_first_can_be_emitted() {
    let mut life = Life::new(json!({ "first": "emit", "event_type": "custom:x", "max_items": 2 }));
    let first = life.get(&list(1..=5));
    assert_eq!((ids(&first), first.wait_s), (vec![1, 2], 1));
    assert_eq!(first.log, ["3 more new items are for the next poll, at once"]);
    assert_eq!(ids(&life.get(&list(1..=5))), [3, 4]);
    let last = life.get(&list(1..=5));
    assert_eq!((ids(&last), last.wait_s), (vec![5], 300));
}

#[test]
fn validators_are_sent_and_304_is_nothing_new() {
    let mut life = Life::new(json!({ "headers": { "X-Key": "secret" } }));
    let validators = [("etag", "\"v1\""), ("last-modified", "Fri, 01 Mar 2024 00:00:00 GMT")];
    life.poll(200, &validators, "[]");
    let (asked, effect, _) = life.ask();
    let header = |name: &str| {
        asked.headers.iter().find(|it| it.0 == name).map(|it| it.1.as_str()).unwrap_or_default()
    };
    assert_eq!(header("if-none-match"), "\"v1\"");
    assert_eq!(header("if-modified-since"), "Fri, 01 Mar 2024 00:00:00 GMT");
    assert_eq!((header("x-key"), asked.method.as_str()), ("secret", "GET"));
    let polled = life.hear(effect, EffectOutcome::Http { status: 304, headers: vec![] }, b"");
    assert_eq!(polled, Polled { wait_s: 300, ..Polled::default() });
    assert!(life.ask().0.headers.iter().any(|it| it.0 == "if-none-match"), "they stay");
    // What is left over has to come whole.
    let mut life = Life::new(json!({ "first": "emit", "max_items": 1 }));
    life.poll(200, &validators, "[1, 2]");
    assert!(!life.ask().0.headers.iter().any(|it| it.0 == "if-none-match"));
    life.poll(200, &[("etag", "a\nb")], "[1, 2]");
    assert!(!life.ask().0.headers.iter().any(|it| it.0 == "if-none-match"), "no header value");
}

#[test]
fn cursors_lead_through_pages() {
    let mut life = Life::new(json!({
        "url": "https://a.example/?after={{cursor}}", "method": "POST", "body": "{{cursor}}",
        "items_jq": ".items", "cursor_jq": ".next", "cursor_first": "0", "more_jq": ".more",
        "first": "emit",
    }));
    let page = |ids, next, more| json!({ "items": list(ids), "next": next, "more": more });
    let (asked, effect, bodies) = life.ask();
    assert_eq!((asked.url.as_str(), &bodies[0][..]), ("https://a.example/?after=0", &b"0"[..]));
    let ok = EffectOutcome::Http { status: 200, headers: vec![] };
    let polled = life.hear(effect, ok, page(vec![1, 2], json!("p 2"), true).to_string().as_bytes());
    assert_eq!((ids(&polled), polled.wait_s), (vec![1, 2], 1));
    assert_eq!(life.ask().0.url, "https://a.example/?after=p%202");
    let polled = life.get(&page(vec![3], json!(7), false));
    assert_eq!((ids(&polled), polled.wait_s), (vec![3], 300));
    assert_eq!(life.ask().0.url, "https://a.example/?after=7");
    // A server that always has more is asked at its pace only while its cursor moves.
    assert_eq!(life.get(&page(vec![4], json!(7), true)).wait_s, 300);
    assert_eq!(life.get(&page(vec![], json!(null), false)).wait_s, 300);
    assert_eq!(life.ask().0.url, "https://a.example/?after=7");
}

#[test]
fn all_pages_that_are_there_at_first_are_skipped() {
    let mut life = Life::new(json!({
        "items_jq": ".items", "cursor_jq": ".next", "more_jq": ".more",
        "headers": { "x-after": "{{cursor}}" },
    }));
    let page = |ids, next, more| json!({ "items": list(ids), "next": next, "more": more });
    for number in 1..4 {
        assert!(life.get(&page(vec![number], number, number < 3)).payloads.is_empty());
    }
    assert_eq!(ids(&life.get(&page(vec![4], 4, true))), [4]);
}

#[test]
fn failures_back_off_and_are_told() {
    let mut life = Life::new(json!({ "every_seconds": 600 }));
    life.get(&list([1]));
    let failed = life.poll(500, &[("retry-after", "1")], "oops, a secret");
    assert_eq!(failed.wait_s, 600);
    assert_eq!(
        failed.log,
        ["the poll failed: the server answered 500: it is in trouble itself; the next try is at \
          2024-03-01T00:20:00Z"]
    );
    let (_, effect, _) = life.ask();
    let message = "a.example: no answer within 8000 ms".to_owned();
    let failed = life.hear(effect, EffectOutcome::Failed { message, transient: true }, b"");
    assert_eq!(failed.wait_s, 1_200);
    assert!(failed.log[0].starts_with("the poll failed (2 times in a row): a.example: no answer"));
    let failed = life.poll(429, &[("Retry-After", "7200")], "");
    assert_eq!(failed.wait_s, 7_200);
    assert_eq!(life.poll(404, &[], "").wait_s, 3_600);
    let again = life.get(&list([1, 2]));
    assert_eq!(again.log, ["it works again, after 4 failed polls"]);
    assert_eq!((ids(&again), again.wait_s), (vec![2], 600));
}

#[test]
fn responses_that_cannot_be_used_are_told_and_change_nothing() {
    let mut life = Life::new(json!({}));
    life.poll(200, &[("etag", "\"good\"")], "[1]");
    let before = life.cursor.clone().unwrap();
    for (kind, body, says) in [
        ("application/json", "{".to_owned(), "(content type application/json): it is no JSON"),
        ("text/html", "<!doctype html><p>secret".to_owned(), "it is a web page"),
        ("secret secret/x", "<a>secret</a>".to_owned(), "(content type unknown): it is no feed"),
        ("", " ".repeat(LARGEST + 1), "ask for less"),
        ("text/plain", "x".repeat(LARGEST_TEXT + 1), "the text has"),
        ("application/json", format!("[{}0]", "0,".repeat(json::MOST_ITEMS)), "items; at most"),
        ("application/json", "[".repeat(500), "it is no JSON: recursion limit"),
        ("application/json", String::new(), "it is no JSON"),
    ] {
        let polled = life.poll(200, &[("content-type", kind), ("etag", "\"bad\"")], body);
        assert!(polled.payloads.is_empty());
        assert!(polled.log[0].contains(says), "{says}: {:?}", polled.log);
        assert!(!polled.log[0].contains("secret"), "{:?}", polled.log);
    }
    let mut after = life.cursor.clone().unwrap();
    for changed in ["failures", "next_ms", "asked_ms"] {
        after[changed] = before[changed].clone();
    }
    assert_eq!(after, before);
    assert_eq!(life.poll(200, &[], "[1, 2]").payloads, [json!(2)]);
}

#[test]
fn a_text_is_an_event_when_it_has_changed() {
    let mut life = Life::new(json!({ "format": "text" }));
    let mut seen = Vec::new();
    for text in ["up", "up", "down", "up"] {
        let polled = life.poll(200, &[("content-type", "text/html")], text);
        seen.extend(polled.payloads.into_iter().zip(polled.keys));
    }
    let texts: Vec<&Value> = seen.iter().map(|it| &it.0).collect();
    assert_eq!(texts, [&json!({ "text": "down" }), &json!({ "text": "up" })]);
    assert_ne!(seen[0].1, seen[1].1);
}

#[test]
fn feeds_and_charsets() {
    let mut life = Life::new(json!({ "first": "emit" }));
    let feed = b"<rss version='2.0'><channel><title>t</title><item><guid>g</guid>\
                 <title>\xe4</title></item></channel></rss>";
    let polled = life.poll(200, &[("content-type", "application/rss+xml; charset=latin1")], feed);
    assert_eq!(polled.payloads[0]["title"], "ä");
    assert_eq!(polled.payloads[0]["feed"]["title"], "t");
}

#[test]
fn it_is_not_asked_before_its_time() {
    let mut life = Life::new(json!({}));
    life.get(&list([1]));
    let due = life.due;
    // Opened again.
    life.now += 1_000;
    let output = life.tick();
    assert_eq!((output.effect, output.next_tick_ms, output.cursor), (None, Some(due), None));
    // The clock was set back.
    life.now = START - 1;
    assert!(life.tick().effect.is_some());
    // A shorter interval counts at once.
    life.now = START + 61_000;
    life.source = open(&json!({ "url": "https://a.example/", "every_seconds": 60 }));
    assert!(life.tick().effect.is_some());
    life.now = START + 59_000;
    assert_eq!(life.tick().next_tick_ms, Some(START + 60_000));
}

#[test]
fn a_changed_request_is_tried_at_once_after_a_failure() {
    let mut life = Life::new(json!({ "headers": { "x": "old" } }));
    life.poll(401, &[], "");
    life.now += 1;
    assert!(life.tick().effect.is_none());
    let renewed = json!({ "url": "https://a.example/", "headers": { "x": "new" } });
    life.source = open(&renewed);
    assert!(life.tick().effect.is_some());
}

#[test]
fn another_setup_begins_anew() {
    let mut life = Life::new(json!({}));
    life.poll(200, &[("etag", "\"1\"")], "[1]");
    life.source = open(&json!({ "url": "https://b.example/" }));
    let (asked, effect, _) = life.ask();
    assert!(!asked.headers.iter().any(|it| it.0 == "if-none-match"));
    let ok = EffectOutcome::Http { status: 200, headers: vec![] };
    assert!(life.hear(effect, ok, b"[5]").payloads.is_empty());
    life.cursor = Some(json!("nonsense"));
    life.ask();
}

#[test]
fn a_secret_that_is_no_header_is_told() {
    let mut life = Life::new(json!({ "headers": { "x-key": "{{cursor}}" }, "cursor_jq": ".c" }));
    life.get(&json!({ "id": 1, "c": "a\nb" }));
    life.now = life.due;
    let output = life.tick();
    let polled = life.keep(output);
    assert!(polled.log[0].contains("the header `x-key` would be no line"), "{:?}", polled.log);
}

#[test]
fn publishing_by_hand() {
    let life = Life::new(json!({}));
    let publish = |event_type: &str, body: &[u8]| {
        let input = SourceInput::Published { event_type: event_type.to_owned() };
        life.source.call(SourceCall::new(START, 1, input), body)
    };
    assert_eq!(publish("poll.item", b"{}").unwrap().events.len(), 1);
    assert!(publish("poll.item", b"{").is_err());
    assert!(publish("custom:x", b"{}").is_err());
}

/// What a server does at one poll.
#[derive(Clone, Debug)]
enum Answer {
    /// It has so many new items, and shows them all.
    Items(u64),
    NotModified,
    Status(u16),
    Broken,
    Nothing,
    /// The daemon was killed before the answer was stored.
    Lost,
}

fn answer() -> impl Strategy<Value = Answer> {
    prop_oneof![
        4 => (0..9u64).prop_map(Answer::Items),
        1 => Just(Answer::NotModified),
        1 => prop::sample::select(vec![401, 404, 429, 500, 503]).prop_map(Answer::Status),
        1 => Just(Answer::Broken),
        1 => Just(Answer::Nothing),
        1 => Just(Answer::Lost),
    ]
}

proptest! {
    /// Whatever a server does in between: every item is emitted once, in order, and none is lost.
    #[test]
    fn every_item_comes_once(
        answers in prop::collection::vec(answer(), 1..40),
        most in 1..6u64,
        emit in any::<bool>(),
    ) {
        let first = if emit { "emit" } else { "skip" };
        let mut life = Life::new(json!({ "first": first, "max_items": most }));
        let (mut last, mut has_begun, mut skipped) = (0, emit, 0);
        let mut emitted = Vec::new();
        let (mut etag, mut taken_etag) = (0, None);
        for answer in answers {
            let page = |last: u64| list(1..=last);
            let polled = match answer {
                Answer::Items(more) => {
                    last += more;
                    etag += 1;
                    taken_etag = Some(etag);
                    let polled = life.poll(200, &[("etag", &format!("\"{etag}\""))], page(last).to_string());
                    if !has_begun {
                        (has_begun, skipped) = (true, last);
                    }
                    polled
                }
                Answer::NotModified => {
                    let (asked, effect, _) = life.ask();
                    let sent = asked.headers.iter().any(|it| it.0 == "if-none-match");
                    prop_assert!(!sent || taken_etag.is_some());
                    if sent {
                        life.hear(effect, EffectOutcome::Http { status: 304, headers: vec![] }, b"")
                    } else {
                        let body = page(last).to_string();
                        let polled = life.hear(effect, EffectOutcome::Http { status: 200, headers: vec![] }, body.as_bytes());
                        if !has_begun {
                            (has_begun, skipped) = (true, last);
                        }
                        polled
                    }
                }
                Answer::Status(status) => life.poll(status, &[("retry-after", "5")], "[99999]"),
                Answer::Broken => life.poll(200, &[("etag", "\"broken\"")], "[{\"id\": 99999}"),
                Answer::Nothing => {
                    let (_, effect, _) = life.ask();
                    let message = "no answer".to_owned();
                    life.hear(effect, EffectOutcome::Failed { message, transient: true }, b"")
                }
                Answer::Lost => {
                    let before = (life.cursor.clone(), life.due);
                    life.get(&page(last));
                    (life.cursor, life.due) = before;
                    continue;
                }
            };
            prop_assert!(polled.payloads.len() as u64 <= most);
            emitted.extend(ids(&polled));
        }
        // It is asked until there is nothing left.
        for _ in 0..200 {
            let polled = life.get(&list(1..=last));
            if !has_begun {
                (has_begun, skipped) = (true, last);
            }
            let is_done = polled.wait_s > 1;
            emitted.extend(ids(&polled));
            if is_done {
                break;
            }
        }
        let expected: Vec<u64> = (skipped + 1..=last).collect();
        prop_assert_eq!(emitted, expected);
    }

    /// Whatever a server answers, the source goes on.
    #[test]
    fn any_answer_is_taken(
        status in 0..1_000u16,
        headers in prop::collection::vec(("etag|retry-after|content-type|last-modified", ".{0,20}"), 0..4),
        body in prop::collection::vec(any::<u8>(), 0..60),
    ) {
        let mut life = Life::new(json!({}));
        for _ in 0..2 {
            let (_, effect, _) = life.ask();
            let outcome = EffectOutcome::Http { status, headers: headers.clone() };
            let polled = life.hear(effect, outcome, &body);
            prop_assert!(polled.wait_s >= 300);
        }
    }
}
