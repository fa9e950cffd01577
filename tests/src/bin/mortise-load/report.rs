//! Figures as a table for people and as JSON for machines.

use serde_json::{Value, json};

use crate::client::Seen;

/// One line of the table.
pub(crate) struct Row {
    pub(crate) what: String,
    pub(crate) connections: usize,
    pub(crate) per_second: f64,
    /// Milliseconds: p50, p99, p99.9; none for loops that have no requests.
    pub(crate) latency: Option<[f64; 3]>,
    /// Microseconds of the daemon's processor time per unit, runner processes included.
    pub(crate) cpu_micros: Option<f64>,
    /// What the bare commit loop did just before, per second: a disk that others use is slower.
    pub(crate) commits: Option<f64>,
    /// The figure that it is compared with, and the ratio to it.
    pub(crate) reference: Option<(String, f64)>,
    pub(crate) unexpected: u64,
    /// What design §8 asks for.
    pub(crate) reach: Option<f64>,
}

impl Row {
    pub(crate) fn of(what: &str, connections: usize, seen: &Seen) -> Row {
        Row {
            what: what.to_owned(),
            connections,
            per_second: seen.rate(),
            latency: Some([50.0, 99.0, 99.9].map(|it| seen.percentile(it))),
            cpu_micros: None,
            commits: None,
            reference: None,
            unexpected: seen.unexpected,
            reach: None,
        }
    }

    pub(crate) fn rate(what: &str, connections: usize, per_second: f64) -> Row {
        Row {
            what: what.to_owned(),
            connections,
            per_second,
            latency: None,
            cpu_micros: None,
            commits: None,
            reference: None,
            unexpected: 0,
            reach: None,
        }
    }

    pub(crate) fn compared_with(mut self, name: &str, per_second: Option<f64>) -> Row {
        self.reference = per_second.map(|it| (name.to_owned(), self.per_second / it));
        self
    }

    pub(crate) fn costing(mut self, cpu_seconds: f64, units: u64) -> Row {
        self.cpu_micros = Some(cpu_seconds * 1e6 / units.max(1) as f64);
        self
    }

    pub(crate) fn on_a_disk_of(mut self, commits_per_second: f64) -> Row {
        self.commits = Some(commits_per_second);
        self
    }

    pub(crate) fn reaching(mut self, per_second: f64) -> Row {
        self.reach = Some(per_second);
        self
    }

    fn json(&self) -> Value {
        let [p50, p99, p999] = self.latency.map_or([None; 3], |it| it.map(Some));
        json!({
            "what": self.what,
            "connections": self.connections,
            "per_second": self.per_second,
            "p50_ms": p50,
            "p99_ms": p99,
            "p99_9_ms": p999,
            "daemon_cpu_us": self.cpu_micros,
            "bare_commits_per_second": self.commits,
            "reference": self.reference.as_ref().map(|(name, _)| name),
            "ratio": self.reference.as_ref().map(|(_, ratio)| ratio),
            "unexpected_answers": self.unexpected,
            "reach_per_second": self.reach,
        })
    }

    /// Prints the line.
    pub(crate) fn print(&self) {
        let some = |it: Option<f64>, places: usize| {
            it.map_or_else(String::new, |it| format!("{it:.places$}"))
        };
        let [p50, p99, p999] = self.latency.map_or([None; 3], |it| it.map(Some));
        let ratio = match &self.reference {
            Some((name, ratio)) => format!("{ratio:.2} x {name}"),
            None => String::new(),
        };
        let mut line = format!(
            "{:<38} {:>5} {:>9.0} {:>8} {:>7} {:>7} {:>7} {:>8} {:>8}  {ratio}",
            self.what,
            self.connections,
            self.per_second,
            some(self.reach, 0),
            some(p50, 2),
            some(p99, 2),
            some(p999, 2),
            some(self.cpu_micros, 1),
            some(self.commits, 0),
        );
        if self.unexpected > 0 {
            line.push_str(&format!("  {} unexpected answers", self.unexpected));
        }
        println!("{}", line.trim_end());
    }
}

/// Prints the head of the table.
pub(crate) fn print_head() {
    println!(
        "{:<38} {:>5} {:>9} {:>8} {:>7} {:>7} {:>7} {:>8} {:>8}  ratio",
        "", "conns", "per s", "reach", "p50 ms", "p99 ms", "p99.9", "cpu us", "disk/s"
    );
}

/// The whole as one document.
pub(crate) fn document(machine: &Value, after: &str, rows: &[Row], others: &Value) -> Value {
    json!({
        "machine": machine,
        "load_average_after": after,
        "rows": rows.iter().map(Row::json).collect::<Vec<_>>(),
        "others": others,
    })
}
