//! `configuration-pages.*`: the pages on which snap-ins are configured, when their authors have drawn
//! some. They can be drawn before a snap-in is ACTIVE: it may be what they are for.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::error::ApiError;
use super::rights::Caller;
use super::snap_components::{Outcome, actor};
use super::{Api, snap_ins};
use crate::model::actor::Actor;
use crate::model::display::DisplayPlace;
use crate::model::manifest::ConfigurationHandler;
use crate::operations::{Rendering, action_id};

/// Whose configuration a page is for.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum PageLevel {
    /// Everybody's.
    #[default]
    Organization,
    /// One user's.
    User,
}

impl PageLevel {
    /// The page for the one who looks.
    pub(super) fn place(self, actor: &Actor) -> DisplayPlace {
        let user = match self {
            PageLevel::Organization => None,
            PageLevel::User => Some(actor.user),
        };
        DisplayPlace::ConfigurationPage { user }
    }
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "ConfigurationPagesRender")]
#[serde(deny_unknown_fields)]
pub(super) struct Render {
    /// Id or scope; it must be in no transitory state.
    snap_in: String,
    /// Whose configuration.
    #[serde(default)]
    level: PageLevel,
    /// Id or name of the user who looks; the caller himself when absent.
    #[serde(default)]
    user: Option<String>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ConfigurationPagesRendered")]
pub(super) struct Rendered {
    snap_in: String,
    /// Id of the action that what people do there is sent to.
    #[serde(skip_serializing_if = "Option::is_none")]
    snap_kit_action: Option<String>,
    #[serde(flatten)]
    outcome: Outcome,
}

pub(super) async fn render(
    api: Arc<Api>,
    caller: Caller,
    render: Render,
) -> Result<Rendered, ApiError> {
    let (snap_in, record) = snap_ins::find(&api, &caller, &render.snap_in)?;
    let version = api.services.contexts.version(record.version)?;
    let actor = actor(&api, &caller, render.user.as_deref()).await?;
    let place = render.level.place(&actor);
    let (ordered_by, cause) = (caller.principal.name(), caller.cause);
    let rendering = Rendering { snap_in, place, actor, ordered_by, cause };
    let outcome = Outcome::of(api.operations.render(rendering).await?);
    let handler: Option<ConfigurationHandler> = version.and_then(|it| {
        let handlers = &it.manifest.configuration_handler;
        match render.level {
            PageLevel::Organization => handlers.organization.clone(),
            PageLevel::User => handlers.user.clone(),
        }
    });
    let action = handler.and_then(|it| it.snap_kit_action_name);
    let snap_kit_action = action.map(|name| action_id(snap_in, &name));
    Ok(Rendered { snap_in: snap_in.to_string(), snap_kit_action, outcome })
}
