//! The life of a snap-in (seed 000, spec §3.2).
//!
//! ```text
//!  DRAFT ── activate ──▶ ACTIVATING ── hook ok ──▶ ACTIVE ── deactivate/delete ──▶ DEACTIVATING
//!    │                    ▲  ▲   │ hook error         │ system error            hook ok │ error │
//!  delete          activate  │   ▼                    ▼                       or force  │       ▼
//!    ▼                    │  └─ ERROR ◀───────────────┘          INACTIVE or DELETED ◀──┘    ERROR
//!  DELETED            INACTIVE ── delete ──▶ DEACTIVATING
//! ```
//!
//! A change of inputs or keyrings changes no state and is refused in transitory ones; a change of
//! version sends an ACTIVE one through ACTIVATING again.
//!
//! Invariant: a state that runs a hook ([`SnapInState::is_transitory`]) is entered only together
//! with the effect that runs it, and that effect stays in the outbox until its outcome has been
//! stepped, so a crash in between runs the hook again and never leaves the state for ever.

use serde::{Deserialize, Serialize};

use crate::model::snap_in::SnapInState;

/// What can happen to a snap-in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Somebody asks for it to function.
    Activate,
    /// Somebody asks for it to pause.
    Deactivate {
        /// Go on even when the deactivate hook fails.
        force: bool,
    },
    /// Somebody asks for it to be deleted.
    Delete {
        /// Go on even when the deactivate hook fails.
        force: bool,
    },
    /// Somebody changes its inputs or keyrings.
    Configure,
    /// Somebody moves it to another version of its package.
    ChangeVersion,
    /// The hook of a transitory state is done.
    HookFinished {
        /// Which one.
        hook: Hook,
        /// How it went.
        outcome: HookOutcome,
    },
    /// The daemon found out that it cannot function: a source that does not open, a lost keyring.
    SystemError {
        /// What is wrong.
        reason: String,
    },
}

impl Event {
    /// For logs: what happened, without the texts that came with it.
    pub fn name(&self) -> &'static str {
        match self {
            Event::Activate => "activate",
            Event::Deactivate { .. } => "deactivate",
            Event::Delete { .. } => "delete",
            Event::Configure => "configure",
            Event::ChangeVersion => "change_version",
            Event::HookFinished { .. } => "hook_finished",
            Event::SystemError { .. } => "system_error",
        }
    }
}

/// The hooks that move a snap-in out of a transitory state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "hook", rename_all = "snake_case")]
pub enum Hook {
    /// Runs on every activation.
    Activate,
    /// Runs on deactivation and on deletion.
    Deactivate {
        /// Handed to the hook.
        force: bool,
        /// Handed to the hook.
        is_deletion: bool,
    },
}

/// How a hook went. A snap-in without the hook counts as success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HookOutcome {
    /// It returned.
    Succeeded,
    /// It threw, timed out, or answered with the status `error`; or what goes with it failed:
    /// a source did not open, a trigger URL could not be registered.
    Failed {
        /// What failed and why, for the one who must mend it.
        message: String,
    },
}

/// What has to be done once the next state is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "effect", rename_all = "snake_case")]
pub enum Effect {
    /// Run the hook (after running runs have finished, for a deactivation) and report back.
    RunHook(Hook),
    /// Cancel every run that has not ended.
    CancelRuns {
        /// Told to whoever asks why.
        reason: String,
    },
}

/// The next state and what comes with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The state to store.
    pub next: SnapInState,
    /// The effects to store with it.
    pub effects: Vec<Effect>,
}

/// Why nothing happens.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is already so; asking again is no error, and nothing is done.
    #[error("the snap-in is {0} already")]
    AlreadySo(&'static str),
    /// The state does not allow it.
    #[error("cannot {wanted} a snap-in that is {state}: {instead}")]
    NotNow {
        /// What was asked for.
        wanted: &'static str,
        /// The state's name.
        state: &'static str,
        /// What can be done.
        instead: &'static str,
    },
    /// The outcome of a hook that nobody waits for (any more).
    #[error("no outcome of this hook is awaited while the snap-in is {0}")]
    NotAwaited(&'static str),
}

const WAIT_FOR_ACTIVATION: &str = "wait until its activation has ended";
const WAIT_FOR_DEACTIVATION: &str = "wait until its deactivation has ended";
const IT_IS_GONE: &str = "it is gone; install the version again";

/// What `event` does to a snap-in in `state`.
pub fn step(state: &SnapInState, event: &Event) -> Result<Decision, Refusal> {
    match event {
        Event::Activate => activate(state),
        Event::Deactivate { force } => deactivate(state, *force),
        Event::Delete { force } => delete(state, *force),
        Event::Configure => configure(state),
        Event::ChangeVersion => change_version(state),
        Event::HookFinished { hook, outcome } => hook_finished(state, *hook, outcome),
        Event::SystemError { reason } => system_error(state, reason),
    }
}

fn activate(state: &SnapInState) -> Result<Decision, Refusal> {
    use SnapInState as S;
    match state {
        S::Draft | S::Inactive | S::Error { .. } => Ok(start_activation()),
        S::Activating | S::Active => Err(Refusal::AlreadySo(state.name())),
        S::Deactivating { .. } => Err(not_now("activate", state, WAIT_FOR_DEACTIVATION)),
        S::Deleted => Err(not_now("activate", state, IT_IS_GONE)),
    }
}

fn deactivate(state: &SnapInState, force: bool) -> Result<Decision, Refusal> {
    use SnapInState as S;
    match state {
        S::Active | S::Error { .. } => Ok(start_deactivation(force, false)),
        S::Inactive => Err(Refusal::AlreadySo(state.name())),
        // Asking again with force is how an administrator gets past a hook that hangs or fails.
        S::Deactivating { force: false, is_deletion } if force => {
            Ok(start_deactivation(true, *is_deletion))
        }
        S::Deactivating { .. } => Err(Refusal::AlreadySo(state.name())),
        S::Draft => Err(not_now("deactivate", state, "it was never activated")),
        S::Activating => Err(not_now("deactivate", state, WAIT_FOR_ACTIVATION)),
        S::Deleted => Err(not_now("deactivate", state, IT_IS_GONE)),
    }
}

fn delete(state: &SnapInState, force: bool) -> Result<Decision, Refusal> {
    use SnapInState as S;
    match state {
        S::Draft => Ok(deleted()),
        S::Active | S::Error { .. } | S::Inactive => Ok(start_deactivation(force, true)),
        S::Deactivating { force: false, is_deletion: true } if force => {
            Ok(start_deactivation(true, true))
        }
        S::Deactivating { is_deletion: true, .. } => Err(Refusal::AlreadySo(state.name())),
        S::Deactivating { is_deletion: false, .. } => {
            Err(not_now("delete", state, WAIT_FOR_DEACTIVATION))
        }
        S::Activating => Err(not_now("delete", state, WAIT_FOR_ACTIVATION)),
        S::Deleted => Err(Refusal::AlreadySo(state.name())),
    }
}

fn configure(state: &SnapInState) -> Result<Decision, Refusal> {
    use SnapInState as S;
    match state {
        S::Draft | S::Active | S::Error { .. } | S::Inactive => Ok(quiet(state.clone())),
        S::Activating => Err(not_now("configure", state, WAIT_FOR_ACTIVATION)),
        S::Deactivating { .. } => Err(not_now("configure", state, WAIT_FOR_DEACTIVATION)),
        S::Deleted => Err(not_now("configure", state, IT_IS_GONE)),
    }
}

/// One that functions is activated with the new version: its activate hook has things to set up
/// outside that the old version did not have. Sources stay open meanwhile, and runs are held.
fn change_version(state: &SnapInState) -> Result<Decision, Refusal> {
    use SnapInState as S;
    match state {
        S::Active => Ok(start_activation()),
        S::Draft | S::Error { .. } | S::Inactive => Ok(quiet(state.clone())),
        S::Activating => Err(not_now("change the version of", state, WAIT_FOR_ACTIVATION)),
        S::Deactivating { .. } => {
            Err(not_now("change the version of", state, WAIT_FOR_DEACTIVATION))
        }
        S::Deleted => Err(not_now("change the version of", state, IT_IS_GONE)),
    }
}

fn hook_finished(
    state: &SnapInState,
    hook: Hook,
    outcome: &HookOutcome,
) -> Result<Decision, Refusal> {
    use SnapInState as S;
    match (state, hook) {
        (S::Activating, Hook::Activate) => Ok(quiet(match outcome {
            HookOutcome::Succeeded => S::Active,
            HookOutcome::Failed { message } => S::Error { reason: message.clone() },
        })),
        // The hook that answers must be the one this state started: a forced repeat of the
        // deactivation starts a second one, and the answer of the first is then no longer awaited.
        (S::Deactivating { force, is_deletion }, Hook::Deactivate { force: f, is_deletion: d })
            if *force == f && *is_deletion == d =>
        {
            match outcome {
                HookOutcome::Failed { message } if !force => {
                    Ok(quiet(S::Error { reason: message.clone() }))
                }
                HookOutcome::Succeeded | HookOutcome::Failed { .. } => {
                    Ok(if *is_deletion { deleted() } else { quiet(S::Inactive) })
                }
            }
        }
        (
            S::Draft
            | S::Activating
            | S::Active
            | S::Error { .. }
            | S::Deactivating { .. }
            | S::Inactive
            | S::Deleted,
            Hook::Activate | Hook::Deactivate { .. },
        ) => Err(Refusal::NotAwaited(state.name())),
    }
}

fn system_error(state: &SnapInState, reason: &str) -> Result<Decision, Refusal> {
    use SnapInState as S;
    match state {
        S::Active | S::Activating => Ok(quiet(S::Error { reason: reason.to_owned() })),
        S::Error { .. } => Err(Refusal::AlreadySo(state.name())),
        S::Draft | S::Deactivating { .. } | S::Inactive | S::Deleted => {
            Err(not_now("report an error of", state, "it does not function anyway"))
        }
    }
}

fn start_activation() -> Decision {
    Decision { next: SnapInState::Activating, effects: vec![Effect::RunHook(Hook::Activate)] }
}

fn start_deactivation(force: bool, is_deletion: bool) -> Decision {
    Decision {
        next: SnapInState::Deactivating { force, is_deletion },
        effects: vec![Effect::RunHook(Hook::Deactivate { force, is_deletion })],
    }
}

fn deleted() -> Decision {
    Decision {
        next: SnapInState::Deleted,
        effects: vec![Effect::CancelRuns { reason: "its snap-in was deleted".to_owned() }],
    }
}

fn quiet(next: SnapInState) -> Decision {
    Decision { next, effects: Vec::new() }
}

fn not_now(wanted: &'static str, state: &SnapInState, instead: &'static str) -> Refusal {
    Refusal::NotNow { wanted, state: state.name(), instead }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all_states() -> Vec<SnapInState> {
        let mut states = vec![
            SnapInState::Draft,
            SnapInState::Activating,
            SnapInState::Active,
            SnapInState::Error { reason: "r".to_owned() },
        ];
        for force in [false, true] {
            for is_deletion in [false, true] {
                states.push(SnapInState::Deactivating { force, is_deletion });
            }
        }
        states.extend([SnapInState::Inactive, SnapInState::Deleted]);
        states
    }

    fn all_events() -> Vec<Event> {
        let mut events = vec![Event::Activate, Event::Configure, Event::ChangeVersion];
        for force in [false, true] {
            events.extend([Event::Deactivate { force }, Event::Delete { force }]);
        }
        let mut hooks = vec![Hook::Activate];
        for force in [false, true] {
            for is_deletion in [false, true] {
                hooks.push(Hook::Deactivate { force, is_deletion });
            }
        }
        for hook in hooks {
            for outcome in
                [HookOutcome::Succeeded, HookOutcome::Failed { message: "boom".to_owned() }]
            {
                events.push(Event::HookFinished { hook, outcome });
            }
        }
        events.push(Event::SystemError { reason: "lost".to_owned() });
        events
    }

    fn describe(state: &SnapInState) -> String {
        match state {
            SnapInState::Deactivating { force, is_deletion } => {
                let force = if *force { " forced" } else { "" };
                let deletion = if *is_deletion { " to delete" } else { "" };
                format!("DEACTIVATING{force}{deletion}")
            }
            SnapInState::Error { reason } => format!("ERROR ({reason})"),
            other => other.name().to_owned(),
        }
    }

    /// The whole table, one line per state and event; compare with spec §3.2 when it changes.
    #[test]
    fn transition_table() {
        let mut table = String::new();
        for state in all_states() {
            for event in all_events() {
                let to = match step(&state, &event) {
                    Ok(it) => format!("{} {:?}", describe(&it.next), it.effects),
                    Err(refusal) => format!("refused: {refusal}"),
                };
                table.push_str(&format!("{} + {event:?} -> {to}\n", describe(&state)));
            }
        }
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/lifecycle/snap_in.table.txt");
        let stored = std::fs::read_to_string(path).unwrap_or_default();
        if stored != table {
            std::fs::write(path, &table).expect("the table beside this file can be written");
            panic!(
                "the transition table changed; it was written anew, read its diff and commit it"
            );
        }
    }

    fn hook_of(effects: &[Effect]) -> Option<Hook> {
        effects.iter().find_map(|it| match it {
            Effect::RunHook(hook) => Some(*hook),
            Effect::CancelRuns { .. } => None,
        })
    }

    proptest! {
        /// Whatever is asked in whatever order: a transitory state always has a hook on its way
        /// whose outcome leads out of it, and DELETED is the end.
        #[test]
        fn no_state_is_for_ever(choices in proptest::collection::vec(any::<prop::sample::Index>(), 1..40)) {
            let events = all_events();
            let mut state = SnapInState::Draft;
            let mut awaited: Vec<Hook> = Vec::new();
            for choice in choices {
                let event = choice.get(&events).clone();
                // A hook outcome can only come from a hook that was started.
                if let Event::HookFinished { hook, .. } = &event
                    && !awaited.contains(hook)
                {
                    continue;
                }
                let before = state.clone();
                if let Ok(decision) = step(&state, &event) {
                    prop_assert_ne!(&before, &SnapInState::Deleted);
                    if decision.next.is_transitory() {
                        prop_assert!(hook_of(&decision.effects).is_some());
                    }
                    awaited.extend(hook_of(&decision.effects));
                    state = decision.next;
                }
                if state.is_transitory() {
                    let ways_out = awaited.iter().filter(|hook| {
                        step(&state, &Event::HookFinished { hook: **hook, outcome: HookOutcome::Succeeded }).is_ok()
                    }).count();
                    prop_assert!(ways_out > 0, "stuck in {}", state.name());
                }
            }
        }
    }
}
