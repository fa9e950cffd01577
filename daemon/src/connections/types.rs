//! Types of keyrings: those that are built in, those of a manifest, and those of a manifest that
//! start from another one (`reference_keyring`), as one thing to work with.

use crate::model::manifest::{
    Authorize, ExternalRequest, KeyringKind, KeyringType, Manifest, OauthScope, SecretConfig,
};

/// Built-in names of a plain secret; they mean the same.
pub const PLAIN: [&str; 4] =
    ["snap_in_secret", "snap-in-secret", "devrev-snap-in-secret", "devrev-flow-secret"];
/// A developer's secret that is an OAuth2 client: JSON with `client_id` and `client_secret`.
pub const OAUTH_CLIENT: &str = "oauth-secret";
/// How long a chain of `reference_keyring` may be.
const MOST_REFERENCES: usize = 5;

/// A type with everything that it refers to.
#[derive(Clone, Debug, PartialEq)]
pub struct ConnectionType {
    /// As keyrings name it.
    pub id: String,
    /// For people.
    pub name: Option<String>,
    /// For people.
    pub description: Option<String>,
    /// Whether it asks for a subdomain.
    pub is_subdomain: bool,
    /// How its secret comes about.
    pub kind: ConnectionKind,
    /// How its secret is tried.
    pub token_verification: Option<ExternalRequest>,
    /// How the organization that a secret belongs to is found.
    pub organization_data: Option<ExternalRequest>,
    /// What a reader should know about it.
    pub warning: Option<String>,
}

/// How the secret of a type comes about.
#[derive(Clone, Debug, PartialEq)]
pub enum ConnectionKind {
    /// Somebody types it in.
    Secret(SecretConfig),
    /// Somebody grants access at the external system.
    Oauth2(Box<Oauth2>),
}

/// How access is granted, kept and given up.
#[derive(Clone, Debug, PartialEq)]
pub struct Oauth2 {
    /// What may be asked for.
    pub scopes: Vec<OauthScope>,
    /// What stands between two scopes.
    pub scope_delimiter: String,
    /// Name of the developer keyring that holds the client.
    pub client: String,
    /// Where access is granted.
    pub authorize: Authorize,
    /// How an access token is renewed; as RFC 6749 says when absent.
    pub refresh: Option<ExternalRequest>,
    /// How tokens are given up.
    pub revoke: Option<ExternalRequest>,
}

/// Why a type cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TypeError {
    /// Something is missing that it cannot do without.
    #[error("the keyring type `{id}` cannot be used: {what}")]
    Incomplete {
        /// Which.
        id: String,
        /// What is missing, and what to do.
        what: String,
    },
}

impl ConnectionType {
    /// Whether access is granted at the external system.
    pub fn is_oauth2(&self) -> bool {
        matches!(self.kind, ConnectionKind::Oauth2(_))
    }

    /// `secret` or `oauth2`.
    pub fn kind_name(&self) -> &'static str {
        match self.kind {
            ConnectionKind::Secret(_) => "secret",
            ConnectionKind::Oauth2(_) => "oauth2",
        }
    }
}

/// Whether two ids name the same type: the built-in names of a plain secret do.
pub fn is_same(id: &str, other: &str) -> bool {
    id == other || (PLAIN.contains(&id) && PLAIN.contains(&other))
}

/// The type with an id, as a keyring of this manifest may have it.
pub fn find(manifest: &Manifest, id: &str) -> Result<ConnectionType, TypeError> {
    if let Some(declared) = manifest.keyring_type(id) {
        return from_declared(manifest, declared);
    }
    if PLAIN.contains(&id) || id == OAUTH_CLIENT {
        return Ok(plain(id, None));
    }
    // The manifest's reader lets through only what it declares and what it knows to be built in.
    let warning = format!(
        "`{id}` is a connection of the platform that the snap-in was written for; here it takes a \
         secret, such as an access token, as it is"
    );
    Ok(plain(id, Some(warning)))
}

fn plain(id: &str, warning: Option<String>) -> ConnectionType {
    ConnectionType {
        id: id.to_owned(),
        name: None,
        description: None,
        is_subdomain: false,
        kind: ConnectionKind::Secret(SecretConfig::default()),
        token_verification: None,
        organization_data: None,
        warning,
    }
}

fn from_declared(manifest: &Manifest, declared: &KeyringType) -> Result<ConnectionType, TypeError> {
    let id = declared.id.clone();
    let whole = with_references(manifest, declared)?;
    let kind = match whole.kind {
        Some(KeyringKind::Secret) => {
            ConnectionKind::Secret(whole.secret_config.clone().unwrap_or_default())
        }
        Some(KeyringKind::Oauth2) => ConnectionKind::Oauth2(Box::new(oauth2(&whole)?)),
        // What it refers to is a built-in secret.
        None => ConnectionKind::Secret(SecretConfig::default()),
    };
    let token_verification = whole.secret_config.and_then(|it| it.token_verification);
    Ok(ConnectionType {
        id,
        name: whole.name,
        description: whole.description,
        is_subdomain: whole.is_subdomain,
        kind,
        token_verification,
        organization_data: whole.organization_data,
        warning: None,
    })
}

fn oauth2(whole: &KeyringType) -> Result<Oauth2, TypeError> {
    let incomplete = |what: String| TypeError::Incomplete { id: whole.id.clone(), what };
    let Some(client) = whole.oauth_secret.clone() else {
        let what = "it has no `oauth_secret`, the developer keyring with the client's id and \
                    secret; add one to its manifest";
        return Err(incomplete(what.to_owned()));
    };
    let Some(authorize) = whole.authorize.clone() else {
        let what = match &whole.reference_keyring {
            Some(other) => format!(
                "it has no `authorize`, and what it refers to, `{other}`, is not known here; add \
                 the endpoints to its manifest"
            ),
            None => "it has no `authorize`; add the endpoints to its manifest".to_owned(),
        };
        return Err(incomplete(what));
    };
    Ok(Oauth2 {
        scopes: whole.scopes.clone(),
        scope_delimiter: whole.scope_delimiter.clone().unwrap_or_else(|| " ".to_owned()),
        client,
        authorize,
        refresh: whole.refresh.clone(),
        revoke: whole.revoke.clone(),
    })
}

/// Fills what the type leaves open from what it refers to.
fn with_references(manifest: &Manifest, declared: &KeyringType) -> Result<KeyringType, TypeError> {
    let mut whole = declared.clone();
    let mut next = declared.reference_keyring.clone();
    for _ in 0..MOST_REFERENCES {
        let Some(id) = next else { return Ok(whole) };
        let Some(base) = manifest.keyring_type(&id).cloned().or_else(|| built_in(&id)) else {
            return Ok(whole);
        };
        next = base.reference_keyring.clone();
        fill(&mut whole, base);
    }
    let what = "its chain of `reference_keyring` has no end".to_owned();
    Err(TypeError::Incomplete { id: declared.id.clone(), what })
}

fn fill(whole: &mut KeyringType, base: KeyringType) {
    fn or<T>(slot: &mut Option<T>, value: Option<T>) {
        if slot.is_none() {
            *slot = value;
        }
    }
    or(&mut whole.kind, base.kind);
    or(&mut whole.secret_config, base.secret_config);
    or(&mut whole.scope_delimiter, base.scope_delimiter);
    or(&mut whole.oauth_secret, base.oauth_secret);
    or(&mut whole.authorize, base.authorize);
    or(&mut whole.refresh, base.refresh);
    or(&mut whole.revoke, base.revoke);
    or(&mut whole.organization_data, base.organization_data);
    or(&mut whole.external_system_name, base.external_system_name);
    whole.is_subdomain |= base.is_subdomain;
    if whole.scopes.is_empty() {
        whole.scopes = base.scopes;
    }
}

/// Connections of the platform that manifests refer to, with the endpoints that the two systems
/// publish. They come without a client: that is the developer's.
fn built_in(id: &str) -> Option<KeyringType> {
    let (auth_url, token_url, delimiter) = match id {
        "slack" | "devrev-slack-oauth" => {
            ("https://slack.com/oauth/v2/authorize", "https://slack.com/api/oauth.v2.access", ",")
        }
        "devrev-github" | "devrev-github-oauth" => (
            "https://github.com/login/oauth/authorize",
            "https://github.com/login/oauth/access_token",
            " ",
        ),
        _ => return None,
    };
    Some(KeyringType {
        id: id.to_owned(),
        kind: Some(KeyringKind::Oauth2),
        scope_delimiter: Some(delimiter.to_owned()),
        authorize: Some(Authorize {
            auth_url: auth_url.to_owned(),
            token_url: token_url.to_owned(),
            ..Authorize::default()
        }),
        ..KeyringType::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(types: Vec<KeyringType>) -> Manifest {
        Manifest { keyring_types: types, ..Manifest::default() }
    }

    fn named(id: &str) -> KeyringType {
        KeyringType { id: id.to_owned(), ..KeyringType::default() }
    }

    #[test]
    fn aliases_and_strangers_are_plain_secrets() {
        let manifest = manifest(Vec::new());
        for id in PLAIN {
            let found = find(&manifest, id).expect("built in");
            assert_eq!((found.kind_name(), found.warning), ("secret", None), "{id}");
        }
        for id in ["slack", "devrev-github-pat", "devrev-slack-oauth"] {
            let found = find(&manifest, id).expect("built in");
            assert_eq!(found.kind_name(), "secret");
            assert!(found.warning.is_some_and(|it| it.contains(id)));
        }
    }

    #[test]
    fn a_reference_fills_what_is_left_open() {
        let slack = KeyringType {
            reference_keyring: Some("devrev-slack-oauth".to_owned()),
            oauth_secret: Some("client".to_owned()),
            scope_delimiter: Some(" ".to_owned()),
            ..named("mine")
        };
        let found = find(&manifest(vec![slack]), "mine").expect("whole");
        let ConnectionKind::Oauth2(oauth2) = found.kind else { panic!("it is OAuth2") };
        assert_eq!(oauth2.scope_delimiter, " ", "its own first");
        assert_eq!(oauth2.authorize.auth_url, "https://slack.com/oauth/v2/authorize");

        let secret =
            KeyringType { reference_keyring: Some("snap_in_secret".to_owned()), ..named("mine") };
        assert_eq!(find(&manifest(vec![secret]), "mine").expect("whole").kind_name(), "secret");
    }

    #[test]
    fn what_is_missing_is_said() {
        let oauth2 = |id: &str| KeyringType { kind: Some(KeyringKind::Oauth2), ..named(id) };
        let without_client = find(&manifest(vec![oauth2("a")]), "a").expect_err("no client");
        assert!(without_client.to_string().contains("oauth_secret"), "{without_client}");
        let unknown = KeyringType {
            oauth_secret: Some("client".to_owned()),
            reference_keyring: Some("other-cloud".to_owned()),
            ..oauth2("a")
        };
        let error = find(&manifest(vec![unknown]), "a").expect_err("no endpoints").to_string();
        assert!(error.contains("other-cloud"), "{error}");
        let circle = |id: &str, to: &str| KeyringType {
            reference_keyring: Some(to.to_owned()),
            ..named(id)
        };
        let manifest = manifest(vec![circle("a", "b"), circle("b", "a")]);
        assert!(find(&manifest, "a").is_err());
    }
}
