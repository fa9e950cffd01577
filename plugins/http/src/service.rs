//! What a service has to say, and the sink that it makes.

use mortise_plugin::{
    Act, Delivery, Effect, Fault, HttpEffect, LogLevel, Problem, Receipt, Sink, SinkCall,
    SinkInput, SinkOutput, TypeDescriptor,
};
use mortise_sinks::{Answer, clean, fault_of_status, http_answer, test_message};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

const TIMEOUT_MS: u64 = 10_000;

/// A request to make.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) method: &'static str,
    pub(crate) url: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Option<Vec<u8>>,
}

impl Request {
    pub(crate) fn get(url: String) -> Request {
        Request { method: "GET", url, headers: Vec::new(), body: None }
    }

    pub(crate) fn json(method: &'static str, url: String, body: &Value) -> Request {
        let headers =
            vec![("content-type".to_owned(), "application/json; charset=utf-8".to_owned())];
        Request { method, url, headers, body: Some(written(body)) }
    }

    pub(crate) fn with(mut self, name: &str, value: impl Into<String>) -> Request {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub(crate) fn bearer(self, token: &str) -> Request {
        self.with("authorization", format!("Bearer {token}"))
    }
}

/// JSON as it is sent. Straight into bytes: by way of `Display` it takes twice as long.
pub(crate) fn written(value: &Value) -> Vec<u8> {
    // Keys are texts: it can be written.
    serde_json::to_vec(value).unwrap_or_default()
}

/// How a connection is shown to work.
#[derive(Debug)]
pub(crate) enum Probe {
    /// By a request that nobody sees.
    Quiet(Request),
    /// By a message that says that it is a test: there is no other way.
    Message,
}

/// What is known of a delivery when its answer comes.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Told {
    pub(crate) id: String,
    pub(crate) thread: Option<String>,
}

/// A service with a configuration.
pub(crate) trait Service: Send + Sync + Sized + 'static {
    /// Its name for people.
    const TITLE: &'static str;

    /// Its sink type.
    fn describe() -> TypeDescriptor;
    /// Opens it, with what is questionable beside; or says everything that is wrong.
    fn open(config: Value) -> Result<Opened<Self>, Fault>;
    /// The request of a delivery.
    fn message(&self, delivery: &Delivery, now_ms: u64) -> Result<Request, Fault>;
    /// What an answer of success says.
    fn done(&self, answer: &Answer<'_>, told: Told) -> Result<Receipt, Fault>;
    /// What any other answer means.
    fn fault(&self, answer: &Answer<'_>, now_ms: u64) -> Fault {
        fault_of_status(Self::TITLE, answer.status, &answer.said(), answer.retry_after_ms(now_ms))
    }
    /// Whether an answer is one of success.
    fn is_success(&self, answer: &Answer<'_>) -> bool {
        answer.is_success()
    }
    /// How a test is made.
    fn probe(&self) -> Probe;
    /// What the answer to a quiet test shows, for people.
    fn probed(&self, _answer: &Answer<'_>) -> Result<String, Fault> {
        Ok(format!("{} answers and takes the credentials; nothing was sent", Self::TITLE))
    }
}

/// A service, and what is questionable about its configuration.
pub(crate) struct Opened<S> {
    pub(crate) service: S,
    pub(crate) warnings: Vec<Problem>,
}

impl<S> Opened<S> {
    /// With nothing questionable.
    pub(crate) fn of(service: S) -> Opened<S> {
        Opened { service, warnings: Vec::new() }
    }
}

/// A row of the table of services.
pub(crate) struct Entry {
    pub(crate) kind: &'static str,
    pub(crate) describe: fn() -> TypeDescriptor,
    pub(crate) open: fn(Value) -> Result<Box<dyn Sink>, Fault>,
}

impl Entry {
    pub(crate) const fn of<S: Service>(kind: &'static str) -> Entry {
        Entry { kind, describe: S::describe, open: open::<S> }
    }
}

fn open<S: Service>(config: Value) -> Result<Box<dyn Sink>, Fault> {
    Ok(Box::new(Shell(S::open(config)?)))
}

/// What travels with a request.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Asked {
    Message(Told),
    /// A message that says that it is a test.
    Test(Told),
    Probe,
}

struct Shell<S>(Opened<S>);

impl<S: Service> Sink for Shell<S> {
    fn call(&self, call: SinkCall, body: &[u8]) -> Result<SinkOutput, Fault> {
        let Opened { service, warnings } = &self.0;
        match call.input {
            SinkInput::Check {} => {
                Ok(SinkOutput { problems: warnings.clone(), ..SinkOutput::default() })
            }
            SinkInput::Deliver(mut delivery) => {
                delivery.message = clean(&delivery.message);
                let request = service.message(&delivery, call.now_ms)?;
                let told = Told { id: delivery.id, thread: delivery.thread };
                Ok(ask(request, &Asked::Message(told)))
            }
            SinkInput::Test {} => match service.probe() {
                Probe::Quiet(request) => Ok(ask(request, &Asked::Probe)),
                Probe::Message => {
                    let delivery = test_delivery(call.now_ms);
                    let request = service.message(&delivery, call.now_ms)?;
                    let told = Told { id: delivery.id, thread: None };
                    Ok(ask(request, &Asked::Test(told)))
                }
            },
            SinkInput::Response { state, outcome } => {
                let Ok(asked) = serde_json::from_value(state) else {
                    return Err(Fault::permanent("the state of the request came back changed"));
                };
                let answer = http_answer(&outcome, body)?;
                if !service.is_success(&answer) {
                    return Err(service.fault(&answer, call.now_ms));
                }
                let said =
                    |message: String| SinkOutput::default().with_log(LogLevel::Info, message);
                match asked {
                    Asked::Message(told) => Ok(SinkOutput::done(service.done(&answer, told)?)),
                    Asked::Test(told) => {
                        service.done(&answer, told)?;
                        Ok(said(format!("{} took a test message", S::TITLE)))
                    }
                    Asked::Probe => Ok(said(service.probed(&answer)?)),
                }
            }
        }
    }
}

fn ask(request: Request, asked: &Asked) -> SinkOutput {
    let Request { method, url, headers, body } = request;
    let http =
        HttpEffect { method: method.to_owned(), url, headers, body: body.as_ref().map(|_| 0) };
    let effect = Effect { state: json!(asked), timeout_ms: TIMEOUT_MS, act: Act::Http(http) };
    SinkOutput::ask(effect, body)
}

fn test_delivery(now_ms: u64) -> Delivery {
    Delivery {
        // Two tests are two messages.
        id: format!("test-{now_ms}"),
        attempt: 1,
        trigger: "test".to_owned(),
        message: test_message(),
        occurrences: Vec::new(),
        count: 0,
        thread: None,
    }
}
