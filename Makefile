.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

help:  ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | expand -t 16

$(VENV)/.ok: requirements.lock pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -c "import uv" 2>/dev/null || $(BIN)/pip install -q --disable-pip-version-check uv
	@$(BIN)/uv pip install -q --python $(BIN)/python --require-hashes --compile-bytecode -r requirements.lock
	@$(BIN)/uv pip install -q --python $(BIN)/python --no-deps -e .
	@touch $@

setup: $(VENV)/.ok  ## the isolated environment, from the hashed lock

demo: setup  ## the whole job on the shipped sample logs: a priced lake and a report
	@$(BIN)/cost-ops demo --dir demo

test: setup  ## the whole test suite
	@$(BIN)/python -m pytest -n 2 --dist loadfile

check: setup  ## lint, types and import rules
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: setup  ## the benchmarks: ratios, never timed tests
	@for file in benchmarks/*.py; do $(BIN)/python $$file; done

docs: setup  ## generated parts of the documentation
	@$(BIN)/python -m costops.flows.commands.dictionary

lock:  ## resolve the lock anew
	@$(BIN)/uv pip compile -q --universal --generate-hashes --no-header --no-annotate --group dev pyproject.toml -o requirements.lock

clean:  ## forget the environment and the demo
	rm -rf $(VENV) demo dist

.PHONY: help setup demo test check bench docs lock clean
