"""Help is there at once, and mistakes are told in a line."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from conspecific.cli.main import COMMANDS, main
from conspecific.config.location import all_groups, options

HEAVY = ("torch", "pytorch_lightning", "timm", "faiss", "polars", "numpy", "wandb", "hydra", "matplotlib")
PROBE = f"""
import json, sys
from conspecific.cli.main import main
status = main(sys.argv[1:])
print(json.dumps([status, [name for name in {HEAVY} if name in sys.modules]]))
"""


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], *([name, "--help"] for name in COMMANDS)], ids=" ".join
)
def test_help_imports_nothing_heavy(arguments: list[str], tmp_path: Path) -> None:
    command = [sys.executable, "-c", PROBE, *arguments]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    *shown, last = done.stdout.splitlines()
    status, heavy = json.loads(last)
    assert (status, heavy, done.stderr) == (0, [], "")
    assert shown


def test_the_overview_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    shown = capsys.readouterr().out
    assert all(f"  {name} " in shown for name in COMMANDS)


def test_the_help_of_train_names_every_option_of_every_group(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--help"]) == 0
    shown = "".join(capsys.readouterr().out.split())  # long lines are broken
    assert all(f"{group}={'|'.join(options(group))}" in shown for group in all_groups())


@pytest.mark.parametrize("name", COMMANDS)
def test_help_fits_a_wide_terminal(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    main([name, "-h"])
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 120


def test_an_unknown_command_names_its_neighbour(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trian"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "error: trian is not a command. Did you mean train?\n"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["train", "protocoll=seen"], "protocoll is not a key of this configuration. Did you mean protocol?"),
        (["train", "loss=triplex"], "loss=triplex is not there. Did you mean triplet"),
        (["train", "loss=null"], "loss=null: a group takes the name of one of its options; ~loss leaves it out"),
        (["train", "~loss"], "a run needs loss: choose loss=arcface or "),
        (["train", "monitor=map"], "monitor=map is not a metric. Did you mean map@r?"),
        (["train", "trainer.max_epochs=-1"], "trainer.max_epochs must be a number of epochs, 0 for the baseline alone"),
        (["train", "data=folder", "data.root=My Birds (2024)"], "data.root=My Birds (2024) is not a folder."),
        (["train", "resume=runs/gone"], "runs/gone cannot be resumed: it has no checkpoints/last.ckpt"),
        (["train", "-m", "resume=runs/gone"], "resume=RUN continues one run: leave -m away"),
        (["evaluate"], "give a run directory, or weights=FILE with model=NAME, and not both"),
        (["evaluate", "runs/gone"], "runs/gone is not a run directory: it has no config.yaml."),
        (["evaluate", "it's gone/"], "it's gone is not a run directory"),
        (["evaluate", "runs/gone", "image.jpg"], "evaluate takes RUN and KEY=VALUE; found also: image.jpg"),
        (["evaluate", "weights=x.safetensors"], "weights=FILE needs model=NAME, which says what the weights belong to"),
        (["embed", "runs/gone", "outptu=x"], "outptu is not a key of this configuration. Did you mean output?"),
        (["evaluate", "runs/gone", "truncat=64"], "truncat is not a key of this configuration. Did you mean truncate"),
        (["soup", "runs/gone"], "runs/gone is not a run directory and holds none"),
        (["soup", "RUN", "greedi=true"], "greedi is not a key of this configuration. Did you mean greedy?"),
        (["soup"], "a soup needs two runs or more; found 0"),
        (["search", "runs/gone"], "search needs an image: conspecific search RUN IMAGE"),
        (["search", "runs/gone", "a.jpg", "k=0"], "k must be 1 or more; found 0"),
        (["search", "runs/gone", "a.jpg", "output=sheet.doc"], "output=sheet.doc must end in a kind of image"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_line_and_leaves_nothing_behind(
    arguments: list[str], told: str, here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    captured = capfd.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"error: {told}")
    assert captured.err.count("\n") == 1
    assert [path.name for path in here.glob("[!.]*") if path.name != "runs"] == []
    assert list(here.glob("runs/*")) == []


def test_the_launchers_work_from_any_folder(tmp_path: Path) -> None:
    scripts = Path(__file__).parents[2] / "scripts"
    for name, purpose in COMMANDS.items():
        command = [sys.executable, scripts / f"{name}.py", "--help"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        assert done.stdout.startswith(f"{name}: {purpose}")
