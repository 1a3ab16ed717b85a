//! One newtype an id, so that mixing them up does not compile. Every id has one text form, used in
//! storage paths, on the wire and on the screen alike, and `FromStr` reads exactly what `Display` writes.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

/// A text that is not the id it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not {expected}")]
pub struct ParseIdError {
    text: String,
    expected: &'static str,
}

/// Enough of a text that is no id to know it again.
const TEXT_CHARS_MAX: usize = 100;

pub(crate) fn bad(text: &str, expected: &'static str) -> ParseIdError {
    ParseIdError { text: text.chars().take(TEXT_CHARS_MAX).collect(), expected }
}

/// Digits only and no leading zero or sign, so that one id has one text.
fn parse_number(digits: &str) -> Option<u64> {
    let canonical = digits == "0" || !digits.starts_with('0');
    (canonical && digits.bytes().all(|b| b.is_ascii_digit())).then(|| digits.parse().ok()).flatten()
}

/// Twelve hexadecimal digits, in lower case, so that one id has one text.
fn is_hex_48(digits: &str) -> bool {
    digits.len() == 12 && digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// A job, counted from 1 by `/counters/job` and never reused (invariant I1). Text form: `job_7`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct JobId(pub u64);

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "job_{}", self.0)
    }
}

impl FromStr for JobId {
    type Err = ParseIdError;
    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let number = text.strip_prefix("job_").and_then(parse_number);
        number.map(JobId).ok_or_else(|| bad(text, "a job id such as job_7"))
    }
}

/// Which kind of process an incarnation is. Text form: `master`, `worker`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Owns and schedules jobs.
    Master,
    /// Owns slots and runs executors.
    Worker,
}

impl Role {
    /// `master` or `worker`.
    pub fn name(self) -> &'static str {
        match self {
            Role::Master => "master",
            Role::Worker => "worker",
        }
    }
}

impl FromStr for Role {
    type Err = ParseIdError;
    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        match text {
            "master" => Ok(Role::Master),
            "worker" => Ok(Role::Worker),
            _ => Err(bad(text, "a role (master or worker)")),
        }
    }
}

/// One life of one master or worker process, made new at every start and never reused (invariant I1).
/// Text form: `master-` or `worker-` and 12 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Incarnation(Arc<str>);

impl Incarnation {
    /// The incarnation of `role` that carries the lowest 48 bits of `random`. The caller brings the
    /// randomness, so that a simulation can replay it.
    pub fn new(role: Role, random: u64) -> Self {
        Incarnation(format!("{}-{:012x}", role.name(), random & 0xffff_ffff_ffff).into())
    }

    /// The text form.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is a master or a worker.
    pub fn role(&self) -> Role {
        if self.0.starts_with("master-") { Role::Master } else { Role::Worker }
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Incarnation {
    type Err = ParseIdError;
    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let digits = text.strip_prefix("master-").or_else(|| text.strip_prefix("worker-"));
        match digits {
            Some(digits) if is_hex_48(digits) => Ok(Incarnation(text.into())),
            _ => Err(bad(text, "a master or worker id such as worker-0123456789ab")),
        }
    }
}

/// A cluster: what belongs together of coordination and storage. Text form: `cluster-` and 12 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ClusterId(Arc<str>);

impl ClusterId {
    /// The cluster that carries the lowest 48 bits of `random`.
    pub fn new(random: u64) -> Self {
        ClusterId(format!("cluster-{:012x}", random & 0xffff_ffff_ffff).into())
    }

    /// The text form.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ClusterId {
    type Err = ParseIdError;
    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        match text.strip_prefix("cluster-") {
            Some(digits) if is_hex_48(digits) => Ok(ClusterId(text.into())),
            _ => Err(bad(text, "a cluster's id such as cluster-0123456789ab")),
        }
    }
}

/// How often a job has changed its owner; grows with every change (invariant I2) and fences old owners.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u64);

impl Epoch {
    /// The epoch of the next owner. None follows the last, which is none that a job comes to: a record that has it is
    /// refused its next owner (I2).
    pub fn next(self) -> Epoch {
        Epoch(self.0.saturating_add(1))
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A step of a job whose tasks may run side by side. Text form: `map`, `reduce`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// One task a split.
    Map,
    /// One task a partition.
    Reduce,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Stage::Map => "map",
            Stage::Reduce => "reduce",
        })
    }
}

impl FromStr for Stage {
    type Err = ParseIdError;
    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        match text {
            "map" => Ok(Stage::Map),
            "reduce" => Ok(Stage::Reduce),
            _ => Err(bad(text, "a stage (map or reduce)")),
        }
    }
}

/// One unit of work of a job: its identity follows from the plan alone (invariant I3).
/// Text form: `map/12`; the number is the split's for a map task, the partition's for a reduce task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TaskId {
    /// The stage it belongs to.
    pub stage: Stage,
    /// Split or partition number, from 0.
    pub index: u32,
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.stage, self.index)
    }
}

impl FromStr for TaskId {
    type Err = ParseIdError;
    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let parse = || {
            let (stage, index) = text.split_once('/')?;
            let index = parse_number(index).and_then(|n| u32::try_from(n).ok())?;
            Some(TaskId { stage: stage.parse().ok()?, index })
        };
        parse().ok_or_else(|| bad(text, "a task id such as map/12"))
    }
}

/// One try at a task. An owner numbers the attempts it launches for a task; the epoch in front keeps two
/// owners' numbers apart, so no attempt id is ever reused (invariant I1). Text form: `2-1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AttemptId {
    /// The epoch of the owner that launched it.
    pub epoch: Epoch,
    /// Counted from 1 within task and epoch.
    pub number: u32,
}

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.epoch, self.number)
    }
}

impl FromStr for AttemptId {
    type Err = ParseIdError;
    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let parse = || {
            let (epoch, number) = text.split_once('-')?;
            let number = parse_number(number).and_then(|n| u32::try_from(n).ok())?;
            Some(AttemptId { epoch: Epoch(parse_number(epoch)?), number })
        };
        parse().ok_or_else(|| bad(text, "an attempt id such as 2-1"))
    }
}

/// serde by way of the text form.
macro_rules! as_text {
    ($($id:ty),*) => {$(
        impl From<$id> for String {
            fn from(id: $id) -> String {
                id.to_string()
            }
        }
        impl TryFrom<String> for $id {
            type Error = ParseIdError;
            fn try_from(text: String) -> Result<Self, ParseIdError> {
                text.parse()
            }
        }
    )*};
}
as_text!(JobId, ClusterId, Incarnation, TaskId, AttemptId);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_id_reads_what_it_writes(n: u64, index: u32, random: u64) {
            prop_assert_eq!(JobId(n).to_string().parse(), Ok(JobId(n)));
            let task = TaskId { stage: Stage::Reduce, index };
            prop_assert_eq!(task.to_string().parse(), Ok(task));
            let attempt = AttemptId { epoch: Epoch(n), number: index };
            prop_assert_eq!(attempt.to_string().parse(), Ok(attempt));
            let worker = Incarnation::new(Role::Worker, random);
            prop_assert_eq!(worker.as_str().parse(), Ok(worker.clone()));
            let cluster = ClusterId::new(random);
            prop_assert_eq!(cluster.as_str().parse(), Ok(cluster.clone()));
        }

        #[test]
        fn one_id_has_one_text(text in "(job_|map/|master-|worker-|cluster-)?[-+0-9a-f_/]{0,14}") {
            if let Ok(id) = text.parse::<JobId>() { prop_assert_eq!(id.to_string(), text.clone()); }
            if let Ok(id) = text.parse::<TaskId>() { prop_assert_eq!(id.to_string(), text.clone()); }
            if let Ok(id) = text.parse::<AttemptId>() { prop_assert_eq!(id.to_string(), text.clone()); }
            if let Ok(id) = text.parse::<ClusterId>() { prop_assert_eq!(id.to_string(), text.clone()); }
            if let Ok(id) = text.parse::<Incarnation>() { prop_assert_eq!(id.to_string(), text); }
        }
    }
}
