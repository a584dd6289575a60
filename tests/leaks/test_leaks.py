"""What the subsets share, what a run does about it, and its record."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from conspecific.data.manifest import Manifest
from conspecific.data.splits import Splits, Subset, split
from conspecific.errors import DataError, RunError
from conspecific.leaks import perceptual
from conspecific.leaks.copies import SCHEMA
from conspecific.leaks.finding import find_leaks
from conspecific.leaks.image_hashes import ImageHashes
from conspecific.leaks.policy import apply_policy, without_leaks
from conspecific.leaks.record import PAIRS, Leaks, describe
from conspecific.leaks.spelling import SpellingMatch

Row = tuple[int, int, str, str, int, float]


def exact(first: int, second: int) -> Row:
    return first, second, "exact", "same", 0, 1.0


def near(first: int, second: int, similarity: float = 0.9, view: str = "cropped") -> Row:
    return first, second, "near", view, 20, similarity


def table(*rows: Row) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=SCHEMA, orient="row").sort("first", "second")


def looked(manifest: Manifest, *blank: int) -> ImageHashes:
    """Hashes of which only `blank` matters."""
    count = len(manifest)
    hashes = np.zeros((count, perceptual.crops_of(count), perceptual.BITS // 8), np.uint8)
    return ImageHashes(tuple("" for _ in range(count)), hashes, np.isin(np.arange(count), blank))


@pytest.fixture
def manifest(make_manifest: Callable[..., Manifest]) -> Manifest:
    """Two species, a and b, in turn: image 7 is of b."""
    return make_manifest(["a", "b"] * 12)


@pytest.fixture
def splits() -> Splits:
    """Training 0 to 9, validation 10 to 13, test 14 to 21; 22 and 23 are in no subset."""
    val, test = np.arange(10, 14), np.arange(14, 22)
    return Splits("seen", np.arange(10), Subset(val, val), Subset(test, test))


def ends(leaks: Leaks) -> list[tuple[int, int]]:
    return list(leaks.pairs.select("first_id", "second_id").iter_rows())


def test_pairs_between_subsets_are_listed_with_all_columns(manifest: Manifest, splits: Splits) -> None:
    leaks = find_leaks(table(near(3, 14, 0.91, "mirrored"), exact(2, 10)), splits, manifest, looked(manifest, 0, 23))
    assert leaks.pairs.schema == pl.Schema(PAIRS)
    assert leaks.pairs.rows() == [
        ("exact", "same", 1.0, 2, 10, "train", "val", "a/0002.jpg", "a/0010.jpg", "a", "a"),
        ("near", "mirrored", 0.91, 3, 14, "train", "test", "b/0003.jpg", "a/0014.jpg", "b", "a"),
    ]
    assert (leaks.compared, leaks.blank, leaks.inside, leaks.species) == (22, 1, 0, ())
    assert leaks.leaked_queries.tolist() == [14]


def test_one_file_under_two_species_is_named_whatever_its_subset(manifest: Manifest, splits: Splits) -> None:
    rows = table(exact(0, 1), exact(0, 2), exact(0, 3), exact(4, 6), exact(5, 22))
    leaks = find_leaks(rows, splits, manifest, looked(manifest))
    assert leaks.two_species == ("a/0000.jpg (a) and b/0001.jpg (b)", "b/0005.jpg (b) and a/0022.jpg (a)")
    assert leaks.pairs.is_empty()
    told = "2 files have an identical copy under another species: a/0000.jpg (a) and b/0001.jpg (b), b/0005.jpg (b) and"
    assert told in describe(leaks)


def test_the_earlier_subset_comes_first_whatever_the_ids(manifest: Manifest) -> None:
    val, test = np.arange(8, 12), np.arange(8)
    splits = Splits("seen", np.arange(12, 24), Subset(val, val), Subset(test, test))
    leaks = find_leaks(table(near(0, 9), near(1, 20), near(8, 21)), splits, manifest, looked(manifest))
    assert sorted(ends(leaks)) == [(9, 0), (20, 1), (21, 8)]
    assert leaks.leaked_queries.tolist() == [0, 1]


def test_pairs_within_a_subset_and_outside_all_subsets_are_no_leaks(manifest: Manifest, splits: Splits) -> None:
    rows = table(near(0, 1), near(10, 11), exact(14, 15), near(16, 17), near(0, 22), exact(14, 23))
    leaks = find_leaks(rows, splits, manifest, looked(manifest))
    assert leaks.pairs.is_empty() and leaks.pairs.schema == pl.Schema(PAIRS)
    assert leaks.inside == 2
    assert leaks.leaked_queries.tolist() == []


def test_exact_pairs_come_first_then_the_most_similar(manifest: Manifest, splits: Splits) -> None:
    leaks = find_leaks(table(near(0, 14, 0.87), near(1, 15, 0.99), exact(2, 16)), splits, manifest, looked(manifest))
    assert ends(leaks) == [(2, 16), (1, 15), (0, 14)]


def test_copies_of_copies_are_found_through_the_first_of_them(manifest: Manifest, splits: Splits) -> None:
    # 14, 15 and training's 5 are one file; the image that stands for them is in none of the pair's subsets but test
    leaks = find_leaks(table(exact(0, 5), exact(0, 14), exact(0, 15), exact(0, 10)), splits, manifest, looked(manifest))
    assert set(leaks.leaked_queries.tolist()) == {14, 15}
    assert set(leaks.pairs.filter(pl.col("second_subset") == "test")["first_id"]) == {0, 5, 10}
    assert leaks.inside == 1


def test_a_near_pair_stands_for_every_copy_of_both(manifest: Manifest, splits: Splits) -> None:
    rows = table(exact(0, 20), exact(14, 1), exact(14, 21), near(0, 14))
    leaks = find_leaks(rows, splits, manifest, looked(manifest))
    found = {(kind, *pair) for kind, pair in zip(leaks.pairs["kind"], ends(leaks), strict=True)}
    assert ("exact", 0, 20) in found
    assert {second for kind, _, second in found if kind == "near"} == {14, 20, 21}
    assert {first for kind, first, _ in found if kind == "near"} == {0, 1}


def test_a_thousand_copies_are_not_a_million_pairs(make_manifest: Callable[..., Manifest]) -> None:
    manifest = make_manifest(["a"] * 2000)
    val, test = np.arange(900, 1000), np.arange(1000, 2000)
    splits = Splits("seen", np.arange(900), Subset(val, val), Subset(test, test))
    leaks = find_leaks(table(*(exact(0, copy) for copy in range(1, 2000))), splits, manifest, looked(manifest))
    assert leaks.pairs.height <= 3000
    assert leaks.leaked_queries.tolist() == test.tolist()
    assert set(leaks.pairs["first_id"]) == set(range(1000))


def test_training_on_the_gallery_is_no_leak_but_a_copy_of_a_query_in_it_is(manifest: Manifest) -> None:
    gallery = np.arange(12)
    val = Subset(np.arange(2), np.arange(2, 12))
    splits = Splits("query_gallery", np.arange(2, 12), val, Subset(np.arange(12, 16), gallery))
    leaks = find_leaks(table(near(4, 12), near(0, 13), near(5, 6), near(1, 7)), splits, manifest, looked(manifest))
    assert sorted(ends(leaks)) == [(0, 13), (4, 12), (7, 1)]
    left = without_leaks(splits, leaks, manifest)
    assert left.train.tolist() == [2, 3, 5, 6, 8, 9, 10, 11]
    assert (left.val.query.tolist(), left.val.gallery.tolist()) == ([1], left.train.tolist())
    assert left.test is splits.test


def test_nothing_is_shared_after_leaks_are_dropped(manifest: Manifest, splits: Splits) -> None:
    rows = table(exact(0, 20), exact(0, 10), near(0, 14), near(3, 12))
    left = apply_policy("drop", find_leaks(rows, splits, manifest, looked(manifest)), splits, manifest)
    assert (left.train.tolist(), left.val.query.tolist()) == ([1, 2, 4, 5, 6, 7, 8, 9], [11, 12, 13])
    assert left.test.ids.tolist() == splits.test.ids.tolist()
    assert find_leaks(rows, left, manifest, looked(manifest)).pairs.is_empty()


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([near(place, 14) for place in range(10)], "without the 10 images that leaks=drop removes, .*: train"),
        (
            [near(place, 14) for place in range(0, 10, 2)],
            "without the 5 .* leaves one species in train; two are needed",
        ),
        ([near(place, 14) for place in (10, 11)], "without the 2 .* leaves 0 species in validation"),
    ],
)
def test_subsets_that_are_unusable_without_their_leaks_are_refused(
    rows: Sequence[Row], message: str, manifest: Manifest, splits: Splits
) -> None:
    leaks = find_leaks(table(*rows), splits, manifest, looked(manifest))
    with pytest.raises(DataError, match=message):
        without_leaks(splits, leaks, manifest)


def unseen(make_manifest: Callable[..., Manifest]) -> tuple[Manifest, Splits]:
    labels = [*["Black_Tern", "Grey_Heron", "Owl", "Rook"] * 4, *["black tern", "Gray_Heron", "Swan", "Crow"] * 4]
    manifest = make_manifest(labels, split=[*["train"] * 16, *["test"] * 16])
    return manifest, split(manifest, "unseen", val_share=0.25, seed=2)


def test_species_under_two_names_are_found_and_the_certain_ones_removed(
    make_manifest: Callable[..., Manifest],
) -> None:
    manifest, splits = unseen(make_manifest)
    leaks = find_leaks(table(), splits, manifest, looked(manifest))
    assert leaks.species == (
        SpellingMatch("Black_Tern", "black tern", True),
        SpellingMatch("Grey_Heron", "Gray_Heron", False),
    )
    assert leaks.respelt == (0, 4, 8, 12)
    left = without_leaks(splits, leaks, manifest)
    assert not np.isin([0, 4, 8, 12], np.union1d(left.train, left.val.ids)).any()
    assert np.isin([1, 5, 9, 13], np.union1d(left.train, left.val.ids)).all()
    with pytest.raises(
        DataError, match=r"2 species are in training and in the test .*: Black_Tern and black tern, Grey_Heron"
    ):
        apply_policy("error", leaks, splits, manifest)


def test_likely_spellings_are_no_error(make_manifest: Callable[..., Manifest]) -> None:
    labels = [*["Grey_Heron", "Owl", "Rook"] * 4, *["Gray_Heron", "Swan", "Crow"] * 4]
    manifest = make_manifest(labels, split=[*["train"] * 12, *["test"] * 12])
    splits = split(manifest, "unseen", val_share=0.3)
    leaks = find_leaks(table(), splits, manifest, looked(manifest))
    assert [match.certain for match in leaks.species] == [False] and leaks.respelt == ()
    assert apply_policy("error", leaks, splits, manifest) is splits
    assert "Grey_Heron and Gray_Heron (likely)" in describe(leaks)


def test_names_that_may_mean_one_species_are_told_under_every_protocol(make_manifest: Callable[..., Manifest]) -> None:
    manifest = make_manifest(["Grey_Heron", "Gray_Heron", "Tern", "terns"] * 12)
    leaks = find_leaks(table(), split(manifest, "seen"), manifest, looked(manifest))
    assert (leaks.species, leaks.respelt) == ((), ())
    assert leaks.synonyms == (
        SpellingMatch("Gray_Heron", "Grey_Heron", False),
        SpellingMatch("Tern", "terns", True),
    )
    told = "2 pairs of species names may mean one species each: Gray_Heron and Grey_Heron (likely), Tern and terns."
    assert describe(leaks).endswith(told)


def test_under_unseen_names_within_a_subset_are_told_beside_those_across(
    make_manifest: Callable[..., Manifest],
) -> None:
    names = [*["Grey_Heron", "Gray_Heron", "Owl"] * 4, *["Grey-Heron", "Swan", "Crow"] * 4]
    manifest = make_manifest(names, split=[*["train"] * 12, *["test"] * 12])
    leaks = find_leaks(table(), split(manifest, "unseen", val_share=0.3), manifest, looked(manifest))
    assert {(match.name, match.other) for match in leaks.species} == {
        ("Grey_Heron", "Grey-Heron"),
        ("Gray_Heron", "Grey-Heron"),
    }
    assert [(match.name, match.other) for match in leaks.synonyms] == [("Gray_Heron", "Grey_Heron")]


def test_policies(manifest: Manifest, splits: Splits) -> None:
    leaks = find_leaks(
        table(exact(2, 16), *(near(place, 14) for place in range(6))), splits, manifest, looked(manifest)
    )
    clean = find_leaks(table(), splits, manifest, looked(manifest))
    assert apply_policy("report", leaks, splits, manifest) is splits
    assert apply_policy("error", clean, splits, manifest) is splits
    with pytest.raises(DataError) as caught:
        apply_policy("error", leaks, splits, manifest)
    message = str(caught.value)
    assert "7 pairs of copies" in message and "a/0002.jpg (train) and a/0016.jpg (test)" in message
    assert "and 2 more" in message and "leaks=drop" in message and "leaks=report" in message
    with pytest.raises(DataError, match=r"leaks=dropp is unknown\. Did you mean drop\?"):
        apply_policy("dropp", clean, splits, manifest)


def test_description_of_nothing(manifest: Manifest, splits: Splits) -> None:
    assert (
        describe(find_leaks(table(), splits, manifest, looked(manifest)))
        == "None of 22 images is in more than one subset."
    )


def test_a_large_data_set_is_said_to_be_searched_without_crops(
    manifest: Manifest, splits: Splits, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(perceptual, "CROPS_UP_TO", len(manifest) - 1)
    leaks = find_leaks(table(), splits, manifest, looked(manifest))
    assert not leaks.crops
    assert describe(leaks).endswith("Cropped copies were not looked for, because the data set is large.")


def test_saved_and_loaded_is_the_same(tmp_path: Path, make_manifest: Callable[..., Manifest]) -> None:
    manifest, splits = unseen(make_manifest)
    leaks = find_leaks(table(near(0, 16), exact(17, 18)), splits, manifest, looked(manifest, 3))
    leaks = replace(leaks, two_species=("a/0.jpg (a) and b/1.jpg (b)",))
    leaks.save(tmp_path / "run" / "leaks")
    loaded = Leaks.load(tmp_path / "run" / "leaks")
    assert loaded.pairs.equals(leaks.pairs) and loaded.pairs.height == 1
    for name in ("inside", "species", "compared", "blank", "crops", "respelt", "synonyms", "two_species"):
        assert getattr(loaded, name) == getattr(leaks, name)
    (tmp_path / "run" / "leaks.json").write_text("{}")
    with pytest.raises(RunError, match="not the record of a leak check"):
        Leaks.load(tmp_path / "run" / "leaks")
