//! Times in requests: RFC 3339 as text, milliseconds of the Unix epoch inside.

use super::error::ApiError;
use crate::configuration::dates::is_timestamp;

/// The first millisecond that is not before a time; 0 for times before 1970.
pub(super) fn parse_time(field: &str, text: &str) -> Result<u64, ApiError> {
    const NANOSECONDS: i128 = 1_000_000;
    let wrong = || {
        let message = format!(
            "{field} is `{text}`: expected a date and time with its offset as in RFC 3339, such as \
             2026-01-31T12:00:00Z or 2026-01-31T13:00:00.5+01:00"
        );
        ApiError::field(field, message)
    };
    if !is_timestamp(text) {
        return Err(wrong());
    }
    let time: jiff::Timestamp = text.parse().map_err(|_| wrong())?;
    let nanoseconds = time.as_nanosecond().max(0);
    let up = (nanoseconds + NANOSECONDS - 1) / NANOSECONDS;
    Ok(u64::try_from(up).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::super::lists::time;
    use super::*;

    #[test]
    fn times_are_read_and_never_earlier_than_they_were_meant() {
        for (text, shown) in [
            ("2026-01-31T12:00:00Z", "2026-01-31T12:00:00.000Z"),
            ("2026-01-31t13:00:00.5+01:00", "2026-01-31T12:00:00.500Z"),
            ("2026-01-31T00:30:00.0000001-11:30", "2026-01-31T12:00:00.001Z"),
            ("2024-02-29T23:59:59.9999Z", "2024-03-01T00:00:00.000Z"),
            ("1931-01-31T12:00:00Z", "1970-01-01T00:00:00.000Z"),
        ] {
            let ms = parse_time("publish_at", text).expect(text);
            assert_eq!(time(ms), shown, "{text}");
        }
        for text in ["", "tomorrow", "2026-01-31", "2026-01-31 12:00:00Z", "2026-01-31T12:00:00"] {
            let error = parse_time("publish_at", text).expect_err(text);
            assert!(error.message().contains("publish_at"), "{error:?}");
        }
    }
}
