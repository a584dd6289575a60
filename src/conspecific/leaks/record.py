"""The record of a leak check: what the subsets of one division share."""

from dataclasses import asdict, dataclass
from pathlib import Path

import polars as pl

from conspecific.errors import RunError, name_some
from conspecific.files import write_checked_json, write_whole
from conspecific.leaks.spelling import SpellingMatch
from conspecific.parquet import read_parquet, write_parquet
from conspecific.reading import read_json
from conspecific.types import IntArray

MATCHES = ("species", "synonyms")
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

    pairs: copies in different subsets, with the columns of PAIRS; the first image is in the earlier of train, val and
        test. Exact pairs come first, then by falling similarity. In a group of copies each image has a pair with each
        other subset in which the group has an image, but not with each other image.
    inside: number of pairs of copies within the test subset.
    species: one species under two names, that of training or validation first (protocol `unseen` only).
    synonyms: further pairs of names that may mean one species, whatever the protocol.
    compared: number of images. blank: number of those with too little contrast, which are compared as files only.
    crops: whether cropped copies were looked for; in large data sets they are not.
    two_species: identical files under different species, whatever their subsets: "path (species) and path (species)".
    respelt: sample ids of training and validation images whose species is certainly in the test under another name.
    """

    pairs: pl.DataFrame
    inside: int
    species: tuple[SpellingMatch, ...]
    compared: int
    blank: int
    crops: bool = True
    respelt: tuple[int, ...] = ()
    synonyms: tuple[SpellingMatch, ...] = ()
    two_species: tuple[str, ...] = ()

    @property
    def leaked_queries(self) -> IntArray:
        """Ids [L], ascending, of test images with a copy in training or validation; some may be gallery only."""
        return self.pairs.filter(pl.col("second_subset") == "test")["second_id"].unique().sort().to_numpy()

    def save(self, stem: Path) -> None:
        """Write `stem`.parquet (the pairs), then `stem`.json (the rest): where the JSON is, the record is complete."""
        with write_whole(stem.with_name(f"{stem.name}.parquet")) as temporary:
            write_parquet(self.pairs, temporary)
        facts = {
            name: getattr(self, name) for name in ("inside", "compared", "blank", "crops", "respelt", "two_species")
        }
        facts |= {name: [asdict(match) for match in getattr(self, name)] for name in MATCHES}
        write_checked_json(stem.with_name(f"{stem.name}.json"), facts)

    @classmethod
    def load(cls, stem: Path) -> "Leaks":
        """Read what `save` wrote. Raises RunError if either file is missing or not such a record."""
        try:
            facts = read_json(Path(f"{stem}.json"))
            facts |= {name: tuple(SpellingMatch(**match) for match in facts[name]) for name in MATCHES}
            facts |= {name: tuple(facts.get(name, ())) for name in ("respelt", "two_species")}
            return cls(pairs=read_parquet(Path(f"{stem}.parquet")), **facts)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunError(f"{stem}.json / .parquet is not the record of a leak check: {error}") from error


def describe(leaks: Leaks) -> str:
    """Return a few sentences: how many pairs there are, the first of them, and species under two names."""
    sentences = []
    if leaks.pairs.height:
        exact = int((leaks.pairs["kind"] == "exact").sum())
        columns = leaks.pairs.select("first_path", "first_subset", "second_path", "second_subset")
        named = [f"{first} ({subset}) and {second} ({other})" for first, subset, second, other in columns.iter_rows()]
        kinds = f"{exact} identical files, {leaks.pairs.height - exact} near-duplicates"
        sentences.append(
            f"{leaks.pairs.height} pairs of copies are in different subsets ({kinds}): {name_some(named)}."
        )
    if leaks.species:
        count = len(leaks.species)
        sentences.append(f"{count} species are in training and in the test under two names: {_named(leaks.species)}.")
    if not sentences:
        sentences.append(f"None of {leaks.compared} images is in more than one subset.")
    if leaks.two_species:
        files = "1 file has" if len(leaks.two_species) == 1 else f"{len(leaks.two_species)} files have"
        sentences.append(f"{files} an identical copy under another species: {name_some(leaks.two_species)}.")
    if leaks.synonyms:
        count = len(leaks.synonyms)
        sentences.append(f"{count} pairs of species names may mean one species each: {_named(leaks.synonyms)}.")
    if not leaks.crops:
        sentences.append("Cropped copies were not looked for, because the data set is large.")
    return " ".join(sentences)


def _named(matches: tuple[SpellingMatch, ...]) -> str:
    return name_some([f"{match.name} and {match.other}{'' if match.certain else ' (likely)'}" for match in matches])
