# hpcjobs: `make help` lists what there is.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
SHELL_SCRIPTS := examples/aws-parallelcluster/enable-pyxis.sh examples/aws-parallelcluster/install-apptainer.sh demo/run .ci/run hpcjobs/mpi/canary/build $(addprefix tests/cluster/,install slurm image images apptainer lmod podman podman-hpc-setup registry mpi mpi-tree mpi-images mpi-slurm)

.PHONY: help venv demo demo-down test check bench clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 20

venv: $(STAMP) ## make .venv with the project in it

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo 'hpcjobs needs Python 3.10 or later: make PYTHON=/path/to/python3 ...' >&2; exit 1; }
	@# Debian's python3 comes without ensurepip.
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    apt-get -qq update; \
	    DEBIAN_FRONTEND=noninteractive apt-get -qq install --yes --no-install-recommends python3-venv >/dev/null; \
	  else \
	    echo 'this Python cannot make a virtual environment: install python3-venv' >&2; exit 1; \
	  fi
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $(STAMP)

demo: $(STAMP) ## a job on a real four-node Slurm of your own (root), else on this machine
	demo/run

demo-down: ## stop what the demo started
	demo/run down

test: $(STAMP) ## all tests; as root with a real Slurm, started and stopped
	tests/run

check: $(STAMP) ## lint, types, layers, shell scripts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	@if command -v shellcheck >/dev/null; then shellcheck $(SHELL_SCRIPTS) tests/run; else \
	  echo 'shellcheck is not installed: the shell scripts are NOT CHECKED (tests/cluster/install brings it)' >&2; \
	  test -z "$$CI"; fi

bench: $(STAMP) ## the numbers that this project promises
	$(BIN)/python benchmarks/run.py
	$(BIN)/python -m benchmarks.images
	$(BIN)/python -m benchmarks.mpi
	$(BIN)/python -m benchmarks.sweep
	$(BIN)/python -m benchmarks.sweep_packing
	$(BIN)/python -m benchmarks.prompt

clean: ## remove what was made here
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis .coverage dist build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
