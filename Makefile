# `make demo` and `make test` each start from a bare machine with Python 3.11 or newer and are quick the second time.

PYTHON ?= python3
VENV ?= .venv
EXAMPLE := examples/compare_models/compare_models.ipynb

bin := $(VENV)/bin
pip := $(bin)/python -m pip --disable-pip-version-check -qq
sources := pyproject.toml setup.cfg

.DELETE_ON_ERROR:
.PHONY: help demo test quick check lint types contracts docs clean

help:
	@echo "make demo    install kale-nb into $(VENV) and run the example notebook as a pipeline"
	@echo "make test    install what the tests need and run them all"
	@echo "make quick   the part of the tests that takes seconds"
	@echo "make check   lint, types, import contracts and generated docs"
	@echo "make docs    write the generated docs anew"
	@echo "make clean   remove $(VENV) and what the tools left"

demo: $(VENV)/installed-examples
	$(bin)/kale run $(EXAMPLE)

# The fast part needs no kernel; the next talks to a Kubernetes API, and waits more than it works; the last starts a kernel or more a test.
# PYTEST_ARGS goes to all: make test PYTEST_ARGS="-k marks". A part of which no test was asked for (5) has not failed.
test: $(VENV)/installed-test
	@failed=0; set -x; \
	$(bin)/pytest -q -n 2 -m "not kernel and not k8s" $(PYTEST_ARGS) || test $$? = 5 || failed=1; \
	$(bin)/pytest -q -n 3 -m "k8s and not kernel" $(PYTEST_ARGS) || test $$? = 5 || failed=1; \
	$(bin)/pytest -q -n 2 -m kernel $(PYTEST_ARGS) || test $$? = 5 || failed=1; \
	{ set +x; } 2>/dev/null; exit $$failed

# What takes seconds: no kernel, no Kubernetes, and without the hundreds of notebooks that run both ways.
quick: $(VENV)/installed-test
	$(bin)/pytest -q -n 2 -m "not kernel and not k8s" --ignore=tests/differential $(PYTEST_ARGS)

check: lint types contracts docs-current

lint: $(VENV)/installed-dev
	$(bin)/ruff check
	$(bin)/ruff format --check

types: $(VENV)/installed-dev
	$(bin)/mypy

contracts: $(VENV)/installed-dev
	$(bin)/lint-imports --no-logo

.PHONY: docs-current
docs-current: $(VENV)/installed-dev
	$(bin)/python docs/generate.py --check

docs: $(VENV)/installed-dev
	$(bin)/python docs/generate.py

$(VENV)/made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo "kale-nb needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1 | head -n 1). Try: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "$(PYTHON) cannot make virtual environments; on Debian or Ubuntu: apt install python3-venv" >&2; exit 1; }
	@echo "Making a virtual environment in $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/installed-%: $(VENV)/made $(sources)
	@echo "Installing kale-nb[$*] into $(VENV) (about a minute the first time)"
	@$(pip) install -e '.[$*]'
	@touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
