//! Whether a text is a date or a timestamp of RFC 3339. Must never convert one: values are kept as
//! they were written.

/// `full-date`: `2026-01-31`.
pub fn is_date(text: &str) -> bool {
    let bytes = text.as_bytes();
    if bytes.len() != 10 || bytes[4] != b'-' || bytes[7] != b'-' {
        return false;
    }
    let (Some(year), Some(month), Some(day)) =
        (number(&bytes[..4]), number(&bytes[5..7]), number(&bytes[8..]))
    else {
        return false;
    };
    (1..=12).contains(&month) && (1..=days(year, month)).contains(&day)
}

/// `date-time`: `2026-01-31T12:00:00.5+01:00`. A second may be 60.
pub fn is_timestamp(text: &str) -> bool {
    let Some((date, time)) = text.split_once(['T', 't']) else { return false };
    let Some(zone_at) = time.find(['Z', 'z', '+', '-']) else { return false };
    let (clock, zone) = time.split_at(zone_at);
    let (seconds, fraction) = match clock.split_once('.') {
        Some((seconds, fraction)) => (seconds, Some(fraction)),
        None => (clock, None),
    };
    is_date(date)
        && is_clock(seconds)
        && fraction.is_none_or(|it| !it.is_empty() && it.bytes().all(|it| it.is_ascii_digit()))
        && is_zone(zone)
}

fn is_clock(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() == 8
        && is_hour_and_minute(&bytes[..5])
        && bytes[5] == b':'
        && number(&bytes[6..]).is_some_and(|it| it <= 60)
}

fn is_zone(text: &str) -> bool {
    match text.as_bytes() {
        [b'Z' | b'z'] => true,
        [b'+' | b'-', offset @ ..] => is_hour_and_minute(offset),
        _ => false,
    }
}

fn is_hour_and_minute(bytes: &[u8]) -> bool {
    bytes.len() == 5
        && number(&bytes[..2]).is_some_and(|it| it <= 23)
        && bytes[2] == b':'
        && number(&bytes[3..]).is_some_and(|it| it <= 59)
}

fn days(year: u32, month: u32) -> u32 {
    let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// At most four digits, nothing else.
fn number(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |sum, digit| {
        digit.is_ascii_digit().then(|| sum * 10 + u32::from(digit - b'0'))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn dates() {
        for text in ["2026-01-31", "2024-02-29", "2000-02-29", "0000-12-31", "9999-11-30"] {
            assert!(is_date(text), "{text}");
        }
        for text in [
            "",
            "2026-1-31",
            "2026-01-32",
            "2026-00-10",
            "2026-13-10",
            "2025-02-29",
            "1900-02-29",
            "2026-04-31",
            "2026/01/31",
            "20260131",
            "2026-01-31T00:00:00Z",
            "+026-01-31",
            "２026-01-3",
        ] {
            assert!(!is_date(text), "{text}");
        }
    }

    #[test]
    fn timestamps() {
        for text in [
            "2026-01-31T12:00:00Z",
            "2026-01-31t12:00:00z",
            "2026-01-31T23:59:60.123456789-00:00",
            "2026-01-31T12:00:00+23:59",
        ] {
            assert!(is_timestamp(text), "{text}");
        }
        for text in [
            "2026-01-31",
            "2026-01-31T12:00:00",
            "2026-01-31 12:00:00Z",
            "2026-01-31T12:00Z",
            "2026-01-31T24:00:00Z",
            "2026-01-31T12:60:00Z",
            "2026-01-31T12:00:61Z",
            "2026-01-31T12:00:00.Z",
            "2026-01-31T12:00:00+1:00",
            "2026-01-31T12:00:00+24:00",
            "2026-01-31T12:00:00Zx",
            "2026-02-30T12:00:00Z",
        ] {
            assert!(!is_timestamp(text), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_judged(text in "\\PC*", near in "[0-9:.TZ+-]{0,30}") {
            let _ = (is_date(&text), is_timestamp(&text), is_date(&near), is_timestamp(&near));
        }
    }
}
