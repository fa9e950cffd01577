//! What the tests of the whole daemon share: the daemon as a process, a client that does exactly
//! what it is told, and small snap-ins.

pub mod client;
pub mod clock;
pub mod daemon;
pub mod files;
pub mod fixture;
pub mod forge;
pub mod harness;
pub mod http;
pub mod load;
pub mod mail_server;
pub mod needs;
pub mod oauth;
pub mod receiver;
pub mod registry;
pub mod snap_in;
pub mod vendor;

use std::time::Duration;

/// Waits until `look` gives something, and fails with `what` when it takes longer than `patience`.
///
/// # Panics
///
/// When the time is over: tests wait for things that have to happen.
pub fn eventually<T>(what: &str, patience: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + patience;
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(tokio::time::Instant::now() < deadline, "after {patience:?} still not: {what}");
        std::thread::sleep(Duration::from_millis(15));
    }
}

/// A reproducible sequence of numbers (SplitMix64), so that a failure can be repeated by its seed.
#[derive(Clone, Debug)]
pub struct Numbers(pub u64);

impl Numbers {
    /// The next one.
    pub fn next_number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// One from `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.next_number() % (high - low + 1)
    }
}
