//! The vocabulary of the system: ids, epochs, the job specification, the plan, job and history records,
//! typed failures, the clock and the invariants. No I/O, no async, no sibling crate: everything else
//! depends on this crate and it depends on nothing of ours.

pub mod clock;
pub mod content;
pub mod envelope;
pub mod failure;
pub mod files;
pub mod history;
pub mod ids;
pub mod invariants;
pub mod job;
pub mod plan;
pub mod secret;
pub mod spec;

pub use clock::{Clock, SystemClock};
pub use content::{CODE_CONTENT_BYTES_MAX, Content, content_bytes_max};
pub use envelope::{DecodeError, Persisted};
pub use failure::{Failure, FailureKind};
pub use files::{Compression, FileFormat, FileRange, InputFile, InvalidText};
pub use history::{AttemptEnd, Audit, History, HistoryEvent};
pub use ids::{AttemptId, ClusterId, Epoch, Incarnation, JobId, Role, Stage, TaskId};
pub use job::{JobPhase, JobRecord, JobResult, Progress};
pub use plan::{MAP_TASKS_MAX, Plan, REDUCE_TASKS_MAX, Split};
pub use secret::Secret;
pub use spec::{CodeRef, Commands, InputDescription, JobSpec, OutputDescription, Partitioning, Settings};
