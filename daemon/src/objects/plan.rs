//! How a list is best read: which rows of the index are gone through, and in which order.
//!
//! What it costs is how many objects are looked at. Conditions are taken to have nothing to do with
//! each other: of a list in the order of its index, `limit` objects with something that one in a
//! hundred has are found among a hundred times as many. Whatever is chosen, the answer is the same;
//! every object that is found is looked at again.

use super::query::{Condition, Place, Query, Test};

/// More matching objects than that are not put in order in memory.
pub const MOST_GATHERED: u64 = 4_000;
/// More values than that are not gone through side by side.
const MOST_MERGED: usize = 200;

/// A way to read a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// The objects that one of the conditions names by their ids.
    Named(usize),
    /// The rows of the values that a condition asks for, side by side by id: they are in the list's
    /// order already.
    Merge(usize),
    /// All objects that a condition finds, put in order afterwards.
    Gather(usize),
    /// Everything in the list's order, or the part of it that a condition leaves.
    Walk(Option<usize>),
}

/// How many rows a condition has in the index, counted up to a bound.
pub type Counting<'a, E> = dyn FnMut(&Condition, u64) -> Result<u64, E> + 'a;

/// How many objects are looked at on a walk that is tried first, for each that is wanted.
pub const TRIED_EACH: usize = 10;

/// A walk that is worth a try before anything is counted: what many objects have is found by looking
/// at a few, and counting them would take longer than that.
pub fn trial(query: &Query) -> Option<Plan> {
    let by_age = matches!(query.sort.column.place, Place::Id | Place::Created);
    let narrowed = query.conditions.iter().position(|it| narrows(it, query));
    let others = || {
        let conditions = query.conditions.iter().enumerate();
        conditions.filter(|(at, _)| Some(*at) != narrowed).map(|it| it.1)
    };
    let is_named = others().any(|it| it.column.place == Place::Id && is_any_of(it));
    let is_merge = by_age && others().any(|it| is_usable(it) && is_merged(it));
    let is_open = others().any(is_usable);
    (is_open && !is_named && !is_merge).then_some(Plan::Walk(narrowed))
}

/// Chooses. `total` is how many objects there are; `count` counts the rows of a condition, at most to
/// the number that it gets.
pub fn choose<E>(query: &Query, total: u64, count: &mut Counting<'_, E>) -> Result<Plan, E> {
    let conditions = || query.conditions.iter().enumerate();
    if let Some((named, _)) =
        conditions().find(|(_, it)| it.column.place == Place::Id && is_any_of(it))
    {
        return Ok(Plan::Named(named));
    }
    let by_age = matches!(query.sort.column.place, Place::Id | Place::Created);
    let narrowed = conditions().find(|(_, it)| narrows(it, query)).map(|it| it.0);
    let usable: Vec<usize> = conditions()
        .filter(|(at, it)| is_usable(it) && Some(*at) != narrowed)
        .map(|it| it.0)
        .collect();
    let merged = |at: &usize| by_age && is_merged(&query.conditions[*at]);
    if let [one] = usable.as_slice()
        && merged(one)
    {
        return Ok(Plan::Merge(*one));
    }
    let bound = gathered_at_most(query.limit, total);
    let mut best: Option<(usize, u64)> = None;
    for at in usable.iter().copied() {
        // What is not rarer need not be counted to its end.
        let most = best.map_or(bound + 1, |it| it.1);
        let rows = count(&query.conditions[at], most)?;
        if best.is_none_or(|it| rows < it.1) {
            best = Some((at, rows));
        }
    }
    Ok(match best {
        Some((rarest, rows)) if rows <= bound && !merged(&rarest) => Plan::Gather(rarest),
        Some((rarest, _)) if merged(&rarest) => Plan::Merge(rarest),
        // All are frequent: one in the right order is found without looking at the others.
        Some(_) | None => match usable.into_iter().find(merged) {
            Some(merged) => Plan::Merge(merged),
            None => Plan::Walk(narrowed),
        },
    })
}

/// How many objects are better put in order than found on a walk: as many as that walk would have to
/// look at.
fn gathered_at_most(limit: usize, total: u64) -> u64 {
    (limit as u64).saturating_mul(total).isqrt().clamp(100, MOST_GATHERED)
}

fn is_any_of(condition: &Condition) -> bool {
    match condition.test {
        Test::AnyOf(_) => true,
        Test::NoneOf(_) | Test::Range(_) => false,
    }
}

/// Whether a condition leaves a part of the list that is in one piece.
fn narrows(condition: &Condition, query: &Query) -> bool {
    let by_age = |place| matches!(place, Place::Id | Place::Created);
    let (column, sort) = (condition.column.place, query.sort.column.place);
    match condition.test {
        // An object with several values stands at its least or greatest, and another one may be right.
        Test::Range(_) if column == sort => condition.column.has_one,
        Test::Range(_) => by_age(column) && by_age(sort),
        Test::AnyOf(_) | Test::NoneOf(_) => false,
    }
}

/// Whether its objects can be found by the index.
fn is_usable(condition: &Condition) -> bool {
    match (condition.column.place, &condition.test) {
        (Place::Index(_), Test::AnyOf(_) | Test::Range(_)) => true,
        (Place::Index(_), Test::NoneOf(_)) | (Place::Id | Place::Created, _) => false,
    }
}

/// Whether its rows are in the order of ids, value by value.
fn is_merged(condition: &Condition) -> bool {
    match &condition.test {
        Test::AnyOf(values) => values.len() <= MOST_MERGED,
        Test::NoneOf(_) | Test::Range(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::model::object_type::{IndexKind, IndexedField};
    use crate::objects::filter::{self, Written};
    use crate::objects::query::{Column, Sort, standard_columns};

    /// Chooses for a filter, with so many rows for each field.
    fn chosen(filter: &Value, sort: &str, rows: &[(&str, u64)]) -> (Plan, u64) {
        let mut columns = standard_columns();
        for (number, path) in [(16, "state"), (17, "owner"), (18, "rank"), (19, "tags")] {
            let path = path.to_owned();
            let kind = IndexKind::Value;
            let has_one = number != 19;
            columns.push(Column::from(&IndexedField { path, number, kind, has_one }));
        }
        let Value::Object(filter) = filter else { panic!("no object") };
        let conditions =
            filter::parse(filter, "", &columns, Written::Json, &mut |_, it| Ok(it.clone()));
        let column = columns.iter().find(|it| it.path == sort).expect("a column").clone();
        let query = Query {
            kind: 1,
            id_prefix: "x".to_owned(),
            conditions: conditions.expect("a filter"),
            sort: Sort { column, descending: false },
            limit: 50,
            from: None,
            backwards: false,
        };
        let mut counted = 0;
        let plan = choose::<()>(&query, 1_000_000, &mut |condition, most| {
            let rows = rows.iter().find(|it| it.0 == condition.column.path).map_or(0, |it| it.1);
            counted += rows.min(most);
            Ok(rows.min(most))
        });
        (plan.expect("nothing fails"), counted)
    }

    #[test]
    fn what_is_rarest_is_read() {
        let both = json!({ "owner": "a", "state": "b" });
        let rows = [("owner", 30), ("state", 500_000)];
        // Members are in the order of their names: owner, state.
        assert_eq!(chosen(&both, "rank", &rows).0, Plan::Gather(0));
        assert_eq!(chosen(&both, "id", &rows).0, Plan::Merge(0));
        let frequent = json!({ "state": "b" });
        assert_eq!(chosen(&frequent, "rank", &rows).0, Plan::Walk(None));
        // In the order of age there is nothing to count.
        assert_eq!(chosen(&frequent, "created_date", &rows), (Plan::Merge(0), 0));
        let range = json!({ "rank": { "gt": 5 }, "state": "b" });
        assert_eq!(chosen(&range, "rank", &rows).0, Plan::Walk(Some(0)));
        let of_several = json!({ "tags": { "gt": 5 } });
        assert_eq!(chosen(&of_several, "tags", &[("tags", 500_000)]).0, Plan::Walk(None));
        assert_eq!(chosen(&range, "id", &[("rank", 3), ("state", 500_000)]).0, Plan::Gather(0));
        let named = json!({ "id": "x_1", "state": "b" });
        assert_eq!(chosen(&named, "rank", &rows), (Plan::Named(0), 0));
        assert_eq!(chosen(&json!({}), "rank", &rows), (Plan::Walk(None), 0));
        assert_eq!(chosen(&json!({ "state": { "ne": 1 } }), "rank", &rows), (Plan::Walk(None), 0));
    }

    #[test]
    fn counting_is_bounded() {
        let all = json!({ "owner": "a", "state": "b", "rank": { "gt": 1 } });
        let rows = [("owner", 1_000_000), ("state", 1_000_000), ("rank", 1_000_000)];
        let (plan, counted) = chosen(&all, "modified_date", &rows);
        assert_eq!(plan, Plan::Walk(None));
        assert!(counted <= 3 * (MOST_GATHERED + 1), "{counted}");
    }
}
