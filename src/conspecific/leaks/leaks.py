"""What is in training or validation and in the test as well, and what to do about it."""

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from itertools import combinations, cycle, islice, permutations
from pathlib import Path

import numpy as np
import polars as pl

from conspecific.data.manifest import Manifest
from conspecific.data.splits import Splits, Subset, require_usable
from conspecific.errors import DataError, RunError, did_you_mean
from conspecific.leaks.fingerprints import Fingerprints
from conspecific.leaks.spelling import SpellingMatch, same_species
from conspecific.types import IntArray

POLICIES = ("error", "report", "drop")
SUBSETS = ("train", "val", "test")
SHOWN = 5
PAIRS = {
    "kind": pl.String,
    "view": pl.String,
    "similarity": pl.Float64,
    "first_id": pl.Int64,
    "second_id": pl.Int64,
    "first_subset": pl.String,
    "second_subset": pl.String,
    "first_path": pl.String,
    "second_path": pl.String,
    "first_label": pl.String,
    "second_label": pl.String,
}


@dataclass(frozen=True)
class Leaks:
    """What the subsets of one division share.

    pairs: copies in different subsets, the first in the earlier of train, val and test; the columns of PAIRS; exact
        pairs first, then by similarity. Of a group of copies every image is in a pair with each subset that has
        another, but not with each other image.
    inside: pairs of copies inside the test subset. species: one species under two names, training's or validation's
        first (`unseen` only). compared: images. blank: those with nothing on them, compared as files only.
    crops: whether cut copies were looked for; of very many images they are not.
    respelt: sample ids of training and validation images whose species is certainly in the test under another name.
    """

    pairs: pl.DataFrame
    inside: int
    species: tuple[SpellingMatch, ...]
    compared: int
    blank: int
    crops: bool = True
    respelt: tuple[int, ...] = field(default=())

    @property
    def leaked_queries(self) -> IntArray:
        """Ids [L], ascending, of test images with a copy in training or validation; some may be gallery only."""
        return self.pairs.filter(pl.col("second_subset") == "test")["second_id"].unique().sort().to_numpy()

    def save(self, stem: Path) -> None:
        """Write `stem`.parquet (the pairs) and `stem`.json (the rest)."""
        stem.parent.mkdir(parents=True, exist_ok=True)
        self.pairs.write_parquet(f"{stem}.parquet")
        facts = {name: getattr(self, name) for name in ("inside", "compared", "blank", "crops", "respelt")}
        text = json.dumps(facts | {"species": [asdict(match) for match in self.species]}, indent=2)
        partial = Path(f"{stem}.partial")
        partial.write_text(text + "\n")
        partial.replace(f"{stem}.json")  # comes last and whole: where it is, the record is complete

    @classmethod
    def load(cls, stem: Path) -> "Leaks":
        """Read what `save` wrote. Raises RunError when either file is missing or something else."""
        try:
            facts = json.loads(Path(f"{stem}.json").read_text())
            facts["species"] = tuple(SpellingMatch(**match) for match in facts["species"])
            facts["respelt"] = tuple(facts["respelt"])
            return cls(pairs=pl.read_parquet(f"{stem}.parquet"), **facts)
        except (OSError, ValueError, KeyError, TypeError, pl.exceptions.PolarsError) as error:
            raise RunError(f"{stem}.json / .parquet is not the record of a leak check: {error}") from error


def find_leaks(duplicates: pl.DataFrame, splits: Splits, manifest: Manifest, found: Fingerprints) -> Leaks:
    """Return what the subsets share. duplicates: as `find_duplicates` returns them for these fingerprints.

    An image belongs to one subset: to the test if it is a test query, else to validation if it is a query there, else
    to training if it is trained on, else to the test or to validation if it is in a gallery. So training on the test's
    gallery, as query_gallery does, is no leak, and a copy of a query in it is one.
    """
    homes = _homes(splits, len(manifest))
    groups = _groups(duplicates)
    exact = duplicates.filter(pl.col("kind") == "exact")["first"].unique().to_list()
    near = duplicates.filter(pl.col("kind") == "near")
    rows = [("exact", "same", 1.0, *pair) for first in exact for pair in _across(groups[first], groups[first], homes)]
    for first, second, view, similarity in near.select("first", "second", "view", "similarity").iter_rows():
        rows += [("near", view, similarity, *pair) for pair in _across(groups[first], groups[second], homes)]
    inside = sum(max(0, int(np.sum(homes[groups[first]] == "test")) - 1) for first in exact)
    for first, second in near.select("first", "second").iter_rows():
        inside += bool((homes[groups[first]] == "test").any() and (homes[groups[second]] == "test").any())
    species, respelt = _spellings(splits, homes, manifest)
    return Leaks(
        pairs=_described(rows, homes, manifest),
        inside=inside,
        species=species,
        compared=int(np.sum(homes != "")),
        blank=int(np.sum(homes[found.blank] != "")),
        crops=found.has_crops,
        respelt=respelt,
    )


def _homes(splits: Splits, count: int) -> np.ndarray:
    """The subset [N] of each image, empty for those in none; of two, the one written last."""
    homes = np.full(count, "", dtype="<U5")
    homes[splits.test.gallery] = "test"
    homes[np.setdiff1d(splits.val.gallery, splits.test.gallery)] = "val"
    homes[splits.train] = "train"
    homes[splits.val.query] = "val"
    homes[splits.test.query] = "test"
    return homes


def _groups(duplicates: pl.DataFrame) -> defaultdict[int, list[int]]:
    """The identical files that the first of them stands for, itself among them."""
    groups: defaultdict[int, list[int]] = defaultdict(list)
    for first, second, kind in duplicates.select("first", "second", "kind").iter_rows():
        for name in (first, second) if kind == "near" else (first,):
            groups[name] = groups[name] or [name]
        if kind == "exact":
            groups[first].append(second)
    return groups


def _across(ones: list[int], others: list[int], homes: np.ndarray) -> Iterator[tuple[int, int]]:
    """Yield pairs of different subsets, the earlier subset first, so that everyone with a partner there is in one of
    them.

    ones, others: the copies of each side; the same list for copies of one file.
    """
    for first_subset, second_subset in combinations(SUBSETS, 2):
        for left, right in ((ones, others),) if ones is others else permutations((ones, others)):
            first = [place for place in left if homes[place] == first_subset]
            second = [place for place in right if homes[place] == second_subset]
            if first and second:
                longer = max(len(first), len(second))
                yield from zip(islice(cycle(first), longer), islice(cycle(second), longer), strict=True)


def _described(rows: list[tuple[str, str, float, int, int]], homes: np.ndarray, manifest: Manifest) -> pl.DataFrame:
    table = pl.DataFrame(rows, schema=list(PAIRS.items())[:5], orient="row")
    table = table.sort("kind", -pl.col("similarity"), "first_id", "second_id")
    for side in ("first", "second"):
        ids = table[f"{side}_id"]
        found = manifest.table[ids.to_numpy()]
        table = table.with_columns(
            pl.Series(f"{side}_subset", homes[ids.to_numpy()].tolist(), pl.String),
            found["path"].alias(f"{side}_path"),
            found["label"].alias(f"{side}_label"),
        )
    return table.select(list(PAIRS))


def _spellings(
    splits: Splits, homes: np.ndarray, manifest: Manifest
) -> tuple[tuple[SpellingMatch, ...], tuple[int, ...]]:
    """Species on both sides of `unseen`, and the images to take out of training and validation for the certain."""
    if splits.protocol != "unseen":
        return (), ()
    names = np.array(manifest.species, dtype=object)[manifest.labels]
    before = np.isin(homes, ("train", "val"))
    found = same_species(set(names[before]), set(names[homes == "test"]))
    certain = [match.name for match in found if match.certain]
    return tuple(found), tuple(np.flatnonzero(before & np.isin(names.astype(str), certain)).tolist())


def apply_policy(policy: str, leaks: Leaks, splits: Splits, manifest: Manifest) -> Splits:
    """Return the splits to go on with: `report` leaves them as they are, `drop` takes leaks out, `error` refuses them.

    Species whose names are alike but not certainly one are reported, not refused and not taken out.
    Raises DataError for leaks under `error`, for subsets that `drop` leaves unusable, and for an unknown policy.
    """
    if policy not in POLICIES:
        raise DataError(f"leaks={policy} is unknown. {did_you_mean(policy, POLICIES)}")
    if policy == "error" and (leaks.pairs.height or leaks.respelt):
        raise DataError(
            f"the subsets share images: {describe(leaks)} Remove them from the data, or set leaks=drop to take them "
            "out of training and validation, or leaks=report to go on all the same."
        )
    return without_leaks(splits, leaks, manifest) if policy == "drop" else splits


def without_leaks(splits: Splits, leaks: Leaks, manifest: Manifest) -> Splits:
    """Take the earlier image of each pair out, and from training and validation species certainly in the test.

    The test is never touched. Raises DataError when what is left cannot be trained or validated on.
    """
    gone = np.union1d(leaks.pairs["first_id"].to_numpy(), np.array(leaks.respelt, np.int64))
    val = Subset(np.setdiff1d(splits.val.query, gone), np.setdiff1d(splits.val.gallery, gone))
    left = replace(splits, train=np.setdiff1d(splits.train, gone), val=val)
    try:
        require_usable(left, manifest)
    except DataError as error:
        raise DataError(f"without the {len(gone)} images that leaks=drop takes out, {error}") from error
    return left


def describe(leaks: Leaks) -> str:
    """A few sentences: how many pairs, the first of them, species under two names, and what was not looked for."""
    sentences = []
    if leaks.pairs.height:
        exact = int((leaks.pairs["kind"] == "exact").sum())
        shown = leaks.pairs.head(SHOWN).select("first_path", "first_subset", "second_path", "second_subset").iter_rows()
        named = ", ".join(f"{first} ({subset}) and {second} ({other})" for first, subset, second, other in shown)
        more = f" and {leaks.pairs.height - SHOWN} more" if leaks.pairs.height > SHOWN else ""
        kinds = f"{exact} of the same file, {leaks.pairs.height - exact} nearly the same"
        sentences.append(f"{leaks.pairs.height} pairs of copies lie in different subsets ({kinds}): {named}{more}.")
    if leaks.species:
        names = ", ".join(
            f"{match.name} and {match.other}{'' if match.certain else ' (a guess)'}" for match in leaks.species[:SHOWN]
        )
        more = f" and {len(leaks.species) - SHOWN} more" if len(leaks.species) > SHOWN else ""
        sentences.append(f"{len(leaks.species)} species are on both sides under two names: {names}{more}.")
    if not sentences:
        sentences.append(f"None of {leaks.compared} images is in more than one subset.")
    if not leaks.crops:
        sentences.append("Of so many images cut copies were not looked for.")
    return " ".join(sentences)
