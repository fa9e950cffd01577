//! What is given to commands about webhooks: secrets, headers, filters and times. Secrets come from files
//! or standard input; there is no option that takes one, because others on the host see the arguments of
//! a command.

use std::path::Path;

use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::cli::{Failure, files, payload};
use crate::clock::Clock;
use crate::model::timestamp::rfc3339;
use crate::random::secret_text;

/// Characters of a secret that is made here: as many as a webhook takes.
const SECRET_LENGTH: usize = 32;
/// Parts of names whose values are secrets.
const SECRET_NAMES: [&str; 8] =
    ["authorization", "cookie", "token", "secret", "key", "password", "auth", "credential"];

/// The secret in a file, or on standard input for `-`, without the end of its line.
pub(super) fn secret(file: &Path) -> Result<Zeroizing<String>, Failure> {
    let text = read("the secret", file)?;
    if text.is_empty() {
        return Err(Failure::usage(format!("the secret in {} is empty", file.display())));
    }
    Ok(text)
}

/// A new one.
pub(super) fn new_secret() -> Zeroizing<String> {
    Zeroizing::new(secret_text().chars().take(SECRET_LENGTH).collect())
}

fn read(what: &str, file: &Path) -> Result<Zeroizing<String>, Failure> {
    let text = if file.as_os_str() == "-" {
        payload::take_standard_input(what)?;
        files::standard_input(what)?
    } else {
        let shown = file.display().to_string();
        files::text(files::bytes(files::open(file)?, files::MOST_SECRET, &shown)?, &shown)?
    };
    Ok(Zeroizing::new(text.trim_end_matches(['\n', '\r']).to_owned()))
}

/// Headers: `NAME=VALUE`, `NAME=@FILE`, or `NAME=-` for standard input.
pub(super) fn headers(given: &[String]) -> Result<Vec<Value>, Failure> {
    given.iter().map(|it| header(it)).collect()
}

fn header(given: &str) -> Result<Value, Failure> {
    let Some((name, value)) = given.split_once('=').filter(|(name, _)| !name.is_empty()) else {
        // Without the text, which may be a secret.
        return Err(Failure::usage("a header is NAME=VALUE, NAME=@FILE or NAME=-"));
    };
    let value = match value.strip_prefix('@') {
        Some("") => {
            let message = format!("header {name}: the name of the file is missing after `@`");
            return Err(Failure::usage(message));
        }
        Some(file) => read(&format!("header {name}"), file.as_ref())?,
        None if value == "-" => read(&format!("header {name}"), "-".as_ref())?,
        None if is_secret(name) => {
            return Err(Failure::usage(format!(
                "header {name}: its value is a secret, and others on this host see the arguments of \
                 commands: write {name}=@FILE, or {name}=- for standard input"
            )));
        }
        None => Zeroizing::new(value.to_owned()),
    };
    Ok(json!({ "name": name, "value": value.as_str() }))
}

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET_NAMES.iter().any(|it| name.contains(it))
}

/// A jq program: as it stands there, from a file (`@FILE`) or from standard input (`-`).
pub(super) fn filter(given: &str) -> Result<String, Failure> {
    let file = if given == "-" { Some("-") } else { given.strip_prefix('@') };
    match file {
        // Programs may begin with the name of a format, such as `@json`.
        Some(file) if file == "-" || Path::new(file).is_file() => {
            Ok(read("the filter", file.as_ref())?.as_str().to_owned())
        }
        Some(_) | None => Ok(given.to_owned()),
    }
}

/// A point in time: RFC 3339 as it is, or so long ago, such as `90m`.
pub(super) fn time(given: &str) -> String {
    time_at(given, Clock::System.now_ms())
}

fn time_at(given: &str, now_ms: u64) -> String {
    let ago_ms = || {
        let unit = given.chars().last()?;
        let seconds = match unit {
            's' => 1,
            'm' => 60,
            'h' => 3_600,
            'd' => 86_400,
            _ => return None,
        };
        let number: u64 = given.strip_suffix(unit)?.parse().ok()?;
        number.checked_mul(seconds)?.checked_mul(1_000)
    };
    // What is neither is refused by the daemon, which says what is allowed.
    ago_ms().map_or_else(|| given.to_owned(), |ago_ms| rfc3339(now_ms.saturating_sub(ago_ms)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_do_not_stand_on_the_command_line() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("secret");
        std::fs::write(&path, "a secret\r\n").expect("it is ours");
        assert_eq!(secret(&path).ok().as_deref().map(String::as_str), Some("a secret"));
        let from_file = format!("Authorization=@{}", path.display());
        assert_eq!(
            header(&from_file).ok(),
            Some(json!({ "name": "Authorization", "value": "a secret" }))
        );
        assert_eq!(header("x-team=a=b").ok(), Some(json!({ "name": "x-team", "value": "a=b" })));
        for wrong in ["authorization=Bearer x", "X-Api-Key=x", "x-team", "=x", "a=@"] {
            let failure = header(wrong).expect_err(wrong);
            assert_eq!(failure.exit_code, 2);
            assert!(!failure.message.contains("Bearer"), "{}", failure.message);
        }
        std::fs::write(&path, "\n").expect("it is ours");
        assert!(secret(&path).is_err());
        assert_eq!(new_secret().len(), SECRET_LENGTH);
    }

    #[test]
    fn times_may_be_so_long_ago() {
        let now_ms = 90_000_000;
        assert_eq!(time_at("90m", now_ms), "1970-01-01T23:30:00.000Z");
        assert_eq!(time_at("1d", now_ms), "1970-01-01T01:00:00.000Z");
        assert_eq!(time_at("99999999999d", now_ms), "1970-01-01T00:00:00.000Z");
        for other in ["2026-01-31T12:00:00Z", "m", "-1h", "1w", ""] {
            assert_eq!(time_at(other, now_ms), other);
        }
    }
}
