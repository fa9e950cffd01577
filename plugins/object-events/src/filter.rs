//! Filters that sources share: a program is compiled once, whatever number of sources has it, and is
//! run once for each change, because all of them are asked about the same changes.
//!
//! What is shared is a cache and nothing else: it is bounded, and everything in it can be made again.
//! Must never: let a filter run longer than [`TIME`]; put anything of the input into a message, since
//! who reads the log of a source need not be one who may read the objects.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use mortise_jq::{CompileError, Program, RunError};
use serde_json::{Value, json};

/// What one run may take, well below the two seconds of a call.
const TIME: Duration = Duration::from_millis(500);
/// Answers that a filter remembers: the sources that have it are asked at about the same time.
const MOST_ANSWERS: usize = 1_024;
/// Changes that are kept as values, and how many bytes they may have as JSON altogether.
const MOST_BODIES: usize = 256;
const MOST_BODY_BYTES: usize = 8 << 20;

/// The programs that are in use, by their text.
static FILTERS: LazyLock<Mutex<HashMap<String, Weak<Filter>>>> = LazyLock::new(Mutex::default);
/// The changes that were read last.
static BODIES: Mutex<Bodies> = Mutex::new(Bodies { bodies: VecDeque::new(), bytes: 0 });

/// A filter.
#[derive(Debug)]
pub(crate) struct Filter {
    program: Program,
    /// Whether it names `$user`: otherwise it gives the same to everybody.
    asks_for_user: bool,
    answers: Mutex<Answers>,
}

/// Everything that is wrong with a program.
#[derive(Debug)]
pub(crate) struct NotCompiled(pub(crate) Vec<CompileError>);

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NotFiltered {
    /// The filter is wrong, for this input at least.
    Failed(String),
    /// It did not stop in time, which may be due to this input or to what else the machine did: it
    /// has no answer now, and may have one for the next who asks.
    Late(String),
    /// It may work later.
    Busy(String),
}

/// A change that a filter is asked about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    /// Its id, when others may ask about it too.
    pub(crate) id: Option<&'a str>,
    /// Its JSON.
    pub(crate) body: &'a [u8],
    /// `$user.id`.
    pub(crate) user: Option<&'a str>,
}

type Answer = Result<bool, NotFiltered>;
/// The change, and the user when the filter asks for one.
type Key = (String, Option<String>);

#[derive(Debug, Default)]
struct Answers {
    by_key: HashMap<Key, Answer>,
    /// Oldest first.
    keys: VecDeque<Key>,
}

#[derive(Debug)]
struct Bodies {
    /// Oldest first: id, value, bytes as JSON.
    bodies: VecDeque<(String, Arc<Value>, usize)>,
    bytes: usize,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is in it is a cache, and whole after every step.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The filter with this text, which others may have too.
pub(crate) fn shared(text: &str) -> Result<Arc<Filter>, NotCompiled> {
    if let Some(known) = lock(&FILTERS).get(text).and_then(Weak::upgrade) {
        return Ok(known);
    }
    let filter = Arc::new(Filter::compile(text)?);
    let mut filters = lock(&FILTERS);
    // Somebody may have been faster.
    if let Some(known) = filters.get(text).and_then(Weak::upgrade) {
        return Ok(known);
    }
    filters.retain(|_, it| it.strong_count() > 0);
    filters.insert(text.to_owned(), Arc::downgrade(&filter));
    Ok(filter)
}

impl Filter {
    fn compile(text: &str) -> Result<Filter, NotCompiled> {
        let (program, asks_for_user) = match Program::compile(text) {
            Ok(program) => (program, false),
            Err(_) => match Program::compile_with(text, &["user"]) {
                Ok(program) => (program, true),
                Err(mut first) => {
                    let others = std::mem::take(&mut first.others);
                    return Err(NotCompiled([first].into_iter().chain(others).collect()));
                }
            },
        };
        Ok(Filter { program, asks_for_user, answers: Mutex::default() })
    }

    /// Whether a change is wanted.
    pub(crate) fn wants(&self, asked: Asked<'_>) -> Answer {
        let Some(id) = asked.id else {
            let input = read(asked)?;
            return self.run(&input, asked.user);
        };
        let key = (id.to_owned(), asked.user.filter(|_| self.asks_for_user).map(str::to_owned));
        // Held while it runs: who asks about the same change waits for the answer.
        let mut answers = lock(&self.answers);
        if let Some(known) = answers.by_key.get(&key) {
            return known.clone();
        }
        let answer = read(asked).and_then(|it| self.run(&it, asked.user));
        answers.remember(key, &answer);
        answer
    }

    fn run(&self, input: &Value, user: Option<&str>) -> Answer {
        let variables = if self.asks_for_user { vec![json!({ "id": user })] } else { Vec::new() };
        self.program.run_filter_within(input, &variables, TIME).map_err(why)
    }
}

/// What an error of a run means for the change.
fn why(error: RunError) -> NotFiltered {
    match error {
        RunError::Busy | RunError::Stuck => NotFiltered::Busy(error.to_string()),
        RunError::Late => NotFiltered::Late(error.to_string()),
        RunError::NoOutput
        | RunError::TooManyOutputs { .. }
        | RunError::NotBoolean { .. }
        | RunError::Failed { .. }
        | RunError::Raised { .. }
        | RunError::Stopped(_)
        | RunError::Variables { .. }
        | RunError::Internal { .. } => NotFiltered::Failed(error.without_values()),
    }
}

impl Answers {
    /// Keeps what will be so whenever somebody asks.
    fn remember(&mut self, key: Key, answer: &Answer) {
        match answer {
            Ok(_) | Err(NotFiltered::Failed(_)) => self.add(key, answer.clone()),
            Err(NotFiltered::Late(_) | NotFiltered::Busy(_)) => {}
        }
    }

    fn add(&mut self, key: Key, answer: Answer) {
        if self.keys.len() == MOST_ANSWERS
            && let Some(oldest) = self.keys.pop_front()
        {
            self.by_key.remove(&oldest);
        }
        self.keys.push_back(key.clone());
        self.by_key.insert(key, answer);
    }
}

/// The JSON of a change as a value, which is made once for all filters.
fn read(asked: Asked<'_>) -> Result<Arc<Value>, NotFiltered> {
    let parse = || {
        serde_json::from_slice(asked.body)
            .map(Arc::new)
            .map_err(|error| NotFiltered::Failed(format!("the input cannot be read: {error}")))
    };
    let Some(id) = asked.id else { return parse() };
    if let Some(known) = lock(&BODIES).get(id) {
        return Ok(known);
    }
    let value = parse()?;
    lock(&BODIES).add(id, value.clone(), asked.body.len());
    Ok(value)
}

impl Bodies {
    fn get(&self, id: &str) -> Option<Arc<Value>> {
        self.bodies.iter().rev().find(|it| it.0 == id).map(|it| it.1.clone())
    }

    fn add(&mut self, id: &str, value: Arc<Value>, bytes: usize) {
        if bytes > MOST_BODY_BYTES / 4 || self.get(id).is_some() {
            return;
        }
        self.bodies.push_back((id.to_owned(), value, bytes));
        self.bytes += bytes;
        while self.bodies.len() > MOST_BODIES || self.bytes > MOST_BODY_BYTES {
            let Some((_, _, bytes)) = self.bodies.pop_front() else { return };
            self.bytes -= bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked<'a>(id: &'a str, body: &'a [u8], user: &'a str) -> Asked<'a> {
        Asked { id: Some(id), body, user: Some(user) }
    }

    #[test]
    fn equal_filters_are_one_while_somebody_has_them() {
        let text = ".a == 1 # shared";
        let one = shared(text).expect("it compiles");
        let two = shared(text).expect("it compiles");
        assert!(Arc::ptr_eq(&one, &two));
        drop((one, two));
        assert!(lock(&FILTERS).get(text).is_none_or(|it| it.upgrade().is_none()));
        shared(".a == 2 # another").expect("it compiles");
        assert!(!lock(&FILTERS).contains_key(text), "what nobody has is forgotten");
    }

    #[test]
    fn a_change_is_evaluated_once_for_all_that_ask() {
        let filter = Filter::compile(".a == 1").expect("it compiles");
        assert_eq!(filter.wants(asked("filter-1", b"{\"a\":1}", "x")), Ok(true));
        // Another body under the same id shows that nobody looks again.
        assert_eq!(filter.wants(asked("filter-1", b"{\"a\":2}", "y")), Ok(true));
        assert_eq!(filter.wants(asked("filter-2", b"{\"a\":2}", "y")), Ok(false));
        let other = Filter::compile(".a == 2").expect("it compiles");
        assert_eq!(other.wants(asked("filter-1", b"{\"a\":2}", "x")), Ok(false), "read once");
        let without = Asked { id: None, body: b"{\"a\":1}", user: None };
        assert_eq!(filter.wants(without), Ok(true));
    }

    #[test]
    fn a_filter_that_names_the_user_is_asked_for_each() {
        let filter = Filter::compile(".owner == $user.id").expect("it compiles");
        let body = b"{\"owner\":\"usr_1\"}";
        assert_eq!(filter.wants(asked("user-1", body, "usr_1")), Ok(true));
        assert_eq!(filter.wants(asked("user-1", body, "usr_2")), Ok(false));
        assert_eq!(filter.wants(Asked { id: Some("user-1"), body, user: None }), Ok(false));
        let keys = Filter::compile("$user | keys == [\"id\"]").expect("it compiles");
        assert_eq!(keys.wants(asked("user-1", body, "usr_1")), Ok(true));
    }

    #[test]
    fn what_is_no_boolean_is_a_failure_without_values() {
        for (text, says) in [
            (".secret", "the program gave a string; a filter has to give true or false"),
            ("empty", "the program gave no output; one is expected"),
            ("true, false", "the program gave more than 1 output"),
            (".secret | error", "the program failed with a message that may quote its input"),
            (".secret + 1", "the program failed: "),
            ("def f: f; f", "the program was stopped: "),
            ("[range(1e9)] | length > 3", "the program was stopped: "),
        ] {
            let filter = Filter::compile(text).expect("it compiles");
            let answer = filter.wants(asked("fail-1", b"{\"secret\":\"xyzzy\"}", "u"));
            let Err(NotFiltered::Failed(message)) = answer else { panic!("{text}: {answer:?}") };
            assert!(message.starts_with(says) && !message.contains("xyzzy"), "{text}: {message}");
        }
        let filter = Filter::compile("true").expect("it compiles");
        let answer = filter.wants(asked("fail-2", b"{", "u"));
        assert!(matches!(answer, Err(NotFiltered::Failed(_))), "{answer:?}");
    }

    #[test]
    fn only_what_will_stay_so_is_remembered() {
        let key = || ("late-1".to_owned(), None);
        let mut answers = Answers::default();
        for error in [RunError::Late, RunError::Stuck, RunError::Busy] {
            answers.remember(key(), &Err(why(error)));
            assert!(answers.by_key.is_empty() && answers.keys.is_empty());
        }
        assert!(matches!(why(RunError::Stuck), NotFiltered::Busy(_)), "it is asked again later");
        answers.remember(key(), &Err(why(RunError::NoOutput)));
        assert_eq!(answers.by_key.len(), 1);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let filter = Filter::compile("true").expect("it compiles");
        for number in 0..2 * MOST_ANSWERS {
            let id = format!("bounded-{number}");
            assert_eq!(filter.wants(asked(&id, b"1", "u")), Ok(true));
        }
        let answers = lock(&filter.answers);
        assert_eq!((answers.keys.len(), answers.by_key.len()), (MOST_ANSWERS, MOST_ANSWERS));
        let mut bodies = Bodies { bodies: VecDeque::new(), bytes: 0 };
        for number in 0..20 {
            bodies.add(&number.to_string(), Arc::new(Value::Null), MOST_BODY_BYTES / 8);
        }
        assert_eq!((bodies.bodies.len(), bodies.bytes), (8, MOST_BODY_BYTES));
        bodies.add("large", Arc::new(Value::Null), MOST_BODY_BYTES);
        assert!(bodies.get("large").is_none() && bodies.get("19").is_some());
    }
}
