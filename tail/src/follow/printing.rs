//! What is printed next, and what comes of it.

use std::os::fd::AsFd;

use rustix::io::Errno;

use super::{Batch, Follower, Neighbour, Phase, Pumped, Text};
use crate::checkpoint::{Known, Record};
use crate::complaints::shown;
use crate::file::{Followed, Next};
use crate::output::{Location, Source};
use crate::records::{LONGEST_WAIT, WAIT};

impl Follower {
    /// Print what is next.
    pub(super) fn pump(&mut self) -> Pumped {
        match self.output.flush() {
            Ok(true) => {}
            Ok(false) => return Pumped::Busy,
            Err(error) => return self.broken(error),
        }
        if self.batch.is_none() {
            self.batch = self.choose();
        }
        let Some(batch) = &mut self.batch else {
            return if self.output.rest() { Pumped::Nothing } else { Pumped::Busy };
        };
        let Some(stream) = self.table.stream(batch.stream) else {
            self.batch = None;
            return Pumped::Printed;
        };
        let (bytes, last) = match &batch.what {
            Text::Piece(piece) => (self.buffer.piece(piece), piece.last),
            Text::Tail(text) => (text.as_slice(), false),
        };
        while batch.done < bytes.len() {
            let location = Location { at: batch.location.at + batch.done as u64, ..batch.location };
            let source = Source { serial: batch.serial, path: &stream.origin, location };
            match self.output.offer(&source, &bytes[batch.done..], last) {
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

    pub(super) fn broken(&mut self, error: Errno) -> Pumped {
        self.complaints.once(&format!("can't write to standard output: {}", std::io::Error::from(error)));
        Pumped::Broken
    }

    /// Choose what to print next: the streams take turns, but a line that goes on comes first.
    pub(super) fn choose(&mut self) -> Option<Batch> {
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
    pub(super) fn next_of(&mut self, number: u32) -> Option<Batch> {
        let mut index = 0;
        loop {
            let stream = self.table.stream(number)?;
            let file = stream.files.get(index)?;
            let (serial, is_copy, closing) = (file.serial, file.is_copy, file.closing);
            let newer = stream.files[index + 1..].iter().any(Followed::is_behind);
            let (limit, location) = (file.target, file.location());
            let now = self.milliseconds();
            let waited = now.saturating_sub(file.since);
            let joining = file.joining_since.map_or(0, |since| now.saturating_sub(since));
            let stale = self.options.unfinished_after.is_some_and(|after| waited >= after.as_millis() as u64);
            let all = newer || is_copy || closing || stale || self.phase == Phase::Flushing;
            let may_go_on = waited < WAIT.as_millis() as u64 && joining < LONGEST_WAIT.as_millis() as u64;
            let join = !all && may_go_on && self.phase.may_grow();
            match self.next_of_file(number, index, (all, join), limit) {
                Next::Print(piece) => {
                    return Some(Batch { stream: number, serial, location, what: Text::Piece(piece), done: 0 });
                }
                Next::Restart => {
                    if let Some(tail) = self.restart(number, index) {
                        return Some(Batch { stream: number, serial, location, what: Text::Tail(tail), done: 0 });
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
    pub(super) fn is_done(&self, number: u32, index: usize) -> bool {
        let file = self.table.stream(number).and_then(|stream| stream.files.get(index));
        file.is_some_and(|file| file.descriptor.is_some() && !file.unread)
    }

    /// Let go of a file that is printed to its end; if it still has a name it is not printed again.
    pub(super) fn finish(&mut self, number: u32, index: usize) {
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
                // only of a copy is it sure that nothing else comes
                size: (!file.is_copy).then_some(file.growth.size),
                modified: file.growth.modified,
                candidate: None,
            };
            self.neighbours.insert(file.id, neighbour);
            self.records.push(Record::Known(file.id, Known { born: file.born, copy: true }));
        }
    }

    pub(super) fn next_of_file(&mut self, number: u32, index: usize, (all, join): (bool, bool), limit: u64) -> Next {
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
        let records = self.options.records.as_ref().filter(|_| join);
        let next = file.next(descriptor.as_fd(), &mut self.buffer, (all, records), limit);
        file.descriptor = Some(descriptor);
        next.unwrap_or_else(|error| {
            let path = shown(&file.path);
            self.complaints.once(&format!("can't read {path}: {}", std::io::Error::from(error)));
            Next::Nothing
        })
    }
}
