//! The audit as people read it: every attempt, with its end.

use std::collections::BTreeMap;

use mapreduce_core::{AttemptEnd, AttemptId, Failure, History, HistoryEvent, Incarnation, TaskId, history};
use serde::Serialize;

use crate::Marker;

/// One attempt: where it ran, when, and how it ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AttemptView {
    /// The task.
    pub task: TaskId,
    /// The attempt.
    pub attempt: AttemptId,
    /// Where it ran.
    pub worker: Incarnation,
    /// When its owner decided to launch it, in milliseconds since 1970.
    pub launched_at_ms: u64,
    /// When it ended, or its owner learned of it, in milliseconds since 1970.
    pub ended_at_ms: Option<u64>,
    /// How.
    pub outcome: Outcome,
}

/// What became of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Nobody has seen it end.
    Running,
    /// Its marker is the task's.
    Committed,
    /// Another attempt's marker was there first.
    Superseded,
    /// It failed.
    Failed,
    /// Its worker was lost before it ended.
    Lost,
    /// Its owner stopped it, or its worker, which was told to go.
    Stopped,
}

impl Outcome {
    /// The name that people read, such as `committed`.
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Running => "running",
            Outcome::Committed => "committed",
            Outcome::Superseded => "superseded",
            Outcome::Failed => "failed",
            Outcome::Lost => "lost",
            Outcome::Stopped => "stopped",
        }
    }
}

impl From<AttemptEnd> for Outcome {
    fn from(end: AttemptEnd) -> Self {
        match end {
            AttemptEnd::Committed => Outcome::Committed,
            AttemptEnd::Superseded => Outcome::Superseded,
            AttemptEnd::Failed => Outcome::Failed,
            AttemptEnd::Lost => Outcome::Lost,
            AttemptEnd::Stopped => Outcome::Stopped,
        }
    }
}

/// Every attempt in the order of launches. A marker or failure counts for more than what an owner noted, or
/// had no time to note before it died.
pub fn attempts(
    history: &[History],
    markers: &BTreeMap<TaskId, Marker>,
    failures: &BTreeMap<TaskId, Vec<Failure>>,
) -> Vec<AttemptView> {
    let mut views = from_history(history);
    for view in &mut views {
        let failures = failures.get(&view.task).map(Vec::as_slice).unwrap_or_default();
        if let Some(failure) = failures.iter().find(|failure| failure.attempt == view.attempt) {
            view.outcome = Outcome::Failed;
            view.ended_at_ms = Some(failure.at_ms);
        }
        if let Some(marker) = markers.get(&view.task).filter(|marker| marker.attempt == view.attempt) {
            view.outcome = Outcome::Committed;
            view.ended_at_ms = Some(marker.ended_at_ms);
        }
    }
    views
}

/// What the owners noted, of attempts that were sent.
fn from_history(objects: &[History]) -> Vec<AttemptView> {
    let mut views: Vec<AttemptView> = Vec::new();
    let mut index: BTreeMap<(TaskId, AttemptId), usize> = BTreeMap::new();
    for event in history::told(objects) {
        match event {
            HistoryEvent::Owned { .. } => {}
            HistoryEvent::Launched { task, attempt, worker, at_ms }
            | HistoryEvent::Adopted { task, attempt, worker, at_ms } => {
                index.entry((*task, *attempt)).or_insert_with(|| {
                    views.push(AttemptView {
                        task: *task,
                        attempt: *attempt,
                        worker: worker.clone(),
                        launched_at_ms: *at_ms,
                        ended_at_ms: None,
                        outcome: Outcome::Running,
                    });
                    views.len() - 1
                });
            }
            HistoryEvent::Ended { task, attempt, end, at_ms } => {
                if let Some(&at) = index.get(&(*task, *attempt)) {
                    views[at].outcome = (*end).into();
                    views[at].ended_at_ms = Some(*at_ms);
                }
            }
        }
    }
    views
}
