"""Measure a device: training and encoding of three networks, on synthetic batches and from files, beside plain timm.

    python benchmarks/gpu.py [FOLDER] [--batch 64] [--size 224] [--steps 30] [--quick]

ResNet-50, EfficientNet-Lite0 and ViT-S with random weights. Encoding: our torch backend, in float32 and, where the
device has it, bfloat16, beside the network of timm as it is made. Training: the embedder and optimizer of Conspecific
with ArcFace, beside the same loop with the network of timm and AdamW; both in bfloat16 autocast on a GPU that has it.
Synthetic batches are on the device already. Files are the images below FOLDER, or noise in a temporary folder; threads
decode them. `waiting` is the share of time in which the loop waits for a batch, `busy` the mean utilisation of the GPU,
where NVML gives it. The median batch counts, after a warm-up. It runs on whatever device is there; --quick takes tiny
networks and images. The results are also written to benchmarks/gpu.json.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import timm
import torch
from PIL import Image
from pytorch_metric_learning.losses import ArcFaceLoss
from torch import Tensor, nn

from conspecific.data.dataset import EvaluationImages
from conspecific.data.sources import from_images
from conspecific.encoding import torch_encoder
from conspecific.encoding.machine import processor, versions
from conspecific.evaluation import device_for
from conspecific.images import workers_for
from conspecific.models import Embedder, build_embedder, keep_freed_memory
from conspecific.models.encode import decoded
from conspecific.training.optimizers import GroupedOptimizer

HERE = Path(__file__).resolve().parent
NETWORKS = ("resnet50", "tf_efficientnet_lite0", "vit_small_patch16_224")
QUICK = ("test_resnet", "test_vit")
CLASSES, WARM_UP, DIMENSIONS = 100, 5, 128
COLUMNS = ("network", "work", "way", "data", "images/s", "waiting", "busy")
Row = dict[str, Any]


class Bench(NamedTuple):
    """What is measured on. files: [B, 3, S, S] uint8 batches, decoded anew each time it is called."""

    device: torch.device
    batch: int
    size: int
    steps: int
    files: Callable[[], Iterable[Tensor]]

    def synthetic(self) -> Iterator[Tensor]:
        """Yield one batch again and again, on the device."""
        generator = torch.Generator().manual_seed(0)
        shape = (self.batch, 3, self.size, self.size)
        images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator).to(self.device)
        while True:
            yield images

    def endless_files(self) -> Iterator[Tensor]:
        while True:
            for images in self.files():
                yield images.to(self.device, non_blocking=True)


def main() -> None:
    """Measure every network and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", help="images at any depth")
    parser.add_argument("--batch", type=int, default=64, help="images of a batch")
    parser.add_argument("--size", type=int, default=224, help="side in pixels")
    parser.add_argument("--steps", type=int, default=30, help="measured batches")
    parser.add_argument("--quick", action="store_true", help="test networks, 4 images of 64 px, 2 batches")
    given = parser.parse_args()
    keep_freed_memory()
    device, networks = device_for("auto"), QUICK if given.quick else NETWORKS
    batch, size, steps = (4, 64, 2) if given.quick else (given.batch, given.size, given.steps)
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or noise(Path(temporary), 2 * batch, size)
        bench = Bench(device, batch, size, steps, file_batches(folder, batch, size))
        rows = [row for network in networks for row in measure(network, bench)]
    name = torch.cuda.get_device_name() if device.type == "cuda" else processor()
    machine = {"device": name, "cores": workers_for(None), "versions": versions()}
    found = {"machine": machine, "batch": batch, "size": size, "steps": steps, "rows": rows}
    (HERE / "gpu.json").write_text(json.dumps(found, indent=2) + "\n")
    print(f"{json.dumps(machine)}; batches of {batch} images of {size} px\n\n{table(rows)}")


def noise(folder: Path, count: int, size: int) -> str:
    """Write JPEGs of noise."""
    rng = np.random.default_rng(0)
    for number in range(count):
        pixels = rng.integers(0, 256, (size // 8, size // 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((size, size)).save(folder / f"{number}.jpg")
    return str(folder)


def file_batches(folder: str, batch: int, size: int) -> Callable[[], Iterable[Tensor]]:
    """Return what decodes the images of a folder into whole batches, by threads, ahead of their use."""
    manifest = from_images(folder)
    images = EvaluationImages(manifest, np.arange(len(manifest)), size)
    whole = range(len(images) // batch * batch)
    if not whole:
        raise SystemExit(f"error: {folder} has {len(images)} images, fewer than a batch of {batch}: see --batch")
    return lambda: decoded(whole, lambda place: images[place]["image"], batch, workers_for(None))


def measure(network: str, bench: Bench) -> Iterator[Row]:
    """Yield a row for each kind of work, way and source of images."""
    torch.manual_seed(0)
    for work, ways in (("encode", encoders(network, bench)), ("train", trainers(network, bench))):
        for way, step in ways:
            for data, source in (("synthetic", bench.synthetic), ("files", bench.endless_files)):
                row = {"network": network, "work": work, "way": way, "data": data}
                yield row | timed(step, source(), bench)


def encoders(network: str, bench: Bench) -> Iterator[tuple[str, Callable[[Tensor], Any]]]:
    """Yield the ways to encode a batch, one network at a time."""
    embedder = embedder_of(network, bench).eval()
    for precision in ("float32", "bfloat16") if has_bf16(bench.device) else ("float32",):
        yield f"conspecific, {precision}", torch_encoder(embedder.backbone, bench.device, precision)
    plain = timm_network(network, bench).eval()

    def encode(images: Tensor) -> Tensor:
        with torch.no_grad():
            found: Tensor = plain(scaled(images))
        return found

    yield "timm, float32", encode


def trainers(network: str, bench: Bench) -> Iterator[tuple[str, Callable[[Tensor], Any]]]:
    """Yield the ways to train on a batch, one network at a time."""
    labels = torch.arange(bench.batch, device=bench.device) % CLASSES
    embedder = embedder_of(network, bench, head="linear", dimensions=DIMENSIONS).train()
    loss = ArcFaceLoss(CLASSES, DIMENSIONS).to(bench.device)
    made: Any = GroupedOptimizer().build(embedder, loss, 1, bench.steps)
    features = lambda images: embedder.project_features(embedder.backbone(images))  # noqa: E731
    yield "conspecific", trainer(features, loss, made["optimizer"], labels)
    plain = timm_network(network, bench, DIMENSIONS).train()
    loss = ArcFaceLoss(CLASSES, DIMENSIONS).to(bench.device)
    optimizer = torch.optim.AdamW([*plain.parameters(), *loss.parameters()])
    yield "timm", trainer(lambda images: plain(scaled(images)), loss, optimizer, labels)


def trainer(
    embed: Callable[[Tensor], Tensor], loss: nn.Module, optimizer: torch.optim.Optimizer, labels: Tensor
) -> Callable[[Tensor], None]:
    """Return a step of training, in bfloat16 where a GPU has it."""
    reduced = labels.is_cuda and torch.cuda.is_bf16_supported()

    def step(images: Tensor) -> None:
        with torch.autocast(labels.device.type, torch.bfloat16, enabled=reduced):
            embeddings = embed(images)
        optimizer.zero_grad()
        loss(embeddings.float(), labels).backward()
        optimizer.step()

    return step


def embedder_of(network: str, bench: Bench, **options: Any) -> Embedder:
    """Return our embedder with random weights, on the device."""
    chosen = {"pooling": "avg", "head": "none", "trainable_stages": None, "freeze_norms": False} | options
    made: Embedder = build_embedder(network, "none", **chosen)
    return made.to(bench.device)


def timm_network(network: str, bench: Bench, classes: int = 0) -> nn.Module:
    """Return the network as timm makes it, on the device."""
    size = {"img_size": bench.size} if "vit" in network else {}
    made: nn.Module = timm.create_model(network, pretrained=False, num_classes=classes, **size)
    return made.to(bench.device)


def scaled(images: Tensor) -> Tensor:
    """Return uint8 images as a tutorial's normalisation leaves them."""
    return images.float() / 127.5 - 1


def has_bf16(device: torch.device) -> bool:
    """Whether the device computes in bfloat16."""
    found: bool = torch.cuda.is_bf16_supported() if device.type == "cuda" else torch.cpu._is_avx512_bf16_supported()
    return found


def timed(step: Callable[[Tensor], Any], batches: Iterator[Tensor], bench: Bench) -> Row:
    """Return images per second by the median batch, the share of waiting, and the utilisation of a GPU."""
    seconds, waited, busy = [], 0.0, []
    for number in range(WARM_UP + bench.steps):
        began = time.perf_counter()
        images = next(batches)
        arrived = time.perf_counter()
        step(images)
        if bench.device.type == "cuda":
            torch.cuda.synchronize()
        if number >= WARM_UP:
            waited += arrived - began
            seconds.append(time.perf_counter() - began)
            busy += utilisation(bench.device)
    rate = bench.batch / statistics.median(seconds)
    return {"rate": rate, "waiting": waited / sum(seconds), "busy": statistics.mean(busy) if busy else None}


def utilisation(device: torch.device) -> list[float]:
    """Return the share of the last moments in which a GPU was busy; nothing where nothing tells it."""
    if device.type == "cuda":
        with suppress(ModuleNotFoundError, RuntimeError):  # pynvml is not installed, or the driver refuses
            return [torch.cuda.utilization(device) / 100]
    return []


def table(rows: list[Row]) -> str:
    """Return the rows in Markdown."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "|---" * len(COLUMNS) + "|"]
    for row in rows:
        busy = "" if row["busy"] is None else f"{100 * row['busy']:.0f} %"
        words = " | ".join(row[name] for name in COLUMNS[:4])
        lines.append(f"| {words} | {row['rate']:.1f} | {100 * row['waiting']:.0f} % | {busy} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
