//! `mortise source test`: what would come of an input, and why, as a page for people.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use super::raw_request;
use super::which::id_of;
use crate::cli::connection::Client;
use crate::cli::{Failure, files, payload, show};

/// Longer request files are refused.
const MOST_REQUEST: u64 = 64 * 1024 * 1024;

#[derive(Args, Debug)]
#[command(after_help = "\
Nothing is stored, nothing is counted, no function is called, and what the source would request is \
only shown. It works while the source is paused or its snap-in is a draft too.

Exit codes: 0 it would be accepted or answered, 1 it would be refused, or the source fails.

Examples:
  mortise source test prod/team/sync/github --request delivery.http
  mortise source test SOURCE -H 'X-Hub-Signature-256: sha256=5d61…' -d @push.json
  mortise source test SOURCE -X GET --query 'hub.challenge=abc'
  mortise source recorded SOURCE rec_… --raw | mortise source test SOURCE --request -
  mortise source test SOURCE --recorded rec_… -H 'X-Gitlab-Token: …'    # it was masked
  mortise source test SOURCE --publish custom:hello '{\"n\": 1}'
  mortise source test SOURCE --tick --now 2026-03-29T01:00:00Z")]
pub(in crate::cli) struct Test {
    /// Id, or scope of its snap-in and its name
    source: String,
    /// A file with a request, raw or JSON; - for standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["method", "body", "query"])]
    request: Option<PathBuf>,
    /// Method of a request, GET or POST
    #[arg(short = 'X', long = "method", value_name = "METHOD")]
    method: Option<String>,
    /// A header of the request, or one instead of the file's or the recorded one's
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// Body of a request: text, @FILE, or - for standard input
    #[arg(short = 'd', long = "body", value_name = "BODY")]
    body: Option<String>,
    /// Query of a request, without the ?
    #[arg(long)]
    query: Option<String>,
    /// A request that was recorded
    #[arg(long, value_name = "ID", conflicts_with_all = ["request", "method", "body", "query"])]
    recorded: Option<String>,
    /// An event that somebody publishes: its type, and its payload as JSON
    #[arg(long, num_args = 2, value_names = ["TYPE", "PAYLOAD"],
          conflicts_with_all = ["request", "method", "headers", "body", "query", "recorded"])]
    publish: Option<Vec<String>>,
    /// A wake-up, as timers have
    #[arg(long, conflicts_with_all =
          ["request", "method", "headers", "body", "query", "recorded", "publish"])]
    tick: bool,
    /// When the wake-up was due, such as 2026-03-29T01:00:00Z; now, when absent
    #[arg(long, value_name = "DATE", requires = "tick")]
    due: Option<String>,
    /// The wake-up's cursor as JSON, instead of the one that is kept
    #[arg(long, value_name = "JSON", requires = "tick")]
    cursor: Option<String>,
    /// What the source is told the time is
    #[arg(long, value_name = "DATE")]
    now: Option<String>,
}

/// Tries it and says what came of it.
pub(super) fn run(client: &Client, as_json: bool, options: &Test) -> Result<(), Failure> {
    let mut parameters = input(options)?;
    parameters["id"] = id_of(client, &options.source)?.into();
    if let Some(now) = &options.now {
        parameters["now"] = now.as_str().into();
    }
    let answer = client.call("event-sources.test", &parameters)?;
    if as_json {
        show::print(&format!("{answer:#}"))?;
    } else {
        show::print(page(&answer).trim_end())?;
    }
    match answer["outcome"].as_str() {
        Some("accepted" | "answered") => Ok(()),
        Some("refused") => Err(Failure::refused("the source would refuse it")),
        _ => Err(Failure::refused("the source fails")),
    }
}

fn input(options: &Test) -> Result<Value, Failure> {
    let headers = options.headers.iter().map(|it| header(it)).collect::<Result<Vec<_>, _>>()?;
    if let Some([event_type, payload]) = options.publish.as_deref() {
        let payload = payload::any("the payload", payload)?;
        return Ok(json!({ "published": { "event_type": event_type, "payload": payload } }));
    }
    if options.tick {
        let mut tick = json!({});
        if let Some(due) = &options.due {
            tick["due_date"] = due.as_str().into();
        }
        if let Some(cursor) = &options.cursor {
            tick["cursor"] = payload::any("the cursor", cursor)?;
        }
        return Ok(json!({ "tick": tick }));
    }
    if let Some(id) = &options.recorded {
        let mut parameters = json!({ "recorded": id });
        if !headers.is_empty() {
            parameters["headers"] = json!(headers);
        }
        return Ok(parameters);
    }
    if let Some(file) = &options.request {
        let (mut request, remark) = raw_request::read(&file_bytes(file)?)
            .map_err(|error| Failure::usage(format!("{}: {error}", file.display())))?;
        if let Some(remark) = remark {
            eprintln!("{}: {remark}", file.display());
        }
        override_headers(&mut request, &headers);
        return Ok(json!({ "request": request }));
    }
    if options.method.is_none()
        && options.body.is_none()
        && options.query.is_none()
        && headers.is_empty()
    {
        return Err(Failure::usage(
            "say what is to be tried: --request FILE, -d BODY, -X METHOD, --recorded ID, --publish or \
             --tick",
        ));
    }
    let method = options.method.as_deref().unwrap_or("POST");
    let mut request = json!({ "method": method, "headers": headers });
    if let Some(query) = &options.query {
        request["query"] = query.as_str().into();
    }
    if let Some(body) = &options.body {
        let bytes = match body.strip_prefix('@') {
            Some(file) => file_bytes(Path::new(file))?,
            None if body == "-" => file_bytes(Path::new("-"))?,
            None => body.as_bytes().to_vec(),
        };
        raw_request::with_body(&mut request, &bytes);
    }
    Ok(json!({ "request": request }))
}

fn header(text: &str) -> Result<(String, String), Failure> {
    let (name, value) = text
        .split_once(':')
        .ok_or_else(|| Failure::usage(format!("`{text}` is no header: expected 'Name: value'")))?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

fn override_headers(request: &mut Value, headers: &[(String, String)]) {
    if headers.is_empty() {
        return;
    }
    let given: Vec<(String, String)> = match &request["headers"] {
        Value::Object(names) => names
            .iter()
            .map(|(name, it)| (name.clone(), it.as_str().unwrap_or_default().to_owned()))
            .collect(),
        other => serde_json::from_value(other.clone()).unwrap_or_default(),
    };
    let is_new = |name: &str| headers.iter().any(|(it, _)| it.eq_ignore_ascii_case(name));
    let kept = given.into_iter().filter(|(name, _)| !is_new(name));
    request["headers"] = json!(kept.chain(headers.iter().cloned()).collect::<Vec<_>>());
}

fn file_bytes(path: &Path) -> Result<Vec<u8>, Failure> {
    if path == Path::new("-") {
        let read = files::bytes(std::io::stdin().lock(), MOST_REQUEST, "standard input")?;
        return Ok(read.to_vec());
    }
    let what = path.display().to_string();
    Ok(files::bytes(files::open(path)?, MOST_REQUEST, &what)?.to_vec())
}

/// The answer for people.
fn page(answer: &Value) -> String {
    let text = |value: &Value| show::plain(value.as_str().unwrap_or_default());
    let list = |key: &str| answer[key].as_array().cloned().unwrap_or_default();
    let mut page = String::new();
    let reason = match text(&answer["reason"]) {
        reason if reason.is_empty() => String::new(),
        reason => format!(" ({reason})"),
    };
    // Writing to a string cannot fail.
    let outcome = text(&answer["outcome"]);
    let _ = writeln!(page, "{}{reason}: {}", show::heading(&outcome), text(&answer["message"]));
    for note in list("notes") {
        let _ = writeln!(page, "  but {}", text(&note));
    }
    if let Some(request) = answer["would_request"].as_object() {
        let _ = writeln!(
            page,
            "\nthe source would request\n  {} {}",
            text(&request["method"]),
            text(&request["url"])
        );
    }
    for (at, event) in list("events").iter().enumerate() {
        let _ = writeln!(page, "\nevent {}  {}", at + 1, text(&event["type"]));
        let key = text(&event["dedup_key"]);
        if event["would_be_duplicate"] == true {
            let first = match text(&event["first_event"]) {
                first if first.is_empty() => "the one before".to_owned(),
                first => first,
            };
            let _ = writeln!(
                page,
                "  dedup key  {key}: it would not be stored, as a duplicate of {first}"
            );
        } else if !key.is_empty() {
            let _ = writeln!(page, "  dedup key  {key}");
        }
        if let Some(sync_id) = event["sync_id"].as_str() {
            let _ = writeln!(page, "  sync id    {}", show::plain(sync_id));
        }
        for automation in event["automations"].as_array().into_iter().flatten() {
            let (name, function) = (text(&automation["name"]), text(&automation["function"]));
            let _ = writeln!(page, "  would run  {function} (automation {name})");
        }
        if let Some(message) = event["message"].as_str() {
            let _ = writeln!(page, "  {}", show::plain(message));
        }
        let _ = writeln!(page, "  payload");
        indented(&mut page, &format!("{:#}", event["payload"]));
    }
    if let Some(response) = answer["response"].as_object() {
        let _ = writeln!(page, "\nthe sender would get\n  {}", response["status"]);
        for header in response["headers"].as_array().into_iter().flatten() {
            let _ = writeln!(page, "  {}: {}", text(&header[0]), text(&header[1]));
        }
        if let Some(body) = response.get("body").and_then(Value::as_str) {
            indented(&mut page, body);
        }
        if response.contains_key("body_base64") {
            let _ = writeln!(page, "    (a body that is no text)");
        }
    }
    for (key, what) in [("next_tick_date", "woken next"), ("cursor", "cursor")] {
        match &answer[key] {
            Value::Null => {}
            Value::String(it) => {
                let _ = writeln!(page, "\n{what}  {}", show::plain(it));
            }
            other => {
                let _ = writeln!(page, "\n{what}  {}", show::plain(&other.to_string()));
            }
        }
    }
    let log = list("log");
    if !log.is_empty() {
        let _ = writeln!(page, "\nthe source says");
        for line in log {
            let message = text(&line["message"]).replace('\n', "\n        ");
            let _ = writeln!(page, "  {:<5} {message}", text(&line["level"]));
        }
    }
    let with = match answer["temporary_instance"].as_str() {
        Some(why) => format!("by an instance of its own, because {}", show::plain(why)),
        None => "by the source as it is open".to_owned(),
    };
    let took = answer["took_us"].as_u64().unwrap_or_default();
    let _ = writeln!(page, "\ntried {with}, in {}.{:03} ms", took / 1000, took % 1000);
    page
}

fn indented(page: &mut String, text: &str) {
    for line in show::plain(text).lines() {
        let _ = writeln!(page, "    {line}");
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Alone {
        #[command(flatten)]
        test: Test,
    }

    fn parsed(arguments: &[&str]) -> Result<Value, String> {
        let all = ["test", "SOURCE"].iter().chain(arguments);
        let alone = Alone::try_parse_from(all).map_err(|it| it.to_string())?;
        input(&alone.test).map_err(|it| it.message)
    }

    #[test]
    fn one_input_is_tried() {
        assert_eq!(
            parsed(&["-H", "X-A: b", "-d", "text"]),
            Ok(json!({ "request": {
                "method": "POST", "headers": [["X-A", "b"]], "body": "text",
            }}))
        );
        assert_eq!(
            parsed(&["--recorded", "rec_1", "-H", "a:b"]),
            Ok(json!({ "recorded": "rec_1", "headers": [["a", "b"]] }))
        );
        assert_eq!(
            parsed(&["--publish", "custom:a", "{\"n\": 1}"]),
            Ok(json!({ "published": { "event_type": "custom:a", "payload": { "n": 1 } } }))
        );
        assert_eq!(parsed(&["--tick", "--cursor", "3"]), Ok(json!({ "tick": { "cursor": 3 } })));
        for wrong in [
            &[][..],
            &["--tick", "-d", "x"],
            &["--recorded", "a", "--request", "b"],
            &["--publish", "a"],
            &["--publish", "a", "{"],
            &["-H", "nothing"],
            &["--cursor", "1"],
        ] {
            assert!(parsed(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn headers_of_a_file_are_replaced() {
        let mut request = json!({ "headers": { "X-A": "1", "b": "2" } });
        override_headers(&mut request, &[("x-a".to_owned(), "3".to_owned())]);
        assert_eq!(request["headers"], json!([["b", "2"], ["x-a", "3"]]));
    }

    #[test]
    fn the_page_says_what_and_why() {
        let shown = page(&json!({
            "outcome": "accepted", "message": "one event would be stored", "took_us": 1203,
            "notes": ["the source is paused: a sender would get 404"],
            "events": [{
                "type": "custom:tick", "payload": { "n": 1 }, "dedup_key": "k", "sync_id": "s",
                "would_be_duplicate": true, "first_event": "evt_1",
                "automations": [{ "name": "All", "function": "work" }],
            }],
            "response": { "status": 200, "headers": [["a", "b"]], "body": "x\u{1b}y" },
            "log": [{ "level": "info", "message": "printed" }],
            "temporary_instance": "the source is not open",
        }));
        assert_eq!(
            shown,
            "accepted: one event would be stored\n  \
               but the source is paused: a sender would get 404\n\
             \nevent 1  custom:tick\n  \
               dedup key  k: it would not be stored, as a duplicate of evt_1\n  \
               sync id    s\n  \
               would run  work (automation All)\n  \
               payload\n    {\n      \"n\": 1\n    }\n\
             \nthe sender would get\n  200\n  a: b\n    x\u{fffd}y\n\
             \nthe source says\n  info  printed\n\
             \ntried by an instance of its own, because the source is not open, in 1.203 ms\n"
        );
    }
}
