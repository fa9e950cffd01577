//! Bytes to text, and what kind of text it is.

use encoding_rs::Encoding;

/// What a response is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Json,
    Feed,
    Text,
}

/// How far the encoding is looked for in an XML declaration.
const LONGEST_DECLARATION: usize = 200;

/// `charset` of a content type.
fn charset(content_type: &str) -> Option<&'static Encoding> {
    let mut parameters = content_type.split(';').skip(1).filter_map(|it| it.split_once('='));
    let (_, label) = parameters.find(|(name, _)| name.trim().eq_ignore_ascii_case("charset"))?;
    Encoding::for_label(label.trim().trim_matches(['"', '\'']).as_bytes())
}

/// The encoding that an XML declaration names.
fn declared(body: &[u8]) -> Option<&'static Encoding> {
    let start = String::from_utf8_lossy(&body[..body.len().min(LONGEST_DECLARATION)]).into_owned();
    let declaration = start.trim_start().strip_prefix("<?xml")?.split("?>").next()?.to_owned();
    let value = declaration.split_once("encoding")?.1.trim_start().strip_prefix('=')?.trim_start();
    let quote = value.chars().next().filter(|it| matches!(it, '"' | '\''))?;
    Encoding::for_label(value[1..].split(quote).next()?.as_bytes())
}

/// A body as text: by its byte order mark, else by the content type, else by its XML declaration,
/// else as UTF-8.
pub(crate) fn decode(body: &[u8], content_type: &str) -> String {
    // `decode` looks at the mark first by itself.
    let encoding = charset(content_type).or_else(|| declared(body)).unwrap_or(encoding_rs::UTF_8);
    encoding.decode(body).0.into_owned()
}

/// What a text is, by its content type and its beginning. An error says what it is instead.
pub(crate) fn form(text: &str, content_type: &str) -> Result<Form, String> {
    let kind = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let start = text.trim_start();
    let begins =
        |with: &str| start.get(..with.len()).is_some_and(|it| it.eq_ignore_ascii_case(with));
    if begins("<!doctype html") || begins("<html") {
        return Err(
            "it is a web page, neither JSON nor a feed; check `url`, or set `format: text`"
                .to_owned(),
        );
    }
    if kind == "application/json" || kind.ends_with("+json") || start.starts_with(['{', '[']) {
        return Ok(Form::Json);
    }
    if start.starts_with('<') {
        return Ok(Form::Feed);
    }
    Ok(Form::Text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodings_are_found() {
        let latin = b"<?xml version='1.0' encoding='ISO-8859-1'?><a>\xe4</a>";
        for (body, content_type, text) in [
            (&b"\xe4"[..], "text/plain; charset=iso-8859-1", "ä"),
            (b"\xe4", "text/plain; Charset=\"ISO-8859-1\"; x=y", "ä"),
            ("ä".as_bytes(), "text/plain", "ä"),
            ("ä".as_bytes(), "text/plain; charset=klingon", "ä"),
            (b"\xef\xbb\xbfa", "text/plain; charset=iso-8859-1", "a"),
            (b"\xff\xfea\0", "", "a"),
            (b"\xe4", "text/plain", "\u{fffd}"),
            (b"<?xml encoding=", "", "<?xml encoding="),
            (b"<?xml encoding=\"", "", "<?xml encoding=\""),
            (b"", "", ""),
        ] {
            assert_eq!(decode(body, content_type), text, "{content_type}");
        }
        assert!(decode(latin, "application/xml").ends_with("<a>ä</a>"));
        assert!(decode(latin, "application/xml; charset=utf-8").contains('\u{fffd}'));
    }

    #[test]
    fn forms_are_found() {
        for (text, content_type, expected) in [
            ("1", "application/json", Form::Json),
            ("1", "application/vnd.api+json; charset=utf-8", Form::Json),
            (" [1]", "text/plain", Form::Json),
            ("\n<rss/>", "text/html", Form::Feed),
            ("<?xml?>", "application/rss+xml", Form::Feed),
            ("news", "text/plain", Form::Text),
            ("", "", Form::Text),
        ] {
            assert_eq!(form(text, content_type), Ok(expected), "{text}");
        }
        assert!(form("<!DOCTYPE html>", "text/html").is_err());
        assert!(form(" <HTML>", "application/rss+xml").is_err());
    }
}
