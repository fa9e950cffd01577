//! A query string as one JSON object, in all the ways in which clients put lists and nested members
//! into it: `a=1&a=2`, `a[]=1`, `a[0]=1`, `a[b]=1`, and `a="1","2"`, which is how the npm package
//! `@devrev/typescript-sdk` writes a list. All values are texts: what they mean, its reader knows.

use serde_json::{Map, Value};

/// The deepest nesting.
const MOST_DEEP: usize = 8;
/// The most values.
const MOST_VALUES: usize = 1000;

/// Puts the names and values of a query, which are decoded, together. A name without a value is left
/// out, because that is what clients make of an empty list.
pub fn read(
    pairs: impl IntoIterator<Item = (String, String)>,
) -> Result<Map<String, Value>, String> {
    let mut read = Map::new();
    for (at, (name, text)) in pairs.into_iter().enumerate() {
        if at >= MOST_VALUES {
            return Err(format!("the query has more than {MOST_VALUES} values"));
        }
        if text.is_empty() {
            continue;
        }
        let (first, rest) = steps(&name)?;
        let place = read.entry(first).or_insert(Value::Null);
        add(place, &rest, value(&text)).ok_or_else(|| {
            format!("`{name}` is given as a value and with members; use one of the two")
        })?;
    }
    Ok(read)
}

/// `stage[name][0]` is the member `name` of `stage`; numbers and `[]` say only that it is a list.
fn steps(name: &str) -> Result<(String, Vec<&str>), String> {
    let unclear =
        || format!("`{name}` is no name of a parameter: members are written as in `stage[name]`");
    let Some((first, rest)) = name.split_once('[') else {
        return Ok((name.to_owned(), Vec::new()));
    };
    let rest = rest.strip_suffix(']').filter(|_| !first.is_empty()).ok_or_else(unclear)?;
    let steps: Vec<&str> = rest.split("][").collect();
    if steps.iter().any(|it| it.contains(['[', ']'])) {
        return Err(unclear());
    }
    if steps.len() >= MOST_DEEP {
        return Err(format!("`{name}` is nested deeper than {MOST_DEEP} levels"));
    }
    Ok((first.to_owned(), steps))
}

fn value(text: &str) -> Value {
    let quoted = text.strip_prefix('"').and_then(|it| it.strip_suffix('"'));
    match quoted {
        // Nothing inside of the quotes is escaped.
        Some(inside) => inside.split("\",\"").map(Value::from).collect(),
        None => text.into(),
    }
}

/// Nothing when there is something else in its place.
fn add(place: &mut Value, steps: &[&str], value: Value) -> Option<()> {
    match steps {
        [] => join(place, value),
        [step, rest @ ..] if step.bytes().all(|it| it.is_ascii_digit()) => {
            if !(place.is_null() || place.is_array()) {
                return None;
            }
            let mut item = Value::Null;
            add(&mut item, rest, value)?;
            let item = if item.is_object() { Value::Array(vec![item]) } else { item };
            if place.is_null() {
                *place = Value::Array(Vec::new());
            }
            join(place, item)
        }
        [step, rest @ ..] => {
            if place.is_null() {
                *place = Value::Object(Map::new());
            }
            let inside = place.as_object_mut()?.entry(*step).or_insert(Value::Null);
            add(inside, rest, value)
        }
    }
}

/// What comes again is a list.
fn join(place: &mut Value, value: Value) -> Option<()> {
    match (&mut *place, value) {
        (Value::Null, value) => *place = value,
        (Value::Array(items), Value::Array(more)) => items.extend(more),
        (Value::Array(items), one) => items.push(one),
        (Value::String(text), value) => {
            let mut items = vec![Value::from(std::mem::take(text))];
            match value {
                Value::Array(more) => items.extend(more),
                one => items.push(one),
            }
            *place = Value::Array(items);
        }
        (Value::Bool(_) | Value::Number(_) | Value::Object(_), _) => return None,
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read_all(pairs: &[(&str, &str)]) -> Result<Value, String> {
        let pairs = pairs.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
        read(pairs).map(Value::Object)
    }

    #[test]
    fn every_way_of_writing_a_list_is_understood() {
        for pairs in [
            &[("type", "issue"), ("type", "task")][..],
            &[("type[]", "issue"), ("type[]", "task")],
            &[("type[0]", "issue"), ("type[1]", "task")],
            &[("type", "\"issue\",\"task\"")],
            &[("type", "\"issue\""), ("type", "task")],
        ] {
            assert_eq!(read_all(pairs), Ok(json!({ "type": ["issue", "task"] })), "{pairs:?}");
        }
        assert_eq!(read_all(&[("type", "\"issue\"")]), Ok(json!({ "type": ["issue"] })));
        assert_eq!(read_all(&[("type[]", "issue")]), Ok(json!({ "type": ["issue"] })));
    }

    #[test]
    fn what_the_npm_package_sends_is_understood() {
        let sent = [
            ("type", "\"issue\",\"ticket\""),
            ("limit", "5"),
            ("stage.name", "\"queued\""),
            ("stage[name][0]", "x"),
            ("stage[name][1]", "y"),
            ("ticket[severity][0]", "low"),
            ("created_date[type]", "range"),
            ("created_date[after]", "2024-01-01T00:00:00Z"),
            ("owned_by", ""),
            ("created_by", "\"u\"x,y\""),
            ("sort_by", "\"created_date:desc\""),
        ];
        let read = json!({
            "type": ["issue", "ticket"],
            "limit": "5",
            "stage.name": ["queued"],
            "stage": { "name": ["x", "y"] },
            "ticket": { "severity": ["low"] },
            "created_date": { "type": "range", "after": "2024-01-01T00:00:00Z" },
            "created_by": ["u\"x,y"],
            "sort_by": ["created_date:desc"],
        });
        assert_eq!(read_all(&sent), Ok(read));
    }

    #[test]
    fn items_may_have_members() {
        let sent = [("tags[0][id]", "TAG-1"), ("tags[1][id]", "TAG-2")];
        assert_eq!(read_all(&sent), Ok(json!({ "tags": [{ "id": "TAG-1" }, { "id": "TAG-2" }] })));
    }

    #[test]
    fn what_has_no_meaning_is_refused_with_its_name() {
        for pairs in [
            &[("a", "1"), ("a[b]", "2")][..],
            &[("a[b]", "2"), ("a", "1")],
            &[("a[b]", "2"), ("a[0]", "1")],
            &[("a[b", "1")],
            &[("a[[b]]", "1")],
            &[("[a]", "1")],
            &[("a[b][c][d][e][f][g][h][i]", "1")],
        ] {
            let error = read_all(pairs).expect_err(&format!("{pairs:?}"));
            assert!(pairs.iter().any(|(name, _)| error.contains(&format!("`{name}`"))), "{error}");
        }
        let many = read((0..=MOST_VALUES).map(|it| (format!("a{it}"), "1".to_owned())));
        assert!(many.is_err_and(|it| it.contains("1000")));
    }
}
