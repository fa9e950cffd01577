//! The parameters of a call: from what a client sent to the type that a handler takes, and which
//! field is wrong when it cannot be read. Must not know what any parameter means.

use actix_web::web;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::{Map, Value};

use super::error::{ApiError, Code};

/// Objects with more members are not searched for the wrong one.
const MOST_SEARCHED: usize = 64;

/// The parameters of a call, before they are understood.
pub(super) enum Input {
    Query(String),
    Body(web::Bytes),
}

impl Input {
    pub(super) fn read<Q: DeserializeOwned>(&self) -> Result<Q, ApiError> {
        match self {
            Input::Query(query) => web::Query::<Q>::from_query(query)
                .map(web::Query::into_inner)
                .map_err(|error| ApiError::new(Code::BadRequest, error.to_string())),
            Input::Body(body) => read_json(if body.is_empty() { b"{}" } else { body }),
        }
    }
}

fn read_json<Q: DeserializeOwned>(body: &[u8]) -> Result<Q, ApiError> {
    // Otherwise a list would be taken for the members in the order of the code.
    if body.trim_ascii_start().first().is_some_and(|it| *it != b'{')
        && serde_json::from_slice::<IgnoredAny>(body).is_ok()
    {
        let message = "the parameters of a call are one JSON object";
        return Err(ApiError::new(Code::BadRequest, message));
    }
    let mut from = serde_json::Deserializer::from_slice(body);
    let (error, path) = match serde_path_to_error::deserialize::<_, Q>(&mut from) {
        Ok(read) => match from.end() {
            Ok(()) => return Ok(read),
            Err(error) => (error, String::new()),
        },
        Err(error) => {
            let path = error.path();
            let path = if path.iter().len() == 0 { String::new() } else { path.to_string() };
            (error.into_inner(), path)
        }
    };
    let message = error.to_string();
    match error.classify() {
        serde_json::error::Category::Data => {}
        serde_json::error::Category::Io
        | serde_json::error::Category::Syntax
        | serde_json::error::Category::Eof => {
            return Err(ApiError::new(Code::InvalidJson, message));
        }
    }
    // Who has the name of a field needs no column.
    let place = format!(" at line {} column {}", error.line(), error.column());
    let at_field = |message: &str| message.strip_suffix(&place).unwrap_or(message).to_owned();
    Err(match field::<Q>(&path, &message, body) {
        // It names the field itself.
        Some(field) if named(&message) == Some(field.as_str()) => {
            ApiError::field(&field, at_field(&message))
        }
        Some(field) => ApiError::field(&field, format!("`{field}`: {}", at_field(&message))),
        None => ApiError::new(Code::BadRequest, message),
    })
}

/// The path of what is wrong, as in `actions[1].value`.
fn field<Q: DeserializeOwned>(path: &str, message: &str, body: &[u8]) -> Option<String> {
    match (path, named(message)) {
        ("", Some(name)) => Some(name.to_owned()),
        ("", None) => culprit::<Q>(body),
        (path, Some(name)) if path != name && !path.ends_with(&format!(".{name}")) => {
            Some(format!("{path}.{name}"))
        }
        (path, _) => Some(path.to_owned()),
    }
}

/// The field that an error is about which knows only the object around it.
fn named(message: &str) -> Option<&str> {
    let starts = ["missing field `", "unknown field `", "duplicate field `"];
    let rest = starts.iter().find_map(|it| message.strip_prefix(it))?;
    rest.split_once('`').map(|(name, _)| name)
}

/// Structures that are flattened into others are read from a copy that knows no place any more: it is
/// the member without which the same body has another error, or none.
fn culprit<Q: DeserializeOwned>(body: &[u8]) -> Option<String> {
    let members: Map<String, Value> = serde_json::from_slice(body).ok()?;
    if members.len() > MOST_SEARCHED {
        return None;
    }
    let wrong = |members: &Map<String, Value>| {
        let body = serde_json::to_vec(members).ok()?;
        let error = serde_json::from_slice::<Q>(&body).err()?.to_string();
        Some(error.rsplit_once(" at line ").map_or(error.clone(), |(what, _)| what.to_owned()))
    };
    let whole = wrong(&members)?;
    members.keys().find_map(|name| {
        let mut rest = members.clone();
        rest.remove(name);
        (wrong(&rest).as_deref() != Some(&whole)).then(|| name.clone())
    })
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only read into")]
    struct Strict {
        id: String,
        #[serde(default)]
        items: Vec<Item>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only read into")]
    struct Item {
        name: String,
    }

    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "only read into")]
    struct Flat {
        #[serde(default)]
        id: Option<String>,
        #[serde(flatten)]
        page: Page,
    }

    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "only read into")]
    struct Page {
        #[serde(default)]
        limit: Option<u32>,
        #[serde(default)]
        after: Option<u32>,
    }

    #[track_caller]
    fn problem<Q: DeserializeOwned + std::fmt::Debug>(body: &str) -> (String, String) {
        let error = read_json::<Q>(body.as_bytes()).expect_err(body);
        assert_eq!(error.code(), Code::BadRequest, "{body}: {}", error.message());
        let field = error.member("field").and_then(Value::as_str).unwrap_or_default();
        (field.to_owned(), error.message().to_owned())
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (body, field) in [
            (r#"{"id": 1}"#, "id"),
            ("{}", "id"),
            (r#"{"id": "x", "idd": 1}"#, "idd"),
            (r#"{"id": "x", "id": "y"}"#, "id"),
            (r#"{"id": "x", "items": 1}"#, "items"),
            (r#"{"id": "x", "items": [{"name": "a"}, {"name": 1}]}"#, "items[1].name"),
            (r#"{"id": "x", "items": [{}]}"#, "items[0].name"),
            (r#"{"id": "x", "items": [{"name": "a", "nam": 1}]}"#, "items[0].nam"),
        ] {
            let (found, message) = problem::<Strict>(body);
            assert_eq!(found, field, "{body}: {message}");
            assert!(message.contains(&format!("`{field}`")), "{body}: {message}");
        }
    }

    #[test]
    fn what_is_wrong_in_a_flattened_part_is_named() {
        for (body, field) in [
            (r#"{"limit": "x"}"#, "limit"),
            (r#"{"after": 1, "limit": [], "other": true}"#, "limit"),
            (r#"{"id": 5, "limit": 1}"#, "id"),
        ] {
            let (found, message) = problem::<Flat>(body);
            assert_eq!(found, field, "{body}: {message}");
        }
    }

    #[test]
    fn what_is_no_json_is_told_apart() {
        for body in ["{", r#"{"id": "x"} {}"#, "nothing", ""] {
            let error = read_json::<Strict>(body.as_bytes()).expect_err(body);
            assert_eq!(error.code(), Code::InvalidJson, "{body}: {}", error.message());
        }
        let list = read_json::<Strict>(b"[1]").expect_err("a list");
        assert_eq!(list.code(), Code::BadRequest);
    }
}
