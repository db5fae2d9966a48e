//! What a rotation calls the files that it makes: `app.log.1`, `app.log-20260101`, `app-1.log` come from `app.log`.

use crate::pattern::is_compressed;

/// Words that rotations put behind a name.
const WORDS: [&[u8]; 12] =
    [b"old", b"bak", b"backup", b"bk", b"orig", b"prev", b"previous", b"save", b"saved", b"last", b"copy", b"rotated"];
const MONTHS: [&[u8]; 12] =
    [b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec"];
/// So many digits are a date, not a number that any two files may differ by.
const DATE_DIGITS: usize = 6;

/// A date with its time and a number behind it has fewer separators; a name may have a hundred, and costs as much.
const MOST_SUFFIXES: usize = 16;

/// A name that a file may have had before it was rotated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The name.
    pub name: Vec<u8>,
    /// Whether only rotations make such names. `app-2.log` and `app.log.old` may be files of their own.
    pub certain: bool,
}

/// Return the names that a file may have had before it got this one, the shortest first. Compressed files have none:
/// their content is not ours to print.
#[must_use]
pub fn origins(name: &[u8]) -> Vec<Origin> {
    let mut found = Vec::new();
    if is_compressed(name) {
        return found;
    }
    for (at, suffix) in suffixes(name) {
        if is_rotation(suffix) {
            let digits = suffix.iter().filter(|byte| byte.is_ascii_digit()).count();
            let numeric = suffix.iter().all(|&byte| byte.is_ascii_digit() || is_between(byte) || b"TZ".contains(&byte));
            let certain = numeric && (digits >= DATE_DIGITS || name[at] == b'.');
            found.push(Origin { name: name[..at].to_vec(), certain });
        }
    }
    if let Some(shorter) = name.strip_suffix(b"~") {
        if !shorter.is_empty() {
            found.push(Origin { name: shorter.to_vec(), certain: false });
        }
    }
    if let Some(dot) = name.iter().rposition(|&byte| byte == b'.') {
        let (stem, ending) = name.split_at(dot);
        for (at, suffix) in suffixes(stem) {
            if is_rotation(suffix) {
                found.push(Origin { name: [&stem[..at], ending].concat(), certain: false });
            }
        }
    }
    found
}

/// Say whether one rotation may have made both names: they differ in numbers alone.
#[must_use]
pub fn alike(one: &[u8], other: &[u8]) -> bool {
    let letters = |name: &'_ [u8]| -> Vec<u8> { name.iter().copied().filter(|byte| !byte.is_ascii_digit()).collect() };
    letters(one) == letters(other)
}

/// Return the last number in a name: of files of the same age the one with the higher number is older.
#[must_use]
pub fn number(name: &[u8]) -> u64 {
    let Some(end) = name.iter().rposition(u8::is_ascii_digit) else { return 0 };
    let begin = name[..end].iter().rposition(|byte| !byte.is_ascii_digit()).map_or(0, |before| before + 1);
    name[begin..=end].iter().fold(0, |sum: u64, digit| sum.saturating_mul(10).saturating_add((digit - b'0').into()))
}

/// Yield the places of the last separators with something before them, and what is behind each.
fn suffixes(name: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let is_separator = |&at: &usize| b"._-".contains(&name[at]);
    let first = (1..name.len()).rev().filter(is_separator).take(MOST_SUFFIXES).last().unwrap_or(name.len());
    (first..name.len()).filter(is_separator).map(|at| (at, &name[at + 1..]))
}

fn is_between(byte: u8) -> bool {
    b"._-:+@ ".contains(&byte)
}

/// Say whether it is what rotations put behind a name: numbers, dates and times, words, or several of them.
fn is_rotation(suffix: &[u8]) -> bool {
    let mut words = suffix.split(|&byte| is_between(byte)).filter(|word| !word.is_empty()).peekable();
    let starts = suffix.first().is_some_and(|&byte| !is_between(byte) || byte == b'_' || byte == b'-');
    starts && words.peek().is_some() && words.all(is_word)
}

fn is_word(word: &[u8]) -> bool {
    let lower = word.to_ascii_lowercase();
    let time = word[0].is_ascii_digit() && word.iter().all(|byte| byte.is_ascii_digit() || b"TZ".contains(byte));
    time || WORDS.contains(&lower.as_slice()) || MONTHS.contains(&lower.as_slice())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn comes_from(name: &str, origin: &str) -> Option<bool> {
        origins(name.as_bytes()).into_iter().find(|one| one.name == origin.as_bytes()).map(|one| one.certain)
    }

    #[test]
    fn names_that_rotations_make() {
        for name in [
            "app.log.1",
            "app.log.10",
            "app.log.0",
            "app.log.001",
            "app.log.2026-01-01",
            "app.log-20260101",
            "app.log-20260101-1234567890",
            "app.log.2026-01-01_00-00-00",
            "app.log.2026-01-01T00:00:00Z",
            "app.log.20260101T000000Z",
            "app.log.2026-01-01.1",
            "app.log_20260101",
            "app.log-2026-01-01-13",
        ] {
            assert_eq!(comes_from(name, "app.log"), Some(true), "{name}");
        }
        for name in [
            "app.log.old",
            "app.log.bak",
            "app.log.OLD",
            "app.log-1",
            "app.log_1",
            "app.log~",
            "app.log.1.old",
            "app-1.log",
            "app.1.log",
            "app_2.log",
            "app-2026-01-01.log",
            "app-2026-01-01T15-04-05.000.log",
            "app.2026-01-01.1.log",
            "app__2026-01-01_00-00-00.log",
            "app-old.log",
            "app.log.01-Jan-2026",
        ] {
            assert_eq!(comes_from(name, "app.log"), Some(false), "{name}");
        }
    }

    #[test]
    fn names_of_neighbours() {
        for name in [
            "app.log",
            "app.log.audit",
            "app.log.pid",
            "app.log.lock",
            "app.log.1.gz",
            "app.log.gz",
            "app2.log",
            "app.logs",
            "app.log.",
            "app.log..",
            "xapp.log.1",
            "app.log.1a",
            "app.log.tmp",
            "app-error.log",
            "app.log.sw1",
        ] {
            assert_eq!(comes_from(name, "app.log"), None, "{name}");
        }
        assert_eq!(comes_from("access.db", "access"), None);
        assert_eq!(comes_from("access.1", "access"), Some(true));
        assert_eq!(comes_from("access-2", "access"), Some(false));
    }

    #[test]
    fn a_name_of_nothing_but_numbers_has_few_origins() {
        let name = "1-".repeat(120) + "1.log";
        assert!(origins(name.as_bytes()).len() <= 2 * MOST_SUFFIXES);
    }

    #[test]
    fn names_of_one_rotation() {
        for (one, other, same) in [
            ("app.log.9", "app.log.10", true),
            ("app.log-20260101", "app.log-20260102", true),
            ("app.log.1", "app-1.log", false),
            ("app.log.1", "app.log.old", false),
        ] {
            assert_eq!(alike(one.as_bytes(), other.as_bytes()), same, "{one} {other}");
        }
    }

    #[test]
    fn numbers() {
        assert_eq!(number(b"app.log.10"), 10);
        assert_eq!(number(b"app.log"), 0);
        assert_eq!(number(b"7.log"), 7);
        assert_eq!(number("9".repeat(40).as_bytes()), u64::MAX);
    }

    proptest! {
        #[test]
        fn an_origin_is_shorter_and_never_empty(name: Vec<u8>) {
            for origin in origins(&name) {
                prop_assert!(!origin.name.is_empty() && origin.name.len() < name.len());
            }
        }

        #[test]
        fn any_name_with_a_number_behind_it_comes_from_that_name(name in "[a-z.]{1,9}", number: u16) {
            let rotated = format!("{name}.{number}");
            prop_assert!(comes_from(&rotated, &name) == Some(true) || name.ends_with('.'));
        }
    }
}
