"""Pictures and baselines that the trainings here share."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where drawn pictures and baselines are kept; the first training fills it, the others find them there."""
    return tmp_path_factory.mktemp("cache")
