# Every target sets itself up in .venv. Overrides:
#   make setup WHEELS=cuda          CPU or CUDA builds of torch (default: by whether nvidia-smi is here)
#   make setup PYTHON=python3.12    another interpreter
#   make setup VENV_FLAGS=--system-site-packages    use the torch that the box has
#   make setup PIP_FLAGS="--extra-index-url URL"    another index, such as PyTorch's own of CPU builds

PYTHON ?= python3
WHEELS ?= $(if $(shell command -v nvidia-smi),cuda,cpu)
VENV_FLAGS ?=
PIP_FLAGS ?=
BIN := .venv/bin
CONSTRAINTS := -c requirements/locked.txt -c requirements/$(WHEELS).txt
SPEC := experiments/quickstart.yaml
WORKERS ?= 2
N ?= 100
SEED ?= 0
FAULTS ?=

.PHONY: quickstart setup setup-dev setup-peers test test-slow test-gpu faults cold-starts cold-sweeps check lock clean

quickstart: setup
	$(BIN)/clipexp data prepare $(SPEC)
	$(BIN)/clipexp run $(SPEC)
	$(BIN)/clipexp report quickstart --name quickstart
	@echo
	@echo "Now: read reports/quickstart/report.md, and open the run in MLflow: $(BIN)/clipexp ui"

setup: .venv/installed-$(WHEELS)
setup-dev: .venv/installed-dev-$(WHEELS)

.venv/bin/python:
	@$(PYTHON) -c 'import sys; ok = (3, 11) <= sys.version_info[:2] <= (3, 13); sys.exit(0 if ok else "clipexp needs Python 3.11 to 3.13, $(PYTHON) is " + sys.version.split()[0] + "; try: make setup PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV_FLAGS) .venv

.venv/installed-$(WHEELS): pyproject.toml requirements/locked.txt requirements/$(WHEELS).txt | .venv/bin/python
	@echo "installing into .venv ($(WHEELS) wheels; some 2 minutes) ..."
	$(BIN)/pip install --quiet --disable-pip-version-check $(PIP_FLAGS) $(CONSTRAINTS) -e .
	@touch $@

.venv/installed-dev-$(WHEELS): .venv/installed-$(WHEELS)
	$(BIN)/pip install --quiet --disable-pip-version-check $(PIP_FLAGS) $(CONSTRAINTS) -e ".[dev]"
	@touch $@

# The loaders that benchmarks/loader.py measures beside ours
setup-peers: .venv-peers/installed

.venv-peers/installed: requirements/peers.txt
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/pip install --quiet --disable-pip-version-check $(PIP_FLAGS) -r requirements/peers.txt
	@touch $@

test: setup-dev
	$(BIN)/python -m pytest -n $(WORKERS) -m "not slow and not gpu"

test-slow: setup-dev
	$(BIN)/python -m pytest -n $(WORKERS) -m "slow and not gpu"

# N random faults against real runs, from SEED on; FAULTS="--json FILE" and the like are passed on
faults: setup-dev
	$(BIN)/python -m tests.faults --times $(N) --seed $(SEED) $(FAULTS)

# N times 8 processes that start at the same moment on an empty folder
cold-starts: setup-dev
	$(BIN)/python -m tests.faults.cold_starts --times $(N)

# N times a sweep of 8 workers in an empty folder, with the journal and with PostgreSQL
cold-sweeps: setup-dev
	$(BIN)/python -m tests.study.cold_sweeps --times $(N)

test-gpu: setup-dev
	$(BIN)/python -m pytest -m gpu

check: setup-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/mypy
	$(MAKE) test

lock: setup-dev
	$(BIN)/python requirements/lock.py

clean:
	rm -rf .venv build *.egg-info
