//! What hands siblings of `engine` to one another: functions make requests through the egress, and
//! requests to the daemon itself never leave the host. What plugins ask for is in `effects`.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::api::CAUSE_HEADER;
use crate::egress::{Egress, EgressOptions, LocalApi};
use crate::functions::pool::{Connection, Fetch, Invocation};
use crate::model::http::{EgressRules, OutgoingRequest, OutgoingResponse, Redirects};

/// Why the daemon's own API does not answer.
const FOR_RUNS: &str = "this daemon's own API answers runs of functions, which have a token";

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
        if self.egress.own_path(&request.url).is_some() {
            match invocation.secrets.first() {
                Some(token) => request.headers.push((CAUSE_HEADER.to_owned(), token.to_string())),
                None => return std::future::ready(Err(FOR_RUNS.to_owned())).boxed(),
            }
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
                // npm has none, and lock files may name any host.
                let token = invocation.secrets.first().ok_or(FOR_RUNS)?;
                let cause = Some((CAUSE_HEADER, token.as_str()));
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::future::BoxFuture;

    use super::*;
    use crate::functions::kind::RunnerKind;
    use crate::functions::pool::{CodeError, CodeSource, LoadedCode};
    use crate::model::id::{SnapInId, VersionId};

    struct NoCode;

    impl CodeSource for NoCode {
        fn load(&self) -> BoxFuture<'_, Result<LoadedCode, CodeError>> {
            std::future::ready(Err(CodeError::Never("a test has no code".to_owned()))).boxed()
        }
    }

    fn invocation(token: Option<&str>) -> Invocation {
        Invocation {
            run_id: "run_test".to_owned(),
            snap_in: SnapInId(1),
            runtime: RunnerKind::Node,
            version: VersionId(1),
            code: Arc::new(NoCode),
            function: "npm".to_owned(),
            event: Bytes::from_static(b"{}"),
            timeout: Duration::from_secs(20),
            memory_bytes: 64 * 1024 * 1024,
            fresh: false,
            egress: EgressRules::default(),
            secrets: token.map(|it| it.to_owned().into()).into_iter().collect(),
            on_log: None,
        }
    }

    #[tokio::test]
    async fn only_who_has_a_token_reaches_the_daemon_itself() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let own_endpoint = Some("https://mortise.example.com/api/v1".to_owned());
        let options = EgressOptions { own_endpoint, ..EgressOptions::default() };
        let egress = Egress::new(options).expect("good options");
        let address = listener.local_addr().expect("bound");
        egress.set_local_api(Arc::new(LocalRequests::new(address).expect("an address")));
        let fetch = EgressFetch { egress: Arc::new(egress) };
        let host = || "mortise.example.com".to_owned();
        let run = invocation(Some("its token"));
        assert!(fetch.connect(&run, host(), 443).await.is_ok());
        let npm = invocation(None);
        let refused = fetch.connect(&npm, host(), 443).await.err();
        assert_eq!(refused.as_deref(), Some(FOR_RUNS));
        let request = OutgoingRequest {
            method: "GET".to_owned(),
            url: "https://mortise.example.com/api/v1/system.status".to_owned(),
            headers: Vec::new(),
            body: Bytes::new(),
            timeout: Duration::from_secs(5),
            redirects: Redirects::Manual,
        };
        assert_eq!(fetch.fetch(&npm, request).await.err().as_deref(), Some(FOR_RUNS));
    }
}
