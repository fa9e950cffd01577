//! A compiled program and its runs: where they happen, and what may come of them.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use jaq_core::{Ctx, Filter, Vars};
use serde_json::Value as Json;
use tokio::sync::{Semaphore, SemaphorePermit, oneshot};
use tokio::time::Instant;

use crate::compile::{self, CompileError, Kind, Terms};
use crate::limits::{self, Limit, Limits, STACK, Stopped};
use crate::value::Value;

/// How many runs may be on threads of their own at a time, in the whole daemon, or in one plugin.
static PLACES: Semaphore = Semaphore::const_new(2);

/// How long a run is waited for beyond its limit of time. Only a single step that cannot be
/// divided, such as a search with a regular expression, makes one late.
const GRACE: Duration = Duration::from_secs(5);

/// The same for callers with a deadline.
const SHORT_GRACE: Duration = Duration::from_millis(300);

/// How long a run is waited for on a thread that may block.
#[derive(Clone, Copy)]
struct Patience {
    /// The wait for a place included.
    time: Duration,
    grace: Duration,
}

impl Patience {
    /// On this thread, for a place, on a thread of its own.
    const USUAL: Patience = Patience { time: Duration::from_millis(2_250), grace: GRACE };
}

/// A jq program. Cloning shares it.
#[derive(Clone)]
pub struct Program(Arc<Inner>);

struct Inner {
    filter: Filter<Kind>,
    text: String,
    variables: Vec<String>,
    /// Threads of runs that were late even after [`GRACE`] and have not ended: until they have, it
    /// gets no further one.
    late: AtomicUsize,
}

/// Why a run has no result. No variant but [`RunError::Raised`] holds anything of the input.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// It gave nothing where one value was expected.
    #[error("the program gave no output; one is expected")]
    NoOutput,
    /// It gave more than was expected.
    #[error("the program gave more than {most} output{}", if *.most == 1 { "" } else { "s" })]
    TooManyOutputs {
        /// How many there may be.
        most: usize,
    },
    /// A filter gave something else than true or false.
    #[error("the program gave {kind}; a filter has to give true or false")]
    NotBoolean {
        /// Such as `a string`.
        kind: &'static str,
    },
    /// An operation was impossible.
    #[error("the program failed: {message}")]
    Failed {
        /// What was impossible, with kinds of values but no values.
        message: String,
    },
    /// It called `error`, or a conversion told of text that it cannot read.
    #[error("the program failed: {message}")]
    Raised {
        /// The message; it may quote the input. See [`RunError::without_values`].
        message: String,
    },
    /// It was stopped.
    #[error("the program was stopped: {0}")]
    Stopped(Limit),
    /// Too many programs run that take long.
    #[error("too many long programs are running at once; try again later")]
    Busy,
    /// It did not stop when it had to.
    #[error("the program could not be stopped in time; make it simpler")]
    Late,
    /// An earlier run of it did not stop when it had to, and has not ended yet.
    #[error(
        "an earlier run of the program could not be stopped in time and has not ended; try again \
         later, or make the program simpler"
    )]
    Stuck,
    /// Not the declared variables.
    #[error("the program declares {expected} variables, but {given} were given")]
    Variables {
        /// As declared.
        expected: usize,
        /// As given.
        given: usize,
    },
    /// A defect of the interpreter, or no thread.
    #[error("the program could not be run: {message}")]
    Internal {
        /// What happened.
        message: String,
    },
}

impl RunError {
    /// The message for where nothing of the input may be seen, such as with secrets.
    pub fn without_values(&self) -> String {
        match self {
            RunError::Raised { .. } => {
                "the program failed with a message that may quote its input, and is not shown"
                    .to_owned()
            }
            other => other.to_string(),
        }
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Program").field(&self.0.text).finish()
    }
}

impl Program {
    /// Compiles a program that gets nothing but its input. Takes some milliseconds.
    pub fn compile(text: &str) -> Result<Program, CompileError> {
        Program::compile_with(text, &[])
    }

    /// Compiles a program that may also name variables, such as `user` for `$user`; each run gives
    /// a value for each.
    pub fn compile_with(text: &str, variables: &[&str]) -> Result<Program, CompileError> {
        let filter = compile::compile(text, variables)?;
        let variables = variables.iter().map(|it| (*it).to_owned()).collect();
        let text = text.to_owned();
        let late = AtomicUsize::new(0);
        Ok(Program(Arc::new(Inner { filter, text, variables, late })))
    }

    /// The text that it was compiled from.
    pub fn text(&self) -> &str {
        &self.0.text
    }

    /// Runs it for exactly one output.
    pub async fn run(&self, input: &Json, variables: &[Json]) -> Result<Json, RunError> {
        one(self.run_all(input, variables, 1).await?)
    }

    /// Runs it for at most so many outputs; more are an error.
    pub async fn run_all(
        &self,
        input: &Json,
        variables: &[Json],
        most: usize,
    ) -> Result<Vec<Json>, RunError> {
        self.outputs(input, variables, most, Value::to_json).await
    }

    /// Runs it for exactly one output, which has to be true or false.
    pub async fn run_filter(&self, input: &Json, variables: &[Json]) -> Result<bool, RunError> {
        one(self.outputs(input, variables, 1, boolean).await?)?
    }

    /// Like [`Program::run`], for threads that may block: up to some seconds in the worst case.
    pub fn run_blocking(&self, input: &Json, variables: &[Json]) -> Result<Json, RunError> {
        one(self.outputs_blocking(input, variables, 1, Value::to_json, Patience::USUAL)?)
    }

    /// Like [`Program::run_blocking`], for callers with a deadline: for so long altogether, up to the
    /// usual second. Only a single step that cannot be divided makes it some tenths of a second late.
    pub fn run_within(
        &self,
        input: &Json,
        variables: &[Json],
        time: Duration,
    ) -> Result<Json, RunError> {
        let patience = Patience { time: time.min(Limits::WHOLE.time), grace: SHORT_GRACE };
        one(self.outputs_blocking(input, variables, 1, Value::to_json, patience)?)
    }

    /// Like [`Program::run_filter`], for threads that may block and callers with a deadline, as
    /// [`Program::run_within`] is.
    pub fn run_filter_within(
        &self,
        input: &Json,
        variables: &[Json],
        time: Duration,
    ) -> Result<bool, RunError> {
        let patience = Patience { time: time.min(Limits::WHOLE.time), grace: SHORT_GRACE };
        one(self.outputs_blocking(input, variables, 1, boolean, patience)?)?
    }

    /// Like [`Program::run_all`], for threads that may block.
    pub fn run_all_blocking(
        &self,
        input: &Json,
        variables: &[Json],
        most: usize,
    ) -> Result<Vec<Json>, RunError> {
        self.outputs_blocking(input, variables, most, Value::to_json, Patience::USUAL)
    }

    /// Like [`Program::run_filter`], but on this thread only, for some milliseconds at most:
    /// nothing if the program needs more than that, and has to be run by the other.
    pub fn run_filter_now(
        &self,
        input: &Json,
        variables: &[Json],
    ) -> Result<Option<bool>, RunError> {
        match self.outputs_here(input, variables, 1, boolean)? {
            Some(outputs) => one(outputs)?.map(Some),
            None => Ok(None),
        }
    }

    async fn outputs<T: Send + 'static>(
        &self,
        input: &Json,
        variables: &[Json],
        most: usize,
        read: fn(&Value) -> T,
    ) -> Result<Vec<T>, RunError> {
        if let Some(outputs) = self.outputs_here(input, variables, most, read)? {
            return Ok(outputs);
        }
        let place = tokio::time::timeout(Limits::WHOLE.time, PLACES.acquire()).await;
        let Ok(Ok(place)) = place else { return Err(RunError::Busy) };
        let (done, outcome) = oneshot::channel();
        let answer = move |result| {
            // Nobody waits any more for one that is late.
            let _ = done.send(result);
        };
        let run = Run::of(&self.0);
        let (input, variables) = (input.clone(), variables.to_vec());
        self.start(Limits::WHOLE, input, variables, most, read, (place, run.clone()), answer)?;
        match tokio::time::timeout(Limits::WHOLE.time + GRACE, outcome).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(thread_ended()),
            Err(_) => Err(run.give_up()),
        }
    }

    fn outputs_blocking<T: Send + 'static>(
        &self,
        input: &Json,
        variables: &[Json],
        most: usize,
        read: fn(&Value) -> T,
        patience: Patience,
    ) -> Result<Vec<T>, RunError> {
        let began = Instant::now();
        if let Some(outputs) = self.outputs_here(input, variables, most, read)? {
            return Ok(outputs);
        }
        let left = || patience.time.saturating_sub(began.elapsed()).min(Limits::WHOLE.time);
        let place = wait_for_place(left())?;
        let time = left();
        let (done, outcome) = mpsc::channel();
        let answer = move |result| {
            let _ = done.send(result);
        };
        let limits = Limits { time, ..Limits::WHOLE };
        let run = Run::of(&self.0);
        let (input, variables) = (input.clone(), variables.to_vec());
        self.start(limits, input, variables, most, read, (place, run.clone()), answer)?;
        match outcome.recv_timeout(time + patience.grace) {
            Ok(result) => result,
            Err(mpsc::RecvTimeoutError::Disconnected) => Err(thread_ended()),
            Err(mpsc::RecvTimeoutError::Timeout) => Err(run.give_up()),
        }
    }

    /// Runs it on this thread; nothing if that was not enough.
    fn outputs_here<T>(
        &self,
        input: &Json,
        variables: &[Json],
        most: usize,
        read: fn(&Value) -> T,
    ) -> Result<Option<Vec<T>>, RunError> {
        if self.0.late.load(Ordering::SeqCst) > 0 {
            return Err(RunError::Stuck);
        }
        let (expected, given) = (self.0.variables.len(), variables.len());
        if expected != given {
            return Err(RunError::Variables { expected, given });
        }
        match self.0.outputs(&Limits::HERE, input, variables, most, read) {
            Err(RunError::Stopped(_)) => Ok(None),
            result => result.map(Some),
        }
    }

    /// Starts it on a thread of its own, which keeps its place until it ends.
    #[expect(clippy::too_many_arguments, reason = "they go to the thread one by one")]
    fn start<T: Send + 'static>(
        &self,
        limits: Limits,
        input: Json,
        variables: Vec<Json>,
        most: usize,
        read: fn(&Value) -> T,
        (place, run): (SemaphorePermit<'static>, Run),
        answer: impl FnOnce(Result<Vec<T>, RunError>) + Send + 'static,
    ) -> Result<(), RunError> {
        let inner = Arc::clone(&self.0);
        let work = move || {
            // Also if what follows panics.
            let ends = Ends(run);
            let result = inner.outputs(&limits, &input, &variables, most, read);
            // Free before the caller goes on, who may have another.
            drop(place);
            drop(ends);
            answer(result);
        };
        let builder = thread::Builder::new().name("jq".to_owned()).stack_size(STACK);
        match builder.spawn(work) {
            Ok(_) => Ok(()),
            Err(error) => {
                Err(RunError::Internal { message: format!("no thread could be started: {error}") })
            }
        }
    }
}

/// A run on a thread of its own, as its caller and the thread see it.
#[derive(Clone)]
struct Run {
    of: Arc<Inner>,
    /// One of the two has left: the caller because it was late, or the thread because it ended.
    is_left: Arc<AtomicBool>,
}

/// Notes that the thread of a run ends.
struct Ends(Run);

impl Run {
    fn of(program: &Arc<Inner>) -> Run {
        Run { of: program.clone(), is_left: Arc::default() }
    }

    /// Nobody waits for it any more.
    fn give_up(&self) -> RunError {
        self.of.late.fetch_add(1, Ordering::SeqCst);
        if self.is_left.swap(true, Ordering::SeqCst) {
            // It ended at the very last moment.
            self.of.late.fetch_sub(1, Ordering::SeqCst);
        }
        RunError::Late
    }
}

impl Drop for Ends {
    fn drop(&mut self) {
        if self.0.is_left.swap(true, Ordering::SeqCst) {
            self.0.of.late.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

impl Inner {
    /// Runs it here and now.
    fn outputs<T>(
        &self,
        limits: &Limits,
        input: &Json,
        variables: &[Json],
        most: usize,
        read: fn(&Value) -> T,
    ) -> Result<Vec<T>, RunError> {
        let run = || {
            let variables = Vars::new(variables.iter().map(Value::from_json));
            let context = Ctx::<Kind>::new(Terms(&self.filter.lut), variables);
            let mut outputs = Vec::new();
            for output in self.filter.id.run((context, Value::from_json(input))) {
                if outputs.len() == most {
                    return Err(RunError::TooManyOutputs { most });
                }
                match output {
                    Ok(value) => outputs.push(read(&value)),
                    Err(exception) => return Err(failure(exception)),
                }
            }
            Ok(outputs)
        };
        match limits::run(limits, run) {
            Ok(result) => result,
            Err(Stopped::Over(limit)) => Err(RunError::Stopped(limit)),
            Err(Stopped::Panicked) => {
                Err(RunError::Internal { message: "the interpreter has a defect".to_owned() })
            }
        }
    }
}

/// A place, for a thread that cannot wait otherwise.
fn wait_for_place(most: Duration) -> Result<SemaphorePermit<'static>, RunError> {
    const ROUND: Duration = Duration::from_millis(1);
    let rounds = most.as_millis() / ROUND.as_millis();
    for _ in 0..rounds {
        if let Ok(place) = PLACES.try_acquire() {
            return Ok(place);
        }
        thread::sleep(ROUND);
    }
    Err(RunError::Busy)
}

fn thread_ended() -> RunError {
    RunError::Internal { message: "the thread of the run ended".to_owned() }
}

fn one<T>(outputs: Vec<T>) -> Result<T, RunError> {
    outputs.into_iter().next().ok_or(RunError::NoOutput)
}

fn boolean(value: &Value) -> Result<bool, RunError> {
    match value {
        Value::Bool(bool) => Ok(*bool),
        other => Err(RunError::NotBoolean { kind: other.kind() }),
    }
}

/// What an exception that left the program says.
fn failure(exception: jaq_core::Exn<'_, Value>) -> RunError {
    let Ok(error) = exception.get_err() else {
        return RunError::Internal { message: "it left a label that it is not in".to_owned() };
    };
    // jaq's own errors are made of words and kinds; a value is what the program raised.
    let message = error.to_string();
    match error.into_val() {
        Value::Text(text) if *text == *message => RunError::Failed { message },
        Value::Text(text) => RunError::Raised { message: text.to_string() },
        other => {
            let mut text = String::new();
            other.write_json(&mut text);
            RunError::Raised { message: text }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn a_program_that_did_not_stop_rests_until_its_thread_has_ended() {
        let program = Program::compile(".").unwrap();
        let now = || program.run_blocking(&Json::Null, &[]);
        assert_eq!(now(), Ok(Json::Null));
        let (one, another) = (Run::of(&program.0), Run::of(&program.0));
        let (one_ends, another_ends) = (Ends(one.clone()), Ends(another.clone()));
        assert_eq!(one.give_up(), RunError::Late);
        assert_eq!(now(), Err(RunError::Stuck));
        assert_eq!(program.run_filter_now(&Json::Null, &[]), Err(RunError::Stuck));
        assert_eq!(another.give_up(), RunError::Late);
        drop(one_ends);
        assert_eq!(now(), Err(RunError::Stuck), "another one goes on");
        drop(another_ends);
        assert_eq!(now(), Ok(Json::Null));
        // One that ends just before it is given up.
        let last = Run::of(&program.0);
        drop(Ends(last.clone()));
        assert_eq!(last.give_up(), RunError::Late);
        assert_eq!(now(), Ok(Json::Null));
    }

    static GATE: Mutex<()> = Mutex::new(());

    /// A step that takes as long as the test wants, on the thread of the run.
    fn wait_at_the_gate(value: &Value) -> Json {
        assert_eq!(thread::current().name(), Some("jq"), "it is too little work");
        drop(GATE.lock());
        value.to_json()
    }

    #[test]
    fn a_late_thread_frees_its_program_when_it_ends() {
        // More than is done on the caller's thread.
        let program = Program::compile("[range(5000) | . + 1 | . - 1] | length").unwrap();
        let patience =
            Patience { time: Duration::from_millis(500), grace: Duration::from_millis(50) };
        let run = || loop {
            let result = program.outputs_blocking(&Json::Null, &[], 1, wait_at_the_gate, patience);
            if result != Err(RunError::Busy) {
                return result;
            }
        };
        let closed = GATE.lock().unwrap();
        assert_eq!(run(), Err(RunError::Late));
        assert_eq!(run(), Err(RunError::Stuck));
        drop(closed);
        loop {
            match run() {
                Err(RunError::Stuck) => thread::sleep(Duration::from_millis(1)),
                result => break assert_eq!(result, Ok(vec![Json::from(5000)])),
            }
        }
    }
}
