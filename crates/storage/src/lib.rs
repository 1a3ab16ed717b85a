//! Storage: everything that is large or must outlive processes. It knows where a job's objects are, how they
//! are framed, how an attempt's output becomes the task's output (the commit marker), and how a person's view
//! of a job is folded from all of this.
//!
//! The store is [`object_store`], as it is. Two of its guarantees carry the protocol: an object appears whole
//! or not at all, and `PutMode::Create` succeeds for exactly one of any number of contenders. On a local
//! directory both hold because it writes a hidden file beside the target, syncs it, gives it its name by
//! `link` (create) or `rename` (overwrite), and syncs the directory; so what a call returned for is durable.

pub mod background;
pub mod block;
mod claim;
mod cloud;
pub mod copies;
mod elsewhere;
mod error;
mod garbage;
mod hdfs;
mod job;
mod local_copy;
mod manifest;
mod marker;
mod object;
pub mod paths;
mod probe;
pub mod splits;
mod store;
mod unsynced;
mod upload;
pub mod view;

pub use claim::{Claim, claim, delete_claim, make_claim};
pub use elsewhere::Elsewhere;
pub use error::{StorageError, is_full, with_root};
pub use garbage::{delete_attempt, delete_job};
pub use job::{audit, failures, history, task_failures};
pub use local_copy::{LocalCopyError, copy_locally};
pub use manifest::{Manifest, ManifestEntry, MissingMarker};
pub use marker::{Commit, Marker, commit, counters, marker, markers, outcomes, winners};
pub use object::{Created, FileRef, create, put_file, read, read_bytes, read_range};
pub use probe::probe;
pub use store::{Store, answers_at_once, make_job_dirs, open};
pub use upload::FileUpload;
