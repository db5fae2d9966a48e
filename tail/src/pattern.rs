//! Which files are meant: paths, globs, and `DIR/**/NAME` for any depth.

/// Endings of compressed files: a glob never means them.
const COMPRESSED: [&[u8]; 8] = [b".gz", b".zst", b".xz", b".bz2", b".zip", b".lz4", b".lzma", b".Z"];

/// One argument: a directory, taken literally, and a name or glob in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// The directory, without a slash at its end unless it is the root.
    pub directory: Vec<u8>,
    /// Whether directories below it count, too.
    pub deep: bool,
    /// The name or glob.
    pub name: Vec<u8>,
    is_glob: bool,
}

impl Pattern {
    /// Read an argument. `DIR/` means `DIR/*`, and `DIR/**` means `DIR/**/*`.
    #[must_use]
    pub fn parse(argument: &[u8]) -> Self {
        let (mut directory, mut name) = split(argument);
        let mut deep = false;
        if name == b"**" {
            (deep, name) = (true, b"*");
        } else if let Some(above) = directory.strip_suffix(b"/**") {
            (deep, directory) = (true, above);
        }
        if name.is_empty() {
            name = b"*";
        }
        while let Some(shorter) = directory.strip_suffix(b"/") {
            directory = shorter;
        }
        if directory.is_empty() {
            directory = b"/";
        }
        let is_glob = name.iter().any(|byte| b"*?[\\".contains(byte));
        Self { directory: directory.to_vec(), deep, name: name.to_vec(), is_glob }
    }

    /// Say whether a file of this name is meant.
    ///
    /// As a shell's, a glob means no hidden file unless it begins with a dot itself, and one that matches nothing means
    /// itself.
    #[must_use]
    pub fn means(&self, name: &[u8]) -> bool {
        if !self.is_glob {
            return name == self.name;
        }
        let hidden = name.starts_with(b".") && !self.name.starts_with(b".");
        !hidden && !is_compressed(name) && (glob(&self.name, name) || name == self.name)
    }

    /// Return it as it may have been written.
    #[must_use]
    pub fn text(&self) -> Vec<u8> {
        let directory = self.directory.strip_suffix(b"/").unwrap_or(&self.directory);
        [directory, if self.deep { b"/**/" } else { b"/" }, &self.name].concat()
    }

    /// Return the name, if only one can be meant.
    #[must_use]
    pub fn literal(&self) -> Option<&[u8]> {
        (!self.is_glob).then_some(&self.name)
    }
}

/// Say whether a name ends as those of compressed files do.
#[must_use]
pub fn is_compressed(name: &[u8]) -> bool {
    COMPRESSED.iter().any(|ending| name.ends_with(ending))
}

/// Return where the name begins in a path.
#[must_use]
pub fn name_at(path: &[u8]) -> usize {
    path.iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1)
}

/// Return a path's directory and name; without a slash the directory is the current one.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|&byte| byte == b'/') {
        Some(slash) => (&path[..slash.max(1)], &path[slash + 1..]),
        None => (b".", path),
    }
}

/// Say whether a name matches a glob of `*`, `?`, `[a-z]`, `[!a-z]`, `[[:digit:]]` and `\`.
///
/// `?` and a set match one UTF-8 character, or one byte where there is none. The time is at most the product of both
/// lengths: after a mismatch only the last `*` takes one more character.
#[must_use]
pub fn glob(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut seen) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    loop {
        if pattern.get(at) == Some(&b'*') {
            at += 1;
            retry = Some((at, seen));
            continue;
        }
        if at == pattern.len() && seen == name.len() {
            return true;
        }
        if let Some((after, width)) = one(&pattern[at..], &name[seen..]) {
            at += after;
            seen += width;
            continue;
        }
        match retry {
            Some((after, from)) if from < name.len() => {
                let from = from + character(&name[from..]).1;
                retry = Some((after, from));
                (at, seen) = (after, from);
            }
            _ => return false,
        }
    }
}

/// Match one character; return how much of pattern and name that took.
fn one(pattern: &[u8], name: &[u8]) -> Option<(usize, usize)> {
    let (&first, &found) = (pattern.first()?, name.first()?);
    match first {
        b'?' => Some((1, character(name).1)),
        b'[' => match set(&pattern[1..], character(name).0) {
            Some((matches, length)) => matches.then_some((1 + length, character(name).1)),
            None => (found == b'[').then_some((1, 1)),
        },
        b'\\' if pattern.len() > 1 => (pattern[1] == found).then_some((2, 1)),
        _ => (first == found).then_some((1, 1)),
    }
}

/// Match a set, of which the first `[` is left out; return whether, and its length. None if it has no end.
fn set(pattern: &[u8], found: u32) -> Option<(bool, usize)> {
    let negated = matches!(pattern.first(), Some(b'!' | b'^'));
    let begin = usize::from(negated);
    let (mut at, mut matches) = (begin, false);
    while at == begin || *pattern.get(at)? != b']' {
        if let Some((holds, length)) = class(&pattern[at..], found) {
            matches |= holds;
            at += length;
            continue;
        }
        let (low, width) = member(&pattern[at..])?;
        at += width;
        let mut high = low;
        if pattern.get(at) == Some(&b'-') && pattern.get(at + 1).is_some_and(|&byte| byte != b']') {
            let (end, width) = member(&pattern[at + 1..])?;
            high = end;
            at += 1 + width;
        }
        matches |= (low..=high).contains(&found);
    }
    Some((matches != negated, at + 1))
}

/// Return the character that a set has here, and its length with a backslash before it.
fn member(pattern: &[u8]) -> Option<(u32, usize)> {
    match pattern {
        [] => None,
        [b'\\', rest @ ..] if !rest.is_empty() => {
            let (found, width) = character(rest);
            Some((found, width + 1))
        }
        _ => Some(character(pattern)),
    }
}

/// Match `[:name:]`; return whether, and its length.
fn class(pattern: &[u8], found: u32) -> Option<(bool, usize)> {
    let rest = pattern.strip_prefix(b"[:")?;
    let end = rest.windows(2).position(|two| two == b":]")?;
    let found = char::from_u32(found).unwrap_or('\u{0}');
    let holds = match &rest[..end] {
        b"alnum" => found.is_ascii_alphanumeric(),
        b"alpha" => found.is_ascii_alphabetic(),
        b"blank" => found == ' ' || found == '\t',
        b"cntrl" => found.is_ascii_control(),
        b"digit" => found.is_ascii_digit(),
        b"graph" => found.is_ascii_graphic(),
        b"lower" => found.is_ascii_lowercase(),
        b"print" => found.is_ascii_graphic() || found == ' ',
        b"punct" => found.is_ascii_punctuation(),
        b"space" => found.is_ascii_whitespace() || found == '\u{b}',
        b"upper" => found.is_ascii_uppercase(),
        b"xdigit" => found.is_ascii_hexdigit(),
        _ => return None,
    };
    Some((holds, end + 4))
}

/// Return the first character and its length; a byte that begins none is one of its own, beyond all of Unicode.
fn character(text: &[u8]) -> (u32, usize) {
    let Some(&first) = text.first() else { return (0, 0) };
    let width = match first {
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => 1,
    };
    match text.get(..width).map(std::str::from_utf8) {
        Some(Ok(one)) => (one.chars().next().map_or(0, u32::from), width),
        _ => (0x11_0000 + u32::from(first), 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn arguments() {
        for (argument, directory, deep, name) in [
            ("/a/b.log", "/a", false, "b.log"),
            ("/a/**/b.log", "/a", true, "b.log"),
            ("/a/", "/a", false, "*"),
            ("/a/**", "/a", true, "*"),
            ("/a/**/", "/a", true, "*"),
            ("/a//b.log", "/a", false, "b.log"),
            ("/b.log", "/", false, "b.log"),
            ("/**/b.log", "/", true, "b.log"),
            ("/", "/", false, "*"),
            ("", ".", false, "*"),
            ("b.log", ".", false, "b.log"),
        ] {
            let found = Pattern::parse(argument.as_bytes());
            assert_eq!(
                (found.directory.as_slice(), found.deep, found.name.as_slice()),
                (directory.as_bytes(), deep, name.as_bytes()),
                "{argument}"
            );
        }
    }

    #[test]
    fn globs() {
        for (pattern, name, matches) in [
            ("*", "", true),
            ("*", "app.log", true),
            ("*.log", "app.log", true),
            ("*.log", ".log", true),
            ("*.log", "app.log.1", false),
            ("app?.log", "app1.log", true),
            ("app?.log", "app.log", false),
            ("?.log", "ü.log", true),
            ("[a-c].log", "b.log", true),
            ("[!a-c].log", "b.log", false),
            ("[^a-c].log", "d.log", true),
            ("[]].log", "].log", true),
            ("[a-].log", "-.log", true),
            ("[[:digit:]]*", "7x", true),
            ("[[:digit:]]*", "x7", false),
            ("[à-ü].log", "é.log", true),
            ("[a.log", "[a.log", true),
            ("\\*.log", "*.log", true),
            ("\\*.log", "a.log", false),
            ("a*b*c", "aXbXbXc", true),
            ("a*b*c", "aXbXbX", false),
            ("\\", "\\", true),
        ] {
            assert_eq!(glob(pattern.as_bytes(), name.as_bytes()), matches, "{pattern} {name}");
        }
        assert!(glob(b"?\xfe.log", b"\xff\xfe.log"));
    }

    #[test]
    fn what_a_glob_never_means() {
        let means = |pattern: &str, name: &str| Pattern::parse(pattern.as_bytes()).means(name.as_bytes());
        assert!(!means("/a/*", ".hidden"));
        assert!(means("/a/.*", ".hidden"));
        assert!(!means("/a/*", "app.log.gz"));
        assert!(means("/a/app.log.gz", "app.log.gz"));
        assert!(means("/a/a[1].log", "a[1].log"));
    }

    #[test]
    fn many_stars_take_no_exponential_time() {
        let pattern = "*a".repeat(60) + "b";
        assert!(!glob(pattern.as_bytes(), "a".repeat(255).as_bytes()));
    }

    proptest! {
        #[test]
        fn any_name_matches_itself_with_each_character_escaped(name in "[^\0/]{0,20}") {
            let escaped: String = name.chars().flat_map(|one| if one.is_ascii() { vec!['\\', one] } else { vec![one] }).collect();
            prop_assert!(glob(escaped.as_bytes(), name.as_bytes()));
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(pattern: Vec<u8>, name: Vec<u8>) {
            let parsed = Pattern::parse(&pattern);
            prop_assert_eq!(parsed.means(&name), parsed.means(&name));
            prop_assert!(glob(b"*", &name));
        }

        #[test]
        fn a_star_takes_any_middle(begin in "[a-z]{0,5}", middle in "[^\0/]{0,9}", end in "[a-z]{0,5}") {
            let name = format!("{begin}{middle}{end}");
            let pattern = format!("{begin}*{end}");
            prop_assert!(glob(pattern.as_bytes(), name.as_bytes()));
        }
    }
}
