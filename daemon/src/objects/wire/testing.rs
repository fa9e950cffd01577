//! A type for tests.

use serde_json::json;

use crate::model::object_type::ObjectType;

/// Work with an owner, a stage and tags.
pub fn work() -> ObjectType {
    let definition = json!({
        "name": "work",
        "plural": "works",
        "id_prefix": "work",
        "title_field": "title",
        "display_id": "W",
        "indexed": ["title", "stage.name", "priority", "effort", "is_spam", "target_date"],
        "references": { "owned_by": "user", "tags.tag": "tag", "about": "*" },
        "plain_references": ["about"],
        "filter_aliases": {
            "issue.priority": "priority", "tags": "tags.tag", "created_date_v2": "created_date",
        },
        "input_aliases": { "tags.id": "tags.tag", "name": "title" },
        "ignored": ["spec"],
        "schema": {
            "type": "object",
            "additionalProperties": false,
            "properties": {
                "title": { "type": "string" },
                "about": { "type": "string" },
                "priority": { "enum": ["p0", "p1"] },
                "effort": { "type": ["number", "null"] },
                "is_spam": { "type": "boolean" },
                "target_date": { "type": "string", "format": "date-time" },
                "owned_by": { "type": "array", "items": { "type": "string" }, "default": [] },
                "stage": { "type": "object", "properties": { "name": { "type": "string" } } },
                "lines": {
                    "type": "array",
                    "items": { "properties": { "count": { "type": "integer" } } },
                },
                "tags": {
                    "type": "array",
                    "items": { "properties": {
                        "tag": { "type": "string" }, "value": { "type": "string" },
                    } },
                },
            },
        },
    });
    serde_json::from_value(definition).expect("a definition")
}
