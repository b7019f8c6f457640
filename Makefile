# Two commands do everything on a fresh machine with Python 3.11 or newer:
#   make demo   sets up and finds the heads in the shipped photograph
#   make test   sets up and runs the tests
# Each sets up only what is missing; the files .venv/ready* say what is there.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
PICTURE ?= src/headsight/samples/astronaut.jpg
NEEDS := pyproject.toml constraints.txt

.PHONY: demo test check lint types clean

demo: $(VENV)/ready
	$(BIN)/headsight heads $(PICTURE) --save out/heads.png --overwrite
	@echo "The drawn picture is out/heads.png"

test: $(VENV)/ready-dev
	$(BIN)/python -m pytest

check: lint types test

lint: $(VENV)/ready-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/ready-dev
	$(BIN)/mypy

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	  echo "No virtual environment could be made. On Debian: apt install python3-venv" >&2; exit 1; }

$(VENV)/ready: $(NEEDS) | $(BIN)/python
	$(PIP) --editable .
	@touch $@

$(VENV)/ready-dev: $(VENV)/ready
	$(PIP) --editable '.[dev]'
	@touch $@

clean:
	rm -rf $(VENV) out .pytest_cache .ruff_cache .mypy_cache .hypothesis
