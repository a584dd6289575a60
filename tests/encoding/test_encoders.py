"""Networks run by other backends than torch: the choice, the check against torch, and what falls back."""

import os
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from conspecific.encoding import Encoder, Encoders, encoders, torch_encoder
from conspecific.encoding.encoder import disagreement
from conspecific.models import Backbone, FrozenStages
from conspecific.types import FloatArray


class Fake:
    """A backend that multiplies torch's output by `factor` and takes no time, or fails with `error`."""

    def __init__(self, factor: float = 1.0, precisions: tuple[str, ...] = ("float32",), error: str = "") -> None:
        self.factor, self.native, self.error = factor, precisions, error
        self.built: list[str] = []

    def precisions(self) -> tuple[str, ...]:
        return self.native

    def build(
        self, network: nn.Module, sample: Tensor, precision: str, folder: Path, *_: object
    ) -> Callable[[NDArray[np.uint8]], FloatArray]:
        if self.error:
            raise RuntimeError(self.error)
        self.built.append(precision)
        known = {len(sample): network(sample).detach().numpy()}
        noise = np.zeros_like(known[len(sample)])
        noise[:, 0] = self.factor - 1

        def run(images: NDArray[np.uint8]) -> FloatArray:
            return known[len(images)] + noise

        return run


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Fake]:
    def put(**options: object) -> Fake:
        made = Fake(**options)  # type: ignore[arg-type]
        monkeypatch.setattr(encoders, "BACKENDS", {"openvino": made})
        monkeypatch.setattr(encoders, "WORTH_SECONDS", 0.0)
        return made

    return put


class Slow(nn.Module):
    """Flattens images and takes its time, so that every backend is faster."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, images: Tensor) -> Tensor:
        torch.randn(400, 400) @ torch.randn(400, 400)
        return images.flatten(1).float()[:, :10] * self.weight


@pytest.fixture
def sample() -> Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (4, 3, 64, 64), dtype=np.uint8))


def frozen_stages(backbone: str = "test_resnet") -> FrozenStages:
    torch.manual_seed(0)
    network = Backbone(backbone, "none")
    network.freeze(1, True)
    return FrozenStages(network.eval())


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_a_backend_gives_what_torch_gives_for_any_number_of_images(
    backend: str, sample: Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    said: list[str] = []
    network = frozen_stages()
    made = Encoders(backend, cache=tmp_path, say=said.append)
    encoder = made.open(network, lambda: sample, 10)
    assert (str(encoder), said) == (f"{backend}, float32", [])
    images = torch.cat([sample.flip(3), sample, sample.flip(2)])
    for count in (1, 3, len(images)):
        wanted = network(images[:count]).detach()
        assert torch.allclose(encoder(images[:count]), wanted, atol=1e-4 * float(wanted.abs().max()))
    [folder] = (tmp_path / "encoders").iterdir()
    converter = {"openvino": "openvino.convert_model", "onnxruntime": "torch.onnx.export"}[backend]
    monkeypatch.setattr(converter, None)  # the converted network is read from the cache
    assert str(made.open(network, lambda: sample, 10)) == f"{backend}, float32"
    monkeypatch.undo()
    for file in folder.iterdir():
        file.write_bytes(b"damaged")
    assert str(made.open(network, lambda: sample, 10)) == f"{backend}, float32"
    assert said == [f"{folder} cannot be used, it has no checksums: it is made again."]


@pytest.mark.parametrize("before", ["", "import absl.logging; "])
def test_openvino_sends_no_telemetry_and_leaves_logging_alone(before: str) -> None:
    """In a process of its own: TensorBoard imports absl, if its tests come first."""
    if find_spec("openvino") is None:
        pytest.skip("openvino is not installed")
    program = (
        f"{before}import sys; from conspecific.encoding import openvino_backend; "
        "assert 'float32' in openvino_backend.precisions(); from openvino.tools import ovc; "
        "assert sys.modules['openvino_telemetry'] is None and 'stub' in type(ovc.telemetry).__module__; "
        "assert not any(name.startswith('absl') for name in vars(sys.modules['openvino.tools.ovc.logger'])); "
        f"assert ('absl' in sys.modules) is {bool(before)}"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_auto_takes_the_fastest_says_so_once_and_remembers_it(
    fake: Callable[..., Fake], sample: Tensor, tmp_path: Path
) -> None:
    backend, said = fake(), list[str]()
    made = Encoders("auto", cache=tmp_path, say=said.append)
    network = Slow()
    assert str(made.open(network, lambda: sample, 1000)) == "openvino, float32"
    [line] = said
    assert line.startswith("Encoder at 64 px: openvino, float32, ")
    backend.factor = 1.0
    assert str(made.open(network, lambda: sample, 1000)) == "openvino, float32"
    assert said[1:] == ["Encoder at 64 px: openvino, float32, found the fastest before"] and len(backend.built) == 2
    with torch.no_grad():
        network.weight.add_(1)
    made.open(network, lambda: sample, 1000)
    assert said[2].endswith(")"), "other weights are another network, which is measured"


def test_auto_leaves_a_short_job_to_torch(
    fake: Callable[..., Fake], sample: Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = fake()
    monkeypatch.setattr(encoders, "WORTH_SECONDS", 1000.0)
    assert str(Encoders("auto", cache=tmp_path).open(Slow(), lambda: sample, 1000)) == "torch, float32"
    assert backend.built == [] and [*tmp_path.iterdir()] == []


def test_a_backend_that_disagrees_fails_or_is_absent_is_replaced_by_torch_with_a_reason(
    fake: Callable[..., Fake], sample: Tensor, tmp_path: Path
) -> None:
    for options, reason in (
        ({"factor": 1e4}, "the lowest cosine to torch in float32 is 0."),
        ({"factor": float("nan")}, "the lowest cosine to torch in float32 is nan"),
        ({"error": "no such operation\nsecond line"}, "RuntimeError: no such operation."),
        ({"precisions": ()}, "it is not installed"),
    ):
        fake(**options)
        said: list[str] = []
        asked = Encoders("openvino", cache=tmp_path, say=said.append).open(Slow(), lambda: sample, 10)
        assert str(asked) == "torch, float32"
        assert said[0].startswith("encode.backend=openvino cannot be used, and torch is: ") and reason in said[0]
        if options != {"precisions": ()}:
            said.clear()
            assert str(
                Encoders("auto", cache=tmp_path / reason[-4:], say=said.append).open(Slow(), lambda: sample, 10)
            ) == str(asked)
            assert any(reason.rstrip(".") in line for line in said)


def test_a_package_that_cannot_be_imported_is_named_and_left(
    fake: Callable[..., Fake], sample: Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> tuple[str, ...]:
        raise ImportError("libtbb.so.12 is missing")

    monkeypatch.setattr(fake(), "precisions", broken)
    said: list[str] = []
    found = Encoders("auto", cache=tmp_path, say=said.append).open(Slow(), lambda: sample, 10)
    assert (str(found), said) == ("torch, float32", ["openvino is not used: ImportError: libtbb.so.12 is missing"])


def test_bfloat16_is_taken_where_it_is_allowed_only(fake: Callable[..., Fake], sample: Tensor, tmp_path: Path) -> None:
    fake(precisions=("float32", "bfloat16"))

    def opened(precision: str, reduced: bool) -> str:
        made = Encoders("openvino", precision, cache=tmp_path, say=lambda line: None)
        return str(made.open(Slow(), lambda: sample, 10, reduced=reduced))

    assert opened("auto", True) == "openvino, bfloat16"
    assert opened("auto", False) == opened("float32", True) == "openvino, float32"
    assert opened("bfloat16", False) == "openvino, bfloat16"


def test_a_precision_that_is_asked_for_is_used_by_torch_too_where_no_backend_has_it(
    fake: Callable[..., Fake], sample: Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake()  # float32 alone
    for backend in ("auto", "openvino", "torch"):
        made = Encoders(backend, "bfloat16", cache=tmp_path, say=lambda line: None)
        assert str(made.open(Slow(), lambda: sample, 10)) == "torch, bfloat16"
    fake(precisions=("float32", "bfloat16"))
    monkeypatch.setattr(encoders, "WORTH_SECONDS", 1000.0)
    assert str(Encoders("auto", "bfloat16", cache=tmp_path).open(Slow(), lambda: sample, 10)) == "torch, bfloat16"


def test_the_mean_cosine_decides_in_bfloat16_and_the_lowest_in_float32() -> None:
    expected = torch.ones(100, 50)
    found = expected.clone()
    found[0, :4] = 0  # cosine 0.959; the mean of all is 0.9996
    sample = torch.zeros(100, 1)
    assert disagreement(Encoder("b", "bfloat16", lambda images: found), expected, sample) is None
    assert "lowest cosine" in str(disagreement(Encoder("b", "float32", lambda images: found), expected, sample))
    assert "shape [1]" in str(disagreement(Encoder("b", "float32", lambda images: found[0, :1]), expected, sample))


def test_torch_in_bfloat16_returns_float32_near_float32(sample: Tensor) -> None:
    network = frozen_stages()
    exact, reduced = (torch_encoder(network, torch.device("cpu"), name) for name in ("float32", "bfloat16"))
    assert torch.equal(exact(sample), network(sample))
    found = reduced(sample)
    assert found.dtype == torch.float32 and not torch.equal(found, exact(sample))
    assert disagreement(reduced, exact(sample), sample) is None


def test_only_the_networks_used_last_are_kept(
    fake: Callable[..., Fake], sample: Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoders, "KEPT_NETWORKS", 2)
    names = []
    for age, name in enumerate(("oldest", "older", "new")):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "network.xml").write_text("")
        os.utime(folder, (100 + age, 100 + age))
        names.append(name)
    (tmp_path / "choice.json").write_text("{}")
    encoders._keep_newest(tmp_path / "oldest")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["choice.json", "new", "oldest"]
