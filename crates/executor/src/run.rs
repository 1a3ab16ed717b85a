//! The executor's loop: one frame asks for an attempt, one frame says how it ended.

use std::io::{self, Read, Write};

use mapreduce_core::Persisted;
use mapreduce_rpc::{
    BadField,
    executor::{
        Committed, Finished, FromExecutor, RunTask, Superseded, ToExecutor, finished, from_executor,
        to_executor,
    },
    parse,
};

use crate::{
    Assignment, Executor, Outcome,
    frames::{read_frame, write_frame},
};

/// Why an executor can't go on.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The socket to the worker broke.
    #[error("the connection to the worker broke: {0}")]
    Socket(#[from] io::Error),
    /// The worker sent what is no assignment.
    #[error(transparent)]
    BadField(#[from] BadField),
}

/// Runs what the worker asks for, until it says that it is enough or goes away.
pub fn run(socket: &mut (impl Read + Write), executor: &mut Executor) -> Result<(), RunError> {
    while let Some(ToExecutor { message: Some(to_executor::Message::Run(task)) }) = read_frame(socket)? {
        let assignment = assignment(&task)?;
        let outcome = match executor.run_task(&assignment) {
            Outcome::Committed => finished::Outcome::Committed(Committed {}),
            Outcome::Superseded => finished::Outcome::Superseded(Superseded {}),
            Outcome::Failed(failure) => finished::Outcome::Failure(failure.encode()),
        };
        let finished = Finished { attempt: task.attempt, outcome: Some(outcome) };
        write_frame(socket, &FromExecutor { message: Some(from_executor::Message::Finished(finished)) })?;
    }
    Ok(())
}

fn assignment(task: &RunTask) -> Result<Assignment, BadField> {
    Ok(Assignment {
        job: parse(&task.job)?,
        task: parse(&task.task)?,
        attempt: parse(&task.attempt)?,
        worker: parse(&task.worker)?,
    })
}
