"""What a tracker shows of images: queries with their answers, and a map of the embeddings."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import torch
from PIL import Image

from conspecific.data.dataset import evenly_spaced
from conspecific.errors import visible
from conspecific.images import center_crop, image_tensor, open_rgb
from conspecific.runs.load import load
from conspecific.runs.record import RunRecord

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter  # it cannot be imported without the extra

QUERIES, ANSWERS, SIDE = 24, 5, 128  # SIDE: of an image in the table, in pixels
PROJECTED, THUMBNAIL = 500, 48


def answers_table(record: RunRecord) -> Any:
    """Return a `wandb.Table` of test queries, from the worst to the best by the monitored metric, with their answers.

    An image that answers several queries is one file of the artifact, whose name is the hash of its content.
    """
    import wandb

    metric, root = record.config.monitor, Path(record.counts.data_root)
    chosen = _some(record.test[record.best].per_query.sort(metric, "path"), QUERIES)
    table = wandb.Table(columns=["query", "species", metric, *(f"answer {place + 1}" for place in range(ANSWERS))])
    for row in chosen.iter_rows(named=True):
        answers: list[Any] = []
        found = zip(*(row[f"neighbor_{name}"] for name in ("paths", "labels", "scores", "hits")), strict=True)
        for path, label, score, hit in list(found)[:ANSWERS]:
            caption = visible(f"{'right' if hit else 'wrong'}: {label}, {score:.3f}")
            answers.append(wandb.Image(_thumbnail(root / path), caption=caption, file_type="jpg"))
        answers += [None] * (ANSWERS - len(answers))
        query = wandb.Image(_thumbnail(root / row["path"]), caption=visible(row["path"]), file_type="jpg")
        table.add_data(query, visible(row["label"]), row[metric], *answers)
    return table


def project(record: RunRecord, writer: "SummaryWriter", step: int) -> None:
    """Write embeddings of test queries, with species and thumbnails, for the projector of TensorBoard."""
    chosen = _some(record.test[record.best].per_query.sort("label", "path"), PROJECTED)
    paths = [Path(record.counts.data_root) / path for path in chosen["path"]]
    vectors = load(record.path).embed(paths)
    images = torch.stack([image_tensor(path, THUMBNAIL) for path in paths]) / 255
    species = [visible(label) for label in chosen["label"]]  # a line each: no label holds a tab or a line break
    writer.add_embedding(torch.from_numpy(vectors), metadata=species, label_img=images, global_step=step, tag="test")


def _some(table: pl.DataFrame, most: int) -> pl.DataFrame:
    """Return at most so many rows, evenly spaced, the first and the last among them."""
    return table[evenly_spaced(table.height, most)]


def _thumbnail(path: Path) -> Image.Image:
    return center_crop(open_rgb(path, SIDE), SIDE)
