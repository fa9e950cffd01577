//! What hands siblings of `engine` to one another: functions and plugins make requests through the
//! egress, and requests to the daemon itself never leave the host.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use mortise_plugin::{EffectOutcome, HttpEffect};

use crate::api::CAUSE_HEADER;
use crate::egress::{Egress, EgressOptions, LocalApi};
use crate::functions::pool::{Connection, Fetch, Invocation};
use crate::model::http::{EgressRules, OutgoingRequest, OutgoingResponse, Redirects};
use crate::plugins::{EffectAnswer, EffectRequest, PerformEffect};

/// The requests of functions.
pub(super) struct EgressFetch {
    pub(super) egress: Arc<Egress>,
}

impl Fetch for EgressFetch {
    fn fetch<'a>(
        &'a self,
        invocation: &'a Invocation,
        mut request: OutgoingRequest,
    ) -> BoxFuture<'a, Result<OutgoingResponse, String>> {
        request.headers.retain(|(name, _)| !name.eq_ignore_ascii_case(CAUSE_HEADER));
        if self.egress.own_path(&request.url).is_some()
            && let Some(token) = invocation.secrets.first()
        {
            request.headers.push((CAUSE_HEADER.to_owned(), token.to_string()));
        }
        async move {
            self.egress.send(request, &invocation.egress).await.map_err(|error| error.to_string())
        }
        .boxed()
    }

    fn connect<'a>(
        &'a self,
        invocation: &'a Invocation,
        host: String,
        port: u16,
    ) -> BoxFuture<'a, Result<Box<dyn Connection>, String>> {
        async move {
            if self.egress.is_own_host(&host, port) {
                let cause = invocation.secrets.first().map(|token| (CAUSE_HEADER, token.as_str()));
                let home = self.egress.connect_home(cause).await.map_err(|it| it.to_string())?;
                return Ok(Box::new(home) as Box<dyn Connection>);
            }
            let opened = self.egress.connect(&host, port, &invocation.egress).await;
            let stream = opened.map_err(|error| error.to_string())?;
            Ok(Box::new(stream) as Box<dyn Connection>)
        }
        .boxed()
    }
}

/// Requests to the daemon's own URL: made to the address that it listens on, however far away the
/// proxy is that makes the URL reachable from outside.
pub(super) struct LocalRequests {
    egress: Arc<Egress>,
    address: SocketAddr,
    rules: EgressRules,
}

impl LocalRequests {
    pub(super) fn new(address: SocketAddr) -> Result<LocalRequests, String> {
        let here = address.to_string().parse().map_err(|error| format!("{address}: {error}"))?;
        let options = EgressOptions { internal: vec![here], ..EgressOptions::default() };
        let egress = Egress::new(options).map_err(|error| error.to_string())?;
        let rules = EgressRules::default();
        Ok(LocalRequests { egress: Arc::new(egress), address, rules })
    }
}

impl LocalApi for LocalRequests {
    fn call(
        &self,
        mut request: OutgoingRequest,
        path: String,
    ) -> BoxFuture<'static, OutgoingResponse> {
        let asked = request.url.clone();
        request.url = format!("http://{}{path}", self.address);
        request.redirects = Redirects::Manual;
        let (egress, rules) = (self.egress.clone(), self.rules.clone());
        async move {
            match egress.send(request, &rules).await {
                Ok(response) => OutgoingResponse { url: asked, ..response },
                Err(error) => OutgoingResponse {
                    status: 502,
                    url: asked,
                    redirected: false,
                    headers: Vec::new(),
                    body: Bytes::from(error.to_string()),
                },
            }
        }
        .boxed()
    }

    fn address(&self) -> Option<SocketAddr> {
        Some(self.address)
    }
}

/// The effects that plugins ask for.
pub(super) struct PluginEffects(pub(super) Arc<Egress>);

impl PerformEffect for PluginEffects {
    fn perform(
        &self,
        request: EffectRequest,
    ) -> Pin<Box<dyn Future<Output = EffectAnswer> + Send + '_>> {
        let EffectRequest { effect, body } = request;
        Box::pin(async move {
            let Some(HttpEffect { method, url, headers, .. }) = effect.http else {
                return failed("this daemon performs http effects only", false);
            };
            let timeout = Duration::from_millis(effect.timeout_ms);
            let redirects = Redirects::Follow;
            let request = OutgoingRequest { method, url, headers, body, timeout, redirects };
            match self.0.send(request, &EgressRules::default()).await {
                Ok(response) => EffectAnswer {
                    outcome: EffectOutcome::Http {
                        status: response.status,
                        headers: response.headers,
                    },
                    body: response.body,
                },
                Err(error) => failed(&error.to_string(), error.is_transient()),
            }
        })
    }
}

fn failed(message: &str, transient: bool) -> EffectAnswer {
    let message = message.to_owned();
    EffectAnswer { outcome: EffectOutcome::Failed { message, transient }, body: Bytes::new() }
}
