//! A snap-in reports its own state: how a hook on a server of its author's went, or that it cannot go
//! on (spec §2.4, §3.2). What a report means is `lifecycle::system_update`'s.

use super::{OperationError, Operations};
use crate::actors::Ask;
use crate::engine::runtimes::Runtimes;
use crate::lifecycle::snap_in::Event;
use crate::lifecycle::system_update::{Refused, Reporter, SystemUpdate, Verdict, decide};
use crate::model::id::{RunId, SnapInId};
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
        let record = self.look(snap_in)?.record;
        let reporter = match hook.map(|(run, call)| runtimes.remote.awaited(run, call)) {
            Some(Some(awaited)) => Reporter::Awaited(awaited),
            Some(None) => Reporter::EndedHook,
            None => Reporter::Other,
        };
        match decide(&record.state, reporter, update)? {
            Verdict::Answer(answer) => {
                let heard =
                    hook.is_some_and(|(run, call)| runtimes.remote.report(run, call, answer));
                match heard {
                    true => Ok(record),
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
