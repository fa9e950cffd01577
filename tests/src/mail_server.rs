//! A mail server (RFC 5321) with STARTTLS or TLS from the first byte on, and AUTH PLAIN: it takes mails and
//! keeps them, and answers otherwise where it is told to.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// Whether conversations are encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encryption {
    /// From the first byte on.
    Implicit,
    /// From STARTTLS on.
    Starttls,
    /// Not at all.
    None,
}

/// How the server behaves.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Whether conversations are encrypted.
    pub encryption: Encryption,
    /// Whom its certificate is for.
    pub name: String,
    /// Who may send; everybody when absent.
    pub login: Option<(String, String)>,
    /// Answers in the place of its own, by what a line begins with. `GREETING` is for the greeting,
    /// and `.` for the end of a mail.
    pub answers: Vec<(String, String)>,
    /// Something that it says in the clear right after its answer to STARTTLS, as somebody on the way
    /// would.
    pub injects: Option<String>,
}

impl Default for Rules {
    fn default() -> Rules {
        Rules {
            encryption: Encryption::None,
            name: "localhost".to_owned(),
            login: None,
            answers: Vec::new(),
            injects: None,
        }
    }
}

/// A mail that was taken.
#[derive(Clone, Debug, Default)]
pub struct Mail {
    /// The sender of the envelope.
    pub from: String,
    /// Its recipients.
    pub to: Vec<String>,
    /// All of it, with the dots in front of lines taken off.
    pub text: String,
    /// Whether the conversation was encrypted.
    pub is_encrypted: bool,
    /// Who signed in.
    pub user: Option<String>,
}

struct Shared {
    rules: Rules,
    tls: Arc<ServerConfig>,
    mails: Mutex<Vec<Mail>>,
    lines: Mutex<Vec<String>>,
}

/// A server on a port of its own. It serves until the process ends.
pub struct MailServer {
    port: u16,
    certificate: String,
    shared: Arc<Shared>,
}

impl MailServer {
    /// Starts one.
    ///
    /// # Panics
    ///
    /// When there is no port or certificate for it.
    pub fn start(rules: Rules) -> MailServer {
        let made =
            rcgen::generate_simple_self_signed(vec![rules.name.clone()]).expect("a certificate");
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions of TLS")
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .expect("its own key");
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let shared = Arc::new(Shared {
            rules,
            tls: Arc::new(tls),
            mails: Mutex::default(),
            lines: Mutex::default(),
        });
        let served = shared.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let served = served.clone();
                // Whoever hangs up is not our concern.
                std::thread::spawn(move || serve(stream, &served).ok());
            }
        });
        MailServer { port, certificate: made.cert.pem(), shared }
    }

    /// Its port on `localhost`.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its certificate in PEM.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// The mails that it has taken so far, oldest first.
    pub fn mails(&self) -> Vec<Mail> {
        self.shared.mails.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What was said to it so far, but for mails and passwords.
    pub fn lines(&self) -> Vec<String> {
        self.shared.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

fn serve(stream: TcpStream, shared: &Shared) -> io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let mut talk = Talk { shared, mail: Mail::default(), user: None, is_encrypted: false };
    if shared.rules.encryption == Encryption::Implicit {
        let mut stream = encrypted(stream, shared)?;
        talk.is_encrypted = true;
        talk.greet(&mut stream)?;
        talk.hold(&mut stream)?;
        return Ok(());
    }
    let mut stream = stream;
    talk.greet(&mut stream)?;
    if talk.hold(&mut stream)? {
        let mut stream = encrypted(stream, shared)?;
        talk.is_encrypted = true;
        talk.hold(&mut stream)?;
    }
    Ok(())
}

fn encrypted(
    stream: TcpStream,
    shared: &Shared,
) -> io::Result<StreamOwned<ServerConnection, TcpStream>> {
    let connection = ServerConnection::new(shared.tls.clone()).map_err(io::Error::other)?;
    Ok(StreamOwned::new(connection, stream))
}

struct Talk<'a> {
    shared: &'a Shared,
    mail: Mail,
    user: Option<String>,
    is_encrypted: bool,
}

impl Talk<'_> {
    fn greet(&self, stream: &mut dyn Stream) -> io::Result<()> {
        self.say(stream, "GREETING", "220 localhost ready")
    }

    /// Says what is told to be said, or else this.
    fn say(&self, stream: &mut dyn Stream, line: &str, usual: &str) -> io::Result<()> {
        let told = self.told(line).unwrap_or(usual);
        stream.write_all(format!("{told}\r\n").as_bytes())?;
        stream.flush()
    }

    fn told(&self, line: &str) -> Option<&str> {
        let answers = &self.shared.rules.answers;
        answers.iter().find(|(start, _)| line.starts_with(start.as_str())).map(|it| it.1.as_str())
    }

    /// Until the end; true when what follows is to be encrypted.
    fn hold(&mut self, stream: &mut dyn Stream) -> io::Result<bool> {
        let rules = &self.shared.rules;
        loop {
            let line = read_line(stream)?;
            let kept = if line.starts_with("AUTH") { "AUTH".to_owned() } else { line.clone() };
            self.shared.lines.lock().unwrap_or_else(PoisonError::into_inner).push(kept);
            let is_refused = self.told(&line).is_some_and(|it| !it.starts_with(['2', '3']));
            let may_send = rules.login.is_none() || self.user.is_some();
            match line.split([' ', ':']).next().unwrap_or_default() {
                "EHLO" => {
                    let starttls = rules.encryption == Encryption::Starttls && !self.is_encrypted;
                    let mut abilities = vec!["localhost", "8BITMIME"];
                    abilities.extend(starttls.then_some("STARTTLS"));
                    let signs_in = rules.login.is_some() && !starttls;
                    abilities.extend(signs_in.then_some("AUTH PLAIN LOGIN"));
                    abilities.push("SIZE 1000000");
                    let last = abilities.len() - 1;
                    let lines: Vec<String> = abilities
                        .iter()
                        .enumerate()
                        .map(|(at, it)| format!("250{}{it}", if at == last { ' ' } else { '-' }))
                        .collect();
                    self.say(stream, &line, &lines.join("\r\n"))?;
                }
                "STARTTLS" => {
                    self.say(stream, &line, "220 go ahead")?;
                    if let Some(text) = &rules.injects {
                        stream.write_all(text.as_bytes())?;
                        stream.flush()?;
                    }
                    if !is_refused {
                        return Ok(true);
                    }
                }
                "AUTH" => {
                    let given =
                        line.strip_prefix("AUTH PLAIN ").and_then(|it| STANDARD.decode(it).ok());
                    let given = given.and_then(|it| String::from_utf8(it).ok()).unwrap_or_default();
                    let user = rules.login.as_ref();
                    let user =
                        user.filter(|(user, password)| given == format!("\0{user}\0{password}"));
                    self.user = user.map(|it| it.0.clone());
                    let usual = match self.user {
                        Some(_) => "235 welcome",
                        None => "535 5.7.8 authentication credentials invalid",
                    };
                    self.say(stream, "AUTH", usual)?;
                }
                "MAIL" if !may_send => {
                    self.say(stream, &line, "530 5.7.0 authentication required")?
                }
                "MAIL" => {
                    self.mail = Mail {
                        from: address(&line),
                        is_encrypted: self.is_encrypted,
                        user: self.user.clone(),
                        ..Mail::default()
                    };
                    self.say(stream, &line, "250 ok")?;
                }
                "RCPT" => {
                    if !is_refused {
                        self.mail.to.push(address(&line));
                    }
                    self.say(stream, &line, "250 ok")?;
                }
                "DATA" => {
                    self.say(stream, &line, "354 go ahead")?;
                    if is_refused {
                        continue;
                    }
                    self.mail.text = read_mail(stream)?;
                    if self.told(".").is_none_or(|it| it.starts_with('2')) {
                        let mut mails =
                            self.shared.mails.lock().unwrap_or_else(PoisonError::into_inner);
                        mails.push(self.mail.clone());
                    }
                    self.say(stream, ".", "250 2.0.0 queued as 1234")?;
                }
                "QUIT" => {
                    self.say(stream, &line, "221 bye")?;
                    return Ok(false);
                }
                _ => self.say(stream, &line, "502 unknown")?,
            }
        }
    }
}

fn read_line(stream: &mut dyn Stream) -> io::Result<String> {
    let mut line = Vec::new();
    let mut byte = [0];
    while !line.ends_with(b"\r\n") && line.len() < 10_000 {
        stream.read_exact(&mut byte)?;
        line.push(byte[0]);
    }
    Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
}

fn read_mail(stream: &mut dyn Stream) -> io::Result<String> {
    let mut text = String::new();
    loop {
        let line = read_line(stream)?;
        if line == "." {
            return Ok(text);
        }
        text.push_str(line.strip_prefix('.').unwrap_or(&line));
        text.push_str("\r\n");
    }
}

fn address(line: &str) -> String {
    let inner = line.split_once('<').and_then(|(_, it)| it.split_once('>'));
    inner.map_or(String::new(), |(it, _)| it.to_owned())
}
