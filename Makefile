# Two commands do everything on a fresh machine with Python >= 3.11:
#   make demo   sets up and finds the heads in the shipped photograph
#   make test   sets up and runs the tests
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PICTURE ?= src/headsight/samples/astronaut.jpg

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

$(VENV)/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable .
	touch $@

$(VENV)/ready-dev: $(VENV)/ready
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) out .pytest_cache .ruff_cache .mypy_cache
