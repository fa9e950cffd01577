//! A wall clock for a daemon that a test can set, forwards and backwards, while it runs and while it
//! does not. The rest of the machine, the test included, keeps its own.

use std::os::unix::fs::FileExt;
use std::sync::Mutex;
use std::time::Duration;

use jiff::Timestamp;

use crate::daemon::{Options, built};

/// The clock. It has to live as long as the daemon.
#[derive(Debug)]
pub struct TestClock {
    file: tempfile::NamedTempFile,
    ahead_ms: Mutex<i64>,
}

impl TestClock {
    /// One that shows the machine's time.
    ///
    /// # Panics
    ///
    /// When there is no room for a file of eight bytes.
    #[must_use]
    pub fn new() -> TestClock {
        let file = tempfile::Builder::new().prefix("mortise-test-clock-").tempfile().expect("/tmp");
        let clock = TestClock { file, ahead_ms: Mutex::new(0) };
        clock.step(0);
        clock
    }

    /// For a daemon that goes by it.
    #[must_use]
    pub fn options(&self) -> Options {
        let library = built("libmortise_test_clock.so");
        let wrapper = vec![
            "env".to_owned(),
            format!("LD_PRELOAD={}", library.display()),
            format!("MORTISE_TEST_CLOCK={}", self.file.path().display()),
        ];
        Options { wrapper, ..Options::default() }
    }

    /// Sets it so much on, or back.
    ///
    /// # Panics
    ///
    /// When the file cannot be written.
    pub fn step(&self, by_ms: i64) {
        let mut ahead_ms = self.ahead_ms.lock().expect("no test panics while it holds it");
        *ahead_ms += by_ms;
        self.file.as_file().write_all_at(&ahead_ms.to_ne_bytes(), 0).expect("it is eight bytes");
    }

    /// The same for a length of time.
    pub fn forward(&self, by: Duration) {
        self.step(i64::try_from(by.as_millis()).expect("no test takes so long"));
    }

    /// What it shows.
    ///
    /// # Panics
    ///
    /// When it was set to a time that calendars do not reach.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        let ahead_ms = *self.ahead_ms.lock().expect("no test panics while it holds it");
        let ahead = jiff::SignedDuration::from_millis(ahead_ms);
        Timestamp::now().checked_add(ahead).expect("a date")
    }

    /// Sets it to a time.
    pub fn set(&self, to: Timestamp) {
        let by = to.duration_since(self.now());
        self.step(i64::try_from(by.as_millis()).expect("no test goes so far"));
    }
}

impl Default for TestClock {
    fn default() -> TestClock {
        TestClock::new()
    }
}
