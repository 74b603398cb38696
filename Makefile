# make demo: trains on made-up heads with nothing but python3 here before.
# make test: lint, types, tests. make bench: the README's tables.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
WORKDIR ?= runs/cga

.PHONY: demo test lint types pytest slow format bench clean

demo: $(VENV)/.installed
	$(BIN)/python -m brainjax.main --config=configs/cga.py --workdir=$(WORKDIR)

test: lint types pytest

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-test
	$(BIN)/mypy

pytest: $(VENV)/.installed-test
	$(BIN)/python -m pytest -q -n 2 --dist loadfile

slow: $(VENV)/.installed-test
	$(BIN)/python -m pytest -q --run-slow -m slow

format: $(VENV)/.installed-test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.installed-bench
	$(BIN)/python -m benchmarks.case
	$(BIN)/python -m benchmarks.pipeline
	$(BIN)/python -m benchmarks.metrics
	$(BIN)/python -m benchmarks.convolution --peer torch
	$(BIN)/python -m benchmarks.speed --peer torch
	$(BIN)/python -m benchmarks.complexity
	$(BIN)/python -m benchmarks.images
	$(BIN)/python -m benchmarks.scaling

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(VENV)/bin/python pyproject.toml
	$(BIN)/python -m pip install -q -e .
	touch $@

$(VENV)/.installed-%: $(VENV)/.installed
	$(BIN)/python -m pip install -q -e '.[$*]'
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis
