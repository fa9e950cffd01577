//! Reads the service account, keyrings and keyring types.

use std::collections::BTreeMap;

use crate::model::manifest::{
    Authorize, DeveloperKeyring, ExternalRequest, Impersonation, Keyring, KeyringKind, KeyringType,
    Level, OauthScope, RequestedScope, SecretConfig, SecretField, ServiceAccount,
    ServiceAccountScopes,
};

use super::fields::{Elsewhere, Fields, Reader, read_text};
use super::names::{NameRule, Need, Space, mark_personal, use_name};
use super::node::{Kind, Node};
use super::operation_keyrings::OperationKeyring;
use super::places::member;
use super::sections::Leveled;

/// Types that exist without a manifest's declaring them. The first four mean the same.
const BUILT_IN: [&str; 11] = [
    "snap_in_secret",
    "snap-in-secret",
    "devrev-snap-in-secret",
    "devrev-flow-secret",
    "oauth-secret",
    "slack",
    "devrev-slack-oauth",
    "devrev-github-pat",
    "devrev-github-oauth",
    "devrev-pat",
    "devrev-github",
];

const SECRET_KEYS: &[Elsewhere] =
    &[(&["fields", "secret_transform", "token_verification"], "`secret_config`")];

const OAUTH_KEYS: &[Elsewhere] = &[(
    &["authorize", "refresh", "revoke", "scopes", "scope_delimiter", "oauth_secret"],
    "the keyring type itself, beside `secret_config`",
)];

const KINDS: [(&str, KeyringKind); 2] =
    [("secret", KeyringKind::Secret), ("oauth2", KeyringKind::Oauth2)];

pub(super) fn service_account(r: &mut Reader, top: &mut Fields<'_>) -> Option<ServiceAccount> {
    let mut fields = top.fields(r, "service_account")?;
    let display_name = fields.text(r, "display_name");
    let mut scopes = ServiceAccountScopes::default();
    if let Some(mut section) = fields.fields(r, "scopes") {
        scopes.own = requested_scopes(r, &mut section, "self");
        for (node, path) in section.items(r, "impersonate") {
            let Some(mut fields) = Fields::open(r, node, &path) else { continue };
            scopes.impersonate.push(Impersonation {
                act_as: fields
                    .required_text(r, "act_as", "it says in whose name to act")
                    .unwrap_or_default(),
                scopes: requested_scopes(r, &mut fields, "scopes"),
            });
            fields.finish(r);
        }
        section.finish(r);
    }
    fields.finish(r);
    Some(ServiceAccount { display_name, scopes })
}

fn requested_scopes(
    r: &mut Reader,
    fields: &mut Fields<'_>,
    key: &'static str,
) -> Vec<RequestedScope> {
    let mut scopes = Vec::new();
    for (node, path) in fields.items(r, key) {
        let Some(mut fields) = Fields::open(r, node, &path) else { continue };
        scopes.push(RequestedScope {
            scope: fields
                .required_text(r, "scope", "it names a right such as `ticket:write`")
                .unwrap_or_default(),
            optional: fields.flag(r, "optional").unwrap_or_default(),
            reason: fields.text(r, "reason"),
        });
        fields.finish(r);
    }
    scopes
}

pub(super) fn keyring(r: &mut Reader, entry: &Leveled<'_>) -> Option<Keyring> {
    let mut fields = Fields::open(r, entry.node, &entry.path)?;
    let name = fields.name(r, "name", NameRule::Label, Space::Keyring);
    Some(keyring_body(r, fields, name, entry.level))
}

/// One that an operation declares looks the same; its name may be declared elsewhere too.
pub(super) fn keyring_of_operation(
    r: &mut Reader,
    node: &Node,
    path: &str,
    operation: &str,
) -> Option<Keyring> {
    let mut fields = Fields::open(r, node, path)?;
    let name = fields.shared_name(r, "name", NameRule::Label, Space::Keyring);
    let (place, path) = (fields.value_place("name"), fields.path_of("name"));
    let keyring = keyring_body(r, fields, name, Level::Organization);
    r.operation_keyrings.push(OperationKeyring {
        operation: operation.to_owned(),
        keyring: keyring.clone(),
        place,
        path,
    });
    Some(keyring)
}

fn keyring_body(r: &mut Reader, mut fields: Fields<'_>, name: String, level: Level) -> Keyring {
    if level == Level::User {
        mark_personal(r, &name);
    }
    let types = keyring_types(r, &mut fields);
    if types.is_empty() {
        let path = fields.path_of("types");
        let message = "the key `types` is missing: it says which secrets will do";
        r.problems.error_allowing(fields.place, &path, message, BUILT_IN);
    }
    let optional = fields.flag(r, "optional");
    if level == Level::User && optional == Some(false) {
        let path = fields.path_of("optional");
        let message = "does nothing here: a user's keyring is always optional";
        r.problems.warn(fields.value_place("optional"), &path, message);
    }
    let optional = optional.unwrap_or_default() || level == Level::User;
    let keyring = Keyring {
        level,
        name,
        display_name: fields.text(r, "display_name"),
        description: fields.text(r, "description"),
        types,
        optional,
        operations: Vec::new(),
    };
    fields.finish(r);
    keyring
}

pub(super) fn developer_keyring(
    r: &mut Reader,
    node: &Node,
    path: &str,
) -> Option<DeveloperKeyring> {
    let mut fields = Fields::open(r, node, path)?;
    let keyring = DeveloperKeyring {
        name: fields.name(r, "name", NameRule::Label, Space::Keyring),
        display_name: fields.text(r, "display_name"),
        description: fields.text(r, "description"),
        types: keyring_types(r, &mut fields),
    };
    fields.finish(r);
    Some(keyring)
}

fn keyring_types(r: &mut Reader, fields: &mut Fields<'_>) -> Vec<String> {
    let items = fields.items(r, "types");
    let types = fields.texts(r, "types");
    for (keyring_type, (node, path)) in types.iter().zip(items) {
        #[cfg(test)]
        r.trace.values(&path, BUILT_IN, BUILT_IN.into_iter().find(|it| it == keyring_type));
        if !BUILT_IN.contains(&keyring_type.as_str()) {
            use_name(r, Need::Known, Space::KeyringType, keyring_type, node.place, path);
        }
    }
    types
}

pub(super) fn keyring_type(r: &mut Reader, node: &Node, path: &str) -> Option<KeyringType> {
    let mut fields = Fields::open(r, node, path)?;
    fields.knows_elsewhere(SECRET_KEYS);
    let id = fields.name(r, "id", NameRule::Label, Space::KeyringType);
    let kind = fields.choice(r, "kind", &KINDS);
    let reference_keyring = fields.text(r, "reference_keyring");
    if fields.get("kind").is_none() && reference_keyring.is_none() {
        let path = fields.path_of("kind");
        let message = "the key `kind` is missing, and there is no `reference_keyring`";
        r.problems.error_allowing(fields.place, &path, message, KINDS.map(|(name, _)| name));
    }
    let (secret_config, inner_data) = secret_config(r, &mut fields);
    let organization_data = organization_data(r, &mut fields);
    if organization_data.is_some() && inner_data.is_some() {
        let path = fields.path_of("organization_data");
        let message = "is here and in `secret_config`; the one here is used";
        r.problems.warn(fields.key_place("organization_data"), &path, message);
    } else if inner_data.is_some() {
        let path = fields.path_of("organization_data");
        let actual = member(&fields.path_of("secret_config"), "organization_data");
        r.moved.insert(path, actual);
    }
    let scopes = fields.items(r, "scopes");
    let keyring_type = KeyringType {
        id,
        name: fields.text(r, "name"),
        description: fields.text(r, "description"),
        kind,
        external_system_name: fields.text(r, "external_system_name"),
        is_subdomain: fields.flag(r, "is_subdomain").unwrap_or_default(),
        reference_keyring,
        secret_config,
        scopes: scopes.iter().filter_map(|(node, path)| oauth_scope(r, node, path)).collect(),
        scope_delimiter: fields.text(r, "scope_delimiter"),
        oauth_secret: fields.optional_reference(r, "oauth_secret", Space::Keyring),
        authorize: authorize(r, &mut fields),
        refresh: external_request(r, &mut fields, "refresh"),
        revoke: external_request(r, &mut fields, "revoke"),
        organization_data: organization_data.or(inner_data),
    };
    fields.finish(r);
    Some(keyring_type)
}

/// With the `organization_data` that some manifests keep in here.
fn secret_config(
    r: &mut Reader,
    fields: &mut Fields<'_>,
) -> (Option<SecretConfig>, Option<ExternalRequest>) {
    let Some(mut config) = fields.fields(r, "secret_config") else { return (None, None) };
    config.knows_elsewhere(OAUTH_KEYS);
    let items = config.items(r, "fields");
    let read = SecretConfig {
        fields: items.iter().filter_map(|(node, path)| secret_field(r, node, path)).collect(),
        secret_transform: config.text(r, "secret_transform"),
        token_verification: external_request(r, &mut config, "token_verification"),
    };
    let organization_data = organization_data(r, &mut config);
    config.finish(r);
    (Some(read), organization_data)
}

fn secret_field(r: &mut Reader, node: &Node, path: &str) -> Option<SecretField> {
    let mut fields = Fields::open(r, node, path)?;
    let field = SecretField {
        id: fields.required_text(r, "id", "every field needs one").unwrap_or_default(),
        name: fields.text(r, "name"),
        description: fields.text(r, "description"),
        is_optional: fields.flag(r, "is_optional").unwrap_or_default(),
    };
    fields.finish(r);
    Some(field)
}

fn oauth_scope(r: &mut Reader, node: &Node, path: &str) -> Option<OauthScope> {
    let mut fields = Fields::open(r, node, path)?;
    let scope = OauthScope {
        name: fields.text(r, "name"),
        description: fields.text(r, "description"),
        value: fields.required_text(r, "value", "it is what is asked for").unwrap_or_default(),
    };
    fields.finish(r);
    Some(scope)
}

fn authorize(r: &mut Reader, fields: &mut Fields<'_>) -> Option<Authorize> {
    let mut fields = fields.fields(r, "authorize")?;
    fields.choice(r, "type", &[("config", ())]);
    let grant_types = [("authorization_code", "authorization_code")];
    let authorize = Authorize {
        auth_url: fields
            .required_text(r, "auth_url", "users are sent there to grant access")
            .unwrap_or_default(),
        token_url: fields
            .required_text(r, "token_url", "tokens are fetched there")
            .unwrap_or_default(),
        grant_type: fields.choice(r, "grant_type", &grant_types).map(str::to_owned),
        auth_query_parameters: text_map(r, &mut fields, "auth_query_parameters"),
        token_query_parameters: text_map(r, &mut fields, "token_query_parameters"),
    };
    fields.finish(r);
    Some(authorize)
}

fn external_request(
    r: &mut Reader,
    fields: &mut Fields<'_>,
    key: &'static str,
) -> Option<ExternalRequest> {
    let mut fields = fields.fields(r, key)?;
    let request = request_body(r, &mut fields);
    fields.finish(r);
    Some(request)
}

/// The only request of which the answer's body is used.
fn organization_data(r: &mut Reader, fields: &mut Fields<'_>) -> Option<ExternalRequest> {
    let mut fields = fields.fields(r, "organization_data")?;
    let mut request = request_body(r, &mut fields);
    request.response_jq = fields.text(r, "response_jq");
    fields.finish(r);
    Some(request)
}

fn request_body(r: &mut Reader, fields: &mut Fields<'_>) -> ExternalRequest {
    fields.choice(r, "type", &[("config", ())]);
    // Both spellings are in use, and mean the same.
    let mut query_parameters = text_map(r, fields, "query_params");
    query_parameters.extend(text_map(r, fields, "query_parameters"));
    ExternalRequest {
        url: fields.required_text(r, "url", "the request goes there").unwrap_or_default(),
        method: fields.text(r, "method"),
        headers: text_map(r, fields, "headers"),
        query_parameters,
        response_jq: None,
    }
}

pub(super) fn text_map(
    r: &mut Reader,
    fields: &mut Fields<'_>,
    key: &'static str,
) -> BTreeMap<String, String> {
    let Some(node) = fields.get(key) else { return BTreeMap::new() };
    let path = fields.path_of(key);
    let Kind::Map(entries) = &node.kind else {
        let message = format!("expected a mapping, found {}", node.describe());
        r.problems.error(node.place, &path, message);
        return BTreeMap::new();
    };
    let mut read = BTreeMap::new();
    for entry in entries.iter() {
        if let Some(text) = read_text(r, &entry.value, &member(&path, &entry.key)) {
            read.insert(entry.key.as_ref().to_owned(), text);
        }
    }
    read
}
