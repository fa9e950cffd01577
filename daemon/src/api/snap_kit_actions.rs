//! `snap-kit-action.execute.deferred`: what people do with what is displayed is handed to a function
//! of the snap-in, and what it answers is displayed in its place.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::error::{ApiError, Code};
use super::lists::time;
use super::rights::Caller;
use super::snap_components::{Outcome, actor, object};
use super::{Api, configuration_pages::PageLevel, snap_ins};
use crate::model::display::DisplayPlace;
use crate::operations::{Pressed, Pressing, Reaction};
use crate::snap_kit::{self, Body, Surroundings};

/// So many at once.
const MOST_ACTIONS: usize = 5;
/// Between the snap-in and the name in an id.
const IN_IDS: &str = "/snap-kit-actions/";

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "SnapKitActionsExecute")]
#[serde(deny_unknown_fields)]
pub(super) struct Execute {
    /// Of the action: `<snap-in>/snap-kit-actions/<name>`, where the snap-in is an id or scope.
    id: String,
    /// What was done, 1 to 5, in that order. What follows one that failed is not done.
    actions: Vec<Action>,
    /// What was displayed: `{"snaps": [...]}`; what is kept for that place when absent.
    #[serde(default)]
    body: Option<Value>,
    /// In what it was displayed.
    #[serde(default)]
    context: Context,
    /// Where in the snap-in it was displayed, when that is a component or a page.
    #[serde(default)]
    from: From,
    /// Id or name of the user who acts; the caller himself when absent.
    #[serde(default)]
    user: Option<String>,
}

/// What somebody pressed, chose or sent. What is absent is taken from what is displayed.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Action {
    /// Action id of the element.
    #[serde(default)]
    id: Option<String>,
    /// The same, by its other name.
    #[serde(default)]
    action_id: Option<String>,
    #[serde(default)]
    block_id: Option<String>,
    /// Type of the element, such as `button`.
    #[serde(default, rename = "type")]
    kind: Option<String>,
    /// `remote` or `client`; it is not handed on.
    #[serde(default, rename = "action_type")]
    _action_type: Option<String>,
    /// When; now when absent.
    #[serde(default)]
    timestamp: Option<Value>,
    /// What was chosen or filled in; of a form, the values by action id.
    #[serde(default)]
    value: Option<Value>,
}

/// In what a body is displayed.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Context {
    /// The object beside which a component is displayed.
    #[serde(default)]
    object_id: Option<String>,
    /// The entry of a timeline.
    #[serde(default)]
    entry_id: Option<String>,
    /// The object of that timeline.
    #[serde(default)]
    parent_core_object_id: Option<String>,
}

/// Where in the snap-in it is displayed: one of these, or neither.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct From {
    /// Name of a component.
    #[serde(default)]
    snap_component: Option<String>,
    /// The page on which the snap-in is configured; it need not be ACTIVE then.
    #[serde(default)]
    configuration_page: Option<PageLevel>,
}

/// What came of one of them.
#[derive(Serialize, JsonSchema)]
pub(super) struct Reacted {
    /// Action id of the element.
    action_id: String,
    #[serde(flatten)]
    outcome: Outcome,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SnapKitActionsExecuted")]
pub(super) struct Executed {
    /// In the order of the actions.
    results: Vec<Reacted>,
}

pub(super) async fn execute(
    api: Arc<Api>,
    caller: Caller,
    execute: Execute,
) -> Result<Executed, ApiError> {
    let Some((snap_in, name)) = execute.id.rsplit_once(IN_IDS) else {
        let message = format!("`id` is that of a snap-kit action: `<snap-in>{IN_IDS}<name>`");
        return Err(ApiError::field("id", message));
    };
    let (snap_in, _) = snap_ins::find(&api, &caller, snap_in)?;
    let pressed = pressed(execute.actions, &time(api.services.clock.now_ms()))?;
    let body = execute.body.map(given_body).transpose()?;
    let ids: Vec<String> = pressed.iter().map(|it| it.id.clone()).collect();
    let actor = actor(&api, &caller, execute.user.as_deref()).await?;
    let Context { object_id, entry_id, parent_core_object_id } = execute.context;
    let object_id = object(object_id)?;
    let entry_id = object(entry_id)?;
    let mut context = Map::new();
    for (key, value) in [
        ("object_id", &object_id),
        ("entry_id", &entry_id),
        ("parent_core_object_id", &object(parent_core_object_id)?),
    ] {
        context.extend(value.as_ref().map(|it| (key.to_owned(), json!(it))));
    }
    let place = match (execute.from.snap_component, execute.from.configuration_page) {
        (Some(_), Some(_)) => {
            let message = "`from` is a component or a page, and cannot be both";
            return Err(ApiError::field("from", message));
        }
        (Some(name), None) => DisplayPlace::Component { name, object: object_id },
        (None, Some(level)) => level.place(&actor),
        (None, None) => {
            DisplayPlace::Action { name: name.to_owned(), object: entry_id.or(object_id) }
        }
    };
    let pressing = Pressing {
        snap_in,
        action: name.to_owned(),
        place,
        context,
        body,
        pressed,
        actor,
        ordered_by: caller.principal.name(),
        cause: caller.cause,
    };
    let reactions = api.operations.press(pressing).await?;
    let results = ids.into_iter().zip(reactions);
    let results = results.map(|(action_id, it)| Reacted { action_id, outcome: outcome(it) });
    Ok(Executed { results: results.collect() })
}

fn outcome(reaction: Reaction) -> Outcome {
    let error = reaction.error();
    match reaction {
        Reaction::Called(drawn) => Outcome::of(*drawn),
        Reaction::Refused(_) => Outcome::without_run("failed", error),
        Reaction::NotRun => Outcome::without_run("not_run", None),
    }
}

fn pressed(actions: Vec<Action>, now: &str) -> Result<Vec<Pressed>, ApiError> {
    if !(1..=MOST_ACTIONS).contains(&actions.len()) {
        let message = format!("{} actions: send 1 to {MOST_ACTIONS} in one request", actions.len());
        return Err(ApiError::field("actions", message));
    }
    let one = |(index, it): (usize, Action)| {
        let ids = [it.action_id, it.id];
        let Some(id) = ids.into_iter().flatten().find(|id| !id.is_empty()) else {
            let message = "it needs the `action_id` of what was pressed";
            return Err(ApiError::field(&format!("actions[{index}].action_id"), message));
        };
        Ok(Pressed {
            id,
            block_id: it.block_id,
            kind: it.kind,
            timestamp: it.timestamp.unwrap_or_else(|| json!(now)),
            value: it.value,
        })
    };
    actions.into_iter().enumerate().map(one).collect()
}

/// What the caller says was displayed: functions are handed nothing that could not be.
fn given_body(body: Value) -> Result<Body, ApiError> {
    let given = json!({ "body": body });
    let checked = snap_kit::check(&given, Surroundings { actions: None, has_handler: true });
    checked.body.ok_or_else(|| {
        let message = "`body` is no body that could have been displayed";
        ApiError::new(Code::Invalid, message).listing("problems", &checked.problems)
    })
}
