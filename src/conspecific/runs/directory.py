"""The run directory is the record: this names each file in it, once."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RunDirectory:
    """The files of one training run, relative to `path`."""

    path: Path

    @property
    def config(self) -> Path:
        """The resolved configuration."""
        return self.path / "config.yaml"

    @property
    def overrides(self) -> Path:
        """What was given on the command line, a YAML list."""
        return self.path / "overrides.yaml"

    @property
    def environment(self) -> Path:
        """Versions, machine, git revision, data fingerprint."""
        return self.path / "environment.json"

    @property
    def splits(self) -> Path:
        """Which image was used for what."""
        return self.path / "splits.parquet"

    @property
    def epochs(self) -> Path:
        """A JSON line an epoch: loss and validation metrics."""
        return self.path / "epochs.jsonl"

    @property
    def summary(self) -> Path:
        """What the run came to: chosen epoch, minutes, memory, final metrics and differences."""
        return self.path / "summary.json"

    @property
    def weights(self) -> Path:
        """The chosen epoch's weights of the whole embedder."""
        return self.path / "weights.safetensors"

    @property
    def checkpoints(self) -> Path:
        """Lightning's checkpoints: last.ckpt to resume from, best.ckpt."""
        return self.path / "checkpoints"

    @property
    def start(self) -> Path:
        """The embedder's weights before training, once a whitened head was fitted."""
        return self.checkpoints / "start.safetensors"

    @property
    def results(self) -> Path:
        """Evaluation results: {val,test}_{flatten,pooled,model}.{json,parquet}."""
        return self.path / "results"

    @property
    def leaks(self) -> Path:
        """Images and species that are in more than one of training, validation and test: .json and .parquet."""
        return self.path / "leaks"

    @property
    def embeddings(self) -> Path:
        """Embeddings computed on request, for searching."""
        return self.path / "embeddings"

    @property
    def report(self) -> Path:
        """The report to open in a browser."""
        return self.path / "report.html"

    @property
    def log(self) -> Path:
        """What was logged."""
        return self.path / "train.log"

    @property
    def can_resume(self) -> bool:
        """Whether there is a checkpoint, and the overrides to go on with."""
        return (self.checkpoints / "last.ckpt").is_file() and self.overrides.is_file()
