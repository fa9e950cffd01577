//! Lists and counts: from what a caller asks for to a query, and its rows as they are shown.

use serde_json::{Map, Value};

use super::prepare::reference_in_filter;
use super::view::Shower;
use super::{Catalog, KnownType, ObjectError, Objects, Sight};
use crate::model::object_type::Targets;
use crate::objects::cursor::{self, Way};
use crate::objects::filter::{self, QueryProblem, Written, unknown};
use crate::objects::query::{Column, Counted, Query, Sort};
use crate::objects::wire::filter::{WrongFilter, flatten};
use crate::store::{ReadTables, StoreError};

/// Filters that are all to hold, each with where it stands in the request and how its values are
/// written.
pub type Filters = Vec<(String, Map<String, Value>, Written)>;

/// What a caller asks for.
#[derive(Clone, Debug)]
pub struct Listing {
    /// Name or plural of the type.
    pub object_type: String,
    /// What must hold.
    pub filters: Filters,
    /// `field`, `field:asc`, `field:desc` or `-field`; none: oldest first.
    pub sort_by: Vec<String>,
    /// At most so many.
    pub limit: usize,
    /// Where to go on.
    pub cursor: Option<String>,
    /// Which way, where that is not what the cursor says.
    pub way: Option<Way>,
}

/// A page of a list, as it is shown.
#[derive(Clone, Debug)]
pub struct Page {
    /// The objects.
    pub objects: Vec<Value>,
    /// Where the next page begins.
    pub next_cursor: Option<String>,
    /// Where the page before ends.
    pub prev_cursor: Option<String>,
}

/// What is counted.
#[derive(Clone, Debug)]
pub struct Counting {
    /// Name or plural of the type.
    pub object_type: String,
    /// What must hold.
    pub filters: Filters,
}

impl Objects {
    /// A page of objects.
    pub async fn list(&self, listing: Listing, sight: Sight) -> Result<Page, ObjectError> {
        let (catalog, kind) = self.at(&listing.object_type)?;
        let sort = sort_of(&listing.sort_by, kind.columns()).map_err(ObjectError::Query)?;
        let name = kind.current().name.clone();
        let cursor = listing.cursor.as_deref().map(|it| cursor::read(it, &name, &sort));
        let (way, from) = match cursor {
            None => (listing.way.unwrap_or(Way::Forward), None),
            Some(Some((way, position))) => (listing.way.unwrap_or(way), Some(position)),
            Some(None) => {
                return Err(ObjectError::Query(QueryProblem {
                    field: "cursor".to_owned(),
                    message: "cursor is none of this list: send the next_cursor or prev_cursor of \
                              a page that was sorted the same way"
                        .to_owned(),
                    allowed: Vec::new(),
                }));
            }
        };
        let page = self
            .read(move |tables| {
                let conditions = conditions(tables, &catalog, &kind, &listing.filters)?;
                let conditions = match conditions {
                    Ok(conditions) => conditions,
                    Err(problem) => return Ok(Err(problem)),
                };
                let query = Query {
                    kind: kind.number,
                    id_prefix: kind.current().id_prefix.clone(),
                    conditions,
                    sort: sort.clone(),
                    limit: listing.limit,
                    from,
                    backwards: way == Way::Backward,
                };
                let page = tables.list_objects(&query)?;
                let mut shower = Shower::new(tables, &catalog, &sight);
                let objects = page.rows.iter().map(|it| shower.object(&kind, it));
                Ok(Ok(Page {
                    objects: objects.collect::<Result<_, _>>()?,
                    next_cursor: page
                        .after
                        .map(|it| cursor::write(&name, &sort, Way::Forward, &it)),
                    prev_cursor: page
                        .before
                        .map(|it| cursor::write(&name, &sort, Way::Backward, &it)),
                }))
            })
            .await?;
        page.map_err(ObjectError::Query)
    }

    /// Whether objects of a type can be listed so; what is wrong otherwise.
    pub async fn check_listing(
        &self,
        object_type: &str,
        filter: Map<String, Value>,
        sort_by: &[String],
    ) -> Result<(), ObjectError> {
        let (catalog, kind) = self.at(object_type)?;
        sort_of(sort_by, kind.columns()).map_err(ObjectError::Query)?;
        let filters = [("filter".to_owned(), filter, Written::Json)];
        let looked = self.read(move |tables| conditions(tables, &catalog, &kind, &filters)).await?;
        looked.map(drop).map_err(ObjectError::Query)
    }

    /// How many objects there are.
    pub async fn count(&self, counting: Counting) -> Result<Counted, ObjectError> {
        let (catalog, kind) = self.at(&counting.object_type)?;
        let counted = self
            .read(move |tables| {
                let conditions = conditions(tables, &catalog, &kind, &counting.filters)?;
                let conditions = match conditions {
                    Ok(conditions) => conditions,
                    Err(problem) => return Ok(Err(problem)),
                };
                let query = Query {
                    kind: kind.number,
                    id_prefix: kind.current().id_prefix.clone(),
                    conditions,
                    sort: Sort::by_age(),
                    limit: usize::MAX,
                    from: None,
                    backwards: false,
                };
                tables.count_objects(&query).map(Ok)
            })
            .await?;
        counted.map_err(ObjectError::Query)
    }
}

/// The conditions of several filters together.
fn conditions(
    tables: &ReadTables,
    catalog: &Catalog,
    kind: &KnownType,
    filters: &[(String, Map<String, Value>, Written)],
) -> Result<Result<Vec<crate::objects::query::Condition>, QueryProblem>, StoreError> {
    let mut resolve = |column: &Column, value: &Value| {
        let targets = kind.current().references.get(&column.path);
        match targets {
            Some(targets) => reference_in_filter(tables, catalog, targets, value),
            // Also objects of this type have ids that people write otherwise.
            None if column.path == "id" => {
                let own = Targets::One(kind.current().name.clone());
                reference_in_filter(tables, catalog, &own, value)
            }
            None => Ok(value.clone()),
        }
    };
    let mut conditions = Vec::new();
    for (place, filter, written) in filters {
        let flat = match flatten(kind.current(), filter.clone(), *written == Written::Text) {
            Ok(flat) => flat,
            Err(WrongFilter { field, message }) => {
                let field = format!("{place}.{field}").trim_matches('.').to_owned();
                return Ok(Err(QueryProblem { field, message, allowed: Vec::new() }));
            }
        };
        match filter::parse(&flat, place, kind.columns(), *written, &mut resolve) {
            Ok(parsed) => conditions.extend(parsed),
            Err(problem) => return Ok(Err(problem)),
        }
    }
    Ok(Ok(conditions))
}

/// The order that a caller asks for.
fn sort_of(sort_by: &[String], columns: &[Column]) -> Result<Sort, QueryProblem> {
    let problem = |message: String| QueryProblem {
        field: "sort_by".to_owned(),
        message,
        allowed: Vec::new(),
    };
    let text = match sort_by {
        [] => return Ok(Sort::by_age()),
        [one] => one.trim(),
        _ => {
            return Err(problem(
                "sort_by takes one field: within equal values objects are sorted by their age"
                    .to_owned(),
            ));
        }
    };
    let (path, descending) = match (text.strip_prefix('-'), text.rsplit_once(':')) {
        (Some(path), _) => (path, true),
        (None, Some((path, "desc"))) => (path, true),
        (None, Some((path, "asc"))) => (path, false),
        (None, Some((_, other))) => {
            return Err(problem(format!(
                "sort_by is `{text}`: expected `asc` or `desc` after the colon, not `{other}`"
            )));
        }
        (None, None) => (text, false),
    };
    let usable: Vec<Column> = columns.iter().filter(|it| it.has_all()).cloned().collect();
    let column = usable.iter().find(|it| it.path == path);
    let column = column.ok_or_else(|| unknown(path, "sort_by", &usable))?;
    Ok(Sort { column: column.clone(), descending })
}
