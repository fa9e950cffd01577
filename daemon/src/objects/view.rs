//! Views: what is wrong with the columns of one, and what stands in its cells. Filter and order are
//! those of lists, and are judged as theirs are.

use serde_json::Value;

use super::FieldProblem;
use super::document::STANDARD;
use crate::configuration::suggest;
use crate::model::object_type::ObjectType;
use crate::model::view::{Column, View};

/// The most columns that a view may have.
pub const MOST_COLUMNS: usize = 40;
/// The longest name.
pub const MOST_NAME: usize = 64;
/// The longest title, of the view or of a column, in characters.
pub const MOST_TITLE: usize = 200;
/// The longest description, in characters.
pub const MOST_DESCRIPTION: usize = 2_000;
/// The longest path of a column, in bytes.
const MOST_PATH: usize = 1_000;

/// What is wrong with the name: it stands in commands and in URLs of pages.
pub fn wrong_name(name: &str) -> Option<String> {
    let is_right = |it: u8| it.is_ascii_lowercase() || it.is_ascii_digit() || b"-_.".contains(&it);
    let ends = [name.bytes().next(), name.bytes().last()];
    let is_name = name.len() <= MOST_NAME
        && name.bytes().all(is_right)
        && ends.iter().flatten().count() == 2
        && ends.iter().flatten().all(u8::is_ascii_alphanumeric);
    (!is_name).then(|| {
        format!(
            "{} is no name of a view: expected 1 to {MOST_NAME} characters of a-z, 0-9, `-`, `_`, \
             `.`, that start and end with a letter or digit",
            suggest::quoted(name)
        )
    })
}

/// Everything that is wrong with what people read: lists and tables show it.
pub fn wrong_texts(view: &View) -> Vec<FieldProblem> {
    let title = ("title".to_owned(), &view.title, MOST_TITLE);
    let description = ("description".to_owned(), &view.description, MOST_DESCRIPTION);
    // What is too much of columns is told once.
    let columns = view.columns.iter().take(MOST_COLUMNS).enumerate();
    let columns = columns.map(|(at, it)| (format!("columns[{at}].title"), &it.title, MOST_TITLE));
    [title, description]
        .into_iter()
        .chain(columns)
        .filter_map(|(field, text, most)| {
            let count = text.as_ref()?.chars().count();
            let message = format!("has {count} characters: at most {most} are allowed");
            (count > most).then(|| FieldProblem::new(&field, message))
        })
        .collect()
}

/// Everything that is wrong with the columns.
pub fn wrong_columns(view: &View, definition: &ObjectType) -> Vec<FieldProblem> {
    let mut problems = Vec::new();
    if view.columns.len() > MOST_COLUMNS {
        problems.push(FieldProblem {
            field: "columns".to_owned(),
            message: format!(
                "a view of {} columns cannot be read; at most {MOST_COLUMNS} are allowed",
                view.columns.len()
            ),
            allowed: Vec::new(),
        });
    }
    for (at, column) in view.columns.iter().enumerate() {
        if let Some((message, allowed)) = wrong_path(&column.path, definition) {
            problems.push(FieldProblem { field: format!("columns[{at}].path"), message, allowed });
        }
    }
    problems
}

/// The columns that are shown: those of the view, or what says which object it is.
pub fn shown_columns(view: &View, definition: &ObjectType) -> Vec<Column> {
    if !view.columns.is_empty() {
        return view.columns.clone();
    }
    let id = if definition.display_id.is_some() { "display_id" } else { "id" };
    let title = definition.title_field.as_deref();
    let paths = [Some(id), title, Some("modified_date")];
    paths.into_iter().flatten().map(|it| Column { path: it.to_owned(), title: None }).collect()
}

/// What stands in a cell: the value at a path of an object as it is shown, and of lists on the way all
/// that is found.
pub fn cell(object: &Value, path: &str) -> Value {
    let mut found = object;
    let mut rest = Some(path);
    while let Some(path) = rest {
        let (name, behind) = match path.split_once('.') {
            Some((name, behind)) => (name, Some(behind)),
            None => (path, None),
        };
        match found {
            Value::Object(members) => match members.get(name) {
                Some(inside) => found = inside,
                None => return Value::Null,
            },
            Value::Array(items) => {
                let all = items.iter().map(|it| cell(it, path)).filter(|it| !it.is_null());
                return all.collect();
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                return Value::Null;
            }
        }
        rest = behind;
    }
    found.clone()
}

/// Only the first step can be judged: what a reference leads to has members of its own, and schemas
/// may leave open what is further in.
fn wrong_path(path: &str, definition: &ObjectType) -> Option<(String, Vec<String>)> {
    if path.len() > MOST_PATH || path.split('.').any(str::is_empty) {
        let message = format!(
            "{} is no path: it is names with dots in between, such as owned_by.display_name, of at most \
             {MOST_PATH} bytes",
            suggest::quoted(path)
        );
        return Some((message, Vec::new()));
    }
    let first = path.split('.').next().unwrap_or(path);
    let properties = definition.schema.get("properties").and_then(Value::as_object)?;
    // What schemas say in other ways, such as by `$ref`, is not known here.
    let is_closed = definition.schema.get("additionalProperties") == Some(&Value::Bool(false));
    let beside = definition
        .plain_references
        .iter()
        .flat_map(|it| [format!("{it}_display_id"), format!("{it}_type")]);
    let mut known: Vec<String> = properties.keys().cloned().collect();
    known.extend(STANDARD.map(str::to_owned));
    known.extend(beside);
    if !is_closed || known.iter().any(|it| it == first) {
        return None;
    }
    let what = format!("field of {}", definition.name);
    let message = suggest::unknown(&what, first, known.iter().map(String::as_str));
    Some((message, known))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::wire::testing::work;
    use super::*;

    #[test]
    fn what_people_read_is_bounded() {
        let mut long = view(&["title"]);
        long.title = Some("ä".repeat(MOST_TITLE));
        long.columns[0].title = Some("x".repeat(MOST_TITLE));
        long.description = Some("x".repeat(MOST_DESCRIPTION));
        assert_eq!(wrong_texts(&long), []);
        for text in [&mut long.title, &mut long.columns[0].title, &mut long.description] {
            text.as_mut().unwrap().push('x');
        }
        let problems = wrong_texts(&long);
        let fields: Vec<&str> = problems.iter().map(|it| it.field.as_str()).collect();
        assert_eq!(fields, ["title", "description", "columns[0].title"]);
        assert_eq!(problems[0].message, "has 201 characters: at most 200 are allowed");
        assert!(wrong_path(&"x".repeat(MOST_PATH + 1), &work()).is_some());
    }

    fn view(columns: &[&str]) -> View {
        let columns = columns.iter().map(|it| json!({ "path": it })).collect::<Vec<_>>();
        let view = json!({ "name": "mine", "object_type": "work", "columns": columns });
        serde_json::from_value(view).expect("a view")
    }

    #[test]
    fn columns_that_no_object_has_are_named() {
        let right = ["title", "owned_by.display_name", "display_id", "modified_date", "about_type"];
        assert_eq!(wrong_columns(&view(&right), &work()), []);
        let problems = wrong_columns(&view(&["title", "titel", "a..b", ""]), &work());
        let fields: Vec<&str> = problems.iter().map(|it| it.field.as_str()).collect();
        assert_eq!(fields, ["columns[1].path", "columns[2].path", "columns[3].path"]);
        assert!(problems[0].message.contains("`titel`"), "{problems:?}");
        assert!(problems[0].allowed.contains(&"title".to_owned()), "{problems:?}");
        let many = vec!["title"; MOST_COLUMNS + 1];
        assert_eq!(wrong_columns(&view(&many), &work())[0].field, "columns");
    }

    #[test]
    fn a_type_that_leaves_fields_open_has_all_columns() {
        let mut open = work();
        open.schema["additionalProperties"] = json!(true);
        assert_eq!(wrong_columns(&view(&["anything.at.all"]), &open), []);
    }

    #[test]
    fn without_columns_it_says_which_object_it_is() {
        let paths = |definition: &ObjectType| -> Vec<String> {
            shown_columns(&view(&[]), definition).into_iter().map(|it| it.path).collect()
        };
        assert_eq!(paths(&work()), ["display_id", "title", "modified_date"]);
        let bare = ObjectType { display_id: None, title_field: None, ..work() };
        assert_eq!(paths(&bare), ["id", "modified_date"]);
        assert_eq!(shown_columns(&view(&["id"]), &work()).len(), 1);
    }

    #[test]
    fn cells_are_found_through_references_and_lists() {
        let object = json!({
            "title": "a",
            "stage": { "name": "queued" },
            "owned_by": [{ "display_name": "Ada" }, { "id": "devu_1" }, { "display_name": "Bob" }],
            "tags": [{ "tag": { "name": "x" } }, { "tag": { "name": "y" } }],
        });
        for (path, wanted) in [
            ("title", json!("a")),
            ("stage.name", json!("queued")),
            ("owned_by.display_name", json!(["Ada", "Bob"])),
            ("tags.tag.name", json!(["x", "y"])),
            ("title.more", json!(null)),
            ("absent", json!(null)),
            ("stage", json!({ "name": "queued" })),
        ] {
            assert_eq!(cell(&object, path), wanted, "{path}");
        }
    }

    #[test]
    fn names_can_be_typed() {
        for name in ["a", "open-tickets", "9_lives", "a.b"] {
            assert_eq!(wrong_name(name), None);
        }
        for name in ["", "-a", "a-", "A", "a b", "ä", &"a".repeat(MOST_NAME + 1)] {
            assert!(wrong_name(name).is_some(), "{name}");
        }
    }
}
