//! The loop: look at files, print what came, write down how far, wait.
//!
//! One thread does everything, and waits in one place: for time, for the output to take more, and for signals. While the
//! output is slow, files are looked at all the same, so that those that come and go meanwhile are held.

use std::collections::{BTreeMap, VecDeque};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Resource, getegid, geteuid, getrlimit};

use crate::checkpoint::{Journal, Known, Position, Record, State, Unusable};
use crate::complaints::{Complaints, say, shown};
use crate::discovery::{Discovery, Found, Trouble};
use crate::file::{Buffer, Followed, Next, Piece, begin_alike, end_of_lines};
use crate::options::{Options, Start};
use crate::output::{Output, Sink};
use crate::rotation::{number, origins};
use crate::signals::Signals;
use crate::stat::{Growth, Id, Stat};
use crate::table::Table;
use crate::volume::{Refused, Volumes};

/// Descriptors that are not for log files: the standard ones, pipes, folders, the checkpoint.
const OWN_DESCRIPTORS: u64 = 12;
/// So many renamed files stay open: the application may go on in them.
const RENAMED_OPEN: usize = 100;
/// More files than this are not followed: each takes some 400 bytes of memory.
const MOST_FILES: usize = 100_000;
/// After so many printed bytes the checkpoint is written, if no look did it before: so much may come again.
const CHECKPOINT_BYTES: u64 = 4 << 20;
/// The interval grows with the number of files and folders, so that looking takes some 2 % of a core at most.
const MICROSECONDS_EACH: u64 = 50;
/// All folders are listed so often although none changed: some file systems don't keep the time of a change.
const LIST_ALL: Duration = Duration::from_secs(10);
const LIST_ALL_MICROSECONDS_EACH: u64 = 10_000;
/// At the end: a native sidecar looks once more after so long; an ordinary one waits for so long without growth.
const ONCE_MORE: Duration = Duration::from_millis(200);
const CALM: Duration = Duration::from_secs(1);
/// Who has to wait for a descriptor for so long is named.
const WAITED: Duration = Duration::from_secs(5);

/// A file that is not printed though its name would allow it.
#[derive(Debug)]
struct Neighbour {
    born: i64,
    /// It is a copy of one that was printed.
    copy: bool,
    /// The folder and listing in which it was seen.
    seen_in: (u32, u64),
    /// A listing did not have it: renamed meanwhile, or gone.
    missed: bool,
    path: Vec<u8>,
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

/// The program at work.
pub struct Follower<S> {
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
    saved_at: u64,
    output: Output<S>,
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
    /// When all folders are listed again.
    list_all_at: Instant,
    any_file: bool,
    noticed: bool,
    open: usize,
    limit: usize,
    /// Where the search for idle files goes on, and at which look it found none.
    hand: u32,
    none_idle: u64,
    phase: Phase,
    /// When the state volume was made; 0 if unknown.
    state_born: i64,
}

impl<S: Sink> Follower<S> {
    /// Make ready: read the checkpoint.
    pub fn new(options: Options, sink: S) -> Self {
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
            saved_at: 0,
            output: Output::new(sink, options.format),
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

    /// Take over what a sidecar before us wrote down.
    fn resume(&mut self) {
        let place = shown(&self.options.state);
        let content = match Journal::read(&self.options.state) {
            Ok(None) => return,
            Ok(Some(content)) => content,
            Err(error) => {
                return say(&format!("can't read the checkpoint in {place} ({error}): begins as in a new pod"));
            }
        };
        match State::parse(&content) {
            Ok(state) => {
                if state.torn > 1 {
                    say(&format!(
                        "{} lines of the checkpoint in {place} can't be read: some lines may come again",
                        state.torn
                    ));
                }
                self.remembered = state.files;
                self.dropped = state.dropped;
                let neighbour = |known: Known| Neighbour {
                    born: known.born,
                    copy: known.copy,
                    seen_in: (u32::MAX, 0),
                    missed: false,
                    path: Vec::new(),
                    modified: i64::MIN,
                    candidate: None,
                };
                self.neighbours = state.known.into_iter().map(|(id, known)| (id, neighbour(known))).collect();
                self.settled = true;
                self.resumed = true;
            }
            Err(Unusable::Garbage) => say(&format!("the checkpoint in {place} is damaged: begins as in a new pod")),
            Err(Unusable::Newer(version)) => {
                say(&format!(
                    "the checkpoint in {place} is of version {version}, newer than this program: begins as in a new pod"
                ));
            }
        }
    }

    /// Print until SIGTERM.
    pub fn run(&mut self, signals: &Signals) {
        let mut next_look = Instant::now();
        let mut signalled = false;
        loop {
            let now = Instant::now();
            let due = now >= next_look;
            // while there is much to print nobody waits
            if (signalled || due) && signals.came() && self.phase == Phase::Running {
                self.begin_end();
                next_look = now + self.interval();
            } else if due {
                self.look();
                next_look = now + self.interval();
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
            signalled = self.wait(signals, until, pumped == Pumped::Busy);
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
        let many = (self.table.len() + self.discovery.len()) as u64;
        let pause = self.options.poll.max(Duration::from_micros(many * MICROSECONDS_EACH));
        if self.phase == Phase::Running { pause } else { pause.min(ONCE_MORE) }
    }

    /// Wait; say whether a signal came.
    fn wait(&self, signals: &Signals, until: Instant, for_output: bool) -> bool {
        let pause = until.saturating_duration_since(Instant::now());
        let timeout = Timespec { tv_sec: pause.as_secs().min(3600) as i64, tv_nsec: pause.subsec_nanos().into() };
        let output = self.output.descriptor();
        let mut polled = [PollFd::new(signals, PollFlags::IN), PollFd::from_borrowed_fd(output, PollFlags::OUT)];
        let count = if for_output { 2 } else { 1 };
        // an error, as EINTR, is a pause that was short
        let woken = poll(&mut polled[..count], Some(&timeout)) != Ok(0);
        woken && !(for_output && polled[0].revents().is_empty())
    }

    fn milliseconds(&self) -> u64 {
        self.begun.elapsed().as_millis() as u64
    }

    // --- looking ----------------------------------------------------------------------------------------------------

    /// Look at all files and folders.
    fn look(&mut self) {
        self.looks += 1;
        let now = Instant::now();
        let all = now >= self.list_all_at;
        if all {
            let pause = Duration::from_micros(self.discovery.len() as u64 * LIST_ALL_MICROSECONDS_EACH);
            self.list_all_at = now + LIST_ALL.max(pause);
        }
        let (mut found, mut troubles) = (Vec::new(), Vec::new());
        let table = &mut self.table;
        let mut is_known = |id: Id, path: &[u8], folder: u32, generation: u64| match table.file_mut(id) {
            Some(file) if file.descriptor.is_some() && *file.path == *path => {
                file.wanted_in = (folder, generation);
                file.seen_in = (folder, generation);
                true
            }
            _ => false,
        };
        let listed = self.discovery.scan(all, &mut is_known, &mut found, &mut troubles);
        self.absorb(found);
        let complete = troubles.is_empty();
        for trouble in troubles {
            self.complain_of(&trouble);
        }
        if listed {
            self.forget_neighbours();
        }
        if complete && !self.remembered.is_empty() {
            let gone = std::mem::take(&mut self.remembered);
            self.records.extend(gone.into_keys().map(Record::Forget));
            self.dirty = true;
        }
        self.settled = true;
        if self.refresh() {
            if let Phase::Calm(_) = self.phase {
                self.phase = Phase::Calm(now);
            }
        }
        self.let_go();
        self.queue_all();
        self.notice();
    }

    /// Say what is wrong with a folder or a file.
    fn complain_of(&mut self, trouble: &Trouble) {
        let path = shown(&trouble.path);
        let text = if trouble.error == Errno::NOMEM {
            format!("too many folders for {path}")
        } else {
            self.cant_read(&trouble.path, trouble.error)
        };
        self.complaints.once(text);
    }

    #[allow(clippy::unused_self)]
    fn cant_read(&self, path: &[u8], error: Errno) -> String {
        let shown = shown(path);
        match Stat::of_path(path) {
            Ok(stat) if error == Errno::ACCESS || error == Errno::PERM => format!(
                "can't read {shown}: owner {}:{}, mode {:o}, we are {}:{}",
                stat.user,
                stat.group,
                stat.mode,
                geteuid().as_raw(),
                getegid().as_raw(),
            ),
            _ => format!("can't read {shown}: {}", std::io::Error::from(error)),
        }
    }

    /// Say that there is no file for long, and when the first came.
    fn notice(&mut self) {
        if self.any_file || (!self.noticed && self.begun.elapsed() < self.options.notice_after) {
            self.noticed |= self.any_file;
            return;
        }
        let first = self.table.streams().next().map(|(_, stream)| shown(&stream.origin));
        match first {
            Some(path) => {
                if self.noticed {
                    say(&format!("the first file came: {path}"));
                }
                self.any_file = true;
            }
            None if !self.noticed && !self.options.patterns.is_empty() => {
                self.noticed = true;
                let patterns: Vec<String> =
                    self.options.patterns.iter().map(|pattern| shown(&pattern.text())).collect();
                say(&format!("no file matches {}", patterns.join(", ")));
            }
            None => {}
        }
    }

    /// Take over what listings showed: files under other names, new ones, those that were rotated.
    fn absorb(&mut self, found: Vec<Found>) {
        let mut new = Vec::new();
        for one in found {
            let seen_in = (one.folder, one.generation);
            if let Some(file) = self.table.file_mut(one.stat.id) {
                if file.born == one.stat.born {
                    if *file.path != *one.path {
                        // of several names the one that an argument means counts
                        let has_better =
                            file.wanted_in == seen_in || self.discovery.is_current(file.wanted_in.0, file.wanted_in.1);
                        if one.wanted || !has_better {
                            file.path = one.path.as_slice().into();
                            file.dirty = true;
                        }
                    }
                    if one.wanted {
                        file.wanted_in = seen_in;
                    }
                    file.seen_in = seen_in;
                    continue;
                }
                // its inode is another file's now; that can only be one that we closed
                let serial = file.serial;
                let stream = self.table.by_id(one.stat.id).unwrap_or(u32::MAX);
                self.lose(stream, serial);
            }
            let looks = self.looks;
            if let Some(neighbour) = self.neighbours.get_mut(&one.stat.id) {
                let recent = neighbour.candidate.is_some_and(|look| look + 1 >= looks);
                let same = neighbour.born == one.stat.born;
                if same && !recent && (neighbour.copy || !one.wanted) {
                    (neighbour.seen_in, neighbour.missed) = (seen_in, false);
                    neighbour.path.clone_from(&one.path);
                    continue;
                }
                if !same || !recent {
                    self.neighbours.remove(&one.stat.id);
                }
            }
            new.push(one);
        }
        if new.is_empty() {
            return;
        }
        self.begin_remembered(&mut new);
        self.begin_new(new);
    }

    /// Go on in the files that the checkpoint has.
    fn begin_remembered(&mut self, new: &mut Vec<Found>) {
        if self.remembered.is_empty() {
            return;
        }
        let mut ours = Vec::new();
        for one in std::mem::take(new) {
            match self.remembered.get(&one.stat.id) {
                Some(position) if position.born == one.stat.born => {
                    if let Some(position) = self.remembered.remove(&one.stat.id) {
                        ours.push((one, position));
                    }
                }
                _ => new.push(one),
            }
        }
        // the one that has its own name is the newest
        ours.sort_by_key(|(one, position)| (one.path == position.origin, age(one)));
        for (one, position) in ours {
            if !self.begin(&one, &position.origin, position.at, position.context) {
                self.remembered.insert(one.stat.id, position);
            }
        }
    }

    /// Begin to read new files, those that were rotated first.
    fn begin_new(&mut self, new: Vec<Found>) {
        let mut placed: Vec<(Found, Place)> = new
            .into_iter()
            .map(|one| {
                let place = self.place(&one);
                (one, place)
            })
            .collect();
        placed.sort_by_key(|(one, place)| (!matches!(place, Place::RotatedFrom(_)), age(one)));
        for (one, place) in placed {
            if self.table.by_id(one.stat.id).is_some() {
                // it has two names, and this one was found before
                if one.wanted {
                    if let Some(file) = self.table.file_mut(one.stat.id) {
                        file.wanted_in = (one.folder, one.generation);
                    }
                }
                continue;
            }
            match place {
                Place::Own => {
                    let (at, context) = self.start_of(&one);
                    if self.begin(&one, &one.path, at, context) {
                        self.neighbours.remove(&one.stat.id);
                    }
                }
                Place::RotatedFrom(origin) => {
                    if self.begin(&one, &origin, 0, crate::checkpoint::hash(b"")) {
                        self.neighbours.remove(&one.stat.id);
                    }
                }
                Place::CopyOf => {
                    let before = self.neighbours.get(&one.stat.id).and_then(|neighbour| neighbour.candidate);
                    self.note_neighbour(&one, one.wanted, before.or(Some(self.looks)));
                }
                Place::Foreign => self.note_neighbour(&one, false, None),
                Place::Undecided => self.discovery.list_again(one.folder),
            }
        }
    }

    fn note_neighbour(&mut self, one: &Found, copy: bool, candidate: Option<u64>) {
        let (born, modified, seen_in) = (one.stat.born, one.stat.modified, (one.folder, one.generation));
        let path = one.path.clone();
        let neighbour = Neighbour { born, copy, seen_in, missed: false, path, modified, candidate };
        let known = self.neighbours.insert(one.stat.id, neighbour);
        if known.is_none_or(|before| before.born != born || before.copy != copy) {
            self.records.push(Record::Known(one.stat.id, Known { born, copy }));
            self.dirty = true;
        }
    }

    /// Decide where a new file belongs.
    ///
    /// | its name | the file it may come from | then |
    /// |---|---|---|
    /// | as of a rotation | was there, and is not in place any more | rotated |
    /// | as of a rotation | is in place | a copy; if an argument means it, only if it begins alike |
    /// | as only a rotation makes | was never seen | rotated, if it came up after our first look, or is not older than the pod |
    /// | an argument means it | otherwise | a file of its own |
    fn place(&self, one: &Found) -> Place {
        let (folder, name) = one.path.split_at(one.name);
        for origin in origins(name) {
            let path = [folder, &origin.name].concat();
            if let Some(stream) = self.table.by_origin(&path).and_then(|number| self.table.stream(number)) {
                let in_place = stream.files.iter().find(|file| *file.path == *path && self.is_wanted(file));
                match in_place {
                    None => return Place::RotatedFrom(path),
                    Some(_) if !one.wanted => return Place::CopyOf,
                    Some(_) if one.stat.size == 0 => return Place::Undecided,
                    Some(file) if self.is_copy(one, file) => return Place::CopyOf,
                    Some(_) => {}
                }
            } else if !one.wanted && origin.certain && self.discovery.means(one.folder, &origin.name) {
                // what was there at our first look may be older than the pod, which made the state volume first
                if self.settled || (self.state_born > 0 && one.stat.born > self.state_born) {
                    return Place::RotatedFrom(path);
                }
            }
        }
        if one.wanted { Place::Own } else { Place::Foreign }
    }

    fn is_wanted(&self, file: &Followed) -> bool {
        self.discovery.is_current(file.wanted_in.0, file.wanted_in.1)
    }

    /// Say whether a new file is a copy of one that we follow, made before that is truncated.
    fn is_copy(&self, one: &Found, file: &Followed) -> bool {
        let Some(ours) = &file.descriptor else { return false };
        let Ok((other, stat)) = self.volumes.open(&one.path) else { return false };
        if file.at > 0 && file.is_continued_by(&other, stat.size) {
            return true;
        }
        if file.shrunk || Growth::of(ours).is_ok_and(|now| now.size < file.growth.size) {
            // nothing of it is printed yet: a copy has all that we saw
            return file.at == 0 && stat.size >= file.growth.size && stat.modified >= file.growth.modified;
        }
        begin_alike(ours, &other)
    }

    /// Return where reading a file begins that nobody of this pod has read.
    fn start_of(&mut self, one: &Found) -> (u64, u64) {
        let none = (0, crate::checkpoint::hash(b""));
        let at_end = match self.options.start {
            Start::Beginning => false,
            Start::End => !self.settled && !self.resumed,
            Start::Auto => {
                let persistent = |folder: &Vec<u8>| is_below(&one.path, folder);
                let made = one.stat.born.max(one.stat.modified);
                self.state_born > 0 && made < self.state_born && self.options.persistent.iter().any(persistent)
            }
        };
        if !at_end || one.stat.size == 0 {
            return none;
        }
        match self.volumes.open(&one.path) {
            Ok((file, stat)) => end_of_lines(file.as_fd(), &mut self.buffer, stat.size).unwrap_or(none),
            Err(_) => none,
        }
    }

    /// Begin to follow a file; say whether that was possible.
    fn begin(&mut self, one: &Found, origin: &[u8], at: u64, context: u64) -> bool {
        if self.table.len() >= MOST_FILES {
            self.complaints.once(format!("too many files for {}: {MOST_FILES} are followed", shown(&one.path)));
            return false;
        }
        let serial = self.table.serial();
        let mut file = Followed::new(&one.stat, &one.path, serial, at, context);
        if self.open < self.limit {
            match self.volumes.open(&one.path) {
                Ok((descriptor, stat)) if stat.id == one.stat.id => {
                    file = Followed::new(&stat, &one.path, serial, at, context);
                    file.descriptor = Some(descriptor);
                    self.open += 1;
                }
                Err(Refused::NoDescriptor) => self.limit = self.open.max(1),
                Ok(_) => {
                    self.discovery.list_again(one.folder);
                    return false;
                }
                Err(why) => {
                    self.refuse(&one.path, one.folder, &why);
                    return false;
                }
            }
        }
        file.since = self.milliseconds();
        file.seen_in = (one.folder, one.generation);
        if one.wanted {
            file.wanted_in = file.seen_in;
        }
        if let Phase::Draining | Phase::OnceMore(_) = self.phase {
            file.target = 0;
        }
        if let Phase::Calm(_) = self.phase {
            self.phase = Phase::Calm(Instant::now());
        }
        self.dirty = true;
        self.table.add(origin, file, None);
        true
    }

    /// Say why a file is not read.
    fn refuse(&mut self, path: &[u8], folder: u32, why: &Refused) {
        match why {
            Refused::Outside => self.complaints.once(format!("{} leads out of the volume", shown(path))),
            Refused::Failed(error) => {
                let text = self.cant_read(path, *error);
                self.complaints.once(text);
                self.discovery.list_again(folder);
            }
            Refused::Gone | Refused::Irregular | Refused::NoDescriptor => self.discovery.list_again(folder),
        }
    }

    /// Forget neighbours that are gone: a listing may miss what is renamed meanwhile, so two have to.
    fn forget_neighbours(&mut self) {
        let (discovery, records) = (&mut self.discovery, &mut self.records);
        self.neighbours.retain(|id, neighbour| {
            let (folder, generation) = neighbour.seen_in;
            if folder == u32::MAX || discovery.is_current(folder, generation) {
                return true;
            }
            if std::mem::replace(&mut neighbour.missed, true) {
                records.push(Record::Forget(*id));
                return false;
            }
            discovery.list_again(folder);
            true
        });
        self.dirty |= !self.records.is_empty();
    }

    /// See how far each file has grown, newer ones first: so a line in a newer one is never printed before one that was
    /// written to the older one before. Say whether any has.
    fn refresh(&mut self) -> bool {
        let time = self.milliseconds();
        let mut grew = false;
        let mut lost = Vec::new();
        for number in 0..self.table.bound() {
            let Some(stream) = self.table.stream_mut(number) else { continue };
            for file in stream.files.iter_mut().rev() {
                if let Some(descriptor) = &file.descriptor {
                    if let Ok(growth) = Growth::of(descriptor) {
                        grew |= file.refresh(growth, time);
                    }
                } else if !self.discovery.is_current(file.seen_in.0, file.seen_in.1) {
                    // a listing may miss what is renamed meanwhile, so two have to
                    if file.missed {
                        lost.push((number, file.serial));
                    }
                    file.missed = true;
                    self.discovery.list_again(file.seen_in.0);
                } else {
                    file.missed = false;
                    match Stat::of_path(&file.path) {
                        Ok(stat) if stat.id == file.id && stat.born == file.born => {
                            grew |= file.refresh(Growth::from(&stat), time);
                        }
                        // renamed since the listing
                        _ => self.discovery.list_again(file.seen_in.0),
                    }
                }
            }
        }
        for (number, serial) in lost {
            self.lose(number, serial);
        }
        grew
    }

    /// A closed file is gone.
    fn lose(&mut self, stream: u32, serial: u64) {
        let Some(file) = self.remove(stream, serial) else { return };
        let behind = file.growth.size.saturating_sub(file.at);
        if behind > 0 {
            self.dropped += behind;
            self.records.push(Record::Dropped(self.dropped));
            let path = shown(&file.path);
            self.complaints
                .once(format!("too few descriptors: {path} was removed before its last {behind} bytes were read"));
        }
    }

    /// Stop following a file.
    fn remove(&mut self, stream: u32, serial: u64) -> Option<Followed> {
        let mut file = self.table.remove(stream, serial)?;
        let _ = file.take_tail(&mut self.buffer);
        self.open -= usize::from(file.descriptor.is_some());
        self.output.abandon(serial);
        self.records.push(Record::Forget(file.id));
        self.dirty = true;
        Some(file)
    }

    /// Close removed files that did not grow for long, renamed ones if there are many, and the oldest removed ones that
    /// are too large together.
    fn let_go(&mut self) {
        let now = self.milliseconds();
        let patience = self.options.patience.as_millis() as u64;
        let in_flight = self.batch.as_ref().map_or(0, |batch| batch.serial);
        let mut removed = Vec::new();
        for number in 0..self.table.bound() {
            let Some(stream) = self.table.stream_mut(number) else { continue };
            for file in &mut stream.files {
                if file.descriptor.is_none()
                    || file.is_copy
                    || self.discovery.is_current(file.wanted_in.0, file.wanted_in.1)
                {
                    continue;
                }
                let expired = now.saturating_sub(file.since) >= patience;
                if file.growth.links == 0 {
                    if file.serial != in_flight {
                        removed.push((
                            file.order,
                            number,
                            file.serial,
                            file.growth.size,
                            file.growth.size.saturating_sub(file.at),
                        ));
                    }
                    file.closing |= expired;
                } else if expired && self.open > RENAMED_OPEN && file.serial != in_flight {
                    if !self.discovery.is_current(file.seen_in.0, file.seen_in.1) {
                        file.closing = true;
                    } else if file.is_idle() {
                        file.descriptor = None;
                        self.open -= 1;
                    }
                }
                if let (true, false) = (file.closing, stream.queued) {
                    stream.queued = true;
                    self.ready.push_back(number);
                }
            }
        }
        removed.sort_unstable_by(|left, right| right.cmp(left));
        let mut sum: u64 = 0;
        for (_, stream, serial, size, behind) in removed {
            sum = sum.saturating_add(size);
            if sum <= self.options.held_bytes {
                continue;
            }
            let Some(file) = self.remove(stream, serial) else { continue };
            if behind > 0 {
                self.dropped += behind;
                self.records.push(Record::Dropped(self.dropped));
                self.complaints.once(format!("slow output: dropped {behind} bytes of removed {}", shown(&file.path)));
            }
        }
    }

    fn queue_all(&mut self) {
        let now = self.milliseconds();
        let after = self.options.unfinished_after.map(|after| after.as_millis() as u64);
        for number in 0..self.table.bound() {
            let Some(stream) = self.table.stream_mut(number) else { continue };
            let stale = |file: &Followed| {
                after.is_some_and(|after| file.is_behind() && now.saturating_sub(file.since) >= after)
            };
            if !stream.queued
                && stream
                    .files
                    .iter()
                    .any(|file| file.unread || file.shrunk || file.is_copy || file.closing || stale(file))
            {
                stream.queued = true;
                self.ready.push_back(number);
            }
        }
    }

    fn queue(&mut self, number: u32) {
        if let Some(stream) = self.table.stream_mut(number) {
            if !stream.queued {
                stream.queued = true;
                self.ready.push_back(number);
            }
        }
    }

    // --- printing ---------------------------------------------------------------------------------------------------

    /// Print what is next.
    fn pump(&mut self) -> Pumped {
        match self.output.flush() {
            Ok(true) => {}
            Ok(false) => return Pumped::Busy,
            Err(error) => return self.broken(error),
        }
        if self.batch.is_none() {
            self.batch = self.choose();
        }
        let Some(batch) = &mut self.batch else { return Pumped::Nothing };
        let Some(stream) = self.table.stream(batch.stream) else {
            self.batch = None;
            return Pumped::Printed;
        };
        let (bytes, last) = match &batch.what {
            Text::Piece(piece) => (self.buffer.piece(piece), piece.last),
            Text::Tail(text) => (text.as_slice(), false),
        };
        while batch.done < bytes.len() {
            match self.output.offer(batch.serial, &stream.origin, &bytes[batch.done..], last) {
                Ok(0) => return Pumped::Busy,
                Ok(count) => batch.done += count,
                Err(error) => return self.broken(error),
            }
        }
        let Some(Batch { stream, serial, what, .. }) = self.batch.take() else { return Pumped::Nothing };
        self.sticky = None;
        let now = self.milliseconds();
        if let (Text::Piece(piece), Some(found)) = (what, self.table.stream_mut(stream)) {
            if let Some(file) = found.files.iter_mut().find(|file| file.serial == serial) {
                file.printed(&piece, &mut self.buffer);
                file.since = if piece.last { file.since } else { now.max(file.since) };
                self.dirty = true;
                if piece.goes_on {
                    self.sticky = Some(stream);
                }
                if piece.last && self.options.unfinished_after.is_some() {
                    self.output.finish(serial);
                }
            }
        }
        Pumped::Printed
    }

    fn broken(&mut self, error: Errno) -> Pumped {
        self.complaints.once(format!("can't write to standard output: {}", std::io::Error::from(error)));
        Pumped::Broken
    }

    /// Choose what to print next: the streams take turns, but a line that goes on comes first.
    fn choose(&mut self) -> Option<Batch> {
        if let Some(number) = self.sticky.take() {
            if let Some(batch) = self.next_of(number) {
                return Some(batch);
            }
        }
        while let Some(&number) = self.ready.front() {
            if let Some(batch) = self.next_of(number) {
                self.ready.rotate_left(1);
                return Some(batch);
            }
            self.ready.pop_front();
            if let Some(stream) = self.table.stream_mut(number) {
                stream.queued = false;
            }
        }
        None
    }

    /// Return what is next in a stream.
    fn next_of(&mut self, number: u32) -> Option<Batch> {
        let mut index = 0;
        loop {
            let stream = self.table.stream(number)?;
            let file = stream.files.get(index)?;
            let (serial, is_copy, closing) = (file.serial, file.is_copy, file.closing);
            let newer = stream.files[index + 1..].iter().any(Followed::is_behind);
            let limit = if let Phase::Draining | Phase::OnceMore(_) = self.phase { file.target } else { u64::MAX };
            let waited = self.milliseconds().saturating_sub(file.since);
            let stale = self.options.unfinished_after.is_some_and(|after| waited >= after.as_millis() as u64);
            let all = newer || is_copy || closing || stale || self.phase == Phase::Flushing;
            match self.next_of_file(number, index, all, limit) {
                Next::Print(piece) => {
                    return Some(Batch { stream: number, serial, what: Text::Piece(piece), done: 0 });
                }
                Next::Restart => {
                    if let Some(tail) = self.restart(number, index) {
                        return Some(Batch { stream: number, serial, what: Text::Tail(tail), done: 0 });
                    }
                    // a copy may stand before it now
                    index = 0;
                }
                Next::Nothing => {
                    let done = self.table.stream(number)?.files.get(index).is_some_and(|file| file.serial == serial);
                    if done && (is_copy || closing) && self.is_done(number, index) {
                        self.finish(number, index);
                    } else if done {
                        index += 1;
                    }
                }
            }
        }
    }

    /// Say whether a file is printed to its end.
    fn is_done(&self, number: u32, index: usize) -> bool {
        let file = self.table.stream(number).and_then(|stream| stream.files.get(index));
        file.is_some_and(|file| file.descriptor.is_some() && !file.unread)
    }

    /// Let go of a file that is printed to its end; if it still has a name it is not printed again.
    fn finish(&mut self, number: u32, index: usize) {
        let Some(serial) = self.table.stream(number).and_then(|stream| stream.files.get(index)).map(|file| file.serial)
        else {
            return;
        };
        let Some(file) = self.remove(number, serial) else { return };
        if file.growth.links > 0 {
            let neighbour = Neighbour {
                born: file.born,
                copy: true,
                seen_in: file.seen_in,
                missed: false,
                path: file.path.to_vec(),
                modified: file.growth.modified,
                candidate: None,
            };
            self.neighbours.insert(file.id, neighbour);
            self.records.push(Record::Known(file.id, Known { born: file.born, copy: true }));
        }
    }

    fn next_of_file(&mut self, number: u32, index: usize, all: bool, limit: u64) -> Next {
        let behind = |file: &Followed| file.unread || file.shrunk || (all && file.is_behind());
        let file = self.table.stream(number).and_then(|stream| stream.files.get(index));
        let Some(file) = file.filter(|file| behind(file)) else { return Next::Nothing };
        if file.descriptor.is_none() && !self.reopen(number, index) {
            return Next::Nothing;
        }
        let Some(file) = self.table.stream_mut(number).and_then(|stream| stream.files.get_mut(index)) else {
            return Next::Nothing;
        };
        let Some(descriptor) = file.descriptor.take() else { return Next::Nothing };
        let next = file.next(descriptor.as_fd(), &mut self.buffer, all, limit);
        file.descriptor = Some(descriptor);
        next.unwrap_or_else(|error| {
            let path = shown(&file.path);
            self.complaints.once(format!("can't read {path}: {}", std::io::Error::from(error)));
            Next::Nothing
        })
    }

    /// Open a file that was closed to save its descriptor.
    fn reopen(&mut self, number: u32, index: usize) -> bool {
        let Some(file) = self.table.stream(number).and_then(|stream| stream.files.get(index)) else { return false };
        let (id, born, serial, path, folder) = (file.id, file.born, file.serial, file.path.clone(), file.seen_in.0);
        let waited = self.milliseconds().saturating_sub(file.since) >= WAITED.as_millis() as u64;
        if self.open >= self.limit && !self.close_idle() {
            if waited {
                self.complaints.once(format!(
                    "too many files for {}: {} can be open at once",
                    shown(&path),
                    self.limit
                ));
            }
            return false;
        }
        match self.volumes.open(&path) {
            Ok((descriptor, stat)) if stat.id == id && stat.born == born => {
                if let Some(file) = self.table.file_mut(id) {
                    file.descriptor = Some(descriptor);
                    file.used = true;
                    self.open += 1;
                    return true;
                }
            }
            Ok(_) | Err(Refused::Gone) => self.discovery.list_again(folder),
            Err(Refused::NoDescriptor) => self.limit = self.open.max(1),
            Err(why @ Refused::Outside) => {
                self.refuse(&path, folder, &why);
                self.remove(number, serial);
            }
            Err(why) => self.refuse(&path, folder, &why),
        }
        false
    }

    /// Close a file that was not in use for long and can be opened again.
    fn close_idle(&mut self) -> bool {
        if self.none_idle == self.looks {
            return false;
        }
        let bound = self.table.bound();
        for _ in 0..2 * bound {
            self.hand = (self.hand + 1) % bound;
            let Some(stream) = self.table.stream_mut(self.hand) else { continue };
            for file in &mut stream.files {
                let (folder, generation) = file.seen_in;
                let reachable = file.growth.links > 0 && !file.is_copy && self.discovery.is_current(folder, generation);
                if file.descriptor.is_some() && file.is_idle() && reachable && !std::mem::replace(&mut file.used, false)
                {
                    file.descriptor = None;
                    self.open -= 1;
                    return true;
                }
            }
        }
        self.none_idle = self.looks;
        false
    }

    /// A file was written anew. If a copy of what it held is found, that is read from where we were; otherwise return the
    /// line that had no end.
    fn restart(&mut self, number: u32, index: usize) -> Option<Vec<u8>> {
        let copies = self.find_copies(number, index);
        let serial = self.table.serial();
        let file = self.table.stream_mut(number)?.files.get_mut(index)?;
        self.output.abandon(file.serial);
        let mut tail = file.take_tail(&mut self.buffer);
        file.restart(serial, &mut self.buffer);
        file.target = u64::MAX;
        self.dirty = true;
        let origin = self.table.stream(number)?.origin.clone();
        let found = !copies.is_empty();
        for (place, copy) in (index..).zip(copies) {
            self.open += 1;
            self.table.add(&origin, copy, Some(place));
        }
        if found || tail.is_empty() {
            return None;
        }
        tail.push(b'\n');
        Some(tail)
    }

    /// Return the copies of what a truncated file held, oldest first: the first one from our position on, later ones,
    /// made by further truncations, from their beginning.
    fn find_copies(&mut self, number: u32, index: usize) -> Vec<Followed> {
        let Some(stream) = self.table.stream(number) else { return Vec::new() };
        let (origin, file) = (&stream.origin, &stream.files[index]);
        if file.is_copy {
            return Vec::new();
        }
        let mut candidates = Vec::new();
        for (id, neighbour) in &mut self.neighbours {
            if !comes_from(&neighbour.path, origin) {
                continue;
            }
            let Ok(stat) = Stat::of_path(&neighbour.path) else { continue };
            let written = std::mem::replace(&mut neighbour.modified, stat.modified) != stat.modified;
            if neighbour.candidate.take().is_some() || written {
                if let Ok((descriptor, stat)) = self.volumes.open(&neighbour.path) {
                    if stat.id == *id {
                        // one that was written again counts from then on
                        let made = if written { stat.modified } else { stat.born };
                        candidates.push((made, stat.modified, neighbour.path.clone(), descriptor, stat));
                    }
                }
            }
        }
        candidates.sort_by_key(|one| (one.0, one.1));
        let (at, context) = (file.at, file.context());
        let mut copies = Vec::new();
        for (_, _, path, descriptor, stat) in candidates {
            let first = copies.is_empty();
            // before the first line every file goes on: then the time tells
            let too_old = file.at == 0 && stat.modified < file.whole_until;
            if first && (too_old || !file.is_continued_by(&descriptor, stat.size)) {
                continue;
            }
            let (at, context) = if first { (at, context) } else { (0, crate::checkpoint::hash(b"")) };
            copies.push((path, descriptor, stat, at, context));
        }
        let since = self.milliseconds();
        copies
            .into_iter()
            .map(|(path, descriptor, stat, at, context)| {
                let serial = self.table.serial();
                let mut copy = Followed::new(&stat, &path, serial, at, context);
                let seen_in = self.neighbours.remove(&stat.id).map_or((u32::MAX, 0), |neighbour| neighbour.seen_in);
                (copy.descriptor, copy.is_copy, copy.since, copy.seen_in) = (Some(descriptor), true, since, seen_in);
                copy
            })
            .collect()
    }

    // --- the checkpoint ---------------------------------------------------------------------------------------------

    /// Write down how far each file is printed, if that changed, and all of it is durably out.
    fn save(&mut self) {
        if !self.dirty || !self.output.is_durable() {
            return;
        }
        self.saved_at = self.output.taken();
        let result = if self.journal.wants_all() { self.save_all() } else { self.save_changes() };
        match result {
            Ok(left_out) => {
                if left_out > 0 {
                    self.complaints
                        .once(format!("too many files for the checkpoint: a restart prints some again ({left_out})"));
                }
                self.dirty = false;
                self.records.clear();
                for file in self.table.files_mut() {
                    file.dirty = false;
                }
            }
            Err(error) => {
                let (place, reason) = (shown(&self.options.state), std::io::Error::from(error));
                self.complaints.once(format!("no checkpoint in {place}: a restart prints lines again ({reason})"));
            }
        }
    }

    fn save_all(&mut self) -> Result<usize, Errno> {
        let Self { table, neighbours, remembered, journal, dropped, .. } = self;
        let files =
            table.streams().flat_map(|(_, stream)| stream.files.iter().map(|file| position(&stream.origin, file)));
        let known = neighbours.iter().map(|(id, one)| Record::Known(*id, Known { born: one.born, copy: one.copy }));
        let remembered = remembered.iter().map(|(id, position)| Record::File(*id, position.clone()));
        journal.rewrite(std::iter::once(Record::Dropped(*dropped)).chain(remembered).chain(known).chain(files))
    }

    fn save_changes(&mut self) -> Result<usize, Errno> {
        let mut text = Vec::new();
        for record in &self.records {
            record.write(&mut text);
        }
        for (_, stream) in self.table.streams() {
            for file in stream.files.iter().filter(|file| file.dirty) {
                position(&stream.origin, file).write(&mut text);
            }
        }
        self.journal.append(&text).map(|()| 0)
    }
}

fn position(origin: &[u8], file: &Followed) -> Record {
    let position = Position {
        born: file.born,
        at: file.at,
        context: file.context(),
        origin: origin.to_vec(),
        path: file.path.to_vec(),
    };
    Record::File(file.id, position)
}

/// Say whether a file's name is one that rotations make of another path.
fn comes_from(path: &[u8], origin: &[u8]) -> bool {
    let name = path.iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1);
    let (folder, name) = path.split_at(name);
    origin.strip_prefix(folder).is_some_and(|of| origins(name).iter().any(|one| one.name == of))
}

/// What new files are sorted by: of those written at the same time, the one with the higher number is older.
fn age(one: &Found) -> (i64, i64, std::cmp::Reverse<u64>) {
    (one.stat.modified, one.stat.born, std::cmp::Reverse(number(&one.path[one.name..])))
}

/// Say whether a path lies in a folder.
fn is_below(path: &[u8], folder: &[u8]) -> bool {
    folder == b"/" || path.strip_prefix(folder).is_some_and(|rest| rest.starts_with(b"/"))
}
