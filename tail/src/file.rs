//! One file that is followed: how far it is printed, what is read of it next, and whether it is still the same.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{SeekFrom, seek};
use rustix::io::{Errno, pread};

use crate::checkpoint::hash;
use crate::output::{Location, whole_characters};
use crate::records::Records;
use crate::stat::{Growth, Id, Stat};

/// A file is known again by so many bytes before the position.
pub const CONTEXT: u64 = 256;
/// So much is read at once, with the context; a pipe takes as much.
const READ: usize = 64 << 10;
/// So many NUL bytes are no text: a hole that was left by a truncation, or space that was allocated beforehand.
const HOLE: usize = 16;
/// A line without an end is kept up to this length, and all of them together up to the other, so that it is not lost
/// when the file is written anew.
const KEPT: usize = 32 << 10;
const KEPT_TOGETHER: usize = 256 << 10;

/// A file up to this length is printed again when its time changes and its length does not.
const MOST_REWRITTEN: u64 = READ as u64;

/// What is read into, and the budget for unfinished lines.
#[derive(Debug)]
pub struct Buffer {
    bytes: Vec<u8>,
    kept: usize,
}

impl Default for Buffer {
    fn default() -> Self {
        Self { bytes: vec![0; READ], kept: 0 }
    }
}

impl Buffer {
    /// Return a piece that was read.
    #[must_use]
    pub fn piece(&self, piece: &Piece) -> &[u8] {
        &self.bytes[piece.from..piece.to]
    }
}

/// A piece of a file, in the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    from: usize,
    to: usize,
    /// It is the end of a line that has no newline, and gets none.
    pub last: bool,
    /// Its line goes on in the next piece.
    pub goes_on: bool,
}

/// What there is to do with a file.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing, for now.
    Nothing,
    /// Print this.
    Print(Piece),
    /// It was written anew: read it from its beginning.
    Restart,
}

/// Was a file written without growing? A second look decides, since a write changes the time before the size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rewrite {
    No,
    Suspected(i64),
    Confirmed(i64),
}

/// One file that is followed.
#[derive(Debug)]
pub struct Followed {
    /// Which file it is, and when it was made.
    pub id: Id,
    /// See `id`.
    pub born: i64,
    /// A number of its own, and another one each time it is written anew.
    pub serial: u64,
    /// Which came up earlier.
    pub order: u64,
    /// Its descriptor, unless it is closed to save that.
    pub descriptor: Option<OwnedFd>,
    /// Its path, as far as that is known.
    pub path: Box<[u8]>,
    /// The directory and listing in which an argument meant it, and in which it was seen under any name.
    pub wanted_in: (u32, u64),
    /// See `wanted_in`.
    pub seen_in: (u32, u64),
    /// Up to here it is printed.
    pub at: u64,
    /// How it was at the last look.
    pub growth: Growth,
    /// When it last changed, in milliseconds.
    pub since: u64,
    /// There may be something to print.
    pub unread: bool,
    /// It became shorter.
    pub shrunk: bool,
    /// How it was before that, as far as we saw.
    pub whole: Growth,
    /// It is a copy that was made before a truncation: read to its end, then let go.
    pub is_copy: bool,
    /// It was removed, and nothing came for long: print the rest, and let go.
    pub closing: bool,
    /// It is closed, and a listing did not have it.
    pub missed: bool,
    /// How far it is to be printed, once the end of a native sidecar has begun.
    pub target: u64,
    /// The checkpoint does not have this position.
    pub dirty: bool,
    /// It was in use since the search for idle descriptors came by.
    pub used: bool,
    /// How often it was written anew.
    pub version: u64,
    /// Since when what stands behind the position waits, as a record that may go on, in milliseconds.
    pub joining_since: Option<u64>,
    /// A hash of the bytes before the position.
    context: u64,
    /// What stands behind the position, a line without an end.
    tail: Vec<u8>,
    /// Up to here there is no newline.
    scanned: u64,
    /// A line longer than the buffer is printed up to here.
    long_until: u64,
    long_is_last: bool,
    /// NULs at the head were dealt with.
    headed: bool,
    restarted: bool,
    /// Here NULs begin that are not yet written.
    blank: Option<u64>,
    /// At this length it has space at its end that is not yet written: a search for a newline stops there.
    allocated: u64,
    rewrite: Rewrite,
}

impl Followed {
    /// Follow a file from a position on.
    #[must_use]
    pub fn new(stat: &Stat, path: &[u8], serial: u64, at: u64, context: u64) -> Self {
        Self {
            id: stat.id,
            born: stat.born,
            serial,
            order: serial,
            descriptor: None,
            path: path.into(),
            wanted_in: (u32::MAX, 0),
            seen_in: (u32::MAX, 0),
            at,
            growth: Growth::from(stat),
            since: 0,
            unread: stat.size > 0 || at > 0,
            shrunk: stat.size < at,
            whole: Growth::from(stat),
            is_copy: false,
            closing: false,
            missed: false,
            target: u64::MAX,
            dirty: true,
            used: true,
            version: 0,
            joining_since: None,
            context,
            tail: Vec::new(),
            scanned: 0,
            long_until: 0,
            long_is_last: false,
            headed: at > 0,
            restarted: false,
            blank: None,
            allocated: 0,
            rewrite: Rewrite::No,
        }
    }

    /// Return where its position is.
    #[must_use]
    pub fn location(&self) -> Location {
        Location { id: self.id, born: self.born, version: self.version, at: self.at }
    }

    /// Return the hash by which it is known again at its position.
    #[must_use]
    pub fn context(&self) -> u64 {
        self.context
    }

    /// Say whether there are bytes that are not printed.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        self.shrunk || self.growth.size > self.at
    }

    /// Say whether it can be closed, and opened again when it grows.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        !self.unread && !self.shrunk && self.blank.is_none() && self.rewrite == Rewrite::No
    }

    /// Take over how the file is now; say whether it changed.
    pub fn refresh(&mut self, now: Growth, time: u64) -> bool {
        let before = std::mem::replace(&mut self.growth, now);
        let written = (before.size, before.modified) != (now.size, now.modified);
        // space that nobody has written to may be cut off: a file that was made large beforehand is closed
        let end = self.blank.unwrap_or(before.size);
        // what never was longer than nothing may have been written and emptied meanwhile
        if now.size < end || (written && now.size == 0 && self.at == 0) {
            if !self.shrunk {
                self.whole = before;
            }
            self.shrunk = true;
            self.scanned = 0;
            self.blank = None;
            self.unread = true;
        } else if written && now.size == before.size && self.may_be_rewritten() {
            // `touch` sets both times
            self.rewrite = if now.modified == now.accessed { Rewrite::No } else { Rewrite::Suspected(now.modified) };
            self.unread = true;
        } else if written {
            self.rewrite = Rewrite::No;
            self.unread |= now.size > 0;
        } else if let Rewrite::Suspected(modified) = self.rewrite {
            self.rewrite = Rewrite::Confirmed(modified);
            self.unread = true;
        }
        self.blank = self.blank.filter(|&blank| blank < now.size);
        if let (Some(blank), Some(file)) = (self.blank, &self.descriptor) {
            let mut byte = [0];
            if pread(file, &mut byte, blank) == Ok(1) && byte != [0] {
                (self.blank, self.scanned, self.unread) = (None, self.scanned.min(blank), true);
                self.allocated = self.growth.size;
            }
        }
        if written {
            self.since = time;
            self.used = true;
        }
        written
    }

    /// Say whether it may have been written anew if its time changes and its length does not. A large file is not: a
    /// disk that is slow lets a writer's time be seen long before its data.
    fn may_be_rewritten(&self) -> bool {
        let size = self.growth.size;
        size > 0 && size <= MOST_REWRITTEN && size == self.at + self.tail.len() as u64
    }

    /// Read what is to be printed next: whole lines, or a piece of a line longer than the buffer; with `all` also what
    /// has no end; with records only whole ones, or what of one fills the buffer. Nothing behind `limit` counts.
    ///
    /// # Errors
    /// What pread(2) returns.
    pub fn next(
        &mut self,
        file: BorrowedFd<'_>,
        buffer: &mut Buffer,
        (all, records): (bool, Option<&Records>),
        limit: u64,
    ) -> Result<Next, Errno> {
        if self.shrunk {
            if self.at < CONTEXT || !self.is_continued_by(file, self.at) {
                return Ok(Next::Restart);
            }
            // all that was printed is still there: its end was cut off, or a file server told an older size
            self.shrunk = false;
            let rest = self.growth.size.saturating_sub(self.at).min(self.tail.len() as u64) as usize;
            let tail = self.tail[..rest].to_vec();
            self.keep(tail, buffer);
        }
        let size = self.growth.size.min(limit);
        if size < self.at || !(self.unread || (all && size > self.at)) {
            return Ok(Next::Nothing);
        }
        loop {
            // what stands before the position is read with it, and compared: was the file written anew?
            let context = self.at.min(CONTEXT) as usize;
            let begin = self.at - context as u64;
            let end = size.min(begin + buffer.bytes.len() as u64);
            let count = read_at(file, &mut buffer.bytes[..(end - begin) as usize], begin)?;
            if count < context {
                // shorter than it was: the next look shows how short
                self.unread = false;
                return Ok(Next::Nothing);
            }
            let data = &buffer.bytes[context..count];
            let known = self.tail.len().min(data.len());
            if hash(&buffer.bytes[..context]) != self.context || data[..known] != self.tail[..known] {
                return Ok(Next::Restart);
            }
            let reached = begin + count as u64;
            let known_rest = known == data.len() && !all && !(self.joining_since.is_some() && records.is_none());
            if data.is_empty() || (known_rest && reached == size) {
                self.unread = false;
                let rewritten = self.rewrite == Rewrite::Confirmed(self.growth.modified);
                self.rewrite = if rewritten { Rewrite::No } else { self.rewrite };
                return Ok(if rewritten { Next::Restart } else { Next::Nothing });
            }
            if !self.headed {
                match self.skip_head(file, buffer, count, size)? {
                    Some(true) => continue,
                    Some(false) => return Ok(Next::Nothing),
                    None => {}
                }
            }
            let data = &buffer.bytes[context..count];
            if self.long_until > self.at {
                let rest = self.long_until - self.at;
                let goes_on = rest > data.len() as u64;
                let length = if goes_on { whole_characters(data) } else { rest as usize };
                let last = self.long_is_last && !goes_on;
                return Ok(Next::Print(Piece { from: context, to: context + length, last, goes_on }));
            }
            if let Some(newline) = memchr::memrchr(b'\n', data) {
                let mut to = context + newline + 1;
                if let Some(records) = records {
                    match records.last_start(&data[..=newline]) {
                        Some(start) => to = context + start,
                        None if reached < size => {}
                        None => {
                            self.joining_since.get_or_insert(self.since);
                            self.unread = false;
                            let tail = data.to_vec();
                            self.keep(tail, buffer);
                            return Ok(Next::Nothing);
                        }
                    }
                }
                return Ok(Next::Print(Piece { from: context, to, last: false, goes_on: false }));
            }
            let zeros = data.iter().rev().take_while(|&&byte| byte == 0).count();
            let text = data.len() - zeros;
            if reached < size {
                let blank = (zeros > 0).then_some(self.at + text as u64);
                if self.measure_long_line(file, buffer, (reached, size), blank, all)? {
                    continue;
                }
                return Ok(Next::Nothing);
            }
            if all {
                let length = if zeros >= HOLE || text == 0 { text } else { data.len() };
                self.unread = false;
                let piece = Piece { from: context, to: context + length, last: true, goes_on: false };
                return Ok(if length == 0 { Next::Nothing } else { Next::Print(piece) });
            }
            self.blank = (zeros > 0).then_some(self.at + text as u64);
            self.unread = false;
            let tail = buffer.bytes[context..context + text].to_vec();
            self.keep(tail, buffer);
            return Ok(Next::Nothing);
        }
    }

    /// Skip NULs at the file's head: a hole that a truncation left under a writer that does not append. Return whether
    /// some were, or false if nothing else is there yet, or None if there are none.
    fn skip_head(
        &mut self,
        file: BorrowedFd<'_>,
        buffer: &mut Buffer,
        count: usize,
        size: u64,
    ) -> Result<Option<bool>, Errno> {
        let zeros = buffer.bytes[..count].iter().take_while(|&&byte| byte == 0).count();
        let mut end = zeros as u64;
        if zeros == count {
            end = find_content(file, buffer, behind_hole(file, end, size), size)?.unwrap_or(size);
            if end == size {
                self.blank = Some(0);
                self.unread = false;
                return Ok(Some(false));
            }
        }
        self.headed = true;
        if zeros < HOLE && !(self.restarted && zeros > 0) {
            return Ok(None);
        }
        self.skip(end);
        Ok(Some(true))
    }

    /// Go on behind a hole.
    fn skip(&mut self, end: u64) {
        self.at = end;
        self.context = hash(&vec![0; end.min(CONTEXT) as usize]);
    }

    /// Note where a line ends that is longer than the buffer; say whether it can be printed.
    fn measure_long_line(
        &mut self,
        file: BorrowedFd<'_>,
        buffer: &mut Buffer,
        (reached, size): (u64, u64),
        blank: Option<u64>,
        all: bool,
    ) -> Result<bool, Errno> {
        self.keep(Vec::new(), buffer);
        let until_blank = self.allocated == size;
        match find_line_end(file, buffer, self.scanned.max(reached), size, until_blank)? {
            LineEnd::Newline(newline) => {
                (self.long_until, self.long_is_last) = (newline + 1, false);
                return Ok(true);
            }
            LineEnd::Hole(begin, end) => {
                let text = content_end(file, buffer, self.at, begin)?;
                if text > self.at {
                    (self.long_until, self.long_is_last) = (text, true);
                } else {
                    self.skip(end);
                }
                return Ok(true);
            }
            LineEnd::None => {}
        }
        let end = if blank.is_some() && !all { self.at } else { content_end(file, buffer, self.at, size)? };
        if all && end > self.at {
            (self.long_until, self.long_is_last) = (end, true);
            return Ok(true);
        }
        self.blank = blank.or((end < size).then_some(end));
        self.scanned = self.blank.unwrap_or(size);
        self.unread = false;
        Ok(false)
    }

    fn keep(&mut self, tail: Vec<u8>, buffer: &mut Buffer) {
        buffer.kept -= self.tail.len();
        self.tail = tail;
        if self.tail.len() > KEPT || buffer.kept + self.tail.len() > KEPT_TOGETHER {
            self.tail = Vec::new();
        }
        buffer.kept += self.tail.len();
    }

    /// Note that a piece was printed.
    pub fn printed(&mut self, piece: &Piece, buffer: &mut Buffer) {
        self.at += (piece.to - piece.from) as u64;
        let context = self.at.min(CONTEXT) as usize;
        self.context = hash(&buffer.bytes[piece.to - context..piece.to]);
        self.keep(Vec::new(), buffer);
        self.dirty = true;
        self.joining_since = None;
        self.unread = self.at < self.growth.size;
        self.rewrite = Rewrite::No;
    }

    /// Take out the line that has no end, before it is lost.
    #[must_use]
    pub fn take_tail(&mut self, buffer: &mut Buffer) -> Vec<u8> {
        buffer.kept -= self.tail.len();
        std::mem::take(&mut self.tail)
    }

    /// Read it from its beginning, under a new number.
    pub fn restart(&mut self, serial: u64, buffer: &mut Buffer) {
        self.keep(Vec::new(), buffer);
        self.serial = serial;
        self.version += 1;
        self.joining_since = None;
        (self.at, self.context) = (0, hash(b""));
        (self.scanned, self.long_until, self.long_is_last) = (0, 0, false);
        (self.headed, self.restarted, self.blank) = (false, true, None);
        (self.shrunk, self.whole, self.rewrite) = (false, self.growth, Rewrite::No);
        self.unread = self.growth.size > 0;
        self.dirty = true;
    }

    /// Say whether another file has, before a position, what this one has before its own.
    #[must_use]
    pub fn is_continued_by(&self, other: impl AsFd, size: u64) -> bool {
        let mut bytes = [0; CONTEXT as usize];
        let context = self.at.min(CONTEXT);
        let bytes = &mut bytes[..context as usize];
        size >= self.at
            && read_at(other.as_fd(), bytes, self.at - context) == Ok(bytes.len())
            && hash(bytes) == self.context
    }
}

/// Say whether a file may be a copy of one of which nothing is printed, when that was so: before the first line any file
/// goes on, so its length and time tell, and its name if there was nothing in it.
#[must_use]
pub fn may_hold(copy: &Stat, whole: &Growth, certain: bool) -> bool {
    copy.size >= whole.size && copy.modified >= whole.modified && (certain || whole.size > 0)
}

/// Say whether two files have the same up to a size, as far as their first bytes and those before it tell.
#[must_use]
pub fn agree(one: impl AsFd, other: impl AsFd, size: u64) -> bool {
    let length = size.min(CONTEXT) as usize;
    let same = |at| {
        let (mut left, mut right) = ([0; CONTEXT as usize], [0; CONTEXT as usize]);
        read_at(one.as_fd(), &mut left[..length], at) == Ok(length)
            && read_at(other.as_fd(), &mut right[..length], at) == Ok(length)
            && left == right
    };
    same(0) && same(size - length as u64)
}

/// Return the position behind the last newline before the end, at most `READ` bytes before it, and the hash of what
/// stands before that.
///
/// # Errors
/// What pread(2) returns.
pub fn end_of_lines(file: BorrowedFd<'_>, buffer: &mut Buffer, size: u64) -> Result<(u64, u64), Errno> {
    let begin = size.saturating_sub(buffer.bytes.len() as u64);
    let count = read_at(file, &mut buffer.bytes[..(size - begin) as usize], begin)?;
    let end = memchr::memrchr(b'\n', &buffer.bytes[..count]).map_or(if begin == 0 { 0 } else { count }, |at| at + 1);
    let position = begin + end as u64;
    let context = position.min(CONTEXT).min(end as u64) as usize;
    if (context as u64) < position.min(CONTEXT) {
        // the only newline stands at the very beginning of what was read
        let mut bytes = vec![0; position.min(CONTEXT) as usize];
        let begin = position - bytes.len() as u64;
        read_at(file, &mut bytes, begin)?;
        return Ok((position, hash(&bytes)));
    }
    Ok((position, hash(&buffer.bytes[end - context..end])))
}

/// Where a line ends that has no end in the buffer.
enum LineEnd {
    /// At this newline.
    Newline(u64),
    /// Before a hole of more than 64 KiB, which begins here at the latest, and behind which this is the first byte.
    Hole(u64, u64),
    /// Nowhere yet.
    None,
}

/// Return where the line ends that a range begins in; with `until_blank` only before 64 KiB of NULs.
fn find_line_end(
    file: BorrowedFd<'_>,
    buffer: &mut Buffer,
    from: u64,
    to: u64,
    until_blank: bool,
) -> Result<LineEnd, Errno> {
    let mut at = from;
    while at < to {
        let length = (to - at).min(READ as u64) as usize;
        let count = read_at(file, &mut buffer.bytes[..length], at)?;
        let chunk = &buffer.bytes[..count];
        if let Some(found) = memchr::memchr(b'\n', chunk) {
            return Ok(LineEnd::Newline(at + found as u64));
        }
        let blank = chunk.iter().all(|&byte| byte == 0);
        if count == 0 || (until_blank && blank) {
            break;
        }
        let begin = at;
        at += count as u64;
        if blank {
            let end = behind_hole(file, at, to);
            if end > at {
                let content = find_content(file, buffer, end, to)?;
                return Ok(content.map_or(LineEnd::None, |content| LineEnd::Hole(begin, content)));
            }
        }
    }
    Ok(LineEnd::None)
}

/// Return the position of the first byte in a range that is no NUL.
fn find_content(file: BorrowedFd<'_>, buffer: &mut Buffer, from: u64, to: u64) -> Result<Option<u64>, Errno> {
    let mut at = from;
    while at < to {
        let length = (to - at).min(READ as u64) as usize;
        let count = read_at(file, &mut buffer.bytes[..length], at)?;
        if let Some(found) = buffer.bytes[..count].iter().position(|&byte| byte != 0) {
            return Ok(Some(at + found as u64));
        }
        if count == 0 {
            break;
        }
        at = behind_hole(file, at + count as u64, to);
    }
    Ok(None)
}

/// Return the first position from `at` on that is in no hole: a hole costs no space, and reading one of terabytes would
/// take as long as if it were text. Where the file system does not know of holes there are none.
fn behind_hole(file: BorrowedFd<'_>, at: u64, to: u64) -> u64 {
    match seek(file, SeekFrom::Data(at)) {
        Ok(data) => data.clamp(at, to),
        Err(Errno::NXIO) => to,
        Err(_) => at,
    }
}

/// Return the end of what is no NUL in a range.
fn content_end(file: BorrowedFd<'_>, buffer: &mut Buffer, from: u64, to: u64) -> Result<u64, Errno> {
    let (mut at, mut end) = (from, from);
    while at < to {
        at = behind_hole(file, at, to);
        if at < to {
            at = seek(file, SeekFrom::Hole(at)).map_or(to, |hole| hole.clamp(at + 1, to));
            end = at;
        }
    }
    while end > from {
        let length = (end - from).min(READ as u64);
        let begin = end - length;
        let count = read_at(file, &mut buffer.bytes[..length as usize], begin)?;
        if let Some(last) = buffer.bytes[..count].iter().rposition(|&byte| byte != 0) {
            return Ok(begin + last as u64 + 1);
        }
        end = begin;
    }
    Ok(from)
}

/// Read until the buffer is full or the file ends.
fn read_at(file: BorrowedFd<'_>, buffer: &mut [u8], at: u64) -> Result<usize, Errno> {
    let mut count = 0;
    while count < buffer.len() {
        match pread(file, &mut buffer[count..], at + count as u64) {
            Ok(0) => break,
            Ok(more) => count += more,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(count)
}
