//! What the kernel says about this machine and about processes.

use serde_json::{Value, json};

/// Facts that a figure is worth nothing without.
pub(crate) fn facts() -> Value {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let model = cpu.lines().find_map(|it| it.strip_prefix("model name")?.split_once(": "));
    json!({
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "cpu": model.map_or("unknown", |(_, it)| it),
        "kernel": read("/proc/sys/kernel/osrelease").trim(),
        "load_average": load_average(),
    })
}

/// The load averages over 1, 5 and 15 minutes.
pub(crate) fn load_average() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

/// Processor time of a process and of its children that live, in seconds.
pub(crate) fn cpu_seconds(pid: u32) -> f64 {
    const TICKS_PER_SECOND: f64 = 100.0;
    let Ok(processes) = std::fs::read_dir("/proc") else { return 0.0 };
    let ticks: u64 = processes
        .flatten()
        .filter_map(|it| it.file_name().to_str()?.parse::<u32>().ok())
        .filter_map(|it| Some((it, stat(it)?)))
        .filter(|(it, stat)| *it == pid || stat.parent == pid)
        .map(|(_, stat)| stat.ticks)
        .sum();
    ticks as f64 / TICKS_PER_SECOND
}

struct Stat {
    parent: u32,
    ticks: u64,
}

fn stat(pid: u32) -> Option<Stat> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything.
    let (_, rest) = text.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split(' ').collect();
    let user: u64 = fields.get(11)?.parse().ok()?;
    let system: u64 = fields.get(12)?.parse().ok()?;
    Some(Stat { parent: fields.get(1)?.parse().ok()?, ticks: user + system })
}

/// Memory of a process, in MiB.
#[derive(Clone, Copy)]
pub(crate) struct Memory {
    /// All that is mapped and present; the most that it can be said to have.
    pub(crate) resident: f64,
    /// What of it is no page of a file: heap, stacks, and what the loader wrote into libraries. The rest is
    /// code and data of the binary and its plugins, which the kernel maps 64 KiB at a time, shares between
    /// processes, and takes back without being asked.
    pub(crate) own: f64,
}

pub(crate) fn memory(pid: u32) -> Memory {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let field = |name: &str| -> f64 {
        let lines = text.lines();
        let numbers = lines
            .filter_map(|it| it.strip_prefix(name)?.split_whitespace().next()?.parse::<f64>().ok());
        numbers.sum::<f64>() / 1024.0
    };
    Memory { resident: field("Rss:"), own: field("Anonymous:") }
}
