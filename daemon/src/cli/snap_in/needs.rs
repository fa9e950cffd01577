//! What a snap-in needs before it can function and has not got, and how a script gives it. Pure.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::ask::kind;
use crate::configuration::inputs;
use crate::connections::types::{self, ConnectionKind};
use crate::model::manifest::{DeveloperKeyring, Input, Keyring, Level, Manifest};

/// What is there already.
#[derive(Clone, Debug, Default)]
pub(super) struct Present {
    /// Values of organization inputs that are set, or will be.
    pub(super) inputs: Map<String, Value>,
    /// Organization keyrings that can be used, or will be.
    pub(super) keyrings: BTreeSet<String>,
    /// Keyrings of the developer that are set, or will be.
    pub(super) developer_keyrings: BTreeSet<String>,
}

/// What is missing.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Needs<'m> {
    pub(super) inputs: Vec<&'m Input>,
    pub(super) keyrings: Vec<&'m Keyring>,
    /// Clients that types of these keyrings are connected with.
    pub(super) clients: Vec<&'m DeveloperKeyring>,
}

impl<'m> Needs<'m> {
    /// What a manifest asks for beyond what is there.
    pub(super) fn of(manifest: &'m Manifest, present: &Present) -> Needs<'m> {
        let inputs = inputs::missing(manifest, Level::Organization, &present.inputs);
        let keyrings = organization_keyrings(manifest).filter(|it| !it.optional);
        Needs::beyond(manifest, inputs, keyrings.collect(), present)
    }

    /// What the daemon says that is missing, beyond what will be there.
    pub(super) fn told(manifest: &'m Manifest, missing: &Value, present: &Present) -> Needs<'m> {
        let is_told = |kind: &str, name: &str| {
            let missing = missing.as_array().into_iter().flatten();
            missing.into_iter().any(|it| it["kind"] == kind && it["name"] == name)
        };
        let inputs = manifest.inputs.iter().filter(|it| it.level == Level::Organization);
        let inputs = inputs
            .filter(|it| is_told("input", &it.name) && !present.inputs.contains_key(&it.name));
        let keyrings = organization_keyrings(manifest).filter(|it| is_told("keyring", &it.name));
        Needs::beyond(manifest, inputs.collect(), keyrings.collect(), present)
    }

    fn beyond(
        manifest: &'m Manifest,
        inputs: Vec<&'m Input>,
        mut keyrings: Vec<&'m Keyring>,
        present: &Present,
    ) -> Needs<'m> {
        keyrings.retain(|it| !present.keyrings.contains(&it.name));
        let clients = manifest
            .developer_keyrings
            .iter()
            .filter(|it| !present.developer_keyrings.contains(&it.name))
            .filter(|it| keyrings.iter().any(|keyring| needs_client(manifest, keyring, &it.name)));
        Needs { inputs, clients: clients.collect(), keyrings }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.inputs.is_empty() && self.keyrings.is_empty() && self.clients.is_empty()
    }

    /// Each thing in a line, with the option that gives it.
    pub(super) fn lines(&self, manifest: &Manifest, scope: &str) -> Vec<String> {
        let about = |text: &Option<String>| match text {
            Some(text) => format!(": {}", text.lines().next().unwrap_or_default()),
            None => String::new(),
        };
        let inputs = self.inputs.iter().map(|it| {
            let choices = match it.allowed_values.as_slice() {
                [] => String::new(),
                values => format!(" (allowed: {})", values.join(", ")),
            };
            let (name, kind) = (&it.name, kind(it));
            let about = about(&it.description);
            format!("input {name} ({kind}){about}{choices}; give it with --set {name}=VALUE")
        });
        let clients = self.clients.iter().map(|it| {
            format!(
                "developer keyring {}{}; give client_id and client_secret under `keyrings` in a \
                 --values FILE",
                it.name,
                about(&it.description)
            )
        });
        let keyrings = self.keyrings.iter().map(|it| {
            let (name, about) = (&it.name, about(&it.description));
            let how = if is_granted_only(manifest, it) {
                format!(
                    "somebody has to grant it in a browser: install with --no-activate, then \
                     mortise keyring connect {scope} {name}"
                )
            } else {
                format!("give it with --keyring {name}=@FILE, or {name}=- on standard input")
            };
            format!("keyring {name}{about}; {how}")
        });
        inputs.chain(clients).chain(keyrings).collect()
    }
}

/// The keyrings that a snap-in itself has.
pub(super) fn organization_keyrings(manifest: &Manifest) -> impl Iterator<Item = &Keyring> {
    manifest.keyrings.iter().filter(|it| it.level == Level::Organization)
}

/// Whether this is the client of an OAuth2 type that a keyring may have.
pub(super) fn is_client(manifest: &Manifest, name: &str) -> bool {
    manifest.keyrings.iter().any(|it| {
        it.types.iter().any(|id| client_of(manifest, id).is_some_and(|client| client == name))
    })
}

/// Whether a keyring can be had in no other way than with this client.
fn needs_client(manifest: &Manifest, keyring: &Keyring, client: &str) -> bool {
    is_granted_only(manifest, keyring)
        && keyring.types.iter().any(|id| client_of(manifest, id).is_some_and(|it| it == client))
}

fn is_granted_only(manifest: &Manifest, keyring: &Keyring) -> bool {
    !keyring.types.is_empty() && keyring.types.iter().all(|id| client_of(manifest, id).is_some())
}

fn client_of(manifest: &Manifest, type_id: &str) -> Option<String> {
    match types::find(manifest, type_id).ok()?.kind {
        ConnectionKind::Oauth2(oauth2) => Some(oauth2.client),
        ConnectionKind::Secret(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::manifest;

    const MANIFEST: &str = "
version: '2'
name: x
developer_keyrings:
  - {name: client, description: The application.}
  - {name: other, description: Unused by connections.}
keyring_types:
  - id: granted
    kind: oauth2
    name: A grant
    oauth_secret: client
    scope_delimiter: ' '
    authorize:
      type: config
      auth_url: https://example.com/a
      token_url: https://example.com/t
      grant_type: authorization_code
keyrings:
  organization:
    - {name: plain, description: From the settings page., types: [snap_in_secret]}
    - {name: maybe, types: [granted], optional: true}
    - {name: grant, types: [granted]}
  user:
    - {name: mine, types: [snap_in_secret]}
inputs:
  organization:
    - {name: level, description: How loud., field_type: enum, allowed_values: [low, high], is_required: true}
    - {name: free, field_type: text}
    - {name: done, field_type: text, is_required: true, default_value: x}
  user:
    - {name: own, field_type: text, is_required: true}
";

    #[test]
    fn everything_that_is_missing_is_named_with_its_option() {
        let parsed = manifest::parse(MANIFEST);
        let manifest = parsed.manifest.unwrap_or_else(|| panic!("{:?}", parsed.problems));
        let needs = Needs::of(&manifest, &Present::default());
        let lines = needs.lines(&manifest, "a/b/c");
        assert_eq!(lines.len(), 4, "{lines:#?}");
        for (line, hints) in lines.iter().zip([
            ["input level (enum): How loud. (allowed: low, high)", "--set level=VALUE"],
            ["developer keyring client: The application.", "--values FILE"],
            ["keyring plain: From the settings page.", "--keyring plain=@FILE"],
            ["keyring grant; somebody", "mortise keyring connect a/b/c grant"],
        ]) {
            assert!(hints.iter().all(|it| line.contains(it)), "{line}");
        }
        assert!(is_client(&manifest, "client") && !is_client(&manifest, "other"));

        let names = |names: &[&str]| names.iter().map(|it| (*it).to_owned()).collect();
        let Value::Object(inputs) = json!({ "level": "low" }) else { panic!("an object") };
        let present = Present {
            inputs,
            keyrings: names(&["plain", "grant"]),
            developer_keyrings: names(&[]),
        };
        let needs = Needs::of(&manifest, &present);
        assert!(needs.is_empty(), "a client is no use once the grant is there: {needs:?}");

        let told = json!([
            { "kind": "input", "name": "free" }, { "kind": "input", "name": "level" },
            { "kind": "keyring", "name": "plain" }, { "kind": "keyring", "name": "gone" },
        ]);
        let Value::Object(inputs) = json!({ "level": "low" }) else { panic!("an object") };
        let present = Present { inputs, ..Present::default() };
        let lines = Needs::told(&manifest, &told, &present).lines(&manifest, "a/b/c");
        assert_eq!(lines.len(), 2, "{lines:#?}");
        assert!(lines[0].starts_with("input free") && lines[1].starts_with("keyring plain"));
    }
}
