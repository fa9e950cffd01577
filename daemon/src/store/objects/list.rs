//! Lists and counts of objects: reading what a plan says, within a budget.
//!
//! Every object that is found is looked at again, unless the row of the index says all there is to
//! know. A page ends when a number of objects were looked at, and says where to go on: a filter that
//! matches little cannot keep a thread or a read transaction for long.

use std::collections::HashSet;
use std::ops::ControlFlow;

use redb::{Range, ReadOnlyTable};
use serde_json::Value;

use super::super::tables::ReadTables;
use super::super::{StoreError, schema};
use super::read::read_object;
use crate::model::id::{first_id_at, parts_of, text_of};
use crate::model::object::{ObjectKey, StoredObject};
use crate::objects::index::{self, FIRST_OWN};
use crate::objects::plan::{self, Plan};
use crate::objects::query::{
    Condition, Counted, ObjectPage, Place, Position, Query, Test, sort_value,
};

/// Objects that are looked at for one page.
const MOST_LOOKED_AT: usize = 10_000;
/// The same for a count, and rows where the index says enough.
const MOST_LOOKED_AT_TO_COUNT: u64 = 20_000;
const MOST_ROWS_TO_COUNT: u64 = 500_000;
/// Bytes of objects on one page; a single one may be larger.
const MOST_BYTES: usize = 8 << 20;

/// From one row of the index to before another.
type Rows = (Vec<u8>, Vec<u8>);

impl ReadTables {
    /// A page of the objects that a query asks for.
    pub fn list_objects(&self, query: &Query) -> Result<ObjectPage, StoreError> {
        let total = self.count_all_objects(query.kind)?;
        let mut lister = Lister::new(self, query)?;
        let plan =
            plan::choose(query, total, &mut |condition, most| lister.count(condition, most))?;
        lister.run(&plan)?;
        Ok(lister.finish())
    }

    /// How many objects meet the conditions of a query.
    pub fn count_objects(&self, query: &Query) -> Result<Counted, StoreError> {
        let total = self.count_all_objects(query.kind)?;
        if query.conditions.is_empty() {
            return Ok(Counted { count: total, is_exact: true });
        }
        let mut lister = Lister::new(self, query)?;
        let plan =
            plan::choose(query, total, &mut |condition, most| lister.count(condition, most))?;
        lister.count_all(&plan)
    }
}

struct Lister<'a> {
    objects: ReadOnlyTable<(u32, u128), &'static [u8]>,
    index: ReadOnlyTable<&'static [u8], ()>,
    query: &'a Query,
    /// The conditions that a found object has to be looked at for.
    checked: Vec<&'a Condition>,
    /// In the order of reading.
    found: Vec<(Position, StoredObject)>,
    bytes: usize,
    looked_at: usize,
    most_looked_at: usize,
    /// Where reading stopped before its end.
    stopped_at: Option<Position>,
}

impl<'a> Lister<'a> {
    fn new(tables: &ReadTables, query: &'a Query) -> Result<Lister<'a>, StoreError> {
        Ok(Lister {
            objects: tables.table(schema::OBJECTS)?,
            index: tables.table(schema::OBJECT_INDEX)?,
            query,
            checked: query.conditions.iter().collect(),
            found: Vec::new(),
            bytes: 0,
            looked_at: 0,
            most_looked_at: MOST_LOOKED_AT,
            stopped_at: None,
        })
    }

    /// Whether the list is read from its end.
    fn in_reverse(&self) -> bool {
        self.query.sort.descending != self.query.backwards
    }

    /// One more than is shown: whether there is more is then known.
    fn wanted(&self) -> usize {
        self.query.limit + 1
    }

    fn run(&mut self, plan: &Plan) -> Result<(), StoreError> {
        self.leave_out(plan);
        let query = self.query;
        match plan {
            Plan::Named(at) => {
                let ids = named(&query.conditions[*at], query);
                self.gather(ids.into_iter().map(Ok))
            }
            Plan::Gather(at) => {
                let ids = self.ids_of(&query.conditions[*at])?;
                self.gather(ids)
            }
            Plan::Merge(at) => self.merge(&query.conditions[*at]),
            Plan::Walk(narrowed) => {
                let narrowed = narrowed.map(|at| &query.conditions[at]);
                match query.sort.column.place {
                    Place::Id | Place::Created => self.walk_objects(narrowed),
                    Place::Index(field) => self.walk_index(field, narrowed),
                }
            }
        }
    }

    /// Does not look again for the condition that a plan goes by, if the index is enough to know.
    fn leave_out(&mut self, plan: &Plan) {
        let by = match plan {
            Plan::Merge(at) | Plan::Gather(at) | Plan::Named(at) => &self.query.conditions[*at],
            Plan::Walk(_) => return,
        };
        if by.is_exact() {
            self.checked.retain(|it| *it != by);
        }
    }

    /// Everything in the order of ids.
    fn walk_objects(&mut self, narrowed: Option<&Condition>) -> Result<(), StoreError> {
        let kind = self.query.kind;
        let (mut first, mut last) = (0, u128::MAX);
        if let Some(Condition { test: Test::Range(span), .. }) = narrowed {
            // Times are in the ids to the millisecond; the rest is looked at again.
            first = index::ms_of(&span.start).map_or(0, first_id_at);
            last =
                index::ms_of(&span.end).map_or(u128::MAX, |ms| first_id_at(ms.saturating_add(1)));
        }
        match (&self.query.from, self.in_reverse()) {
            (Some(from), false) => first = first.max(from.id.saturating_add(1)),
            (Some(from), true) => last = last.min(from.id.saturating_sub(1)),
            (None, _) => {}
        }
        if first > last {
            return Ok(());
        }
        let rows = self.objects.range((kind, first)..=(kind, last))?;
        let rows: &mut dyn Iterator<Item = _> =
            if self.in_reverse() { &mut rows.rev() } else { &mut { rows } };
        for row in rows {
            let (key, value) = row?;
            let id = key.value().1;
            let object = read_object(ObjectKey { kind, id }, value.value())?;
            let position = Position { value: Vec::new(), id };
            if self.take(position, object)?.is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Everything in the order of a field.
    fn walk_index(&mut self, field: u16, narrowed: Option<&Condition>) -> Result<(), StoreError> {
        let kind = self.query.kind;
        let head = index::field_start(kind, field);
        let (mut start, mut end) = match narrowed {
            Some(Condition { test: Test::Range(span), .. }) => {
                ([head.as_slice(), &span.start].concat(), [head.as_slice(), &span.end].concat())
            }
            Some(_) | None => (head.clone(), index::after(head)),
        };
        if let Some(from) = &self.query.from {
            let mut at = index::row(ObjectKey { kind, id: from.id }, field, &from.value);
            if self.in_reverse() {
                end = end.min(at);
            } else {
                // The next row there could be.
                at.push(0);
                start = start.max(at);
            }
        }
        if start >= end {
            return Ok(());
        }
        let rows = self.index.range(start.as_slice()..end.as_slice())?;
        let rows: &mut dyn Iterator<Item = _> =
            if self.in_reverse() { &mut rows.rev() } else { &mut { rows } };
        for row in rows {
            let row = row?.0;
            let (value, id) = parts(row.value())?;
            let object = self.object(id)?;
            // An object with several values stands at one of them.
            if field >= FIRST_OWN
                && sort_value(&self.query.sort, &object, &fields(&object)?) != value
            {
                self.looked_at += 1;
                if self.looked_at >= self.most_looked_at {
                    self.stopped_at = Some(Position { value: value.to_vec(), id });
                    break;
                }
                continue;
            }
            let position = Position { value: value.to_vec(), id };
            if self.take(position, object)?.is_break() {
                break;
            }
        }
        Ok(())
    }

    /// The rows of several values side by side, in the order of ids.
    fn merge(&mut self, condition: &Condition) -> Result<(), StoreError> {
        let from = self.query.from.as_ref().map(|it| it.id);
        let in_reverse = self.in_reverse();
        let mut sides = Vec::new();
        for (start, end) in rows_of(condition, self.query.kind) {
            let value = start.clone();
            let (mut start, mut end) = (start, end);
            match (from, in_reverse) {
                (Some(from), false) => {
                    start = [value.as_slice(), &from.saturating_add(1).to_be_bytes()].concat();
                }
                (Some(from), true) => end = [value.as_slice(), &from.to_be_bytes()].concat(),
                (None, _) => {}
            }
            if start < end {
                let rows = self.index.range(start.as_slice()..end.as_slice())?;
                let mut side = Side { rows, in_reverse, next: None };
                side.advance()?;
                sides.push(side);
            }
        }
        loop {
            let ids = sides.iter().filter_map(|it| it.next);
            let Some(id) = (if in_reverse { ids.max() } else { ids.min() }) else { return Ok(()) };
            for side in sides.iter_mut().filter(|it| it.next == Some(id)) {
                side.advance()?;
            }
            let object = self.object(id)?;
            let position = Position { value: Vec::new(), id };
            if self.take(position, object)?.is_break() {
                return Ok(());
            }
        }
    }

    /// All of these, put in order.
    fn gather(
        &mut self,
        ids: impl IntoIterator<Item = Result<u128, StoreError>>,
    ) -> Result<(), StoreError> {
        let mut seen = HashSet::new();
        for id in ids {
            let id = id?;
            if !seen.insert(id) {
                continue;
            }
            // What a caller names need not be there.
            let Some(object) = self.find(id)? else { continue };
            let fields = fields(&object)?;
            if !self.is_wanted(&object, &fields) {
                continue;
            }
            let position = Position { value: sort_value(&self.query.sort, &object, &fields), id };
            let is_on_page = match (&self.query.from, self.in_reverse()) {
                (Some(from), false) => position > *from,
                (Some(from), true) => position < *from,
                (None, _) => true,
            };
            if is_on_page {
                self.found.push((position, object));
            }
            if self.found.len() > 4 * self.wanted() {
                self.put_in_order();
            }
        }
        self.put_in_order();
        let mut bytes = 0;
        let fits = self.found.iter().take_while(|(_, object)| {
            let fits = bytes < MOST_BYTES;
            bytes += object.fields.len();
            fits
        });
        let fits = fits.count();
        if fits < self.found.len() {
            self.found.truncate(fits);
            self.stopped_at = self.found.last().map(|it| it.0.clone());
        }
        Ok(())
    }

    fn put_in_order(&mut self) {
        self.found.sort_by(|a, b| a.0.cmp(&b.0));
        if self.in_reverse() {
            self.found.reverse();
        }
        self.found.truncate(self.wanted());
    }

    /// Looks at the next object in order.
    fn take(
        &mut self,
        position: Position,
        object: StoredObject,
    ) -> Result<ControlFlow<()>, StoreError> {
        self.looked_at += 1;
        let is_wanted = self.checked.is_empty() || self.is_wanted(&object, &fields(&object)?);
        let at = position.clone();
        if is_wanted {
            self.bytes += object.fields.len();
            self.found.push((position, object));
        }
        if self.found.len() == self.wanted() {
            return Ok(ControlFlow::Break(()));
        }
        if self.looked_at >= self.most_looked_at || self.bytes >= MOST_BYTES {
            self.stopped_at = Some(at);
            return Ok(ControlFlow::Break(()));
        }
        Ok(ControlFlow::Continue(()))
    }

    fn is_wanted(&self, object: &StoredObject, fields: &Value) -> bool {
        let id = text_of(&self.query.id_prefix, object.key.id);
        self.checked.iter().all(|it| it.holds(object.key, &id, &object.head, fields))
    }

    fn find(&self, id: u128) -> Result<Option<StoredObject>, StoreError> {
        let key = ObjectKey { kind: self.query.kind, id };
        let row = self.objects.get((key.kind, id))?;
        row.map(|it| read_object(key, it.value())).transpose()
    }

    /// An object that is in the index.
    fn object(&self, id: u128) -> Result<StoredObject, StoreError> {
        self.find(id)?.ok_or_else(|| StoreError::corrupt("a row of the index without its object"))
    }

    fn finish(mut self) -> ObjectPage {
        let query = self.query;
        let mut more = self.stopped_at.take();
        if self.found.len() > query.limit {
            self.found.truncate(query.limit);
            more = self.found.last().map(|it| it.0.clone());
        }
        // What is behind the reader: where the first object is, or where he came from.
        let behind = match self.found.first() {
            Some((first, _)) => query.from.is_some().then(|| first.clone()),
            None => query.from.clone(),
        };
        if query.backwards {
            self.found.reverse();
        }
        let (before, after) = if query.backwards { (more, behind) } else { (behind, more) };
        ObjectPage { rows: self.found.into_iter().map(|it| it.1).collect(), before, after }
    }

    /// How many rows a condition has, up to a bound.
    fn count(&self, condition: &Condition, most: u64) -> Result<u64, StoreError> {
        let mut count = 0;
        for (start, end) in rows_of(condition, self.query.kind) {
            for row in self.index.range(start.as_slice()..end.as_slice())? {
                row?;
                count += 1;
                if count >= most {
                    return Ok(count);
                }
            }
        }
        Ok(count)
    }

    /// The ids in the rows of a condition.
    fn ids_of(&self, condition: &Condition) -> Result<Vec<Result<u128, StoreError>>, StoreError> {
        let mut ids = Vec::new();
        for (start, end) in rows_of(condition, self.query.kind) {
            for row in self.index.range(start.as_slice()..end.as_slice())? {
                ids.push(Ok(parts(row?.0.value())?.1));
            }
        }
        Ok(ids)
    }

    fn count_all(&mut self, plan: &Plan) -> Result<Counted, StoreError> {
        self.leave_out(plan);
        let query = self.query;
        let mut counted = Counted { count: 0, is_exact: true };
        let by = match plan {
            Plan::Named(at) => {
                for id in named(&query.conditions[*at], query) {
                    let found = self.find(id)?;
                    if let Some(object) = found
                        && self.is_wanted(&object, &fields(&object)?)
                    {
                        counted.count += 1;
                    }
                }
                return Ok(counted);
            }
            Plan::Gather(at) | Plan::Merge(at) => Some(&query.conditions[*at]),
            Plan::Walk(_) => None,
        };
        let Some(by) = by else {
            let rows = self.objects.range((query.kind, 0)..=(query.kind, u128::MAX))?;
            for (looked_at, row) in (0..).zip(rows) {
                if looked_at == MOST_LOOKED_AT_TO_COUNT {
                    counted.is_exact = false;
                    break;
                }
                let (key, value) = row?;
                let object =
                    read_object(ObjectKey { kind: query.kind, id: key.value().1 }, value.value())?;
                counted.count += u64::from(self.is_wanted(&object, &fields(&object)?));
            }
            return Ok(counted);
        };
        let most =
            if self.checked.is_empty() { MOST_ROWS_TO_COUNT } else { MOST_LOOKED_AT_TO_COUNT };
        let mut seen = HashSet::new();
        for (start, end) in rows_of(by, query.kind) {
            for row in self.index.range(start.as_slice()..end.as_slice())? {
                if seen.len() as u64 == most {
                    counted.is_exact = false;
                    return Ok(counted);
                }
                let id = parts(row?.0.value())?.1;
                if !seen.insert(id) {
                    continue;
                }
                if !self.checked.is_empty() {
                    let object = self.object(id)?;
                    if !self.is_wanted(&object, &fields(&object)?) {
                        continue;
                    }
                }
                counted.count += 1;
            }
        }
        Ok(counted)
    }
}

/// The rows of one value in the order of ids.
struct Side {
    rows: Range<'static, &'static [u8], ()>,
    in_reverse: bool,
    next: Option<u128>,
}

impl Side {
    fn advance(&mut self) -> Result<(), StoreError> {
        let row = if self.in_reverse { self.rows.next_back() } else { self.rows.next() };
        self.next = match row {
            Some(row) => Some(parts(row?.0.value())?.1),
            None => None,
        };
        Ok(())
    }
}

/// Where in the index the objects are for which a condition may hold.
fn rows_of(condition: &Condition, kind: u32) -> Vec<Rows> {
    let Place::Index(field) = condition.column.place else { return Vec::new() };
    let head = index::field_start(kind, field);
    match &condition.test {
        Test::AnyOf(operands) => {
            let mut values: Vec<&[u8]> = operands.iter().map(|it| it.cut.as_slice()).collect();
            values.sort_unstable();
            values.dedup();
            let rows = values.into_iter().map(|value| {
                let start = [head.as_slice(), value].concat();
                let end = index::after(start.clone());
                (start, end)
            });
            rows.collect()
        }
        Test::Range(span) => {
            let rows =
                ([head.as_slice(), &span.start].concat(), [head.as_slice(), &span.end].concat());
            if rows.0 < rows.1 { vec![rows] } else { Vec::new() }
        }
        Test::NoneOf(_) => Vec::new(),
    }
}

/// The ids that a condition names.
fn named(condition: &Condition, query: &Query) -> Vec<u128> {
    let Test::AnyOf(operands) = &condition.test else { return Vec::new() };
    let texts = operands.iter().filter_map(|it| index::text_in(&it.whole));
    let ids = texts.filter_map(|text| {
        let (prefix, id) = parts_of(&text)?;
        (prefix == query.id_prefix).then_some(id)
    });
    let mut ids: Vec<u128> = ids.collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

fn parts(row: &[u8]) -> Result<(&[u8], u128), StoreError> {
    index::parts(row).ok_or_else(|| StoreError::corrupt("a row of the index that is too short"))
}

fn fields(object: &StoredObject) -> Result<Value, StoreError> {
    serde_json::from_slice(&object.fields)
        .map_err(|error| StoreError::corrupt(format!("unreadable fields of an object: {error}")))
}
