//! Runs: claimed before they start, settled when an attempt ends, listed, cancelled, retried.
//!
//! Invariant: a run is in exactly one of `runs_open` and `runs_done`, and in `dead_letters` only
//! when it is in `runs_done` with the state `dead`.

use std::collections::HashMap;

use redb::ReadableTable;

use super::record::{decode_with_tail, encode_with_tail};
use super::tables::{Page, PageRequest, ReadTables, WriteTables};
use super::{StoreError, schema};
use crate::lifecycle::run::{Next, RetryPolicy, after_attempt};
use crate::model::id::{RunId, SnapInId};
use crate::model::run::{Attempt, AttemptOutcome, RunHead, RunOutput, RunState};
use crate::model::scope::Extent;

/// A run that has not ended.
#[derive(Clone, Debug)]
pub struct OpenRun {
    /// Its id.
    pub id: RunId,
    /// Everything else.
    pub head: RunHead,
}

/// The answer to a claim.
#[derive(Clone, Debug)]
pub enum Claim {
    /// The attempt is on the disk; start it.
    Claimed(Box<RunHead>),
    /// Its snap-in is not active (any more); the run stays queued.
    Held,
    /// It was cancelled or has ended.
    Gone,
}

/// The end of an attempt.
#[derive(Clone, Debug)]
pub struct FinishedAttempt {
    /// The run.
    pub run: RunId,
    /// How it ended.
    pub outcome: AttemptOutcome,
    /// Result and log, stored with a run that ends.
    pub output: RunOutput,
    /// What the function's manifest says about retries.
    pub policy: RetryPolicy,
}

/// What the end of an attempt led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settled {
    /// The run has ended.
    Ended(RunState),
    /// Another attempt at that time.
    Again {
        /// Milliseconds of the Unix epoch.
        at_ms: u64,
    },
    /// It had ended before: cancelled while it ran.
    Gone,
}

/// What became of a manual retry.
#[derive(Clone, Debug)]
pub enum Reopening {
    /// It is queued (again), or due at once.
    Queued(Box<OpenRun>),
    /// It cannot be retried in this state.
    NotIn(RunState),
    /// There is no such run.
    NoSuchRun,
}

/// Which runs a list shows.
#[derive(Clone, Debug, Default)]
pub struct RunFilter {
    /// Of these snap-ins.
    pub extent: Extent,
    /// In one of these states; any when empty.
    pub states: Vec<RunState>,
    /// Of this function.
    pub function: Option<String>,
}

impl RunFilter {
    fn wants(&self, head: &RunHead) -> bool {
        self.extent.has(head.snap_in)
            && (self.states.is_empty() || self.states.contains(&head.state))
            && self.function.as_ref().is_none_or(|it| *it == head.function)
    }
}

impl WriteTables<'_> {
    /// Stores that the next attempt of each run begins, before it does.
    pub fn claim_runs(&mut self, runs: &[RunId]) -> Result<Vec<Claim>, StoreError> {
        let mut active = HashMap::new();
        let mut claims = Vec::with_capacity(runs.len());
        for run in runs {
            claims.push(self.claim_run(*run, &mut active)?);
        }
        Ok(claims)
    }

    fn claim_run(
        &mut self,
        run: RunId,
        active: &mut HashMap<SnapInId, bool>,
    ) -> Result<Claim, StoreError> {
        let Some(mut head) = self.open_run(run)? else { return Ok(Claim::Gone) };
        let runs_start = match active.get(&head.snap_in) {
            Some(known) => *known,
            None => {
                let state = self.snap_in_state(head.snap_in)?;
                let runs_start = state.is_some_and(|it| it.runs_start());
                active.insert(head.snap_in, runs_start);
                runs_start
            }
        };
        if !runs_start {
            return Ok(Claim::Held);
        }
        head.state = RunState::Running;
        head.not_before_ms = None;
        let started_ms = self.now_ms();
        head.attempts.push(Attempt { started_ms, ended_ms: None, outcome: None });
        self.write_open_run(run, &head)?;
        Ok(Claim::Claimed(Box::new(head)))
    }

    /// Stores the end of an attempt and what follows from it.
    pub fn finish_attempt(&mut self, end: &FinishedAttempt) -> Result<Settled, StoreError> {
        let Some(mut head) = self.open_run(end.run)? else { return Ok(Settled::Gone) };
        let now_ms = self.now_ms();
        if let Some(attempt) = head.attempts.last_mut() {
            attempt.ended_ms = Some(now_ms);
            attempt.outcome = Some(end.outcome.clone());
        }
        let forgiven = head.attempts.len().min(head.forgiven as usize);
        match after_attempt(&head.attempts[forgiven..], end.policy, now_ms) {
            Next::End(state) => {
                self.end_run(end.run, head, state, &end.output)?;
                Ok(Settled::Ended(state))
            }
            Next::Again { at_ms } => {
                head.state = RunState::Retrying;
                head.not_before_ms = Some(at_ms);
                self.write_open_run(end.run, &head)?;
                self.run_will_retry(end.run, &head, at_ms)?;
                Ok(Settled::Again { at_ms })
            }
        }
    }

    /// Stores a run that was never queued: somebody waited for it, and here is its end.
    pub fn record_run(
        &mut self,
        id: RunId,
        head: &RunHead,
        output: &RunOutput,
    ) -> Result<(), StoreError> {
        let output = encode_output(output)?;
        self.runs_done()?.insert(id.0, encode_with_tail(head, &output)?.as_slice())?;
        self.tell_run_ended(id, head)?;
        self.run_ended(id, head)
    }

    /// Ends up to `most` runs of a snap-in as cancelled; answers their ids.
    pub fn cancel_runs_of(
        &mut self,
        snap_in: SnapInId,
        reason: &str,
        most: usize,
    ) -> Result<Vec<RunId>, StoreError> {
        let mut found = Vec::new();
        for row in self.runs_open()?.iter()? {
            let (id, value) = row?;
            let (head, _) = decode_with_tail::<RunHead>(value.value())?;
            if head.snap_in == snap_in {
                found.push(OpenRun { id: RunId(id.value()), head });
                if found.len() == most {
                    break;
                }
            }
        }
        let ids = found.iter().map(|it| it.id).collect();
        for run in found {
            self.cancel(run, reason)?;
        }
        Ok(ids)
    }

    /// Ends a run as cancelled, also one that runs. Answers the state it has then, if it exists.
    pub fn cancel_run(&mut self, id: RunId, reason: &str) -> Result<Option<RunState>, StoreError> {
        if let Some(head) = self.open_run(id)? {
            self.cancel(OpenRun { id, head }, reason)?;
            return Ok(Some(RunState::Cancelled));
        }
        Ok(self.done_run(id)?.map(|(head, _)| head.state))
    }

    fn cancel(&mut self, run: OpenRun, reason: &str) -> Result<(), StoreError> {
        let OpenRun { id, mut head } = run;
        let ended_ms = Some(self.now_ms());
        let outcome = Some(AttemptOutcome::Cancelled { reason: reason.to_owned() });
        match head.attempts.last_mut().filter(|it| it.outcome.is_none()) {
            Some(attempt) => {
                attempt.ended_ms = ended_ms;
                attempt.outcome = outcome;
            }
            None => {
                let started_ms = self.now_ms();
                head.attempts.push(Attempt { started_ms, ended_ms, outcome });
            }
        }
        self.end_run(id, head, RunState::Cancelled, &RunOutput::default())
    }

    /// Queues a run again that has failed, with a new budget of attempts; or makes one due at once
    /// that waits for its next attempt.
    pub fn retry_run(&mut self, id: RunId) -> Result<Reopening, StoreError> {
        if let Some(mut head) = self.open_run(id)? {
            if head.state != RunState::Retrying {
                return Ok(Reopening::NotIn(head.state));
            }
            head.not_before_ms = None;
            self.write_open_run(id, &head)?;
            return Ok(Reopening::Queued(Box::new(OpenRun { id, head })));
        }
        let Some((mut head, _)) = self.done_run(id)? else { return Ok(Reopening::NoSuchRun) };
        match head.state {
            RunState::Failed | RunState::Dead | RunState::Cancelled => {}
            RunState::Queued | RunState::Running | RunState::Retrying | RunState::Succeeded => {
                return Ok(Reopening::NotIn(head.state));
            }
        }
        if head.trigger.event().is_none() {
            // Nobody waits for the answer of a call any more.
            return Ok(Reopening::NotIn(head.state));
        }
        head.state = RunState::Queued;
        head.ended_ms = None;
        head.forgiven = u32::try_from(head.attempts.len()).unwrap_or(u32::MAX);
        self.runs_done()?.remove(id.0)?;
        self.dead_letters()?.remove(id.0)?;
        self.tell_run_gone(id)?;
        self.write_open_run(id, &head)?;
        Ok(Reopening::Queued(Box::new(OpenRun { id, head })))
    }

    /// Queues a new run, for a replay.
    pub fn queue_new_run(&mut self, head: &RunHead) -> Result<OpenRun, StoreError> {
        let created_ms = self.now_ms();
        self.add_open_run(RunHead { created_ms, ..head.clone() })
    }

    /// Forgets a dead letter. Answers whether there was one.
    pub fn purge_dead_letter(&mut self, id: RunId) -> Result<bool, StoreError> {
        let was_dead = self.dead_letters()?.remove(id.0)?.is_some();
        if was_dead {
            self.runs_done()?.remove(id.0)?;
            self.tell_run_gone(id)?;
        }
        Ok(was_dead)
    }

    fn end_run(
        &mut self,
        id: RunId,
        mut head: RunHead,
        state: RunState,
        output: &RunOutput,
    ) -> Result<(), StoreError> {
        head.state = state;
        head.ended_ms = Some(self.now_ms());
        head.not_before_ms = None;
        self.runs_open()?.remove(id.0)?;
        self.record_run(id, &head, output)?;
        if state == RunState::Dead {
            self.dead_letters()?.insert(id.0, ())?;
        }
        Ok(())
    }

    fn open_run(&mut self, id: RunId) -> Result<Option<RunHead>, StoreError> {
        let row = self.runs_open()?.get(id.0)?;
        row.map(|it| Ok(decode_with_tail::<RunHead>(it.value())?.0)).transpose()
    }

    fn done_run(&mut self, id: RunId) -> Result<Option<(RunHead, RunOutput)>, StoreError> {
        let row = self.runs_done()?.get(id.0)?;
        row.map(|it| decode_done(it.value())).transpose()
    }

    fn write_open_run(&mut self, id: RunId, head: &RunHead) -> Result<(), StoreError> {
        self.runs_open()?.insert(id.0, encode_with_tail(head, &[])?.as_slice())?;
        Ok(())
    }
}

impl ReadTables {
    /// A run, with its output when it has ended.
    pub fn run(&self, id: RunId) -> Result<Option<(RunHead, RunOutput)>, StoreError> {
        if let Some(row) = self.table(schema::RUNS_OPEN)?.get(id.0)? {
            let (head, _) = decode_with_tail(row.value())?;
            return Ok(Some((head, RunOutput::default())));
        }
        self.table(schema::RUNS_DONE)?.get(id.0)?.map(|it| decode_done(it.value())).transpose()
    }

    /// Every run that has not ended, oldest first.
    pub fn open_runs(&self) -> Result<Vec<OpenRun>, StoreError> {
        let mut runs = Vec::new();
        for row in self.table(schema::RUNS_OPEN)?.iter()? {
            let (id, value) = row?;
            let (head, _) = decode_with_tail(value.value())?;
            runs.push(OpenRun { id: RunId(id.value()), head });
        }
        Ok(runs)
    }

    /// Runs, open and ended, in order of their ids.
    pub fn list_runs(
        &self,
        filter: &RunFilter,
        page: PageRequest,
    ) -> Result<Page<OpenRun>, StoreError> {
        let pick = |id, value: &[u8]| {
            let (head, _) = decode_with_tail::<RunHead>(value)?;
            Ok(filter.wants(&head).then_some(OpenRun { id: RunId(id), head }))
        };
        let open = page.read(&self.table(schema::RUNS_OPEN)?, pick)?;
        let done = page.read(&self.table(schema::RUNS_DONE)?, pick)?;
        Ok(merge(open, done, page))
    }

    /// Dead letters.
    pub fn list_dead_letters(
        &self,
        filter: &RunFilter,
        page: PageRequest,
    ) -> Result<Page<OpenRun>, StoreError> {
        let runs = self.table(schema::RUNS_DONE)?;
        let start = page.from.unwrap_or(0);
        let mut found = Page { rows: Vec::new(), next: None };
        for row in self.table(schema::DEAD_LETTERS)?.range(start..)? {
            let id = row?.0.value();
            if found.rows.len() == page.limit {
                found.next = Some(id);
                break;
            }
            let Some(row) = runs.get(id)? else { continue };
            let (head, _) = decode_with_tail::<RunHead>(row.value())?;
            if filter.wants(&head) {
                found.rows.push(OpenRun { id: RunId(id), head });
            }
        }
        Ok(found)
    }
}

/// Two pages of the same request over two tables, as one.
fn merge(a: Page<OpenRun>, b: Page<OpenRun>, page: PageRequest) -> Page<OpenRun> {
    // Past where either page stopped looking, the merged order is unknown.
    let before = |x: u128, y: u128| if page.newest_first { x > y } else { x < y };
    let mut next = match (a.next, b.next) {
        (Some(x), Some(y)) => Some(if before(x, y) { x } else { y }),
        (x, y) => x.or(y),
    };
    let mut rows: Vec<_> = a
        .rows
        .into_iter()
        .chain(b.rows)
        .filter(|it| next.is_none_or(|next| before(it.id.0, next)))
        .collect();
    rows.sort_unstable_by_key(|it| it.id);
    if page.newest_first {
        rows.reverse();
    }
    if let Some(first_left_out) = rows.get(page.limit) {
        next = Some(first_left_out.id.0);
        rows.truncate(page.limit);
    }
    Page { rows, next }
}

fn encode_output(output: &RunOutput) -> Result<Vec<u8>, StoreError> {
    let RunOutput { result, logs, requests } = output;
    if result.is_none() && logs.is_empty() && requests.is_empty() {
        return Ok(Vec::new());
    }
    serde_json::to_vec(output)
        .map_err(|it| StoreError::corrupt(format!("an output that cannot be written: {it}")))
}

fn decode_done(value: &[u8]) -> Result<(RunHead, RunOutput), StoreError> {
    let (head, tail) = decode_with_tail(value)?;
    let output = if tail.is_empty() {
        RunOutput::default()
    } else {
        serde_json::from_slice(tail)
            .map_err(|it| StoreError::corrupt(format!("unreadable run output: {it}")))?
    };
    Ok((head, output))
}
