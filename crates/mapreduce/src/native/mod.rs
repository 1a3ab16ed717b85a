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
//!
//! A job may read several inputs ([`Input::and`]), have parameters and tables beside them ([`Job::side_input`]), and count
//! ([`Emit::count`], [`Results::count`], [`Done::counters`]).

mod code;
mod datum;
mod files;
mod fold;
mod session;
mod traits;

use std::{collections::BTreeMap, io::Read, process::ExitCode};

use bytes::Bytes;
use clap::Parser;
use mapreduce_core::{JobSpec, Partitioning};
use mapreduce_executor::{SideInputs, UserCode, UserFailure};
use mapreduce_worker::EXECUTOR_ARGUMENT;

pub(crate) use self::session::Code;
use self::{code::NativeCode, traits::Counters};
pub use self::{
    datum::{Datum, Line},
    files::{Input, Output},
    session::{Done, NativeError, Session},
    traits::{Combiner, Context, Emit, Mapper, Record, Reducer, Results, Sum, UserError, Values},
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
    /// About how many partitions it is to have in the order of keys, if that is wanted.
    sorted: Option<u32>,
    side_inputs: BTreeMap<String, Bytes>,
}

impl<M: Mapper, R: Reducer<Key = M::Key, Value = M::Value>> Job<M, NoCombiner, R> {
    /// A job of these.
    pub fn new(mapper: M, reducer: R) -> Self {
        let settings = mapreduce_core::Settings::default();
        Job { mapper, combiner: None, reducer, settings, sorted: None, side_inputs: BTreeMap::new() }
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
        let Job { mapper, reducer, settings, sorted, side_inputs, .. } = self;
        Job { mapper, combiner: Some(combiner), reducer, settings, sorted, side_inputs }
    }

    /// The same, run in another way: partitions, retries, limits. What [`Job::sort_values`] and [`Job::sorted`] have set
    /// stays, unless these settings set it, too.
    pub fn settings(self, mut settings: mapreduce_core::Settings) -> Self {
        settings.sort_values |= self.settings.sort_values;
        let sorted = self.sorted.filter(|_| settings.partitioning == Partitioning::Hash);
        Job { settings, sorted, ..self }
    }

    /// The same with the values of each key in order, as [`Datum::put_key`] has it, instead of the order of the input;
    /// values that are equal stay in the order of the input. It has no combiner.
    pub fn sort_values(mut self) -> Self {
        self.settings.sort_values = true;
        self
    }

    /// The same with its results in the order of keys over all partitions, about `n_partitions` of them, so that the files
    /// of an output, one behind the other, are sorted. When it is run, it maps a sample of the input for it first, in the
    /// process that runs it.
    pub fn sorted(self, n_partitions: u32) -> Self {
        Job { sorted: Some(n_partitions), ..self }
    }

    /// The same with bytes beside its records, such as a parameter or a table, which its parts read when they start; see
    /// [`Mapper::start`]. They are sent once, and fetched once by each machine. Only the process that submits the job
    /// gives them: the others get them from there.
    ///
    /// ```no_run
    /// # use mapreduce::native::*;
    /// #[derive(Clone, Default)]
    /// struct Grep(String);
    ///
    /// impl Mapper for Grep {
    ///     type Key = String;
    ///     type Value = u64;
    ///
    ///     fn start(&mut self, context: &Context<'_>) -> Result<(), UserError> {
    ///         self.0 = String::from_utf8(context.side_input("pattern")?)?;
    ///         Ok(())
    ///     }
    ///
    ///     fn map(&mut self, line: Record<'_>, emit: &mut Emit<'_, String, u64>) -> Result<(), UserError> {
    ///         let line = line.text()?;
    ///         if line.contains(&self.0) {
    ///             emit.emit(line, 1);
    ///         }
    ///         Ok(())
    ///     }
    /// }
    ///
    /// # fn main() -> Result<(), UserError> {
    /// let job = Job::new(Grep::default(), Sum::new()).serve_if_asked();
    /// let pattern = std::env::args().nth(1).unwrap_or_default();
    /// let done = job.side_input("pattern", pattern).run(&Session::local(2)?, Input::text(["*.log"]), None)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn side_input(mut self, name: impl Into<String>, content: impl Into<Vec<u8>>) -> Self {
        self.side_inputs.insert(name.into(), content.into().into());
        self
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
        let Job { mapper, combiner, reducer, .. } = self.clone();
        NativeCode { mapper, combiner, reducer, counters: Counters::default() }
    }

    fn serve(self) -> ExitCode {
        let args = executor::Program::try_parse_from(std::env::args().skip(1));
        let load = move |_: &JobSpec, _: &[u8], side_inputs: &SideInputs| -> Result<_, UserFailure> {
            let mut code = self.code();
            code.start(&Context { read: &|name| read_side_input(side_inputs, name) })?;
            Ok(Box::new(code) as Box<dyn UserCode>)
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

fn read_side_input(side_inputs: &SideInputs, name: &str) -> Result<Vec<u8>, UserError> {
    let mut content = Vec::new();
    side_inputs.open(name)?.read_to_end(&mut content)?;
    Ok(content)
}
