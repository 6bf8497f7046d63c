# make run: set up and open the app.  make test: set up and test.  Nothing is installed outside .venv.
PYTHON ?= python3
TORCH ?= torch==2.13.0
# An index with the torch build you want, for example https://download.pytorch.org/whl/cu130
TORCH_INDEX ?=
VENV := .venv
BIN := $(VENV)/bin

.PHONY: run setup test lint clean

run: $(VENV)/.runtime
	$(BIN)/python app.py --open-browser

setup: $(VENV)/.development

test: $(VENV)/.development
	$(BIN)/python -m pytest -n 2 --dist loadfile

lint: $(VENV)/.development
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

$(VENV)/.runtime: requirements.txt
	$(PYTHON) -c "import sys; assert (3, 11) <= sys.version_info[:2] <= (3, 13), f'Python 3.11 to 3.13 is needed, this is {sys.version.split()[0]}: make PYTHON=python3.12 run'"
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) "$(TORCH)"
	$(BIN)/python -m pip install --quiet -r requirements.txt
	touch $@

$(VENV)/.development: requirements-dev.txt $(VENV)/.runtime
	$(BIN)/python -m pip install --quiet -r requirements-dev.txt
	touch $@

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache
