//! What functions draw: components, pages on which snap-ins are configured, and what actions answer.
//! A function is called, the body in its result is checked, and one without errors is kept as what is
//! displayed from then on.
//!
//! Must never keep a body that has errors: what was displayed before stays, and the caller is told.

use bytes::Bytes;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::{Called, Calling, OperationError, Operations, Present};
use crate::model::actor::Actor;
use crate::model::display::DisplayPlace;
use crate::model::event::{Cause, DEV_OID};
use crate::model::id::{RunId, SnapInId, UserId};
use crate::model::manifest::{ConfigurationHandler, Level, Manifest, SnapComponent};
use crate::model::run::{RunError, RunState, RunTrigger};
use crate::snap_kit::{self, Body, Checked, Problem, Surroundings};
use crate::store::DisplayedRecord;

/// Something that is drawn anew.
#[derive(Clone, Debug)]
pub struct Rendering {
    /// The snap-in.
    pub snap_in: SnapInId,
    /// A component or a page; actions draw nothing by themselves.
    pub place: DisplayPlace,
    /// Who looks.
    pub actor: Actor,
    /// Name of the principal that asked for it.
    pub ordered_by: String,
    /// What led to it.
    pub cause: Cause,
}

/// What somebody did with what is displayed.
#[derive(Clone, Debug)]
pub struct Pressing {
    /// The snap-in.
    pub snap_in: SnapInId,
    /// Name of the snap-kit action.
    pub action: String,
    /// Where it is displayed, and where what the function answers will be.
    pub place: DisplayPlace,
    /// `context` of the payload.
    pub context: Map<String, Value>,
    /// What was displayed, when the caller knows better.
    pub body: Option<Body>,
    /// What he did, in that order.
    pub pressed: Vec<Pressed>,
    /// Who did it.
    pub actor: Actor,
    /// Name of the principal that said so.
    pub ordered_by: String,
    /// What led to it.
    pub cause: Cause,
}

/// One thing that somebody did: pressed, chose or sent.
#[derive(Clone, Debug, Default)]
pub struct Pressed {
    /// Action id of the element.
    pub id: String,
    /// Its block; the element's own when absent.
    pub block_id: Option<String>,
    /// Its type; the element's own when absent.
    pub kind: Option<String>,
    /// When, as callers write it.
    pub timestamp: Value,
    /// What was chosen or filled in; the element's own when absent.
    pub value: Option<Value>,
}

/// What is displayed at a place.
#[derive(Clone, Debug, PartialEq)]
pub struct Displayed {
    /// The body.
    pub body: Body,
    /// The run that drew it; absent for one that stands in the manifest.
    pub run: Option<RunId>,
    /// When, milliseconds of the Unix epoch.
    pub displayed_ms: u64,
}

/// What came of drawing something, or of one thing that somebody did.
#[derive(Clone, Debug, Default)]
pub struct Drawn {
    /// The call; absent for what stands in the manifest.
    pub called: Option<Called>,
    /// What is displayed now, when that is something new.
    pub displayed: Option<Displayed>,
    /// What is wrong with the body.
    pub problems: Vec<Problem>,
}

/// What came of one thing that somebody did.
#[derive(Clone, Debug)]
pub enum Reaction {
    /// The function was called.
    Called(Box<Drawn>),
    /// The snap-in could not be asked any more.
    Refused(String),
    /// One before it has failed.
    NotRun,
}

/// A call that draws.
struct Draw {
    calling: Calling,
    place: DisplayPlace,
    has_handler: bool,
    /// Whether a result without a body is wrong.
    needs_body: bool,
}

/// The id of a snap-kit action, the same as long as the snap-in is there.
pub fn action_id(snap_in: SnapInId, name: &str) -> String {
    format!("{snap_in}/snap-kit-actions/{name}")
}

impl Operations {
    /// What is displayed at a place; nothing when nothing was yet.
    pub fn displayed(
        &self,
        snap_in: SnapInId,
        place: &DisplayPlace,
    ) -> Result<Option<Displayed>, OperationError> {
        let found = self.services.store.read(|tables| tables.displayed(snap_in, place))?;
        Ok(found.and_then(|(record, body)| {
            let DisplayedRecord { run, displayed_ms } = record;
            Some(Displayed { body: Body::kept(&body)?, run, displayed_ms })
        }))
    }

    /// Draws a component or a page anew.
    pub async fn render(&self, rendering: Rendering) -> Result<Drawn, OperationError> {
        let Rendering { snap_in, place, actor, ordered_by, cause } = rendering;
        let present = self.look(snap_in)?;
        let manifest = &present.version.manifest;
        let (function, handler, trigger, source_id, user) = match &place {
            DisplayPlace::Component { name, .. } => {
                let component = component(manifest, name)?;
                let Some(function) = &component.initializer else {
                    return self.render_static(snap_in, &present, &place, component).await;
                };
                let trigger = RunTrigger::SnapComponent { component: name.clone() };
                let source_id = format!("{snap_in}/snap-components/{name}");
                (function, &component.snap_kit_action_name, trigger, source_id, None)
            }
            DisplayPlace::ConfigurationPage { user } => {
                let level = level_of(*user);
                let page = page(manifest, level)?;
                let trigger = RunTrigger::ConfigurationPage { level: level.key().to_owned() };
                let source_id = format!("{snap_in}/configuration-pages/{}", level.key());
                (&page.initializer, &page.snap_kit_action_name, trigger, source_id, *user)
            }
            DisplayPlace::Action { name, .. } => {
                return Err(unknown("snap component", name, components(manifest)));
            }
        };
        let (run, configures) = (self.invoker.new_run(), is_page(&place));
        let mut payload = self.payload(snap_in, &place, actor.user, run, None)?;
        match &place {
            DisplayPlace::Component { object: Some(object), .. } => {
                payload["context"] = json!({ "object_id": object });
            }
            DisplayPlace::ConfigurationPage { .. } => {
                payload["level"] = json!(level_of(user).key());
            }
            DisplayPlace::Component { object: None, .. } | DisplayPlace::Action { .. } => {}
        }
        if let Some(handler) = handler {
            payload["action_id"] = json!(action_id(snap_in, handler));
        }
        let payload = Bytes::from(payload.to_string());
        let calling = Calling {
            run: Some(run),
            source_id,
            user,
            ordered_by: Some(ordered_by),
            configures,
            ..Calling::new(snap_in, function.clone(), trigger, payload, cause)
        };
        let has_handler = handler.is_some();
        self.draw(&present, Draw { calling, place, has_handler, needs_body: true }).await
    }

    /// Does what somebody did, one after the other. What follows one that failed is not done: he did
    /// it in that order, on the strength of what went before, and can do it again.
    pub async fn press(&self, pressing: Pressing) -> Result<Vec<Reaction>, OperationError> {
        let Pressing { snap_in, action, place, context, pressed, .. } = pressing;
        let Pressing { mut body, actor, ordered_by, cause, .. } = pressing;
        let mut reactions = Vec::with_capacity(pressed.len());
        let mut goes_on = true;
        for (index, pressed) in pressed.into_iter().enumerate() {
            if !goes_on {
                reactions.push(Reaction::NotRun);
                continue;
            }
            let asked = self.press_one(
                (snap_in, &action, &place),
                &context,
                body.as_ref(),
                pressed,
                (&actor, &ordered_by),
                cause,
            );
            match asked.await {
                Ok(drawn) => {
                    goes_on = drawn.called.as_ref().is_none_or(|it| it.error.is_none());
                    if let Some(displayed) = &drawn.displayed {
                        // What comes next was done with what is displayed by then.
                        body = body.and(Some(displayed.body.clone()));
                    }
                    reactions.push(Reaction::Called(Box::new(drawn)));
                }
                // Nothing was done yet: this is an answer to all of it.
                Err(error) if index == 0 => return Err(error),
                Err(error) => {
                    goes_on = false;
                    reactions.push(Reaction::Refused(error.to_string()));
                }
            }
        }
        Ok(reactions)
    }

    async fn press_one(
        &self,
        (snap_in, action, place): (SnapInId, &str, &DisplayPlace),
        context: &Map<String, Value>,
        body: Option<&Body>,
        pressed: Pressed,
        (actor, ordered_by): (&Actor, &str),
        cause: Cause,
    ) -> Result<Drawn, OperationError> {
        let present = self.look(snap_in)?;
        let manifest = &present.version.manifest;
        let found = manifest.snap_kit_actions.iter().find(|it| it.name == action);
        let Some(found) = found else {
            let known = manifest.snap_kit_actions.iter().map(|it| it.name.as_str()).collect();
            return Err(unknown("snap-kit action", action, known));
        };
        refuse_another_handler(manifest, place, action)?;
        let run = self.invoker.new_run();
        let user = match place {
            DisplayPlace::ConfigurationPage { user } => *user,
            DisplayPlace::Component { .. } | DisplayPlace::Action { .. } => None,
        };
        let mut payload = self.payload(snap_in, place, actor.user, run, body)?;
        let element = match body {
            // Whoever says what is displayed knows what was pressed.
            Some(body) => body.action(&pressed.id).cloned().unwrap_or_default(),
            None => {
                let kept = self.displayed(snap_in, place)?.map(|it| it.body);
                match kept.as_ref().map(|it| (it, it.action(&pressed.id))) {
                    Some((_, Some(element))) => element.clone(),
                    // Nothing is lost.
                    Some((_, None)) | None if pressed.value.is_some() => Value::Null,
                    Some((kept, None)) => {
                        return Err(unknown("element", &pressed.id, kept.action_ids()));
                    }
                    None => return Err(OperationError::NotDisplayed),
                }
            }
        };
        let own = |key: &str| element[key].as_str().map(str::to_owned);
        payload["action_id"] = json!(action_id(snap_in, action));
        payload["context"] = json!(context);
        payload["action"] = json!({
            "block_id": pressed.block_id.or_else(|| own("block_id")).unwrap_or_default(),
            "id": pressed.id,
            "timestamp": pressed.timestamp,
            "type": pressed.kind.or_else(|| own("type")).unwrap_or_else(|| "button".to_owned()),
            "value": pressed.value.unwrap_or_else(|| element["value"].clone()),
        });
        let trigger = RunTrigger::SnapKitAction { action: action.to_owned() };
        let payload = Bytes::from(payload.to_string());
        let calling = Calling {
            run: Some(run),
            source_id: action_id(snap_in, action),
            user,
            actor: Some(actor.clone()),
            ordered_by: Some(ordered_by.to_owned()),
            configures: is_page(place),
            ..Calling::new(snap_in, found.function.clone(), trigger, payload, cause)
        };
        // What is displayed next goes to the same action.
        let draw = Draw { calling, place: place.clone(), has_handler: true, needs_body: false };
        self.draw(&present, draw).await
    }

    /// What all payloads of this kind have.
    fn payload(
        &self,
        snap_in: SnapInId,
        place: &DisplayPlace,
        actor: UserId,
        run: RunId,
        body: Option<&Body>,
    ) -> Result<Value, OperationError> {
        let kept = match body {
            Some(_) => None,
            None => self.displayed(snap_in, place)?.map(|it| it.body),
        };
        let empty = Body::empty();
        let body = body.or(kept.as_ref()).unwrap_or(&empty);
        Ok(json!({
            "actor_id": actor,
            "body": body.as_value(),
            "context": {},
            "dev_org": DEV_OID,
            "parent_id": snap_in,
            "request_id": run,
        }))
    }

    /// A component whose body stands in the manifest.
    async fn render_static(
        &self,
        snap_in: SnapInId,
        present: &Present,
        place: &DisplayPlace,
        component: &SnapComponent,
    ) -> Result<Drawn, OperationError> {
        if !present.record.state.runs_start() {
            return Err(OperationError::NotActive(present.record.state.clone()));
        }
        let Some(given) = &component.snap_kit_body else {
            return Err(OperationError::NothingToDraw(component.name.clone()));
        };
        let has_handler = component.snap_kit_action_name.is_some();
        let actions = actions(&present.version.manifest);
        let checked = snap_kit::check(given, Surroundings { actions: Some(&actions), has_handler });
        self.display(snap_in, place, None, checked).await
    }

    /// Calls the function and displays what it returned.
    async fn draw(&self, present: &Present, draw: Draw) -> Result<Drawn, OperationError> {
        let Draw { calling, place, has_handler, needs_body } = draw;
        let snap_in = calling.snap_in;
        let called = self.call(calling).await?;
        let checked = match (&called.result, called.state) {
            (Some(result), RunState::Succeeded) => {
                let manifest = &present.version.manifest;
                check_result(manifest, result, has_handler, needs_body)
            }
            (Some(_) | None, _) => None,
        };
        let drawn = match checked {
            Some(checked) => self.display(snap_in, &place, Some(called.run), checked).await?,
            None => Drawn::default(),
        };
        Ok(Drawn { called: Some(called), ..drawn })
    }

    async fn display(
        &self,
        snap_in: SnapInId,
        place: &DisplayPlace,
        run: Option<RunId>,
        checked: Checked,
    ) -> Result<Drawn, OperationError> {
        let Checked { body, problems } = checked;
        let Some(body) = body else {
            return Ok(Drawn { problems, ..Drawn::default() });
        };
        let displayed_ms = self.services.clock.now_ms();
        let record = DisplayedRecord { run, displayed_ms };
        let (place, json) = (place.clone(), body.as_value().to_string());
        let kept = self
            .services
            .store
            .write(move |it| it.keep_displayed(snap_in, &place, &record, json.as_bytes()));
        if !kept.await? {
            return Err(OperationError::NoSuchSnapIn);
        }
        let displayed = Some(Displayed { body, run, displayed_ms });
        Ok(Drawn { called: None, displayed, problems })
    }
}

impl Reaction {
    /// Why nothing came of it, if that is so.
    pub fn error(&self) -> Option<RunError> {
        match self {
            Reaction::Called(drawn) => drawn.called.as_ref().and_then(|it| it.error.clone()),
            Reaction::Refused(message) => {
                let (kind, message) = ("refused".to_owned(), message.clone());
                Some(RunError { kind, message, ..RunError::default() })
            }
            Reaction::NotRun => None,
        }
    }
}

/// The body in a result; a result need not have one unless it was asked for.
fn check_result(
    manifest: &Manifest,
    result: &RawValue,
    has_handler: bool,
    needs_body: bool,
) -> Option<Checked> {
    let actions = actions(manifest);
    let surroundings = Surroundings { actions: Some(&actions), has_handler };
    match snap_kit::returned(result.get(), surroundings) {
        None if needs_body => Some(Checked::without_body()),
        checked => checked,
    }
}

/// Components and pages name the action that what people do there is sent to.
fn refuse_another_handler(
    manifest: &Manifest,
    place: &DisplayPlace,
    action: &str,
) -> Result<(), OperationError> {
    let handler = match place {
        DisplayPlace::Component { name, .. } => &component(manifest, name)?.snap_kit_action_name,
        DisplayPlace::ConfigurationPage { user } => {
            &page(manifest, level_of(*user))?.snap_kit_action_name
        }
        DisplayPlace::Action { .. } => return Ok(()),
    };
    match handler {
        Some(handler) if handler == action => Ok(()),
        Some(handler) => Err(OperationError::AnotherAction(handler.clone())),
        None => Err(OperationError::NoAction),
    }
}

fn is_page(place: &DisplayPlace) -> bool {
    match place {
        DisplayPlace::ConfigurationPage { .. } => true,
        DisplayPlace::Component { .. } | DisplayPlace::Action { .. } => false,
    }
}

fn level_of(user: Option<UserId>) -> Level {
    match user {
        Some(_) => Level::User,
        None => Level::Organization,
    }
}

fn actions(manifest: &Manifest) -> Vec<&str> {
    manifest.snap_kit_actions.iter().map(|it| it.name.as_str()).collect()
}

fn components(manifest: &Manifest) -> Vec<&str> {
    manifest.snap_components.iter().map(|it| it.name.as_str()).collect()
}

fn component<'m>(manifest: &'m Manifest, name: &str) -> Result<&'m SnapComponent, OperationError> {
    let found = manifest.snap_components.iter().find(|it| it.name == name);
    found.ok_or_else(|| unknown("snap component", name, components(manifest)))
}

fn page(manifest: &Manifest, level: Level) -> Result<&ConfigurationHandler, OperationError> {
    let handlers = &manifest.configuration_handler;
    let levels = [(Level::Organization, &handlers.organization), (Level::User, &handlers.user)];
    let found = levels.iter().find(|(it, _)| *it == level).and_then(|(_, page)| page.as_ref());
    found.ok_or_else(|| {
        let known = levels.iter().filter(|(_, page)| page.is_some());
        let known = known.map(|(level, _)| level.key()).collect();
        unknown("configuration page", level.key(), known)
    })
}

fn unknown(thing: &'static str, name: &str, known: Vec<&str>) -> OperationError {
    let known = known.into_iter().map(str::to_owned).collect();
    OperationError::NoSuchPart { thing, name: name.to_owned(), known }
}
