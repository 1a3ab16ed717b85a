//! The data path of a task: read the split, map, group and write; fetch, merge, reduce and write; commit.
//! It runs in a process of its own, the executor, because user code runs here.
//!
//! No language's objects appear here. Keys, values and records are bytes; [`UserCode`] is the seam behind which
//! a language's face makes its objects of them.

mod error;
pub mod frames;
pub mod keys;
pub mod map;
mod output;
mod prefetch;
mod records;
pub mod reduce;
mod resources;
pub mod results;
mod run;
pub mod shuffle;
mod side_inputs;
mod task;
mod user_code;
pub mod varint;

pub use error::TaskError;
pub use prefetch::prefetch;
pub use records::{Records, pair};
pub use resources::{Resources, Suspend};
pub use run::{RunError, run};
pub use side_inputs::{SideInputError, SideInputs};
pub use task::{Assignment, Executor, Outcome};
pub use user_code::{Group, Runs, UserCode, UserFailure, Values};
