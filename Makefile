# `make help` says what each target does.
PYTHON ?= python3
VENV ?= .venv
WORKERS ?= 2
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# The order of tests/durations.py, in which the longest begin first, is kept. A test that kills its process ends them
# all: beside a process that took its place, pytest-xdist 3.8 would wait for ever for the last ones.
SIDE_BY_SIDE := -n $(WORKERS) --dist loadgroup --no-loadscope-reorder --max-worker-restart=0

# Where it is set, each of the thousands of processes that the tests start would compile all modules again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup demo test check tests quick gpu slurm cluster soak docs clean

help:
	@echo 'make demo    set up, then train two small networks on real images; about 5 minutes'
	@echo 'make test    set up, then everything that CI runs: check, then all tests'
	@echo 'make check   ruff and mypy alone'
	@echo 'make tests   all tests without the checks; PYTEST="-k resume" picks some'
	@echo 'make quick   for the inner loop: the unit tests that are short'
	@echo 'make gpu     the tests that need a GPU, then the self-test on all GPUs of this machine; refused where there is none'
	@echo 'make slurm   of all tests, those on a real Slurm of their own, which needs root on Debian'
	@echo 'make cluster raise that Slurm to play with; it prints how'
	@echo 'make soak    many disturbances at random places, compared bit for bit; half an hour'
	@echo 'make setup   the environment alone: .venv, with the versions of constraints.txt'
	@echo 'make docs    the documentation as HTML, a page for each module, in site/'
	@echo 'make clean   remove .venv and what tests and tools leave; never runs/ or data/'
	@echo 'WORKERS=N    with tests, quick: processes to test in, 2; each may run a Slurm cluster, and tests with time limits need their cores'
	@echo 'IMAGES=DIR   with demo: a folder that holds Fashion-MNIST already'

setup: $(STAMP)

# Anew whenever a dependency changes; a build that broke off leaves no stamp and is made again.
$(STAMP): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo 'Python is missing: apt-get install python3 python3-venv'; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' \
	  || { echo '$(PYTHON) is none of 3.11 to 3.13: name one, make PYTHON=python3.11'; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
	  || { echo 'The venv module is missing: apt-get install python3-venv'; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: $(STAMP)
	@$(BIN)/python launch/demo.py $(if $(IMAGES),--images '$(IMAGES)')

test: check tests

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

tests: $(STAMP)
	@$(BIN)/python tests/slurm/packages.py
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) --durations=10 $(PYTEST)

# Of the unit tests, those that tests/durations.txt does not name.
quick: $(STAMP)
	$(BIN)/python -m pytest tests/unit --quick $(SIDE_BY_SIDE) $(PYTEST)

# torch may see a GPU that has no device file, the files one that this build of torch can't use, which the self-test tells.
gpu: $(STAMP)
	@$(BIN)/python -c 'import torch; from launch.gpus import visible_gpus; exit(not (visible_gpus() or torch.cuda.is_available()))' \
	  || { echo 'No GPU here (no /dev/nvidia*, or CUDA_VISIBLE_DEVICES names none): nothing was tested. On the CPU: python launch/local.py +exp=self_test nproc=2'; exit 1; }
	@$(BIN)/python -m pytest -m gpu $(PYTEST) || [ $$? = 5 ] # 5: there are none
	$(BIN)/python launch/local.py +exp=self_test $(SELF_TEST)

slurm: $(STAMP)
	@$(BIN)/python tests/slurm/packages.py
	$(BIN)/python -m pytest tests/slurm $(PYTEST)

cluster: $(STAMP)
	@$(BIN)/python tests/slurm/packages.py
	@$(BIN)/python tests/slurm

soak: $(STAMP)
	@$(BIN)/python tests/slurm/packages.py
	$(BIN)/python -m pytest -m soak -s $(PYTEST)

docs: $(STAMP)
	$(BIN)/python docs/pages.py

clean:
	rm -rf site $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
