//! An object as one flat JSON object: the standard fields, then its own. Written as text, because
//! the writer makes one for every change, from fields that it has as text.

use serde_json::{Map, Value};

use crate::model::id::text_of;
use crate::model::object::{ObjectHead, ObjectKey};
use crate::model::timestamp::rfc3339;

/// The fields that are ours in every object. No type has one of these names.
pub const STANDARD: [&str; 7] =
    ["id", "display_id", "version", "created_date", "modified_date", "created_by", "modified_by"];

/// The object. `fields` is a JSON object; references in it stay ids, and so do principals.
pub fn document(prefix: &str, key: ObjectKey, head: &ObjectHead, fields: &[u8]) -> Vec<u8> {
    let mut standard = Map::new();
    standard.insert("id".to_owned(), Value::String(text_of(prefix, key.id)));
    if let Some(display_id) = &head.display_id {
        standard.insert("display_id".to_owned(), Value::String(display_id.clone()));
    }
    standard.insert("version".to_owned(), Value::from(head.version));
    standard.insert("created_date".to_owned(), Value::String(rfc3339(key.created_ms())));
    standard.insert("modified_date".to_owned(), Value::String(rfc3339(head.modified_ms)));
    standard.insert("created_by".to_owned(), Value::String(head.created_by.clone()));
    standard.insert("modified_by".to_owned(), Value::String(head.modified_by.clone()));
    let mut text = Value::Object(standard).to_string().into_bytes();
    // Two objects become one.
    let own = fields.trim_ascii();
    let own = own.strip_prefix(b"{").unwrap_or(own).trim_ascii_start();
    if !own.is_empty() && own != b"}" {
        text.pop();
        text.push(b',');
        text.extend_from_slice(own);
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn own_fields_follow_the_standard_ones() {
        let key = ObjectKey { kind: 1, id: crate::model::id::first_id_at(1_000) + 1 };
        let head = ObjectHead {
            version: 3,
            modified_ms: 2_000,
            created_by: "token:\"admin\"".to_owned(),
            modified_by: "uid:0".to_owned(),
            display_id: None,
        };
        for fields in ["{}", " { } ", r#"{"title": "a", "tags": [{}]}"#] {
            let text = document("work", key, &head, fields.as_bytes());
            let made: Value = serde_json::from_slice(&text).expect(fields);
            let own: Value = serde_json::from_str(fields).expect(fields);
            assert_eq!(made["version"], json!(3));
            assert_eq!(made["created_date"], json!("1970-01-01T00:00:01.000Z"));
            assert_eq!(made["created_by"], json!("token:\"admin\""));
            let count = made.as_object().map(Map::len);
            assert_eq!(count, own.as_object().map(|it| it.len() + 6), "{made}");
            assert_eq!(made.get("title"), own.get("title"));
        }
    }
}
