//! What is configured: the JSON Schema for people and forms, and all that a schema cannot say.

use lettre::message::Mailbox;
use mortise_plugin::{Fault, Problem, SmtpEncryption, SmtpLogin};
use mortise_sinks::{one_line, read_config, shortened, wrong};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::sink::{Mailer, Server};

/// As many as every mail server takes.
const MOST_RECIPIENTS: usize = 100;

#[derive(Deserialize)]
struct Config {
    host: String,
    port: Option<u16>,
    #[serde(default = "starttls")]
    encryption: SmtpEncryption,
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
    from: String,
    to: Vec<String>,
    reply_to: Option<String>,
    subject_prefix: Option<String>,
    ca_certificates: Option<String>,
    hello: Option<String>,
    #[serde(default = "yes")]
    html: bool,
}

fn starttls() -> SmtpEncryption {
    SmtpEncryption::Starttls
}

fn yes() -> bool {
    true
}

pub(crate) fn schema() -> Value {
    let address = "An address, such as `ops@example.com` or `Operations <ops@example.com>`.";
    json!({
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "host": {
                "type": "string", "minLength": 1, "maxLength": 253,
                "title": "Mail server",
                "description": "Name of the mail server, such as `smtp.example.com`. Its certificate must \
                                be for this name. A server on this host needs `egress.allow` in the \
                                daemon's configuration, such as \"127.0.0.1:25\"."
            },
            "port": {
                "type": "integer", "minimum": 1, "maximum": 65535,
                "title": "Port",
                "description": "When absent, the usual one of the encryption: 587 for `starttls`, 465 for \
                                `implicit`, 25 for `none`."
            },
            "encryption": {
                "enum": ["starttls", "implicit", "none"], "default": "starttls",
                "title": "Encryption",
                "description": "`starttls`: from the first moment at which the server offers it, and not \
                                at all without; `implicit`: from the first byte on; `none`: never, for a \
                                server on this host or its own network."
            },
            "username": {
                "type": "string", "maxLength": 500,
                "title": "User name",
                "description": "Who signs in. Absent for a server that takes mail from this host as it is."
            },
            "password": {
                "type": "string", "writeOnly": true, "maxLength": 2000,
                "title": "Password",
                "description": "The password, or what the provider calls an app password."
            },
            "from": {
                "type": "string", "minLength": 3, "maxLength": 500,
                "title": "From",
                "description": format!("Who the mails are from. {address}")
            },
            "to": {
                "type": "array", "minItems": 1, "maxItems": MOST_RECIPIENTS,
                "items": { "type": "string", "minLength": 3, "maxLength": 500 },
                "title": "To",
                "description": format!("Who gets them; all see one another. {address}")
            },
            "reply_to": {
                "type": "string", "maxLength": 500,
                "title": "Reply to",
                "description": format!("Where answers go, if not to `from`. {address}")
            },
            "subject_prefix": {
                "type": "string", "maxLength": 100, "default": "[Mortise]",
                "title": "Subject prefix",
                "description": "What every subject begins with, for filters; may be empty."
            },
            "html": {
                "type": "boolean", "default": true,
                "title": "With an HTML part",
                "description": "Whether mails have an HTML part beside the plain one."
            },
            "ca_certificates": {
                "type": "string", "maxLength": 200_000,
                "title": "CA certificates",
                "description": "Certificates in PEM that are trusted for this server beside those of the \
                                host, for a certificate authority of your own."
            },
            "hello": {
                "type": "string", "maxLength": 253,
                "title": "Own name",
                "description": "What the daemon calls itself to the server (EHLO), for servers that want a \
                                name; its address when absent."
            }
        },
        "required": ["host", "from", "to"],
        "examples": [
            {
                "host": "smtp.example.com", "username": "mortise", "password": "example",
                "from": "Mortise <mortise@example.com>", "to": ["ops@example.com"]
            },
            {
                "host": "mail.internal", "encryption": "none", "from": "mortise@example.com",
                "to": ["ops@example.com", "Night Shift <night@example.com>"], "subject_prefix": ""
            }
        ]
    })
}

/// Opens a sink, or says everything that is wrong with its configuration.
pub(crate) fn open(value: Value) -> Result<Mailer, Fault> {
    let mut warnings = Vec::new();
    let config: Config = read_config(value)?;
    let mut problems = Vec::new();
    let mut mailbox = |path: &str, text: &str| match text.trim().parse::<Mailbox>() {
        Ok(mailbox) if !text.contains(char::is_control) => Some(mailbox),
        Ok(_) | Err(_) => {
            let message =
                "is no address; write `ops@example.com` or `Operations <ops@example.com>`";
            problems.push(Problem::at(path, message));
            None
        }
    };
    let from = mailbox("from", &config.from);
    let to: Vec<Option<Mailbox>> = config
        .to
        .iter()
        .enumerate()
        .map(|(at, text)| mailbox(&format!("to[{at}]"), text))
        .collect();
    let reply_to = config.reply_to.as_deref().filter(|it| !it.trim().is_empty());
    let reply_to = reply_to.and_then(|it| mailbox("reply_to", it));
    if to.is_empty() || to.len() > MOST_RECIPIENTS {
        let message = format!("has {} addresses; from 1 to {MOST_RECIPIENTS} are needed", to.len());
        problems.push(Problem::at("to", message));
    }
    check_host(&config, &mut problems);
    let login = login(&config, &mut problems, &mut warnings);
    if config
        .ca_certificates
        .as_deref()
        .is_some_and(|it| !it.contains("-----BEGIN CERTIFICATE-----"))
    {
        let message = "holds no certificate in PEM (`-----BEGIN CERTIFICATE-----`)";
        problems.push(Problem::at("ca_certificates", message));
    }
    let to: Option<Vec<Mailbox>> = to.into_iter().collect();
    let (Some(from), Some(to), true) = (from, to, problems.is_empty()) else {
        return Err(wrong(problems));
    };
    let port = config.port.unwrap_or(match config.encryption {
        SmtpEncryption::Implicit => 465,
        SmtpEncryption::Starttls => 587,
        SmtpEncryption::None => 25,
    });
    let prefix = config.subject_prefix.as_deref().unwrap_or("[Mortise]");
    Ok(Mailer {
        server: Server {
            host: config.host,
            port,
            encryption: config.encryption,
            ca_certificates: config.ca_certificates,
            login,
            hello: config.hello.filter(|it| !it.is_empty()),
        },
        from,
        to,
        reply_to,
        subject_prefix: shortened(&one_line(prefix), 100),
        has_html: config.html,
        warnings,
    })
}

fn check_host(config: &Config, problems: &mut Vec<Problem>) {
    let is_name = |it: &str| {
        !it.is_empty() && it.bytes().all(|it| it.is_ascii_alphanumeric() || b"-._:".contains(&it))
    };
    if !is_name(&config.host) {
        let message = "must be a host name or an address, without a scheme and port";
        problems.push(Problem::at("host", message));
    }
    if config.port == Some(0) {
        problems.push(Problem::at("port", "must be from 1 to 65535"));
    }
    let hello = config.hello.as_deref().unwrap_or_default();
    if !hello.is_empty() && !is_name(hello) {
        problems.push(Problem::at("hello", "must be a host name"));
    }
}

fn login(
    config: &Config,
    problems: &mut Vec<Problem>,
    warnings: &mut Vec<Problem>,
) -> Option<SmtpLogin> {
    let (username, password) = (&config.username, &config.password);
    if username.is_empty() != password.is_empty() {
        let (given, missing) =
            if username.is_empty() { ("password", "username") } else { ("username", "password") };
        problems.push(Problem::at(missing, format!("is needed together with `{given}`")));
    }
    if username.contains('\0') || password.contains('\0') {
        problems.push(Problem::at("password", "must be without zero characters"));
    }
    if username.is_empty() || password.is_empty() {
        return None;
    }
    if config.encryption == SmtpEncryption::None {
        let message = "is `none`, so that the password can be read on the way";
        warnings.push(Problem::at("encryption", message));
    }
    Some(SmtpLogin { username: username.clone(), password: password.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(config: Value) -> Vec<String> {
        let fault = open(config).expect_err("it is wrong");
        fault.problems.into_iter().map(|it| it.path).collect()
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once() {
        let found = problems(json!({
            "host": "smtp://a.example", "port": 0, "from": "nobody", "reply_to": "x", "hello": "a b",
            "to": ["ops@example.com", "a@b\r\nBcc: evil@example.com", "@"], "username": "me",
            "ca_certificates": "none",
        }));
        let paths = [
            "from",
            "to[1]",
            "to[2]",
            "reply_to",
            "host",
            "port",
            "hello",
            "password",
            "ca_certificates",
        ];
        assert_eq!(found, paths);
        let none = json!({ "host": "a", "from": "a@b.example", "to": [] });
        assert_eq!(problems(none), ["to"]);
    }

    #[test]
    fn ports_go_with_the_encryption() {
        for (encryption, port) in [("starttls", 587), ("implicit", 465), ("none", 25)] {
            let config = json!({
                "host": "a.example", "from": "a@b.example", "to": ["c@d.example"],
                "encryption": encryption,
            });
            assert_eq!(open(config).ok().unwrap().server.port, port);
        }
    }

    #[test]
    fn what_is_questionable_is_a_warning() {
        let config = json!({
            "host": "a.example", "from": "a@b.example", "to": ["c@d.example"], "encryption": "none",
            "username": "me", "password": "secret",
        });
        let mailer = open(config).ok().unwrap();
        let paths: Vec<_> = mailer.warnings.iter().map(|it| it.path.as_str()).collect();
        assert_eq!(paths, ["encryption"]);
        for example in schema()["examples"].as_array().unwrap() {
            assert!(open(example.clone()).is_ok_and(|it| it.warnings.is_empty()), "{example}");
        }
    }
}
