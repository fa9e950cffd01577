//! The sink: a delivery in, a mail out; the server's answer in, a receipt out.

use lettre::message::Mailbox;
use mortise_plugin::{
    Act, Delivery, Effect, EffectOutcome, Fault, FaultKind, LogLevel, Problem, Receipt, Sink,
    SinkCall, SinkInput, SinkOutput, SmtpEffect, SmtpEncryption, SmtpLogin, SmtpOutcome,
    SmtpRefusal, SmtpStage,
};
use mortise_sinks::{one_line, shortened};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::mail;

const TIMEOUT_MS: u64 = 15_000;
/// From this attempt on a recipient that is put off no longer keeps the mail from the others.
const WITHOUT_DEFERRED: u32 = 4;
/// Recipients that one line names.
const MOST_NAMED: usize = 10;

/// A mail server.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) encryption: SmtpEncryption,
    pub(crate) ca_certificates: Option<String>,
    pub(crate) login: Option<SmtpLogin>,
    pub(crate) hello: Option<String>,
}

/// A server, and who mails are from and to.
#[derive(Debug)]
pub(crate) struct Mailer {
    pub(crate) server: Server,
    pub(crate) from: Mailbox,
    pub(crate) to: Vec<Mailbox>,
    pub(crate) reply_to: Option<Mailbox>,
    pub(crate) subject_prefix: String,
    pub(crate) has_html: bool,
    /// What `check` answers.
    pub(crate) warnings: Vec<Problem>,
}

/// What travels with a mail.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Asked {
    Sent { id: String, thread: Option<String> },
    Tried,
}

impl Sink for Mailer {
    fn call(&self, call: SinkCall, _body: &[u8]) -> Result<SinkOutput, Fault> {
        match call.input {
            SinkInput::Check {} => {
                Ok(SinkOutput { problems: self.warnings.clone(), ..SinkOutput::default() })
            }
            SinkInput::Deliver(delivery) => self.deliver(&delivery, call.now_ms),
            SinkInput::Test {} => Ok(self.converse(&Asked::Tried, true, None)),
            SinkInput::Response { state, outcome } => {
                let Ok(asked) = serde_json::from_value(state) else {
                    return Err(Fault::permanent("the state of the mail came back changed"));
                };
                self.answered(asked, &outcome)
            }
        }
    }
}

impl Mailer {
    fn deliver(&self, delivery: &Delivery, now_ms: u64) -> Result<SinkOutput, Fault> {
        let id = mail::message_id(self, &delivery.id);
        let message = mail::write(self, delivery, &id, now_ms)?;
        let thread = delivery.thread.clone().filter(|it| mail::is_id(it));
        let asked = Asked::Sent { id, thread };
        Ok(self.converse(&asked, delivery.attempt >= WITHOUT_DEFERRED, Some(message)))
    }

    fn converse(
        &self,
        asked: &Asked,
        without_deferred: bool,
        message: Option<Vec<u8>>,
    ) -> SinkOutput {
        let server = &self.server;
        let smtp = SmtpEffect {
            host: server.host.clone(),
            port: server.port,
            encryption: server.encryption,
            ca_certificates: server.ca_certificates.clone(),
            login: server.login.clone(),
            hello: server.hello.clone(),
            sender: self.from.email.to_string(),
            recipients: self.to.iter().map(|it| it.email.to_string()).collect(),
            without_deferred,
            message: message.as_ref().map(|_| 0),
        };
        let effect = Effect { state: json!(asked), timeout_ms: TIMEOUT_MS, act: Act::Smtp(smtp) };
        SinkOutput::ask(effect, message)
    }

    fn answered(&self, asked: Asked, outcome: &EffectOutcome) -> Result<SinkOutput, Fault> {
        let said = match outcome {
            EffectOutcome::Smtp(said) => said,
            EffectOutcome::Failed { message, transient: true } => {
                return Err(Fault::transient(message.as_str()));
            }
            EffectOutcome::Failed { message, transient: false } => {
                return Err(Fault::config(message.as_str(), Vec::new()));
            }
            EffectOutcome::Http { .. } | EffectOutcome::Exec { .. } => {
                return Err(Fault::permanent("the outcome is none of a mail"));
            }
        };
        if !(200..300).contains(&said.code) {
            return Err(fault(said));
        }
        match asked {
            Asked::Sent { id, thread } => {
                let thread = Some(thread.unwrap_or_else(|| id.clone()));
                let done = SinkOutput::done(Receipt { message_id: Some(id), thread });
                Ok(match said.refused.as_slice() {
                    [] => done,
                    refused => {
                        let message = format!("the mail did not go to {}", named(refused));
                        done.with_log(LogLevel::Warn, message)
                    }
                })
            }
            Asked::Tried => match said.refused.as_slice() {
                [] => {
                    let message = format!(
                        "the server takes mail from {} to all {} recipients; nothing was sent",
                        self.from.email,
                        self.to.len()
                    );
                    Ok(SinkOutput::default().with_log(LogLevel::Info, message))
                }
                refused => {
                    let message =
                        format!("the mail server does not take mail to {}", named(refused));
                    Err(Fault::config(message, vec![Problem::at("to", "see the message")]))
                }
            },
        }
    }
}

/// What an answer other than yes means: not now, no, or no until somebody mends the configuration.
fn fault(said: &SmtpOutcome) -> Fault {
    let SmtpOutcome { stage, code, message, refused } = said;
    let kind = match (stage, code) {
        (_, 400..=499) => FaultKind::Transient,
        // Who signs in, and that somebody has to.
        (_, 530 | 534 | 535 | 538) | (SmtpStage::Login | SmtpStage::Starttls, _) => {
            FaultKind::Config
        }
        (
            SmtpStage::Greeting | SmtpStage::Sender | SmtpStage::Recipients | SmtpStage::Message,
            _,
        ) => FaultKind::Permanent,
    };
    let at = match stage {
        SmtpStage::Greeting => "at its greeting",
        SmtpStage::Starttls => "to STARTTLS",
        SmtpStage::Login => "to the user name and password",
        SmtpStage::Sender => "to the sender (`from`)",
        SmtpStage::Recipients => "to the recipients (`to`)",
        SmtpStage::Message => "to the mail",
    };
    let said = shortened(&one_line(message), 300);
    let whom = match refused.as_slice() {
        [] => String::new(),
        refused => format!(": {}", named(refused)),
    };
    Fault::new(kind, format!("the mail server said {code} {at} ({said}){whom}"))
}

fn named(refused: &[SmtpRefusal]) -> String {
    let named = refused.iter().take(MOST_NAMED);
    let named = named.map(|SmtpRefusal { recipient, code, message }| {
        format!("{} ({code} {})", one_line(recipient), shortened(&one_line(message), 100))
    });
    let more = refused.len().saturating_sub(MOST_NAMED);
    let rest = if more > 0 { format!(", and {more} more") } else { String::new() };
    format!("{}{rest}", named.collect::<Vec<_>>().join(", "))
}
