//! What a snap-in still needs before it can be activated, and which command gives it that. Must
//! never look at a secret: whether there is a usable one is all that counts.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::inputs;
use crate::model::keyring::KeyringState;
use crate::model::manifest::{Input, Keyring, KeyringKind, Level, Manifest, Operation};

/// A chain of `reference_keyring` is followed so far.
const MOST_REFERENCES: usize = 5;
/// The names of a plain secret; they mean the same.
const PLAIN_SECRET: [&str; 4] =
    ["snap_in_secret", "snap-in-secret", "devrev-snap-in-secret", "devrev-flow-secret"];

/// A keyring that is bound, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BoundKeyring {
    /// Id of its type.
    pub type_id: String,
    /// Whether it can be used.
    pub state: KeyringState,
}

/// What has been set for a snap-in, or for one of its users.
#[derive(Clone, Copy, Debug)]
pub struct Configured<'a> {
    /// How commands name the snap-in: its scope or id.
    pub snap_in: &'a str,
    /// The values that were set.
    pub inputs: &'a Map<String, Value>,
    /// The keyrings that are bound, by their name in the manifest.
    pub keyrings: &'a BTreeMap<String, BoundKeyring>,
}

/// One thing that is missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Missing {
    /// An input or a keyring.
    pub kind: MissingKind,
    /// Its name in the manifest.
    pub name: String,
    /// What is the matter with it, to follow its name.
    pub message: String,
    /// The command that mends it.
    pub command: String,
}

/// What kind of thing is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MissingKind {
    /// A value of an input.
    Input,
    /// A secret or a connection.
    Keyring,
}

impl Missing {
    /// All of it in one line.
    pub fn line(&self) -> String {
        let kind = match self.kind {
            MissingKind::Input => "input",
            MissingKind::Keyring => "keyring",
        };
        format!("{kind} `{}` {}: {}", self.name, self.message, self.command)
    }
}

/// What the organization level lacks before an activation, inputs first, in manifest order.
pub fn missing(manifest: &Manifest, configured: Configured<'_>) -> Vec<Missing> {
    let inputs = inputs::missing(manifest, Level::Organization, configured.inputs);
    let inputs = inputs.into_iter().map(|it| missing_input(it, configured, None));
    let keyrings = manifest.keyrings.iter().filter(|it| it.level == Level::Organization);
    let keyrings = keyrings.filter(|it| !it.optional);
    let keyrings = keyrings.filter_map(|it| missing_keyring(manifest, it, configured));
    inputs.chain(keyrings).collect()
}

/// What an operation lacks before its function can be called: its own keyrings, without which the
/// snap-in functions but the operation does not.
pub fn missing_of_operation(
    manifest: &Manifest,
    operation: &Operation,
    configured: Configured<'_>,
) -> Vec<Missing> {
    let needed = operation.keyrings.iter().filter(|it| !it.optional);
    needed.filter_map(|it| missing_keyring(manifest, it, configured)).collect()
}

/// What the person of this name lacks before he can enable it for himself. His keyrings are always
/// optional.
pub fn missing_of_user(
    manifest: &Manifest,
    configured: Configured<'_>,
    user: &str,
) -> Vec<Missing> {
    let inputs = inputs::missing(manifest, Level::User, configured.inputs);
    inputs.into_iter().map(|it| missing_input(it, configured, Some(user))).collect()
}

fn missing_input(input: &Input, configured: Configured<'_>, user: Option<&str>) -> Missing {
    let message = match configured.inputs.get(&input.name) {
        None => "is required and has no value".to_owned(),
        Some(value) => {
            let wrong = inputs::wrong(input, value);
            let why = wrong.first().map_or("", |it| it.message.as_str());
            format!("is required, and its value is not right any more: {why}")
        }
    };
    let value = in_shell(&format!("{}=VALUE", input.name));
    Missing {
        kind: MissingKind::Input,
        name: input.name.clone(),
        message,
        command: match user {
            None => format!("mortise snap-in set {} {value}", configured.snap_in),
            Some(user) => format!(
                "mortise snap-in set-user {} --user {} {value}",
                configured.snap_in,
                in_shell(user)
            ),
        },
    }
}

/// Nothing when a usable keyring of one of its types is bound.
fn missing_keyring(
    manifest: &Manifest,
    keyring: &Keyring,
    configured: Configured<'_>,
) -> Option<Missing> {
    let message = match configured.keyrings.get(&keyring.name) {
        None => "is required and not set".to_owned(),
        Some(bound) if !fits(keyring, &bound.type_id) => wrong_type(keyring, bound),
        Some(BoundKeyring { state: KeyringState::Ready, .. }) => return None,
        Some(BoundKeyring { state: KeyringState::Pending, .. }) => {
            "waits for somebody to grant access at the external system".to_owned()
        }
        Some(BoundKeyring { state: KeyringState::Broken { reason }, .. }) => {
            format!("does not work any more: {reason}")
        }
    };
    let verb = match keyring.types.first() {
        Some(type_id) if is_granted(manifest, type_id) => "connect",
        _ => "set",
    };
    Some(Missing {
        kind: MissingKind::Keyring,
        name: keyring.name.clone(),
        message,
        command: format!(
            "mortise keyring {verb} {} {}",
            configured.snap_in,
            in_shell(&keyring.name)
        ),
    })
}

/// Whether a bound keyring is of a type that the manifest wants.
pub fn fits(keyring: &Keyring, type_id: &str) -> bool {
    let is_plain = |it: &str| PLAIN_SECRET.contains(&it);
    keyring.types.iter().any(|it| it == type_id || (is_plain(it) && is_plain(type_id)))
}

/// What to say of one that does not.
pub fn wrong_type(keyring: &Keyring, bound: &BoundKeyring) -> String {
    format!("was set as `{}`, but must be `{}` now", bound.type_id, keyring.types.join("` or `"))
}

/// Whether somebody grants access at the external system, rather than typing a secret in.
fn is_granted(manifest: &Manifest, type_id: &str) -> bool {
    const GRANTED: [&str; 4] =
        ["slack", "devrev-slack-oauth", "devrev-github", "devrev-github-oauth"];
    let Some(mut declared) = manifest.keyring_type(type_id) else { return false };
    for _ in 0..MOST_REFERENCES {
        match (declared.kind, declared.reference_keyring.as_deref()) {
            (Some(KeyringKind::Oauth2), _) => return true,
            (Some(KeyringKind::Secret), _) | (None, None) => return false,
            (None, Some(other)) => match manifest.keyring_type(other) {
                Some(next) => declared = next,
                None => return GRANTED.contains(&other),
            },
        }
    }
    false
}

/// As one word of a command line.
pub(super) fn in_shell(name: &str) -> String {
    let is_plain = |it: char| it.is_ascii_alphanumeric() || "_-.,:/@=".contains(it);
    if !name.is_empty() && name.chars().all(is_plain) {
        return name.to_owned();
    }
    format!("'{}'", name.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn manifest() -> Manifest {
        let described = json!({
            "version": "2",
            "inputs": [
                {"level": "organization", "name": "channel", "field_type": "text", "is_required": true},
                {"level": "organization", "name": "the limit", "field_type": "int", "is_required": true},
                {"level": "organization", "name": "mode", "field_type": "text", "is_required": true,
                 "default_value": "x"},
                {"level": "organization", "name": "free", "field_type": "text"},
                {"level": "user", "name": "mine", "field_type": "text", "is_required": true},
            ],
            "keyrings": [
                {"level": "organization", "name": "token", "types": ["snap_in_secret"]},
                {"level": "organization", "name": "slack", "types": ["own_slack"]},
                {"level": "organization", "name": "extra", "types": ["own_slack"], "optional": true},
                {"level": "user", "name": "mine", "types": ["snap_in_secret"], "optional": true},
            ],
            "keyring_types": [{"id": "own_slack", "reference_keyring": "slack"}],
        });
        serde_json::from_value(described).expect("a manifest")
    }

    #[track_caller]
    fn lines(inputs: Value, keyrings: &[(&str, &str, KeyringState)]) -> Vec<String> {
        let inputs = inputs.as_object().expect("an object").clone();
        let bound = keyrings.iter().map(|(name, type_id, state)| {
            let bound = BoundKeyring { type_id: (*type_id).to_owned(), state: state.clone() };
            ((*name).to_owned(), bound)
        });
        let keyrings = bound.collect();
        let configured = Configured { snap_in: "a/b/c", inputs: &inputs, keyrings: &keyrings };
        missing(&manifest(), configured).iter().map(Missing::line).collect()
    }

    #[test]
    fn everything_is_named_with_its_command() {
        assert_eq!(
            lines(json!({}), &[]),
            [
                "input `channel` is required and has no value: mortise snap-in set a/b/c channel=VALUE",
                "input `the limit` is required and has no value: mortise snap-in set a/b/c 'the limit=VALUE'",
                "keyring `token` is required and not set: mortise keyring set a/b/c token",
                "keyring `slack` is required and not set: mortise keyring connect a/b/c slack",
            ]
        );
    }

    #[test]
    fn what_is_there_may_be_of_no_use() {
        let broken = KeyringState::Broken { reason: "invalid_grant".to_owned() };
        assert_eq!(
            lines(
                json!({"channel": "x", "the limit": "many"}),
                &[("token", "own_slack", KeyringState::Ready), ("slack", "own_slack", broken)],
            ),
            [
                "input `the limit` is required, and its value is not right any more: a value of type `int` is wanted, found text: mortise snap-in set a/b/c 'the limit=VALUE'",
                "keyring `token` was set as `own_slack`, but must be `snap_in_secret` now: mortise keyring set a/b/c token",
                "keyring `slack` does not work any more: invalid_grant: mortise keyring connect a/b/c slack",
            ]
        );
    }

    #[test]
    fn nothing_is_missing() {
        let ready = [
            ("token", "devrev-snap-in-secret", KeyringState::Ready),
            ("slack", "own_slack", KeyringState::Ready),
        ];
        assert_eq!(lines(json!({"channel": "x", "the limit": 3}), &ready), [""; 0]);
        let pending = [ready[0].clone(), ("slack", "own_slack", KeyringState::Pending)];
        assert_eq!(
            lines(json!({"channel": "x", "the limit": 3}), &pending),
            [
                "keyring `slack` waits for somebody to grant access at the external system: mortise keyring connect a/b/c slack"
            ]
        );
    }

    #[test]
    fn a_person_lacks_what_is_his_to_set() {
        let (inputs, keyrings) = (Map::new(), BTreeMap::new());
        let configured = Configured { snap_in: "a/b/c", inputs: &inputs, keyrings: &keyrings };
        let missing = missing_of_user(&manifest(), configured, "ada l");
        assert_eq!(
            missing.iter().map(Missing::line).collect::<Vec<_>>(),
            [
                "input `mine` is required and has no value: mortise snap-in set-user a/b/c --user 'ada l' mine=VALUE"
            ]
        );
    }

    #[test]
    fn references_that_never_end() {
        let described = json!({"version": "2", "keyring_types": [
            {"id": "a", "reference_keyring": "b"}, {"id": "b", "reference_keyring": "a"},
        ]});
        let manifest: Manifest = serde_json::from_value(described).expect("a manifest");
        assert!(!is_granted(&manifest, "a"));
    }

    #[test]
    fn names_in_a_shell() {
        assert_eq!(in_shell("a-b_c.d"), "a-b_c.d");
        assert_eq!(in_shell("it's"), r"'it'\''s'");
        assert_eq!(in_shell(""), "''");
    }
}
