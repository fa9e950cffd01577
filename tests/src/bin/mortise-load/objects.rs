//! Objects: how many are made, changed, read and listed per second while so many are stored, beside
//! SQLite with the same rows, indexes and changes.
//!
//! The daemon is asked over HTTP, checks each object by its schema and looks at its reference; SQLite is
//! called in this process. Both have every write on the disk before it counts. The daemon puts what comes at
//! the same time into one commit, so SQLite is measured with one write in a transaction, and with as many
//! as there are connections.

use std::cell::{Cell, RefCell};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::client::{Connection, Seen};
use crate::daemon::{Daemon, text};
use crate::report::Row;
use crate::{Failure, Options, machine};

/// Connections that objects are filled in by.
const FILLERS: usize = 64;
/// Owners that objects refer to.
pub(crate) const OWNERS: u64 = 500;
/// Objects on a page.
pub(crate) const PAGE: usize = 20;
/// Values of the field `rank`.
const RANKS: u64 = 1_000;
/// Values of the field `state`.
pub(crate) const STATES: [&str; 4] = ["new", "open", "waiting", "closed"];

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An object is made.
    Create,
    /// One field of an object changes.
    Update,
    /// An object by its id.
    Get,
    /// The newest of one owner: one in [`OWNERS`].
    ListRare,
    /// The last changed in one state: one in four.
    ListFrequent,
    /// Two conditions and an order that is neither's.
    ListTwo,
}

impl Kind {
    pub(crate) const ALL: [Kind; 6] =
        [Kind::Create, Kind::Update, Kind::Get, Kind::ListRare, Kind::ListFrequent, Kind::ListTwo];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Create => "create",
            Kind::Update => "update",
            Kind::Get => "get",
            Kind::ListRare => "list of one owner, newest first",
            Kind::ListFrequent => "list of one state, last changed first",
            Kind::ListTwo => "list of state and rank, by rank",
        }
    }

    pub(crate) fn writes(self) -> bool {
        match self {
            Kind::Create | Kind::Update => true,
            Kind::Get | Kind::ListRare | Kind::ListFrequent | Kind::ListTwo => false,
        }
    }
}

/// Numbers that look random and are the same in every run (SplitMix64).
pub(crate) struct Numbers(u64);

impl Numbers {
    pub(crate) fn new() -> Numbers {
        Numbers(7)
    }

    pub(crate) fn next(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut it = self.0;
        it = (it ^ (it >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        it = (it ^ (it >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (it ^ (it >> 31)) % below.max(1)
    }

    pub(crate) fn state(&mut self) -> &'static str {
        let place = usize::try_from(self.next(STATES.len() as u64)).unwrap_or_default();
        STATES.get(place).copied().unwrap_or("open")
    }

    pub(crate) fn rank(&mut self) -> u64 {
        self.next(RANKS)
    }
}

/// The fields of an object, about 400 bytes.
pub(crate) fn fields(numbers: &mut Numbers, owner: &str) -> Value {
    let number = numbers.next(u64::MAX);
    json!({
        "title": format!("The printer on floor {} is out of paper again", number % 40),
        "body": format!("{number:032x}").repeat(8),
        "state": numbers.state(),
        "rank": numbers.rank(),
        "owner": owner,
    })
}

fn types() -> Value {
    let text = json!({ "type": "string" });
    json!({ "object_types": [
        {
            "name": "person", "plural": "people", "id_prefix": "prsn", "title_field": "name",
            "schema": { "properties": { "name": text } },
        },
        {
            "name": "job", "id_prefix": "job", "title_field": "title",
            "indexed": ["state", "rank"], "references": { "owner": "person" },
            "schema": {
                "type": "object",
                "properties": {
                    "title": { "type": "string", "maxLength": 200 }, "body": text, "owner": text,
                    "state": { "enum": STATES }, "rank": { "type": "integer", "minimum": 0 },
                },
                "required": ["title", "state", "owner"],
                "additionalProperties": false,
            },
        },
    ] })
}

/// What requests are made of.
struct Bench<'a> {
    daemon: &'a Daemon,
    owners: Vec<String>,
    /// Ids of objects, not all.
    ids: RefCell<Vec<String>>,
    numbers: RefCell<Numbers>,
}

impl Bench<'_> {
    fn owner(&self) -> String {
        let place = self.numbers.borrow_mut().next(OWNERS);
        let place = usize::try_from(place).unwrap_or_default();
        self.owners.get(place).cloned().unwrap_or_default()
    }

    fn id(&self) -> String {
        let ids = self.ids.borrow();
        let place = self.numbers.borrow_mut().next(ids.len() as u64);
        ids.get(usize::try_from(place).unwrap_or_default()).cloned().unwrap_or_default()
    }

    fn request(&self, kind: Kind) -> Vec<u8> {
        let (name, body) = match kind {
            Kind::Create => {
                let owner = self.owner();
                ("jobs.create", fields(&mut self.numbers.borrow_mut(), &owner))
            }
            Kind::Update => {
                let id = self.id();
                ("jobs.update", json!({ "id": id, "rank": self.numbers.borrow_mut().rank() }))
            }
            Kind::Get => ("jobs.get", json!({ "id": self.id() })),
            Kind::ListRare => {
                let sort_by = "created_date:desc";
                ("jobs.list", json!({ "owner": self.owner(), "sort_by": sort_by, "limit": PAGE }))
            }
            Kind::ListFrequent => {
                let state = self.numbers.borrow_mut().state();
                let sort_by = "modified_date:desc";
                ("jobs.list", json!({ "state": state, "sort_by": sort_by, "limit": PAGE }))
            }
            Kind::ListTwo => {
                let mut numbers = self.numbers.borrow_mut();
                let (state, rank) = (numbers.state(), numbers.rank());
                let rank = json!({ "gte": rank });
                let body =
                    json!({ "state": state, "rank": rank, "sort_by": "rank", "limit": PAGE });
                ("jobs.list", body)
            }
        };
        self.daemon.api_request(name, &body)
    }

    /// Sends requests of one kind, each another one, until time or number runs out.
    async fn run(
        &self,
        kind: Kind,
        connections: usize,
        time: Duration,
        most: u64,
    ) -> Result<Seen, Failure> {
        let left = Rc::new(Cell::new(most));
        let began = Instant::now();
        let mut loops = Vec::new();
        for _ in 0..connections {
            loops.push(self.send(kind, began + time, left.clone()));
        }
        let mut all = Seen::default();
        for seen in join_all(loops).await {
            let seen = seen?;
            all.answers += seen.answers;
            all.unexpected += seen.unexpected;
            all.example = all.example.or(seen.example);
            all.latencies.extend(seen.latencies);
        }
        all.elapsed = began.elapsed();
        all.latencies.sort_unstable();
        if let Some(example) = &all.example {
            eprintln!("an unexpected answer: {example}");
        }
        Ok(all)
    }

    async fn send(&self, kind: Kind, until: Instant, left: Rc<Cell<u64>>) -> Result<Seen, Failure> {
        let mut connection = Connection::open(self.daemon.address).await?;
        let mut seen = Seen::default();
        while Instant::now() < until && left.get() > 0 {
            left.set(left.get() - 1);
            let request = self.request(kind);
            let before = Instant::now();
            let answer = connection.exchange(&request).await?;
            let micros = before.elapsed().as_micros();
            if answer.status == 200 {
                seen.answers += 1;
                seen.latencies.push(u32::try_from(micros).unwrap_or(u32::MAX));
                if kind == Kind::Create && seen.answers.is_multiple_of(16) {
                    let made: Value = serde_json::from_slice(answer.body)?;
                    self.ids.borrow_mut().push(text(&made["job"]["id"]));
                }
            } else {
                seen.unexpected += 1;
                let body = String::from_utf8_lossy(answer.body);
                seen.example.get_or_insert_with(|| format!("{} {body}", answer.status));
            }
        }
        Ok(seen)
    }
}

/// Waits for all, side by side.
async fn join_all<F: Future>(futures: Vec<F>) -> Vec<F::Output> {
    let mut futures: Vec<_> = futures.into_iter().map(Box::pin).collect();
    let mut done: Vec<Option<F::Output>> = futures.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        for (future, done) in futures.iter_mut().zip(&mut done) {
            if done.is_none()
                && let std::task::Poll::Ready(output) = future.as_mut().poll(context)
            {
                *done = Some(output);
            }
        }
        match done.iter().all(Option::is_some) {
            true => std::task::Poll::Ready(()),
            false => std::task::Poll::Pending,
        }
    })
    .await;
    done.into_iter().flatten().collect()
}

/// Measures at each number of stored objects.
pub(crate) async fn objects(
    daemon: &Daemon,
    options: &Options,
    directory: &Path,
    rows: &mut Vec<Row>,
) -> Result<(), Failure> {
    daemon.call("object-types.apply", types()).await?;
    let mut owners = Vec::new();
    for number in 0..OWNERS {
        let made = daemon.call("people.create", json!({ "name": format!("p{number}") })).await?;
        owners.push(text(&made["person"]["id"]));
    }
    let ids = RefCell::default();
    let bench = Bench { daemon, owners, ids, numbers: RefCell::new(Numbers::new()) };
    let mut levels = options.objects.clone();
    levels.sort_unstable();
    for level in levels {
        let there = daemon.call("jobs.count", json!({})).await?["count"].as_u64();
        let missing = level.saturating_sub(there.unwrap_or_default());
        let filled = bench.run(Kind::Create, FILLERS, Duration::from_secs(3_600), missing).await?;
        println!(
            "{level} objects: {missing} more in {:.1} s ({:.0} per second by {FILLERS} connections)",
            filled.elapsed.as_secs_f64(),
            filled.rate(),
        );
        let others = beside(options, directory, level, &bench.owners)?;
        for kind in Kind::ALL {
            for connections in options.connections() {
                let before = machine::cpu_seconds(daemon.pid());
                // What is measured must not become another level.
                let most =
                    if kind == Kind::Create { (level / 2).max(500) } else { options.requests };
                let seen = bench.run(kind, connections, options.time(), most).await?;
                let cost = machine::cpu_seconds(daemon.pid()) - before;
                let what = format!("{level}: {}", kind.name());
                let other = others.iter().find(|it| it.0 == kind && it.1 == connections);
                let row = Row::of(&what, connections, &seen)
                    .costing(cost, seen.answers)
                    .compared_with("SQLite", other.map(|it| it.2));
                row.print();
                rows.push(row);
            }
        }
        for (kind, at_once, rate) in others {
            let each = if kind.writes() { format!(", {at_once} a commit") } else { String::new() };
            let row = Row::rate(&format!("  {level}: SQLite {}{each}", kind.name()), 1, rate);
            row.print();
            rows.push(row);
        }
    }
    Ok(())
}

/// A figure of SQLite: what, how many writes go into a transaction, and how many are done per second.
type Beside = (Kind, usize, f64);

#[cfg(feature = "sqlite")]
fn beside(
    options: &Options,
    directory: &Path,
    level: u64,
    owners: &[String],
) -> Result<Vec<Beside>, Failure> {
    let connections: Vec<usize> = options.connections().collect();
    crate::sqlite::measure(directory, level, owners, &connections, options.time())
}

/// Without the feature `sqlite` there is nothing to compare with.
#[cfg(not(feature = "sqlite"))]
fn beside(_: &Options, _: &Path, _: u64, _: &[String]) -> Result<Vec<Beside>, Failure> {
    Ok(Vec::new())
}
