"""The network of an index is written for the backends that are installed, and embeds queries as torch does."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from conspecific.encoding import onnx_backend, openvino_backend, query_encoder
from conspecific.encoding.query_encoder import can_open, can_write, open_query_encoder, write_query_encoder
from conspecific.models import build_embedder

BACKENDS = {"openvino": openvino_backend, "onnxruntime": onnx_backend}


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_written_network_embeds_as_torch_does(backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    for name, other in BACKENDS.items():
        if name != backend:
            monkeypatch.setattr(other, "precisions", lambda: ())
    assert can_write()
    embedder = build_embedder("test_resnet", "none", head="none").eval()
    files = write_query_encoder(embedder, 64, tmp_path)
    assert sorted(files) == sorted(tmp_path.iterdir())
    images = np.random.default_rng(0).integers(0, 256, (query_encoder.BATCH + 2, 3, 64, 64), np.uint8)
    with torch.inference_mode():
        wanted = embedder(torch.from_numpy(images)).numpy()
    encode = open_query_encoder(files)
    for count in (1, len(images)):
        np.testing.assert_allclose(encode(images[:count]), wanted[:count], atol=1e-4)
    monkeypatch.setattr(query_encoder, "find_spec", lambda name: None)
    assert not can_open(files), "its package is gone"
