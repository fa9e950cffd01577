//! Secrets of keyrings on their way to the daemon: what is asked for, and the calls that carry the
//! answers. A secret is held only until its call is made, and never shown.

use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use super::ask;
use super::given::KeyringGiven;
use crate::cli::Failure;
use crate::cli::show::plain;
use crate::cli::terminal::Dialogue;
use crate::connections::types::{self, ConnectionKind, ConnectionType};
use crate::model::manifest::{DeveloperKeyring, Keyring, Manifest, SecretField};

/// A call to make for a keyring. Not for printing: secrets are in it.
#[cfg_attr(test, derive(Debug, PartialEq))]
pub(super) enum Step {
    /// `keyrings.set` with these parameters.
    Set(Map<String, Value>),
    /// `keyrings.connect` with these parameters, and then somebody grants access.
    Connect(Map<String, Value>),
    /// It is left as it is.
    Leave,
}

/// The parameters of `keyrings.set` for what a command line gave.
pub(super) fn set_given(snap_in: &str, name: &str, given: &KeyringGiven) -> Map<String, Value> {
    with_given(json!({ "snap_in": snap_in, "name": name }), given)
}

/// The parameters of `developer-keyrings.set` for what a command line gave.
pub(super) fn set_given_developer(
    package: &str,
    name: &str,
    given: &KeyringGiven,
) -> Map<String, Value> {
    with_given(json!({ "package": package, "name": name }), given)
}

fn with_given(parameters: Value, given: &KeyringGiven) -> Map<String, Value> {
    let mut parameters = object(parameters);
    match given {
        KeyringGiven::Text(secret) => {
            parameters.insert("secret".to_owned(), Value::String(secret.to_string()));
        }
        KeyringGiven::Members(members) => parameters.extend(members.clone()),
    }
    parameters
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}

/// Asks for a keyring: of which type it is to be, and what that type needs.
pub(super) fn for_keyring(
    dialogue: &mut impl Dialogue,
    manifest: &Manifest,
    keyring: &Keyring,
    snap_in: &str,
) -> Result<Step, Failure> {
    let title = keyring.display_name.as_deref().unwrap_or(&keyring.name);
    let needed = if keyring.optional { "optional" } else { "required" };
    dialogue.say(&format!("\n{} ({}, keyring, {needed})", plain(title), plain(&keyring.name)))?;
    say_about(dialogue, keyring.description.as_deref())?;
    let mut usable = Vec::new();
    for id in &keyring.types {
        match types::find(manifest, id) {
            Ok(found) => usable.push(found),
            Err(error) => dialogue.say(&format!("  {}", plain(&error.to_string())))?,
        }
    }
    let Some(of_type) = choose_type(dialogue, &usable)? else {
        return Ok(Step::Leave);
    };
    say_about(dialogue, of_type.description.as_deref())?;
    say_about(dialogue, of_type.warning.as_deref())?;
    let mut parameters = object(json!({ "snap_in": snap_in, "name": keyring.name }));
    // The daemon knows which one it is when there is only one.
    if keyring.types.len() > 1 {
        parameters.insert("type".to_owned(), Value::String(of_type.id.clone()));
    }
    if of_type.is_oauth2()
        && keyring.optional
        && !ask::confirm(dialogue, "  Connect it now?", false)?
    {
        return Ok(Step::Leave);
    }
    if of_type.is_subdomain {
        let Some(subdomain) = ask_line(dialogue, "subdomain", keyring.optional)? else {
            return Ok(Step::Leave);
        };
        parameters.insert("subdomain".to_owned(), Value::String(subdomain));
    }
    match &of_type.kind {
        ConnectionKind::Oauth2(_) => Ok(Step::Connect(parameters)),
        ConnectionKind::Secret(config) if config.fields.is_empty() => {
            let Some(secret) = ask_secret(dialogue, "secret", keyring.optional)? else {
                return Ok(Step::Leave);
            };
            parameters.insert("secret".to_owned(), Value::String(secret.to_string()));
            Ok(Step::Set(parameters))
        }
        ConnectionKind::Secret(config) => {
            let Some(fields) = ask_fields(dialogue, &config.fields, keyring.optional)? else {
                return Ok(Step::Leave);
            };
            parameters.insert("fields".to_owned(), Value::Object(fields));
            Ok(Step::Set(parameters))
        }
    }
}

/// Asks for a secret of the developer: a plain one, or an OAuth2 client. Nothing when it is left.
pub(super) fn for_developer_keyring(
    dialogue: &mut impl Dialogue,
    keyring: &DeveloperKeyring,
    is_client: bool,
    package: &str,
) -> Result<Option<Map<String, Value>>, Failure> {
    let title = keyring.display_name.as_deref().unwrap_or(&keyring.name);
    let what = if is_client { "OAuth2 client, required" } else { "secret of the developer" };
    dialogue.say(&format!("\n{} ({}, {what})", plain(title), plain(&keyring.name)))?;
    say_about(dialogue, keyring.description.as_deref())?;
    let mut parameters = object(json!({ "package": package, "name": keyring.name }));
    if !is_client {
        let secret = ask_secret(dialogue, "secret", true)?;
        return Ok(secret.map(|secret| {
            parameters.insert("secret".to_owned(), Value::String(secret.to_string()));
            parameters
        }));
    }
    dialogue.say("  Register an application at the other system; it gives out these two.")?;
    let Some(id) = ask_line(dialogue, "client id", false)? else { return Ok(None) };
    parameters.insert("client_id".to_owned(), Value::String(id));
    if let Some(secret) = ask_secret(dialogue, "client secret", true)? {
        parameters.insert("client_secret".to_owned(), Value::String(secret.to_string()));
    }
    Ok(Some(parameters))
}

fn choose_type<'t>(
    dialogue: &mut impl Dialogue,
    usable: &'t [ConnectionType],
) -> Result<Option<&'t ConnectionType>, Failure> {
    match usable {
        [] => Ok(None),
        [only] => Ok(Some(only)),
        several => {
            let titles: Vec<String> = several
                .iter()
                .map(|it| {
                    let how = if it.is_oauth2() { "granted in a browser" } else { "typed in" };
                    format!("{} ({how})", it.name.as_deref().unwrap_or(&it.id))
                })
                .collect();
            let place = ask::choose(dialogue, "of which kind", &titles)?;
            Ok(several.get(place))
        }
    }
}

fn ask_fields(
    dialogue: &mut impl Dialogue,
    fields: &[SecretField],
    optional: bool,
) -> Result<Option<Map<String, Value>>, Failure> {
    let mut answers = Map::new();
    for (at, field) in fields.iter().enumerate() {
        say_about(dialogue, field.description.as_deref())?;
        let title = field.name.as_deref().unwrap_or(&field.id);
        // An empty first answer leaves the whole keyring out, if it may be.
        let may_be_empty = field.is_optional || (optional && at == 0);
        match ask_secret(dialogue, title, may_be_empty)? {
            Some(secret) => {
                answers.insert(field.id.clone(), Value::String(secret.to_string()));
            }
            None if field.is_optional => {}
            None => return Ok(None),
        }
    }
    Ok(Some(answers))
}

fn say_about(dialogue: &mut impl Dialogue, text: Option<&str>) -> Result<(), Failure> {
    for line in text.unwrap_or_default().trim().lines() {
        dialogue.say(&format!("  {}", plain(line)))?;
    }
    Ok(())
}

fn ask_line(
    dialogue: &mut impl Dialogue,
    what: &str,
    may_be_empty: bool,
) -> Result<Option<String>, Failure> {
    let prompt = format!("  {what}{} > ", hint(may_be_empty));
    loop {
        let answer = dialogue.line(&prompt)?.ok_or_else(|| ask::ended(what))?;
        match answer.trim() {
            "" if may_be_empty => return Ok(None),
            "" => {}
            answer => return Ok(Some(answer.to_owned())),
        }
    }
}

fn ask_secret(
    dialogue: &mut impl Dialogue,
    what: &str,
    may_be_empty: bool,
) -> Result<Option<Zeroizing<String>>, Failure> {
    let prompt = format!(
        "  {} (not shown{}) > ",
        plain(what),
        if may_be_empty { ", Enter for none" } else { "" }
    );
    loop {
        let answer = dialogue.secret(&prompt)?.ok_or_else(|| ask::ended(what))?;
        if !answer.is_empty() {
            return Ok(Some(answer));
        }
        if may_be_empty {
            return Ok(None);
        }
    }
}

fn hint(may_be_empty: bool) -> &'static str {
    if may_be_empty { " (Enter for none)" } else { "" }
}

#[cfg(test)]
mod tests {
    use super::super::ask::tests::Somebody;
    use super::*;
    use crate::manifest;

    const MANIFEST: &str = "
version: '2'
name: x
developer_keyrings:
  - {name: client, description: The application.}
keyring_types:
  - id: account
    name: An account
    description: From the settings page.
    kind: secret
    is_subdomain: true
    secret_config:
      fields:
        - {id: user, name: User}
        - {id: note, name: Note, is_optional: true}
        - {id: pass, name: Password}
  - id: granted
    name: A grant
    kind: oauth2
    oauth_secret: client
    scope_delimiter: ' '
    authorize:
      type: config
      auth_url: https://example.com/a
      token_url: https://example.com/t
      grant_type: authorization_code
keyrings:
  organization:
    - {name: plain, display_name: Plain, description: One., types: [snap_in_secret]}
    - {name: either, types: [account, granted], optional: true}
    - {name: grant, types: [granted]}
";

    fn asked(name: &str, answers: &[&'static str]) -> (Step, String) {
        let parsed = manifest::parse(MANIFEST);
        let manifest = parsed.manifest.unwrap_or_else(|| panic!("{:?}", parsed.problems));
        let keyring = manifest.keyring(name).unwrap_or_else(|| panic!("{name}"));
        let mut somebody = Somebody::with(answers);
        let step = for_keyring(&mut somebody, &manifest, keyring, "a/b/c");
        let step = step.unwrap_or_else(|it| panic!("{}: {}", it.message, somebody.heard));
        assert!(somebody.answers.is_empty(), "{}", somebody.heard);
        (step, somebody.heard)
    }

    fn set(parameters: Value) -> Step {
        Step::Set(object(parameters))
    }

    #[test]
    fn one_secret_is_asked_for_until_there_is_one() {
        let (step, heard) = asked("plain", &["", "hush"]);
        let expected = json!({ "snap_in": "a/b/c", "name": "plain", "secret": "hush" });
        assert_eq!(step, set(expected));
        assert!(heard.contains("Plain (plain, keyring, required)\n  One.\n"), "{heard}");
        assert!(!heard.contains("hush"));
    }

    #[test]
    fn fields_are_asked_for_one_by_one() {
        let (step, heard) = asked("either", &["1", "acme", "me", "", "hush"]);
        let expected = json!({
            "snap_in": "a/b/c", "name": "either", "type": "account", "subdomain": "acme",
            "fields": { "user": "me", "pass": "hush" },
        });
        assert_eq!(step, set(expected));
        for hint in ["1) An account (typed in)", "2) A grant (granted in a browser)", "Password"] {
            assert!(heard.contains(hint), "{hint} in {heard}");
        }
    }

    #[test]
    fn what_is_optional_can_be_left() {
        assert_eq!(asked("either", &["1", ""]).0, Step::Leave);
        assert_eq!(asked("either", &["1", "acme", ""]).0, Step::Leave);
        assert_eq!(asked("either", &["2", ""]).0, Step::Leave);
    }

    #[test]
    fn a_grant_is_a_call_of_its_own() {
        let expected = object(json!({ "snap_in": "a/b/c", "name": "grant" }));
        assert_eq!(asked("grant", &[]).0, Step::Connect(expected));
        let expected = object(json!({ "snap_in": "a/b/c", "name": "either", "type": "granted" }));
        assert_eq!(asked("either", &["2", "y"]).0, Step::Connect(expected));
    }

    #[test]
    fn a_client_of_the_developer_has_two_parts() {
        let parsed = manifest::parse(MANIFEST).manifest.unwrap_or_default();
        let keyring = parsed.developer_keyring("client").cloned().unwrap_or_default();
        let ask = |answers: &[&'static str], is_client| {
            let mut somebody = Somebody::with(answers);
            for_developer_keyring(&mut somebody, &keyring, is_client, "x").ok().flatten()
        };
        let expected =
            json!({ "package": "x", "name": "client", "client_id": "i", "client_secret": "s" });
        assert_eq!(ask(&["", "i", "s"], true), Some(object(expected)));
        assert_eq!(ask(&[""], false), None);
    }

    #[test]
    fn what_was_given_is_sent_as_it_is() {
        let text = KeyringGiven::Text(Zeroizing::new("hush".to_owned()));
        let expected = json!({ "snap_in": "s", "name": "n", "secret": "hush" });
        assert_eq!(set_given("s", "n", &text), object(expected));
        let members = KeyringGiven::Members(object(json!({ "fields": { "a": "b" } })));
        let expected = json!({ "package": "p", "name": "n", "fields": { "a": "b" } });
        assert_eq!(set_given_developer("p", "n", &members), object(expected));
    }
}
