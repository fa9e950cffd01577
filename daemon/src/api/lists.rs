//! What all lists have in common: a limit, a cursor, and ids as text.

use std::str::FromStr;

use schemars::JsonSchema;
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::error::ApiError;
use crate::configuration::suggest::quoted;
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

/// Milliseconds of the Unix epoch as RFC 3339, in UTC.
pub(crate) fn time(ms: u64) -> String {
    let (days, in_day) = (ms / 86_400_000, ms % 86_400_000);
    // Howard Hinnant's algorithm: days since 1970-01-01 to a date, in years that start in March.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (seconds, millis) = (in_day / 1000, in_day % 1000);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
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

    #[test]
    fn times_are_dates() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_709_251_199_999, "2024-02-29T23:59:59.999Z"),
            (1_709_251_200_000, "2024-03-01T00:00:00.000Z"),
            (4_107_542_399_000, "2100-02-28T23:59:59.000Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(time(ms), text);
        }
    }
}
