//! Which files there are: directories are listed when they change, and now and then in any case.
//!
//! A directory's modification time tells whether a name came or went, so at rest a directory costs one stat(2) a look. Time
//! stamps are as coarse as a tick of the kernel's clock: after a change the directory is listed once more at the next look.
//! Where they are whole seconds it is listed for two seconds more.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RawDir, open, statx};
use rustix::io::Errno;

use crate::pattern::Pattern;
use crate::rotation::origins;
use crate::stat::{Id, Stat};

/// So much memory is for directories; the rest of them are not entered. A tenant can make as many as inodes are left.
const MOST_FOLDER_BYTES: usize = 8 << 20;
/// So much is for what one look finds; the rest is left to the next one.
const MOST_FOUND_BYTES: usize = 12 << 20;
/// So many troubles of one look are told of.
const MOST_TROUBLES: usize = 200;
/// FAT's time stamps are as coarse as that; those of other file systems that have no fractions are as coarse as a second.
const COARSEST: Duration = Duration::from_secs(2);
/// What getdents(2) fills at once.
const ENTRIES: usize = 8 << 10;

/// A file that an argument means, or that may have been rotated from one.
#[derive(Debug)]
pub struct Found {
    /// Its path.
    pub path: Vec<u8>,
    /// Where in it the name begins.
    pub name: usize,
    /// The number of the directory, and that of the listing.
    pub directory: u32,
    /// See `directory`.
    pub generation: u64,
    /// What it is.
    pub stat: Stat,
    /// An argument means it.
    pub wanted: bool,
    /// Its name is a symlink.
    pub is_link: bool,
}

/// What went wrong with a directory or a file in it.
#[derive(Debug)]
pub struct Trouble {
    /// Which one.
    pub path: Vec<u8>,
    /// Why.
    pub error: Errno,
}

#[derive(Debug)]
struct Directory {
    path: Vec<u8>,
    /// The patterns whose names count here, and of them those that count in its directories, too.
    patterns: Vec<usize>,
    deep: Vec<usize>,
    /// An argument names it.
    top: bool,
    /// Which directory it was at the last listing, and when that was changed.
    seen: Option<(Id, i64)>,
    /// List it at the next look whether it changes or not.
    again: bool,
    /// Its time has no fraction of a second: until then another change may not show.
    coarse_until: Option<Instant>,
    /// The number of the last whole listing; what was not in that, and in none since, is gone.
    generation: u64,
    /// Symlinks among its files, and what they led to.
    links: Vec<(Vec<u8>, Option<Id>)>,
}

/// The directories that are watched.
#[derive(Debug)]
pub struct Discovery {
    patterns: Vec<Pattern>,
    directories: Vec<Option<Directory>>,
    by_path: BTreeMap<Vec<u8>, u32>,
    /// Numbers that are free, and those of directories that were never looked at.
    free: Vec<u32>,
    fresh: Vec<u32>,
    generation: u64,
    /// What the directories and symlinks take, and what was found in this look.
    directory_bytes: usize,
    found_bytes: usize,
    names_read: u64,
    /// How many symlinks are watched.
    links: usize,
}

/// What is known of a regular file in a listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// It is not followed.
    No,
    /// A file with its number is followed.
    Number,
    /// It is open under this path: its stat(2) is spared.
    Open,
}

/// Asked of a regular file in a listing.
pub type IsKnown<'a> = dyn FnMut(Id, &[u8], u32, u64) -> Known + 'a;

impl Discovery {
    /// Watch for what the patterns mean.
    #[must_use]
    pub fn new(patterns: Vec<Pattern>) -> Self {
        let mut discovery = Self {
            patterns,
            directories: Vec::new(),
            by_path: BTreeMap::new(),
            free: Vec::new(),
            fresh: Vec::new(),
            generation: 0,
            directory_bytes: 0,
            found_bytes: 0,
            names_read: 0,
            links: 0,
        };
        for number in 0..discovery.patterns.len() {
            let Pattern { directory, deep, .. } = discovery.patterns[number].clone();
            let numbers = [number];
            discovery.watch(&directory, &numbers, &numbers[..usize::from(deep)], true);
        }
        discovery
    }

    /// Return how many directories are watched.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_path.len()
    }

    /// Return how many symlinks are watched.
    #[must_use]
    pub fn links(&self) -> usize {
        self.links
    }

    /// Return how many names the last look has read in directories that were listed.
    #[must_use]
    pub fn names_read(&self) -> u64 {
        self.names_read
    }

    /// Say whether no directory is watched.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_path.is_empty()
    }

    /// Say whether a file that was in a directory at a listing was there at the last whole one, too.
    #[must_use]
    pub fn is_current(&self, directory: u32, generation: u64) -> bool {
        self.directories
            .get(directory as usize)
            .is_some_and(|one| one.as_ref().is_some_and(|one| one.generation <= generation))
    }

    /// List a directory at the next look whether it changes or not.
    pub fn list_again(&mut self, directory: u32) {
        if let Some(Some(directory)) = self.directories.get_mut(directory as usize) {
            directory.again = true;
        }
    }

    /// Say whether an argument means a name in a directory.
    #[must_use]
    pub fn means(&self, directory: u32, name: &[u8]) -> bool {
        let directory = self.directories.get(directory as usize).and_then(Option::as_ref);
        directory.is_some_and(|directory| directory.patterns.iter().any(|&number| self.patterns[number].means(name)))
    }

    /// Look at all directories, and list those that changed, or all of them. Return whether any was listed.
    pub fn scan(
        &mut self,
        all: bool,
        is_known: &mut IsKnown<'_>,
        found: &mut Vec<Found>,
        troubles: &mut Vec<Trouble>,
    ) -> bool {
        let mut listed = false;
        self.fresh.clear();
        (self.found_bytes, self.names_read) = (0, 0);
        for number in 0..self.directories.len() as u32 {
            listed |= self.scan_directory(number, all, is_known, found, troubles);
        }
        // those that came up meanwhile
        while let Some(number) = self.fresh.pop() {
            listed |= self.scan_directory(number, all, is_known, found, troubles);
        }
        listed
    }

    fn scan_directory(
        &mut self,
        number: u32,
        all: bool,
        is_known: &mut IsKnown<'_>,
        found: &mut Vec<Found>,
        troubles: &mut Vec<Trouble>,
    ) -> bool {
        let changed = self.has_changed(number as usize, all, troubles);
        if changed {
            self.list(number, all, is_known, found, troubles);
        }
        changed
    }

    fn watch(&mut self, path: &[u8], patterns: &[usize], deep: &[usize], top: bool) {
        if let Some(&number) = self.by_path.get(path) {
            if let Some(directory) = &mut self.directories[number as usize] {
                for (to, from) in [(&mut directory.patterns, patterns), (&mut directory.deep, deep)] {
                    to.extend(from);
                    to.sort_unstable();
                    to.dedup();
                }
                directory.top |= top;
            }
            return;
        }
        let directory = Directory {
            path: path.to_vec(),
            patterns: patterns.to_vec(),
            deep: deep.to_vec(),
            top,
            seen: None,
            again: false,
            coarse_until: None,
            generation: self.generation + 1,
            links: Vec::new(),
        };
        let number = self.free.pop().unwrap_or(self.directories.len() as u32);
        if number as usize == self.directories.len() {
            self.directories.push(None);
        }
        self.directories[number as usize] = Some(directory);
        self.by_path.insert(path.to_vec(), number);
        self.directory_bytes += directory_cost(path);
        self.fresh.push(number);
    }

    /// Say whether a directory has to be listed. One that is gone has lost its files; if no argument names it, it is
    /// forgotten.
    fn has_changed(&mut self, number: usize, all: bool, troubles: &mut Vec<Trouble>) -> bool {
        let Some(directory) = &mut self.directories[number] else { return false };
        match Stat::of_path(&directory.path) {
            Ok(stat) if stat.kind == FileType::Directory => {
                let seen = Some((stat.id, stat.modified));
                let moved = seen != directory.seen;
                if moved && stat.modified % 1_000_000_000 == 0 {
                    directory.coarse_until = Some(Instant::now() + COARSEST);
                }
                let coarse = directory.coarse_until.is_some_and(|until| Instant::now() < until);
                directory.coarse_until = directory.coarse_until.filter(|_| coarse);
                let again = std::mem::replace(&mut directory.again, moved);
                directory.seen = seen;
                let switched = |(path, id): &(Vec<u8>, Option<Id>)| Stat::of_path(path).ok().map(|stat| stat.id) != *id;
                moved || again || coarse || all || directory.links.iter().any(switched)
            }
            Ok(_) | Err(Errno::NOENT | Errno::NOTDIR) => {
                if directory.seen.take().is_some() {
                    self.generation += 1;
                    directory.generation = self.generation;
                }
                self.links -= directory.links.len();
                self.directory_bytes -= link_cost(&directory.links);
                directory.links.clear();
                if !directory.top {
                    self.by_path.remove(&directory.path);
                    self.directory_bytes -= directory_cost(&directory.path);
                    self.directories[number] = None;
                    self.free.push(number as u32);
                }
                false
            }
            Err(error) => {
                directory.seen = None;
                note(troubles, &obstacle(&directory.path), error);
                false
            }
        }
    }

    fn list(
        &mut self,
        number: u32,
        all: bool,
        is_known: &mut IsKnown<'_>,
        found: &mut Vec<Found>,
        troubles: &mut Vec<Trouble>,
    ) {
        let Some(Some(mut directory)) = self.directories.get_mut(number as usize).map(Option::take) else { return };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let descriptor = match open(directory.path.as_slice(), flags, Mode::empty()) {
            Ok(descriptor) => descriptor,
            Err(error) => {
                directory.again = true;
                if error != Errno::NOENT && error != Errno::NOTDIR {
                    note(troubles, &directory.path, error);
                    self.name_by_name(number, &mut directory, found);
                }
                self.directories[number as usize] = Some(directory);
                return;
            }
        };
        self.generation += 1;
        let generation = self.generation;
        let mut whole = true;
        self.links -= directory.links.len();
        self.directory_bytes -= link_cost(&directory.links);
        directory.links.clear();
        let device = directory.seen.map_or(0, |seen| seen.0.device);
        let mut path = directory.path.clone();
        if path != b"/" {
            path.push(b'/');
        }
        let begin = path.len();
        let mut space = [MaybeUninit::uninit(); ENTRIES];
        let mut entries = RawDir::new(&descriptor, &mut space);
        while let Some(entry) = entries.next() {
            let Ok(entry) = entry else {
                (directory.again, whole) = (true, false);
                break;
            };
            self.names_read += 1;
            let name = entry.file_name();
            let bytes = name.to_bytes();
            if bytes == b"." || bytes == b".." {
                continue;
            }
            let mut kind = entry.file_type();
            if kind == FileType::Unknown {
                kind = kind_of_entry(&descriptor, name);
            }
            path.truncate(begin);
            path.extend_from_slice(bytes);
            if kind == FileType::Directory {
                if !directory.deep.is_empty() && !bytes.starts_with(b".") {
                    if self.directory_bytes < MOST_FOLDER_BYTES || self.by_path.contains_key(&path) {
                        self.watch(&path, &directory.deep, &directory.deep, false);
                    } else {
                        note(troubles, &path, Errno::NOMEM);
                    }
                }
                continue;
            }
            if kind != FileType::RegularFile && kind != FileType::Symlink {
                continue;
            }
            let means = |name: &[u8]| directory.patterns.iter().any(|&one| self.patterns[one].means(name));
            let wanted = means(bytes);
            if !wanted && !origins(bytes).iter().any(|origin| means(&origin.name)) {
                continue;
            }
            let id = Id { device, inode: entry.ino() };
            let known = if wanted { is_known(id, &path, number, generation) } else { Known::No };
            if kind == FileType::RegularFile && known == Known::Open && !all {
                continue;
            }
            let stat = Stat::of_entry(&descriptor, name);
            // those that no memory is for are looked at when the directory is listed
            if kind == FileType::Symlink && self.directory_bytes < MOST_FOLDER_BYTES {
                let link = (path.clone(), stat.ok().map(|stat| stat.id));
                self.links += 1;
                self.directory_bytes += link_cost(std::slice::from_ref(&link));
                directory.links.push(link);
            }
            match stat {
                Ok(stat) if stat.is_regular() => {
                    if known != Known::Open {
                        self.found_bytes += size_of::<Found>() + path.len();
                        if self.found_bytes > MOST_FOUND_BYTES {
                            directory.again = true;
                            continue;
                        }
                    }
                    let is_link = kind == FileType::Symlink;
                    let path = path.clone();
                    found.push(Found { path, name: begin, directory: number, generation, stat, wanted, is_link });
                }
                Ok(_) | Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                Err(error) => {
                    // thousands of them are not asked for at each look
                    directory.again |= troubles.len() < MOST_TROUBLES;
                    note(troubles, &path, error);
                }
            }
        }
        if whole {
            directory.generation = generation;
        }
        self.directories[number as usize] = Some(directory);
    }

    /// Look for files that arguments name in a directory that can't be listed.
    fn name_by_name(&mut self, number: u32, directory: &mut Directory, found: &mut Vec<Found>) {
        self.generation += 1;
        // what globs mean may be there all the same
        if directory.patterns.iter().all(|&one| self.patterns[one].literal().is_some()) {
            directory.generation = self.generation;
        }
        for &one in &directory.patterns {
            let Some(name) = self.patterns[one].literal() else { continue };
            let path = [directory.path.as_slice(), b"/", name].concat();
            if let Some(stat) = Stat::of_path(&path).ok().filter(Stat::is_regular) {
                let (name, generation) = (directory.path.len() + 1, self.generation);
                found.push(Found { path, name, directory: number, generation, stat, wanted: true, is_link: false });
            }
        }
    }
}

/// Return what a directory takes: its path is kept twice.
fn directory_cost(path: &[u8]) -> usize {
    size_of::<Directory>() + 2 * path.len()
}

/// Return what a directory's symlinks take.
fn link_cost(links: &[(Vec<u8>, Option<Id>)]) -> usize {
    links.iter().map(|link| size_of_val(link) + link.0.len()).sum()
}

fn note(troubles: &mut Vec<Trouble>, path: &[u8], error: Errno) {
    if troubles.len() < MOST_TROUBLES {
        troubles.push(Trouble { path: path.to_vec(), error });
    }
}

fn kind_of_entry(directory: &std::os::fd::OwnedFd, name: &CStr) -> FileType {
    let found = statx(directory, name, AtFlags::SYMLINK_NOFOLLOW, rustix::fs::StatxFlags::TYPE);
    found.map_or(FileType::Unknown, |found| FileType::from_raw_mode(found.stx_mode.into()))
}

/// Return the directory on the way to a path whose permissions keep us from going on.
fn obstacle(path: &[u8]) -> Vec<u8> {
    let mut ends: Vec<usize> = (1..path.len()).filter(|&at| path[at] == b'/').collect();
    ends.push(path.len());
    let reachable = ends
        .iter()
        .rev()
        .find(|&&end| statx(CWD, &path[..end], AtFlags::empty(), rustix::fs::StatxFlags::TYPE).is_ok());
    path[..reachable.copied().unwrap_or(1)].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::ffi::OsStrExt;
    use std::path::Path;

    fn scan(discovery: &mut Discovery) -> (bool, Vec<String>) {
        let mut found = Vec::new();
        let listed = discovery.scan(false, &mut |_, _, _, _| Known::No, &mut found, &mut Vec::new());
        let mut names: Vec<String> = found
            .iter()
            .map(|one| {
                format!("{}{}", String::from_utf8_lossy(&one.path[one.name..]), if one.wanted { "" } else { "?" })
            })
            .collect();
        names.sort();
        (listed, names)
    }

    fn discovery(directory: &Path, pattern: &str) -> Discovery {
        Discovery::new(vec![Pattern::parse(directory.join(pattern).as_os_str().as_bytes())])
    }

    #[test]
    fn a_directory_is_listed_when_it_changes_and_once_more() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("a.log"), "").unwrap();
        let mut discovery = discovery(directory.path(), "*.log");
        assert_eq!(scan(&mut discovery), (true, vec!["a.log".to_owned()]));
        assert!(scan(&mut discovery).0);
        assert_eq!(discovery.names_read(), 3, "with . and ..");
        assert!(!scan(&mut discovery).0);
        assert_eq!(discovery.names_read(), 0);
        fs::write(directory.path().join("b.log"), "").unwrap();
        fs::write(directory.path().join("b.log.1"), "").unwrap();
        fs::write(directory.path().join("b.txt"), "").unwrap();
        assert_eq!(scan(&mut discovery).1, ["a.log", "b.log", "b.log.1?"]);
    }

    #[test]
    fn directories_below_come_and_go() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir_all(directory.path().join("a/b")).unwrap();
        fs::create_dir_all(directory.path().join(".git")).unwrap();
        std::os::unix::fs::symlink(".", directory.path().join("loop")).unwrap();
        for place in ["top.log", "a/b/deep.log", ".git/hidden.log"] {
            fs::write(directory.path().join(place), "").unwrap();
        }
        let mut discovery = discovery(directory.path(), "**/*.log");
        assert_eq!(scan(&mut discovery).1, ["deep.log", "top.log"]);
        assert_eq!(discovery.len(), 3);
        fs::remove_dir_all(directory.path().join("a")).unwrap();
        scan(&mut discovery);
        assert_eq!(discovery.len(), 1);
    }

    #[test]
    fn a_symlink_is_watched() {
        let directory = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(elsewhere.path().join("x"), directory.path().join("a.log")).unwrap();
        let mut discovery = discovery(directory.path(), "*.log");
        scan(&mut discovery);
        scan(&mut discovery);
        assert!(!scan(&mut discovery).0);
        fs::write(elsewhere.path().join("x"), "").unwrap();
        assert_eq!(scan(&mut discovery), (true, vec!["a.log".to_owned()]));
    }

    #[test]
    fn the_directory_in_the_way_is_named() {
        assert_eq!(obstacle(b"/nowhere/at/all"), b"/");
        assert_eq!(obstacle(b"/proc/none/at/all"), b"/proc");
    }
}
