//! Jobs written in Rust. The program that submits a job is also its executor: it is uploaded, and workers run it.
//!
//! ```no_run
//! use mapreduce::native::{Emit, Input, Job, Mapper, Record, Session, Sum, UserError};
//!
//! #[derive(Clone)]
//! struct Words;
//!
//! impl Mapper for Words {
//!     type Key = String;
//!     type Value = u64;
//!
//!     fn map(&mut self, line: Record<'_>, emit: &mut Emit<'_, String, u64>) -> Result<(), UserError> {
//!         line.text()?.split_whitespace().for_each(|word| emit.emit(word, 1));
//!         Ok(())
//!     }
//! }
//!
//! fn main() -> Result<(), UserError> {
//!     // First of all: workers start this program, too, and then this call does not return.
//!     let job = Job::new(Words, Sum::new()).combiner(Sum::<String>::new()).serve_if_asked();
//!     let session = Session::local(2)?;
//!     let done = job.run(&session, Input::text(["books/*.txt"]), None)?;
//!     for result in done.results()? {
//!         let (word, n) = result?;
//!         println!("{word}\t{n}");
//!     }
//!     Ok(())
//! }
//! ```

mod code;
mod datum;
mod fold;
mod session;
mod traits;

use std::process::ExitCode;

use clap::Parser;
use mapreduce_worker::EXECUTOR_ARGUMENT;

use self::code::NativeCode;
pub use self::{
    datum::{Datum, Line},
    session::{Done, Input, NativeError, Output, Session},
    traits::{Combiner, Emit, Mapper, Record, Reducer, Results, Sum, UserError, Values},
};
use crate::executor;

/// No combiner: there is no value of this type.
#[derive(Debug, Clone, Copy)]
pub enum NoCombiner {}

impl<V> Combiner<V> for NoCombiner {
    fn combine(&mut self, _: &mut V, _: V) {
        match *self {}
    }
}

/// A job: what to do with records. Cheap to make; every process of the job makes it anew.
#[derive(Debug, Clone)]
pub struct Job<M, C, R> {
    mapper: M,
    combiner: Option<C>,
    reducer: R,
    settings: mapreduce_core::Settings,
}

impl<M: Mapper, R: Reducer<Key = M::Key, Value = M::Value>> Job<M, NoCombiner, R> {
    /// A job of these.
    pub fn new(mapper: M, reducer: R) -> Self {
        Job { mapper, combiner: None, reducer, settings: mapreduce_core::Settings::default() }
    }
}

impl<M, C, R> Job<M, C, R>
where
    M: Mapper,
    C: Combiner<M::Value>,
    R: Reducer<Key = M::Key, Value = M::Value>,
{
    /// The same with a combiner.
    pub fn combiner<D: Combiner<M::Value>>(self, combiner: D) -> Job<M, D, R> {
        let Job { mapper, reducer, settings, .. } = self;
        Job { mapper, combiner: Some(combiner), reducer, settings }
    }

    /// The same, run in another way: partitions, retries, limits.
    pub fn settings(self, settings: mapreduce_core::Settings) -> Self {
        Job { settings, ..self }
    }

    /// If a worker or a cluster has started this process, does what it is meant to do and ends the process. To be
    /// called before anything else is done.
    pub fn serve_if_asked(self) -> Self {
        let first = std::env::args().nth(1).unwrap_or_default();
        let ended = match first.as_str() {
            EXECUTOR_ARGUMENT => self.serve(),
            "keeper" | "master" | "worker" | "executor" => crate::command_line(),
            _ => return self,
        };
        // `ExitCode` can only be returned from main.
        std::process::exit(if ended == ExitCode::SUCCESS { 0 } else { 1 })
    }

    fn code(&self) -> NativeCode<M, C, R> {
        let Job { mapper, combiner, reducer, .. } = self;
        NativeCode { mapper: mapper.clone(), combiner: combiner.clone(), reducer: reducer.clone() }
    }

    fn serve(self) -> ExitCode {
        let args = executor::Program::try_parse_from(std::env::args().skip(1));
        let load = move |_: &mapreduce_core::JobSpec, _: &[u8]| {
            Ok(Box::new(self.code()) as Box<dyn mapreduce_executor::UserCode>)
        };
        let served = args
            .map_err(|e| e.to_string())
            .and_then(|program| executor::serve(program.args, load).map_err(|e| e.to_string()));
        match served {
            Ok(()) => ExitCode::SUCCESS,
            Err(e) => {
                eprintln!("mapreduce: {e}");
                ExitCode::FAILURE
            }
        }
    }
}
