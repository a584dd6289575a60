"""The choice of the encoder: as asked, or the fastest that this machine has and that agrees with torch."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import torch
from rich.console import Console
from torch import Tensor, nn

from conspecific.config.schema import EncodeConfig
from conspecific.encoding import onnx_backend, openvino_backend
from conspecific.encoding.encoder import Encoder, disagreement, images_per_second, on_tensors, torch_encoder
from conspecific.encoding.machine import processor, versions
from conspecific.files import cache_key, write_json

VERSION = 2  # raise it when a change of code makes converted networks or choices of the past useless
BACKENDS = {"openvino": openvino_backend, "onnxruntime": onnx_backend}
WORTH_SECONDS = 20.0  # torch does a shorter job before another backend is converted, checked and measured
KEPT_NETWORKS = 12  # converted networks in the cache


@dataclass(frozen=True)
class Encoders:
    """How networks are run where nothing is trained.

    backend: torch, onnxruntime, openvino or auto. precision: float32, bfloat16, or auto, which is bfloat16 where the
    processor computes in it natively. cache: folder of all caches; converted networks and choices are kept in it; None
    uses torch. say: prints a line about a choice or a fallback.
    """

    backend: str = "torch"
    precision: str = "float32"
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    cache: Path | None = None
    say: Callable[[str], None] = print

    @classmethod
    def of(cls, config: EncodeConfig, device: torch.device, cache: Path, console: Console) -> Self:
        """Return the encoders of a configuration, whose lines go to a console."""

        def say(line: str) -> None:
            console.print(line, soft_wrap=True, highlight=False, markup=False)

        return cls(config.backend, config.precision, device, cache, say)

    def open(
        self, network: nn.Module, sample_images: Callable[[], Tensor], images: int, *, reduced: bool = False
    ) -> Encoder:
        """Return the encoder of a network.

        network: in evaluation mode and on the device; its weights must not change while the encoder is in use.
        sample_images: returns some of the images, [B, 3, H, W] uint8, on which every backend is compared with torch and
            measured.
        images: how many will be encoded: for few of them the choice would take longer than torch does.
        reduced: whether precision=auto may be bfloat16.

        A backend that is missing, fails or disagrees with torch is replaced by torch, and `say` gets the reason.
        """
        torch_alone = torch_encoder(network, self.device, "bfloat16" if self.precision == "bfloat16" else "float32")
        if self.cache is None or self.device.type != "cpu" or self.backend == "torch":
            return torch_alone
        ways, sample = list(self._ways(reduced)), sample_images()
        if self.backend != "auto":
            return self._asked(network, torch_alone, sample, ways)
        if not ways or images / images_per_second(torch_alone, sample, repeats=1) < WORTH_SECONDS:
            return torch_alone
        return self._fastest(network, torch_alone, sample, ways)

    def acceptable(self, *, reduced: bool = False) -> Iterator[tuple[str, str]]:
        """Yield each backend and precision that results of earlier runs may come from, the likely fastest first.

        reduced: whether precision=auto may be bfloat16.
        """
        precisions = [self.precision] if self.precision != "auto" else ["bfloat16", "float32"][not reduced :]
        for precision in precisions:
            for backend in [*BACKENDS, "torch"] if self.backend == "auto" else [self.backend]:
                yield backend, precision

    def _ways(self, reduced: bool) -> Iterator[tuple[str, str]]:
        """Yield each backend and precision to try, torch in float32 left out, the one asked for or likely fastest
        first."""
        for backend in BACKENDS:
            if self.backend in ("auto", backend):
                for precision in reversed(self._precisions(backend)):
                    if precision == self.precision or (
                        self.precision == "auto" and (reduced or precision == "float32")
                    ):
                        yield backend, precision

    def _precisions(self, backend: str) -> tuple[str, ...]:
        try:
            found: tuple[str, ...] = BACKENDS[backend].precisions()
            return found
        except Exception as error:  # an installation that is damaged or misses a library; torch can do the work
            self.say(f"{backend} is not used: {type(error).__name__}: {error}")
            return ()

    def _asked(self, network: nn.Module, torch_alone: Encoder, sample: Tensor, ways: list[tuple[str, str]]) -> Encoder:
        expected, key = torch_encoder(network, self.device)(sample), _key(network, sample)
        reason = f"it is not installed, or has no {self.precision} here"
        for way in ways:
            found = self._checked(network, way, sample, expected, key)
            if isinstance(found, Encoder):
                return found
            reason = found
        self.say(f"encode.backend={self.backend} cannot be used, and torch is: {reason}.")
        return torch_alone

    def _fastest(
        self, network: nn.Module, torch_alone: Encoder, sample: Tensor, ways: list[tuple[str, str]]
    ) -> Encoder:
        assert self.cache is not None
        expected, key = torch_encoder(network, self.device)(sample), _key(network, sample)
        machine = processor(), os.cpu_count(), torch.get_num_threads()
        file = self.cache / "encoders" / f"{cache_key(key, *machine, ways)}.json"
        remembered = _remembered(file)
        if remembered is not None:
            if remembered == (torch_alone.backend, torch_alone.precision):
                return torch_alone
            found = self._checked(network, remembered, sample, expected, key)
            if isinstance(found, Encoder):
                self.say(f"Encoder at {sample.shape[-1]} px: {found}, found the fastest before")
                return found
        speeds = {torch_alone: images_per_second(torch_alone, sample)}
        for way in ways:
            found = self._checked(network, way, sample, expected, key)
            if isinstance(found, Encoder):
                speeds[found] = images_per_second(found, sample)
            else:
                self.say(f"{way[0]} in {way[1]} is not used: {found}.")
        best = max(speeds, key=lambda encoder: speeds[encoder])
        write_json(file, {"backend": best.backend, "precision": best.precision})
        others = ", ".join(f"{encoder} {speed:.0f}" for encoder, speed in speeds.items() if encoder is not best)
        self.say(f"Encoder at {sample.shape[-1]} px: {best}, {speeds[best]:.0f} images/s ({others})")
        return best

    def _checked(
        self, network: nn.Module, way: tuple[str, str], sample: Tensor, expected: Tensor, key: str
    ) -> Encoder | str:
        """Return the encoder of a backend and precision, or why it cannot be used."""
        backend, precision = way
        assert self.cache is not None
        folder = self.cache / "encoders" / cache_key(key, backend)
        try:
            run = on_tensors(BACKENDS[backend].build(network, sample, precision, folder, self.say))
            encoder = Encoder(backend, precision, run)
            reason = disagreement(encoder, expected, sample)
        except Exception as error:  # conversion and engines raise many kinds; torch can always do the work
            reason = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0][:200]}"
        _keep_newest(folder)
        return encoder if reason is None else reason


def _key(network: nn.Module, sample: Tensor) -> str:
    """Return what a converted network depends on besides the backend, as a hash."""
    return cache_key(VERSION, digest(network), list(sample.shape[1:]), versions())


def digest(network: nn.Module) -> str:
    """Return a hash of a network's structure and of every number in it."""
    found = hashlib.sha256(repr(network).encode())
    for module in network.modules():
        found.update(str(getattr(module, "code", "")).encode())  # of torch.fx, whose repr leaves operations out
    for kind in (network.named_parameters(), network.named_buffers()):
        for name, value in kind:
            found.update(name.encode() + str(value.dtype).encode())
            found.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


def _remembered(file: Path) -> tuple[str, str] | None:
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
        return str(kept["backend"]), str(kept["precision"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _keep_newest(folder: Path) -> None:
    """Mark a converted network as used now, and remove those that were not used for longest."""
    if folder.is_dir():
        os.utime(folder)
    converted = [path for path in folder.parent.glob("*") if path.is_dir() and not path.name.startswith(".")]
    for old in sorted(converted, key=lambda path: -path.stat().st_mtime)[KEPT_NETWORKS:]:
        shutil.rmtree(old, ignore_errors=True)
