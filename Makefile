# The whole set-up and every check. `make demo` and `make test` need nothing but Python 3.10+, cargo and a C
# compiler, and the tests what README.md says; everything Python goes into .venv, everything Rust into ./target (or
# CARGO_TARGET_DIR), HDFS's jars too.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.PHONY: build images demo demo-containers test test-rust test-python lint style sim kill-points fuzz sanitize mutants storm hosts power-cuts waste scale scale-zookeeper bench bench-stores bench-instructions clean

# What is passed on to a benchmark.
ARGS ?=

PYTHON ?= python3
VENV := $(CURDIR)/.venv
PIP := $(VENV)/bin/python -m pip --disable-pip-version-check --quiet
export PATH := $(VENV)/bin:$(PATH):$(HOME)/.cargo/bin
# PyO3 builds against the environment's own interpreter; naming it here keeps cargo from building twice.
export PYO3_PYTHON := $(VENV)/bin/python

# What goes into the installed package: when none of it is newer than the stamp, there is nothing to do.
SOURCES := Cargo.toml Cargo.lock pyproject.toml \
	$(shell find crates python/mapreduce -type f -not -name '*.pyc')

build: $(VENV)/.installed

$(VENV)/.tools: constraints.txt
	@command -v cargo >/dev/null || { echo >&2 "make: cargo not found: install Rust from https://rustup.rs, then run make again"; exit 1; }
	@command -v cc >/dev/null || { echo >&2 "make: no C compiler found: install gcc or clang (Debian: apt install build-essential)"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo >&2 "make: $(PYTHON) is not Python 3.10 or later: run make PYTHON=/path/to/python3.10"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo >&2 "make: $(PYTHON) can't make virtual environments (Debian: apt install python3-venv)"; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	$(PIP) install -c constraints.txt pip
	$(PIP) install -c constraints.txt setuptools setuptools-rust
	touch $@

# The stamp is as old as the build's beginning: what changes meanwhile is built next time.
$(VENV)/.installed: $(VENV)/.tools $(SOURCES)
	touch $@.began
	rm -rf build
	cargo build --release --locked -p mapreduce -p mapreduce-python
	$(PIP) install -c constraints.txt --no-build-isolation '.[dev]'
	mv $@.began $@

# The images of deploy/docker, for containers: of this build, and of the Python that runs here.
HADOOP_JARS := $(or $(CARGO_TARGET_DIR),target)/tmp/hadoop-2.7.3-jars
images: build $(HADOOP_JARS)
	rm -rf target/wheels
	$(PIP) wheel -c constraints.txt --no-build-isolation --wheel-dir target/wheels .
	PYTHON=python deploy/docker/images.sh target/wheels $(HADOOP_JARS)

$(HADOOP_JARS):
	$(PYTHON) crates/servers/src/hadoop_jars.py $@

demo: build
	python examples/demo.py

# The same with every process in a container of its own.
demo-containers: images
	MAPREDUCE_BACKEND=compose python examples/demo.py

# Most tests wait most of the time. So those in Rust are built and run beside those in Python, to which a compiler leaves
# the processor; what they print comes when they have ended. (Cargo would take make's two jobs for its own.)
#
# Clippy's driver is a compiler, too. With CLIPPY=1 it compiles the tests, and what else there is to lint, and its warnings
# are errors: `make style test CLIPPY=1` is `make lint test` with one compilation instead of two.
ifdef CLIPPY
CARGO_TEST := RUSTC_WORKSPACE_WRAPPER=clippy-driver CLIPPY_ARGS=-Dwarnings cargo test --locked --workspace
LINTED := --all-targets
else
CARGO_TEST := cargo test --locked --workspace --exclude mapreduce-python
endif
TEST_RUST_LOG := $(or $(CARGO_TARGET_DIR),target)/test-rust.log
test: build
	@$(MAKE) --no-print-directory --keep-going --jobs=2 test-rust test-python

test-rust: build
	@unset MAKEFLAGS MFLAGS; (nice env $(CARGO_TEST) $(LINTED) --no-run && $(CARGO_TEST)) >$(TEST_RUST_LOG) 2>&1 && ended=0 || ended=$$?; \
	cat $(TEST_RUST_LOG); exit $$ended

test-python: build
	python -m pytest

# Random storms, one after the other: make storm RUNS=200 [SEED=1000]. With a seed, the same ones again. ON="zookeeper hdfs"
# plays them on real servers, which it starts: zookeeper or etcd, hdfs or s3, or one of each.
RUNS ?= 20
storm: build
	cd python/tests && python -m storms --runs $(RUNS) $(if $(SEED),--seed $(SEED)) $(if $(ON),--on $(ON))

# Networks that are cut in the middle of a job, between hosts that are network namespaces: needs root, ip and iptables.
hosts: build
	python -m pytest python/tests/hosts/partitions.py

# Machines that lose their power, on a real file system: a part of `make test`, which skips it where it can't be had.
power-cuts: build
	python -m pytest python/tests/test_power_cuts.py

# What deaths cost in time and work, beside jobs without any.
waste: build
	python benches/waste.py $(ARGS)

# How a master bears up to 1,000,000 tasks and 10,000 workers; ARGS=100000 for fewer tasks.
scale:
	cargo run --release --locked -p mapreduce-master --example scale -- $(ARGS)

# The same with real processes and connections, and a real ZooKeeper: 100,000 tasks on 200 workers. ARGS="1000 20" for
# fewer of both. Needs what the tests of ZooKeeper need, some 20 GiB of memory, and TMPDIR=/dev/shm for files without a disk.
scale-zookeeper:
	cargo run --release --locked -p mapreduce --example zookeeper_scale -- $(ARGS)

lint: style
	cargo clippy --locked --workspace --all-targets -- -D warnings

style: build
	cargo fmt --all --check
	ruff check .
	ruff format --check .
	mypy

# Worlds of the simulation, each drawn from a seed: SEEDS=n of them, beginning with FROM. `make test` runs the first 1000.
SEEDS ?= 100000
FROM ?= 0
sim:
	cargo run --release --locked -p mapreduce-sim -- seeds $(SEEDS) --from $(FROM)

# A process killed at every pair of calls to coordination, storage and network. `make test` does every single call.
kill-points:
	cargo run --release --locked -p mapreduce-sim -- kill-points --pairs

# Every decoder of bytes from outside, fed with any bytes, one target after the other: make fuzz SECONDS=600
# [TARGETS="keys wire"]. What it finds beyond the kept corpus stays in fuzz/found, crashes in fuzz/artifacts. zstd's
# largest window takes 128 MiB at once, anything else 64 at most.
SECONDS ?= 60
TARGETS ?= $(patsubst fuzz/fuzz_targets/%.rs,%,$(wildcard fuzz/fuzz_targets/*.rs))
fuzz:
	@cargo +nightly --version >/dev/null 2>&1 || { echo >&2 "make: fuzzing needs a nightly compiler: rustup toolchain install nightly"; exit 1; }
	@cargo +nightly fuzz --version >/dev/null 2>&1 || { echo >&2 "make: cargo-fuzz not found: cargo install cargo-fuzz --locked"; exit 1; }
	cargo +nightly fuzz build -O -a
	for target in $(TARGETS); do \
		echo "== $$target"; mkdir -p fuzz/found/$$target; \
		cargo +nightly fuzz run -O -a $$target fuzz/found/$$target fuzz/corpus/$$target -- -max_total_time=$(SECONDS) \
			-max_len=4096 -timeout=20 -rss_limit_mb=1024 -malloc_limit_mb=$$([ $$target = compressed ] && echo 160 || echo 64) \
			-print_final_stats=1 -verbosity=0; \
	done

# The simulation under AddressSanitizer: its coroutines are what is unsafe and could be wrong in memory. The sanitizer's
# copies of their stacks, which it never frees, would take gigabytes.
sanitize:
	@cargo +nightly --version >/dev/null 2>&1 || { echo >&2 "make: the sanitizer needs a nightly compiler: rustup toolchain install nightly"; exit 1; }
	ASAN_OPTIONS=detect_stack_use_after_return=0 RUSTFLAGS=-Zsanitizer=address cargo +nightly test --locked --target $$(rustc -vV | sed -n 's/^host: //p') \
		-p mapreduce-sim --features corosensei/sanitizer --test simulation --test kill_points

# Deliberate mistakes, one at a time, and which test notices.
mutants: $(VENV)/.tools
	$(PYTHON) crates/sim/mutants/run.py $(ARGS)

# Times beside other systems; ARGS="--help" tells of the options. Whatever the environment says, bytecode is written: a
# job's executors import its functions anew.
bench: build
	cargo build --release --locked -p mapreduce -p mapreduce-python --examples
	PYTHONDONTWRITEBYTECODE= python benches/bench.py $(ARGS)

# Jobs on a real ZooKeeper and HDFS, and over files there; needs what their tests need.
bench-stores: build
	cargo build --release --locked -p mapreduce -p mapreduce-python --examples
	python benches/stores.py $(ARGS)

# Instructions of the engine's hot loops, against a baseline; ARGS=--update makes a new one. The packages are those of
# the build, so that nothing is built twice.
bench-instructions: $(VENV)/.tools
	@command -v valgrind >/dev/null || { echo >&2 "make: valgrind not found: install it (Debian: apt install valgrind), then run make again"; exit 1; }
	cargo bench --locked -p mapreduce -p mapreduce-python -p mapreduce-executor --bench instructions -- $(ARGS)

clean:
	rm -rf $(VENV) build python/*.egg-info target
