//! How much of the machine an executor may take: a limit on its memory, a part of that for the engine's buffers, and
//! threads. Unless somebody sets the limit, the tasks that may run on a machine at one time share its memory, so that
//! one of them that runs away is ended by its own limit, with an error that says so, and not by the kernel, which may
//! choose another.

use std::{
    fs,
    path::{Component, Path, PathBuf},
    thread::available_parallelism,
};

use rustix::system::sysinfo;

use crate::WorkerOptions;

/// Of five parts of the memory, those that executors share. The rest is for the masters, the workers, the client and
/// the system's caches.
const SHARED_PARTS: u64 = 4;
/// The least share. What common libraries reserve counts, used or not; with less, some do not even load. A small
/// machine with many slots has thus less memory than its shares add up to.
const SHARE_BYTES_MIN: u64 = 512 << 20;
/// Of an executor's memory, the part for the engine's buffers. The rest is for user code and its objects.
const BUFFERS_PART: u64 = 8;
/// Larger buffers make nothing faster.
const BUFFERS_BYTES_MAX: u64 = 256 << 20;

/// What one executor may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Share {
    /// Most memory, in bytes.
    pub(crate) memory_bytes_max: u64,
    /// What of it is for the engine's buffers.
    pub(crate) buffer_bytes: u64,
    /// Threads for libraries that would else start one for each core: every slot has such a library, and each
    /// thread's buffers count as memory.
    pub(crate) n_threads: u64,
}

impl Share {
    /// That of an executor of such a worker, now.
    pub(crate) fn of(options: &WorkerOptions) -> Share {
        Share::new(options.memory_bytes_max, machine_bytes(), cores(), options.machine_slots)
    }

    fn new(asked: Option<u64>, machine_bytes: u64, cores: u64, machine_slots: u32) -> Share {
        let slots = u64::from(machine_slots).max(1);
        let share = machine_bytes / 5 * SHARED_PARTS / slots;
        let memory_bytes_max = asked.unwrap_or(share.max(SHARE_BYTES_MIN));
        let buffer_bytes = (memory_bytes_max / BUFFERS_PART).min(BUFFERS_BYTES_MAX);
        Share { memory_bytes_max, buffer_bytes, n_threads: cores.div_ceil(slots) }
    }
}

/// Processors that this process may use.
pub(crate) fn cores() -> u64 {
    available_parallelism().map_or(1, |n| n.get() as u64)
}

/// The machine's memory, or what the control groups of this process allow of it.
fn machine_bytes() -> u64 {
    let info = sysinfo();
    let machine = info.totalram.saturating_mul(info.mem_unit.into());
    // A system without control groups limits nothing by them.
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    machine.min(allowed_bytes(&groups, Path::new("/sys/fs/cgroup")))
}

/// The least that any of `groups`, as `/proc/self/cgroup` lists them, allows, or any group around them. `root` is where
/// their file system is. A container may not see the groups around its own, nor its own by that name; what it sees at
/// the root is then its own.
fn allowed_bytes(groups: &str, root: &Path) -> u64 {
    let limits = groups.lines().filter_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, group) = (fields.next()?, fields.next()?);
        let (root, files): (PathBuf, &[&str]) = match controllers {
            // Version 2; above `memory.high`, processes are slowed down until they are useless.
            "" => (root.to_owned(), &["memory.max", "memory.high"]),
            _ if controllers.split(',').any(|name| name == "memory") => {
                (root.join("memory"), &["memory.limit_in_bytes"])
            }
            _ => return None,
        };
        let names = Path::new(group).components().filter(|part| matches!(part, Component::Normal(_)));
        let group: PathBuf = names.collect();
        let root = &root;
        let files =
            group.ancestors().flat_map(|group| files.iter().map(move |file| root.join(group).join(file)));
        // "max" is no number, and no limit.
        files.filter_map(|file| fs::read_to_string(file).ok()?.trim().parse::<u64>().ok()).min()
    });
    limits.min().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn slots_share_the_machine_and_a_limit_that_is_asked_for_counts_alone() {
        let share = |asked, machine, slots| Share::new(asked, machine, 8, slots);
        assert_eq!(share(None, 10 * GIB, 4).memory_bytes_max, 2 * GIB);
        assert_eq!(share(None, 10 * GIB, 4).buffer_bytes, GIB / 4);
        assert_eq!(share(None, GIB, 100).memory_bytes_max, SHARE_BYTES_MIN);
        assert_eq!(share(Some(64 << 20), 10 * GIB, 4).memory_bytes_max, 64 << 20);
        assert_eq!(share(Some(64 << 20), 10 * GIB, 4).buffer_bytes, 8 << 20);
        assert_eq!(share(Some(1 << 60), GIB, 1).buffer_bytes, BUFFERS_BYTES_MAX);
        assert_eq!([1, 3, 8, 100, 0].map(|slots| share(None, GIB, slots).n_threads), [8, 3, 1, 1, 8]);
    }

    #[test]
    fn this_machine_has_memory() {
        assert!((64 << 20..1 << 60).contains(&machine_bytes()), "{}", machine_bytes());
    }

    /// A file system of control groups with these files.
    fn groups(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (name, content) in files {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        root
    }

    #[test]
    fn the_tightest_group_counts_wherever_it_is() {
        let nested = groups(&[
            ("a/memory.max", "900\n"),
            ("a/b/memory.max", "max\n"),
            ("a/b/c/memory.max", "5000\n"),
            ("a/b/c/d/memory.max", "1\n"),
            ("e/memory.max", "1\n"),
            ("f/memory.max", "max\n"),
            ("f/memory.high", "700\n"),
        ]);
        assert_eq!(allowed_bytes("0::/a/b/c\n", nested.path()), 900);
        assert_eq!(allowed_bytes("0::/a/b\n", nested.path()), 900);
        assert_eq!(allowed_bytes("0::/f\n", nested.path()), 700);
        assert_eq!(allowed_bytes("0::/other\n", nested.path()), u64::MAX);
    }

    #[test]
    fn a_container_finds_its_limit_at_the_root() {
        let seen = groups(&[("memory.max", "800\n"), ("memory/memory.limit_in_bytes", "600\n")]);
        assert_eq!(allowed_bytes("0::/\n", seen.path()), 800);
        assert_eq!(allowed_bytes("0::/../../somewhere/else\n", seen.path()), 800);
        assert_eq!(allowed_bytes("4:memory:/docker/0123\n", seen.path()), 600);
    }

    #[test]
    fn version_1_is_read_by_its_controller() {
        let old = groups(&[
            ("memory/memory.limit_in_bytes", "9223372036854771712\n"),
            ("memory/a/memory.limit_in_bytes", "500\n"),
            ("memory/a/b/memory.limit_in_bytes", "9223372036854771712\n"),
            ("cpu/a/memory.limit_in_bytes", "1\n"),
        ]);
        let listed = "3:cpu,cpuacct:/a\n2:memory:/a/b\n1:name=systemd:/a\n0::/a\nnonsense\n";
        assert_eq!(allowed_bytes(listed, old.path()), 500);
        assert_eq!(allowed_bytes("", old.path()), u64::MAX);
    }
}
