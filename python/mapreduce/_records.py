"""Results as records of files, and tables as Python's objects; called from the engine's Python face."""

from __future__ import annotations

import json
from typing import Any


def text_line(key: Any, value: Any) -> str:
    """``key<TAB>value``, or the key alone."""
    line = f"{key}" if value is None else f"{key}\t{value}"
    if "\n" in line or "\r" in line:
        raise ValueError(f"a line of text can't hold a line end: {line!r}; write JSON Lines, or replace it")
    return line


def json_line(key: Any, value: Any) -> str:
    """A result as JSON in one line."""
    return json.dumps({"key": key, "value": value}, ensure_ascii=False)


def csv_fields(key: Any, value: Any) -> list[str]:
    """A result as fields of a row."""
    return [*_fields(key), *_fields(value)]


def _fields(part: Any) -> list[str]:
    if isinstance(part, (tuple, list)):
        return ["" if field is None else str(field) for field in part]
    return ["" if part is None else str(part)]


def table(keys: list[Any], values: list[Any]) -> bytes:
    """Results as a table of two columns, an Arrow IPC stream."""
    pyarrow = _pyarrow()
    made = pyarrow.table({"key": keys, "value": values})
    sink = pyarrow.BufferOutputStream()
    with pyarrow.ipc.new_stream(sink, made.schema) as stream:
        stream.write_table(made)
    return sink.getvalue().to_pybytes()  # type: ignore[no-any-return]


def table_rows(stream: bytes, arrow: bool) -> list[Any]:
    """The rows of an Arrow IPC stream as dicts, or its batches as they are."""
    reader = _pyarrow().ipc.open_stream(stream)
    if arrow:
        return list(reader)
    return [row for batch in reader for row in batch.to_pylist()]


def _pyarrow() -> Any:
    try:
        import pyarrow
        import pyarrow.ipc
    except ImportError as error:
        raise ImportError("Parquet and arrow=True need pyarrow where the tasks run: pip install pyarrow") from error
    return pyarrow
