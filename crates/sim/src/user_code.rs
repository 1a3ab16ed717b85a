//! The user's code of simulated jobs. It is not deterministic: every pair carries the attempt that made it, so that a
//! mixture of two attempts shows.
//!
//! A record is a key's byte and its own number. A value of the map output is `<record> <attempt>`, and so many bytes of
//! nothing as the job says; a result is the values of a key, one behind the other, and the attempt of the reduce task.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use mapreduce_core::{AttemptId, FailureKind, JobId, TaskId};
use mapreduce_executor::{Group, Records, Resources, TaskError, UserCode, UserFailure, keys, map::MapSink};
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use crate::process::Process;

/// What the code of a job does; it is the content of the job's code object.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Behaviour {
    /// Bytes of nothing after each value: large map output makes objects of its own.
    pub(crate) padding: usize,
    /// Whether it combines.
    pub(crate) combines: bool,
    /// How many calls in a thousand raise.
    pub(crate) raises: u32,
    /// How many calls in a thousand never return.
    pub(crate) hangs: u32,
    /// How long a task takes at most, in milliseconds.
    pub(crate) slow_ms: u64,
}

/// The attempt that runs in an executor.
pub(crate) type Current = Arc<Mutex<Option<(JobId, TaskId, AttemptId)>>>;

pub(crate) struct Code {
    pub(crate) behaviour: Behaviour,
    pub(crate) process: Process,
    pub(crate) resources: Resources,
    pub(crate) current: Current,
}

/// One pair of a map output, as the result shows it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Pair {
    pub(crate) record: u64,
    pub(crate) task: TaskId,
    pub(crate) attempt: AttemptId,
}

/// A key's result.
pub(crate) struct Reduced {
    pub(crate) pairs: Vec<Pair>,
    pub(crate) by: (TaskId, AttemptId),
}

impl Code {
    fn attempt(&self) -> Option<(JobId, TaskId, AttemptId)> {
        *self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tag(&self) -> String {
        self.attempt().map(|(_, task, attempt)| format!("{task} {attempt}")).unwrap_or_default()
    }

    /// Takes its time, or for ever, or raises.
    fn live(&self) -> Result<(), TaskError> {
        let world = self.process.world();
        self.resources.wait(sleep(world.draw_ms(0, self.behaviour.slow_ms)));
        if world.chance(self.behaviour.hangs) {
            world.note(self.process.name(), format_args!("{} hangs", self.tag()));
            self.resources.wait(sleep(Duration::from_secs(1_000_000)));
        }
        if world.chance(self.behaviour.raises) {
            world.note(self.process.name(), format_args!("{} raises", self.tag()));
            let what = FailureKind::UserException { exception: "Simulated".to_owned() };
            return Err(UserFailure::new(what, "simulated").into());
        }
        Ok(())
    }
}

impl UserCode for Code {
    fn map(&mut self, records: &mut Records, sink: &mut MapSink) -> Result<(), TaskError> {
        while let Some(batch) = records.next_batch()? {
            self.live()?;
            for record in batch.iter() {
                let mut key = Vec::new();
                keys::put_bytes(&mut key, keys::tag::BYTES, &record[..record.len().min(1)]);
                let number = String::from_utf8_lossy(record.get(1..).unwrap_or_default()).into_owned();
                let value = format!("{number} {} {};", self.tag(), self.padding());
                let Ok(group) = sink.group(&key, |_| Ok::<(), Infallible>(()));
                sink.push(group, 1, value.as_bytes());
                if sink.is_full() {
                    sink.spill(self)?;
                }
            }
        }
        Ok(())
    }

    fn combines(&self) -> bool {
        self.behaviour.combines
    }

    fn combine(&mut self, mut group: Group, out: &mut Vec<u8>) -> Result<(), TaskError> {
        while let Some(values) = group.values.next_run()? {
            out.extend_from_slice(&values.bytes);
        }
        Ok(())
    }

    fn reduce(&mut self, group: Group, out: &mut Vec<u8>) -> Result<u64, TaskError> {
        self.live()?;
        self.combine(group, out)?;
        out.extend_from_slice(format!("by {}", self.tag()).as_bytes());
        Ok(1)
    }
}

impl Code {
    /// Does not compress.
    fn padding(&self) -> String {
        let mut digits = String::with_capacity(self.behaviour.padding);
        while digits.len() < self.behaviour.padding {
            digits.push_str(&format!("{:016x}", self.process.world().draw(u64::MAX)));
        }
        digits.truncate(self.behaviour.padding);
        digits
    }
}

/// Reads what [`Code::reduce`] made; none if it is something else.
pub(crate) fn parse(result: &[u8]) -> Option<Reduced> {
    let text = std::str::from_utf8(result).ok()?;
    let (values, by) = text.rsplit_once("by ")?;
    let mut by = by.split(' ');
    let by = (by.next()?.parse().ok()?, by.next()?.parse().ok()?);
    let pair = |value: &str| {
        let mut parts = value.split(' ');
        let record = parts.next()?.parse().ok()?;
        Some(Pair { record, task: parts.next()?.parse().ok()?, attempt: parts.next()?.parse().ok()? })
    };
    let pairs = values.split_terminator(';').map(pair).collect::<Option<_>>()?;
    Some(Reduced { pairs, by })
}
