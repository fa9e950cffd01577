//! The runner's end of the socket: frames in, frames out, waiting with a deadline.
//!
//! Writes block: the pool reads whenever a run is on. Reads block only in [`Host::receive`].

use std::cell::RefCell;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use serde::Serialize;

use crate::functions::protocol::{self, ToRunner};

/// The parent has closed the socket or sent nonsense; the process has no purpose any more.
#[derive(Debug)]
pub(super) struct Gone;

pub(super) struct Host {
    stdin: std::io::Stdin,
    incoming: RefCell<Vec<u8>>,
    outgoing: RefCell<Vec<u8>>,
}

impl Host {
    pub(super) fn new() -> Host {
        Host {
            stdin: std::io::stdin(),
            incoming: RefCell::new(Vec::with_capacity(64 * 1024)),
            outgoing: RefCell::new(Vec::with_capacity(64 * 1024)),
        }
    }

    fn socket(&self) -> BorrowedFd<'_> {
        self.stdin.as_fd()
    }

    /// Adds a frame to what goes out with the next [`Host::flush`].
    pub(super) fn queue<H: Serialize>(&self, header: &H, body: &[u8]) {
        protocol::write_frame(&mut self.outgoing.borrow_mut(), header, body);
    }

    /// Sends what is queued, in one write if the socket takes it.
    pub(super) fn flush(&self) -> Result<(), Gone> {
        let mut outgoing = self.outgoing.borrow_mut();
        let mut rest = outgoing.as_slice();
        while !rest.is_empty() {
            match rustix::io::write(self.socket(), rest) {
                Ok(written) => rest = &rest[written..],
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => return Err(Gone),
            }
        }
        outgoing.clear();
        // One large result must not stay for the life of the process.
        outgoing.shrink_to(1024 * 1024);
        Ok(())
    }

    /// Waits for the next frame, for ever.
    pub(super) fn receive(&self) -> Result<(ToRunner, Vec<u8>), Gone> {
        loop {
            if let Some(frame) = self.take_frame()? {
                return Ok(frame);
            }
            self.read()?;
        }
    }

    /// Waits for the next frame until `timeout` is over.
    pub(super) fn receive_within(
        &self,
        timeout: Duration,
    ) -> Result<Option<(ToRunner, Vec<u8>)>, Gone> {
        if let Some(frame) = self.take_frame()? {
            return Ok(Some(frame));
        }
        let timeout = Timespec {
            tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: timeout.subsec_nanos().into(),
        };
        let mut sockets = [PollFd::from_borrowed_fd(self.socket(), PollFlags::IN)];
        match rustix::event::poll(&mut sockets, Some(&timeout)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => Ok(None),
            Ok(_) => {
                self.read()?;
                self.take_frame()
            }
            Err(_) => Err(Gone),
        }
    }

    fn take_frame(&self) -> Result<Option<(ToRunner, Vec<u8>)>, Gone> {
        let mut incoming = self.incoming.borrow_mut();
        let Some(frame) = protocol::read_frame(&incoming).map_err(|_| Gone)? else {
            return Ok(None);
        };
        let body = incoming[frame.body].to_vec();
        let header = frame.header;
        incoming.drain(..frame.length);
        incoming.shrink_to(1024 * 1024);
        Ok(Some((header, body)))
    }

    fn read(&self) -> Result<(), Gone> {
        const CHUNK: usize = 64 * 1024;
        let mut incoming = self.incoming.borrow_mut();
        let known = protocol::frame_length(&incoming).map_err(|_| Gone)?;
        let wanted = known.map_or(CHUNK, |it| it.saturating_sub(incoming.len())).max(CHUNK);
        incoming.reserve(wanted);
        match rustix::io::read(self.socket(), rustix::buffer::spare_capacity(&mut *incoming)) {
            Ok(0) => Err(Gone),
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(_) => Err(Gone),
        }
    }
}
