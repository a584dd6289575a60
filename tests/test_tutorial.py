"""The commands and the program of the tutorial run as they stand there, on tiny drawn photographs."""

import json
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.request import Request, urlopen

import pytest
import uvicorn
from PIL import Image

import conspecific
from conspecific.cli.main import main

TUTORIAL = (Path(__file__).resolve().parents[1] / "docs" / "tutorial.md").read_text()
SMALL = [
    "model=timm",
    "model.backbone=test_resnet",
    "model.weights=none",
    "recipe.folds=0",
    "recipe.cached_augmentations=2",
    "loader.image_size=64",
    "loader.train_size=64",
    "loader.classes_per_batch=4",
    "loader.samples_per_class=2",
    "loader.workers=0",
    "trainer.accelerator=cpu",
    "trainer.max_epochs=1",
]


def lines(language: str) -> list[str]:
    blocks = re.findall(rf"```{language}\n(.*?)```", TUTORIAL, flags=re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line]


@pytest.fixture
def here(make_folder: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with photos/ and new.jpg, where the caches are too."""
    folder = make_folder({f"species_{letter}": 10 for letter in "abcd"}, name="photos")
    for file in sorted(folder.rglob("*.png")):
        Image.open(file).save(file.with_suffix(".jpg"))
        file.unlink()
    Image.new("RGB", (64, 48), "olive").save(tmp_path / "new.jpg")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CONSPECIFIC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("conspecific.runs.gallery.can_write", lambda: False)  # the export takes seconds
    return tmp_path


@pytest.fixture
def answered(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """What each server that is started answers to new.jpg, after which it ends as by Ctrl-C."""
    found: list[Any] = []
    run = uvicorn.Server.run

    def run_and_ask(server: uvicorn.Server, sockets: list[Any]) -> None:
        thread = Thread(target=run, args=(server, sockets))
        thread.start()
        try:
            address = f"http://127.0.0.1:{sockets[0].getsockname()[1]}/api/search"
            upload = Request(address, Path("new.jpg").read_bytes(), {"content-type": "image/jpeg"})
            with urlopen(upload, timeout=20) as response:
                found.append(json.load(response))
        finally:
            server.should_exit = True
            thread.join()

    monkeypatch.setattr(uvicorn.Server, "run", run_and_ask)
    yield found


@pytest.mark.slow
def test_ten_commands_and_ten_lines_lead_to_a_search_page(
    here: Path, answered: list[Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    commands = [shlex.split(line, comments=True) for line in lines("sh")]
    assert [words[0] for words in commands] == ["conspecific"] * 10
    for _, name, *words in commands:
        added = {"train": SMALL, "serve": ["port=0"]}.get(name, [])
        assert main([name, *words, *added]) == 0, (name, words, capsys.readouterr())
    assert len(answered[0]["model"]["answers"]) == 10
    shown = capsys.readouterr().out
    assert "Nearest to new.jpg of 40 images" in shown
    assert "0 new, 0 changed, 0 gone" in shown
    assert {"dashboard.html", "first", "triplet"} <= {path.name for path in Path("runs").iterdir()}

    program, (train, serve) = lines("python"), (conspecific.train, conspecific.serve)
    monkeypatch.setattr(conspecific, "train", lambda words: train([*words, *SMALL]))
    monkeypatch.setattr(conspecific, "serve", lambda run: serve(run, ["port=0"]))
    assert len(program) == 10
    names: dict[str, Any] = {}
    exec("\n".join(program), names)
    assert len(answered) == 2
    assert len(names["index"]) == 40 and names["found"].ids.shape == (1, 10)
