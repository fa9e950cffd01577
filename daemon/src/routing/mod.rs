//! Which automations an event leads to, and who is told of an occurrence ([`telling`]). Pure: from a
//! snap-in's manifest and ids to a table, and
//! from an event type to the runs that are to be queued.

pub mod message;
pub mod telling;
pub mod template;

use std::sync::Arc;

use crate::model::id::{AutomationId, SnapInId, SourceId, UserId, VersionId};
use crate::model::manifest::Manifest;

/// How long a dedup key is remembered when the manifest does not say.
const DEDUP_WINDOW_MS: u64 = 24 * 60 * 60 * 1000;

/// What events of one source lead to, as long as the source's generation stays what it is.
#[derive(Clone, Debug)]
pub struct Route {
    /// The source.
    pub source: SourceId,
    /// The snap-in that it belongs to.
    pub snap_in: SnapInId,
    /// The version whose functions run.
    pub version: VersionId,
    /// The generation of the source that this was made for.
    pub generation: u64,
    /// Whose the source is, when its level is the user's.
    pub user: Option<UserId>,
    /// How long an event with the dedup key of an earlier one is taken for the same.
    pub dedup_window_ms: u64,
    /// The automations of the source, in manifest order.
    automations: Vec<Binding>,
}

/// One automation, as far as routing goes.
#[derive(Clone, Debug)]
struct Binding {
    automation: AutomationId,
    event_types: Vec<String>,
    function: Arc<str>,
    ordered: bool,
}

/// A run that an event leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    /// The automation.
    pub automation: AutomationId,
    /// Its function.
    pub function: Arc<str>,
    /// Whether the function asks for order by `sync_id`.
    pub ordered: bool,
}

impl Route {
    /// The route of the source called `source_name`.
    ///
    /// `automations` are the ids of the manifest's automations, in its order.
    pub fn new(
        source: SourceId,
        source_name: &str,
        snap_in: SnapInId,
        version: VersionId,
        generation: u64,
        manifest: &Manifest,
        automations: &[AutomationId],
    ) -> Route {
        let bindings = manifest
            .automations
            .iter()
            .zip(automations)
            .filter(|(it, _)| it.source == source_name)
            .map(|(it, automation)| Binding {
                automation: *automation,
                event_types: it.event_types.clone(),
                function: it.function.as_str().into(),
                ordered: manifest
                    .function(&it.function)
                    .is_some_and(|function| function.supports_synchronization),
            })
            .collect();
        let window = manifest.event_source(source_name).and_then(|it| it.dedup_window_seconds);
        Route {
            source,
            snap_in,
            version,
            generation,
            user: None,
            dedup_window_ms: window.map_or(DEDUP_WINDOW_MS, |it| u64::from(it) * 1000),
            automations: bindings,
        }
    }

    /// The same for a source that is a person's.
    pub fn for_user(self, user: Option<UserId>) -> Route {
        Route { user, ..self }
    }

    /// The runs that an event of this type leads to, in manifest order. One automation matches an
    /// event at most once.
    pub fn matches<'a>(&'a self, event_type: &'a str) -> impl Iterator<Item = Match> + 'a {
        self.automations
            .iter()
            .filter(move |it| it.event_types.iter().any(|wanted| wanted == event_type))
            .map(|it| Match {
                automation: it.automation,
                function: it.function.clone(),
                ordered: it.ordered,
            })
    }

    /// The event types that any automation listens for.
    pub fn event_types(&self) -> impl Iterator<Item = &str> {
        self.automations.iter().flat_map(|it| &it.event_types).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::manifest::{Automation, Function};

    #[test]
    fn every_automation_of_the_source_that_listens_matches_once() {
        let automation = |source: &str, types: &[&str], function: &str| Automation {
            source: source.to_owned(),
            event_types: types.iter().map(|it| (*it).to_owned()).collect(),
            function: function.to_owned(),
            ..Automation::default()
        };
        let manifest = Manifest {
            automations: vec![
                automation("a", &["x", "y", "x"], "f"),
                automation("b", &["x"], "f"),
                automation("a", &["x"], "g"),
                automation("a", &["z"], "g"),
            ],
            functions: vec![Function {
                name: "g".to_owned(),
                supports_synchronization: true,
                ..Function::default()
            }],
            ..Manifest::default()
        };
        let ids: Vec<_> = (1..=4).map(AutomationId).collect();
        let route = Route::new(SourceId(1), "a", SnapInId(1), VersionId(1), 1, &manifest, &ids);
        let found: Vec<_> = route
            .matches("x")
            .map(|it| (it.automation.0, it.function.to_string(), it.ordered))
            .collect();
        assert_eq!(found, [(1, "f".to_owned(), false), (3, "g".to_owned(), true)]);
        assert_eq!(route.matches("X").count(), 0);
    }
}
