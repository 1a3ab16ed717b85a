"""Jobs over files and into files: every format, every compression. What can be wrong: test_bad_input.py."""

import bz2
import csv
import functools
import gzip
import json
import os
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from helpers import reference

import mapreduce
from mapreduce import InvalidArgumentError, JobFailedError, LocalCluster

LINES = [f"{['to', 'be', 'or', 'not'][n % 4]} line {n} é" for n in range(3000)]


def words(data):
    return [(word, 1) for line in data for word in line.split()]


def identity(data):
    return [(json.dumps(record, default=str, sort_keys=True), 1) for record in data]


def count_of(expected):
    return reference(expected, identity, sum)


@pytest.mark.parametrize("ending", ["", ".gz", ".bz2"])
def test_text(cluster, tmp_path, ending):
    text = "\n".join(LINES) + "\n"
    for n in range(3):
        opened = {"": open, ".gz": gzip.open, ".bz2": bz2.open}[ending](tmp_path / f"{n}.txt{ending}", "wt")
        with opened as file:
            file.write(text)
    data = mapreduce.read_text(tmp_path / "*.txt*", split_bytes=10_000)
    assert cluster.mapreduce(data, words, sum).result() == reference(LINES * 3, words, sum)


def test_a_directory_and_small_files_are_packed(cluster, tmp_path):
    for n in range(50):
        (tmp_path / f"{n:02}.txt").write_text(LINES[n])
    (tmp_path / "_hidden").write_text("hidden")
    future = cluster.mapreduce(mapreduce.read_text(tmp_path), words, sum)
    assert future.result() == reference(LINES[:50], words, sum)
    assert future.progress().map_total == 4  # a tiny file counts for what opening it costs


def test_json_lines(cluster, tmp_path):
    records = [{"n": n, "nested": [n, {"é": None}]} for n in range(500)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    data = mapreduce.read_json_lines(tmp_path / "a.jsonl", split_bytes=1000)
    assert cluster.mapreduce(data, identity, sum).result() == count_of(records)


@pytest.mark.parametrize("header", [True, False])
def test_csv(cluster, tmp_path, header):
    rows = [["a", "b"], ["1", 'quoted "x"'], ["2", "two\nlines"], ["", "é"]]
    with open(tmp_path / "a.csv", "w", newline="") as file:
        csv.writer(file).writerows(rows)
    expected = [dict(zip(rows[0], row, strict=True)) for row in rows[1:]] if header else rows
    data = mapreduce.read_csv(tmp_path / "a.csv", header=header, multiline=True)
    assert cluster.mapreduce(data, identity, sum).result() == count_of(expected)
    cut = mapreduce.read_csv(tmp_path / "a.csv", header=header)
    with pytest.raises(JobFailedError, match="multiline=True"):
        cluster.mapreduce(cut, identity, sum).result()


@pytest.mark.parametrize("header", [True, False])
def test_a_large_csv_file_is_cut(cluster, tmp_path, header):
    rows = [["a", "b"], *([str(n), f'é "{n}", {n % 7}'] for n in range(2000))]
    with open(tmp_path / "a.csv", "w", newline="") as file:
        csv.writer(file).writerows(rows)
    expected = [dict(zip(rows[0], row, strict=True)) for row in rows[1:]] if header else rows
    future = cluster.mapreduce(mapreduce.read_csv(tmp_path / "a.csv", header=header, split_bytes=5000), identity, sum)
    assert future.result() == count_of(expected)
    assert future.progress().map_total > 5
    whole = mapreduce.read_csv(tmp_path / "a.csv", header=header, split_bytes=5000, multiline=True)
    future = cluster.mapreduce(whole, identity, sum)
    assert future.result() == count_of(expected)
    assert future.progress().map_total == 1


@pytest.mark.parametrize(("header", "names"), [(True, ["n", "text"]), (False, ["f0", "f1"])])
def test_csv_as_arrow(cluster, tmp_path, header, names):
    rows = [[str(n), f'é "{n % 7}"' if n % 3 else ""] for n in range(5000)]
    with open(tmp_path / "a.csv", "w", newline="") as file:
        csv.writer(file).writerows([["n", "text"], *rows] if header else rows)

    def batches(data):
        import pyarrow

        [batch] = data
        assert type(batch) is pyarrow.RecordBatch
        assert batch.schema.names == names
        assert batch.schema.types == [pyarrow.string()] * 2
        columns = [column.to_pylist() for column in batch.columns]
        return [("rows", batch.num_rows), *((row, 1) for row in zip(*columns, strict=True))]

    data = mapreduce.read_csv(tmp_path / "a.csv", header=header, arrow=True, split_bytes=20_000)
    future = cluster.mapreduce(data, batches, sum)
    assert dict(future.result()) == {"rows": 5000, **{tuple(row): 1 for row in rows}}
    assert future.progress().map_total > 2


def test_parquet_as_rows_and_as_arrow(cluster, tmp_path):
    table = pyarrow.table({"n": list(range(1000)), "text": [f"t{n % 7}" for n in range(1000)]})
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet", row_group_size=100)
    data = mapreduce.read_parquet(tmp_path / "a.parquet", split_bytes=500)
    assert cluster.mapreduce(data, identity, sum).result() == count_of(table.to_pylist())

    def sums(batches):
        import pyarrow.compute

        return [("n", pyarrow.compute.sum(batch["n"]).as_py()) for batch in batches]

    arrow = mapreduce.read_parquet(tmp_path / "a.parquet", arrow=True)
    assert cluster.mapreduce(arrow, sums, sum).result() == [("n", 499_500)]


def test_whole_files_and_records_of_fixed_length(cluster, tmp_path):
    contents = {f"file://{tmp_path}/{n}": os.urandom(1000) for n in range(5)}
    for url, content in contents.items():
        Path(url.removeprefix("file://")).write_bytes(content)
    files = cluster.mapreduce(mapreduce.read_files(tmp_path), lambda data: data, lambda values: values[0]).result()
    assert dict(files) == contents
    fixed = mapreduce.read_fixed(tmp_path, record_bytes=100, split_bytes=300)
    records = cluster.mapreduce(fixed, lambda data: [(record, 1) for record in data], sum).result()
    expected = [content[at : at + 100] for content in contents.values() for at in range(0, 1000, 100)]
    assert records == sorted((record, 1) for record in expected)


def pairs(data):
    return [((word, len(word)), 1) for line in data for word in line.split()]


EXPECTED = reference(LINES, pairs, sum)


def read_text(path):
    lines = (line.split("\t") for line in Path(path).read_text().splitlines())
    return [(eval(key), int(value)) for key, value in lines]


def read_json(path):
    records = (json.loads(line) for line in gzip.decompress(Path(path).read_bytes()).splitlines())
    return [(tuple(record["key"]), record["value"]) for record in records]


def read_csv(path):
    rows = csv.reader(Path(path).read_text().splitlines())
    return [((word, int(length)), int(n)) for word, length, n in rows]


@pytest.mark.parametrize(
    ("write", "ending", "read"),
    [
        (mapreduce.write_text, ".txt", read_text),
        (functools.partial(mapreduce.write_json_lines, compression="gzip"), ".jsonl.gz", read_json),
        (mapreduce.write_csv, ".csv", read_csv),
    ],
)
def test_output_to_files(cluster, tmp_path, write, ending, read):
    output = write(tmp_path / "out")
    files = cluster.mapreduce(LINES, pairs, sum, output=output, n_partitions=3).result()
    names = [f"part-0000{n}{ending}" for n in range(3)]
    assert files == [str(tmp_path / "out" / name) for name in names]
    assert sorted(os.listdir(tmp_path / "out")) == ["_SUCCESS", *names]
    assert sorted(pair for file in files for pair in read(file)) == EXPECTED


def test_output_to_parquet(cluster, tmp_path):
    output = mapreduce.write_parquet(tmp_path / "out")
    [file] = cluster.mapreduce(LINES, words, sum, output=output, n_partitions=1).result()
    table = pyarrow.parquet.read_table(file)
    assert list(zip(*table.to_pydict().values(), strict=True)) == reference(LINES, words, sum)


def test_the_first_job_of_the_next_cluster_replaces_the_output_of_the_first_of_this_one(auth, tmp_path):
    job_ids = set()
    for line in ("old", "new"):
        with LocalCluster(auth=auth, n_workers=1, n_masters=1) as cluster:
            future = cluster.mapreduce([line], words, sum, output=mapreduce.write_text(tmp_path, overwrite=True))
            [file] = future.result()
            assert Path(file).read_text() == f"{line}\t1\n"
            job_ids.add(future.job_id)
    assert job_ids == {"job_1"}


def test_an_output_is_replaced_only_if_that_is_asked_for(cluster, tmp_path):
    out = tmp_path / "out"
    first = cluster.mapreduce(["a"], words, sum, output=mapreduce.write_text(out)).result()
    with pytest.raises(InvalidArgumentError, match="exists and is not empty"):
        cluster.mapreduce(["b"], words, sum, output=mapreduce.write_text(out))
    assert Path(first[0]).read_text() == "a\t1\n"
    second = cluster.mapreduce(["b"], words, sum, output=mapreduce.write_text(out, overwrite=True)).result()
    assert Path(second[0]).read_text() == "b\t1\n"


def test_a_failed_job_publishes_nothing(cluster, tmp_path):
    out = tmp_path / "out"

    def reduce_func(values):
        raise ValueError("no")

    with pytest.raises(JobFailedError):
        cluster.mapreduce(["a"], words, reduce_func, output=mapreduce.write_text(out)).result()
    assert not out.exists() or os.listdir(out) == []


def test_results_one_by_one(cluster):
    future = cluster.mapreduce(range(1000), lambda data: [(n, n) for n in data], sum, n_partitions=4)
    assert list(future.iter_results()) == [(n, n) for n in range(1000)] == future.result()


def test_a_failing_record_is_told_with_its_place(cluster, tmp_path):
    (tmp_path / "a.txt").write_text("1\n2\nx\n3\n")
    with pytest.raises(JobFailedError) as raised:
        data = mapreduce.read_text(tmp_path / "a.txt")
        cluster.mapreduce(data, lambda lines: [(int(line), 1) for line in lines], sum).result()
    assert raised.value.record == f"'x' (file://{tmp_path}/a.txt:4)"


def test_a_file_that_changed_after_submission(new_cluster, tmp_path):
    cluster = new_cluster(n_workers=0)
    path = tmp_path / "a.txt"
    path.write_text("before\n")
    future = cluster.mapreduce(mapreduce.read_text(path), words, sum, max_attempts=1)
    path.write_text("after it\n")
    cluster.scale(n_workers=1)
    with pytest.raises(JobFailedError, match="changed"):
        future.result()
