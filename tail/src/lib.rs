//! Print log files to standard output until SIGTERM, and lose no line.
//!
//! A module has one idea, and uses only those above it:
//!
//! | module | idea |
//! |---|---|
//! | [`stat`] | which file it is, and how far it has grown |
//! | [`pattern`] | which names are meant |
//! | [`rotation`] | what rotations call the files that they make |
//! | [`volume`] | opening what lies inside a volume, and nothing else |
//! | [`discovery`] | which files there are |
//! | [`checkpoint`] | how far files were printed, across a restart |
//! | [`records`] | which lines belong together |
//! | [`output`] | whole lines to a sink, which says what is durably out |
//! | [`file`] | what is read of one file next, and whether it is still the same |
//! | [`table`] | the files that are followed, in order |
//! | [`follow`] | the loop |
//!
//! With the feature `shipping` there is one more output, which sends to a store: `shipping`.

pub mod checkpoint;
pub mod complaints;
pub mod discovery;
pub mod file;
pub mod follow;
pub mod options;
pub mod output;
pub mod pattern;
pub mod records;
pub mod rotation;
#[cfg(feature = "shipping")]
pub mod shipping;
pub mod signals;
pub mod stat;
pub mod status;
pub mod table;
pub mod volume;
