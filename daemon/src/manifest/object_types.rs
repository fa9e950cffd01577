//! Reads the types of objects that a manifest declares. What is wrong with a definition is judged in
//! `objects`; whether it fits the types of the host only the host can say.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;

use crate::model::object_type::{DisplayIds, ObjectType, Targets};
use crate::objects::definition::{self, default_plural, default_prefix};

use super::fields::{Fields, Reader};
use super::node::Node;
use super::places::place_below;

/// A type with the entry that it stands in.
pub(super) struct Declared<'n> {
    node: &'n Node,
    path: String,
    definition: ObjectType,
}

/// All of them, also checked against one another.
pub(super) fn read(r: &mut Reader, top: &mut Fields<'_>) -> Vec<ObjectType> {
    let items = top.items(r, "object_types");
    let declared: Vec<Declared<'_>> =
        items.iter().filter_map(|(node, path)| object_type(r, node, path)).collect();
    for (number, one) in declared.iter().enumerate() {
        let others = declared.iter().enumerate().filter(|(other, _)| *other != number);
        let others: Vec<&ObjectType> = others.map(|(_, it)| &it.definition).collect();
        if others.iter().any(|it| it.name == one.definition.name) {
            let message = format!("the object type `{}` is declared twice", one.definition.name);
            r.problems.error(one.node.place, &format!("{}.name", one.path), message);
            continue;
        }
        for problem in definition::check_without_host(&one.definition, &others) {
            let path = format!("{}.{}", one.path, problem.field);
            let place = place_below(one.node, &problem.field);
            let allowed = problem.allowed.iter().map(String::as_str);
            r.problems.error_allowing(place, &path, problem.message, allowed);
        }
    }
    declared.into_iter().map(|it| it.definition).collect()
}

fn object_type<'n>(r: &mut Reader, node: &'n Node, path: &str) -> Option<Declared<'n>> {
    let mut fields = Fields::open(r, node, path)?;
    let name = fields.required_text(r, "name", "calls and events are named after it")?;
    let definition = ObjectType {
        plural: fields.text(r, "plural").unwrap_or_else(|| default_plural(&name)),
        id_prefix: fields.text(r, "id_prefix").unwrap_or_else(|| default_prefix(&name)),
        display_name: fields.text(r, "display_name"),
        description: fields.text(r, "description"),
        title_field: fields.text(r, "title_field"),
        display_id: shaped::<DisplayIds>(
            r,
            &mut fields,
            "display_id",
            "a prefix such as `TKT`, or `by` and `prefixes`",
        ),
        indexed: fields.texts(r, "indexed"),
        references: shaped::<BTreeMap<String, Targets>>(
            r,
            &mut fields,
            "references",
            "a mapping from fields to names of object types",
        )
        .unwrap_or_default(),
        plain_references: fields.texts(r, "plain_references"),
        summary: fields.texts(r, "summary"),
        filter_aliases: names(r, &mut fields, "filter_aliases"),
        input_aliases: names(r, &mut fields, "input_aliases"),
        ignored: fields.texts(r, "ignored"),
        event_member: fields.text(r, "event_member"),
        schema: match fields.json(r, "schema") {
            Some(schema) => schema,
            None => {
                fields.missing(r, "schema", "it is the JSON Schema of the type's fields");
                serde_json::json!({ "properties": {} })
            }
        },
        name,
    };
    fields.finish(r);
    Some(Declared { node, path: path.to_owned(), definition })
}

/// Other names, each with the one that it stands for.
fn names(r: &mut Reader, fields: &mut Fields<'_>, key: &'static str) -> BTreeMap<String, String> {
    shaped(r, fields, key, "a mapping from names to names of fields").unwrap_or_default()
}

fn shaped<T: DeserializeOwned>(
    r: &mut Reader,
    fields: &mut Fields<'_>,
    key: &'static str,
    expected: &str,
) -> Option<T> {
    let json = fields.json(r, key)?;
    match serde_json::from_value(json) {
        Ok(read) => Some(read),
        Err(_) => {
            let place = fields.value_place(key);
            r.problems.error(place, &fields.path_of(key), format!("expected {expected}"));
            None
        }
    }
}
