//! References to secrets in a configuration: `${{ keyrings.NAME }}`, or `${{ keyrings.NAME.FIELD }}`
//! for a keyring with fields.
//!
//! The daemon puts the secrets in before it opens an instance for work. While a manifest is checked
//! there are none yet, and a plugin sees the reference as it was written: it must take a text with
//! [`is_reference`] wherever it takes a secret, and not look at its form then.

/// A reference to a keyring of the snap-in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyringReference {
    /// The keyring's name in the manifest.
    pub keyring: String,
    /// Which of its fields; absent for the whole secret.
    pub field: Option<String>,
}

/// A piece of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// As it stands.
    Text(&'a str),
    /// To be replaced by a secret.
    Reference(KeyringReference),
    /// Something between `${{` and `}}` that is no reference; as it stands.
    Unknown(&'a str),
}

/// Whether a text refers to a secret that is not put in yet.
pub fn is_reference(text: &str) -> bool {
    pieces(text).iter().any(|it| matches!(it, Piece::Reference(_)))
}

/// A text in pieces. Joined again they are the text.
pub fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find("${{") {
        let Some(length) = rest[start..].find("}}") else { break };
        if start > 0 {
            pieces.push(Piece::Text(&rest[..start]));
        }
        let end = start + length + 2;
        let inner = rest[start + 3..end - 2].trim();
        pieces.push(match reference(inner) {
            Some(found) => Piece::Reference(found),
            None => Piece::Unknown(&rest[start..end]),
        });
        rest = &rest[end..];
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest));
    }
    pieces
}

fn reference(inner: &str) -> Option<KeyringReference> {
    let mut parts = inner.strip_prefix("keyrings.")?.splitn(2, '.');
    let is_name = |it: &str| {
        !it.is_empty() && it.chars().all(|it| it.is_alphanumeric() || matches!(it, '_' | '-'))
    };
    let keyring = parts.next().filter(|it| is_name(it))?.to_owned();
    let field = match parts.next() {
        Some(field) => Some(Some(field).filter(|it| is_name(it))?.to_owned()),
        None => None,
    };
    Some(KeyringReference { keyring, field })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(keyring: &str, field: Option<&str>) -> Piece<'static> {
        let field = field.map(str::to_owned);
        Piece::Reference(KeyringReference { keyring: keyring.to_owned(), field })
    }

    #[test]
    fn references_are_found_and_all_else_is_left() {
        assert_eq!(pieces("${{ keyrings.a-b_1 }}"), [found("a-b_1", None)]);
        assert_eq!(
            pieces("Bearer ${{keyrings.a.token}}!"),
            [Piece::Text("Bearer "), found("a", Some("token")), Piece::Text("!")]
        );
        for other in
            ["${{ inputs.a }}", "${{ keyrings. }}", "${{ keyrings.a. }}", "${{ keyrings.a b }}"]
        {
            assert_eq!(pieces(other), [Piece::Unknown(other)]);
            assert!(!is_reference(other));
        }
        assert_eq!(pieces("${{ keyrings.a"), [Piece::Text("${{ keyrings.a")]);
        assert!(pieces("").is_empty());
        assert!(is_reference("x${{ keyrings.a }}"));
    }
}
