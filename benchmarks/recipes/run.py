"""Compare our recipe with the documented recipes of two libraries: same weights, images, minutes and evaluator.

    python benchmarks/recipes/run.py DATA [--ours KEY=VALUE ...] [--quick]

DATA is a folder with a manifest.csv (path, label, split). Every recipe is trained with every seed under every protocol,
one after the other, each in its own process. The other libraries run in a separate environment (environment.py) on all
images outside the test split, validation included; nothing is selected, their last weights count. Then each is scored
on the test split, and the table is printed (contrasts.py). The runs are ordered by seed, so a first table is available
after a third of the time: `python benchmarks/recipes/contrasts.py OUTPUT`. Finished runs are not repeated.

--ours are arguments of `conspecific train`. The default is the main job with a limit of --minutes on its training. The
limit does not cover references, imprinting and final test; the table shows the minutes of training.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import numpy as np
from rich.console import Console
from safetensors.torch import save_file

from conspecific.config.overrides import override
from conspecific.data.check import check_manifest
from conspecific.data.sources import from_file
from conspecific.data.splits import split
from conspecific.evaluation import Evaluator, device_for, references
from conspecific.images import workers_for
from conspecific.models import build_embedder
from conspecific.models.weights import create_backbone

BACKBONE = "tf_efficientnet_lite0"
SIZE = 224
HERE = Path(__file__).resolve().parent
COMMAND = Path(sys.executable).with_name("conspecific")
CACHE = Path(os.environ.get("CONSPECIFIC_CACHE", "~/.cache/conspecific")).expanduser()


def main() -> None:
    """Train and score every recipe that is not finished yet, then print the table."""
    given = arguments()
    evaluators = {protocol: prepare(given, protocol) for protocol in given.protocols}
    python = peers_python(given.environment) if "peers" in given.steps else Path(sys.executable)
    for seed in given.seeds:
        for protocol in given.protocols:
            if "peers" in given.steps:
                for library, loss, mode in product(given.libraries, given.losses, given.modes):
                    words = ["--library", library, "--loss", loss, "--mode", mode, "--seed", str(seed)]
                    folder = given.output / protocol / f"{library}_{loss}_{mode}" / f"seed{seed}"
                    train_peer(given, python, folder, words)
                    score(evaluators[protocol], folder)
            if "ours" in given.steps:
                train_ours(given, protocol, seed)
    subprocess.run([sys.executable, HERE / "contrasts.py", given.output, "--ours", given.name], check=True)


def arguments() -> argparse.Namespace:
    """Parse the command line; --quick changes some defaults."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="a folder with a manifest.csv")
    parser.add_argument("--ours", nargs="*", metavar="KEY=VALUE", help="arguments of conspecific train")
    parser.add_argument("--name", default="ours", help="name of our recipe in folders and table")
    choices = {"libraries": ("oml", "pml"), "losses": ("triplet", "arcface"), "modes": ("documented", "careful")}
    choices |= {"protocols": ("seen", "unseen"), "steps": ("peers", "ours")}
    for name, values in choices.items():
        parser.add_argument(f"--{name}", nargs="+", choices=values, default=list(values))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--minutes", type=float, default=5.0, help="minutes of training of each recipe")
    parser.add_argument("--output", type=Path, help="output folder, by default runs/recipes")
    parser.add_argument(
        "--environment", type=Path, default=Path(".venv-peers"), help="environment of the other libraries"
    )
    parser.add_argument("--quick", action="store_true", help="half a minute and one seed, as a trial")
    given = parser.parse_args()
    if given.quick:
        given.minutes, given.seeds = 0.5, given.seeds[:1]
    given.output = given.output or Path("runs") / ("recipes_quick" if given.quick else "recipes")
    if given.ours is None:
        seconds = round(60 * given.minutes)
        given.ours = [f"++trainer.max_time='00:00:{seconds // 60:02}:{seconds % 60:02}'"]
    return given


def peers_python(folder: Path) -> Path:
    """Return the interpreter of the other libraries' environment, which is created if it does not exist."""
    words = [sys.executable, str(HERE / "environment.py"), str(folder)]
    return Path(subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout.strip())


def prepare(given: argparse.Namespace, protocol: str) -> Evaluator:
    """Split the images, write the training images of the other libraries, and score the weights that all start from."""
    manifest = from_file(str(given.data / "manifest.csv"))
    manifest, fingerprint = check_manifest(manifest, CACHE)
    splits = split(manifest, protocol)
    console = Console(file=sys.stderr)
    evaluator = Evaluator(manifest, splits, fingerprint, SIZE, workers_for(None), device_for("auto"), console)
    folder = given.output / protocol
    folder.mkdir(parents=True, exist_ok=True)
    manifest.table[training_ids(evaluator)].select("path", "label").write_csv(folder / "training.csv")
    save_file(create_backbone(BACKBONE, "bundled").state_dict(), given.output / "start.safetensors")
    start = references(evaluator, "test", BACKBONE, "bundled", CACHE)["pooled"]
    start.save(folder / "start" / "seed0" / "results" / "test_model")
    return evaluator


def training_ids(evaluator: Evaluator) -> np.ndarray:
    """Return the sample ids that the other libraries train on: training and validation images."""
    splits = evaluator.splits
    ids: np.ndarray = np.union1d(splits.train, splits.val.ids)
    return ids


def train_peer(given: argparse.Namespace, python: Path, folder: Path, recipe: Sequence[str]) -> None:
    """Train one recipe of another library in its own environment."""
    words = [*recipe, "--minutes", str(given.minutes), "--root", str(given.data.resolve())]
    words += ["--manifest", str(folder.parents[1] / "training.csv")]
    words += ["--weights", str(given.output / "start.safetensors"), "--output", str(folder)]
    if begin(folder, words, "training.json"):
        print("peers.py", *words, file=sys.stderr, flush=True)
        subprocess.run(
            [python, HERE / "peers.py", *words], check=True, env={**os.environ, "NO_ALBUMENTATIONS_UPDATE": "1"}
        )


def train_ours(given: argparse.Namespace, protocol: str, seed: int) -> None:
    """Train and score our recipe."""
    folder = given.output / protocol / given.name / f"seed{seed}"
    source = ["data=manifest", override("data.path", str((given.data / "manifest.csv").resolve()))]
    words = [f"protocol={protocol}", f"seed={seed}", *source, override("hydra.run.dir", str(folder)), *given.ours]
    if begin(folder, words, "summary.json"):
        print("conspecific train", *words, file=sys.stderr, flush=True)
        subprocess.run([COMMAND, "train", *words], check=True, stdout=sys.stderr)


def begin(folder: Path, words: Sequence[str], last: str) -> bool:
    """Prepare the folder of a run; return False if it is finished, which its file `last` shows.

    An interrupted run starts again. Ends the program if the finished run had other arguments.
    """
    asked = folder / "asked.json"
    if not (folder / last).is_file():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        asked.write_text(json.dumps(list(words), indent=2) + "\n")
        return True
    before = json.loads(asked.read_text())
    if before != list(words):
        other = " ".join(sorted(set(before) - set(words))) or "fewer arguments"
        raise SystemExit(f"error: {folder} was made with other arguments: {other}. Use another --output or --name.")
    return False


def score(evaluator: Evaluator, folder: Path) -> None:
    """Score the weights of another library on test with the evaluator that scores ours: pooled, normalized, cosine."""
    stem = folder / "results" / "test_model"
    if not stem.with_suffix(".json").is_file():
        embedder = build_embedder(BACKBONE, str(folder / "weights.safetensors"), pooling="avg", head="none")
        evaluator.score({"model": embedder}, "test", f"Scoring {folder.parent.name}")["model"].save(stem)


if __name__ == "__main__":
    main()
