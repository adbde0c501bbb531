# Needs Python 3.11 or newer, make and a package index; everything else is set up on first use.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
OUT ?= out
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test test-fast lint figures docs bench clean
.DELETE_ON_ERROR:

# The main job: a real photograph on a real ImageNet network; made again when its code has changed, or by make clean.
demo: $(OUT)/demo/.done
	@echo "open $(OUT)/demo/report.html in a browser"

$(OUT)/demo/.done: $(shell find attacks curvature -type f -not -name '*.pyc') | $(VENV)/.demo
	$(BIN)/python -m attacks run --image chelsea --target coffee --curvature-every 100 --out $(OUT)/demo
	@touch $@

# One thread a worker: two workers on two cores must not fight for them.
test test-fast: export OMP_NUM_THREADS = 1

test: lint
	$(BIN)/python -m pytest -n 2 --dist loadfile

test-fast: $(VENV)/.dev
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow"

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

FEWER_COLOURS = $(BIN)/python -c "from PIL import Image; \
	Image.open('figures/output/fig20_contours.png').convert('RGB').quantize(256, kmeans=5).save('docs/contour.png', optimize=True)"

# Every figure of the supplement with its data, hours at first; then the pages that show them. With
# OPTIONS=--any-code, what another version of the code has computed is taken as it is.
# A verdict other than the one on record, or a figure that failed, keeps no page from being made, and shows in the
# exit status; Ctrl-C (130) ends it.
figures: | $(VENV)/.dev
	status=0; \
	for what in "all $(OPTIONS)" theorems contours gallery; do \
		$(BIN)/python -m figures $$what || status=$$?; \
		[ $$status -ne 130 ] || exit 130; \
	done; \
	$(FEWER_COLOURS) || status=$$?; \
	exit $$status

# The picture of the README; it is kept in the repository.
docs/contour.png: figures/fig20_contours.py figures/_contour.py | $(VENV)/.dev
	$(BIN)/python -m figures fig20
	$(FEWER_COLOURS)

# The API pages, from the docstrings.
docs: $(VENV)/.dev
	$(BIN)/python docs/api.py --out $(OUT)/docs

bench: $(VENV)/.dev
	$(BIN)/python -m benchmarks

# A stamp a set of extras; set-up runs again only when the requirements changed.
$(VENV)/.demo: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) --editable '.[attacks,demo]'
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) --editable '.[attacks,study,proofs,figures,demo,dev]'
	@touch $@ $(VENV)/.demo

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

clean:
	rm -rf $(VENV) $(OUT) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
