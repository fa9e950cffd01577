//! Outgoing webhooks on a real daemon: their life, what endpoints get, and what they can do to one
//! another.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::time::Duration;

use mortise_tests::daemon::{Daemon, Options};
use mortise_tests::eventually;
use mortise_tests::receiver::{Receiver, Reply, Request, echo};
use mortise_tests::snap_in::signed_with;
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);

fn daemon_for(receiver: &Receiver, settings: &str) -> Daemon {
    let settings = format!("{}{settings}", receiver.allowed());
    let daemon = Daemon::start_with(Options { settings, ..Options::default() });
    daemon.call(
        "object-types.create",
        &json!({
            "name": "work", "id_prefix": "work", "title_field": "title",
            "schema": { "properties": {
                "title": { "type": "string" },
                "kind": { "type": "string" },
            } },
        }),
    );
    daemon
}

fn create(daemon: &Daemon, asked: &Value) -> (String, String) {
    let made = daemon.call("webhooks.create", asked)["webhook"].clone();
    let text = |name: &str| made[name].as_str().expect("a text").to_owned();
    (text("id"), text("secret"))
}

fn work(daemon: &Daemon, title: &str) -> String {
    let made = daemon.call("works.create", &json!({ "title": title }));
    made["work"]["id"].as_str().expect("an id").to_owned()
}

fn webhook(daemon: &Daemon, id: &str) -> Value {
    daemon.call("webhooks.get", &json!({ "id": id }))["webhook"].clone()
}

#[track_caller]
fn becomes(daemon: &Daemon, id: &str, status: &str) -> Value {
    eventually(&format!("the webhook is {status}"), PATIENCE, || {
        let seen = webhook(daemon, id);
        (seen["status"] == status).then_some(seen)
    })
}

/// By the official library.
#[track_caller]
fn verify(standard_secret: &str, request: &Request) {
    let mut headers = http::HeaderMap::new();
    for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
        headers.insert(name, request.header(name).parse().expect("a header"));
    }
    let library = standardwebhooks::Webhook::new(standard_secret).expect("a secret");
    library.verify(&request.body, &headers).expect("the signature is right");
}

fn deliveries(daemon: &Daemon, id: &str, state: &str) -> Vec<Value> {
    daemon.list_all("webhooks.deliveries", "deliveries", &json!({ "id": id, "state": state }))
}

/// An endpoint that takes events while it is well, and echoes challenges all the same.
fn ailing() -> (Receiver, Arc<AtomicU16>) {
    let status = Arc::new(AtomicU16::new(200));
    let of_events = status.clone();
    let receiver = Receiver::start(move |request| match echo(request) {
        Some(reply) => reply,
        None => Reply::status(of_events.load(Ordering::SeqCst)),
    });
    (receiver, status)
}

#[test]
fn an_endpoint_is_asked_and_then_told_as_the_seed_says() {
    let receiver = Receiver::taking();
    let daemon = daemon_for(&receiver, "");
    let asked = json!({
        "url": receiver.url("/hook?a=b"),
        "event_types": ["work_created", "work_deleted"],
        "headers": [{ "name": "X-Team", "value": "ops" }],
    });
    let answer = daemon.try_call("webhooks.create", &asked).expect("the daemon answers");
    assert_eq!(answer.status, 201, "{}", answer.text());
    let made = answer.json()["webhook"].clone();
    assert_eq!(made["status"], "unverified");
    assert_eq!(made["headers"], json!([{ "name": "x-team", "value": "********" }]));
    let id = made["id"].as_str().expect("an id");
    let secret = made["secret"].as_str().expect("a secret");
    assert!((8..=32).contains(&secret.len()), "{secret}");

    becomes(&daemon, id, "active");
    let challenge = &receiver.seen()[0];
    assert_eq!((challenge.method.as_str(), challenge.path.as_str()), ("POST", "/hook?a=b"));
    let body = challenge.json();
    assert_eq!((&body["type"], &body["webhook_id"]), (&json!("verify"), &json!(id)));
    assert!(body["timestamp"].is_string() && body["id"].is_string(), "{body}");

    let object = work(&daemon, "It broke");
    daemon.call("works.update", &json!({ "id": object, "title": "It broke again" }));
    daemon.call("works.delete", &json!({ "id": object }));
    let events = eventually("two events", PATIENCE, || {
        let events = receiver.events();
        (events.len() == 2).then_some(events)
    });
    assert_eq!(events[0]["type"], "work_created");
    assert_eq!(events[0]["work_created"]["work"]["title"], "It broke");
    assert_eq!(events[0]["work_created"]["work"]["id"], json!(object));
    assert_eq!(events[1]["work_deleted"]["work"]["title"], "It broke again");
    for request in receiver.seen() {
        let value = request.json();
        assert_eq!(value["webhook_id"], json!(id));
        assert_eq!(request.header("x-team"), "ops");
        let expected = signed_with(secret, &request.body);
        assert_eq!(request.header("x-devrev-signature"), expected);
        assert_eq!(request.header("x-mortise-signature"), expected);
        assert_eq!(value["id"], request.header("webhook-id"));
        verify(made["standard_secret"].as_str().expect("a secret"), &request);
    }
    // Reads never say it again.
    for name in ["webhooks.get", "webhooks.list"] {
        let read = daemon
            .call(name, &if name == "webhooks.get" { json!({ "id": id }) } else { json!({}) });
        assert!(!read.to_string().contains(secret) && !read.to_string().contains("ops"), "{read}");
    }
    // The daemon's own objects know it too.
    let own = daemon.call("objects.get", &json!({ "id": id, "type": "webhook" }));
    assert_eq!(own["object"]["status"], "active", "{own}");
}

#[test]
fn what_may_not_be_is_refused_with_its_field() {
    let receiver = Receiver::taking();
    let daemon = daemon_for(&receiver, "");
    let url = receiver.url("/");
    let types = json!(["work_created"]);
    let nine: Vec<_> =
        (0..9).map(|it| json!({ "name": format!("x-{it}"), "value": "v" })).collect();
    for (asked, field, what) in [
        (json!({ "url": "ftp://x/", "event_types": types }), "url", "http or https"),
        (json!({ "url": "http://u:p@x/", "event_types": types }), "url", "credentials"),
        (json!({ "url": url, "event_types": [] }), "event_types", "at least one"),
        (json!({ "url": url, "event_types": ["works"] }), "event_types", "work_created"),
        (json!({ "url": url, "event_types": types, "headers": nine }), "headers", "at most 8"),
        (
            json!({ "url": url, "event_types": types, "headers": [{ "name": "Host", "value": "x" }] }),
            "headers",
            "itself",
        ),
        (json!({ "url": url, "event_types": types, "secret": "short" }), "secret", "8 to 32"),
        (json!({ "url": url, "event_types": types, "filter": ".a |" }), "filter", ""),
        (json!({ "url": url, "event_types": types, "concurrency": 0 }), "concurrency", "1 to 64"),
    ] {
        let problem = daemon.refused("webhooks.create", &asked, 400);
        assert_eq!(problem["field"], field, "{problem}");
        assert!(problem["detail"].as_str().is_some_and(|it| it.contains(what)), "{problem}");
    }
    daemon.refused("webhooks.get", &json!({ "id": "whk_0" }), 404);
    assert_eq!(daemon.call("webhooks.list", &json!({})), json!({ "webhooks": [] }));
}

#[test]
fn failing_endpoints_are_tried_three_times_then_degraded_and_promoted_again() {
    let (receiver, status) = ailing();
    let daemon = daemon_for(&receiver, "[webhooks]\nretry_seconds = [1, 1]\n");
    let asked = json!({ "url": receiver.url("/"), "event_types": ["work_created"] });
    let (fails, _) = create(&daemon, &asked);
    let mut holding = asked.clone();
    holding["url"] = json!(receiver.url("/hold"));
    holding["on_degraded"] = json!("hold");
    let (holds, _) = create(&daemon, &holding);
    becomes(&daemon, &fails, "active");
    becomes(&daemon, &holds, "active");

    status.store(500, Ordering::SeqCst);
    work(&daemon, "first");
    for id in [&fails, &holds] {
        let seen = becomes(&daemon, id, "degraded");
        assert!(seen["reason"].as_str().is_some_and(|it| it.contains("500")), "{seen}");
        let failed = deliveries(&daemon, id, "failed");
        let event = failed[0]["id"].as_str().expect("an id");
        let shown = daemon.call("webhooks.delivery", &json!({ "id": id, "event": event }));
        assert_eq!(shown["attempts"].as_array().map(Vec::len), Some(3), "{shown}");
        assert_eq!(shown["attempts"][2]["status"], 500);
        assert_eq!(shown["body"]["work_created"]["work"]["title"], "first");
        // The same id every time.
        let path = if *id == fails { "/" } else { "/hold" };
        let of_it = |it: &Request| it.path == path && it.json()["type"] == "work_created";
        let ids: Vec<_> = receiver
            .seen()
            .iter()
            .filter(|it| of_it(it))
            .map(|it| it.json()["id"].clone())
            .collect();
        assert_eq!(ids, vec![json!(event); 3]);
    }

    status.store(200, Ordering::SeqCst);
    work(&daemon, "second");
    work(&daemon, "third");
    eventually("what is sent meanwhile fails", PATIENCE, || {
        (deliveries(&daemon, &fails, "failed").len() == 3).then_some(())
    });
    let failed = deliveries(&daemon, &fails, "failed");
    assert_eq!(failed[0]["attempts"], 0, "{failed:?}");
    assert!(failed[0]["error"].as_str().is_some_and(|it| it.contains("degraded")), "{failed:?}");
    let refused = daemon.refused(
        "webhooks.resend",
        &json!({ "id": fails, "since": "2020-01-01T00:00:00Z" }),
        409,
    );
    assert!(refused["detail"].as_str().is_some_and(|it| it.contains("degraded")), "{refused}");
    assert_eq!(deliveries(&daemon, &holds, "queued").len(), 2);

    // Nobody waits for half a minute here: somebody asks at once.
    receiver.forget();
    for id in [&fails, &holds] {
        daemon.call("webhooks.update", &json!({ "id": id, "action": "activate" }));
        becomes(&daemon, id, "active");
    }
    eventually("what was held goes out", PATIENCE, || {
        deliveries(&daemon, &holds, "queued").is_empty().then_some(())
    });
    let titles: Vec<_> =
        receiver.events().iter().map(|it| it["work_created"]["work"]["title"].clone()).collect();
    assert_eq!(titles, ["second", "third"], "in order, and to the one that holds alone");

    let sent =
        daemon.call("webhooks.resend", &json!({ "id": fails, "since": "2020-01-01T00:00:00Z" }));
    assert_eq!(sent["queued"], 3, "{sent}");
    eventually("all is sent again", PATIENCE, || {
        (deliveries(&daemon, &fails, "delivered").len() == 3).then_some(())
    });
    assert!(deliveries(&daemon, &fails, "failed").is_empty());
}

#[test]
fn gone_switches_off_a_redirect_fails_and_retry_after_is_kept() {
    let receiver = Receiver::start(|request| match (echo(request), request.path.as_str()) {
        (Some(reply), _) => reply,
        (None, "/gone") => Reply::status(410),
        (None, "/moved") => Reply::status(302).with("location", "http://127.0.0.1:1/"),
        (None, _) => Reply::status(429).with("retry-after", "2"),
    });
    let daemon = daemon_for(&receiver, "[webhooks]\nretry_seconds = []\n");
    let mut ids = Vec::new();
    for path in ["/gone", "/moved", "/busy"] {
        let asked = json!({ "url": receiver.url(path), "event_types": ["work_created"] });
        ids.push(create(&daemon, &asked).0);
        becomes(&daemon, &ids[ids.len() - 1], "active");
    }
    work(&daemon, "it");
    let gone = becomes(&daemon, &ids[0], "inactive");
    assert!(gone["reason"].as_str().is_some_and(|it| it.contains("410")), "{gone}");
    let moved = becomes(&daemon, &ids[1], "degraded");
    assert!(moved["reason"].as_str().is_some_and(|it| it.contains("302, a redirect")), "{moved}");
    let busy = eventually("it was asked twice", PATIENCE, || {
        let queued = deliveries(&daemon, &ids[2], "queued");
        (queued.first()?["attempts"].as_u64()? >= 2).then(|| queued[0].clone())
    });
    assert_eq!(webhook(&daemon, &ids[2])["status"], "active");
    let event = busy["id"].as_str().expect("an id");
    let shown = daemon.call("webhooks.delivery", &json!({ "id": ids[2], "event": event }));
    let at = |it: usize| shown["attempts"][it]["date"].as_str().expect("a date").to_owned();
    // Text of equal length sorts as the times do: at least two seconds lie between.
    assert!(at(1) > at(0), "{shown}");
    assert!(shown["attempts"][0]["error"].as_str().is_some_and(|it| it.contains("2 s")), "{shown}");
}

#[test]
fn filters_headers_secrets_and_types_are_changed_in_place() {
    let receiver = Receiver::taking();
    let daemon = daemon_for(&receiver, "");
    let (id, first) = create(
        &daemon,
        &json!({
            "url": receiver.url("/"), "event_types": ["work_created"], "secret": "12345678",
            "filter": ".work_created.work.kind == \"bug\"",
        }),
    );
    assert_eq!(first, "12345678");
    becomes(&daemon, &id, "active");
    daemon.call("works.create", &json!({ "title": "a", "kind": "wish" }));
    daemon.call("works.create", &json!({ "title": "b", "kind": "bug" }));
    eventually("the bug alone", PATIENCE, || (receiver.events().len() == 1).then_some(()));
    assert_eq!(receiver.events()[0]["work_created"]["work"]["title"], "b");

    let changed = daemon.call(
        "webhooks.update",
        &json!({
            "id": id, "filter": null, "event_types": { "add": ["work_updated"] }, "secret": "",
            "headers": { "add": [{ "name": "x-a", "value": "1" }] },
        }),
    )["webhook"]
        .clone();
    assert_eq!(changed["status"], "unverified", "{changed}");
    assert_eq!(changed["event_types"], json!(["work_created", "work_updated"]));
    let second = changed["secret"].as_str().expect("a new one").to_owned();
    becomes(&daemon, &id, "active");
    receiver.forget();
    work(&daemon, "c");
    eventually("it comes", PATIENCE, || (!receiver.events().is_empty()).then_some(()));
    let request = receiver.seen().pop().expect("it came");
    assert_eq!(request.header("x-a"), "1");
    let signed_by = |secret: &str| signed_with(secret, &request.body);
    assert_eq!(request.header("x-mortise-signature"), signed_by(&second));
    assert_eq!(request.header("x-mortise-signature-previous"), signed_by(&first));
    assert_eq!(request.header("webhook-signature").split(' ').count(), 2);

    daemon.call("webhooks.update", &json!({ "id": id, "action": "deactivate" }));
    work(&daemon, "nobody hears of it");
    daemon.call("webhooks.delete", &json!({ "id": id }));
    daemon.refused("webhooks.get", &json!({ "id": id }), 404);
}

#[test]
fn objects_are_fetched_by_the_same_way() {
    let receiver = Receiver::taking();
    let daemon = daemon_for(&receiver, "");
    let asked = json!({ "url": receiver.url("/"), "event_types": ["work_deleted"] });
    let (id, _) = create(&daemon, &asked);
    becomes(&daemon, &id, "active");
    let object = work(&daemon, "it");
    let sent = daemon.call("webhooks.fetch", &json!({ "id": id, "object": object }));
    eventually("it comes", PATIENCE, || (!receiver.events().is_empty()).then_some(()));
    let event = receiver.events()[0].clone();
    assert_eq!((&event["id"], &event["type"]), (&sent["event"], &json!("work_fetched")));
    assert_eq!(event["work_fetched"]["work"]["title"], "it");
    daemon.call("works.delete", &json!({ "id": object }));
    daemon.refused("webhooks.fetch", &json!({ "id": id, "object": object }), 404);
}

#[test]
fn endpoints_that_hang_hold_up_nobody_else() {
    const ENDPOINTS: usize = 100;
    const HANGING: usize = 10;
    const CHANGES: usize = 20;
    let hang = Arc::new(AtomicBool::new(false));
    let (hangs, is_hanging) = (hang.clone(), move |path: &str| {
        let number: usize = path.trim_start_matches('/').parse().unwrap_or(ENDPOINTS);
        number < HANGING
    });
    let receiver = Receiver::start(move |request| match echo(request) {
        Some(reply) => reply,
        None if hangs.load(Ordering::SeqCst) && is_hanging(&request.path) => Reply::Never,
        None => Reply::status(204),
    });
    let daemon = daemon_for(&receiver, "");
    let ids: Vec<String> = (0..ENDPOINTS)
        .map(|it| {
            let url = receiver.url(&format!("/{it}"));
            create(&daemon, &json!({ "url": url, "event_types": ["work_created"] })).0
        })
        .collect();
    ids.iter().for_each(|it| drop(becomes(&daemon, it, "active")));
    hang.store(true, Ordering::SeqCst);
    for it in 0..CHANGES {
        work(&daemon, &format!("number {it}"));
    }
    // Those that hang use up three attempts over three and a half minutes; long before that all others
    // have everything.
    eventually("the others have all", Duration::from_secs(30), || {
        let mut taken = BTreeMap::<String, BTreeSet<String>>::new();
        for request in receiver.seen() {
            let body = request.json();
            if body["type"] == "work_created" {
                taken.entry(request.path).or_default().insert(body["id"].to_string());
            }
        }
        let has_all =
            |it: &usize| taken.get(&format!("/{it}")).is_some_and(|it| it.len() == CHANGES);
        (HANGING..ENDPOINTS).all(|it| has_all(&it)).then_some(())
    });
    for id in &ids[..HANGING] {
        assert_eq!(deliveries(&daemon, id, "delivered").len(), 0, "it hangs");
        assert_eq!(deliveries(&daemon, id, "queued").len(), CHANGES, "nothing of it is lost");
    }
}

#[test]
fn nothing_is_lost_by_kill_dash_nine() {
    let receiver = Receiver::start(|request| match echo(request) {
        Some(reply) => reply,
        // Every fourth request has no answer: the daemon cannot know whether it was taken.
        None if request.body.len() % 4 == 0 => Reply::Close,
        None => Reply::status(200),
    });
    let daemon =
        daemon_for(&receiver, "[webhooks]\nretry_seconds = [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n");
    let asked = json!({
        "url": receiver.url("/"), "event_types": ["work_created"], "on_degraded": "hold",
    });
    let (id, _) = create(&daemon, &asked);
    becomes(&daemon, &id, "active");
    let mut made = BTreeSet::new();
    for round in 0..6 {
        for it in 0..15 {
            // Titles of many lengths, so that some bodies are answered and some are not.
            let title = format!("{round} {it} {}", "x".repeat(it % 4));
            made.insert(work(&daemon, &title));
        }
        daemon.restart();
    }
    eventually("every object was told of", PATIENCE, || {
        let told: BTreeSet<_> = receiver
            .events()
            .iter()
            .filter_map(|it| it["work_created"]["work"]["id"].as_str().map(str::to_owned))
            .collect();
        (told == made).then_some(())
    });
    // One id for each object, however often it came.
    let mut ids = BTreeMap::<String, BTreeSet<String>>::new();
    for event in receiver.events() {
        let object = event["work_created"]["work"]["id"].to_string();
        ids.entry(object).or_default().insert(event["id"].to_string());
    }
    assert!(ids.values().all(|it| it.len() == 1), "{ids:?}");
}

#[test]
fn in_order_an_object_waits_for_its_first_event() {
    let is_up = Arc::new(AtomicBool::new(true));
    let up = is_up.clone();
    let receiver = Receiver::start(move |request| match echo(request) {
        Some(reply) => reply,
        None if up.load(Ordering::SeqCst) => Reply::status(200),
        None => Reply::status(500),
    });
    let daemon = daemon_for(&receiver, "[webhooks]\nretry_seconds = [1, 1, 1, 1, 1, 1]\n");
    let asked = json!({
        "url": receiver.url("/"), "event_types": ["work_created", "work_updated"], "in_order": true,
    });
    let (id, _) = create(&daemon, &asked);
    becomes(&daemon, &id, "active");
    is_up.store(false, Ordering::SeqCst);
    let object = work(&daemon, "0");
    eventually("it was tried", PATIENCE, || (!receiver.events().is_empty()).then_some(()));
    for it in 1..10 {
        daemon.call("works.update", &json!({ "id": object, "title": it.to_string() }));
    }
    is_up.store(true, Ordering::SeqCst);
    eventually("all came", PATIENCE, || {
        (deliveries(&daemon, &id, "delivered").len() == 10).then_some(())
    });
    let titles: Vec<_> = receiver
        .events()
        .iter()
        .map(|it| {
            let kind = it["type"].as_str().expect("a type");
            it[kind]["work"]["title"].as_str().expect("a title").to_owned()
        })
        .collect();
    let later: Vec<_> = titles.iter().filter(|it| *it != "0").cloned().collect();
    assert_eq!(later, (1..10).map(|it| it.to_string()).collect::<Vec<_>>(), "{titles:?}");
    assert!(titles.iter().take_while(|it| *it == "0").count() >= 2, "{titles:?}");
}

#[test]
fn what_waits_for_its_next_attempt_keeps_nothing_else_back() {
    let receiver = Receiver::start(|request| match echo(request) {
        Some(reply) => reply,
        None if request.json().to_string().contains("\"title\":\"bad") => Reply::status(500),
        None => Reply::status(200),
    });
    let daemon = daemon_for(&receiver, "");
    let asked = json!({
        "url": receiver.url("/"), "event_types": ["work_created"], "concurrency": 64,
    });
    let (id, _) = create(&daemon, &asked);
    becomes(&daemon, &id, "active");
    // More than are read at once, all of which wait half a minute.
    for it in 0..1_100 {
        work(&daemon, &format!("bad {it}"));
    }
    work(&daemon, "good");
    eventually("the good one is there", Duration::from_secs(25), || {
        (!deliveries(&daemon, &id, "delivered").is_empty()).then_some(())
    });
    assert_eq!(webhook(&daemon, &id)["status"], "active");
}

#[test]
fn another_url_gets_no_headers_of_before_and_an_old_secret_ends_at_its_time() {
    let receiver = Receiver::taking();
    let other = Receiver::taking();
    let settings =
        format!("[egress]\nallow = [\"{}\", \"{}\"]\n", receiver.address(), other.address());
    let daemon = Daemon::start_with(Options { settings, ..Options::default() });
    let (id, _) = create(
        &daemon,
        &json!({
            "url": receiver.url("/"), "event_types": ["tag_created"],
            "headers": [{ "name": "authorization", "value": "Bearer of-the-owner" }],
        }),
    );
    becomes(&daemon, &id, "active");
    let moved = json!({ "id": id, "url": other.url("/") });
    let problem = daemon.refused("webhooks.update", &moved, 400);
    assert_eq!(problem["field"], "headers", "{problem}");
    let mut partly = moved.clone();
    partly["headers"] = json!({ "add": [{ "name": "x-more", "value": "1" }] });
    daemon.refused("webhooks.update", &partly, 400);
    assert!(other.seen().is_empty());
    let mut whole = moved;
    whole["headers"] = json!({ "remove": ["authorization"] });
    daemon.call("webhooks.update", &whole);
    becomes(&daemon, &id, "active");
    assert_eq!(other.seen()[0].header("authorization"), "");

    let renewed = json!({ "id": id, "secret": "", "overlap_seconds": 1 });
    daemon.call("webhooks.update", &renewed);
    becomes(&daemon, &id, "active");
    eventually("the overlap is over", PATIENCE, || {
        webhook(&daemon, &id).get("previous_secret_until").is_none().then_some(())
    });
    other.forget();
    let part = json!({ "name": "part", "id_prefix": "prt", "schema": { "properties": {} } });
    daemon.call("object-types.create", &part);
    let object = daemon.call("parts.create", &json!({}))["part"]["id"].clone();
    daemon.call("webhooks.fetch", &json!({ "id": id, "object": object }));
    eventually("it comes", PATIENCE, || (!other.events().is_empty()).then_some(()));
    let request = other.seen().pop().expect("it came");
    assert_eq!(request.header("x-mortise-signature-previous"), "");
    assert_eq!(request.header("webhook-signature").split(' ').count(), 1);
}
