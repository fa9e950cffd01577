//! Which source is meant: its id, or the scope of its snap-in and its name.

use serde_json::{Value, json};

use crate::cli::Failure;
use crate::cli::connection::Client;
use crate::configuration::suggest;

/// The id of the source that is meant. What is no scope with a name is an id, for the daemon to judge.
pub(in crate::cli) fn id_of(client: &Client, text: &str) -> Result<String, Failure> {
    let Some((scope, name)) = text.rsplit_once('/') else { return Ok(text.to_owned()) };
    let all =
        client.list_all("event-sources.list", "event_sources", &json!({ "snap_in": scope }))?;
    choose(&all, scope, name).map_err(Failure::refused)
}

fn choose(all: &[Value], scope: &str, name: &str) -> Result<String, String> {
    let text = |it: &Value, key: &str| it[key].as_str().unwrap_or_default().to_owned();
    let found: Vec<&Value> = all.iter().filter(|it| it["name"] == name).collect();
    match found.as_slice() {
        [one] => Ok(text(one, "id")),
        [] => {
            let names: Vec<String> = all.iter().map(|it| text(it, "name")).collect();
            let unknown = suggest::unknown("event source", name, names.iter().map(String::as_str));
            Err(format!("{unknown}; those that there are: mortise source list --snap-in {scope}"))
        }
        several => {
            let ids: Vec<String> = several
                .iter()
                .map(|it| match it["user"].as_str() {
                    Some(user) => format!("{} of {user}", text(it, "id")),
                    None => text(it, "id"),
                })
                .collect();
            Err(format!(
                "several people have an event source `{name}`: name one by its id (allowed: {})",
                ids.join(", ")
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_the_name_is_it() {
        let source =
            |id: &str, name: &str, user: Value| json!({ "id": id, "name": name, "user": user });
        let all = [
            source("1", "hook", Value::Null),
            source("2", "own", json!("u1")),
            source("3", "own", json!("u2")),
        ];
        assert_eq!(choose(&all, "a/b/c", "hook"), Ok("1".to_owned()));
        let several = choose(&all, "a/b/c", "own").expect_err("there are two");
        assert!(several.contains("2 of u1, 3 of u2"), "{several}");
        let none = choose(&all, "a/b/c", "hok").expect_err("there is none");
        assert!(none.contains("hook") && none.contains("--snap-in a/b/c"), "{none}");
    }
}
