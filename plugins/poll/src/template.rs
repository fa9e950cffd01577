//! The request of a poll: what is configured, with the cursor in the place of `{{cursor}}`.

use serde_json::Value;

/// What stands for the cursor.
const PLACE: &str = "{{cursor}}";

/// A request as it is configured.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) url: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Option<String>,
}

impl Request {
    /// Whether a cursor has a place in it.
    pub(crate) fn has_place(&self) -> bool {
        let mut texts = self.headers.iter().map(|it| &it.1).chain(&self.body).chain([&self.url]);
        texts.any(|it| it.contains(PLACE))
    }

    /// What looks like a place for something else, and stays as it is.
    pub(crate) fn other_places(&self) -> Vec<&str> {
        let texts = self.headers.iter().map(|it| &it.1).chain(&self.body).chain([&self.url]);
        let mut found = Vec::new();
        for text in texts {
            let mut rest = text.as_str();
            while let Some((_, after)) = rest.split_once("{{") {
                let Some((name, behind)) = after.split_once("}}") else { break };
                let is_name =
                    name.trim().bytes().all(|it| it.is_ascii_alphanumeric() || it == b'_');
                if is_name && name != "cursor" {
                    found.push(name);
                }
                rest = behind;
            }
        }
        found
    }

    /// The request for a cursor. In the URL it is encoded; in a body that is JSON it is written as
    /// the inside of a text is.
    pub(crate) fn with_cursor(&self, cursor: &str) -> Request {
        let body_cursor = match &self.body {
            Some(body) if serde_json::from_str::<Value>(body).is_ok() => {
                let quoted = Value::from(cursor).to_string();
                quoted[1..quoted.len() - 1].to_owned()
            }
            Some(_) | None => cursor.to_owned(),
        };
        let headers = self.headers.iter();
        Request {
            method: self.method.clone(),
            url: self.url.replace(PLACE, &encoded(cursor)),
            headers: headers.map(|(key, it)| (key.clone(), it.replace(PLACE, cursor))).collect(),
            body: self.body.as_ref().map(|it| it.replace(PLACE, &body_cursor)),
        }
    }
}

/// A text as it may stand in a path or query.
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// Whether a text may be the value of a header.
pub(crate) fn is_header_value(text: &str) -> bool {
    text.bytes().all(|it| (b' '..=b'~').contains(&it) || it == b'\t')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cursor_is_put_in() {
        let request = Request {
            method: "POST".to_owned(),
            url: "https://a.example/?after={{cursor}}&x={{cursor}}".to_owned(),
            headers: vec![("x-after".to_owned(), "<{{cursor}}>".to_owned())],
            body: Some(r#"{"after": "{{cursor}}"}"#.to_owned()),
        };
        assert!(request.has_place());
        let made = request.with_cursor("a b\"&ä");
        assert_eq!(made.url, "https://a.example/?after=a%20b%22%26%C3%A4&x=a%20b%22%26%C3%A4");
        assert_eq!(made.headers[0].1, "<a b\"&ä>");
        assert!(!is_header_value(&made.headers[0].1));
        assert_eq!(made.body.unwrap(), r#"{"after": "a b\"&ä"}"#);
        let plain = Request { body: Some("after={{cursor}}".to_owned()), ..Request::default() };
        assert_eq!(plain.with_cursor("\"").body.unwrap(), "after=\"");
        assert!(!Request::default().has_place());
        let odd = Request {
            url: "https://a.example/{{cursr}}?{{cursor}}".to_owned(),
            body: Some(r#"{"a": {"b": {}}, "c": "{{ cursor }}"}"#.to_owned()),
            ..Request::default()
        };
        assert_eq!(odd.other_places(), [" cursor ", "cursr"]);
        assert!(is_header_value("a \t~") && !is_header_value("a\nb"));
    }
}
