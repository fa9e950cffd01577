//! Which paths an archive may use. Pure; the same rules for every format.

use super::{ArchiveError, Limits};

/// Every common file system's limit.
const MAX_COMPONENT: usize = 255;

/// The path in its plain form, or why it is refused. Empty for the archive's own root (`./`).
pub(super) fn plain_path(raw: &[u8], limits: &Limits) -> Result<String, ArchiveError> {
    let refuse = |objection: String| {
        Err(ArchiveError::Entry { path: shown(&String::from_utf8_lossy(raw)), objection })
    };
    let Ok(path) = std::str::from_utf8(raw) else {
        return refuse("has a name that is not UTF-8".to_owned());
    };
    if path.is_empty() {
        return refuse("has no name".to_owned());
    }
    if path.len() > limits.path_bytes {
        let most = limits.path_bytes;
        return refuse(format!("has a path of {} bytes; at most {most} are allowed", path.len()));
    }
    if path.contains(char::is_control) {
        return refuse("has a control character in its name".to_owned());
    }
    if path.contains('\\') {
        return refuse("has a backslash in its name; components are separated by `/`".to_owned());
    }
    if path.starts_with('/') {
        return refuse("has an absolute path; only relative ones are allowed".to_owned());
    }
    if let [letter, b':', ..] = raw
        && letter.is_ascii_alphabetic()
    {
        return refuse("has a drive letter; only relative paths are allowed".to_owned());
    }
    let mut components = Vec::new();
    for component in path.split('/') {
        match component {
            "" | "." => continue,
            ".." => return refuse("has `..` in its path".to_owned()),
            _ if component.len() > MAX_COMPONENT => {
                return refuse(format!(
                    "has a component of {} bytes; at most {MAX_COMPONENT} are allowed",
                    component.len()
                ));
            }
            _ => components.push(component),
        }
    }
    if components.len() > limits.path_depth {
        let most = limits.path_depth;
        return refuse(format!("is {} levels deep; at most {most} are allowed", components.len()));
    }
    Ok(components.join("/"))
}

/// A path as it stands in a message: cut, and without control characters.
pub(super) fn shown(path: &str) -> String {
    const MOST: usize = 100;
    let mut shown: String = path
        .chars()
        .take(MOST)
        .map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c })
        .collect();
    if path.chars().nth(MOST).is_some() {
        shown.push('…');
    }
    shown
}
