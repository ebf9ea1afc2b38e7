# Everything needs only Python 3.11+, pip and make. PYTHON=python3.12 picks another interpreter.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed

.PHONY: demo test browser lint types generated bench screenshots torture mutants lock clean help

help: ## what can be made
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/ -/'

demo: $(INSTALLED) ## simulate a year of exports, run the nightly flow on them, show the figures
	$(BIN)/pendel demo

# The morning page is looked at in a real browser, a package of Debian's. Elsewhere those tests are left out.
browser:
	@command -v chromium chromium-browser google-chrome >/dev/null \
	  || { apt-get update -qq && apt-get install -y -qq chromium; } >/dev/null 2>&1 \
	  || echo "No Chromium here: the tests of the morning page in a browser are left out. Install the package chromium."

test: $(INSTALLED) browser ## all tests
	$(BIN)/pytest -n 2

lint: $(INSTALLED) ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(INSTALLED) ## mypy, strict
	$(BIN)/mypy

# pip compiles to bytecode while installing, which halves the start-up of Prefect and Great Expectations.
$(INSTALLED): requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "pendel needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --compile --require-hashes --no-deps -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --compile --no-deps --no-build-isolation -e .
	@touch $@

generated: $(INSTALLED) ## suites, data dictionary, compiled Dutch texts: from the contracts
	$(BIN)/python -m pendel.generated

bench: $(INSTALLED) ## processor time of a night, beside the least that reading can take
	$(BIN)/python bench/night.py

screenshots: $(INSTALLED) ## the pictures of docs/coordinator.md, from real runs (needs chromium: make browser)
	$(BIN)/python bench/screenshots.py

torture: $(INSTALLED) ## kills, readers, damaged files, canaries (ROUNDS="--short" for a few of each)
	$(BIN)/python bench/torture.py $(ROUNDS)

mutants: $(INSTALLED) ## change the SQL and the rules one small thing at a time: do the tests see it? (hours)
	$(BIN)/python bench/mutants.py

lock: ## pin the newest versions that pyproject.toml allows (needs uv)
	uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-annotate --no-header -o requirements.lock

clean: ## remove what was installed and built; data/raw stays
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache data/warehouse
