"""The audit of a job: what its history, as it is in storage, must hold after any storm."""

import json

from helpers import job_of


def whole_files(directory):
    """The files of a directory in storage that a store lists: a "#" marks what is not, or never was, finished."""
    return [path for path in directory.iterdir() if "#" not in path.name] if directory.exists() else []


def events(cluster, job_id):
    """Everything that the job's owners wrote into its history, in order."""
    directory = cluster.directory / "storage" / "jobs" / job_id / "history"
    files = sorted(whole_files(directory), key=lambda path: [int(number) for number in path.name.split("-")])
    found = []
    for path in files:
        header, _newline, body = path.read_text().partition("\n")
        assert header.startswith("mapreduce history "), header
        found += json.loads(body)["events"]
    return found


def check_history(cluster, job_id):
    """No attempt id is used twice; one attempt commits each task; no attempt is launched after that."""
    # Read before the events: a master that was asleep may still note launches, which every worker refuses.
    attempts = cluster.local_monitoring.history(job_id)
    launched, committed = set(), {}
    for event in events(cluster, job_id):
        if event["event"] == "launched":
            attempt = (event["task"], event["attempt"])
            assert attempt not in launched, f"{attempt} was launched twice"
            assert event["task"] not in committed, f"{attempt} was launched after {committed[event['task']]}"
            launched.add(attempt)
        elif event["event"] == "ended" and event["end"] == "committed":
            winner = committed.setdefault(event["task"], event["attempt"])
            assert winner == event["attempt"], f"{event['task']} was committed by {winner} and {event['attempt']}"

    assert {(attempt.task, attempt.attempt) for attempt in attempts} <= launched
    winners = sorted(attempt.task for attempt in attempts if attempt.outcome == "committed")
    assert winners == sorted(task.id for task in job_of(cluster, job_id).tasks), "one commit for each task"


class Finished:
    """The tasks of a job that were finished at some moment, to check later that none of them ran again."""

    def __init__(self, cluster, job_id):
        self.cluster, self.job_id = cluster, job_id
        # What is finished is read before the launches: so every launch of a finished task is among them.
        self.tasks = {task.id for task in job_of(cluster, job_id).tasks if task.state == "committed"}
        self.launches = self._launches()

    def _launches(self):
        attempts = self.cluster.local_monitoring.history(self.job_id)
        return {(attempt.task, attempt.attempt) for attempt in attempts if attempt.task in self.tasks}

    def check_none_ran_again(self):
        assert self._launches() == self.launches
