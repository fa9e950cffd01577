//! A snap-in reports its own state: how a hook on a server of its author's went, or that it cannot go
//! on (spec §2.4, §3.2). What a report means is `lifecycle::system_update`'s.
//!
//! Invariant: a report that is refused changes nothing, and another one can follow it.

use super::{OperationError, Operations, Present};
use crate::actors::Ask;
use crate::configuration::inputs;
use crate::engine::runtimes::Runtimes;
use crate::lifecycle::snap_in::Event;
use crate::lifecycle::system_update::{Refused, Reported, Reporter, SystemUpdate, Verdict, decide};
use crate::model::id::{RunId, SnapInId};
use crate::model::manifest::Level;
use crate::store::SnapInRecord;

impl Operations {
    /// Takes a report of the run whose token came with it, and which call of a hook that was; answers
    /// the snap-in as it is then.
    pub async fn system_update(
        &self,
        runtimes: &Runtimes,
        snap_in: SnapInId,
        hook: Option<(RunId, u64)>,
        update: &SystemUpdate,
    ) -> Result<SnapInRecord, OperationError> {
        let present = self.look(snap_in)?;
        let reporter = match hook.map(|(run, call)| runtimes.remote.awaited(run, call)) {
            Some(Some(awaited)) => Reporter::Awaited(awaited),
            Some(None) => Reporter::EndedHook,
            None => Reporter::Other,
        };
        match decide(&present.record.state, reporter, update)? {
            Verdict::Answer(answer) => {
                // Before it is handed over: only one answer can be.
                if let Err(error) = refuse_wrong_inputs(&present, update) {
                    if let Some((run, call)) = hook {
                        runtimes.remote.report_refused(run, call, error.to_string());
                    }
                    return Err(error);
                }
                let heard =
                    hook.is_some_and(|(run, call)| runtimes.remote.report(run, call, answer));
                match heard {
                    true => Ok(present.record),
                    // Its time was over in this very moment.
                    false => Err(Refused::TooLate.into()),
                }
            }
            Verdict::Fail { reason } => {
                Ok(self.ask(snap_in, Ask::of(Event::SystemError { reason })).await??)
            }
        }
    }
}

/// Inputs that cannot be written. With an error none are, and so none can be wrong.
fn refuse_wrong_inputs(present: &Present, update: &SystemUpdate) -> Result<(), OperationError> {
    let written = match update.status {
        Reported::Active | Reported::Inactive => update.inputs_values.as_ref(),
        Reported::Error => None,
    };
    let Some(written) = written else { return Ok(()) };
    let Present { record, version } = present;
    inputs::change(&version.manifest, Level::Organization, &record.inputs, written)
        .map(|_| ())
        .map_err(OperationError::Inputs)
}
