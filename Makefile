# Each target sets up what it needs in .venv, starting from Python 3.11 or newer alone; a second call is instant.
# Options for the command that a target runs go into ARGS: make test ARGS="-k cursor", make serve ARGS="--port 9000".

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
RUNTIME := $(VENV)/.runtime-installed
DEVELOPMENT := $(VENV)/.development-installed

MAX_LINES := 300
PART ?= streams

# The locks are made with 3.11, so it goes first. Candidates are run, not just found: a version manager's shim can
# stand on PATH for a Python that isn't there.
PYTHON ?= $(shell for python in python3.11 python3 python3.12 python3.13 python3.14; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)

# With no address in the output the locks serve any index or mirror; the hashes vouch for what it hands out.
LOCK = CUSTOM_COMPILE_COMMAND='make lock' $(BIN)/pip-compile --quiet --generate-hashes --strip-extras --allow-unsafe \
	--no-emit-index-url --no-emit-find-links --no-emit-trusted-host $(ARGS)

.PHONY: help install serve test chaos check format readme bench lock clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s  %s\n", $$1, $$2 }' Makefile

install: $(DEVELOPMENT) ## Set up .venv with the service and everything to develop it

serve: $(RUNTIME) ## Run the service (ARGS="--port 9000")
	$(BIN)/sse-hub serve $(ARGS)

test: $(DEVELOPMENT) ## Run the tests, two files at a time (ARGS="-k cursor"; ARGS="-n 0" for one at a time)
	$(BIN)/python -m pytest -n 2 --dist loadfile $(ARGS)

chaos: $(DEVELOPMENT) ## Run several nodes through all faults, at random and at length (ARGS="--seed 7")
	$(BIN)/python -m pytest -v tests/chaos/long_chaos.py $(ARGS)

check: $(DEVELOPMENT) ## Lint, check formatting, types, the direction of imports and the length of files
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	@find src -name '*.py' -exec awk -v max=$(MAX_LINES) \
		'FNR == max + 1 { print FILENAME ": more than " max " lines"; long = 1 } END { exit long }' {} +

format: $(DEVELOPMENT) ## Sort imports, apply safe fixes, format
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

readme: $(DEVELOPMENT) ## Write the list of settings into README.md
	$(BIN)/python -m tests.integration.readme.settings_table

bench: $(DEVELOPMENT) ## Run a part of the benchmark: streams, PART=databases or PART=nodes (ARGS="--quick")
	$(BIN)/python -m bench.$(PART) $(ARGS)

lock: $(DEVELOPMENT) ## Pin what the manifests ask for (ARGS=--upgrade for the newest that fits)
	$(LOCK) --output-file=requirements.txt pyproject.toml
	$(LOCK) --output-file=requirements-build.txt --all-build-deps --only-build-deps pyproject.toml
	$(LOCK) --output-file=requirements-dev.txt requirements-dev.in

clean: ## Remove .venv, caches and what was built
	rm -rf $(VENV) build dist .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "sse-hub needs Python 3.11 or newer: none found on PATH, and PYTHON not set" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "sse-hub needs Python 3.11 or newer: $(PYTHON) is not" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

$(RUNTIME): requirements.txt requirements-build.txt pyproject.toml | $(BIN)/python
	$(PIP) install --require-hashes -r requirements.txt -r requirements-build.txt
	$(PIP) install --no-build-isolation --no-deps --editable .
	@touch $@

$(DEVELOPMENT): requirements-dev.txt $(RUNTIME)
	$(PIP) install --require-hashes -r requirements-dev.txt
	@touch $@
