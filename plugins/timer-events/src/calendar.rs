//! When a cron line is due: on the calendar, and in a time zone.
//!
//! What happens when clocks are changed is what cron(8) does. A line whose seconds, minutes or
//! hours start with `*` runs by the time that passes: `*/30 * * * *` runs every half hour, through
//! the change. Any other line runs once for each time that it names: a time that is skipped is
//! made up right after, and a time that comes twice counts the first time.

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::{Offset, TimeZone};
use jiff::{Timestamp, ToSpan};

use crate::cron::Cron;

/// The 29th of February that is a certain weekday comes back after 40 years at most.
const YEARS: i16 = 41;

impl Cron {
    /// The first time on the calendar after `after`; nothing if there is none in 41 years.
    pub(crate) fn next_civil(&self, after: DateTime) -> Option<DateTime> {
        let mut date = after.date();
        if self.has_date(date) {
            let next_second = after.time().checked_add(1.second()).ok();
            if let Some(time) = next_second.and_then(|it| self.time_from(it)) {
                return Some(date.to_datetime(time));
            }
        }
        let last_year = date.year().saturating_add(YEARS);
        let first_time = self.time_from(Time::midnight())?;
        loop {
            date = if self.months & 1 << date.month() == 0 {
                date.last_of_month().tomorrow().ok()?
            } else {
                date.tomorrow().ok()?
            };
            if date.year() > last_year {
                return None;
            }
            if self.has_date(date) {
                return Some(date.to_datetime(first_time));
            }
        }
    }

    fn has_date(&self, date: Date) -> bool {
        if self.months & 1 << date.month() == 0 {
            return false;
        }
        let is_day =
            self.days & 1 << date.day() != 0 || self.last_day && date.day() == date.days_in_month();
        let weekday = date.weekday().to_sunday_zero_offset();
        let week = (date.day() - 1) / 7 + 1;
        let is_last_week = date.day() + 7 > date.days_in_month();
        let weeks = usize::try_from(weekday).ok().and_then(|it| self.nth.get(it)).copied();
        let is_weekday = self.weekdays & 1 << weekday != 0
            || weeks.is_some_and(|it| it & 1 << week != 0)
            || is_last_week && self.last_weekdays & 1 << weekday != 0;
        if self.days_and_weekdays { is_day && is_weekday } else { is_day || is_weekday }
    }

    /// The first time of day that is not before `from`.
    fn time_from(&self, from: Time) -> Option<Time> {
        let time = |hour, minute, second| Time::new(hour, minute, second, 0).ok();
        let (first_minute, first_second) = (first(self.minutes, 0)?, first(self.seconds, 0)?);
        if self.hours & 1 << from.hour() != 0 {
            if self.minutes & 1 << from.minute() != 0
                && let Some(second) = first(self.seconds, from.second())
            {
                return time(from.hour(), from.minute(), second);
            }
            if let Some(minute) = first(self.minutes, from.minute() + 1) {
                return time(from.hour(), minute, first_second);
            }
        }
        time(first(self.hours, from.hour() + 1)?, first_minute, first_second)
    }

    /// The first instant after `after`, in whole seconds.
    pub(crate) fn next(&self, zone: &TimeZone, after: Timestamp) -> Option<Timestamp> {
        let after = Timestamp::from_second(after.as_millisecond().div_euclid(1_000)).ok()?;
        if self.is_interval { self.next_passing(zone, after) } else { self.next_named(zone, after) }
    }

    /// By the time that passes: in each stretch between two changes of the clock, the times that it
    /// shows.
    fn next_passing(&self, zone: &TimeZone, after: Timestamp) -> Option<Timestamp> {
        let mut changes = zone.following(after);
        let mut offset = zone.to_offset(after);
        let mut candidate = self.next_civil(offset.to_datetime(after))?;
        loop {
            let instant = instant(offset, candidate)?;
            let Some(change) = changes.next().filter(|it| it.timestamp() <= instant) else {
                return Some(instant);
            };
            let goes_back = change.offset() < offset;
            offset = change.offset();
            // The second of the change itself is part of the new stretch.
            let before = offset.to_datetime(change.timestamp()).checked_sub(1.second()).ok()?;
            if goes_back || candidate <= before {
                candidate = self.next_civil(before)?;
            }
        }
    }

    /// Once for each time that it names.
    fn next_named(&self, zone: &TimeZone, after: Timestamp) -> Option<Timestamp> {
        let mut shown = zone.to_datetime(after);
        loop {
            shown = self.next_civil(shown)?;
            let instant = match zone.to_ambiguous_timestamp(shown).offset() {
                jiff::tz::AmbiguousOffset::Unambiguous { offset } => instant(offset, shown)?,
                // The first of the two.
                jiff::tz::AmbiguousOffset::Fold { before, .. } => instant(before, shown)?,
                // Right after the gap, which is where the change is.
                jiff::tz::AmbiguousOffset::Gap { after, .. } => {
                    let inside = instant(after, shown)?;
                    zone.following(inside).next()?.timestamp()
                }
            };
            if instant > after {
                return Some(instant);
            }
        }
    }
}

fn instant(offset: Offset, shown: DateTime) -> Option<Timestamp> {
    offset.to_timestamp(shown).ok()
}

/// The lowest bit of a set from `from` on.
fn first(set: u64, from: i8) -> Option<i8> {
    let rest = set.checked_shr(u32::try_from(from).ok()?)?;
    if rest == 0 { None } else { i8::try_from(rest.trailing_zeros()).ok()?.checked_add(from) }
}
