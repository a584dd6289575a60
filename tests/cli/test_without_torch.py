"""Commands that need no network do not import torch, which takes longer than what they do."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from conspecific.index import Index
from conspecific.runs.directory import RunDirectory

PROBE = """
import json, sys
from conspecific.cli.main import main
for words in json.loads(sys.argv[1]):
    assert main(words) == 0
    assert (heavy := {"torch", "timm", "matplotlib"} & set(sys.modules)) == set(), (words, heavy)
"""


def test_a_dashboard_and_a_smaller_index_are_made_without_torch(run: RunDirectory, cache: Path, tmp_path: Path) -> None:
    index, page = tmp_path / "birds.index", tmp_path / "dashboard.html"
    Index.build(np.eye(3, dtype=np.float32), ["a.jpg", "b.jpg", "c.jpg"], kind="sq8").save(index, cache=cache)
    commands = [["dashboard", str(run.path.parent), f"output={page}"], ["index", str(index), "remove=b.jpg"]]
    environment = {**os.environ, "CONSPECIFIC_CACHE": str(cache)}
    done = subprocess.run(
        [sys.executable, "-c", PROBE, json.dumps(commands)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "1 run, 0 left out" in done.stdout and page.is_file()
    assert Index.open(index, cache=cache).images["path"].to_list() == ["a.jpg", "c.jpg"]
