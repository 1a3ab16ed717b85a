//! Records in files: finding, splitting, reading and writing them.
//!
//! ```text
//! patterns ─find─► files ─split─► ranges ─read─► batches of records ─► the job ─write─► parts ─publish─► output
//! ```
//!
//! The client finds and splits: what a job reads is fixed when it is submitted, by length and time of last
//! writing, and a file that has changed since is an error wherever it is noticed. Executors read ranges and
//! write parts, the master publishes them. Nothing here knows of tasks, or of what a cluster keeps in its storage.
//!
//! Files are named by URL: `file://` for what this machine has, and those of the stores that
//! [`Elsewhere`](mapreduce_storage::Elsewhere) opens. Both are known in four places: finding, reading, writing parts, and
//! publishing.

mod batch;
mod error;
mod find;
mod location;
mod part;
mod publish;
mod read;
mod remote;
mod row;
mod split;
mod table;
mod write;

pub use batch::{Batch, Position};
pub use error::FormatError;
pub use find::find;
pub use location::absolute;
pub use part::Part;
pub use publish::{check_output, discard, local_directory, part_names, publish, published};
pub use read::{BATCH_BYTES, RECORD_BYTES_MAX, SplitReader, read};
pub use row::{CsvRow, encode_csv_row};
pub use split::{SPLIT_BYTES, split, suitable_split_bytes};
pub use write::{RecordWriter, file_ending};
