"""Train a documented recipe of another metric-learning library for some minutes and save its last weights.

    python benchmarks/recipes/peers.py --library oml --loss triplet --mode documented --manifest FILE --root FOLDER
                                       --weights FILE --output FOLDER [--minutes 5] [--seed 0]

Runs in the environment of benchmarks/recipes/environment.py. FILE of --manifest is a CSV with columns path and label,
every row a training image; --weights is a state dict of the timm model as .safetensors. Writes weights.safetensors
and training.json to --output. The clock starts before the first batch is loaded; training stops after the step during
which the minutes end.

benchmarks/recipes/documented.py gives the source of each value of a recipe.
"""

import argparse
import csv
import json
import math
import os
import random
import resource
import statistics
import sys
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from documented import RECIPES, Choice, Images, Recipe
from torch import Tensor, nn

BACKBONE = "tf_efficientnet_lite0"
PACKAGES = ("open-metric-learning", "pytorch-metric-learning", "torch", "torchvision", "timm", "numpy", "pillow")


def main() -> None:
    """Train one recipe and write its weights, then the facts of the training."""
    given = arguments()
    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(given.seed)
    trunk = load_trunk(given.weights)
    images = read_images(given.manifest, given.root)
    recipe = RECIPES[given.library](trunk, images, Choice(given.loss, given.mode, given.lr, given.workers))
    set_mode(recipe.embed, given.mode)
    facts = {name: getattr(given, name) for name in ("library", "loss", "mode", "seed", "minutes", "lr", "workers")}
    found = facts | train(recipe, given.minutes) | {"images": len(images.paths), "species": images.species}
    write(given.output, trunk, found | environment())


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--library", required=True, choices=sorted(RECIPES))
    parser.add_argument("--loss", required=True, choices=("triplet", "arcface"))
    parser.add_argument("--mode", required=True, choices=("documented", "careful"))
    for name in ("--manifest", "--root", "--weights", "--output"):
        parser.add_argument(name, required=True, type=Path)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--lr", type=float, default=1e-5, help="learning rate of the network; documented is 1e-5")
    parser.add_argument("--workers", type=int, default=2, help="processes that load images")
    return parser.parse_args()


def load_trunk(weights: Path) -> Any:
    """The backbone with pooling and without classifier: images -> [B, 1280]."""
    import timm
    from safetensors.torch import load_file

    trunk = timm.create_model(BACKBONE, num_classes=0)
    trunk.load_state_dict(load_file(weights))
    return trunk


def read_images(manifest: Path, root: Path) -> Images:
    """Read the CSV and number the species in the order of their names."""
    with manifest.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    number = {name: place for place, name in enumerate(sorted({row["label"] for row in rows}))}
    return Images([str(root / row["path"]) for row in rows], [number[row["label"]] for row in rows])


def set_mode(network: nn.Module, mode: str) -> None:
    """Switch to training mode; `careful` keeps the pretrained statistics of batch norm."""
    network.train()
    for module in network.modules():
        if mode == "careful" and isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()


def train(recipe: Recipe, minutes: float) -> dict[str, float]:
    """Train until the minutes have passed. Ends the program if the loss is NaN or Inf."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    for module in (recipe.embed, recipe.loss):
        if isinstance(module, nn.Module):
            module.to(device)
    taken: list[float] = []
    seen, seconds, began = 0, 0.0, time.perf_counter()
    for images, labels in endless(recipe):
        loss = recipe.loss(recipe.embed(images.to(device)), labels.to(device))
        for optimizer in recipe.optimizers:
            optimizer.zero_grad()
        loss.backward()
        for optimizer in recipe.optimizers:
            optimizer.step()
        taken.append(loss.item())
        seen, seconds = seen + len(labels), time.perf_counter() - began
        if not math.isfinite(taken[-1]):
            raise SystemExit(f"error: the loss is {taken[-1]} after {len(taken)} steps: no weights are kept")
        if len(taken) % 20 == 0:
            print(f"{seconds:.0f} s, step {len(taken)}, loss {statistics.fmean(taken[-20:]):.4f}", file=sys.stderr)
        if seconds >= 60 * minutes:
            break
    return {
        "seconds": round(seconds, 2),
        "steps": len(taken),
        "images_per_second": round(seen / seconds, 2),
        "first_loss": statistics.fmean(taken[:10]),
        "last_loss": statistics.fmean(taken[-10:]),
    }


def endless(recipe: Recipe) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the batches of one epoch after another."""
    while True:
        yield from recipe.epoch()


def environment() -> dict[str, Any]:
    """Return versions, machine and peak memory (ru_maxrss is in KiB on Linux)."""
    return {
        "versions": {name: version(name) for name in PACKAGES},
        "python": sys.version.split()[0],
        "threads": torch.get_num_threads(),
        "peak_memory_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9, 2),
        "cores": os.cpu_count(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def write(folder: Path, trunk: nn.Module, found: dict[str, Any]) -> None:
    """Write the weights, then training.json: if it exists, the weights are complete."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in trunk.state_dict().items()}
    save_file(tensors, folder / "weights.safetensors")
    (folder / "training.json").write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
