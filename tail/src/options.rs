//! The command line and the environment; what is wrong in them is said, and the default is used.

use std::time::Duration;

use crate::output::Format;
use crate::pattern::Pattern;
use crate::records::Records;
#[cfg(feature = "shipping")]
use crate::shipping::destination::{self, Destination};

/// What was asked for.
#[derive(Debug)]
pub enum Command {
    /// Print log files.
    Follow(Box<Options>),
    /// Say how far they are printed, by the checkpoint in this directory.
    Status(Vec<u8>),
    /// Print this text.
    Tell(String),
}

/// Where reading begins in files that were there before the pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// At the beginning.
    Beginning,
    /// At the end, in each file that is there at the first look of the pod's first sidecar.
    End,
    /// At the end on persistent volumes, in files that are there at that look and were last written before the state
    /// volume was made.
    #[default]
    Auto,
}

/// The settings.
#[derive(Debug)]
pub struct Options {
    /// Which files are meant.
    pub patterns: Vec<Pattern>,
    /// What a line looks like.
    pub format: Format,
    /// At SIGTERM the containers that write have ended.
    pub native: bool,
    /// The pause between two looks.
    pub poll: Duration,
    /// A removed file is closed after so long without growth.
    pub patience: Duration,
    /// The most bytes of removed files that are held for a slow output.
    pub held_bytes: u64,
    /// Where the checkpoint lies.
    pub state: Vec<u8>,
    /// Where reading begins.
    pub start: Start,
    /// Directories on volumes that outlive the pod.
    pub persistent: Vec<Vec<u8>>,
    /// A last line without an end is printed after so long without growth.
    pub unfinished_after: Option<Duration>,
    /// Without any file for so long, that is said.
    pub notice_after: Duration,
    /// How lines are joined to records.
    pub records: Option<Records>,
    /// Where lines are sent instead of standard output.
    #[cfg(feature = "shipping")]
    pub destination: Destination,
    /// What is wrong with the settings.
    pub problems: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            patterns: Vec::new(),
            format: Format::Plain,
            native: false,
            poll: Duration::from_millis(200),
            patience: Duration::from_secs(300),
            held_bytes: 1 << 30,
            state: b"/pillion/state".to_vec(),
            start: Start::Auto,
            persistent: Vec::new(),
            unfinished_after: None,
            notice_after: Duration::from_secs(60),
            records: None,
            #[cfg(feature = "shipping")]
            destination: Destination::default(),
            problems: Vec::new(),
        }
    }
}

/// An option: its name, what its value is, its default, and what it does.
pub(crate) type Row = (&'static str, &'static str, &'static str, &'static str);

/// The options; each is an environment variable, too: `--held-bytes` is `PILLION_HELD_BYTES`.
const OPTIONS: [Row; 11] = [
    ("--prefix", "", "false", "print the file's path before each line"),
    ("--format", "text|json", "text", "json: an object a line, with \"file\" and \"line\"; invalid UTF-8 is replaced"),
    ("--native", "", "false", "SIGTERM: print what is there, look once more, and end; else wait for 1 s of calm"),
    ("--poll", "SECONDS", "0.2", "pause between two looks at up to 4,000 files and directories; grows beyond that"),
    ("--patience", "SECONDS", "300", "close a removed file after so long without growth"),
    ("--held-bytes", "BYTES", "1073741824", "keep at most so much of removed files for a slow output"),
    ("--state", "DIR", "/pillion/state", "where the checkpoint lies"),
    ("--start", "beginning|end|auto", "auto", "where to begin in files from before the pod"),
    ("--persistent", "DIR", "none", "a directory on a volume that outlives the pod; again for more, or : between them"),
    ("--unfinished-after", "SECONDS", "never", "print a last line without newline after so long without growth"),
    ("--notice-after", "SECONDS", "60", "say that no file matches after so long"),
];

/// Those of a program that is built with stores, and of one that is not.
#[cfg(feature = "shipping")]
const MORE: &[Row] = &destination::OPTIONS;
#[cfg(not(feature = "shipping"))]
const MORE: &[Row] = &[];

fn rows() -> impl Iterator<Item = &'static Row> {
    OPTIONS.iter().chain(MORE)
}

impl Command {
    /// Read the command line, without the program's name, and the environment.
    pub fn read(arguments: impl Iterator<Item = Vec<u8>>, variable: impl Fn(&str) -> Option<Vec<u8>>) -> Self {
        let mut options = Options::default();
        for &(name, ..) in rows() {
            let named = format!("PILLION_{}", name[2..].to_uppercase().replace('-', "_"));
            if let Some(value) = variable(&named).filter(|value| !value.is_empty()) {
                options.set(name, &named, &value);
            }
        }
        let mut arguments = arguments.peekable();
        let status = arguments.next_if(|first| first == b"status").is_some();
        let mut only_patterns = false;
        while let Some(argument) = arguments.next() {
            if only_patterns || !argument.starts_with(b"-") || argument == b"-" {
                options.patterns.push(Pattern::parse(&argument));
                continue;
            }
            match argument.as_slice() {
                b"--" => only_patterns = true,
                b"--help" | b"-h" => return Self::Tell(help()),
                b"--version" | b"-V" => return Self::Tell(format!("pillion-tail {}\n", env!("CARGO_PKG_VERSION"))),
                _ => options.take(&argument, &mut arguments),
            }
        }
        if status {
            return Self::Status(options.state);
        }
        #[cfg(feature = "shipping")]
        options.destination.read_fields(variable);
        #[cfg(not(feature = "shipping"))]
        for named in ["PILLION_TO", "PILLION_RECORD_START"] {
            if variable(named).is_some_and(|value| !value.is_empty()) {
                options.problems.push(format!("this program is built without stores: {named} has no effect"));
            }
        }
        if options.patterns.is_empty() {
            options.problems.push("no files are named; say pillion-tail /DIR/NAME".to_owned());
        }
        Self::Follow(Box::new(options))
    }
}

impl Options {
    /// Take an option and its value from the command line.
    fn take(&mut self, argument: &[u8], rest: &mut impl Iterator<Item = Vec<u8>>) {
        let (name, value) = match argument.iter().position(|&byte| byte == b'=') {
            Some(at) => (&argument[..at], Some(argument[at + 1..].to_vec())),
            None => (argument, None),
        };
        let shown = String::from_utf8_lossy(name).into_owned();
        let Some(&(name, kind, ..)) = rows().find(|row| row.0.as_bytes() == name) else {
            self.problems.push(format!("there is no option {shown}; see --help"));
            return;
        };
        match value.or_else(|| if kind.is_empty() { Some(b"true".to_vec()) } else { rest.next() }) {
            Some(value) => self.set(name, name, &value),
            None => self.problems.push(format!("{name} needs a value; the default is used")),
        }
    }

    #[cfg(feature = "shipping")]
    fn set_more(&mut self, name: &str, text: &str) -> bool {
        if name == "--record-start" {
            return put(&mut self.records, Records::parse(text).map(Some));
        }
        self.destination.set(name, text)
    }

    #[cfg(not(feature = "shipping"))]
    #[allow(clippy::unused_self)]
    fn set_more(&mut self, _name: &str, _text: &str) -> bool {
        false
    }

    /// Set an option; `named` is what the user called it.
    fn set(&mut self, name: &str, named: &str, value: &[u8]) {
        let text = String::from_utf8_lossy(value);
        let text = text.trim();
        let prefixed = if self.format == Format::Json { Format::Json } else { Format::Prefix };
        let plain = if self.format == Format::Prefix { Format::Plain } else { self.format };
        let done = match name {
            "--prefix" => put(&mut self.format, boolean(text).map(|on| if on { prefixed } else { plain })),
            "--format" => {
                let text = if self.format == Format::Json { Format::Plain } else { self.format };
                put(&mut self.format, choose(value, &[("text", text), ("json", Format::Json)]))
            }
            "--native" => put(&mut self.native, boolean(text)),
            "--poll" => put(&mut self.poll, seconds(text).filter(|time| !time.is_zero())),
            "--patience" => put(&mut self.patience, seconds(text)),
            "--held-bytes" => put(&mut self.held_bytes, text.parse().ok()),
            "--state" => put(&mut self.state, Some(value.to_vec())),
            "--start" => {
                let words = [("beginning", Start::Beginning), ("end", Start::End), ("auto", Start::Auto)];
                put(&mut self.start, choose(value, &words))
            }
            "--persistent" => {
                let directories = value.split(|&byte| byte == b':').filter(|directory| !directory.is_empty());
                self.persistent
                    .extend(directories.map(|directory| Pattern::parse(&[directory, b"/"].concat()).directory));
                true
            }
            "--unfinished-after" if text == "never" => put(&mut self.unfinished_after, Some(None)),
            "--unfinished-after" => put(&mut self.unfinished_after, seconds(text).map(Some)),
            "--notice-after" => put(&mut self.notice_after, seconds(text)),
            _ => self.set_more(name, text),
        };
        if !done {
            let wanted = rows().find(|row| row.0 == name).map_or("", |row| row.1);
            let wanted = if wanted.is_empty() { "true|false" } else { wanted };
            self.problems.push(format!("{named} can't be {text:?}; write {wanted}; the default is used"));
        }
    }
}

/// Take over a value, if there is one; say whether.
pub(crate) fn put<T>(to: &mut T, value: Option<T>) -> bool {
    value.map(|value| *to = value).is_some()
}

pub(crate) fn choose<T: Copy>(value: &[u8], words: &[(&str, T)]) -> Option<T> {
    words.iter().find(|(word, _)| word.as_bytes() == value.trim_ascii()).map(|&(_, meaning)| meaning)
}

pub(crate) fn boolean(text: &str) -> Option<bool> {
    match text {
        "true" | "1" => Some(true),
        "false" | "0" => Some(false),
        _ => None,
    }
}

/// Read a number of seconds, up to a year.
pub(crate) fn seconds(text: &str) -> Option<Duration> {
    let number: f64 = text.parse().ok()?;
    (0.0..=366.0 * 86400.0).contains(&number).then(|| Duration::from_secs_f64(number))
}

/// Return the text of `--help`.
#[must_use]
pub fn help() -> String {
    let mut text = "Print log files to standard output until SIGTERM, each whole line once.

  pillion-tail [OPTION]... PATTERN...   a path, a glob (/dir/*.log), or /dir/**/*.log for any depth
  pillion-tail status [--state DIR]     which files, how far they are printed, what is behind

"
    .to_owned();
    for (name, value, default, what) in rows() {
        let left = format!("{name} {value}");
        text += &["  ", &format!("{left:<40}"), " ", what, " (default: ", default, ")\n"].concat();
    }
    text += "  --help, --version              print that, and end

Each option is an environment variable, too: --held-bytes is PILLION_HELD_BYTES.
";
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &[&str], variables: &[(&str, &str)]) -> Command {
        let words: Vec<Vec<u8>> = words.iter().map(|word| word.as_bytes().to_vec()).collect();
        Command::read(words.into_iter(), |name| {
            variables.iter().find(|one| one.0 == name).map(|one| one.1.as_bytes().to_vec())
        })
    }

    fn options(words: &[&str], variables: &[(&str, &str)]) -> Options {
        match read(words, variables) {
            Command::Follow(options) => *options,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn options_and_variables_mean_the_same() {
        let words = options(&["--prefix", "--poll", "0.5", "--held-bytes=7", "--native", "/a/*", "--", "--b"], &[]);
        let variables = [
            ("PILLION_PREFIX", "true"),
            ("PILLION_POLL", "0.5"),
            ("PILLION_HELD_BYTES", "7"),
            ("PILLION_NATIVE", "true"),
        ];
        for found in [words, options(&["/a/*", "--", "--b"], &variables)] {
            assert_eq!((found.format, found.native, found.held_bytes), (Format::Prefix, true, 7));
            assert_eq!(found.poll, Duration::from_millis(500));
            assert_eq!(found.patterns.len(), 2);
            assert_eq!(found.problems, Vec::<String>::new());
        }
    }

    #[test]
    fn the_command_line_wins() {
        assert_eq!(options(&["--prefix=false", "/a"], &[("PILLION_PREFIX", "true")]).format, Format::Plain);
        assert_eq!(options(&["--format", "json", "--prefix", "/a"], &[]).format, Format::Json);
    }

    #[test]
    fn what_is_wrong_is_said_and_the_default_used() {
        for (words, told) in [
            (&["--poll", "fast", "/a"][..], "--poll can't be \"fast\"; write SECONDS; the default is used"),
            (&["--poll=-1", "/a"], "--poll can't be \"-1\"; write SECONDS; the default is used"),
            (&["--poll=nan", "/a"], "--poll can't be \"nan\"; write SECONDS; the default is used"),
            (&["--prefix=yes", "/a"], "--prefix can't be \"yes\"; write true|false; the default is used"),
            (&["--start=now", "/a"], "--start can't be \"now\"; write beginning|end|auto; the default is used"),
            (&["--typo", "/a"], "there is no option --typo; see --help"),
            (&["/a", "--state"], "--state needs a value; the default is used"),
            (&[], "no files are named; say pillion-tail /DIR/NAME"),
        ] {
            let found = options(words, &[]);
            assert_eq!(found.problems, [told]);
            assert_eq!((found.poll, found.start), (Duration::from_millis(200), Start::Auto));
        }
    }

    #[test]
    fn persistent_directories() {
        let found = options(&["--persistent", "/a/:/b", "--persistent", "/c", "/a/*"], &[]);
        assert_eq!(found.persistent, [b"/a".to_vec(), b"/b".to_vec(), b"/c".to_vec()]);
    }

    #[test]
    fn other_commands() {
        assert!(matches!(read(&["status", "--state", "/x"], &[]), Command::Status(state) if state == b"/x"));
        assert!(matches!(read(&["--version"], &[]), Command::Tell(text) if text.starts_with("pillion-tail ")));
        assert!(matches!(read(&["--help"], &[]), Command::Tell(text) if text.contains("--held-bytes")));
    }
}
