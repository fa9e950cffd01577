//! Every service with the answers that its documentation shows: what is sent, what an answer means, and
//! that everything fits.

use mortise_plugin::{Delivery, FaultKind, Host, Message, MessageLevel, Plugin, Sink, SinkInput};
use mortise_sinks::testing::{self, NOW_MS, answer, answered, call, deliver, request};
use serde_json::{Value, json};

use crate::{Http, services};

fn open(kind: &str) -> Box<dyn Sink> {
    let entry = services::ALL.iter().find(|it| it.kind == kind).unwrap();
    let example = (entry.describe)().config_schema["examples"][0].clone();
    Http::open_sink(kind, example, Host::silent()).unwrap()
}

fn open_with(kind: &str, config: Value) -> Box<dyn Sink> {
    Http::open_sink(kind, config, Host::silent()).unwrap()
}

/// The id of a message and its thread.
type Ids = (Option<String>, Option<String>);

/// What an answer to a delivery means: the ids, or the kind of fault and the wait.
fn heard(
    kind: &str,
    status: u16,
    headers: &[(&str, &str)],
    body: &str,
) -> Result<Ids, (FaultKind, Option<u64>, String)> {
    let sink = open(kind);
    let (_, _, state) = deliver(&*sink, testing::delivery());
    match answer(&*sink, state, answered(status, headers), body.as_bytes()) {
        Ok(output) => {
            let receipt = output.receipt.expect("a delivery ends with a receipt");
            Ok((receipt.message_id, receipt.thread))
        }
        Err(fault) => Err((fault.kind, fault.retry_after_ms, fault.message)),
    }
}

fn is(kind: &str, status: u16, body: &str, expected: FaultKind) {
    let found = heard(kind, status, &[], body);
    let Err((found, _, message)) = found else { panic!("{kind} {status} {body}: {found:?}") };
    assert_eq!(found, expected, "{kind} {status} {body}: {message}");
}

fn waits(kind: &str, headers: &[(&str, &str)], body: &str, wait: Option<u64>) {
    let Err((found, retry_after_ms, message)) = heard(kind, 429, headers, body) else {
        panic!("{kind}: no fault")
    };
    assert_eq!((found, retry_after_ms), (Transient, wait), "{kind}: {message}");
}

fn ids(id: Option<&str>, thread: Option<&str>) -> Ids {
    (id.map(str::to_owned), thread.map(str::to_owned))
}

use FaultKind::{Config, Permanent, Transient};

#[test]
fn every_service_reads_what_all_services_answer() {
    for entry in &services::ALL {
        let kind = entry.kind;
        for (status, expected) in [
            (401, Config),
            (403, Config),
            (404, Config),
            (500, Transient),
            (502, Transient),
            (503, Transient),
        ] {
            is(kind, status, "<html><body>trouble</body></html>", expected);
        }
        waits(kind, &[("retry-after", "11")], "", Some(11_000));
        let sink = open(kind);
        for (transient, expected) in [(true, Transient), (false, Config)] {
            let (_, _, state) = deliver(&*sink, testing::delivery());
            let message = "no".to_owned();
            let failed = mortise_plugin::EffectOutcome::Failed { message, transient };
            assert_eq!(answer(&*sink, state, failed, b"").unwrap_err().kind, expected, "{kind}");
        }
        assert!(answer(&*sink, json!(1), answered(200, &[]), b"").is_err());
        let check = call(&*sink, SinkInput::Check {}, b"").unwrap();
        assert!(check.problems.is_empty(), "{kind}: {:?}", check.problems);
    }
}

#[test]
fn every_service_has_a_form_and_says_what_is_wrong() {
    for entry in &services::ALL {
        let described = (entry.describe)();
        assert_eq!(described.name, entry.kind);
        let properties = described.config_schema["properties"].as_object().unwrap();
        for (name, property) in properties {
            assert!(property["title"].is_string(), "{}: {name} has no title", entry.kind);
        }
        let secrets = properties.values().filter(|it| it["writeOnly"] == true).count();
        assert!(secrets >= 1, "{} has no secret", entry.kind);
        // A secret under a name that nobody knows would be shown.
        assert_eq!(described.config_schema["additionalProperties"], false, "{}", entry.kind);
        let unknown = Http::open_sink(entry.kind, json!({ "nonsense": 1 }), Host::silent());
        assert_eq!(unknown.err().unwrap().kind, Config, "{}", entry.kind);
        // Secrets are not repeated in what is told.
        let mut wrong = described.config_schema["examples"][0].clone();
        for (_, value) in wrong.as_object_mut().unwrap() {
            if value.is_string() {
                *value = json!("hunter2 \u{7f}");
            }
        }
        let Err(fault) = Http::open_sink(entry.kind, wrong, Host::silent()) else { continue };
        assert!(!format!("{fault:?}").contains("hunter2"), "{}: {fault:?}", entry.kind);
    }
}

#[test]
fn whatever_is_told_is_valid_and_bounded() {
    for entry in services::ALL.iter().filter(|it| it.kind != "http") {
        let sink = open(entry.kind);
        for text in ["", "\u{0}", "@here <!channel> **x**", "\"}\r\n", "\u{1f600}"] {
            for level in [
                MessageLevel::Info,
                MessageLevel::Success,
                MessageLevel::Warning,
                MessageLevel::Error,
            ] {
                let message = Message {
                    title: text.repeat(3_000),
                    text: text.repeat(20_000),
                    level,
                    fields: vec![(text.repeat(300), text.repeat(2_000)); 60],
                    link: Some("https://mortise.example.com/".to_owned()),
                };
                let delivery = Delivery { message, ..testing::delivery() };
                let (http, body, _) = deliver(&*sink, delivery);
                assert!(body.is_object(), "{}", entry.kind);
                assert!(http.url.is_ascii() && !http.url.contains(['\r', '\n', ' ']));
                // A whole message of Google Chat is the largest that any of them takes.
                let most = if entry.kind == "pagerduty" { 512_000 } else { 66_000 };
                let size = body.to_string().len();
                assert!(size <= most, "{}: {size}", entry.kind);
            }
        }
    }
}

fn length(value: &Value) -> usize {
    value.as_str().unwrap_or_else(|| panic!("no text but {value}")).chars().count()
}

fn long() -> Delivery {
    let message = Message {
        title: "t".repeat(9_000),
        text: "x".repeat(90_000),
        fields: vec![("n".repeat(900), "v".repeat(9_000)); 90],
        level: MessageLevel::Error,
        link: Some("https://mortise.example.com/".to_owned()),
    };
    Delivery { message, ..testing::delivery() }
}

#[test]
fn microsoft_teams() {
    let kind = "microsoft-teams";
    let (http, body, _) = deliver(&*open(kind), testing::delivery());
    assert_eq!(http.method, "POST");
    let attachment = &body["attachments"][0];
    assert_eq!(attachment["contentType"], "application/vnd.microsoft.card.adaptive");
    let blocks = attachment["content"]["body"].as_array().unwrap();
    assert_eq!(blocks.len(), 5, "title, two lines, two fields");
    assert_eq!(blocks[0]["inlines"][0]["color"], "attention");
    assert_eq!(blocks[1]["inlines"][0]["text"], "It threw: <b>no & such</b>");
    assert_eq!(attachment["content"]["actions"][0]["type"], "Action.OpenUrl");
    let (_, body, _) = deliver(&*open(kind), long());
    assert!(body.to_string().len() <= 28_000);
    assert_eq!(heard(kind, 202, &[], ""), Ok(ids(None, None)));
    assert_eq!(heard(kind, 200, &[], "1"), Ok(ids(None, None)));
    let error =
        |code: &str| json!({ "error": { "code": code, "message": "in words" } }).to_string();
    is(kind, 400, &error("WorkflowTriggerIsNotEnabled"), Config);
    is(kind, 400, &error("TriggerInputSchemaMismatch"), Config);
    is(kind, 400, &error("InvalidRequestContent"), Permanent);
    is(kind, 401, &error("DirectApiAuthorizationRequired"), Config);
    is(kind, 404, &error("WorkflowNotFound"), Config);
    is(kind, 413, "", Permanent);
    let words = |status: u16| {
        format!(
            "Webhook message delivery failed with error: Microsoft Teams endpoint returned HTTP error {status} with ContextId x"
        )
    };
    is(kind, 200, &words(429), Transient);
    is(kind, 200, &words(413), Permanent);
    is(kind, 200, &words(502), Transient);
}

#[test]
fn discord() {
    let (http, body, _) = deliver(&*open("discord"), testing::delivery());
    assert_eq!(http.url, "https://discord.com/api/webhooks/0/example?wait=true");
    assert_eq!(body["allowed_mentions"], json!({ "parse": [] }));
    assert_eq!(body["embeds"][0]["description"], "It threw: \\<b\\>no & such\\</b\\>\nsecond line");
    assert_eq!(body["thread_name"], Value::Null);
    let (_, body, _) = deliver(&*open("discord"), long());
    let embed = &body["embeds"][0];
    assert!(length(&embed["title"]) <= 256 && length(&embed["description"]) <= 4_096);
    let fields = embed["fields"].as_array().unwrap();
    let in_fields: usize = fields.iter().map(|it| length(&it["name"]) + length(&it["value"])).sum();
    assert!(length(&embed["title"]) + length(&embed["description"]) + in_fields <= 6_000);
    assert!(fields.iter().all(|it| length(&it["name"]) <= 256 && length(&it["value"]) <= 1_024));
    let posted = json!({ "id": "1234", "channel_id": "55", "content": "" }).to_string();
    assert_eq!(heard("discord", 200, &[], &posted), Ok(ids(Some("1234"), None)));
    assert_eq!(heard("discord", 204, &[], ""), Ok(ids(None, None)));
    let limited =
        json!({ "message": "You are being rate limited.", "retry_after": 0.65, "global": false });
    waits("discord", &[("retry-after", "1")], &limited.to_string(), Some(650));
    let error = |code: u32| json!({ "message": "in words", "code": code }).to_string();
    is("discord", 404, &error(10015), Config);
    is("discord", 401, &error(50027), Config);
    is("discord", 400, &error(50035), Permanent);
    is("discord", 400, &error(220_001), Config);

    let url = "https://discord.com/api/webhooks/0/example";
    let forum = open_with("discord", json!({ "webhook_url": url, "forum": true }));
    let (_, body, state) = deliver(&*forum, testing::delivery());
    assert!(length(&body["thread_name"]) <= 100);
    let done = answer(&*forum, state, answered(200, &[]), posted.as_bytes()).unwrap();
    let thread = done.receipt.unwrap().thread;
    assert_eq!(thread.as_deref(), Some("55"));
    let (http, body, _) = deliver(&*forum, Delivery { thread, ..testing::delivery() });
    assert_eq!(
        (http.url, &body["thread_name"]),
        (format!("{url}?wait=true&thread_id=55"), &Value::Null)
    );
}

#[test]
fn mattermost() {
    let (http, body, _) = deliver(&*open("mattermost"), testing::delivery());
    assert_eq!(http.url, "https://chat.example.com/api/v4/posts");
    assert_eq!((&body["root_id"], &body["pending_post_id"]), (&json!(""), &json!("dlv_01hq")));
    let (_, body, _) = deliver(&*open("mattermost"), long());
    assert!(length(&body["message"]) <= 16_383);
    let created = json!({ "id": "p1", "channel_id": "c", "root_id": "" }).to_string();
    assert_eq!(heard("mattermost", 201, &[], &created), Ok(ids(Some("p1"), Some("p1"))));
    let second = Delivery { thread: Some("p0".to_owned()), ..testing::delivery() };
    let sink = open("mattermost");
    let (_, body, state) = deliver(&*sink, second);
    assert_eq!(body["root_id"], "p0");
    let done = answer(&*sink, state, answered(201, &[]), created.as_bytes()).unwrap();
    assert_eq!(done.receipt.unwrap().thread.as_deref(), Some("p0"));
    let error =
        |id: &str| json!({ "id": id, "message": "in words", "status_code": 400 }).to_string();
    is("mattermost", 400, &error("api.post.create_post.root_id.app_error"), Permanent);
    is("mattermost", 401, &error("api.context.session_expired.app_error"), Config);
    is("mattermost", 400, &error("api.post.create_post.can_not_post_to_deleted.error"), Config);
    waits("mattermost", &[("x-ratelimit-reset", "3")], "limit exceeded", Some(3_000));
    let mention = Message { title: "@channel @all".to_owned(), ..Message::default() };
    let (_, body, _) = deliver(&*sink, Delivery { message: mention, ..testing::delivery() });
    assert!(!body["message"].as_str().unwrap().contains("@channel"));
}

#[test]
fn google_chat() {
    let kind = "google-chat";
    let (http, body, _) = deliver(&*open(kind), testing::delivery());
    assert!(
        http.url.ends_with(
            "&messageReplyOption=REPLY_MESSAGE_FALLBACK_TO_NEW_THREAD&requestId=dlv_01hq"
        )
    );
    assert_eq!(body["thread"]["threadKey"], "dlv_01hq");
    assert!(!body["text"].as_str().unwrap().contains("<b"));
    let (_, body, _) = deliver(&*open(kind), long());
    assert!(body.to_string().len() <= 32_000);
    let created =
        json!({ "name": "spaces/A/messages/B", "thread": { "name": "spaces/A/threads/C" } });
    let expected = ids(Some("spaces/A/messages/B"), Some("dlv_01hq"));
    assert_eq!(heard(kind, 200, &[], &created.to_string()), Ok(expected));
    let error = |code: u16, status: &str, message: &str| {
        json!({ "error": { "code": code, "status": status, "message": message } }).to_string()
    };
    is(kind, 400, &error(400, "INVALID_ARGUMENT", "Message cannot be empty"), Permanent);
    is(kind, 400, &error(400, "INVALID_ARGUMENT", "API key not valid."), Config);
    is(kind, 403, &error(403, "PERMISSION_DENIED", "no"), Config);
    waits(kind, &[], &error(429, "RESOURCE_EXHAUSTED", "quota"), None);
}

#[test]
fn ntfy_and_gotify() {
    let (http, body, _) = deliver(&*open("ntfy"), testing::delivery());
    assert_eq!((http.url.as_str(), &body["topic"]), ("https://ntfy.sh/", &json!("acme-ops-7f3a")));
    assert_eq!((&body["priority"], &body["tags"][0]), (&json!(5), &json!("rotating_light")));
    let (_, body, _) = deliver(&*open("ntfy"), long());
    assert!(body["message"].as_str().unwrap().len() <= 4_096);
    let sent =
        json!({ "id": "sPs71M8A2T", "time": 1, "event": "message", "topic": "x" }).to_string();
    assert_eq!(heard("ntfy", 200, &[], &sent), Ok(ids(Some("sPs71M8A2T"), None)));
    let error = |code: u32, http: u16| {
        json!({ "code": code, "http": http, "error": "in words" }).to_string()
    };
    is("ntfy", 403, &error(40301, 403), Config);
    is("ntfy", 400, &error(40009, 400), Permanent);
    waits("ntfy", &[], &error(42908, 429), None);
    is("ntfy", 507, &error(50701, 507), Transient);

    let (http, body, _) = deliver(&*open("gotify"), testing::delivery());
    assert!(http.headers.contains(&("x-gotify-key".to_owned(), "example".to_owned())));
    assert_eq!(
        (http.url.as_str(), &body["priority"]),
        ("https://gotify.example.com/message", &json!(8))
    );
    let sent = json!({ "id": 25, "appid": 5, "message": "x" }).to_string();
    assert_eq!(heard("gotify", 200, &[], &sent), Ok(ids(Some("25"), None)));
    let error =
        json!({ "error": "Unauthorized", "errorCode": 401, "errorDescription": "provide a token" });
    let Err((Config, None, message)) = heard("gotify", 401, &[], &error.to_string()) else {
        panic!()
    };
    assert!(message.contains("provide a token"));
}

#[test]
fn matrix() {
    let (http, body, _) = deliver(&*open("matrix"), testing::delivery());
    assert_eq!(http.method, "PUT");
    assert_eq!(
        http.url,
        "https://matrix.example.com/_matrix/client/v3/rooms/%21abc%3Aexample.com/send/m.room.message/dlv_01hq"
    );
    assert!(
        body["formatted_body"]
            .as_str()
            .unwrap()
            .contains("&lt;b&gt;no &amp; such&lt;/b&gt;<br>second")
    );
    assert_eq!((&body["m.mentions"], &body["m.relates_to"]), (&json!({}), &Value::Null));
    let (_, body, _) = deliver(&*open("matrix"), long());
    assert!(body.to_string().len() <= 60_000);
    let sent = json!({ "event_id": "$a" }).to_string();
    assert_eq!(heard("matrix", 200, &[], &sent), Ok(ids(Some("$a"), Some("$a"))));
    is("matrix", 200, "{}", Config);
    let sink = open("matrix");
    let (_, body, _) =
        deliver(&*sink, Delivery { thread: Some("$a".to_owned()), ..testing::delivery() });
    assert_eq!(
        (&body["m.relates_to"]["rel_type"], &body["m.relates_to"]["event_id"]),
        (&json!("m.thread"), &json!("$a"))
    );
    let error = |code: &str| json!({ "errcode": code, "error": "in words" }).to_string();
    is("matrix", 401, &error("M_UNKNOWN_TOKEN"), Config);
    is("matrix", 403, &error("M_FORBIDDEN"), Config);
    is("matrix", 413, &error("M_TOO_LARGE"), Permanent);
    let limited =
        json!({ "errcode": "M_LIMIT_EXCEEDED", "error": "x", "retry_after_ms": 2_000 }).to_string();
    waits("matrix", &[], &limited, Some(2_000));
}

#[test]
fn pagerduty_and_opsgenie() {
    let (http, body, _) = deliver(&*open("pagerduty"), testing::delivery());
    assert_eq!(http.url, "https://events.pagerduty.com/v2/enqueue");
    assert_eq!(
        (&body["event_action"], &body["dedup_key"]),
        (&json!("trigger"), &json!("dlv_01hq"))
    );
    assert_eq!(body["payload"]["severity"], "error");
    let (_, body, _) = deliver(&*open("pagerduty"), long());
    assert!(length(&body["payload"]["summary"]) <= 1_024);
    let taken =
        json!({ "status": "success", "message": "Event processed", "dedup_key": "dlv_01hq" });
    let expected = ids(Some("dlv_01hq"), Some("dlv_01hq"));
    assert_eq!(heard("pagerduty", 202, &[], &taken.to_string()), Ok(expected));
    let invalid = |error: &str| {
        json!({ "status": "invalid event", "message": "Event object is invalid", "errors": [error] }).to_string()
    };
    is(
        "pagerduty",
        400,
        &invalid("Length of 'routing_key' is incorrect (should be 32 characters)"),
        Config,
    );
    is("pagerduty", 400, &invalid("'payload.summary' is missing or blank"), Permanent);
    waits("pagerduty", &[], "", None);

    let (http, body, _) = deliver(&*open("opsgenie"), testing::delivery());
    assert!(http.headers.iter().any(|it| it.1.starts_with("GenieKey ")));
    assert_eq!((&body["alias"], &body["priority"]), (&json!("dlv_01hq"), &json!("P2")));
    let (_, body, _) = deliver(&*open("opsgenie"), long());
    assert!(length(&body["message"]) <= 130 && length(&body["description"]) <= 15_000);
    let taken = json!({ "result": "Request will be processed", "took": 0.1, "requestId": "r1" });
    assert_eq!(
        heard("opsgenie", 202, &[], &taken.to_string()),
        Ok(ids(Some("r1"), Some("dlv_01hq")))
    );
    let error =
        |message: &str| json!({ "message": message, "took": 0.0, "requestId": "r" }).to_string();
    is("opsgenie", 402, &error("plan"), Config);
    is("opsgenie", 422, &error("Key format is not valid!"), Config);
    is("opsgenie", 422, &error("Request body is not processable"), Permanent);
    waits("opsgenie", &[("x-ratelimit-period-in-sec", "60")], &error("slow"), Some(60_000));

    for (kind, end) in
        [("pagerduty", "/v2/enqueue"), ("opsgenie", "/v2/alerts/w1/close?identifierType=alias")]
    {
        let mut good = testing::delivery();
        good.message.level = MessageLevel::Success;
        good.thread = Some("w1".to_owned());
        let (http, body, _) = deliver(&*open(kind), good);
        assert!(http.url.ends_with(end), "{}", http.url);
        assert!(kind == "opsgenie" || body["event_action"] == "resolve");
    }
}

#[test]
fn telegram_and_pushover() {
    let (http, body, _) = deliver(&*open("telegram"), testing::delivery());
    assert_eq!(http.url, "https://api.telegram.org/bot123456:example/sendMessage");
    assert_eq!((&body["chat_id"], &body["parse_mode"]), (&json!("-1001234567890"), &Value::Null));
    let (_, body, _) = deliver(&*open("telegram"), long());
    assert!(length(&body["text"]) <= 4_096);
    let sent = json!({ "ok": true, "result": { "message_id": 77, "chat": {} } }).to_string();
    assert_eq!(heard("telegram", 200, &[], &sent), Ok(ids(Some("77"), Some("77"))));
    is("telegram", 200, "<html>", Config);
    let error = |code: u16, text: &str, more: Value| {
        json!({ "ok": false, "error_code": code, "description": text, "parameters": more })
            .to_string()
    };
    is("telegram", 401, &error(401, "Unauthorized", json!({})), Config);
    is(
        "telegram",
        403,
        &error(403, "Forbidden: bot was kicked from the group chat", json!({})),
        Config,
    );
    is("telegram", 400, &error(400, "Bad Request: chat not found", json!({})), Config);
    is("telegram", 400, &error(400, "Bad Request: message text is empty", json!({})), Permanent);
    let moved =
        error(400, "Bad Request: group chat was upgraded", json!({ "migrate_to_chat_id": -1_005 }));
    let Err((Config, _, message)) = heard("telegram", 400, &[], &moved) else { panic!() };
    assert!(message.contains("-1005"));
    waits(
        "telegram",
        &[],
        &error(429, "Too Many Requests", json!({ "retry_after": 14 })),
        Some(14_000),
    );

    let (http, body, _) = deliver(&*open("pushover"), testing::delivery());
    assert_eq!(http.url, "https://api.pushover.net/1/messages.json");
    assert_eq!((&body["priority"], &body["timestamp"]), (&json!(1), &json!(NOW_MS / 1_000)));
    let (_, body, _) = deliver(&*open("pushover"), long());
    assert!(length(&body["title"]) <= 250 && length(&body["message"]) <= 1_024);
    let sent = json!({ "status": 1, "request": "647d2300" }).to_string();
    assert_eq!(heard("pushover", 200, &[], &sent), Ok(ids(Some("647d2300"), None)));
    let wrong = json!({ "user": "invalid", "errors": ["user identifier is invalid"], "status": 0 })
        .to_string();
    is("pushover", 400, &wrong, Config);
    is(
        "pushover",
        400,
        &json!({ "errors": ["message cannot be blank"], "status": 0 }).to_string(),
        Permanent,
    );
    let Err((Transient, Some(5_000), _)) = heard("pushover", 500, &[], "") else { panic!() };
    let reset = (NOW_MS / 1_000 + 60).to_string();
    waits("pushover", &[("x-limit-app-reset", &reset)], "", Some(60_000));
}

#[test]
fn tests_wake_nobody_if_they_can() {
    for (kind, method, end, body) in [
        ("discord", "GET", "/webhooks/0/example", json!({ "name": "ops" })),
        ("mattermost", "GET", "/members/me", json!({})),
        ("matrix", "GET", "/state/m.room.create", json!({})),
        ("pagerduty", "POST", "/v2/enqueue", json!({ "status": "success" })),
        ("opsgenie", "POST", "/mortise-test/close?identifierType=alias", json!({})),
        ("telegram", "GET", "/getChat?chat_id=-1001234567890", json!({ "ok": true, "result": {} })),
        ("pushover", "POST", "/1/users/validate.json", json!({ "status": 1 })),
    ] {
        let sink = open(kind);
        let (http, asked, state) = request(call(&*sink, SinkInput::Test {}, b"").unwrap());
        assert_eq!(http.method, method, "{kind}");
        assert!(http.url.ends_with(end), "{kind}: {}", http.url);
        assert!(kind != "pagerduty" || asked["event_action"] == "resolve");
        let done = answer(&*sink, state.clone(), answered(200, &[]), body.to_string().as_bytes());
        let done = done.unwrap();
        assert!(done.receipt.is_none() && done.effect.is_none() && done.log.len() == 1, "{kind}");
        let refused = answer(&*sink, state, answered(401, &[]), b"{}").unwrap_err();
        assert_eq!(refused.kind, Config, "{kind}");
    }
    for kind in ["microsoft-teams", "google-chat", "ntfy", "gotify"] {
        let sink = open(kind);
        let (_, body, state) = request(call(&*sink, SinkInput::Test {}, b"").unwrap());
        assert!(body.to_string().contains("Mortise can reach you here"), "{kind}");
        assert!(answer(&*sink, state, answered(200, &[]), b"{}").unwrap().receipt.is_none());
    }
}
