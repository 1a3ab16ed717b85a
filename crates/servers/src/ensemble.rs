//! Servers that serve together.

use rustix::process::Signal;

use crate::processes::Processes;

/// Servers by their numbers, which name their processes.
pub trait Ensemble {
    /// Theirs.
    fn processes(&self) -> &Processes;

    /// Starts server `i`, which does not run.
    fn restart(&self, i: usize);

    /// SIGKILL; returns when it is gone.
    fn kill(&self, i: usize) {
        self.processes().kill(&i.to_string());
    }

    /// Starts server `i` if it does not run, and lets it go on if it was stopped.
    fn revive(&self, i: usize) {
        match self.processes().is_running(&i.to_string()) {
            true => self.signal(i, Signal::CONT),
            false => self.restart(i),
        }
    }

    /// SIGSTOP or SIGCONT.
    fn signal(&self, i: usize, signal: Signal) {
        self.processes().signal(&i.to_string(), signal);
    }
}
