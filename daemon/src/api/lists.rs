//! What all lists have in common: a limit, a cursor, and ids as text.

use std::str::FromStr;

use schemars::JsonSchema;
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::error::ApiError;
use crate::configuration::suggest::quoted;
pub(crate) use crate::model::timestamp::rfc3339 as time;
use crate::store::PageRequest;

const DEFAULT_LIMIT: usize = 50;
const MOST: usize = 1000;

/// The part of a list request that is the same for all lists.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
pub(super) struct Paging {
    /// At most so many; 50 when absent, 1000 at most.
    #[serde(default, deserialize_with = "number")]
    #[schemars(with = "Option<usize>")]
    pub(super) limit: Option<usize>,
    /// The `next_cursor` of the page before.
    #[serde(default)]
    pub(super) cursor: Option<String>,
}

/// A number that may also come as text: in a query everything is text, and serde cannot read it as
/// anything else in a structure that is flattened into another.
fn number<'de, D: Deserializer<'de>>(from: D) -> Result<Option<usize>, D::Error> {
    let given = Option::<Value>::deserialize(from)?;
    let number = match &given {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Number(number)) => number.as_u64().and_then(|it| it.try_into().ok()),
        Some(Value::String(text)) => text.parse().ok(),
        Some(Value::Bool(_) | Value::Array(_) | Value::Object(_)) => None,
    };
    let wrong = || {
        let found = given.as_ref().map(|it| quoted(&it.to_string())).unwrap_or_default();
        D::Error::custom(format!("limit is {found}: expected a number, 1 to {MOST}"))
    };
    number.map(Some).ok_or_else(wrong)
}

impl Paging {
    /// Whether a part of a list is asked for.
    pub(super) fn is_given(&self) -> bool {
        self.limit.is_some() || self.cursor.is_some()
    }

    pub(super) fn newest_first(&self) -> Result<PageRequest, ApiError> {
        self.request(true)
    }

    pub(super) fn oldest_first(&self) -> Result<PageRequest, ApiError> {
        self.request(false)
    }

    fn request(&self, newest_first: bool) -> Result<PageRequest, ApiError> {
        let limit = self.limit()?;
        let from = self.cursor.as_deref().map(parse_cursor).transpose()?;
        Ok(PageRequest { from, limit, newest_first })
    }

    /// How many rows are asked for.
    pub(super) fn limit(&self) -> Result<usize, ApiError> {
        let limit = self.limit.unwrap_or(DEFAULT_LIMIT);
        if !(1..=MOST).contains(&limit) {
            return Err(ApiError::field(
                "limit",
                format!("limit is {limit}: expected 1 to {MOST}"),
            ));
        }
        Ok(limit)
    }
}

pub(super) fn cursor(next: Option<u128>) -> Option<String> {
    next.map(|it| format!("{it:x}"))
}

fn parse_cursor(text: &str) -> Result<u128, ApiError> {
    u128::from_str_radix(text, 16).map_err(|_| foreign_cursor())
}

pub(super) fn foreign_cursor() -> ApiError {
    ApiError::field("cursor", "cursor is none of ours: send the next_cursor of the last page")
}

/// An id in a request.
pub(super) fn parse_id<T: FromStr<Err: std::fmt::Display>>(
    field: &str,
    text: &str,
) -> Result<T, ApiError> {
    text.parse().map_err(|error: T::Err| ApiError::field(field, error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    struct Request {
        #[serde(flatten)]
        paging: Paging,
    }

    #[test]
    fn limit_comes_in_a_query_or_in_json() {
        let limit = |query| {
            actix_web::web::Query::<Request>::from_query(query).map(|it| it.paging.limit).ok()
        };
        assert_eq!(limit("limit=3&cursor=ab"), Some(Some(3)));
        assert_eq!(limit("cursor=ab"), Some(None));
        assert_eq!(limit("limit=many"), None);
        let limit = |json| serde_json::from_str::<Request>(json).map(|it| it.paging.limit).ok();
        assert_eq!(limit(r#"{"limit": 3}"#), Some(Some(3)));
        assert_eq!(limit(r#"{"limit": null}"#), Some(None));
        assert_eq!(limit(r#"{"limit": -3}"#), None);
    }
}
