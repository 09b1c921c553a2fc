# The project's commands; `make help` lists them. The first one to run makes the environment.
#
# PYTHON=python3.13 make test    uses another Python, in an environment of its own.

EXTRAS := test,examples,docs,dev

ifeq ($(origin PYTHON), undefined)
PYTHON := python3
VENV := .venv
else
VENV := .venv-$(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
endif

BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
BENCH := $(VENV)/.installed-bench
# Of its own: beside JAX's plugins for a GPU and a TPU, other tests would look for these.
DEVICES := .venv-devices
# One test process a core, but not more than memory bears.
PYTEST := $(BIN)/python -m pytest -n auto --maxprocesses 8
# Compiled programs, small ones too, are kept for the next run: the same tests again take half as long.
KEEP := JAX_COMPILATION_CACHE_DIR=.pytest_cache/jax JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS=0

.DEFAULT_GOAL := help
.PHONY: help install demo test quick compiler devices check lint types docs bench format clean

help:  ## list these commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' Makefile

demo: $(INSTALLED)  ## train LeNet on handwritten digits; pictures and a comparison go to demo/
	@$(BIN)/python examples/lenet_mnist.py --epochs 4 --out demo
	@$(BIN)/python -m jnn report --quick --out demo
	@echo "In $(CURDIR)/demo: lenet_mnist.png, and report.html to open in a browser."

test: $(INSTALLED)  ## run all tests
	$(PYTEST) --durations=20

quick: $(INSTALLED)  ## the fast tests of rules, layers and solvers: for another Python and JAX
	$(PYTEST) -m "not slow" $(addprefix tests/,xla rules layers linesearch optim solve train)

compiler: $(INSTALLED)  ## tests of what the compiler decides, as it is where nobody hurries it
	JAX_DISABLE_MOST_OPTIMIZATIONS=0 $(PYTEST) -m compiler

devices: $(DEVICES)/.installed  ## what rules and networks take on a GPU that is not here; Python 3.12
	JAX_PLATFORMS=cpu JAX_DISABLE_MOST_OPTIMIZATIONS=0 $(DEVICES)/bin/python -m pytest -n auto \
	  --maxprocesses 4 -rs tests/xla/test_devices.py tests/xla/test_absent.py

check: lint types  ## format, lint, types and the fast tests
	$(KEEP) $(PYTEST) -m "not slow"

lint: $(INSTALLED)  ## only format and lint
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(INSTALLED)  ## only types
	$(BIN)/pyright --pythonpath $(BIN)/python

docs: $(INSTALLED)  ## guide and reference as web pages, in build/docs/
	$(BIN)/python -m docs.site build/docs

bench: $(BENCH)  ## measure; the tables go to benchmarks/results/
	$(BIN)/python -m benchmarks.rules
	$(BIN)/python -m benchmarks.mlp
	$(BIN)/python -m benchmarks.fused
	$(BIN)/python -m benchmarks.modern
	$(BIN)/python -m benchmarks.networks
	$(BIN)/python -m benchmarks.cnn
	$(BIN)/python -m benchmarks.conv
	$(BIN)/python -m benchmarks.maps
	$(BIN)/python -m benchmarks.training
	$(BIN)/python -m benchmarks.first_step
	$(BIN)/python -m benchmarks.update
	$(BIN)/python -m benchmarks.integrators
	$(BIN)/python -m benchmarks.solvers
	$(BIN)/python -m benchmarks.lbfgs
	$(BIN)/python -m benchmarks.least_squares
	$(BIN)/python -m benchmarks.ideas

format: $(INSTALLED)  ## put the code in its format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

install: $(INSTALLED)  ## only make the environment

clean:  ## remove what the commands above made, the environment included
	rm -rf .venv .venv-* build dist demo *.egg-info .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(INSTALLED): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo \
	  "jnn needs Python 3.11 or newer, and $(PYTHON) is not. Name one: make PYTHON=python3.12 ..." \
	  >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo \
	  "$(PYTHON) lacks the venv module. On Debian and Ubuntu: apt install python3-venv" \
	  >&2; exit 1; }
	@test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV): once, a minute or two."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$(EXTRAS)]'
	@touch $@

$(BENCH): $(INSTALLED)
	@echo "Installing what the benchmarks compare with: once."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[bench]'
	@touch $@

$(DEVICES)/.installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 12))' || { echo \
	  "XLA's compilers for other devices need Python 3.12: make PYTHON=python3.13 devices" >&2; exit 1; }
	@test -x $(DEVICES)/bin/pip || $(PYTHON) -m venv $(DEVICES)
	@echo "Installing into $(DEVICES): once, a minute or two."
	@$(DEVICES)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[devices,test]'
	@touch $@
