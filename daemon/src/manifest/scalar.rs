//! What an unquoted scalar means: the YAML 1.2 core schema, which is our stance.
//!
//! So `yes`, `no`, `on` and `off` are text (a reader that wants a boolean says so), `0755` is the
//! number 755, `12:30` is text and `2024-01-01` is text.

use super::node::Core;

/// The type and value of a plain scalar.
pub(super) fn resolve(text: &str) -> Core {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Core::Null,
        "true" | "True" | "TRUE" => return Core::Bool(true),
        "false" | "False" | "FALSE" => return Core::Bool(false),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => {
            return Core::Float(f64::INFINITY);
        }
        "-.inf" | "-.Inf" | "-.INF" => return Core::Float(f64::NEG_INFINITY),
        ".nan" | ".NaN" | ".NAN" => return Core::Float(f64::NAN),
        _ => {}
    }
    integer(text).or_else(|| float(text)).unwrap_or(Core::Text)
}

/// What YAML 1.1 read as a boolean and 1.2 reads as text.
pub(super) fn old_boolean(text: &str) -> Option<bool> {
    match text {
        "yes" | "Yes" | "YES" | "on" | "On" | "ON" | "y" | "Y" => Some(true),
        "no" | "No" | "NO" | "off" | "Off" | "OFF" | "n" | "N" => Some(false),
        _ => None,
    }
}

/// Whether YAML 1.1 would have read another number: `0755` was octal there.
pub(super) fn is_old_octal(text: &str) -> bool {
    let digits = text.trim_start_matches(['+', '-']);
    digits.len() > 1
        && digits.starts_with('0')
        && digits.bytes().all(|digit| (b'0'..=b'7').contains(&digit))
}

fn integer(text: &str) -> Option<Core> {
    let (digits, radix) = match text.get(..2) {
        Some("0o") => (&text[2..], 8),
        Some("0x") => (&text[2..], 16),
        _ => {
            let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
            if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
                return None;
            }
            (text, 10)
        }
    };
    // The parse functions take a sign after the prefix, which YAML does not.
    if radix != 10 && digits.starts_with(['+', '-']) {
        return None;
    }
    let signed = i64::from_str_radix(digits, radix).map(Core::Int);
    signed.or_else(|_| u64::from_str_radix(digits, radix).map(Core::UInt)).ok()
}

/// `[-+]? ( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )?`
fn float(text: &str) -> Option<Core> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.find(['e', 'E']) {
        Some(at) => (&unsigned[..at], Some(&unsigned[at + 1..])),
        None => (unsigned, None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all_digits = |text: &str| text.bytes().all(|digit| digit.is_ascii_digit());
    let exponent_is_sound = exponent.is_none_or(|exponent| {
        let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        !digits.is_empty() && all_digits(digits)
    });
    let is_float = all_digits(whole)
        && all_digits(fraction)
        && !(whole.is_empty() && fraction.is_empty())
        && exponent_is_sound;
    if !is_float {
        return None;
    }
    text.parse().ok().map(Core::Float)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_the_core_schema() {
        for (text, expected) in [
            ("", Core::Null),
            ("~", Core::Null),
            ("null", Core::Null),
            ("nUll", Core::Text),
            ("true", Core::Bool(true)),
            ("FALSE", Core::Bool(false)),
            ("yes", Core::Text),
            ("0", Core::Int(0)),
            ("-12", Core::Int(-12)),
            ("+12", Core::Int(12)),
            ("0755", Core::Int(755)),
            ("0o17", Core::Int(15)),
            ("0xfF", Core::Int(255)),
            ("0x", Core::Text),
            ("0x+1", Core::Text),
            ("-0x1", Core::Text),
            ("18446744073709551615", Core::UInt(u64::MAX)),
            ("18446744073709551616", Core::Float(18_446_744_073_709_551_616.0)),
            ("1.5", Core::Float(1.5)),
            ("1.", Core::Float(1.0)),
            (".5", Core::Float(0.5)),
            ("1e3", Core::Float(1000.0)),
            ("-1.5E-1", Core::Float(-0.15)),
            (".", Core::Text),
            ("+", Core::Text),
            ("1e", Core::Text),
            ("e1", Core::Text),
            ("inf", Core::Text),
            (".inf", Core::Float(f64::INFINITY)),
            ("12:30", Core::Text),
            ("1_000", Core::Text),
            ("2024-01-01", Core::Text),
            ("é1", Core::Text),
        ] {
            assert_eq!(resolve(text), expected, "{text:?}");
        }
        assert!(matches!(resolve(".nan"), Core::Float(value) if value.is_nan()));
    }

    #[test]
    fn knows_what_yaml_1_1_read_differently() {
        assert_eq!(old_boolean("On"), Some(true));
        assert_eq!(old_boolean("no"), Some(false));
        assert_eq!(old_boolean("true"), None);
        assert!(is_old_octal("0755") && is_old_octal("-017"));
        assert!(!is_old_octal("0") && !is_old_octal("0800") && !is_old_octal("12"));
    }
}
