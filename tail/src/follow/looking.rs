//! A look at all files: which there are, how far each has grown, and which are let go.

use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{getegid, geteuid};

use super::placing::MOST_FILE_BYTES;
use super::{Follower, Phase};
use crate::checkpoint::Record;
use crate::complaints::{say, shown};
use crate::discovery::{Known, Trouble};
use crate::file::Followed;
use crate::records::WAIT;
use crate::stat::{Growth, Id, Stat};

/// All directories are listed so often although none changed: some file systems don't keep the time of a change.
const LIST_ALL: Duration = Duration::from_secs(10);
const LIST_ALL_MICROSECONDS_EACH: u64 = 10_000;
/// So many renamed files stay open: the application may go on in them.
const RENAMED_OPEN: usize = 100;
/// When descriptors or memory run short, removed files are closed after so long without growth.
const SHORT_PATIENCE: Duration = Duration::from_secs(1);

impl Follower {
    /// Look at all files and directories.
    pub(super) fn look(&mut self) {
        self.looks += 1;
        let now = Instant::now();
        let all = now >= self.list_all_at;
        if all {
            // what ran short may be there again
            self.limit = self.most_open;
            self.dirty |= self.journal.wants_all();
            let pause = Duration::from_micros(self.discovery.len() as u64 * LIST_ALL_MICROSECONDS_EACH);
            self.list_all_at = now + LIST_ALL.max(pause);
        }
        let (mut found, mut troubles) = (Vec::new(), Vec::new());
        let table = &mut self.table;
        let mut is_known = |id: Id, path: &[u8], directory: u32, generation: u64| match table.file_mut(id) {
            Some(file) if file.descriptor.is_some() && *file.path == *path => {
                file.wanted_in = (directory, generation);
                file.seen_in = (directory, generation);
                Known::Open
            }
            Some(_) => Known::Number,
            None => Known::No,
        };
        let listed = self.discovery.scan(all, &mut is_known, &mut found, &mut troubles);
        if listed && !self.remembered.is_empty() {
            self.find_renamed(&mut found);
        }
        let complete = self.absorb(found) && troubles.is_empty();
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

    /// Say what is wrong with a directory or a file.
    pub(super) fn complain_of(&mut self, trouble: &Trouble) {
        let path = shown(&trouble.path);
        let text = match trouble.error {
            Errno::NOMEM => format!("too many directories for {path}"),
            error => self.cant_read(&trouble.path, error),
        };
        self.complaints.once(&text);
    }

    #[allow(clippy::unused_self)]
    pub(super) fn cant_read(&self, path: &[u8], error: Errno) -> String {
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
    pub(super) fn notice(&mut self) {
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

    /// Forget neighbours that are gone: a listing may miss what is renamed meanwhile, so two have to.
    pub(super) fn forget_neighbours(&mut self) {
        let (discovery, records) = (&mut self.discovery, &mut self.records);
        self.neighbours.retain(|id, neighbour| {
            let (directory, generation) = neighbour.seen_in;
            if directory == u32::MAX || discovery.is_current(directory, generation) {
                return true;
            }
            if std::mem::replace(&mut neighbour.missed, true) {
                records.push(Record::Forget(*id));
                return false;
            }
            discovery.list_again(directory);
            true
        });
        self.dirty |= !self.records.is_empty();
    }

    /// See how far each file has grown, newer ones first: so a line in a newer one is never printed before one that was
    /// written to the older one before. Say whether any has.
    pub(super) fn refresh(&mut self) -> bool {
        let time = self.milliseconds();
        let mut grew = false;
        let mut lost = Vec::new();
        for number in 0..self.table.bound() {
            let Some(stream) = self.table.stream_mut(number) else { continue };
            for file in stream.files.iter_mut().rev() {
                if let Some(descriptor) = &file.descriptor {
                    if let Ok(growth) = Growth::of(descriptor) {
                        grew |= file.refresh(growth, time);
                    } else {
                        // a file server has forgotten the descriptor: the next one is opened by name
                        file.descriptor = None;
                        self.open -= 1;
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
    pub(super) fn lose(&mut self, stream: u32, serial: u64) {
        let Some(file) = self.remove(stream, serial) else { return };
        let behind = file.growth.size.saturating_sub(file.at);
        if behind > 0 {
            self.dropped += behind;
            self.records.push(Record::Dropped(self.dropped));
            let path = shown(&file.path);
            self.complaints
                .once(&format!("too few descriptors: {path} was removed before its last {behind} bytes were read"));
        }
    }

    /// Stop following a file.
    pub(super) fn remove(&mut self, stream: u32, serial: u64) -> Option<Followed> {
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
    pub(super) fn let_go(&mut self) {
        let now = self.milliseconds();
        let short = self.open >= self.limit - self.limit / 8 || self.table.cost() > MOST_FILE_BYTES / 2;
        let patience = if short { self.options.patience.min(SHORT_PATIENCE) } else { self.options.patience };
        let patience = patience.as_millis() as u64;
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
                } else if expired && (short || self.open > RENAMED_OPEN) && file.serial != in_flight {
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
                self.complaints.once(&format!("slow output: dropped {behind} bytes of removed {}", shown(&file.path)));
            }
        }
    }

    pub(super) fn queue_all(&mut self) {
        let now = self.milliseconds();
        let after = self.options.unfinished_after.map(|after| after.as_millis() as u64);
        for number in 0..self.table.bound() {
            let Some(stream) = self.table.stream_mut(number) else { continue };
            for file in &mut stream.files {
                file.unread |=
                    file.joining_since.is_some() && now.saturating_sub(file.since) >= WAIT.as_millis() as u64;
            }
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

    pub(super) fn queue(&mut self, number: u32) {
        if let Some(stream) = self.table.stream_mut(number) {
            if !stream.queued {
                stream.queued = true;
                self.ready.push_back(number);
            }
        }
    }
}
