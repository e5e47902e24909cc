# The contributor's menu: `make help` lists it. For GNU make 3.81 and newer.

BIN := .venv/bin
READY := .venv/.ready

# The first Python that runs, is new enough and can make a venv: a name on the path may be a shim that only fails.
# Used only where there is no .venv yet; to change to another: rm -r .venv, then make setup PYTHON=/path/to/python3.
PYTHONS := python3.12 python3.11 python3
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for p in $(PYTHONS); do $$p -c 'import ensurepip; $(NEW_ENOUGH)' 2>/dev/null && { echo $$p; break; }; done)

# A pip configuration of one's own may bring indexes, but not install past the venv.
export PIP_USER := 0
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# One thing at a time, under -j too: output stays readable, and a benchmark has the machine to itself.
.NOTPARALLEL:
.DEFAULT_GOAL := help
.PHONY: help setup up test check fix chaos bench bench-engine bench-runtime docs lock clean

help: ## List what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' Makefile

setup: $(READY) ## Make .venv as requirements.lock says, with this project in it
	@echo "Ready: $$($(BIN)/python --version) in .venv"

up: $(READY) ## Set up, then start everything: web, worker, scheduler, with embedded servers
	@exec $(BIN)/flowleaf up

test: $(READY) ## Run all tests and show the coverage of engine and nodes
	@$(BIN)/pytest -q -n 3 --dist loadfile tests/unit tests/conformance tests/integration \
		--cov --cov-report=term-missing:skip-covered --cov-fail-under=95
	@$(BIN)/pytest -q tests/chaos

check: $(READY) ## Lint, format, types, imports, and what no file may hold
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/pytest -q tests/unit/test_repository.py

fix: $(READY) ## Format, and mend what ruff can mend
	@$(BIN)/ruff check --fix --exit-zero
	@$(BIN)/ruff format

chaos: $(READY) ## Break things at random for CHAOS_S seconds (1800); figures go to build/bench/chaos.json
	@$(BIN)/python -m tests.chaos.endurance
	@CHAOS_AWAY_S=$(or $(CHAOS_AWAY_S),60) $(BIN)/pytest -q tests/chaos -k "away or full_disk"

bench: bench-engine bench-runtime ## Run all benchmarks; figures go to build/bench

bench-engine: $(READY) ## Run the benchmarks of the engine
	@$(BIN)/python -m tests.benchmarks.engine

bench-runtime: $(READY) ## Run the benchmarks of the whole service
	@$(BIN)/python -m tests.benchmarks.runtime

docs: $(READY) ## Write the generated pages of docs
	@$(BIN)/python -m docs.generate

lock: $(READY) ## Bring requirements.lock up to pyproject.toml; ARGS=--upgrade takes the newest of all
	@$(BIN)/uv pip compile pyproject.toml --group dev --output-file requirements.lock --quiet $(ARGS) \
		--universal --python-version 3.11 --fork-strategy fewest --generate-hashes \
		--custom-compile-command "make lock" --no-emit-index-url --no-config --system-certs
	@$(MAKE) --no-print-directory setup

clean: ## Remove what tools made; .venv and .flowleaf stay
	@rm -rf build dist *.egg-info .coverage .coverage.* .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	@find . -path ./.venv -prune -o -name __pycache__ -prune -exec rm -rf {} +

# The stamp comes last, so that a set-up that broke off begins again. The project itself needs nothing from outside.
$(READY): requirements.lock pyproject.toml
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || { \
		test -n "$(PYTHON)" && $(PYTHON) -c 'import ensurepip; $(NEW_ENOUGH)' 2>/dev/null || { \
			for p in $(or $(PYTHON),$(PYTHONS)); do $$p -c '$(NEW_ENOUGH)' 2>/dev/null && \
				{ echo "$$p cannot make a venv. On Debian and Ubuntu: apt-get install $${p##*/}-venv" >&2; exit 1; }; done; \
			echo "No working Python 3.11 or newer. Install one, or name it: make setup PYTHON=/path/to/python3" >&2; exit 1; }; \
		echo "Making .venv with $(PYTHON)"; $(PYTHON) -m venv --clear .venv; }
	@echo "Installing requirements.lock"
	@$(BIN)/python -m pip install -qq --require-hashes --no-deps -r requirements.lock
	@$(BIN)/python -m pip install -qq --no-index --no-deps --no-build-isolation -e .
	@touch $@
