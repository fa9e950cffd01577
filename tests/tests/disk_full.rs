//! A full disk: new events are refused with 507 or 503, nothing acknowledged is lost, and with room
//! again the same process takes events again.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use mortise_tests::daemon::{Daemon, Installed, Options};
use mortise_tests::load::{Load, wait_until_idle};
use mortise_tests::snap_in::{Parts, SIGNED};
use mortise_tests::{Numbers, eventually};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);

/// A tmpfs, which is unmounted in the end.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(path: &Path, size: &str) -> Result<SmallDisk, String> {
        std::fs::create_dir(path).map_err(|error| error.to_string())?;
        mount(path, &format!("size={size}")).map(|()| SmallDisk(path.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: the daemon may still be ending. At the latest the machine's restart removes it.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn mount(path: &Path, options: &str) -> Result<(), String> {
    let output =
        Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(path).output();
    let output = output.map_err(|error| format!("mount cannot be run: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    if output.status.success() { Ok(()) } else { Err(format!("mount: {said}")) }
}

/// Payloads that fill a disk soon and cannot be compressed away.
fn filler(numbers: &mut Numbers, number: u64) -> Value {
    let text: String = (0..4000).map(|_| format!("{:016x}", numbers.next_number())).collect();
    json!({ "n": number, "filler": text })
}

/// Sends until the daemon refuses, and answers what it took.
fn fill(daemon: &Daemon, to: &Installed, numbers: &mut Numbers) -> Vec<(u64, String)> {
    let mut taken = Vec::new();
    for number in 0..2000 {
        let response = daemon.send(to, filler(numbers, number).to_string().as_bytes());
        match response.status {
            200 => {
                let id = response.json()["events"][0]["id"].as_str().expect("an id").to_owned();
                taken.push((number, id));
            }
            507 | 503 => {
                let problem = response.json();
                let code = problem["code"].as_str().unwrap_or_default();
                assert!(matches!(code, "disk_full" | "unavailable"), "{problem}");
                assert!(response.header("retry-after").is_some(), "{problem}");
                println!("full after {} events: {} {problem}", taken.len(), response.status);
                return taken;
            }
            other => panic!("{other}: {}", response.text()),
        }
    }
    panic!("the disk does not get full");
}

fn check_there(daemon: &Daemon, to: &Installed, taken: &[(u64, String)]) {
    let listed = daemon.list_all("events.list", "events", &json!({ "snap_in": to.id }));
    for (number, id) in taken {
        assert!(listed.iter().any(|it| it["id"] == id.as_str()), "event {id} was acknowledged");
        let event = daemon.call("events.get", &json!({ "id": id }));
        assert_eq!(event["event"]["payload"]["n"], *number);
    }
}

/// Fills the daemon's disk, makes room, and sees that it goes on.
fn fill_and_make_room(daemon: &Daemon, make_room: impl FnOnce()) {
    let installed = daemon.install(&Parts::new("filler", SIGNED, mortise_tests::snap_in::ECHO));
    let mut numbers = Numbers(1);
    let mut taken = fill(daemon, &installed, &mut numbers);
    assert!(!taken.is_empty());
    check_there(daemon, &installed, &taken);
    make_room();
    eventually("it takes events again", PATIENCE, || {
        let response = daemon.send(&installed, br#"{"n":5000}"#);
        let id = response.json()["events"][0]["id"].as_str()?.to_owned();
        (response.status == 200).then(|| taken.push((5000, id)))
    });
    wait_until_idle(daemon, &installed.id, PATIENCE);
    check_there(daemon, &installed, &taken);
    for (_, event) in &taken {
        assert_eq!(daemon.run_of(event)["state"], "succeeded");
    }
    // And none of it only in memory.
    daemon.restart();
    check_there(daemon, &installed, &taken);
}

#[test]
fn a_reserve_is_kept_and_given_back() {
    let directory = tempfile::tempdir().expect("/tmp");
    let path = directory.path().join("disk");
    let disk = match SmallDisk::mount(&path, "24m") {
        Ok(disk) => disk,
        Err(why) => return println!("LEFT OUT: the full tmpfs: {why}"),
    };
    let daemon = start(Some(disk.0.join("state")), "reserve_bytes = 4_000_000", Vec::new());
    fill_and_make_room(&daemon, || mount(&path, "remount,size=200m").expect("it was mounted"));
}

#[test]
fn a_disk_that_is_full_to_the_last_byte_is_survived() {
    let directory = tempfile::tempdir().expect("/tmp");
    let path = directory.path().join("disk");
    let disk = match SmallDisk::mount(&path, "16m") {
        Ok(disk) => disk,
        Err(why) => return println!("LEFT OUT: the full tmpfs without a reserve: {why}"),
    };
    let daemon = start(Some(disk.0.join("state")), "reserve_bytes = 0", Vec::new());
    fill_and_make_room(&daemon, || mount(&path, "remount,size=200m").expect("it was mounted"));
}

/// Works without root: the kernel refuses to let the file grow, and then allows it.
#[test]
fn a_file_that_may_not_grow_is_survived() {
    if Command::new("prlimit").arg("--version").output().is_err() {
        return println!("LEFT OUT: the limit of a file's size: there is no prlimit");
    }
    // Without its signal, which would end the daemon, the limit is an error like a full disk.
    let wrapper = ["env", "--ignore-signal=XFSZ", "prlimit", "--fsize=12000000:unlimited"];
    let wrapper = wrapper.map(str::to_owned).to_vec();
    let daemon = start(None, "reserve_bytes = 0", wrapper);
    fill_and_make_room(&daemon, || {
        let raised = Command::new("prlimit")
            .args(["--fsize=unlimited:unlimited", "--pid", &daemon.process_id().to_string()])
            .status();
        assert!(raised.expect("prlimit can be run").success());
    });
}

#[test]
fn what_is_sent_while_the_disk_is_full_is_stored_or_refused() {
    let directory = tempfile::tempdir().expect("/tmp");
    let path = directory.path().join("disk");
    let disk = match SmallDisk::mount(&path, "16m") {
        Ok(disk) => disk,
        Err(why) => return println!("LEFT OUT: load on a full tmpfs: {why}"),
    };
    let daemon = start(Some(disk.0.join("state")), "reserve_bytes = 0", Vec::new());
    let installed = daemon.install(&Parts::echo());
    let load = Load::start(&daemon, &installed, 3, Duration::from_millis(2));
    load.wait_for_answers(10);
    let ballast = path.join("ballast");
    // Takes what is left; the error is the point.
    let _ = std::fs::write(&ballast, vec![1; 64 << 20]);
    eventually("requests are refused", PATIENCE, || (load.refused() > 10).then_some(()));
    std::fs::remove_file(&ballast).expect("it is there");
    load.wait_for_answers(10);
    let sent = load.stop();
    wait_until_idle(&daemon, &installed.id, PATIENCE);
    let found = sent.reckon(&daemon, &installed);
    println!("{} acknowledged, {} refused", sent.answered.len(), sent.refused.len());
    assert!(found.iter().all(|it| it.run["state"] == "succeeded"));
}

fn start(state_dir: Option<PathBuf>, store: &str, wrapper: Vec<String>) -> Daemon {
    let settings = format!("[store]\n{store}\n");
    Daemon::start_with(Options { settings, state_dir, wrapper, ..Options::default() })
}
