//! The calls of a type itself: `works.create`, `timeline-entries.list` and so on. They are not in the
//! table of routes, because types come and go; each has the right of the `objects.` call with its
//! verb, and what is said of that holds for it.
//!
//! An object's own fields stand beside the parameters of a call. So do the filters of a list, as
//! ported callers send them: what is no parameter of the list is a field.

use std::sync::Arc;

use actix_web::web;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::Api;
use super::error::{ApiError, Code};
use super::objects::{self, Beside, Mode, OneOrMore};
use super::parameters::Input;
use super::rights::Caller;
use crate::engine::objects::KnownType;
use crate::objects::definition::RESERVED;
use crate::objects::filter::Written;
use crate::objects::wire::query;

/// A call of a type.
pub(super) struct ObjectCall {
    kind: Arc<KnownType>,
    verb: Verb,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Create,
    Get,
    List,
    Count,
    Update,
    Delete,
}

impl ObjectCall {
    /// The call that a name is of, if it is one.
    ///
    /// The daemon's own things have calls of their own in the table; where those lack a verb that is
    /// for objects, it is here.
    pub(super) fn find(api: &Api, name: &str, is_listed: bool) -> Option<ObjectCall> {
        let (plural, verb) = name.split_once('.')?;
        let verb = match verb {
            "create" => Verb::Create,
            "get" => Verb::Get,
            "list" => Verb::List,
            "count" => Verb::Count,
            "update" => Verb::Update,
            "delete" => Verb::Delete,
            _ => return None,
        };
        // `timeline_entries.list` is not a second name of the call.
        if plural.contains('_') {
            return None;
        }
        let catalog = api.objects.catalog();
        let kind = catalog.get(plural)?.clone();
        // One that has the name of something of ours was there before that: it is reached by `objects.`
        // alone, or whoever makes types could put himself in front of the calls that say who may what.
        let is_ours = kind.is_own() || RESERVED.contains(&kind.current().plural.as_str());
        if is_ours && is_listed {
            return None;
        }
        (kind.current().plural.replace('_', "-") == plural).then_some(ObjectCall { kind, verb })
    }

    /// The call in the table that it comes down to.
    pub(super) fn like(&self) -> &'static str {
        match self.verb {
            Verb::Create => "objects.create",
            Verb::Get => "objects.get",
            Verb::List => "objects.list",
            Verb::Count => "objects.count",
            Verb::Update => "objects.update",
            Verb::Delete => "objects.delete",
        }
    }

    /// Carries it out.
    pub(super) async fn run(
        self,
        api: Arc<Api>,
        caller: Caller,
        input: Input,
    ) -> Result<Vec<u8>, ApiError> {
        let (mut sent, written) = members_of(&input)?;
        let kind = &self.kind;
        let definition = kind.current();
        let answer = match self.verb {
            Verb::Create => {
                let object = objects::create_one(&api, &caller, kind, sent).await?;
                json!({ &definition.name: object })
            }
            Verb::Get => {
                let id = take_id(&mut sent)?;
                refuse_others(&sent, &["id"])?;
                let object = objects::get_one(&api, &caller, kind, &id).await?;
                json!({ &definition.name: object })
            }
            Verb::Update => {
                let id = take_id(&mut sent)?;
                let version = take_version(&mut sent)?;
                let object = objects::update_one(&api, &caller, kind, &id, version, sent).await?;
                json!({ &definition.name: object })
            }
            Verb::Delete => {
                let id = take_id(&mut sent)?;
                let version = take_version(&mut sent)?;
                refuse_others(&sent, &["id", "version"])?;
                objects::delete_one(&api, &caller, kind, &id, version).await?;
                json!({})
            }
            Verb::List => {
                let list = objects::List {
                    object_type: definition.name.clone(),
                    filter: sent.remove("filter"),
                    sort_by: take::<OneOrMore>(&mut sent, "sort_by", "a field, or a list of one")?,
                    limit: take_number(&mut sent, "limit")?,
                    cursor: take::<String>(&mut sent, "cursor", "text")?,
                    mode: take::<Mode>(&mut sent, "mode", "`after` or `before`")?,
                };
                let beside: Beside = (!sent.is_empty()).then_some((sent, written));
                let page = objects::page_of(&api, &caller, kind, list, beside).await?;
                json!({
                    &definition.plural: page.objects,
                    "next_cursor": page.next_cursor,
                    "prev_cursor": page.prev_cursor,
                })
            }
            Verb::Count => {
                let filter = sent.remove("filter");
                let beside: Beside = (!sent.is_empty()).then_some((sent, written));
                json!(objects::count_of(&api, &caller, kind, filter, beside).await?)
            }
        };
        serde_json::to_vec(&answer)
            .map_err(|error| ApiError::new(Code::Internal, error.to_string()))
    }
}

fn members_of(input: &Input) -> Result<(Map<String, Value>, Written), ApiError> {
    match input {
        Input::Body(_) => Ok((input.read::<Map<String, Value>>()?, Written::Json)),
        Input::Query(query) => Ok((members_of_query(query)?, Written::Text)),
    }
}

/// The parameters of a query.
fn members_of_query(query: &str) -> Result<Map<String, Value>, ApiError> {
    let pairs = web::Query::<Vec<(String, String)>>::from_query(query);
    let pairs = pairs.map_err(|error| ApiError::new(Code::BadRequest, error.to_string()))?;
    query::read(pairs.into_inner()).map_err(|message| ApiError::new(Code::BadRequest, message))
}

fn take_id(sent: &mut Map<String, Value>) -> Result<String, ApiError> {
    match sent.remove("id") {
        Some(Value::String(id)) => Ok(id),
        Some(_) => Err(ApiError::field("id", "`id`: expected an id or display id as text")),
        None => Err(ApiError::field("id", "missing field `id`")),
    }
}

fn take_version(sent: &mut Map<String, Value>) -> Result<Option<u64>, ApiError> {
    match sent.remove("version") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Number(number)) if number.is_u64() => Ok(number.as_u64()),
        Some(_) => Err(ApiError::field(
            "version",
            "`version`: expected a number, the version that the object must have",
        )),
    }
}

fn take_number(sent: &mut Map<String, Value>, name: &str) -> Result<Option<usize>, ApiError> {
    let number = match sent.remove(name) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Number(number)) => number.as_u64().and_then(|it| it.try_into().ok()),
        Some(Value::String(text)) => text.parse().ok(),
        Some(Value::Bool(_) | Value::Array(_) | Value::Object(_)) => None,
    };
    number.map(Some).ok_or_else(|| ApiError::field(name, format!("`{name}`: expected a number")))
}

fn take<T: DeserializeOwned>(
    sent: &mut Map<String, Value>,
    name: &str,
    expected: &str,
) -> Result<Option<T>, ApiError> {
    match sent.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => T::deserialize(value)
            .map(Some)
            .map_err(|_| ApiError::field(name, format!("`{name}`: expected {expected}"))),
    }
}

fn refuse_others(sent: &Map<String, Value>, allowed: &[&str]) -> Result<(), ApiError> {
    match sent.keys().next() {
        None => Ok(()),
        Some(name) => {
            let message = format!("unknown field `{name}`, expected {}", allowed.join(" and "));
            Err(ApiError::field(name, message).allowing(allowed))
        }
    }
}
