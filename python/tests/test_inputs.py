"""Jobs over several inputs, each with its own map function: joins of any formats."""

import json
import threading
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

import mapreduce
from mapreduce import InvalidArgumentError, JobFailedError, SerializationError
from mapreduce.files import EarlierResult

PEOPLE = [(n, f"name {n}") for n in range(40)]
ORDERS = [{"order": n, "by": n * 7 % 50} for n in range(200)]


def people(rows):
    for row in rows:
        yield int(row["id"]), ("person", row["name"])


def orders(records):
    for record in records:
        yield record["by"], ("order", record["order"])


def joined(values):
    return [values[0][1], [value for kind, value in values if kind == "order"]]


def expected():
    """Every person has orders; some orders are nobody's."""
    by = {}
    for order in ORDERS:
        by.setdefault(order["by"], []).append(order["order"])
    return [(n, [name, by[n]]) for n, name in PEOPLE] + [(n, [by[n][0], by[n]]) for n in range(40, 50)]


@pytest.fixture
def files(tmp_path):
    (tmp_path / "people.csv").write_text("id,name\n" + "".join(f"{n},{name}\n" for n, name in PEOPLE))
    lines = [json.dumps(order) for order in ORDERS]
    (tmp_path / "a.jsonl").write_text("\n".join(lines[:120]))
    (tmp_path / "b.jsonl").write_text("\n".join(lines[120:]))
    return tmp_path


def test_files_of_two_formats_are_joined(cluster, files):
    future = cluster.mapreduce(
        data=[mapreduce.read_csv(files / "people.csv"), mapreduce.read_json_lines(files / "*.jsonl", split_bytes=500)],
        map_func=[people, orders],
        reduce_func=joined,
        n_partitions=3,
    )
    assert future.result() == expected()
    assert future.progress().map_total > 5


def test_records_results_tables_and_files_go_together_in_their_order(cluster, files):
    earlier = cluster.mapreduce(PEOPLE, lambda pairs: pairs, lambda values: values[0], n_partitions=2)
    ids, names = zip(*PEOPLE, strict=True)
    pyarrow.parquet.write_table(pyarrow.table({"id": ids, "name": names}), files / "people.parquet")

    def from_table(batches):
        for batch in batches:
            assert isinstance(batch, pyarrow.RecordBatch)
            yield from ((n, f"arrow {name}") for n, name in zip(*batch.to_pydict().values(), strict=True))

    result = cluster.mapreduce(
        data=(
            iter(PEOPLE),
            mapreduce.read_parquet(files / "people.parquet", arrow=True),
            mapreduce.read_result(earlier),
            mapreduce.read_parquet(files / "people.parquet"),
            [pair for pair in PEOPLE if pair[0] < 5],
        ),
        map_func=(
            lambda pairs: [(n, f"iterator {name}") for n, name in pairs],
            from_table,
            lambda pairs: [(n, f"result {name}") for n, name in pairs],
            lambda rows: [(row["id"], f"row {row['name']}") for row in rows],
            lambda pairs: [(n, f"list {name}") for n, name in pairs],
        ),
        reduce_func=list,
        split_records=3,
    ).result()
    kinds = ["iterator", "arrow", "result", "row", "list"]
    assert result == [(n, [f"{kind} {name}" for kind in kinds[: 5 if n < 5 else 4]]) for n, name in PEOPLE]


def test_uploaded_records_of_several_inputs_do_not_mix(cluster):
    """Each input takes several objects of storage."""
    inputs = [[bytes([n]) * 100_000 + bytes(range(256)) * 3000 + str(i).encode() for i in range(30)] for n in range(3)]
    functions = [
        lambda records, n=n: [(n, (record[:1] == bytes([n]), int(record[868_000:]))) for record in records]
        for n in range(3)
    ]
    result = cluster.mapreduce(inputs, functions, list).result()
    assert result == [(n, [(True, i) for i in range(30)]) for n in range(3)]


def test_inputs_may_be_empty(cluster):
    emit = [lambda data: [(1, n) for n in data]] * 3
    assert cluster.mapreduce([[], [2, 3], []], emit, list).result() == [(1, [2, 3])]
    assert cluster.mapreduce([[], []], emit[:2], list).result() == []


def test_one_input_in_a_list(cluster):
    assert cluster.mapreduce([["ab"]], [lambda data: [(text, 1) for text in data]], sum).result() == [("ab", 1)]


def test_a_combiner_and_sort_over_several_inputs(cluster, tmp_path):
    low, high = [n * 37 % 5000 for n in range(5000)], range(5000, 9000)

    def map_func(data):
        return [(n, 1) for n in data]

    files = cluster.mapreduce(
        [low, high, low],
        [map_func] * 3,
        sum,
        combine_func=sum,
        sort=True,
        n_partitions=4,
        output=mapreduce.write_text(tmp_path / "out"),
    ).result()
    parts = [[line.split("\t") for line in Path(file).read_text().splitlines()] for file in files]
    lines = [(int(key), int(n)) for part in parts for key, n in part]
    assert lines == [(n, 2) for n in range(5000)] + [(n, 1) for n in range(5000, 9000)]
    assert len(parts) == 4
    assert min(map(len, parts)) > 500  # so that the sample was of all inputs


def test_a_failing_record_is_told_with_its_input_and_place(cluster, files):
    (files / "numbers.txt").write_text("1\n2\nx\n3\n")
    inputs = [mapreduce.read_csv(files / "people.csv"), mapreduce.read_text(files / "numbers.txt")]
    with pytest.raises(JobFailedError, match=r"^map_func\[1\] raised: ValueError") as raised:
        cluster.mapreduce(inputs, [people, lambda lines: [(int(line), line) for line in lines]], list).result()
    assert raised.value.record == f"'x' (file://{files}/numbers.txt:4)"
    assert raised.value.task == "map/1"

    with pytest.raises(JobFailedError, match=r"^map_func\[0\] emitted a value of type lock") as raised:
        cluster.mapreduce([[7], []], [lambda data: [(1, threading.Lock())], orders], list).result()
    with pytest.raises(JobFailedError, match=r"^map_func\[1\] must return or yield"):
        cluster.mapreduce([[], [8]], [orders, lambda data: data], list).result()


def test_what_does_not_go_together_is_told(cluster, files):
    csv, lock = mapreduce.read_csv(files / "people.csv"), threading.Lock()
    two = [people, orders]
    wrong = [
        ([csv, [], []], two, "map_func has 2 functions, but data 3 inputs"),
        ([csv], two, "map_func has 2 functions, but data 1 inputs"),
        (csv, two, "data must be a list, too, with an input for each of the 2 functions, not Input"),
        (iter([csv, []]), two, "data must be a list, too, .* not list_iterator"),
        ([], [], "map_func must be a function, or a list of at least one"),
        ([csv, []], people, "give map_func a list, too"),
        ([5] * 100 + [csv], people, "record 100 is an input of its own: .* give map_func a list, too"),
        ((5, EarlierResult("job_1")), people, "record 1 is"),
        ([[csv], []], two, r"record 0 of data\[0\] is"),
        ([csv, "text"], two, r"data\[1\] must be a list or another iterable of records, not one text"),
        ([csv, 5], two, r"data\[1\] must be a list"),
        ([csv, []], [people, None], r"map_func\[1\] must be a function, not NoneType"),
        ([mapreduce.read_text(files / "absent"), csv], two, "absent"),
    ]
    for data, map_func, why in wrong:
        with pytest.raises(InvalidArgumentError, match=why):
            cluster.mapreduce(data, map_func, joined)
    streamed = cluster.mapreduce(iter([5, csv]), people, joined)
    with pytest.raises(InvalidArgumentError, match="record 1 is an input of its own"):
        streamed.result()
    with pytest.raises(SerializationError, match=r"map_func\[1\] can't be pickled"):
        cluster.mapreduce([csv, []], [people, lambda data: [(lock, 1)]], joined)
    with pytest.raises(SerializationError, match=r"record 1 of data\[1\], a lock"):
        cluster.mapreduce([csv, [1, lock]], two, joined)


def test_results_that_are_read_beside_other_inputs_are_not_cleared(new_cluster):
    cluster = new_cluster(n_workers=1)
    firsts = [cluster.mapreduce([(1, n)], lambda pairs: pairs, sum) for n in (2, 3)]
    earlier = [mapreduce.read_result(first) for first in firsts]
    cluster.scale(n_workers=0)
    both = cluster.mapreduce([[(1, 4)], *earlier], [lambda pairs: pairs] * 3, list)
    assert cluster.clear() == []
    cluster.scale(n_workers=1)
    assert both.result() == [(1, [4, 2, 3])]
    assert len(cluster.clear()) == 3


def test_a_result_that_is_cleared_during_the_upload_is_told(new_cluster):
    cluster = new_cluster(n_workers=1)
    first = cluster.mapreduce([(1, 2)], lambda pairs: pairs, sum)
    first.result()

    def records():
        yield 1, 4
        assert cluster.clear() == [first.job_id]

    def pairs(data):
        return data

    both = cluster.mapreduce([mapreduce.read_result(first), records()], [pairs, pairs], list)
    with pytest.raises(InvalidArgumentError, match=f"{first.job_id}, whose result {both.job_id} reads, was cleared"):
        both.result()
