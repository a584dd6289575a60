"""Help is there at once, and mistakes are told in a line."""

import json
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from conspecific.cli.arguments import Arguments, divide
from conspecific.cli.commands import COMMANDS
from conspecific.cli.main import main
from conspecific.config.location import all_groups, options

HEAVY = ("torch", "pytorch_lightning", "timm", "faiss", "polars", "scipy", "wandb", "hydra", "matplotlib")
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
def test_help_lists_the_keys_of_the_command(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    main([name, "--help"])
    lines = capsys.readouterr().out.splitlines()
    shown = {line.split()[0].partition(".")[0] for line in lines if line[:2] == "  " and len(line.split()) > 1}
    wanted = {field.name for field in fields(COMMANDS[name].schema)} - set(all_groups())
    assert wanted <= shown
    assert {"evaluate": "  split.test_share              float or null, null"}.get(name, lines[0]) in lines
    assert {"search": "  k                             int, 10"}.get(name, lines[0]) in lines


def test_help_says_what_keys_mean_and_take(capsys: pytest.CaptureFixture[str]) -> None:
    main(["train", "--help"])
    shown = capsys.readouterr().out
    assert "  leaks                         report | drop | error, report\n" in shown
    assert "      the validation metric that chooses the epoch." in shown


MISTAKES = ["protocoll=seen", "loss=triplex", "leaks=maybe", "monitor=x", "model.pooling=x", "model.poling=avg", "lr=1"]
MISTAKES += [
    "trainer.zzz=1",
    "+data.zzz=1",
    "+trainer.fast_dev_run=true",
    "loss.loss.zzz=1",
    "data.species=many",
    "trainer.max_epochs=ten",
    "model.dimensions=x",
]
LIGHT = f"""
import json, sys
from conspecific.cli.main import main
found = [main(["train", *words]) for words in ([word] for word in {MISTAKES})]
found += [main(["evaluate", "RUN", word]) for word in ("subset=x", "protocol=x", "outptu=x", "--hlep")]
print(json.dumps([found, [name for name in ("torch", "pytorch_lightning", "timm", "faiss") if name in sys.modules]]))
"""


def test_mistakes_are_told_before_torch_is_imported(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", LIGHT], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [[2] * 18, []]
    assert done.stderr.count("error: ") == 18


def test_the_whole_configuration_is_printed_wherever_the_option_stands(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (["--cfg", "job", "seed=7"], ["seed=7", "--cfg=job"]):
        assert main(["train", *words]) == 0
        assert yaml.safe_load(capsys.readouterr().out)["seed"] == 7


def test_m_may_stand_anywhere() -> None:
    train = COMMANDS["train"]
    for words in (["-m", "a=1", "b=2"], ["a=1", "-m", "b=2"], ["a=1", "b=2", "--multirun"]):
        assert divide(train, words) == Arguments([], ["a=1", "b=2"], multirun=True)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_fits_a_wide_terminal(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    main([name, "-h"])
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 120


def test_quiet_prints_errors_alone_and_verbose_where_they_were_raised(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["cache", "--quiet"]) == 0
    assert tuple(capsys.readouterr()) == ("", "")
    assert main(["cache", "-q", "clear=x"]) == 2
    assert capsys.readouterr().err.startswith("error: clear=x is no kind")
    assert main(["cache", "clear=x", "-v"]) == 2
    shown = capsys.readouterr().err
    assert "Traceback" in shown and "in clear_caches" in shown and "\nerror: clear=x" in shown


def test_an_unknown_command_names_its_neighbour(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trian"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "error: trian is not a command. Did you mean train?\n"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["train", "protocoll=seen"], "protocoll is not a key of this configuration. Did you mean protocol?"),
        (["train", "loss=triplex"], "loss=triplex does not exist. Did you mean triplet"),
        (["train", "loss=null"], "loss=null: a group takes the name of one of its options; ~loss leaves it out"),
        (["train", "~loss"], "a run needs loss: choose loss=arcface or "),
        (["train", "monitor=map"], "monitor=map is unknown. Did you mean map@r?"),
        (["train", "trainer.max_epochs=-1"], "trainer.max_epochs must be a number of epochs, 0 for the baseline alone"),
        (["train", "data=folder", "data.root=/My Birds (2024)"], "data.root=/My Birds (2024) is not a folder."),
        (["train", "resume=runs/gone"], "runs/gone cannot be resumed: it has no checkpoint"),
        (["train", "-m", "resume=runs/gone"], "resume=RUN continues one run: leave out -m"),
        (["train", "--mutlirun"], "--mutlirun is not an option of train. Did you mean --multirun?"),
        (["train", "--cfg", "all"], "--cfg takes job: conspecific train --cfg job prints the configuration"),
        (["train", "-sc", "install=bash"], "-sc is not an option of train. Known here: --cfg, --help, "),
        (["train", "a=b", "-m", "seed=0,1"], "a is not a key of this configuration. "),
        (["train", "loss=arcface,triplex", "-m"], "loss=triplex does not exist. Did you mean triplet"),
        (["train", "+hydra.callbacks.x._target_=os.system"], "hydra.callbacks.x._target_=os.system is not allowed."),
        (["evaluate", "RUN", "--hlep"], "--hlep is not an option of evaluate. Did you mean --help?"),
        (["embed", "RUN", "--cfg", "job"], "--cfg prints the configuration of a training: it is an option of train"),
        (["compare", "-m", "RUN"], "-m runs several trainings: it is an option of train, not of compare"),
        (["evaluate", "RUN", "part=val"], "part is now subset"),
        (["evaluate", "RUN", "subset=train"], "subset=train is unknown. Known here: test, val."),
        (["evaluate"], "give a run directory, or weights=FILE with model=NAME, and not both"),
        (["evaluate", "runs/gone"], "runs/gone is not a run directory: it has no config.yaml."),
        (["evaluate", "it's gone/"], "it's gone is not a run directory"),
        (["evaluate", "runs/gone", "image.jpg"], "evaluate takes RUN and KEY=VALUE; found also: image.jpg"),
        (["evaluate", "weights=x.safetensors"], "weights=FILE needs model=NAME, which says what the weights belong to"),
        (
            ["evaluate", "weights=x.pth", "model=efficientnet_lite0", "data=butterflies"],
            "weights=x.pth is neither a file",
        ),
        (["embed", "runs/gone", "outptu=x"], "outptu is not a key of this configuration. Did you mean output?"),
        (["evaluate", "runs/gone", "truncat=64"], "truncat is not a key of this configuration. Did you mean truncate"),
        (["dashboard", "runs/gone"], "runs/gone holds no run directory. Give the folder of your runs"),
        (["soup", "runs/gone"], "runs/gone is not a run directory and holds none"),
        (["soup", "RUN", "greedi=true"], "greedi is not a key of this configuration. Did you mean greedy?"),
        (["soup"], "a soup needs two runs or more; found 0"),
        (["search", "runs/gone"], "search needs an image: conspecific search RUN IMAGE"),
        (["search", "runs/gone", "a.jpg", "k=0"], "k must be 1 or more; found 0"),
        (["search", "runs/gone", "a.jpg", "output=sheet.doc"], "output=sheet.doc must end in .csv, .json or a kind of"),
        (
            ["search", "RUN", "a.jpg", "b.jpg", "output=a.png"],
            "output=a.png shows the answers to one image; for 2,",
        ),
        (["search", "RUN", "https://site.org/a.jpg"], "https://site.org/a.jpg is an address of the web: download"),
        (["search", "RUN", "."], ". is a folder without images: give an image, or a folder that holds some"),
        (["search", "RUN", "image=a.jpg"], "image is now images"),
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
    for name, command in COMMANDS.items():
        words = [sys.executable, scripts / f"{name}.py", "--help"]
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=True)
        assert done.stdout.startswith(f"{name}: {command.summary}")
