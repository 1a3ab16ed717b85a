//! What a person is told of an attempt whose executor died.

use mapreduce_core::{Failure, FailureKind};

use crate::{agent::Assignment, memory::Share, slot::Shared};

/// The failure of an attempt that can't tell of itself.
pub(crate) fn obituary(shared: &Shared, assignment: &Assignment, what: FailureKind) -> Failure {
    Failure {
        task: assignment.task,
        attempt: assignment.attempt,
        worker: shared.worker.clone(),
        message: describe(&what, Share::of(&shared.options).memory_bytes_max),
        what,
        traceback: String::new(),
        record: None,
        pickled_exception: None,
        at_ms: shared.clock.unix_ms(),
    }
}

/// One sentence: what happened, and where to look.
fn describe(what: &FailureKind, memory_bytes_max: u64) -> String {
    match what {
        FailureKind::ExecutorExited { code } => format!(
            "the executor process exited with code {code} while it ran user code: look for os._exit or a library that ends the process"
        ),
        FailureKind::ExecutorKilled { signal: 9 } => {
            "the executor process was killed (SIGKILL) while it ran user code: \
            most likely the machine ran out of memory"
                .into()
        }
        FailureKind::ExecutorKilled { signal: 6 } => format!(
            "the executor process was killed by SIGABRT (6) while it ran user code: look for an allocation beyond the \
             task's limit of {} MiB (memory_bytes_max), which ends programs in Rust and C++ that way, or for a crash in \
             a native library",
            memory_bytes_max >> 20
        ),
        FailureKind::ExecutorKilled { signal } => {
            let name = match signal {
                4 => "SIGILL",
                7 => "SIGBUS",
                8 => "SIGFPE",
                11 => "SIGSEGV",
                15 => "SIGTERM",
                _ => "a signal",
            };
            format!(
                "the executor process was killed by {name} ({signal}) while it ran user code: \
                 look for a crash in a native library"
            )
        }
        FailureKind::TimedOut { limit_ms } => {
            format!(
                "the task took longer than its limit of {limit_ms} ms: raise task_timeout or make the splits smaller"
            )
        }
        other => format!("{other:?}"),
    }
}
