"""What the project needs is declared, bounded, and locked with hashes."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
OPTIONAL: dict[str, list[str]] = PROJECT["project"]["optional-dependencies"]
PARTS = {
    "build": PROJECT["build-system"]["requires"],
    "core": PROJECT["project"]["dependencies"],
    **OPTIONAL,
    **PROJECT["dependency-groups"],
}


def name_of(requirement: str) -> str:
    found = re.match(r"[\w.-]+", requirement)
    assert found
    return re.sub(r"[-_.]+", "-", found[0]).lower()


def test_every_requirement_is_bounded_above() -> None:
    loose = [each for part in PARTS.values() for each in part if not re.search(r"<|==\d", each.partition(";")[0])]
    assert loose == []


def test_every_package_that_is_imported_is_declared() -> None:
    declared = {name_of(each) for part in (PROJECT["project"]["dependencies"], *OPTIONAL.values()) for each in part}
    of, imported = packages_distributions(), set()
    for file in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                imported.add(node.module.partition(".")[0])
    foreign = imported - sys.stdlib_module_names - {"conspecific"}
    assert {name for name in foreign if declared.isdisjoint(map(name_of, of.get(name, [name])))} == set()


@pytest.mark.parametrize("lock", ["run.txt", "dev.txt"])
def test_every_pin_has_hashes_and_no_file_names_a_registry(lock: str) -> None:
    text = (ROOT / "requirements" / lock).read_text()
    pins = re.split(r"^(?=[\w.-]+==)", text, flags=re.MULTILINE)[1:]
    assert len(pins) > 50 and all("--hash=sha256:" in pin for pin in pins)
    assert "://" not in text and "index-url" not in text
