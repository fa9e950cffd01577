//! Members of an object of the configuration, read one by one, with all that is wrong with them.
//!
//! Problems name paths and what is allowed, never what stands there: it may be a secret.

use mortise_plugin::Problem;
use serde_json::{Map, Value};

/// An object that is being read.
pub(super) struct Members<'c> {
    path: String,
    fields: &'c Map<String, Value>,
    pub(super) problems: Vec<Problem>,
}

impl<'c> Members<'c> {
    pub(super) fn new(path: &str, fields: &'c Map<String, Value>) -> Members<'c> {
        Members { path: path.to_owned(), fields, problems: Vec::new() }
    }

    pub(super) fn get(&self, name: &str) -> Option<&'c Value> {
        self.fields.get(name).filter(|it| !it.is_null())
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// A problem with one member.
    pub(super) fn wrong(&mut self, name: &str, message: impl Into<String>) {
        let path = format!("{}.{name}", self.path);
        self.problems.push(Problem { path, message: message.into(), location: None });
    }

    /// A problem with the whole.
    pub(super) fn wrong_here(&mut self, message: impl Into<String>) {
        let path = self.path.clone();
        self.problems.push(Problem { path, message: message.into(), location: None });
    }

    /// A text that is not empty.
    pub(super) fn text(&mut self, name: &str) -> Option<&'c str> {
        match self.get(name)? {
            Value::String(text) if !text.is_empty() => Some(text),
            _ => {
                self.wrong(name, "must be a text that is not empty");
                None
            }
        }
    }

    /// A text that may be empty.
    pub(super) fn any_text(&mut self, name: &str) -> Option<&'c str> {
        match self.get(name)? {
            Value::String(text) => Some(text),
            _ => {
                self.wrong(name, "must be a text");
                None
            }
        }
    }

    /// The name of a header.
    pub(super) fn header(&mut self, name: &str) -> Option<String> {
        let text = self.text(name)?;
        if text.bytes().all(crate::query::is_token) {
            return Some(text.to_owned());
        }
        self.wrong(name, "must be the name of a header, such as `X-Signature`");
        None
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(&mut self, name: &str, choices: &[(&str, T)], otherwise: T) -> T {
        let Some(value) = self.get(name) else { return otherwise };
        let found = choices.iter().find(|(word, _)| value.as_str() == Some(word));
        if let Some((_, choice)) = found {
            return *choice;
        }
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        self.wrong(name, format!("must be {}", any_of(&words)));
        otherwise
    }

    /// Complains about what is not known.
    pub(super) fn only(&mut self, allowed: &[&str], of: &str) {
        let fields = self.fields;
        for name in fields.keys().filter(|it| !allowed.contains(&it.as_str())) {
            let list = allowed.join(", ");
            self.wrong(
                name,
                match nearest(name, allowed) {
                    Some(nearest) => {
                        format!("is not known {of}; did you mean `{nearest}`? Known are {list}")
                    }
                    None => format!("is not known {of}; known are {list}"),
                },
            );
        }
    }
}

/// `a`, `b` or `c`.
pub(super) fn any_of(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|it| format!("`{it}`")).collect();
    match quoted.split_last() {
        None => String::new(),
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
    }
}

/// The allowed name that was probably meant.
pub(super) fn nearest<'n>(wrong: &str, allowed: &[&'n str]) -> Option<&'n str> {
    let plain = |it: &str| it.to_ascii_lowercase().replace(['_', '-', ' '], "");
    let wrong = plain(wrong);
    let far = |it: &&str| strsim::osa_distance(&wrong, &plain(it));
    let nearest = allowed.iter().copied().min_by_key(far)?;
    (far(&nearest) <= 1 + wrong.chars().count() / 4).then_some(nearest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name() {
        let allowed = ["secret", "scheme", "tolerance_seconds"];
        assert_eq!(nearest("Secrets", &allowed), Some("secret"));
        assert_eq!(nearest("toleranceSeconds", &allowed), Some("tolerance_seconds"));
        assert_eq!(nearest("shceme", &allowed), Some("scheme"));
        assert_eq!(nearest("colour", &allowed), None);
        assert_eq!(nearest("x", &[]), None);
    }

    #[test]
    fn lists_of_words() {
        assert_eq!(any_of(&["a"]), "`a`");
        assert_eq!(any_of(&["a", "b", "c"]), "`a`, `b` or `c`");
    }
}
