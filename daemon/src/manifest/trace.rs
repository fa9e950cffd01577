//! What a parse knew and what it met, for the test that every key of a manifest has a fixture. It must
//! never be part of the product.

use std::collections::BTreeSet;

use super::node::Entry;

/// What is read alike: sections that have levels, and what has another key too.
const SECTIONS: [(&str, &str); 16] = [
    ("event_sources.organization[].", "event_sources[]."),
    ("event_sources.user[].", "event_sources[]."),
    ("event-sources[].", "event_sources[]."),
    ("inputs.organization[].", "inputs[]."),
    ("inputs.user[].", "inputs[]."),
    ("globals[].", "inputs[]."),
    ("keyrings.organization[].", "keyrings[]."),
    ("keyrings.user[].", "keyrings[]."),
    ("connections[].", "keyrings[]."),
    ("developer_connections[].", "developer_keyrings[]."),
    ("configuration_handler.user.", "configuration_handler.organization."),
    ("developer_keyrings[].types[]", "keyrings[].types[]"),
    ("operations[].keyrings[].types[]", "keyrings[].types[]"),
    ("operations[].outputs.fields[].", "operations[].inputs.fields[]."),
    ("keyring_types[].secret_config.organization_data", "keyring_types[].organization_data"),
    (
        "event_sources[].registration.unregister.method",
        "event_sources[].registration.register.method",
    ),
];

#[derive(Debug, Default)]
pub(in crate::manifest) struct Trace {
    /// Every key that the parser asked for, such as `functions[].name`, and every value that it has
    /// a list of, such as `hooks[].type = validate`.
    pub(in crate::manifest) known: BTreeSet<String>,
    /// Those of them that were there.
    pub(in crate::manifest) met: BTreeSet<String>,
}

impl Trace {
    pub(in crate::manifest) fn keys(&mut self, path: &str, asked: &[&str], entries: &[Entry]) {
        for key in asked {
            let key_path = generic(&super::places::member(path, key));
            if entries.iter().any(|entry| &*entry.key == *key) {
                self.met.insert(key_path.clone());
            }
            self.known.insert(key_path);
        }
    }

    pub(in crate::manifest) fn values<'v>(
        &mut self,
        path: &str,
        allowed: impl IntoIterator<Item = &'v str>,
        found: Option<&str>,
    ) {
        let path = generic(path);
        // The same types again; an array of arrays is refused.
        let is_old = path.ends_with(".devrev_field_type");
        let wanted = |value: &&str| !is_old && (*value != "array" || !path.ends_with(".base_type"));
        let named = |value: &str| format!("{path} = {value}");
        self.known.extend(allowed.into_iter().filter(wanted).map(named));
        self.met.extend(found.iter().filter(|it| wanted(it)).map(|it| named(it)));
    }
}

/// A path without positions, and without the difference between what is read alike.
fn generic(path: &str) -> String {
    let mut generic = String::new();
    let mut rest = path;
    while let Some((before, after)) = rest.split_once('[') {
        generic.push_str(before);
        let (inside, behind) = after.split_once(']').unwrap_or((after, ""));
        let is_position = inside.chars().all(|c| c.is_ascii_digit());
        generic.push_str(if is_position { "[]" } else { "[*]" });
        rest = behind;
    }
    generic.push_str(rest);
    for (written, meant) in SECTIONS {
        if let Some(rest) = generic.strip_prefix(written) {
            generic = format!("{meant}{rest}");
        }
    }
    generic
}
