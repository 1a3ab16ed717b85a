//! Records in files: finding, splitting, reading and writing them.
//!
//! ```text
//! patterns ─find─► files ─split─► ranges ─read─► batches of records ─► the job ─write─► parts ─publish─► output
//! ```
//!
//! The client finds and splits: what a job reads is fixed when it is submitted, by length and time of last
//! writing, and a file that has changed since is an error wherever it is noticed. Executors read ranges and
//! write parts, the master publishes them. Nothing here knows of jobs, tasks or stores of ours.
//!
//! Files are named by URL. Only `file://` works now. What it takes to add another scheme is [`find()`]'s listing
//! of one directory, the reader's input, and [`publish()`]'s moving of a file.

mod batch;
mod error;
mod find;
mod location;
mod publish;
mod read;
mod row;
mod split;
mod table;
mod write;

pub use batch::{Batch, Position};
pub use error::FormatError;
pub use find::find;
pub use publish::{check_output, discard, part_names, publish, temporary_dir};
pub use read::{BATCH_BYTES, RECORD_BYTES_MAX, SplitReader, read};
pub use row::{CsvRow, encode_csv_row};
pub use split::{SPLIT_BYTES, split, suitable_split_bytes};
pub use write::{RecordWriter, file_ending};
