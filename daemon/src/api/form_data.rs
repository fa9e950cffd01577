//! `multipart/form-data` (RFC 7578) as it comes: the bytes of its file are handed on at once, everything
//! else is small and bounded. Pure: bytes in, pieces out.

/// The longest head of a part.
const LONGEST_HEAD: usize = 8 * 1024;
/// The longest value that is no file.
const LONGEST_VALUE: usize = 16 * 1024;
/// So many parts, at most.
const MOST_PARTS: usize = 64;
/// The longest boundary (RFC 2046 §5.1.1).
const LONGEST_BOUNDARY: usize = 70;

/// Something that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// The file begins.
    File,
    /// Some of its bytes.
    Bytes(Vec<u8>),
    /// A field that is no file.
    Field { name: String, value: Vec<u8> },
    /// That was all.
    End,
}

/// Why a form cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum FormError {
    /// Its header does not say how its parts are told apart.
    #[error("the Content-Type has no `boundary` of 1 to 70 characters")]
    NoBoundary,
    /// It is no such form.
    #[error("the form is broken: {0}")]
    Broken(&'static str),
}

#[derive(Debug)]
enum State {
    /// Before the first part, or in one that nobody wants.
    Skipping,
    /// After a delimiter.
    AfterDelimiter,
    Head,
    File,
    Field(String),
    Done,
}

/// Reads a form, in whatever pieces it comes.
#[derive(Debug)]
pub(super) struct FormReader {
    /// What stands between parts, with the end of a line before it.
    delimiter: Vec<u8>,
    buffer: Vec<u8>,
    state: State,
    parts: usize,
    file_came: bool,
}

/// The boundary that a `Content-Type` names; nothing for one that is no form.
pub(super) fn boundary_of(content_type: &str) -> Option<Result<String, FormError>> {
    let (kind, parameters) = content_type.split_once(';').unwrap_or((content_type, ""));
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let boundary = parameter(parameters, "boundary");
    let is_one = |it: &String| (1..=LONGEST_BOUNDARY).contains(&it.len()) && it.is_ascii();
    Some(boundary.filter(is_one).ok_or(FormError::NoBoundary))
}

impl FormReader {
    pub(super) fn new(boundary: &str) -> FormReader {
        FormReader {
            delimiter: format!("\r\n--{boundary}").into_bytes(),
            // The first delimiter may stand at the very beginning.
            buffer: b"\r\n".to_vec(),
            state: State::Skipping,
            parts: 0,
            file_came: false,
        }
    }

    /// Takes the next bytes.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<Vec<Piece>, FormError> {
        let mut pieces = Vec::new();
        if matches!(self.state, State::Done) {
            return Ok(pieces);
        }
        self.buffer.extend_from_slice(bytes);
        while self.step(&mut pieces)? {}
        Ok(pieces)
    }

    /// Goes on as far as one state leads; says whether there may be more to do.
    fn step(&mut self, pieces: &mut Vec<Piece>) -> Result<bool, FormError> {
        match &self.state {
            State::Done => {
                self.buffer.clear();
                Ok(false)
            }
            State::AfterDelimiter => {
                if self.buffer.starts_with(b"--") {
                    self.state = State::Done;
                    pieces.push(Piece::End);
                    return Ok(true);
                }
                let Some(end) = find(&self.buffer, b"\r\n") else {
                    return self.wait_for(LONGEST_HEAD, "a delimiter has no end");
                };
                if self.buffer[..end].iter().any(|it| !b" \t".contains(it)) {
                    return Err(FormError::Broken("something stands after a delimiter"));
                }
                // The end of the line stays: a part may have no head at all.
                self.buffer.drain(..end);
                self.state = State::Head;
                Ok(true)
            }
            State::Head => {
                let Some(end) = find(&self.buffer, b"\r\n\r\n") else {
                    return self.wait_for(LONGEST_HEAD, "the head of a part is too long");
                };
                let head: Vec<u8> = self.buffer.drain(..end + 4).collect();
                self.parts += 1;
                if self.parts > MOST_PARTS {
                    return Err(FormError::Broken("it has more than 64 parts"));
                }
                let name = name_of(&String::from_utf8_lossy(&head));
                let name = name.ok_or(FormError::Broken("a part has no name"))?;
                self.state = match name.as_str() {
                    "file" if self.file_came => {
                        return Err(FormError::Broken("it has more than one `file`"));
                    }
                    "file" => {
                        self.file_came = true;
                        pieces.push(Piece::File);
                        State::File
                    }
                    _ => State::Field(name),
                };
                Ok(true)
            }
            State::Skipping | State::File => {
                let is_file = matches!(self.state, State::File);
                let found = find(&self.buffer, &self.delimiter);
                // What may be the beginning of a delimiter is looked at again.
                let kept = self.delimiter.len() - 1;
                let end = found.unwrap_or(self.buffer.len().saturating_sub(kept));
                let bytes: Vec<u8> = self.buffer.drain(..end).collect();
                if is_file && !bytes.is_empty() {
                    pieces.push(Piece::Bytes(bytes));
                }
                if found.is_some() {
                    self.buffer.drain(..self.delimiter.len());
                    self.state = State::AfterDelimiter;
                }
                Ok(found.is_some())
            }
            State::Field(name) => {
                let Some(end) = find(&self.buffer, &self.delimiter) else {
                    return self.wait_for(LONGEST_VALUE, "a field is longer than 16 KiB");
                };
                if end > LONGEST_VALUE {
                    return Err(FormError::Broken("a field is longer than 16 KiB"));
                }
                let name = name.clone();
                let value = self.buffer.drain(..end).collect();
                pieces.push(Piece::Field { name, value });
                self.buffer.drain(..self.delimiter.len());
                self.state = State::AfterDelimiter;
                Ok(true)
            }
        }
    }

    fn wait_for(&self, most: usize, what: &'static str) -> Result<bool, FormError> {
        let is_long = self.buffer.len() > most + self.delimiter.len();
        if is_long { Err(FormError::Broken(what)) } else { Ok(false) }
    }
}

/// Where `wanted` begins in `bytes`.
fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    let first = *wanted.first()?;
    let mut from = 0;
    loop {
        let at = from + bytes.get(from..)?.iter().position(|it| *it == first)?;
        if bytes[at..].starts_with(wanted) {
            return Some(at);
        }
        from = at + 1;
    }
}

/// The name that the head of a part gives it.
fn name_of(head: &str) -> Option<String> {
    let (_, parameters) = head.split("\r\n").find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.trim().eq_ignore_ascii_case("content-disposition").then_some(())?;
        value.split_once(';')
    })?;
    parameter(parameters, "name")
}

/// The value of a parameter, which may be in quotes.
fn parameter(parameters: &str, wanted: &str) -> Option<String> {
    let mut rest = parameters;
    loop {
        let (name, after) = rest.split_once('=')?;
        let name = name.trim_start_matches([';', ' ', '\t']).trim();
        let after = after.trim_start();
        let (value, left) = match after.strip_prefix('"') {
            Some(quoted) => unquote(quoted)?,
            None => {
                let (value, left) = after.split_once(';').unwrap_or((after, ""));
                (value.trim().to_owned(), left)
            }
        };
        if name.eq_ignore_ascii_case(wanted) {
            return Some(value);
        }
        rest = left;
    }
}

/// A quoted text, from after its first quote, and what follows it.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, it)) = chars.next() {
        match it {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(chars.next()?.1),
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Fields, the file, and whether it has ended.
    type Read = (Vec<(String, Vec<u8>)>, Option<Vec<u8>>, bool);

    fn read(form: &[u8], cuts: &[usize]) -> Result<Read, FormError> {
        let mut reader = FormReader::new("xX-x");
        let (mut fields, mut file, mut ended) = (Vec::new(), None, false);
        let mut cuts: Vec<usize> = cuts.iter().map(|it| it % (form.len() + 1)).collect();
        cuts.extend([0, form.len()]);
        cuts.sort_unstable();
        for cut in cuts.windows(2) {
            for piece in reader.push(&form[cut[0]..cut[1]])? {
                match piece {
                    Piece::File => file = Some(Vec::new()),
                    Piece::Bytes(bytes) => file.as_mut().expect("it began").extend(bytes),
                    Piece::Field { name, value } => fields.push((name, value)),
                    Piece::End => ended = true,
                }
            }
        }
        Ok((fields, file, ended))
    }

    fn form(file: &[u8]) -> Vec<u8> {
        let mut form = b"--xX-x\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\nart_1\r\n\
            --xX-x\r\ncontent-type: text/plain\r\n\
            content-disposition: form-data; filename=\"a;name=\\\"no\\\"\"; name=file\r\n\r\n"
            .to_vec();
        form.extend_from_slice(file);
        form.extend_from_slice(b"\r\n--xX-x--\r\nand so on");
        form
    }

    proptest! {
        #[test]
        fn a_form_is_the_same_in_whatever_pieces_it_comes(
            file in proptest::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'-'), Just(b'x'), any::<u8>()], 0..200),
            cuts in proptest::collection::vec(any::<usize>(), 0..20),
        ) {
            // One in a thousand million has the delimiter in it.
            prop_assume!(find(&file, b"\r\n--xX-x").is_none());
            let form = form(&file);
            let (fields, found, ended) = read(&form, &cuts).expect("a form");
            prop_assert_eq!(fields, [("key".to_owned(), b"art_1".to_vec())]);
            prop_assert_eq!(found, Some(file));
            prop_assert!(ended);
        }
    }

    #[test]
    fn what_breaks_off_has_no_end() {
        let whole = form(b"bytes");
        for length in 0..whole.len() - 12 {
            let read = read(&whole[..length], &[]).expect("no error yet");
            assert!(!read.2, "{length}");
        }
    }

    #[test]
    fn what_is_no_form_is_refused() {
        let part = "--xX-x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n";
        for broken in [
            "--xX-xyz\r\n".to_owned(),
            "--xX-x\r\n\r\nno name".to_owned(),
            "--xX-x\r\nContent-Disposition: form-data; name=\"a\r\n\r\n".to_owned(),
            format!("--xX-x\r\nX: {}", "x".repeat(20_000)),
            format!("{part}{}", "x".repeat(20_000)),
            format!("{part}1\r\n").repeat(65),
            String::from_utf8(form(b"")).expect("text").replace("name=\"key\"", "name=file"),
        ] {
            assert!(read(broken.as_bytes(), &[]).is_err(), "{broken:.80}");
        }
    }

    #[test]
    fn boundaries_are_found() {
        for (text, expected) in [
            ("multipart/form-data; boundary=abc", Some(Ok("abc"))),
            ("Multipart/Form-Data;charset=utf-8; Boundary=\"a b\\\"c\"", Some(Ok("a b\"c"))),
            ("multipart/form-data", Some(Err(FormError::NoBoundary))),
            ("multipart/form-data; boundary=", Some(Err(FormError::NoBoundary))),
            ("multipart/mixed; boundary=x", None),
            ("application/octet-stream", None),
        ] {
            let expected = expected.map(|it| it.map(str::to_owned));
            assert_eq!(boundary_of(text), expected, "{text}");
        }
    }
}
