# Interlock: the commands of a developer and of CI. Each target sets up what it needs.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SUFFIXES:
.NOTPARALLEL: # pytest has the last word, and two cores are shared well enough by it

# The interpreter that .venv is made with: the first of python3.11 and python3 unless you name one.
PYTHON ?=
# What make bench measures: everything unless you name some.
PARTS ?=
export PYTHON OLD NEW KEEP UPGRADE

BIN := .venv/bin
MEMBERS := core client server server/ops repo-tools keys-ceremony
LOCKED := $(addsuffix /pyproject.toml,$(MEMBERS))

.PHONY: help setup demo test lint types contracts pytest bench lock clean

help: ## say what there is to make
	@sed -n 's/^\([a-z]*\):.*## /\1 /p' Makefile | awk '{ n = $$1; $$1 = ""; printf "make %-10s%s\n", n, $$0 }'

# The packages come first: something in the lock is built from its source.
.venv/.stamp: requirements.lock infra/setup/venv.sh $(LOCKED)
	@infra/setup/system_packages.sh
	@infra/setup/venv.sh

setup: .venv/.stamp ## make .venv, and install the missing system packages
	@infra/setup/system_packages.sh

demo: setup ## the whole story with real firmware and real processes; OLD= NEW= KEEP= are paths
	@$(BIN)/python -m infra.demo.demo

test: lint types contracts pytest ## lint, types, import contracts, and all tests

lint: setup
	@echo "lint: ruff check, ruff format"
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check .

types: setup
	@echo "types: mypy --strict"
	@$(BIN)/mypy --no-error-summary

contracts: setup
	@echo "contracts: import-linter"
	@$(BIN)/lint-imports --no-logo

pytest: setup
	@echo "tests: pytest"
	@$(BIN)/python -m pytest -q -n 2

bench: setup ## measure, and write build/bench.json; PARTS="check download" measures only those
	@$(BIN)/python -m infra.bench.bench $(PARTS)

lock: ## refresh the hashed locks; UPGRADE=1 takes the newest of everything
	@infra/setup/lock.sh

clean: ## remove everything that make made
	@rm -rf .venv build .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache \
	  .import_linter_cache uv.lock
	@find core client server repo-tools keys-ceremony tests infra -name __pycache__ -type d -prune -exec rm -rf {} +
	@echo "clean: removed .venv, build and the caches"
