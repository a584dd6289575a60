.DEFAULT_GOAL := help
.PHONY: help check quick format site lock audit

help:  ## list these targets
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile | expand -t 9

check:  ## install, then format, lint, types, every test and coverage: what CI runs
	python3 scripts/bootstrap.py test

quick:  ## the tests that take seconds
	.venv/bin/pytest -m "not slow" -n auto

format:  ## format the code and repair what ruff can repair
	.venv/bin/ruff format .
	.venv/bin/ruff check --fix .

site:  ## show the documentation as a site while it is written
	NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs serve

lock:  ## upgrade and pin every package, with hashes, for Python 3.11 and later on all platforms (needs uv)
	uv pip compile pyproject.toml -q --universal --generate-hashes --python-version 3.11 --extra openvino --upgrade \
		--custom-compile-command "make lock" -o requirements/run.txt
	uv pip compile pyproject.toml -q --universal --generate-hashes --python-version 3.11 --all-extras --group dev --group docs \
		--constraint requirements/run.txt --custom-compile-command "make lock" -o requirements/dev.txt

audit:  ## compare the locked packages with known vulnerabilities (needs uv and the network)
	uvx --from 'pip-audit>=2.9,<3' pip-audit --vulnerability-service osv --disable-pip --require-hashes \
		--requirement requirements/run.txt --requirement requirements/dev.txt
