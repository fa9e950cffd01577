//! The connection to the daemon: one request at a time, over the Unix socket or a URL. Owns the
//! client's TLS-free HTTP and what its environment says; what is called and shown is not its
//! business.

use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use super::arguments::Connection;
use super::{Failure, files, progress, show};

/// Longer than the longest wait of the API.
const TIMEOUT: Duration = Duration::from_secs(90);
/// The same for making a version, which installs what it needs.
const MAKING: Duration = Duration::from_secs(20 * 60);
/// A function may take a day if its manifest says so, and the daemon ends it at its deadline.
const FUNCTION_TIMEOUT: Duration = Duration::from_secs(25 * 60 * 60);
/// The calls that wait for a function.
const FUNCTION_CALLS: [&str; 6] = [
    "functions.call",
    "commands.execute",
    "operations.execute",
    "snap-components.render",
    "configuration-pages.render",
    "snap-kit-action.execute.deferred",
];
/// A large artifact over a slow connection.
const TRANSFER_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);
/// How much of a list comes at once.
const PAGE: u32 = 500;
const DEFAULT_SOCKET: &str = "/run/mortise/mortise.sock";

/// What the daemon said no with.
#[derive(Debug)]
pub(super) struct Refusal {
    /// The HTTP status.
    status: u16,
    /// `application/problem+json`, unless something else answered.
    pub(super) answer: Value,
}

impl Refusal {
    /// Whether what was asked for is not there.
    pub(super) fn is_not_found(&self) -> bool {
        self.status == 404 && self.answer["code"] == "not_found"
    }

    /// Whether it is worth another try.
    pub(super) fn is_passing(&self) -> bool {
        matches!(self.status, 408 | 429 | 502..=504)
    }

    /// For people.
    pub(super) fn text(&self) -> String {
        show::problem(self.status, &self.answer)
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Failure {
        let text = refusal.text();
        // Nobody could do it at the moment, such as an external system that does not answer.
        let is_unavailable = refusal.answer["code"] == "unavailable";
        let mut failure = match refusal.status {
            500.. if !is_unavailable => Failure::failed(text),
            _ => Failure::refused(text),
        };
        failure.problem = refusal.answer.is_object().then(|| Box::new(refusal.answer));
        failure
    }
}

/// What became of a download.
pub(super) enum Received {
    /// It is here.
    All,
    /// The daemon said no.
    Refused(Refusal),
    /// Where it should go it could not.
    Unwritten(std::io::Error),
    /// The connection was lost.
    BrokeOff(String),
}

/// A connection to the daemon.
pub(super) struct Client {
    http: reqwest::Client,
    runtime: tokio::runtime::Runtime,
    base: String,
    token: Option<String>,
    /// For error messages.
    whereabouts: String,
}

impl Client {
    /// By the options, or else by the environment, or else by the default socket.
    pub(super) fn connect(connection: &Connection) -> Result<Client, Failure> {
        let token = match &connection.token_file {
            Some(file) => Some(files::read_text(file)?.trim().to_owned()),
            None => variable("MORTISE_TOKEN"),
        };
        if let Some(url) = connection.url.clone().or_else(|| variable("MORTISE_URL"))
            && connection.socket.is_none()
        {
            return Client::to_url(&url, token);
        }
        let socket = connection
            .socket
            .clone()
            .or_else(|| variable("MORTISE_SOCKET").map(PathBuf::from))
            .unwrap_or_else(|| DEFAULT_SOCKET.into());
        let http = reqwest::Client::builder().unix_socket(socket.clone());
        Client::new(http, "http://mortise".to_owned(), token, socket.display().to_string())
    }

    /// To a daemon at a URL.
    pub(super) fn to_url(url: &str, token: Option<String>) -> Result<Client, Failure> {
        let base = url.trim_end_matches('/').to_owned();
        Client::new(reqwest::Client::builder(), base.clone(), token, base)
    }

    fn new(
        http: reqwest::ClientBuilder,
        base: String,
        token: Option<String>,
        whereabouts: String,
    ) -> Result<Client, Failure> {
        // The daemon closes connections that rest; a command that waits for people must not find one.
        let http = http.pool_idle_timeout(Duration::from_secs(1));
        // A client without TLS needs no provider, but its builder asks for one all the same.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = http
            .no_proxy()
            .timeout(TIMEOUT)
            .build()
            .map_err(|error| Failure::failed(format!("cannot make requests: {error}")))?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::failed(error.to_string()))?;
        Ok(Client { http, runtime, base, token, whereabouts })
    }

    /// A call of the API; what the daemon refuses is a failure.
    pub(super) fn call(&self, name: &str, parameters: &Value) -> Result<Value, Failure> {
        Ok(self.try_call(name, parameters)??)
    }

    /// A call of the API that is answered with a status alone.
    pub(super) fn call_for_nothing(&self, name: &str, parameters: &Value) -> Result<(), Failure> {
        let (status, body) = self.wait_for(self.send_call(name, parameters))?;
        if (200..300).contains(&status) {
            return Ok(());
        }
        read_answer(status, body)??;
        Ok(())
    }

    /// A call of the API; the outer failure is that of the connection.
    pub(super) fn try_call(
        &self,
        name: &str,
        parameters: &Value,
    ) -> Result<Result<Value, Refusal>, Failure> {
        let (status, body) = self.wait_for(self.send_call(name, parameters))?;
        read_answer(status, body)
    }

    /// The same for what takes a while: says on a terminal what it waits for.
    pub(super) fn try_slow_call(
        &self,
        what: &str,
        name: &str,
        parameters: &Value,
    ) -> Result<Result<Value, Refusal>, Failure> {
        let answered = progress::shown_while(what, self.send_call(name, parameters));
        let (status, body) = self.wait_for(answered)?;
        read_answer(status, body)
    }

    /// The same; what the daemon refuses is a failure.
    pub(super) fn slow_call(
        &self,
        what: &str,
        name: &str,
        parameters: &Value,
    ) -> Result<Value, Failure> {
        Ok(self.try_slow_call(what, name, parameters)??)
    }

    /// All pages of a list.
    pub(super) fn list_all(
        &self,
        name: &str,
        key: &str,
        filter: &Value,
    ) -> Result<Vec<Value>, Failure> {
        let mut parameters = filter.clone();
        parameters["limit"] = PAGE.into();
        let mut all = Vec::new();
        loop {
            let page = self.call(name, &parameters)?;
            all.extend(page[key].as_array().cloned().unwrap_or_default());
            match &page["next_cursor"] {
                Value::Null => return Ok(all),
                cursor => parameters["cursor"] = cursor.clone(),
            }
        }
    }

    /// A POST to any URL; answers status and body.
    pub(super) fn post(
        &self,
        url: &str,
        headers: &[(&str, &str)],
        body: String,
    ) -> Result<(u16, String), Failure> {
        let mut request = self.http.post(url).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.wait_for(exchange(request))
    }

    /// Sends bytes to the URL of an artifact, saying on a terminal how far it is. The outer failure is
    /// that of an answer that cannot be read, the next one that of the connection.
    pub(super) fn send_bytes(
        &self,
        url: &str,
        body: reqwest::Body,
        said: impl Fn() -> String,
    ) -> Result<Result<Result<Value, Refusal>, String>, Failure> {
        let request = self.http.put(self.at_home(url)).timeout(TRANSFER_TIMEOUT).body(body);
        let request = request.header("content-type", "application/octet-stream");
        let exchanged =
            self.runtime.block_on(async { progress::shown_with(said, exchange(request)).await });
        match exchanged {
            Ok((status, body)) => read_answer(status, body).map(Ok),
            Err(error) => Ok(Err(innermost(&error))),
        }
    }

    /// Reads from the URL of an artifact, from a byte on, saying on a terminal how far it is.
    pub(super) fn receive_bytes(
        &self,
        url: &str,
        from: u64,
        said: impl Fn() -> String,
        mut take: impl FnMut(&[u8]) -> std::io::Result<()>,
    ) -> Result<Received, Failure> {
        let mut request = self.http.get(self.at_home(url)).timeout(TRANSFER_TIMEOUT);
        if from > 0 {
            request = request.header("range", format!("bytes={from}-"));
        }
        let received = async {
            let broke_off = |error: reqwest::Error| Received::BrokeOff(innermost(&error));
            let mut response = match request.send().await {
                Ok(response) => response,
                Err(error) => return Ok(broke_off(error)),
            };
            let status = response.status().as_u16();
            let expected = if from > 0 { 206 } else { 200 };
            if status != expected {
                let body = match response.text().await {
                    Ok(body) => body,
                    Err(error) => return Ok(broke_off(error)),
                };
                return match read_answer(status, body)? {
                    Err(refusal) => Ok(Received::Refused(refusal)),
                    Ok(_) => Err(Failure::failed(format!("the daemon answered {status}"))),
                };
            }
            loop {
                match response.chunk().await {
                    Ok(None) => return Ok(Received::All),
                    Ok(Some(bytes)) => {
                        if let Err(error) = take(&bytes) {
                            return Ok(Received::Unwritten(error));
                        }
                    }
                    Err(error) => return Ok(broke_off(error)),
                }
            }
        };
        self.runtime.block_on(async { progress::shown_with(said, received).await })
    }

    /// A URL of the daemon as it is reached from here: what it calls itself may be known elsewhere only.
    fn at_home(&self, url: &str) -> String {
        let path = url.rfind("/artifacts/").map_or(url, |at| &url[at..]);
        format!("{}{path}", self.base)
    }

    /// Waits for a while, saying on a terminal what for.
    pub(super) fn pause(&self, what: &str, time: Duration) {
        // Made inside: a timer belongs to the runtime that it is made in.
        self.runtime
            .block_on(async { progress::shown_while(what, tokio::time::sleep(time)).await });
    }

    /// Makes a call again and again until `look` finds what is waited for, saying on a terminal for what.
    pub(super) fn poll<T>(
        &self,
        name: &str,
        parameters: &Value,
        pause: Duration,
        said: impl Fn() -> String,
        mut look: impl FnMut(&Value) -> Option<T>,
    ) -> Result<T, Failure> {
        let polled = async {
            loop {
                let answered = self.send_call(name, parameters).await;
                let (status, body) = answered.map_err(|error| self.unreachable(&error))?;
                if let Some(found) = look(&read_answer(status, body)??) {
                    return Ok(found);
                }
                tokio::time::sleep(pause).await;
            }
        };
        self.runtime.block_on(async { progress::shown_with(said, polled).await })
    }

    fn send_call(
        &self,
        name: &str,
        parameters: &Value,
    ) -> impl Future<Output = reqwest::Result<(u16, String)>> {
        let url = format!("{}/api/v1/{name}", self.base);
        let request = self.http.post(url).header("content-type", "application/json");
        let mut request = request.body(parameters.to_string());
        if FUNCTION_CALLS.contains(&name) {
            request = request.timeout(FUNCTION_TIMEOUT);
        }
        if name == "versions.create" {
            request = request.timeout(MAKING);
        }
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        exchange(request)
    }

    fn wait_for(
        &self,
        answered: impl Future<Output = reqwest::Result<(u16, String)>>,
    ) -> Result<(u16, String), Failure> {
        self.runtime.block_on(answered).map_err(|error| self.unreachable(&error))
    }

    fn unreachable(&self, error: &reqwest::Error) -> Failure {
        let cause = innermost(error);
        Failure::unreachable(format!(
            "cannot reach the daemon at {}: {cause}; is it running? Name it with --socket, --url, \
             MORTISE_SOCKET or MORTISE_URL",
            self.whereabouts
        ))
    }
}

async fn exchange(request: reqwest::RequestBuilder) -> reqwest::Result<(u16, String)> {
    let response = request.send().await?;
    let status = response.status().as_u16();
    Ok((status, response.text().await?))
}

/// The outer failure is an answer that cannot be understood; it must not be taken for another.
fn read_answer(status: u16, body: String) -> Result<Result<Value, Refusal>, Failure> {
    let read: Result<Value, _> = serde_json::from_str(&body);
    if !(200..300).contains(&status) {
        // A proxy may answer with a page.
        let answer = read.unwrap_or(Value::String(body));
        return Ok(Err(Refusal { status, answer }));
    }
    let cannot = |why: &str| Failure::failed(format!("cannot read the daemon's answer: {why}"));
    match read {
        Ok(answer @ Value::Object(_)) => Ok(Ok(answer)),
        Ok(_) => Err(cannot("it is no JSON object")),
        Err(error) => Err(cannot(&error.to_string())),
    }
}

/// The cause that says what happened, at the end of a chain of wrappers.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

#[expect(clippy::disallowed_methods, reason = "the client is where its environment is read")]
pub(super) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|it| !it.is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_answer_that_cannot_be_read_is_none() {
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(200), "]".repeat(200));
        for body in [deep.as_str(), "", "null", "<html>", "{\"a\":"] {
            let failure = read_answer(200, body.to_owned()).expect_err(body);
            assert_eq!(failure.exit_code, 4);
            assert!(failure.message.starts_with("cannot read the daemon's answer: "), "{body}");
        }
        let page = read_answer(502, "<html>".to_owned());
        assert!(page.is_ok_and(|it| it.is_err_and(|it| it.answer == "<html>")));
        let done = read_answer(200, "{}".to_owned());
        assert!(done.is_ok_and(|it| it.is_ok_and(|it| it == json!({}))));
    }

    #[test]
    fn what_the_daemon_can_do_nothing_about_is_no_failure_of_it() {
        let code = |status: u16, code: &str| {
            let answer = json!({ "code": code, "message": "m" });
            Failure::from(Refusal { status, answer }).exit_code
        };
        assert_eq!(code(503, "unavailable"), 1);
        assert_eq!(code(422, "invalid"), 1);
        assert_eq!(code(500, "internal"), 4);
        assert_eq!(code(507, "disk_full"), 4);
    }
}
