//! The checkpoint: what a sidecar before us wrote down, and what we do.

use rustix::io::Errno;

use super::{Follower, Neighbour};
use crate::checkpoint::{Journal, Known, Position, Record, State, Unusable};
use crate::complaints::{say, shown};
use crate::file::Followed;

/// So many records wait for an output that is not durable, as a store that is away: beyond that all is written anew.
const MOST_RECORDS: usize = 4096;

impl Follower {
    /// Take over what a sidecar before us wrote down.
    pub(super) fn resume(&mut self) {
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
                self.rejected = state.rejected;
                let neighbour = |known: Known| Neighbour {
                    born: known.born,
                    copy: known.copy,
                    seen_in: (u32::MAX, 0),
                    missed: false,
                    path: Vec::new(),
                    size: Some(u64::MAX),
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

    /// A receiver answered for all that was taken: count what it rejected, and write down how far each file is sent.
    pub(super) fn settle(&mut self, rejected: u64) {
        if rejected > 0 {
            self.rejected += rejected;
            self.records.push(Record::Rejected(self.rejected));
            self.dirty = true;
        }
        self.save();
    }

    /// Write down how far each file is printed, if that changed, and all of it is durably out.
    pub(super) fn save(&mut self) {
        if !self.dirty {
            return;
        }
        if !self.output.is_durable() {
            if self.records.len() > MOST_RECORDS {
                self.records = Vec::new();
                self.journal.outdate();
            }
            return;
        }
        self.saved_at = self.output.taken();
        let result = if self.journal.wants_all() { self.save_all() } else { self.save_changes() };
        match result {
            Ok(left_out) => {
                if left_out > 0 {
                    self.complaints
                        .once(&format!("too many files for the checkpoint: a restart prints some again ({left_out})"));
                }
                for file in self.table.files_mut() {
                    file.dirty = false;
                }
            }
            Err(error) => {
                let (place, reason) = (shown(&self.options.state), std::io::Error::from(error));
                self.complaints.once(&format!("no checkpoint in {place}: a restart prints lines again ({reason})"));
            }
        }
        // after an error everything is written the next time
        self.dirty = false;
        self.records.clear();
    }

    pub(super) fn save_all(&mut self) -> Result<usize, Errno> {
        let Self { table, neighbours, remembered, journal, dropped, rejected, .. } = self;
        let files =
            table.streams().flat_map(|(_, stream)| stream.files.iter().map(|file| position(&stream.origin, file)));
        let known = neighbours.iter().map(|(id, one)| Record::Known(*id, Known { born: one.born, copy: one.copy }));
        let remembered = remembered.iter().map(|(id, position)| Record::File(*id, position.clone()));
        let rejected = (*rejected > 0).then_some(Record::Rejected(*rejected));
        let sums = std::iter::once(Record::Dropped(*dropped)).chain(rejected);
        journal.rewrite(sums.chain(remembered).chain(known).chain(files))
    }

    pub(super) fn save_changes(&mut self) -> Result<usize, Errno> {
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
        version: file.version,
        context: file.context(),
        origin: origin.to_vec(),
        path: file.path.to_vec(),
    };
    Record::File(file.id, position)
}
