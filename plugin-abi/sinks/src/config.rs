//! Reading a configuration, with all that is wrong with it.

use mortise_plugin::{Fault, Problem};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// A configuration as its type; its schema was checked before, so that this seldom fails.
pub fn read_config<T: DeserializeOwned>(value: Value) -> Result<T, Fault> {
    serde_json::from_value(value).map_err(|error| wrong(vec![Problem::at("", error.to_string())]))
}

/// The fault of a configuration with problems.
pub fn wrong(problems: Vec<Problem>) -> Fault {
    Fault::config("the configuration is wrong", problems)
}

/// Says what is wrong with a URL, without repeating it: it may hold a secret.
pub fn check_url(path: &str, url: &str, problems: &mut Vec<Problem>) {
    let rest = ["https://", "http://"].iter().find_map(|scheme| {
        let start = url.get(..scheme.len())?;
        start.eq_ignore_ascii_case(scheme).then(|| &url[scheme.len()..])
    });
    let what = match rest {
        None => "must begin with https:// or http://",
        Some(rest) if rest.starts_with(['/', '?', '#', ':']) || rest.is_empty() => {
            "must name a host after its scheme"
        }
        Some(_) if !url.bytes().all(|it| it.is_ascii_graphic()) => {
            "must be without spaces, and with %XX for what is beyond ASCII"
        }
        Some(rest) if rest.split(['/', '?', '#']).next().is_some_and(|it| it.contains('@')) => {
            "must be without a name and password before its host"
        }
        Some(_) => return,
    };
    problems.push(Problem::at(path, what));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_checked() {
        let wrong = |url: &str| {
            let mut problems = Vec::new();
            check_url("url", url, &mut problems);
            !problems.is_empty()
        };
        for bad in
            ["", "a.example", "ftp://a", "https://", "https:///x", "http://a b", "http://a@b/"]
        {
            assert!(wrong(bad), "{bad}");
        }
        for good in ["https://a.example", "HTTP://127.0.0.1:8/x?y=@z", "https://[::1]/"] {
            assert!(!wrong(good), "{good}");
        }
    }
}
