//! copytruncate: what a truncated file held is read from the copy that was made of it.

use super::{Follower, Phase};
use crate::checkpoint::hash;
use crate::file::Followed;
use crate::pattern::name_at;
use crate::rotation::origins;
use crate::stat::Stat;

impl Follower {
    /// A file was written anew. If a copy of what it held is found, that is read from where we were; otherwise return the
    /// line that had no end.
    pub(super) fn restart(&mut self, number: u32, index: usize) -> Option<Vec<u8>> {
        let file = self.table.stream(number)?.files.get(index)?;
        let seen = self.discovery.is_current(file.seen_in.0, file.seen_in.1);
        if seen && !self.is_wanted(file) && !file.is_copy {
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
            let (at, context) = if first { (at, context) } else { (0, hash(b"")) };
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
}

/// Say whether a file's name is one that rotations make of another path.
fn comes_from(path: &[u8], origin: &[u8]) -> bool {
    let (folder, name) = path.split_at(name_at(path));
    origin.strip_prefix(folder).is_some_and(|of| origins(name).iter().any(|one| one.name == of))
}
