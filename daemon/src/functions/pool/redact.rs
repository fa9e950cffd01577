//! Keeps the secrets of a run out of what is stored and shown: logs, errors and results.
//!
//! A function may log, throw or return its whole event, tokens and keyrings included, and many do.
//! A result is stored, shown with its run and answered to whoever called, none of which is what a
//! keyring is for; a function that has to hand a secret on makes a request with it.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use serde_json::value::RawValue;
use zeroize::Zeroizing;

use super::secret_forms::{SHORTEST, SecretForms};
use crate::functions::outcome::{Failure, Outcome, RunReport};

const MASK: &str = "[secret]";
/// What the tokens begin with that functions get.
const TOKEN_PREFIX: &str = "mst_";
/// What is larger is searched on a thread where nothing waits for it, bytes.
const LARGE: usize = 64 * 1024;

/// What must not be read by people. The same text in many places, so it is shared.
pub type SecretTexts = Arc<[Zeroizing<String>]>;

pub(super) struct Redactor<'a> {
    secrets: &'a SecretTexts,
    /// Made when the first text comes: many runs say nothing.
    forms: OnceLock<SecretForms<'a>>,
}

/// Masks secrets that became known only while the run was on.
pub async fn mask(report: RunReport, secrets: SecretTexts) -> RunReport {
    if secrets.is_empty() {
        return report;
    }
    let redactor = Redactor::new(&secrets);
    let RunReport { outcome, mut logs, mut requests, duration } = report;
    for line in &mut logs {
        redactor.text(&mut line.message);
    }
    for request in &mut requests {
        super::requests::mask(&redactor, request);
    }
    RunReport { outcome: redactor.outcome_aside(outcome).await, logs, requests, duration }
}

/// Masks secrets in texts, such as those of a log.
pub fn mask_texts<'a>(texts: impl Iterator<Item = &'a mut String>, secrets: &SecretTexts) {
    let redactor = Redactor::new(secrets);
    texts.for_each(|it| redactor.text(it));
}

impl<'a> Redactor<'a> {
    pub(super) fn new(secrets: &'a SecretTexts) -> Redactor<'a> {
        Redactor { secrets, forms: OnceLock::new() }
    }

    /// Masks secrets in a text.
    pub(super) fn text(&self, text: &mut String) {
        if let Some(masked) = self.masked(text) {
            *text = masked;
        }
    }

    /// The text with its secrets masked, if there are any in it.
    fn masked(&self, text: &str) -> Option<String> {
        if text.len() < SHORTEST {
            return None;
        }
        let found = self.places(text);
        if found.is_empty() {
            return None;
        }
        let mut masked = String::with_capacity(text.len());
        let mut after = 0;
        for range in found {
            masked.push_str(text.get(after..range.start).unwrap_or_default());
            masked.push_str(MASK);
            after = range.end;
        }
        masked.push_str(text.get(after..).unwrap_or_default());
        Some(masked)
    }

    /// Where secrets of the run are, and tokens of any run: a warm process may have kept one.
    fn places(&self, text: &str) -> Vec<Range<usize>> {
        let mut found = self.forms().find(text);
        let tokens = tokens(text);
        if !tokens.is_empty() {
            found.extend(tokens);
            found.sort_by_key(|it| it.start);
            found.dedup_by(|later, earlier| {
                let overlaps = later.start <= earlier.end;
                if overlaps {
                    earlier.end = earlier.end.max(later.end);
                }
                overlaps
            });
        }
        found
    }

    /// As [`Redactor::outcome`]; a large one does not keep other runs waiting.
    pub(super) async fn outcome_aside(&self, outcome: Outcome) -> Outcome {
        if size(&outcome) < LARGE {
            return self.outcome(outcome);
        }
        let secrets = self.secrets.clone();
        tokio::task::spawn_blocking(move || Redactor::new(&secrets).outcome(outcome))
            .await
            .unwrap_or_else(|error| Outcome::Interrupted {
                reason: format!("what it came to could not be searched for secrets: {error}"),
            })
    }

    /// Masks secrets in all that a run came to.
    pub(super) fn outcome(&self, outcome: Outcome) -> Outcome {
        match outcome {
            Outcome::Failed(mut failure) => {
                let Failure { name, message, stack, kind: _, retry: _, refresh: _, exit_status: _ } =
                    &mut failure;
                for text in [Some(name), Some(message), stack.as_mut()].into_iter().flatten() {
                    self.text(text);
                }
                Outcome::Failed(failure)
            }
            Outcome::Succeeded { result } => Outcome::Succeeded { result: self.json(result) },
            Outcome::Interrupted { reason } => Outcome::Interrupted { reason },
        }
    }

    /// Masks secrets in the texts and numbers of a document, which stays one.
    fn json(&self, document: Box<RawValue>) -> Box<RawValue> {
        let text = document.get();
        if text.len() < SHORTEST || self.places(text).is_empty() {
            return document;
        }
        // It was JSON and still is; and if not, then rather nothing than a secret.
        RawValue::from_string(self.masked_json(text)).unwrap_or_default()
    }

    fn masked_json(&self, text: &str) -> String {
        let mut masked = String::with_capacity(text.len());
        let mut rest = text;
        let begins = |it: char| it == '"' || it == '-' || it.is_ascii_digit();
        while let Some(at) = rest.find(begins) {
            let (between, token) = rest.split_at(at);
            masked.push_str(between);
            let (token, after) = token.split_at(token_length(token));
            rest = after;
            match serde_json::from_str::<String>(token) {
                Ok(content) => match self.masked(&content) {
                    Some(content) => {
                        masked.push_str(&serde_json::Value::String(content).to_string());
                    }
                    None => masked.push_str(token),
                },
                Err(_) if token.len() >= SHORTEST && self.is_secret(token) => {
                    masked.push_str(&format!("\"{MASK}\""));
                }
                Err(_) => masked.push_str(token),
            }
        }
        masked.push_str(rest);
        masked
    }

    fn is_secret(&self, token: &str) -> bool {
        self.secrets.iter().any(|it| it.as_str() == token)
    }

    fn forms(&self) -> &SecretForms<'a> {
        self.forms.get_or_init(|| SecretForms::of(self.secrets.iter().map(|it| it.as_str())))
    }
}

/// Where a text holds what looks like a token that this daemon has signed.
fn tokens(text: &str) -> Vec<Range<usize>> {
    // Much shorter than any is.
    const SHORTEST_TOKEN: usize = 64;
    let in_token = |it: char| it.is_ascii_alphanumeric() || "_-.".contains(it);
    let mut found: Vec<Range<usize>> = Vec::new();
    for (start, _) in text.match_indices(TOKEN_PREFIX) {
        if found.last().is_some_and(|it| start < it.end) {
            continue;
        }
        let rest = text.get(start..).unwrap_or_default();
        let length = rest.find(|it| !in_token(it)).unwrap_or(rest.len());
        if length >= SHORTEST_TOKEN {
            found.push(start..start + length);
        }
    }
    found
}

fn size(outcome: &Outcome) -> usize {
    match outcome {
        Outcome::Succeeded { result } => result.get().len(),
        Outcome::Failed(failure) => {
            failure.message.len() + failure.stack.as_deref().unwrap_or_default().len()
        }
        Outcome::Interrupted { .. } => 0,
    }
}

/// How long the text or number is that `json` begins with.
fn token_length(json: &str) -> usize {
    if !json.starts_with('"') {
        let in_number = |it: char| it.is_ascii_digit() || "+-.eE".contains(it);
        return json.find(|it| !in_number(it)).unwrap_or(json.len());
    }
    let mut is_escaped = false;
    let end = json.bytes().skip(1).position(|byte| {
        let is_end = byte == b'"' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        is_end
    });
    end.map_or(json.len(), |it| it + 2)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::functions::outcome::FailureKind;

    fn shared(secrets: &[&str]) -> SecretTexts {
        secrets.iter().map(|it| Zeroizing::new((*it).to_owned())).collect()
    }

    #[test]
    fn tokens_of_other_runs_are_masked_too() {
        let token = format!("mst_{}.{}", "eyJ".repeat(60), "Ab-_".repeat(10));
        let masked = masked(&[], &format!(r#"{{"stolen":"{token}","like":"mst_short"}}"#));
        assert_eq!(masked, r#"{"stolen":"[secret]","like":"mst_short"}"#);
    }

    fn masked(secrets: &[&str], result: &str) -> String {
        let secrets = shared(secrets);
        let result = RawValue::from_string(result.to_owned()).expect("JSON");
        match Redactor::new(&secrets).outcome(Outcome::Succeeded { result }) {
            Outcome::Succeeded { result } => result.get().to_owned(),
            other => panic!("it stays a success: {other:?}"),
        }
    }

    #[test]
    fn secrets_are_masked_wherever_people_read() {
        let secrets = shared(&["tok-123456", "ab"]);
        let redactor = Redactor::new(&secrets);
        let mut failure = Failure::new(FailureKind::Thrown, "401 for tok-123456, about ab");
        failure.stack = Some("at tok-123456".to_owned());
        let Outcome::Failed(failure) = redactor.outcome(Outcome::Failed(failure)) else {
            panic!("it stays a failure");
        };
        assert_eq!(failure.message, "401 for [secret], about ab");
        assert_eq!(failure.stack.as_deref(), Some("at [secret]"));
    }

    #[tokio::test]
    async fn large_outcomes_are_masked_as_small_ones_are() {
        let secrets = shared(&["tok-123456"]);
        let text = "tok-123456,".repeat(LARGE / 8);
        let result = RawValue::from_string(json!({ "it": text }).to_string()).expect("JSON");
        let outcome = Outcome::Succeeded { result };
        let failure = Outcome::Failed(Failure::new(FailureKind::Thrown, text.clone()));
        assert!(size(&outcome) > LARGE && size(&failure) > LARGE);
        let expected = text.replace("tok-123456", "[secret]");
        match Redactor::new(&secrets).outcome_aside(outcome).await {
            Outcome::Succeeded { result } => {
                assert_eq!(result.get(), json!({ "it": expected }).to_string());
            }
            other => panic!("it stays a success: {other:?}"),
        }
        match Redactor::new(&secrets).outcome_aside(failure).await {
            Outcome::Failed(failure) => assert_eq!(failure.message, expected),
            other => panic!("it stays a failure: {other:?}"),
        }
    }

    #[test]
    fn results_stay_documents() {
        let secret = "se\"cr\\et\n";
        for (result, expected) in [
            (json!(secret), json!("[secret]")),
            (
                json!({ "a": [format!("x {secret}!")], secret: 1 }),
                json!({ "a": ["x [secret]!"], "[secret]": 1 }),
            ),
            // What a function made of it, and made that a text again.
            (json!(json!({ "it": secret }).to_string()), json!(r#"{"it":"[secret]"}"#)),
        ] {
            let left: Value =
                serde_json::from_str(&masked(&[secret], &result.to_string())).expect("JSON");
            assert_eq!(left, expected);
        }
        assert_eq!(
            masked(&["123456"], "[123456,-123456,1234567,\"123456\"]"),
            "[\"[secret]\",-123456,1234567,\"[secret]\"]"
        );
        // Nothing else changes: neither the order of keys, nor spaces, nor numbers without end.
        let result =
            "{ \"z\": 1.000000000000000000001, \"b\" : \"hidden!\",\"a\":12345678901234567890123 }";
        assert_eq!(masked(&["hidden!"], result), result.replace("hidden!", "[secret]"));
        // What only looks like it: a line break and the rest of the secret.
        assert_eq!(masked(&["nabcdef"], r#"["\nabcdef"]"#), r#"["\nabcdef"]"#);
    }

    proptest! {
        #[test]
        fn no_result_breaks_and_no_secret_stays(
            secret in r#"(\\|"|\n|é|[a-z0-9]){7,20}"#,
            texts in proptest::collection::vec(r#"(\\|"|\n|é|[a-z0-9]){0,8}"#, 1..5),
            depth in 1usize..4,
        ) {
            let mut result = Value::Null;
            for text in &texts {
                result = json!({ text: [result, format!("{text}{secret}"), 1.5] });
            }
            let mut document = result.to_string();
            for _ in 1..depth {
                document = json!(document).to_string();
            }
            let mut left: Value = serde_json::from_str(&masked(&[&secret], &document)).expect("JSON");
            // Texts within texts are no documents any more when what was masked ended in a backslash.
            while let Value::String(text) = &left
                && let Ok(within) = serde_json::from_str(text)
            {
                prop_assert!(!text.contains(&secret), "{}", text);
                left = within;
            }
            fn texts_of(value: &Value, found: &mut Vec<String>) {
                match value {
                    Value::String(text) => found.push(text.clone()),
                    Value::Array(items) => items.iter().for_each(|it| texts_of(it, found)),
                    Value::Object(members) => members.iter().for_each(|(name, it)| {
                        found.push(name.clone());
                        texts_of(it, found);
                    }),
                    Value::Null | Value::Bool(_) | Value::Number(_) => {}
                }
            }
            let mut found = Vec::new();
            texts_of(&left, &mut found);
            prop_assert!(found.iter().all(|it| !it.contains(&secret)), "{:?}", found);
        }
    }
}
