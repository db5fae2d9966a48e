//! The loop: look at files, print what came, write down how far, wait.
//!
//! One thread does everything, and waits in one place: for time, for the output to take more, and for signals. While the
//! output is slow, files are looked at all the same, so that those that come and go meanwhile are held.

mod copies;
mod descriptors;
mod looking;
mod placing;
mod printing;
mod saving;

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Resource, getrlimit};

use crate::checkpoint::{Journal, Position, Record};
use crate::complaints::{Complaints, say};
use crate::discovery::Discovery;
use crate::file::{Buffer, Piece};
use crate::options::Options;
use crate::output::{Location, Output};
use crate::signals::Signals;
use crate::stat::{Id, Stat};
use crate::table::Table;
use crate::volume::Volumes;

/// Descriptors that are not for log files: the standard ones, pipes, directories, the checkpoint.
const OWN_DESCRIPTORS: u64 = 12;
/// After so many printed bytes the checkpoint is written, if no look did it before: so much may come again.
const CHECKPOINT_BYTES: u64 = 4 << 20;
/// The interval grows with the number of files and directories, so that looking takes some 2 % of a core at most.
const MICROSECONDS_EACH: u64 = 50;
/// The same for names in directories that were listed, which may be those of any files: some 10 %.
const MICROSECONDS_EACH_NAME: u64 = 10;
/// At the end: a native sidecar looks once more after so long; an ordinary one waits for so long without growth.
const ONCE_MORE: Duration = Duration::from_millis(200);
const CALM: Duration = Duration::from_secs(1);

/// A file that is not printed though its name would allow it.
#[derive(Debug)]
struct Neighbour {
    born: i64,
    /// It is a copy of one that was printed.
    copy: bool,
    /// The directory and listing in which it was seen.
    seen_in: (u32, u64),
    /// A listing did not have it: renamed meanwhile, or gone.
    missed: bool,
    path: Vec<u8>,
    /// How long it was when it was taken for a copy: if it grows it may be none. None if a truncation proved it.
    size: Option<u64>,
    /// When it was last written, as far as that was dealt with: a rotation may write each copy into the same file.
    modified: i64,
    /// The look at which it came up, if the file that it may come from was in place then.
    candidate: Option<u64>,
}

/// Where a new file belongs.
#[derive(Debug)]
enum Place {
    /// It is the file of its own name.
    Own,
    /// It was rotated from this path.
    RotatedFrom(Vec<u8>),
    /// It is, or may become, a copy of a file that is in place.
    CopyOf,
    /// It is none of ours.
    Foreign,
    /// It is empty: nobody can tell yet.
    Undecided,
}

/// What is on its way to the output.
#[derive(Debug)]
struct Batch {
    stream: u32,
    serial: u64,
    location: Location,
    what: Text,
    done: usize,
}

#[derive(Debug)]
enum Text {
    Piece(Piece),
    /// The line without an end of a file that was written anew.
    Tail(Vec<u8>),
}

/// What came of an attempt to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pumped {
    Printed,
    Nothing,
    Busy,
    Broken,
}

/// How near the end is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Running,
    /// Native: print what was there at the signal.
    Draining,
    /// Native: look once more then.
    OnceMore(Instant),
    /// Native: print what that look showed.
    Last,
    /// Ordinary: end when nothing has grown since then for a second.
    Calm(Instant),
    /// Print lines that have no end.
    Flushing,
}

impl Phase {
    /// Return whether a record that has no end yet may still go on.
    fn may_grow(self) -> bool {
        matches!(self, Self::Running | Self::Calm(_))
    }
}

/// The program at work.
pub struct Follower {
    options: Options,
    volumes: Volumes,
    discovery: Discovery,
    table: Table,
    neighbours: BTreeMap<Id, Neighbour>,
    /// What the checkpoint says of files that were not found yet.
    remembered: BTreeMap<Id, Position>,
    journal: Journal,
    /// Records besides those of dirty files.
    records: Vec<Record>,
    dirty: bool,
    dropped: u64,
    rejected: u64,
    saved_at: u64,
    output: Box<dyn Output>,
    buffer: Buffer,
    batch: Option<Batch>,
    ready: VecDeque<u32>,
    /// The stream whose line goes on.
    sticky: Option<u32>,
    complaints: Complaints,
    /// It is known what was there before us.
    settled: bool,
    /// A sidecar of this pod ran before us.
    resumed: bool,
    looks: u64,
    begun: Instant,
    /// When all directories are listed again.
    list_all_at: Instant,
    any_file: bool,
    noticed: bool,
    open: usize,
    limit: usize,
    /// The limit that we began with.
    most_open: usize,
    /// Where the search for idle files goes on, and at which look it found none.
    hand: u32,
    none_idle: u64,
    phase: Phase,
    /// When the state volume was made; 0 if unknown.
    state_born: i64,
}

impl Follower {
    /// Make ready: read the checkpoint.
    #[must_use]
    pub fn new(options: Options, output: Box<dyn Output>) -> Self {
        let limit = getrlimit(Resource::Nofile).current.unwrap_or(1 << 20).saturating_sub(OWN_DESCRIPTORS).max(1);
        let now = Instant::now();
        let state_born = Stat::of_path(&options.state).map_or(0, |stat| stat.born);
        let mut follower = Self {
            volumes: Volumes::of(&options.patterns),
            discovery: Discovery::new(options.patterns.clone()),
            table: Table::default(),
            neighbours: BTreeMap::new(),
            remembered: BTreeMap::new(),
            journal: Journal::new(&options.state),
            records: Vec::new(),
            dirty: true,
            dropped: 0,
            rejected: 0,
            saved_at: 0,
            output,
            buffer: Buffer::default(),
            batch: None,
            ready: VecDeque::new(),
            sticky: None,
            complaints: Complaints::default(),
            settled: false,
            resumed: false,
            looks: 0,
            begun: now,
            list_all_at: now,
            any_file: false,
            noticed: false,
            open: 0,
            limit: limit as usize,
            most_open: limit as usize,
            hand: 0,
            none_idle: u64::MAX,
            phase: Phase::Running,
            state_born,
            options,
        };
        for problem in std::mem::take(&mut follower.options.problems) {
            say(&problem);
        }
        follower.resume();
        follower
    }

    /// Print until SIGTERM.
    pub fn run(&mut self, signals: &Signals) {
        let mut next_look = Instant::now();
        // what the last wait says of signals; while there is much to print nobody waits
        let mut signalled = None;
        loop {
            let now = Instant::now();
            let due = now >= next_look;
            if signalled.take().unwrap_or(due) && signals.came() && self.phase == Phase::Running {
                self.begin_end();
                next_look = now + self.interval();
            } else if due {
                self.look();
                next_look = now + self.interval();
            }
            if let Some(rejected) = self.output.acknowledged() {
                self.settle(rejected);
            }
            let pumped = self.pump();
            match pumped {
                Pumped::Printed => {
                    if self.output.taken() - self.saved_at >= CHECKPOINT_BYTES {
                        self.save();
                    }
                    continue;
                }
                Pumped::Busy => self.save(),
                Pumped::Nothing | Pumped::Broken => {
                    self.save();
                    if self.phase != Phase::Running && self.advance() {
                        if self.phase == Phase::Flushing && self.flushed(pumped) {
                            return;
                        }
                        continue;
                    }
                }
            }
            let until = match self.phase {
                Phase::OnceMore(then) if pumped != Pumped::Busy => next_look.min(then),
                _ => next_look,
            };
            signalled = Some(self.wait(signals, until, pumped == Pumped::Busy));
        }
    }

    /// Say whether nothing is left to print at the end.
    fn flushed(&mut self, pumped: Pumped) -> bool {
        if pumped == Pumped::Broken {
            return true;
        }
        let bound = self.table.bound();
        for number in 0..bound {
            self.queue(number);
        }
        match self.pump() {
            Pumped::Nothing | Pumped::Broken => {
                self.save();
                true
            }
            _ => false,
        }
    }

    /// The signal came: all that is there now is printed.
    fn begin_end(&mut self) {
        self.output.hurry();
        self.list_all_at = Instant::now();
        self.look();
        if self.options.native {
            for file in self.table.files_mut() {
                file.target = file.growth.size;
            }
            self.phase = Phase::Draining;
        } else {
            self.phase = Phase::Calm(Instant::now());
        }
    }

    /// Everything is printed so far: go on to the next phase of the end, if it is time. Say whether it was.
    fn advance(&mut self) -> bool {
        let now = Instant::now();
        match self.phase {
            Phase::Running => false,
            Phase::Draining => {
                self.phase = Phase::OnceMore(now + ONCE_MORE);
                false
            }
            Phase::OnceMore(then) => {
                if now < then {
                    return false;
                }
                self.phase = Phase::Last;
                self.list_all_at = now;
                self.look();
                for file in self.table.files_mut() {
                    file.target = file.growth.size;
                    file.unread |= file.growth.size > file.at;
                }
                self.queue_all();
                true
            }
            Phase::Calm(since) => {
                if now < since + CALM {
                    return false;
                }
                self.phase = Phase::Flushing;
                true
            }
            Phase::Last => {
                self.phase = Phase::Flushing;
                true
            }
            Phase::Flushing => true,
        }
    }

    /// Return the pause between two looks.
    fn interval(&self) -> Duration {
        let many = (self.table.len() + self.discovery.len() + self.discovery.links()) as u64;
        let listing = self.discovery.names_read() * MICROSECONDS_EACH_NAME;
        let pause = self.options.poll.max(Duration::from_micros(listing.max(many * MICROSECONDS_EACH)));
        if self.phase == Phase::Running { pause } else { pause.min(ONCE_MORE) }
    }

    /// Wait; say whether a signal came.
    fn wait(&self, signals: &Signals, until: Instant, for_output: bool) -> bool {
        let pause = until.saturating_duration_since(Instant::now());
        let timeout = Timespec { tv_sec: pause.as_secs().min(3600) as i64, tv_nsec: pause.subsec_nanos().into() };
        let mut polled = [PollFd::new(signals, PollFlags::IN), self.output.wakes()];
        let count = if for_output { 2 } else { 1 };
        // an error, as EINTR, is a pause that was short
        let woken = poll(&mut polled[..count], Some(&timeout)) != Ok(0);
        woken && !(for_output && polled[0].revents().is_empty())
    }

    fn milliseconds(&self) -> u64 {
        self.begun.elapsed().as_millis() as u64
    }
}
