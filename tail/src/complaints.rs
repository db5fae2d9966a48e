//! Standard error: what went wrong, each thing once.

use std::collections::BTreeSet;
use std::io::Write;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::checkpoint::hash;

/// So many different complaints are made within a while; a tenant can make as many as there are files.
const MOST: usize = 200;
const WHILE: Duration = Duration::from_secs(600);
/// A pipe that is ready takes so many bytes without blocking: pipe(7)'s `PIPE_BUF`.
const LINE: usize = 4096;

/// What was said already.
#[derive(Debug, Default)]
pub struct Complaints {
    said: BTreeSet<u64>,
    since: Option<Instant>,
}

impl Complaints {
    /// Say it, unless it was said already, or too much was.
    pub fn once(&mut self, text: &str) {
        self.once_of(text, text);
    }

    /// Say it, unless something of this kind was said already, or too much was.
    pub fn once_of(&mut self, kind: &str, text: &str) {
        let key = hash(kind.as_bytes());
        if self.said.contains(&key) {
            return;
        }
        if self.said.len() > MOST {
            if self.since.is_some_and(|since| since.elapsed() < WHILE) {
                return;
            }
            self.said.clear();
        }
        if self.said.is_empty() {
            self.since = Some(Instant::now());
        }
        self.said.insert(key);
        if self.said.len() > MOST {
            say("too much goes wrong: more is not said for ten minutes");
        } else {
            say(text);
        }
    }
}

/// Say something on standard error, as one line; where it can't be written at once nobody is told.
pub fn say(text: &str) {
    let mut line = format!("pillion-tail: {}", text.replace(['\n', '\r'], "?"));
    while line.len() >= LINE {
        line.pop();
    }
    line.push('\n');
    // whoever reads it may be as slow as who reads the output; and of two threads the other may have filled it
    let mut stderr = std::io::stderr().lock();
    let ready = poll(&mut [PollFd::new(&stderr, PollFlags::OUT)], Some(&Timespec::default()));
    if ready == Ok(1) {
        let _ = stderr.write_all(line.as_bytes());
    }
}

/// Return a path as text.
#[must_use]
pub fn shown(path: &[u8]) -> String {
    String::from_utf8_lossy(path).chars().map(|one| if one.is_control() { '?' } else { one }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_ends() {
        let mut complaints = Complaints::default();
        for number in 0..10 * MOST {
            complaints.once(&format!("number {number}"));
        }
        assert_eq!(complaints.said.len(), MOST + 1);
    }
}
