# Sign & Noise. `make` alone lists the targets; README.md explains them.
SHELL   := /bin/sh
PYTHON  ?= python3
VENV    ?= .venv
PROFILE ?= quick
CHAPTER ?=
PARAMS  ?=
ARGS    ?=

PY    := $(VENV)/bin/python
STAMP := $(VENV)/.sign-and-noise
# PARAMS goes to run.py as it was typed, in one piece: neither make nor the shell reads a $, a quote or a space in it
unexport PARAMS
SETS   = $(if $(value PARAMS),--parameters '$(subst ','\'',$(value PARAMS))')

# tests run in a process a core, no more than four: each holds PyTorch
SPREAD := -n auto --maxprocesses 4

# a notebook's kernel finds this very lib and study, whatever else is installed
export PYTHONPATH := $(CURDIR)$(if $(PYTHONPATH),:$(PYTHONPATH))

.PHONY: help env reproduce book links refresh check test results verify mutate bench clean
.DEFAULT_GOAL := help

help:
	@echo 'make env         install everything into $(VENV); does nothing if it is there and current'
	@echo 'make reproduce   run all chapters and build the book     _build/quick/html/index.html, _build/html/index.html'
	@echo '                 PROFILE=paper  CHAPTER=05  PARAMS="model=resnet18 dataset=cifar10"'
	@echo '                 a value with a space stands in quotes: PARAMS="'"'dataset=imagefolder:/data/my birds' images=50"'"'
	@echo 'make book        build the published book alone          _build/html/index.html'
	@echo 'make check       format, lint, types, import directions and the tests of lib: under two minutes'
	@echo 'make test        make check, then all tests: pytest, nbval over notebooks/, the built book in a browser'
	@echo 'make results     the computations behind the published numbers: hours, resumable; ARGS="--models basic_cnn"'
	@echo 'make verify      recompute a cell of every kind of result and compare; ARGS="--seed 1"; ARGS=--stamp after a change of code'
	@echo 'make mutate      break kernels and experiments in listed ways: each must be caught, resumable; ARGS="--nbval --minutes 30" asks the chapters'
	@echo 'make bench       every method against other libraries and its floor: 20 minutes; ARGS="--methods rectgrad"; ARGS=--quick'
	@echo 'make links       ask every external link of the built book; needs a network'
	@echo 'make refresh     rewrite the stored chapters: notebooks/ (PROFILE=quick) or book/ (PROFILE=paper); CHAPTER=05'
	@echo 'make clean       remove _build/ and what tests leave behind; data/cache/ and $(VENV) stay'

env: $(STAMP)

# locked.txt has every package of constraints.txt with the hashes of its files, and under a condition
# what one system alone needs, such as CUDA's libraries on Linux; its first lines say how it is made
# anew. A build of torch that you put there first (2.14.1+cpu, say) is kept and its libraries are not
# fetched: versions are then those of constraints.txt, and hashes are not asked for.
$(STAMP): pyproject.toml constraints.txt locked.txt
	@$(PY) -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv $(VENV)
	@$(PY) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo 'error: $(VENV) has a Python older than 3.11; remove it and name a newer one: make env PYTHON=python3.11'; exit 1; }
	@# an installation that was cut short may have left half a package that pip takes for whole: install over it
	@again=; test ! -e $(VENV)/.installing || again=--ignore-installed; touch $(VENV)/.installing; \
	  set -ex; \
	  if $(PY) -c 'from importlib.metadata import version; exit("+" not in version("torch"))' 2>/dev/null; then \
	    $(PY) -m pip install --quiet --disable-pip-version-check $$again -c constraints.txt -e '.[study,book,test]'; \
	  else \
	    hashed="$(PY) -m pip install --quiet --disable-pip-version-check $$again --require-hashes --no-deps"; \
	    sed -n '/^setuptools==/,/[^\\]$$/p' locked.txt >$(VENV)/setuptools.txt; \
	    $$hashed -r $(VENV)/setuptools.txt; \
	    $$hashed --no-build-isolation -r locked.txt; \
	    $(PY) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .; \
	  fi
	@# the checkout is importable in this environment, and nowhere else: lib and study are not installed
	@$(PY) -c 'import pathlib, sysconfig; pathlib.Path(sysconfig.get_path("purelib"), "sign_and_noise_checkout.pth").write_text("$(CURDIR)\n")'
	@rm $(VENV)/.installing
	@touch $@

reproduce: env
	$(PY) notebooks/run.py $(CHAPTER) --profile $(PROFILE) $(SETS)
	$(PY) book/build.py --profile $(PROFILE)
	$(PY) book/build.py --pdf

book: env
	$(PY) book/build.py --pdf

links: env
	$(PY) book/links.py

refresh: env
	$(PY) notebooks/run.py $(CHAPTER) --profile $(PROFILE) --refresh $(SETS)

CHECKED := lib study book tests benchmarks notebooks

check: env
	$(PY) -m ruff format --check $(CHECKED)
	$(PY) -m ruff check $(CHECKED)
	$(PY) -m mypy
	OMP_NUM_THREADS=1 $(PY) -m pytest -q $(SPREAD) --dist worksteal --doctest-modules lib tests/test_imports.py tests/lib

test: check
	OMP_NUM_THREADS=1 $(PY) -m pytest $(SPREAD) --dist loadfile --ignore tests/lib --ignore tests/test_imports.py
	@# values are compared on processors like the one that the stored outputs were made on
	$(PY) -m notebooks.compare $(SPREAD) --dist loadfile

results: env
	$(PY) -m study.account.plan run $(ARGS)

verify: env
	$(PY) -m study.account.plan verify $(ARGS)

mutate: env
	$(PY) -m tests.mutate $(ARGS)

bench: env
	$(PY) -m benchmarks $(ARGS)

clean:
	rm -rf _build .pytest_cache .coverage *.egg-info
	find lib study notebooks book tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
	find notebooks book -name .ipynb_checkpoints -type d -prune -exec rm -rf {} +
