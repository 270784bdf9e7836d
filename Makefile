# Every target sets up .venv first; that is instant once it is complete.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON := .venv/bin/python
COMPILE := .venv/bin/uv pip compile --quiet --upgrade --generate-hashes --no-header --no-annotate --python-version 3.11 \
	--python-platform x86_64-manylinux_2_28
ARGS ?=
SPLIT ?= test
SEED ?= 0
COUNT ?= 100
# Where this is set, each of the many processes that a service or a test starts compiles all that it imports anew.
export PYTHONDONTWRITEBYTECODE =

.PHONY: help setup demo up evaluate test test-slow lint typecheck format lock clean

help: ## Show the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 12

setup: ## Make .venv from the lock files
	@python3 deploy/setup_venv.py

demo: setup ## Annotate the sample images on a real stack, then stop it (ARGS="--help" for options)
	@.venv/bin/glamm demo $(ARGS)

up: setup ## Run the whole service until Ctrl-C (ARGS="--data DIR --port 8000")
	@.venv/bin/glamm up $(ARGS)

evaluate: setup ## Measure the model on held-out scenes (SEED=0 COUNT=100 SPLIT=test|compositional ARGS="--checkpoint DIR")
	@.venv/bin/glamm evaluate scenes --split $(SPLIT) --seed $(SEED) --count $(COUNT) $(ARGS)

# Two processes, each with servers of its own; one thread each for sums, as there are two cores where least is to be had.
test: setup ## Run the tests (ARGS="-k name", or "-n 0" for one process)
	@OMP_NUM_THREADS=1 $(PYTHON) -m pytest -m "not slow" -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

test-slow: setup ## Run the tests that take minutes
	@$(PYTHON) -m pytest -m slow $(ARGS)

lint: setup ## Check style and formatting
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .

typecheck: setup ## Check types
	@$(PYTHON) -m mypy

format: setup ## Format the code
	@.venv/bin/ruff check --fix .
	@.venv/bin/ruff format .

lock: setup ## Compile the lock files anew from pyproject.toml
	@$(COMPILE) --all-extras --constraints locks/constraints.in pyproject.toml --output-file locks/dev.lock
	@$(COMPILE) --constraints locks/dev.lock pyproject.toml --output-file locks/service.lock
	@$(COMPILE) --constraints locks/dev.lock --extra model pyproject.toml --output-file locks/worker.lock
	@$(COMPILE) --constraints locks/dev.lock locks/build.in --output-file locks/build.lock

clean: ## Remove caches, build output and what the demo and evaluations wrote
	@rm -rf build dist out data/demo data/evaluate .mypy_cache .pytest_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -not -path './.venv/*' -prune -exec rm -rf {} +
