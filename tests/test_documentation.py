"""Every command and every program of the documentation is one that works, and every message it names is one that is
printed. Commands are read by the command line itself, up to the point where the work would begin."""

import ast
import importlib.util
import re
import shlex
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import duckdb
import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file, save_file

import conspecific
from conspecific.cli.arguments import divide, read, read_training
from conspecific.cli.commands import COMMANDS
from conspecific.cli.keys import keys_of
from conspecific.cli.main import QUIET, VERBOSE
from conspecific.config.compose import checked, compose_config
from conspecific.models.embedder import build_embedder
from conspecific.training.replay import Replayed

ROOT = Path(__file__).resolve().parents[1]
PAGES = ["README.md", "CONTRIBUTING.md", *(f"docs/{file.name}" for file in sorted((ROOT / "docs").glob("*.md")))]
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
OF_OTHERS = {("make",), ("hf", "auth", "login"), ("source", ".venv/bin/activate"), ("git", "worktree", "add")}
RECORDS, EARLIER = {"docs/results.md", "docs/log.md"}, "experiment=arcface,triplet"  # of the version that they name
RUN_ELSEWHERE = {"README.md", "docs/tutorial.md"}  # whose programs run at length in test_readme.py and test_tutorial.py


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def programs(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text_of(page), flags=re.DOTALL)


def commands_of(page: str) -> Iterator[list[str]]:
    """The words of each command in a block, and of those of this program that the text names with their arguments."""
    for block in programs(page, "sh"):
        for line in block.replace("\\\n", " ").splitlines():
            line = re.sub(r'^eval "\$\((.*)\)"|^source <\((.*)\)|(.*) \| source', r"\1\2\3", line)
            if words := shlex.split(line, comments=True):
                yield words
    for line in re.findall(r"(?<!`)`(conspecific [a-z]+ [^`…]*)`", text_of(page)):
        if not re.search(r"COMMAND|KEY=VALUE|=NAME\b|=PROTOCOL\b|=V$| D$", line):
            yield shlex.split(line)


def check_conspecific(words: list[str]) -> None:
    """Read the words as the program does; a run that is resumed is not there, and is left out."""
    name, *rest = (re.sub(r"\{\}|\$[A-Z_]+", "3", word) for word in words)  # what xargs or SLURM put there
    if name.startswith("--"):
        assert name in ("--help", "--version")
        return
    everywhere = ("--help", *QUIET, *VERBOSE)
    given = divide(COMMANDS[name], [word for word in rest if not word.startswith("resume=") and word not in everywhere])
    if given.multirun:
        read_training(given)
    elif name == "train":
        assert not given.words, f"train takes KEY=VALUE alone: {given.words}"
        checked(compose_config(name, given.overrides), COMMANDS[name].schema)  # all but what -m needs, in half the time
    else:
        read(COMMANDS[name], given)


def check_bootstrap(words: list[str]) -> None:
    task, *rest = words
    assert task in ("train", "test")
    while "--extra" in rest:
        place = rest.index("--extra")
        assert rest[place + 1] in EXTRAS
        del rest[place : place + 2]
    if task == "train":
        check_conspecific(["train", *rest])


@cache
def check(*words: str) -> None:
    """Fail where a command is none that works."""
    program, *rest = words
    python = program in ("python", "python3", ".venv/bin/python")
    if program.removeprefix(".venv/bin/") == "conspecific":
        check_conspecific(rest)
    elif python and rest[0].endswith("scripts/bootstrap.py"):
        check_bootstrap(rest[1:])
    elif words[:2] == ("pip", "install") or (python and rest[:3] == ["-m", "pip", "install"]):
        assert set("".join(re.findall(r"\[(.+)\]", rest[-1])).split(",")) - {""} <= EXTRAS.keys()
    elif python:
        assert (ROOT / rest[0].removeprefix("../before/")).is_file()
        if "scripts/train.py" in rest[0]:
            check_conspecific(["train", *rest[1:]])
    elif program == "seq":  # | xargs
        check_conspecific(rest[rest.index("conspecific") + 1 :])
    elif program == "curl":
        [address] = re.findall(r"http://127.0.0.1:8000/api(/[^\s?]+)", " ".join(rest))
        assert f'"{address}"' in (ROOT / "src/conspecific/serving/app.py").read_text()
    elif program == "wandb":
        assert (ROOT / rest[1]).is_file()
    else:
        assert any(words[: len(known)] == known for known in OF_OTHERS), "a command that no check knows"


@pytest.mark.parametrize("page", PAGES)
def test_every_command_is_one_that_the_program_takes(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for words in commands_of(page):
        if EARLIER in words and page in RECORDS:
            continue
        try:
            check(*words)
        except Exception as error:
            pytest.fail(f"{page}: {shlex.join(words)}: {error!r}")


@pytest.fixture
def names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the programs are given: photographs of bursts, a run whose network is tiny, and a folder of its export."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CONSPECIFIC_CACHE", str(tmp_path / "cache"))
    files = [Path(f"photos/species_{species}/burst_{n % 8}/{species}{n}.jpg") for species in "abcd" for n in range(24)]
    for number, file in enumerate([*files, Path("new.jpg")]):
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (64, 48), (5 * number % 256, 11 * number % 256, 90)).save(file)
    embedder = build_embedder("test_resnet", "none", head="none").eval()
    train, failed = conspecific.train, Replayed(torch.tensor(1.0), embedder, {"index": [1, 2]}, 3)
    monkeypatch.setattr(conspecific, "load", lambda run: embedder)
    monkeypatch.setattr(conspecific, "train", lambda words: train([*words, "dry_run=true", *SMALL]))
    monkeypatch.setattr("conspecific.training.replay.replay_failed_batch", lambda run: failed)
    monkeypatch.setattr(timm, "create_model", lambda name, **options: embedder.backbone.net)
    channels = embedder.embed(files[:1]).shape[1]
    head = {"pooling.p": torch.tensor(3.0), "head.weight": torch.eye(channels), "head.bias": torch.zeros(channels)}
    Path("FOLDER").mkdir()
    save_file(head, "FOLDER/head.safetensors")
    Path("OUT/duckdb").mkdir(parents=True)
    with duckdb.connect("OUT/duckdb/vectors.duckdb") as connection:
        connection.execute(
            "CREATE TABLE vectors AS SELECT 'a.jpg' AS path, 'wren' AS label, ?::FLOAT[512] AS vector", [[1.0] * 512]
        )
    known, more = files[:-6], files[-6:]
    given = SimpleNamespace(run="RUN", files=known, species=[file.parts[1] for file in known], more=more)
    images = torch.rand(2, 3, 64, 64)
    others = {"timm": timm, "F": F, "load_file": load_file, "images": images, "duckdb": duckdb}
    return {**vars(given), **others, "query": np.ones(512, np.float32)}


SMALL = ["model=timm", "model.backbone=test_resnet", "model.weights=none", "recipe.folds=0", "loader.image_size=64"]
SMALL += ["loader.train_size=64", "loader.classes_per_batch=4", "loader.samples_per_class=2", "loader.workers=0"]
SMALL += ["recipe.cached_augmentations=2", "trainer.accelerator=cpu", "trainer.max_epochs=1"]


@pytest.mark.parametrize("page", [page for page in PAGES if page not in RUN_ELSEWHERE and programs(page, "python")])
def test_every_program_runs(page: str, names: dict[str, Any]) -> None:
    for program in programs(page, "python"):
        exec(compile(program, page, "exec"), names)


def messages(folder: Path) -> list[str]:
    """The texts in the code of a folder, with a mark where a value is put in."""
    found = []
    for file in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                found.append("".join(part.value if isinstance(part, ast.Constant) else "…" for part in node.values))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return found


def test_every_message_of_the_troubleshooting_is_one_that_is_printed() -> None:
    printed = messages(ROOT / "src")
    named = re.findall(r"^\| `([^`]+)` \|", text_of("docs/troubleshooting.md"), flags=re.MULTILINE)
    assert len(named) > 20
    parts = [[part.strip() for part in message.split("…") if part.strip()] for message in named]
    unknown = [each for each in parts if not any(all(part in text for part in each) for text in printed)]
    assert unknown == []


def test_what_is_loaded_from_elsewhere_or_is_missing_is_found(tmp_path: Path) -> None:
    pages = load_pages()
    (tmp_path / "a.css").write_text("@import 'https://fonts.example/x.css'; b { background: url(local.png) }")
    (tmp_path / "here.html").write_text("")
    (tmp_path / "index.html").write_text(
        '<script src="//cdn.example/x.js"></script><style>i { src: url("https://f.example/y.woff") }</style>'
        '<a href="https://elsewhere.example">a link is not loaded</a><img src="gone.png"><a href="here.html#top">'
        '<img style="background: url(https://f.example/z.png)" src="data:image/png;base64,">'
    )
    assert [fault.partition(" ")[2] for fault in pages.faults(tmp_path)] == [
        "loads https://fonts.example/x.css",
        "loads https://f.example/y.woff",
        "loads https://f.example/z.png",
        "loads //cdn.example/x.js",
        "names gone.png, which is not there",
    ]


def test_the_page_of_keys_has_every_key_with_its_meaning() -> None:
    page = load_pages().configuration_page()
    rows = re.findall(r"^\| `([\w.]+)` \| (.+?) \| `(.*)` \| (.+) \|$", page, flags=re.MULTILINE)
    wanted = {key.name for command in COMMANDS.values() for key in keys_of(command.schema)}
    assert wanted == {name for name, *_ in rows}
    assert ("recipe.ema", "float", "0.98") in [row[:3] for row in rows]
    assert '??? note "loss=arcface"' in page and "margin: 20" in page


def load_pages() -> Any:
    spec = importlib.util.spec_from_file_location("site_pages", ROOT / "docs" / "site_pages.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
