//! Whole deliveries: what mails look like, and what answers of servers mean.

use mortise_plugin::{
    Act, Delivery, Effect, EffectOutcome, FaultKind, Host, Message, Plugin, Sink, SinkInput,
    SinkOutput, SmtpEffect, SmtpOutcome, SmtpRefusal, SmtpStage,
};
use mortise_sinks::testing::{self, answer, call};
use serde_json::{Value, json};

use crate::{Email, KIND};

fn open(more: Value) -> Box<dyn Sink> {
    let mut config = json!({
        "host": "smtp.example.com", "username": "me", "password": "secret",
        "from": "Mortise <mortise@example.com>",
        "to": ["ops@example.com", "N\u{e4}chte <night@example.com>"],
    });
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    Email::open_sink(KIND, config, Host::silent()).unwrap()
}

fn asked(output: SinkOutput) -> (SmtpEffect, String, Value) {
    let Some(Effect { act: Act::Smtp(smtp), state, .. }) = output.effect else { panic!("no mail") };
    let mail = smtp.message.map(|it| String::from_utf8(output.bodies[it].clone()).unwrap());
    (smtp, mail.unwrap_or_default(), state)
}

fn deliver(sink: &dyn Sink, delivery: Delivery) -> (SmtpEffect, String, Value) {
    asked(call(sink, SinkInput::Deliver(delivery), b"").unwrap())
}

fn said(stage: SmtpStage, code: u16) -> EffectOutcome {
    let message = "in its words".to_owned();
    EffectOutcome::Smtp(SmtpOutcome { stage, code, message, refused: Vec::new() })
}

/// The headers of a mail, unfolded.
fn headers(mail: &str) -> Vec<String> {
    let (head, _) = mail.split_once("\r\n\r\n").unwrap();
    head.replace("\r\n ", " ").split("\r\n").map(str::to_owned).collect()
}

#[test]
fn a_message_is_a_mail_with_two_parts() {
    let sink = open(json!({}));
    let (smtp, mail, _) = deliver(&*sink, testing::delivery());
    assert_eq!((smtp.host.as_str(), smtp.port), ("smtp.example.com", 587));
    assert_eq!(smtp.sender, "mortise@example.com");
    assert_eq!(smtp.recipients, ["ops@example.com", "night@example.com"]);
    assert!(!smtp.without_deferred && !mail.contains("secret"));
    let headers = headers(&mail);
    for header in [
        "From: Mortise <mortise@example.com>",
        "Message-ID: <dlv_01hq.mortise@example.com>",
        "Date: Fri, 01 Mar 2024 00:00:00 +0000",
        "Auto-Submitted: auto-generated",
        "X-Mortise-Trigger: run.failed",
        "MIME-Version: 1.0",
    ] {
        assert!(headers.iter().any(|it| it == header), "{header}: {headers:?}");
    }
    assert!(
        !headers.iter().any(|it| it.starts_with("In-Reply-To") || it.starts_with("References"))
    );
    assert!(mail.is_ascii());
    assert!(mail.split("\r\n").all(|it| it.len() <= 998 && !it.contains('\n')));
    for part in ["Content-Type: text/plain", "Content-Type: text/html", "multipart/alternative"] {
        assert!(mail.contains(part), "{part}");
    }
    assert!(mail.contains("It threw: <b>no & such</b>\r\nsecond line"), "{mail}");
    let joined = mail.replace("=\r\n", "");
    assert!(joined.contains("&lt;b&gt;no &amp; such&lt;/b&gt;"), "{joined}");
    let (_, again, _) = deliver(&*sink, Delivery { attempt: 2, ..testing::delivery() });
    assert_eq!(again, mail, "another attempt is the same mail");
    let (_, only, _) = deliver(&*open(json!({ "html": false })), testing::delivery());
    assert!(!only.contains("text/html") && only.contains("text/plain"));
}

#[test]
fn what_follows_refers_to_the_first() {
    let sink = open(json!({}));
    let (_, _, state) = deliver(&*sink, testing::delivery());
    let receipt =
        answer(&*sink, state, said(SmtpStage::Message, 250), b"").unwrap().receipt.unwrap();
    assert_eq!(receipt.message_id.as_deref(), Some("<dlv_01hq.mortise@example.com>"));
    assert_eq!(receipt.thread, receipt.message_id);
    let second =
        Delivery { id: "dlv_02".to_owned(), thread: receipt.thread.clone(), ..testing::delivery() };
    let (_, mail, state) = deliver(&*sink, second);
    let headers = headers(&mail);
    for name in ["In-Reply-To", "References"] {
        let header = format!("{name}: <dlv_01hq.mortise@example.com>");
        assert!(headers.contains(&header), "{headers:?}");
    }
    let next = answer(&*sink, state, said(SmtpStage::Message, 250), b"").unwrap().receipt.unwrap();
    assert_eq!(next.thread, receipt.thread);
}

#[test]
fn nothing_in_a_message_becomes_a_header_or_a_part() {
    let evil = "x\r\nBcc: evil@example.com\r\n\r\n--=_dlv_01hq.mortise_at_example.com\r\n\
                Content-Type: text/html\r\n\r\n<script>alert(1)</script>\r\n.\r\nQUIT\r\n";
    let sink = open(json!({ "subject_prefix": "a\r\nBcc: b@example.com" }));
    let delivery = Delivery {
        id: format!("dlv_01hq{evil}"),
        trigger: evil.to_owned(),
        thread: Some(format!("<a@b>{evil}")),
        message: Message {
            title: evil.to_owned(),
            text: evil.to_owned(),
            fields: vec![(evil.to_owned(), evil.to_owned())],
            link: Some(format!("https://a.example/\"{evil}")),
            ..Message::default()
        },
        ..testing::delivery()
    };
    let (smtp, mail, _) = deliver(&*sink, delivery);
    assert_eq!(smtp.recipients.len(), 2);
    let names: Vec<String> = headers(&mail)
        .iter()
        .map(|it| it.split(':').next().unwrap_or_default().to_lowercase())
        .collect();
    for name in &names {
        let known = [
            "from",
            "to",
            "subject",
            "date",
            "message-id",
            "auto-submitted",
            "x-mortise-trigger",
            "mime-version",
            "content-type",
        ];
        assert!(known.contains(&name.as_str()), "{name}: {mail}");
    }
    assert_eq!(mail.matches("\r\n--=_").count(), 3, "two parts and an end: {mail}");
    let (_, html) = mail.split_once("\r\nContent-Type: text/html; charset=utf-8\r\n").unwrap();
    assert!(!html.contains("<script>"), "{html}");
}

#[test]
fn long_messages_fit_and_letters_survive() {
    let message = Message {
        title: "\u{fc}".repeat(5_000),
        text: "\u{1f600} long ".repeat(100_000),
        fields: vec![("n".repeat(10_000), "v".repeat(100_000)); 1_000],
        ..Message::default()
    };
    let (_, mail, _) = deliver(&*open(json!({})), Delivery { message, ..testing::delivery() });
    assert!(mail.len() < 4_000_000, "{}", mail.len());
    assert!(mail.is_ascii() && mail.split("\r\n").all(|it| it.len() <= 998));
}

#[test]
fn answers_are_told_apart() {
    let sink = open(json!({}));
    let state = deliver(&*sink, testing::delivery()).2;
    for (stage, code, kind) in [
        (SmtpStage::Greeting, 421, FaultKind::Transient),
        (SmtpStage::Greeting, 554, FaultKind::Permanent),
        (SmtpStage::Starttls, 454, FaultKind::Transient),
        (SmtpStage::Starttls, 502, FaultKind::Config),
        (SmtpStage::Login, 454, FaultKind::Transient),
        (SmtpStage::Login, 534, FaultKind::Config),
        (SmtpStage::Login, 535, FaultKind::Config),
        (SmtpStage::Sender, 451, FaultKind::Transient),
        (SmtpStage::Sender, 530, FaultKind::Config),
        (SmtpStage::Sender, 553, FaultKind::Permanent),
        (SmtpStage::Recipients, 450, FaultKind::Transient),
        (SmtpStage::Recipients, 550, FaultKind::Permanent),
        (SmtpStage::Message, 452, FaultKind::Transient),
        (SmtpStage::Message, 552, FaultKind::Permanent),
        (SmtpStage::Message, 354, FaultKind::Permanent),
    ] {
        let fault = answer(&*sink, state.clone(), said(stage, code), b"").unwrap_err();
        assert_eq!(fault.kind, kind, "{stage:?} {code}");
        assert!(
            fault.message.contains(&code.to_string()) && fault.message.contains("in its words")
        );
    }
    for (transient, kind) in [(true, FaultKind::Transient), (false, FaultKind::Config)] {
        let failed = EffectOutcome::Failed { message: "no".to_owned(), transient };
        assert_eq!(answer(&*sink, state.clone(), failed, b"").unwrap_err().kind, kind);
    }
    let http = testing::answered(200, &[]);
    assert_eq!(answer(&*sink, state, http, b"").unwrap_err().kind, FaultKind::Permanent);
}

#[test]
fn one_refused_recipient_keeps_nobody_else_from_the_mail() {
    let sink = open(json!({}));
    let refused = |stage| {
        EffectOutcome::Smtp(SmtpOutcome {
            stage,
            code: 250,
            message: "queued".to_owned(),
            refused: vec![SmtpRefusal {
                recipient: "night@example.com".to_owned(),
                code: 550,
                message: "who?".to_owned(),
            }],
        })
    };
    let (_, _, state) = deliver(&*sink, testing::delivery());
    let done = answer(&*sink, state, refused(SmtpStage::Message), b"").unwrap();
    assert!(done.receipt.is_some());
    assert_eq!(done.log[0].message, "the mail did not go to night@example.com (550 who?)");
    let (smtp, _, _) = deliver(&*sink, Delivery { attempt: 4, ..testing::delivery() });
    assert!(smtp.without_deferred);

    let (smtp, mail, state) = asked(call(&*sink, SinkInput::Test {}, b"").unwrap());
    assert_eq!((smtp.message, mail.as_str()), (None, ""));
    let good = answer(&*sink, state.clone(), said(SmtpStage::Recipients, 250), b"").unwrap();
    assert!(good.log[0].message.contains("nothing was sent"));
    let fault = answer(&*sink, state, refused(SmtpStage::Recipients), b"").unwrap_err();
    assert!(fault.kind == FaultKind::Config && fault.message.contains("night@example.com"));
}
