"""What is built can be installed and used without the checkout."""

import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

from conspecific.config.location import config_dir, options

pytestmark = pytest.mark.slow

CHECKOUT = Path(__file__).parents[2]
COMPOSE_ALL = """
from conspecific.config.compose import compose_config, typed
from conspecific.config.location import config_dir, options
from conspecific.config.schema import DashboardConfig, EmbedConfig, EvaluateConfig, IndexConfig
from conspecific.config.schema import SearchConfig, ServeConfig, SoupConfig, TrainConfig
print(config_dir())
for experiment in options("experiment"):
    config = typed(compose_config("train", [f"experiment={experiment}"]), TrainConfig)
    print(experiment, config.trainer["max_epochs"])
for name, schema in (
    ("evaluate", EvaluateConfig), ("embed", EmbedConfig), ("index", IndexConfig), ("search", SearchConfig),
    ("serve", ServeConfig),
    ("soup", SoupConfig), ("dashboard", DashboardConfig)
):
    typed(compose_config(name), schema)
"""


def build(kind: str, folder: Path) -> Path:
    """Build a wheel or an sdist of the checkout and return it."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(folder)]
    subprocess.run(command, cwd=CHECKOUT, check=True, capture_output=True)
    [built] = folder.iterdir()
    return built


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("wheel", tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("sdist", tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment that the wheel is installed into; the packages it needs are borrowed from this one.

    Returns its folder of programs. A path file is not followed into the path files of the folder it names, so an
    editable install of the checkout in this environment is not seen.
    """
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    places = sysconfig.get_paths("venv", {"base": str(folder), "platbase": str(folder)})
    python = Path(places["scripts"]) / "python"
    install = [python, "-I", "-m", "pip", "install", "--no-deps", "--no-index", "--quiet", wheel]
    subprocess.run(install, check=True, capture_output=True)
    (Path(places["purelib"]) / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python.parent


def run(command: list[str | Path], cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_wheel_carries_all_that_is_not_python(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    yaml = {f"conspecific/configs/{path.relative_to(config_dir())}" for path in config_dir().rglob("*.yaml")}
    own = {
        path for path in (CHECKOUT / "src/conspecific").rglob("*") if path.is_file() and "__pycache__" not in path.parts
    }
    assert yaml <= names
    assert {path.relative_to(CHECKOUT / "src").as_posix() for path in own} <= names
    assert "conspecific/py.typed" in names
    assert "hydra_plugins/conspecific_sweeper.py" in names
    assert {Path(name).suffix for name in names if name.startswith("conspecific/reporting/")} >= {".j2", ".css", ".py"}
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert not [name for name in names if name.startswith(("tests", "scripts", "configs"))]


def test_every_experiment_composes_from_the_installed_wheel(installed: Path, tmp_path: Path) -> None:
    where, *composed = run([installed / "python", "-I", "-c", COMPOSE_ALL], tmp_path).splitlines()
    assert Path(where).is_relative_to(installed.parent)
    assert [line.split()[0] for line in composed] == options("experiment")


def test_the_installed_command_works(installed: Path, tmp_path: Path) -> None:
    assert run([installed / "conspecific", "--version"], tmp_path).startswith("conspecific ")
    assert "experiment=" in run([installed / "conspecific", "train", "--help"], tmp_path)
    printed = run([installed / "conspecific", "train", "--cfg", "job", "experiment=triplet"], tmp_path)
    assert "TripletMarginLoss" in printed
    assert list(tmp_path.iterdir()) == [], "printing a configuration leaves nothing behind"


def test_the_sdist_builds_and_runs_from_where_it_is_unpacked(sdist: Path, tmp_path: Path) -> None:
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    [root] = tmp_path.iterdir()
    assert {"src", "configs", "scripts", "tests", "pyproject.toml", "README.md", "LICENSE"} <= {
        path.name for path in root.iterdir()
    }
    source = f"import sys; sys.path.insert(0, {str(root / 'src')!r})\n{COMPOSE_ALL}"
    where, *composed = run([sys.executable, "-c", source], tmp_path).splitlines()
    assert where == str(root / "configs")
    assert [line.split()[0] for line in composed] == options("experiment")
    assert run([sys.executable, root / "scripts" / "train.py", "--help"], tmp_path).startswith("train: ")


def test_a_checkout_uses_its_own_configurations() -> None:
    assert config_dir() == CHECKOUT / "configs"
