.DEFAULT_GOAL := help
.PHONY: help setup check lint test demo chaos chaos-durable fuzz quotes bench-scrape bench-quotes bench-cold-start bench-worker bench-stream clean

PYTHON := .venv/bin/python
PARALLEL := -n 4 --dist loadgroup --no-loadscope-reorder

help: ## What can be made, and with which variables
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## Install what development needs into .venv and .stack; everything below does it too
	./arena setup

check: lint ## Lint, types, imports, unit tests: under 60 s, no server. Run it before each commit
	$(PYTHON) -m pytest -q -n 2 --dist loadgroup tests/unit tests/test_layout.py

lint: setup
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports

test: setup ## All tests, on real servers: ARGS="tests/integration/lab/test_demo.py -k reorg" runs some, one at a time
	$(PYTHON) -m pytest $(if $(strip $(ARGS)),$(ARGS),$(PARALLEL))

demo: ## The system on a chain of its own: BLOCKS=60 RATE=4 SEED=1 WORKERS=1 PARTITIONS=4 WEB_PORT=6066 KEEP=1 LOGS=dir
	./arena demo $(if $(BLOCKS),--blocks $(BLOCKS)) $(if $(RATE),--rate $(RATE)) $(if $(SEED),--seed $(SEED)) \
		$(if $(WORKERS),--workers $(WORKERS)) $(if $(PARTITIONS),--partitions $(PARTITIONS)) \
		$(if $(WEB_PORT),--web-port $(WEB_PORT)) $(if $(filter-out 0 no false,$(KEEP)),--keep) \
		$(if $(LOGS),--logs $(LOGS))

chaos: setup ## Random faults on the whole system: ROUNDS=50 SEED=1
	$(PYTHON) -m lab.chaos $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(SEED),--seed $(SEED))

chaos-durable: setup ## Random faults on the durable table alone
	$(PYTHON) -m lab.chaos.durable

fuzz: setup ## Mutated input at every edge: INPUTS=1000000 SEED=1
	$(PYTHON) -m lab.fuzz $(if $(INPUTS),--inputs $(INPUTS)) $(if $(SEED),--seed $(SEED))

quotes: setup ## Quotes compared with swaps that are mined, and with Uniswap's quoters: SWAPS=10000 SEED=1
	$(PYTHON) -m lab.quotes $(if $(SWAPS),--swaps $(SWAPS)) $(if $(SEED),--seed $(SEED))

bench-scrape: setup ## How fast snapshots are read, beside other ways: ROUNDS=5 SEED=1
	$(PYTHON) -m lab.bench.scrape $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(SEED),--seed $(SEED))

bench-quotes: setup ## How fast quotes are, beside degenbot, Uniswap's SDKs and the quoter contracts: ROUNDS=5 SEED=1 PYTHON312=python3.12
	$(PYTHON) -m lab.bench.quotes $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(SEED),--seed $(SEED)) $(if $(PYTHON312),--python $(PYTHON312))

bench-cold-start: setup ## From an empty machine to thousands of live pools: SEED=1
	$(PYTHON) -m lab.bench.cold_start $(if $(SEED),--seed $(SEED))

bench-worker: setup ## How fast one worker is on a real Kafka: POOLS=1000 TICKS=200 BLOCKS=1000
	$(PYTHON) -m lab.bench.worker $(if $(POOLS),--pools $(POOLS)) $(if $(TICKS),--ticks $(TICKS)) $(if $(BLOCKS),--blocks $(BLOCKS))

bench-stream: setup ## How long after a block its event is there, and what 200 readers cost: READERS=200
	$(PYTHON) -m lab.bench.stream $(if $(READERS),--readers $(READERS))

clean: ## Remove what setup installed, and the data
	rm -rf .venv .stack lab/devnet/servers/node_modules data
