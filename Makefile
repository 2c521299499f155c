# Two commands do it all: `make report` and `make test`. `make real` is the first of them on real data. Each sets up the
# environment first, once.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
CORES ?= all

.PHONY: report real test lint bench docs lock clean

report: $(READY)
	$(BIN)/snakemake --cores $(CORES) results/biovid/report.html

# Real data that a package carries: both reports, and what few and wrong labels change.
real: $(READY)
	$(BIN)/snakemake --cores $(CORES) results/digits/report.html results/digits/privilege.html \
		results/watch/report.html results/watch/privilege.html

test: $(READY)
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/lint-imports --no-cache
	$(BIN)/mypy
	$(BIN)/snakemake --lint

bench: $(READY)
	for script in benchmarks/*.py; do $(BIN)/python $$script || exit 1; done

# The site of the documentation, which needs no network: docs/_build/html/index.html
docs: $(READY)
	$(BIN)/sphinx-build -q -W --keep-going -b html docs docs/_build/html

# The environment: made again when the list of packages or their locked versions change.
$(READY): pyproject.toml requirements.lock
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint requirements.lock --editable '.[all]'
	touch $@

# Exact versions of all that pyproject.toml asks for, resolved anew in an environment of its own.
lock:
	rm -rf .lock-env && $(PYTHON) -m venv .lock-env
	.lock-env/bin/python -m pip install --quiet --disable-pip-version-check '.[all]'
	.lock-env/bin/python -m pip freeze --exclude pkdot --exclude-editable | grep -v ' @ ' > requirements.lock
	rm -rf .lock-env

# Remove all that the workflow made; the environment, raw data and the tracking store stay.
clean:
	rm -rf results/*/ data/processed logs .snakemake
