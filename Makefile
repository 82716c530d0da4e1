# The two commands: make run, make test. Each target may be run twice.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.SILENT:

VENV := .venv
BIN := $(VENV)/bin
HOME_DIR ?= /var/lib/avish
PREFIX ?= avish
TOPOLOGY := fixtures/topologies/active-ftp.yaml
RUNBOOK := fixtures/runbooks/active-ftp.avi

.PHONY: help setup run test lint bench soak docs down clean

help: ## What can be made
	grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | column -t -s $$'\t'

$(VENV)/.ready: pyproject.toml setup/debian.txt setup/install.sh
	setup/install.sh $(VENV)
	touch $@

setup: $(VENV)/.ready ## Debian packages, virtual environment, test data
	setup/install.sh --check $(VENV)

run: setup ## Build the lab, load the founding runbook, open the shell (or prove it, without a terminal)
	if [ -t 0 ]; then
	  $(BIN)/avishd up $(TOPOLOGY) --home $(HOME_DIR) --prefix $(PREFIX)
	  $(BIN)/avish --home $(HOME_DIR) --min-output --file $(RUNBOOK) > /dev/null
	  echo "runbook $(RUNBOOK) loaded"
	  exec $(BIN)/avish --home $(HOME_DIR)
	fi
	exec $(BIN)/python fixtures/proof/active_ftp.py --home $(HOME_DIR) --prefix $(PREFIX) --bin $(BIN)

lint: setup ## Style, types, layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint ## Every check
	$(BIN)/python docs/generate.py --check
	$(BIN)/pytest

bench: setup ## Speed, each figure beside its floor
	setup/install.sh --bench
	$(BIN)/python bench/run.py

soak: setup ## Ten minutes of many sessions, captures, transfers and failovers while everything is killed; nothing may be lost
	$(BIN)/python bench/soak.py

docs: setup ## The manual, into site/
	$(BIN)/python docs/generate.py
	$(BIN)/mkdocs build --strict --quiet
	echo "site/index.html"

down: ## Lab and controller away
	if [ -x $(BIN)/avishd ]; then $(BIN)/avishd down --home $(HOME_DIR) --prefix $(PREFIX); fi

clean: down ## Also what setup and the tests made
	rm -rf $(VENV) build dist site .pytest_cache .mypy_cache .ruff_cache *.egg-info
