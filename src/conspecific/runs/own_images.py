"""The images of a run as they are now, beside those it recorded."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import polars as pl

from conspecific.data.manifest import Manifest
from conspecific.data.splits import PROTOCOLS, Splits, Subset
from conspecific.errors import RunError
from conspecific.runs.directory import RunDirectory
from conspecific.runs.record import read_splits
from conspecific.types import IntArray


@dataclass(frozen=True)
class OwnImages:
    """What became of the images that a run recorded.

    before: the rows of splits.parquet. same: those with the same path, content and species now, with the column `id`,
    the sample id now. new, gone, changed: numbers of images.
    """

    before: pl.DataFrame
    same: pl.DataFrame
    new: int
    gone: int
    changed: int

    @classmethod
    def of(cls, run: RunDirectory, manifest: Manifest, contents: Sequence[str]) -> Self:
        """Compare by path. contents: a hash of each image of the manifest, see `leaks.image_hashes`."""
        before = read_splits(run)
        facts = pl.Series("content", contents), pl.Series("id", range(len(manifest)), pl.Int64)
        now = manifest.table.select("path", "label").with_columns(facts)
        both = before.join(now, on="path", suffix="_now")
        same = both.filter(pl.col("content") == pl.col("content_now"), pl.col("label").eq_missing(pl.col("label_now")))
        missing = before.height - both.height
        return cls(before, same, now.height - both.height, missing, both.height - same.height)

    @property
    def differ(self) -> bool:
        """Whether any image is new, gone or changed."""
        return bool(self.new or self.gone or self.changed)

    def describe(self) -> str:
        """Return a sentence that counts the changes."""
        return f"The data changed since the run: {self.new} new, {self.gone} gone, {self.changed} changed."

    def require_most(self, run: RunDirectory, manifest: Manifest, use: str | None = None) -> None:
        """Raise RunError where fewer than half of the recorded images are there.

        use: count only the images of a use, such as `test_query`.
        """
        wanted, kept = (table.filter(use).height if use else table.height for table in (self.before, self.same))
        if 2 * kept < wanted:
            kind = f"{use.replace('_', ' ')} images" if use else "images"
            raise RunError(
                f"{manifest.root} does not hold the images of {run.path}: {kept} of its {wanted} {kind} are there with "
                "the same content. Name their folder with data.root=FOLDER, or other images with data=folder "
                "data.root=FOLDER"
            )

    def splits(self, protocol: str) -> Splits:
        """Return the recorded splits, of the images that are the same. protocol: that of the run."""

        def ids(use: str) -> IntArray:
            return self.same.filter(use)["id"].sort().to_numpy()

        val, test = (Subset(ids(f"{name}_query"), ids(f"{name}_gallery")) for name in ("val", "test"))
        return Splits(next(name for name in PROTOCOLS if name == protocol), ids("train"), val, test)
