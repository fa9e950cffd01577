//! Which integration is meant, and what it is called: ids are for programs, people say `slack/ops`.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::cli::Failure;
use crate::cli::connection::Client;

/// What ids of integrations begin with.
const PREFIX: &str = "itg_";
/// Names that are asked for, for one answer. More than that are shown as ids.
const MOST_NAMES: usize = 100;

/// How somebody says which integration he means.
#[derive(Debug, PartialEq, Eq)]
enum Said<'a> {
    Id(&'a str),
    Name { kind: &'a str, name: &'a str },
}

fn read(text: &str) -> Result<Said<'_>, String> {
    match text.split_once('/') {
        Some((kind, name)) if !kind.is_empty() && !name.is_empty() => Ok(Said::Name { kind, name }),
        None if text.starts_with(PREFIX) => Ok(Said::Id(text)),
        Some(_) | None => Err(format!(
            "`{text}` names no integration: expected its type and name, such as slack/ops, or its id; \
             those that there are: mortise integration list"
        )),
    }
}

/// The id of an integration: it is given, or its type and name as in `slack/ops`.
pub(in crate::cli) fn id_of(client: &Client, text: &str) -> Result<String, Failure> {
    match read(text).map_err(Failure::usage)? {
        Said::Id(id) => Ok(id.to_owned()),
        Said::Name { kind, name } => {
            let found = client.call("integrations.find", &json!({ "type": kind, "name": name }))?;
            Ok(found["integration"]["id"].as_str().unwrap_or_default().to_owned())
        }
    }
}

/// The same, where none may be meant.
pub(in crate::cli) fn maybe_id_of(
    client: &Client,
    text: Option<&str>,
) -> Result<Option<String>, Failure> {
    text.map(|it| id_of(client, it)).transpose()
}

/// What integrations are called, for those that the caller may see.
#[derive(Default)]
pub(in crate::cli) struct Names(BTreeMap<String, String>);

impl Names {
    /// Of these ids. An integration that is gone, or not his to see, keeps its id.
    pub(in crate::cli) fn of<'a>(
        client: &Client,
        ids: impl Iterator<Item = &'a Value>,
    ) -> Result<Names, Failure> {
        let mut names = BTreeMap::new();
        for id in ids.filter_map(Value::as_str) {
            if names.len() == MOST_NAMES || names.contains_key(id) {
                continue;
            }
            let found = client.try_call("integrations.get", &json!({ "id": id }))?;
            let name = found.ok().and_then(|it| {
                let about = &it["integration"];
                Some(format!("{}/{}", about["type"].as_str()?, about["name"].as_str()?))
            });
            names.insert(id.to_owned(), name.unwrap_or_else(|| id.to_owned()));
        }
        Ok(Names(names))
    }

    /// `slack/ops`, or the id.
    pub(in crate::cli) fn say(&self, id: &Value) -> String {
        let id = id.as_str().unwrap_or_default();
        self.0.get(id).map_or_else(|| id.to_owned(), Clone::clone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_integration_is_said_by_id_or_by_type_and_name() {
        assert_eq!(read("itg_01"), Ok(Said::Id("itg_01")));
        assert_eq!(read("slack/ops"), Ok(Said::Name { kind: "slack", name: "ops" }));
        for wrong in ["", "ops", "/ops", "slack/", "run_01"] {
            let refused = read(wrong).expect_err(wrong);
            assert!(refused.contains("slack/ops") && refused.contains("integration list"));
        }
    }
}
