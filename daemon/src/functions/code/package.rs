//! What a package.json says about names: `exports` and `imports`, as Node.js reads them.
//!
//! The order of conditions counts, so this reads the file into lists and not into a map.

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};

/// How a module was asked for: packages may have one file for each way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asking {
    /// By `import`, of either form.
    Import,
    /// By `require`.
    Require,
}

impl Asking {
    fn allows(self, condition: &str) -> bool {
        match self {
            Asking::Import => ["import", "node", "module-sync", "default"].contains(&condition),
            Asking::Require => ["require", "node", "module-sync", "default"].contains(&condition),
        }
    }

    fn other(self) -> Asking {
        match self {
            Asking::Import => Asking::Require,
            Asking::Require => Asking::Import,
        }
    }
}

/// A package.json, as far as it matters here; what has another form than expected is not there.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Package {
    #[serde(default)]
    name: Value,
    #[serde(default)]
    main: Value,
    #[serde(default)]
    exports: Value,
    #[serde(default)]
    imports: Value,
}

impl Package {
    pub(super) fn read(text: &str) -> Package {
        serde_json::from_str(text).unwrap_or_default()
    }

    pub(super) fn name(&self) -> Option<&str> {
        self.name.text()
    }

    pub(super) fn main(&self) -> Option<&str> {
        self.main.text()
    }

    pub(super) fn has_exports(&self) -> bool {
        !matches!(self.exports, Value::Other)
    }

    /// The path in the package that a subpath (`.`, `./a`) stands for.
    pub(super) fn exported(&self, subpath: &str, asking: Asking) -> Option<String> {
        match &self.exports {
            Value::Object(paths) if paths.iter().any(|(it, _)| it.starts_with('.')) => {
                mapped(paths, subpath, asking)
            }
            whole if subpath == "." => target(whole, None, asking),
            _ => None,
        }
    }

    /// What a name that begins with `#` stands for: a path in the package or another package.
    pub(super) fn imported(&self, name: &str, asking: Asking) -> Option<String> {
        match &self.imports {
            Value::Object(names) => mapped(names, name, asking),
            Value::Text(_) | Value::Array(_) | Value::Null | Value::Other => None,
        }
    }
}

/// The target of `key`: its own, or that of the longest pattern which it fits.
fn mapped(table: &[(String, Value)], key: &str, asking: Asking) -> Option<String> {
    if !key.contains('*')
        && let Some((_, value)) = table.iter().find(|(it, _)| it == key)
    {
        return target(value, None, asking);
    }
    let fits = table.iter().filter_map(|(pattern, value)| {
        let (before, after) = pattern.split_once('*')?;
        let middle = key.strip_prefix(before)?.strip_suffix(after)?;
        let is_more = !middle.is_empty() && key.len() >= pattern.len();
        is_more.then_some((before.len(), pattern.len(), middle, value))
    });
    let (_, _, middle, value) = fits.max_by_key(|(before, whole, _, _)| (*before, *whole))?;
    target(value, Some(middle), asking)
}

fn target(value: &Value, middle: Option<&str>, asking: Asking) -> Option<String> {
    // What has no file for this way of asking may have one for the other: an engine that can
    // load both from either need not refuse.
    let found = chosen(value, asking).or_else(|| chosen(value, asking.other()))?;
    Some(match middle {
        Some(middle) => found.replace('*', middle),
        None => found.to_owned(),
    })
}

fn chosen(value: &Value, asking: Asking) -> Option<&str> {
    match value {
        Value::Text(path) => Some(path),
        Value::Object(conditions) => conditions
            .iter()
            .filter(|(condition, _)| asking.allows(condition))
            .find_map(|(_, value)| chosen(value, asking)),
        Value::Array(choices) => choices.iter().find_map(|it| chosen(it, asking)),
        Value::Null | Value::Other => None,
    }
}

/// JSON whose objects keep their order.
#[derive(Debug, Default)]
enum Value {
    Text(String),
    Object(Vec<(String, Value)>),
    Array(Vec<Value>),
    Null,
    #[default]
    Other,
}

impl Value {
    fn text(&self) -> Option<&str> {
        match self {
            Value::Text(text) => Some(text),
            Value::Object(_) | Value::Array(_) | Value::Null | Value::Other => None,
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Value, E> {
        Ok(Value::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Value, E> {
        Ok(Value::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Value, E> {
        Ok(Value::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Value, E> {
        Ok(Value::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = list.next_element()? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Value::Object(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::Asking::{Import, Require};
    use super::*;

    fn exported(exports: &str, subpath: &str, asking: Asking) -> Option<String> {
        Package::read(&format!("{{\"exports\":{exports},\"x\":[1,-1,1.5,true]}}"))
            .exported(subpath, asking)
    }

    #[test]
    fn conditions_are_taken_in_their_order() {
        let exports = r#"{"types":"./t.d.ts","browser":"./b.js","import":{"deno":"./d.js","default":"./i.js"},"require":"./r.js"}"#;
        assert_eq!(exported(exports, ".", Import).as_deref(), Some("./i.js"));
        assert_eq!(exported(exports, ".", Require).as_deref(), Some("./r.js"));
        assert_eq!(exported(exports, "./a", Require), None);
        let exports = r#"{".":{"default":"./d.js","require":"./r.js"}}"#;
        assert_eq!(exported(exports, ".", Require).as_deref(), Some("./d.js"));
        let exports = r#"[{"nothing":"./n.js"},"./second.js"]"#;
        assert_eq!(exported(exports, ".", Require).as_deref(), Some("./second.js"));
        // There is only one for the other way.
        assert_eq!(exported(r#"{"import":"./i.js"}"#, ".", Require).as_deref(), Some("./i.js"));
    }

    #[test]
    fn the_longest_pattern_fits_and_null_hides() {
        let exports = r#"{".":"./index.js","./*":"./lib/*.js","./deep/*":{"require":"./d/*/*.cjs"},"./deep/*.json":"./j/*.json","./deep/hidden/*":null,"./package.json":"./package.json"}"#;
        let of = |it| exported(exports, it, Require);
        assert_eq!(of("./a").as_deref(), Some("./lib/a.js"));
        assert_eq!(of("./deep/b").as_deref(), Some("./d/b/b.cjs"));
        assert_eq!(of("./deep/b.json").as_deref(), Some("./j/b.json"));
        assert_eq!(of("./deep/hidden/x"), None);
        assert_eq!(of("./package.json").as_deref(), Some("./package.json"));
        assert_eq!(of("./"), None);
    }

    #[test]
    fn names_of_a_package_for_itself() {
        let package = Package::read(
            r##"{"name":"me","imports":{"#a":"./a.js","#dep":{"node":"dep"},"#in/*":"./in/*"},"main":3}"##,
        );
        assert_eq!(package.imported("#a", Import).as_deref(), Some("./a.js"));
        assert_eq!(package.imported("#dep", Import).as_deref(), Some("dep"));
        assert_eq!(package.imported("#in/x.js", Import).as_deref(), Some("./in/x.js"));
        assert_eq!(package.imported("#no", Import), None);
        assert_eq!(
            (package.name(), package.main(), package.has_exports()),
            (Some("me"), None, false)
        );
        assert_eq!(Package::read("no JSON").name(), None);
    }
}
