//! Reads views of objects. Whether their type has the fields that they ask for is judged when the
//! snap-in is activated: the type may come with it, or be there already.

use crate::model::view::{Column, View};
use crate::objects::view::wrong_name;

use super::fields::{Fields, Reader, read_text};
use super::names::{Space, define};
use super::node::{Kind, Node};

pub(super) fn view(r: &mut Reader, node: &Node, path: &str) -> Option<View> {
    let mut fields = Fields::open(r, node, path)?;
    let name = fields.required_text(r, "name", "a view is called by it").unwrap_or_default();
    if !name.is_empty() {
        let (place, path) = (fields.value_place("name"), fields.path_of("name"));
        if let Some(message) = wrong_name(&name) {
            r.problems.error(place, &path, message);
        }
        define(r, Space::View, &name, place, &path);
    }
    let filter = match fields.json(r, "filter") {
        Some(serde_json::Value::Object(filter)) => filter,
        None | Some(serde_json::Value::Null) => serde_json::Map::new(),
        Some(_) => {
            let message = "expected a mapping: a field, and what its value is";
            r.problems.error(fields.value_place("filter"), &fields.path_of("filter"), message);
            serde_json::Map::new()
        }
    };
    let columns = fields.items(r, "columns");
    let view = View {
        name,
        title: fields.text(r, "title"),
        description: fields.text(r, "description"),
        object_type: fields
            .required_text(r, "object_type", "the type of the objects that it shows")
            .unwrap_or_default(),
        filter,
        sort_by: fields.texts(r, "sort_by"),
        columns: columns.iter().filter_map(|(node, path)| column(r, node, path)).collect(),
    };
    fields.finish(r);
    Some(view)
}

/// A path, or a path with a title.
fn column(r: &mut Reader, node: &Node, path: &str) -> Option<Column> {
    match &node.kind {
        Kind::Scalar(_) => read_text(r, node, path).map(|path| Column { path, title: None }),
        Kind::Map(_) | Kind::List(_) => {
            let mut fields = Fields::open(r, node, path)?;
            let column = Column {
                path: fields
                    .required_text(r, "path", "where its values are in an object")
                    .unwrap_or_default(),
                title: fields.text(r, "title"),
            };
            fields.finish(r);
            Some(column)
        }
    }
}
