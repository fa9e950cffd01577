//! A filter, in which members may stand inside of others, as a flat one: path to condition.

use serde_json::{Map, Value};

use crate::model::object_type::ObjectType;

/// What a condition may say beside being a value or a list of values.
pub const OPERATORS: [&str; 9] = ["eq", "ne", "in", "gt", "gte", "lt", "lte", "prefix", "exists"];

/// What is wrong with a filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrongFilter {
    /// The path.
    pub field: String,
    /// For whoever wrote it.
    pub message: String,
}

/// Makes it flat: other names of fields become their own, and ranges of dates conditions. With
/// `are_texts`, as in a query string, values become what the schema says that they are.
pub fn flatten(
    definition: &ObjectType,
    filter: Map<String, Value>,
    are_texts: bool,
) -> Result<Map<String, Value>, WrongFilter> {
    let mut flat = Flat { definition, are_texts, conditions: Map::new() };
    for (name, value) in filter {
        flat.add(name, value)?;
    }
    Ok(flat.conditions)
}

struct Flat<'a> {
    definition: &'a ObjectType,
    are_texts: bool,
    conditions: Map<String, Value>,
}

impl Flat<'_> {
    fn add(&mut self, path: String, value: Value) -> Result<(), WrongFilter> {
        match value {
            Value::Object(members) if is_range(&members) => {
                let condition = range(&path, members)?;
                self.put(path, condition)
            }
            Value::Object(members)
                if !members.is_empty()
                    && !members.keys().all(|it| OPERATORS.contains(&it.as_str())) =>
            {
                for (name, value) in members {
                    self.add(format!("{path}.{name}"), value)?;
                }
                Ok(())
            }
            condition => self.put(path, condition),
        }
    }

    fn put(&mut self, path: String, condition: Value) -> Result<(), WrongFilter> {
        let own = self.definition.filter_aliases.get(&path).cloned().unwrap_or(path.clone());
        let condition = if self.are_texts {
            read_texts(&self.definition.schema, &own, condition)
        } else {
            condition
        };
        if self.conditions.contains_key(&own) {
            let message = if own == path {
                format!("`{own}` is there twice, once under another name")
            } else {
                format!("`{path}` is another name of `{own}`, which is there too; leave one out")
            };
            return Err(WrongFilter { field: path, message });
        }
        self.conditions.insert(own, condition);
        Ok(())
    }
}

/// Whether it says between which two dates, as `{"after": .., "before": ..}`.
fn is_range(members: &Map<String, Value>) -> bool {
    let names = ["type", "after", "before", "preset_type", "days"];
    let says_so = members.get("type").is_some_and(|it| it == "range" || it == "preset");
    let has_bound = members.contains_key("after") || members.contains_key("before");
    (says_so || has_bound) && members.keys().all(|it| names.contains(&it.as_str()))
}

fn range(path: &str, mut members: Map<String, Value>) -> Result<Value, WrongFilter> {
    if members.contains_key("preset_type") || members.get("type").is_some_and(|it| it == "preset") {
        let message = format!(
            "`{path}` asks for a preset of dates, which is not known here: say \
             {{\"after\": .., \"before\": ..}} with times such as 2026-01-31T12:00:00Z"
        );
        return Err(WrongFilter { field: path.to_owned(), message });
    }
    let bounds = [("after", "gte"), ("before", "lte")];
    let bounds =
        bounds.into_iter().filter_map(|(name, is)| Some((is.to_owned(), members.remove(name)?)));
    Ok(Value::Object(bounds.collect()))
}

/// Texts as what the schema says that the field is; what it says nothing of stays as it is.
fn read_texts(schema: &Value, path: &str, condition: Value) -> Value {
    match condition {
        Value::Object(members) => {
            let read = members.into_iter().map(|(operator, value)| {
                let value = match (operator.as_str(), &value) {
                    ("exists", Value::String(text)) => boolean(text).unwrap_or(value),
                    _ => read_texts(schema, path, value),
                };
                (operator, value)
            });
            Value::Object(read.collect())
        }
        Value::Array(items) => items.into_iter().map(|it| read_texts(schema, path, it)).collect(),
        Value::String(text) => {
            let read = types_at(schema, path).iter().find_map(|it| match *it {
                "integer" => text.parse::<i64>().ok().map(Value::from),
                "number" => serde_json::from_str(&text).ok().filter(Value::is_number),
                "boolean" => boolean(&text),
                _ => None,
            });
            read.unwrap_or(Value::String(text))
        }
        other => other,
    }
}

fn boolean(text: &str) -> Option<Value> {
    text.parse::<bool>().ok().map(Value::from)
}

/// The types that a schema allows at a path, as far as it says so without detours.
fn types_at<'a>(schema: &'a Value, path: &str) -> Vec<&'a str> {
    if path == "version" {
        return vec!["integer"];
    }
    let mut at = schema;
    for step in path.split('.') {
        // Of a list, each item is meant.
        while let Some(items) = at.get("items") {
            at = items;
        }
        let Some(inside) = at.get("properties").and_then(|it| it.get(step)) else {
            return Vec::new();
        };
        at = inside;
    }
    while let Some(items) = at.get("items") {
        at = items;
    }
    match at.get("type") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::work;
    use super::*;

    fn flat(filter: Value, are_texts: bool) -> Result<Value, WrongFilter> {
        let Value::Object(filter) = filter else { panic!("{filter} is no object") };
        flatten(&work(), filter, are_texts).map(Value::Object)
    }

    #[test]
    fn members_inside_of_others_are_paths() {
        let filter = json!({
            "stage": { "name": ["queued", "done"] },
            "issue": { "priority": ["p0"] },
            "tags": ["TAG-1"],
            "title": { "prefix": "a" },
            "effort": { "gte": 1, "lt": 3 },
            "custom": { "a": { "b": { "ne": 1 } }, "c": null },
            "empty": {},
        });
        let wanted = json!({
            "stage.name": ["queued", "done"],
            "priority": ["p0"],
            "tags.tag": ["TAG-1"],
            "title": { "prefix": "a" },
            "effort": { "gte": 1, "lt": 3 },
            "custom.a.b": { "ne": 1 },
            "custom.c": null,
            "empty": {},
        });
        assert_eq!(flat(filter, false), Ok(wanted));
    }

    #[test]
    fn dates_have_ranges() {
        let (from, to) = ("2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z");
        for filter in [
            json!({ "created_date_v2": { "type": "range", "after": from, "before": to } }),
            json!({ "created_date": { "after": from, "before": to } }),
        ] {
            let wanted = json!({ "created_date": { "gte": from, "lte": to } });
            assert_eq!(flat(filter, false), Ok(wanted));
        }
        let preset = json!({ "target_date": { "type": "preset", "preset_type": "last_n_days" } });
        let wrong = flat(preset, false).expect_err("a preset");
        assert!(wrong.field == "target_date" && wrong.message.contains("preset"), "{wrong:?}");
        // A member called `type` is no range.
        let inside = json!({ "issue": { "type": ["a"] } });
        assert_eq!(flat(inside, false), Ok(json!({ "issue.type": ["a"] })));
    }

    #[test]
    fn texts_of_a_query_become_what_the_schema_says() {
        let filter = json!({
            "effort": ["1.5", "2"],
            "is_spam": "true",
            "lines": { "count": "7" },
            "title": ["12", "true"],
            "version": "3",
            "stage": { "name": { "exists": "false" } },
            "priority": "p0",
        });
        let wanted = json!({
            "effort": [1.5, 2],
            "is_spam": true,
            "lines.count": 7,
            "title": ["12", "true"],
            "version": 3,
            "stage.name": { "exists": false },
            "priority": "p0",
        });
        assert_eq!(flat(filter.clone(), true), Ok(wanted));
        assert_eq!(flat(json!({ "effort": "2" }), false), Ok(json!({ "effort": "2" })));
        assert_eq!(flat(json!({ "effort": "much" }), true), Ok(json!({ "effort": "much" })));
    }

    #[test]
    fn the_same_twice_is_refused() {
        for filter in [
            json!({ "issue": { "priority": "p0" }, "priority": "p1" }),
            json!({ "stage": { "name": "a" }, "stage.name": "b" }),
        ] {
            assert!(flat(filter.clone(), false).is_err(), "{filter}");
        }
    }
}
