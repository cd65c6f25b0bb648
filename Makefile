# Needs make, Python >= 3.11 and a package registry; everything else goes into .venv.
PYTHON ?= python3
PYTHON_NEWEST ?= python3.13
VENV ?= .venv
NEWEST := .venv-newest
AOT := .aot
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --constraint constraints.txt
# One line instead of a traceback from deep inside a package that the interpreter is too old for.
NEW_ENOUGH := import sys; sys.exit(None if sys.version_info >= (3, 11) else \
	"make: Python 3.11 or newer is needed, this is " + sys.version.split()[0] + ": make PYTHON=python3.12")

.PHONY: quickstart test test-all test-aot test-peers test-newest check bench clean

quickstart: $(VENV)/.base  ## train on the embedded corpus, probe it, write the report
	$(BIN)/python -m launch.quickstart

test: $(VENV)/.dev  ## the suite without its slow tests; those against peers skip where these are not
	$(BIN)/python -m pytest -q

test-all: $(VENV)/.dev  ## every test; those that lack something here skip
	$(BIN)/python -m pytest -q -m ""

ifneq ($(filter Linux-x86_64 Linux-aarch64,$(shell uname -s)-$(shell uname -m)),)
test-aot: $(AOT)/.installed  ## what is launched on an H100, compiled here; needs no GPU
	$(BIN)/python -m pytest -q -m aot tests/aot
else
test-aot:
	@echo "test-aot skipped: XLA's plugin for CUDA is made for Linux on x86_64 and aarch64"
endif

# The registry's torch for Linux brings CUDA, gigabytes of it, unless another one is there before:
# install PyTorch's own CPU build into .venv first where that matters.
test-peers: $(VENV)/.dev  ## cells and erasure beside the code of other projects
	$(INSTALL) --editable ".[dev,peers]"
	$(BIN)/python -m pytest -q -m peers

check: $(VENV)/.dev  ## style, formatting, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python

bench: $(VENV)/.dev  ## speed beside peers; wants a quiet machine
	$(BIN)/python benchmarks/train_step.py
	$(BIN)/python benchmarks/sample.py
	$(BIN)/python benchmarks/population.py
	$(BIN)/python benchmarks/loop.py
	$(BIN)/python benchmarks/accumulate.py
	$(BIN)/python benchmarks/growth.py

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
	rm -rf $(VENV) $(NEWEST) $(AOT) build dist *.egg-info .pytest_cache .ruff_cache .hypothesis

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

# XLA's plugin for CUDA, as new as the environment's jax: 400 MB, without CUDA itself. It has a
# folder of its own because JAX would take it, once in the environment, for a GPU that is broken.
$(AOT)/.installed: $(VENV)/.dev
	@jax=$$($(BIN)/python -c 'from importlib.metadata import version; print(version("jax"))') && \
	if [ "$$(cat $@ 2>/dev/null)" != "$$jax" ]; then \
		rm -rf $(AOT) && \
		said=$$($(BIN)/python -m pip install --quiet --no-deps --target $(AOT) \
			jax-cuda13-plugin==$$jax jax-cuda13-pjrt==$$jax 2>&1) || { \
			echo "make: no plugin for CUDA of jax $$jax can be installed: $${said##*ERROR: }"; \
			exit 1; }; \
	fi; \
	echo $$jax > $@
