//! What the daemon does for a plugin that does no I/O itself: it is asked for an effect, and calls again
//! with what came of it.
//!
//! Owns the documents. What an outcome means is the plugin's to decide.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Something that the daemon does for a plugin, under its address guard and deadlines.
///
/// In JSON the act stands beside the other members: `{"state": .., "timeout_ms": .., "http": {..}}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Effect {
    /// Handed back with the outcome, so that the plugin needs no memory.
    #[serde(default)]
    pub state: Value,
    /// How long it may take.
    pub timeout_ms: u64,
    /// What is to be done.
    #[serde(flatten)]
    pub act: Act,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Act {
    /// Make an HTTP request. The only one that a source may ask for.
    Http(HttpEffect),
    /// Hand a mail to a mail server, or see whether it would be taken.
    Smtp(SmtpEffect),
    /// Run a program of the administrator's directory of commands.
    Exec(ExecEffect),
}

impl Act {
    /// The position of the body that goes with it, in the answer's bodies.
    pub fn body(&self) -> Option<usize> {
        match self {
            Act::Http(http) => http.body,
            Act::Smtp(smtp) => smtp.message,
            Act::Exec(exec) => exec.stdin,
        }
    }
}

/// An outgoing HTTP request. Redirects are followed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpEffect {
    /// Method, upper case.
    pub method: String,
    /// Absolute URL, http or https.
    pub url: String,
    /// Headers.
    #[serde(default)]
    pub headers: Vec<(String, String)>,
    /// Position of the body in the answer's bodies.
    #[serde(default)]
    pub body: Option<usize>,
}

/// One conversation with a mail server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SmtpEffect {
    /// Name or address of the server. Its certificate must be for this.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Whether the conversation is encrypted, and from when on.
    pub encryption: SmtpEncryption,
    /// Certificates in PEM that are trusted beside those of the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_certificates: Option<String>,
    /// Who signs in; absent for a server that takes mail from anybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login: Option<SmtpLogin>,
    /// What the daemon calls itself to the server; the literal of its address when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hello: Option<String>,
    /// Address to which the server reports what it cannot deliver.
    pub sender: String,
    /// Addresses that get the mail, whatever its headers say.
    pub recipients: Vec<String>,
    /// Sends the mail to the others although the server puts some recipient off (4xx). Those that it
    /// refuses for good never keep it from the others.
    #[serde(default)]
    pub without_deferred: bool,
    /// Position of the whole mail, headers included, in the answer's bodies. Without it the server is
    /// only asked whether it would take one: the conversation ends after the recipients.
    #[serde(default)]
    pub message: Option<usize>,
}

/// Whether a conversation with a mail server is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SmtpEncryption {
    /// From the first byte on, as on port 465.
    Implicit,
    /// From the command STARTTLS on, which the server must know, as on port 587.
    Starttls,
    /// Not at all.
    None,
}

/// A name and password.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SmtpLogin {
    /// Who.
    pub username: String,
    /// The password.
    pub password: String,
}

impl std::fmt::Debug for SmtpLogin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SmtpLogin").field("username", &self.username).finish_non_exhaustive()
    }
}

/// A program of the administrator's, run in the sandbox of functions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecEffect {
    /// Its file name in the directory of commands.
    pub program: String,
    /// Position of its standard input in the answer's bodies: one JSON value.
    #[serde(default)]
    pub stdin: Option<usize>,
}

/// How an effect went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EffectOutcome {
    /// The peer answered; its body is the call's body.
    Http {
        /// Status code.
        status: u16,
        /// Headers, names in lower case.
        headers: Vec<(String, String)>,
    },
    /// The mail server answered.
    Smtp(SmtpOutcome),
    /// The program ended. What it wrote to standard output, one JSON value or nothing, is the call's
    /// body if it ended with 0.
    Exec {
        /// How it ended.
        end: ExecEnd,
        /// The last of what it wrote to standard error.
        #[serde(default)]
        stderr: String,
    },
    /// It could not be done: no connection, time-out, forbidden address.
    Failed {
        /// Why.
        message: String,
        /// Whether the same effect may work later.
        transient: bool,
    },
}

/// How a program ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExecEnd {
    /// By itself.
    Exited {
        /// Its exit status; 0 only if what it wrote is JSON or nothing.
        status: i32,
    },
    /// By its deadline.
    TimedOut {},
    /// By a signal, by too much or other output than it may write, or for want of memory.
    Broken {
        /// Which of them, in words.
        reason: String,
    },
}

/// The answer of a mail server on which it depended how the conversation ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SmtpOutcome {
    /// To what it was the answer.
    pub stage: SmtpStage,
    /// Its code: 2xx is yes, 4xx not now, 5xx no.
    pub code: u16,
    /// Its text, in one line.
    pub message: String,
    /// Recipients that it did not take.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<SmtpRefusal>,
}

/// A recipient that a mail server did not take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SmtpRefusal {
    /// Whom.
    pub recipient: String,
    /// Its code, 4xx or 5xx.
    pub code: u16,
    /// Its text, in one line.
    pub message: String,
}

/// A step of the conversation with a mail server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SmtpStage {
    /// Its greeting, and what it can do.
    Greeting,
    /// The change to an encrypted conversation.
    Starttls,
    /// Signing in.
    Login,
    /// The sender.
    Sender,
    /// The recipients: with a code of refusal none was taken; with 2xx nothing more was asked.
    Recipients,
    /// The mail itself: with 2xx it is the server's to deliver.
    Message,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_effect_is_one_act_in_flat_json() {
        let text = json!({
            "state": 3, "timeout_ms": 5, "exec": { "program": "page-me", "stdin": 0 }
        });
        let effect: Effect = serde_json::from_value(text.clone()).unwrap();
        assert_eq!(effect.act.body(), Some(0));
        assert_eq!(serde_json::to_value(&effect).unwrap(), text);
        for none in [json!({ "timeout_ms": 5 }), json!({ "timeout_ms": 5, "fax": {} })] {
            assert!(serde_json::from_value::<Effect>(none).is_err());
        }
        let outcome = EffectOutcome::Smtp(SmtpOutcome {
            stage: SmtpStage::Login,
            code: 535,
            message: "no".to_owned(),
            refused: Vec::new(),
        });
        let text = json!({ "smtp": { "stage": "login", "code": 535, "message": "no" } });
        assert_eq!(serde_json::to_value(&outcome).unwrap(), text);
        let login = SmtpLogin { username: "me".to_owned(), password: "secret".to_owned() };
        assert!(!format!("{login:?}").contains("secret"));
    }
}
