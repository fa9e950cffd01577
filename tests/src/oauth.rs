//! A server of OAuth2 on loopback that behaves as RFC 6749 (§4.1, §5, §6), RFC 7636 and RFC 7009 say,
//! errors included, and misbehaves as it is told to. Beside it are two resources: one for its access
//! tokens, and one for a key that is nobody's token.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::http::{Connection, Response};

/// The client that the server knows.
pub const CLIENT_ID: &str = "client:1";
/// Its secret.
pub const CLIENT_SECRET: &str = "planted-client-secret/&+";
/// The key that `/key` takes.
pub const KEY: &str = "planted-key/&\"";

/// How the server behaves.
#[derive(Clone, Debug)]
pub struct Behaviour {
    /// Seconds that access tokens are good for; the answer does not say when absent.
    pub expires_in: Option<u64>,
    /// Whether it gives refresh tokens.
    pub gives_refresh_tokens: bool,
    /// Whether a refresh token is good once, and comes with its successor.
    pub rotates: bool,
    /// Whether tokens come as a form instead of JSON.
    pub answers_with_a_form: bool,
    /// Answers of the token endpoint instead of the right ones: status, type and body.
    pub token_answer: Option<(u16, &'static str, String)>,
    /// `Retry-After` of that.
    pub retry_after: Option<u64>,
    /// What the token endpoint waits before it answers.
    pub delay: Duration,
    /// What people answer when they are asked for access: `access_denied` and the like.
    pub denial: Option<String>,
    /// The organizations of whoever asks.
    pub organizations: Value,
    /// Status of the revocation endpoint.
    pub revocation_status: u16,
}

impl Default for Behaviour {
    fn default() -> Behaviour {
        Behaviour {
            expires_in: Some(3600),
            gives_refresh_tokens: true,
            rotates: true,
            answers_with_a_form: false,
            token_answer: None,
            retry_after: None,
            delay: Duration::ZERO,
            denial: None,
            organizations: json!([{ "uid": 7, "title": "Acme" }]),
            revocation_status: 200,
        }
    }
}

/// What the server was asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Codes that were sent to the token endpoint.
    pub codes: usize,
    /// Refresh tokens that were.
    pub refreshes: usize,
    /// Tokens that were to be revoked.
    pub revocations: usize,
    /// Questions about a key or an access token.
    pub resources: usize,
}

/// A code that was given to somebody.
struct Code {
    redirect_uri: String,
    challenge: String,
    scope: String,
}

#[derive(Default)]
struct State {
    behaviour: Behaviour,
    asked: Asked,
    codes: HashMap<String, Code>,
    used_codes: HashSet<String>,
    /// With their scope.
    access_tokens: HashMap<String, String>,
    refresh_tokens: HashMap<String, String>,
    all_tokens: Vec<String>,
    count: u64,
}

/// The server; it ends with this value.
pub struct OauthServer {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    ended: Arc<AtomicBool>,
}

impl OauthServer {
    /// Starts one that behaves.
    ///
    /// # Panics
    ///
    /// When loopback has no free port.
    pub fn start() -> OauthServer {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let state = Arc::new(Mutex::new(State::default()));
        let ended = Arc::new(AtomicBool::new(false));
        let (shared, over) = (state.clone(), ended.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if over.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let (shared, over) = (shared.clone(), over.clone());
                std::thread::spawn(move || serve(stream, &shared, &over));
            }
        });
        OauthServer { address, state, ended }
    }

    /// `http://127.0.0.1:<port>`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Changes how it behaves.
    pub fn behave(&self, change: impl FnOnce(&mut Behaviour)) {
        change(&mut lock(&self.state).behaviour);
    }

    /// What it was asked so far.
    pub fn asked(&self) -> Asked {
        lock(&self.state).asked.clone()
    }

    /// Every token that it ever gave.
    pub fn all_tokens(&self) -> Vec<String> {
        lock(&self.state).all_tokens.clone()
    }

    /// Whether an access token is good.
    pub fn takes(&self, access_token: &str) -> bool {
        lock(&self.state).access_tokens.contains_key(access_token)
    }

    /// Forgets all access tokens, and says so to nobody; refresh tokens stay good.
    pub fn forget_access_tokens(&self) {
        lock(&self.state).access_tokens.clear();
    }

    /// Forgets all tokens, as when somebody withdraws access there.
    pub fn withdraw(&self) {
        let mut state = lock(&self.state);
        state.access_tokens.clear();
        state.refresh_tokens.clear();
    }

    /// Goes to a page as somebody's browser does, grants access, and answers where he is sent.
    ///
    /// # Panics
    ///
    /// When the page is not this server's.
    pub fn visit(&self, authorize_url: &str) -> Response {
        let path = authorize_url.strip_prefix(&self.url()).expect("a page of this server");
        let mut connection = Connection::tcp(self.address).expect("it listens");
        connection.send("GET", path, &[], b"").expect("it answers")
    }
}

impl Drop for OauthServer {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        // Wakes the thread that waits for connections.
        let _ = TcpStream::connect(self.address);
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A request, as far as this server looks.
struct Request {
    method: String,
    path: String,
    query: BTreeMap<String, String>,
    headers: BTreeMap<String, String>,
    body: String,
}

struct Reply {
    status: u16,
    content_type: &'static str,
    headers: Vec<(&'static str, String)>,
    body: String,
}

impl Reply {
    fn json(status: u16, body: &Value) -> Reply {
        Reply {
            status,
            content_type: "application/json",
            headers: vec![("Cache-Control", "no-store".to_owned())],
            body: body.to_string(),
        }
    }

    /// RFC 6749 §5.2.
    fn error(status: u16, code: &str, description: &str) -> Reply {
        Reply::json(status, &json!({ "error": code, "error_description": description }))
    }
}

fn serve(stream: TcpStream, state: &Mutex<State>, ended: &AtomicBool) {
    // A test that hangs must not hang for ever.
    let _ = stream.set_read_timeout(Some(Duration::from_secs(60)));
    let Ok(mut writer) = stream.try_clone() else { return };
    let mut reader = BufReader::new(stream);
    while let Some(request) = read(&mut reader) {
        if ended.load(Ordering::SeqCst) {
            return;
        }
        let reply = match (request.method.as_str(), request.path.as_str()) {
            ("GET", "/authorize") => authorize(&request, &mut lock(state)),
            ("POST", "/token") => token(&request, state),
            ("POST", "/revoke") => revoke(&request, &mut lock(state)),
            ("GET", "/me") => me(&request, &mut lock(state)),
            ("GET", "/key") => key(&request, &mut lock(state)),
            _ => Reply::error(404, "not_found", "there is nothing here"),
        };
        if write(&mut writer, &reply).is_err() {
            return;
        }
    }
}

fn read(reader: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|it| *it > 0)?;
    let mut words = line.split_whitespace();
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").and_then(|it| it.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    Some(Request {
        method,
        path: path.to_owned(),
        query: form(query),
        headers,
        body: String::from_utf8_lossy(&body).into_owned(),
    })
}

fn write(writer: &mut TcpStream, reply: &Reply) -> std::io::Result<()> {
    let mut head = format!(
        "HTTP/1.1 {} Said\r\nContent-Type: {}\r\nContent-Length: {}\r\n",
        reply.status,
        reply.content_type,
        reply.body.len()
    );
    for (name, value) in &reply.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    writer.write_all(head.as_bytes())?;
    writer.write_all(reply.body.as_bytes())?;
    writer.flush()
}

/// Reads `application/x-www-form-urlencoded`.
pub fn form(text: &str) -> BTreeMap<String, String> {
    let pairs = text.split('&').filter_map(|it| it.split_once('='));
    pairs.map(|(name, value)| (decode(name), decode(value))).collect()
}

fn decode(text: &str) -> String {
    let text = text.replace('+', " ");
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        match part
            .split_at_checked(2)
            .and_then(|(code, rest)| Some((hex::decode(code).ok()?, rest)))
        {
            Some((decoded, rest)) => {
                bytes.extend(decoded);
                bytes.extend(rest.as_bytes());
            }
            None => {
                bytes.push(b'%');
                bytes.extend(part.as_bytes());
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Percent-encodes a value of a form or query.
pub fn encode(text: &str) -> String {
    let each = text.bytes().map(|byte| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
            char::from(byte).to_string()
        }
        _ => format!("%{byte:02X}"),
    });
    each.collect()
}

/// RFC 6749 §4.1.1, §4.1.2, and RFC 7636 §4.3. The person has logged in and decided already.
fn authorize(request: &Request, state: &mut State) -> Reply {
    let given = |name: &str| request.query.get(name).map(String::as_str).unwrap_or_default();
    // Nobody is sent anywhere on behalf of a client that is not known.
    if given("client_id") != CLIENT_ID {
        return Reply::error(400, "invalid_request", "the client is not known");
    }
    let redirect_uri = given("redirect_uri").to_owned();
    if !redirect_uri.ends_with("/keyrings.authorize") {
        return Reply::error(400, "invalid_request", "the redirect URI is not registered");
    }
    let send = |parameters: &[(&str, &str)]| {
        let mut location = format!("{redirect_uri}?state={}", encode(given("state")));
        for (name, value) in parameters {
            location.push_str(&format!("&{name}={}", encode(value)));
        }
        Reply {
            status: 302,
            content_type: "text/plain",
            headers: vec![("Location", location)],
            body: String::new(),
        }
    };
    if let Some(denial) = state.behaviour.denial.clone() {
        return send(&[("error", &denial), ("error_description", "<b>not</b> today")]);
    }
    if given("response_type") != "code" {
        return send(&[("error", "unsupported_response_type")]);
    }
    if given("code_challenge_method") != "S256" || given("code_challenge").len() != 43 {
        return send(&[("error", "invalid_request"), ("error_description", "S256 is needed")]);
    }
    let code = state.new_text("code");
    state.codes.insert(
        code.clone(),
        Code {
            redirect_uri: redirect_uri.clone(),
            challenge: given("code_challenge").to_owned(),
            scope: given("scope").to_owned(),
        },
    );
    send(&[("code", &code)])
}

/// RFC 6749 §3.2, §4.1.3 and §6.
fn token(request: &Request, state: &Mutex<State>) -> Reply {
    let parameters = form(&request.body);
    let grant_type = parameters.get("grant_type").map(String::as_str).unwrap_or_default();
    let (delay, forced, retry_after) = {
        let mut state = lock(state);
        match grant_type {
            "authorization_code" => state.asked.codes += 1,
            "refresh_token" => state.asked.refreshes += 1,
            _ => {}
        }
        let behaviour = &state.behaviour;
        (behaviour.delay, behaviour.token_answer.clone(), behaviour.retry_after)
    };
    std::thread::sleep(delay);
    if let Some((status, content_type, body)) = forced {
        let headers = retry_after.map(|it| ("Retry-After", it.to_string())).into_iter().collect();
        return Reply { status, content_type, headers, body };
    }
    let mut state = lock(state);
    if let Err(reply) = authenticate(request, &parameters) {
        return *reply;
    }
    let given = |name: &str| parameters.get(name).map(String::as_str).unwrap_or_default();
    match grant_type {
        "authorization_code" => {
            if state.used_codes.contains(given("code")) {
                // §4.1.2: whoever comes with a used code may be a thief.
                state.access_tokens.clear();
                state.refresh_tokens.clear();
                return Reply::error(400, "invalid_grant", "the code was used already");
            }
            let Some(code) = state.codes.remove(given("code")) else {
                return Reply::error(400, "invalid_grant", "the code is not known");
            };
            state.used_codes.insert(given("code").to_owned());
            if code.redirect_uri != given("redirect_uri") {
                return Reply::error(400, "invalid_grant", "it is for another redirect URI");
            }
            let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(given("code_verifier")));
            if challenge != code.challenge {
                return Reply::error(400, "invalid_grant", "the verifier is wrong");
            }
            state.give(&code.scope)
        }
        "refresh_token" => {
            let token = given("refresh_token");
            let Some(scope) = state.refresh_tokens.get(token).cloned() else {
                let known = state.all_tokens.iter().any(|it| it == token);
                if known && state.behaviour.rotates {
                    // RFC 6819 §5.2.2.3: a rotated token that comes again was stolen.
                    state.access_tokens.clear();
                    state.refresh_tokens.clear();
                }
                let description = format!("the refresh token {token} is not good");
                return Reply::error(400, "invalid_grant", &description);
            };
            if state.behaviour.rotates {
                state.refresh_tokens.remove(token);
            }
            state.give(&scope)
        }
        _ => Reply::error(400, "unsupported_grant_type", "neither code nor refresh token"),
    }
}

/// §2.3.1: by header or in the body, not both.
fn authenticate(
    request: &Request,
    parameters: &BTreeMap<String, String>,
) -> Result<(), Box<Reply>> {
    let in_body = parameters.get("client_secret");
    let in_header = request.headers.get("authorization").map(|it| {
        let pair = it.strip_prefix("Basic ").and_then(|it| STANDARD.decode(it).ok());
        let pair = pair.map(|it| String::from_utf8_lossy(&it).into_owned()).unwrap_or_default();
        let (id, secret) = pair.split_once(':').unwrap_or_default();
        (decode(id), decode(secret))
    });
    let known = match (in_body, in_header) {
        (Some(_), Some(_)) => {
            let description = "the client shows itself in two ways";
            return Err(Box::new(Reply::error(400, "invalid_request", description)));
        }
        (Some(secret), None) => {
            secret == CLIENT_SECRET && parameters.get("client_id").is_some_and(|it| it == CLIENT_ID)
        }
        (None, Some((id, secret))) => id == CLIENT_ID && secret == CLIENT_SECRET,
        (None, None) => false,
    };
    if known {
        return Ok(());
    }
    let mut reply = Reply::error(401, "invalid_client", "this is not the client");
    reply.headers.push(("WWW-Authenticate", "Basic".to_owned()));
    Err(Box::new(reply))
}

impl State {
    /// A text that nobody else has, which tests search logs for.
    fn new_text(&mut self, kind: &str) -> String {
        self.count += 1;
        let digest = Sha256::digest(format!("{kind}-{}", self.count));
        format!("planted-{kind}-{}-{}", self.count, hex::encode(&digest[..8]))
    }

    /// §5.1.
    fn give(&mut self, scope: &str) -> Reply {
        let access = self.new_text("access");
        self.access_tokens.insert(access.clone(), scope.to_owned());
        self.all_tokens.push(access.clone());
        let mut answer = json!({ "access_token": access, "token_type": "Bearer", "scope": scope });
        if let Some(seconds) = self.behaviour.expires_in {
            answer["expires_in"] = json!(seconds);
        }
        let has_one = !self.refresh_tokens.is_empty() && !self.behaviour.rotates;
        if self.behaviour.gives_refresh_tokens && !has_one {
            let refresh = self.new_text("refresh");
            self.refresh_tokens.insert(refresh.clone(), scope.to_owned());
            self.all_tokens.push(refresh.clone());
            answer["refresh_token"] = json!(refresh);
        }
        if !self.behaviour.answers_with_a_form {
            return Reply::json(200, &answer);
        }
        let members = answer.as_object().into_iter().flatten();
        let pairs = members.map(|(name, value)| {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            format!("{name}={}", encode(&text))
        });
        Reply {
            status: 200,
            content_type: "application/x-www-form-urlencoded",
            headers: Vec::new(),
            body: pairs.collect::<Vec<_>>().join("&"),
        }
    }
}

/// RFC 7009 §2: a token that is not known is no error.
fn revoke(request: &Request, state: &mut State) -> Reply {
    state.asked.revocations += 1;
    let parameters = form(&request.body);
    if let Err(reply) = authenticate(request, &parameters) {
        return *reply;
    }
    let status = state.behaviour.revocation_status;
    if status == 200 {
        let token = parameters.get("token").map(String::as_str).unwrap_or_default();
        state.access_tokens.remove(token);
        if state.refresh_tokens.remove(token).is_some() {
            state.access_tokens.clear();
        }
    }
    Reply::json(status, &json!({}))
}

/// What belongs to an access token (RFC 6750).
fn me(request: &Request, state: &mut State) -> Reply {
    state.asked.resources += 1;
    let header = request.headers.get("authorization").map(String::as_str).unwrap_or_default();
    let token = header.strip_prefix("Bearer ").unwrap_or_default();
    if !state.access_tokens.contains_key(token) {
        let description = format!("the token {token} is not good");
        return Reply::error(401, "invalid_token", &description);
    }
    Reply::json(200, &json!({ "organizations": state.behaviour.organizations }))
}

/// What belongs to a key, which comes as `Basic`, in `x-key` or in the query; a wrong one is quoted.
fn key(request: &Request, state: &mut State) -> Reply {
    state.asked.resources += 1;
    let basic = request.headers.get("authorization").and_then(|it| it.strip_prefix("Basic "));
    let basic = basic.and_then(|it| STANDARD.decode(it).ok());
    let basic = basic.map(|it| String::from_utf8_lossy(&it).trim_end_matches(":X").to_owned());
    let given = basic
        .or_else(|| request.headers.get("x-key").cloned())
        .or_else(|| request.query.get("key").cloned())
        .unwrap_or_default();
    if given == KEY {
        return Reply::json(200, &json!({ "organizations": state.behaviour.organizations }));
    }
    Reply::json(401, &json!({ "said": format!("no such key: {given}") }))
}
