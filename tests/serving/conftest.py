"""A small gallery behind the real application: five species of noise, one of them with a hostile name."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from starlette.types import ASGIApp

from conspecific.data.sources import from_folder
from conspecific.evaluation.score_precision import ScorePrecision
from conspecific.models import Embedder, build_embedder, pooled_reference
from conspecific.serving.gallery import Encoded, ServedGallery
from conspecific.serving.server import make_server
from conspecific.types import EmbeddingSet

SIZE = 64
HOSTILE = "<img src=x onerror=document.title='markup'>"
SPECIES = {"Blue_Jay": 6, "=wren": 5, HOSTILE: 5, "owl": 1}


@pytest.fixture(scope="session")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> ServedGallery:
    """The images, and two networks of random weights; of the model a validation is known, with 20 right answers."""
    root, draw = tmp_path_factory.mktemp("birds"), np.random.default_rng(0)
    for species, count in SPECIES.items():
        (root / species).mkdir()
        for number in range(count):
            noise = draw.integers(0, 256, (60, 80, 3), np.uint8)
            Image.fromarray(noise).save(root / species / f"{number:02}.png")
    manifest = from_folder(str(root))
    labels, ids = manifest.labels, np.arange(len(manifest))

    def encoded(name: str, embedder: Embedder, precision: ScorePrecision | None) -> Encoded:
        embedder.image_size = SIZE
        vectors = embedder.embed([manifest.path(int(sample_id)) for sample_id in ids], device="cpu", workers=1)
        device = torch.device("cpu")
        return Encoded(name, embedder, embedder.backbone, device, EmbeddingSet(vectors, ids, labels), precision)

    torch.manual_seed(0)
    model = build_embedder("test_resnet", "none", head="linear", dimensions=16).eval()
    scores = np.linspace(-1, 1, 401)
    known = ScorePrecision(scores, np.append(0, np.cumsum(scores > 0.9025)), threshold=0.9)
    reference = encoded("Before training", pooled_reference(model.backbone), None)
    return ServedGallery("runs/tiny", manifest, SIZE, encoded("Model", model, known), reference, examples=(0, 7))


@pytest.fixture
def image(gallery: ServedGallery) -> Path:
    """A file of the gallery."""
    return gallery.manifest.path(0)


def encoded_image(kind: str, size: tuple[int, int] = (40, 30)) -> bytes:
    """The bytes of an orange image file."""
    buffer = BytesIO()
    Image.new("RGB", size, "orange").save(buffer, kind)
    return buffer.getvalue()


@contextmanager
def running(app: ASGIApp) -> Iterator[str]:
    """Serve an application on a port of its own, in a thread; the address."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = make_server(app)
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
        finally:
            server.should_exit = True
            thread.join()
