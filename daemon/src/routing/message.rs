//! What is said of an occurrence, and of many of a kind at once. Pure.

use serde_json::{Map, Value, json};

use super::template::{Template, cut, value_at};
use crate::model::id::OccurrenceId;
use crate::model::integration::Message;
use crate::model::occurrence::{OccurrenceHead, Trigger};
use crate::model::timestamp::rfc3339;

/// Characters of a title.
const MOST_TITLE: usize = 250;
/// Characters of a text.
const MOST_TEXT: usize = 8_000;
/// Titles that are listed in a message about many.
pub const MOST_LISTED: usize = 20;

/// What replaces the text of a trigger.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Wording {
    /// One line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The rest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// An occurrence as filters, templates and sinks see it.
pub fn document(id: OccurrenceId, head: &OccurrenceHead, members: &Map<String, Value>) -> Value {
    let mut document = json!({
        "id": id,
        "trigger": head.trigger,
        "level": head.level,
        "at": rfc3339(head.at_ms),
    });
    if let Some(own) = document.as_object_mut() {
        if let Some(scope) = &head.scope {
            own.insert("scope".to_owned(), json!(scope));
        }
        if let Some(snap_in) = head.snap_in {
            own.insert("snap_in".to_owned(), json!(snap_in));
        }
        for (name, value) in members {
            own.entry(name.clone()).or_insert_with(|| value.clone());
        }
    }
    document
}

/// What is said of one.
pub fn message(head: &OccurrenceHead, document: &Value, wording: &Wording) -> Message {
    let (title, text) = head.trigger.template();
    let fill = |own: &Option<String>, usual: &str| {
        Template::trusted(own.as_deref().unwrap_or(usual)).fill(document)
    };
    let mut title = one_line(&fill(&wording.title, title));
    if title.is_empty() {
        title = head.trigger.to_string();
    }
    let fields = FIELDS.iter().filter_map(|(name, path)| {
        let value = value_at(document, path);
        (!value.is_empty()).then(|| ((*name).to_owned(), cut(&value, MOST_TITLE)))
    });
    Message {
        title: cut(&title, MOST_TITLE),
        text: cut(&fill(&wording.text, text), MOST_TEXT),
        level: head.level,
        fields: fields.collect(),
    }
}

/// What is said beside title and text, where it is there.
const FIELDS: [(&str, &str); 9] = [
    ("Scope", "scope"),
    ("Function", "function"),
    ("Attempts", "attempts"),
    ("Next attempt", "next_attempt"),
    ("Event", "event"),
    ("Run", "run"),
    ("Source", "source"),
    ("Webhook", "webhook"),
    ("Occurrence", "id"),
];

/// What is said of many of a kind: how many, and what the first ones were.
pub fn together(trigger: &Trigger, one: &Message, titles: &[String], count: u32) -> Message {
    if count <= 1 {
        return one.clone();
    }
    let mut text: Vec<String> = titles.iter().take(MOST_LISTED).cloned().collect();
    let left_out = usize::try_from(count).unwrap_or(usize::MAX).saturating_sub(text.len());
    if left_out > 0 {
        text.push(format!("and {left_out} more"));
    }
    Message {
        title: format!("{count} × {trigger}"),
        text: cut(&text.join("\n"), MOST_TEXT),
        level: one.level,
        fields: Vec::new(),
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::event::Cause;
    use crate::model::id::SnapInId;

    fn failed() -> (OccurrenceHead, Value) {
        let trigger = Trigger::RunFailed;
        let head = OccurrenceHead {
            level: trigger.level(),
            trigger,
            at_ms: 0,
            scope: Some("prod/team/sync".parse().expect("a scope")),
            snap_in: Some(SnapInId(1)),
            subject: None,
            work: None,
            about: None,
            cause: Cause::default(),
        };
        let members = json!({
            "function": "push", "run": "run_1", "error": { "message": "no\nroute" }, "id": "forged",
        });
        let members = members.as_object().expect("members").clone();
        let document = document(OccurrenceId(7), &head, &members);
        (head, document)
    }

    #[test]
    fn there_is_something_to_say_by_default_and_by_choice() {
        let (head, document) = failed();
        assert_eq!(document["id"], OccurrenceId(7).to_string(), "what is ours cannot be replaced");
        let said = message(&head, &document, &Wording::default());
        assert_eq!(
            (said.title.as_str(), said.text.as_str()),
            ("push of prod/team/sync failed", "no\nroute")
        );
        let names: Vec<&str> = said.fields.iter().map(|it| it.0.as_str()).collect();
        assert_eq!(names, ["Scope", "Function", "Run", "Occurrence"]);
        let wording =
            Wording { title: Some("{{error.message}}!".into()), text: Some(String::new()) };
        let said = message(&head, &document, &wording);
        assert_eq!((said.title.as_str(), said.text.as_str()), ("no route!", ""));
        let empty = Wording { title: Some("{{event}}".into()), text: None };
        assert_eq!(message(&head, &document, &empty).title, "run.failed");
    }

    #[test]
    fn many_are_one_message() {
        let one = Message { title: "a failed".into(), ..Message::default() };
        let titles: Vec<String> = (0..MOST_LISTED).map(|it| format!("number {it}")).collect();
        assert_eq!(together(&Trigger::RunFailed, &one, &titles[..1], 1), one);
        let said = together(&Trigger::RunFailed, &one, &titles, 1_000);
        assert_eq!(said.title, "1000 × run.failed");
        assert!(said.text.starts_with("number 0\nnumber 1\n"), "{}", said.text);
        assert!(said.text.ends_with("number 19\nand 980 more"), "{}", said.text);
    }
}
