"""conspecific serve: from the command to an answer, and back to the shell."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from urllib.request import Request, urlopen

import pytest

from conspecific.runs.directory import RunDirectory
from conspecific.types import EvalResult

from .conftest import COMMAND

Command = Callable[..., CompletedProcess[str]]


def test_a_run_is_served_until_ctrl_c(run: RunDirectory, cache: Path, tmp_path: Path) -> None:
    copied = shutil.copytree(run.path, tmp_path / "run")
    environment = {**os.environ, "CONSPECIFIC_CACHE": str(cache), "OMP_NUM_THREADS": "1"}
    words = [sys.executable, "-c", COMMAND, "serve", str(copied), "port=0", "device=cpu", "encode.backend=torch"]
    query = EvalResult.load(run.results / "test_model").per_query.row(0, named=True)
    file = Path(json.loads(run.summary.read_text())["data_root"]) / query["path"]
    with subprocess.Popen(
        words, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as server:
        try:
            assert server.stdout is not None
            shown: list[str] = []
            for line in iter(server.stdout.readline, ""):
                shown.append(line)
                if line.startswith("Search page"):
                    break
            address = shown[-1].split(": ")[1].split(" ")[0]
            upload = Request(f"{address}api/search", file.read_bytes(), {"content-type": "image/png"})
            with urlopen(upload, timeout=30) as response:
                found = json.load(response)
        finally:
            server.send_signal(signal.SIGINT)
            _, errors = server.communicate(timeout=30)
    assert (server.returncode, errors) == (0, "")
    assert shown[0].startswith("Data: 48 images of 6 species")
    assert shown[-1].startswith("Search page of 48 images: http://127.0.0.1:")
    nearest, before = found["model"]["answers"][0], found["reference"]["answers"][0]
    assert (nearest["path"], before["path"]) == (query["path"], query["path"])
    assert nearest["score"] == pytest.approx(1, abs=1e-4)
    assert 0 <= nearest["precision"] <= 1
    assert sorted(path.name for path in (copied / "embeddings").iterdir()) == ["all", "all_pooled_reference"]


def test_what_keeps_it_from_serving_is_told_first(
    conspecific: Command, run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = conspecific("serve", run.path, f"port={port}")
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: host=127.0.0.1 port={port} cannot be listened at: Address already in use.")
    assert conspecific("serve", run.path, "limits.seconds=0").stderr.startswith("error: limits.seconds must be above 0")
    monkeypatch.setattr("conspecific.cli.serve.find_spec", lambda name: None)
    done = conspecific("serve", run.path)
    assert (
        done.stderr == "error: serve needs the extra `serve` (fastapi and uvicorn): pip install 'conspecific[serve]'\n"
    )
