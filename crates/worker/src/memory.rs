//! How much memory an executor's buffers may take.

use std::{fs, thread::available_parallelism};

use rustix::system::sysinfo;

/// Of an executor's memory, the part for the engine's buffers. The rest is for user code and its objects.
const BUFFERS_PART: u64 = 8;
/// Larger buffers make nothing faster.
const BUFFERS_BYTES_MAX: u64 = 256 << 20;

/// The engine's buffers in one executor, in bytes. Without a limit, an executor's memory is a fair share of the
/// machine's: there are as many executors as cores, or as slots if those are more.
pub(crate) fn buffer_bytes(memory_bytes_max: Option<u64>, n_slots: u32) -> u64 {
    let cores = available_parallelism().map_or(1, |n| n.get() as u64);
    let share = || machine_bytes() / 5 * 4 / cores.max(n_slots.into());
    (memory_bytes_max.unwrap_or_else(share) / BUFFERS_PART).min(BUFFERS_BYTES_MAX)
}

/// The machine's memory, or the container's.
fn machine_bytes() -> u64 {
    let info = sysinfo();
    let machine = info.totalram.saturating_mul(info.mem_unit.into());
    let container = fs::read_to_string("/sys/fs/cgroup/memory.max").ok();
    let container = container.and_then(|text| text.trim().parse().ok());
    container.map_or(machine, |limit: u64| limit.min(machine))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_leaves_most_to_user_code_and_no_limit_is_a_share() {
        assert_eq!(buffer_bytes(Some(512 << 20), 1), 64 << 20);
        assert_eq!(buffer_bytes(Some(64 << 30), 1), BUFFERS_BYTES_MAX);
        assert!(buffer_bytes(None, 1_000_000) < 1 << 20);
    }
}
