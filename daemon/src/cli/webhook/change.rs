//! Commands that make webhooks and change them.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};

use super::{given, show, wait};
use crate::cli::Failure;
use crate::cli::connection::Client;
use crate::cli::show as shown;

#[derive(Args, Debug)]
pub(in crate::cli) struct Create {
    /// Where events are sent: http or https, without credentials
    // `url` is the daemon's.
    #[arg(value_name = "URL")]
    endpoint: String,
    /// An event type, such as `work_created`; may be repeated
    #[arg(long = "event", value_name = "TYPE", required = true)]
    event: Vec<String>,
    /// A header that goes with each request: NAME=VALUE, NAME=@FILE, or NAME=-; at most 8
    #[arg(long = "header", value_name = "NAME=VALUE")]
    header: Vec<String>,
    /// The secret: 8 to 32 printable ASCII characters in this file, or - for standard input; one is made
    /// when absent
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    #[command(flatten)]
    manner: Manner,
    #[command(flatten)]
    outcome: Outcome,
}

/// How events are chosen and sent.
#[derive(Args, Debug)]
struct Manner {
    /// Send only events for whose body this jq program is true; or @FILE, or -
    #[arg(long, value_name = "JQ")]
    filter: Option<String>,
    /// What becomes of events while the endpoint takes none
    #[arg(long)]
    on_degraded: Option<OnDegraded>,
    /// Send changes of one object one after the other
    #[arg(long)]
    in_order: bool,
    /// Requests under way at once: 1 to 64, 8 when absent
    #[arg(long, value_name = "N")]
    concurrency: Option<u16>,
    /// Requests that begin in one second: 1 to 10000, as many as there are when absent
    #[arg(long, value_name = "N")]
    per_second: Option<u32>,
}

/// What is shown, and when.
#[derive(Args, Debug)]
struct Outcome {
    /// Print the secret alone, so that it can go into a file
    #[arg(long, conflicts_with = "json")]
    print_secret: bool,
    /// Wait until it is active, or until its endpoint was asked in vain
    #[arg(long)]
    wait: bool,
}

/// What becomes of events of a degraded webhook.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum OnDegraded {
    /// They fail without an attempt
    Fail,
    /// They wait, and go out in order
    Hold,
}

impl OnDegraded {
    fn name(self) -> &'static str {
        match self {
            OnDegraded::Fail => "fail",
            OnDegraded::Hold => "hold",
        }
    }
}

impl Manner {
    fn put(&self, asked: &mut Map<String, Value>) -> Result<(), Failure> {
        let filter = self.filter.as_deref().map(given::filter).transpose()?;
        let in_order = self.in_order.then_some(true);
        for (name, value) in [
            ("filter", filter.map(Value::from)),
            ("on_degraded", self.on_degraded.map(|it| json!(it.name()))),
            ("in_order", in_order.map(Value::from)),
            ("concurrency", self.concurrency.map(Value::from)),
            ("per_second", self.per_second.map(Value::from)),
        ] {
            asked.extend(value.map(|it| (name.to_owned(), it)));
        }
        Ok(())
    }
}

#[derive(Args, Debug)]
pub(in crate::cli) struct Update {
    /// Id of the webhook
    webhook: String,
    /// Another URL: it is verified before it gets anything
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
    /// These event types instead of those before; may be repeated
    #[arg(long = "event", value_name = "TYPE", conflicts_with_all = ["add_event", "remove_event"])]
    event: Vec<String>,
    /// This event type too
    #[arg(long, value_name = "TYPE")]
    add_event: Vec<String>,
    /// This event type no more
    #[arg(long, value_name = "TYPE")]
    remove_event: Vec<String>,
    /// This header too, or with another value: NAME=VALUE, NAME=@FILE, or NAME=-
    #[arg(long = "header", value_name = "NAME=VALUE")]
    header: Vec<String>,
    /// This header no more
    #[arg(long, value_name = "NAME")]
    remove_header: Vec<String>,
    #[command(flatten)]
    manner: Manner,
    /// No filter any more
    #[arg(long, conflicts_with = "filter")]
    no_filter: bool,
    /// Send changes of one object as they come
    #[arg(long, conflicts_with = "in_order")]
    any_order: bool,
    /// As many requests in a second as there are
    #[arg(long, conflicts_with = "per_second")]
    no_limit: bool,
    /// Wait until it is active, or until its endpoint was asked in vain
    #[arg(long)]
    wait: bool,
}

impl Update {
    fn asked(self) -> Result<Value, Failure> {
        let mut asked = Map::new();
        self.manner.put(&mut asked)?;
        let mut put = |name: &str, value: Value| asked.insert(name.to_owned(), value);
        if let Some(url) = self.endpoint {
            put("url", json!(url));
        }
        if !self.event.is_empty() {
            put("event_types", json!({ "set": self.event }));
        } else if !(self.add_event.is_empty() && self.remove_event.is_empty()) {
            put("event_types", json!({ "add": self.add_event, "remove": self.remove_event }));
        }
        if !(self.header.is_empty() && self.remove_header.is_empty()) {
            let add = given::headers(&self.header)?;
            put("headers", json!({ "add": add, "remove": self.remove_header }));
        }
        for (is_wanted, name, value) in [
            (self.no_filter, "filter", Value::Null),
            (self.any_order, "in_order", json!(false)),
            (self.no_limit, "per_second", Value::Null),
        ] {
            if is_wanted {
                put(name, value);
            }
        }
        if asked.is_empty() {
            return Err(Failure::usage("say what is to change, such as --endpoint or --add-event"));
        }
        asked.insert("id".to_owned(), json!(self.webhook));
        Ok(asked.into())
    }
}

#[derive(Args, Debug)]
pub(in crate::cli) struct Rotate {
    /// Id of the webhook
    webhook: String,
    /// The new secret, in this file, or - for standard input; one is made when absent
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// For how long requests are signed with the one before too: 0 to 2592000, a day when absent
    #[arg(long, value_name = "SECONDS", visible_alias = "overlap")]
    overlap_seconds: Option<u64>,
    #[command(flatten)]
    outcome: Outcome,
}

pub(super) fn create(client: &Client, as_json: bool, options: &Create) -> Result<(), Failure> {
    let mut asked = Map::new();
    asked.insert("url".to_owned(), json!(options.endpoint));
    asked.insert("event_types".to_owned(), json!(options.event));
    if !options.header.is_empty() {
        asked.insert("headers".to_owned(), given::headers(&options.header)?.into());
    }
    if let Some(file) = &options.secret_file {
        asked.insert("secret".to_owned(), json!(given::secret(file)?.as_str()));
    }
    options.manner.put(&mut asked)?;
    let answer = client.call("webhooks.create", &asked.into())?;
    shown::warn(&answer);
    with_secret(client, as_json, answer, options.secret_file.is_some(), &options.outcome)
}

pub(super) fn rotate(client: &Client, as_json: bool, options: &Rotate) -> Result<(), Failure> {
    let secret = options.secret_file.as_deref().map(given::secret).transpose()?;
    let secret = secret.as_ref().map_or("", |it| it.as_str());
    let mut asked = json!({ "id": options.webhook, "secret": secret });
    if let Some(seconds) = options.overlap_seconds {
        asked["overlap_seconds"] = json!(seconds);
    }
    let answer = client.call("webhooks.update", &asked)?;
    with_secret(client, as_json, answer, options.secret_file.is_some(), &options.outcome)
}

pub(super) fn update(client: &Client, as_json: bool, options: Update) -> Result<(), Failure> {
    let wait = options.wait;
    let answer = client.call("webhooks.update", &options.asked()?)?;
    shown::warn(&answer);
    show::one(&answer, as_json)?;
    waited(client, as_json, &answer, wait)
}

pub(super) fn switch(
    client: &Client,
    as_json: bool,
    webhook: &str,
    action: &str,
    wait: bool,
) -> Result<(), Failure> {
    let answer = client.call("webhooks.update", &json!({ "id": webhook, "action": action }))?;
    show::one(&answer, as_json)?;
    waited(client, as_json, &answer, wait)
}

/// Shows a webhook that has another secret. It is shown before anything is waited for: it cannot be had a
/// second time.
fn with_secret(
    client: &Client,
    as_json: bool,
    mut answer: Value,
    is_known: bool,
    outcome: &Outcome,
) -> Result<(), Failure> {
    if outcome.print_secret {
        shown::print(answer["webhook"]["secret"].as_str().unwrap_or_default())?;
        eprintln!("webhook {}", super::text(&answer["webhook"]["id"]));
    } else {
        // Whoever gave it has it, and a terminal is no place for it.
        if is_known
            && !as_json
            && let Some(webhook) = answer["webhook"].as_object_mut()
        {
            webhook.remove("secret");
            webhook.remove("standard_secret");
        }
        show::one(&answer, as_json)?;
    }
    waited(client, as_json || outcome.print_secret, &answer, outcome.wait)
}

fn waited(client: &Client, is_quiet: bool, answer: &Value, wait: bool) -> Result<(), Failure> {
    if !wait {
        return Ok(());
    }
    wait::until_active(client, &answer["webhook"]["id"])?;
    if is_quiet { Ok(()) } else { shown::print("it is active") }
}
