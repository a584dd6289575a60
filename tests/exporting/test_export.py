"""What an export holds: a network that other programs run as its README says, and gives what the run's model gives."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
from PIL import Image
from rich.console import Console

from conspecific.config.compose import compose_config, typed
from conspecific.config.schema import ExportConfig, PathsConfig, TrainConfig
from conspecific.errors import ConfigError, RunError
from conspecific.exporting import Export, export_run
from conspecific.exporting.formats import FORMATS
from conspecific.exporting.network import ExportedNetwork
from conspecific.exporting.usage import program as program_of
from conspecific.models import Embedder, build_embedder
from conspecific.models.class_probabilities import WithClassProbabilities
from conspecific.models.origins import Origin
from conspecific.models.weights import save_weights
from conspecific.runs.directory import RunDirectory
from conspecific.runs.load import load
from conspecific.runs.record import start_record
from conspecific.types import FloatArray


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    """The record of a run that was evaluated at 48 pixels, as far as opening needs it."""
    run = RunDirectory(tmp_path / "run")
    torch.manual_seed(0)
    save_weights(build_embedder("test_resnet", "none", head="linear", dimensions=16), run.weights)
    model = ["model=timm", "model.backbone=test_resnet", "model.head=linear", "model.dimensions=16"]
    overrides = [*model, "loader.image_size=48"]
    start_record(run, typed(compose_config("train", overrides), TrainConfig), overrides, "none")
    return run


def export(run: RunDirectory, **keys: Any) -> Export:
    """Export without images of the run."""
    return export_run(ExportConfig(run=str(run.path), **{"images": 0, **keys}), Console(quiet=True))


def program(folder: Path) -> str:
    [found] = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), flags=re.DOTALL)
    return str(found)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A photograph whose sides, resized, are whole numbers of pixels, so that timm rounds them as we do."""
    gradient = np.linspace(0, 255, 96 * 144 * 3).reshape(96, 144, 3)
    Image.fromarray(gradient.astype(np.uint8)).save(tmp_path / "image.png")
    return tmp_path / "image.png"


@pytest.mark.parametrize(("form", "uint8"), [("onnx", True), ("openvino", True), ("torch", False), ("timm", False)])
def test_the_program_of_the_readme_gives_the_embedding(
    form: str, uint8: bool, run: RunDirectory, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not FORMATS[form].is_installed():
        pytest.skip(f"{form} is not installed")
    made = export(run, format=form, uint8=uint8)
    assert made.folder == run.path / "exports" / (f"{form}_uint8" if uint8 else form)
    assert made.parity.cosine_lowest > 0.9999
    facts = json.loads((made.folder / "preprocessing.json").read_text())
    assert (facts["image_size"], facts["normalization_in_graph"], facts["embedding"]["dimensions"]) == (48, uint8, 16)
    expected = load(run.path, device="cpu").embed([image])
    (made.folder / "image.jpg").write_bytes(image.read_bytes())  # a PNG: no loss by JPEG
    monkeypatch.chdir(made.folder)
    found = alone(program(made.folder)) if form == "torch" else executed(program(made.folder))
    np.testing.assert_allclose(found, expected, atol=1e-4)


def executed(code: str) -> FloatArray:
    names: dict[str, Any] = {}
    exec(code, names)
    return np.asarray(names["embeddings"])


def alone(code: str) -> FloatArray:
    """Run in another process that cannot import this package."""
    code = f"import sys\nsys.modules['conspecific'] = None\n{code}\nnp.save('found.npy', embeddings)"
    subprocess.run([sys.executable, "-c", code], check=True)
    return np.asarray(np.load("found.npy"))


@pytest.mark.parametrize(
    ("backbone", "pooling", "head", "layer", "truncate"),
    [
        ("test_vit", "cls", "mlp", "head", 4),
        ("test_vit2", "avg", "linear", "pooled", None),
        ("test_convnext", "max", "none", "head", 4),
        ("test_mambaout", "gem", "batch_norm", "head", 4),
        ("test_resnet", "avg", "linear followed by class probabilities", "head", None),
    ],
)
def test_timm_loads_other_networks(
    backbone: str,
    pooling: str,
    head: str,
    layer: Any,
    truncate: int | None,
    tmp_path: Path,
    image: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    head, _, followed = head.partition(" ")
    dimensions = 8 if head in ("linear", "mlp") else None
    embedder: Embedder = build_embedder(
        backbone, "none", pooling, head, dimensions, embedding_layer=layer, trainable_stages=None
    )
    if followed:
        embedder.head = WithClassProbabilities(embedder.head, F.normalize(torch.rand(3, 8)), 0.5)
    if isinstance(embedder.head, torch.nn.BatchNorm1d):
        torch.nn.init.uniform_(embedder.head.get_buffer("running_mean"), 0.1, 0.9)
    embedder.truncate = truncate
    embedder.image_size = size = 96
    network = ExportedNetwork(embedder, size, uint8=False)
    FORMATS["timm"].write(network, tmp_path)
    (tmp_path / "image.jpg").write_bytes(image.read_bytes())
    monkeypatch.chdir(tmp_path)
    expected = embedder.embed([image], device="cpu")
    np.testing.assert_allclose(executed(program_of("timm", network)), expected, atol=1e-4)
    pixels = network.prepared(network.noise(3))
    reopened = FORMATS["timm"].open(tmp_path, network)
    torch.testing.assert_close(reopened(pixels), network(pixels).detach())
    if (file := tmp_path / "head.safetensors").is_file():
        content = bytearray(file.read_bytes())
        content[-1] ^= 1
        file.write_bytes(content)
        with pytest.raises(ConfigError, match="is damaged: its checksum is not that of its tensors"):
            FORMATS["timm"].open(tmp_path, network)
    pooled = timm.create_model("local-dir:.", pretrained=True, num_classes=0).eval()
    assert pooled(pixels).ndim == (3 if backbone == "test_vit2" else 2), "timm would pool it with weights it lacks"


@pytest.mark.parametrize("form", ["onnx", "openvino"])
def test_int8_is_calibrated_on_training_images_and_says_what_it_costs(
    form: str, run: RunDirectory, image: Path, make_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    if not (FORMATS[form].is_installed() and FORMATS["onnx"].is_installed()):
        pytest.skip(f"{form} or onnx is not installed")
    images = {
        "data": {
            "_target_": "conspecific.data.sources.from_folder",
            "root": str(make_folder({"robin": 12, "wren": 12})),
        },
        "paths": PathsConfig(cache=str(run.path.parent / "cache")),
    }
    made = export(run, format=form, int8=True, images=100, **images)
    assert made.folder == run.path / "exports" / f"{form}_int8"
    assert made.int8 is not None
    assert (made.int8.calibration_images, made.int8.training_images, made.parity.available) == (8, 8, 12)
    assert made.bytes < 0.6 * made.int8.float32_bytes
    assert 0.9 < made.parity.cosine_lowest < 0.99999
    stored = json.loads((made.folder / "parity.json").read_text())
    for name in ("recall@1", "map@r"):
        lost = stored["exported"][name] - stored["torch"][name]
        assert stored["int8"]["cost"][name]["by_query"]["mean"] == pytest.approx(lost)
    assert "| cost of int8 | recall@1 " in (made.folder / "README.md").read_text()
    (made.folder / "image.jpg").write_bytes(image.read_bytes())
    monkeypatch.chdir(made.folder)
    [found], [expected] = executed(program(made.folder)), load(run.path, device="cpu").embed([image])
    assert 0.9 < found @ expected < 0.99999


def test_what_is_not_possible_is_said(run: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="uint8=true is not for format=timm"):
        export(run, format="timm", uint8=True)
    with pytest.raises(ConfigError, match="no identifier of a license"):
        export(run, license="my own\nrules")
    with pytest.raises(ConfigError, match="int8=true is for format=onnx or openvino; found format=timm"):
        export(run, format="timm", int8=True, images=9)
    with pytest.raises(ConfigError, match="int8=true is calibrated on images of the run"):
        export(run, int8=True)
    with pytest.raises(ConfigError, match="images must be 0 or more"):
        export(run, images=-1)
    kept = tmp_path / "thesis" / "chapter.tex"
    kept.parent.mkdir()
    kept.write_text("years of work")
    with pytest.raises(RunError, match="holds other files than those of an export, which would be deleted"):
        export(run, format="timm", output=str(kept.parent))
    assert kept.is_file()
    other = load(run.path, device="cpu").requires_grad_(False)
    wrong = replace(FORMATS["timm"], open=lambda *_: lambda images: other(images.flip(1)))
    monkeypatch.setitem(FORMATS, "timm", wrong)
    with pytest.raises(RunError, match="the exported network is not that of torch: the lowest cosine"):
        export(run, format="timm", output=str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_an_export_has_the_licence_of_the_weights_that_the_run_began_with(run: RunDirectory) -> None:
    embedder = build_embedder("test_resnet", "none", head="linear", dimensions=16)
    embedder.backbone.origin = Origin("MegaDescriptor", "BVRA", "CC-BY-NC-4.0")
    save_weights(embedder, run.weights)
    folder = export(run, format="timm").folder
    told = "MegaDescriptor, published by BVRA, licence: CC-BY-NC-4.0"
    assert f"| the pretrained weights they started from | {told} |" in (folder / "README.md").read_text()
    assert json.loads((folder / "config.json").read_text())["pretrained_cfg"]["license"] == "CC-BY-NC-4.0"


def test_an_export_replaces_one(run: RunDirectory) -> None:
    first = export(run, format="timm")
    (first.folder / "model.onnx").touch()
    again = export(run, format="timm", license="cc-by-4.0")
    assert not (again.folder / "model.onnx").exists()
    (again.folder / "image.jpg").touch()
    with pytest.raises(RunError, match=r"timm holds image\.jpg besides those of an export, which would be deleted"):
        export(run, format="timm")
    text = (again.folder / "README.md").read_text()
    assert "\nlicense: cc-by-4.0\n" in text
    assert "| these weights | cc-by-4.0 |" in text
    assert "| the training images | *to be filled in* |" in text
