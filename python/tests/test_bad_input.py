"""Whatever can be wrong with input: a clear error that names the file and the place, and never a result."""

import ctypes
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import mapreduce
from mapreduce import InvalidArgumentError, JobFailedError, LocalCluster

LINES = [f"{n} {n * 7919 % 10007:x} é" for n in range(20_000)]
MEMORY_BYTES = 256 << 20
"""Of a task; an eighth of it is the engine's, and the longest record."""


@pytest.fixture(scope="module")
def cluster(auth):
    with LocalCluster(auth=auth, n_workers=2, n_masters=1, memory_bytes_max=MEMORY_BYTES) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def compressed(cluster, tmp_path_factory):
    """The bytes of a file, by its compression."""

    def compress(compression):
        output = mapreduce.write_text(tmp_path_factory.mktemp("compressed") / "out", compression=compression)
        [file] = cluster.mapreduce(LINES, records, len, output=output, n_partitions=1).result()
        return Path(file).read_bytes()

    return {compression: compress(compression) for compression in ("gzip", "zstd", "bzip2", "lz4")}


def records(data):
    return [(json.dumps(record, default=str), 1) for record in data]


def failure(cluster, data, output, map_func=records):
    """What the job tells; and that nothing of it is in the output."""
    with pytest.raises(JobFailedError) as raised:
        cluster.mapreduce(data, map_func, sum, max_attempts=1, output=mapreduce.write_text(output)).result()
    assert raised.value.kind == "bad_data"
    assert not output.exists() or os.listdir(output) == []
    return str(raised.value)


def flipped(content):
    return content[: len(content) // 2] + bytes([content[len(content) // 2] ^ 8]) + content[len(content) // 2 + 1 :]


@pytest.mark.parametrize("compression", ["gzip", "zstd", "bzip2", "lz4"])
@pytest.mark.parametrize(
    "damage",
    [lambda content: content[:-1], lambda content: content[: len(content) // 2], lambda content: b"", flipped],
    ids=["one byte short", "half", "nothing", "a bit"],
)
def test_a_damaged_compressed_file(cluster, compressed, tmp_path, compression, damage):
    path = tmp_path / "a"
    path.write_bytes(damage(compressed[compression]))
    told = failure(cluster, mapreduce.read_text(path, compression=compression), tmp_path / "out")
    place, _, why = told.partition(f"file://{path}:")[2].partition(": ")
    assert int(place) <= len("\n".join(LINES)) * 2, told
    assert why.startswith(("damaged or cut short", "not UTF-8")), told
    whole = tmp_path / "whole"
    whole.write_bytes(compressed[compression])
    good = cluster.mapreduce(mapreduce.read_text(whole, compression=compression), records, sum).result()
    assert len(good) == len(LINES)


CSV = "id,name\n" + "".join(f"{n},{n:05}\n" for n in range(1000))


@pytest.mark.parametrize(
    ("read", "content", "place"),
    [
        (mapreduce.read_text, b"good\nb\xffd\n", (6, "not UTF-8")),
        (mapreduce.read_json_lines, b'{"a": 1}\n{"a": \n', (14, "no JSON")),
        (mapreduce.read_json_lines, b'1\n"a\xff"\n', (4, "not UTF-8")),
        (mapreduce.read_csv, b"a,b\n1,2\n1,2,3\n", (8, "3 fields, and the first of the file has 2")),
        (mapreduce.read_csv, b"a,b\n1,2\n1\n", (8, "1 fields, and the first of the file has 2")),
        (mapreduce.read_csv, b"a,b\n1,\xff\n", (4, "not UTF-8")),
        (mapreduce.read_csv, b'a,b\n1,"2\n3,4"\n', (4, "read the file with multiline=True")),
        (lambda path: mapreduce.read_csv(path, multiline=True), b'a,b\n1,"2\n3,4\n', (4, "a quote is never closed")),
        (lambda path: mapreduce.read_csv(path, split_bytes=900), CSV.encode() + b"x\n", (len(CSV), "1 fields")),
        (lambda path: mapreduce.read_csv(path, split_bytes=900), CSV.encode() + b'"\n', (len(CSV), "multiline=True")),
        (lambda path: mapreduce.read_fixed(path, record_bytes=3), b"abcde", (3, "2 bytes instead of 3")),
        (mapreduce.read_parquet, b"PAR1 no more", (0, "damaged")),
        (mapreduce.read_text, b"a\n" + b"x" * (MEMORY_BYTES // 8 + 3), (2, "raise the limit")),
        (mapreduce.read_csv, b"a\n" + b"x" * (MEMORY_BYTES // 8 + 3), (2, "raise the limit")),
        (mapreduce.read_files, b"x" * (MEMORY_BYTES // 8 + 1), (0, "raise the limit")),
    ],
    ids=lambda value: value[1] if isinstance(value, tuple) else "",
)
def test_a_file_that_is_not_of_its_format(cluster, tmp_path, read, content, place):
    offset, why = place
    path = tmp_path / "a"
    path.write_bytes(content)
    told = failure(cluster, read(path), tmp_path / "out")
    told_place, _, rest = told.partition(f"file://{path}:")[2].partition(":")
    assert told_place.split(",")[0] == str(offset), told
    assert why in rest, told


def test_text_that_is_not_utf_8_is_replaced_or_read_as_bytes(cluster, tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"good\nb\xffd\n")
    for invalid, expected in [("replace", ["b\ufffdd", "good"]), ("bytes", [b"b\xffd", b"good"])]:
        data = mapreduce.read_text(path, invalid=invalid)
        found = cluster.mapreduce(data, lambda data: [(line, 1) for line in data], sum).result()
        assert found == [(line, 1) for line in expected]


@pytest.mark.parametrize("name", ["absent.txt", "*.csv", "empty/"])
def test_a_file_that_is_not_there(cluster, tmp_path, name):
    (tmp_path / "empty").mkdir()
    output = tmp_path / "out"
    with pytest.raises(InvalidArgumentError, match="no file found for") as raised:
        cluster.mapreduce(mapreduce.read_text(tmp_path / name), records, sum, output=mapreduce.write_text(output))
    assert str(tmp_path / name).rstrip("/") in str(raised.value)
    assert not output.exists()


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda path: path.unlink(), "is missing"),
        (lambda path: path.write_bytes(path.read_bytes() + b"more\n"), "has changed"),
        (lambda path: path.write_bytes(b""), "has changed"),
        (lambda path: os.utime(path, (1, 1)), "has changed"),
    ],
    ids=["deleted", "longer", "shorter", "rewritten"],
)
def test_a_file_that_changes_while_the_job_runs(cluster, tmp_path, change, why):
    """The map function does it: when the first of two files of a task is read, and in the middle of one."""
    path = tmp_path / "b.txt"

    def map_func(data):
        if path.stat().st_mtime > 1 and path.stat().st_size == length:
            change(path)
        return records(data)

    (tmp_path / "a.txt").write_text("before it\n")
    path.write_text("\n".join(LINES))
    length = path.stat().st_size
    told = failure(cluster, mapreduce.read_text(tmp_path / "*.txt"), tmp_path / "out", map_func)
    assert f"file://{path} {why}" in told
    if why != "is missing":
        path.write_text("\n".join(LINES))
        assert f"file://{path} {why}" in failure(cluster, mapreduce.read_text(path), tmp_path / "out", map_func)


@pytest.mark.parametrize("read", [mapreduce.read_text, mapreduce.read_json_lines, mapreduce.read_csv])
def test_an_empty_file_is_no_records(cluster, tmp_path, read):
    (tmp_path / "a").touch()
    output = mapreduce.write_text(tmp_path / "out")
    files = cluster.mapreduce(read(tmp_path / "a"), records, sum, output=output).result()
    assert [Path(file).read_bytes() for file in files] == [b""] * len(files)
    assert "_SUCCESS" in os.listdir(tmp_path / "out")


KEYS = {"AWS_ACCESS_KEY_ID": "ada", "AWS_SECRET_ACCESS_KEY": "a-wonderful-secret"}


@pytest.mark.parametrize(
    ("url", "environment", "why"),
    [
        ("ftp://host/data", {}, "ftp:// is not supported; give a path"),
        ("hdfs://host/data", {}, "it names no port; give hdfs://host:port/directory"),
        ("s3:///data", {}, "it names no bucket"),
        ("s3://bucket/data?colour=red", {}, r"\?colour=red is no option"),
        ("s3://bucket/data?auth=/nowhere/at/all", {}, "/nowhere/at/all: No such file"),
        ("s3://bucket/data", {"AWS_ENDPOINT_URL": "http://192.0.2.1", **KEYS}, "would cross the network in clear"),
        (
            "s3://bucket/data",
            {"AWS_ENDPOINT_URL": "http://127.0.0.1:1"},
            "there is no key for it: set AWS_ACCESS_KEY_ID",
        ),
        ("s3://bucket/data", {"AWS_ENDPOINT_URL_S3": "host", **KEYS}, "AWS_ENDPOINT_URL in the environment is host"),
    ],
)
def test_a_store_that_can_not_be_used(cluster, monkeypatch, url, environment, why):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InvalidArgumentError, match=why) as read:
        cluster.mapreduce(mapreduce.read_text(url), records, len)
    with pytest.raises(InvalidArgumentError, match=why) as written:
        cluster.mapreduce(LINES, records, len, output=mapreduce.write_text(url))
    assert "a-wonderful-secret" not in str(read.value) + str(written.value)


def test_a_store_that_is_not_there(cluster, monkeypatch):
    for name, value in {"AWS_ENDPOINT": "http://127.0.0.1:1", **KEYS}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InvalidArgumentError, match=r"s3://bucket/data can't be read: .*refused"):
        cluster.mapreduce(mapreduce.read_text("s3://bucket/data"), records, len)
    refused = r"hdfs://127.0.0.1:1/data can't be written: .*refused.*tried for "
    with pytest.raises(InvalidArgumentError, match=refused):
        cluster.mapreduce(LINES, records, len, output=mapreduce.write_text("hdfs://127.0.0.1:1/data"))


def test_an_output_that_exists(cluster, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("mine")
    with pytest.raises(InvalidArgumentError, match=f"{tmp_path}/out exists and is not empty"):
        cluster.mapreduce(["a"], records, sum, output=mapreduce.write_text(tmp_path / "out"))
    assert os.listdir(tmp_path / "out") == ["mine"]


DENIED = """
import sys
import mapreduce
path, output = sys.argv[1:]
try:
    open(path)
except PermissionError:
    pass
else:
    raise AssertionError("it can be read")
with mapreduce.LocalCluster(mapreduce.Auth("admin", "admin"), n_workers=1, n_masters=1) as cluster:
    try:
        data = mapreduce.read_text(path)
        cluster.mapreduce(data, list, sum, output=mapreduce.write_text(output)).result()
    except mapreduce.JobFailedError as error:
        print(error.kind, error)
"""


def obey_permissions():
    """Root may read everything by two capabilities. Without them it is like its other users."""
    libc = ctypes.CDLL(None)
    for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        libc.prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP; an ordinary user has none to drop


def test_a_file_without_permission(tmp_path, environment):
    path = tmp_path / "a.txt"
    path.write_text("secret\n")
    path.chmod(0)
    command = [sys.executable, "-c", DENIED, str(path), str(tmp_path / "out")]
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, env=environment, preexec_fn=obey_permissions
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("bad_data ")
    assert f"file://{path} can't be read: Permission denied" in done.stdout
    assert not (tmp_path / "out").exists() or os.listdir(tmp_path / "out") == []
