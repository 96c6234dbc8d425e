# make demo   trains an agent on real demand and compares it with the classical policies
# make test   everything that CI runs: checks, the wheel from an empty folder, all tests
# make validate  recomputes every known answer and simulates it: docs/validation.md
# make optimality  trains learners where the optimum is known, some forty minutes: docs/optimality.md
# make headroom  evaluates rules and learners in every scenario against the bounds: docs/headroom_*.md
# make leaderboard  the boards' pages from their results; leaderboard-quick, page-check: see below
# make check  linters, formatter, types, spelling, tests
# Each target does its own set-up; Python 3.11 and make are all that must be there.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
WORKERS ?= 2
BIN := $(VENV)/bin
ROOT := $(CURDIR)

# One thread per process: small batches gain nothing from more, and test workers would fight.
export OMP_NUM_THREADS ?= 1
export MKL_NUM_THREADS ?= 1
export OPENBLAS_NUM_THREADS ?= 1
export PIP_DISABLE_PIP_VERSION_CHECK ?= 1

PIP_INSTALL = $(BIN)/python -m pip install --quiet --constraint constraints.txt

.DEFAULT_GOAL := test
.DELETE_ON_ERROR:
.PHONY: venv install demo check lint format wheel wheel-test test benchmark validate optimality headroom leaderboard leaderboard-quick page-check clean

venv: $(VENV)/.dev

install: $(VENV)/.core

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "stockyard needs Python 3.11 or newer; say which with PYTHON=")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.core: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP_INSTALL) --editable .
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP_INSTALL) --editable '.[dev]'
	@touch $@ $(VENV)/.core

demo: $(VENV)/.core
	$(BIN)/python -m stockyard.scripts.demo

# Linters, formatter, types, spelling and all tests: everything but the wheel.
check: lint
	$(BIN)/python -m pytest -n $(WORKERS)

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/codespell

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The wheel goes into an environment of its own, which borrows the dependencies of the first one
# through a .pth file: nothing is downloaded twice, and the checkout stays out of sight. pytest runs
# in an empty folder, so only the installed files can be imported.
wheel: $(VENV)/.dev
	rm -rf build *.egg-info
	$(BIN)/python -m build --wheel --no-isolation --outdir build/wheel . > $(VENV)/build.log || { cat $(VENV)/build.log; exit 1; }

wheel-test: wheel
	$(BIN)/python -m venv --clear --without-pip build/venv
	$(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' \
	  > "$$(build/venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/dependencies.pth"
	$(BIN)/python -m pip --python build/venv/bin/python install --quiet --no-deps --force-reinstall build/wheel/*.whl
	rm -rf build/empty && mkdir -p build/empty
	cd build/empty && $(ROOT)/build/venv/bin/python -c 'import stockyard.envs as e; assert "site-packages" in e.__file__, e.__file__'
	cd build/empty && $(ROOT)/build/venv/bin/python -m pytest -c $(ROOT)/pyproject.toml --rootdir $(ROOT) \
	  -p no:cacheprovider -q -m wheel $(ROOT)/tests

# pytest comes last, so that its summary is the last line.
test: lint wheel-test
	@$(BIN)/python -m pytest -n $(WORKERS)

benchmark: $(VENV)/.core
	$(BIN)/python -m stockyard.scripts.benchmark

# Every known answer, recomputed and simulated; the same command goes on where it was interrupted.
validate: $(VENV)/.core
	$(BIN)/python -m stockyard.scripts.validate output=docs/validation.json workers=$(WORKERS)

# Learners against exact optima; the same command goes on where it was interrupted. The page's times
# are those of two processes side by side.
optimality: $(VENV)/.core
	$(BIN)/python -m stockyard.scripts.optimality page=docs/optimality.md workers=2

# Everybody in every scenario, from tuned parameters, weights and bounds that come with the code; the
# same command goes on where it was interrupted.
headroom: $(VENV)/.core
	for contest in replenishment placement restock_caps restock_price restock_auction restock_hybrid truck_fill truck_couplings; do \
	  $(BIN)/python -m stockyard.scripts.headroom task=$$contest page=docs/headroom_$$contest.md workers=2 || exit 1; done
	$(BIN)/python -m stockyard.scripts.headroom task=restock_caps stage=frontier page=docs/frontier_restock_limits.md
	$(BIN)/python -m stockyard.scripts.headroom task=truck_fill stage=frontier page=docs/frontier_truck_fill.md

# The boards' pages from their committed results; and the quick benchmark, evaluated anew.
leaderboard: $(VENV)/.core
	for results in docs/leaderboard/*/results.json; do \
	  $(BIN)/python -m stockyard.scripts.leaderboard page results=$$(dirname $$results) || exit 1; done

leaderboard-quick: $(VENV)/.core
	$(BIN)/python -m stockyard.scripts.leaderboard run benchmark=quick workers=$(WORKERS)

# Needs Chromium and its driver.
page-check: $(VENV)/.core
	$(PIP_INSTALL) --editable '.[page]'
	$(BIN)/python -m stockyard.scripts.page_check docs/leaderboard/*/index.html

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
