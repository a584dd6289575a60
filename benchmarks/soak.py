"""Train 200 short epochs with an evaluation after each, and record what the run holds: memory and open files.

    python benchmarks/soak.py [--epochs 200] [--workers 2] [--quick]

The run is a process of its own, a training of 40 small butterflies with two batches an epoch and the test network of
timm. After each epoch its resident memory, open files and threads are read from /proc, with the memory that its worker
processes share with no other and what is in /dev/shm. It is made twice: with worker processes that live as long as
training, and with ones that are forked anew for every epoch, after the evaluation of the one before. The slope is that
of a straight line through the resident memory of the second half of the epochs. The results are also written to
benchmarks/soak.json. Needs Linux.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

HERE = Path(__file__).resolve().parent
COMMAND = "import sys; from conspecific.cli.main import main; sys.exit(main())"
LONGEST = 120.0  # seconds for an epoch, or for what comes before the first one; longer counts as a hang
SHARED = Path("/dev/shm")
SMALL = [
    "data.species=5",
    "data.images=8",
    "data.size=64",
    "loader.image_size=64",
    "loader.train_size=64",
    "loader.classes_per_batch=3",
    "loader.samples_per_class=2",
    "model.backbone=test_resnet",
    "model.weights=none",
    "model.dimensions=16",
    "model.trainable_stages=null",
    "optimizer.backbone_lr=1e-6",  # so few images are soon lost otherwise, and training stops
    "optimizer.head_lr=1e-6",
    "recipe=neutral",
    "recipe.ema=0.9",
    "trainer.accelerator=cpu",
]
WAYS = {"workers kept": [], "workers forked every epoch": ["+trainer.reload_dataloaders_every_n_epochs=1"]}


class Held(NamedTuple):
    """What a process holds. resident, workers, shared: megabytes (10^6 bytes). files, threads: how many."""

    resident: float
    files: int
    threads: int
    workers: float
    shared: float


def main() -> None:
    """Run both ways and print a table of each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="20 epochs, as a trial")
    given = parser.parse_args()
    epochs, found = 20 if given.quick else given.epochs, {}
    for way, words in WAYS.items():
        with tempfile.TemporaryDirectory(prefix="soak-") as folder:
            places = [f"hydra.run.dir={folder}/run", f"paths.cache={folder}/cache"]
            asked = [f"trainer.max_epochs={epochs}", f"loader.workers={given.workers}"]
            with (Path(folder) / "output").open("w") as output:
                command = [sys.executable, "-c", COMMAND, "train", *SMALL, *words, *places, *asked]
                with subprocess.Popen(command, stdout=output, stderr=output) as process:
                    held = list(after_each_epoch(process, Path(folder) / "run" / "epochs.jsonl"))
            if process.returncode != 0 or len(held) != epochs:
                raise SystemExit(f"{way}: {len(held)} epochs; {(Path(folder) / 'output').read_text()[-3000:]}")
        found[way] = [each._asdict() for each in held]
        print(f"\n{way}: {slope(held):+.1f} kB of memory an epoch in the second half\n\n{table(held)}", flush=True)
    (HERE / "soak.json").write_text(json.dumps(found, indent=2) + "\n")


def after_each_epoch(process: "subprocess.Popen[bytes]", epochs: Path) -> Iterator[Held]:
    """Yield what a process holds after each line that it adds to a file. Ends it where it adds none for LONGEST."""
    seen, last = 0, time.monotonic()
    while process.poll() is None:
        if epochs.is_file() and (lines := epochs.read_bytes().count(b"\n")) > seen:
            for _ in range(lines - seen):
                yield held_by(process.pid)
            seen, last = lines, time.monotonic()
        if time.monotonic() - last > LONGEST:
            process.kill()
            raise SystemExit(f"the run hangs after epoch {seen}")
        time.sleep(0.02)


def held_by(process: int) -> Held:
    """Return what a process and its children hold now."""
    place = Path(f"/proc/{process}")
    status = dict(line.split(":", 1) for line in (place / "status").read_text().splitlines())
    children = " ".join(file.read_text() for file in place.glob("task/*/children")).split()
    statistics = os.statvfs(SHARED)
    return Held(
        resident=int(status["VmRSS"].split()[0]) * 1024 / 1e6,
        files=len(list((place / "fd").iterdir())),
        threads=int(status["Threads"]),
        workers=sum(map(private, children)),
        shared=(statistics.f_blocks - statistics.f_bfree) * statistics.f_frsize / 1e6,
    )


def private(process: str) -> float:
    """The megabytes of a process that it shares with no other."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):  # it has ended
        return 0.0
    return sum(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("Private_"))


def slope(held: Sequence[Held]) -> float:
    """The growth of the resident memory, in kB an epoch over the second half of the epochs."""
    values = [each.resident for each in held[len(held) // 2 :]]
    return float(np.polyfit(range(len(values)), values, 1)[0]) * 1000


def table(held: Sequence[Held]) -> str:
    """A Markdown table of some epochs."""
    shown = [epoch for epoch in (1, 10, 50, 100, 150, 200) if epoch < len(held)] + [len(held)]
    rows = [
        f"| {epoch} | {each.resident:.0f} | {each.files} | {each.threads} | {each.workers:.0f} | {each.shared:.1f} |"
        for epoch, each in ((epoch, held[epoch - 1]) for epoch in shown)
    ]
    heading = "| epoch | memory, MB | open files | threads | workers, MB | /dev/shm, MB |"
    return "\n".join([heading, "|---|---|---|---|---|---|", *rows])


if __name__ == "__main__":
    main()
