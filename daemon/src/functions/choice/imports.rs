//! What a module imports, found in its text: `import ... from 'x'`, `export ... from 'x'`,
//! `import('x')`, `require('x')`. Comments and texts are told apart from code as far as that takes no
//! parser; what is missed or found too many only makes another choice, which `runtime` overrides.

/// The names in the order of the text.
pub(super) fn specifiers(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let bytes = text.as_bytes();
    let mut at = 0;
    let mut before = Before::default();
    while at < bytes.len() {
        match bytes[at] {
            b'/' if bytes.get(at + 1) == Some(&b'/') => at = end_of_line(bytes, at),
            b'/' if bytes.get(at + 1) == Some(&b'*') => {
                at = text[at + 2..].find("*/").map_or(bytes.len(), |it| at + 4 + it);
            }
            quote @ (b'\'' | b'"' | b'`') => {
                let end = end_of_text(bytes, at + 1, quote);
                let inside = text.get(at + 1..end).unwrap_or_default();
                if before.announces() && is_name(inside) {
                    found.push(inside);
                }
                before = Before::default();
                at = end + 1;
            }
            it if is_word(it) => {
                let end = (at..bytes.len()).find(|it| !is_word(bytes[*it])).unwrap_or(bytes.len());
                // A member of something is another one's `require`.
                let is_member = at > 0 && bytes[at - 1] == b'.' && !bytes[..at].ends_with(b"...");
                before = Before::word(text.get(at..end).unwrap_or_default(), is_member);
                at = end;
            }
            it if it.is_ascii_whitespace() => at += 1,
            b'(' => {
                before.open();
                at += 1;
            }
            _ => {
                before = Before::default();
                at += 1;
            }
        }
    }
    found
}

/// What stands before a text, as far as it matters.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Before {
    #[default]
    Anything,
    /// `from`.
    From,
    /// `import`.
    Import,
    /// `require`.
    Require,
    /// `import(` or `require(`.
    Call,
}

impl Before {
    fn word(word: &str, is_member: bool) -> Before {
        match word {
            _ if is_member => Before::Anything,
            "from" => Before::From,
            "import" => Before::Import,
            "require" => Before::Require,
            _ => Before::Anything,
        }
    }

    fn open(&mut self) {
        *self = match self {
            Before::Import | Before::Require => Before::Call,
            Before::Anything | Before::From | Before::Call => Before::Anything,
        };
    }

    fn announces(self) -> bool {
        match self {
            Before::From | Before::Import | Before::Call => true,
            Before::Anything | Before::Require => false,
        }
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$' || byte >= 0x80
}

fn is_name(text: &str) -> bool {
    let fits = !text.is_empty() && text.len() < 300;
    fits && !text.contains(char::is_whitespace) && !text.contains("${")
}

fn end_of_line(bytes: &[u8], from: usize) -> usize {
    (from..bytes.len()).find(|it| bytes[*it] == b'\n').unwrap_or(bytes.len())
}

/// Where a text ends. One in simple quotes ends with its line at the latest, so that an apostrophe in
/// a regular expression costs a line and not the file.
fn end_of_text(bytes: &[u8], from: usize, quote: u8) -> usize {
    let mut at = from;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 1,
            b'\n' if quote != b'`' => return at,
            it if it == quote => return at,
            _ => {}
        }
        at += 1;
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_import_is_found() {
        let text = "
            import a from 'one'; import {b,\n c} from \"two/x\"; import 'three';
            export * from './four'; export { d } from '../five.js';
            const e = require('six'), f = await import(`seven`); require ( 'eight' );
            const {g}=require(\"@scope/nine\");";
        let expected = [
            "one",
            "two/x",
            "three",
            "./four",
            "../five.js",
            "six",
            "seven",
            "eight",
            "@scope/nine",
        ];
        assert_eq!(specifiers(text), expected);
    }

    #[test]
    fn what_is_no_import_is_not_found() {
        let text = "
            // import a from 'one'
            /* require('two') */
            const b = \"require('three')\"; log('from', 'four'); module.require('five');
            require(name); import.meta; x = `${require}`; f(/'/); y('seven');
            Array.from('eight'); it('says import', 'nine');";
        assert_eq!(specifiers(text), Vec::<&str>::new());
        assert_eq!(specifiers("const a = /'/; \nrequire('one'"), ["one"]);
        for text in ["'", "`", "/*", "\\", "import '", "require(\"a\\"] {
            specifiers(text);
        }
    }
}
