//! Records of several lines: a pattern that means a first line, and what stands before the next one.
//!
//! Nothing is held for a record that may go on: it stays unread in its file, until the next one begins or it did not grow
//! for a while. So a checkpoint never has half of one.

use std::time::Duration;

/// A record without a line after it is whole after so long without growth.
pub const WAIT: Duration = Duration::from_secs(1);
/// One that goes on and on is whole after so long all the same.
pub const LONGEST_WAIT: Duration = Duration::from_secs(10);

#[cfg(not(feature = "shipping"))]
pub use without::Records;

#[cfg(feature = "shipping")]
pub use with::Records;

#[cfg(not(feature = "shipping"))]
mod without {
    /// No patterns: this program is built without them.
    #[derive(Clone, Debug)]
    pub enum Records {}

    #[allow(clippy::unused_self, missing_docs)]
    impl Records {
        #[must_use]
        pub fn goes_on(&self, _: usize, _: &[u8]) -> bool {
            match *self {}
        }

        #[must_use]
        pub fn last_start(&self, _: &[u8]) -> Option<usize> {
            match *self {}
        }
    }
}

#[cfg(feature = "shipping")]
mod with {
    use regex_lite::{Regex, RegexBuilder};

    /// A record has at most so many lines.
    const MOST_LINES: usize = 500;
    /// So much of a line is compared.
    const HEAD: usize = 1 << 10;
    /// So much memory may a pattern take: each line is compared with it in a time that grows with that.
    const MOST_PATTERN: usize = 64 << 10;

    /// What the first line of a record looks like.
    #[derive(Clone, Debug)]
    pub struct Records {
        start: Regex,
    }

    impl Records {
        /// Read a pattern; None if it is none, or too large.
        #[must_use]
        pub fn parse(pattern: &str) -> Option<Self> {
            RegexBuilder::new(pattern).size_limit(MOST_PATTERN).build().ok().map(|start| Self { start })
        }

        /// Return whether a record of so many lines goes on with this text.
        #[must_use]
        pub fn goes_on(&self, lines: usize, text: &[u8]) -> bool {
            lines < MOST_LINES && !self.starts(text)
        }

        /// Return where the last of these records begins; None if there is only one, which may go on. One that may not,
        /// because it has too many lines, is followed by another one.
        #[must_use]
        pub fn last_start(&self, lines: &[u8]) -> Option<usize> {
            let mut end = lines.len().checked_sub(1)?;
            while let Some(newline) = memchr::memrchr(b'\n', &lines[..end]) {
                if self.starts(&lines[newline + 1..]) {
                    return Some(newline + 1);
                }
                end = newline;
            }
            (memchr::memchr_iter(b'\n', lines).count() >= MOST_LINES).then_some(lines.len())
        }

        /// Return the length of the first of these records.
        #[must_use]
        pub fn first(&self, text: &[u8]) -> usize {
            let ends = memchr::memchr_iter(b'\n', text).enumerate();
            let mut ends = ends.filter(|&(lines, at)| !self.goes_on(lines + 1, &text[at + 1..]));
            ends.next().map_or(text.len(), |(_, at)| at + 1)
        }

        /// Return whether a record begins with the first of these lines.
        fn starts(&self, text: &[u8]) -> bool {
            let head = &text[..text.len().min(HEAD)];
            let line = &head[..memchr::memchr(b'\n', head).unwrap_or(head.len())];
            line.utf8_chunks().next().is_some_and(|chunk| self.start.is_match(chunk.valid()))
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn records_begin_where_the_pattern_is() {
            let records = Records::parse("^[0-9]").unwrap();
            assert_eq!(records.last_start(b"1 a\n at b\n2 c\n at d\n"), Some(10));
            assert_eq!(records.last_start(b"1 a\n at b\n"), None);
            assert_eq!(records.last_start(b""), None);
            assert_eq!(records.first(b"1 a\n at b\n2 c\n"), 10);
            assert_eq!(records.first(b" at b\n2 c\n"), 6);
            assert_eq!(records.first(b"1 a\n\xff\n2"), 6);
            assert_eq!(records.first(b"1 a"), 3);
        }

        #[test]
        fn a_record_has_an_end() {
            let records = Records::parse("^[0-9]").unwrap();
            assert_eq!(records.first(&b"x\n".repeat(2 * MOST_LINES)), 2 * MOST_LINES);
            assert_eq!(records.last_start(&b"x\n".repeat(MOST_LINES - 1)), None);
            assert_eq!(records.last_start(&b"x\n".repeat(MOST_LINES)), Some(2 * MOST_LINES));
        }

        #[test]
        fn what_is_no_pattern() {
            assert!(Records::parse("(").is_none());
            assert!(Records::parse("(?:a{99}){99}").is_none());
            assert!(Records::parse(r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T|^\[|^(?:INFO|WARN|ERROR).{0,100}").is_some());
        }
    }
}
