# Everything that people and CI do here, one word each. Needs Python 3.11 or newer and make, nothing else.

VENV := .venv
BIN := $(VENV)/bin
# Says where the set-up is complete: a moved or copied checkout is set up anew.
STAMP := $(VENV)/.installed
PYTHONS := python3 python3.14 python3.13 python3.12 python3.11
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input --quiet --quiet
PIP_INSTALL := PIP_ROOT_USER_ACTION=ignore $(PIP) install --no-warn-script-location

.DEFAULT_GOAL := help
.PHONY: help install demo up bench test test-shards test-kafka chaos-ledger check lock clean moved

help:  ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' Makefile

install: $(STAMP)  ## Set up .venv from the locked, hashed dependencies
	@:

demo: $(STAMP)  ## Run the whole platform on a made-up loan book, and show what happened
	@mkdir -p .amana
	@$(BIN)/amana demo --report .amana/demo-report.json

up: $(STAMP)  ## Keep a local stack running; Ctrl-C stops it, the data stays in .amana
	@$(BIN)/amana up

bench: $(STAMP)  ## Measure transfers on real servers: about 8 minutes, the machine to itself
	@mkdir -p .amana
	@$(BIN)/amana bench transfers --report .amana/bench-transfers.json

# Where that variable is set, each process would compile every test anew, each time.
test: $(STAMP)  ## Run every test, on real servers, in three processes (TESTERS=1: in one)
	@PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n $(or $(TESTERS),3) --dist loadfile

test-shards: $(STAMP)  ## Run the tests over HTTP again, on eight ledger shards
	@AMANA_TEST_LEDGER_SHARDS=8 $(BIN)/python -m pytest tests/e2e tests/tape/test_replay_on_the_platform.py

KAFKA_HOME := .amana/kafka
KAFKA_TESTS := tests/relay tests/audit/test_service.py tests/eligibility/test_cache.py

test-kafka: $(STAMP)  ## Run what speaks to a broker again, on Apache Kafka (needs Java and Maven, else left out)
	@if tests/kafka/fetch "$(KAFKA_HOME)"; then \
	  AMANA_TEST_KAFKA_HOME="$(abspath $(KAFKA_HOME))" $(BIN)/python -m pytest $(KAFKA_TESTS); fi

SEED := 1
MINUTES := 5
SHARDS := 1

chaos-ledger: $(STAMP)  ## Kill the ledger and PostgreSQL under load (SEED=1 MINUTES=5 SHARDS=1), and look what was lost
	@$(BIN)/python -m tests.chaos.crash --seed $(SEED) --minutes $(MINUTES) --shards $(SHARDS)

check: $(STAMP)  ## Format, lint, types and import rules
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@if [ -d tests/style ]; then $(BIN)/python -m pytest tests/style; fi

LOCK := uv pip compile pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --custom-compile-command "make lock"

lock: $(STAMP)  ## Write requirements/*.txt anew from pyproject.toml (UPGRADE=1: newest versions)
	@$(PIP_INSTALL) --target $(VENV)/lock uv
	@PATH="$(CURDIR)/$(VENV)/lock/bin:$$PATH"; \
	$(LOCK) $(if $(UPGRADE),--upgrade) -o requirements/base.txt && \
	$(LOCK) $(if $(UPGRADE),--upgrade) --all-extras -c requirements/base.txt -o requirements/dev.txt

clean:  ## Remove .venv and caches; the data in .amana stays
	@rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache build dist
	@find src tests -type d -name __pycache__ -prune -exec rm -rf {} +

ifneq ($(shell cat $(STAMP) 2>/dev/null),$(CURDIR))
$(STAMP): moved
endif

$(STAMP): pyproject.toml requirements/dev.txt
	@python=; for name in $(PYTHONS); do \
	  if "$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then python="$$name"; break; fi; \
	done; \
	if [ -z "$$python" ]; then \
	  echo "Amana needs Python 3.11 or newer; none of these is: $(PYTHONS)" >&2; exit 2; \
	fi; \
	if [ "$$(cat $(STAMP) 2>/dev/null)" != "$(CURDIR)" ] || ! $(BIN)/python -c '' 2>/dev/null; then \
	  echo "Creating $(VENV) with $$("$$python" --version)"; \
	  "$$python" -m venv --clear $(VENV) || { \
	    echo "$$python can't make virtual environments; on Debian and Ubuntu: apt install python3-venv" >&2; exit 2; }; \
	fi
	@rm -f $(STAMP)
	@echo "Installing the locked dependencies (about 400 MB; a minute or two the first time)"
	@$(PIP_INSTALL) --require-hashes -r requirements/dev.txt
	@echo "Installing Amana"
	@$(PIP_INSTALL) --no-deps --no-build-isolation -e .
	@$(BIN)/python -m compileall -q src
	@echo "$(CURDIR)" > $(STAMP)
	@echo "Ready: $(BIN)/amana"
