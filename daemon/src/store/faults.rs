//! Backends that fail on purpose, for tests: a disk that is full or broken for a while, and the
//! image that a power cut leaves behind.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::StorageBackend;

/// How the disk behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weather {
    /// As it should.
    Fine,
    /// Writes and syncs fail with this.
    Failing(io::ErrorKind),
    /// Only syncs fail.
    SyncFailing,
}

#[derive(Debug)]
struct State {
    /// What a process sees.
    live: Vec<u8>,
    /// What survives a power cut.
    durable: Vec<u8>,
    weather: Weather,
}

/// A disk in memory. Clones are handles to the same disk, which outlives databases on it.
#[derive(Clone, Debug)]
pub(crate) struct FaultyDisk(Arc<Mutex<State>>);

impl FaultyDisk {
    pub(crate) fn new() -> FaultyDisk {
        let state = State { live: Vec::new(), durable: Vec::new(), weather: Weather::Fine };
        FaultyDisk(Arc::new(Mutex::new(state)))
    }

    pub(crate) fn set_weather(&self, weather: Weather) {
        self.state().weather = weather;
    }

    /// A new disk with what a power cut at this moment would leave.
    pub(crate) fn after_power_cut(&self) -> FaultyDisk {
        let durable = self.state().durable.clone();
        let state = State { live: durable.clone(), durable, weather: Weather::Fine };
        FaultyDisk(Arc::new(Mutex::new(state)))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn place(offset: u64) -> usize {
    usize::try_from(offset).expect("tests are small")
}

impl StorageBackend for FaultyDisk {
    fn len(&self) -> Result<u64, io::Error> {
        Ok(self.state().live.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        let state = self.state();
        let start = place(offset);
        let found = state.live.get(start..start + out.len());
        out.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        let mut state = self.state();
        if let Weather::Failing(kind) = state.weather {
            return Err(kind.into());
        }
        state.live.resize(place(len), 0);
        Ok(())
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        let mut state = self.state();
        match state.weather {
            Weather::Fine => state.durable = state.live.clone(),
            Weather::Failing(kind) => return Err(kind.into()),
            Weather::SyncFailing => return Err(io::Error::other("the disk does not answer")),
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        let mut state = self.state();
        if let Weather::Failing(kind) = state.weather {
            return Err(kind.into());
        }
        let start = place(offset);
        let room = state.live.get_mut(start..start + data.len());
        room.ok_or(io::ErrorKind::UnexpectedEof)?.copy_from_slice(data);
        Ok(())
    }
}
