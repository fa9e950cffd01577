//! The sink: a delivery in, a request out; its response in, a receipt out.

use mortise_plugin::{
    Act, Delivery, Effect, EffectOutcome, Fault, FaultKind, HttpEffect, LogLevel, Problem, Receipt,
    Sink, SinkCall, SinkInput, SinkOutput,
};
use mortise_sinks::{
    Answer, encoded, fault_of_status, http_answer, one_line, post_json, seconds_ms, shortened,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::blocks;
use crate::errors::{self, Meaning};

const TIMEOUT_MS: u64 = 10_000;
/// When Slack says that it is asked too often and not how long to wait.
const USUAL_WAIT_S: f64 = 30.0;

/// A channel that messages are posted to.
pub(crate) struct Channel {
    pub(crate) token: String,
    /// Its id or name.
    pub(crate) channel: String,
    pub(crate) api_url: String,
    /// What `check` answers.
    pub(crate) warnings: Vec<Problem>,
}

/// What travels with a request.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Asked {
    /// A message; with what is posted instead when it cannot be a reply.
    Post { thread: Option<String>, alone: Option<Value> },
    /// Who the bot is.
    Identity,
    /// What the channel is; with what is known of the bot.
    Place { who: String, posts_everywhere: bool },
}

impl Sink for Channel {
    fn call(&self, call: SinkCall, body: &[u8]) -> Result<SinkOutput, Fault> {
        match call.input {
            SinkInput::Check {} => {
                Ok(SinkOutput { problems: self.warnings.clone(), ..SinkOutput::default() })
            }
            SinkInput::Deliver(delivery) => Ok(self.deliver(&delivery)),
            SinkInput::Test {} => Ok(self.get("auth.test", &Asked::Identity)),
            SinkInput::Response { state, outcome } => {
                let Ok(asked) = serde_json::from_value(state) else {
                    return Err(Fault::permanent("the state of the request came back changed"));
                };
                self.answered(asked, &outcome, body, call.now_ms)
            }
        }
    }
}

impl Channel {
    fn deliver(&self, delivery: &Delivery) -> SinkOutput {
        let mut arguments = blocks::arguments(&delivery.message);
        arguments["channel"] = json!(self.channel);
        // Previews of links in a list of trouble are noise.
        arguments["unfurl_links"] = json!(false);
        arguments["unfurl_media"] = json!(false);
        let thread = delivery.thread.as_deref().and_then(|it| self.parent(it));
        let Some(thread) = thread else { return self.post(&arguments, None, None) };
        let alone = arguments.clone();
        arguments["thread_ts"] = json!(thread);
        self.post(&arguments, delivery.thread.clone(), Some(alone))
    }

    /// The message that a thread is under, unless that is in another channel than the present one.
    fn parent<'t>(&self, thread: &'t str) -> Option<&'t str> {
        let (channel, parent) = thread.rsplit_once(' ')?;
        (channel == self.channel).then_some(parent)
    }

    fn post(&self, arguments: &Value, thread: Option<String>, alone: Option<Value>) -> SinkOutput {
        let url = format!("{}/chat.postMessage", self.api_url);
        let state = json!(Asked::Post { thread, alone });
        post_json(url, vec![self.authorization()], arguments, state, TIMEOUT_MS)
    }

    fn get(&self, method: &str, asked: &Asked) -> SinkOutput {
        let http = HttpEffect {
            method: "GET".to_owned(),
            url: format!("{}/{method}", self.api_url),
            headers: vec![self.authorization()],
            body: None,
        };
        let effect = Effect { state: json!(asked), timeout_ms: TIMEOUT_MS, act: Act::Http(http) };
        SinkOutput::ask(effect, None)
    }

    fn authorization(&self) -> (String, String) {
        ("authorization".to_owned(), format!("Bearer {}", self.token))
    }

    fn answered(
        &self,
        asked: Asked,
        outcome: &EffectOutcome,
        body: &[u8],
        now_ms: u64,
    ) -> Result<SinkOutput, Fault> {
        let answer = http_answer(outcome, body)?;
        let said = understood(&answer, now_ms)?;
        match asked {
            Asked::Post { thread, alone } => self.posted(&said, thread, alone),
            Asked::Identity => self.identified(&said.map_err(|it| it.fault)?, &answer),
            Asked::Place { who, posts_everywhere } => {
                Ok(self.placed(&said, &who, posts_everywhere)?)
            }
        }
    }

    fn posted(
        &self,
        said: &Result<Value, Refused>,
        thread: Option<String>,
        alone: Option<Value>,
    ) -> Result<SinkOutput, Fault> {
        let reply = match said {
            Ok(reply) => reply,
            Err(Refused { error, fault }) => {
                return match (errors::meaning(error), alone) {
                    (Some(Meaning::Thread), Some(alone)) => {
                        let message =
                            format!("the thread takes no replies (`{error}`); posted alone");
                        Ok(self.post(&alone, None, None).with_log(LogLevel::Warn, message))
                    }
                    _ => Err(fault.clone()),
                };
            }
        };
        let text = |name: &str| reply[name].as_str().filter(|it| !it.is_empty());
        let Some(posted) = text("ts") else {
            return Err(Fault::permanent("Slack says that it posted the message, and not where"));
        };
        let place = text("channel").unwrap_or(&self.channel);
        Ok(SinkOutput::done(Receipt {
            message_id: Some(format!("{place}/{posted}")),
            // Replies go under the first message of a thread, not under one another.
            thread: Some(thread.unwrap_or_else(|| format!("{} {posted}", self.channel))),
        }))
    }

    fn identified(&self, reply: &Value, answer: &Answer<'_>) -> Result<SinkOutput, Fault> {
        let text = |name: &str| one_line(reply[name].as_str().unwrap_or("?"));
        let who = format!("{} in {}", shortened(&text("user"), 80), shortened(&text("team"), 80));
        let scopes: Option<Vec<&str>> =
            answer.header("x-oauth-scopes").map(|it| it.split(',').map(str::trim).collect());
        let has = |scope: &str| scopes.as_ref().is_some_and(|it| it.contains(&scope));
        if scopes.is_some() && !has("chat:write") && !has("bot") {
            return Err(errors::fault("missing_scope", "chat:write", None));
        }
        let posts_everywhere = has("chat:write.public");
        if !is_id(&self.channel) {
            let message = format!(
                "signed in as {who}; whether there is a channel `{}` cannot be seen without posting, \
                 unless `default_channel` is an id",
                self.channel
            );
            return Ok(SinkOutput::default().with_log(LogLevel::Info, message));
        }
        let method = format!("conversations.info?channel={}", encoded(&self.channel));
        Ok(self.get(&method, &Asked::Place { who, posts_everywhere }))
    }

    fn placed(
        &self,
        said: &Result<Value, Refused>,
        who: &str,
        posts_everywhere: bool,
    ) -> Result<SinkOutput, Fault> {
        let reply = match said {
            Ok(reply) => &reply["channel"],
            Err(Refused { error, .. })
                if error == "missing_scope" || error == "method_not_supported_for_channel_type" =>
            {
                let message = format!(
                    "signed in as {who}; the app may not look at the channel (scopes `channels:read`, \
                     `groups:read`), so that only a message will show whether it can post there"
                );
                return Ok(SinkOutput::default().with_log(LogLevel::Info, message));
            }
            Err(Refused { fault, .. }) => return Err(fault.clone()),
        };
        let is = |name: &str| reply[name].as_bool();
        if is("is_archived") == Some(true) {
            return Err(errors::fault("is_archived", "", None));
        }
        let is_open = posts_everywhere && is("is_private") == Some(false);
        if is("is_member") == Some(false) && is("is_im") != Some(true) && !is_open {
            return Err(errors::fault("not_in_channel", "", None));
        }
        let name = shortened(&one_line(reply["name"].as_str().unwrap_or(&self.channel)), 80);
        let message = format!("signed in as {who}, and can post to {name}; nothing was posted");
        Ok(SinkOutput::default().with_log(LogLevel::Info, message))
    }
}

/// An answer `ok: false`.
struct Refused {
    error: String,
    fault: Fault,
}

/// What Slack answered; an outer error when that is no answer of Slack's.
fn understood(answer: &Answer<'_>, now_ms: u64) -> Result<Result<Value, Refused>, Fault> {
    let wait = answer.retry_after_ms(now_ms);
    let reply = answer.json().filter(|it| it["ok"].is_boolean());
    let Some(reply) = reply else {
        // A load balancer in front of it, or something else altogether.
        if answer.status == 429 || answer.status >= 500 {
            return Err(fault_of_status("Slack", answer.status, &answer.said(), wait));
        }
        let message = format!(
            "{} is no answer of Slack ({}): check `api_url`, and whether something stands between",
            answer.status,
            answer.said()
        );
        return Err(Fault::new(FaultKind::Config, message));
    };
    if reply["ok"] == true {
        return Ok(Ok(reply));
    }
    let error = shortened(&one_line(reply["error"].as_str().unwrap_or("no error")), 100);
    let usual = seconds_ms(USUAL_WAIT_S).filter(|_| answer.status == 429 || is_about_rate(&error));
    // Whatever the error is called, this status is about the rate.
    let told = if answer.status == 429 { "ratelimited" } else { error.as_str() };
    let fault = match answer.status {
        500.. if errors::meaning(told).is_none() => {
            fault_of_status("Slack", answer.status, told, wait)
        }
        _ => errors::fault(told, &details(&reply), wait.or(usual)),
    };
    Ok(Err(Refused { error, fault }))
}

fn is_about_rate(error: &str) -> bool {
    error == "ratelimited" || error == "rate_limited"
}

/// What Slack says beside an error: the scope that is needed, or what is wrong with a block.
fn details(reply: &Value) -> String {
    let needed = reply["needed"].as_str().map(|it| format!("needed: {it}"));
    let messages = reply["response_metadata"]["messages"].as_array();
    let messages = messages.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned);
    let all: Vec<String> = needed.into_iter().chain(messages).take(5).collect();
    shortened(&one_line(&all.join("; ")), 300)
}

/// Whether it is the id of a channel, a private channel or a direct message.
fn is_id(channel: &str) -> bool {
    channel.len() >= 8
        && channel.starts_with(['C', 'G', 'D'])
        && channel.bytes().all(|it| it.is_ascii_uppercase() || it.is_ascii_digit())
}
