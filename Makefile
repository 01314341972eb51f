# `make demo` and `make test` only need Python 3.11 or newer and a package index.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
PYTHONS ?= 3.11 3.12 3.13 3.14
TOOLS = .venv-release
# Three test processes on two cores, because many tests wait
WORKERS ?= $(shell $(PYTHON) -c 'import os; print((os.cpu_count() or 2) * 3 // 2)')

.PHONY: demo test test-fast cov test-lowest matrix soak mutants lint types types-platforms bench bench-quick bench-long docs dist sbom audit prism lock clean

demo: $(VENV)/.cli
	$(BIN)/leadfeeder demo --out demo/visits.ndjson --overwrite

test: $(VENV)/.dev
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(ARGS)

test-fast: $(VENV)/.dev  ## run the tests without a marker: none that kills processes or starts Redis, a browser or the command
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m "not slow and not redis and not browser and not e2e" $(ARGS)

cov: $(VENV)/.dev  ## run all tests and measure branch coverage; fails below fail_under in pyproject.toml
	rm -f .coverage .coverage.*
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal --cov=leadfeeder_async $(ARGS)

matrix:  ## run all tests on every supported Python; each must be installed as python3.11, python3.12 and so on
	for version in $(PYTHONS); do \
		$(MAKE) test PYTHON=python$$version VENV=.venv-$$version || exit 1; \
	done

test-lowest: .venv-lowest/.done  ## run all tests with the lowest versions that pyproject.toml allows; ARGS selects tests
	.venv-lowest/bin/python -m pytest -n auto --dist worksteal --timeout 180 $(ARGS)  # DuckDB 1.2 is slow without numpy

soak: $(VENV)/.dev  ## run long tests: 5,000 fault schedules, killed exports, syncs, enrichments, watches and bulk changes, a million visits
	SOAK=1 $(BIN)/python -m pytest tests/core/test_random_fault_sequences.py tests/jobs/test_export_crash_recovery.py tests/jobs/test_export_memory.py tests/jobs/test_watch_soak.py tests/jobs/test_bulk_crash_recovery.py tests/cli/test_watch_command.py tests/jobs/sync/test_sync_crash_recovery.py tests/jobs/enrich/test_enrich.py tests/pagination/test_end_detection.py tests/conformance/test_prism_and_schemathesis.py $(ARGS)

mutants: $(VENV)/.dev  ## break the code in about 1,400 ways and list the changes that no test detects; up to an hour
	$(BIN)/python -m pip install --quiet --disable-pip-version-check mutmut==3.8.1
	HYPOTHESIS_PROFILE=mutants $(BIN)/mutmut run --max-children 1 $(ARGS)
	$(BIN)/mutmut results

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff check --preview --select PLW1514 . # files are opened with an encoding; Windows has another default
	$(BIN)/ruff format --check .
	$(BIN)/codespell
	$(BIN)/python -m tests.lint.english

types: $(VENV)/.dev
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python

types-platforms: $(VENV)/.dev  ## check the types for Windows and macOS
	$(BIN)/mypy --platform win32
	$(BIN)/mypy --platform darwin
	$(BIN)/pyright --pythonpath $(BIN)/python --pythonplatform Windows
	$(BIN)/pyright --pythonpath $(BIN)/python --pythonplatform Darwin

bench: build/bench/.installed  ## run all benchmarks and write benchmarks/results.*; 10 to 20 minutes; one generated client needs Java
	build/bench/bin/python -m benchmarks
	build/bench/bin/python -m benchmarks.long_jobs --visits 100000 --rounds 3 --write

bench-long: build/bench/.installed  ## the long jobs with 1,000,000 visits, into benchmarks/results.md; about five minutes
	build/bench/bin/python -m benchmarks.long_jobs --visits 1000000 --write

bench-quick: build/bench/.installed  ## run the benchmarks with fewer repetitions and print the results; under 3 minutes
	build/bench/bin/python -m benchmarks --quick

docs: $(VENV)/.dev  ## build the documentation and its generated reference
	$(BIN)/python -m tests.public.reference
	$(BIN)/zensical build --clean --strict

dist: $(TOOLS)/.done  ## build the wheel and the sdist
	rm -rf dist
	$(TOOLS)/bin/python -m build --no-isolation  # with the hatchling of the lock file

sbom: $(TOOLS)/.done  ## write the packages of an installed wheel with all extras as CycloneDX; needs `make dist`
	rm -rf build/sbom && $(PYTHON) -m venv --without-pip build/sbom
	$(TOOLS)/bin/python -m pip --python build/sbom/bin/python install --quiet --disable-pip-version-check "$$(ls dist/*.whl)[all]"
	$(TOOLS)/bin/cyclonedx-py environment --pyproject pyproject.toml --mc-type library --output-reproducible \
		--output-file build/sbom.cdx.json build/sbom/bin/python

audit: $(TOOLS)/.done  ## check the workflows
	$(TOOLS)/bin/zizmor --offline --persona=pedantic .github

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed: make PYTHON=python3.11") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.cli: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[cli,duckdb,report]'
	touch $@

$(VENV)/.dev: pyproject.toml requirements-dev.lock | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@ $(VENV)/.cli

$(TOOLS)/.done: requirements-release.lock  ## separate from .venv, so that builds do not depend on test tools
	$(PYTHON) -m venv $(TOOLS)
	$(TOOLS)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements-release.lock
	touch $@

.venv-lowest/.done: pyproject.toml  ## install the lowest direct versions of all extras, with current test tools
	$(PYTHON) -m venv .venv-lowest
	.venv-lowest/bin/python -m pip install --quiet --disable-pip-version-check uv
	.venv-lowest/bin/uv pip compile --quiet --resolution lowest-direct --all-extras --python .venv-lowest/bin/python \
		pyproject.toml --output-file .venv-lowest/requirements.txt
	.venv-lowest/bin/uv pip install --quiet --python .venv-lowest/bin/python --editable . \
		--requirement .venv-lowest/requirements.txt --group test
	touch $@

build/bench/.installed: pyproject.toml requirements-bench.lock
	$(PYTHON) -m venv build/bench
	build/bench/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements-bench.lock
	build/bench/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

prism:  ## install a mock server for tests/conformance/test_prism_and_schemathesis.py; needs Node.js
	npm install --no-package-lock --no-fund --no-audit --silent --prefix build/prism @stoplight/prism-cli@5

lock:  ## update the lock files; needs uv
	uv pip compile --universal --generate-hashes --python-version 3.11 --no-emit-index-url --quiet \
		--extra all --group dev pyproject.toml --output-file requirements-dev.lock
	uv pip compile --universal --generate-hashes --python-version 3.11 --no-emit-index-url --quiet \
		--group pyproject.toml:release --output-file requirements-release.lock
	uv pip compile --universal --generate-hashes --python-version 3.11 --no-emit-index-url --quiet \
		--constraint requirements-dev.lock --extra duckdb --extra parquet --extra report --group bench pyproject.toml \
		--output-file requirements-bench.lock

clean:
	rm -rf $(VENV) $(TOOLS) .venv-3.* .venv-lowest build demo dist mutants site .pytest_cache .mypy_cache .ruff_cache .hypothesis
