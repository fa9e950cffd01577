//! The master key is changed under a real store: every secret opens at every moment, a change of a
//! secret is never undone, and the old key goes when it may.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::engine::key_check::open_keys;
use crate::model::event::Cause;
use crate::model::id::{RunId, ServiceAccountId, SnapInId};
use crate::store::testing::{self, BackendLocation, FaultyDisk};

const NOW: u64 = 1_800_000_000_000;
const PATIENCE: Duration = Duration::from_secs(60);

struct Bench {
    state: tempfile::TempDir,
    store: Arc<Store>,
}

fn bench() -> Bench {
    let state = tempfile::tempdir().expect("tempdir");
    Bench { state, store: Arc::new(testing::in_memory(NOW)) }
}

fn secret_of(owner: u128, turn: u32) -> Vec<u8> {
    format!("secret {turn} of {owner}").into_bytes()
}

impl Bench {
    fn keys(&self) -> MasterKeys {
        open_keys(&self.store, None, self.state.path()).expect("the keys of this database")
    }

    fn keeper(&self, keys: &MasterKeys) -> KeyKeeper {
        let runtime = tokio::runtime::Handle::current();
        KeyKeeper::start(&runtime, self.store.clone(), keys.clone())
    }

    async fn put(&self, owner: u128, envelope: Vec<u8>) {
        let written = self.store.write(move |it| it.put_envelope(owner, &envelope));
        written.await.expect("written");
    }

    /// Secrets of the owners 1 to `number`.
    async fn plant(&self, vault: &Vault, number: u128) {
        let envelopes: Vec<_> =
            (1..=number).map(|owner| (owner, vault.seal(owner, &secret_of(owner, 0)))).collect();
        let written = self.store.write(move |it| {
            envelopes.iter().try_for_each(|(owner, envelope)| it.put_envelope(*owner, envelope))
        });
        written.await.expect("written");
    }

    fn opened(&self, vault: &Vault, owner: u128) -> Vec<u8> {
        let envelope = self.store.read(|it| it.envelope(owner)).expect("read").expect("there");
        vault.open(owner, &envelope).expect("opens").to_vec()
    }

    /// Keys in the file, as the next start would find them.
    fn in_file(&self) -> usize {
        1 + self.keys().ids().1.len()
    }
}

/// Waits until the keeper has come to `state`.
async fn reaches(keeper: &KeyKeeper, state: RotationState) -> KeyStatus {
    let look = async {
        loop {
            let status = keeper.status().await.expect("read");
            if status.state == state {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, look).await.expect("in time")
}

#[tokio::test]
async fn every_secret_gets_the_new_key_and_opens_meanwhile() {
    let bench = bench();
    let keys = bench.keys();
    let vault = Vault::new(&keys);
    bench.plant(&vault, 1000).await;
    let keeper = bench.keeper(&keys);
    let status = reaches(&keeper, RotationState::Settled).await;
    let before = status.keys[0].0;

    // Secrets are set and deleted all the while.
    let stop = Arc::new(AtomicBool::new(false));
    let setting = {
        let (store, vault, stop) = (bench.store.clone(), vault.clone(), stop.clone());
        tokio::spawn(async move {
            let mut turn = 0;
            while !stop.load(Ordering::Relaxed) {
                turn += 1;
                for owner in [1, 300, 700, 1000] {
                    let vault = vault.clone();
                    let write = move |it: &mut crate::store::WriteTables<'_>| {
                        it.remove_envelope(owner + 1)?;
                        it.put_envelope(owner, &vault.seal(owner, &secret_of(owner, turn)))
                    };
                    store.write(write).await.expect("written");
                }
            }
            turn
        })
    };
    let status = keeper.rotate(PATIENCE).await.expect("a new key");
    stop.store(true, Ordering::Relaxed);
    let turn = setting.await.expect("no panic");

    let (new, old) = keys.ids();
    assert_eq!((status.keys.len(), status.keys[0].0, old), (1, new, vec![]));
    assert_eq!(status.state, RotationState::Settled);
    for owner in 2..=1000 {
        match owner {
            300 | 700 | 1000 => assert_eq!(bench.opened(&vault, owner), secret_of(owner, turn)),
            2 | 301 | 701 => {
                assert_eq!(bench.store.read(|it| it.envelope(owner)).expect("read"), None);
            }
            _ => assert_eq!(bench.opened(&vault, owner), secret_of(owner, 0)),
        }
    }
    assert_eq!(bench.in_file(), 1);
    assert_ne!(new, before);
}

#[tokio::test]
async fn the_old_key_is_forgotten_when_its_tokens_have_expired() {
    let bench = bench();
    let keys = bench.keys();
    let vault = Vault::new(&keys);
    let tokens = ServiceTokens::new(&keys);
    let run = crate::secrets::TokenRun {
        service_account: ServiceAccountId(1),
        snap_in: SnapInId(2),
        run: RunId(3),
        cause: Cause::default(),
    };
    let issue = || tokens.issue(&run, NOW);
    bench.plant(&vault, 10).await;
    let runtime = tokio::runtime::Handle::current();
    let keeper =
        KeyKeeper::start_with(&runtime, bench.store.clone(), keys.clone(), Duration::from_secs(3));
    let token = issue();
    // Sealed with the old key, and kept against the rule.
    let late = vault.seal(11, b"late");
    keeper.rotate(PATIENCE).await.expect("a new key");
    tokens.read(&token, NOW).expect("still good");
    assert_eq!(bench.in_file(), 1, "it is gone from the file already");
    bench.put(11, late).await;

    // Whoever had the old key cannot make tokens with it for ever.
    let forgotten = async {
        while tokens.read(&token, NOW).is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, forgotten).await.expect("in time");
    tokens.read(&issue(), NOW).expect("the key in use");
    assert_eq!(keeper.status().await.expect("read").keys, [(keys.ids().0, 11)]);
    assert_eq!(bench.opened(&vault, 11), b"late");
}

#[tokio::test]
async fn a_start_ends_what_was_under_way() {
    let bench = bench();
    {
        let keys = bench.keys();
        bench.plant(&Vault::new(&keys), 1000).await;
        keys.renew().expect("written, and then the daemon is killed");
    }
    let keys = bench.keys();
    let (new, old) = keys.ids();
    assert_eq!(old.len(), 1);
    let keeper = bench.keeper(&keys);
    let status = reaches(&keeper, RotationState::Settled).await;
    assert_eq!(status.keys, [(new, 1000)]);
    assert_eq!(bench.in_file(), 1);
    let vault = Vault::new(&bench.keys());
    (1..=1000).for_each(|owner| assert_eq!(bench.opened(&vault, owner), secret_of(owner, 0)));
}

/// Whatever the moment at which the power goes: what is on the disk opens with what is in the file.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_power_cut_at_any_moment_loses_nothing() {
    const SECRETS: u128 = 2000;
    let disk = FaultyDisk::new();
    let location = {
        let disk = disk.clone();
        Box::new(BackendLocation(move || disk.clone()))
    };
    let state = tempfile::tempdir().expect("tempdir");
    let store = Arc::new(testing::open(location, NOW));
    let bench = Bench { state, store };
    let keys = bench.keys();
    bench.plant(&Vault::new(&keys), SECRETS).await;
    let path = keys.home().path().to_owned();

    let stop = Arc::new(AtomicBool::new(false));
    let camera = {
        let (stop, path) = (stop.clone(), path.clone());
        std::thread::spawn(move || {
            let mut pictures = Vec::new();
            loop {
                let last = stop.load(Ordering::Acquire);
                let before = std::fs::read(&path).expect("always there");
                let disk = disk.after_power_cut();
                // Both at the same moment, or it is no picture.
                if std::fs::read(&path).expect("always there") == before {
                    pictures.push((before, disk));
                }
                if last {
                    return pictures;
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        })
    };
    let status = bench.keeper(&keys).rotate(PATIENCE).await.expect("a new key");
    assert_eq!(status.state, RotationState::Settled);
    stop.store(true, Ordering::Release);
    let pictures = camera.join().expect("no panic");
    assert!(pictures.len() > 5, "only {} pictures", pictures.len());

    let mut mixed = 0;
    let step = pictures.len().div_ceil(10);
    let last = pictures.len() - 1;
    for (at, (file, disk)) in pictures.into_iter().enumerate() {
        if at % step != 0 && at != last {
            continue;
        }
        std::fs::write(&path, &file).expect("written");
        let location = Box::new(BackendLocation(move || disk.clone()));
        let store = Arc::new(testing::open(location, NOW));
        let bench = Bench { state: tempfile::tempdir().expect("tempdir"), store };
        std::fs::copy(&path, bench.state.path().join("master.key")).expect("copied");
        let keys = bench.keys();
        let vault = Vault::new(&keys);
        mixed += usize::from(count(&bench.store).expect("read").len() > 1);
        for owner in 1..=SECRETS {
            assert_eq!(bench.opened(&vault, owner), secret_of(owner, 0), "picture {at}");
        }
        let status = reaches(&bench.keeper(&keys), RotationState::Settled).await;
        assert_eq!(status.keys, [(keys.ids().0, 2000)], "picture {at}");
    }
    assert!(mixed > 0, "no picture was taken in the middle");
}

#[tokio::test]
async fn what_cannot_be_opened_keeps_the_old_key_and_holds_nothing_else_up() {
    let bench = bench();
    let keys = bench.keys();
    let vault = Vault::new(&keys);
    bench.plant(&vault, 20).await;
    // It was moved from another owner.
    let strange = vault.seal(4711, b"of somebody else");
    bench.put(7, strange).await;
    keys.renew().expect("written");
    let keeper = bench.keeper(&keys);
    let status = reaches(&keeper, RotationState::Stuck).await;
    let (new, old) = keys.ids();
    assert_eq!((status.keys, status.damaged), (vec![(new, 19), (old[0], 1)], vec![7]));
    assert_eq!(bench.in_file(), 2);

    // It is set anew, and the next start ends it.
    bench.put(7, vault.seal(7, b"anew")).await;
    let keys = bench.keys();
    let status = reaches(&bench.keeper(&keys), RotationState::Settled).await;
    assert_eq!((status.keys, status.damaged), (vec![(new, 20)], vec![]));
}

#[tokio::test]
async fn a_credential_is_not_written_and_its_old_lines_may_go() {
    let bench = bench();
    let credentials = tempfile::tempdir().expect("tempdir");
    let path = credentials.path().join("master-key");
    let open = || open_keys(&bench.store, Some(credentials.path()), bench.state.path());
    let (first, second) = ("17".repeat(32), "29".repeat(32));
    std::fs::write(&path, &first).expect("written");
    let keys = open().expect("read");
    bench.plant(&Vault::new(&keys), 5).await;
    let keeper = bench.keeper(&keys);
    let refused = keeper.rotate(PATIENCE).await.expect_err("not the daemon's").to_string();
    assert!(refused.contains("first line") && refused.contains("restart"), "{refused}");
    assert_eq!(keys.ids().1, []);

    std::fs::write(&path, format!("{second}\n{first}\n")).expect("written");
    let keys = open().expect("read");
    let status = reaches(&bench.keeper(&keys), RotationState::Removable).await;
    assert_eq!(status.keys, [(keys.ids().0, 5), (keys.ids().1[0], 0)]);

    // Now the old line goes.
    std::fs::write(&path, &second).expect("written");
    let keys = open().expect("read");
    assert_eq!(bench.opened(&Vault::new(&keys), 5), secret_of(5, 0));
    assert!(!bench.state.path().join("master.key").exists());
}

#[tokio::test]
async fn a_wrong_key_is_found_at_the_start() {
    let bench = bench();
    let path = bench.state.path().join("master.key");
    let open = |credentials| open_keys(&bench.store, credentials, bench.state.path());
    // Without secrets any key will do.
    bench.keys();
    std::fs::remove_file(&path).expect("there");
    let keys = bench.keys();
    let (id, _) = keys.ids();
    bench.plant(&Vault::new(&keys), 3).await;
    let right = std::fs::read_to_string(&path).expect("read");

    std::fs::remove_file(&path).expect("there");
    let error = open(None).expect_err("it is missing").to_string();
    let shown = path.display().to_string();
    for word in ["there is no master key", &shown, "3 secrets", &id.to_string(), "backups"] {
        assert!(error.contains(word), "no {word}: {error}");
    }
    assert!(!path.exists(), "none is made in its place");

    let credentials = tempfile::tempdir().expect("tempdir");
    std::fs::write(&path, &right).expect("written");
    std::fs::write(credentials.path().join("master-key"), "17".repeat(32)).expect("written");
    chmod(&path);
    let error = open(Some(credentials.path())).expect_err("it is another").to_string();
    let credential = credentials.path().join("master-key").display().to_string();
    for word in ["not the one", "3 secrets", &id.to_string(), &credential, "further line", &shown] {
        assert!(error.contains(word), "no {word}: {error}");
    }
    assert!(!error.contains("1717") && !error.contains(&right[..16]), "{error}");
    // What the error says to do helps.
    let both = format!("{}\n{right}", "17".repeat(32));
    std::fs::write(credentials.path().join("master-key"), both).expect("written");
    open(Some(credentials.path())).expect("all that is needed is there");
}

fn chmod(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o600)).expect("chmod");
}
