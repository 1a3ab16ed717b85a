"""Power cuts on a real file system: ``python power_cuts.py DIRECTORY SEED``, as root, in a mount namespace of its own.

A cluster lives on an ext4 file system in a file. All its processes are stopped at some moment; what is in the file then
is what a disk would hold if the power failed: nothing that was not synced. A copy of it is mounted, and a new cluster
goes on there. What its owners knew to be committed must still be so, and runs no second time.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from audit import InDirectory, check_history, events
from helpers import reference, wait_until
from slow_jobs import DATA, N_TASKS, map_func, reduce_func

from mapreduce import Auth, LocalCluster

N_CUTS = 3
CLIENT = """if True:
    import sys, mapreduce
    sys.path.insert(0, sys.argv.pop())
    from slow_jobs import DATA, map_func, reduce_func
    cluster = mapreduce.LocalCluster(mapreduce.Auth("admin", "admin"), directory=sys.argv[1], n_workers=3, n_masters=2)
    future = cluster.attach(sys.argv[2]) if sys.argv[2:] else cluster.mapreduce(
        DATA, map_func, reduce_func, split_records=4, n_partitions=6)
    while future.progress().phase == "upload":
        pass
    print(future.job_id, flush=True)
    future.result()
"""


class Disk:
    """A file system in a file. What reaches the file is what is synced: nothing else does so for minutes."""

    def __init__(self, place: Path) -> None:
        self.image, self.path = place / "image", place / "disk"
        self.path.mkdir()
        with self.image.open("wb") as image:
            image.truncate(512 << 20)
        subprocess.run(["mkfs.ext4", "-q", "-E", "lazy_itable_init=1,lazy_journal_init=1", self.image], check=True)
        self._mount()

    def _mount(self) -> None:
        # No commits by the clock, and no syncs that ext4 makes unasked when a file replaces another.
        options = "loop,commit=300,noauto_da_alloc"
        subprocess.run(["mount", "-t", "ext4", "-o", options, self.image, self.path], check=True)

    def _unmount(self) -> bool:
        return subprocess.run(["umount", self.path], check=False, capture_output=True).returncode == 0

    def cut_power(self) -> None:
        """All that is not synced is lost. Nothing that uses the disk runs, and all of it is killed."""
        copy = self.image.with_suffix(".copy")
        subprocess.run(["cp", "--sparse=always", self.image, copy], check=True)
        for pid in processes():
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not processes(), "what used the disk is gone")
        wait_until(self._unmount, "what they had open is closed")
        shutil.move(copy, self.image)
        self._mount()


def processes() -> list[int]:
    """All that live in this mount namespace, but this one."""
    own = os.readlink("/proc/self/ns/mnt")
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and int(entry.name) != os.getpid() and os.readlink(entry / "ns/mnt") == own:
                found.append(int(entry.name))
        except OSError:
            continue  # it ended meanwhile
    return found


def stop_everything() -> None:
    """Returns when none of them runs, nor starts another."""

    def all_stopped() -> bool:
        found = processes()
        for pid in found:
            os.kill(pid, signal.SIGSTOP)
        states = [threads(pid) for pid in found]
        return all(state <= {"T", "Z", "X"} for state in states) and set(processes()) == set(found)

    wait_until(all_stopped, "everything is stopped")


def threads(pid: int) -> set[str]:
    """The states of a process's threads."""
    try:
        stats = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/stat")]
    except OSError:
        return set()
    return {stat.rpartition(")")[2].split()[0] for stat in stats}


def known(directory: Path, job_id: str) -> set[str]:
    """The tasks of which an owner has noted that they are committed: so they were, durably, before."""
    ended = (event for event in events(InDirectory(directory, job_id)) if event["event"] == "ended")
    return {event["task"] for event in ended if event["end"] == "committed"}


def launched(directory: Path, job_id: str, tasks: set[str]) -> set[tuple[str, str]]:
    """The attempts at these tasks."""
    all_launched = (event for event in events(InDirectory(directory, job_id)) if event["event"] == "launched")
    return {(event["task"], event["attempt"]) for event in all_launched if event["task"] in tasks}


def wait_for_commits(directory: Path, job_id: str, n_known: int) -> None:
    """Of as many tasks it is known that they are committed."""
    wait_until(lambda: len(known(directory, job_id)) >= n_known, f"{n_known} tasks are known to be committed")


def main(place: Path, seed: int) -> None:
    """One job, whose machine loses its power three times."""
    draw = random.Random(seed)
    disk = Disk(place)
    directory = disk.path / "cluster"
    command = [sys.executable, "-c", CLIENT, directory]
    job: list[str] = []
    moments: list[tuple[set[str], set[tuple[str, str]]]] = []
    for n_known in sorted(draw.sample(range(N_TASKS + 4), N_CUTS)):
        with subprocess.Popen([*command, *job, Path(__file__).parent], stdout=subprocess.PIPE, text=True) as client:
            job = [client.stdout.readline().strip()]
            assert job[0], "the client is there"
            wait_for_commits(directory, *job, n_known)
            stop_everything()
            tasks = known(directory, *job)
            moments.append((tasks, launched(directory, *job, tasks)))
            disk.cut_power()
        print(f"power cut with {len(tasks)} tasks committed")
    with LocalCluster(Auth("admin", "admin"), directory=directory, n_workers=3, n_masters=2) as cluster:
        assert dict(cluster.attach(*job).result()) == dict(reference(DATA, map_func, reduce_func))
        check_history(cluster, *job)
        for tasks, launches in moments:
            assert launched(directory, *job, tasks) == launches, "what was finished ran again, or is not known any more"


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
