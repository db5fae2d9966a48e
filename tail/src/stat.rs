//! What the kernel says of a file: who it is, and how far it has grown.

use std::os::fd::AsFd;

use rustix::fs::{self, AtFlags, CWD, FileType, StatxFlags};
use rustix::io;

/// Which file it is: unique among the files that there are now, and used again after a removal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id {
    /// The device that its file system is on.
    pub device: u64,
    /// Its inode.
    pub inode: u64,
}

/// What statx(2) says of a file.
#[derive(Clone, Copy, Debug)]
pub struct Stat {
    /// Which file it is.
    pub id: Id,
    /// When it was made, in nanoseconds; 0 where the file system does not keep that.
    pub born: i64,
    /// Its length in bytes.
    pub size: u64,
    /// When it was last written, in nanoseconds.
    pub modified: i64,
    /// When it was last read, in nanoseconds.
    pub accessed: i64,
    /// How many names it has.
    pub links: u64,
    /// What kind of file it is.
    pub kind: FileType,
    /// Its permission bits.
    pub mode: u32,
    /// Who owns it.
    pub user: u32,
    /// Its group.
    pub group: u32,
}

impl Stat {
    /// Return what is at a path; a symlink counts as what it leads to.
    ///
    /// # Errors
    /// What statx(2) returns.
    pub fn of_path(path: &[u8]) -> io::Result<Self> {
        fs::statx(CWD, path, AtFlags::empty(), wanted()).map(|found| Self::from(&found))
    }

    /// Return what an entry of an open directory is; a symlink counts as what it leads to.
    ///
    /// # Errors
    /// What statx(2) returns.
    pub fn of_entry(directory: impl AsFd, name: &std::ffi::CStr) -> io::Result<Self> {
        fs::statx(directory, name, AtFlags::empty(), wanted()).map(|found| Self::from(&found))
    }

    /// Return what a descriptor refers to.
    ///
    /// # Errors
    /// What statx(2) returns.
    pub fn of_descriptor(descriptor: impl AsFd) -> io::Result<Self> {
        fs::statx(descriptor, c"", AtFlags::EMPTY_PATH, wanted()).map(|found| Self::from(&found))
    }

    /// Say whether it is a regular file.
    #[must_use]
    pub fn is_regular(&self) -> bool {
        self.kind == FileType::RegularFile
    }

    fn from(found: &fs::Statx) -> Self {
        let born = StatxFlags::from_bits_retain(found.stx_mask).contains(StatxFlags::BTIME);
        Self {
            id: Id { device: fs::makedev(found.stx_dev_major, found.stx_dev_minor), inode: found.stx_ino },
            born: if born { nanoseconds(found.stx_btime.tv_sec, found.stx_btime.tv_nsec) } else { 0 },
            size: found.stx_size,
            modified: nanoseconds(found.stx_mtime.tv_sec, found.stx_mtime.tv_nsec),
            accessed: nanoseconds(found.stx_atime.tv_sec, found.stx_atime.tv_nsec),
            links: found.stx_nlink.into(),
            kind: FileType::from_raw_mode(found.stx_mode.into()),
            mode: u32::from(found.stx_mode) & 0o7777,
            user: found.stx_uid,
            group: found.stx_gid,
        }
    }
}

/// What may have changed in an open file; fstat(2) is cheaper than statx(2), and this is asked of each file at each look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Growth {
    /// Its length in bytes.
    pub size: u64,
    /// When it was last written, in nanoseconds.
    pub modified: i64,
    /// When it was last read, in nanoseconds.
    pub accessed: i64,
    /// How many names it has.
    pub links: u64,
}

impl Growth {
    /// Return how an open file is now.
    ///
    /// # Errors
    /// What fstat(2) returns.
    pub fn of(descriptor: impl AsFd) -> io::Result<Self> {
        let found = fs::fstat(descriptor)?;
        #[allow(clippy::cast_sign_loss, clippy::cast_possible_wrap, clippy::unnecessary_cast)]
        // types differ by platform
        Ok(Self {
            size: found.st_size as u64,
            modified: nanoseconds(found.st_mtime as i64, found.st_mtime_nsec as u32),
            accessed: nanoseconds(found.st_atime as i64, found.st_atime_nsec as u32),
            links: found.st_nlink as u64,
        })
    }
}

impl From<&Stat> for Growth {
    fn from(stat: &Stat) -> Self {
        Self { size: stat.size, modified: stat.modified, accessed: stat.accessed, links: stat.links }
    }
}

fn wanted() -> StatxFlags {
    StatxFlags::BASIC_STATS | StatxFlags::BTIME
}

fn nanoseconds(seconds: i64, rest: u32) -> i64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(rest.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_and_descriptor_agree() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "four").unwrap();
        let by_path = Stat::of_path(file.path().as_os_str().as_encoded_bytes()).unwrap();
        let by_descriptor = Stat::of_descriptor(file.as_file()).unwrap();
        assert_eq!(by_path.id, by_descriptor.id);
        assert_eq!(by_path.born, by_descriptor.born);
        assert_eq!(Growth::from(&by_path), Growth::of(file.as_file()).unwrap());
        assert_eq!(by_path.size, 4);
        assert!(by_path.is_regular());
    }

    #[test]
    fn times_beyond_every_calendar_do_not_overflow() {
        assert_eq!(nanoseconds(i64::MAX, 5), i64::MAX);
        assert!(nanoseconds(i64::MIN, 5) < 0);
    }
}
