# Needs Python >= 3.11 and make. Everything else is installed into $(VENV), once, and again when a lock file changes.
# pip's own settings hold: with PIP_EXTRA_INDEX_URL pointing to CPU builds of torch, `make test` downloads less.

VENV ?= .venv
# With it on the path each start of jax looks for a TPU, so it stays outside $(VENV).
LIBTPU ?= .libtpu
PYTHON := $(VENV)/bin/python
# The site of the documents is made without the project's own packages.
VENV_DOCS ?= .venv-docs
DOCS_PYTHON := $(VENV_DOCS)/bin/python
RUN_READY := $(VENV)/.ready-run
TEST_READY := $(VENV)/.ready-test
PIP := $(PYTHON) -m pip --disable-pip-version-check --quiet

.PHONY: demo test test-slow lint docs wheel clean

demo: $(RUN_READY)
	$(PYTHON) -m rl_reason.train --config=configs/grpo_math.py:tiny --workdir=runs/demo

test: lint
	$(PYTHON) -m pytest -n 2 -q

# One after the other: they measure memory and stop runs at given moments.
test-slow: $(TEST_READY) $(LIBTPU)/.ready
	PYTHONPATH=$(abspath $(LIBTPU)) $(PYTHON) -m pytest -q -m slow --durations=0

lint: $(TEST_READY)
	$(PYTHON) -m ruff check .
	$(PYTHON) -m mypy

docs: $(VENV_DOCS)/.ready
	$(DOCS_PYTHON) -m mkdocs build --strict
	@echo "site/index.html: the documents (their search needs a server: python3 -m http.server --directory=site)"

# Of what lies in build/ a wheel would have files that are gone.
wheel: $(TEST_READY)
	rm -rf build dist
	$(PIP) wheel . --no-deps --no-build-isolation --wheel-dir dist
	$(PYTHON) tests/packaging/try_wheel.py dist/rl_reason-*.whl

# A candidate counts if it runs, is new enough and can make virtual environments.
$(PYTHON) $(DOCS_PYTHON):
	@for python in python3.13 python3.12 python3.11 python3 python; do \
	  if $$python -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then \
	    echo "making $(@:/bin/python=) with $$($$python --version)"; \
	    $$python -m venv $(@:/bin/python=) || { rm -f $@; exit 1; }; \
	    exit 0; \
	  fi; \
	done; \
	echo "error: no Python >= 3.11 with the modules venv and ensurepip was found; install one and try again" >&2; exit 1

$(RUN_READY): requirements.lock setup.py | $(PYTHON)
	@echo "installing into $(VENV) (some minutes, once)"
	$(PIP) install -r requirements.lock
	$(PIP) install --no-deps -e .
	@touch $@

$(TEST_READY): requirements-test.lock requirements-gym.lock requirements-geometry.lock requirements-wandb.lock $(RUN_READY)
	$(PIP) install -r requirements-test.lock
	@$(PIP) install -r requirements-gym.lock || \
	  echo "reasoning-gym cannot be installed here (pycosat needs a C compiler): its tests are skipped"
	@$(PIP) install -r requirements-geometry.lock || \
	  echo "newclid cannot be installed here (py-yuclid is built with a C++ compiler): its tests are skipped"
	@$(PIP) install -r requirements-wandb.lock || echo "wandb cannot be installed here: its tests are skipped"
	@touch $@

$(VENV_DOCS)/.ready: requirements-docs.lock | $(DOCS_PYTHON)
	$(DOCS_PYTHON) -m pip --disable-pip-version-check --quiet install -r requirements-docs.lock
	@touch $@

$(LIBTPU)/.ready: requirements-tpu.lock | $(PYTHON)
	$(PIP) install --no-deps --upgrade --target $(LIBTPU) -r requirements-tpu.lock
	@touch $@

# A $(VENV) that is a link belongs to somebody else: only the link goes.
clean:
	if [ -L $(VENV) ]; then rm $(VENV); else rm -rf $(VENV); fi
	rm -rf $(LIBTPU) $(VENV_DOCS) site build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache
	find rl_reason configs experiments tests -name __pycache__ -prune -exec rm -rf {} +
