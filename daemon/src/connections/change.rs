//! A change of a keyring that somebody types in: what was sent, over what is stored.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::destination::Destination;
use super::secret::{KeyringSecret, MASK, SecretText};
use crate::model::manifest::SecretConfig;

/// The most that a secret may have, in bytes: a key with its chain of certificates fits.
const MOST_BYTES: usize = 64 * 1024;

/// What was sent.
#[derive(Clone, Debug)]
pub enum Given {
    /// One text.
    Secret(SecretText),
    /// A value for each field; nothing takes a value away.
    Fields(BTreeMap<String, Option<SecretText>>),
}

/// What it amounts to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// All of it was the mask.
    Unchanged,
    /// One text.
    Plain(SecretText),
    /// All fields that have a value now.
    Fields(BTreeMap<String, SecretText>),
}

/// What is wrong with what was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// `secret`, or `fields.<id>`.
    pub field: String,
    /// What is wrong with it.
    pub message: String,
    /// What would be right.
    pub allowed: Vec<String>,
}

/// Merges what was sent over what is stored, or says everything that is wrong with it.
pub fn merge(
    config: &SecretConfig,
    stored: Option<&KeyringSecret>,
    given: Given,
    destination: &Destination,
) -> Result<Change, Vec<Problem>> {
    if config.fields.is_empty() {
        return plain(stored, given, destination).map_err(|it| vec![it]);
    }
    match given {
        Given::Fields(fields) => merge_fields(config, stored, fields, destination),
        Given::Secret(secret) if secret.is_mask() && stored.is_some() => {
            if destination.is_other {
                return Err(vec![problem("secret", STAYS_WHERE_IT_IS)]);
            }
            Ok(Change::Unchanged)
        }
        Given::Secret(secret) => {
            merge_fields(config, stored, as_fields(config, secret)?, destination)
        }
    }
}

fn plain(
    stored: Option<&KeyringSecret>,
    given: Given,
    destination: &Destination,
) -> Result<Change, Problem> {
    let Given::Secret(secret) = given else {
        return Err(problem("fields", "its type has no fields: send the secret as `secret`"));
    };
    if secret.is_mask() {
        return match stored {
            Some(_) if destination.is_other => Err(problem("secret", STAYS_WHERE_IT_IS)),
            Some(_) => Ok(Change::Unchanged),
            None => Err(problem("secret", NOTHING_TO_KEEP)),
        };
    }
    check_size("secret", &secret)?;
    Ok(Change::Plain(secret))
}

const NOTHING_TO_KEEP: &str = "`********` keeps what is stored, and nothing is stored yet";
const STAYS_WHERE_IT_IS: &str = "`********` keeps what is stored, which is not sent to another place \
                                 than before: give the value itself";

/// One text for a type with fields: their JSON, or the value of the only one.
fn as_fields(
    config: &SecretConfig,
    secret: SecretText,
) -> Result<BTreeMap<String, Option<SecretText>>, Vec<Problem>> {
    if let Ok(fields) =
        serde_json::from_str::<BTreeMap<String, Option<SecretText>>>(secret.reveal())
    {
        return Ok(fields);
    }
    let mut required = config.fields.iter().filter(|it| !it.is_optional);
    match (required.next(), required.next()) {
        (Some(only), None) => Ok(BTreeMap::from([(only.id.clone(), Some(secret))])),
        _ => {
            let names: Vec<String> =
                config.fields.iter().map(|it| format!("{:?}: \"...\"", it.id)).collect();
            let message = format!(
                "its type has several fields, and this is no JSON object of texts with them: \
                 {{{}}}",
                names.join(", ")
            );
            let mut found = problem("secret", &message);
            found.allowed = config.fields.iter().map(|it| it.id.clone()).collect();
            Err(vec![found])
        }
    }
}

fn merge_fields(
    config: &SecretConfig,
    stored: Option<&KeyringSecret>,
    mut given: BTreeMap<String, Option<SecretText>>,
    destination: &Destination,
) -> Result<Change, Vec<Problem>> {
    let none = BTreeMap::new();
    let stored = match stored {
        Some(KeyringSecret::Fields { fields, .. }) => fields,
        Some(KeyringSecret::Plain { .. } | KeyringSecret::Tokens(_)) | None => &none,
    };
    let mut merged = BTreeMap::new();
    let mut problems = Vec::new();
    let mut all_masked = true;
    let mut kept_fields = Vec::new();
    for field in &config.fields {
        let name = format!("fields.{}", field.id);
        match given.remove(&field.id).flatten() {
            Some(value) if value.is_mask() => match stored.get(&field.id) {
                Some(kept) => {
                    merged.insert(field.id.clone(), kept.clone());
                    kept_fields.push(name);
                }
                None => problems.push(problem(&name, NOTHING_TO_KEEP)),
            },
            Some(value) if !(field.is_optional && value.reveal().is_empty()) => {
                all_masked = false;
                match check_size(&name, &value) {
                    Ok(()) => {
                        merged.insert(field.id.clone(), value);
                    }
                    Err(found) => problems.push(found),
                }
            }
            Some(_) | None if field.is_optional => {
                all_masked &= !stored.contains_key(&field.id);
            }
            Some(_) | None => {
                problems.push(problem(&name, "a value is needed"));
            }
        }
    }
    let is_moved = destination.fields.iter().any(|it| merged.get(it) != stored.get(it));
    if destination.is_other || is_moved {
        problems.extend(kept_fields.iter().map(|it| problem(it, STAYS_WHERE_IT_IS)));
    }
    for unknown in given.into_keys() {
        let short: String = unknown.chars().take(64).collect();
        let mut found = problem(&format!("fields.{short}"), "its type has no such field");
        found.allowed = config.fields.iter().map(|it| it.id.clone()).collect();
        problems.push(found);
    }
    match problems.is_empty() {
        false => Err(problems),
        true if all_masked && !stored.is_empty() => Ok(Change::Unchanged),
        true => Ok(Change::Fields(merged)),
    }
}

fn check_size(field: &str, value: &SecretText) -> Result<(), Problem> {
    match value.reveal().len() {
        0 => Err(problem(field, "a value is needed")),
        size if size > MOST_BYTES => {
            Err(problem(field, &format!("it has {size} bytes: at most {MOST_BYTES} are allowed")))
        }
        _ => Ok(()),
    }
}

fn problem(field: &str, message: &str) -> Problem {
    Problem { field: field.to_owned(), message: message.to_owned(), allowed: Vec::new() }
}

/// The fields as the JSON that a transform reads, and that is the secret when there is none.
pub fn fields_json(fields: &BTreeMap<String, SecretText>) -> Value {
    let members = fields.iter().map(|(id, it)| (id.clone(), Value::from(it.reveal())));
    Value::Object(members.collect::<Map<_, _>>())
}

/// What a client of OAuth2 shows to the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// Public.
    pub id: String,
    /// Absent for a client that cannot keep one.
    pub secret: Option<SecretText>,
}

/// Reads a developer keyring that is an OAuth2 client; an error says what it should look like.
pub fn client(secret: &SecretText) -> Result<Client, String> {
    const EXPECTED: &str =
        "expected the JSON object {\"client_id\": \"...\", \"client_secret\": \"...\"}";
    let members: BTreeMap<String, Value> =
        serde_json::from_str(secret.reveal()).map_err(|_| EXPECTED.to_owned())?;
    let text = |name: &str| members.get(name).and_then(Value::as_str).filter(|it| !it.is_empty());
    let id = text("client_id").ok_or_else(|| EXPECTED.to_owned())?.to_owned();
    if id == MASK {
        return Err("its client_id is the mask".to_owned());
    }
    Ok(Client { id, secret: text("client_secret").map(SecretText::from) })
}

/// What was sent for a developer's keyring.
#[derive(Clone, Debug)]
pub enum DeveloperGiven {
    /// One text, which may be the JSON of a client.
    Text(SecretText),
    /// A client of OAuth2.
    Client(Client),
}

/// Merges what was sent for a developer's keyring over what is stored. Answers the secret, and
/// whether it is a client of OAuth2.
pub fn merge_developer(
    stored: Option<&KeyringSecret>,
    given: DeveloperGiven,
) -> Result<(SecretText, bool), Vec<Problem>> {
    let stored = stored.map(KeyringSecret::for_functions);
    let given = match given {
        DeveloperGiven::Text(text) if text.is_mask() => match stored {
            Some(stored) => return Ok((stored.clone(), client(stored).is_ok())),
            None => return Err(vec![problem("secret", NOTHING_TO_KEEP)]),
        },
        DeveloperGiven::Text(text) => match client(&text) {
            Ok(client) => client,
            Err(_) => {
                check_size("secret", &text).map_err(|it| vec![it])?;
                return Ok((text, false));
            }
        },
        DeveloperGiven::Client(client) => client,
    };
    let Client { id, secret } = given;
    if id.is_empty() || id == MASK {
        return Err(vec![problem("client_id", "the id of the client is needed")]);
    }
    let secret = match secret {
        Some(secret) if secret.is_mask() => {
            let kept = stored.and_then(|it| client(it).ok()).and_then(|it| it.secret);
            Some(kept.ok_or_else(|| vec![problem("client_secret", NOTHING_TO_KEEP)])?)
        }
        other => other,
    };
    let text = match &secret {
        Some(secret) => {
            check_size("client_secret", secret).map_err(|it| vec![it])?;
            json!({ "client_id": id, "client_secret": secret.reveal() })
        }
        None => json!({ "client_id": id }),
    };
    Ok((text.to_string().into(), true))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::manifest::SecretField;

    fn config(fields: &[(&str, bool)]) -> SecretConfig {
        let fields = fields.iter().map(|(id, optional)| SecretField {
            id: (*id).to_owned(),
            is_optional: *optional,
            ..SecretField::default()
        });
        SecretConfig { fields: fields.collect(), ..SecretConfig::default() }
    }

    fn given(fields: &[(&str, &str)]) -> Given {
        let fields = fields.iter().map(|(id, it)| ((*id).to_owned(), Some(SecretText::from(*it))));
        Given::Fields(fields.collect())
    }

    fn fields(fields: &[(&str, &str)]) -> BTreeMap<String, SecretText> {
        fields.iter().map(|(id, it)| ((*id).to_owned(), SecretText::from(*it))).collect()
    }

    #[test]
    fn one_secret() {
        let config = config(&[]);
        let set = |stored: Option<&KeyringSecret>, text: &str| {
            merge(&config, stored, Given::Secret(text.into()), &Destination::default())
        };
        assert_eq!(set(None, "a"), Ok(Change::Plain("a".into())));
        let stored = KeyringSecret::Plain { secret: "a".into() };
        assert_eq!(set(Some(&stored), MASK), Ok(Change::Unchanged));
        assert!(set(None, MASK).is_err());
        assert!(set(None, "").is_err());
        assert!(set(None, &"x".repeat(MOST_BYTES + 1)).is_err());
        assert!(merge(&config, None, given(&[("a", "b")]), &Destination::default()).is_err());
    }

    #[test]
    fn masked_fields_keep_what_is_stored() {
        let config = config(&[("user", false), ("pass", false), ("note", true)]);
        let stored = KeyringSecret::Fields {
            fields: fields(&[("user", "u"), ("pass", "p"), ("note", "n")]),
            secret: "made".into(),
        };
        let set = |sent: &[(&str, &str)]| {
            merge(&config, Some(&stored), given(sent), &Destination::default())
        };
        let all = [("user", MASK), ("pass", MASK), ("note", MASK)];
        assert_eq!(set(&all), Ok(Change::Unchanged));
        assert_eq!(
            set(&[("user", MASK), ("pass", "new"), ("note", MASK)]),
            Ok(Change::Fields(fields(&[("user", "u"), ("pass", "new"), ("note", "n")])))
        );
        assert_eq!(
            set(&[("user", MASK), ("pass", MASK)]),
            Ok(Change::Fields(fields(&[("user", "u"), ("pass", "p")]))),
            "what is left out and optional is taken away"
        );
    }

    #[test]
    fn what_is_stored_is_not_sent_elsewhere() {
        let two = config(&[("url", false), ("token", false), ("note", true)]);
        let stored = KeyringSecret::Fields {
            fields: fields(&[("url", "https://e.com"), ("token", "t")]),
            secret: "made".into(),
        };
        let by_url = Destination { is_other: false, fields: ["url".to_owned()].into() };
        let elsewhere = Destination { is_other: true, ..by_url.clone() };
        let set = |destination: &Destination, sent| merge(&two, Some(&stored), sent, destination);
        let places = |change: Result<Change, Vec<Problem>>| {
            let problems = change.expect_err("it would be sent elsewhere");
            problems.into_iter().map(|it| it.field).collect::<Vec<_>>()
        };
        let moved = [("url", "https://evil.com"), ("token", MASK)];
        assert_eq!(places(set(&by_url, given(&moved))), ["fields.token"]);
        let json = format!(r#"{{"url": "https://evil.com", "token": "{MASK}"}}"#);
        assert_eq!(places(set(&by_url, Given::Secret(json.as_str().into()))), ["fields.token"]);
        assert!(set(&by_url, given(&[("url", "https://evil.com"), ("token", "new")])).is_ok());
        assert!(set(&by_url, given(&[("url", "https://e.com"), ("token", MASK)])).is_ok());
        let noted = [("url", MASK), ("token", MASK), ("note", "n")];
        assert!(set(&by_url, given(&noted)).is_ok());
        assert_eq!(places(set(&elsewhere, given(&noted))), ["fields.url", "fields.token"]);
        assert_eq!(places(set(&elsewhere, Given::Secret(MASK.into()))), ["secret"]);

        let one = config(&[]);
        let stored = KeyringSecret::Plain { secret: "a".into() };
        let mask = || Given::Secret(MASK.into());
        assert_eq!(places(merge(&one, Some(&stored), mask(), &elsewhere)), ["secret"]);
        assert!(merge(&one, Some(&stored), Given::Secret("b".into()), &elsewhere).is_ok());
    }

    #[test]
    fn everything_that_is_wrong_is_said() {
        let config = config(&[("user", false), ("pass", false)]);
        let sent = given(&[("user", MASK), ("pas", "x")]);
        let problems = merge(&config, None, sent, &Destination::default());
        let problems = problems.expect_err("three things are wrong");
        let places: Vec<_> = problems.iter().map(|it| it.field.as_str()).collect();
        assert_eq!(places, ["fields.user", "fields.pass", "fields.pas"]);
        assert_eq!(problems[2].allowed, ["user", "pass"]);
    }

    #[test]
    fn one_text_can_be_all_fields() {
        let one = config(&[("token", false), ("note", true)]);
        let set = |config: &SecretConfig, text: &str| {
            merge(config, None, Given::Secret(text.into()), &Destination::default())
        };
        assert_eq!(set(&one, "t"), Ok(Change::Fields(fields(&[("token", "t")]))));
        let two = config(&[("user", false), ("pass", false)]);
        assert_eq!(
            set(&two, r#"{"user": "u", "pass": "p"}"#),
            Ok(Change::Fields(fields(&[("user", "u"), ("pass", "p")])))
        );
        assert_eq!(set(&two, "t").expect_err("which one?")[0].allowed, ["user", "pass"]);
    }

    #[test]
    fn secrets_of_developers() {
        let set = |stored: Option<&KeyringSecret>, given| merge_developer(stored, given);
        let text = |text: &str| DeveloperGiven::Text(text.into());
        let client = |id: &str, secret: Option<&str>| {
            let secret = secret.map(SecretText::from);
            DeveloperGiven::Client(Client { id: id.to_owned(), secret })
        };
        assert_eq!(set(None, text("key")), Ok(("key".into(), false)));
        let (stored, is_client) = set(None, client("i", Some("s"))).expect("a client");
        assert!(is_client);
        let stored = KeyringSecret::Plain { secret: stored };
        let kept = set(Some(&stored), client("j", Some(MASK))).expect("it keeps its secret");
        assert_eq!(super::client(&kept.0).expect("a client").secret, Some("s".into()));
        let json = format!(r#"{{"client_id": "k", "client_secret": "{MASK}"}}"#);
        let kept = set(Some(&stored), text(&json)).expect("it keeps its secret");
        let kept = super::client(&kept.0).expect("a client");
        assert_eq!((kept.id.as_str(), kept.secret), ("k", Some("s".into())));
        assert!(set(Some(&stored), text(MASK)).expect("kept").1);
        let public = set(Some(&stored), client("i", None)).expect("a client");
        assert_eq!(super::client(&public.0).expect("a client").secret, None);
        for wrong in [text(""), text(MASK), client("", Some("s")), client("i", Some(MASK))] {
            assert!(set(None, wrong).is_err());
        }
    }

    #[test]
    fn clients() {
        let read = |text: &str| client(&text.into());
        let both = read(r#"{"client_id": "i", "client_secret": "s"}"#).expect("a client");
        assert_eq!((both.id.as_str(), both.secret), ("i", Some("s".into())));
        assert_eq!(read(r#"{"client_id": "i"}"#).expect("a public client").secret, None);
        for wrong in ["", "s3cr3t", "{}", r#"{"client_id": 3}"#, "[1]"] {
            let error = read(wrong).expect_err(wrong);
            assert!(!error.contains("s3cr3t"), "{error}");
        }
    }
}
