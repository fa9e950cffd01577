//! `views.*`: saved questions about objects, and their answers as tables.
//!
//! A view is judged against its type when it is saved, and again when it is run: the type may have
//! changed or gone since, and then it says so. Must never read objects in a way of its own: it is a
//! list like any other, with the rights of whoever runs it.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use super::Api;
use super::error::{ApiError, Code};
use super::lists::{Paging, cursor, time};
use super::object_rights::{Granted, granted};
use super::objects::{self, Mode, OneOrMore};
use super::rights::Caller;
use super::versions::Done;
use crate::engine::objects::ObjectError;
use crate::model::id::ViewId;
use crate::model::object_type::Origin;
use crate::model::view::{Column, StoredView, View};
use crate::objects::FieldProblem;
use crate::objects::view as rules;
use crate::store::{MOST_VIEWS, ViewChange};

/// A column of a view.
#[derive(Deserialize, Serialize, JsonSchema)]
#[schemars(rename = "ViewColumn")]
#[serde(deny_unknown_fields)]
pub(super) struct ShownColumn {
    /// Where its values are in an object as it is shown, such as `owned_by.display_name`.
    path: String,
    /// What stands above it; its path when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    title: Option<String>,
}

impl From<Column> for ShownColumn {
    fn from(Column { path, title }: Column) -> ShownColumn {
        ShownColumn { path, title }
    }
}

impl From<ShownColumn> for Column {
    fn from(ShownColumn { path, title }: ShownColumn) -> Column {
        Column { path, title }
    }
}

/// A saved question about the objects of one type.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "View")]
pub(super) struct ShownView {
    id: String,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    /// Name of the type whose objects it shows.
    object_type: String,
    filter: Map<String, Value>,
    sort_by: Vec<String>,
    columns: Vec<ShownColumn>,
    /// Packages that declare it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    packages: Vec<String>,
    created_date: String,
    created_by: String,
    modified_date: String,
    modified_by: String,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct OneView {
    view: ShownView,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct ManyViews {
    views: Vec<ShownView>,
    next_cursor: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "ViewsCreate")]
#[serde(deny_unknown_fields)]
pub(super) struct Create {
    /// Unique on the host: 1 to 64 characters of a-z, 0-9, `-`, `_`, `.`.
    name: String,
    #[serde(default)]
    title: Option<String>,
    #[serde(default)]
    description: Option<String>,
    /// Name of the type whose objects it shows, such as `work`.
    object_type: String,
    /// Which of them, as in `works.list`: only indexed fields can be filtered by.
    #[serde(default)]
    filter: Map<String, Value>,
    /// In which order, as in `works.list`: `["modified_date:desc"]`.
    #[serde(default)]
    sort_by: Vec<String>,
    /// What of each is shown; what says which object it is when absent.
    #[serde(default)]
    columns: Vec<ShownColumn>,
}

/// What is absent stays as it is.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "ViewsUpdate")]
#[serde(deny_unknown_fields)]
pub(super) struct Update {
    /// Id or name.
    id: String,
    #[serde(default)]
    name: Option<String>,
    /// Null for none.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "Option<String>")]
    title: Option<Option<String>>,
    /// Null for none.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "Option<String>")]
    description: Option<Option<String>>,
    #[serde(default)]
    object_type: Option<String>,
    #[serde(default)]
    filter: Option<Map<String, Value>>,
    #[serde(default)]
    sort_by: Option<Vec<String>>,
    #[serde(default)]
    columns: Option<Vec<ShownColumn>>,
}

/// Null is something that was sent.
fn given<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(from).map(Some)
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "ViewsWhich")]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    /// Id or name.
    id: String,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "ViewsList")]
pub(super) struct List {
    /// Only those of this type of objects.
    #[serde(default)]
    object_type: Option<String>,
    #[serde(flatten)]
    paging: Paging,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "ViewsRun")]
#[serde(deny_unknown_fields)]
pub(super) struct Run {
    /// Id or name.
    id: String,
    /// At most so many; 50 when absent, 100 at most.
    #[serde(default)]
    limit: Option<usize>,
    /// The `next_cursor` or `prev_cursor` of another page.
    #[serde(default)]
    cursor: Option<String>,
    /// `after` the cursor, or `before` it.
    #[serde(default)]
    mode: Option<Mode>,
}

/// One object in the table of a view.
#[derive(Serialize, JsonSchema)]
pub(super) struct Row {
    id: Value,
    #[serde(skip_serializing_if = "Value::is_null")]
    display_id: Value,
    /// One for each column: what is at its path, a list where lists are on the way, null for nothing.
    cells: Vec<Value>,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Ran {
    view: ShownView,
    /// What is shown, also when the view names no columns.
    columns: Vec<ShownColumn>,
    rows: Vec<Row>,
    next_cursor: Option<String>,
    prev_cursor: Option<String>,
    /// What the view asks for and its type does not have any more.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

fn shown(id: ViewId, stored: StoredView) -> ShownView {
    let StoredView { view, origin, created_ms, created_by, modified_ms, modified_by } = stored;
    ShownView {
        id: id.to_string(),
        name: view.name,
        title: view.title,
        description: view.description,
        object_type: view.object_type,
        filter: view.filter,
        sort_by: view.sort_by,
        columns: view.columns.into_iter().map(ShownColumn::from).collect(),
        packages: origin.packages.iter().map(ToString::to_string).collect(),
        created_date: time(created_ms),
        created_by,
        modified_date: time(modified_ms),
        modified_by,
    }
}

/// Whether a caller may look at views of a type: he sees its objects. Of a type that is gone, only who
/// sees all.
fn is_seen(api: &Api, granted: &Granted, view: &View) -> bool {
    match api.objects.find_type(&view.object_type) {
        Ok(kind) => granted.shows(&kind),
        Err(_) => matches!(granted, Granted::All),
    }
}

/// A view by id or name, for a caller who may look at it.
fn find_for(api: &Api, caller: &Caller, text: &str) -> Result<(ViewId, StoredView), ApiError> {
    let found = find(api, text)?;
    match is_seen(api, &granted(api, caller)?, &found.1.view) {
        true => Ok(found),
        false => Err(ApiError::not_found("view", text)),
    }
}

/// A view by id or name.
fn find(api: &Api, text: &str) -> Result<(ViewId, StoredView), ApiError> {
    let found = api.services.store.read(|tables| {
        let id = match text.parse::<ViewId>() {
            Ok(id) => Some(id),
            Err(_) => tables.view_by_name(text)?,
        };
        Ok(match id {
            Some(id) => tables.view(id)?.map(|it| (id, it)),
            None => None,
        })
    })?;
    found.ok_or_else(|| ApiError::not_found("view", text))
}

pub(super) async fn create(
    api: Arc<Api>,
    caller: Caller,
    create: Create,
) -> Result<OneView, ApiError> {
    let view = View {
        name: create.name,
        title: create.title,
        description: create.description,
        object_type: create.object_type,
        filter: create.filter,
        sort_by: create.sort_by,
        columns: create.columns.into_iter().map(Column::from).collect(),
    };
    api.objects.check_view(&view).await?;
    let now_ms = api.services.clock.now_ms();
    let stored = StoredView {
        view,
        origin: Origin { admin: true, packages: Vec::new() },
        created_ms: now_ms,
        created_by: caller.principal.name(),
        modified_ms: now_ms,
        modified_by: caller.principal.name(),
    };
    let new = stored.clone();
    let change = api.services.store.write(move |tables| tables.create_view(&new)).await?;
    Ok(OneView { view: shown(written(change, &stored.view)?, stored) })
}

pub(super) async fn update(
    api: Arc<Api>,
    caller: Caller,
    update: Update,
) -> Result<OneView, ApiError> {
    let (id, seen) = find(&api, &update.id)?;
    let before = seen.view.clone();
    let view = View {
        name: update.name.unwrap_or(before.name),
        title: update.title.unwrap_or(before.title),
        description: update.description.unwrap_or(before.description),
        object_type: update.object_type.unwrap_or(before.object_type),
        filter: update.filter.unwrap_or(before.filter),
        sort_by: update.sort_by.unwrap_or(before.sort_by),
        columns: match update.columns {
            Some(columns) => columns.into_iter().map(Column::from).collect(),
            None => before.columns,
        },
    };
    api.objects.check_view(&view).await?;
    let stored = StoredView {
        view,
        modified_ms: api.services.clock.now_ms(),
        modified_by: caller.principal.name(),
        ..seen.clone()
    };
    let new = stored.clone();
    let change =
        api.services.store.write(move |tables| tables.replace_view(id, &seen, &new)).await?;
    Ok(OneView { view: shown(written(change, &stored.view)?, stored) })
}

pub(super) async fn get(api: Arc<Api>, caller: Caller, which: Which) -> Result<OneView, ApiError> {
    let (id, stored) = find_for(&api, &caller, &which.id)?;
    Ok(OneView { view: shown(id, stored) })
}

pub(super) async fn list(api: Arc<Api>, caller: Caller, list: List) -> Result<ManyViews, ApiError> {
    let granted = granted(&api, &caller)?;
    let page = list.paging.oldest_first()?;
    let object_type = list.object_type.as_deref();
    let page = api.services.store.read(|tables| tables.list_views(page, object_type))?;
    let seen = page.rows.into_iter().filter(|(_, it)| is_seen(&api, &granted, &it.view));
    let views = seen.map(|(id, it)| shown(id, it)).collect();
    Ok(ManyViews { views, next_cursor: cursor(page.next) })
}

pub(super) async fn delete(api: Arc<Api>, _: Caller, which: Which) -> Result<Done, ApiError> {
    let (id, _) = find(&api, &which.id)?;
    match api.services.store.write(move |tables| tables.delete_view(id)).await? {
        true => Ok(Done {}),
        false => Err(ApiError::not_found("view", &which.id)),
    }
}

/// What became of writing a view.
fn written(change: ViewChange, view: &View) -> Result<ViewId, ApiError> {
    let conflict = |message: String| Err(ApiError::new(Code::Conflict, message));
    match change {
        ViewChange::Done(id) => Ok(id),
        ViewChange::NameTaken(other) => {
            conflict(format!("view {other} has the name `{}` already", view.name))
        }
        ViewChange::NoSuchView => Err(ApiError::not_found("view", &view.name)),
        ViewChange::Changed => {
            conflict(format!("view `{}` was changed by another call; try again", view.name))
        }
        ViewChange::TooMany => {
            conflict(format!("there are {MOST_VIEWS} views already: delete one that nobody needs"))
        }
    }
}

pub(super) async fn run(api: Arc<Api>, caller: Caller, run: Run) -> Result<Ran, ApiError> {
    let (id, stored) = find_for(&api, &caller, &run.id)?;
    let view = &stored.view;
    let kind = api.objects.find_type(&view.object_type).map_err(|error| gone(view, &error))?;
    // It was right when it was saved; what is wrong now has come with a change of its type.
    let (filter, sort_by) = (view.filter.clone(), view.sort_by.as_slice());
    match api.objects.check_listing(&view.object_type, filter.clone(), sort_by).await {
        Ok(()) => {}
        Err(error @ ObjectError::Query(_)) => return Err(gone(view, &error)),
        Err(other) => return Err(other.into()),
    }
    let list = objects::List {
        object_type: view.object_type.clone(),
        filter: Some(Value::Object(filter)),
        sort_by: (!sort_by.is_empty()).then(|| OneOrMore::More(sort_by.to_vec())),
        limit: run.limit,
        cursor: run.cursor,
        mode: run.mode,
    };
    let page = objects::page_of(&api, &caller, &kind, list, None).await?;
    let warnings = rules::wrong_columns(view, kind.current());
    let warnings: Vec<String> = warnings.iter().map(FieldProblem::line).collect();
    let columns = rules::shown_columns(view, kind.current());
    let row = |object: Value| Row {
        id: object["id"].clone(),
        display_id: object["display_id"].clone(),
        cells: columns.iter().map(|it| rules::cell(&object, &it.path)).collect(),
    };
    Ok(Ran {
        rows: page.objects.into_iter().map(row).collect(),
        next_cursor: page.next_cursor,
        prev_cursor: page.prev_cursor,
        warnings,
        columns: columns.into_iter().map(ShownColumn::from).collect(),
        view: shown(id, stored),
    })
}

/// A view that its type has left behind.
fn gone(view: &View, error: &ObjectError) -> ApiError {
    let message = format!(
        "the view `{}` cannot be run: its type `{}` has changed or is gone since it was saved: \
         {error}; change the view with views.update, or delete it",
        view.name, view.object_type
    );
    ApiError::new(Code::Conflict, message)
}
