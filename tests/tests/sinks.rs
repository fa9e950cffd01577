//! The sinks that come with the daemon, as loaded libraries, with the effects that it performs: against local
//! servers that answer as the documentation of their services says, and programs of this host.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mortise::egress::{Egress, EgressOptions};
use mortise::functions::pool::{Fetch, Invocation, Pool, PoolOptions};
use mortise::model::http::{OutgoingRequest, OutgoingResponse};
use mortise::plugins::{
    CallError, EffectLimits, PluginHost, PluginSettings, SinkInstance, Trust, call_with_effects,
};
use mortise::run::{Commands, PluginEffects};
use mortise_plugin::{
    Delivery, Fault, FaultKind, LogLevel, Message, MessageLevel, Receipt, Role, SinkCall,
    SinkInput, SinkOutput,
};
use mortise_tests::daemon::built;
use mortise_tests::mail_server::{Encryption, MailServer, Rules};
use mortise_tests::vendor::{Reply, Vendor};
use serde_json::{Value, json};

/// Long enough for anything that works, on a busy machine too.
const AMPLE: Duration = Duration::from_secs(60);
/// 2024-03-01T00:00:00Z.
const NOW_MS: u64 = 1_709_251_200_000;

struct NoFetch;

impl Fetch for NoFetch {
    fn fetch<'a>(
        &'a self,
        _invocation: &'a Invocation,
        _request: OutgoingRequest,
    ) -> std::pin::Pin<Box<dyn Future<Output = Result<OutgoingResponse, String>> + Send + 'a>> {
        Box::pin(std::future::ready(Err("there is no network in this test".to_owned())))
    }
}

/// The daemon's side: libraries, and whoever performs their effects.
struct Bench {
    directory: tempfile::TempDir,
    host: PluginHost,
    effects: PluginEffects,
}

fn trust() -> Trust {
    Trust::RootAndUser { uid: rustix::process::getuid().as_raw() }
}

impl Bench {
    /// Lets requests out to these places on this host.
    fn new(allowed: &[String]) -> Bench {
        let directory = tempfile::tempdir().unwrap();
        let plugins = directory.path().join("plugins");
        fs::create_dir(&plugins).unwrap();
        for library in ["slack", "email", "http", "command"] {
            let file = plugins.join(format!("{library}.so"));
            fs::copy(built(&format!("lib{library}.so")), &file).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        }
        let mut settings = PluginSettings::new(vec![plugins], trust());
        settings.open_deadline = AMPLE;
        settings.load_deadline = AMPLE;
        let internal = allowed.iter().map(|it| it.parse().unwrap()).collect();
        let egress = Egress::new(EgressOptions { internal, ..EgressOptions::default() }).unwrap();
        let options = PoolOptions {
            program: built("mortise"),
            require_sandbox: false,
            ..PoolOptions::default()
        };
        let commands = directory.path().join("commands.d");
        fs::create_dir(&commands).unwrap();
        let commands = Commands {
            pool: Arc::new(Pool::new(options, Arc::new(NoFetch)).unwrap()),
            directory: Some(commands),
            trust: trust(),
            memory_bytes: 64 << 20,
        };
        let effects = PluginEffects { egress: Arc::new(egress), commands, causes: None };
        Bench { host: PluginHost::load(settings), directory, effects }
    }

    fn near(vendor: &Vendor) -> Bench {
        Bench::new(&[vendor.address().to_string()])
    }

    async fn open(&self, kind: &str, config: &Value) -> SinkInstance {
        self.host.open_sink(kind, config, "itg_1", Arc::new(|_, _| {})).await.unwrap()
    }

    async fn call(&self, sink: &SinkInstance, input: SinkInput) -> Result<SinkOutput, Fault> {
        let call = SinkCall { now_ms: NOW_MS, deadline_ms: 30_000, input };
        let limits = EffectLimits { rounds: 4, deadline: AMPLE };
        match call_with_effects(sink, call, Bytes::new(), &self.effects, limits).await {
            Ok(output) => Ok(output),
            Err(CallError::Fault(fault)) => Err(fault),
            Err(error) => panic!("{error:?}"),
        }
    }

    async fn deliver(&self, sink: &SinkInstance, delivery: Delivery) -> Result<Receipt, Fault> {
        let output = self.call(sink, SinkInput::Deliver(delivery)).await?;
        Ok(output.receipt.expect("a delivery ends with a receipt"))
    }

    async fn fault(&self, sink: &SinkInstance) -> Fault {
        self.deliver(sink, delivery()).await.unwrap_err()
    }

    /// Puts a command there.
    fn command(&self, name: &str, text: &str) {
        let file = self.directory.path().join("commands.d").join(name);
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        // Whoever runs them may be another user than this one's.
        open_up(self.directory.path());
        open_up(&self.directory.path().join("commands.d"));
    }
}

fn open_up(folder: &Path) {
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
}

fn delivery() -> Delivery {
    Delivery {
        id: "dlv_01hq".to_owned(),
        attempt: 1,
        trigger: "run.failed".to_owned(),
        message: Message {
            title: "sync failed in prod/team/sync".to_owned(),
            text: "It threw <b>no & such</b>".to_owned(),
            level: MessageLevel::Error,
            fields: vec![("Run".to_owned(), "run_01".to_owned())],
            link: Some("https://mortise.example.com/runs/run_01".to_owned()),
        },
        occurrences: vec![json!({ "run": { "id": "run_01" } })],
        count: 1,
        thread: None,
    }
}

#[tokio::test]
async fn slack_posts_threads_and_errors() {
    let good = json!({ "ok": true, "channel": "C024BE91L", "ts": "1503435956.000247" });
    let vendor = Vendor::start(Reply::json(200, &good));
    let bench = Bench::near(&vendor);
    let config = json!({
        "bot_token": "xoxb-secret", "default_channel": "C024BE91L", "api_url": vendor.url(),
    });
    let slack = bench.open("slack", &config).await;
    let receipt = bench.deliver(&slack, delivery()).await.unwrap();
    assert_eq!(receipt.message_id.as_deref(), Some("C024BE91L/1503435956.000247"));
    let asked = vendor.last();
    assert_eq!((asked.method.as_str(), asked.path.as_str()), ("POST", "/chat.postMessage"));
    assert_eq!(asked.header("authorization"), Some("Bearer xoxb-secret"));
    assert_eq!(asked.body["blocks"][1]["text"]["text"], "It threw <b>no & such</b>");
    let reply = Delivery { thread: receipt.thread, ..delivery() };
    bench.deliver(&slack, reply.clone()).await.unwrap();
    assert_eq!(vendor.last().body["thread_ts"], "1503435956.000247");

    for (answer, kind, wait) in [
        (
            Reply::json(200, &json!({ "ok": false, "error": "invalid_auth" })),
            FaultKind::Config,
            None,
        ),
        (
            Reply::json(200, &json!({ "ok": false, "error": "channel_not_found" })),
            FaultKind::Config,
            None,
        ),
        (
            Reply::json(200, &json!({ "ok": false, "error": "msg_too_long" })),
            FaultKind::Permanent,
            None,
        ),
        (
            Reply::json(200, &json!({ "ok": false, "error": "fatal_error" })),
            FaultKind::Transient,
            None,
        ),
        (
            Reply::json(429, &json!({ "ok": false, "error": "ratelimited" }))
                .with("Retry-After", "30"),
            FaultKind::Transient,
            Some(30_000),
        ),
        (Reply::page(503), FaultKind::Transient, None),
        (Reply::page(200), FaultKind::Config, None),
    ] {
        vendor.answers(answer);
        let fault = bench.fault(&slack).await;
        assert_eq!((fault.kind, fault.retry_after_ms), (kind, wait), "{fault}");
    }

    // A locked thread: the message comes all the same.
    let vendor = Vendor::answering(|asked| match asked.body["thread_ts"].as_str() {
        Some(_) => {
            Reply::json(200, &json!({ "ok": false, "error": "restricted_action_thread_locked" }))
        }
        None => Reply::json(200, &json!({ "ok": true, "channel": "C024BE91L", "ts": "9.9" })),
    });
    let bench = Bench::near(&vendor);
    let config = json!({
        "bot_token": "xoxb-secret", "default_channel": "C024BE91L", "api_url": vendor.url(),
    });
    let slack = bench.open("slack", &config).await;
    let receipt = bench.deliver(&slack, reply).await.unwrap();
    assert_eq!((vendor.asked().len(), receipt.thread.as_deref()), (2, Some("C024BE91L 9.9")));
}

#[tokio::test]
async fn slack_is_tested_without_posting() {
    let vendor = Vendor::answering(|asked| match asked.path.as_str() {
        "/auth.test" => {
            let me = json!({ "ok": true, "team": "Acme", "user": "mortise" });
            Reply::json(200, &me).with("X-OAuth-Scopes", "chat:write,channels:read")
        }
        "/conversations.info?channel=C024BE91L" => {
            let channel = json!({ "name": "ops", "is_member": true, "is_archived": false });
            Reply::json(200, &json!({ "ok": true, "channel": channel }))
        }
        _ => Reply::page(404),
    });
    let bench = Bench::near(&vendor);
    let config = json!({
        "bot_token": "xoxb-secret", "default_channel": "C024BE91L", "api_url": vendor.url(),
    });
    let slack = bench.open("slack", &config).await;
    let output = bench.call(&slack, SinkInput::Test {}).await.unwrap();
    assert!(output.log[0].message.contains("can post to ops"), "{:?}", output.log);
    let asked: Vec<String> = vendor.asked().into_iter().map(|it| it.path).collect();
    assert_eq!(asked, ["/auth.test", "/conversations.info?channel=C024BE91L"]);
}

/// A service: its type, what is configured (with `URL` for where the server is), its good answer, where
/// it is asked, and the id and thread that come of it.
struct Case {
    kind: &'static str,
    config: Value,
    good: Reply,
    asked: &'static str,
    message_id: Option<&'static str>,
    thread: Option<&'static str>,
}

fn cases() -> Vec<Case> {
    let case = |kind, config, good, asked, message_id, thread| Case {
        kind,
        config,
        good,
        asked,
        message_id,
        thread,
    };
    let ok = |body: Value| Reply::json(200, &body);
    vec![
        case(
            "microsoft-teams",
            json!({ "webhook_url": "URL/workflows/1" }),
            Reply { status: 202, headers: Vec::new(), body: String::new() },
            "POST /workflows/1",
            None,
            None,
        ),
        case(
            "discord",
            json!({ "webhook_url": "URL/api/webhooks/1/t" }),
            ok(json!({ "id": "77", "channel_id": "5" })),
            "POST /api/webhooks/1/t?wait=true",
            Some("77"),
            None,
        ),
        case(
            "mattermost",
            json!({ "server_url": "URL", "access_token": "t", "channel_id": "c1" }),
            Reply::json(201, &json!({ "id": "p1", "root_id": "" })),
            "POST /api/v4/posts",
            Some("p1"),
            Some("p1"),
        ),
        case(
            "google-chat",
            json!({ "webhook_url": "URL/v1/spaces/A/messages?key=k&token=t" }),
            ok(json!({ "name": "spaces/A/messages/B" })),
            "POST /v1/spaces/A/messages?key=k&token=t",
            Some("spaces/A/messages/B"),
            Some("dlv_01hq"),
        ),
        case(
            "ntfy",
            json!({ "server_url": "URL", "topic": "ops", "access_token": "tk_1" }),
            ok(json!({ "id": "n1", "event": "message" })),
            "POST /",
            Some("n1"),
            None,
        ),
        case(
            "gotify",
            json!({ "server_url": "URL", "app_token": "t" }),
            ok(json!({ "id": 25 })),
            "POST /message",
            Some("25"),
            None,
        ),
        case(
            "matrix",
            json!({ "homeserver_url": "URL", "access_token": "t", "room_id": "!r:example.com" }),
            ok(json!({ "event_id": "$e" })),
            "PUT /_matrix/client/v3/rooms/%21r%3Aexample.com/send/m.room.message/dlv_01hq",
            Some("$e"),
            Some("$e"),
        ),
        case(
            "pagerduty",
            json!({ "routing_key": "k", "api_url": "URL" }),
            Reply::json(202, &json!({ "status": "success", "dedup_key": "dlv_01hq" })),
            "POST /v2/enqueue",
            Some("dlv_01hq"),
            Some("dlv_01hq"),
        ),
        case(
            "opsgenie",
            json!({ "api_key": "k", "api_url": "URL" }),
            Reply::json(202, &json!({ "result": "Request will be processed", "requestId": "r1" })),
            "POST /v2/alerts",
            Some("r1"),
            Some("dlv_01hq"),
        ),
        case(
            "telegram",
            json!({ "bot_token": "1:t", "chat_id": "-100", "api_url": "URL" }),
            ok(json!({ "ok": true, "result": { "message_id": 7 } })),
            "POST /bot1:t/sendMessage",
            Some("7"),
            Some("7"),
        ),
        case(
            "pushover",
            json!({ "app_token": "a", "user_key": "u", "api_url": "URL" }),
            ok(json!({ "status": 1, "request": "q1" })),
            "POST /1/messages.json",
            Some("q1"),
            None,
        ),
        case(
            "http",
            json!({ "url": "URL/in", "bearer_token": "t", "signing_secret": "s", "message_id": "data.id" }),
            Reply::json(201, &json!({ "data": { "id": "h1" } })),
            "POST /in",
            Some("h1"),
            None,
        ),
    ]
}

#[tokio::test]
async fn every_service_is_told_and_its_trouble_is_understood() {
    for Case { kind, config, good, asked, message_id, thread } in cases() {
        let vendor = Vendor::start(good);
        let bench = Bench::near(&vendor);
        let config = config.to_string().replace("URL", &vendor.url());
        let config: Value = serde_json::from_str(&config).unwrap();
        let sink = bench.open(kind, &config).await;
        let receipt = bench.deliver(&sink, delivery()).await.unwrap();
        let expected = Receipt {
            message_id: message_id.map(str::to_owned),
            thread: thread.map(str::to_owned),
        };
        assert_eq!(receipt, expected, "{kind}");
        let last = vendor.last();
        let found = format!("{} {}", last.method, last.path);
        assert!(found.starts_with(asked), "{kind}: {found}");
        assert!(last.body.to_string().contains("sync failed in prod"), "{kind}: {}", last.body);
        for (reply, expected) in [
            (Reply::json(401, &json!({})), FaultKind::Config),
            (Reply::json(404, &json!({})), FaultKind::Config),
            (Reply::page(502), FaultKind::Transient),
            (Reply::json(429, &json!({})).with("Retry-After", "7"), FaultKind::Transient),
        ] {
            let status = reply.status;
            vendor.answers(reply);
            let fault = bench.fault(&sink).await;
            assert_eq!(fault.kind, expected, "{kind} {status}: {fault}");
            if status == 429 {
                assert_eq!(fault.retry_after_ms, Some(7_000), "{kind}");
            }
        }
        // Where the guard lets nothing out, somebody has to change something.
        let fault = Bench::new(&[]).fault(&sink).await;
        assert_eq!(fault.kind, FaultKind::Config, "{kind}: {fault}");
        assert!(fault.message.contains("loopback"), "{kind}: {fault}");
    }
}

#[tokio::test]
async fn nobody_there_is_worth_another_try() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let bench = Bench::new(&[address.to_string()]);
    let sink = bench.open("http", &json!({ "url": format!("http://{address}/") })).await;
    assert_eq!(bench.fault(&sink).await.kind, FaultKind::Transient);
}

/// A mail server, the daemon's side, and a configuration for it.
fn mail(rules: Rules) -> (MailServer, Bench, Value) {
    let encryption = match rules.encryption {
        Encryption::Implicit => "implicit",
        Encryption::Starttls => "starttls",
        Encryption::None => "none",
    };
    let login = rules.login.clone();
    let server = MailServer::start(rules);
    let bench = Bench::new(&[format!("localhost:{}", server.port())]);
    let mut config = json!({
        "host": "localhost", "port": server.port(), "encryption": encryption,
        "from": "Mortise <mortise@example.com>", "to": ["ops@example.com", "night@example.com"],
    });
    if encryption != "none" {
        config["ca_certificates"] = json!(server.certificate());
    }
    if let Some((username, password)) = login {
        config["username"] = json!(username);
        config["password"] = json!(password);
    }
    (server, bench, config)
}

fn me() -> Option<(String, String)> {
    Some(("mortise".to_owned(), "s\u{e9}cret".to_owned()))
}

#[tokio::test]
async fn mails_go_out_encrypted_and_signed_in() {
    for encryption in [Encryption::Starttls, Encryption::Implicit, Encryption::None] {
        let login = if encryption == Encryption::None { None } else { me() };
        let (server, bench, config) =
            mail(Rules { encryption, login: login.clone(), ..Rules::default() });
        let email = bench.open("email", &config).await;
        let receipt = bench.deliver(&email, delivery()).await.unwrap();
        assert_eq!(receipt.message_id.as_deref(), Some("<dlv_01hq.mortise@example.com>"));
        let second = Delivery { id: "dlv_02".to_owned(), thread: receipt.thread, ..delivery() };
        bench.deliver(&email, second).await.unwrap();
        let mails = server.mails();
        assert_eq!(mails.len(), 2, "{encryption:?}: {:?}", server.lines());
        let first = &mails[0];
        assert_eq!(first.from, "mortise@example.com");
        assert_eq!(first.to, ["ops@example.com", "night@example.com"]);
        assert_eq!(first.is_encrypted, encryption != Encryption::None);
        assert_eq!(first.user, login.map(|it| it.0));
        assert!(first.text.contains("Message-ID: <dlv_01hq.mortise@example.com>\r\n"));
        assert!(first.text.contains("It threw <b>no & such</b>"));
        assert!(mails[1].text.contains("In-Reply-To: <dlv_01hq.mortise@example.com>\r\n"));
        assert!(mails[1].text.contains("References: <dlv_01hq.mortise@example.com>\r\n"));
    }
}

#[tokio::test]
async fn a_mail_is_what_was_written_whatever_its_lines_begin_with() {
    let (server, bench, config) = mail(Rules::default());
    let email = bench.open("email", &config).await;
    let text = ".\r\n..two\r\nFrom here\r\n.\r\nQUIT\r\nlast".to_owned();
    let message = Message { text, ..delivery().message };
    bench.deliver(&email, Delivery { message, ..delivery() }).await.unwrap();
    let mails = server.mails();
    assert!(
        mails[0].text.contains(".\r\n..two\r\nFrom here\r\n.\r\nQUIT\r\nlast"),
        "{}",
        mails[0].text
    );
}

#[tokio::test]
async fn answers_of_mail_servers_are_told_apart() {
    for (start, answer, kind, part) in [
        ("GREETING", "421 4.3.2 too busy", FaultKind::Transient, "421"),
        ("GREETING", "554 5.7.1 not you", FaultKind::Permanent, "554"),
        ("AUTH", "535 5.7.8 no", FaultKind::Config, "535"),
        ("AUTH", "454 4.7.0 later", FaultKind::Transient, "454"),
        ("MAIL", "451 4.3.0 later", FaultKind::Transient, "451"),
        ("MAIL", "553 5.7.1 not your address", FaultKind::Permanent, "553"),
        ("MAIL", "530 5.7.0 sign in first", FaultKind::Config, "530"),
        ("RCPT", "550 5.1.1 nobody", FaultKind::Permanent, "550"),
        ("RCPT", "450 4.2.1 greylisted", FaultKind::Transient, "450"),
        ("RCPT TO:<night", "451 4.7.1 greylisted", FaultKind::Transient, "night@example.com (451"),
        ("DATA", "452 4.3.1 full", FaultKind::Transient, "452"),
        (".", "552 5.3.4 too large", FaultKind::Permanent, "552"),
        (".", "451 4.3.0 later", FaultKind::Transient, "451"),
    ] {
        let answers = vec![(start.to_owned(), answer.to_owned())];
        let (server, bench, config) = mail(Rules { login: me(), answers, ..Rules::default() });
        let email = bench.open("email", &config).await;
        let fault = bench.fault(&email).await;
        assert_eq!(fault.kind, kind, "{start} {answer}: {fault}");
        assert!(fault.message.contains(part), "{start} {answer}: {fault}");
        assert!(!fault.message.contains("s\u{e9}cret"), "{fault}");
        assert_eq!(server.mails().len(), 0, "{start} {answer}");
    }
}

#[tokio::test]
async fn a_wrong_password_and_no_password_are_for_whoever_configures() {
    let (_server, bench, mut config) =
        mail(Rules { encryption: Encryption::Starttls, login: me(), ..Rules::default() });
    config["password"] = json!("guess");
    let fault = bench.fault(&bench.open("email", &config).await).await;
    assert!(fault.kind == FaultKind::Config && fault.message.contains("535"), "{fault}");
    assert!(!fault.message.contains("guess"));
    let fields = config.as_object_mut().unwrap();
    fields.remove("password");
    fields.remove("username");
    let fault = bench.fault(&bench.open("email", &config).await).await;
    assert!(fault.kind == FaultKind::Config && fault.message.contains("530"), "{fault}");
}

#[tokio::test]
async fn one_recipient_too_many_keeps_nobody_from_the_mail() {
    let refuse = |answer: &str| {
        mail(Rules {
            answers: vec![("RCPT TO:<night".to_owned(), answer.to_owned())],
            ..Rules::default()
        })
    };
    let (server, bench, config) = refuse("550 5.1.1 nobody");
    let email = bench.open("email", &config).await;
    let output = bench.call(&email, SinkInput::Deliver(delivery())).await.unwrap();
    assert_eq!(server.mails()[0].to, ["ops@example.com"]);
    assert_eq!(output.log[0].level, LogLevel::Warn);
    assert!(output.log[0].message.contains("night@example.com (550"), "{:?}", output.log);
    let fault = bench.call(&email, SinkInput::Test {}).await.unwrap_err();
    assert!(fault.kind == FaultKind::Config && fault.message.contains("night@example.com"));
    assert_eq!(server.mails().len(), 1, "a test sends nothing");

    // Whoever is put off for a long time keeps the others waiting for three attempts only.
    let (server, bench, config) = refuse("451 4.7.1 greylisted");
    let email = bench.open("email", &config).await;
    assert_eq!(bench.fault(&email).await.kind, FaultKind::Transient);
    assert_eq!(server.mails().len(), 0);
    bench.deliver(&email, Delivery { attempt: 4, ..delivery() }).await.unwrap();
    assert_eq!(server.mails()[0].to, ["ops@example.com"]);
}

#[tokio::test]
async fn a_test_of_mail_stops_before_the_mail() {
    let (server, bench, config) =
        mail(Rules { encryption: Encryption::Starttls, login: me(), ..Rules::default() });
    let email = bench.open("email", &config).await;
    let output = bench.call(&email, SinkInput::Test {}).await.unwrap();
    assert!(output.log[0].message.contains("nothing was sent"));
    assert_eq!(server.mails().len(), 0);
    let lines = server.lines();
    assert!(lines.iter().any(|it| it == "RCPT TO:<night@example.com>"), "{lines:?}");
    assert!(!lines.iter().any(|it| it == "DATA"), "{lines:?}");
    assert_eq!(lines.last().map(String::as_str), Some("QUIT"));
}

#[tokio::test]
async fn nothing_is_said_where_encryption_is_not_what_was_asked_for() {
    let secret_said = |server: &MailServer| {
        server.lines().iter().any(|it| it.starts_with("AUTH") || it.starts_with("MAIL"))
    };
    let starttls =
        |rules: Rules| mail(Rules { encryption: Encryption::Starttls, login: me(), ..rules });
    // A certificate of nobody's.
    let (server, bench, mut config) = starttls(Rules::default());
    config.as_object_mut().unwrap().remove("ca_certificates");
    let fault = bench.fault(&bench.open("email", &config).await).await;
    assert!(fault.kind == FaultKind::Config && fault.message.contains("not trusted"), "{fault}");
    assert!(!secret_said(&server));
    // A certificate for another name.
    let (server, bench, config) =
        starttls(Rules { name: "other.example.com".to_owned(), ..Rules::default() });
    let fault = bench.fault(&bench.open("email", &config).await).await;
    assert!(fault.kind == FaultKind::Config && fault.message.contains("not trusted"), "{fault}");
    assert!(!secret_said(&server));
    // No STARTTLS on offer, perhaps because somebody on the way has taken it out.
    let (server, bench, mut config) = mail(Rules { login: me(), ..Rules::default() });
    config["encryption"] = json!("starttls");
    let fault = bench.fault(&bench.open("email", &config).await).await;
    assert!(fault.kind == FaultKind::Config && fault.message.contains("STARTTLS"), "{fault}");
    assert!(!secret_said(&server));
    // No TLS on this port.
    config["encryption"] = json!("implicit");
    let fault = bench.fault(&bench.open("email", &config).await).await;
    assert_eq!(fault.kind, FaultKind::Config, "{fault}");
    assert!(!secret_said(&server));
    // Something said in the clear after STARTTLS.
    let injects = Some("250 AUTH PLAIN\r\n235 welcome\r\n".to_owned());
    let (server, bench, config) = starttls(Rules { injects, ..Rules::default() });
    let sink = bench.open("email", &config).await;
    assert!(bench.deliver(&sink, delivery()).await.is_err());
    assert!(!secret_said(&server) && server.mails().is_empty());
    // Where the guard lets nothing out.
    let (server, _, config) = starttls(Rules::default());
    let bench = Bench::new(&[]);
    let fault = bench.fault(&bench.open("email", &config).await).await;
    assert!(fault.kind == FaultKind::Config && fault.message.contains("loopback"), "{fault}");
    assert!(server.lines().is_empty());
}

#[tokio::test]
async fn commands_are_handed_deliveries_and_say_how_it_went() {
    let bench = Bench::new(&[]);
    bench.command(
        "tell",
        "#!/bin/sh\n# Says what it was handed.\ninput=$(cat)\n\
         case \"$input\" in\n  *'\"id\":\"dlv_01hq\"'*'\"secret\":\"hunter2\"'*) ;;\n\
         *) echo \"not what was meant: $input\" >&2; exit 1 ;;\nesac\n\
         echo '{\"message_id\": \"m-1\", \"thread\": \"t-1\"}'\n",
    );
    let config = json!({ "program": "tell", "secret": "hunter2", "timeout_seconds": 20 });
    let tell = bench.open("command", &config).await;
    let receipt = bench.deliver(&tell, delivery()).await.unwrap();
    assert_eq!(receipt.message_id.as_deref(), Some("m-1"));
    assert_eq!(receipt.thread.as_deref(), Some("t-1"));

    for (status, kind) in
        [(75, FaultKind::Transient), (78, FaultKind::Config), (1, FaultKind::Permanent)]
    {
        let name = format!("ends-with-{status}");
        bench.command(
            &name,
            &format!("#!/bin/sh\necho 'no luck with hunter2' >&2\nexit {status}\n"),
        );
        let config = json!({ "program": name, "secret": "hunter2" });
        let fault = bench.fault(&bench.open("command", &config).await).await;
        assert_eq!(fault.kind, kind, "{fault}");
        assert!(fault.message.ends_with("no luck with ********"), "{fault}");
    }
    bench.command("silent", "#!/bin/sh\nexit 0\n");
    let silent = bench.open("command", &json!({ "program": "silent" })).await;
    assert_eq!(bench.deliver(&silent, delivery()).await.unwrap(), Receipt::default());
    bench.call(&silent, SinkInput::Test {}).await.unwrap();
}

#[tokio::test]
async fn the_example_of_a_command_is_one() {
    if !Path::new("/usr/bin/python3").exists() {
        // It is in Python, which not every host has.
        return;
    }
    let bench = Bench::new(&[]);
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../contrib/commands.d/post-form");
    bench.command("post-form", &fs::read_to_string(example).unwrap());
    let bare = bench.open("command", &json!({ "program": "post-form" })).await;
    let fault = bench.fault(&bare).await;
    assert!(
        fault.kind == FaultKind::Config && fault.message.contains("`settings` needs `url`"),
        "{fault}"
    );
    let settings = json!({ "url": "http://127.0.0.1:9/", "fields": { "text": "{title}" } });
    let config = json!({ "program": "post-form", "settings": settings });
    let set = bench.open("command", &config).await;
    bench.call(&set, SinkInput::Test {}).await.unwrap();
    // The daemon lets nothing out here (403 of its proxy), or there is no network at all.
    let fault = bench.fault(&set).await;
    assert_ne!(fault.kind, FaultKind::Permanent, "{fault}");
}

#[tokio::test]
async fn commands_are_held_in() {
    let bench = Bench::new(&[]);
    let fault = async |name: &str, text: &str, seconds: u64| {
        bench.command(name, text);
        let config = json!({ "program": name, "timeout_seconds": seconds });
        bench.fault(&bench.open("command", &config).await).await
    };
    let slow = fault("slow", "#!/bin/sh\nsleep 600\n", 2).await;
    assert_eq!(slow.kind, FaultKind::Transient, "{slow}");
    assert!(slow.message.contains("took longer than its 2 s"), "{slow}");
    let loud = fault(
        "loud",
        "#!/bin/sh\nwhile :; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done\n",
        30,
    )
    .await;
    assert_eq!(loud.kind, FaultKind::Permanent, "{loud}");
    // What is no JSON is no answer.
    let words = fault("words", "#!/bin/sh\necho done\n", 20).await;
    assert_eq!(words.kind, FaultKind::Permanent, "{words}");
    // It can neither write beside itself nor read what the daemon has.
    let secret = bench.directory.path().join("secret");
    fs::write(&secret, "planted").unwrap();
    let text = format!(
        "#!/bin/sh\ncat {} >&2\necho x > ./file && echo 'it wrote' >&2\nexit 1\n",
        secret.display()
    );
    let nosy = fault("nosy", &text, 20).await;
    assert!(!nosy.message.contains("planted") && !nosy.message.contains("it wrote"), "{nosy}");
    assert!(!bench.directory.path().join("commands.d/file").exists());
}

#[tokio::test]
async fn only_commands_of_the_administrator_are_run() {
    let bench = Bench::new(&[]);
    let fault = async |name: &str| {
        bench.fault(&bench.open("command", &json!({ "program": name })).await).await
    };
    let missing = fault("missing").await;
    assert!(missing.kind == FaultKind::Config && missing.message.contains("no command `missing`"));
    bench.command("open", "#!/bin/sh\nexit 0\n");
    let file = bench.directory.path().join("commands.d/open");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o777)).unwrap();
    let open = fault("open").await;
    assert!(
        open.kind == FaultKind::Config && open.message.contains("writable by everybody"),
        "{open}"
    );
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let plain = fault("open").await;
    assert!(plain.kind == FaultKind::Config && plain.message.contains("chmod +x"), "{plain}");
    let nowhere = Bench {
        effects: PluginEffects {
            commands: Commands {
                pool: bench.effects.commands.pool.clone(),
                directory: None,
                trust: trust(),
                memory_bytes: 64 << 20,
            },
            egress: bench.effects.egress.clone(),
            causes: None,
        },
        ..Bench::new(&[])
    };
    let none = nowhere.fault(&nowhere.open("command", &json!({ "program": "open" })).await).await;
    assert!(none.kind == FaultKind::Config && none.message.contains("commands_dir"), "{none}");
}

#[tokio::test]
async fn every_sink_type_has_a_form() {
    let bench = Bench::new(&[]);
    let mut kinds = Vec::new();
    for found in bench.host.types(Role::Sink) {
        let schema = &found.descriptor.config_schema;
        kinds.push(found.descriptor.name.clone());
        assert!(!found.descriptor.description.is_empty());
        for (name, property) in schema["properties"].as_object().unwrap() {
            assert!(
                property["title"].is_string(),
                "{}: {name} has no title",
                found.descriptor.name
            );
        }
    }
    let expected = [
        "command",
        "discord",
        "email",
        "google-chat",
        "gotify",
        "http",
        "matrix",
        "mattermost",
        "microsoft-teams",
        "ntfy",
        "opsgenie",
        "pagerduty",
        "pushover",
        "slack",
        "telegram",
    ];
    assert_eq!(kinds, expected);
}
