//! Which snap-ins a call is about: what the caller may reach, narrowed to what he asked for.

use std::collections::HashSet;

use super::Api;
use super::error::ApiError;
use super::lists::parse_id;
use super::rights::{Caller, Reach};
use super::snap_ins;
use crate::model::id::SnapInId;
use crate::model::scope::{Extent, ScopePrefix};
use crate::model::snap_in::SnapInState;
use crate::store::{PageRequest, SnapInRecord};

/// The snap-ins that a list is about: of the caller's, the one he named, or those under a prefix.
pub(super) fn of_list(
    api: &Api,
    caller: &Caller,
    snap_in: Option<&str>,
    scope: Option<&str>,
) -> Result<Extent, ApiError> {
    if let Some(text) = snap_in {
        return Ok(Extent::One(snap_ins::find(api, caller, text)?.0));
    }
    let asked = scope.map(|it| parse_id::<ScopePrefix>("scope", it)).transpose()?;
    match (&caller.reach, asked) {
        (Reach::All, None) => Ok(Extent::All),
        (Reach::All, Some(asked)) => under(api, &[&asked]),
        (Reach::Under(own), None) => under(api, &[own]),
        (Reach::Under(own), Some(asked)) => under(api, &[own, &asked]),
        (Reach::SnapIn(own), None) => Ok(Extent::One(*own)),
        (Reach::Integrations(_), _) => Ok(Extent::These(HashSet::new())),
        (Reach::SnapIn(own), Some(asked)) => {
            let all = under(api, &[&asked])?;
            Ok(if all.has(*own) { Extent::One(*own) } else { Extent::These(HashSet::new()) })
        }
    }
}

/// Whether the caller may know of a snap-in, or of what is its.
pub(super) fn reaches(api: &Api, caller: &Caller, id: SnapInId) -> Result<bool, ApiError> {
    Ok(match &caller.reach {
        Reach::All => true,
        Reach::SnapIn(own) => *own == id,
        Reach::Integrations(_) => false,
        Reach::Under(prefix) => api
            .services
            .store
            .read(|tables| tables.snap_in(id))?
            .is_some_and(|it| prefix.holds(&it.scope)),
    })
}

/// The snap-ins that a list is about, and that are not deleted.
pub(super) fn living(
    api: &Api,
    caller: &Caller,
    snap_in: Option<&str>,
    scope: Option<&str>,
) -> Result<Vec<(SnapInId, SnapInRecord)>, ApiError> {
    let extent = of_list(api, caller, snap_in, scope)?;
    if let Extent::One(id) = extent {
        let found = api.services.store.read(|tables| tables.snap_in(id))?;
        let found = found.filter(|it| it.state != SnapInState::Deleted);
        return Ok(found.map(|it| (id, it)).into_iter().collect());
    }
    let mut living = api.services.store.read(|tables| tables.living_snap_ins())?;
    living.retain(|(id, _)| extent.has(*id));
    Ok(living)
}

/// A page of a list that was made as a whole, and what the next one begins with.
pub(super) fn page_of<T>(all: Vec<T>, page: PageRequest) -> (Vec<T>, Option<u128>) {
    let from = page.from.and_then(|it| usize::try_from(it).ok()).unwrap_or_default();
    let next = from.saturating_add(page.limit);
    let next_cursor = (next < all.len()).then_some(next as u128);
    (all.into_iter().skip(from).take(page.limit).collect(), next_cursor)
}

fn under(api: &Api, prefixes: &[&ScopePrefix]) -> Result<Extent, ApiError> {
    let mut these = HashSet::new();
    let mut from = None;
    loop {
        let page = PageRequest { from, limit: usize::MAX, newest_first: false };
        let page = api.services.store.read(|tables| {
            tables.list_snap_ins(page, |it| prefixes.iter().all(|prefix| prefix.holds(&it.scope)))
        })?;
        these.extend(page.rows.into_iter().map(|(id, _)| id));
        match page.next {
            Some(next) => from = Some(next),
            None => return Ok(Extent::These(these)),
        }
    }
}
