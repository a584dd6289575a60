"""Measure the search page: from an uploaded image to its answers, over HTTP, as a browser would wait for them.

    python benchmarks/serve.py [--images 10000] [--size 224] [--quick]

A server as `conspecific serve` starts it, with the default network and the pooled reference beside it, each over a
gallery of random embeddings of their dimensions: a search takes as long as with any. The queries are a photograph of
500 x 375 pixels and one of 4,000 x 3,000, as JPEG. `first` is the first answer after the server says that it is ready,
in milliseconds, `median`, `least` and `95 %` are of those after it, and `processor` is the time that all cores together
computed for one of them, which other work on the machine hardly changes; `decode`, `networks` and `search` are their
parts, measured one by one. On a machine that others use too, set OMP_NUM_THREADS=1. The results are also written to
benchmarks/serve.json.
"""

import argparse
import asyncio
import json
import os
import socket
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
import uvicorn
from PIL import Image

from conspecific.config.schema import LimitsConfig
from conspecific.data.dataset import EvaluationImages
from conspecific.data.manifest import Manifest
from conspecific.data.sources import from_images
from conspecific.encoding import Encoders
from conspecific.encoding.machine import processor, versions
from conspecific.images import center_crop, to_tensor
from conspecific.models import Backbone, Embedder, build_embedder, keep_freed_memory, pooled_reference
from conspecific.serving.app import create_app
from conspecific.serving.gallery import Encoded, ServedGallery
from conspecific.serving.uploads import decode_upload
from conspecific.serving.warm_up import warm_up
from conspecific.types import EmbeddingSet

HERE = Path(__file__).resolve().parent
SIDES = {"500 x 375": (500, 375), "4,000 x 3,000": (4000, 3000)}
KEPT = 16  # image files in the gallery; the others are rows without a file
Row = dict[str, Any]


def main() -> None:
    """Measure both queries and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=10_000, help="in the gallery")
    parser.add_argument("--size", type=int, default=224, help="side in pixels that images are encoded at")
    parser.add_argument("--quick", action="store_true", help="500 images at 64 pixels, few answers, as a trial")
    given = parser.parse_args()
    images, size, repeats = (500, 64, 5) if given.quick else (given.images, given.size, 60)
    keep_freed_memory()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, sides in SIDES.items():
            gallery = make_gallery(Path(folder), images, size)  # anew: the first answer is to be a first one
            rows.append({"query": name, **measure(gallery, photograph(sides), repeats)})
    machine = {"processor": processor(), "cores": os.cpu_count(), "load": os.getloadavg()[0], "versions": versions()}
    found = {"images": images, "size": size, "machine": machine, "rows": rows}
    (HERE / "serve.json").write_text(json.dumps(found, indent=2) + "\n")
    print(f"{images:,} images, {size} px; {json.dumps(machine)}\n")
    print(f"| {' | '.join(rows[0])} |\n|" + "---|" * len(rows[0]))
    for row in rows:
        print("| " + " | ".join(value if isinstance(value, str) else f"{value:.0f}" for value in row.values()) + " |")


def photograph(sides: tuple[int, int]) -> bytes:
    """Return a JPEG file with the detail of a photograph: noise at several scales."""
    draw, picture = np.random.default_rng(0), np.zeros((sides[1], sides[0], 3), np.float32)
    for scale in (4, 16, 64):
        small = Image.fromarray(draw.integers(0, 256, (sides[1] // scale, sides[0] // scale, 3), np.uint8))
        picture += np.asarray(small.resize(sides, Image.Resampling.BICUBIC), np.float32) / 3
    buffer = BytesIO()
    Image.fromarray(picture.astype(np.uint8)).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def make_gallery(folder: Path, images: int, size: int) -> ServedGallery:
    """Return a gallery of random embeddings, by the networks and encoders that `conspecific serve` would use."""
    (folder / "images").mkdir(exist_ok=True)
    for number in range(KEPT):
        (folder / "images" / f"{number:02}.jpg").write_bytes(photograph((500, 375)))
    drawn = from_images(str(folder / "images"))
    table = drawn.table[np.arange(images) % KEPT].with_columns(label=drawn.table["path"][np.arange(images) % KEPT])
    manifest = Manifest.from_table(drawn.root, table)
    encoders = Encoders("auto", "auto", cache=folder / "cache")
    torch.manual_seed(0)
    model, reference = build_embedder(), pooled_reference(Backbone("tf_efficientnet_lite0", "bundled"))
    sample = EvaluationImages(drawn, np.arange(KEPT), size).sample()

    def encoded(name: str, embedder: Embedder) -> Encoded:
        encoder = encoders.open(embedder.eval().backbone, lambda: sample, images)
        dimensions = embedder.embed([Image.new("RGB", (size, size))]).shape[1]
        vectors = np.random.default_rng(0).standard_normal((images, dimensions), np.float32)
        rows = EmbeddingSet(vectors, np.arange(images), manifest.labels)
        return Encoded(name, embedder, encoder, torch.device("cpu"), rows, None)

    return ServedGallery("benchmark", manifest, size, encoded("Model", model), encoded("Before training", reference))


def measure(gallery: ServedGallery, query: bytes, repeats: int) -> Row:
    """Return the milliseconds of the first answer, of those after it, and of their parts."""
    with running(gallery) as port:
        times = [milliseconds(lambda: post(port, query))]
        computed = time.process_time()
        times += [milliseconds(lambda: post(port, query)) for _ in range(repeats)]
        computed = 1000 * (time.process_time() - computed) / repeats
    limits, asked = LimitsConfig(), gallery.model.embeddings.select(np.array([0]))
    image = decode_upload(query, gallery.image_size, limits)
    tensor = to_tensor(center_crop(image, gallery.image_size))
    both = [encoded for encoded in (gallery.model, gallery.reference) if encoded is not None]

    def part(work: Callable[[], object]) -> float:
        return statistics.median(milliseconds(work) for _ in range(repeats))

    return {
        "first": times[0],
        "median": statistics.median(times[1:]),
        "least": min(times[1:]),
        "95 %": float(np.percentile(times[1:], 95)),
        "processor": computed,
        "decode": part(lambda: decode_upload(query, gallery.image_size, limits)),
        "networks": part(lambda: [encoded.embed(tensor) for encoded in both]),
        "search": part(lambda: [encoded.nearest(asked, 10, None, copies=()) for encoded in both]),
    }


def post(port: int, query: bytes) -> None:
    """Upload a query over a new connection and read its answers."""
    connection = HTTPConnection("127.0.0.1", port)
    connection.request("POST", "/api/search", query, {"Content-Type": "image/jpeg"})
    answer = connection.getresponse()
    found = json.loads(answer.read())
    connection.close()
    assert answer.status == 200 and len(found["model"]["answers"]) == 10, found


@contextmanager
def running(gallery: ServedGallery) -> Iterator[int]:
    """Serve a gallery in a thread; the port."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        app = create_app(gallery, LimitsConfig())
        asyncio.run(warm_up(app))
        server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield listening.getsockname()[1]
        server.should_exit = True
        thread.join()


def milliseconds(work: Callable[[], object]) -> float:
    """Return how long some work takes."""
    began = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - began)


if __name__ == "__main__":
    main()
