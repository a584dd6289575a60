"""The notebook runs from its first cell to its last, on less data."""

import json
from pathlib import Path
from typing import Any

import pytest

NOTEBOOK = Path(__file__).parents[2] / "examples" / "quickstart.ipynb"


@pytest.mark.slow
def test_the_notebook_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    less = {"species": 6, "images": 8, "size": 96, "protocol": "seen", "epochs": 1}
    names: dict[str, Any] = {}
    for cell in json.loads(NOTEBOOK.read_text())["cells"]:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), str(NOTEBOOK), "exec"), names)
        if "parameters" in cell["metadata"].get("tags", []):
            names |= less | {"runs": str(tmp_path / "runs"), "cache": str(tmp_path / "cache")}
    assert names["vectors"].shape[0] == 24
    model = names["run"].test["model"].metrics
    both = names["after"].metrics.keys() & model.keys()
    assert {"recall@1", "map@r"} <= both
    assert {name: names["after"].metrics[name] for name in both} == pytest.approx({name: model[name] for name in both})
    assert [change.metric for change in names["differences"]] == list(names["after"].metrics)
    assert names["contact_sheet"].size == (6 * 96, 3 * 96)
    assert "Report: " in capsys.readouterr().out
