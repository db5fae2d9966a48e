//! Files that a listing showed: where they belong, and where reading them begins.

use std::os::fd::AsFd;
use std::time::Instant;

use super::{Follower, Neighbour, Phase, Place};
use crate::checkpoint::{Known, Record, hash};
use crate::complaints::shown;
use crate::discovery::Found;
use crate::file::{Followed, begin_alike, end_of_lines};
use crate::options::Start;
use crate::rotation::{number, origins};
use crate::stat::Growth;
use crate::volume::Refused;

/// So much memory is for files: some 40,000 of them. The rest is not followed.
const MOST_FILE_BYTES: usize = 24 << 20;
/// So many files that are not printed are known again; each takes memory, too.
const MOST_NEIGHBOURS: usize = 4096;

impl Follower {
    /// Take over what listings showed: files under other names, new ones, those that were rotated.
    pub(super) fn absorb(&mut self, found: Vec<Found>) {
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
    pub(super) fn begin_remembered(&mut self, new: &mut Vec<Found>) {
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
            } else if let Some(file) = self.table.file_mut(one.stat.id) {
                file.version = position.version;
            }
        }
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
                    if self.begin(&one, &origin, 0, hash(b"")) {
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

    pub(super) fn note_neighbour(&mut self, one: &Found, copy: bool, candidate: Option<u64>) {
        let (born, modified, seen_in) = (one.stat.born, one.stat.modified, (one.folder, one.generation));
        let path = one.path.clone();
        let neighbour = Neighbour { born, copy, seen_in, missed: false, path, modified, candidate };
        if self.neighbours.len() >= MOST_NEIGHBOURS && !self.neighbours.contains_key(&one.stat.id) {
            let folder = shown(&one.path[..one.name]);
            return self.complaints.once(&format!("too many files: not all of those in {folder} are known again"));
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
    /// | as of a rotation | was there, and is not in place any more | rotated |
    /// | as of a rotation | is in place | a copy; if an argument means it, only if it begins alike |
    /// | as only a rotation makes | was never seen | rotated, if it came up after our first look, or is not older than the pod |
    /// | an argument means it | otherwise | a file of its own |
    pub(super) fn place(&self, one: &Found) -> Place {
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

    pub(super) fn is_wanted(&self, file: &Followed) -> bool {
        self.discovery.is_current(file.wanted_in.0, file.wanted_in.1)
    }

    /// Say whether a new file is a copy of one that we follow, made before that is truncated.
    pub(super) fn is_copy(&self, one: &Found, file: &Followed) -> bool {
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
    pub(super) fn start_of(&mut self, one: &Found) -> (u64, u64) {
        let none = (0, hash(b""));
        // what comes up later is this pod's, whatever its times say: the clock may have been set
        let first_look = !self.settled && !self.resumed;
        let at_end = match self.options.start {
            Start::Beginning => false,
            Start::End => true,
            Start::Auto => {
                let persistent = |folder: &Vec<u8>| is_below(&one.path, folder);
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
            let folder = shown(&one.path[..one.name]);
            self.complaints.once(&format!("too many files: not all of those in {folder} are read"));
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
    pub(super) fn refuse(&mut self, path: &[u8], folder: u32, why: &Refused) {
        match why {
            Refused::Outside => self.complaints.once(&format!("{} leads out of the volume", shown(path))),
            Refused::Printed => self.complaints.once(&format!("{} is what a sidecar printed", shown(path))),
            Refused::Failed(error) => {
                let text = self.cant_read(path, *error);
                self.complaints.once(&text);
                self.discovery.list_again(folder);
            }
            Refused::Gone | Refused::Irregular | Refused::NoDescriptor => self.discovery.list_again(folder),
        }
    }
}

/// What new files are sorted by: of those written at the same time, the one with the higher number is older.
fn age(one: &Found) -> (i64, i64, std::cmp::Reverse<u64>) {
    (one.stat.modified, one.stat.born, std::cmp::Reverse(number(&one.path[one.name..])))
}

/// Say whether a path is a mount or lies in it.
fn is_below(path: &[u8], mount: &[u8]) -> bool {
    mount == b"/" || path.strip_prefix(mount).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}
