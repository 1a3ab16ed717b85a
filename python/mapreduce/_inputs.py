"""What a job reads: one input with its map function, or several, each with its own."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from mapreduce import _arguments, _native
from mapreduce.errors import InvalidArgumentError, InvalidTypeError
from mapreduce.files import EarlierResult, Input

MapFunction = Callable[[list[Any]], Iterable[tuple[Any, Any]]]


@dataclass(frozen=True)
class MappedInput:
    """An input and what maps it.

    Attributes:
        data: Records, files that were found, or an earlier job's result.
        map_func: The map function.
        arrow: Whether that gets tables instead of rows.
    """

    data: Iterable[Any] | _native.InputFiles | EarlierResult
    map_func: MapFunction
    arrow: bool


def of(data: Any, map_func: MapFunction | Sequence[MapFunction]) -> list[MappedInput]:
    """The inputs of a job, as a person gives them to it.

    Raises:
        InvalidArgumentError: Data and functions don't go together, or an input can't work.
    """
    if isinstance(map_func, (list, tuple)):
        _check(data, map_func)
        return [_one(f"data[{n}]", *both) for n, both in enumerate(zip(data, map_func, strict=True))]
    return [_one("data", data, map_func)]  # type: ignore[arg-type]  # a function, or else told to be none


def _check(data: Any, map_funcs: Sequence[MapFunction]) -> None:
    n = len(map_funcs)
    if n == 0:
        raise InvalidArgumentError("map_func must be a function, or a list of at least one")
    if not isinstance(data, (list, tuple)):
        raise InvalidTypeError(
            f"map_func is a list, so data must be a list, too, with an input for each of the {n} functions, "
            f"not {type(data).__name__}"
        )
    if len(data) != n:
        raise InvalidArgumentError(f"map_func has {n} functions, but data {len(data)} inputs: each needs its own")


def _one(name: str, data: Any, map_func: MapFunction) -> MappedInput:
    if isinstance(data, EarlierResult):
        return MappedInput(data, map_func, arrow=False)
    if isinstance(data, Input):
        compression = None if data.compression is None else json.dumps(data.compression)
        files = _native.InputFiles(data.paths, json.dumps(data.format), compression, data.split_bytes)
        return MappedInput(files, map_func, data.arrow)
    return MappedInput(_arguments.records(name, data), map_func, arrow=False)
