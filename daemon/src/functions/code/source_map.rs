//! Source maps that a built package brings along, turned into [`LineMap`]s.
//!
//! Owns the use of source maps: version 3, as files of the archive or inside the text, index maps
//! included. A map only says how stacks are told; one that cannot be read is no reason to refuse
//! the code.

use std::collections::BTreeMap;

use base64::Engine;
use serde_json::Value;

use super::resolve::{folder_of, normal_path};
use super::{LineMap, lines};

const MARK: &str = "sourceMappingURL=";

/// The map of a file, if its text names one. `maps` are the archive's files with maps.
pub(super) fn map_of(
    path: &str,
    text: &str,
    maps: &BTreeMap<String, Vec<u8>>,
) -> Result<Option<LineMap>, String> {
    let Some(url) = named_in(text) else { return Ok(None) };
    let (folder, json) = if let Some(data) = url.strip_prefix("data:") {
        let (kind, data) = data.split_once(',').ok_or("the map in the text has no data")?;
        if !kind.ends_with(";base64") {
            return Err("the map in the text is not base64".to_owned());
        }
        let json = base64::engine::general_purpose::STANDARD
            .decode(data)
            .map_err(|error| format!("the map in the text is no base64: {error}"))?;
        (folder_of(path).to_owned(), json)
    } else {
        let folder = folder_of(path);
        let map = normal_path(&format!("{folder}/{url}"));
        // Many packages leave their maps out; that is no mistake.
        let Some((map, json)) = map.and_then(|it| maps.get_key_value(&it)) else {
            return Ok(None);
        };
        (folder_of(map).to_owned(), json.clone())
    };
    let map: Value =
        serde_json::from_slice(&json).map_err(|error| format!("the map is no JSON: {error}"))?;
    let mut joined = Joined { sources: Vec::new(), tokens: Vec::new() };
    joined.add(&map, &folder, (0, 0))?;
    Ok(Some(LineMap::with_sources(joined.sources, joined.tokens.into_iter())))
}

/// What the last comment of that kind in the last lines names.
fn named_in(text: &str) -> Option<&str> {
    const LINES: usize = 5;
    let line = text.trim_end().lines().rev().take(LINES).find(|it| {
        it.contains(MARK) && ["//#", "//@", "/*#"].iter().any(|mark| it.contains(mark))
    })?;
    let url = line.rsplit_once(MARK)?.1;
    url.split([' ', '\t', '*']).next().filter(|it| !it.is_empty())
}

struct Joined {
    sources: Vec<String>,
    tokens: Vec<lines::Token>,
}

impl Joined {
    /// Adds a map, or the maps of an index map, whose text begins at `offset`.
    fn add(&mut self, map: &Value, folder: &str, offset: (u32, u32)) -> Result<(), String> {
        let Some(sections) = map.get("sections").and_then(Value::as_array) else {
            return self.add_one(map, folder, offset);
        };
        for section in sections {
            let number = |name: &str| {
                let it = section.get("offset").and_then(|it| it.get(name)).and_then(Value::as_u64);
                it.and_then(|it| u32::try_from(it).ok())
            };
            let (Some(line), Some(column), Some(map)) =
                (number("line"), number("column"), section.get("map"))
            else {
                return Err("a section of the index map has no offset or no map".to_owned());
            };
            self.add_one(map, folder, (line, column))?;
        }
        Ok(())
    }

    fn add_one(&mut self, map: &Value, folder: &str, offset: (u32, u32)) -> Result<(), String> {
        let mut map = map.clone();
        let root = map.get("sourceRoot").and_then(Value::as_str).unwrap_or_default().to_owned();
        if let Some(fields) = map.as_object_mut() {
            // Large, and of no use here.
            fields.remove("sourcesContent");
            if let Some(Value::Array(sources)) = fields.get_mut("sources") {
                for source in sources.iter_mut().filter(|it| it.is_null()) {
                    *source = Value::String(String::new());
                }
            }
        }
        let json = map.to_string();
        let map = oxc_sourcemap::SourceMap::from_json_string(&json)
            .map_err(|error| format!("the map cannot be read: {error}"))?;
        let first = u32::try_from(self.sources.len()).unwrap_or(u32::MAX);
        self.sources.extend(map.get_sources().map(|it| source_path(folder, &root, it)));
        for token in map.get_tokens() {
            let Some(source) = token.get_source_id() else { continue };
            let (line, column) = (token.get_dst_line(), token.get_dst_col());
            self.tokens.push(lines::Token {
                // Only the first line of a section begins within a line.
                generated: (
                    line.saturating_add(offset.0),
                    if line == 0 { column.saturating_add(offset.1) } else { column },
                ),
                file: first.saturating_add(source),
                source: (token.get_src_line(), token.get_src_col()),
            });
        }
        Ok(())
    }
}

/// The path in the archive that a map's source means, as well as it can be told.
fn source_path(folder: &str, root: &str, source: &str) -> String {
    let joined = if root.is_empty() || source.starts_with('/') || source.contains("://") {
        source.to_owned()
    } else {
        format!("{}/{source}", root.trim_end_matches('/'))
    };
    if let Some((scheme, rest)) = joined.split_once("://") {
        // `webpack://package/./src/a.ts`: the package's name is no folder.
        let rest =
            if scheme == "file" { rest } else { rest.split_once('/').map_or(rest, |it| it.1) };
        return normal_path(rest).unwrap_or_else(|| rest.to_owned());
    }
    if joined.starts_with('/') {
        return joined;
    }
    // What lies outside of the archive is told by what is left of its path.
    normal_path(&format!("{folder}/{joined}"))
        .unwrap_or_else(|| joined.trim_start_matches("../").to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    // Line 1 of the text: column 0 is line 1 of source 0; line 2: column 0 is line 3, column 2.
    const MAPPINGS: &str = "AAAA;AAEE";

    fn map(sources: &str, root: &str) -> String {
        format!(
            r#"{{"version":3,"sourceRoot":"{root}","sources":{sources},"sourcesContent":[null],"names":[],"mappings":"{MAPPINGS}"}}"#
        )
    }

    fn place(path: &str, url: &str, maps: &[(&str, &str)], line: u32) -> Option<String> {
        let text = format!("a();\nb();\n//# sourceMappingURL={url}\n");
        let maps = maps.iter().map(|(name, map)| ((*name).to_owned(), map.as_bytes().to_vec()));
        let map = map_of(path, &text, &maps.collect()).expect("a good map")?;
        let place = map.place_of(line, 4)?;
        Some(format!("{}:{}:{}", place.file.unwrap_or("-"), place.line, place.column))
    }

    #[test]
    fn sources_are_found_beside_the_map() {
        let of = |sources: &str, root: &str| {
            place("dist/x.js", "maps/x.js.map", &[("dist/maps/x.js.map", &map(sources, root))], 1)
        };
        assert_eq!(of(r#"["../../src/x.ts"]"#, "").as_deref(), Some("src/x.ts:2:2"));
        assert_eq!(of(r#"["x.ts"]"#, "../../src/").as_deref(), Some("src/x.ts:2:2"));
        assert_eq!(of(r#"["../../../../far/x.ts"]"#, "").as_deref(), Some("far/x.ts:2:2"));
        assert_eq!(of(r#"["webpack://me/./src/x.ts"]"#, "").as_deref(), Some("src/x.ts:2:2"));
        assert_eq!(of("[null]", "").as_deref(), Some("dist/maps:2:2"));
        assert_eq!(place("dist/x.js", "gone.map", &[], 1), None);
    }

    #[test]
    fn maps_may_be_in_the_text_and_may_have_sections() {
        let inside = base64::engine::general_purpose::STANDARD.encode(map(r#"["../x.ts"]"#, ""));
        let url = format!("data:application/json;charset=utf-8;base64,{inside}");
        assert_eq!(place("dist/x.js", &url, &[], 0).as_deref(), Some("x.ts:0:0"));
        let index = format!(
            r#"{{"version":3,"sections":[{{"offset":{{"line":0,"column":0}},"map":{}}},{{"offset":{{"line":1,"column":3}},"map":{}}}]}}"#,
            map(r#"["a.ts"]"#, ""),
            map(r#"["b.ts"]"#, ""),
        );
        let maps = [("x.map", index.as_str())];
        assert_eq!(place("x.js", "x.map", &maps, 0).as_deref(), Some("a.ts:0:0"));
        assert_eq!(place("x.js", "x.map", &maps, 1).as_deref(), Some("b.ts:0:0"));
        assert_eq!(place("x.js", "x.map", &maps, 2).as_deref(), Some("b.ts:2:2"));
    }

    #[test]
    fn what_is_broken_is_told() {
        let broken = |url: &str, map: &str| {
            let maps = BTreeMap::from([("m".to_owned(), map.as_bytes().to_vec())]);
            map_of("x.js", &format!("//# sourceMappingURL={url}"), &maps).expect_err("broken")
        };
        assert!(broken("m", "nope").contains("no JSON"));
        assert!(broken("m", r#"{"version":2,"sources":[],"mappings":""}"#).contains("version"));
        assert!(broken("m", r#"{"version":3,"sources":[],"mappings":"AAAA"}"#).contains("read"));
        assert!(broken("m", r#"{"version":3,"sections":[{}]}"#).contains("section"));
        assert!(broken("data:application/json;base64,%%", "").contains("base64"));
        assert!(broken("data:x", "").contains("no data"));
        let none = map_of("x.js", "const text = 'sourceMappingURL=m';", &BTreeMap::new());
        assert_eq!(none, Ok(None));
    }
}
