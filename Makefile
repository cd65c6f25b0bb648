# Needs make, Python >= 3.11 and a package registry; everything else goes into .venv.
PYTHON ?= python3
PYTHON_NEWEST ?= python3.13
VENV ?= .venv
NEWEST := .venv-newest
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --constraint constraints.txt
# One line instead of a traceback from deep inside a package that the interpreter is too old for.
NEW_ENOUGH := import sys; sys.exit(None if sys.version_info >= (3, 11) else \
	"make: Python 3.11 or newer is needed, this is " + sys.version.split()[0] + ": make PYTHON=python3.12")

.PHONY: quickstart test test-all test-newest check bench clean

quickstart: $(VENV)/.base  ## train on the embedded corpus, probe it, write the report
	$(BIN)/python -m launch.quickstart

test: $(VENV)/.dev  ## the suite; the slow tests and those against peers are left out
	$(BIN)/python -m pytest -q

test-all: $(VENV)/.dev  ## every test
	$(BIN)/python -m pytest -q -m ""

check: $(VENV)/.dev  ## style, formatting, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python

bench: $(VENV)/.dev  ## speed beside peers; wants a quiet machine
	$(BIN)/python benchmarks/train_step.py
	$(BIN)/python benchmarks/sample.py

test-newest:  ## the suite on another interpreter with the newest release of every dependency
	@if $(PYTHON_NEWEST) -c '' 2>/dev/null; then \
		$(MAKE) --no-print-directory $(NEWEST)/.dev && $(NEWEST)/bin/python -m pytest -q; \
	else \
		echo "test-newest skipped: no $(PYTHON_NEWEST) here (PYTHON_NEWEST=... names another)"; \
	fi

clean:  ## what make built; trained models in runs/ stay
	rm -rf $(VENV) $(NEWEST) build dist *.egg-info .pytest_cache .ruff_cache .hypothesis

$(BIN)/python:
	@$(PYTHON) -c '$(NEW_ENOUGH)'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.base: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) --editable .
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) --editable ".[dev]"
	@touch $@ $(VENV)/.base

$(NEWEST)/.dev: pyproject.toml
	$(PYTHON_NEWEST) -m venv $(NEWEST)
	$(NEWEST)/bin/python -m pip install --quiet --upgrade --editable ".[dev]"
	@touch $@
