"""Measure encoding: from image files to vectors on disk, by several ways, beside what decoding and network allow.

    python benchmarks/encode.py FOLDER [--network tf_efficientnet_lite0] [--size 224] [--images 2000] [--quick]

FOLDER holds images at any depth. The first rows are parts: decoding alone, and the network alone in each backend. Then
come whole ways from files to a .npy file: ours in each backend; a plain loop as tutorials have it (torch's DataLoader,
a worker a core, the network as timm makes it); open-metric-learning's `inference` where it is installed. `bound` is the
rate at which decoding and network, each on all cores, would follow one another; `share` is our rate over it. Weights
are random but for the default network. Every row is the median of three; loading and converting the network are not
counted and stand in their own column. The results are also written to benchmarks/encode.json.
"""

import argparse
import json
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from PIL import Image
from rich.console import Console
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from conspecific.data.dataset import EvaluationImages
from conspecific.data.manifest import Manifest
from conspecific.data.sources import from_images
from conspecific.encoding import Encoders
from conspecific.encoding.encoders import BACKENDS
from conspecific.encoding.machine import processor, versions
from conspecific.evaluation.embed import embed
from conspecific.images import workers_for
from conspecific.models import Embedder, build_embedder, keep_freed_memory
from conspecific.models.encode import decoded

HERE = Path(__file__).resolve().parent
REPEATS, BATCH = 3, 32
SETS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")
Row = dict[str, Any]


def main() -> None:
    """Measure every way and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", help="images at any depth")
    parser.add_argument("--network", default="tf_efficientnet_lite0", help="a model of timm")
    parser.add_argument("--size", type=int, default=224, help="side in pixels")
    parser.add_argument("--images", type=int, default=2000, help="how many images, evenly spaced")
    parser.add_argument("--quick", action="store_true", help="64 images, once, as a trial")
    given = parser.parse_args()
    keep_freed_memory()
    repeats, count = (1, 64) if given.quick else (REPEATS, given.images)
    images = few(from_images(given.folder), count, given.size)
    rows = measure(images, given.network, repeats)
    machine = {
        "processor": processor(),
        "instruction sets": [name for name in SETS if name in flags()],
        "cores": workers_for(None),
        "threads": torch.get_num_threads(),
        "versions": versions(),
    }
    found = {"network": given.network, "size": given.size, "images": len(images), "machine": machine, "rows": rows}
    (HERE / "encode.json").write_text(json.dumps(found, indent=2) + "\n")
    print(f"{given.network}, {given.size} px, {len(images):,} images; {json.dumps(machine)}\n")
    print("| way | images/s | bound | share | set-up, s |\n|---|---|---|---|---|")
    for row in rows:
        bound = f"{row['bound']:.1f} | {row['rate'] / row['bound']:.2f}" if "bound" in row else " | "
        print(f"| {row['way']} | {row['rate']:.1f} | {bound} | {row.get('setup', 0):.1f} |")


def few(manifest: Manifest, count: int, size: int) -> EvaluationImages:
    """Return up to `count` images, evenly spaced."""
    ids = np.unique(np.linspace(0, len(manifest) - 1, count).astype(np.int64))
    return EvaluationImages(manifest, ids, size)


def measure(images: EvaluationImages, network: str, repeats: int) -> list[Row]:
    """Return a row for each part and each way."""
    weights = "bundled" if network == "tf_efficientnet_lite0" else "none"
    torch.manual_seed(0)
    embedder = build_embedder(network, weights, pooling="avg", head="none").eval()
    workers, sample = workers_for(None), images.sample(BATCH)
    decoding = rate(lambda: exhaust(images, workers), len(images), repeats)
    rows: list[Row] = [{"way": "decoding alone", "rate": decoding}]
    with tempfile.TemporaryDirectory() as folder:
        for backend, precision in ways():
            opened = Encoders(backend, precision, cache=Path(folder), say=complain)
            began = time.perf_counter()
            encoder = opened.open(embedder.backbone, lambda: sample, 10**9)
            setup = time.perf_counter() - began
            alone = rate(lambda encoder=encoder: encoder(sample), len(sample), max(5, repeats))
            rows.append({"way": f"network alone: {encoder}", "rate": alone, "setup": setup})

            def whole(encoder: Any = encoder) -> None:
                [found] = embed([embedder], images, workers=workers, console=Console(quiet=True), encoder=encoder)
                np.save(Path(folder) / "vectors.npy", found.vectors)

            whole_rate = rate(whole, len(images), repeats)
            bound = 1 / (1 / decoding + 1 / alone)
            rows.append({"way": f"files to vectors: {encoder}", "rate": whole_rate, "bound": bound, "setup": setup})
        paths = [images.manifest.path(int(index)) for index in images.ids]
        plain = rate(lambda: plain_loop(paths, embedder, images.size, Path(folder)), len(images), repeats)
        rows.append({"way": "files to vectors: plain DataLoader loop", "rate": plain})
        if find_spec("oml") is not None:
            peer = rate(lambda: oml_inference(paths, embedder, images.size, Path(folder)), len(images), repeats)
            rows.append({"way": "files to vectors: open-metric-learning inference", "rate": peer})
    return rows


def ways() -> list[tuple[str, str]]:
    """Return each backend and precision that this machine has."""
    others = [(name, precision) for name, module in BACKENDS.items() for precision in module.precisions()]
    reduced = [("torch", "bfloat16")] if torch.cpu._is_avx512_bf16_supported() else []  # without it, it is emulated
    return [("torch", "float32"), *reduced, *others]


def complain(line: str) -> None:
    """Print what `Encoders` says, as a backend that falls back would be measured under a wrong name."""
    print(line, flush=True)


def rate(work: Callable[[], object], images: int, repeats: int) -> float:
    """Return images per second, the median of the repeats after one to warm up."""
    work()
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return images / statistics.median(seconds)


def exhaust(images: EvaluationImages, workers: int) -> None:
    """Decode every image as `embed` does, and use none."""
    for _ in decoded(range(len(images)), lambda place: images[place]["image"], BATCH, workers):
        pass


class PlainImages(Dataset[Tensor]):
    """Files as a tutorial reads them: decode, resize, crop, to float, normalise."""

    def __init__(self, paths: list[Path], embedder: Embedder, size: int) -> None:
        self.paths = paths
        mean, std = (moment.flatten().tolist() for moment in (embedder.backbone.mean, embedder.backbone.std))
        bicubic = v2.InterpolationMode.BICUBIC
        self.transform = v2.Compose(
            [
                v2.Resize(size, interpolation=bicubic),
                v2.CenterCrop(size),
                v2.PILToTensor(),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize(mean, std),
            ]
        )

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, place: int) -> Tensor:
        found: Tensor = self.transform(Image.open(self.paths[place]).convert("RGB"))
        return found


def plain_network(embedder: Embedder) -> nn.Module:
    """Return the network as timm makes it, pooled, with the same weights."""
    network = timm.create_model(embedder.backbone.name, num_classes=0)
    network.load_state_dict(embedder.backbone.net.state_dict(), strict=False)
    return network.eval()


def plain_loop(paths: list[Path], embedder: Embedder, size: int, folder: Path) -> None:
    """Embed files as tutorials do, and save the vectors."""
    network = plain_network(embedder)
    loader = DataLoader(PlainImages(paths, embedder, size), batch_size=BATCH, num_workers=workers_for(None))
    with torch.no_grad():
        vectors = torch.cat([network(batch) for batch in loader])
    np.save(folder / "plain.npy", vectors.numpy())


def oml_inference(paths: list[Path], embedder: Embedder, size: int, folder: Path) -> None:
    """Embed files with open-metric-learning's own data set and `inference`, and save the vectors."""
    from oml.datasets import ImageQueryGalleryDataset, ImageQueryGalleryLabeledDataset  # noqa: F401
    from oml.datasets.images import ImageBaseDataset
    from oml.inference import inference

    class Extractor(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = plain_network(embedder)

        def extract(self, images: Tensor) -> Tensor:
            found: Tensor = self.network(images)
            return found

    dataset = ImageBaseDataset(paths=paths, transform=PlainImages(paths, embedder, size).transform)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        vectors = inference(Extractor(), dataset, batch_size=BATCH, num_workers=workers_for(None))
    np.save(folder / "peer.npy", vectors.numpy())


def flags() -> set[str]:
    """Return the instruction sets that the operating system names."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    return {flag for line in lines if line.startswith("flags") for flag in line.partition(":")[2].split()}


if __name__ == "__main__":
    main()
