"""What the README shows is what there is; test_documentation.py reads the commands of every page."""

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

import conspecific
from conspecific.cli.main import COMMANDS
from conspecific.config.targets import build, check_targets
from conspecific.metrics import metric_names

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def commands() -> list[list[str]]:
    lines = [line for block in blocks("sh") for line in block.splitlines() if line.startswith("conspecific ")]
    return [shlex.split(line, comments=True)[1:] for line in lines]


def test_the_readme_shows_commands():
    assert {words[0] for words in commands()} == set(COMMANDS)


@pytest.mark.slow
def test_the_python_program_runs(
    make_folder: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    small = ["loader.image_size=64", "loader.train_size=64", "loader.classes_per_batch=4", "loader.samples_per_class=2"]
    small += [
        "loader.workers=0",
        "trainer.max_epochs=1",
        "trainer.accelerator=cpu",
        f"paths.cache={tmp_path / 'cache'}",
    ]
    photos = make_folder({f"species {letter}": 20 for letter in "abcd"}, name="photos")
    train = conspecific.train
    monkeypatch.setattr(conspecific, "train", lambda words: train([*words, *small]))
    monkeypatch.chdir(tmp_path)
    images = sorted(photos.rglob("*.png"))
    names = {"images": images, "labels": [path.parent.name for path in images]}
    [program] = blocks("python")
    exec(program, names)
    assert names["vectors"].shape[0] == 80 and names["vectors"].dtype == np.float32
    assert f"{names['result'].metrics['recall@4']}" in capsys.readouterr().out


def test_the_loss_to_add_is_a_loss():
    [text] = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "losses.md").read_text(), flags=re.DOTALL)
    node = yaml.safe_load(text)
    check_targets(node, "loss")
    loss = build(node, "loss", num_classes=3, embedding_size=8)
    embeddings = torch.randn(6, 8, requires_grad=True)
    loss(embeddings, torch.tensor([0, 0, 1, 1, 2, 2])).backward()
    assert embeddings.grad is not None and embeddings.grad.abs().sum() > 0


def test_every_metric_is_explained():
    report = (ROOT / "docs" / "report.md").read_text()
    table = report[report.index("| metric | meaning |") :]
    for metric in metric_names():
        assert re.search(rf"`{re.sub(r'recall@[0-9]+', 'recall@k', metric)}`", table), metric


def test_it_is_read_in_minutes():
    assert len(README.splitlines()) < 150


def test_every_file_it_names_is_there():
    named = re.findall(r"\]\(((?:docs|src|configs)/[^)]+)\)", README)
    named += re.findall(r"`((?:docs|src|scripts)/[\w/.]+\.\w+)`", README)
    assert named
    missing = [name for name in named if not (ROOT / name.partition("#")[0]).exists()]
    assert not missing
