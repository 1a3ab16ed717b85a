//! Proof of the promise, not published. The real master, worker and commit code live in a simulated [`world`], whose
//! every accident is drawn from a seed; the [`model`] of the protocol is small enough to be explored whole.
//!
//! ```text
//!            nemesis ─────────► processes, cables, services, disk
//!                                   │
//!   client ──► master ◄──network──► worker ──► executor (coroutine) ──► user code
//!                └──── coordination, disk ◄───────┘
//!                            │
//!                    laws, at every step; oracle, at the end
//! ```
//!
//! All of it is one thread and one paused clock: a run is a function of its seed.

mod cluster;
mod coordination;
mod coroutine;
mod disk;
mod executor;
pub mod fault;
mod job;
mod laws;
pub mod many;
pub mod model;
mod nemesis;
mod network;
mod oracle;
pub mod process;
pub mod run;
mod user_code;
pub mod world;
