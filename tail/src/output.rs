//! Where lines go: an output takes pieces of files and says what of them is durably out. The printer is the output that
//! makes whole lines of pieces, for a sink that takes bytes.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags};
use rustix::fs::{FileType, Mode, OFlags, fcntl_getfl, fcntl_setfl, fstat, open};
use rustix::io::Errno;

use crate::records::Records;
use crate::stat::Id;

/// Where a piece stands: the same after a restart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Location {
    /// The file.
    pub id: Id,
    /// When it was made.
    pub born: i64,
    /// How often it was written anew.
    pub version: u64,
    /// The position in it.
    pub at: u64,
}

/// Which file a piece is of.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// The file's number in this run, another one each time it is written anew.
    pub serial: u64,
    /// The path that its lines are known by.
    pub path: &'a [u8],
    /// Where the piece begins.
    pub location: Location,
}

/// Something that takes pieces of files: whole lines, the beginning or the middle of one, or, with `last`, also a line
/// without an end that gets none any more.
pub trait Output {
    /// Take of a piece as much as it can without waiting; return how many bytes, 0 if it is busy. What was not taken has
    /// to be offered again before anything else.
    ///
    /// # Errors
    /// The output is broken.
    fn offer(&mut self, source: &Source<'_>, piece: &[u8], last: bool) -> Result<usize, Errno>;

    /// Write what is left of the end of a line; return whether nothing is left.
    ///
    /// # Errors
    /// The output is broken.
    fn flush(&mut self) -> Result<bool, Errno>;

    /// Note that the line on the output that belongs to this file will not go on.
    fn abandon(&mut self, file: u64);

    /// End the line on the output that belongs to this file, with the next flush.
    fn finish(&mut self, file: u64);

    /// Return whether all that was taken is durably out: only then a checkpoint may be written.
    fn is_durable(&self) -> bool;

    /// Return how many bytes were taken.
    fn taken(&self) -> u64;

    /// Return what to poll for while it is busy.
    fn wakes(&self) -> PollFd<'_>;

    /// Note that nothing else is there to be taken for now; return whether that may be the end.
    fn rest(&mut self) -> bool {
        true
    }

    /// Note that the end has begun.
    fn hurry(&mut self) {}

    /// Return, once for each time that a receiver answered for what was taken, how many records it rejected.
    fn acknowledged(&mut self) -> Option<u64> {
        None
    }
}

/// Something that takes bytes.
pub trait Sink {
    /// Take as many of these bytes as it can without waiting; return how many, 0 if it is busy.
    ///
    /// # Errors
    /// It is broken; what it took before stays taken.
    fn take(&mut self, bytes: &[u8]) -> Result<usize, Errno>;

    /// Return how many of all the bytes that it ever took are durably out. The checkpoint is written when all are.
    fn durable(&self) -> u64;

    /// Return the descriptor that is writable when it takes more.
    fn descriptor(&self) -> BorrowedFd<'_>;
}

/// Standard output: what the pipe has taken is the container runtime's.
#[derive(Debug)]
pub struct Stdout {
    descriptor: OwnedFd,
    taken: u64,
}

impl Stdout {
    /// Open it anew, so that only our descriptor does not wait and not that of whoever shares it with us.
    ///
    /// # Errors
    /// There is no standard output at all.
    pub fn open() -> Result<Self, Errno> {
        let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let own = rustix::io::dup(rustix::stdio::stdout())?;
        let is_pipe = FileType::from_raw_mode(fstat(&own)?.st_mode) == FileType::Fifo;
        if is_pipe {
            if let Ok(descriptor) = open("/proc/self/fd/1", flags, Mode::empty()) {
                return Ok(Self { descriptor, taken: 0 });
            }
        }
        // a pipe that somebody else made for us, or a socket; a file or terminal is left as it is
        if is_pipe || FileType::from_raw_mode(fstat(&own)?.st_mode) == FileType::Socket {
            fcntl_setfl(&own, fcntl_getfl(&own)? | OFlags::NONBLOCK)?;
        }
        Ok(Self { descriptor: own, taken: 0 })
    }
}

impl Sink for Stdout {
    fn take(&mut self, bytes: &[u8]) -> Result<usize, Errno> {
        match rustix::io::write(&self.descriptor, bytes) {
            Ok(count) => {
                self.taken += count as u64;
                Ok(count)
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(0),
            Err(error) => Err(error),
        }
    }

    fn durable(&self) -> u64 {
        self.taken
    }

    fn descriptor(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// What a line looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// As it was written.
    #[default]
    Plain,
    /// With the file's path before it.
    Prefix,
    /// One JSON object with the file's path and the line; what is no UTF-8 is replaced.
    Json,
}

/// So many encoded bytes are made at once.
const ENCODED: usize = 64 << 10;
/// So many bytes of a line are encoded at once: each may become six.
const STEP: usize = 4 << 10;
/// The number of no file.
const NOBODY: u64 = 0;

/// The printer: lines of several files never mix in its output.
#[derive(Debug)]
pub struct Printer<S> {
    sink: S,
    format: Format,
    /// With JSON: lines are joined to records.
    records: Option<Records>,
    /// How many bytes the sink took.
    taken: u64,
    /// Whose line at the end of the output has no end yet.
    unfinished: Option<u64>,
    /// What is left of an end that such a line gets because another file prints.
    ending: &'static [u8],
    /// Encoded, and not yet taken from here on.
    encoded: Vec<u8>,
    written: usize,
    /// So many bytes of the piece that is offered are encoded.
    consumed: usize,
    /// The line that is encoded has begun.
    begun: bool,
    /// So many lines of the record that is encoded have ended.
    lines: usize,
}

impl<S: Sink> Output for Printer<S> {
    fn offer(&mut self, source: &Source<'_>, piece: &[u8], last: bool) -> Result<usize, Errno> {
        let file = source.serial;
        if self.unfinished.is_some_and(|other| other != file) {
            self.ending = if self.format == Format::Json { b"\"}\n" } else { b"\n" };
            self.unfinished = None;
            self.begun = false;
        }
        if !self.flush()? {
            return Ok(0);
        }
        if self.format == Format::Plain {
            let count = self.sink_take(piece)?;
            if count > 0 {
                self.unfinished = (piece[count - 1] != b'\n').then_some(file);
            }
            return Ok(count);
        }
        if self.encoded.is_empty() {
            self.encode(source.path, piece, last);
        }
        while self.written < self.encoded.len() {
            let count = self.sink.take(&self.encoded[self.written..])?;
            if count == 0 {
                return Ok(0);
            }
            self.written += count;
            self.taken += count as u64;
        }
        self.unfinished = (self.encoded.last() != Some(&b'\n')).then_some(file);
        self.encoded.clear();
        if self.encoded.capacity() > 2 * ENCODED {
            self.encoded.shrink_to(ENCODED);
        }
        self.written = 0;
        Ok(std::mem::take(&mut self.consumed))
    }

    fn abandon(&mut self, file: u64) {
        if self.unfinished == Some(file) {
            self.unfinished = Some(NOBODY);
        }
    }

    fn flush(&mut self) -> Result<bool, Errno> {
        while !self.ending.is_empty() {
            let count = self.sink_take(self.ending)?;
            if count == 0 {
                return Ok(false);
            }
            self.ending = &self.ending[count..];
        }
        Ok(true)
    }

    fn finish(&mut self, file: u64) {
        if self.format != Format::Json && self.unfinished == Some(file) {
            self.ending = b"\n";
            self.unfinished = None;
            self.begun = false;
        }
    }

    fn is_durable(&self) -> bool {
        self.sink.durable() == self.taken
    }

    fn wakes(&self) -> PollFd<'_> {
        PollFd::from_borrowed_fd(self.sink.descriptor(), PollFlags::OUT)
    }

    fn taken(&self) -> u64 {
        self.taken
    }
}

impl<S: Sink> Printer<S> {
    /// Print to a sink; JSON with these records.
    pub fn new(sink: S, format: Format, records: Option<Records>) -> Self {
        Self {
            sink,
            format,
            records,
            taken: 0,
            unfinished: None,
            ending: b"",
            encoded: Vec::new(),
            written: 0,
            consumed: 0,
            begun: false,
            lines: 0,
        }
    }

    fn sink_take(&mut self, bytes: &[u8]) -> Result<usize, Errno> {
        let count = self.sink.take(bytes)?;
        self.taken += count as u64;
        Ok(count)
    }

    /// Encode a piece, or its beginning; note how much of it that is.
    fn encode(&mut self, path: &[u8], piece: &[u8], last: bool) {
        let mut rest = piece;
        while !rest.is_empty() && self.encoded.len() < ENCODED {
            if !self.begun {
                self.begin_line(path);
            }
            let step = &rest[..rest.len().min(STEP)];
            let end = memchr::memchr(b'\n', step).map_or(step.len(), |at| at + 1);
            let ends = step[end - 1] == b'\n';
            let text = &step[..end - usize::from(ends)];
            let mut used = end;
            if self.format == Format::Json {
                let cut = if ends || (last && end == rest.len()) { text.len() } else { whole_characters(text) };
                used = end - (text.len() - cut);
                escape(&text[..cut], &mut self.encoded);
            } else {
                self.encoded.extend_from_slice(text);
            }
            rest = &rest[used..];
            if ends && self.goes_on(rest) {
                self.encoded.extend_from_slice(b"\\n");
                self.lines += 1;
            } else if ends {
                self.end_line();
            }
        }
        self.consumed = piece.len() - rest.len();
        if last && rest.is_empty() && self.begun && self.format == Format::Json {
            self.end_line();
        }
    }

    /// Return whether the record that is encoded goes on after the end of a line, with the rest of its piece.
    fn goes_on(&self, rest: &[u8]) -> bool {
        let records = self.records.as_ref().filter(|_| self.format == Format::Json && !rest.is_empty());
        records.is_some_and(|records| records.goes_on(self.lines + 1, rest))
    }

    fn begin_line(&mut self, path: &[u8]) {
        self.begun = true;
        if self.format == Format::Json {
            self.encoded.extend_from_slice(b"{\"file\":\"");
            escape(path, &mut self.encoded);
            self.encoded.extend_from_slice(b"\",\"line\":\"");
        } else {
            self.encoded.extend(path.iter().map(|&byte| if byte == b'\n' { b'?' } else { byte }));
            self.encoded.extend_from_slice(b": ");
        }
    }

    fn end_line(&mut self) {
        (self.begun, self.lines) = (false, 0);
        self.encoded.extend_from_slice(if self.format == Format::Json { b"\"}\n" } else { b"\n" });
    }
}

/// Return the length of the text without a character at its end that may go on in the next piece.
#[must_use]
pub fn whole_characters(text: &[u8]) -> usize {
    let from = text.len().saturating_sub(3);
    for at in (from..text.len()).rev() {
        let width = match text[at] {
            0xc0..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xff => 4,
            0x80..=0xbf => continue,
            _ => 1,
        };
        // what is only the beginning of a character is left, unless nothing else is there
        return if at + width > text.len() && at > 0 { at } else { text.len() };
    }
    text.len()
}

/// Write text as the inside of a JSON string, with U+FFFD for what is no UTF-8.
pub fn escape(text: &[u8], to: &mut Vec<u8>) {
    for chunk in text.utf8_chunks() {
        let mut begin = 0;
        let valid = chunk.valid().as_bytes();
        for (at, &byte) in valid.iter().enumerate() {
            if byte >= 0x20 && byte != b'"' && byte != b'\\' && byte != 0x7f {
                continue;
            }
            to.extend_from_slice(&valid[begin..at]);
            begin = at + 1;
            match byte {
                b'"' | b'\\' => to.extend_from_slice(&[b'\\', byte]),
                b'\t' => to.extend_from_slice(b"\\t"),
                b'\r' => to.extend_from_slice(b"\\r"),
                b'\n' => to.extend_from_slice(b"\\n"),
                _ => {
                    let hex = |nibble: u8| b"0123456789abcdef"[usize::from(nibble)];
                    to.extend_from_slice(&[b'\\', b'u', b'0', b'0', hex(byte >> 4), hex(byte & 15)]);
                }
            }
        }
        to.extend_from_slice(&valid[begin..]);
        if !chunk.invalid().is_empty() {
            to.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Takes so many bytes at a time, and is busy every other time.
    struct Slow {
        printed: Vec<u8>,
        step: usize,
        busy: bool,
    }

    impl Sink for Slow {
        fn take(&mut self, bytes: &[u8]) -> Result<usize, Errno> {
            self.busy = !self.busy;
            let count = if self.busy { 0 } else { bytes.len().min(self.step) };
            self.printed.extend_from_slice(&bytes[..count]);
            Ok(count)
        }

        fn durable(&self) -> u64 {
            self.printed.len() as u64
        }

        fn descriptor(&self) -> BorrowedFd<'_> {
            rustix::stdio::stdout()
        }
    }

    fn output(format: Format, step: usize) -> Printer<Slow> {
        Printer::new(Slow { printed: Vec::new(), step, busy: false }, format, None)
    }

    fn print(output: &mut Printer<Slow>, serial: u64, mut piece: &[u8], last: bool) {
        let source = Source { serial, path: b"/a.log", location: Location::default() };
        while !piece.is_empty() {
            piece = &piece[output.offer(&source, piece, last).unwrap()..];
        }
    }

    #[test]
    fn a_line_without_an_end_gets_one_when_another_file_prints() {
        let mut output = output(Format::Plain, 2);
        print(&mut output, 1, b"one", true);
        print(&mut output, 1, b" more", true);
        print(&mut output, 2, b"two\n", false);
        output.abandon(2);
        print(&mut output, 2, b"three", true);
        output.abandon(2);
        print(&mut output, 2, b"four", true);
        assert_eq!(output.sink.printed, b"one more\ntwo\nthree\nfour");
        assert!(output.is_durable());
    }

    #[test]
    fn a_prefix_stands_once_before_each_line() {
        let mut output = output(Format::Prefix, 3);
        print(&mut output, 1, b"one\n\ntw", false);
        print(&mut output, 1, b"o\nthree", true);
        assert_eq!(output.sink.printed, b"/a.log: one\n/a.log: \n/a.log: two\n/a.log: three");
    }

    #[test]
    fn json_objects_are_whole() {
        let mut output = output(Format::Json, 5);
        print(&mut output, 1, b"a\"b\\c\td\x01\xff", false);
        print(&mut output, 1, "ü\nend".as_bytes(), true);
        assert_eq!(
            String::from_utf8(output.sink.printed).unwrap(),
            "{\"file\":\"/a.log\",\"line\":\"a\\\"b\\\\c\\td\\u0001\u{fffd}ü\"}\n{\"file\":\"/a.log\",\"line\":\"end\"}\n"
        );
    }

    #[test]
    fn a_character_at_any_place_of_a_long_line_stays_whole() {
        let mut output = output(Format::Json, 1 << 20);
        let line = "x".to_owned() + &"\u{1f600}".repeat(3 * STEP) + "\n";
        print(&mut output, 1, line.as_bytes(), false);
        let printed = String::from_utf8(output.sink.printed).unwrap();
        assert_eq!(printed, format!("{{\"file\":\"/a.log\",\"line\":\"{}\"}}\n", line.trim_end()));
    }

    #[test]
    fn an_object_that_is_abandoned_is_closed() {
        let mut output = output(Format::Json, 1);
        print(&mut output, 1, b"one", false);
        print(&mut output, 2, b"two\n", false);
        assert_eq!(
            String::from_utf8(output.sink.printed).unwrap(),
            "{\"file\":\"/a.log\",\"line\":\"one\"}\n{\"file\":\"/a.log\",\"line\":\"two\"}\n"
        );
    }

    proptest! {
        #[test]
        fn plain_pieces_of_one_file_are_copied(pieces: Vec<Vec<u8>>, step in 1usize..100) {
            let mut output = output(Format::Plain, step);
            for piece in &pieces {
                print(&mut output, 1, piece, false);
            }
            prop_assert_eq!(&output.sink.printed, &pieces.concat());
        }

        #[test]
        fn json_of_text_in_any_pieces_is_that_text(text in "[a-zü\u{1f600}\"\\\\\u{0}-\u{20}]{1,40}", cut in 1usize..9, step in 1usize..30) {
            let line = text.replace('\n', " ") + "\n";
            let mut output = output(Format::Json, step);
            let mut at = 0;
            while at < line.len() {
                let end = (at + cut.max(4)).min(line.len());
                let end = at + whole_characters(&line.as_bytes()[at..end]);
                print(&mut output, 1, &line.as_bytes()[at..end], false);
                at = end;
            }
            let printed = String::from_utf8(output.sink.printed).unwrap();
            prop_assert!(!printed.contains('\u{fffd}'), "{}", printed);
            prop_assert_eq!(printed.matches('\n').count(), 1);
            prop_assert_eq!(printed.matches("\"line\":\"").count(), 1);
        }
    }
}
