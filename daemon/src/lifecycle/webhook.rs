//! The life of an outgoing webhook: whether its endpoint is known to want events, and whether it takes
//! them (seed 002, spec §5). Pure: what is to be sent, and what becomes of its queue, is read off the
//! standing.
//!
//! A webhook is verified before it gets anything: its endpoint echoes a challenge within three minutes.
//! When an event used up its attempts and nothing else was taken meanwhile, it is degraded, and asked
//! again, ever more rarely, until it echoes.

use serde::{Deserialize, Serialize};

/// How long an endpoint has for echoing its first challenge.
pub const VERIFY_WITHIN_MS: u64 = 3 * 60_000;
/// When it is asked, counted from the beginning.
const ASKED_AFTER_MS: [u64; 7] = [0, 5_000, 15_000, 30_000, 60_000, 110_000, 170_000];
/// How long a degraded endpoint is left alone at first; twice as long each time after.
const FIRST_PAUSE_MS: u64 = 30_000;
/// The longest that it is left alone.
const LONGEST_PAUSE_MS: u64 = 15 * 60_000;

/// Whether events are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Its endpoint has not echoed a challenge yet, or not since it was changed.
    Unverified,
    /// Events are sent.
    Active,
    /// Its endpoint takes nothing at the moment.
    Degraded,
    /// It was switched off, by somebody or by its endpoint.
    Inactive,
}

impl Status {
    /// Its name in documents.
    pub fn name(self) -> &'static str {
        match self {
            Status::Unverified => "unverified",
            Status::Active => "active",
            Status::Degraded => "degraded",
            Status::Inactive => "inactive",
        }
    }
}

/// What becomes of the queue of a degraded webhook.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum OnDegraded {
    /// Its events fail without an attempt.
    #[default]
    Fail,
    /// They wait, and go out in order when it is active again.
    Hold,
}

/// Where a webhook stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// Whether events are sent.
    pub status: Status,
    /// Why not, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Its endpoint is being asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verification: Option<Verification>,
    /// Whether it ever echoed a challenge: from then on nothing that it missed is lost.
    pub was_verified: bool,
}

/// An endpoint is being asked whether it wants events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verification {
    /// What it is to echo.
    pub challenge: String,
    /// When it was asked first, milliseconds of the Unix epoch.
    pub begun_ms: u64,
    /// When it is asked next.
    pub due_ms: u64,
    /// How often it was asked.
    pub asked: u32,
    /// When it has to have echoed; one that was active before has all the time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_ms: Option<u64>,
}

/// What happens to a webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Its endpoint echoed the challenge.
    Echoed,
    /// It did not.
    NotEchoed {
        /// What it did instead.
        reason: String,
    },
    /// An event used up its attempts, and nothing was taken since the first of them.
    Failing {
        /// What the endpoint answered last.
        reason: String,
    },
    /// Its endpoint says that it is gone (410).
    Gone,
    /// Its secret cannot be read any more.
    SecretLost,
    /// What it was to be told waited for so long that it is thrown away.
    TooFarBehind,
    /// Its URL or its secret is another one.
    Changed,
    /// Somebody wants it to be sent events.
    Activate,
    /// Somebody wants it not to be.
    Deactivate,
}

/// What becomes of queued events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queue {
    /// They are sent.
    Send,
    /// They wait.
    Hold,
    /// They fail without an attempt.
    Fail,
}

impl Standing {
    /// A new webhook: its endpoint is asked at once.
    pub fn new(challenge: &str, now_ms: u64) -> Standing {
        Standing {
            status: Status::Unverified,
            reason: None,
            verification: Some(Verification::first(challenge, now_ms)),
            was_verified: false,
        }
    }

    fn active() -> Standing {
        Standing { status: Status::Active, reason: None, verification: None, was_verified: true }
    }

    /// What becomes of what is queued.
    pub fn queue(&self, on_degraded: OnDegraded) -> Queue {
        match (self.status, on_degraded) {
            (Status::Active, _) => Queue::Send,
            (Status::Unverified, _) | (Status::Degraded, OnDegraded::Hold) => Queue::Hold,
            (Status::Degraded, OnDegraded::Fail) | (Status::Inactive, _) => Queue::Fail,
        }
    }

    /// Whether changes become events of it at all. One that was verified once gets what happened
    /// while it had to be verified again.
    pub fn wants_events(&self) -> bool {
        match self.status {
            Status::Active | Status::Degraded => true,
            Status::Unverified => self.was_verified,
            Status::Inactive => false,
        }
    }
}

impl Verification {
    fn first(challenge: &str, now_ms: u64) -> Verification {
        Verification {
            challenge: challenge.to_owned(),
            begun_ms: now_ms,
            due_ms: now_ms,
            asked: 0,
            until_ms: Some(now_ms.saturating_add(VERIFY_WITHIN_MS)),
        }
    }

    fn of_degraded(challenge: &str, now_ms: u64, due_ms: u64) -> Verification {
        let challenge = challenge.to_owned();
        Verification { challenge, begun_ms: now_ms, due_ms, asked: 0, until_ms: None }
    }

    /// After a challenge that was not echoed: when it is asked again; nothing when its time is up.
    fn again(&self, now_ms: u64) -> Option<Verification> {
        let asked = self.asked.saturating_add(1);
        let due_ms = match self.until_ms {
            Some(_) => {
                let after = ASKED_AFTER_MS.get(usize::try_from(asked).unwrap_or(usize::MAX))?;
                // Not sooner than that, also when the last answer took its time.
                self.begun_ms.saturating_add(*after).max(now_ms)
            }
            None => {
                let pause = FIRST_PAUSE_MS << asked.min(10);
                now_ms.saturating_add(pause.min(LONGEST_PAUSE_MS))
            }
        };
        let in_time = self.until_ms.is_none_or(|until| due_ms < until);
        in_time.then(|| Verification { asked, due_ms, ..self.clone() })
    }
}

/// Where a webhook stands after an event. `challenge` is a new one, in case that it is needed.
pub fn step(now: &Standing, event: &Event, challenge: &str, now_ms: u64) -> Standing {
    let verified_anew =
        |was_verified| Standing { was_verified, ..Standing::new(challenge, now_ms) };
    match (event, now.status) {
        // An echo to a challenge of before it was switched off.
        (Event::Echoed | Event::NotEchoed { .. }, Status::Active | Status::Inactive) => now.clone(),
        (Event::Echoed, Status::Unverified | Status::Degraded) => Standing::active(),
        (Event::NotEchoed { reason }, Status::Unverified | Status::Degraded) => {
            let verification = now.verification.as_ref().and_then(|it| it.again(now_ms));
            let reason = match &verification {
                Some(_) => reason.clone(),
                None => format!(
                    "not verified within 3 minutes: {reason}; webhooks.update with `action: activate` tries again"
                ),
            };
            Standing { reason: Some(reason), verification, ..now.clone() }
        }
        (Event::Failing { reason }, Status::Active) => Standing {
            status: Status::Degraded,
            reason: Some(reason.clone()),
            verification: Some(Verification::of_degraded(
                challenge,
                now_ms,
                now_ms.saturating_add(FIRST_PAUSE_MS),
            )),
            was_verified: true,
        },
        // It was sent before that.
        (Event::Failing { .. }, Status::Unverified | Status::Degraded | Status::Inactive) => now.clone(),
        (Event::Gone, _) => Standing {
            status: Status::Inactive,
            reason: Some("its endpoint answered 410 Gone".to_owned()),
            verification: None,
            was_verified: now.was_verified,
        },
        (Event::SecretLost, _) => Standing {
            status: Status::Inactive,
            reason: Some(
                "its secret is lost: set another one with webhooks.update, or `\"secret\": \"\"` for \
                 a new one, and activate it"
                    .to_owned(),
            ),
            verification: None,
            was_verified: now.was_verified,
        },
        // It gets on.
        (Event::TooFarBehind, Status::Active | Status::Inactive) => now.clone(),
        (Event::TooFarBehind, Status::Unverified | Status::Degraded) => Standing {
            status: Status::Inactive,
            reason: Some(
                "its endpoint took nothing for as long as the daemon keeps things (store.keep_days); \
                 webhooks.update with `action: activate` begins anew"
                    .to_owned(),
            ),
            verification: None,
            was_verified: now.was_verified,
        },
        (Event::Changed, Status::Inactive) => now.clone(),
        (Event::Changed, Status::Unverified | Status::Active | Status::Degraded) => {
            verified_anew(now.was_verified)
        }
        (Event::Activate, Status::Active) => now.clone(),
        (Event::Activate, Status::Unverified | Status::Inactive) => verified_anew(now.was_verified),
        (Event::Activate, Status::Degraded) => Standing {
            verification: Some(Verification::of_degraded(challenge, now_ms, now_ms)),
            ..now.clone()
        },
        (Event::Deactivate, _) => Standing {
            status: Status::Inactive,
            reason: Some("it was deactivated".to_owned()),
            verification: None,
            was_verified: now.was_verified,
        },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn no(reason: &str) -> Event {
        Event::NotEchoed { reason: reason.to_owned() }
    }

    fn failing() -> Event {
        Event::Failing { reason: "503".to_owned() }
    }

    #[test]
    fn an_endpoint_has_three_minutes() {
        let mut now = Standing::new("c1", 1_000);
        assert!(!now.wants_events());
        let mut asked_ms = Vec::new();
        while let Some(verification) = &now.verification {
            let due_ms = verification.due_ms;
            asked_ms.push(due_ms - 1_000);
            now = step(&now, &no("timeout"), "unused", due_ms + 10);
            assert_eq!(now.status, Status::Unverified);
        }
        assert_eq!(asked_ms, ASKED_AFTER_MS);
        assert!(now.reason.as_ref().is_some_and(|it| it.contains("within 3 minutes: timeout")));
        let again = step(&now, &Event::Activate, "c2", 500_000);
        assert_eq!(again, Standing::new("c2", 500_000));
        assert_eq!(step(&again, &Event::Echoed, "", 500_001), Standing::active());
    }

    #[test]
    fn slow_answers_do_not_stretch_the_time() {
        let now = step(&Standing::new("c", 0), &no("slow"), "", 179_000);
        assert_eq!(now.verification.as_ref().map(|it| it.due_ms), Some(179_000));
        assert_eq!(step(&now, &no("slow"), "", 181_000).verification, None);
    }

    #[test]
    fn a_degraded_one_is_asked_ever_more_rarely_until_it_echoes() {
        let mut now = step(&Standing::active(), &failing(), "c", 0);
        assert_eq!((now.status, now.reason.as_deref()), (Status::Degraded, Some("503")));
        let mut pauses = Vec::new();
        let mut last_ms = 0;
        for _ in 0..8 {
            let due_ms = now.verification.as_ref().expect("it is asked").due_ms;
            pauses.push((due_ms - last_ms) / 1000);
            last_ms = due_ms;
            now = step(&now, &no("refused"), "", due_ms);
        }
        assert_eq!(pauses, [30, 60, 120, 240, 480, 900, 900, 900]);
        assert_eq!(now.queue(OnDegraded::Fail), Queue::Fail);
        assert_eq!(now.queue(OnDegraded::Hold), Queue::Hold);
        let asked = step(&now, &Event::Activate, "c2", 77);
        assert_eq!(asked.verification.as_ref().map(|it| it.due_ms), Some(77));
        assert_eq!(asked.status, Status::Degraded);
        assert_eq!(step(&asked, &Event::Echoed, "", 80), Standing::active());
    }

    #[test]
    fn what_was_verified_once_misses_nothing_while_it_is_verified_again() {
        let changed = step(&Standing::active(), &Event::Changed, "c", 5);
        assert_eq!(changed.status, Status::Unverified);
        assert!(changed.wants_events());
        assert_eq!(changed.queue(OnDegraded::Fail), Queue::Hold);
        let off = step(&changed, &Event::Deactivate, "", 6);
        assert_eq!((off.status, off.wants_events()), (Status::Inactive, false));
        assert_eq!(
            step(&off, &Event::Changed, "c", 7),
            off,
            "whoever switched it off, switches it on"
        );
        let gone = step(&Standing::active(), &Event::Gone, "", 8);
        assert!(gone.reason.as_ref().is_some_and(|it| it.contains("410")));
    }

    fn any_event() -> impl Strategy<Value = Event> {
        prop_oneof![
            Just(Event::Echoed),
            Just(no("x")),
            Just(failing()),
            Just(Event::Gone),
            Just(Event::SecretLost),
            Just(Event::TooFarBehind),
            Just(Event::Changed),
            Just(Event::Activate),
            Just(Event::Deactivate),
        ]
    }

    proptest! {
        #[test]
        fn only_an_echo_makes_it_active(events in proptest::collection::vec((any_event(), 0u64..400_000), 0..60)) {
            let mut now = Standing::new("first", 0);
            let mut now_ms = 0;
            for (event, after_ms) in events {
                now_ms += after_ms;
                let next = step(&now, &event, "new", now_ms);
                if next.status == Status::Active && now.status != Status::Active {
                    prop_assert_eq!(&event, &Event::Echoed);
                }
                // Who is active or switched off is not asked; who is degraded always is.
                let is_asked = next.verification.is_some();
                match next.status {
                    Status::Active | Status::Inactive => prop_assert!(!is_asked),
                    Status::Degraded => prop_assert!(is_asked),
                    Status::Unverified => {}
                }
                if let Some(Verification { due_ms, until_ms: Some(until_ms), .. }) = &next.verification {
                    prop_assert!(due_ms < until_ms);
                }
                now = next;
            }
        }
    }
}
