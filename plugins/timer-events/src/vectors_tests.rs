//! When cron lines are due, compared with what other implementations said.
//!
//! `vectors/occurrences.jsonl` has a line of cron, a time zone, a time, and the times after it;
//! `vectors/make.py` says how they were made.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use proptest::prelude::*;
use serde::Deserialize;

use crate::cron::Cron;

#[derive(Deserialize)]
struct Case {
    cron: String,
    zone: String,
    after: i64,
    times: Vec<i64>,
    by: String,
}

fn zone(name: &str) -> TimeZone {
    TimeZoneDatabase::bundled().get(name).unwrap()
}

#[test]
fn occurrences() {
    let text = include_str!("../vectors/occurrences.jsonl");
    let cases: Vec<Case> = text.lines().map(|it| serde_json::from_str(it).unwrap()).collect();
    let changes = cases.iter().filter(|it| it.by == "brute").count();
    assert!(cases.len() > 2_000 && changes > 500, "{} cases, {changes} changes", cases.len());
    let mut wrong = Vec::new();
    for case in &cases {
        let cron = Cron::parse(&case.cron).unwrap();
        let zone = zone(&case.zone);
        let mut time = case.after;
        for expected in &case.times {
            let next = cron.next(&zone, Timestamp::from_second(time).unwrap()).unwrap().as_second();
            if next != *expected {
                let shown = |it| Timestamp::from_second(it).unwrap().to_zoned(zone.clone());
                wrong.push(format!(
                    "`{}` after {} is {}, and not {} ({})",
                    case.cron,
                    shown(time),
                    shown(*expected),
                    shown(next),
                    case.by
                ));
                break;
            }
            time = next;
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

#[test]
fn days_that_are_rare() {
    let after = |line: &str, after: &str| {
        let after: DateTime = after.parse().unwrap();
        Cron::parse(line).unwrap().next_civil(after).map(|it| it.to_string())
    };
    let at = |text: &str| Some(text.to_owned());
    // 2100 is no leap year.
    assert_eq!(after("0 0 29 2 *", "2096-02-29T00:00:00"), at("2104-02-29T00:00:00"));
    assert_eq!(after("0 0 31 * *", "2024-03-31T00:00:00"), at("2024-05-31T00:00:00"));
    assert_eq!(after("0 0 L * *", "2024-01-31T00:00:00"), at("2024-02-29T00:00:00"));
    assert_eq!(after("0 0 * * FRIL", "2024-03-01T00:00:00"), at("2024-03-29T00:00:00"));
    assert_eq!(after("0 0 * * TUE#5", "2024-01-31T00:00:00"), at("2024-04-30T00:00:00"));
    assert_eq!(after("59 59 23 31 12 ?", "2024-12-31T23:59:58"), at("2024-12-31T23:59:59"));
    // Both kinds of days restricted: either. One of them with `*`: both.
    assert_eq!(after("0 0 13 * FRI", "2024-09-10T00:00:00"), at("2024-09-13T00:00:00"));
    assert_eq!(after("0 0 14 * FRI", "2024-09-13T00:00:00"), at("2024-09-14T00:00:00"));
    assert_eq!(after("0 0 */13 * FRI", "2024-09-02T00:00:00"), at("2024-09-27T00:00:00"));
    assert_eq!(after("0 0 30 2 *", "2024-01-01T00:00:00"), None);
}

/// The western side of the date line went to the eastern one and lost a day.
#[test]
fn a_day_that_never_was() {
    let zone = zone("Pacific/Apia");
    let after: Timestamp = "2011-12-29T12:00:00-10:00".parse().unwrap();
    let next = |line: &str| Cron::parse(line).unwrap().next(&zone, after).unwrap().to_string();
    assert_eq!(next("0 8 30 12 *"), "2011-12-30T10:00:00Z");
    assert_eq!(next("0 8 31 12 *"), "2011-12-30T18:00:00Z");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// For any start, the next time is later, and nothing lies between.
    #[test]
    fn times_are_in_order_and_complete(
        line in prop::sample::select(vec![
            "*/7 * * * *", "30 2 * * *", "0 0 29 2 *", "15,45 1-3 * * SUN", "5 */3 1 * *", "* * * * * *",
        ]),
        zone_name in prop::sample::select(vec![
            "UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca",
        ]),
        start in 0..4_000_000_000i64,
        part in 0.0..1.0f64,
    ) {
        let (cron, zone) = (Cron::parse(line).unwrap(), zone(zone_name));
        let at = |second: i64| Timestamp::from_second(second).unwrap();
        let next = cron.next(&zone, at(start)).unwrap().as_second();
        prop_assert!(next > start);
        #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "any time between")]
        let between = start + ((next - start) as f64 * part) as i64;
        let again = cron.next(&zone, at(between.min(next - 1))).unwrap().as_second();
        prop_assert_eq!(again, next);
    }
}
