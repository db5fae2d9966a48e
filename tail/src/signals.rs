//! SIGTERM and SIGINT, as bytes in a pipe: whoever waits for output or time waits for them, too.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::pipe::{PipeFlags, pipe_with};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};

/// The reading end.
#[derive(Debug)]
pub struct Signals {
    pipe: OwnedFd,
}

impl Signals {
    /// Catch both signals from now on, and ignore others.
    ///
    /// # Errors
    /// What pipe(2) or sigaction(2) returns.
    pub fn catch() -> std::io::Result<Self> {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        signal_hook::low_level::pipe::register(SIGINT, writer.try_clone()?)?;
        signal_hook::low_level::pipe::register(SIGTERM, writer)?;
        // what rotations send to applications may reach us, too, in a pod with one process namespace
        for signal in [SIGHUP, SIGUSR1, SIGUSR2] {
            signal_hook::flag::register(signal, Arc::default())?;
        }
        Ok(Self { pipe: reader })
    }

    /// Say whether one came since this was asked last.
    #[must_use]
    pub fn came(&self) -> bool {
        let mut bytes = [0; 16];
        rustix::io::read(&self.pipe, &mut bytes).is_ok_and(|count| count > 0)
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}
