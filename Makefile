# Every target works from a fresh clone and needs only Python 3.11 or later. `make` lists them.
#   PYTHON=/path/to/python3.12   create the virtual environment with this interpreter
#   SEED=1 ARGS='--epochs 5'     settings of `make train`
#   WORKERS=1                    test processes; by default one per core, at most four, for the slow tests two
#   PARITY=0                     `make test` without PyTorch; the tests that compare with it are skipped and counted
#   QUICK=                       `make test` with XLA's own settings, by which it takes twice as long

VENV := .venv
BIN := $(VENV)/bin
PYTHON ?=
SEED ?=
ARGS ?=
WORKERS ?= logical
PARITY ?= 1
TEST := $(VENV)/.installed-test$(if $(filter 0,$(PARITY)),-base)
QUICK ?= $$($(BIN)/python -m tests.quick_flags)
NEWER := import sys; sys.exit(sys.version_info < (3, 11))

# The TPU compiler needs no TPU. It is installed separately, because beside JAX it makes every program look for one.
LIBTPU := $(if $(filter Linux-x86_64,$(shell uname -s)-$(shell uname -m)),$(VENV)/libtpu)
LIBTPU_VERSION := from importlib.metadata import requires; \
  print(next(name.split(";")[0] for name in requires("jax") if name.startswith("libtpu")))

# The tests that need no other deep-learning library, with the oldest versions of JAX and the newest ones.
COLAB := $(VENV)-colab
NEWEST := $(VENV)-newest
VERSIONS_TESTS := tests/test_layer_table.py tests/kernels/test_onednn.py tests/training -m "not slow"
# The newest of the interpreters that work here: a command of that name may be one of pyenv's that is switched off.
NEWEST_PYTHON = $(shell for candidate in python3.13 python3.12 $(HOME)/.pyenv/versions/3.13.*/bin/python \
  $(HOME)/.pyenv/versions/3.12.*/bin/python $(BIN)/python; do \
  if "$$candidate" -c 'import venv, ensurepip' 2>/dev/null; then echo "$$candidate"; break; fi; done)

# The slow tests of what XLA optimizes; compilation is most of the others' time. Runs that are killed choose themselves.
OPTIMIZED := tests/kernels tests/test_notebook.py tests/test_tpu_compile.py tests/test_tpu_notebook.py

# jax2onnx requires an older Orbax than training does, so it is installed separately too.
ONNX := $(VENV)/onnx

# The package of compiled convolutions has an environment of its own, because all tests would use it where it is. It is for
# Linux on x86-64, and a C++ compiler builds it.
CPU := $(VENV)-cpu
CPU_TESTS := tests/kernels/test_compiled_convolution.py tests/nn/test_convolution.py tests/nn/test_convolution_faults_of_xla.py -m "not slow"
COMPILER := $(if $(LIBTPU),$(shell command -v g++))

.NOTPARALLEL:
.PHONY: help train test test-slow test-colab test-cpu test-newest environments browser lint format docs notebooks bench colab clean

help:
	@echo "make train      train the example network and save a report in runs/ [SEED=1] [ARGS='--epochs 5']"
	@echo "make test       the tests, including the examples of the documentation [PARITY=0 without PyTorch]"
	@echo "make test-slow  the tests that take longer"
	@echo "make test-colab   layers, training and the notebooks with the versions that Colab has"
	@echo "make test-cpu   convolution with the package jaxnets-cpu, which a C++ compiler builds"
	@echo "make test-newest  the same with the newest JAX"
	@echo "make environments   install what these and the slow tests need beside $(VENV)"
	@echo "make browser    install Chromium and its driver, for the slow tests of pages (Debian and Ubuntu, as root)"
	@echo "make lint       ruff and mypy"
	@echo "make format     format the code with ruff"
	@echo "make docs       the documentation, in docs/_build/html"
	@echo "make notebooks  run those notebooks of the documentation whose code has changed, and store their outputs [ARGS=spiral_mlp]"
	@echo "make colab      the notebooks for Colab with the library inside, in build/colab"
	@echo "make bench      time jaxnets and other libraries on this CPU"
	@echo "make clean      delete the virtual environment and all build outputs; keeps runs/"

train: $(VENV)/.installed-experiments
	$(BIN)/python -m experiments.digits_cnn $(if $(SEED),--seed $(SEED)) $(ARGS)

test: $(TEST)
	$(if $(QUICK),XLA_FLAGS="$(QUICK)") $(BIN)/python -m pytest -m "not slow" -n $(WORKERS) --maxprocesses 4 --dist worksteal $(ARGS)

test-slow: $(TEST) $(LIBTPU) $(ONNX)
	$(if $(QUICK),XLA_FLAGS="$(QUICK)") PYTHONPATH=$(LIBTPU):$(ONNX) $(BIN)/python -m pytest -m slow $(OPTIMIZED:%=--ignore=%) -n $(WORKERS) --maxprocesses 2 --dist worksteal $(ARGS)
	PYTHONPATH=$(LIBTPU):$(ONNX) $(BIN)/python -m pytest $(OPTIMIZED) -m slow -n $(WORKERS) --maxprocesses 2 --dist worksteal $(ARGS)

test-colab: $(COLAB)/.installed $(if $(LIBTPU),$(COLAB)/libtpu)
	PYTHONPATH=$(COLAB)/libtpu $(COLAB)/bin/python -m pytest tests/test_tpu_notebook.py
	$(call test_versions,$(COLAB))

test-newest: $(NEWEST)/.installed
	$(call test_versions,$(NEWEST))

test-cpu: $(if $(COMPILER),$(CPU)/.installed)
ifeq ($(COMPILER),)
	@echo "skipped: jaxnets-cpu needs Linux on x86-64, and g++ to build it"
else
	XLA_FLAGS="$$($(BIN)/python -m tests.quick_flags)" $(CPU)/bin/python -m pytest $(CPU_TESTS) -n $(WORKERS) --maxprocesses 4 --dist worksteal $(ARGS)
endif

define test_versions
XLA_FLAGS="$$($(1)/bin/python -m tests.quick_flags)" $(1)/bin/python -m pytest $(VERSIONS_TESTS) -n $(WORKERS) --maxprocesses 4 --dist worksteal $(ARGS)
$(1)/bin/python -m pytest tests/test_notebook.py -n $(WORKERS) --maxprocesses 2 --dist worksteal
out=$$(mktemp -d) && $(1)/bin/python -m experiments.digits_cnn --epochs 2 --out "$$out/run" && rm -r "$$out"
endef

# What the tests need beside $(VENV), so that it can be installed while they run there.
environments: $(COLAB)/.installed $(if $(LIBTPU),$(COLAB)/libtpu) $(NEWEST)/.installed $(if $(COMPILER),$(CPU)/.installed) $(LIBTPU) $(ONNX)

# Without them the tests of pages are skipped.
browser:
	@if command -v chromium >/dev/null && command -v chromedriver >/dev/null; then exit 0; fi; \
	if ! command -v apt-get >/dev/null || [ "$$(id -u)" != 0 ]; then \
	  echo "install Chromium and chromedriver; on Debian and Ubuntu: sudo apt-get install chromium chromium-driver" >&2; exit 1; \
	fi; \
	echo "installing chromium and chromium-driver"; \
	apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium chromium-driver fonts-liberation >/dev/null

lint: $(VENV)/.installed-experiments $(VENV)/.installed-lint
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: $(VENV)/.installed-lint
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

docs: $(VENV)/.installed-docs
	$(BIN)/python -m sphinx -W --keep-going --quiet --write-all -b html docs docs/_build/html
	JAXNETS_SITE=docs/_build/html $(BIN)/python -m pytest --quiet --noconftest tests/test_site.py
	@echo "open docs/_build/html/index.html"

notebooks: $(TEST)
	$(BIN)/python docs/run_notebooks.py $(ARGS)

colab: $(VENV)/.created
	$(BIN)/python docs/colab.py build/colab

bench: $(VENV)/.installed-bench
	$(BIN)/python -m benchmarks cpu $(ARGS)

clean:
	rm -rf $(VENV) $(COLAB) $(CPU) $(NEWEST) build cpu/build dist docs/_build docs/reference *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# One stamp per extra of pyproject.toml: a second call installs nothing.
$(VENV)/.installed-%: pyproject.toml $(VENV)/.created
	@echo "installing jaxnets[$*] into $(VENV)"
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -e '.[$*]'
	@touch $@

.PRECIOUS: $(VENV)/.installed-%

$(COLAB)/.installed: pyproject.toml requirements/colab.txt $(VENV)/.created
	@echo "installing jaxnets[versions] into $(COLAB) with the versions that Colab has, for $$($(NEWEST_PYTHON) --version)"
	@$(NEWEST_PYTHON) -m venv $(COLAB)
	@$(COLAB)/bin/python -m pip install -qq --disable-pip-version-check -c requirements/colab.txt -e '.[versions]'
	@touch $@

$(COLAB)/libtpu: | $(COLAB)/.installed
	@echo "installing libtpu into $@"
	@$(COLAB)/bin/python -m pip install -qq --disable-pip-version-check --no-deps --target $@ \
	  "$$(grep '^libtpu==' requirements/colab.txt)"

# It sees what is installed in the environment of the tests.
$(CPU)/.installed: cpu/pyproject.toml cpu/setup.py cpu/src/convolution.cc cpu/jaxnets_cpu/__init__.py | $(TEST)
	@echo "building jaxnets-cpu and installing it into $(CPU)"
	@$(BIN)/python -m venv $(CPU)
	@$(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' \
	  >"$$($(CPU)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/tests.pth"
	@$(CPU)/bin/python -m pip install -qq --disable-pip-version-check ./cpu
	@touch $@

$(NEWEST)/.installed: pyproject.toml $(VENV)/.created
	@echo "installing jaxnets[versions] into $(NEWEST) with the newest JAX for $$($(NEWEST_PYTHON) --version)"
	@$(NEWEST_PYTHON) -m venv $(NEWEST)
	@$(NEWEST)/bin/python -m pip install -qq --disable-pip-version-check --upgrade -e '.[versions]'
	@touch $@

$(VENV)/libtpu: | $(TEST)
	@echo "installing libtpu into $@"
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --target $@ \
	  "$$($(BIN)/python -c '$(LIBTPU_VERSION)')"

$(ONNX): | $(TEST)
	@echo "installing jax2onnx into $@"
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --target $@ \
	  'jax2onnx>=0.17' onnx onnx-ir onnxruntime dm-pix

$(VENV)/.created:
	@python=; for candidate in $(if $(PYTHON),"$(PYTHON)",python3 python3.13 python3.12 python3.11); do \
	  if "$$candidate" -c '$(NEWER)' 2>/dev/null; then python=$$candidate; break; fi; \
	done; \
	if [ -z "$$python" ]; then \
	  echo "jaxnets needs Python 3.11 or later, but $(or $(PYTHON),python3) is: $$($(or $(PYTHON),python3) --version 2>&1)" >&2; \
	  echo "Install one, or name it: make PYTHON=/path/to/python3.12 ..." >&2; exit 1; \
	fi; \
	if ! "$$python" -c 'import venv, ensurepip' 2>/dev/null; then \
	  echo "$$python cannot create virtual environments: its module venv or ensurepip is missing." >&2; \
	  echo "On Debian and Ubuntu: apt install python3-venv" >&2; exit 1; \
	fi; \
	echo "creating $(VENV) with $$("$$python" --version)"; \
	"$$python" -m venv $(VENV)
	@touch $@
