//! The effects that plugins ask for: requests and mails through the egress, commands in the sandbox of
//! functions.
//!
//! Owns nothing but the translation. What an outcome means is the plugin's to decide.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mortise_plugin::{Act, EffectOutcome, HttpEffect};

use super::commands::Commands;
use crate::api::CAUSE_HEADER;
use crate::clock::Clock;
use crate::egress::Egress;
use crate::model::event::Cause;
use crate::model::http::{EgressRules, OutgoingRequest, Redirects};
use crate::plugins::{EffectAnswer, EffectRequest, PerformEffect};
use crate::secrets::ServiceTokens;

/// Whoever performs them.
pub struct PluginEffects {
    /// The way out, for requests and mails.
    pub egress: Arc<Egress>,
    /// Programs of this host.
    pub commands: Commands,
    /// What says to the daemon itself what its own requests are caused by.
    pub causes: Option<(ServiceTokens, Clock)>,
}

impl PerformEffect for PluginEffects {
    fn perform(
        &self,
        request: EffectRequest,
    ) -> Pin<Box<dyn Future<Output = EffectAnswer> + Send + '_>> {
        let EffectRequest { effect, body, cause } = request;
        let timeout = Duration::from_millis(effect.timeout_ms);
        Box::pin(async move {
            match effect.act {
                Act::Http(http) => self.request(http, body, timeout, cause).await,
                Act::Smtp(order) => {
                    let message = order.message.map(|_| body.as_ref());
                    let rules = EgressRules::default();
                    match self.egress.mail(&order, message, timeout, &rules).await {
                        Ok(outcome) => without_body(EffectOutcome::Smtp(outcome)),
                        Err(reason) => failed(&reason.message, reason.is_transient),
                    }
                }
                Act::Exec(order) => {
                    let stdin = order.stdin.map(|_| body);
                    match self.commands.run(&order.program, stdin, timeout).await {
                        Ok(ran) => {
                            let outcome = EffectOutcome::Exec { end: ran.end, stderr: ran.stderr };
                            EffectAnswer { outcome, body: ran.stdout }
                        }
                        Err(reason) => failed(&reason.message, reason.is_transient),
                    }
                }
            }
        })
    }
}

impl PluginEffects {
    async fn request(
        &self,
        http: HttpEffect,
        body: Bytes,
        timeout: Duration,
        cause: Option<Cause>,
    ) -> EffectAnswer {
        let HttpEffect { method, url, mut headers, .. } = http;
        // Only the daemon says what something is caused by, and only to itself.
        headers.retain(|(name, _)| !name.eq_ignore_ascii_case(CAUSE_HEADER));
        if let (Some(cause), Some((tokens, clock))) = (cause, &self.causes)
            && self.egress.own_path(&url).is_some()
        {
            let token = tokens.issue_for_cause(cause, clock.now_ms());
            headers.push((CAUSE_HEADER.to_owned(), token));
        }
        let redirects = Redirects::Follow;
        let request = OutgoingRequest { method, url, headers, body, timeout, redirects };
        match self.egress.send(request, &EgressRules::default()).await {
            Ok(response) => EffectAnswer {
                outcome: EffectOutcome::Http { status: response.status, headers: response.headers },
                body: response.body,
            },
            Err(error) => failed(&error.to_string(), error.is_transient()),
        }
    }
}

fn without_body(outcome: EffectOutcome) -> EffectAnswer {
    EffectAnswer { outcome, body: Bytes::new() }
}

fn failed(message: &str, transient: bool) -> EffectAnswer {
    without_body(EffectOutcome::Failed { message: message.to_owned(), transient })
}
