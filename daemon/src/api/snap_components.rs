//! `snap-components.*`: pieces of user interface that snap-ins declare. A component is drawn by its
//! initializer or stands in the manifest; what was drawn last is kept for display.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::error::{ApiError, Code};
use super::lists::{Paging, cursor, time};
use super::rights::Caller;
use super::{Api, extent, snap_ins, user_level};
use crate::configuration::suggest::unknown;
use crate::model::actor::Actor;
use crate::model::display::DisplayPlace;
use crate::model::id::SnapInId;
use crate::model::manifest;
use crate::model::run::RunError;
use crate::operations::{self, Called, Drawn, Rendering, action_id};
use crate::snap_kit::Problem;
use crate::store::SnapInRecord;

/// The longest id of an object, in characters.
const LONGEST_OBJECT: usize = 512;

/// A component.
#[derive(Serialize, JsonSchema)]
pub(super) struct Component {
    snap_in: String,
    scope: String,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    display_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    /// Where it can be displayed, such as `issue`.
    #[serde(skip_serializing_if = "Option::is_none")]
    surface: Option<String>,
    /// Id of the action that what people do there is sent to.
    #[serde(skip_serializing_if = "Option::is_none")]
    snap_kit_action: Option<String>,
    /// The function that draws it; absent when its body stands in the manifest.
    #[serde(skip_serializing_if = "Option::is_none")]
    initializer: Option<String>,
}

/// What is displayed.
#[derive(Serialize, JsonSchema)]
pub(super) struct Displayed {
    /// `{"snaps": [...]}`.
    body: Value,
    /// The run that drew it; absent for what stands in the manifest.
    #[serde(skip_serializing_if = "Option::is_none")]
    run: Option<String>,
    displayed_date: String,
}

/// What came of drawing something.
#[derive(Serialize, JsonSchema)]
pub(super) struct Outcome {
    /// The run; absent for what stands in the manifest.
    #[serde(skip_serializing_if = "Option::is_none")]
    run: Option<String>,
    /// `succeeded`, `failed` or `not_run`, which is said of what follows one that failed.
    state: &'static str,
    /// What the function returned.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<serde_json::Value>")]
    result: Option<Box<RawValue>>,
    /// Why there is no result.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<RunError>,
    /// What is displayed from now on; absent when the body has errors or there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    displayed: Option<Displayed>,
    /// What is wrong with the body. One with errors is not displayed.
    problems: Vec<Problem>,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct OneComponent {
    snap_component: Component,
    /// What was drawn last; absent before that.
    #[serde(skip_serializing_if = "Option::is_none")]
    displayed: Option<Displayed>,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct ManyComponents {
    snap_components: Vec<Component>,
    next_cursor: Option<String>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SnapComponentsRendered")]
pub(super) struct Rendered {
    snap_component: Component,
    #[serde(flatten)]
    outcome: Outcome,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "SnapComponentsList")]
pub(super) struct List {
    /// Only those of this snap-in: id or scope.
    #[serde(default)]
    snap_in: Option<String>,
    /// Only those of snap-ins under this prefix of a scope.
    #[serde(default)]
    scope: Option<String>,
    /// Only those for this surface.
    #[serde(default)]
    surface: Option<String>,
    #[serde(flatten)]
    paging: Paging,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "SnapComponentsWhich")]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    /// Id or scope.
    snap_in: String,
    /// Name of the component.
    name: String,
    /// Id of the object beside which it is displayed.
    #[serde(default)]
    object_id: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "SnapComponentsRender")]
#[serde(deny_unknown_fields)]
pub(super) struct Render {
    /// Id or scope; it has to be ACTIVE.
    snap_in: String,
    /// Name of the component.
    name: String,
    /// Id of the object beside which it is displayed.
    #[serde(default)]
    object_id: Option<String>,
    /// Id or name of the user who looks; the caller himself when absent.
    #[serde(default)]
    user: Option<String>,
}

impl Displayed {
    pub(super) fn of(displayed: operations::Displayed) -> Displayed {
        Displayed {
            body: displayed.body.as_value().clone(),
            run: displayed.run.map(|it| it.to_string()),
            displayed_date: time(displayed.displayed_ms),
        }
    }
}

impl Outcome {
    pub(super) fn of(drawn: Drawn) -> Outcome {
        let Drawn { called, displayed, problems } = drawn;
        let displayed = displayed.map(Displayed::of);
        match called {
            Some(Called { run, state, result, error, .. }) => {
                let (run, state) = (Some(run.to_string()), state.name());
                Outcome { run, state, result, error, displayed, problems }
            }
            // Nothing has to succeed for what stands in the manifest.
            None => Outcome {
                run: None,
                state: "succeeded",
                result: None,
                error: None,
                displayed,
                problems,
            },
        }
    }

    /// That nothing was called.
    pub(super) fn without_run(state: &'static str, error: Option<RunError>) -> Outcome {
        let (run, result, displayed, problems) = (None, None, None, Vec::new());
        Outcome { run, state, result, error, displayed, problems }
    }
}

fn shown(snap_in: SnapInId, record: &SnapInRecord, it: &manifest::SnapComponent) -> Component {
    let it = it.clone();
    Component {
        snap_in: snap_in.to_string(),
        scope: record.scope.to_string(),
        name: it.name,
        display_name: it.display_name,
        description: it.description,
        surface: it.surface,
        snap_kit_action: it.snap_kit_action_name.map(|name| action_id(snap_in, &name)),
        initializer: it.initializer,
    }
}

/// The id of an object, as a caller gives it.
pub(super) fn object(text: Option<String>) -> Result<Option<String>, ApiError> {
    let is_odd = |it: &str| {
        it.is_empty() || it.contains(char::is_control) || it.chars().nth(LONGEST_OBJECT).is_some()
    };
    if text.as_deref().is_some_and(is_odd) {
        let message = format!(
            "the id of an object has 1 to {LONGEST_OBJECT} characters, none of them a control \
             character"
        );
        return Err(ApiError::field("object_id", message));
    }
    Ok(text)
}

/// Who looks or acts, as functions are told.
pub(super) async fn actor(
    api: &Api,
    caller: &Caller,
    asked: Option<&str>,
) -> Result<Actor, ApiError> {
    let (user, record) = user_level::person_or_new(api, caller, asked).await?;
    Ok(Actor { user, name: record.name })
}

fn find(
    api: &Api,
    caller: &Caller,
    snap_in: &str,
    name: &str,
) -> Result<(SnapInId, Component), ApiError> {
    let (id, record) = snap_ins::find(api, caller, snap_in)?;
    let version = api.services.contexts.version(record.version)?;
    let version = version.ok_or_else(|| ApiError::not_found("snap-in", snap_in))?;
    let components = &version.manifest.snap_components;
    let found = components.iter().find(|it| it.name == name).ok_or_else(|| {
        let known: Vec<&str> = components.iter().map(|it| it.name.as_str()).collect();
        let message = unknown("snap component", name, known.iter().copied());
        ApiError::new(Code::NotFound, message).allowing(&known)
    })?;
    Ok((id, shown(id, &record, found)))
}

pub(super) async fn list(
    api: Arc<Api>,
    caller: Caller,
    list: List,
) -> Result<ManyComponents, ApiError> {
    let page = list.paging.oldest_first()?;
    let mut all = Vec::new();
    for (id, record) in
        extent::living(&api, &caller, list.snap_in.as_deref(), list.scope.as_deref())?
    {
        let Some(version) = api.services.contexts.version(record.version)? else { continue };
        all.extend(version.manifest.snap_components.iter().map(|it| shown(id, &record, it)));
    }
    all.retain(|it| list.surface.is_none() || it.surface == list.surface);
    all.sort_by(|a, b| (&a.scope, &a.name).cmp(&(&b.scope, &b.name)));
    let (snap_components, next) = extent::page_of(all, page);
    Ok(ManyComponents { snap_components, next_cursor: cursor(next) })
}

pub(super) async fn get(
    api: Arc<Api>,
    caller: Caller,
    which: Which,
) -> Result<OneComponent, ApiError> {
    let (id, snap_component) = find(&api, &caller, &which.snap_in, &which.name)?;
    let place = DisplayPlace::Component { name: which.name, object: object(which.object_id)? };
    let displayed = api.operations.displayed(id, &place)?.map(Displayed::of);
    Ok(OneComponent { snap_component, displayed })
}

pub(super) async fn render(
    api: Arc<Api>,
    caller: Caller,
    render: Render,
) -> Result<Rendered, ApiError> {
    let (snap_in, snap_component) = find(&api, &caller, &render.snap_in, &render.name)?;
    let place = DisplayPlace::Component { name: render.name, object: object(render.object_id)? };
    let actor = actor(&api, &caller, render.user.as_deref()).await?;
    let (ordered_by, cause) = (caller.principal.name(), caller.cause);
    let rendering = Rendering { snap_in, place, actor, ordered_by, cause };
    let outcome = Outcome::of(api.operations.render(rendering).await?);
    Ok(Rendered { snap_component, outcome })
}
