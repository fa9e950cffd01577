//! What of a secret is a secret by itself: whoever takes one apart, as servers do that repeat the path they
//! were asked for, must not show its parts. Pure. Owns which parts these are; must never know where the
//! texts come from, nor how they are found in others.
//!
//! A part is none that stands in ordinary texts too: such a mask would say nothing, and hide what is wrong.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde_json::Value;
use zeroize::Zeroizing;

/// A part that is only taken for a secret. Shorter ones are words of many texts.
const SHORTEST: usize = 8;
/// A part that is known to be one, such as a password. Shorter ones are not looked for at all.
const SHORTEST_KNOWN: usize = 6;
/// A name that is no secret beside its password is one when it is as long as keys are.
const SHORTEST_NAME: usize = 16;
/// How often a part is taken apart again.
const DEEPEST: usize = 4;
/// Parts of one secret. More are of no secret that anybody has.
const MOST_PARTS: usize = 200;
/// Parts of all secrets together: all of them are looked for in every text.
const MOST_TOGETHER: usize = 1_000;

/// After these words in a header comes a credential, however short.
const SCHEMES: [&str; 9] =
    ["apikey", "basic", "bearer", "bot", "geniekey", "key", "negotiate", "splunk", "token"];
/// Parts of the names of parameters that hold a credential, however short.
const CREDENTIALS: [&str; 7] = ["auth", "code", "key", "pass", "secret", "sig", "token"];
/// What stands in the paths of services for everybody.
const COMMON: [&str; 47] = [
    "accounts",
    "api",
    "applications",
    "automation",
    "automations",
    "callback",
    "callbacks",
    "channels",
    "conversations",
    "default",
    "deliveries",
    "development",
    "endpoint",
    "endpoints",
    "environments",
    "events",
    "hook",
    "hooks",
    "incoming",
    "incomingwebhook",
    "integration",
    "integrations",
    "internal",
    "invoke",
    "manual",
    "messages",
    "mortise",
    "notification",
    "notifications",
    "notify",
    "organizations",
    "paths",
    "powerautomate",
    "production",
    "projects",
    "public",
    "receiver",
    "sendmessage",
    "services",
    "spaces",
    "subscriptions",
    "triggers",
    "webhook",
    "webhookb2",
    "webhooks",
    "workflows",
    "workspaces",
];

/// Secrets, and what is one of each by itself.
pub fn with_parts(secrets: impl IntoIterator<Item = String>) -> Vec<Zeroizing<String>> {
    let (mut all, mut parts) = (Vec::new(), Vec::new());
    for secret in secrets {
        parts.extend(secret_parts(&secret));
        all.push(Zeroizing::new(secret));
    }
    parts.truncate(MOST_TOGETHER);
    all.append(&mut parts);
    all.sort_by(|one, other| one.as_str().cmp(other.as_str()));
    all.dedup_by(|one, other| one.as_str() == other.as_str());
    all
}

/// What of a secret is one by itself.
pub fn secret_parts(secret: &str) -> Vec<Zeroizing<String>> {
    let mut parts = Parts(Vec::new());
    // Of a URL there would be its host.
    if !secret.contains("://") {
        parts.add(secret, SHORTEST_KNOWN);
    }
    parts.take_apart(secret, 0);
    parts.0.retain(|it| it.as_str() != secret);
    parts.0
}

struct Parts(Vec<Zeroizing<String>>);

impl Parts {
    /// Adds what is not shorter than `shortest`; of a template what stands between its tokens, since only
    /// that is sent as it is. What is percent-encoded is often shown decoded.
    fn add(&mut self, text: &str, shortest: usize) {
        if text.contains("{{") {
            literals(text).for_each(|it| self.add_plain(it, SHORTEST));
        } else {
            self.add_plain(text, shortest);
        }
    }

    fn add_plain(&mut self, text: &str, shortest: usize) {
        let decoded = percent_decoded(text);
        for text in [Some(text), decoded.as_ref().map(|it| it.as_str())].into_iter().flatten() {
            let text = text.trim();
            let is_new = || !self.0.iter().any(|it| it.as_str() == text);
            if text.len() >= shortest && self.0.len() < MOST_PARTS && is_new() {
                self.0.push(Zeroizing::new(text.to_owned()));
            }
        }
    }

    /// A part that may have parts too.
    fn add_whole(&mut self, text: &str, shortest: usize, depth: usize) {
        self.add(text, shortest);
        self.take_apart(text, depth + 1);
    }

    fn take_apart(&mut self, text: &str, depth: usize) {
        let text = text.trim();
        if depth > DEEPEST || text.len() < SHORTEST_KNOWN {
            return;
        }
        if text.starts_with(['{', '['])
            && let Ok(document) = serde_json::from_str(text)
        {
            return self.document(&document, depth);
        }
        if let Some((scheme, rest)) = text.split_once("://")
            && is_word(scheme, "+.-")
        {
            return self.url(rest, depth);
        }
        if let Some((word, rest)) = text.split_once(char::is_whitespace)
            && is_word(word, "-")
        {
            self.credential(word, rest.trim(), depth);
        }
        // `a=b; c="d"`, of cookies and signatures. What is only padded at its end has nothing there.
        for parameter in text.split([';', ',']).filter(|_| text.contains('=')) {
            if let Some((name, value)) = parameter.split_once('=') {
                self.parameter(name, value.trim().trim_matches('"'), depth);
            }
        }
        // `id:secret`.
        if let Some((name, value)) = text.split_once(':')
            && !text.contains(char::is_whitespace)
        {
            self.login(name, value, SHORTEST);
        }
    }

    fn document(&mut self, document: &Value, depth: usize) {
        match document {
            Value::String(text) => self.add_whole(text, SHORTEST, depth),
            Value::Array(items) => items.iter().for_each(|it| self.document(it, depth)),
            Value::Object(members) => members.values().for_each(|it| self.document(it, depth)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// What follows a word in a header.
    fn credential(&mut self, word: &str, credential: &str, depth: usize) {
        let word = word.to_ascii_lowercase();
        let is_known = SCHEMES.contains(&word.as_str());
        self.add_whole(credential, if is_known { SHORTEST_KNOWN } else { SHORTEST }, depth);
        if word == "basic"
            && let Some(login) = base64_decoded(credential)
        {
            self.add(&login, SHORTEST_KNOWN);
            if let Some((name, password)) = login.split_once(':') {
                self.login(name, password, SHORTEST_KNOWN);
            }
        }
    }

    fn login(&mut self, name: &str, password: &str, shortest: usize) {
        self.add(password, shortest);
        let is_key = password.is_empty() || name.len() >= SHORTEST_NAME;
        if is_key {
            self.add(name, shortest);
        }
    }

    fn parameter(&mut self, name: &str, value: &str, depth: usize) {
        let name = name.to_ascii_lowercase();
        let is_known = CREDENTIALS.iter().any(|it| name.contains(it));
        self.add_whole(value, if is_known { SHORTEST_KNOWN } else { SHORTEST }, depth);
    }

    /// What follows the scheme of a URL. Its host is none: it is shown where there is no connection to it.
    fn url(&mut self, rest: &str, depth: usize) {
        let authority = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at(authority);
        if let Some((login, _)) = authority.rsplit_once('@') {
            self.add(login, SHORTEST_KNOWN);
            let (name, password) = login.split_once(':').unwrap_or((login, ""));
            self.login(name, password, SHORTEST_KNOWN);
        }
        let (sent, fragment) = rest.split_once('#').unwrap_or((rest, ""));
        let (path, query) = sent.split_once('?').unwrap_or((sent, ""));
        let segments = || path.split(['/', '\\']).filter(|it| !it.is_empty());
        if !segments().all(is_common) {
            self.add(path, SHORTEST);
            self.add(sent, SHORTEST);
        }
        if query.contains('=') {
            self.add(sent, SHORTEST);
        }
        self.add(query, SHORTEST);
        self.add(fragment, SHORTEST);
        for segment in segments().filter(|it| !is_common(it)) {
            self.add_whole(segment, SHORTEST, depth);
        }
        for parameter in query.split('&') {
            let (name, value) = parameter.split_once('=').unwrap_or(("", parameter));
            self.parameter(name, value, depth);
            self.parameter(name, &value.replace('+', " "), depth);
        }
    }
}

/// Whether a segment of a path is the same for everybody who uses a service: its words and versions.
fn is_common(segment: &str) -> bool {
    let segment = segment.to_ascii_lowercase();
    let version = segment.strip_prefix('v').unwrap_or_default();
    let is_version = !version.is_empty()
        && version.len() <= 4
        && version.bytes().all(|it| it.is_ascii_digit() || it == b'.');
    is_version || COMMON.contains(&segment.as_str())
}

/// Whether it may be the name of a scheme, of a URL or in a header.
fn is_word(text: &str, others: &str) -> bool {
    text.len() <= 32
        && text.starts_with(|it: char| it.is_ascii_alphabetic())
        && text.chars().all(|it| it.is_ascii_alphanumeric() || others.contains(it))
}

/// What stands between the tokens of a template.
fn literals(template: &str) -> impl Iterator<Item = &str> {
    template.split("{{").enumerate().map(|(at, piece)| match piece.split_once("}}") {
        Some((_, literal)) if at > 0 => literal,
        Some(_) | None => piece,
    })
}

/// Nothing when it is the same, or no text.
fn percent_decoded(text: &str) -> Option<Zeroizing<String>> {
    let bytes = text.as_bytes();
    let mut decoded = Zeroizing::new(Vec::with_capacity(bytes.len()));
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let digits = text.get(at + 1..at + 3).filter(|_| *byte == b'%');
        let digits = digits.filter(|it| it.bytes().all(|it| it.is_ascii_hexdigit()));
        match digits.and_then(|it| u8::from_str_radix(it, 16).ok()) {
            Some(meant) => {
                decoded.push(meant);
                at += 3;
            }
            None => {
                decoded.push(*byte);
                at += 1;
            }
        }
    }
    let decoded = Zeroizing::new(std::str::from_utf8(&decoded).ok()?.to_owned());
    (decoded.as_str() != text).then_some(decoded)
}

fn base64_decoded(text: &str) -> Option<Zeroizing<String>> {
    let text = Zeroizing::new(text.trim_end_matches('=').replace('-', "+").replace('_', "/"));
    let bytes = Zeroizing::new(STANDARD_NO_PAD.decode(text.as_bytes()).ok()?);
    Some(Zeroizing::new(std::str::from_utf8(&bytes).ok()?.to_owned()))
}

#[cfg(test)]
#[path = "secret_parts_tests.rs"]
mod tests;
