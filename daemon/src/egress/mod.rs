//! Every HTTP request, mail and connection that leaves the daemon: for functions, webhooks, sinks.
//!
//! Owns reqwest and lettre, and with them connections, TLS and the names of other hosts. No request leaves
//! without passing the guard: the host as written, every address it resolves to, and the same again
//! for every redirect. A connection is opened only to an address that was checked, in the same
//! breath. Must never take a proxy or anything else from the environment, and never put a URL or a
//! header into an error: they hold secrets.
//!
//! Calls to the daemon's own API never leave the host: they are handed to [`LocalApi`].

mod client;
mod connect;
mod guard;
mod redirect;
mod resolve;
mod smtp;
mod smtp_stream;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use reqwest::Url;

use self::client::Clients;
pub use self::connect::Home;
use self::redirect::Next;
pub use self::resolve::Resolver;
pub use self::smtp::NoAnswer;
use crate::model::http::{
    Destination, EgressRules, Headers, OutgoingRequest, OutgoingResponse, Redirects,
};

const MOST_REDIRECTS: u32 = 5;

/// What holds for every request, whoever makes it.
#[derive(Clone, Debug)]
pub struct EgressOptions {
    /// Destinations that every sender may reach although their addresses are refused otherwise.
    pub internal: Vec<Destination>,
    /// Refuse private addresses for every sender.
    pub refuse_private: bool,
    /// The most that a response's body may have, decompressed.
    pub response_bytes: usize,
    /// The most that opening a connection may take.
    pub connect_timeout: Duration,
    /// `<public_url>/api/v1`; requests below it are handed to [`LocalApi`].
    pub own_endpoint: Option<String>,
}

impl Default for EgressOptions {
    fn default() -> EgressOptions {
        EgressOptions {
            internal: Vec::new(),
            refuse_private: false,
            response_bytes: 16 * 1024 * 1024,
            connect_timeout: Duration::from_secs(10),
            own_endpoint: None,
        }
    }
}

/// Answers requests to the daemon's own API without the network.
pub trait LocalApi: Send + Sync {
    /// Answers one request. `path` is what follows the own endpoint in its URL, with the query;
    /// authentication is the request's own, as from anywhere.
    fn call(&self, request: OutgoingRequest, path: String) -> BoxFuture<'static, OutgoingResponse>;

    /// Where the daemon itself listens, for connections to its own URL.
    fn address(&self) -> Option<SocketAddr> {
        None
    }
}

/// Why there is no response. Texts name the host at most.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EgressError {
    /// The request itself is no good.
    #[error("{0}")]
    InvalidRequest(String),
    /// The rules do not let it out.
    #[error("{0}")]
    Refused(String),
    /// It took too long.
    #[error("no complete response from {host} within {} ms", .timeout.as_millis())]
    TimedOut {
        /// The host as written in the request.
        host: String,
        /// How long it could take.
        timeout: Duration,
    },
    /// The body is larger than allowed.
    #[error("the response of {host} is larger than the {limit} bytes allowed")]
    TooLarge {
        /// The host as written in the request.
        host: String,
        /// The limit.
        limit: usize,
    },
    /// No connection: the request has reached nobody.
    #[error("{host}: {reason}")]
    NoConnection {
        /// The host as written in the request.
        host: String,
        /// What the layers below say.
        reason: String,
    },
    /// No HTTP on the connection, or not all of it.
    #[error("{host}: {reason}")]
    Failed {
        /// The host as written in the request.
        host: String,
        /// What the layers below say.
        reason: String,
    },
}

impl EgressError {
    /// Whether the same request may work later.
    pub fn is_transient(&self) -> bool {
        match self {
            EgressError::TimedOut { .. }
            | EgressError::NoConnection { .. }
            | EgressError::Failed { .. } => true,
            EgressError::InvalidRequest(_)
            | EgressError::Refused(_)
            | EgressError::TooLarge { .. } => false,
        }
    }
}

/// The way out.
pub struct Egress {
    options: EgressOptions,
    own_endpoint: Option<Url>,
    local_api: OnceLock<Arc<dyn LocalApi>>,
    clients: Clients,
    // Rules of senders with the daemon's own added, so that equal rules share connections.
    effective: Mutex<HashMap<EgressRules, Arc<EgressRules>>>,
}

impl Egress {
    /// Opens nothing yet. Fails when the own endpoint is no URL.
    pub fn new(options: EgressOptions) -> Result<Egress, EgressError> {
        let own_endpoint = match &options.own_endpoint {
            Some(text) => Some(Url::parse(text).map_err(|error| {
                EgressError::InvalidRequest(format!("the own endpoint is no URL: {error}"))
            })?),
            None => None,
        };
        Ok(Egress {
            clients: Clients::new(options.connect_timeout),
            options,
            own_endpoint,
            local_api: OnceLock::new(),
            effective: Mutex::default(),
        })
    }

    /// The same with names looked up by somebody else than the host.
    pub fn resolving_by(mut self, resolver: Arc<dyn Resolver>) -> Egress {
        self.clients.resolver = resolver;
        self
    }

    /// Says who answers requests to the own endpoint; later calls change nothing.
    pub fn set_local_api(&self, local_api: Arc<dyn LocalApi>) {
        let _already_set = self.local_api.set(local_api);
    }

    /// Makes one request under the sender's rules and follows its redirects.
    pub async fn send(
        &self,
        request: OutgoingRequest,
        rules: &EgressRules,
    ) -> Result<OutgoingResponse, EgressError> {
        self.send_up_to(request, rules, self.options.response_bytes).await
    }

    /// The same for somebody who reads no more than the beginning of the response's body.
    pub async fn send_and_cut(
        &self,
        request: OutgoingRequest,
        rules: &EgressRules,
        kept_bytes: usize,
    ) -> Result<OutgoingResponse, EgressError> {
        self.send_reading(request, rules, Reading::Cut(kept_bytes)).await
    }

    /// The same for a response whose body may have this many bytes, decompressed.
    pub async fn send_up_to(
        &self,
        request: OutgoingRequest,
        rules: &EgressRules,
        response_bytes: usize,
    ) -> Result<OutgoingResponse, EgressError> {
        self.send_reading(request, rules, Reading::UpTo(response_bytes)).await
    }

    async fn send_reading(
        &self,
        request: OutgoingRequest,
        rules: &EgressRules,
        reading: Reading,
    ) -> Result<OutgoingResponse, EgressError> {
        let url = parse_url(&request.url)?;
        if let Some(local_api) = self.local_api.get()
            && let Some(path) = self.below_own(&url)
        {
            return Ok(local_api.call(request, path).await);
        }
        let host = host_of(&url);
        let timeout = request.timeout;
        let rules = self.effective_rules(rules);
        let answered = self.send_out(request, url, &rules, reading);
        match tokio::time::timeout(timeout, answered).await {
            Ok(result) => result,
            Err(_) => Err(EgressError::TimedOut { host, timeout }),
        }
    }

    async fn send_out(
        &self,
        request: OutgoingRequest,
        mut url: Url,
        rules: &Arc<EgressRules>,
        reading: Reading,
    ) -> Result<OutgoingResponse, EgressError> {
        let mut method = request
            .method
            .parse::<reqwest::Method>()
            .map_err(|_| EgressError::InvalidRequest("the method is no HTTP method".to_owned()))?;
        let mut headers = client::header_map(&request.headers)?;
        let mut body = request.body;
        let mut redirects = 0;
        loop {
            guard::check_host(rules, &host_of(&url), port_of(&url)?)?;
            let client = self.clients.for_rules(rules, port_of(&url)?)?;
            let response = client
                .request(method.clone(), url.clone())
                .headers(headers.clone())
                .body(body.clone())
                .send()
                .await
                .map_err(|error| client::explain(error, &url))?;
            let next = match request.redirects {
                Redirects::Manual => None,
                Redirects::Follow | Redirects::Refuse => redirect::next(&url, &method, &response)?,
            };
            let Some(Next { url: next_url, method: next_method, drops_body }) = next else {
                return receive(response, url, redirects > 0, reading).await;
            };
            if request.redirects == Redirects::Refuse {
                return Err(refused(&url, "answered with a redirect, which the request forbids"));
            }
            redirects += 1;
            if redirects > MOST_REDIRECTS {
                return Err(refused(&url, "redirected more than 5 times"));
            }
            if self.below_own(&next_url).is_some() {
                return Err(refused(&url, "redirected to this daemon's own API"));
            }
            if drops_body {
                body = Bytes::new();
            }
            redirect::strip_headers(&mut headers, &url, &next_url, drops_body);
            (url, method) = (next_url, next_method);
        }
    }

    /// What follows the own endpoint in a URL that leads there, from its slash on; nothing for a
    /// URL that leads elsewhere.
    pub fn own_path(&self, url: &str) -> Option<String> {
        self.below_own(&Url::parse(url).ok()?)
    }

    fn below_own(&self, url: &Url) -> Option<String> {
        let own = self.own_endpoint.as_ref()?;
        if own.origin() != url.origin() {
            return None;
        }
        let path = url.path().strip_prefix(own.path().trim_end_matches('/'))?;
        if !path.is_empty() && !path.starts_with('/') {
            return None;
        }
        Some(match url.query() {
            Some(query) => format!("{path}?{query}"),
            None => path.to_owned(),
        })
    }

    fn effective_rules(&self, rules: &EgressRules) -> Arc<EgressRules> {
        const MOST: usize = 1000;
        let mut effective = self.effective.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = effective.get(rules) {
            return Arc::clone(known);
        }
        let mut merged = rules.clone();
        merged.internal.extend(self.options.internal.iter().cloned());
        merged.refuse_private |= self.options.refuse_private;
        if effective.len() >= MOST {
            effective.clear();
        }
        let merged = Arc::new(merged);
        effective.insert(rules.clone(), Arc::clone(&merged));
        merged
    }
}

/// How much of a response's body is read, counted after decompression.
#[derive(Clone, Copy, Debug)]
enum Reading {
    /// All of it; more than so many bytes are an error.
    UpTo(usize),
    /// So many bytes from its beginning.
    Cut(usize),
}

async fn receive(
    mut response: reqwest::Response,
    url: Url,
    redirected: bool,
    reading: Reading,
) -> Result<OutgoingResponse, EgressError> {
    let (limit, is_cut) = match reading {
        Reading::UpTo(limit) => (limit, false),
        Reading::Cut(limit) => (limit, true),
    };
    let too_large = || EgressError::TooLarge { host: host_of(&url), limit };
    if !is_cut && response.content_length().is_some_and(|it| it > limit as u64) {
        return Err(too_large());
    }
    let headers: Headers = response
        .headers()
        .iter()
        .map(|(name, value)| {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            (name.as_str().to_owned(), value)
        })
        .collect();
    let status = response.status().as_u16();
    let mut body = BytesMut::new();
    // Counted after decompression: a small bomb must not become a large body.
    while let Some(chunk) = response.chunk().await.map_err(|error| client::explain(error, &url))? {
        if body.len() + chunk.len() > limit {
            if !is_cut {
                return Err(too_large());
            }
            body.extend_from_slice(chunk.get(..limit - body.len()).unwrap_or_default());
            break;
        }
        body.extend_from_slice(&chunk);
    }
    Ok(OutgoingResponse { status, url: url.into(), redirected, headers, body: body.freeze() })
}

/// Whether a text is a URL that requests can be made to, wherever it leads.
pub fn is_url(text: &str) -> bool {
    parse_url(text).is_ok()
}

fn parse_url(text: &str) -> Result<Url, EgressError> {
    let invalid = |reason: &str| Err(EgressError::InvalidRequest(reason.to_owned()));
    let Ok(url) = Url::parse(text) else { return invalid("the URL is not absolute or not a URL") };
    if !matches!(url.scheme(), "http" | "https") {
        return invalid("the URL's scheme is not http or https");
    }
    if url.host_str().is_none_or(str::is_empty) {
        return invalid("the URL has no host");
    }
    Ok(url)
}

/// The host without the brackets of an address of version 6.
fn host_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    host.trim_start_matches('[').trim_end_matches(']').to_owned()
}

fn port_of(url: &Url) -> Result<u16, EgressError> {
    url.port_or_known_default()
        .ok_or_else(|| EgressError::InvalidRequest("the URL has no port".to_owned()))
}

fn refused(url: &Url, what: &str) -> EgressError {
    EgressError::Refused(format!("{} {what}", host_of(url)))
}
