//! When a request says it was signed, and whether that is near enough.

/// Seconds or milliseconds of the Unix epoch, or RFC 3339, in milliseconds of the Unix epoch.
///
/// Which of both a number is shows in its size: in seconds it would be after the year 5000.
pub(super) fn read(text: &str) -> Option<u64> {
    const LEAST_MILLISECONDS: u64 = 100_000_000_000;
    if text.is_empty() || text.len() > 35 {
        return None;
    }
    if text.bytes().all(|it| it.is_ascii_digit()) {
        let number: u64 = text.parse().ok()?;
        return match number {
            LEAST_MILLISECONDS.. => Some(number),
            0..LEAST_MILLISECONDS => Some(number * 1000),
        };
    }
    rfc3339(text)
}

/// How far off the clock, in words, when that is more than `tolerance_ms`.
pub(super) fn too_far(then_ms: u64, now_ms: u64, tolerance_ms: u64) -> Option<String> {
    let off = then_ms.abs_diff(now_ms);
    if off <= tolerance_ms {
        return None;
    }
    let direction = if then_ms < now_ms { "old" } else { "in the future" };
    // Rounded up, so that it is not said to be as much as is allowed.
    Some(format!(
        "{} s {direction}, more than the {} s of `tolerance_seconds`",
        off.div_ceil(1000),
        tolerance_ms / 1000
    ))
}

fn rfc3339(text: &str) -> Option<u64> {
    let (date, rest) = text.split_once(['T', 't', ' '])?;
    let mut date = date.split('-');
    let (year, month, day) =
        (digits(date.next()?, 4)?, digits(date.next()?, 2)?, digits(date.next()?, 2)?);
    if date.next().is_some() || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let (time, offset_s) = zone(rest)?;
    let (time, millis) = match time.split_once('.') {
        Some((time, fraction)) => (time, milliseconds(fraction)?),
        None => (time, 0),
    };
    let mut time = time.split(':');
    let (hour, minute, second) =
        (digits(time.next()?, 2)?, digits(time.next()?, 2)?, digits(time.next()?, 2)?);
    if time.next().is_some() || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let seconds = days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - offset_s;
    u64::try_from(seconds * 1000 + millis).ok()
}

/// The time before its zone, and how many seconds that is ahead of UTC.
fn zone(text: &str) -> Option<(&str, i64)> {
    if let Some(time) = text.strip_suffix(['Z', 'z']) {
        return Some((time, 0));
    }
    let at = text.rfind(['+', '-'])?;
    let (hours, minutes) = text[at + 1..].split_once(':')?;
    let offset = digits(hours, 2)? * 3600 + digits(minutes, 2)? * 60;
    Some((&text[..at], if text[at..].starts_with('-') { -offset } else { offset }))
}

fn milliseconds(fraction: &str) -> Option<i64> {
    if fraction.is_empty() || !fraction.bytes().all(|it| it.is_ascii_digit()) {
        return None;
    }
    let three: String = fraction.chars().chain("00".chars()).take(3).collect();
    three.parse().ok()
}

fn digits(text: &str, count: usize) -> Option<i64> {
    let right = text.len() == count && text.bytes().all(|it| it.is_ascii_digit());
    if right { text.parse().ok() } else { None }
}

/// Days since 1970-01-01 of a date in the Gregorian calendar, by counting from March, so that the
/// leap day is the last of its year.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    365 * year + year.div_euclid(4) - year.div_euclid(100)
        + year.div_euclid(400)
        + (153 * month + 2) / 5
        + day
        - 1
        - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_forms_are_read() {
        // Those in RFC 3339 by Python's `datetime`.
        for (text, expected) in [
            ("0", Some(0)),
            ("1531420618", Some(1_531_420_618_000)),
            ("1531420618123", Some(1_531_420_618_123)),
            ("2018-07-12T18:36:58Z", Some(1_531_420_618_000)),
            ("2018-07-12t20:36:58.5+02:00", Some(1_531_420_618_500)),
            ("2018-07-12 13:06:58.123456-05:30", Some(1_531_420_618_123)),
            ("2000-02-29T00:00:00Z", Some(951_782_400_000)),
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2100-03-01T00:00:00Z", Some(4_107_542_400_000)),
            ("1969-12-31T23:59:59Z", None),
            ("", None),
            ("-1", None),
            ("+1", None),
            ("1.5", None),
            (" 1", None),
            ("\u{661}", None),
            ("99999999999999999999", None),
            ("2018-13-12T18:36:58Z", None),
            ("2018-07-12T18:36:58", None),
            ("2018-07-12T18:36Z", None),
            ("2018-07-12T18:36:58.Z", None),
            ("2018-07-12", None),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
    }

    #[test]
    fn the_past_and_the_future_are_as_far() {
        let (now, tolerance) = (1_000_000, 300_000);
        for near in [now, now - tolerance, now + tolerance] {
            assert_eq!(too_far(near, now, tolerance), None);
        }
        assert_eq!(
            too_far(now - tolerance - 1000, now, tolerance).unwrap(),
            "301 s old, more than the 300 s of `tolerance_seconds`"
        );
        let border = too_far(now - tolerance - 1, now, tolerance).unwrap();
        assert!(border.starts_with("301 s old"), "{border}");
        let future = too_far(now + 700_000, now, tolerance).unwrap();
        assert!(future.starts_with("700 s in the future"), "{future}");
        assert!(too_far(u64::MAX, 0, tolerance).is_some() && too_far(0, u64::MAX, 0).is_some());
    }
}
