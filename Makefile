# `make report` and `make test` set up everything they need; `make help` lists the rest.
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
BUILD := build
# How many processes answer questions, train networks or run tests; what comes out is the same.
JOBS ?= $(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
# Small recurrent networks run many times slower on two threads than on one.
export OMP_NUM_THREADS = 1
export MKL_NUM_THREADS = 1
export OPENBLAS_NUM_THREADS = 1
export NUMEXPR_NUM_THREADS = 1
# joblib's workers and numpy alike: one seed a process, one thread a seed.
export VECLIB_MAXIMUM_THREADS = 1
# What Python compiled is kept, also where containers turn that off: every process would compile all of it anew.
unexport PYTHONDONTWRITEBYTECODE
BROWSER := tests/browser
# What `make nightly` tries besides: of these Pythons those that are installed, and kernels that OpenBLAS takes on other
# processors.
PYTHONS ?= python3.11 python3.12 python3.13 python3.14
CORETYPES ?= Prescott Haswell SkylakeX

.DEFAULT_GOAL := help
.PHONY: help setup train report pages study panel nightly clean-rooms explorer browser check test exhaustive packages \
        coverage mutants mutants-sample lint types gallery docs dist clean

help:  ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.installed  ## create .venv and install the project with its development tools

# Without the stamp the folder is of unknown state (an interrupted install), so it is made anew. The stamp goes
# before an install and comes back after it: an interrupted one leaves none.
$(VENV)/.installed: pyproject.toml
	@echo "installing into $(VENV), which takes minutes the first time"
	@test -f $@ || $(PYTHON) -m venv --clear $(VENV)
	@rm -f $@
	@$(PY) -m pip install --quiet --upgrade "pip>=25.1"
	$(call step,installed into $(VENV),$(PY) -m pip install --quiet --editable '.[all]' --group dev)
	@touch $@

# $(call step,WORDS,COMMAND): says a line when a command is done, with its time; its results lie in files.
step = @start=$$(date +%s); $(2) >/dev/null && echo "$(1): $$(($$(date +%s) - start)) s"
# In a log a step is one line; in a terminal a bar says how far it is.
QUIET := $(shell test -t 2 || echo --quiet)

train: $(VENV)/.installed  ## train seed 0 of the counter into build/models/counter
	$(call step,trained seed 0 of the counter into $(BUILD)/models,\
	  $(PY) -m models.train --recipe counter --seed 0 --out $(BUILD)/models/counter/seed-0 --overwrite)

report: train  ## train and measure seed 0, answer, and build the pages: build/reports/counter/index.html
	$(call step,answered the questions about counters,$(PY) -m analyses counter $(QUIET))
	$(call step,answered the questions about flip-flops,$(PY) -m analyses flipflop $(QUIET))
	$(call step,measured the counter that was trained here,$(VENV)/bin/rnn-probe report analyses/counter/here.py \
	  -o $(BUILD)/reports/here --up ../index.html --jobs $(JOBS) $(QUIET))
	$(call step,wrote the index of all pages,$(VENV)/bin/rnn-probe site $(BUILD)/reports/counter \
	  $(BUILD)/reports/flipflop $(BUILD)/reports/here -o $(BUILD)/reports)
	@echo "The page to open: $(BUILD)/reports/counter/index.html"

pages: $(VENV)/.installed  ## rebuild the committed pages from the committed measurements
	$(PY) -m analyses counter --findings $(BUILD)/pages/counter --out reports/counter
	$(PY) -m analyses flipflop --findings $(BUILD)/pages/flipflop --out reports/flipflop
	$(VENV)/bin/rnn-probe site reports/counter reports/flipflop -o reports

study: $(VENV)/.installed  ## train and measure every network of the study; what is there and right is kept (hours)
	$(PY) -m models.train --population all --missing --out $(BUILD)/zoo --jobs $(JOBS) --resume
	test ! -d $(BUILD)/zoo || $(PY) -m models.packing $(BUILD)/zoo
	$(PY) -m analyses counter --measure --jobs $(JOBS)
	$(PY) -m analyses flipflop --measure --jobs $(JOBS)

panel: $(VENV)/.installed  ## measure a fixed panel of networks and a hundredth of the others again, and compare
	$(PY) -m analyses counter --verify --jobs $(JOBS)
	$(PY) -m analyses flipflop --verify --jobs $(JOBS)

nightly: exhaustive packages coverage mutants  ## all that takes hours: long tests, all mutations, all measurements, other Pythons and processors
	$(PY) -m analyses counter --verify --everything --jobs $(JOBS)
	$(PY) -m analyses flipflop --verify --everything --jobs $(JOBS)
	for core in $(CORETYPES); do OPENBLAS_CORETYPE=$$core $(MAKE) pages && git diff --exit-code reports/ || exit 1; done
	$(MAKE) clean-rooms
	for python in $(PYTHONS); do \
	  $$python --version || continue; \
	  $(MAKE) test PYTHON=$$python VENV=$(BUILD)/$$python ONLY="tests/repo tests/browser" || exit 1; \
	done

# pyenv's commands run each Python that it has. On the oldest one the lowest versions are tried too.
clean-rooms: dist  ## try the wheel on each Python there is, its tests in random order, and the lowest versions (gigabytes)
	export PYENV_VERSION="$$(pyenv versions --bare 2>/dev/null | paste -sd: -)"; low=lowest; \
	for python in $(PYTHONS); do \
	  $$python --version || continue; \
	  for versions in newest $$low; do .ci/clean_room $$python random $$versions || exit 1; done; low=; \
	done

browser: $(BROWSER)/node_modules/.installed  ## install what the tests in a real browser need (Node.js)

$(BROWSER)/node_modules/.installed: $(BROWSER)/package-lock.json
	npm ci --silent --no-audit --no-fund --prefix $(BROWSER)
	touch $@

# The page's script and the licence of what it contains; both are committed, so that nobody else needs Node.js.
explorer:  ## build the page's explorer from js/ (Node.js): probe/explorer/explorer.js
	npm ci --silent --no-audit --no-fund --prefix js
	npm run --silent --prefix js build
	npm test --silent --prefix js

check: lint types test  ## what a change must pass: style, types, tests

# A file's tests stay in one process: tests/conftest.py.
TESTS := $(PY) -m pytest -n $(JOBS) --durations=10
# Each call is checked against its annotations.
CHECKS := --jaxtyping-packages=probe,models,analyses,reports,beartype.beartype

# ONLY: what pytest takes to choose files or folders.
test: $(VENV)/.installed  ## run the tests
	$(TESTS) $(ONLY)

packages: $(VENV)/.installed  ## run the tests with networks that are downloaded from packages
	$(PY) -m pytest -q -m packages

exhaustive: $(VENV)/.installed  ## run the long tests, which make test leaves out
	$(TESTS) -m exhaustive

coverage: $(VENV)/.installed  ## run the tests, and fail where less than 95 % of probe/ is run
	$(TESTS) $(CHECKS) --cov --cov-report=term:skip-covered --cov-fail-under=95

mutants: $(VENV)/.installed  ## break the code on purpose, one theorem or contract at a time, and see that a test fails
	$(PY) -m benchmarks.mutants

mutants-sample: $(VENV)/.installed  ## a sample of these that the commit chooses, and of generated ones
	$(PY) -m benchmarks.mutants --sample 12 --generate 8 --seed "$$(git rev-parse HEAD)"

lint: $(VENV)/.installed  ## check style
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

types: $(VENV)/.installed  ## check types
	$(PY) -m basedpyright

gallery: $(VENV)/.installed  ## draw the pictures of docs/gallery.md and docs/start.md anew
	$(PY) -m benchmarks.gallery

# The variable turns off an announcement of the theme's makers. Not --quiet: it hides warnings, and --strict then counts none.
docs: $(VENV)/.installed  ## build the documentation into build/docs; a warning is an error
	NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --strict

# pyroma leaves one thing out: authors have no mail address here. zizmor looks for holes in what a release runs.
dist: $(VENV)/.installed  ## build the sdist, and from it the wheel, into dist/, and check them as package indexes do
	rm -rf dist
	$(PY) -m build --no-isolation
	$(PY) -m twine check --strict dist/*
	$(VENV)/bin/check-wheel-contents dist/*.whl
	$(VENV)/bin/validate-pyproject pyproject.toml
	$(VENV)/bin/pyroma --min 10 --skip-tests AuthorEmail .
	$(VENV)/bin/repo-review --show err .
	$(VENV)/bin/zizmor --offline .github
	$(VENV)/bin/pre-commit validate-config

clean:  ## remove what was built (not .venv)
	rm -rf $(BUILD) dist .pytest_cache .ruff_cache .hypothesis .coverage
