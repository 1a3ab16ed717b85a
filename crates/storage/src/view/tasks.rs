//! A job and its tasks as people see them.

use std::collections::{BTreeMap, BTreeSet};

use mapreduce_core::{AttemptId, FailureKind, Incarnation, JobPhase, JobRecord, Progress, Stage, TaskId};
use serde::Serialize;

use super::{AttemptView, Facts, Outcome, attempts};

/// Where a task stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TaskState {
    /// To be launched, or never to be launched if the job has ended.
    Waiting,
    /// A live worker runs it.
    Running,
    /// It has its marker and never runs again.
    Committed,
    /// Its last attempt failed and so did the job.
    Failed,
    /// Its worker died, and nobody has launched it again yet.
    Lost,
}

impl TaskState {
    /// The name that people read, such as `waiting`.
    pub fn name(self) -> &'static str {
        match self {
            TaskState::Waiting => "waiting",
            TaskState::Running => "running",
            TaskState::Committed => "committed",
            TaskState::Failed => "failed",
            TaskState::Lost => "lost",
        }
    }
}

/// One task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TaskView {
    /// The task.
    pub task: TaskId,
    /// Where it stands.
    pub state: TaskState,
    /// The worker that runs, finished, failed or died with it; none while it waits.
    pub worker: Option<Incarnation>,
    /// The attempt that this is about; none while it waits.
    pub attempt: Option<AttemptId>,
    /// How many attempts were launched.
    pub attempts: u32,
}

/// One job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct JobView {
    /// Its record in coordination.
    pub record: JobRecord,
    /// How many tasks are committed.
    pub progress: Progress,
    /// Every task of its plan, in order; empty until there is a plan.
    pub tasks: Vec<TaskView>,
    /// Its owner, if that is alive.
    pub looked_after_by: Option<Incarnation>,
    /// How many attempts failed.
    pub failures: u32,
    /// What keeps it from going on, such as a full disk: it waits until that has passed.
    pub trouble: Option<String>,
}

/// The job as `facts` show it. `live` are the incarnations of masters and workers that are alive.
pub fn job_view(record: JobRecord, facts: &Facts, live: &BTreeSet<Incarnation>) -> JobView {
    let mut by_task: BTreeMap<TaskId, Vec<AttemptView>> = BTreeMap::new();
    for attempt in attempts(&facts.history, &facts.markers, &facts.failures) {
        by_task.entry(attempt.task).or_default().push(attempt);
    }
    let tasks: Vec<TaskView> = [Stage::Map, Stage::Reduce]
        .into_iter()
        .flat_map(|stage| facts.plan.iter().flat_map(move |plan| plan.tasks(stage)))
        .map(|task| {
            let attempts = by_task.get(&task).map(Vec::as_slice).unwrap_or_default();
            task_view(task, record.phase, facts, attempts, live)
        })
        .collect();
    JobView {
        progress: progress(&tasks),
        trouble: trouble(&tasks, facts).filter(|_| !record.phase.is_terminal()),
        tasks,
        looked_after_by: record.owner.clone().filter(|owner| live.contains(owner)),
        failures: count(facts.failures.values().flatten()),
        record,
    }
}

fn task_view(
    task: TaskId,
    phase: JobPhase,
    facts: &Facts,
    attempts: &[AttemptView],
    live: &BTreeSet<Incarnation>,
) -> TaskView {
    let view = |state, attempt: Option<(AttemptId, &Incarnation)>| TaskView {
        task,
        state,
        worker: attempt.map(|(_, worker)| worker.clone()),
        attempt: attempt.map(|(attempt, _)| attempt),
        attempts: count(attempts),
    };
    if let Some(marker) = facts.markers.get(&task) {
        return view(TaskState::Committed, Some((marker.attempt, &marker.worker)));
    }
    let runs = |attempt: &&AttemptView| attempt.outcome == Outcome::Running && live.contains(&attempt.worker);
    let Some(last) = attempts.iter().rfind(runs).or(attempts.last()) else {
        return view(TaskState::Waiting, None);
    };
    let state = match last.outcome {
        Outcome::Failed if phase == JobPhase::Failed => TaskState::Failed,
        _ if phase.is_terminal() => TaskState::Waiting,
        Outcome::Running if live.contains(&last.worker) => TaskState::Running,
        Outcome::Running | Outcome::Lost => TaskState::Lost,
        _ => TaskState::Waiting,
    };
    view(state, (state != TaskState::Waiting).then_some((last.attempt, &last.worker)))
}

/// Why the disk or the store did not let a task go on that waits for its next attempt: the latest such failure.
fn trouble(tasks: &[TaskView], facts: &Facts) -> Option<String> {
    let waiting = tasks.iter().filter(|task| task.state == TaskState::Waiting);
    let last = waiting.filter_map(|task| facts.failures.get(&task.task)?.last());
    let latest =
        last.filter(|failure| failure.what == FailureKind::Storage).max_by_key(|failure| failure.at_ms)?;
    Some(format!("{} on {}: {}", latest.task, latest.worker, latest.message))
}

fn progress(tasks: &[TaskView]) -> Progress {
    let of = |stage| tasks.iter().filter(move |task| task.task.stage == stage);
    let done = |stage| count(of(stage).filter(|task| task.state == TaskState::Committed));
    Progress {
        map_done: done(Stage::Map),
        map_total: count(of(Stage::Map)),
        reduce_done: done(Stage::Reduce),
        reduce_total: count(of(Stage::Reduce)),
    }
}

fn count(items: impl IntoIterator) -> u32 {
    u32::try_from(items.into_iter().count()).unwrap_or(u32::MAX)
}
