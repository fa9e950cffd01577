//! The HTTP clients: one for each set of rules and port, so that a connection that one sender was
//! allowed to open is never used by another that was not.
//!
//! Names are resolved when a connection is opened, by a resolver that checks every address and
//! gives only checked ones: there is no second look-up that could answer differently.

use std::collections::HashMap;
use std::error::Error;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use reqwest::{Client, Url};

use super::guard::{self, Refusal};
use super::resolve::{Resolver, SystemResolver};
use super::{EgressError, host_of};
use crate::model::http::{EgressRules, Headers};

const MOST_CLIENTS: usize = 64;
const AGENT: &str = concat!("mortise/", env!("CARGO_PKG_VERSION"));

pub(super) struct Clients {
    connect_timeout: Duration,
    pub(super) resolver: Arc<dyn Resolver>,
    roots: OnceLock<rustls::RootCertStore>,
    tls: OnceLock<rustls::ClientConfig>,
    clients: Mutex<HashMap<(Arc<EgressRules>, u16), Client>>,
}

impl Clients {
    pub(super) fn new(connect_timeout: Duration) -> Clients {
        Clients {
            connect_timeout,
            resolver: Arc::new(SystemResolver),
            roots: OnceLock::new(),
            tls: OnceLock::new(),
            clients: Mutex::default(),
        }
    }

    pub(super) fn for_rules(
        &self,
        rules: &Arc<EgressRules>,
        port: u16,
    ) -> Result<Client, EgressError> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(&(Arc::clone(rules), port)) {
            return Ok(client.clone());
        }
        let client = Client::builder()
            .tls_backend_preconfigured(self.http_tls().clone())
            .dns_resolver(Arc::new(Checked {
                rules: Arc::clone(rules),
                port,
                resolver: Arc::clone(&self.resolver),
            }))
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .referer(false)
            .connect_timeout(self.connect_timeout)
            .pool_idle_timeout(Duration::from_secs(30))
            .pool_max_idle_per_host(8)
            .http1_max_headers(200)
            .build()
            .map_err(|error| EgressError::Failed {
                host: "the HTTP client".to_owned(),
                reason: chain(&error),
            })?;
        if clients.len() >= MOST_CLIENTS {
            clients.clear();
        }
        clients.insert((Arc::clone(rules), port), client.clone());
        Ok(client)
    }
}

impl Clients {
    /// What the host trusts.
    pub(super) fn roots(&self) -> &rustls::RootCertStore {
        self.roots.get_or_init(roots)
    }

    fn http_tls(&self) -> &rustls::ClientConfig {
        self.tls.get_or_init(|| {
            let mut config = tls(self.roots().clone());
            config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
            config
        })
    }
}

/// Without any certificates, what is not encrypted still works.
fn roots() -> rustls::RootCertStore {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = rustls::RootCertStore::empty();
    let (added, _ignored) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        tracing::warn!(
            errors = ?found.errors,
            "no CA certificates on this host: https requests will fail; install ca-certificates"
        );
    }
    roots
}

/// The TLS of all that leaves the daemon.
pub(super) fn tls(roots: rustls::RootCertStore) -> rustls::ClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring supports the default versions of TLS")
        .with_root_certificates(roots)
        .with_no_client_auth()
}

struct Checked {
    rules: Arc<EgressRules>,
    port: u16,
    resolver: Arc<dyn Resolver>,
}

impl Resolve for Checked {
    fn resolve(&self, name: Name) -> Resolving {
        let (rules, port) = (Arc::clone(&self.rules), self.port);
        let found = self.resolver.resolve(name.as_str().to_owned(), port);
        Box::pin(async move {
            let host = name.as_str().to_owned();
            let addresses = found.await?;
            // One bad address makes the name bad: which one is used is not ours to choose.
            for address in &addresses {
                guard::check_address(&rules, &host, address.ip(), port)?;
            }
            let addresses: Addrs = Box::new(addresses.into_iter());
            Ok(addresses)
        })
    }
}

/// The sender's headers without those that belong to the connection.
pub(super) fn header_map(headers: &Headers) -> Result<HeaderMap, EgressError> {
    const OURS: [&str; 11] = [
        "accept-encoding",
        "connection",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    let mut map = HeaderMap::with_capacity(headers.len() + 1);
    for (name, value) in headers {
        let invalid = || {
            // The value may be a secret; the name is what its author can find it by.
            let name: String = name.chars().take(64).collect();
            EgressError::InvalidRequest(format!("the header `{name}` is no HTTP header"))
        };
        let parsed = HeaderName::from_bytes(name.as_bytes()).map_err(|_| invalid())?;
        if OURS.contains(&parsed.as_str()) {
            continue;
        }
        let mut value = HeaderValue::from_bytes(value.as_bytes()).map_err(|_| invalid())?;
        value.set_sensitive(true);
        map.append(parsed, value);
    }
    if !map.contains_key(USER_AGENT) {
        map.insert(USER_AGENT, HeaderValue::from_static(AGENT));
    }
    Ok(map)
}

/// The error without its URL, which may hold secrets; a refusal as what it is.
pub(super) fn explain(error: reqwest::Error, url: &Url) -> EgressError {
    let error = error.without_url();
    let mut cause: Option<&(dyn Error + 'static)> = Some(&error);
    while let Some(it) = cause {
        if let Some(refusal) = it.downcast_ref::<Refusal>() {
            return refusal.clone().into();
        }
        cause = it.source();
    }
    let (host, reason) = (host_of(url), chain(&error));
    match error.is_connect() {
        true => EgressError::NoConnection { host, reason },
        false => EgressError::Failed { host, reason },
    }
}

fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(it) = cause {
        let next = it.to_string();
        if !text.contains(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = it.source();
    }
    text
}
