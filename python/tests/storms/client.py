"""A client of its own, to be killed: `python -m storms.client JOB STARTS DIRECTORY PLACE`.

JOB is `module:class`; STARTS is the JSON of a new cluster's options, or null to attach to the one that runs. It prints
the job's id when the job is submitted and the digest of the result when it has come, and stays until its input ends.
"""

import hashlib
import importlib
import json
import sys
import time
from pathlib import Path
from typing import Any

from mapreduce import Auth, LocalCluster


def digest(result: list[Any]) -> str:
    return hashlib.sha256(repr(result).encode()).hexdigest()


def main() -> None:
    name, starts, directory, place = sys.argv[1:]
    module, _colon, kind = name.partition(":")
    job = getattr(importlib.import_module(module), kind)()
    options = json.loads(starts)
    if options is None:
        options = {"initialize": False}
    with LocalCluster(Auth("admin", "admin"), directory=directory, **options) as cluster:
        future = job.submit(cluster, Path(place))
        while future.progress().phase == "upload":
            time.sleep(0.002)
        print(future.job_id, flush=True)
        print(digest(future.result()), flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
