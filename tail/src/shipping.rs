//! Sending records to a store. The files are the queue: one batch is collected, sent and acknowledged, then the checkpoint
//! is written, and only then the next one is collected. So a crash repeats a batch at most, and loses nothing.
//!
//! | module | idea |
//! |---|---|
//! | [`time`] | times as text, and back |
//! | [`encoding`] | a record as `_bulk` or OTLP has it |
//! | [`batch`] | records, compressed as they come |
//! | [`destination`] | the settings |
//! | [`credentials`] | who we are, from variables or files |
//! | [`client`] | a request, and what its answer means |
//! | [`haste`] | the pod's end |
//! | [`sender`] | a thread that sends a batch until each record of it is accepted or rejected |

pub mod batch;
pub mod client;
pub mod credentials;
pub mod destination;
pub mod encoding;
pub mod haste;
pub mod sender;
pub mod time;

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};

use crate::output::{Output, Source};
use crate::records::Records;
use batch::{Batch, Body};
use client::{Client, Target};
use encoding::{Encoding, Record};
use haste::{Haste, LONGEST_ON_ITS_WAY};
use sender::Sender;

/// A batch that is not full is sent when its first record is so old.
const LINGER: Duration = Duration::from_secs(1);
/// A clock that went back by so many nanoseconds was set right: its time counts.
const SET_BACK: i64 = 1_000_000_000;
/// The sender's stack: a TLS handshake needs a quarter of it.
const STACK: usize = 512 << 10;

/// The output that sends to a store.
#[derive(Debug)]
pub struct Shipper {
    encoding: Arc<Encoding>,
    records: Option<Records>,
    batch: Batch,
    since: Instant,
    /// A batch is on its way: until it is acknowledged nothing is taken.
    flying: bool,
    batches: SyncSender<Body>,
    rejected: Receiver<u64>,
    bell: OwnedFd,
    haste: Arc<Haste>,
    taken: u64,
    last: i64,
    encoded: Vec<u8>,
}

impl Shipper {
    /// Make ready to send to a store, in a thread.
    ///
    /// # Errors
    /// There can't be a pipe, or a thread.
    pub fn new(target: Target, encoding: Encoding, records: Option<Records>) -> std::io::Result<Self> {
        let encoding = Arc::new(encoding);
        let (bell, ring) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        let (batches, jobs) = sync_channel(1);
        let (answers, rejected) = sync_channel(1);
        let haste = Arc::new(Haste::default());
        let client = Client::new(target, encoding.is_bulk(), Arc::clone(&haste));
        let mut sender = Sender::new(client, Arc::clone(&encoding), Arc::clone(&haste));
        std::thread::Builder::new().name("sender".to_owned()).stack_size(STACK).spawn(move || {
            for body in jobs {
                let count = sender.deliver(body);
                // whoever has the answer then finds the ring, too, and is not woken for it again and again
                let _ = rustix::io::write(&ring, b"!");
                if answers.send(count).is_err() {
                    return;
                }
            }
        })?;
        let batch = Batch::new(&encoding);
        let (since, last) = (Instant::now(), 0);
        let encoded = Vec::new();
        Ok(Self {
            encoding,
            records,
            batch,
            since,
            flying: false,
            batches,
            rejected,
            bell,
            haste,
            taken: 0,
            last,
            encoded,
        })
    }

    fn send(&mut self) {
        let batch = std::mem::replace(&mut self.batch, Batch::new(&self.encoding));
        self.flying = self.batches.send(batch.finish(&self.encoding)).is_ok();
    }

    /// Return the time at which a record is read.
    fn now(&mut self) -> i64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as i64);
        self.last = next_time(self.last, now);
        self.last
    }
}

impl Output for Shipper {
    fn offer(&mut self, source: &Source<'_>, piece: &[u8], _last: bool) -> Result<usize, Errno> {
        let mut done = 0;
        while done < piece.len() && !self.flying {
            let rest = &piece[done..];
            let length = match &self.records {
                Some(records) => records.first(rest),
                None => memchr::memchr(b'\n', rest).map_or(rest.len(), |newline| newline + 1),
            };
            let text = rest[..length].strip_suffix(b"\n").unwrap_or(&rest[..length]);
            let mut location = source.location;
            location.at += done as u64;
            let record = Record { text, path: source.path, location, read_at: self.now() };
            self.encoded.clear();
            self.encoding.write(&record, &mut self.encoded);
            if self.batch.is_empty() {
                self.since = Instant::now();
            }
            self.batch.add(&self.encoding, &self.encoded);
            done += length;
            if self.batch.is_full() {
                self.send();
            }
        }
        self.taken += done as u64;
        Ok(done)
    }

    fn flush(&mut self) -> Result<bool, Errno> {
        Ok(true)
    }

    fn abandon(&mut self, _file: u64) {}

    fn finish(&mut self, _file: u64) {}

    fn is_durable(&self) -> bool {
        !self.flying && self.batch.is_empty()
    }

    fn taken(&self) -> u64 {
        self.taken
    }

    fn wakes(&self) -> PollFd<'_> {
        PollFd::new(&self.bell, PollFlags::IN)
    }

    fn rest(&mut self) -> bool {
        let haste = self.haste.is_set();
        if !self.flying && !self.batch.is_empty() && (haste || self.since.elapsed() >= LINGER) {
            self.send();
        }
        !haste || self.is_durable()
    }

    fn hurry(&mut self) {
        self.haste.set();
        let haste = Arc::clone(&self.haste);
        // without this thread, such a request would have the time that any has
        let _ = std::thread::Builder::new().stack_size(STACK).spawn(move || {
            std::thread::sleep(LONGEST_ON_ITS_WAY);
            haste.cut_off();
        });
    }

    fn acknowledged(&mut self) -> Option<u64> {
        let rejected = self.rejected.try_recv().ok()?;
        let _ = rustix::io::read(&self.bell, &mut [0; 16]);
        self.flying = false;
        Some(rejected)
    }
}

/// Return the time of a record: later than that of the last one, so that records that are sorted by it keep their order.
fn next_time(last: i64, now: i64) -> i64 {
    if last - now >= SET_BACK { now } else { now.max(last + 1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_keep_the_order_of_records() {
        let second = SET_BACK;
        for (last, now, next) in [(0, 5, 5), (5, 5, 6), (second, 1, second + 1), (7 * second, second, second)] {
            assert_eq!(next_time(last, now), next, "{last} {now}");
        }
    }
}
