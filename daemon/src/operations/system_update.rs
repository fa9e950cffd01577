//! A snap-in reports its own state: how a hook on a server of its author's went, or that it cannot go
//! on (spec §2.4, §3.2). What a report means is `lifecycle::system_update`'s.

use super::{OperationError, Operations};
use crate::actors::Ask;
use crate::engine::runtimes::Runtimes;
use crate::lifecycle::snap_in::Event;
use crate::lifecycle::system_update::{Refused, SystemUpdate, Verdict, decide};
use crate::model::id::{RunId, SnapInId};
use crate::store::SnapInRecord;

impl Operations {
    /// Takes a report of the run whose token came with it; answers the snap-in as it is then.
    pub async fn system_update(
        &self,
        runtimes: &Runtimes,
        snap_in: SnapInId,
        run: Option<RunId>,
        update: &SystemUpdate,
    ) -> Result<SnapInRecord, OperationError> {
        let record = self.look(snap_in)?.record;
        let awaited = run.and_then(|it| Some((it, runtimes.remote.awaited(it)?)));
        match decide(&record.state, awaited.map(|(_, hook)| hook), update)? {
            Verdict::Answer(answer) => {
                let heard = awaited.is_some_and(|(run, _)| runtimes.remote.report(run, answer));
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
