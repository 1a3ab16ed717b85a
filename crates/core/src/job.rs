//! The one record a job has in coordination, and the object that holds its outcome.
//!
//! ```text
//!   Map ──► Reduce ──► (Publish) ──► Succeeded    changes of phase: compare-and-set by the owner, at its epoch
//!    │         │           │
//!    ├─────────┼───────────┴───────► Failed       terminal phases are absorbing and unique (invariant I10)
//!    └─────────┴───────────────────► Cancelled
//! ```

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{
    Epoch, Failure, Incarnation, JobId, Persisted, Stage,
    ids::{ParseIdError, bad},
};

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobPhase {
    /// Map tasks run.
    Map,
    /// Every map task is committed and its manifest written; reduce tasks run.
    Reduce,
    /// Every reduce task is committed, and their files are moved to where the user wants them. It can't be
    /// cancelled any more.
    Publish,
    /// The result is there.
    Succeeded,
    /// A task failed for good.
    Failed,
    /// Somebody cancelled it before it ended.
    Cancelled,
}

impl JobPhase {
    /// Whether the job has ended.
    pub fn is_terminal(self) -> bool {
        matches!(self, JobPhase::Succeeded | JobPhase::Failed | JobPhase::Cancelled)
    }

    /// The stage whose tasks run in this phase.
    pub fn stage(self) -> Option<Stage> {
        match self {
            JobPhase::Map => Some(Stage::Map),
            JobPhase::Reduce => Some(Stage::Reduce),
            _ => None,
        }
    }

    /// The name that people read, such as `succeeded`.
    pub fn name(self) -> &'static str {
        match self {
            JobPhase::Map => "map",
            JobPhase::Reduce => "reduce",
            JobPhase::Publish => "publish",
            JobPhase::Succeeded => "succeeded",
            JobPhase::Failed => "failed",
            JobPhase::Cancelled => "cancelled",
        }
    }
}

/// Reads what [`JobPhase::name`] gives.
impl FromStr for JobPhase {
    type Err = ParseIdError;
    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        use JobPhase::{Cancelled, Failed, Map, Publish, Reduce, Succeeded};
        let named = [Map, Reduce, Publish, Succeeded, Failed, Cancelled]
            .into_iter()
            .find(|phase| phase.name() == text);
        named.ok_or_else(|| bad(text, "a job's phase (map, reduce, publish, succeeded, failed or cancelled)"))
    }
}

/// `/jobs/<id>` in coordination. Every change is a compare-and-set (invariant I2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobRecord {
    /// The job.
    pub job: JobId,
    /// Who submitted it.
    pub user: String,
    /// The master that carries it on; none after it released the job.
    pub owner: Option<Incarnation>,
    /// Grows with every change of owner.
    pub epoch: Epoch,
    /// Where it stands.
    pub phase: JobPhase,
    /// Somebody wants it cancelled; the owner ends it.
    pub cancel: bool,
    /// Cap on workers at one time, for people to read; the spec holds what binds.
    pub requested_n_workers: Option<u32>,
    /// When it was submitted, in milliseconds since 1970.
    pub submitted_at_ms: u64,
}

impl Persisted for JobRecord {
    const KIND: &'static str = "job";
    const VERSION: u32 = 1;
}

/// `result`: the job's outcome, written once, before the terminal record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "outcome")]
pub enum JobResult {
    /// The partitions are what `manifest/reduce` names.
    Succeeded {
        /// Digest of `manifest/reduce`.
        manifest: String,
    },
    /// The failure that ended it.
    Failed {
        /// What, where, traceback, record.
        failure: Box<Failure>,
    },
}

impl Persisted for JobResult {
    const KIND: &'static str = "result";
    const VERSION: u32 = 1;
}

/// How far a job is, as a count of tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Progress {
    /// Map tasks committed.
    pub map_done: u32,
    /// Map tasks of the plan.
    pub map_total: u32,
    /// Reduce tasks committed.
    pub reduce_done: u32,
    /// Reduce tasks of the plan.
    pub reduce_total: u32,
}
