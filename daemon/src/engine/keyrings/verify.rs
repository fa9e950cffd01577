//! Trying secrets at the external system that they are for, and finding out whose they are.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{KeyringError, Keyrings, jq};
use crate::connections::placeholders::Values;
use crate::connections::request::{Style, render};
use crate::connections::secret::KeyringSecret;
use crate::connections::types::ConnectionType;
use crate::connections::verification::{Choice, Verdict, answered, choose, organizations, verdict};
use crate::model::keyring::ExternalOrganization;
use crate::model::manifest::ExternalRequest;

/// What placeholders stand for in the requests of a type, once there is a secret.
pub(super) fn values(
    secret: &KeyringSecret,
    subdomain: Option<&str>,
    organization: Option<&str>,
) -> Values {
    let values = Values::default().with_subdomain(subdomain).with_organization(organization);
    match secret {
        KeyringSecret::Plain { secret } => values.with_api_key(secret),
        KeyringSecret::Fields { fields, secret } => values.with_api_key(secret).with_fields(fields),
        KeyringSecret::Tokens(tokens) => {
            let values =
                values.with_access_token(&tokens.access_token).with_api_key(&tokens.access_token);
            match &tokens.refresh_token {
                Some(token) => values.with_refresh_token(token),
                None => values,
            }
        }
    }
}

impl Keyrings {
    /// Tries a secret, if its type says how. Answers whether it was tried.
    pub(super) async fn try_secret(
        &self,
        connection: &ConnectionType,
        values: &Values,
    ) -> Result<bool, KeyringError> {
        let Some(verification) = &connection.token_verification else { return Ok(false) };
        let name = "token_verification";
        let (whereabouts, status, body) = self.ask(name, verification, values).await?;
        match verdict(status, &body, &values.secrets()) {
            Verdict::Good => Ok(true),
            Verdict::Bad(said) => Err(KeyringError::Rejected(format!("{whereabouts} {said}"))),
            Verdict::Unknown(said) => {
                Err(KeyringError::Unreachable(format!("{whereabouts} {said}")))
            }
        }
    }

    /// Finds the organization that a secret is good for, if its type says how: the one that is
    /// asked for, else the one of before, else the only one.
    pub(super) async fn find_organization(
        &self,
        connection: &ConnectionType,
        values: &Values,
        asked: Option<&str>,
        before: Option<&str>,
    ) -> Result<Option<ExternalOrganization>, KeyringError> {
        let Some(request) = &connection.organization_data else { return Ok(None) };
        let name = "organization_data";
        let (whereabouts, status, body) = self.ask(name, request, values).await?;
        match verdict(status, &body, &values.secrets()) {
            Verdict::Good => {}
            Verdict::Bad(said) => {
                return Err(KeyringError::Rejected(format!("{whereabouts} {said}")));
            }
            Verdict::Unknown(said) => {
                return Err(KeyringError::Unreachable(format!("{whereabouts} {said}")));
            }
        }
        let unusable = |why: String| KeyringError::Rejected(format!("{whereabouts}: {why}"));
        let said = || answered(status, &body, &values.secrets());
        let answer: Value = serde_json::from_slice(&body)
            .map_err(|_| unusable(format!("its answer is no JSON: {}", said())))?;
        let made = match &request.response_jq {
            Some(program) => jq::run("response_jq", program, &answer).await?,
            None => answer,
        };
        let mut choice = choose(organizations(&made).map_err(unusable)?, asked.or(before));
        if let (Choice::Ask(found), None) = (&choice, asked) {
            // The one of before is not among them.
            choice = choose(found.clone(), None);
        }
        match choice {
            Choice::One(found) => Ok(Some(found)),
            Choice::Ask(found) => Err(KeyringError::Organization(found)),
        }
    }

    async fn ask(
        &self,
        name: &str,
        request: &ExternalRequest,
        values: &Values,
    ) -> Result<(String, u16, bytes::Bytes), KeyringError> {
        let request = render(request, Style::Ask, values, &BTreeMap::new())
            .map_err(|error| KeyringError::Request(format!("`{name}`: {error}")))?;
        match self.exchange(request).await {
            Ok(answer) => Ok((answer.whereabouts, answer.status, answer.body)),
            Err(nothing) if nothing.is_transient => Err(KeyringError::Unreachable(nothing.message)),
            Err(nothing) => Err(KeyringError::Request(nothing.message)),
        }
    }
}
