//! Opening a file, if it is a regular one inside a mounted volume: what lies in a volume is up to the application.

use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, open as open_path, readlink};
use rustix::io::Errno;

use crate::pattern::Pattern;
use crate::stat::Stat;

/// Why a file is not read.
#[derive(Debug, PartialEq, Eq)]
pub enum Refused {
    /// It is not there any more.
    Gone,
    /// It lies outside of the volumes.
    Outside,
    /// It is no regular file.
    Irregular,
    /// A sidecar of ours printed it: to read that would never end.
    Printed,
    /// No descriptor is left.
    NoDescriptor,
    /// The kernel does not let us.
    Failed(Errno),
}

/// The directories that files may lie in.
#[derive(Debug, Default)]
pub struct Volumes {
    roots: Vec<PathBuf>,
}

impl Volumes {
    /// Return the volumes that the patterns mean files in.
    #[must_use]
    pub fn of(patterns: &[Pattern]) -> Self {
        let mounts = mount_points(&fs::read("/proc/self/mountinfo").unwrap_or_default());
        let mut roots: Vec<PathBuf> = patterns.iter().map(|pattern| root(&pattern.directory, &mounts)).collect();
        roots.sort();
        roots.dedup();
        Self { roots }
    }

    /// Open a file for reading, and check what was opened: its path may have changed since anybody looked.
    ///
    /// A pipe does not block, and a symlink out of the volume, to our own `/proc` for instance, is closed again.
    ///
    /// # Errors
    /// Why it is not read.
    pub fn open(&self, path: &[u8]) -> Result<(OwnedFd, Stat), Refused> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let descriptor = open_path(path, flags, Mode::empty()).map_err(|error| match error {
            Errno::NOENT | Errno::NOTDIR => Refused::Gone,
            Errno::MFILE | Errno::NFILE => Refused::NoDescriptor,
            Errno::NXIO => Refused::Irregular, // a socket
            Errno::LOOP => Refused::Outside,
            other => Refused::Failed(other),
        })?;
        let stat = Stat::of_descriptor(&descriptor).map_err(Refused::Failed)?;
        if !stat.is_regular() {
            return Err(Refused::Irregular);
        }
        let real =
            readlink(format!("/proc/self/fd/{}", descriptor.as_raw_fd()), Vec::new()).map_err(Refused::Failed)?;
        let real = Path::new(std::ffi::OsStr::from_bytes(real.to_bytes()));
        if !self.roots.iter().any(|root| real.starts_with(root)) {
            Err(Refused::Outside)
        } else if is_printed_by_sidecar(real) {
            Err(Refused::Printed)
        } else {
            Ok((descriptor, stat))
        }
    }
}

/// Say whether it is a sidecar's output on the node: the kubelet keeps that as `NAMESPACE_POD_UID/pillion-NAME/0.log`.
fn is_printed_by_sidecar(path: &Path) -> bool {
    let mut names = path.iter().rev().skip(1).map(OsStrExt::as_bytes);
    let (container, pod) = (names.next().unwrap_or_default(), names.next().unwrap_or_default());
    container.starts_with(b"pillion-") && pod.split(|&byte| byte == b'_').count() == 3
}

/// Return the mount point of the volume that a directory lies in, or, outside of one, the directory.
///
/// It is searched from above, since below a mount point the application decides what is a symlink.
fn root(directory: &[u8], mounts: &[PathBuf]) -> PathBuf {
    let directory = Path::new(std::ffi::OsStr::from_bytes(directory));
    let absolute = std::path::absolute(directory).unwrap_or_else(|_| directory.to_path_buf());
    let mut place = PathBuf::from("/");
    for part in absolute.components().skip(1) {
        place.push(part);
        if mounts.contains(&place) {
            return place;
        }
        match fs::canonicalize(&place) {
            Ok(real) => place = real,
            Err(_) => break,
        }
    }
    // where there is no volume a symlink on the way leads out, too
    absolute
}

/// Return the mount points in proc(5)'s mountinfo.
fn mount_points(mountinfo: &[u8]) -> Vec<PathBuf> {
    let lines = mountinfo.split(|&byte| byte == b'\n');
    lines.filter_map(|line| line.split(|&byte| byte == b' ').nth(4)).map(unescape).collect()
}

/// Undo the kernel's `\ooo` for blanks, tabs, newlines and backslashes.
fn unescape(text: &[u8]) -> PathBuf {
    let mut found = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, after)) = rest.split_first() {
        if let (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..]) = (first, after) {
            found.push((a - b'0') * 64 + (b - b'0') * 8 + (c - b'0'));
            rest = after;
        } else {
            found.push(first);
            rest = after;
        }
    }
    PathBuf::from(std::ffi::OsString::from_vec(found))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn volumes(directory: &Path) -> Volumes {
        Volumes::of(&[Pattern::parse(directory.join("*").as_os_str().as_bytes())])
    }

    fn open(volumes: &Volumes, path: &Path) -> Result<u64, Refused> {
        volumes.open(path.as_os_str().as_bytes()).map(|(_, stat)| stat.size)
    }

    #[test]
    fn files_inside() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("sub")).unwrap();
        fs::write(directory.path().join("sub/file"), "four").unwrap();
        symlink(directory.path().join("sub/file"), directory.path().join("absolute")).unwrap();
        symlink("sub/file", directory.path().join("relative")).unwrap();
        let volumes = volumes(directory.path());
        for name in ["sub/file", "absolute", "relative"] {
            assert_eq!(open(&volumes, &directory.path().join(name)), Ok(4), "{name}");
        }
        assert_eq!(open(&volumes, &directory.path().join("none")), Err(Refused::Gone));
    }

    #[test]
    fn what_is_refused() {
        let outer = tempfile::tempdir().unwrap();
        let directory = outer.path().join("logs");
        fs::create_dir(&directory).unwrap();
        fs::write(outer.path().join("logs-2"), "outside").unwrap();
        symlink(outer.path().join("logs-2"), directory.join("neighbour")).unwrap();
        symlink("/proc/self/environ", directory.join("environ")).unwrap();
        symlink("/dev/zero", directory.join("zero")).unwrap();
        symlink("loop", directory.join("loop")).unwrap();
        let volumes = volumes(&directory);
        for (name, why) in [
            ("neighbour", Refused::Outside),
            ("environ", Refused::Outside),
            ("zero", Refused::Irregular),
            ("loop", Refused::Outside),
            (".", Refused::Irregular),
        ] {
            assert_eq!(open(&volumes, &directory.join(name)), Err(why), "{name}");
        }
    }

    #[test]
    fn the_outermost_mount_point_is_the_root() {
        let mounts =
            mount_points(b"1 0 0:1 / /var/a\\040b rw - tmpfs none rw\n2 1 0:2 / /var/a\\040b/c rw - tmpfs none rw\n");
        assert_eq!(root(b"/var/a b/c/d", &mounts), Path::new("/var/a b"));
        assert_eq!(root(b"/nowhere/at/all", &mounts), Path::new("/nowhere/at/all"));
    }
}
