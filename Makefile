# All commands for people and build servers. Each target installs its own tools.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
FUZZ_SECONDS ?= 1800
PYTHONS ?= python3.12 python3.13
AUTOMATION ?= off
PIN := $(BIN)/uv pip compile --generate-hashes --universal --python-version 3.11 --no-strip-extras \
    --no-emit-index-url --no-emit-find-links --no-header --quiet
PEERS := $(patsubst benchmarks/peers/%.txt,.venv-bench/%/.ready,$(wildcard benchmarks/peers/*.txt))

.PHONY: demo test commands nightly fuzz check ui bench performance witness dist wheel matrix workers spark stores docs lock clean

demo: $(READY) ## archive thirty days of an emulated tenant with Dagster
	$(BIN)/hunting demo

test: $(READY) .node/.ready check ## run the tests, except the slow ones
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not slow"

commands: $(READY) .node/.ready ## run the slow tests: whole commands, all kinds of faults, Dagster's UI and its daemon
	$(BIN)/python -m pytest -n 2 --dist load -m slow

nightly: $(READY) .node/.ready ## run the long tests: thousands of random runs, kills at every step, many processes on one quota or lake
	HUNTING_LONG=1 HUNTING_CHAOS_EXAMPLES=3000 HUNTING_KILL_POINTS=0 \
	    $(BIN)/python -m pytest -n 2 --dist load tests/emulated/test_chaos.py tests/emulated/test_kill.py \
	    tests/emulated/test_quota.py tests/emulated/test_store_storm.py tests/unit/test_object_servers.py \
	    tests/ui/test_ui_text.py tests/emulated/test_faults_bounded.py

fuzz: .venv-fuzz/.ready ## compare decoding with its reference on hostile replies, for half an hour
	mkdir -p .fuzz/corpus .fuzz/found
	PYTHONPATH=tests/unit:. .venv-fuzz/bin/python tests/fuzz/seeds.py .fuzz/corpus
	NUMBA_DISABLE_JIT=1 PYTHONWARNINGS=ignore PYTHONPATH=tests/unit:. .venv-fuzz/bin/python tests/fuzz/fuzz_decode.py \
	    -max_total_time=$(FUZZ_SECONDS) -timeout=60 -rss_limit_mb=1024 -max_len=4096 -mutate_depth=3 \
	    -dict=tests/fuzz/tokens.dict -artifact_prefix=.fuzz/found/ -print_final_stats=1 .fuzz/corpus
	PYTHONPATH=tests/unit:. .venv-fuzz/bin/python tests/fuzz/fuzz_decode.py -runs=0 .fuzz/corpus

check: $(READY) ## check style, types and import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

ui: $(READY) ## start Dagster with an emulated tenant at http://localhost:3000; AUTOMATION=on starts its sensors
	mkdir -p .ui/dagster
	cp dagster.yaml .ui/dagster
	DAGSTER_HOME=$(CURDIR)/.ui/dagster $(BIN)/hunting emulate --home .ui \
	    --run "env HUNTING_AUTOMATION=$(AUTOMATION) $(BIN)/dagster dev -w workspace.yaml"

bench: $(READY) $(PEERS) ## run all benchmarks
	$(BIN)/python -m benchmarks

performance: $(READY) $(PEERS) ## measure again and write docs/performance.md
	$(BIN)/python -m benchmarks --docs dagster_overhead decode latency memory pull

witness: $(READY) .venv-witness/.ready ## compare the lake with the rows of msticpy, an independent client
	$(BIN)/python witness/compare.py

dist: .venv-wheel/.ready ## build the wheel
	rm -f dist/hunting_pipeline-*.whl
	.venv-wheel/bin/python -m pip wheel --quiet --no-deps --no-build-isolation -w dist .

wheel: dist ## build the wheel, and test it in a new environment of $(PYTHON) outside of this folder
	installed/run "$(PYTHON)" .venv-wheel/bin/uv

matrix: ## test the wheel and run the tests on the other Pythons
	for python in $(PYTHONS); do \
	    $(MAKE) wheel PYTHON=$$python && $(MAKE) test VENV=.venv-$$(basename $$python) PYTHON=$$python || exit 1; \
	done

workers: .venv-workers/.ready ## test two Celery workers with Postgres and Redis on this machine
	command -v redis-server >/dev/null || { test "$$(id -u)" = 0 && apt-get update -qq \
	    && apt-get install -qq --no-install-recommends redis-server >/dev/null; } \
	    || { echo "needs redis-server: apt-get install redis-server"; exit 1; }
	.venv-workers/bin/python -m pytest workers

spark: .venv-spark/.ready ## test that Spark reads a lake
	command -v java >/dev/null || { echo "needs java: apt-get install default-jre-headless"; exit 1; }
	.venv-spark/bin/python -m pytest tests/unit/test_lake_read.py tests/unit/test_lake_micros.py -k spark

stores: $(READY) .node/.ready .venv-duckdb/.ready ## run the tests of rows, calls and crashes in S3 and in Azure
	HUNTING_KILL_POINTS=24 $(BIN)/python -m pytest -n 2 --dist load --stores

docs: .venv-docs/.ready ## build the documentation as a site in .site, and check every link
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --strict --quiet

lock: $(READY) ## pin all dependencies again, for development and for the image
	$(BIN)/python -m pip install --quiet uv
	$(PIN) pyproject.toml --extra dev --upgrade -o requirements.lock
	$(PIN) pyproject.toml docs/deploy/requirements.txt --extra cloud --extra postgres -c requirements.lock --upgrade \
	    -o docs/deploy/requirements.lock
	echo hatchling | $(PIN) - -c requirements.lock --upgrade -o docs/deploy/build.lock
	echo mkdocs-material | $(PIN) - --upgrade -o docs/requirements.txt

clean:
	rm -rf .venv* .node .fuzz .demo .ui .emulated .site

$(READY): requirements.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	touch $@

.node/.ready: tests/object_servers/npm.txt # an Azure server for tests
	command -v npm >/dev/null || { echo "needs npm: apt-get install npm"; exit 1; }
	npm install --no-save --no-package-lock --ignore-scripts --no-audit --no-fund --loglevel=error --prefix .node \
	    $$(cat $<)
	touch $@

.venv-witness/.ready: witness/requirements.txt
	test -x .venv-witness/bin/python || $(PYTHON) -m venv .venv-witness
	.venv-witness/bin/python -m pip install --quiet -r witness/requirements.txt
	touch $@

.venv-wheel/.ready: docs/deploy/build.lock # tools only: they build the wheel and create its environment
	test -x .venv-wheel/bin/python || $(PYTHON) -m venv .venv-wheel
	.venv-wheel/bin/python -m pip install --quiet --require-hashes -r $<
	.venv-wheel/bin/python -m pip install --quiet uv
	touch $@

.venv-docs/.ready: docs/requirements.txt
	test -x .venv-docs/bin/python || $(PYTHON) -m venv .venv-docs
	.venv-docs/bin/python -m pip install --quiet --require-hashes -r $<
	touch $@

.venv-fuzz/.ready: tests/fuzz/requirements.txt
	test -x .venv-fuzz/bin/python || $(PYTHON) -m venv .venv-fuzz
	.venv-fuzz/bin/python -m pip install --quiet -r $<
	touch $@

.venv-bench/%/.ready: benchmarks/peers/%.txt
	test -x $(@D)/bin/python || $(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet -r $<
	touch $@

.venv-workers/.ready: requirements.lock docs/deploy/requirements.lock
	test -x .venv-workers/bin/python || $(PYTHON) -m venv .venv-workers
	.venv-workers/bin/python -m pip install --quiet --require-hashes -r requirements.lock
	.venv-workers/bin/python -m pip install --quiet --require-hashes -r docs/deploy/requirements.lock
	.venv-workers/bin/python -m pip install --quiet --no-deps --no-build-isolation -e .
	touch $@

.venv-spark/.ready: requirements.lock tests/unit/spark.txt
	test -x .venv-spark/bin/python || $(PYTHON) -m venv .venv-spark
	.venv-spark/bin/python -m pip install --quiet --require-hashes -r requirements.lock
	.venv-spark/bin/python -m pip install --quiet -r tests/unit/spark.txt
	.venv-spark/bin/python -m pip install --quiet --no-deps --no-build-isolation -e .
	touch $@

.venv-duckdb/.ready: tests/unit/duckdb.txt # DuckDB with extensions for object stores, which it cannot fetch everywhere
	test -x .venv-duckdb/bin/python || $(PYTHON) -m venv .venv-duckdb
	.venv-duckdb/bin/python -m pip install --quiet -r $<
	touch $@
