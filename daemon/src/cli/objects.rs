//! `mortise object`: objects of any type.

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::connection::Client;
use super::show::{self, View, plain};
use super::table::{Column, Fit, table};
use super::{Failure, payload, terminal};

#[derive(Debug, Subcommand)]
pub(super) enum ObjectCommand {
    /// Make an object
    #[command(after_help = "Examples:
  mortise object create work '{\"type\": \"ticket\", \"title\": \"It broke\"}'
  mortise object create work @ticket.json")]
    Create {
        /// Name or plural of the type
        object_type: String,
        /// Its fields: a JSON object, @FILE, or - for standard input
        fields: String,
    },
    /// Show an object
    #[command(after_help = "Examples:
  mortise object get work TKT-12
  mortise object get work_01k9...                 the type is known by the id")]
    Get {
        #[command(flatten)]
        which: Which,
    },
    /// List objects of a type, filtered and sorted by its indexed fields
    #[command(after_help = "Examples:
  mortise object list work --where type=ticket --where severity=high --sort modified_date:desc
  mortise object list work --filter '{\"severity\": [\"high\", \"blocker\"]}'
  mortise object list work --json | jq .objects[].title")]
    List {
        /// Name or plural of the type
        object_type: String,
        #[command(flatten)]
        filter: Filter,
        /// A field, with :asc or :desc; oldest first when absent
        #[arg(long, value_name = "FIELD")]
        sort: Option<String>,
        /// At most so many, 1 to 100
        #[arg(long, default_value_t = 50)]
        limit: usize,
        /// Where the last page ended
        #[arg(long)]
        cursor: Option<String>,
    },
    /// Count objects of a type
    #[command(after_help = "Example:
  mortise object count work --where type=ticket")]
    Count {
        /// Name or plural of the type
        object_type: String,
        #[command(flatten)]
        filter: Filter,
    },
    /// Change an object: fields that are not given stay, null clears
    #[command(after_help = "Examples:
  mortise object update work TKT-12 '{\"stage\": {\"name\": \"resolved\"}, \"severity\": null}'
  mortise object update work TKT-12 '{\"owned_by\": {\"add\": [\"DEVU-1\"]}}' --version 4")]
    Update {
        /// Name or plural of the type
        object_type: String,
        /// Id or display id
        id: String,
        /// What changes: a JSON object, @FILE, or - for standard input
        change: String,
        /// Only if it has this version
        #[arg(long, value_name = "NUMBER")]
        version: Option<u64>,
    },
    /// Delete an object that no other refers to
    Delete {
        #[command(flatten)]
        which: Which,
        /// Only if it has this version
        #[arg(long, value_name = "NUMBER")]
        version: Option<u64>,
    },
}

/// Which object.
#[derive(Args, Clone, Debug)]
pub(super) struct Which {
    /// Name or plural of the type; may be left out before an id
    #[arg(value_name = "TYPE")]
    first: String,
    /// Id or display id
    #[arg(value_name = "ID")]
    second: Option<String>,
}

/// Which objects.
#[derive(Args, Clone, Debug)]
pub(super) struct Filter {
    /// Fields, each with a value, a list of values, or operators: JSON, @FILE, or -
    #[arg(long, value_name = "JSON")]
    filter: Option<String>,
    /// A field and its value; several are all to hold, the same field twice is either
    #[arg(long = "where", id = "where", value_name = "FIELD=VALUE")]
    conditions: Vec<String>,
}

impl Filter {
    fn json(&self) -> Result<Value, Failure> {
        let mut members = match &self.filter {
            Some(filter) => payload::object("the filter", filter)?,
            None => Map::new(),
        };
        for condition in &self.conditions {
            let Some((field, text)) = condition.split_once('=') else {
                let message = format!("`{condition}` is no condition: write FIELD=VALUE");
                return Err(Failure::usage(message));
            };
            // A number or a word of JSON is that; the rest is text.
            let value = serde_json::from_str(text).unwrap_or_else(|_| Value::from(text));
            match members.get_mut(field) {
                None => {
                    members.insert(field.to_owned(), value);
                }
                Some(Value::Array(items)) => items.push(value),
                Some(first) => *first = Value::Array(vec![first.take(), value]),
            }
        }
        Ok(Value::Object(members))
    }
}

impl Which {
    fn parameters(&self) -> Value {
        match &self.second {
            Some(id) => json!({ "type": self.first, "id": id }),
            None => json!({ "id": self.first }),
        }
    }
}

pub(super) fn run(client: &Client, as_json: bool, command: ObjectCommand) -> Result<(), Failure> {
    let (name, parameters) = match command {
        ObjectCommand::Create { object_type, fields } => {
            let fields = payload::object("the object", &fields)?;
            ("objects.create", json!({ "type": object_type, "object": fields }))
        }
        ObjectCommand::Get { which } => ("objects.get", which.parameters()),
        ObjectCommand::List { object_type, filter, sort, limit, cursor } => {
            let mut asked =
                json!({ "type": object_type, "filter": filter.json()?, "limit": limit });
            for (name, value) in [("sort_by", sort), ("cursor", cursor)] {
                if let Some(value) = value {
                    asked[name] = json!(value);
                }
            }
            return list(client, as_json, &object_type, &asked);
        }
        ObjectCommand::Count { object_type, filter } => {
            let asked = json!({ "type": object_type, "filter": filter.json()? });
            let answer = client.call("objects.count", &asked)?;
            if as_json {
                return show::answer(&answer, &View::EVERYTHING, true);
            }
            let at_least = if answer["is_exact"] == true { "" } else { "at least " };
            return show::print(&format!("{at_least}{}", answer["count"]));
        }
        ObjectCommand::Update { object_type, id, change, version } => {
            let change = payload::object("the change", &change)?;
            let mut asked = json!({ "type": object_type, "id": id, "object": change });
            if let Some(version) = version {
                asked["version"] = json!(version);
            }
            ("objects.update", asked)
        }
        ObjectCommand::Delete { which, version } => {
            let mut asked = which.parameters();
            if let Some(version) = version {
                asked["version"] = json!(version);
            }
            client.call_for_nothing("objects.delete", &asked)?;
            return show::answer(&json!({}), &View::DONE, as_json);
        }
    };
    show::answer(&client.call(name, &parameters)?, &View::One("object"), as_json)
}

fn list(client: &Client, as_json: bool, object_type: &str, asked: &Value) -> Result<(), Failure> {
    let answer = client.call("objects.list", asked)?;
    if as_json {
        return show::answer(&answer, &View::EVERYTHING, true);
    }
    let named = client.call("object-types.get", &json!({ "name": object_type }))?;
    let title = named["object_type"]["title_field"].as_str();
    let rows = answer["objects"].as_array().map(Vec::as_slice).unwrap_or_default();
    show::print(&drawn(rows, title, terminal::width()))?;
    if let Some(cursor) = answer["next_cursor"].as_str() {
        eprintln!("there are more: --cursor {cursor}");
    }
    Ok(())
}

fn drawn(objects: &[Value], title: Option<&str>, width: Option<usize>) -> String {
    let has_display_ids = objects.iter().any(|it| it["display_id"].is_string());
    let heading = title.unwrap_or_default().to_uppercase();
    let mut columns: Vec<Column> = Vec::new();
    columns.push(("ID", Fit::Whole));
    if has_display_ids {
        columns.push(("CALLED", Fit::Whole));
    }
    if title.is_some() {
        columns.push((&heading, Fit::Cut));
    }
    columns.push(("CHANGED", Fit::Drop));
    let text = |value: &Value| match value {
        Value::Null => String::new(),
        Value::String(text) => plain(text),
        other => plain(&other.to_string()),
    };
    let rows: Vec<Vec<String>> = objects
        .iter()
        .map(|object| {
            let mut row = vec![text(&object["id"])];
            if has_display_ids {
                row.push(text(&object["display_id"]));
            }
            if let Some(title) = title {
                row.push(text(&object[title]));
            }
            row.push(text(&object["modified_date"]));
            row
        })
        .collect();
    table(&columns, &rows, width)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_become_a_filter() {
        let filter = |conditions: &[&str]| {
            let conditions = conditions.iter().map(|it| (*it).to_owned()).collect();
            Filter { filter: None, conditions }.json()
        };
        assert_eq!(
            filter(&["state=open", "rank=3", "rank=4", "name=a=b"]).unwrap(),
            json!({ "state": "open", "rank": [3, 4], "name": "a=b" })
        );
        assert_eq!(filter(&["state"]).unwrap_err().exit_code, 2);
    }

    #[test]
    fn a_list_fits_a_terminal() {
        let object = |id: &str, display_id: Value| {
            json!({
                "id": format!("tkt_01k9zx6yq8n3j4v5w6x7y8z9{id}"), "display_id": display_id,
                "title": "The printer on the third floor is out of paper again\u{7}",
                "modified_date": "2026-05-01T09:59:00.000Z",
            })
        };
        let rows = [object("a1", json!("TKT-1")), object("b2", Value::Null)];
        let shown = drawn(&rows, Some("title"), Some(80));
        assert!(shown.lines().all(|it| it.chars().count() <= 80), "{shown}");
        assert!(shown.starts_with("ID ") && shown.contains("TKT-1"), "{shown}");
        assert!(!shown.contains('\u{7}'), "{shown}");
    }
}
