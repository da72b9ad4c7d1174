# Every target starts from nothing: it makes the virtual environment in .venv if it is not there.
# Needs Python 3.11 or newer as `python3` (or PYTHON=...), and GNU make.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
OUT ?= out

.DEFAULT_GOAL := help
.PHONY: help install tokenize reproduce test test-long check format benchmark clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

# Torch goes first and sam2 builds against it: sam2's build imports torch, and in an isolated build
# it would be unpacked a second time. SAM2_BUILD_CUDA=0 leaves out a CUDA extension nothing here uses.
$(VENV)/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade -c constraints.txt pip setuptools wheel
	$(BIN)/python -m pip install --quiet -c constraints.txt torch torchvision
	SAM2_BUILD_CUDA=0 $(BIN)/python -m pip install --quiet -c constraints.txt --no-build-isolation -e '.[dev]'
	touch $@

install: $(VENV)/.installed  ## create .venv and install everything, pinned

tokenize: install  ## scenes -> mask words with the packaged tokenizer; prints a table and a picture's path
	$(BIN)/python jobs/tokenize_corpus.py --source scenes --num-images 200 --split test --tokenizer tiny --reconstruct --output $(OUT)/tokenize

reproduce: install  ## the whole method on built-in scenes, in one to two hours; stopped, it goes on where it was
	$(BIN)/python jobs/reproduce_method.py --preset laptop --output $(OUT)/reproduce

# Two processes, which keep two cores busy; a file's tests share a cluster.
test: install  ## run the tests
	$(BIN)/python -m pytest -n 2 --dist loadfile

test-long: install  ## run the tests that take minutes each
	$(BIN)/python -m pytest -m long

check: install  ## formatting, lint, types, import layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: install  ## format and fix what can be fixed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

benchmark: install  ## print the benchmark ratios as JSON
	$(BIN)/python tests/benchmarks/encode.py
	$(BIN)/python tests/benchmarks/tokenize_corpus.py
	$(BIN)/python tests/benchmarks/reconstruction.py
	$(BIN)/python tests/benchmarks/train_tokenizer.py
	$(BIN)/python tests/benchmarks/sft.py

clean:  ## remove outputs, keep the environment
	rm -rf $(OUT) build dist
