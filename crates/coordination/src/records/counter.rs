//! `/counters/job`: the last job id given.

use bytes::Bytes;
use mapreduce_core::{DecodeError, JobId, Persisted};
use serde::{Deserialize, Serialize};

use super::{RecordError, read};
use crate::{CoordinationError, Coordinator, Lifetime};

const PATH: &str = "/counters/job";

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Counter {
    last: u64,
}

impl Persisted for Counter {
    const KIND: &'static str = "counter";
    const VERSION: u32 = 1;
}

/// How many doubtful writes are overlooked.
const DOUBTS_MAX: u32 = 5;

/// A job id that was never given before (invariant I1).
pub async fn next_job_id(c: &dyn Coordinator) -> Result<JobId, RecordError> {
    let mut doubts = 0;
    loop {
        let outcome = match read::<Counter>(c, PATH).await? {
            None => {
                let first = Bytes::from(Counter { last: 1 }.encode());
                c.create(PATH, first, Lifetime::Durable).await.map(|_| 1)
            }
            Some((Counter { last }, version)) => {
                let next = last.checked_add(1).ok_or_else(|| {
                    let why = format!("no job id follows {last}");
                    let why = DecodeError::Body { kind: Counter::KIND, why };
                    RecordError::Unreadable { path: PATH.to_owned(), why }
                })?;
                let counter = Bytes::from(Counter { last: next }.encode());
                c.set(PATH, counter, version).await.map(|_| next)
            }
        };
        match outcome {
            Ok(number) => return Ok(JobId(number)),
            // After a doubtful write the number may be somebody else's: leave it and take the next one.
            Err(CoordinationError::Ambiguous { .. }) if doubts < DOUBTS_MAX => doubts += 1,
            Err(CoordinationError::AlreadyExists { .. } | CoordinationError::Conflict { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
