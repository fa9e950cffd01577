//! Requests in files: raw, as they go over the wire, or as the JSON that `event-sources.test` takes.
//! Pure: from bytes to parameters, and back.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

/// The request in a file, as `event-sources.test` takes it, and what is odd about it.
pub(super) fn read(bytes: &[u8]) -> Result<(Value, Option<String>), String> {
    if bytes.trim_ascii_start().first() == Some(&b'{') {
        return Ok((from_json(bytes)?, None));
    }
    let (head, body) = split(bytes);
    // As Latin-1 no byte of a header is lost.
    let head: String = head.iter().map(|it| char::from(*it)).collect();
    let mut lines = head.lines();
    let first = lines.next().unwrap_or_default();
    let words: Vec<&str> = first.split_whitespace().collect();
    let (method, target) = match words.as_slice() {
        [method, target] => (*method, *target),
        [method, target, version] if version.starts_with("HTTP/") => (*method, *target),
        _ => {
            return Err(format!(
                "it begins with `{}`: expected a line such as `POST /hook?a=1 HTTP/1.1`, or JSON",
                shortened(first)
            ));
        }
    };
    let mut headers = Vec::new();
    for line in lines {
        let Some((name, value)) = line.split_once(':') else {
            let line = shortened(line);
            return Err(format!(
                "`{line}` is no header: expected `Name: value`, and an empty line \
                                between the headers and the body"
            ));
        };
        headers.push((name.trim().to_owned(), value.trim().to_owned()));
    }
    let (body, remark) = of_length(&headers, body);
    let target = target.split('#').next().unwrap_or_default();
    let query = target.split_once('?').map(|(_, query)| query).unwrap_or_default();
    let mut request = json!({ "method": method, "query": query, "headers": headers });
    with_body(&mut request, body);
    Ok((request, remark))
}

/// Adds a body: text where it is some.
pub(super) fn with_body(request: &mut Value, body: &[u8]) {
    match std::str::from_utf8(body) {
        Ok("") => {}
        Ok(text) => request["body"] = text.into(),
        Err(_) => request["body_base64"] = STANDARD.encode(body).into(),
    }
}

/// A recorded request as it goes over the wire; [`read`] takes it back.
pub(super) fn write(request: &Value) -> Result<Vec<u8>, String> {
    let text = |key: &str| request[key].as_str().unwrap_or_default();
    let query = match text("query") {
        "" => String::new(),
        query => format!("?{query}"),
    };
    let mut head = format!("{} /{query} HTTP/1.1\r\n", text("method"));
    for header in request["headers"].as_array().into_iter().flatten() {
        let part = |at: usize| header[at].as_str().unwrap_or_default();
        head.push_str(&format!("{}: {}\r\n", part(0), part(1)));
    }
    head.push_str("\r\n");
    // Every character of a header is one byte.
    let mut bytes: Vec<u8> = head.chars().map(|it| u8::try_from(it).unwrap_or(b'?')).collect();
    match request["body_base64"].as_str() {
        Some(encoded) => bytes.extend(
            STANDARD.decode(encoded).map_err(|error| format!("its body is no base 64: {error}"))?,
        ),
        None => bytes.extend(text("body").as_bytes()),
    }
    Ok(bytes)
}

/// The request itself, or an answer that shows a recorded one.
fn from_json(bytes: &[u8]) -> Result<Value, String> {
    let value: Map<String, Value> =
        serde_json::from_slice(bytes).map_err(|error| format!("it is no JSON: {error}"))?;
    let value = Value::Object(value);
    let nested = [&value["recorded"]["request"], &value["request"]];
    let found = nested.into_iter().find(|it| it.is_object());
    Ok(found.cloned().unwrap_or(value))
}

/// Head and body, without the empty line between them.
fn split(bytes: &[u8]) -> (&[u8], &[u8]) {
    let mut at = 0;
    while at < bytes.len() {
        let end = bytes[at..].iter().position(|it| *it == b'\n').map_or(bytes.len(), |it| at + it);
        let line = &bytes[at..end];
        if line.is_empty() || line == b"\r" {
            return (&bytes[..at], bytes.get(end + 1..).unwrap_or_default());
        }
        at = end + 1;
    }
    (bytes, &[])
}

/// Editors add the end of a line to a file, which would break signatures: what `content-length` does
/// not count is left out when it is nothing else.
fn of_length<'a>(headers: &[(String, String)], body: &'a [u8]) -> (&'a [u8], Option<String>) {
    let header = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let Some(length) = header.and_then(|(_, value)| value.parse::<usize>().ok()) else {
        return (body, None);
    };
    match body.split_at_checked(length) {
        Some((whole, rest)) if rest.iter().all(|it| matches!(it, b'\r' | b'\n')) => (whole, None),
        Some(_) | None => {
            let found = body.len();
            let remark = format!("its content-length is {length}, but its body has {found} bytes");
            (body, Some(remark))
        }
    }
}

fn shortened(line: &str) -> String {
    line.chars().take(60).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_raw_request_is_read() {
        let raw = b"POST /hooks/x?a=1&b#c HTTP/1.1\r\nHost: h\r\nX-A:  b: c \r\n\r\n{\"n\":1}\n";
        let (request, remark) = read(raw).expect("it is one");
        let expected = json!({
            "method": "POST", "query": "a=1&b", "headers": [["Host", "h"], ["X-A", "b: c"]],
            "body": "{\"n\":1}\n",
        });
        assert_eq!((request, remark), (expected, None));
        // Line ends as editors write them, and the one that they add.
        let (request, remark) = read(b"GET /\ncontent-length: 2\n\nab\r\n").expect("it is one");
        assert_eq!((request["body"].as_str(), remark), (Some("ab"), None));
        let (_, remark) = read(b"GET /\ncontent-length: 5\n\nab").expect("it is one");
        assert!(remark.is_some_and(|it| it.contains("5") && it.contains("2 bytes")));
        let (request, _) = read(b"POST / HTTP/1.1\n\n\xff").expect("it is one");
        assert_eq!(request["body_base64"], "/w==");
        let (request, _) = read(b"GET /").expect("it is one");
        assert!(request.get("body").is_none());
    }

    #[test]
    fn json_may_be_an_answer() {
        let request = json!({ "method": "GET" });
        for text in [
            json!({ "method": "GET" }),
            json!({ "request": { "method": "GET" } }),
            json!({ "recorded": { "id": "x", "request": { "method": "GET" } } }),
        ] {
            assert_eq!(read(text.to_string().as_bytes()), Ok((request.clone(), None)));
        }
        for wrong in ["{", "", "nothing", "POST / FTP/1\n\n", "POST / HTTP/1.1\nno header\n\n"] {
            assert!(read(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(
            query in "[a-z=&%]{0,20}",
            value in "[!-~\u{a1}-\u{ff}]{1,20}",
            body in proptest::collection::vec(any::<u8>(), 0..40),
        ) {
            let mut request = json!({
                "method": "POST", "query": query, "headers": [["x-a", value]],
            });
            with_body(&mut request, &body);
            let raw = write(&request).expect("written");
            prop_assert_eq!(read(&raw), Ok((request, None)));
        }

        #[test]
        fn no_file_is_too_strange(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = read(&bytes);
        }
    }
}
