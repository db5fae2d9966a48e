//! Files that a listing showed: where they belong, and where reading them begins.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirEntryExt;
use std::time::Instant;

use super::{Follower, Neighbour, Phase, Place};
use crate::checkpoint::{Known, Position, Record, hash};
use crate::complaints::shown;
use crate::discovery::Found;
use crate::file::{CONTEXT, Followed, agree, end_of_lines, may_hold};
use crate::options::Start;
use crate::pattern::name_at;
use crate::rotation::{number, origins};
use crate::stat::{Growth, Stat};
use crate::volume::Refused;

/// So much memory is for files: some 40,000 of them. The rest is not followed.
pub(super) const MOST_FILE_BYTES: usize = 24 << 20;
/// So many files that are not printed are known again; each takes memory, too.
const MOST_NEIGHBOURS: usize = 4096;

impl Follower {
    /// Take over what listings showed: files under other names, new ones, those that were rotated. Say whether all that
    /// the checkpoint has of them could be opened.
    pub(super) fn absorb(&mut self, found: Vec<Found>) -> bool {
        let mut new = Vec::new();
        for one in found {
            let seen_in = (one.directory, one.generation);
            let stream = self.table.by_id(one.stat.id).and_then(|number| self.table.stream(number));
            let is_own = one.wanted && stream.is_some_and(|stream| stream.origin == one.path);
            if let Some(file) = self.table.file_mut(one.stat.id) {
                if file.born == one.stat.born {
                    if *file.path != *one.path {
                        // of several names that arguments mean its own one counts
                        let has_better =
                            file.wanted_in == seen_in || self.discovery.is_current(file.wanted_in.0, file.wanted_in.1);
                        if is_own || !has_better {
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
            if let Some(neighbour) = self.neighbours.get(&one.stat.id) {
                let recent = neighbour.candidate.is_some_and(|look| look + 1 >= self.looks);
                let same = neighbour.born == one.stat.born && neighbour.may_be(&one);
                // a copy has nothing that its original has not: if it grows it may be a file of its own
                let unproved = neighbour.size.filter(|_| one.wanted);
                let grew = unproved.is_some_and(|size| size < one.stat.size);
                let is_none = grew && matches!(self.place(&one), Place::Own);
                if same && !recent && !is_none && (neighbour.copy || !one.wanted) {
                    if unproved.is_some() {
                        self.discovery.list_again(one.directory);
                    }
                    if let Some(neighbour) = self.neighbours.get_mut(&one.stat.id) {
                        (neighbour.seen_in, neighbour.missed) = (seen_in, false);
                        neighbour.size = neighbour.size.map(|_| one.stat.size);
                        neighbour.path = one.path;
                    }
                    continue;
                }
                if !same || !recent {
                    self.neighbours.remove(&one.stat.id);
                }
            }
            new.push(one);
        }
        let all = self.begin_remembered(&mut new);
        self.begin_new(new);
        all
    }

    /// Go on in the files that the checkpoint has; say whether all of them could be opened.
    pub(super) fn begin_remembered(&mut self, new: &mut Vec<Found>) -> bool {
        if self.remembered.is_empty() {
            return true;
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
        let mut all = true;
        for (one, position) in ours {
            if !self.begin(&one, &position.origin, position.at, position.context) {
                self.remembered.insert(one.stat.id, position);
                all = false;
            } else if let Some(file) = self.table.file_mut(one.stat.id) {
                file.version = position.version;
            }
        }
        all
    }

    /// Find files that were renamed while nobody followed them, to names that tell nothing: their numbers tell.
    pub(super) fn find_renamed(&self, found: &mut Vec<Found>) {
        let mut missing: BTreeMap<u64, &Position> = self.remembered.iter().map(|(id, one)| (id.inode, one)).collect();
        for one in &*found {
            missing.remove(&one.stat.id.inode);
        }
        let directory_of = |position: &Position| position.path[..name_at(&position.path)].to_vec();
        let directories: BTreeSet<Vec<u8>> = missing.values().map(|position| directory_of(position)).collect();
        for directory in directories {
            let Ok(entries) = std::fs::read_dir(OsStr::from_bytes(&directory)) else { continue };
            for entry in entries.flatten().filter(|entry| missing.contains_key(&entry.ino())) {
                let path = [&directory, entry.file_name().as_bytes()].concat();
                let position = missing[&entry.ino()];
                if let Some(stat) = self.find(&path, position) {
                    let (name, generation, wanted, is_link) = (directory.len(), 0, false, false);
                    found.push(Found { path, name, directory: u32::MAX, generation, stat, wanted, is_link });
                }
            }
        }
    }

    /// Return what a path leads to, if it may be the file of a position, which has its number: without a birth time the
    /// bytes before the position tell.
    fn find(&self, path: &[u8], position: &Position) -> Option<Stat> {
        let stat = Stat::of_path(path).ok()?;
        if stat.born != 0 {
            return Some(stat);
        }
        let (file, stat) = self.volumes.open(path).ok()?;
        let known = Followed::new(&stat, path, 0, position.at, position.context);
        (position.at > 0 && known.is_continued_by(&file, stat.size)).then_some(stat)
    }

    /// Begin to read new files, those that were rotated first.
    pub(super) fn begin_new(&mut self, new: Vec<Found>) {
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
                        file.wanted_in = (one.directory, one.generation);
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
                    if self.begin(&one, &origin, 0, hash(b"")) {
                        self.neighbours.remove(&one.stat.id);
                    }
                }
                Place::CopyOf => {
                    let before = self.neighbours.get(&one.stat.id).and_then(|neighbour| neighbour.candidate);
                    self.note_neighbour(&one, one.wanted, before.or(Some(self.looks)));
                    if one.wanted {
                        self.discovery.list_again(one.directory);
                    }
                }
                Place::Foreign => self.note_neighbour(&one, false, None),
                Place::Undecided => self.discovery.list_again(one.directory),
            }
        }
    }

    pub(super) fn note_neighbour(&mut self, one: &Found, copy: bool, candidate: Option<u64>) {
        let (born, modified, seen_in) = (one.stat.born, one.stat.modified, (one.directory, one.generation));
        let (path, size) = (one.path.clone(), Some(one.stat.size));
        let neighbour = Neighbour { born, copy, seen_in, missed: false, path, size, modified, candidate };
        if self.neighbours.len() >= MOST_NEIGHBOURS && !self.neighbours.contains_key(&one.stat.id) {
            let directory = shown(&one.path[..one.name]);
            return self.complaints.once(&format!("too many files: not all of those in {directory} are known again"));
        }
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
    /// | as of a rotation | was there, and is not in place any more | rotated, unless it is a copy of that file |
    /// | as of a rotation | is in place | a copy; if an argument means it, only if it has nothing else in it |
    /// | as only a rotation makes | was never seen | rotated, if it came up after our first look, or is not older than the pod |
    /// | as of a rotation | was there before a restart, and is gone | rotated |
    /// | an argument means it | otherwise | a file of its own |
    pub(super) fn place(&self, one: &Found) -> Place {
        let (directory, name) = one.path.split_at(one.name);
        for origin in origins(name) {
            let path = [directory, &origin.name].concat();
            if let Some(stream) = self.table.by_origin(&path).and_then(|number| self.table.stream(number)) {
                let is_in_place = |file: &Followed| *file.path == *path && self.is_wanted(file);
                let in_place = stream.files.iter().any(is_in_place);
                if in_place && !one.wanted {
                    return Place::CopyOf;
                }
                if in_place && one.stat.size == 0 {
                    return Place::Undecided;
                }
                // a few bytes may be those of any two files that follow each other
                let large = one.stat.size >= CONTEXT;
                let is_of = |file: &Followed| {
                    let in_place = is_in_place(file);
                    (large || in_place) && self.is_copy(one, file, in_place, origin.certain)
                };
                if stream.files.iter().any(is_of) {
                    return Place::CopyOf;
                }
                if !in_place {
                    return Place::RotatedFrom(path);
                }
            } else if !one.wanted
                && (origin.certain || self.remembered.values().any(|position| position.origin == path))
                && self.discovery.means(one.directory, &origin.name)
            {
                // what was there at our first look may be older than the pod, which made the state volume first
                if self.settled || (self.state_born > 0 && one.stat.born > self.state_born) {
                    return Place::RotatedFrom(path);
                }
            }
        }
        if one.wanted { Place::Own } else { Place::Foreign }
    }

    pub(super) fn is_wanted(&self, file: &Followed) -> bool {
        self.discovery.is_current(file.wanted_in.0, file.wanted_in.1)
    }

    /// Say whether a new file is a copy of one that we follow, or becomes one.
    fn is_copy(&self, one: &Found, file: &Followed, in_place: bool, certain: bool) -> bool {
        let closed = if file.descriptor.is_none() { self.volumes.open(&file.path).ok() } else { None };
        let closed = closed.filter(|(_, stat)| stat.id == file.id).map(|(descriptor, _)| descriptor);
        let Some(ours) = file.descriptor.as_ref().or(closed.as_ref()) else { return false };
        let Ok((other, stat)) = self.volumes.open(&one.path) else { return false };
        let Ok(now) = Growth::of(ours) else { return false };
        if !file.shrunk && now.size >= file.growth.size && file.is_continued_by(ours, now.size) {
            return stat.size > 0 && stat.size <= now.size && agree(ours, &other, stat.size);
        }
        // it is truncated already; if nothing of it is printed yet, a copy has all that we saw. That proves little, so not
        // of a file that was renamed: nobody truncates it
        if file.at > 0 {
            file.is_continued_by(&other, stat.size)
        } else {
            in_place && may_hold(&stat, if file.shrunk { &file.whole } else { &file.growth }, certain)
        }
    }

    /// Return where reading a file begins that nobody of this pod has read.
    pub(super) fn start_of(&mut self, one: &Found) -> (u64, u64) {
        let none = (0, hash(b""));
        // what comes up later is this pod's, whatever its times say: the clock may have been set
        let first_look = !self.settled && !self.resumed;
        let at_end = match self.options.start {
            Start::Beginning => false,
            Start::End => true,
            Start::Auto => {
                let persistent = |directory: &Vec<u8>| is_below(&one.path, directory);
                let made = one.stat.born.max(one.stat.modified);
                self.state_born > 0 && made < self.state_born && self.options.persistent.iter().any(persistent)
            }
        };
        if !first_look || !at_end || one.stat.size == 0 {
            return none;
        }
        match self.volumes.open(&one.path) {
            Ok((file, stat)) => end_of_lines(file.as_fd(), &mut self.buffer, stat.size).unwrap_or(none),
            Err(_) => none,
        }
    }

    /// Begin to follow a file; say whether that was possible.
    pub(super) fn begin(&mut self, one: &Found, origin: &[u8], at: u64, context: u64) -> bool {
        if self.table.cost() >= MOST_FILE_BYTES {
            let directory = shown(&one.path[..one.name]);
            self.complaints.once(&format!("too many files: not all of those in {directory} are read"));
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
                    self.discovery.list_again(one.directory);
                    return false;
                }
                Err(why) => {
                    self.refuse(&one.path, one.directory, &why);
                    return false;
                }
            }
        }
        file.since = self.milliseconds();
        file.seen_in = (one.directory, one.generation);
        if one.wanted {
            file.wanted_in = file.seen_in;
        }
        if self.options.native && self.phase != Phase::Running {
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
    pub(super) fn refuse(&mut self, path: &[u8], directory: u32, why: &Refused) {
        match why {
            Refused::Outside => self.complaints.once(&format!("{} leads out of the volume", shown(path))),
            Refused::Printed => self.complaints.once(&format!("{} is what a sidecar printed", shown(path))),
            Refused::Failed(error) => {
                let text = self.cant_read(path, *error);
                self.complaints.once(&text);
                self.discovery.list_again(directory);
            }
            Refused::Gone | Refused::Irregular | Refused::NoDescriptor => self.discovery.list_again(directory),
        }
    }
}

impl Neighbour {
    /// Say whether it may be this file, which has its number: where no birth times are kept, one whose name does not come
    /// from the same name is none that we know.
    fn may_be(&self, one: &Found) -> bool {
        if one.stat.born != 0 || self.path.is_empty() || self.path == one.path {
            return true;
        }
        let (before, now) = (origins(&self.path[name_at(&self.path)..]), origins(&one.path[one.name..]));
        before.iter().any(|origin| now.contains(origin))
    }
}

/// What new files are sorted by: of those written at the same time, the one with the higher number is older. Of a file's
/// names a symlink comes last.
fn age(one: &Found) -> (i64, i64, bool, std::cmp::Reverse<u64>) {
    (one.stat.modified, one.stat.born, one.is_link, std::cmp::Reverse(number(&one.path[one.name..])))
}

/// Say whether a path is a mount or lies in it.
fn is_below(path: &[u8], mount: &[u8]) -> bool {
    mount == b"/" || path.strip_prefix(mount).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}
