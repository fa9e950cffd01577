//! How long a service wants to be left alone.

/// Nobody makes us wait longer than this.
pub const LONGEST_WAIT_MS: u64 = 24 * 3_600_000;

/// `Retry-After`: seconds, or a date of HTTP such as `Sun, 06 Nov 1994 08:49:37 GMT`.
pub fn retry_after_ms(text: &str, now_ms: u64) -> Option<u64> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<f64>() {
        return seconds_ms(seconds);
    }
    let wait = date_ms(text)?.saturating_sub(now_ms);
    Some(wait.min(LONGEST_WAIT_MS))
}

/// Seconds, perhaps with a fraction, as a wait.
pub fn seconds_ms(seconds: f64) -> Option<u64> {
    if !seconds.is_finite() || seconds < 0.0 {
        return None;
    }
    let longest = std::time::Duration::from_millis(LONGEST_WAIT_MS);
    let wait =
        std::time::Duration::try_from_secs_f64(seconds).map_or(longest, |it| it.min(longest));
    // Too early by a part of a millisecond is too early.
    u64::try_from(wait.as_nanos().div_ceil(1_000_000)).ok()
}

/// The form of dates that senders have to use (RFC 9110, IMF-fixdate).
fn date_ms(text: &str) -> Option<u64> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (_, rest) = text.split_once(", ")?;
    let mut parts = rest.split(' ');
    let day: u64 = parts.next()?.parse().ok().filter(|it| (1..=31).contains(it))?;
    let month = parts.next()?;
    let month = u64::try_from(MONTHS.iter().position(|it| *it == month)?).ok()? + 1;
    let year: u64 = parts.next()?.parse().ok().filter(|it| (1970..=9999).contains(it))?;
    let mut clock = parts.next()?.split(':').map(|it| it.parse::<u64>().ok());
    let (hours, minutes, seconds) = (clock.next()??, clock.next()??, clock.next()??);
    if parts.next() != Some("GMT") || hours > 23 || minutes > 59 || seconds > 60 {
        return None;
    }
    // Days since 1970, with years that begin in March, so that the day that is sometimes there is last.
    let (years, months) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * years + years / 4 - years / 100 + years / 400;
    let days = (days + (153 * months + 2) / 5 + day).checked_sub(719_469)?;
    Some((((days * 24 + hours) * 60 + minutes) * 60 + seconds) * 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_seconds_or_dates() {
        // 1994-11-06T08:49:07Z
        let now = 784_111_747_000;
        for (text, wait) in [
            ("120", Some(120_000)),
            (" 0.5 ", Some(500)),
            ("0.0001", Some(1)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(30_000)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
            ("Thu, 01 Jan 1970 00:00:00 GMT", Some(0)),
            ("Mon, 06 Nov 2034 08:49:37 GMT", Some(LONGEST_WAIT_MS)),
            ("99999999999999", Some(LONGEST_WAIT_MS)),
            ("1e300", Some(LONGEST_WAIT_MS)),
            ("soon", None),
            ("-1", None),
            ("inf", None),
            ("NaN", None),
            ("Sun, 06 Nov 1994 08:49:37", None),
            ("Sun, 99 Nov 1994 08:49:37 GMT", None),
            ("Sun, 06 Nov 1994 08:49 GMT", None),
        ] {
            assert_eq!(retry_after_ms(text, now), wait, "{text}");
        }
        assert_eq!(date_ms("Thu, 29 Feb 2024 12:00:00 GMT"), Some(1_709_208_000_000));
        assert_eq!(date_ms("Fri, 01 Mar 2024 00:00:00 GMT"), Some(1_709_251_200_000));
        assert_eq!(date_ms("Thu, 01 Jan 1970 00:00:01 GMT"), Some(1_000));
    }
}
