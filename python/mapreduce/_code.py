"""The user's functions on their way from the client to the executors: one object, pickled with cloudpickle.

Functions of ``__main__`` and of notebook cells travel by value, those of importable modules by name, together
with the client's ``sys.path`` and, to other machines, its own modules. The source lines of what travels by value go
along, so that tracebacks show them.
"""

from __future__ import annotations

import collections.abc
import functools
import linecache
import os
import pickle
import sys
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mapreduce import _broadcast, _modules
from mapreduce.errors import InvalidTypeError, SerializationError

if TYPE_CHECKING:
    from mapreduce._inputs import MappedInput


def dump(
    inputs: Sequence[MappedInput],
    reduce_func: Callable[..., Any],
    combine_func: Callable[..., Any] | None = None,
    partition_func: Callable[..., Any] | None = None,
    *,
    streams: bool = False,
    elsewhere: bool = False,
) -> tuple[bytes, dict[str, _broadcast.Broadcast[Any]]]:
    """The code object of a job, and the broadcasts that it refers to, by digest.

    Args:
        inputs: The inputs, for their map functions.
        reduce_func: The reduce function.
        combine_func: The combiner, if there is one.
        partition_func: The partitioner, if there is one.
        streams: Whether ``reduce_func`` gets an iterator instead of a list.
        elsewhere: Whether they may be called where the files of this machine are not.

    Raises:
        InvalidTypeError: One of them can't be called.
        SerializationError: One of them can't be pickled.
    """
    several = len(inputs) > 1
    named = {f"map_func[{n}]" if several else "map_func": one.map_func for n, one in enumerate(inputs)}
    named["reduce_func"] = reduce_func
    named |= {} if combine_func is None else {"combine_func": combine_func}
    named |= {} if partition_func is None else {"partition_func": partition_func}
    functions = {
        "map": [one.map_func for one in inputs],
        "combine": combine_func,
        "reduce": reduce_func,
        "partition": partition_func,
    }
    with _broadcast.collected() as broadcasts:
        pickled = _dump_functions(named, functions)
    # Two layers: where modules are must be known before the functions are unpickled, because that imports them.
    code = {
        "modules": _modules.collect() if elsewhere else {},
        "sys_path": [os.path.abspath(entry) for entry in sys.path],
        "linecache": {name: linecache.getlines(name) for name in _source_names(*named.values())},
        "streams": streams,
        "arrow": [one.arrow for one in inputs],
        "functions": pickled,
    }
    return pickle.dumps(code, protocol=5), broadcasts


def _dump_functions(named: dict[str, Any], functions: dict[str, Any]) -> bytes:
    """All of them in one pickle, after a look at each by its name."""
    import cloudpickle

    for name, function in named.items():
        if not callable(function):
            raise InvalidTypeError(f"{name} must be a function, not {type(function).__name__}")
        try:
            cloudpickle.dumps(function, protocol=5)
        except Exception as error:
            raise SerializationError(
                f"{name} can't be pickled: {error}. Something it refers to (a global, a default, a variable of an "
                "enclosing function) lives in this process only, such as a lock, a connection or an open file: "
                "make it inside the function"
            ) from error
    return cloudpickle.dumps(functions, protocol=5)  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Code:
    """What a code object holds, ready to be called in this process."""

    map: list[Callable[..., Any]]
    combine: Callable[..., Any] | None
    reduce: Callable[..., Any]
    partition: Callable[..., Any] | None
    streams: bool
    arrow: list[bool]


def load(pickled: bytes, open_side_input: Callable[[str], int]) -> Code:
    """Loads a code object; its broadcasts will be opened with ``open_side_input``."""
    _broadcast.serve(open_side_input)
    code = pickle.loads(pickled)
    sys.path.extend(entry for entry in code["sys_path"] if entry not in sys.path)
    _modules.install(code["modules"])
    for name, lines in code["linecache"].items():
        # Without a modification time the entry is never checked against a file.
        linecache.cache[name] = (sum(map(len, lines)), None, lines, name)
    functions = pickle.loads(code["functions"])
    return Code(**functions, streams=code["streams"], arrow=code["arrow"])


def wants_iterator(reduce_func: Callable[..., Any]) -> bool:
    """Whether its first parameter is annotated as an iterator or iterable instead of a list."""
    import inspect
    import typing

    if isinstance(reduce_func, types.BuiltinFunctionType):  # `sum`, say: to read its signature takes long
        return False
    try:
        parameters = list(inspect.signature(reduce_func).parameters.values())
        annotation = parameters[0].annotation
    except (ValueError, TypeError, IndexError):  # what has no signature, or no parameters
        return False
    if isinstance(annotation, str):
        annotation = annotation.split("[")[0].rpartition(".")[2]
        return annotation in ("Iterator", "Iterable")
    origin = typing.get_origin(annotation) or annotation
    return origin in (collections.abc.Iterator, collections.abc.Iterable)


def _source_names(*roots: Any) -> list[str]:
    """The files whose code travels by value with ``roots``: theirs, and those of what they refer to."""
    names: set[str] = set()
    seen: set[int] = set()
    waiting = list(roots)
    while waiting:
        thing = waiting.pop()
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        if isinstance(thing, types.FunctionType) and _travels_by_value(thing):
            names.add(thing.__code__.co_filename)
            waiting.extend(_references(thing))
        elif isinstance(thing, functools.partial):
            waiting += [thing.func, *thing.args, *thing.keywords.values()]
        elif isinstance(thing, types.MethodType):
            waiting += [thing.__func__, type(thing.__self__)]
        elif isinstance(thing, type) and _travels_by_value(thing):
            waiting.extend(vars(thing).values())
        elif isinstance(thing, (staticmethod, classmethod)):
            waiting.append(thing.__func__)
    return sorted(names)


def _travels_by_value(thing: Any) -> bool:
    """Whether no import can find it: it is defined in a script, in a notebook or inside a function."""
    module = sys.modules.get(getattr(thing, "__module__", None) or "__main__")
    if module is None or module.__name__ == "__main__":
        return True
    found: Any = module
    for part in thing.__qualname__.split("."):
        found = getattr(found, part, None)
    return found is not thing


def _references(function: types.FunctionType) -> list[Any]:
    """The globals, closure variables and defaults that ``function`` and the functions inside of it name."""
    found: list[Any] = list(function.__defaults__ or ())
    for cell in function.__closure__ or ():
        try:
            found.append(cell.cell_contents)
        except ValueError:  # an empty cell: the variable has no value yet
            continue
    codes = [function.__code__]
    while codes:
        code = codes.pop()
        found += [function.__globals__[name] for name in code.co_names if name in function.__globals__]
        codes += [constant for constant in code.co_consts if isinstance(constant, types.CodeType)]
    return found
