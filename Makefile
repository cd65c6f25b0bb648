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

.PHONY: quickstart test test-all test-peers test-newest check bench clean

quickstart: $(VENV)/.base  ## train on the embedded corpus, probe it, write the report
	$(BIN)/python -m launch.quickstart

test: $(VENV)/.dev  ## the suite without its slow tests; those against peers skip where these are not
	$(BIN)/python -m pytest -q

test-all: $(VENV)/.dev  ## every test
	$(BIN)/python -m pytest -q -m ""

# The registry's torch for Linux brings CUDA, gigabytes of it, unless another one is there before:
# .venv/bin/python -m pip install torch --index-url https://download.pytorch.org/whl/cpu
test-peers: $(VENV)/.dev  ## the cells beside those of other projects
	$(INSTALL) --editable ".[dev,peers]"
	$(BIN)/python -m pytest -q -m peers

check: $(VENV)/.dev  ## style, formatting, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python

bench: $(VENV)/.dev  ## speed beside peers; wants a quiet machine
	$(BIN)/python benchmarks/train_step.py
	$(BIN)/python benchmarks/sample.py

# Asked by running it: a name on the PATH may be a version manager's, with nothing behind it.
NEWEST_SAYS = $(shell $(PYTHON_NEWEST) -c 'print("runs")' 2>/dev/null)
ifeq ($(and $(filter test-newest,$(MAKECMDGOALS)),$(NEWEST_SAYS)),runs)
test-newest: $(NEWEST)/.dev  ## the suite on another interpreter, with the newest dependencies
	$(NEWEST)/bin/python -m pytest -q
else
test-newest:
	@echo "test-newest skipped: no $(PYTHON_NEWEST) here (PYTHON_NEWEST=... names another)"
endif

clean:  ## what make built; trained models in runs/ stay
	rm -rf $(VENV) $(NEWEST) build dist *.egg-info .pytest_cache .ruff_cache .hypothesis

# venv writes this when all else is done: an environment without it is half made, and is made again.
$(BIN)/activate:
	@$(PYTHON) -c '$(NEW_ENOUGH)'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.base: pyproject.toml constraints.txt | $(BIN)/activate
	$(INSTALL) --editable .
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/activate
	$(INSTALL) --editable ".[dev]"
	@touch $@ $(VENV)/.base

$(NEWEST)/.dev: pyproject.toml
	$(PYTHON_NEWEST) -m venv $(NEWEST)
	$(NEWEST)/bin/python -m pip install --quiet --upgrade --editable ".[dev]"
	@touch $@
