//! copytruncate: what a truncated file held is read from the copy that was made of it.

use std::os::fd::OwnedFd;

use super::{Follower, Phase};
use crate::checkpoint::hash;
use crate::file::{Followed, agree, may_hold};
use crate::pattern::name_at;
use crate::rotation::{alike, origins};
use crate::stat::Stat;

impl Follower {
    /// A file was written anew. If a copy of what it held is found, that is read from where we were; otherwise return the
    /// line that had no end.
    pub(super) fn restart(&mut self, number: u32, index: usize) -> Option<Vec<u8>> {
        let file = self.table.stream(number)?.files.get(index)?;
        let seen = self.discovery.is_current(file.seen_in.0, file.seen_in.1);
        // one that was empty when its time changed may have got its first line in that moment
        let had_lines = file.at > 0 || file.whole.size > 0;
        if had_lines && seen && !self.is_wanted(file) && !file.is_copy {
            // who overwrites a file that was rotated away writes no log: shred, or the next copy
            self.finish(number, index);
            return None;
        }
        let copies = self.find_copies(number, index);
        let serial = self.table.serial();
        let file = self.table.stream_mut(number)?.files.get_mut(index)?;
        self.output.abandon(file.serial);
        let mut tail = file.take_tail(&mut self.buffer);
        file.restart(serial, &mut self.buffer);
        file.target = if self.options.native && self.phase != Phase::Running { file.growth.size } else { u64::MAX };
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
        if tail.last() != Some(&b'\n') {
            tail.push(b'\n');
        }
        Some(tail)
    }

    /// Return the copies of what a truncated file held, oldest first: the first one from our position on, later ones,
    /// made by further truncations, from their beginning.
    pub(super) fn find_copies(&mut self, number: u32, index: usize) -> Vec<Followed> {
        let Some(stream) = self.table.stream(number) else { return Vec::new() };
        let (origin, file) = (&stream.origin, &stream.files[index]);
        if file.is_copy {
            return Vec::new();
        }
        let mut candidates = Vec::new();
        for (id, neighbour) in &mut self.neighbours {
            let Some(certain) = comes_from(&neighbour.path, origin) else { continue };
            let Ok(stat) = Stat::of_path(&neighbour.path) else { continue };
            let written = std::mem::replace(&mut neighbour.modified, stat.modified) != stat.modified;
            if neighbour.candidate.take().is_some() || written {
                if let Ok((descriptor, stat)) = self.volumes.open(&neighbour.path) {
                    if stat.id == *id {
                        // one that was written again counts from then on
                        let made = if written { stat.modified } else { stat.born };
                        candidates.push((made, stat.modified, certain, neighbour.path.clone(), descriptor, stat));
                    }
                }
            }
        }
        candidates.sort_by_key(|one| (one.0, one.1));
        let (at, context) = (file.at, file.context());
        let mut copies: Vec<(Vec<u8>, OwnedFd, Stat)> = Vec::new();
        for (_, _, certain, path, descriptor, stat) in candidates {
            let goes_on =
                (at > 0 || may_hold(&stat, &file.whole, certain)) && file.is_continued_by(&descriptor, stat.size);
            match copies.last() {
                None if !goes_on => continue,
                // a backup, made before: this one has all of it
                Some((_, before, of)) if of.size <= stat.size && agree(before, &descriptor, of.size) => {
                    drop(copies.pop());
                }
                // a neighbour that is written, too
                Some((before, ..)) if !alike(before, &path) => continue,
                _ => {}
            }
            copies.push((path, descriptor, stat));
        }
        let since = self.milliseconds();
        copies
            .into_iter()
            .enumerate()
            .map(|(index, (path, descriptor, stat))| {
                let (at, context) = if index == 0 { (at, context) } else { (0, hash(b"")) };
                let serial = self.table.serial();
                let mut copy = Followed::new(&stat, &path, serial, at, context);
                let seen_in = self.neighbours.remove(&stat.id).map_or((u32::MAX, 0), |neighbour| neighbour.seen_in);
                (copy.descriptor, copy.is_copy, copy.since, copy.seen_in) = (Some(descriptor), true, since, seen_in);
                copy
            })
            .collect()
    }
}

/// Return whether only rotations make a file's name of another path; None if they do not.
fn comes_from(path: &[u8], origin: &[u8]) -> Option<bool> {
    let (directory, name) = path.split_at(name_at(path));
    let of = origin.strip_prefix(directory)?;
    origins(name).into_iter().find(|one| one.name == of).map(|one| one.certain)
}
