.PHONY: check quick format lock

check:  ## format, lint, types and every test, as CI runs them
	python3 scripts/bootstrap.py test

quick:  ## the tests that take seconds
	.venv/bin/pytest -m "not slow" -n auto

format:
	.venv/bin/ruff format .
	.venv/bin/ruff check --fix .

lock:  ## pin every package again, with hashes, for Python 3.11 and later on all platforms
	uv pip compile pyproject.toml -q --universal --generate-hashes --python-version 3.11 --upgrade \
		--custom-compile-command "make lock" -o requirements/run.txt
	uv pip compile pyproject.toml -q --universal --generate-hashes --python-version 3.11 --all-extras --group dev \
		--constraint requirements/run.txt --custom-compile-command "make lock" -o requirements/dev.txt
