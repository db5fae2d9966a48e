//! Standard error: what went wrong, each thing once.

use std::collections::BTreeSet;
use std::io::Write;

/// So many different complaints are remembered; then all are forgotten, and may come again.
const REMEMBERED: usize = 200;

/// What was said already.
#[derive(Debug, Default)]
pub struct Complaints {
    said: BTreeSet<String>,
}

impl Complaints {
    /// Say it, unless it was said already.
    pub fn once(&mut self, text: String) {
        if self.said.contains(&text) {
            return;
        }
        say(&text);
        if self.said.len() >= REMEMBERED {
            self.said.clear();
        }
        self.said.insert(text);
    }
}

/// Say something on standard error, as one line; where it can't be written nobody can be told.
pub fn say(text: &str) {
    let line = format!("pillion-tail: {}\n", text.replace(['\n', '\r'], "?"));
    let _ = std::io::stderr().write_all(line.as_bytes());
}

/// Return a path as text.
#[must_use]
pub fn shown(path: &[u8]) -> String {
    String::from_utf8_lossy(path).chars().map(|one| if one.is_control() { '?' } else { one }).collect()
}
