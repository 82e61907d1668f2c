# Set-up, demo and tests, each by one command.

PYTHON ?= python3
# Passed to pip by `make setup`, such as an index to take torch from.
PIP_FLAGS ?=
# Passed to the benchmarks by `make bench` and `make bench-compare`.
BENCH_FLAGS ?=
# Passed to the pipeline of results by `make evidence`.
EVIDENCE_FLAGS ?=
# Passed to the mutation tests by `make mutate`.
MUTATE_FLAGS ?=

BIN := .venv/bin
STAMP := .venv/.installed
# One thread a process: pytest runs one process a core, and each file in one of them, which shares what its tests fit.
ONE_THREAD := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-web test-extras test-notebooks docs docs-links fuzz soak lint types mutate bench bench-quick bench-compare release-check evidence evidence-quick clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP) ## install the package and its tools into .venv

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "Expected Python >= 3.11; got $$($(PYTHON) --version 2>&1 | head -n 1)." \
			"Name another one: make PYTHON=python3.12" >&2; exit 1; }
	@echo "Setting up .venv, about a minute where the packages are near ..."
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_FLAGS) -c constraints.txt -e '.[test,geometry,images,parquet,explore,web]'
	@touch $(STAMP)

demo: $(STAMP) ## recover two small causal models from pairs, and show what was recovered
	$(BIN)/lcm reproduce demo

test: lint types ## lint, types, and all tests
	$(ONE_THREAD) $(BIN)/python -m pytest -n 2 --dist loadfile
	@$(BIN)/python tests/browser.py || true

test-web: $(STAMP) ## the tests of pages in a real browser, which `apt-get install chromium` gets
	@$(BIN)/python tests/browser.py
	$(ONE_THREAD) $(BIN)/python -m pytest tests/test_explore_browser.py tests/test_page_browser.py

test-extras: $(STAMP) ## install all extras, and run the tests that `make test` leaves out without them: Ray, PC, GES, LiNGAM, causal chambers
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_FLAGS) -c constraints.txt -e '.[test,geometry,images,parquet,discovery,consistency,ray,chamber]'
	$(ONE_THREAD) $(BIN)/python -m pytest tests/test_sweep_ray.py tests/test_sweep_table.py tests/test_graph_search_libraries.py tests/test_chamber.py tests/test_data_images_light_tunnel.py tests/test_decoder.py

test-notebooks: $(STAMP) ## run every notebook of docs/tutorial as it is, and say how long each takes
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_FLAGS) -c constraints.txt -e '.[test,docs,geometry]'
	PYTHONPATH=$(CURDIR) $(BIN)/python -m pytest docs/test_notebooks.py --durations=0

mutate: $(STAMP) ## see which wrong lines of the mathematics no test notices, for hours: MUTATE_FLAGS="--count 50"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_FLAGS) -c constraints.txt -e '.[mutation]'
	$(ONE_THREAD) $(BIN)/python -m tests.mutation $(MUTATE_FLAGS)

fuzz: $(STAMP) ## spoil N files of each kind, and keep in .fuzz/ those that are not refused in one line: make fuzz N=3000
	$(ONE_THREAD) PYTHONPATH=.:tests $(BIN)/python -m fuzz N=$(N) SEED=$(SEED) KINDS="$(KINDS)"

soak: $(STAMP) ## mutations, kills and races for a stated time: make soak MINUTES=30 OUT=soak.json
	$(ONE_THREAD) PYTHONPATH=$(CURDIR):$(CURDIR)/tests $(BIN)/python -m soak MINUTES=$(MINUTES) OUT=$(OUT)

docs: $(STAMP) ## build the site in docs/_build/html, its notebooks executed where they have changed; a warning is an error
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_FLAGS) -c constraints.txt -e '.[docs,geometry]'
	PYTHONPATH=$(CURDIR) $(ONE_THREAD) $(BIN)/python -m sphinx -q -E -a -W --keep-going -c docs . docs/_build/html
	@echo "docs/_build/html/index.html"

docs-links: docs ## ask every other host that a page of the site links to
	PYTHONPATH=$(CURDIR) $(BIN)/python -m sphinx -q -b linkcheck -c docs . docs/_build/links

evidence: $(STAMP) ## make all of results/ again that is missing or stale, and fill its numbers into the documents: EVIDENCE_FLAGS="--hours 2"
	PYTHONPATH=$(CURDIR) $(BIN)/python -m evidence $(EVIDENCE_FLAGS)
	PYTHONPATH=$(CURDIR) $(BIN)/python -m evidence --fill

evidence-quick: $(STAMP) ## run a small version of each experiment of the evidence, and leave results/ as it is
	PYTHONPATH=$(CURDIR) $(BIN)/python -m evidence --quick $(EVIDENCE_FLAGS)

lint: $(STAMP) ## check style and layout
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(STAMP) ## check types
	$(BIN)/mypy

bench: $(STAMP) ## time everything; BENCH_FLAGS=--quick for two
	$(BIN)/python -m benchmarks $(BENCH_FLAGS)

bench-quick: $(STAMP) ## time small sizes in two minutes, and print the ratios to those in results/; never fails
	@rm -f runs/benchmarks/quick.json
	-$(BIN)/python -m benchmarks --quick --out runs/benchmarks/quick.json
	-@$(BIN)/python -m benchmarks compare results/benchmarks/quick.json runs/benchmarks/quick.json --any-machine

bench-compare: $(STAMP) ## compare two runs of the benchmarks: make bench-compare A=FILE B=FILE
	@$(BIN)/python -m benchmarks compare $(A) $(B) $(BENCH_FLAGS)

release-check: ## build wheel and sdist, and try them in an empty environment of $(PYTHON): some minutes
	$(PYTHON) -m release --python "$$(command -v $(PYTHON))"

clean: ## remove the environment, caches and builds
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
