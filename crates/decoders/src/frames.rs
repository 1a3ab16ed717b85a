//! Frames between a worker and its executors.

use std::fmt::Debug;

use mapreduce_core::{Failure, Persisted};
use mapreduce_executor::frames::{read_frame, write_frame};
use mapreduce_rpc::executor::{
    Committed, Exited, Finished, FromExecutor, Ready, RunTask, ToExecutor, finished,
    from_executor::Message as From, to_executor::Message as To,
};
use prost::Message;

use crate::{check_error, seed};

/// The bytes are one message: a frame is put around it.
const MESSAGE: u8 = 0x80;

/// Reads frames until they end or one is wrong.
pub fn run(data: &[u8]) {
    let Some((&choice, bytes)) = data.split_first() else { return };
    let length = (bytes.len() as u32).to_be_bytes();
    let wire = if choice & MESSAGE == 0 { bytes.to_vec() } else { [&length, bytes].concat() };
    if choice & 1 == 0 {
        read::<ToExecutor>(&wire);
        return;
    }
    for message in read::<FromExecutor>(&wire) {
        if let Some(From::Finished(Finished { outcome: Some(finished::Outcome::Failure(bytes)), .. })) =
            message.message
        {
            let _ = Failure::decode(&bytes).map_err(|error| check_error(&error));
        }
    }
}

fn read<M: Message + Default + PartialEq + Debug>(mut wire: &[u8]) -> Vec<M> {
    let mut all = Vec::new();
    loop {
        match read_frame::<M>(&mut wire) {
            Ok(Some(message)) => {
                let mut again = Vec::new();
                write_frame(&mut again, &message).unwrap();
                assert_eq!(read_frame(&mut again.as_slice()).unwrap().as_ref(), Some(&message));
                all.push(message);
            }
            Ok(None) => return all,
            Err(error) => {
                check_error(&error);
                return all;
            }
        }
    }
}

/// What both say, one behind the other.
pub fn seeds() -> Vec<Vec<u8>> {
    let run = RunTask {
        job: "job_7".to_owned(),
        task: "map/2".to_owned(),
        attempt: "2-1".to_owned(),
        worker: "worker-000000000003".to_owned(),
    };
    let finished = |outcome| From::Finished(Finished { attempt: "2-1".to_owned(), outcome: Some(outcome) });
    let mut to = Vec::new();
    for message in [To::Run(run.clone()), To::Exit(Default::default())] {
        write_frame(&mut to, &ToExecutor { message: Some(message) }).unwrap();
    }
    let mut from = Vec::new();
    let said = [
        From::Ready(Ready { version: 1 }),
        finished(finished::Outcome::Committed(Committed {})),
        finished(finished::Outcome::Failure(b"mapreduce failure v1".to_vec())),
        From::Exited(Exited { code: -1, signal: 9 }),
    ];
    for message in said {
        write_frame(&mut from, &FromExecutor { message: Some(message) }).unwrap();
    }
    let alone = ToExecutor { message: Some(To::Run(run)) }.encode_to_vec();
    vec![seed(0, to), seed(1, from), seed(MESSAGE, alone)]
}
