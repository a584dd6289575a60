"""A run directory: how it is made, and the names of its files, each defined once."""

import fcntl
import time
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import IO

from conspecific.errors import RunError

PATIENCE = 15.0  # seconds for which the worker processes of a process that was killed may go on


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
        """The overrides given on the command line, a YAML list."""
        return self.path / "overrides.yaml"

    @property
    def environment(self) -> Path:
        """Versions, machine, git revision, data fingerprint."""
        return self.path / "environment.json"

    @property
    def splits(self) -> Path:
        """The subset that each image belongs to, as a table."""
        return self.path / "splits.parquet"

    @property
    def epochs(self) -> Path:
        """One JSON line per epoch: loss and validation metrics."""
        return self.path / "epochs.jsonl"

    @property
    def summary(self) -> Path:
        """Selected weights, duration, peak memory, test metrics and paired differences."""
        return self.path / "summary.json"

    @property
    def weights(self) -> Path:
        """The selected weights of the whole embedder."""
        return self.path / "weights.safetensors"

    @property
    def within_species(self) -> Path:
        """The covariance of embeddings within species, of the training images and by the selected weights."""
        return self.path / "within_species.safetensors"

    @property
    def local(self) -> Path:
        """What validation made of local re-ranking, a folder for each number of answers and kind of descriptors."""
        return self.path / "local"

    @property
    def checkpoints(self) -> Path:
        """Lightning's checkpoints: last.ckpt to resume from, best.ckpt."""
        return self.path / "checkpoints"

    @property
    def best(self) -> Path:
        """The checkpoint of the best epoch so far."""
        return self.checkpoints / "best.ckpt"

    @property
    def last(self) -> Path:
        """The checkpoint of the last epoch, to resume from."""
        return self.checkpoints / "last.ckpt"

    @property
    def failed_batch(self) -> Path:
        """The batch in which training failed, with the weights it met."""
        return self.checkpoints / "failed_batch.pt"

    @property
    def untrained_heads(self) -> Path:
        """Heads that were fitted with other strengths before training."""
        return self.checkpoints / "untrained_heads.safetensors"

    @property
    def start(self) -> Path:
        """The weights of the embedder before the first step, with a whitened head fitted."""
        return self.checkpoints / "start.safetensors"

    @property
    def results(self) -> Path:
        """Evaluation results: {val,test}_{flatten,pooled,model}.{json,parquet}."""
        return self.path / "results"

    @property
    def embedding_map(self) -> Path:
        """Where a sample of the test images is in two dimensions, under the flatten baseline and what is compared with
        it: the model or, where nothing was trained, the pooled reference.
        """
        return self.results / "test_map.parquet"

    @property
    def leaks(self) -> Path:
        """The result of the leak check: .json and .parquet."""
        return self.path / "leaks"

    @property
    def embeddings(self) -> Path:
        """Embeddings that `embed` and `search` computed."""
        return self.path / "embeddings"

    @property
    def final(self) -> "RunDirectory":
        """The model that `final=true` trains on all images: a folder that opens like a run."""
        return RunDirectory(self.path / "final")

    @property
    def index_costs(self) -> Path:
        """What each kind of index costs, as `index compare=true` measured it."""
        return self.results / "index_costs.json"

    @property
    def index(self) -> Path:
        """The index that `index` made, unless another folder was named."""
        return self.path / "index"

    @property
    def kept_index(self) -> Path:
        """The index that a search of the run's own images left for the next one."""
        return self.embeddings / "index"

    @property
    def report(self) -> Path:
        """The report to open in a browser."""
        return self.path / "report.html"

    @property
    def images(self) -> Path:
        """The images of example queries that the report has."""
        return self.path / "images"

    @property
    def of_training(self) -> tuple[Path, ...]:
        """The folders that nothing but training and its report writes into."""
        metrics = self.path / "logs" / "csv"
        return self.path, self.checkpoints, self.results, self.images, metrics, self.final.path

    @property
    def log(self) -> Path:
        """The output of the run as text."""
        return self.path / "train.log"

    @property
    def can_resume(self) -> bool:
        """Whether a checkpoint and the overrides to resume from exist."""
        return (self.last.is_file() or self.best.is_file()) and self.overrides.is_file()


def make_new_folder(path: Path) -> Path:
    """Make a folder that did not exist, and return it: `path`, or `path`-2, -3 ... where that name is taken.

    Two processes that ask for the same path at once get two folders.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for number in count(1):
        folder = path if number == 1 else path.with_name(f"{path.name}-{number}")
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        return folder
    raise AssertionError("count() does not end")


def claim(run: RunDirectory, log: IO[str]) -> None:
    """Keep other processes from training in a run directory as long as its log, given open, is not closed.

    The operating system ends the claim when the process ends, in whatever way. Raises RunError where another process
    has claimed it.
    """
    give_up = time.monotonic() + PATIENCE
    while True:
        try:
            fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > give_up:
                raise RunError(f"{run.path} is being trained by another process: wait for it, or stop it") from None
            time.sleep(0.2)
        except OSError:  # a file system without locks
            return
        else:
            return
