//! The source: a change in; the event of it out, when it is wanted.
//!
//! The payload is the body of the call, unchanged. Its object is the ordering key, so that a function
//! that asks for order gets the versions of an object one after the other.

use std::sync::Arc;

use mortise_plugin::{
    Change, Event, Fault, LogLevel, LogLine, Payload, Problem, Refusal, Source, SourceCall,
    SourceInput, SourceOutput,
};

use crate::filter::{Asked, Filter, NotFiltered};

/// What filters that fail are counted as.
const FILTER_FAILED: &str = "filter_failed";
/// What is counted of what somebody publishes by hand, when the filter does not want it.
const FILTERED: &str = "filtered";

/// One configured source.
#[derive(Debug)]
pub(crate) struct Changes {
    pub(crate) event_types: Vec<String>,
    pub(crate) filter: Option<Arc<Filter>>,
    /// What `check` answers.
    pub(crate) warnings: Vec<Problem>,
}

/// What the filter says.
enum Decision {
    Wanted,
    Unwanted,
    /// It failed, which is told where the owner of the source reads it.
    Failed(Box<SourceOutput>),
}

impl Source for Changes {
    fn call(&self, call: SourceCall, body: &[u8]) -> Result<SourceOutput, Fault> {
        match &call.input {
            SourceInput::Check {} => {
                Ok(SourceOutput { problems: self.warnings.clone(), ..SourceOutput::default() })
            }
            SourceInput::Object(change) => self.changed(change, body),
            SourceInput::Published { event_type } => self.published(event_type, body),
            SourceInput::Http(_)
            | SourceInput::Mail(_)
            | SourceInput::Tick(_)
            | SourceInput::Poll(_)
            | SourceInput::Response { .. } => {
                Err(Fault::unsupported("it takes changes of objects and published events only"))
            }
        }
    }
}

impl Changes {
    fn changed(&self, change: &Change, body: &[u8]) -> Result<SourceOutput, Fault> {
        if !self.lists(&change.event_type) {
            return Ok(SourceOutput::default());
        }
        let user = change.user_id.as_deref();
        let asked = Asked { id: Some(&change.id), body, user };
        match self.decide(&change.event_type, asked)? {
            Decision::Wanted => Ok(event(&change.event_type, Some(change.object_id.clone()))),
            Decision::Unwanted => Ok(SourceOutput::default()),
            Decision::Failed(output) => Ok(*output),
        }
    }

    /// Somebody publishes by hand: what he gives goes the same way.
    fn published(&self, event_type: &str, body: &[u8]) -> Result<SourceOutput, Fault> {
        if !self.lists(event_type) {
            let listed = self.event_types.join(", ");
            let message = format!("this source publishes {listed} only, not `{event_type}`");
            return Err(Fault::permanent(message));
        }
        if let Err(error) = serde_json::from_slice::<serde_json::Value>(body) {
            return Err(Fault::permanent(format!("the payload is no JSON: {error}")));
        }
        match self.decide(event_type, Asked { id: None, body, user: None })? {
            Decision::Wanted => Ok(event(event_type, None)),
            Decision::Unwanted => {
                let message = "the filter gave false".to_owned();
                let refused = Some(Refusal { reason: FILTERED.to_owned(), message });
                Ok(SourceOutput { refused, ..SourceOutput::default() })
            }
            Decision::Failed(output) => Ok(*output),
        }
    }

    fn lists(&self, event_type: &str) -> bool {
        self.event_types.iter().any(|it| it == event_type)
    }

    fn decide(&self, event_type: &str, asked: Asked<'_>) -> Result<Decision, Fault> {
        let Some(filter) = &self.filter else { return Ok(Decision::Wanted) };
        match filter.wants(asked) {
            Ok(true) => Ok(Decision::Wanted),
            Ok(false) => Ok(Decision::Unwanted),
            Err(NotFiltered::Busy(message)) => Err(Fault::transient(message)),
            Err(NotFiltered::Failed(why) | NotFiltered::Late(why)) => {
                let message = format!("the filter failed at `{event_type}`, no event: {why}");
                let line = LogLine { level: LogLevel::Error, message: message.clone() };
                let refused = Refusal { reason: FILTER_FAILED.to_owned(), message };
                Ok(Decision::Failed(Box::new(SourceOutput {
                    refused: Some(refused),
                    log: vec![line],
                    ..SourceOutput::default()
                })))
            }
        }
    }
}

fn event(event_type: &str, sync_id: Option<String>) -> SourceOutput {
    let event = Event {
        event_type: event_type.to_owned(),
        payload: Payload::Input,
        dedup_key: None,
        sync_id,
    };
    SourceOutput { events: vec![event], ..SourceOutput::default() }
}

#[cfg(test)]
mod tests {
    use mortise_plugin::{FaultKind, Host, Plugin, Tick};
    use serde_json::{Value, json};

    use super::*;
    use crate::{KIND, ObjectEvents};

    /// The example of the documents, with the expression that they lost.
    const EXAMPLE: &str = r#"
        if .type == "work_created" then
          if (.work_created.work.type == "issue") then true
          else false
          end
        elif .type == "timeline_entry_created" then
          if (.timeline_entry_created.entry.type == "timeline_comment"
              and .timeline_entry_created.entry.object_type == "issue") then true
          else false
          end
        else false
        end"#;

    fn open(config: Value) -> Box<dyn Source> {
        ObjectEvents::open_source(KIND, config, Host::silent()).expect("it is right")
    }

    fn call(source: &dyn Source, input: SourceInput, body: &[u8]) -> Result<SourceOutput, Fault> {
        source.call(SourceCall::new(1_000, 1_000, input), body)
    }

    fn change(id: &str, event_type: &str, user: Option<&str>) -> SourceInput {
        SourceInput::Object(Change {
            id: id.to_owned(),
            event_type: event_type.to_owned(),
            object_id: "work_1".to_owned(),
            user_id: user.map(str::to_owned),
        })
    }

    fn tell(source: &dyn Source, id: &str, body: &Value) -> SourceOutput {
        let event_type = body["type"].as_str().expect("a type");
        let input = change(id, event_type, Some("usr_1"));
        call(source, input, body.to_string().as_bytes()).expect("an answer")
    }

    #[test]
    fn the_example_of_the_documents_works() {
        let source = open(json!({
            "event_types": ["work_created", "timeline_entry_created"],
            "filter": { "jq_query": EXAMPLE }
        }));
        let work = |kind: &str| {
            json!({
                "id": "chg_1", "type": "work_created", "work_created": { "work": { "type": kind } }
            })
        };
        let entry = |kind: &str, of: &str| {
            json!({
                "type": "timeline_entry_created",
                "timeline_entry_created": { "entry": { "type": kind, "object_type": of } }
            })
        };
        for (id, body, wanted) in [
            ("example-1", work("issue"), true),
            ("example-2", work("ticket"), false),
            ("example-3", entry("timeline_comment", "issue"), true),
            ("example-4", entry("timeline_comment", "ticket"), false),
            ("example-5", entry("timeline_change_event", "issue"), false),
        ] {
            let output = tell(source.as_ref(), id, &body);
            let event_type = body["type"].as_str().expect("a type");
            let expected = if wanted {
                event(event_type, Some("work_1".to_owned()))
            } else {
                SourceOutput::default()
            };
            assert_eq!(output, expected, "{body}");
        }
    }

    #[test]
    fn own_changes_are_found_by_the_user() {
        let source = open(json!({
            "event_types": ["work_updated"],
            "filter": { "jq_query": ".work_updated.work.owned_by[0].id == $user.id" }
        }));
        let body = json!({
            "type": "work_updated",
            "work_updated": { "work": { "owned_by": [{ "id": "usr_1" }] }, "old_work": {} }
        });
        assert_eq!(tell(source.as_ref(), "own-1", &body).events.len(), 1);
        let body = body.to_string();
        for user in [Some("usr_2"), None] {
            let input = change("own-1", "work_updated", user);
            let output = call(source.as_ref(), input, body.as_bytes()).expect("an answer");
            assert_eq!(output, SourceOutput::default());
        }
    }

    #[test]
    fn what_is_not_listed_is_no_event_and_without_a_filter_all_else_is() {
        let source = open(json!({ "event_types": ["work_created"] }));
        let body = json!({ "type": "work_deleted" });
        assert_eq!(tell(source.as_ref(), "all-1", &body), SourceOutput::default());
        let body = json!({ "type": "work_created" });
        assert_eq!(tell(source.as_ref(), "all-2", &body).events.len(), 1);
    }

    #[test]
    fn a_filter_that_fails_is_told_and_no_event() {
        let source = open(json!({
            "event_types": ["work_created"], "filter": { "jq_query": ".work_created.work" }
        }));
        let body = json!({ "type": "work_created", "work_created": { "work": { "a": 1 } } });
        let output = tell(source.as_ref(), "told-1", &body);
        assert!(output.events.is_empty());
        assert_eq!(output.log[0].level, LogLevel::Error);
        let said = &output.log[0].message;
        assert!(said.contains("`work_created`") && said.contains("gave an object"), "{said}");
        assert_eq!(output.refused.map(|it| it.reason).as_deref(), Some(FILTER_FAILED));
    }

    #[test]
    fn what_is_published_by_hand_goes_the_same_way() {
        let source = open(json!({
            "event_types": ["work_created"], "filter": { "jq_query": ".a == 1" }
        }));
        let publish = |event_type: &str, body: &[u8]| {
            let event_type = event_type.to_owned();
            call(source.as_ref(), SourceInput::Published { event_type }, body)
        };
        assert_eq!(publish("work_created", b"{\"a\":1}"), Ok(event("work_created", None)));
        let refused = publish("work_created", b"{\"a\":2}").expect("an answer").refused;
        assert_eq!(refused.map(|it| it.reason).as_deref(), Some(FILTERED));
        for (event_type, body) in [("work_updated", &b"{\"a\":1}"[..]), ("work_created", b"{")] {
            let fault = publish(event_type, body).expect_err("it is refused");
            assert_eq!(fault.kind, FaultKind::Permanent);
        }
        let tick = SourceInput::Tick(Tick { due_ms: 1, last_ms: None, cursor: None });
        let fault = call(source.as_ref(), tick, b"").expect_err("it takes none");
        assert_eq!(fault.kind, FaultKind::Unsupported);
    }
}
