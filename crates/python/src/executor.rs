//! The executor process's native half; the other is `mapreduce/_executor.py`.

use std::{
    os::{
        fd::{FromRawFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::PathBuf,
    sync::Arc,
};

use mapreduce_core::SystemClock;
use mapreduce_executor::{Executor, Resources, frames, run};
use mapreduce_rpc::{
    WIRE_VERSION,
    executor::{Exited, FromExecutor, Ready, from_executor},
};
use pyo3::{exceptions::PyOSError, prelude::*, types::PyBytes};
use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};

use crate::{objects::StorageError, user_code::PythonCode};

/// Has the kernel kill this process when its parent dies. False if the parent is gone already.
#[pyfunction]
pub fn die_with_parent(parent: i32) -> PyResult<bool> {
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(std::io::Error::from)?;
    // It may have died before that.
    Ok(getppid().map(Pid::as_raw_pid) == Some(parent))
}

/// The frame that says that the warmed process is ready.
#[pyfunction]
pub fn ready_frame(py: Python<'_>) -> PyResult<Bound<'_, PyBytes>> {
    frame(py, from_executor::Message::Ready(Ready { version: WIRE_VERSION }))
}

/// The frame that says that a fork ended, with its exit code or the signal that killed it.
#[pyfunction]
pub fn exited_frame(py: Python<'_>, code: i32, signal: i32) -> PyResult<Bound<'_, PyBytes>> {
    frame(py, from_executor::Message::Exited(Exited { code, signal }))
}

fn frame(py: Python<'_>, message: from_executor::Message) -> PyResult<Bound<'_, PyBytes>> {
    let mut frame = Vec::new();
    frames::write_frame(&mut frame, &FromExecutor { message: Some(message) })?;
    Ok(PyBytes::new(py, &frame))
}

/// Runs what the worker at the other end of the socket `fd`, which it takes over, asks for, until that says that it
/// is enough or goes away. The engine's buffers take `memory_bytes`; what does not fit goes to the directory
/// `scratch`.
#[pyfunction]
pub fn run_executor(
    py: Python<'_>,
    fd: i32,
    storage_url: &str,
    memory_bytes: usize,
    scratch: PathBuf,
) -> PyResult<()> {
    // SAFETY: the caller gives the descriptor up (`socket.detach`), so this is its only owner.
    let mut socket = UnixStream::from(unsafe { OwnedFd::from_raw_fd(fd) });
    py.detach(|| {
        let resources = Resources::open(storage_url, memory_bytes, scratch);
        let resources = resources.map_err(|error| StorageError::new_err(error.to_string()))?;
        let load = Box::new(PythonCode::load);
        let mut executor = Executor::new(resources, Arc::new(SystemClock::default()), load);
        run(&mut socket, &mut executor).map_err(|error| PyOSError::new_err(error.to_string()))
    })
}
