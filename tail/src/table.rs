//! The files that are followed, in streams: those of one name, which follow each other by rotation, oldest first.

use std::collections::BTreeMap;

use crate::file::Followed;
use crate::stat::Id;

/// The files whose lines belong to one name.
#[derive(Debug)]
pub struct Stream {
    /// The path that its lines are known by.
    pub origin: Vec<u8>,
    /// Its files, oldest first. A newer one is printed after the end of those before it.
    pub files: Vec<Followed>,
    /// It waits for its turn to print.
    pub queued: bool,
}

/// All streams, by number; numbers of those that ended are used again.
#[derive(Debug, Default)]
pub struct Table {
    streams: Vec<Option<Stream>>,
    free: Vec<u32>,
    by_origin: BTreeMap<Vec<u8>, u32>,
    by_id: BTreeMap<Id, u32>,
    serials: u64,
    cost: usize,
}

/// Return the memory that a file takes in bytes: the file, its numbers in two maps, and its path three times.
fn file_cost(origin: &[u8]) -> usize {
    size_of::<Followed>() + 150 + 3 * origin.len()
}

impl Table {
    /// Return a number that no file had before.
    pub fn serial(&mut self) -> u64 {
        self.serials += 1;
        self.serials
    }

    /// Return how many files there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Return how much memory they take, in bytes.
    #[must_use]
    pub fn cost(&self) -> usize {
        self.cost
    }

    /// Say whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Return one more than the highest number of a stream.
    #[must_use]
    pub fn bound(&self) -> u32 {
        self.streams.len() as u32
    }

    /// Return a stream.
    #[must_use]
    pub fn stream(&self, number: u32) -> Option<&Stream> {
        self.streams.get(number as usize).and_then(Option::as_ref)
    }

    /// Return a stream to change it; files are added and removed by the table's own methods.
    pub fn stream_mut(&mut self, number: u32) -> Option<&mut Stream> {
        self.streams.get_mut(number as usize).and_then(Option::as_mut)
    }

    /// Yield all streams with their numbers.
    pub fn streams(&self) -> impl Iterator<Item = (u32, &Stream)> {
        (0..).zip(&self.streams).filter_map(|(number, stream)| Some((number, stream.as_ref()?)))
    }

    /// Yield all files.
    pub fn files_mut(&mut self) -> impl Iterator<Item = &mut Followed> {
        self.streams.iter_mut().flatten().flat_map(|stream| &mut stream.files)
    }

    /// Return the stream of a name.
    #[must_use]
    pub fn by_origin(&self, origin: &[u8]) -> Option<u32> {
        self.by_origin.get(origin).copied()
    }

    /// Return the stream that a file is in.
    #[must_use]
    pub fn by_id(&self, id: Id) -> Option<u32> {
        self.by_id.get(&id).copied()
    }

    /// Return a file.
    pub fn file_mut(&mut self, id: Id) -> Option<&mut Followed> {
        let number = self.by_id(id)?;
        self.stream_mut(number)?.files.iter_mut().find(|file| file.id == id)
    }

    /// Add a file to the stream of a name, at a place in it or as the newest one.
    pub fn add(&mut self, origin: &[u8], file: Followed, place: Option<usize>) -> u32 {
        let number = self.by_origin(origin).unwrap_or_else(|| {
            let number = self.free.pop().unwrap_or(self.streams.len() as u32);
            if number as usize == self.streams.len() {
                self.streams.push(None);
            }
            self.streams[number as usize] =
                Some(Stream { origin: origin.to_vec(), files: Vec::with_capacity(1), queued: false });
            self.by_origin.insert(origin.to_vec(), number);
            number
        });
        self.by_id.insert(file.id, number);
        self.cost += file_cost(origin);
        if let Some(stream) = self.stream_mut(number) {
            let place = place.unwrap_or(stream.files.len()).min(stream.files.len());
            stream.files.insert(place, file);
        }
        number
    }

    /// Take a file out; a stream without any ends.
    pub fn remove(&mut self, number: u32, serial: u64) -> Option<Followed> {
        let stream = self.stream_mut(number)?;
        let place = stream.files.iter().position(|file| file.serial == serial)?;
        let file = stream.files.remove(place);
        let cost = file_cost(&stream.origin);
        if stream.files.is_empty() {
            let origin = std::mem::take(&mut stream.origin);
            self.by_origin.remove(&origin);
            self.streams[number as usize] = None;
            self.free.push(number);
        }
        self.cost -= cost;
        self.by_id.remove(&file.id);
        Some(file)
    }
}
