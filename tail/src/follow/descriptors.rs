//! Descriptors, when they run short: idle files are closed, and opened again when they grow.

use std::time::Duration;

use super::Follower;
use crate::complaints::shown;
use crate::volume::Refused;

/// Who has to wait for a descriptor for so long is named.
const WAITED: Duration = Duration::from_secs(5);

impl Follower {
    /// Open a file that was closed to save its descriptor.
    pub(super) fn reopen(&mut self, number: u32, index: usize) -> bool {
        let Some(file) = self.table.stream(number).and_then(|stream| stream.files.get(index)) else { return false };
        let (id, born, serial, path, directory) = (file.id, file.born, file.serial, file.path.clone(), file.seen_in.0);
        let waited = self.milliseconds().saturating_sub(file.since) >= WAITED.as_millis() as u64;
        if self.open >= self.limit && !self.close_idle() {
            if waited {
                self.complaints.once(&format!(
                    "too many files for {}: {} can be open at once",
                    shown(&path),
                    self.limit
                ));
            }
            return false;
        }
        match self.volumes.open(&path) {
            Ok((descriptor, stat)) if stat.id == id && stat.born == born => {
                if let Some(file) = self.table.file_mut(id) {
                    file.descriptor = Some(descriptor);
                    file.used = true;
                    self.open += 1;
                    return true;
                }
            }
            Ok(_) | Err(Refused::Gone) => self.discovery.list_again(directory),
            Err(Refused::NoDescriptor) => self.limit = self.open.max(1),
            Err(why @ Refused::Outside) => {
                self.refuse(&path, directory, &why);
                self.remove(number, serial);
            }
            Err(why) => self.refuse(&path, directory, &why),
        }
        false
    }

    /// Close a file that was not in use for long and can be opened again.
    pub(super) fn close_idle(&mut self) -> bool {
        if self.none_idle == self.looks {
            return false;
        }
        let bound = self.table.bound();
        for _ in 0..2 * bound {
            self.hand = (self.hand + 1) % bound;
            let Some(stream) = self.table.stream_mut(self.hand) else { continue };
            for file in &mut stream.files {
                let (directory, generation) = file.seen_in;
                let reachable =
                    file.growth.links > 0 && !file.is_copy && self.discovery.is_current(directory, generation);
                if file.descriptor.is_some() && file.is_idle() && reachable && !std::mem::replace(&mut file.used, false)
                {
                    file.descriptor = None;
                    self.open -= 1;
                    return true;
                }
            }
        }
        self.none_idle = self.looks;
        false
    }
}
