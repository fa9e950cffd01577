//! What is configured: the JSON Schema for people and forms, and all that a schema cannot say.

use jiff::civil::date;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use mortise_plugin::{Fault, Location, Problem};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::cron::Cron;
use crate::schedule::Schedule;
use crate::source::{Missed, Timer};

/// A year; a longer interval is a cron line.
const MOST_INTERVAL_S: u64 = 366 * 24 * 3600;
const MOST_JITTER_S: u64 = 24 * 3600;

const KNOWN: [&str; 6] =
    ["cron", "interval_seconds", "timezone", "jitter_seconds", "missed", "metadata"];

#[derive(Default, Deserialize)]
#[serde(default)]
struct Config {
    cron: Option<String>,
    interval_seconds: Option<u64>,
    timezone: Option<String>,
    jitter_seconds: u64,
    missed: Missed,
    metadata: Map<String, Value>,
}

pub(crate) fn schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "cron": {
                "type": "string",
                "description": "When: minute, hour, day of month, month and weekday, or six fields \
                                with the second first; or @hourly, @daily, @weekly, @monthly, \
                                @yearly. Either this or `interval_seconds`."
            },
            "interval_seconds": {
                "type": "integer", "minimum": 1, "maximum": MOST_INTERVAL_S,
                "description": "Every so many seconds, the first time so long after activation."
            },
            "timezone": {
                "type": "string", "default": "UTC",
                "description": "The IANA time zone of the cron line, such as `Europe/Berlin`."
            },
            "jitter_seconds": {
                "type": "integer", "minimum": 0, "maximum": MOST_JITTER_S, "default": 0,
                "description": "Up to so many seconds later, differently each time; never later \
                                than the next time."
            },
            "missed": {
                "enum": ["skip", "run_once"], "default": "skip",
                "description": "What becomes of times at which the daemon did not run, or was more \
                                than a minute late: nothing, or one event for all of them."
            },
            "metadata": {
                "type": "object", "default": {},
                "description": "Handed to the function with each event."
            }
        },
        "examples": [
            { "cron": "*/10 * * * *" },
            { "cron": "0 9 * * MON-FRI", "timezone": "Europe/Berlin", "missed": "run_once" },
            { "interval_seconds": 3600, "jitter_seconds": 60, "metadata": { "task": "sync" } }
        ]
    })
}

/// Opens a timer, or says everything that is wrong with its configuration.
pub(crate) fn open(value: Value) -> Result<Timer, Fault> {
    let mut warnings = Problem::unknown_keys(&value, "", &KNOWN);
    let config: Config = serde_json::from_value(value).map_err(|error| {
        Fault::config("the configuration is wrong", vec![Problem::at("", error.to_string())])
    })?;
    let mut problems = Vec::new();
    let zone = zone(&config, &mut problems);
    let (schedule, name) = match (&config.cron, config.interval_seconds) {
        (Some(line), None) => {
            let zone_name = config.timezone.as_deref().unwrap_or("UTC");
            let cron = read_cron(line, &mut problems);
            let schedule =
                cron.zip(zone).map(|(cron, zone)| Schedule::Cron { cron: Box::new(cron), zone });
            (schedule, format!("cron {} {zone_name}", line.trim()))
        }
        (None, Some(seconds)) => {
            if config.timezone.is_some() {
                warnings.push(Problem::at("timezone", "has no meaning for an interval"));
            }
            let schedule = read_interval(seconds, config.jitter_seconds, &mut problems);
            (schedule, format!("interval {seconds}"))
        }
        (Some(_), Some(_)) => {
            let message = "give either `cron` or `interval_seconds`, not both";
            problems.push(Problem::at("interval_seconds", message));
            (None, String::new())
        }
        (None, None) => {
            let message = "give `cron`, such as `0 9 * * MON-FRI`, or `interval_seconds`";
            problems.push(Problem::at("", message));
            (None, String::new())
        }
    };
    if config.jitter_seconds > MOST_JITTER_S {
        problems
            .push(Problem::at("jitter_seconds", format!("must be at most {MOST_JITTER_S}, a day")));
    }
    match schedule {
        Some(schedule) if problems.is_empty() => Ok(Timer {
            schedule,
            name,
            jitter_ms: config.jitter_seconds * 1_000,
            missed: config.missed,
            metadata: config.metadata,
            warnings,
        }),
        Some(_) | None => Err(Fault::config("the configuration is wrong", problems)),
    }
}

fn zone(config: &Config, problems: &mut Vec<Problem>) -> Option<TimeZone> {
    let name = config.timezone.as_deref().unwrap_or("UTC");
    // The one that is built in: that of the host would be files.
    if let Ok(zone) = TimeZoneDatabase::bundled().get(name) {
        return Some(zone);
    }
    let message = format!(
        "`{name}` is no time zone; give a name of the IANA database, such as `Europe/Berlin` or `UTC`"
    );
    problems.push(Problem::at("timezone", message));
    None
}

fn read_cron(line: &str, problems: &mut Vec<Problem>) -> Option<Cron> {
    match Cron::parse(line) {
        Ok(cron) => {
            // From anywhere: what does not come in 41 years does not come.
            if cron.next_civil(date(2000, 1, 1).at(0, 0, 0, 0)).is_some() {
                return Some(cron);
            }
            let message = "this never comes: no month has such a day";
            problems.push(Problem::at("cron", message));
        }
        Err(found) => problems.extend(found.into_iter().map(|it| Problem {
            path: "cron".to_owned(),
            message: it.message,
            location: Some(Location { line: 1, column: it.column }),
        })),
    }
    None
}

fn read_interval(seconds: u64, jitter: u64, problems: &mut Vec<Problem>) -> Option<Schedule> {
    if !(1..=MOST_INTERVAL_S).contains(&seconds) {
        let message =
            format!("must be from 1 to {MOST_INTERVAL_S}, a year; use `cron` beyond that");
        problems.push(Problem::at("interval_seconds", message));
        return None;
    }
    if jitter >= seconds {
        problems.push(Problem::at("jitter_seconds", "must be less than `interval_seconds`"));
        return None;
    }
    Some(Schedule::Interval { every_ms: seconds * 1_000 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(config: Value) -> Vec<(String, String)> {
        let fault = open(config).err().unwrap();
        fault.problems.into_iter().map(|it| (it.path, it.message)).collect()
    }

    #[test]
    fn exactly_one() {
        let both = problems(json!({ "cron": "* * * * *", "interval_seconds": 5 }));
        assert_eq!(both[0].0, "interval_seconds");
        assert_eq!(both[0].1, "give either `cron` or `interval_seconds`, not both");
        let none = problems(json!({ "timezone": "UTC" }));
        assert!(none[0].1.starts_with("give `cron`"));
    }

    #[test]
    fn everything_at_once() {
        let found = problems(json!({
            "cron": "61 25 * * *", "timezone": "Europe/Berln", "jitter_seconds": 90_000
        }));
        let paths: Vec<&str> = found.iter().map(|it| it.0.as_str()).collect();
        assert_eq!(paths, ["timezone", "cron", "cron", "jitter_seconds"]);
        let fault = open(json!({ "cron": "0 25 * * *" })).err().unwrap();
        assert_eq!(fault.problems[0].location, Some(Location { line: 1, column: 3 }));
    }

    #[test]
    fn never() {
        for line in ["0 0 30 2 *", "0 0 31 4,6,9,11 *"] {
            assert_eq!(
                problems(json!({ "cron": line }))[0].1,
                "this never comes: no month has such a day"
            );
        }
        assert!(open(json!({ "cron": "0 0 29 2 *" })).is_ok());
        // Only when a 29th of February is the fifth Sunday.
        assert!(open(json!({ "cron": "0 0 */28 2 0#5" })).is_ok());
    }

    #[test]
    fn bounds() {
        for (config, path) in [
            (json!({ "interval_seconds": 0 }), "interval_seconds"),
            (json!({ "interval_seconds": 40_000_000 }), "interval_seconds"),
            (json!({ "interval_seconds": 10, "jitter_seconds": 10 }), "jitter_seconds"),
            (json!({ "interval_seconds": -1 }), ""),
            (json!({ "cron": 5 }), ""),
            (json!([]), ""),
            (json!({ "cron": "* * * * *", "missed": "all" }), ""),
        ] {
            assert_eq!(problems(config.clone())[0].0, path, "{config}");
        }
    }

    #[test]
    fn warnings() {
        let config = json!({ "interval_seconds": 5, "timezone": "UTC", "crn": 1 });
        let timer = open(config).unwrap();
        let paths: Vec<&str> = timer.warnings.iter().map(|it| it.path.as_str()).collect();
        assert_eq!(paths, ["crn", "timezone"]);
    }
}
