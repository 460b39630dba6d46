# Each target sets itself up from nothing: it needs make and a Python of 3.11 or newer.
# A variable says more: make demo LOG=access.log SECONDS=60 SEED=1 ARGS="--no-baseline"

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test lint types contracts pytest sqlalchemy20 crash docs plots bench servers mutants pins clean

VENV := .venv
BENCH := .venv-bench
export PYTHON

help:
	@echo "make demo      real traffic and real faults, with and without Escala (LOG= SECONDS= SEED= ARGS=)"
	@echo "make test      lint, types, import contracts, docs, all tests"
	@echo "make lint      style; 'make types', 'make contracts', 'make pytest' run one check alone (ARGS=)"
	@echo "make sqlalchemy20   the tests of databases on SQLAlchemy 2.0"
	@echo "make crash     SIGKILL at a thousand random points, failovers, reshards (POINTS= SECONDS= RUNS=); long"
	@echo "make bench     measure Escala and its peers side by side (NAME= for one)"
	@echo "make docs      build the documentation into site/"
	@echo "make plots     draw the catalogue's pictures (NAME= for those of one page)"
	@echo "make servers   get the real servers that tests and benchmarks need"
	@echo "make mutants   does a test notice when a decision changes? (NAME= for one module, such as NAME=resilience)"
	@echo "make pins      write constraints-*.txt anew from pyproject.toml"
	@echo "make clean     remove everything that can be made again"

demo:
	@sh tools/venv.sh $(VENV) demo
	@$(VENV)/bin/escala demo $(if $(LOG),--log "$(LOG)") $(if $(SECONDS),--seconds $(SECONDS)) \
		$(if $(SEED),--seed $(SEED)) $(ARGS)

test: lint types contracts docs pytest sqlalchemy20

lint:
	@sh tools/venv.sh $(VENV) test
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

types:
	@sh tools/venv.sh $(VENV) test
	$(VENV)/bin/mypy

contracts:
	@sh tools/venv.sh $(VENV) test
	$(VENV)/bin/lint-imports

pytest:
	@sh tools/venv.sh $(VENV) test
	@$(VENV)/bin/python tools/servers.py --for core --quiet
	$(VENV)/bin/python -m pytest --numprocesses auto --dist loadgroup $(ARGS)

# The whole suite runs on SQLAlchemy 2.1; what stands on it runs on 2.0 as well.
sqlalchemy20:
	@sh tools/venv.sh $(VENV) test
	@sh tools/beside.sh $(VENV) .sqlalchemy20 sqlalchemy20
	ESCALA_QUESTIONS=100 PYTHONPATH=.sqlalchemy20 $(VENV)/bin/python -m pytest --numprocesses auto -q tests/databases $(ARGS)

crash:
	@sh tools/venv.sh $(VENV) test
	@$(VENV)/bin/python tools/servers.py --for core --quiet
	ESCALA_CRASH_POINTS=$(or $(POINTS),1000) ESCALA_CACHE_SECONDS=$(or $(SECONDS),60) \
		$(VENV)/bin/python -m pytest tests/crash/test_write_behind_killed.py \
		tests/crash/test_cache_connection_killed.py $(ARGS)
	ESCALA_FAILOVER_RUNS=$(or $(RUNS),20) $(VENV)/bin/python -m pytest tests/crash/test_failover.py $(ARGS)
	ESCALA_REPLICA_PAIRS=2000 ESCALA_REPLICA_TRANSACTIONS=1500 \
		$(VENV)/bin/python -m pytest tests/live/test_database_replicas.py $(ARGS)
	ESCALA_TWO_PHASE_RUNS=200 ESCALA_SNOWFLAKES=1000000 \
		$(VENV)/bin/python -m pytest tests/crash/test_two_phase*.py tests/live/test_snowflake*.py $(ARGS)
	ESCALA_RESHARD_POINTS=all $(VENV)/bin/python -m pytest tests/crash/test_reshard_killed.py --timeout 1800 $(ARGS)

docs:
	@sh tools/venv.sh $(VENV) docs
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --strict --quiet

plots:
	@sh tools/venv.sh $(VENV) plots
	@$(VENV)/bin/python -m docs.plots $(NAME)

bench:
	@sh tools/venv.sh $(BENCH) bench
	@$(BENCH)/bin/python tools/servers.py --for bench --quiet
	@$(BENCH)/bin/python benchmarks/run.py $(NAME) $(ARGS)

servers:
	@"$$(sh tools/python.sh)" tools/servers.py $(ARGS)

mutants:
	@sh tools/venv.sh $(VENV) mutants
	@$(VENV)/bin/python tools/mutants.py $(NAME) $(ARGS)

pins:
	@sh tools/venv.sh $(VENV) pins
	@$(VENV)/bin/python tools/pins.py

clean:
	rm -rf $(VENV) $(BENCH) .sqlalchemy20 .servers site dist build mutants benchmarks/results
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache report.html report.json
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
