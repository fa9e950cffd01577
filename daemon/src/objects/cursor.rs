//! Cursors of lists: a place in an order, as text. They hold the values of that place and not a
//! number of rows, so that they go on where they were whatever came and went.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::query::{Position, Sort};

/// Shape of what is inside.
const SHAPE: u8 = 1;
/// Longer ones were not made here.
const LONGEST: usize = 1_000;

/// Which way a cursor leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// To the page after.
    Forward,
    /// To the page before.
    Backward,
}

/// A cursor as text.
pub fn write(type_name: &str, sort: &Sort, way: Way, position: &Position) -> String {
    let mut bytes = vec![SHAPE, u8::from(way == Way::Backward)];
    bytes.extend(stamp(type_name, sort).to_be_bytes());
    bytes.extend(position.id.to_be_bytes());
    bytes.extend_from_slice(&position.value);
    URL_SAFE_NO_PAD.encode(bytes)
}

/// What a cursor says, if it is one of this list's order.
pub fn read(text: &str, type_name: &str, sort: &Sort) -> Option<(Way, Position)> {
    if text.len() > LONGEST {
        return None;
    }
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    let rest = bytes.strip_prefix(&[SHAPE])?;
    let (way, rest) = rest.split_first()?;
    let (of, rest) = rest.split_first_chunk::<4>()?;
    let (id, value) = rest.split_first_chunk::<16>()?;
    if u32::from_be_bytes(*of) != stamp(type_name, sort) {
        return None;
    }
    let way = if *way == 0 { Way::Forward } else { Way::Backward };
    Some((way, Position { value: value.to_vec(), id: u128::from_be_bytes(*id) }))
}

/// Tells orders apart, so that a cursor of another list is known as one (FNV-1a).
fn stamp(type_name: &str, sort: &Sort) -> u32 {
    let way = if sort.descending { "-" } else { "+" };
    let texts = [type_name, "\0", &sort.column.path, "\0", way];
    let bytes = texts.iter().flat_map(|it| it.bytes());
    bytes.fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_are_read_by_the_list_that_they_were_made_for() {
        let sort = Sort::by_age();
        let position = Position { value: vec![4, 0, 255], id: 77 };
        let text = write("work", &sort, Way::Backward, &position);
        assert_eq!(read(&text, "work", &sort), Some((Way::Backward, position)));
        assert_eq!(read(&text, "tag", &sort), None);
        let other = Sort { descending: true, ..sort.clone() };
        assert_eq!(read(&text, "work", &other), None);
        for text in ["", "x", "AQ", &"A".repeat(2000)] {
            assert_eq!(read(text, "work", &sort), None, "{text}");
        }
    }
}
