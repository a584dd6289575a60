"""What the README shows is what there is."""

import re
import shlex
from pathlib import Path

import pytest
import torch
import yaml

from conspecific.cli.main import COMMANDS
from conspecific.config.compose import compose_config
from conspecific.config.targets import build, check_targets
from conspecific.metrics import metric_names

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def commands() -> list[list[str]]:
    lines = [line for block in blocks("sh") for line in block.splitlines() if "bin/conspecific" in line]
    return [shlex.split(line, comments=True)[1:] for line in lines]


def test_the_readme_shows_commands():
    assert {words[0] for words in commands()} == set(COMMANDS)


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_every_command_composes(words: list[str]):
    name, *rest = words
    config = compose_config(name, [word for word in rest if "=" in word])
    assert config, "a command without a configuration would do nothing"


def test_the_loss_to_add_is_a_loss():
    [text] = blocks("yaml")
    node = yaml.safe_load(text)
    check_targets(node, "loss")
    loss = build(node, "loss", num_classes=3, embedding_size=8)
    embeddings = torch.randn(6, 8, requires_grad=True)
    loss(embeddings, torch.tensor([0, 0, 1, 1, 2, 2])).backward()
    assert embeddings.grad is not None and embeddings.grad.abs().sum() > 0


def test_every_metric_is_explained():
    table = README[README.index("| metric | meaning |") :]
    for metric in metric_names():
        assert re.search(rf"`{re.sub(r'recall@[0-9]+', 'recall@k', metric)}`", table), metric


def test_every_file_it_names_is_there():
    named = re.findall(r"\]\(((?:docs|src|configs)/[^)]+)\)", README)
    named += re.findall(r"`((?:docs|src|scripts)/[\w/.]+\.\w+)`", README)
    assert named
    missing = [name for name in named if not (ROOT / name).exists()]
    assert not missing
