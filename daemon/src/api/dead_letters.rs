//! `dead-letters.*`: runs that used up their attempts, until somebody replays or purges them.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::error::ApiError;
use super::lists::cursor;
use super::rights::Caller;
use super::runs::{self, List, ManyRuns};
use super::{Api, extent};
use crate::model::id::RunId;
use crate::model::run::RunOutput;
use crate::store::{PageRequest, RunFilter};

/// Which dead letters: one by its id, or all that match.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "DeadLettersWhich")]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    /// This one.
    #[serde(default)]
    id: Option<String>,
    /// All of this snap-in: id or scope.
    #[serde(default)]
    snap_in: Option<String>,
    /// Really all.
    #[serde(default)]
    all: bool,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Count {
    /// How many it was done to.
    count: usize,
}

pub(super) async fn list(api: Arc<Api>, caller: Caller, list: List) -> Result<ManyRuns, ApiError> {
    let filter = runs::filter(&api, &caller, &list)?;
    let page = list.paging.oldest_first()?;
    let page = api.services.store.read(|tables| tables.list_dead_letters(&filter, page))?;
    let rows = page.rows.into_iter();
    let runs = rows.map(|it| runs::run(it.id, it.head, RunOutput::default())).collect();
    Ok(ManyRuns { runs, next_cursor: cursor(page.next) })
}

pub(super) async fn replay(api: Arc<Api>, caller: Caller, which: Which) -> Result<Count, ApiError> {
    let ids = chosen(&api, &caller, &which)?;
    let count = ids.len();
    for id in ids {
        runs::reopen(&api, id).await?;
    }
    Ok(Count { count })
}

pub(super) async fn purge(api: Arc<Api>, caller: Caller, which: Which) -> Result<Count, ApiError> {
    let ids = chosen(&api, &caller, &which)?;
    let mut count = 0;
    for id in ids {
        let purged = api.services.store.write(move |tables| tables.purge_dead_letter(id)).await?;
        count += usize::from(purged);
    }
    Ok(Count { count })
}

fn chosen(api: &Api, caller: &Caller, which: &Which) -> Result<Vec<RunId>, ApiError> {
    let extent = match (&which.id, &which.snap_in, which.all) {
        (Some(id), None, false) => return Ok(vec![runs::find(api, caller, id)?.0]),
        (None, Some(text), false) => extent::of_list(api, caller, Some(text.as_str()), None)?,
        (None, None, true) => extent::of_list(api, caller, None, None)?,
        _ => {
            let message = "say which: exactly one of id, snap_in, or all = true";
            return Err(ApiError::field("id", message));
        }
    };
    let filter = RunFilter { extent, ..RunFilter::default() };
    let page = PageRequest { from: None, limit: usize::MAX, newest_first: false };
    let found = api.services.store.read(|tables| tables.list_dead_letters(&filter, page))?;
    Ok(found.rows.into_iter().map(|it| it.id).collect())
}
