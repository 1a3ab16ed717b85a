"""``mapreduce run FILE.py:map FILE.py:reduce``: a job of Python functions from the command line."""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
from collections.abc import Callable
from typing import Any

import mapreduce
from mapreduce.errors import InvalidArgumentError, MapReduceError


def main() -> int:
    """Runs the job that the arguments describe; the exit code."""
    given = _parser().parse_args()
    try:
        _run(given)
    except MapReduceError as error:
        print(f"mapreduce: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="mapreduce run")
    parser.add_argument("functions", nargs=2, metavar="FILE.py:FUNCTION")
    parser.add_argument("--combine", metavar="FILE.py:FUNCTION")
    parser.add_argument("--input", nargs="+", required=True)
    parser.add_argument("--output")
    parser.add_argument("--overwrite", action="store_true")
    parser.add_argument("--partitions", type=int)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--directory")
    parser.add_argument("--coordination")
    parser.add_argument("--username", default="admin")
    return parser


def _run(given: argparse.Namespace) -> None:
    map_func, reduce_func = (_load(name) for name in given.functions)
    combine_func = None if given.combine is None else _load(given.combine)
    auth = mapreduce.Auth(given.username, os.environ.get("MAPREDUCE_PASSWORD", "admin"))
    output = None if given.output is None else mapreduce.write_text(given.output, overwrite=given.overwrite)
    with _cluster(given, auth) as cluster:
        future = cluster.mapreduce(
            mapreduce.read_text(*given.input),
            map_func,
            reduce_func,
            combine_func=combine_func,
            output=output,
            n_partitions=given.partitions,
        )
        if output is None:
            for key, value in future.iter_results():
                print(key, value, sep="\t")
        else:
            future.result()


def _cluster(given: argparse.Namespace, auth: mapreduce.Auth) -> mapreduce.Cluster:
    if given.coordination is not None:
        return mapreduce.connect(given.coordination, auth)
    initialize = given.directory is None
    return mapreduce.LocalCluster(
        auth, n_workers=given.workers, n_masters=1, initialize=initialize, directory=given.directory
    )


_modules: dict[str, Any] = {}


def _load(name: str) -> Callable[..., Any]:
    """The function that ``FILE.py:FUNCTION`` names. Its module travels by value: workers need not find the file."""
    path, _, function = name.rpartition(":")
    if not path or not os.path.exists(path):
        raise InvalidArgumentError(f"{name} must be FILE.py:FUNCTION, and {path or 'FILE.py'} must exist")
    if path not in _modules:
        import cloudpickle

        sys.path.insert(0, os.path.dirname(os.path.abspath(path)))
        spec = importlib.util.spec_from_file_location(os.path.basename(path).removesuffix(".py"), path)
        if spec is None or spec.loader is None:
            raise InvalidArgumentError(f"{path} is no Python file")
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        cloudpickle.register_pickle_by_value(module)
        _modules[path] = module
    found = getattr(_modules[path], function, None)
    if not callable(found):
        raise InvalidArgumentError(f"there is no function {function} in {path}")
    return found  # type: ignore[no-any-return]


if __name__ == "__main__":
    sys.exit(main())
