//! `tags.*`: names that things are marked with. They are made with the snap-ins that declare them.

use std::collections::HashSet;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Api;
use super::error::ApiError;
use super::lists::{Paging, cursor, time};
use super::rights::{Caller, Reach};
use crate::model::id::TagId;
use crate::store::TagRecord;

/// A tag.
#[derive(Serialize, JsonSchema)]
pub(super) struct Tag {
    id: String,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    created_date: String,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct OneTag {
    tag: Tag,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct ManyTags {
    tags: Vec<Tag>,
    next_cursor: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "TagsWhich")]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    /// Id or name.
    id: String,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "TagsList")]
pub(super) struct List {
    #[serde(flatten)]
    paging: Paging,
}

fn shown(id: TagId, record: TagRecord) -> Tag {
    Tag {
        id: id.to_string(),
        name: record.name,
        description: record.description,
        created_date: time(record.created_ms),
    }
}

/// The tags that a caller may see: a function sees those of its snap-in. Nothing: all.
fn seen_by(api: &Api, caller: &Caller) -> Result<Option<HashSet<TagId>>, ApiError> {
    match &caller.reach {
        Reach::All | Reach::Under(_) => Ok(None),
        Reach::Integrations(_) => Ok(Some(HashSet::new())),
        Reach::SnapIn(own) => {
            let record = api.services.store.read(|tables| tables.snap_in(*own))?;
            Ok(Some(record.map(|it| it.tags.into_values().collect()).unwrap_or_default()))
        }
    }
}

pub(super) async fn get(api: Arc<Api>, caller: Caller, which: Which) -> Result<OneTag, ApiError> {
    let found = api.services.store.read(|tables| {
        let id = match which.id.parse::<TagId>() {
            Ok(id) => Some(id),
            Err(_) => tables.tag_by_name(&which.id)?,
        };
        Ok(match id {
            Some(id) => tables.tag(id)?.map(|it| (id, it)),
            None => None,
        })
    })?;
    let seen = seen_by(&api, &caller)?;
    let found = found.filter(|(id, _)| seen.as_ref().is_none_or(|it| it.contains(id)));
    let (id, record) = found.ok_or_else(|| ApiError::not_found("tag", &which.id))?;
    Ok(OneTag { tag: shown(id, record) })
}

pub(super) async fn list(api: Arc<Api>, caller: Caller, list: List) -> Result<ManyTags, ApiError> {
    let page = list.paging.oldest_first()?;
    let seen = seen_by(&api, &caller)?;
    let page = api.services.store.read(|tables| {
        tables.list_tags(page, |id| seen.as_ref().is_none_or(|it| it.contains(&id)))
    })?;
    let tags = page.rows.into_iter().map(|(id, it)| shown(id, it)).collect();
    Ok(ManyTags { tags, next_cursor: cursor(page.next) })
}
