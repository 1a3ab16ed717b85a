//! `make scale`: how a master bears many tasks and many workers, and how that grows.
//!
//! - The scheduler alone, up to 10,000 workers and 1,000,000 tasks: tasks a second, bytes a task.
//! - A whole master that takes over a job of which nearly everything is committed, with workers in the same process and
//!   storage in a directory: the time to the first launch, and to the end; bytes a task.
//!
//! An argument is the largest number of tasks.

#![expect(clippy::print_stdout, reason = "it is a command")]

mod cpu;
#[path = "../../../decoders/tests/support/heap.rs"]
mod heap;
mod scheduling;
mod takeover;

use std::error::Error;

#[global_allocator]
static ALLOCATOR: heap::Counting = heap::Counting;

const TASKS_MAX: u32 = 1_000_000;
/// A job that is taken over has no more: each task is a file.
const TAKEN_OVER_MAX: u32 = 100_000;
const TASKS_MIN: u32 = 1000;
/// A hundred tasks a worker.
const TASKS_PER_WORKER: u32 = 100;

fn main() -> Result<(), Box<dyn Error>> {
    let most = std::env::args().nth(1).map(|n| n.parse()).transpose()?.unwrap_or(TASKS_MAX);
    println!("The scheduler alone");
    println!(
        "{:>9} {:>8} {:>9} {:>12} {:>11} {:>11}",
        "tasks", "workers", "launched", "CPU ns/task", "tasks/s", "bytes/task"
    );
    for n_tasks in sizes(most) {
        let n_workers = n_tasks / TASKS_PER_WORKER;
        let measured = scheduling::run(n_workers as usize, n_tasks)?;
        let seconds = measured.cpu.as_secs_f64();
        println!(
            "{n_tasks:>9} {n_workers:>8} {:>9} {:>12.0} {:>11.0} {:>11}",
            measured.n_launched,
            seconds * 1e9 / f64::from(n_tasks),
            f64::from(n_tasks) / seconds,
            measured.bytes / n_tasks as usize,
        );
    }
    println!("\nA master takes over a job of which all but one map task in a hundred is committed");
    println!(
        "{:>9} {:>8} {:>15} {:>7} {:>11} {:>14} {:>11}",
        "tasks", "workers", "first launch, s", "CPU, s", "bytes/task", "to its end, s", "bytes/task"
    );
    for n_tasks in sizes(most.min(TAKEN_OVER_MAX)) {
        let n_workers = n_tasks / TASKS_PER_WORKER;
        let measured = takeover::run(n_workers, n_tasks)?;
        println!(
            "{n_tasks:>9} {n_workers:>8} {:>15.3} {:>7.3} {:>11} {:>14.3} {:>11}",
            measured.until_launch.as_secs_f64(),
            measured.cpu_until_launch.as_secs_f64(),
            measured.bytes_until_launch / n_tasks as usize,
            measured.until_end.as_secs_f64(),
            measured.bytes_until_end / n_tasks as usize,
        );
    }
    Ok(())
}

/// Ten times as many each time, up to `most`.
fn sizes(most: u32) -> impl Iterator<Item = u32> {
    std::iter::successors(Some(TASKS_MIN), |n| n.checked_mul(10)).take_while(move |n| *n <= most)
}
