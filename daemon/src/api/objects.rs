//! `objects.*`: objects of any type, by its name. The calls of a type itself, such as `works.create`,
//! are in `object_calls.rs` and come down to these.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Api;
use super::error::ApiError;
use super::object_rights::{Wish, granted};
use super::object_types::who;
use super::rights::Caller;
use crate::engine::objects::{self as engine, Counting, KnownType, Listing};
use crate::objects::cursor::Way;
use crate::objects::filter::Written;

const DEFAULT_LIMIT: usize = 50;
const MOST: usize = 100;

/// One or several.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum OneOrMore {
    One(String),
    More(Vec<String>),
}

/// Which way a list goes on from a cursor.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[schemars(rename = "ObjectsListMode")]
#[serde(rename_all = "snake_case")]
pub(super) enum Mode {
    /// To the page after.
    After,
    /// To the page before.
    Before,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "OneObject")]
pub(super) struct One {
    object: Map<String, Value>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ManyObjects")]
pub(super) struct Many {
    objects: Vec<Value>,
    next_cursor: Option<String>,
    prev_cursor: Option<String>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ObjectsCounted")]
pub(super) struct Counted {
    pub(super) count: u64,
    /// Whether that is all: counting ends at a number of objects that were looked at.
    pub(super) is_exact: bool,
    /// Whether there may be more.
    pub(super) has_more: bool,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "ObjectsCreate")]
#[serde(deny_unknown_fields)]
pub(super) struct Create {
    /// Name or plural of the type.
    #[serde(rename = "type")]
    object_type: String,
    /// Its own fields.
    object: Map<String, Value>,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "ObjectsGet")]
#[serde(deny_unknown_fields)]
pub(super) struct Get {
    /// Id, or with the type display id.
    id: String,
    /// Name or plural of the type; known by the id when absent.
    #[serde(default, rename = "type")]
    object_type: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "ObjectsUpdate")]
#[serde(deny_unknown_fields)]
pub(super) struct Update {
    /// Id, or with the type display id.
    id: String,
    /// Name or plural of the type; known by the id when absent.
    #[serde(default, rename = "type")]
    object_type: Option<String>,
    /// Only if the object has this version.
    #[serde(default)]
    version: Option<u64>,
    /// What is to change: absent fields stay, null clears, lists take `{"add": [...]}` too.
    object: Map<String, Value>,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "ObjectsDelete")]
#[serde(deny_unknown_fields)]
pub(super) struct Delete {
    /// Id, or with the type display id.
    id: String,
    /// Name or plural of the type; known by the id when absent.
    #[serde(default, rename = "type")]
    object_type: Option<String>,
    /// Only if the object has this version.
    #[serde(default)]
    version: Option<u64>,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "ObjectsList")]
#[serde(deny_unknown_fields)]
pub(super) struct List {
    /// Name or plural of the type.
    #[serde(rename = "type")]
    pub(super) object_type: String,
    /// Fields with a value, a list of values, or operators such as `{"gte": 3}`. JSON in a query.
    #[serde(default)]
    pub(super) filter: Option<Value>,
    /// One field, with `:asc` or `:desc`; oldest first when absent.
    #[serde(default)]
    pub(super) sort_by: Option<OneOrMore>,
    /// At most so many; 50 when absent, 100 at most.
    #[serde(default)]
    pub(super) limit: Option<usize>,
    /// The `next_cursor` or `prev_cursor` of a page.
    #[serde(default)]
    pub(super) cursor: Option<String>,
    /// Which way, where that is not what the cursor says.
    #[serde(default)]
    pub(super) mode: Option<Mode>,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "ObjectsCount")]
#[serde(deny_unknown_fields)]
pub(super) struct Count {
    /// Name or plural of the type.
    #[serde(rename = "type")]
    object_type: String,
    /// As in `objects.list`.
    #[serde(default)]
    filter: Option<Value>,
}

pub(super) async fn create(api: Arc<Api>, caller: Caller, new: Create) -> Result<One, ApiError> {
    let kind = api.objects.find_type(&new.object_type)?;
    Ok(One { object: create_one(&api, &caller, &kind, new.object).await? })
}

pub(super) async fn get(api: Arc<Api>, caller: Caller, which: Get) -> Result<One, ApiError> {
    let kind = kind_of(&api, which.object_type.as_deref(), &which.id)?;
    Ok(One { object: get_one(&api, &caller, &kind, &which.id).await? })
}

pub(super) async fn update(api: Arc<Api>, caller: Caller, it: Update) -> Result<One, ApiError> {
    let kind = kind_of(&api, it.object_type.as_deref(), &it.id)?;
    Ok(One { object: update_one(&api, &caller, &kind, &it.id, it.version, it.object).await? })
}

pub(super) async fn delete(api: Arc<Api>, caller: Caller, it: Delete) -> Result<(), ApiError> {
    let kind = kind_of(&api, it.object_type.as_deref(), &it.id)?;
    delete_one(&api, &caller, &kind, &it.id, it.version).await
}

pub(super) async fn list(api: Arc<Api>, caller: Caller, list: List) -> Result<Many, ApiError> {
    let kind = api.objects.find_type(&list.object_type)?;
    let page = page_of(&api, &caller, &kind, list, None).await?;
    let engine::Page { objects, next_cursor, prev_cursor } = page;
    Ok(Many { objects, next_cursor, prev_cursor })
}

pub(super) async fn count(api: Arc<Api>, caller: Caller, it: Count) -> Result<Counted, ApiError> {
    let kind = api.objects.find_type(&it.object_type)?;
    count_of(&api, &caller, &kind, it.filter, None).await
}

/// The type that somebody means: by its name, or by the id of one of its objects.
pub(super) fn kind_of(api: &Api, name: Option<&str>, id: &str) -> Result<Arc<KnownType>, ApiError> {
    match name {
        Some(name) => Ok(api.objects.find_type(name)?),
        None => match api.objects.catalog().key_of(id) {
            Some((kind, _)) => Ok(kind.clone()),
            None => {
                let message = "id is no id of an object; with a display id, send the `type` too";
                Err(ApiError::field("id", message))
            }
        },
    }
}

pub(super) async fn create_one(
    api: &Api,
    caller: &Caller,
    kind: &KnownType,
    fields: Map<String, Value>,
) -> Result<Map<String, Value>, ApiError> {
    let granted = granted(api, caller)?;
    granted.check(kind, Wish::Write)?;
    let object = api.objects.create(&who(caller), &kind.current().name, fields).await?;
    members(api.objects.show(kind, &object, &granted.sight(api))?)
}

pub(super) async fn get_one(
    api: &Api,
    caller: &Caller,
    kind: &KnownType,
    id: &str,
) -> Result<Map<String, Value>, ApiError> {
    let granted = granted(api, caller)?;
    granted.check(kind, Wish::Read)?;
    let object = api.objects.get(&kind.current().name, id)?;
    members(api.objects.show(kind, &object, &granted.sight(api))?)
}

pub(super) async fn update_one(
    api: &Api,
    caller: &Caller,
    kind: &KnownType,
    id: &str,
    version: Option<u64>,
    change: Map<String, Value>,
) -> Result<Map<String, Value>, ApiError> {
    let granted = granted(api, caller)?;
    granted.check(kind, Wish::Write)?;
    let name = &kind.current().name;
    let object = api.objects.update(&who(caller), name, id, version, change).await?;
    members(api.objects.show(kind, &object, &granted.sight(api))?)
}

pub(super) async fn delete_one(
    api: &Api,
    caller: &Caller,
    kind: &KnownType,
    id: &str,
    version: Option<u64>,
) -> Result<(), ApiError> {
    granted(api, caller)?.check(kind, Wish::Write)?;
    api.objects.delete(&who(caller), &kind.current().name, id, version).await?;
    Ok(())
}

/// Conditions that stand beside the parameters of a list, and how their values are written.
pub(super) type Beside = Option<(Map<String, Value>, Written)>;

pub(super) async fn page_of(
    api: &Api,
    caller: &Caller,
    kind: &KnownType,
    list: List,
    beside: Beside,
) -> Result<engine::Page, ApiError> {
    let granted = granted(api, caller)?;
    granted.check(kind, Wish::Read)?;
    let limit = list.limit.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MOST).contains(&limit) {
        return Err(ApiError::field("limit", format!("limit is {limit}: expected 1 to {MOST}")));
    }
    let listing = Listing {
        object_type: kind.current().name.clone(),
        filters: filters(list.filter, beside)?,
        sort_by: match list.sort_by {
            None => Vec::new(),
            Some(OneOrMore::One(one)) => vec![one],
            Some(OneOrMore::More(more)) => more,
        },
        limit,
        cursor: list.cursor,
        way: list.mode.map(|it| match it {
            Mode::After => Way::Forward,
            Mode::Before => Way::Backward,
        }),
    };
    Ok(api.objects.list(listing, granted.sight(api)).await?)
}

pub(super) async fn count_of(
    api: &Api,
    caller: &Caller,
    kind: &KnownType,
    filter: Option<Value>,
    beside: Beside,
) -> Result<Counted, ApiError> {
    granted(api, caller)?.check(kind, Wish::Read)?;
    let object_type = kind.current().name.clone();
    let counting = Counting { object_type, filters: filters(filter, beside)? };
    let counted = api.objects.count(counting).await?;
    Ok(Counted { count: counted.count, is_exact: counted.is_exact, has_more: !counted.is_exact })
}

fn filters(filter: Option<Value>, beside: Beside) -> Result<engine::Filters, ApiError> {
    let mut filters = Vec::new();
    // In a query, a filter is JSON as text.
    let filter = match filter {
        Some(Value::String(text)) => Some(serde_json::from_str(&text).map_err(|error| {
            ApiError::field("filter", format!("filter is no JSON object: {error}"))
        })?),
        other => other,
    };
    match filter {
        None | Some(Value::Null) => {}
        Some(Value::Object(members)) => {
            filters.push(("filter".to_owned(), members, Written::Json));
        }
        Some(_) => {
            let message = "filter is no object: expected fields, each with a value, a list of \
                           values, or operators";
            return Err(ApiError::field("filter", message));
        }
    }
    if let Some((members, written)) = beside {
        filters.push((String::new(), members, written));
    }
    Ok(filters)
}

fn members(shown: Value) -> Result<Map<String, Value>, ApiError> {
    match shown {
        Value::Object(members) => Ok(members),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Err(ApiError::new(super::error::Code::Internal, "an object is shown as something else"))
        }
    }
}
