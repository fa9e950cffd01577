//! The daemon is killed under load, again and again: what was acknowledged is there exactly once,
//! and its run comes to an end.
//!
//! `MORTISE_CRASH_ROUNDS` sets how often (20 when absent), `MORTISE_CRASH_SEED` repeats a failure.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use mortise_tests::daemon::{Daemon, Options};
use mortise_tests::load::{Found, Load, Sent, wait_until_idle};
use mortise_tests::snap_in::Parts;
use mortise_tests::{Numbers, eventually};

const THREADS: usize = 4;
const PAUSE: Duration = Duration::from_millis(8);

#[expect(clippy::disallowed_methods, reason = "a test's switch is in its environment")]
fn number_from_environment(name: &str, otherwise: u64) -> u64 {
    let given = std::env::var(name).ok();
    given.map_or(otherwise, |it| it.parse().unwrap_or_else(|_| panic!("{name} is no number: {it}")))
}

fn seed() -> Numbers {
    let seed = number_from_environment("MORTISE_CRASH_SEED", u64::from(std::process::id()));
    println!("seed: MORTISE_CRASH_SEED={seed}");
    Numbers(seed)
}

fn rounds() -> u64 {
    number_from_environment("MORTISE_CRASH_ROUNDS", 20)
}

/// Every run succeeded, or used up its interruptions.
fn check_ends(found: &[Found]) -> usize {
    let mut interruptions = 0;
    for it in found {
        let attempts = it.run["attempts"].as_array().expect("attempts");
        let cut_off = attempts.iter().filter(|it| it["outcome"] == "interrupted").count();
        interruptions += cut_off;
        match it.run["state"].as_str() {
            Some("succeeded") => assert!(cut_off <= 3, "{}", it.run),
            Some("dead") => assert_eq!(cut_off, 4, "{}", it.run),
            _ => panic!("number {} has not come to an end: {}", it.number, it.run),
        }
    }
    interruptions
}

fn report(what: &str, sent: &Sent, found: &[Found], interruptions: usize) {
    // A sender that is told 404 by a daemon that is only starting would give up its webhook.
    let statuses: std::collections::BTreeSet<_> = sent.refused.values().collect();
    assert!(statuses.iter().all(|it| matches!(it, 503 | 507)), "refused with {statuses:?}");
    println!(
        "{what}: {} sent, {} acknowledged, {} refused, {} found, {interruptions} attempts cut off",
        sent.numbers,
        sent.answered.len(),
        sent.refused.len(),
        found.len()
    );
}

#[test]
fn what_was_acknowledged_survives_kill_dash_nine() {
    let mut numbers = seed();
    let daemon = Daemon::start();
    let installed = daemon.install(&Parts::echo());
    let load = Load::start(&daemon, &installed, THREADS, PAUSE);
    for _ in 0..rounds() {
        // The load has to be under way, and then anything may be going on.
        load.wait_for_answers(5);
        std::thread::sleep(Duration::from_millis(numbers.between(0, 250)));
        daemon.kill_dash_nine();
        load.moved(None);
        daemon.restart();
        load.moved(Some(daemon.address()));
    }
    load.wait_for_answers(5);
    let sent = load.stop();
    wait_until_idle(&daemon, &installed.id, Duration::from_secs(120));
    let found = sent.reckon(&daemon, &installed);
    let interruptions = check_ends(&found);
    report("kill -9", &sent, &found, interruptions);
}

#[test]
fn a_stop_under_load_loses_nothing() {
    let daemon = Daemon::start();
    let code = "
        export const run = async (events) => {
          await new Promise((resolve) => setTimeout(resolve, 200));
          return events[0].payload.n;
        };";
    let slow = Parts { code: code.to_owned(), ..Parts::echo() };
    let installed = daemon.install(&slow);
    let load = Load::start(&daemon, &installed, THREADS, PAUSE);
    for _ in 0..2 {
        load.wait_for_answers(30);
        let status = daemon.terminate();
        load.moved(None);
        assert_eq!(status.code(), Some(0), "{status}");
        daemon.restart();
        load.moved(Some(daemon.address()));
    }
    load.wait_for_answers(5);
    let sent = load.stop();
    wait_until_idle(&daemon, &installed.id, Duration::from_secs(120));
    let found = sent.reckon(&daemon, &installed);
    let interruptions = check_ends(&found);
    report("SIGTERM", &sent, &found, interruptions);
    assert_eq!(interruptions, 0, "a stop lets running runs finish");
}

#[test]
fn what_was_acknowledged_survives_a_power_cut() {
    let mut numbers = seed();
    let directory = tempfile::tempdir().expect("/tmp");
    let disk = match Disk::make(directory.path()) {
        Ok(disk) => disk,
        Err(why) => {
            println!("LEFT OUT: the power cut: {why}");
            return;
        }
    };
    let state_dir = Some(disk.mount_point.join("state"));
    let daemon = Daemon::start_with(Options { state_dir, ..Options::default() });
    let installed = daemon.install(&Parts::echo());
    let load = Load::start(&daemon, &installed, THREADS, PAUSE);
    for _ in 0..rounds() / 2 {
        load.wait_for_answers(5);
        std::thread::sleep(Duration::from_millis(numbers.between(0, 150)));
        disk.cut_power();
        daemon.kill_dash_nine();
        load.moved(None);
        disk.mount_again();
        daemon.restart();
        load.moved(Some(daemon.address()));
    }
    load.wait_for_answers(5);
    let sent = load.stop();
    wait_until_idle(&daemon, &installed.id, Duration::from_secs(120));
    let found = sent.reckon(&daemon, &installed);
    let interruptions = check_ends(&found);
    report("power cut", &sent, &found, interruptions);
    daemon.kill_dash_nine();
}

/// A file system of its own whose power can be cut.
struct Disk {
    image: std::path::PathBuf,
    mount_point: std::path::PathBuf,
}

fn command(program: &str, arguments: &[&std::ffi::OsStr]) -> Result<(), String> {
    let output = Command::new(program).args(arguments).output();
    let output = output.map_err(|error| format!("{program} cannot be run: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    output.status.success().then_some(()).ok_or_else(|| format!("{program}: {}", said.trim()))
}

impl Disk {
    fn make(directory: &Path) -> Result<Disk, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("it needs root".to_owned());
        }
        let (image, mount_point) = (directory.join("disk.img"), directory.join("disk"));
        let made = std::fs::File::create(&image).and_then(|it| it.set_len(256 << 20));
        made.and_then(|()| std::fs::create_dir(&mount_point)).map_err(|it| it.to_string())?;
        command("mke2fs", &["-q".as_ref(), "-t".as_ref(), "ext4".as_ref(), image.as_ref()])?;
        let disk = Disk { image, mount_point };
        disk.mount()?;
        Ok(disk)
    }

    fn mount(&self) -> Result<(), String> {
        command(
            "mount",
            &["-o".as_ref(), "loop".as_ref(), self.image.as_ref(), self.mount_point.as_ref()],
        )
    }

    /// Nothing that is not on the disk yet gets there any more, not even the journal.
    fn cut_power(&self) {
        let root = std::fs::File::open(&self.mount_point).expect("it is mounted");
        let without_flush: u32 = 2;
        const EXT4_IOC_SHUTDOWN: rustix::ioctl::Opcode = 0x8004_587d;
        // SAFETY: the kernel reads one u32 through the pointer, which the setter passes.
        let done = unsafe {
            let call = rustix::ioctl::Setter::<EXT4_IOC_SHUTDOWN, u32>::new(without_flush);
            rustix::ioctl::ioctl(&root, call)
        };
        done.expect("ext4 can be shut down");
    }

    fn mount_again(&self) {
        // What the daemon started may hold on to it a moment longer.
        eventually("the disk can be unmounted", Duration::from_secs(20), || {
            command("umount", &[self.mount_point.as_ref()]).ok()
        });
        self.mount().expect("the journal is replayed");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // In the worst case it stays mounted until the machine is restarted.
        let _ = command("umount", &["-l".as_ref(), self.mount_point.as_ref()]);
    }
}
