"""What a job may be made of, what it gives, and what can be done with it while it runs."""

import asyncio
import concurrent.futures
import gc
import string
import textwrap
import time
import weakref

import pytest
from helpers import outcomes, reference, run_python, wait_until

import mapreduce

FRUITS = ["pear", "apple", "fig", "apple", "pear", "apple"]


def ones(data):
    return [(item, 1) for item in data]


def run(cluster, data, map_func, reduce_func, **options):
    return cluster.mapreduce(data=data, map_func=map_func, reduce_func=reduce_func, **options).result()


class TestFunctions:
    def test_lambdas_and_closures(self, cluster):
        factor = 3
        result = run(
            cluster,
            [1, 2, 3],
            lambda data: ((n % 2, n * factor) for n in data),
            lambda values: max(values[0], *values),
        )
        assert result == [(0, 6), (1, 9)]

    def test_a_generator_function(self, cluster):
        def map_func(data):
            for item in data:
                yield item, 1

        assert run(cluster, FRUITS, map_func, sum) == reference(FRUITS, ones, sum)

    def test_builtins_bound_methods_and_callable_objects(self, cluster):
        class Counter:
            def __init__(self, step):
                self.step = step

            def __call__(self, data):
                return [(item, self.step) for item in data]

            def total(self, values):
                return sum(values) // self.step

        counter = Counter(5)
        assert run(cluster, FRUITS, counter, counter.total) == reference(FRUITS, ones, len)

    def test_map_may_return_anything_that_iterates_over_pairs(self, cluster):
        assert run(cluster, [1, 2], lambda data: {n: n for n in data}.items(), sum) == [(1, 1), (2, 2)]
        assert run(cluster, [1, 2], lambda data: [[n, n] for n in data], sum) == [(1, 1), (2, 2)]

    @pytest.mark.parametrize("place", ["__main__", "a module beside the script"])
    def test_functions_of_a_script(self, tmp_path, environment, place):
        functions = """
            import collections
            SEPARATOR = " "

            def words(line):
                return line.split(SEPARATOR)

            def map_func(lines):
                for line in lines:
                    yield from collections.Counter(words(line)).items()

            def reduce_func(counts):
                return sum(counts)
        """
        script = """
            import mapreduce

            if __name__ == "__main__":
                auth = mapreduce.Auth("admin", "admin")
                with mapreduce.LocalCluster(auth, n_workers=1, n_masters=1) as cluster:
                    future = cluster.mapreduce(["a b a", "b c"], map_func, reduce_func)
                    print(future.result())
        """
        if place == "__main__":
            text = textwrap.dedent(functions) + textwrap.dedent(script)
        else:
            (tmp_path / "beside.py").write_text(textwrap.dedent(functions))
            text = "from beside import map_func, reduce_func\n" + textwrap.dedent(script)
        (tmp_path / "script.py").write_text(text)
        # From another directory, so that only the script's own place on sys.path can find the module.
        output = run_python(tmp_path / "script.py", env=environment, cwd="/")
        assert output == "[('a', 2), ('b', 2), ('c', 1)]\n"


class TestData:
    def test_empty(self, cluster):
        assert run(cluster, [], ones, sum) == []
        assert run(cluster, iter(()), ones, sum) == []

    def test_one_record(self, cluster):
        assert run(cluster, ["x"], ones, sum) == [("x", 1)]

    def test_a_map_without_pairs(self, cluster):
        assert run(cluster, range(100), lambda data: [], sum) == []

    def test_any_iterable(self, cluster):
        expected = reference(range(10), ones, sum)
        for data in (
            range(10),
            tuple(range(10)),
            set(range(10)),
            iter(range(10)),
            dict.fromkeys(range(10)).keys(),
        ):
            assert run(cluster, data, ones, sum) == expected

    def test_records_and_values_of_any_type(self, cluster):
        records = [None, True, 1 << 100, -0.0, "ü", b"\0", (1, [2]), {"a": {3}}, Ellipsis, range(3), 1j]
        result = run(cluster, records, lambda data: [("all", record) for record in data], lambda values: values)
        ((_key, values),) = result
        assert sorted(map(repr, values)) == sorted(map(repr, records))

    def test_an_iterator_is_streamed_and_not_held(self, cluster):
        """While the client reads the thousandth record, the first are gone from its memory."""

        class Record:
            def __init__(self, number):
                self.number = number

        alive = weakref.WeakSet()
        most_alive = 0

        def records():
            nonlocal most_alive
            for number in range(20_000):
                record = Record(number)
                alive.add(record)
                yield record
                most_alive = max(most_alive, len(alive))

        def map_func(data):
            return [(record.number % 2, 1) for record in data]

        gc.collect()
        assert run(cluster, records(), map_func, sum) == [(0, 10_000), (1, 10_000)]
        assert most_alive < 10_000

    def test_large_records(self, cluster):
        records = [string.ascii_letters * 50_000, "a" * 3_000_000, ""]
        result = run(cluster, records, lambda data: [(len(record), record) for record in data], lambda values: values)
        assert result == [(0, [""]), (2_600_000, [records[0]]), (3_000_000, [records[1]])]


class TestKeys:
    def test_types(self, cluster):
        keys = [
            "",
            "a",
            "ü",
            "\U0001f600",
            "a\0b",
            b"",
            b"\xff",
            None,
            0,
            -1,
            1 << 70,
            1.5,
            float("-inf"),
            (),
            (1, "a"),
        ]
        keys += [(1, (2, None)), ((),), frozenset({1, 2})]
        result = run(cluster, keys * 2, ones, sum)
        assert dict(result) == dict.fromkeys(keys, 2)
        assert len(result) == len(keys)

    def test_equal_keys_are_one_group_and_the_first_is_shown(self, cluster):
        for first, *others in ([1, 1.0, True], [True, 1], [0.0, -0.0, False, 0], [(1, 2.0), (1.0, 2)]):
            # One record, so that there is one order in which the keys are seen.
            keys = [first, *others]
            (pair,) = run(cluster, [keys], lambda data: [(key, 1) for keys in data for key in keys], sum)
            assert pair == (first, len(keys))
            assert repr(pair[0]) == repr(first)

    def test_results_come_in_key_order(self, cluster):
        for keys in (
            [f"word{number}" for number in range(5_000)],
            [(-number if number % 2 else number) for number in range(5_000)],
            [(number % 7, f"{number}") for number in range(5_000)],
            [number / 7 for number in range(-2_000, 2_000)],
        ):
            result = run(cluster, keys, ones, sum, n_partitions=5)
            assert [key for key, _count in result] == sorted(keys)

    def test_keys_without_an_order_are_all_there(self, cluster):
        keys = [1, "1", None, b"1", (1,), 2, "2"]
        assert dict(run(cluster, keys, ones, sum)) == dict.fromkeys(keys, 1)


@pytest.fixture
def gated(cluster, tmp_path):
    """Submits jobs whose map tasks wait at a gate, so that a test decides how long they run."""
    gate = tmp_path / "gate"
    futures = []

    class Gated:
        @staticmethod
        def submit(n_tasks=4, **options):
            def map_func(data):
                while not gate.exists():
                    time.sleep(0.005)
                return [(number % 2, number) for number in data]

            futures.append(cluster.mapreduce(range(n_tasks), map_func, sum, **options))
            return futures[-1]

        open = staticmethod(gate.touch)

    yield Gated
    gate.touch()
    concurrent.futures.wait(futures)


class TestFutures:
    def test_it_comes_at_once_and_is_a_real_future(self, gated):
        future = gated.submit()
        assert isinstance(future, concurrent.futures.Future)
        assert future.job_id.startswith("job_")
        with pytest.raises(concurrent.futures.TimeoutError):
            future.result(timeout=0.05)
        assert not future.done()
        gated.open()
        assert future.result() == [(0, 2), (1, 4)]
        assert future.done()

    def test_progress(self, gated):
        future = gated.submit(n_tasks=10)
        progress = wait_until(lambda: (now := future.progress()).map_total and now, "the job is planned")
        assert (progress.phase, progress.map_done, progress.map_total) == ("map", 0, 10)
        gated.open()
        future.result()
        progress = future.progress()
        assert (progress.phase, progress.map_done) == ("succeeded", 10)
        assert progress.reduce_done == progress.reduce_total > 0

    def test_wait_and_as_completed(self, cluster):
        futures = [cluster.mapreduce(range(n), ones, sum) for n in range(1, 4)]
        done, not_done = concurrent.futures.wait(futures)
        assert (done, not_done) == (set(futures), set())
        assert {len(future.result()) for future in concurrent.futures.as_completed(futures)} == {1, 2, 3}

    def test_callback(self, cluster):
        results = []
        future = cluster.mapreduce([1], ones, sum)
        future.add_done_callback(lambda done: results.append(done.result()))
        wait_until(lambda: results == [[(1, 1)]], "the callback was called")

    def test_asyncio(self, cluster):
        async def main():
            jobs = [asyncio.wrap_future(cluster.mapreduce(range(n), ones, sum)) for n in (2, 3)]
            return [len(result) for result in await asyncio.gather(*jobs)]

        assert asyncio.run(main()) == [2, 3]


class TestCancel:
    def test_a_running_job(self, cluster, gated):
        future = gated.submit()
        wait_until(lambda: outcomes(cluster, future), "a task was launched")
        assert future.cancel()
        assert future.cancelled()
        with pytest.raises(concurrent.futures.CancelledError):
            future.result()
        wait_until(lambda: future.progress().phase == "cancelled", "the cluster knows")
        assert "committed" not in outcomes(cluster, future)

    def test_its_workers_are_free_again(self, cluster, gated):
        assert gated.submit(n_tasks=20).cancel()
        assert run(cluster, FRUITS, ones, sum) == reference(FRUITS, ones, sum)

    def test_an_ended_job(self, cluster):
        future = cluster.mapreduce([1], ones, sum)
        result = future.result()
        assert not future.cancel()
        assert future.result() == result


class TestAttach:
    def test_to_a_running_and_to_an_ended_job(self, cluster, gated):
        future = gated.submit()
        attached = cluster.attach(future.job_id)
        assert attached.job_id == future.job_id
        assert not attached.done()
        gated.open()
        assert attached.result() == future.result()
        assert cluster.attach(future.job_id).result() == future.result()

    def test_to_a_failed_job(self, cluster):
        future = cluster.mapreduce([1], lambda data: 1 / 0, sum)
        with pytest.raises(mapreduce.UserCodeError):
            future.result()
        with pytest.raises(mapreduce.UserCodeError) as caught:
            cluster.attach(future.job_id).result()
        assert isinstance(caught.value.__cause__, ZeroDivisionError)

    def test_a_job_of_another_process(self, new_cluster, tmp_path, environment):
        cluster = new_cluster(directory=tmp_path / "cluster")
        script = f"""if True:
            import mapreduce
            cluster = mapreduce.LocalCluster(
                mapreduce.Auth("admin", "admin"), initialize=False, directory={str(cluster.directory)!r}
            )
            print(cluster.mapreduce([1, 2, 2], lambda data: [(n, 1) for n in data], sum).job_id)
        """
        job_id = run_python("-c", script, env=environment).strip()
        assert cluster.attach(job_id).result() == [(1, 1), (2, 2)]


def test_clear_removes_ended_jobs_and_nothing_else(cluster, gated):
    ended = cluster.mapreduce([1], ones, sum)
    assert ended.result() == [(1, 1)]
    running = gated.submit()
    jobs = cluster.directory / "storage" / "jobs"
    assert (jobs / ended.job_id).exists()
    cluster.clear()
    assert not (jobs / ended.job_id).exists()
    with pytest.raises(mapreduce.MapReduceError, match=ended.job_id):
        cluster.attach(ended.job_id).result()
    gated.open()
    assert running.result() == [(0, 2), (1, 4)]
