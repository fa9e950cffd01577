//! What a snap-in says of its own state (`snap-ins.system-update`, spec §2.4 and §3.2): the outcome of
//! a hook that runs on a server of the author's own, or that it cannot go on.

use serde_json::{Map, Value};

use crate::model::snap_in::SnapInState;

/// A state that a snap-in reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reported {
    /// The activate hook is done.
    Active,
    /// The deactivate hook is done.
    Inactive,
    /// The hook failed, or the snap-in cannot go on.
    Error,
}

impl Reported {
    /// Its name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Reported::Active => "active",
            Reported::Inactive => "inactive",
            Reported::Error => "error",
        }
    }
}

/// A report.
#[derive(Clone, Debug, PartialEq)]
pub struct SystemUpdate {
    /// The state.
    pub status: Reported,
    /// Inputs to be written, as a hook returns them.
    pub inputs_values: Option<Map<String, Value>>,
    /// Of a deactivation: whether the snap-in is being deleted.
    pub is_deletion: Option<bool>,
    /// Why it failed.
    pub reason: Option<String>,
}

/// A hook whose outcome is awaited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AwaitedHook {
    /// The activate hook.
    Activate,
    /// The deactivate hook.
    Deactivate {
        /// What it was told.
        is_deletion: bool,
    },
}

/// Whose report it is: what the run was whose token came with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reporter {
    /// The very call of a hook whose outcome is awaited.
    Awaited(AwaitedHook),
    /// A call of a hook for whose outcome nobody waits (any more).
    EndedHook,
    /// Any other run.
    Other,
}

/// What a report leads to.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// It is what the awaited hook answers; the same object that a hook returns.
    Answer(Value),
    /// The snap-in goes to ERROR.
    Fail {
        /// For people.
        reason: String,
    },
}

/// Why a report changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The awaited hook has no such outcome.
    #[error("the {hook} hook ends with the status {allowed}, not `{status}`")]
    NoOutcome {
        /// Which hook.
        hook: &'static str,
        /// What was reported.
        status: &'static str,
        /// What would be right.
        allowed: &'static str,
    },
    /// The hook was told otherwise.
    #[error("the deactivate hook was called with is_deletion: {told}; leave it out or repeat that")]
    OtherDeletion {
        /// What it was told.
        told: bool,
    },
    /// Nothing is awaited of this run, and the state allows no such change.
    #[error(
        "no hook of this run is awaited, and a snap-in that is {state} cannot report `{status}`: {instead}"
    )]
    NotNow {
        /// The snap-in's state.
        state: &'static str,
        /// What was reported.
        status: &'static str,
        /// What can be done.
        instead: &'static str,
    },
    /// The wait for it has ended.
    #[error(
        "the hook's time is over: nobody waits for its outcome any more; a later run of the snap-in can \
         report that it cannot go on"
    )]
    TooLate,
    /// A report of an error says nothing else.
    #[error(
        "inputs are written with the outcome of a hook, or with `snap-ins.update`, not with an error"
    )]
    InputsWithError,
}

const ONLY_ERROR: &str = "while it is ACTIVE it can report `error`; everything else is asked for with \
                          snap-ins.activate, snap-ins.deactivate and snap-ins.delete";
const HOOK_ANSWERS: &str = "its hook decides; a report counts with the service-account token of that \
                            very run, as long as the hook's timeout is not over";

/// What a report leads to.
pub fn decide(
    state: &SnapInState,
    reporter: Reporter,
    update: &SystemUpdate,
) -> Result<Verdict, Refused> {
    let status = update.status.name();
    match (reporter, update.status) {
        (Reporter::Awaited(AwaitedHook::Activate), Reported::Active | Reported::Error) => {
            Ok(answer(update))
        }
        (
            Reporter::Awaited(AwaitedHook::Deactivate { is_deletion }),
            Reported::Inactive | Reported::Error,
        ) => match update.is_deletion {
            Some(said) if said != is_deletion => Err(Refused::OtherDeletion { told: is_deletion }),
            Some(_) | None => Ok(answer(update)),
        },
        (Reporter::Awaited(AwaitedHook::Activate), Reported::Inactive) => {
            let (hook, allowed) = ("activate", "`active` or `error`");
            Err(Refused::NoOutcome { hook, status, allowed })
        }
        (Reporter::Awaited(AwaitedHook::Deactivate { .. }), Reported::Active) => {
            let (hook, allowed) = ("deactivate", "`inactive` or `error`");
            Err(Refused::NoOutcome { hook, status, allowed })
        }
        (Reporter::EndedHook, reported) => match state {
            // It runs here, and is to return its outcome; or it is called again by now.
            SnapInState::Activating | SnapInState::Deactivating { .. } => {
                unasked(state, reported, update)
            }
            // What it says is about a call that has ended: the snap-in may have gone on since.
            SnapInState::Draft
            | SnapInState::Active
            | SnapInState::Error { .. }
            | SnapInState::Inactive
            | SnapInState::Deleted => Err(Refused::TooLate),
        },
        (Reporter::Other, reported) => unasked(state, reported, update),
    }
}

fn unasked(
    state: &SnapInState,
    reported: Reported,
    update: &SystemUpdate,
) -> Result<Verdict, Refused> {
    let instead = match (state, reported) {
        (SnapInState::Active, Reported::Error) => {
            if update.inputs_values.is_some() {
                return Err(Refused::InputsWithError);
            }
            let said = update.reason.as_deref().map(str::trim).filter(|it| !it.is_empty());
            let reason = said.unwrap_or("it gave no reason");
            return Ok(Verdict::Fail {
                reason: format!("the snap-in reported an error: {reason}"),
            });
        }
        (SnapInState::Activating | SnapInState::Deactivating { .. }, _) => HOOK_ANSWERS,
        (
            SnapInState::Draft
            | SnapInState::Active
            | SnapInState::Error { .. }
            | SnapInState::Inactive
            | SnapInState::Deleted,
            _,
        ) => ONLY_ERROR,
    };
    Err(Refused::NotNow { state: state.name(), status: reported.name(), instead })
}

fn answer(update: &SystemUpdate) -> Verdict {
    let mut answer = Map::new();
    answer.insert("status".to_owned(), update.status.name().into());
    if let Some(inputs) = &update.inputs_values {
        answer.insert("inputs_values".to_owned(), Value::Object(inputs.clone()));
    }
    if let Some(reason) = &update.reason {
        answer.insert("reason".to_owned(), reason.as_str().into());
    }
    Verdict::Answer(Value::Object(answer))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const DELETION: AwaitedHook = AwaitedHook::Deactivate { is_deletion: true };

    fn update(status: Reported) -> SystemUpdate {
        SystemUpdate { status, inputs_values: None, is_deletion: None, reason: None }
    }

    #[test]
    fn an_awaited_hook_takes_its_outcomes_and_no_others() {
        use Reported::{Active, Error, Inactive};
        let pause = AwaitedHook::Deactivate { is_deletion: false };
        for (hook, status, taken) in [
            (AwaitedHook::Activate, Active, true),
            (AwaitedHook::Activate, Error, true),
            (AwaitedHook::Activate, Inactive, false),
            (pause, Inactive, true),
            (pause, Error, true),
            (pause, Active, false),
        ] {
            let state = SnapInState::Activating;
            let verdict = decide(&state, Reporter::Awaited(hook), &update(status));
            assert_eq!(verdict.is_ok(), taken, "{hook:?} {status:?}: {verdict:?}");
        }
        let inputs = json!({ "a": 1 }).as_object().cloned();
        let with_inputs = SystemUpdate { inputs_values: inputs, ..update(Active) };
        assert_eq!(
            decide(
                &SnapInState::Activating,
                Reporter::Awaited(AwaitedHook::Activate),
                &with_inputs
            ),
            Ok(Verdict::Answer(json!({ "status": "active", "inputs_values": { "a": 1 } })))
        );
    }

    #[test]
    fn a_deletion_is_not_taken_for_a_pause() {
        let state = SnapInState::Deactivating { force: false, is_deletion: true };
        let of = |is_deletion| SystemUpdate { is_deletion, ..update(Reported::Inactive) };
        assert!(decide(&state, Reporter::Awaited(DELETION), &of(Some(true))).is_ok());
        assert!(decide(&state, Reporter::Awaited(DELETION), &of(None)).is_ok());
        let refused = decide(&state, Reporter::Awaited(DELETION), &of(Some(false)));
        assert_eq!(refused, Err(Refused::OtherDeletion { told: true }));
    }

    #[test]
    fn unasked_only_an_error_of_one_that_functions_counts() {
        let states = [
            SnapInState::Draft,
            SnapInState::Activating,
            SnapInState::Active,
            SnapInState::Error { reason: "r".to_owned() },
            SnapInState::Deactivating { force: false, is_deletion: false },
            SnapInState::Inactive,
            SnapInState::Deleted,
        ];
        for state in states {
            for status in [Reported::Active, Reported::Inactive, Reported::Error] {
                let verdict = decide(&state, Reporter::Other, &update(status));
                let fails = state == SnapInState::Active && status == Reported::Error;
                assert_eq!(verdict.is_ok(), fails, "{state:?} {status:?}");
                if let Err(refused) = verdict {
                    assert!(refused.to_string().contains(state.name()), "{refused}");
                }
            }
        }
        let reason = Some("the quota is used up".to_owned());
        let error = SystemUpdate { reason, ..update(Reported::Error) };
        let Ok(Verdict::Fail { reason }) = decide(&SnapInState::Active, Reporter::Other, &error)
        else {
            panic!("no failure")
        };
        assert!(reason.contains("quota"), "{reason}");
        let error = SystemUpdate { inputs_values: Some(Map::new()), ..update(Reported::Error) };
        let refused = decide(&SnapInState::Active, Reporter::Other, &error);
        assert_eq!(refused, Err(Refused::InputsWithError));
    }

    #[test]
    fn a_hook_that_has_ended_says_nothing_of_what_came_after() {
        let states = [
            (SnapInState::Activating, false),
            (SnapInState::Active, true),
            (SnapInState::Error { reason: "r".to_owned() }, true),
            (SnapInState::Inactive, true),
        ];
        for (state, is_late) in states {
            for status in [Reported::Active, Reported::Inactive, Reported::Error] {
                let refused = decide(&state, Reporter::EndedHook, &update(status));
                let refused = refused.expect_err("it changes nothing");
                assert_eq!(refused == Refused::TooLate, is_late, "{state:?} {status:?}");
            }
        }
    }
}
