//! The types of what the daemon has of its own: snap-ins, their versions, event sources, runs that
//! failed. They are objects like all others, so that the same calls, lists, views and event sources
//! serve for them, but nobody writes them: the store does, in the transaction in which the thing itself
//! changes.
//!
//! Must never: say a secret, such as a trigger URL or an input; get a new indexed field under the
//! number that a type has (rows that are there already would lack it; [`LAYOUT`] makes them anew).

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::{Map, Value, json};

use super::index::{self, Entry, FIRST_OWN};
use super::path;
use crate::model::object::{FieldNumber, TypeNumber};
use crate::model::object_type::{Defined, IndexKind, IndexedField, ObjectType, Targets};

/// Grows whenever what is kept of things that are there already has to be made anew.
pub const LAYOUT: u64 = 1;

/// Types from here on are the daemon's own; those of others are counted from 1.
const FIRST_NUMBER: TypeNumber = 0xffff_0000;

macro_rules! own_types {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $text:literal, $prefix:literal, $title:literal;)*) => {
        /// A type of the daemon's own things.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum OwnType { $($(#[$doc])* $name,)* }

        impl OwnType {
            /// All of them.
            pub const ALL: [OwnType; [$($number),*].len()] = [$(OwnType::$name),*];

            /// What stands for it in the store.
            pub fn number(self) -> TypeNumber {
                FIRST_NUMBER + match self { $(OwnType::$name => $number,)* }
            }

            /// Its name.
            pub fn name(self) -> &'static str {
                match self { $(OwnType::$name => $text,)* }
            }

            /// What ids of its objects start with: those of the things themselves.
            pub fn id_prefix(self) -> &'static str {
                match self { $(OwnType::$name => $prefix,)* }
            }

            fn title_field(self) -> &'static str {
                match self { $(OwnType::$name => $title,)* }
            }
        }
    };
}

own_types! {
    /// A snap-in and its state.
    SnapIn = 1, "snap_in", "snp", "scope";
    /// A version of a package.
    SnapInVersion = 2, "snap_in_version", "ver", "name";
    /// An event source.
    EventSource = 3, "event_source", "src", "name";
    /// A run that failed for good, until somebody has it run again.
    FailedRun = 4, "failed_run", "run", "function";
    /// An outgoing webhook and how it stands.
    Webhook = 5, "webhook", "whk", "host";
    /// A configured sink.
    Integration = 6, "integration", "itg", "name";
}

/// Whether a type is one of the daemon's own, whose objects nobody writes.
pub fn is_own(number: TypeNumber) -> bool {
    number >= FIRST_NUMBER
}

impl OwnType {
    /// Its definition, with the numbers of its fields.
    pub fn defined(self) -> &'static Defined {
        static ALL: LazyLock<[Defined; OwnType::ALL.len()]> =
            LazyLock::new(|| OwnType::ALL.map(define));
        let at = OwnType::ALL.iter().position(|it| *it == self);
        &ALL[at.unwrap_or_default()]
    }

    /// The rows of the index that fields lead to.
    pub fn entries(self, fields: &Value) -> Vec<Entry> {
        let mut entries = Vec::new();
        for field in &self.defined().fields {
            let found = path::values(fields, &field.path);
            // One without a value has a row too, so that a list in the order of the field has all.
            let none = found.is_empty().then_some(&Value::Null);
            for value in found.into_iter().chain(none) {
                let entry = Entry { field: field.number, value: index::cut(value, field.kind) };
                if !entries.contains(&entry) {
                    entries.push(entry);
                }
            }
        }
        entries
    }

    fn description(self) -> &'static str {
        match self {
            OwnType::SnapIn => "A snap-in: where it is, of which version, and in which state.",
            OwnType::SnapInVersion => "A version of a package.",
            OwnType::EventSource => "An event source of a snap-in, and whether it takes events.",
            OwnType::FailedRun => "A run that failed for good. It goes when it is run again.",
            OwnType::Webhook => "An outgoing webhook, and whether its endpoint gets events.",
            OwnType::Integration => {
                "An integration: something that people are told things through."
            }
        }
    }

    /// Its fields: name, whether lists can be filtered and sorted by it, and what it is.
    fn fields(self) -> &'static [(&'static str, bool, &'static str)] {
        match self {
            OwnType::SnapIn => &[
                ("scope", true, "Where it lives."),
                ("state", true, "DRAFT, ACTIVATING, ACTIVE, ERROR, DEACTIVATING or INACTIVE."),
                ("reason", false, "What is wrong, in ERROR."),
                ("package", true, "Id of its package."),
                ("snap_in_version", true, "The version that it is of."),
                ("service_account", false, "Id of the identity under which it acts."),
            ],
            OwnType::SnapInVersion => &[
                ("name", true, "As its manifest has it."),
                ("package", true, "Id of its package."),
                ("number", true, "Counts from 1 within the package."),
                ("content_hash", false, "SHA-256 over manifest and files."),
            ],
            OwnType::EventSource => &[
                ("name", true, "As its manifest has it."),
                ("type", true, "The type that its plugin gives it."),
                ("snap_in", true, "The snap-in that it belongs to."),
                ("user", true, "Id of the person whose it is."),
                ("status", true, "active, paused or blocked."),
                ("reason", false, "Why it is blocked."),
                ("blocked_by", false, "Who blocked it."),
            ],
            OwnType::FailedRun => &[
                ("function", true, "The function that failed."),
                ("state", true, "failed; or dead, when all attempts were used up."),
                ("snap_in", true, "The snap-in that it belongs to."),
                ("snap_in_version", true, "The version that it ran of."),
                ("trigger", true, "What it was queued for, such as automation or hook."),
                ("event", true, "Id of the event that caused it."),
                ("attempts", false, "How many there were."),
                ("error", false, "How the last one failed."),
                ("ended_date", true, "When it came to its end."),
            ],
            OwnType::Integration => &[
                ("name", true, "Unique within its type."),
                ("type", true, "The sink type of its plugin."),
                ("enabled", true, "Whether it is switched on."),
                ("supplied_to_all", true, "Whether it serves everything on the host."),
            ],
            OwnType::Webhook => &[
                ("host", true, "Where its endpoint is."),
                ("status", true, "unverified, active, degraded or inactive."),
                ("reason", false, "Why it is not active."),
                ("event_types", true, "What it wants to be told of."),
            ],
        }
    }

    /// What is shown of it where another one refers to it, beside its title.
    fn summary(self) -> &'static [&'static str] {
        match self {
            OwnType::SnapIn => &["state"],
            OwnType::SnapInVersion => &["number"],
            OwnType::EventSource | OwnType::FailedRun => &[],
            OwnType::Webhook => &["status"],
            OwnType::Integration => &["type"],
        }
    }

    fn references(self) -> &'static [(&'static str, OwnType)] {
        match self {
            OwnType::SnapIn => &[("snap_in_version", OwnType::SnapInVersion)],
            OwnType::SnapInVersion | OwnType::Webhook | OwnType::Integration => &[],
            OwnType::EventSource => &[("snap_in", OwnType::SnapIn)],
            OwnType::FailedRun => {
                &[("snap_in", OwnType::SnapIn), ("snap_in_version", OwnType::SnapInVersion)]
            }
        }
    }
}

fn define(own: OwnType) -> Defined {
    let mut properties = Map::new();
    let mut fields = Vec::new();
    for (place, (name, is_indexed, description)) in own.fields().iter().enumerate() {
        let (kind, schema) = match *name {
            "enabled" | "supplied_to_all" => (IndexKind::Value, json!({ "type": "boolean" })),
            "number" | "attempts" => (IndexKind::Value, json!({ "type": "integer" })),
            "event_types" => {
                (IndexKind::Value, json!({ "type": "array", "items": { "type": "string" } }))
            }
            "error" => (IndexKind::Value, json!({ "type": "object" })),
            "ended_date" => (IndexKind::Time, json!({ "type": "string", "format": "date-time" })),
            _ => (IndexKind::Value, json!({ "type": "string" })),
        };
        let mut schema = schema;
        schema["description"] = json!(description);
        properties.insert((*name).to_owned(), schema);
        if *is_indexed {
            let number = FieldNumber::try_from(place).unwrap_or_default() + FIRST_OWN;
            let has_one = *name != "event_types";
            fields.push(IndexedField { path: (*name).to_owned(), number, kind, has_one });
        }
    }
    let references: BTreeMap<String, Targets> = own
        .references()
        .iter()
        .map(|(field, target)| ((*field).to_owned(), Targets::One(target.name().to_owned())))
        .collect();
    let indexed = fields.iter().map(|it| it.path.clone());
    let definition = ObjectType {
        name: own.name().to_owned(),
        plural: format!("{}s", own.name()),
        display_name: None,
        description: Some(own.description().to_owned()),
        id_prefix: own.id_prefix().to_owned(),
        title_field: Some(own.title_field().to_owned()),
        display_id: None,
        indexed: indexed.filter(|it| !references.contains_key(it)).collect(),
        references,
        plain_references: Vec::new(),
        summary: own.summary().iter().map(|it| (*it).to_owned()).collect(),
        filter_aliases: BTreeMap::new(),
        input_aliases: BTreeMap::new(),
        ignored: Vec::new(),
        event_member: None,
        schema: json!({ "type": "object", "properties": properties }),
    };
    Defined { definition, fields }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definitions_are_whole() {
        for own in OwnType::ALL {
            let Defined { definition, fields } = own.defined();
            assert_eq!((definition.name.as_str(), is_own(own.number())), (own.name(), true));
            let named = |name: &str| fields.iter().any(|it| it.path == name);
            assert!(definition.references.keys().all(|it| named(it)), "{definition:?}");
            assert!(named(own.title_field()), "{definition:?}");
        }
        assert!(!is_own(1));
    }

    #[test]
    fn every_indexed_field_has_a_row() {
        let rows = OwnType::SnapIn.entries(&json!({ "scope": "a/b/c", "state": "DRAFT" }));
        assert_eq!(rows.len(), 4, "{rows:?}");
        assert_eq!(
            rows.iter().filter(|it| it.value == index::cut(&Value::Null, IndexKind::Value)).count(),
            2
        );
    }
}
