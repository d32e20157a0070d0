# The front door. `make` lists what there is; CI calls the same targets.
PORT ?= 8000
DATA ?=
MINUTES ?= 20
PYTHON ?= $(firstword $(foreach p,python3 python3.14 python3.13 python3.12 python3.11,$(shell $(p) -c \
	'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $(p))))
RUN := .venv/bin/python -m
SETUP = $(if $(PYTHON),$(PYTHON),$(error Python 3.11 or newer is needed and none was found: install it, or name it \
	with make PYTHON=/path/to/python3.11)) deploy/environment.py

# Packages are installed uncompiled; let the first import keep what it compiles.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo test check format demo-smoke docs quality bench-prepare bench-kernel bench-growth bench-memory bench-search bench-freshness bench-recall-only soak constraints clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-17s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: .venv/.demo ## train on MovieLens-100K (or DATA=folder), serve on PORT=8000, show three calls; Ctrl-C ends it
	@.venv/bin/python -m deploy.demo --port $(PORT) $(if $(DATA),--data "$(DATA)")

test: .venv/.dev ## run the tests (ARGS="-k name" to choose)
	@$(RUN) pytest $(ARGS)

check: .venv/.dev ## lint, format, types, import contracts
	@$(RUN) ruff check .
	@$(RUN) ruff format --check .
	@$(RUN) mypy
	@.venv/bin/lint-imports --no-logo

format: .venv/.dev ## rewrite the sources in the house format
	@$(RUN) ruff format .
	@$(RUN) ruff check --fix .

demo-smoke: ## run the README's first command in a clean clone with an empty home, and end it
	@$(if $(PYTHON),$(PYTHON),python3) tests/e2e/demo_smoke.py

docs: .venv/.dev ## rewrite what commands write in the documents (PARTS="reference demo test quality studies benchmarks")
	@$(RUN) deploy.docs $(PARTS)

quality: .venv/.dev ## measure the demo's bundle on its test period and write docs/quality.md
	@$(RUN) deploy.docs quality

# Worlds of up to 10^6 items are made once, in .bench; then each takes some minutes. ARGS="--items 10000" is quick.
bench-prepare: .venv/.dev ## make what the benchmarks need: up to 10^6 items, once; half an hour or more
	@$(RUN) benchmarks.command prepare $(ARGS)

bench-kernel: .venv/.dev ## one request's five queries in every kind of vector index
	@$(RUN) benchmarks.command kernel $(ARGS)

bench-growth: .venv/.dev ## CPU of the retrieval path per request as items grow
	@$(RUN) benchmarks.command growth $(ARGS)

bench-memory: .venv/.dev ## memory of one worker and of each further one
	@$(RUN) benchmarks.command memory $(ARGS)

bench-search: .venv/.dev ## a search beside a recommendation
	@$(RUN) benchmarks.command search $(ARGS)

bench-freshness: .venv/.dev ## time from an item change, or an event, to the answers that know it
	@$(RUN) benchmarks.command freshness $(ARGS)

bench-recall-only: .venv/.dev ## requests/s of retrieval over HTTP, beside LibRecommender's server; wants wrk
	@$(RUN) benchmarks.command recall-only $(ARGS)

soak: .venv/.dev ## a service under mixed load for MINUTES=20: nothing may grow or slow down
	@$(RUN) benchmarks.command soak --minutes $(MINUTES) $(ARGS)

constraints: ## renew constraints.txt from the newest releases
	@$(SETUP) --pin

clean: ## remove what the targets made: .venv, .demo, caches
	rm -rf .venv .demo .cache build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

# One environment for all. A stamp says which extras it has; pip runs only when the pins are newer than the stamp.
.venv/.demo: pyproject.toml constraints.txt
	@$(SETUP) train redis
	@touch $@

.venv/.dev: pyproject.toml constraints.txt
	@$(SETUP) train redis text dev
	@touch .venv/.demo $@
