//! Being told to end: Ctrl-C and SIGTERM end a command between two steps, and a second one ends it at
//! once.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use super::Failure;

/// Hears signals from when it is made.
#[derive(Clone)]
pub(super) struct Stop {
    told: Arc<(Mutex<bool>, Condvar)>,
}

impl Stop {
    pub(super) fn listen() -> Result<Stop, Failure> {
        let failed =
            |error: std::io::Error| Failure::failed(format!("cannot hear signals: {error}"));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(failed)?;
        let (mut interrupt, mut terminate) = {
            let _entered = runtime.enter();
            let listen = |kind| signal(kind).map_err(failed);
            (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?)
        };
        let told: Arc<(Mutex<bool>, Condvar)> = Arc::default();
        let stop = Stop { told: told.clone() };
        let hear = move || {
            loop {
                let kind = runtime.block_on(async {
                    tokio::select! {
                        _ = interrupt.recv() => SignalKind::interrupt(),
                        _ = terminate.recv() => SignalKind::terminate(),
                    }
                });
                let mut is_told = told.0.lock().unwrap_or_else(PoisonError::into_inner);
                if *is_told {
                    // As shells report a program that a signal ended.
                    std::process::exit(128 + kind.as_raw_value());
                }
                *is_told = true;
                told.1.notify_all();
            }
        };
        std::thread::Builder::new().name("signals".to_owned()).spawn(hear).map_err(failed)?;
        Ok(stop)
    }

    /// Ends the command from within.
    pub(super) fn tell(&self) {
        *self.told.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.told.1.notify_all();
    }

    /// Waits until it is told to end.
    pub(super) fn wait_for_ever(&self) {
        let is_told = self.told.0.lock().unwrap_or_else(PoisonError::into_inner);
        // What comes of it is that it was told.
        drop(self.told.1.wait_while(is_told, |is_told| !*is_told));
    }

    /// Waits for so long, or until it is told to end; whether it was.
    pub(super) fn wait(&self, time: Duration) -> bool {
        let is_told = self.told.0.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.told.1.wait_timeout_while(is_told, time, |is_told| !*is_told);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}
