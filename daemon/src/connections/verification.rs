//! What an external system's answer says about a secret, and which of its organizations a secret
//! belongs to.

use serde_json::Value;

use super::request::excerpt;
use crate::model::keyring::ExternalOrganization;

/// The most organizations that somebody can pick from.
const MOST_ORGANIZATIONS: usize = 1000;

/// What an answer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The secret is good.
    Good,
    /// It is not; with what can be shown of the answer.
    Bad(String),
    /// The other side cannot say at the moment.
    Unknown(String),
}

/// Reads the answer to a `token_verification`. A redirect is no success: it mostly leads to a page
/// where people log in.
pub fn verdict(status: u16, body: &[u8], secrets: &[&str]) -> Verdict {
    match status {
        200..300 => Verdict::Good,
        408 | 425 | 429 | 500.. => Verdict::Unknown(answered(status, body, secrets)),
        _ => Verdict::Bad(answered(status, body, secrets)),
    }
}

/// `answered 401: <what it said>`.
pub fn answered(status: u16, body: &[u8], secrets: &[&str]) -> String {
    let said = excerpt(body, secrets);
    if said.is_empty() {
        format!("answered {status}")
    } else {
        format!("answered {status}: {said}")
    }
}

/// Reads what `response_jq` made of an answer: one organization or a list of them.
pub fn organizations(value: &Value) -> Result<Vec<ExternalOrganization>, String> {
    let one = std::slice::from_ref(value);
    let items = value.as_array().map_or(one, Vec::as_slice);
    if items.is_empty() {
        return Err("the secret gives access to no organization".to_owned());
    }
    let mut found: Vec<ExternalOrganization> = Vec::new();
    for item in items.iter().take(MOST_ORGANIZATIONS) {
        let id = text_of(&item["id"]).filter(|it| !it.is_empty());
        let id = id.ok_or_else(|| {
            "`response_jq` of `organization_data` gave no object with an `id`".to_owned()
        })?;
        if found.iter().all(|it| it.id != id) {
            found.push(ExternalOrganization { id, name: text_of(&item["name"]) });
        }
    }
    Ok(found)
}

fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Which organization is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// This one.
    One(ExternalOrganization),
    /// One of these has to be named.
    Ask(Vec<ExternalOrganization>),
}

/// The organization that is asked for by id or name, or the only one.
pub fn choose(mut found: Vec<ExternalOrganization>, asked: Option<&str>) -> Choice {
    let place = match asked {
        None if found.len() == 1 => Some(0),
        None => None,
        Some(asked) => {
            let by_id = found.iter().position(|it| it.id == asked);
            by_id.or_else(|| found.iter().position(|it| it.name.as_deref() == Some(asked)))
        }
    };
    match place {
        Some(place) => Choice::One(found.swap_remove(place)),
        None => Choice::Ask(found),
    }
}

/// Whether a text can be a subdomain: labels of a host name.
pub fn is_subdomain(text: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'-' || it == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= 200 && text.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn statuses() {
        assert_eq!(verdict(204, b"", &[]), Verdict::Good);
        for status in [301, 302, 400, 401, 403, 404] {
            assert!(matches!(verdict(status, b"", &[]), Verdict::Bad(_)), "{status}");
        }
        for status in [408, 429, 500, 503] {
            assert!(matches!(verdict(status, b"", &[]), Verdict::Unknown(_)), "{status}");
        }
        let bad = verdict(401, b"no such key: hunter22", &["hunter22"]);
        assert_eq!(bad, Verdict::Bad("answered 401: no such key: ********".to_owned()));
    }

    #[test]
    fn organizations_are_picked() {
        let found = |value: Value| organizations(&value);
        let named = |id: &str, name: &str| ExternalOrganization {
            id: id.to_owned(),
            name: Some(name.to_owned()),
        };
        let one = found(json!({ "id": 7, "name": "Acme" })).expect("one");
        assert_eq!(choose(one, None), Choice::One(named("7", "Acme")));
        let two = json!([{ "id": "a", "name": "A" }, { "id": "b", "name": "B" }, { "id": "a" }]);
        let two = found(two).expect("two");
        assert_eq!(two.len(), 2);
        assert_eq!(choose(two.clone(), None), Choice::Ask(two.clone()));
        assert_eq!(choose(two.clone(), Some("b")), Choice::One(named("b", "B")));
        assert_eq!(choose(two.clone(), Some("A")), Choice::One(named("a", "A")));
        assert_eq!(choose(two.clone(), Some("c")), Choice::Ask(two));
        for nothing in [json!([]), json!(null), json!({ "name": "x" }), json!(["x"])] {
            assert!(organizations(&nothing).is_err(), "{nothing}");
        }
    }

    #[test]
    fn subdomains() {
        for good in ["acme", "acme-1", "a.b", "x_y"] {
            assert!(is_subdomain(good), "{good}");
        }
        for bad in ["", "a b", "https://acme.com", "a/b", "-a", "a.", "a@b", "é"] {
            assert!(!is_subdomain(bad), "{bad}");
        }
    }
}
