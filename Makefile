# fedchain: make demo (learn something now), make test (prove it works), make help.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.run
DEV_STAMP := $(VENV)/.dev
FUZZ_STAMP := $(VENV)/.fuzz
RAY_STAMP := $(VENV)/.ray
KEYRING_STAMP := $(VENV)/.keyring
KERNEL_PEERS := build/env/kernels
ROUND_PEERS := build/env/round
HE_PEERS := build/env/he
ACCOUNTING := build/env/accounting
PRIVACY_PEERS := build/env/privacy
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet --quiet
OUT ?= build/demo
BENCHES := $(patsubst bench/bench_%.py,%,$(wildcard bench/bench_*.py))

.PHONY: help demo test ray test-ray keyring mutants fuzz chaos seeds soak attacks accounting lint format wheel bench $(addprefix bench-,$(BENCHES)) docs lock clean

help: ## Show these targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(STAMP): requirements/run.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "fedchain needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version). Try: make PYTHON=python3.11"; exit 1; }
	@test -x $(BIN)/python || { echo "Making a virtual environment in $(VENV) …"; $(PYTHON) -m venv $(VENV) || { echo "Could not make $(VENV). On Debian: apt-get install python3-venv"; exit 1; }; }
	@echo "Installing fedchain and its locked dependencies (about a minute) …"
	@$(PIP) install --only-binary :all: --require-hashes -r requirements/run.lock
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(DEV_STAMP): $(STAMP) requirements/dev.lock
	@echo "Installing the tools of the test suite …"
	@$(PIP) install --only-binary :all: --require-hashes -r requirements/dev.lock
	@touch $@

$(FUZZ_STAMP): $(DEV_STAMP) requirements/fuzz.lock
	@echo "Installing the fuzzers …"
	@$(PIP) install --only-binary :all: --require-hashes -r requirements/fuzz.lock
	@touch $@

$(RAY_STAMP): $(STAMP) requirements/ray.lock
	@echo "Installing Ray …"
	@$(PIP) install --only-binary :all: --require-hashes -r requirements/ray.lock
	@touch $@

$(KEYRING_STAMP): $(STAMP) requirements/keyring.lock
	@echo "Installing keyring …"
	@$(PIP) install --only-binary :all: --require-hashes -r requirements/keyring.lock
	@touch $@

demo: $(STAMP) ## Train one model over four hospitals with 3 miners; results in build/demo
	@$(BIN)/fedchain localnet run examples/heart/plan.toml --data examples/heart/data --miners 3 --seed 1 --out $(OUT)

test: $(DEV_STAMP) ## Run the whole test suite
	@$(BIN)/python -m pytest -n 2 --dist loadfile -q

ray: $(RAY_STAMP) ## Install the extra for --executor ray of fedchain train and fleet

keyring: $(KEYRING_STAMP) ## Install the extra for data stores whose key is in the system's keyring

test-ray: $(DEV_STAMP) $(RAY_STAMP) ## Run the tests that need Ray
	@$(BIN)/python -m pytest -q -m ray tests/fl/executors

mutants: $(DEV_STAMP) ## Put faults into a copy of the source: do the tests notice? (ONLY=text, FRESH=1)
	@$(BIN)/python -m tests.mutants.run $(if $(ONLY),--only '$(ONLY)') $(if $(FRESH),--fresh)

fuzz: $(FUZZ_STAMP) ## Search for bytes that break a promise: every decoder, handshake, the RPC (MINUTES=60)
	@$(BIN)/python -m tests.fuzz.all --minutes $(or $(MINUTES),60)

chaos: $(DEV_STAMP) ## Kill, freeze, part, slow down, fill 12 nodes and 8 devices while a plan runs (SEED=1 ENGINE=pow PLAN=plan)
	@$(BIN)/python -m tests.chaos.run $(or $(SEED),1) --engine $(or $(ENGINE),pow) --plan $(or $(PLAN),plan)

seeds: $(STAMP) ## Thousands of little simulated worlds under both engines (SEEDS=1000, FIRST=0)
	@$(BIN)/python -m node.simulator.sweep --seeds $(or $(SEEDS),1000) --first $(or $(FIRST),0) --out build/seeds.json

soak: $(STAMP) ## Large simulated worlds, and little ones that die at each write in turn (SEEDS=16, FIRST=0)
	@$(BIN)/python -m node.simulator.sweep --crashes 1 --first $(or $(FIRST),0) --out build/soak-crashes.json
	@$(BIN)/python -m node.simulator.sweep --size large --seeds $(or $(SEEDS),16) --first $(or $(FIRST),0) --out build/soak.json

attacks: $(STAMP) ## Devices that lie, plans that defend: two thousand federations, docs/attacks.md (QUICK=1)
	@$(BIN)/python -m attacks.run $(if $(QUICK),--quick)
	@$(BIN)/python -m attacks.tables $(if $(QUICK),--show build/attacks-quick.json)

lint: $(DEV_STAMP) ## Style, format, types, import contracts
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(DEV_STAMP) ## Mend style and format where a tool can
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

wheel: $(DEV_STAMP) ## Build the wheel; run a small localnet from it in a clean environment
	@bash .ci/wheel $(PYTHON) $(BIN)/python

$(ACCOUNTING)/.made: requirements/accounting.lock
	@echo "Installing dp-accounting in $(ACCOUNTING) …"
	@rm -rf $(ACCOUNTING)
	@$(PYTHON) -m venv $(ACCOUNTING)
	@$(ACCOUNTING)/bin/python -m pip --disable-pip-version-check --quiet --quiet install --only-binary :all: --require-hashes -r $<
	@touch $@

accounting: $(DEV_STAMP) $(ACCOUNTING)/.made ## Ask dp-accounting again what the privacy ledger's totals mean, and compare
	@$(ACCOUNTING)/bin/python tests/fl/privacy/accounting_side.py > $(ACCOUNTING)/answers.json
	@cp $(ACCOUNTING)/answers.json tests/fl/privacy/accounting.json
	@$(BIN)/python -m pytest -q tests/fl/privacy/test_convert.py

bench: $(addprefix bench-,$(BENCHES)) ## Run every benchmark; each writes build/bench/NAME.json

$(KERNEL_PEERS)/.made: requirements/bench-kernels.lock
	@echo "Installing the peers of bench-kernels in $(KERNEL_PEERS) …"
	@rm -rf $(KERNEL_PEERS)
	@$(PYTHON) -m venv $(KERNEL_PEERS)
	@if $(KERNEL_PEERS)/bin/python -m pip --disable-pip-version-check --quiet --quiet install --only-binary :all: --require-hashes -r $<; \
		then touch $@; else echo "There are none for this Python: bench-kernels runs without them."; rm -rf $(KERNEL_PEERS); fi

bench-kernels: $(KERNEL_PEERS)/.made

$(ROUND_PEERS)/.made: requirements/bench-round.lock
	@echo "Installing Flower for bench-round in $(ROUND_PEERS) …"
	@rm -rf $(ROUND_PEERS)
	@$(PYTHON) -m venv $(ROUND_PEERS)
	@if $(ROUND_PEERS)/bin/python -m pip --disable-pip-version-check --quiet --quiet install --only-binary :all: --require-hashes -r $<; \
		then touch $@; else echo "It is not there for this Python: bench-round runs without it."; rm -rf $(ROUND_PEERS); fi

bench-round: $(ROUND_PEERS)/.made

$(HE_PEERS)/.made: requirements/bench-he.lock
	@echo "Installing phe for bench-he in $(HE_PEERS) …"
	@rm -rf $(HE_PEERS)
	@$(PYTHON) -m venv $(HE_PEERS)
	@if $(HE_PEERS)/bin/python -m pip --disable-pip-version-check --quiet --quiet install --only-binary :all: --require-hashes -r $<; \
		then touch $@; else echo "It is not there for this Python: bench-he runs without it."; rm -rf $(HE_PEERS); fi

bench-he: $(HE_PEERS)/.made

$(PRIVACY_PEERS)/.made: requirements/bench-privacy.lock
	@echo "Installing JAX Privacy for bench-privacy in $(PRIVACY_PEERS) …"
	@rm -rf $(PRIVACY_PEERS)
	@$(PYTHON) -m venv $(PRIVACY_PEERS)
	@if $(PRIVACY_PEERS)/bin/python -m pip --disable-pip-version-check --quiet --quiet install --only-binary :all: --require-hashes -r $<; \
		then touch $@; else echo "It is not there for this Python: bench-privacy runs without it."; rm -rf $(PRIVACY_PEERS); fi

bench-privacy: $(PRIVACY_PEERS)/.made

$(addprefix bench-,$(BENCHES)): bench-%: $(DEV_STAMP)
	@$(BIN)/python -m bench.bench_$*

docs: $(DEV_STAMP) ## Write the generated parts of docs/ again: commands, plan fields, RPC, settings
	@$(BIN)/python -m commands.reference
	@$(BIN)/python -m node.reference

COMPILE := $(BIN)/pip-compile --quiet --strip-extras --generate-hashes --allow-unsafe --build-deps-for editable \
	--no-header --no-annotate --no-emit-index-url --no-emit-find-links --no-emit-options --no-emit-trusted-host

lock: $(DEV_STAMP) ## Resolve the dependencies again and pin them with their hashes
	@$(COMPILE) --output-file requirements/run.lock pyproject.toml
	@$(COMPILE) --extra dev --constraint requirements/run.lock --output-file requirements/dev.lock pyproject.toml
	@$(COMPILE) --extra fuzz --constraint requirements/run.lock --constraint requirements/dev.lock --output-file requirements/fuzz.lock pyproject.toml
	@$(COMPILE) --extra ray --constraint requirements/run.lock --output-file requirements/ray.lock pyproject.toml
	@$(COMPILE) --extra keyring --constraint requirements/run.lock --output-file requirements/keyring.lock pyproject.toml
	@$(subst --build-deps-for editable,,$(COMPILE)) --output-file requirements/bench-kernels.lock requirements/bench-kernels.in
	@$(subst --build-deps-for editable,,$(COMPILE)) --output-file requirements/bench-round.lock requirements/bench-round.in
	@$(subst --build-deps-for editable,,$(COMPILE)) --output-file requirements/bench-he.lock requirements/bench-he.in
	@$(subst --build-deps-for editable,,$(COMPILE)) --output-file requirements/accounting.lock requirements/accounting.in
	@$(subst --build-deps-for editable,,$(COMPILE)) --output-file requirements/bench-privacy.lock requirements/bench-privacy.in

clean: ## Remove what make made (the environment too)
	rm -rf build dist *.egg-info $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
