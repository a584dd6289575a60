"""A run directory from elsewhere is data: no command that opens it runs or imports what it names."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest
import yaml
from PIL import Image

from conspecific.runs.directory import RunDirectory

Command = Callable[..., CompletedProcess[str]]
OWN = """
from conspecific.data.sources import butterflies

def images(**options):
    return butterflies(**options)
"""


@pytest.fixture
def attacked(run: RunDirectory, here: Path) -> RunDirectory:
    """A copy of the run, whose configuration creates a file where its model is built."""
    copy = RunDirectory(Path(shutil.copytree(run.path, here / "from elsewhere")))
    spawn = {"_target_": "distutils.spawn.spawn", "cmd": ["touch", str(here / "attacked")]}
    change(copy, lambda config: config["model"].update(pooling=spawn))
    overrides = yaml.safe_load(copy.overrides.read_text())
    copy.overrides.write_text(yaml.safe_dump([*overrides, f"model.pooling={{_target_:os.system,command:{here}}}"]))
    Image.new("RGB", (64, 64)).save(here / "image.jpg")
    return copy


def change(run: RunDirectory, edit: Callable[..., None]) -> None:
    config = yaml.safe_load(run.config.read_text())
    edit(config)
    run.config.write_text(yaml.safe_dump(config))


@pytest.mark.parametrize(
    "words",
    [
        ["evaluate", "RUN"],
        ["embed", "RUN"],
        ["search", "RUN", "image.jpg"],
        ["soup", "RUN", "RUN", "output=soup"],
        ["soup", "RUN", "OTHER", "output=soup"],
        ["train", "resume=RUN", "trainer.max_epochs=3"],
    ],
    ids=" ".join,
)
def test_no_command_runs_what_a_run_directory_names(
    words: list[str], conspecific: Command, attacked: RunDirectory, run: RunDirectory, here: Path
) -> None:
    other = shutil.copytree(attacked.path, here / "other")
    named = [word.replace("RUN", str(attacked.path)).replace("OTHER", str(other)) for word in words]
    done = conspecific(*named)
    assert done.returncode == 2
    if "RUN RUN" not in " ".join(words):
        assert "model.pooling._target_=" in done.stderr and "is not allowed" in done.stderr
    assert not (here / "attacked").exists()


def test_compare_reads_a_run_and_imports_nothing_it_names(
    conspecific: Command, attacked: RunDirectory, run: RunDirectory, here: Path
) -> None:
    assert conspecific("compare", run.path, attacked.path, "output=compared").returncode == 0
    assert not (here / "attacked").exists()


def test_the_console_command_refuses_it_too(attacked: RunDirectory, here: Path) -> None:
    command = [sys.executable, "-c", "import sys; from conspecific.cli.main import main; sys.exit(main())"]
    words = ["search", attacked.path, here / "image.jpg"]
    done = subprocess.run([*command, *words], cwd=here, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {attacked.config}: model.pooling._target_=distutils.spawn.spawn is not ")
    assert done.stderr.count("\n") == 1
    assert not (here / "attacked").exists()


def test_a_run_with_a_class_of_ones_own_opens_where_the_command_allows_it(
    conspecific: Command, run: RunDirectory, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "own_images_of_a_user.py").write_text(OWN)
    monkeypatch.syspath_prepend(here)
    copy = RunDirectory(Path(shutil.copytree(run.path, here / "own")))
    change(copy, lambda config: config["data"].update(_target_="own_images_of_a_user.images"))
    change(copy, lambda config: config.update(allow=["own_images_of_a_user"]))
    done = conspecific("embed", copy.path)
    assert done.returncode == 2
    assert done.stderr.endswith(
        "If it is a class of your own, or one that you trust, add allow=[own_images_of_a_user]\n"
    )
    assert "own_images_of_a_user" not in sys.modules
    done = conspecific("embed", copy.path, "allow=[own_images_of_a_user]")
    assert (done.returncode, done.stderr) == (0, "")
