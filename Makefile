.PHONY: demo test chaos fuzz bench-scrape bench-cold-start lint setup clean

# make demo KEEP=1 BLOCKS=60 RATE=4 SEED=1 WORKERS=1 PARTITIONS=4 WEB_PORT=6066
demo:
	./arena demo $(if $(BLOCKS),--blocks $(BLOCKS)) $(if $(RATE),--rate $(RATE)) $(if $(SEED),--seed $(SEED)) \
		$(if $(WORKERS),--workers $(WORKERS)) $(if $(PARTITIONS),--partitions $(PARTITIONS)) \
		$(if $(WEB_PORT),--web-port $(WEB_PORT)) $(if $(filter-out 0 no false,$(KEEP)),--keep)

# make test ARGS="tests/integration/lab/test_demo.py -k reorg"
test: setup
	.venv/bin/python -m pytest $(ARGS)

# make chaos ROUNDS=50 SEED=1
chaos: setup
	.venv/bin/python -m lab.chaos $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(SEED),--seed $(SEED))

# make fuzz INPUTS=1000000 SEED=1
fuzz: setup
	.venv/bin/python -m lab.fuzz $(if $(INPUTS),--inputs $(INPUTS)) $(if $(SEED),--seed $(SEED))

# make bench-scrape ROUNDS=5 SEED=1
bench-scrape: setup
	.venv/bin/python -m lab.bench.scrape $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(SEED),--seed $(SEED))

# make bench-cold-start SEED=1
bench-cold-start: setup
	.venv/bin/python -m lab.bench.cold_start $(if $(SEED),--seed $(SEED))

lint: setup
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports

setup:
	./arena setup

clean:
	rm -rf .venv .stack lab/devnet/servers/node_modules data
