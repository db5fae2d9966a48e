//! `pillion-tail status`: what the checkpoint says, compared with the files as they are.

use std::fmt::Write;

use crate::checkpoint::{Journal, State, Unusable};
use crate::complaints::shown;
use crate::stat::Stat;

/// Return the text, or what is wrong.
///
/// # Errors
/// There is no checkpoint that can be read.
pub fn status(directory: &[u8]) -> Result<String, String> {
    let place = shown(directory);
    let content = Journal::read(directory).map_err(|error| format!("can't read the checkpoint in {place}: {error}"))?;
    let content = content.ok_or_else(|| format!("there is no checkpoint in {place}"))?;
    let state = State::parse(&content).map_err(|why| match why {
        Unusable::Garbage => format!("the checkpoint in {place} is damaged"),
        Unusable::Newer(version) => {
            format!("the checkpoint in {place} is of version {version}, newer than this program")
        }
    })?;
    let mut rows: Vec<(String, u64, Option<u64>)> = state
        .files
        .iter()
        .map(|(id, position)| {
            let stat = Stat::of_path(&position.path).ok();
            let same = stat.filter(|stat| stat.id == *id && stat.born == position.born);
            (shown(&position.path), position.at, same.map(|stat| stat.size))
        })
        .collect();
    rows.sort();
    let mut text = format!("{:>14} {:>14} {:>14}  FILE\n", "POSITION", "SIZE", "BEHIND");
    let mut sum: u64 = 0;
    for (path, at, size) in &rows {
        let behind = size.map(|size| size.saturating_sub(*at));
        sum = sum.saturating_add(behind.unwrap_or(0));
        let shown = |number: Option<u64>| number.map_or_else(|| "removed".to_owned(), |number| number.to_string());
        let _ = writeln!(text, "{at:>14} {:>14} {:>14}  {path}", shown(*size), shown(behind));
    }
    let _ = write!(text, "{} files, {sum} bytes behind, {} bytes dropped", rows.len(), state.dropped);
    if state.rejected > 0 {
        let _ = write!(text, ", {} records rejected by the store", state.rejected);
    }
    text.push('\n');
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::{Position, Record};
    use crate::stat::Id;
    use std::os::unix::ffi::OsStrExt;

    #[test]
    fn files_as_they_are() {
        let directory = tempfile::tempdir().unwrap();
        let (place, path) = (directory.path().as_os_str().as_bytes(), directory.path().join("app.log"));
        assert!(status(place).unwrap_err().starts_with("there is no checkpoint"));
        std::fs::write(&path, "twelve bytes").unwrap();
        let path = path.as_os_str().as_bytes().to_vec();
        let stat = Stat::of_path(&path).unwrap();
        let at = |born| Position { born, at: 5, version: 0, context: 0, origin: path.clone(), path: path.clone() };
        let removed = Id { device: stat.id.device, inode: stat.id.inode + 1 };
        let records = [
            Record::File(stat.id, at(stat.born)),
            Record::File(removed, at(1)),
            Record::Dropped(9),
            Record::Rejected(3),
        ];
        Journal::new(place).rewrite(records.into_iter()).unwrap();
        let text = status(place).unwrap();
        assert!(text.contains("5             12              7  /"), "{text}");
        assert!(text.contains("5        removed        removed  /"), "{text}");
        assert!(
            text.ends_with("2 files, 7 bytes behind, 9 bytes dropped, 3 records rejected by the store\n"),
            "{text}"
        );
    }
}
