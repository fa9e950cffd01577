//! One pass over JSON text: whether it is JSON, within bounds, and what stands at a few places.
//!
//! Nothing but what is looked for is kept, so that a large body costs no memory. Depth is bounded by
//! serde_json, which takes 128 levels.

use std::cell::RefCell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// A JSON pointer (RFC 6901).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pointer {
    steps: Vec<String>,
}

impl Pointer {
    pub(super) fn parse(text: &str) -> Result<Pointer, String> {
        let Some(rest) = text.strip_prefix('/') else {
            return Err("a JSON pointer begins with `/`, such as `/event/type`".to_owned());
        };
        let broken = text.split('~').skip(1).any(|it| !it.starts_with(['0', '1']));
        if broken {
            return Err("in a JSON pointer `~` is written `~0`, and `/` in a name `~1`".to_owned());
        }
        let steps = rest.split('/').map(|it| it.replace("~1", "/").replace("~0", "~")).collect();
        Ok(Pointer { steps })
    }
}

/// What stands at a pointer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Value {
    /// Nothing, or null.
    #[default]
    Nothing,
    /// A string.
    Text(String),
    /// A whole number or a truth value, as it is written.
    Plain(String),
    /// A fraction, whose text is not kept: two of them could be taken for one.
    Fraction,
    /// An object or a list.
    Composed,
}

/// What stands at each of the pointers.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found(Vec<Value>);

impl Found {
    pub(super) fn at(&self, place: usize) -> &Value {
        self.0.get(place).unwrap_or(&Value::Nothing)
    }
}

/// Reads one document.
pub(super) fn walk(text: &[u8], pointers: &[Pointer]) -> Result<Found, serde_json::Error> {
    let found = RefCell::new(vec![Value::Nothing; pointers.len()]);
    let mut reader = serde_json::Deserializer::from_slice(text);
    let active = (0..pointers.len()).collect();
    Walk { pointers, found: &found, active, depth: 0 }.deserialize(&mut reader)?;
    reader.end()?;
    Ok(Found(found.into_inner()))
}

/// The walk at one value: which pointers lead here or further down.
struct Walk<'w> {
    pointers: &'w [Pointer],
    found: &'w RefCell<Vec<Value>>,
    active: Vec<usize>,
    depth: usize,
}

impl Walk<'_> {
    fn put(&self, value: impl Fn() -> Value) {
        for place in &self.active {
            if self.pointers[*place].steps.len() == self.depth {
                self.found.borrow_mut()[*place] = value();
            }
        }
    }

    /// The walk one level down, at a member or item. What was found there is forgotten: of two
    /// members of one name the last counts.
    fn below(&self, is_step: impl Fn(&str) -> bool) -> Walk<'_> {
        let leads = |place: &&usize| {
            self.pointers[**place].steps.get(self.depth).is_some_and(|it| is_step(it))
        };
        let active: Vec<usize> = self.active.iter().filter(leads).copied().collect();
        for place in &active {
            self.found.borrow_mut()[*place] = Value::Nothing;
        }
        Walk { pointers: self.pointers, found: self.found, active, depth: self.depth + 1 }
    }
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        self.put(|| Value::Plain(value.to_string()));
        Ok(())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.put(|| Value::Plain(value.to_string()));
        Ok(())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.put(|| Value::Plain(value.to_string()));
        Ok(())
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        self.put(|| Value::Fraction);
        Ok(())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        self.put(|| Value::Text(value.to_owned()));
        Ok(())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        self.put(|| Value::Composed);
        let mut at = 0_usize;
        loop {
            let below = match self.active.is_empty() {
                true => self.below(|_| false),
                false => {
                    let index = at.to_string();
                    self.below(|it| it == index)
                }
            };
            if items.next_element_seed(below)?.is_none() {
                return Ok(());
            }
            at += 1;
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        self.put(|| Value::Composed);
        while let Some(below) = members.next_key_seed(Key(&self))? {
            members.next_value_seed(below)?;
        }
        Ok(())
    }
}

/// The name of a member, which is looked at and not kept.
struct Key<'k, 'w>(&'k Walk<'w>);

impl<'de, 'k> DeserializeSeed<'de> for Key<'k, '_> {
    type Value = Walk<'k>;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Walk<'k>, D::Error> {
        reader.deserialize_str(self)
    }
}

impl<'k> Visitor<'_> for Key<'k, '_> {
    type Value = Walk<'k>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Walk<'k>, E> {
        Ok(self.0.below(|it| it == name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str, pointer: &str) -> Value {
        let pointers = [Pointer::parse(pointer).unwrap()];
        walk(text.as_bytes(), &pointers).unwrap().at(0).clone()
    }

    #[test]
    fn pointers_lead_to_values() {
        let text = r#"{"a": {"b/c": ["x", {"~": 7}], "": true}, "n": null, "f": 1.0, "big": 123456789012345678901}"#;
        for (pointer, expected) in [
            ("/a/b~1c/0", Value::Text("x".to_owned())),
            ("/a/b~1c/1/~0", Value::Plain("7".to_owned())),
            ("/a/b~1c/2", Value::Nothing),
            ("/a/b~1c/00", Value::Nothing),
            ("/a/", Value::Plain("true".to_owned())),
            ("/a", Value::Composed),
            ("/a/b~1c", Value::Composed),
            ("/n", Value::Nothing),
            ("/n/x", Value::Nothing),
            ("/f", Value::Fraction),
            ("/big", Value::Fraction),
        ] {
            assert_eq!(at(text, pointer), expected, "{pointer}");
        }
        assert_eq!(at("[[-5]]", "/0/0"), Value::Plain("-5".to_owned()));
    }

    #[test]
    fn the_last_of_two_members_counts() {
        assert_eq!(at(r#"{"a": 1, "a": 2}"#, "/a"), Value::Plain("2".to_owned()));
        assert_eq!(at(r#"{"a": {"b": 1}, "a": {}}"#, "/a/b"), Value::Nothing);
        assert_eq!(at(r#"{"a": 1, "\u0061": null}"#, "/a"), Value::Nothing);
    }

    #[test]
    fn what_is_not_json_is_refused() {
        let deep = "[".repeat(100_000);
        for wrong in ["", "{", "{\"a\":1,}", "1 2", "\"\\ud800\"", "1e999", "nul", &deep] {
            assert!(walk(wrong.as_bytes(), &[]).is_err(), "{wrong:.20}");
        }
        assert!(walk(b"\"\xff\"", &[]).is_err());
        for wrong in ["", "a", "/~", "/a~2"] {
            assert!(Pointer::parse(wrong).is_err(), "{wrong}");
        }
    }
}
