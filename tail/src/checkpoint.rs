//! How far each file was printed, in the state volume: what a sidecar that was killed leaves to the next one.
//!
//! The file is a journal of lines: a header with the version, then one record a line, each with a checksum. The last
//! record of a file counts. New records are appended; when much of it is outdated it is written anew beside itself and
//! renamed. So whatever moment the process is killed in, what is there is a state that was true, and a line that a crash
//! of the machine tore is left out by its checksum. Nothing is synced: that would cost each node's disk a write a second
//! for each pod, and what a crash of the machine loses are positions, so lines that come again.

use std::collections::BTreeMap;
use std::io::Read;
use std::os::fd::OwnedFd;

use rustix::fs::{CWD, Mode, OFlags, ftruncate, open, renameat};
use rustix::io::Errno;

use crate::stat::Id;

/// The version of the format; a newer one is not read.
const VERSION: u32 = 1;
const HEADER: &str = "pillion-tail checkpoint";
/// The file in the state volume, and the one that is renamed to it.
pub const NAME: &str = "checkpoint";
const NEW: &str = "checkpoint.new";
/// A journal up to this length is never written anew.
const SMALL: u64 = 64 << 10;
/// The most bytes of records that are kept: the built-in profile's volume has 16Mi, and a journal with what replaces it
/// takes three times as many.
const MOST: usize = 5 << 20;
/// A journal is never longer.
const MOST_READ: u64 = 32 << 20;
/// So many bytes are written at once.
const BLOCK: usize = 16 << 10;

/// A file that is followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// When it was made, in nanoseconds; 0 if unknown.
    pub born: i64,
    /// Up to where it was printed.
    pub at: u64,
    /// How often it was written anew.
    pub version: u64,
    /// The hash of the bytes before that, by which it is known again.
    pub context: u64,
    /// The path that its lines are known by.
    pub origin: Vec<u8>,
    /// Its path.
    pub path: Vec<u8>,
}

/// A file that is not printed though its name would allow it: rotated before us, or a copy of what was printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// When it was made, in nanoseconds; 0 if unknown.
    pub born: i64,
    /// Whether it is a copy of a file that was printed.
    pub copy: bool,
}

/// One line of the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// A file is printed so far.
    File(Id, Position),
    /// A file is not printed.
    Known(Id, Known),
    /// A file is of no more interest.
    Forget(Id),
    /// So many bytes were never printed, in all.
    Dropped(u64),
    /// So many records were rejected by a store, in all. Programs without stores can't read it.
    Rejected(u64),
}

/// What a checkpoint says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// The files that are followed.
    pub files: BTreeMap<Id, Position>,
    /// The files that are not printed.
    pub known: BTreeMap<Id, Known>,
    /// How many bytes were never printed.
    pub dropped: u64,
    /// How many records a store rejected.
    pub rejected: u64,
    /// Lines at its end that can't be read.
    pub torn: usize,
}

/// Why a checkpoint can't be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// It is none.
    Garbage,
    /// A newer program wrote it, in this version.
    Newer(u32),
}

impl State {
    /// Read a checkpoint's content. What follows a line that can't be read is left out.
    ///
    /// # Errors
    /// There is no header of ours.
    pub fn parse(content: &[u8]) -> Result<Self, Unusable> {
        let mut lines = content.split_inclusive(|&byte| byte == b'\n');
        let version = header(lines.next().unwrap_or_default()).ok_or(Unusable::Garbage)?;
        if version > VERSION {
            return Err(Unusable::Newer(version));
        }
        let mut state = Self::default();
        while let Some(line) = lines.next() {
            let Some(record) = Record::parse(line) else {
                state.torn = 1 + lines.count();
                break;
            };
            state.apply(record);
        }
        Ok(state)
    }

    fn apply(&mut self, record: Record) {
        match record {
            Record::File(id, position) => {
                self.known.remove(&id);
                self.files.insert(id, position);
            }
            Record::Known(id, known) => {
                self.files.remove(&id);
                self.known.insert(id, known);
            }
            Record::Forget(id) => {
                self.files.remove(&id);
                self.known.remove(&id);
            }
            Record::Dropped(total) => self.dropped = total,
            Record::Rejected(total) => self.rejected = total,
        }
    }
}

fn header(line: &[u8]) -> Option<u32> {
    std::str::from_utf8(line).ok()?.strip_suffix('\n')?.strip_prefix(HEADER)?.strip_prefix(' ')?.parse().ok()
}

impl Record {
    /// Write it as a line.
    pub fn write(&self, to: &mut Vec<u8>) {
        let begin = to.len();
        let numbers = match self {
            Self::File(id, it) => {
                format!("f {} {} {} {} {} ", id.device, id.inode, it.born, it.at, it.context)
            }
            Self::Known(id, known) => {
                format!("k {} {} {} {} ", id.device, id.inode, known.born, u8::from(known.copy))
            }
            Self::Forget(id) => format!("x {} {} ", id.device, id.inode),
            Self::Dropped(total) => format!("d {total} "),
            Self::Rejected(total) => format!("r {total} "),
        };
        to.extend_from_slice(numbers.as_bytes());
        if let Self::File(_, position) = self {
            escape(&position.origin, to);
            to.push(b' ');
            // most files have the name that they came up under
            if position.path != position.origin {
                escape(&position.path, to);
            }
            to.push(b' ');
            if position.version > 0 {
                to.extend_from_slice(format!("{} ", position.version).as_bytes());
            }
        }
        let sum = checksum(&to[begin..]);
        to.extend_from_slice(format!("{sum:08x}\n").as_bytes());
    }

    /// Read a line; None if it is none of ours, or torn.
    #[must_use]
    pub fn parse(line: &[u8]) -> Option<Self> {
        let line = line.strip_suffix(b"\n")?;
        let (text, sum) = line.split_at_checked(line.len().checked_sub(8)?)?;
        let sum = std::str::from_utf8(sum).ok()?;
        if u32::from_str_radix(sum, 16).ok()? != checksum(text) {
            return None;
        }
        let mut words = text.split(|&byte| byte == b' ');
        let kind = words.next()?;
        if kind == b"d" {
            return Some(Self::Dropped(number(words.next()?)?));
        }
        if kind == b"r" {
            return Some(Self::Rejected(number(words.next()?)?));
        }
        let id = Id { device: number(words.next()?)?, inode: number(words.next()?)? };
        match kind {
            b"f" => {
                let (born, at, context) = (number(words.next()?)?, number(words.next()?)?, number(words.next()?)?);
                let origin = unescape(words.next()?)?;
                let path = unescape(words.next()?)?;
                let path = if path.is_empty() { origin.clone() } else { path };
                let version = words.next().filter(|word| !word.is_empty()).map_or(Some(0), number)?;
                Some(Self::File(id, Position { born, at, version, context, origin, path }))
            }
            b"k" => {
                let (born, copy) = (number(words.next()?)?, words.next()? == b"1");
                Some(Self::Known(id, Known { born, copy }))
            }
            b"x" => Some(Self::Forget(id)),
            _ => None,
        }
    }
}

fn number<N: std::str::FromStr>(word: &[u8]) -> Option<N> {
    std::str::from_utf8(word).ok()?.parse().ok()
}

fn checksum(text: &[u8]) -> u32 {
    let hash = hash(text);
    (hash ^ (hash >> 32)) as u32
}

/// Return a hash of some bytes: FNV-1a of 64 bits.
#[must_use]
pub fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, &byte| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Write a path without blanks and control characters: `%20`.
fn escape(path: &[u8], to: &mut Vec<u8>) {
    for &byte in path {
        if byte <= b' ' || byte == b'%' || byte == 0x7f {
            to.extend_from_slice(format!("%{byte:02x}").as_bytes());
        } else {
            to.push(byte);
        }
    }
}

fn unescape(word: &[u8]) -> Option<Vec<u8>> {
    let mut path = Vec::with_capacity(word.len());
    let mut rest = word;
    while let Some((&first, after)) = rest.split_first() {
        if first == b'%' {
            path.push(u8::from_str_radix(std::str::from_utf8(after.get(..2)?).ok()?, 16).ok()?);
            rest = &after[2..];
        } else {
            path.push(first);
            rest = after;
        }
    }
    Some(path)
}

/// The checkpoint as it is written.
#[derive(Debug)]
pub struct Journal {
    directory: Vec<u8>,
    file: Option<OwnedFd>,
    /// How long it is, and was when it was written anew last.
    length: u64,
    whole: u64,
}

impl Journal {
    /// Write into a directory; the first time everything.
    #[must_use]
    pub fn new(directory: &[u8]) -> Self {
        Self { directory: directory.to_vec(), file: None, length: 0, whole: 0 }
    }

    /// Return what a checkpoint in a directory has in it; None if there is none.
    ///
    /// # Errors
    /// It is there and can't be read.
    pub fn read(directory: &[u8]) -> std::io::Result<Option<Vec<u8>>> {
        // whatever is there under this name, it neither blocks nor fills the memory
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = match open(path(directory, NAME), flags, Mode::empty()) {
            Ok(file) => std::fs::File::from(file),
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let about = file.metadata()?;
        if !about.is_file() || about.len() > MOST_READ {
            return Err(std::io::Error::other("it is none of ours"));
        }
        let mut content = Vec::with_capacity(about.len() as usize);
        file.take(MOST_READ).read_to_end(&mut content)?;
        Ok(Some(content))
    }

    /// Say whether everything has to be written the next time, and not only what is new.
    #[must_use]
    pub fn wants_all(&self) -> bool {
        self.file.is_none() || self.length > SMALL.max(2 * self.whole)
    }

    /// Write everything the next time.
    pub fn outdate(&mut self) {
        self.file = None;
    }

    /// Append records.
    ///
    /// # Errors
    /// They can't be written; the next time everything has to be.
    pub fn append(&mut self, records: &[u8]) -> Result<(), Errno> {
        let Some(file) = &self.file else { return Err(Errno::BADF) };
        if let Err(error) = write_all(file, records) {
            let _ = ftruncate(file, self.length);
            self.file = None;
            return Err(error);
        }
        self.length += records.len() as u64;
        Ok(())
    }

    /// Write everything anew; return how many records did not fit.
    ///
    /// # Errors
    /// It can't be written; what was there stays.
    pub fn rewrite(&mut self, records: impl Iterator<Item = Record>) -> Result<usize, Errno> {
        self.file = None;
        let (new, old) = (path(&self.directory, NEW), path(&self.directory, NAME));
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = open(new.as_slice(), flags, Mode::from_raw_mode(0o600))?;
        let written = write_records(&file, records).and_then(|sum| {
            renameat(CWD, new.as_slice(), CWD, old.as_slice())?;
            Ok(sum)
        });
        match written {
            Ok((length, left_out)) => {
                (self.file, self.length, self.whole) = (Some(file), length, length);
                Ok(left_out)
            }
            Err(error) => {
                // the space that it takes may be what is lacking
                let _ = rustix::fs::unlink(new.as_slice());
                Err(error)
            }
        }
    }
}

/// Write header and records; return how many bytes that are, and how many records are left out.
fn write_records(file: &OwnedFd, records: impl Iterator<Item = Record>) -> Result<(u64, usize), Errno> {
    let mut block = format!("{HEADER} {VERSION}\n").into_bytes();
    let (mut length, mut left_out) = (0, 0);
    for record in records {
        if length + block.len() > MOST {
            left_out += 1;
            continue;
        }
        record.write(&mut block);
        if block.len() >= BLOCK {
            write_all(file, &block)?;
            length += block.len();
            block.clear();
        }
    }
    write_all(file, &block)?;
    Ok(((length + block.len()) as u64, left_out))
}

fn path(directory: &[u8], name: &str) -> Vec<u8> {
    [directory, b"/", name.as_bytes()].concat()
}

fn write_all(file: &OwnedFd, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match rustix::io::write(file, bytes) {
            Ok(0) => return Err(Errno::NOSPC),
            Ok(count) => bytes = &bytes[count..],
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::os::unix::ffi::OsStrExt;

    fn records() -> impl Strategy<Value = Record> {
        let id = (any::<u64>(), 0u64..5).prop_map(|(device, inode)| Id { device: device % 2, inode });
        let numbers = (any::<u64>(), 0u64..3, any::<u64>());
        let position = (any::<i64>(), numbers, any::<Vec<u8>>(), any::<Vec<u8>>()).prop_map(
            |(born, (at, version, context), origin, path)| {
                let path = if path.is_empty() { origin.clone() } else { path };
                Position { born, at, version, context, origin, path }
            },
        );
        prop_oneof![
            (id.clone(), position).prop_map(|(id, position)| Record::File(id, position)),
            (id.clone(), any::<i64>(), any::<bool>())
                .prop_map(|(id, born, copy)| Record::Known(id, Known { born, copy })),
            id.prop_map(Record::Forget),
            any::<u64>().prop_map(Record::Dropped),
            any::<u64>().prop_map(Record::Rejected),
        ]
    }

    fn text(records: &[Record]) -> Vec<u8> {
        let mut text = format!("{HEADER} {VERSION}\n").into_bytes();
        for record in records {
            record.write(&mut text);
        }
        text
    }

    fn applied(records: &[Record]) -> State {
        let mut state = State::default();
        for record in records {
            state.apply(record.clone());
        }
        state
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(records in prop::collection::vec(records(), 0..20)) {
            prop_assert_eq!(State::parse(&text(&records)), Ok(applied(&records)));
        }

        #[test]
        fn a_torn_journal_is_an_earlier_one(records in prop::collection::vec(records(), 0..9), at: prop::sample::Index) {
            let whole = text(&records);
            let header = text(&[]).len();
            let cut = header + at.index(whole.len() - header + 1);
            let mut state = State::parse(&whole[..cut]).unwrap();
            let lines = whole[header..cut].split(|&byte| byte == b'\n').count() - 1;
            prop_assert_eq!(state.torn, usize::from(whole[cut - 1] != b'\n'));
            state.torn = 0;
            prop_assert_eq!(state, applied(&records[..lines]));
        }

        #[test]
        fn a_changed_byte_is_noticed(record in records(), at: prop::sample::Index, to: u8) {
            let mut line = Vec::new();
            record.write(&mut line);
            let at = at.index(line.len());
            if !line[at].eq_ignore_ascii_case(&to) {
                line[at] = to;
                prop_assert_eq!(Record::parse(&line), None);
            }
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(mut bytes: Vec<u8>) {
            let _ = State::parse(&bytes);
            bytes.splice(0..0, text(&[]));
            prop_assert!(State::parse(&bytes).is_ok());
        }
    }

    #[test]
    fn other_versions() {
        assert_eq!(State::parse(b""), Err(Unusable::Garbage));
        assert_eq!(State::parse(b"pillion-tail checkpoint\n"), Err(Unusable::Garbage));
        assert_eq!(State::parse(b"pillion-tail checkpoint 1"), Err(Unusable::Garbage));
        assert_eq!(State::parse(b"pillion-tail checkpoint 2\nf what ever\n"), Err(Unusable::Newer(2)));
    }

    #[test]
    fn a_journal_is_appended_to_and_written_anew() {
        let directory = tempfile::tempdir().unwrap();
        let bytes = directory.path().as_os_str().as_bytes();
        assert_eq!(Journal::read(bytes).unwrap(), None);
        let mut journal = Journal::new(bytes);
        assert!(journal.wants_all());
        journal.rewrite([Record::Dropped(1)].into_iter()).unwrap();
        let mut line = Vec::new();
        Record::Dropped(2).write(&mut line);
        let mut appended = 0;
        while !journal.wants_all() {
            journal.append(&line).unwrap();
            appended += line.len() as u64;
        }
        assert!(appended + 100 > SMALL);
        assert_eq!(State::parse(&Journal::read(bytes).unwrap().unwrap()).unwrap().dropped, 2);
        journal.rewrite([Record::Dropped(3)].into_iter()).unwrap();
        assert_eq!(State::parse(&Journal::read(bytes).unwrap().unwrap()).unwrap().dropped, 3);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn it_never_outgrows_its_volume() {
        let directory = tempfile::tempdir().unwrap();
        let mut journal = Journal::new(directory.path().as_os_str().as_bytes());
        let left_out = journal.rewrite((0..1_000_000).map(|inode| Record::Forget(Id { device: 1, inode }))).unwrap();
        assert!(left_out > 0);
        assert!(journal.length <= (MOST + BLOCK) as u64);
    }

    #[test]
    fn what_can_not_be_written_leaves_what_was_there() {
        let mut journal = Journal::new(b"/dev");
        journal.file = Some(open("/dev/full", OFlags::WRONLY, Mode::empty()).unwrap());
        assert_eq!(journal.append(b"x"), Err(Errno::NOSPC));
        assert!(journal.wants_all());
        assert!(Journal::new(b"/nowhere").rewrite(std::iter::empty()).is_err());
    }
}
