"""Files as input and output of jobs.

    cluster.mapreduce(mapreduce.read_text("books/*.txt"), map_func, sum, output=mapreduce.write_text("counts"))

Paths are local paths or URLs (``file:///path``, ``hdfs://host:port/path``, ``s3://bucket/path``), of files, of
directories (all files below, but for names that begin with ``_`` or ``.``) or with the patterns ``*``, ``**``, ``?``,
``[...]`` and ``{a,b}``. Executors read them, so they must be readable where the workers run, and a store's keys known
there. How a file is compressed is told by its name (``.gz``, ``.zst``, ``.bz2``, ``.lz4``) unless
``compression`` says so for all. A file that changes while a job reads it fails the job.
"""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from mapreduce import _arguments
from mapreduce.errors import InvalidArgumentError

if TYPE_CHECKING:
    from mapreduce._future import MapReduceFuture

Compression = Literal["none", "gzip", "zstd", "bzip2", "lz4"]


@dataclass(frozen=True)
class Input:
    """Files that a job reads; made by the ``read_...`` functions. They are looked for when the job is submitted.

    Attributes:
        paths: Paths and patterns.
        format: What the files hold, as the engine names it.
        compression: How all of them are compressed; None: as their names tell.
        split_bytes: About how many stored bytes one map task reads; None for a size that suits.
        arrow: Whether the map function gets tables instead of rows.
    """

    paths: tuple[str, ...]
    format: dict[str, Any]
    compression: Compression | None = None
    split_bytes: int | None = None
    arrow: bool = False


@dataclass(frozen=True)
class Output:
    """Where a job writes its results; made by the ``write_...`` functions.

    The directory appears complete: one file a reduce task, ``_SUCCESS`` last, and only when the whole job succeeded.

    Attributes:
        directory: The directory: an absolute path, or a URL.
        format: What the files hold, as the engine names it.
        compression: How they are compressed.
        overwrite: Whether what is there already is replaced.
    """

    directory: str
    format: dict[str, Any]
    compression: Compression = "none"
    overwrite: bool = False

    def _json(self) -> str:
        """For one job."""
        return json.dumps(
            {
                "url": self.directory,
                "format": self.format,
                "compression": self.compression,
                "overwrite": self.overwrite,
                "nonce": secrets.randbits(64),
            }
        )


@dataclass(frozen=True)
class EarlierResult:
    """The result of an earlier job as input; made by :func:`read_result`.

    Attributes:
        earlier_job_id: Which job's.
    """

    earlier_job_id: str


def read_result(future: MapReduceFuture) -> EarlierResult:
    """The result of an earlier job of the same cluster; a record is one of its pairs, ``(key, value)``.

    The pairs do not pass through the client. The earlier job is waited for. Its result is kept by ``clear`` as long as
    a job that reads it has not ended.

    Args:
        future: The earlier job's.

    Raises:
        InvalidArgumentError: Its results are in files: read those.
        JobFailedError: It failed.
    """
    future._wait_for_pairs()
    return EarlierResult(future.job_id)


def read_text(
    *paths: str | os.PathLike[str],
    invalid: Literal["error", "replace", "bytes"] = "error",
    compression: Compression | None = None,
    split_bytes: int | None = None,
) -> Input:
    r"""Lines of text; a record is a ``str``, a line without its end (``\n`` or ``\r\n``).

    Args:
        *paths: Paths and patterns.
        invalid: What becomes of bytes that are not UTF-8: an ``error`` that names file and offset, U+FFFD in their
            place, or records that are ``bytes``.
        compression: How all files are compressed; None: as their names tell.
        split_bytes: About how many stored bytes one map task reads. A compressed file is one task's.
    """
    _arguments.one_of("invalid", invalid, ("error", "replace", "bytes"))
    return _input(paths, {"format": "text", "invalid": invalid}, compression, split_bytes)


def read_json_lines(
    *paths: str | os.PathLike[str], compression: Compression | None = None, split_bytes: int | None = None
) -> Input:
    """JSON Lines; a record is what ``json.loads`` makes of a line. Empty lines are none.

    Args:
        *paths: Paths and patterns.
        compression: How all files are compressed; None: as their names tell.
        split_bytes: About how many stored bytes one map task reads.
    """
    return _input(paths, {"format": "json_lines"}, compression, split_bytes)


def read_csv(
    *paths: str | os.PathLike[str],
    delimiter: str = ",",
    header: bool = True,
    multiline: bool = False,
    arrow: bool = False,
    compression: Compression | None = None,
    split_bytes: int | None = None,
) -> Input:
    r"""CSV (RFC 4180); a record is a row: a dict of ``str`` by the names of the header, without one a list of ``str``.

    Args:
        *paths: Paths and patterns.
        delimiter: The one ASCII character between fields.
        header: Whether the first row of every file names the fields.
        multiline: Whether quoted fields may hold line ends. Then each file is read by one task. Unless it is said, a
            field with a ``\n`` is an error, and a file whose rows end with ``\r`` alone is one line, which must fit
            into memory.
        arrow: Give the map function a list of one ``pyarrow.RecordBatch`` instead of rows: columns of strings, named
            by the header, or else ``f0``, ``f1`` and so on. Needs pyarrow where the workers run.
        compression: How all files are compressed; None: as their names tell.
        split_bytes: About how many stored bytes one map task reads. A compressed file is one task's.
    """
    file_format = {**_csv(delimiter, header), "multiline": _arguments.flag("multiline", multiline)}
    found = _input(paths, file_format, compression, split_bytes)
    return Input(found.paths, file_format, compression, split_bytes, _arguments.flag("arrow", arrow))


def read_parquet(*paths: str | os.PathLike[str], arrow: bool = False, split_bytes: int | None = None) -> Input:
    """Parquet; a record is a row, a dict. Needs pyarrow where the workers run.

    Args:
        *paths: Paths and patterns.
        arrow: Give the map function a list of one ``pyarrow.RecordBatch`` instead of rows.
        split_bytes: About how many stored bytes one map task reads; row groups are not cut.
    """
    found = _input(paths, {"format": "parquet"}, None, split_bytes)
    return Input(found.paths, found.format, None, split_bytes, _arguments.flag("arrow", arrow))


def read_files(
    *paths: str | os.PathLike[str], compression: Compression | None = None, split_bytes: int | None = None
) -> Input:
    """Whole files; a record is a tuple of the file's URL and its content, ``bytes``.

    Args:
        *paths: Paths and patterns.
        compression: How all files are compressed; None: as their names tell.
        split_bytes: Small files are packed into tasks of about so many bytes.
    """
    return _input(paths, {"format": "whole_files"}, compression, split_bytes)


def read_fixed(
    *paths: str | os.PathLike[str],
    record_bytes: int,
    compression: Compression | None = None,
    split_bytes: int | None = None,
) -> Input:
    """Records of equal length; a record is ``bytes``.

    Args:
        *paths: Paths and patterns.
        record_bytes: The length of each.
        compression: How all files are compressed; None: as their names tell.
        split_bytes: About how many stored bytes one map task reads.
    """
    length = _arguments.count("record_bytes", record_bytes, least=1)
    return _input(paths, {"format": "fixed_length", "record_bytes": length}, compression, split_bytes)


def write_text(
    directory: str | os.PathLike[str], *, compression: Compression = "none", overwrite: bool = False
) -> Output:
    """Lines of ``key<TAB>value``, or of the key alone where the value is None.

    Args:
        directory: Where to; absent or empty, unless it is to be overwritten.
        compression: How the files are compressed.
        overwrite: Whether what is there already is replaced.
    """
    return _output(directory, {"format": "text", "invalid": "error"}, compression, overwrite)


def write_json_lines(
    directory: str | os.PathLike[str], *, compression: Compression = "none", overwrite: bool = False
) -> Output:
    """Lines of ``{"key": ..., "value": ...}``.

    Args:
        directory: Where to; absent or empty, unless it is to be overwritten.
        compression: How the files are compressed.
        overwrite: Whether what is there already is replaced.
    """
    return _output(directory, {"format": "json_lines"}, compression, overwrite)


def write_csv(
    directory: str | os.PathLike[str],
    *,
    delimiter: str = ",",
    compression: Compression = "none",
    overwrite: bool = False,
) -> Output:
    """Rows of the key and the value; a tuple or list of either becomes several fields, None an empty one.

    Args:
        directory: Where to; absent or empty, unless it is to be overwritten.
        delimiter: The one ASCII character between fields.
        compression: How the files are compressed.
        overwrite: Whether what is there already is replaced.
    """
    return _output(directory, _csv(delimiter, False), compression, overwrite)


def write_parquet(
    directory: str | os.PathLike[str], *, compression: Compression = "zstd", overwrite: bool = False
) -> Output:
    """Tables with the columns ``key`` and ``value``. Needs pyarrow where the workers run.

    Args:
        directory: Where to; absent or empty, unless it is to be overwritten.
        compression: How columns are compressed inside of the files.
        overwrite: Whether what is there already is replaced.
    """
    return _output(directory, {"format": "parquet"}, compression, overwrite)


def _csv(delimiter: str, header: bool) -> dict[str, Any]:
    if not (isinstance(delimiter, str) and len(delimiter) == 1 and delimiter.isascii() and delimiter not in '"\r\n'):
        raise InvalidArgumentError(f"delimiter must be one ASCII character, not {delimiter!r}")
    return {"format": "csv", "delimiter": ord(delimiter), "header": _arguments.flag("header", header)}


def _compression(value: str) -> str:
    _arguments.one_of("compression", value, ("none", "gzip", "zstd", "bzip2", "lz4"))
    return value


def _input(
    paths: tuple[str | os.PathLike[str], ...],
    file_format: dict[str, Any],
    compression: Compression | None,
    split_bytes: int | None,
) -> Input:
    if not paths:
        raise InvalidArgumentError("give at least one path of a file, a directory or a pattern")
    texts = tuple(_arguments.path("paths", path) for path in paths)
    if compression is not None:
        _compression(compression)
    _arguments.count_or_none("split_bytes", split_bytes, least=1, most=1 << 40)
    return Input(texts, file_format, compression, split_bytes)


def _output(
    directory: str | os.PathLike[str], file_format: dict[str, Any], compression: Compression, overwrite: bool
) -> Output:
    is_url = isinstance(directory, str) and "://" in directory
    place = str(directory) if is_url else _arguments.directory("directory", directory)
    _compression(compression)
    return Output(place, file_format, compression, _arguments.flag("overwrite", overwrite))
