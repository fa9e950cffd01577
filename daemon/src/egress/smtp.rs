//! Mail: one conversation with a mail server, under the same guard as requests.
//!
//! The connection goes to an address that was checked, and its certificate must be for the name that was
//! asked for. Owns what is said and in which order; what an answer means is whoever's who asked. Must
//! never put a password or what a mail says into an error, and never sign in before the conversation is
//! as encrypted as it was asked for.

use std::error::Error;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use lettre::Address;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, AsyncTokioStream};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use lettre::transport::smtp::extension::{ClientId, Extension, MailBodyParameter, MailParameter};
use lettre::transport::smtp::response::Response;
use mortise_plugin::{SmtpEffect, SmtpEncryption, SmtpOutcome, SmtpRefusal, SmtpStage};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::smtp_stream::{LineStream, Reply, Stream};
use super::{Egress, EgressError, client};
use crate::model::http::EgressRules;

/// Servers have to take a hundred; more are several mails.
const MOST_RECIPIENTS: usize = 100;
/// How long a server may take to say farewell after the mail is its own.
const FAREWELL: Duration = Duration::from_secs(2);
/// Of a server's text.
const LONGEST_MESSAGE: usize = 500;

/// Why there was no answer on which it depended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct NoAnswer {
    /// What was wrong, and what to do.
    pub message: String,
    /// Whether the same may work later.
    pub is_transient: bool,
}

impl From<EgressError> for NoAnswer {
    fn from(error: EgressError) -> NoAnswer {
        NoAnswer { message: error.to_string(), is_transient: error.is_transient() }
    }
}

impl Egress {
    /// Hands a mail to a server, or finds out whether it would take one.
    pub async fn mail(
        &self,
        order: &SmtpEffect,
        message: Option<&[u8]>,
        timeout: Duration,
        rules: &EgressRules,
    ) -> Result<SmtpOutcome, NoAnswer> {
        let conversation = Conversation { egress: self, order, message, rules };
        match tokio::time::timeout(timeout, conversation.hold()).await {
            Ok(Ok(outcome)) => Ok(outcome),
            Ok(Err(End::Answered(outcome))) => Ok(outcome),
            Ok(Err(End::Broken(reason))) => Err(reason),
            Err(_) => Err(lasting(
                &order.host,
                &format!("the conversation was not over within {} ms", timeout.as_millis()),
                true,
            )),
        }
    }
}

/// Why a conversation ended before its end.
enum End {
    Answered(SmtpOutcome),
    Broken(NoAnswer),
}

impl From<NoAnswer> for End {
    fn from(reason: NoAnswer) -> End {
        End::Broken(reason)
    }
}

fn lasting(host: &str, what: &str, is_transient: bool) -> NoAnswer {
    NoAnswer { message: format!("mail server {host}: {what}"), is_transient }
}

struct Conversation<'a> {
    egress: &'a Egress,
    order: &'a SmtpEffect,
    message: Option<&'a [u8]>,
    rules: &'a EgressRules,
}

impl Conversation<'_> {
    async fn hold(&self) -> Result<SmtpOutcome, End> {
        let (sender, recipients) = self.envelope()?;
        let mut connection = self.open().await?;
        if let Some(login) = &self.order.login {
            const WAYS: [Mechanism; 2] = [Mechanism::Plain, Mechanism::Login];
            if connection.server_info().get_auth_mechanism(&WAYS).is_none() {
                let what = "it does not let anybody sign in by name and password (AUTH PLAIN or LOGIN); \
                            leave both out, or ask for another encryption or port";
                return Err(self.broken(what, false));
            }
            let credentials = Credentials::new(login.username.clone(), login.password.clone());
            let answer = connection.auth(&WAYS, &credentials).await;
            answer.map_err(|error| self.refused(SmtpStage::Login, &error))?;
        }
        let parameters = self.parameters(&connection, &sender, &recipients)?;
        let answer = connection.command(Mail::new(Some(sender), parameters)).await;
        answer.map_err(|error| self.refused(SmtpStage::Sender, &error))?;
        let mut refused = Vec::new();
        let mut taken = None;
        for recipient in &recipients {
            let rcpt = Rcpt::new(recipient.clone(), Vec::new());
            match connection.command(rcpt).await {
                Ok(answer) => taken = Some(answer),
                Err(error) => {
                    let end = self.refused(SmtpStage::Recipients, &error);
                    let End::Answered(SmtpOutcome { code, message, .. }) = end else {
                        return Err(end);
                    };
                    let recipient = recipient.to_string();
                    refused.push(SmtpRefusal { recipient, code, message });
                    if code == 421 {
                        break;
                    }
                }
            }
        }
        let deferred = refused.iter().find(|it| it.code < 500);
        let waits = deferred.filter(|it| !self.order.without_deferred || it.code == 421);
        let outcome = match (taken, waits.or(refused.first())) {
            // Nobody gets it now who would get it again with the next attempt.
            (Some(_), Some(refusal)) if waits.is_some() => of_refusal(refusal, &refused),
            (Some(answer), _) => match self.message {
                None => answered(SmtpStage::Recipients, &answer, refused),
                Some(message) => {
                    let answer = self.send(&mut connection, message).await?;
                    answered(SmtpStage::Message, &answer, refused)
                }
            },
            (None, Some(refusal)) => {
                let refusal = waits.or(deferred).unwrap_or(refusal);
                of_refusal(refusal, &refused)
            }
            (None, None) => return Err(self.broken("there are no recipients", false)),
        };
        // Whatever it says to this changes nothing.
        let _farewell = tokio::time::timeout(FAREWELL, connection.quit()).await;
        Ok(outcome)
    }

    async fn send(
        &self,
        connection: &mut AsyncSmtpConnection,
        message: &[u8],
    ) -> Result<Response, End> {
        let ready = connection.command(Data).await;
        ready.map_err(|error| self.refused(SmtpStage::Message, &error))?;
        let answer = connection.message(message).await;
        answer.map_err(|error| self.refused(SmtpStage::Message, &error))
    }

    /// Addresses that cannot be read as two commands.
    fn envelope(&self) -> Result<(Address, Vec<Address>), End> {
        let parse = |text: &String| {
            text.parse::<Address>().map_err(|error| {
                let shown: String = text.chars().take(100).collect();
                self.broken(&format!("`{}` is no address: {error}", shown.escape_debug()), false)
            })
        };
        if self.order.recipients.len() > MOST_RECIPIENTS {
            let what = format!("a mail has at most {MOST_RECIPIENTS} recipients");
            return Err(self.broken(&what, false));
        }
        let recipients: Result<Vec<Address>, End> =
            self.order.recipients.iter().map(parse).collect();
        Ok((parse(&self.order.sender)?, recipients?))
    }

    fn parameters(
        &self,
        connection: &AsyncSmtpConnection,
        sender: &Address,
        recipients: &[Address],
    ) -> Result<Vec<MailParameter>, End> {
        let knows = |it| connection.server_info().supports_feature(it);
        let mut parameters = Vec::new();
        if recipients.iter().chain([sender]).any(|it| !it.to_string().is_ascii()) {
            if !knows(Extension::SmtpUtfEight) {
                let what = "it takes no addresses with letters beyond ASCII (SMTPUTF8)";
                return Err(self.broken(what, false));
            }
            parameters.push(MailParameter::SmtpUtfEight);
        }
        if self.message.is_some_and(|it| !it.is_ascii()) {
            if !knows(Extension::EightBitMime) {
                let what = "it takes no mails with bytes beyond ASCII (8BITMIME)";
                return Err(self.broken(what, false));
            }
            parameters.push(MailParameter::Body(MailBodyParameter::EightBitMime));
        }
        Ok(parameters)
    }

    /// Up to the answer to EHLO, as encrypted as was asked.
    async fn open(&self) -> Result<AsyncSmtpConnection, End> {
        let SmtpEffect { host, port, .. } = self.order;
        let connected = self.egress.connect(host, *port, self.rules).await;
        let stream = connected.map_err(NoAnswer::from)?;
        let local = stream.local_addr().map_err(|error| self.failed(&error))?;
        let hello = self.hello(local)?;
        let stream: Box<dyn AsyncTokioStream> = match self.order.encryption {
            SmtpEncryption::None => Box::new(LineStream::new(stream)),
            SmtpEncryption::Implicit => Box::new(LineStream::new(self.encrypt(stream).await?)),
            SmtpEncryption::Starttls => {
                let mut stream = LineStream::new(stream);
                self.begin_encryption(&mut stream, &hello).await?;
                let stream = stream.into_inner().map_err(|error| self.failed(&error))?;
                Box::new(LineStream::greeted(self.encrypt(stream).await?))
            }
        };
        let opened = AsyncSmtpConnection::connect_with_transport(stream, &hello).await;
        opened.map_err(|error| self.refused(SmtpStage::Greeting, &error))
    }

    /// What follows is encrypted.
    async fn begin_encryption<S: Stream>(
        &self,
        stream: &mut LineStream<S>,
        hello: &ClientId,
    ) -> Result<(), End> {
        let greeting = self.heard(stream.hear(), SmtpStage::Greeting).await?;
        let _polite = greeting;
        let abilities =
            self.heard(stream.ask(&format!("EHLO {hello}")), SmtpStage::Greeting).await?;
        if !abilities.lines.iter().any(|it| it.trim().eq_ignore_ascii_case("STARTTLS")) {
            let what = "it does not offer STARTTLS; ask for `implicit` encryption with the port for that \
                        (465), or for `none` if its network is yours";
            return Err(self.broken(what, false));
        }
        self.heard(stream.ask("STARTTLS"), SmtpStage::Starttls).await?;
        Ok(())
    }

    async fn heard(
        &self,
        reply: impl Future<Output = io::Result<Reply>>,
        stage: SmtpStage,
    ) -> Result<Reply, End> {
        let reply = reply.await.map_err(|error| self.failed(&error))?;
        if (200..300).contains(&reply.code) {
            return Ok(reply);
        }
        let message = shortened(&reply.lines.join(" "));
        Err(End::Answered(SmtpOutcome { stage, code: reply.code, message, refused: Vec::new() }))
    }

    async fn encrypt(
        &self,
        stream: TcpStream,
    ) -> Result<tokio_rustls::client::TlsStream<TcpStream>, End> {
        let host = &self.order.host;
        let name = ServerName::try_from(host.clone())
            .map_err(|_| self.broken("its name is none that a certificate can be for", false))?;
        let mut roots = self.egress.clients.roots().clone();
        for found in self
            .order
            .ca_certificates
            .iter()
            .flat_map(|it| CertificateDer::pem_slice_iter(it.as_bytes()))
        {
            let added = found.map_err(|error| format!("{error:?}"));
            let added = added.and_then(|it| roots.add(it).map_err(|error| error.to_string()));
            added.map_err(|error| {
                self.broken(&format!("the certificates given for it are none: {error}"), false)
            })?;
        }
        let connector = TlsConnector::from(Arc::new(client::tls(roots)));
        connector.connect(name, stream).await.map_err(|error| self.failed(&error))
    }

    fn hello(&self, local: SocketAddr) -> Result<ClientId, End> {
        match &self.order.hello {
            None => Ok(match local.ip() {
                IpAddr::V4(it) => ClientId::Ipv4(it),
                IpAddr::V6(it) => ClientId::Ipv6(it),
            }),
            Some(name) => {
                let is_name = !name.is_empty()
                    && name.len() <= 253
                    && name.bytes().all(|it| it.is_ascii_alphanumeric() || b"-._[]:".contains(&it));
                match is_name {
                    true => Ok(ClientId::Domain(name.clone())),
                    false => Err(self.broken("the name to introduce oneself by is none", false)),
                }
            }
        }
    }

    fn broken(&self, what: &str, is_transient: bool) -> End {
        End::Broken(lasting(&self.order.host, what, is_transient))
    }

    /// A connection that broke. What is wrong with a certificate or with encryption stays wrong.
    fn failed(&self, error: &io::Error) -> End {
        let inside = error.get_ref().and_then(|it| it.downcast_ref::<rustls::Error>());
        let is_lasting = inside.is_some() || error.kind() == io::ErrorKind::InvalidData;
        let what = match inside {
            Some(rustls::Error::InvalidCertificate(_)) => {
                format!("its certificate is not trusted: {error}")
            }
            Some(rustls::Error::InvalidMessage(_)) => format!(
                "it does not speak TLS there; another encryption or port may be meant ({error})"
            ),
            Some(_) => format!("no encryption: {error}"),
            None if error.kind() == io::ErrorKind::UnexpectedEof => {
                "it closed the connection".to_owned()
            }
            None => error.to_string(),
        };
        self.broken(&what, !is_lasting)
    }

    /// What lettre has no answer for, or an answer that is none of success.
    fn refused(&self, stage: SmtpStage, error: &lettre::transport::smtp::Error) -> End {
        let source = error.source().map(ToString::to_string).unwrap_or_default();
        match error.status() {
            Some(code) => End::Answered(SmtpOutcome {
                stage,
                code: code.into(),
                message: shortened(&source),
                refused: Vec::new(),
            }),
            None => {
                let what = if source.is_empty() { error.to_string() } else { source };
                // What it said is no SMTP, or not what was asked for.
                let is_lasting = error.is_client() || error.is_response();
                self.broken(&shortened(&what), !is_lasting)
            }
        }
    }
}

fn answered(stage: SmtpStage, answer: &Response, refused: Vec<SmtpRefusal>) -> SmtpOutcome {
    let message = answer.message().collect::<Vec<_>>().join(" ");
    SmtpOutcome { stage, code: answer.code().into(), message: shortened(&message), refused }
}

fn of_refusal(refusal: &SmtpRefusal, refused: &[SmtpRefusal]) -> SmtpOutcome {
    SmtpOutcome {
        stage: SmtpStage::Recipients,
        code: refusal.code,
        message: refusal.message.clone(),
        refused: refused.to_vec(),
    }
}

/// One line of what a server says, with a sign where it is cut off: a server may repeat a password.
fn shortened(text: &str) -> String {
    let mut clean = text.trim().chars().map(|it| if it.is_control() { ' ' } else { it });
    let mut line: String = clean.by_ref().take(LONGEST_MESSAGE).collect();
    if clean.next().is_some() {
        line.push('\u{2026}');
    }
    line
}
