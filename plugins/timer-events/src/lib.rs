//! The source type `timer-events`: a `timer.tick` at the times of a cron line, or at an interval.
//!
//! The daemon calls with the time; this crate says which tick that makes, if any, and when it wants
//! to be called next. It does no I/O, reads no clock and keeps nothing but its cursor. Time zones
//! are those of the database that it is built with.
//!
//! | module | owns |
//! |---|---|
//! | `config` | what is configured, and all that is wrong with it |
//! | `cron`, `calendar` | cron lines: what they say; when that is, in a time zone |
//! | `schedule` | the times of a cron line or an interval, and those that were missed |
//! | `source` | a call in, an answer out |

mod calendar;
mod config;
mod cron;
mod schedule;
mod source;

#[cfg(test)]
mod vectors_tests;

use mortise_plugin::TypeDescriptor;

/// The name of the source type.
pub const KIND: &str = "timer-events";

fn describe() -> TypeDescriptor {
    TypeDescriptor {
        name: KIND.to_owned(),
        title: "Timer".to_owned(),
        description: "Events at the times of a cron line, or at a fixed interval.".to_owned(),
        config_schema: config::schema(),
        takes_ticks: true,
        ..TypeDescriptor::default()
    }
}

mortise_plugin::export_type!(source TimerEvents, describe, |config, _host| config::open(config));
