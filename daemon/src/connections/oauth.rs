//! OAuth2 as decisions: the requests of RFC 6749 (§4.1, §6), RFC 7636 and RFC 7009 from what a type
//! says, what the answers mean, and when a token is due to be renewed.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::change::Client;
use super::placeholders::{PlaceholderError, Values, encode};
use super::request::{Request, Style, excerpt, form, render};
use super::secret::{SecretText, Tokens};
use super::types::Oauth2;
use super::verification::answered;
use crate::model::manifest::ExternalRequest;

/// How long an access token is taken to be good when the server does not say, but gives a refresh
/// token.
const ASSUMED_SECONDS: u64 = 3600;
/// A token is renewed when less than this is left of it ...
const MARGIN_MS: u64 = 60_000;
/// ... or less than one part of so many, whichever is sooner.
const MARGIN_PART: u64 = 10;
/// The longest life of a token that is believed.
const LONGEST_SECONDS: u64 = 10 * 365 * 24 * 3600;
/// After so many answers in a row that say nothing, a connection counts as lost.
const MOST_UNCLEAR: u32 = 5;

/// What the server has given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The tokens.
    pub tokens: Tokens,
    /// For how long the access token is good.
    pub expires_in: Option<u64>,
    /// What was granted, when the server says.
    pub scopes: Option<Vec<String>>,
}

/// Why the server has given nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What follows from it.
    pub kind: RefusalKind,
    /// For people; without secrets.
    pub message: String,
}

/// What follows from a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalKind {
    /// It will be refused again: somebody has to grant access anew, or mend the client.
    Permanent,
    /// It may work later, after so many seconds if the server says.
    Transient {
        /// `Retry-After`.
        retry_after: Option<u64>,
    },
    /// No answer that OAuth2 knows: perhaps something between us and the server, perhaps a wrong URL.
    Unclear,
}

/// The address of the page where a person grants access.
///
/// What the protocol needs and the type does not say is added; `state`, `redirect_uri` and the
/// challenge are ours whatever the type says.
pub fn authorize_url(
    oauth2: &Oauth2,
    values: &Values,
    redirect_uri: &str,
    state: &str,
    verifier: &str,
) -> Result<String, PlaceholderError> {
    let mut parameters = BTreeMap::from([
        ("response_type".to_owned(), SecretText::from("code")),
        ("client_id".to_owned(), values.plain("[CLIENT_ID]", "`authorize`")?),
    ]);
    if !oauth2.scopes.is_empty() {
        parameters.insert("scope".to_owned(), values.plain("[SCOPES]", "`authorize`")?);
    }
    for (name, value) in &oauth2.authorize.auth_query_parameters {
        let place = format!("the parameter `{name}` of `authorize`");
        parameters.insert(name.clone(), values.plain(value, &place)?);
    }
    for (name, value) in [
        ("redirect_uri", redirect_uri),
        ("state", state),
        ("code_challenge", &challenge(verifier)),
        ("code_challenge_method", "S256"),
    ] {
        parameters.insert(name.to_owned(), value.into());
    }
    let url = values.url(&oauth2.authorize.auth_url, "`auth_url`")?;
    let joint = if url.reveal().contains('?') { '&' } else { '?' };
    Ok(format!("{}{joint}{}", url.reveal(), form(&parameters).reveal()))
}

/// Whether `iss` (RFC 9207) may be the server that a type means. Types name no issuer, so it has to
/// be at the host of one of the endpoints: another server's code is not sent there.
pub fn is_issuer(oauth2: &Oauth2, values: &Values, issuer: &str) -> bool {
    let host = |url: &str| {
        let rest = url.split_once("://").map(|(_, rest)| rest)?;
        rest.split(['/', '?', '#']).next().map(str::to_ascii_lowercase)
    };
    let Some(issuer) = host(issuer) else { return false };
    [&oauth2.authorize.auth_url, &oauth2.authorize.token_url].into_iter().any(|endpoint| {
        let url = values.url(endpoint, "`authorize`");
        url.is_ok_and(|it| host(it.reveal()) == Some(issuer.clone()))
    })
}

/// `code_challenge` of a verifier (RFC 7636 §4.2).
pub fn challenge(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(verifier))
}

/// The request that turns a code into tokens.
pub fn token_request(
    oauth2: &Oauth2,
    values: &Values,
    client: &Client,
    redirect_uri: &str,
    code: &SecretText,
    verifier: &SecretText,
) -> Result<Request, PlaceholderError> {
    let request = ExternalRequest {
        url: oauth2.authorize.token_url.clone(),
        query_parameters: oauth2.authorize.token_query_parameters.clone(),
        ..ExternalRequest::default()
    };
    let more = BTreeMap::from([
        ("grant_type".to_owned(), SecretText::from("authorization_code")),
        ("code".to_owned(), code.clone()),
        ("redirect_uri".to_owned(), redirect_uri.into()),
        ("code_verifier".to_owned(), verifier.clone()),
    ]);
    authenticated(request, values, client, more)
}

/// The request that renews an access token.
pub fn refresh_request(
    oauth2: &Oauth2,
    values: &Values,
    client: &Client,
    refresh_token: &SecretText,
) -> Result<Request, PlaceholderError> {
    let request = oauth2.refresh.clone().unwrap_or_else(|| ExternalRequest {
        url: oauth2.authorize.token_url.clone(),
        ..ExternalRequest::default()
    });
    let request = shown_as_before(request, oauth2);
    let mut more = BTreeMap::new();
    if !request.query_parameters.contains_key("grant_type") {
        more.insert("grant_type".to_owned(), SecretText::from("refresh_token"));
    }
    if !mentions(&request, "REFRESH_TOKEN") {
        more.insert("refresh_token".to_owned(), refresh_token.clone());
    }
    authenticated(request, values, client, more)
}

/// The request that gives tokens up, if the type has one.
pub fn revoke_request(
    oauth2: &Oauth2,
    values: &Values,
    client: &Client,
    tokens: &Tokens,
) -> Option<Result<Request, PlaceholderError>> {
    let request = shown_as_before(oauth2.revoke.clone()?, oauth2);
    let mut more = BTreeMap::new();
    if !mentions(&request, "ACCESS_TOKEN") && !mentions(&request, "REFRESH_TOKEN") {
        let token = tokens.refresh_token.as_ref().unwrap_or(&tokens.access_token);
        more.insert("token".to_owned(), token.clone());
    }
    Some(authenticated(request, values, client, more))
}

/// Whether a type says how a request shows the client.
fn shows_client(request: &ExternalRequest) -> bool {
    let shows_itself = ["CLIENT_SECRET", "CLIENT_CREDENTIALS_BASE64"];
    shows_itself.iter().any(|it| mentions(request, it))
        || request.headers.keys().any(|it| it.eq_ignore_ascii_case("authorization"))
        || request.query_parameters.contains_key("client_secret")
}

/// Shows the client as it is shown where a code is turned into tokens, when a request with a body
/// does not say otherwise: the server may take nothing else.
fn shown_as_before(mut request: ExternalRequest, oauth2: &Oauth2) -> ExternalRequest {
    let method = request.method.as_deref().unwrap_or("POST").trim().to_ascii_uppercase();
    let has_body = !matches!(method.as_str(), "GET" | "HEAD" | "DELETE" | "OPTIONS");
    let code = ExternalRequest {
        query_parameters: oauth2.authorize.token_query_parameters.clone(),
        ..ExternalRequest::default()
    };
    if has_body && shows_client(&code) && !shows_client(&request) {
        let of_client = |name: &str, value: &str| {
            let named = ["CLIENT_ID", "CLIENT_SECRET", "CLIENT_CREDENTIALS_BASE64"];
            matches!(name, "client_id" | "client_secret")
                || named.iter().any(|it| Values::mentions(value, it))
        };
        for (name, value) in code.query_parameters {
            if of_client(&name, &value) {
                request.query_parameters.entry(name).or_insert(value);
            }
        }
    }
    request
}

/// Adds what shows the client to the server, unless the type does that itself: by `Authorization`,
/// which every server has to take (RFC 6749 §2.3.1), or by its id alone when it has no secret.
fn authenticated(
    mut request: ExternalRequest,
    values: &Values,
    client: &Client,
    mut more: BTreeMap<String, SecretText>,
) -> Result<Request, PlaceholderError> {
    let is_shown = shows_client(&request);
    match &client.secret {
        Some(_) if is_shown => {}
        Some(secret) => {
            let pair =
                SecretText::from(format!("{}:{}", encode(&client.id), encode(secret.reveal())));
            let basic = format!("Basic {}", STANDARD.encode(pair.reveal()));
            request.headers.insert("authorization".to_owned(), basic);
            return render(&request, Style::Endpoint, values, &more);
        }
        None => {
            // A client without a secret cannot send one, whatever the type says.
            request.query_parameters.retain(|_, it| !Values::mentions(it, "CLIENT_SECRET"));
        }
    }
    if !request.query_parameters.contains_key("client_id") && !mentions(&request, "CLIENT_ID") {
        more.insert("client_id".to_owned(), client.id.as_str().into());
    }
    render(&request, Style::Endpoint, values, &more)
}

fn mentions(request: &ExternalRequest, name: &str) -> bool {
    let texts = request.headers.values().chain(request.query_parameters.values());
    texts.chain([&request.url]).any(|it| Values::mentions(it, name))
}

/// Reads an answer of the token endpoint: JSON as RFC 6749 has it, or a form as some servers send.
pub fn read_grant(
    status: u16,
    retry_after: Option<u64>,
    body: &[u8],
    secrets: &[&str],
) -> Result<Grant, Refusal> {
    let refusal = |kind, message| Err(Refusal { kind, message });
    let members = members_of(body);
    let text = |name: &str| members.get(name).and_then(Value::as_str).filter(|it| !it.is_empty());
    if let Some(code) = error_code(&members) {
        // Some servers say so with 200.
        let kind = match (status, code.as_str()) {
            (408 | 425 | 429 | 500.., _) => RefusalKind::Transient { retry_after },
            (_, "temporarily_unavailable" | "server_error" | "slow_down" | "ratelimited")
            | (_, "rate_limited" | "internal_error" | "fatal_error" | "service_unavailable") => {
                RefusalKind::Transient { retry_after }
            }
            _ => RefusalKind::Permanent,
        };
        let description = text("error_description").or(text("error_uri")).unwrap_or_default();
        let said = format!("{code} {description}");
        return refusal(kind, answered(status, said.as_bytes(), secrets));
    }
    let said = || answered(status, body, secrets);
    match status {
        200..300 => {}
        408 | 425 | 429 | 500.. => {
            return refusal(RefusalKind::Transient { retry_after }, said());
        }
        _ => return refusal(RefusalKind::Unclear, said()),
    }
    let nested = |name: &str| members.get("authed_user").and_then(|it| it.get(name));
    let access_token = text("access_token").or(nested("access_token").and_then(Value::as_str));
    let Some(access_token) = access_token else {
        // Not quoted: it may hold a token in a shape that we do not know.
        let message = format!("answered {status} without an access token");
        return refusal(RefusalKind::Unclear, message);
    };
    if let Some(other) = text("token_type").filter(|it| !is_bearer(it)) {
        // It would be of no use to functions (RFC 6749 §7.1).
        let said = format!("{other}: only tokens of the type `bearer` can be used here");
        let message = format!("gave a token of the type {}", excerpt(said.as_bytes(), secrets));
        return refusal(RefusalKind::Permanent, message);
    }
    let refresh_token = text("refresh_token").or(nested("refresh_token").and_then(Value::as_str));
    let seconds = members.get("expires_in").or(nested("expires_in")).and_then(seconds_of);
    let expires_in = match seconds {
        Some(seconds) => Some(seconds.min(LONGEST_SECONDS)),
        None => refresh_token.map(|_| ASSUMED_SECONDS),
    };
    let scopes = text("scope").map(|it| {
        let each = it.split([' ', ',']).filter(|it| !it.is_empty());
        each.map(str::to_owned).collect()
    });
    let tokens = Tokens {
        access_token: access_token.into(),
        refresh_token: refresh_token.map(SecretText::from),
    };
    Ok(Grant { tokens, expires_in, scopes })
}

/// Whether a token is used as RFC 6750 says. Some servers say there whose token it is instead.
fn is_bearer(token_type: &str) -> bool {
    ["bearer", "bearertoken", "bot", "user"].iter().any(|it| token_type.eq_ignore_ascii_case(it))
}

fn members_of(body: &[u8]) -> serde_json::Map<String, Value> {
    if let Ok(Value::Object(members)) = serde_json::from_slice(body) {
        return members;
    }
    let Ok(text) = std::str::from_utf8(body) else { return serde_json::Map::new() };
    let text = text.trim();
    // A page is no form.
    if text.starts_with(['<', '{', '[']) || text.contains(char::is_whitespace) {
        return serde_json::Map::new();
    }
    let pairs = text.split('&').filter_map(|it| it.split_once('='));
    pairs.map(|(name, value)| (decode(name), Value::from(decode(value)))).collect()
}

fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes().iter();
    while let Some(byte) = rest.next() {
        let escaped = rest.as_slice().get(..2).and_then(|it| hex::decode(it).ok());
        match (byte, escaped.as_deref()) {
            (b'%', Some([decoded])) => {
                bytes.push(*decoded);
                rest.nth(1);
            }
            (b'+', _) => bytes.push(b' '),
            (other, _) => bytes.push(*other),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// `error` of RFC 6749 §5.2, or an object with a code or type, as some have it.
fn error_code(members: &serde_json::Map<String, Value>) -> Option<String> {
    match members.get("error")? {
        Value::String(code) if !code.is_empty() => Some(code.clone()),
        Value::Object(error) => {
            let code = ["code", "type", "error", "message"]
                .iter()
                .find_map(|it| error.get(*it).and_then(Value::as_str));
            Some(code.unwrap_or("error").to_owned())
        }
        _ => None,
    }
}

fn seconds_of(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => {
            number.as_u64().or_else(|| number.as_f64().filter(|it| *it >= 0.0).map(whole))
        }
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it is not negative, and a cast of a float keeps to the bounds"
)]
fn whole(seconds: f64) -> u64 {
    seconds as u64
}

/// What is known of an access token's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    /// When it was given, milliseconds of the Unix epoch.
    pub given_ms: u64,
    /// When it ends.
    pub expires_ms: u64,
}

impl Life {
    /// When it is due to be renewed: with a minute or a tenth of its life left, but never in the
    /// first half, so that a short one is not renewed on every use.
    pub fn due_ms(self) -> u64 {
        let whole = self.expires_ms.saturating_sub(self.given_ms);
        let margin = MARGIN_MS.max(whole / MARGIN_PART).min(whole / 2);
        self.expires_ms.saturating_sub(margin)
    }

    /// Whether it can be used.
    pub fn is_good(self, now_ms: u64) -> bool {
        now_ms < self.expires_ms
    }
}

/// How long to wait after so many failures in a row, in milliseconds: doubling from one second to
/// five minutes, or as long as the server asks for, an hour at most.
pub fn pause_ms(failures: u32, retry_after: Option<u64>) -> u64 {
    const LONGEST_DOUBLED: u64 = 300_000;
    const LONGEST_ASKED: u64 = 3_600_000;
    let doubled = 1000u64.saturating_mul(1 << failures.saturating_sub(1).min(20));
    let asked = retry_after.unwrap_or(0).saturating_mul(1000).min(LONGEST_ASKED);
    doubled.min(LONGEST_DOUBLED).max(asked)
}

/// Whether a refusal means that the connection is lost, after so many failures in a row with it.
pub fn is_lost(kind: RefusalKind, failures: u32) -> bool {
    match kind {
        RefusalKind::Permanent => true,
        RefusalKind::Transient { .. } => false,
        RefusalKind::Unclear => failures >= MOST_UNCLEAR,
    }
}

#[cfg(test)]
#[path = "oauth_tests.rs"]
mod tests;
