# Argonath: `make run` runs a gateway on this machine, `make test` checks everything. Python and all else lives in
# a root file system of its own (docker/README.md); the machine needs only make, mmdebstrap and bubblewrap.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.PHONY: help run test lint format unit integration acceptance acceptance-of-nodes acceptance-of-routing acceptance-of-pages isolation isolation-report bench bench-tenants bench-archive bench-routing fault-test images compose-test tools clean

# Tests run in the root file system's dev variant, with a data directory of their own.
TEST_HOME ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/argonath/test-home
SAMPLES := $(wildcard $(abspath ../shared/data))
export ARGONATH_TEST_DATA ?= $(SAMPLES)
DEV = docker/enter --dev --home "$(TEST_HOME)" $(addprefix --bind ,$(SAMPLES))
PYTEST = $(DEV) python -m pytest -p no:cacheprovider $(PYTEST_OPTIONS)

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | column -t -s "$$(printf '\t')" 2>/dev/null \
		|| grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST)

run: tools ## run a gateway in the foreground (ARGONATH_HOME, ARGONATH_HTTP_PORT, ARGONATH_DICOM_PORT)
	@exec docker/run

test: lint unit ## every check and every test; the slow ones, which mostly wait, three at a time
	@$(MAKE) --no-print-directory -j3 --keep-going --output-sync=target acceptance-of-nodes acceptance-of-routing integration acceptance-of-pages isolation

lint: tools ## ruff, mypy --strict, import-linter
	@$(DEV) ruff check --no-cache .
	@$(DEV) ruff format --check --no-cache .
	@$(DEV) mypy
	@$(DEV) lint-imports --no-cache

format: tools ## put the code into its standard form
	@docker/enter --dev --home "$(TEST_HOME)" --write-checkout sh -c 'ruff check --no-cache --fix . ; ruff format --no-cache .'

unit: tools ## the fast tests
	@$(PYTEST) tests/unit

integration: tools ## tests with a real PostgreSQL and Redis
	@$(PYTEST) tests/integration

acceptance: tools ## tests of a whole running gateway
	@$(PYTEST) tests/acceptance

acceptance-of-nodes: tools # those without a browser
	@$(PYTEST) tests/acceptance --ignore tests/acceptance/routing -m "not browser"

acceptance-of-routing: tools # rules and deliveries, without a browser
	@$(PYTEST) tests/acceptance/routing -m "not browser"

acceptance-of-pages: tools # those with one
	@$(PYTEST) tests/acceptance -m browser

fault-test: tools ## 300 studies to three destinations while everything is killed (about ten minutes; `make test` takes 20 studies)
	@ARGONATH_FAULT_STUDIES=300 $(PYTEST) -s tests/acceptance/routing/test_faults.py

isolation: tools ## every route as everybody (a selection), and every attack
	@$(PYTEST) tests/isolation

bench: tools ## speed against stock Orthanc, as ratios of one run
	@$(DEV) python -m tests.bench speed $(BENCH_OPTIONS)

bench-tenants: tools ## the cost of a request with 10 and with 10,000 tenants
	@$(DEV) python -m tests.bench tenants $(BENCH_OPTIONS)

bench-routing: tools ## rules with a study, how soon and how fast it is forwarded (about ten minutes)
	@$(DEV) python -m tests.bench routing $(BENCH_OPTIONS)

bench-archive: tools ## look-ups at 2,000 and at 50,000 studies, beside stock Orthanc (about a quarter of an hour)
	@$(DEV) python -m tests.bench archive $(BENCH_OPTIONS)

images: ## build the container image (buildah)
	@docker/images

compose-test: images ## bring docker/compose.yaml up, store a study, read it back (podman, podman-compose)
	@docker/compose-test

tools: # the two packages that the machine itself needs
	@docker/tools

clean: ## remove root file systems that are not in use, and what tests left behind (not your data)
	@docker/clean "$(TEST_HOME)"

isolation-report: tools ## call every route as everybody, run every attack, and write what came of it as a page
	@mkdir -p "$(TEST_HOME)"
	@result=0; ARGONATH_ISOLATION_REPORT=/data/isolation.html $(PYTEST) tests/isolation || result=$$?; \
		echo "The report: $(TEST_HOME)/isolation.html"; exit $$result
