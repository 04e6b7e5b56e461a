# Everything runs in .venv; the constraints file pins the one set of packages that is tested.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# What a fresh pip would otherwise take is a torch build with gigabytes of GPU libraries.
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test test-all lint types docs site notebooks wheel clean

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) torch
	$(INSTALL) -e '.[dev]'
	touch $@

demo: $(VENV)/.installed  ## the main job on real input
	$(BIN)/disco sample notebooks/data/eight_schools.csv --num-chains 4 --seed 0 \
		--out out/eight_schools.nc --plot out/eight_schools.png

test: $(VENV)/.installed  ## all but those marked slow
	$(BIN)/python -m pytest -n auto -m "not slow"

test-all: $(VENV)/.installed  ## those too
	$(BIN)/python -m pytest -n auto

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed
	$(BIN)/mypy

docs: $(VENV)/.installed  ## examples in docstrings, in the README and on the site's pages
	$(BIN)/python -m pytest --doctest-modules disco_samplers integrations -p no:cacheprovider
	$(BIN)/python tests/run_examples.py

site: $(VENV)/.installed  ## the documentation site, in out/site, and a check of it
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet -b html -d out/doctrees docs out/site
	$(BIN)/python tests/check_site.py out/site

notebooks: $(VENV)/.installed  ## in short mode, without saving
	DISCO_SHORT=1 $(BIN)/python notebooks/execute.py --check

.PHONY: bounds release
bounds:  ## the tests with the lowest Python and the lowest versions, in .venv-bounds, where that Python is
	sh tests/check_bounds.sh

release: lint types test-all notebooks  ## all tests and notebooks, then dist/: sdist and wheel, checked, and tried on every supported Python that is there
	sh tests/check_release.sh

wheel: $(VENV)/.installed  ## a wheel in an empty environment, core only
	sh tests/check_wheel.sh

clean:
	rm -rf $(VENV) .venv-bounds build dist out *.egg-info
