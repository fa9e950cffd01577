//! `tokens.*`: API tokens, for the whole host or for the snap-ins under a prefix of scopes. A token is
//! shown once, when it is made; what is stored is its hash.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Api;
use super::error::{ApiError, Code};
use super::lists::{parse_id, time};
use super::rights::Caller;
use crate::model::scope::ScopePrefix;
use crate::random::secret_text;
use crate::store::{TokenCreation, TokenRecord};

/// What all of them start with.
pub(crate) const PREFIX: &str = "mta_";
/// The longest name.
const LONGEST_NAME: usize = 63;

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "TokensCreate")]
#[serde(deny_unknown_fields)]
pub(super) struct Create {
    /// Says who or what uses it; unique.
    name: String,
    /// Limits it to the snap-ins under this prefix, such as `prod/payments`. The whole host when
    /// absent.
    #[serde(default)]
    scope: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "TokensWhich")]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    name: String,
}

/// A token, without what it is.
#[derive(Serialize, JsonSchema)]
pub(super) struct Token {
    name: String,
    /// What it is limited to; absent: the whole host.
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
    created_date: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_by: Option<String>,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Created {
    /// What to send in `Authorization`. It is not shown again.
    token: String,
    #[serde(flatten)]
    about: Token,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Many {
    tokens: Vec<Token>,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "TokensList")]
pub(super) struct List {}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "TokensDeleted")]
pub(super) struct Deleted {
    name: String,
}

fn shown(record: TokenRecord) -> Token {
    Token {
        name: record.name,
        scope: record.scope.map(String::from),
        created_date: time(record.created_ms),
        created_by: record.created_by,
    }
}

pub(super) async fn create(
    api: Arc<Api>,
    caller: Caller,
    create: Create,
) -> Result<Created, ApiError> {
    let is_name = |it: char| it.is_ascii_alphanumeric() || matches!(it, '-' | '_' | '.');
    let name = create.name;
    if name.is_empty() || name.len() > LONGEST_NAME || !name.chars().all(is_name) {
        let message = format!("a name has 1 to {LONGEST_NAME} characters of A-Z, a-z, 0-9, `-_.`");
        return Err(ApiError::field("name", message));
    }
    let scope: Option<ScopePrefix> =
        create.scope.as_deref().map(|it| parse_id("scope", it)).transpose()?;
    let token = format!("{PREFIX}{}", secret_text());
    let record = TokenRecord {
        name,
        created_ms: api.services.clock.now_ms(),
        scope,
        created_by: Some(caller.principal.name()),
    };
    let (stored, kept) = (token.clone(), record.clone());
    let made = api.services.store.write(move |tables| tables.create_token(&stored, &kept)).await?;
    match made {
        TokenCreation::Created => Ok(Created { token, about: shown(record) }),
        TokenCreation::NameTaken => {
            let message = format!("there is a token `{}`: delete it, or name another", record.name);
            Err(ApiError::new(Code::Conflict, message))
        }
    }
}

pub(super) async fn list(api: Arc<Api>, _: Caller, _: List) -> Result<Many, ApiError> {
    let mut tokens = api.services.store.read(|tables| tables.list_tokens())?;
    tokens.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(Many { tokens: tokens.into_iter().map(shown).collect() })
}

pub(super) async fn delete(api: Arc<Api>, _: Caller, which: Which) -> Result<Deleted, ApiError> {
    let name = which.name.clone();
    if api.services.store.write(move |tables| tables.delete_token(&name)).await? {
        return Ok(Deleted { name: which.name });
    }
    Err(ApiError::not_found("token", &which.name))
}
