"""Who trains, who validates, who tests."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conspecific.data.manifest import Manifest
from conspecific.data.splits import Splits, Subset, split
from conspecific.errors import DataError


def species_of(count: int, images: int) -> list[str]:
    """Labels of `count` species with `images` images each, the species taking turns."""
    return [f"species{number:03}" for number in range(count)] * images


def listed(
    labels: list[str],
    split: list[str | None] | None = None,
    role: list[str | None] | None = None,
    group: list[str | None] | None = None,
) -> Manifest:
    columns: dict[str, list[str] | list[str | None]] = {"path": [f"{n:04}.jpg" for n in range(len(labels))]}
    columns |= {"label": labels} | ({"split": split} if split else {}) | ({"role": role} if role else {})
    columns |= {"group": group} if group else {}
    return Manifest.from_table(Path("/images"), pl.DataFrame(columns))


def species(manifest: Manifest, ids: np.ndarray) -> set[int]:
    return set(manifest.labels[ids].tolist())


def contents(splits: Splits) -> list[list[int]]:
    subsets = (splits.train, splits.val.query, splits.val.gallery, splits.test.query, splits.test.gallery)
    return [ids.tolist() for ids in subsets]


many_species = st.lists(st.integers(6, 14), min_size=8, max_size=20).map(
    lambda counts: [f"species{number:02}" for number, count in enumerate(counts) for _ in range(count)]
)
shares = st.floats(0.2, 0.4)


@given(many_species, shares, shares, st.integers(0, 99))
def test_seen_has_every_species_everywhere_and_no_image_twice(
    labels: list[str], test_share: float, val_share: float, seed: int
) -> None:
    manifest = listed(labels)
    splits = split(manifest, "seen", seed=seed, test_share=test_share, val_share=val_share)
    together = np.concatenate([splits.train, splits.val.query, splits.test.query])
    assert sorted(together) == list(range(len(manifest)))
    for ids in (splits.train, splits.test.query):
        assert species(manifest, ids) == set(range(len(manifest.species)))
    for subset in (splits.val, splits.test):
        np.testing.assert_array_equal(subset.query, subset.gallery)


@given(many_species, shares, shares, st.integers(0, 99))
def test_unseen_has_no_species_in_two_parts(labels: list[str], test_share: float, val_share: float, seed: int) -> None:
    manifest = listed(labels)
    splits = split(manifest, "unseen", seed=seed, test_share=test_share, val_share=val_share)
    subsets = [species(manifest, ids) for ids in (splits.train, splits.val.query, splits.test.query)]
    assert sum(map(len, subsets)) == len(set.union(*subsets)) == len(manifest.species)
    assert sum(map(len, (splits.train, splits.val.query, splits.test.query))) == len(manifest)


@given(many_species, shares, st.integers(0, 99))
def test_query_gallery_never_validates_on_what_it_tests_with(labels: list[str], val_share: float, seed: int) -> None:
    splits = split(listed(labels), "query_gallery", seed=seed, val_share=val_share, gallery_images=5)
    assert not np.intersect1d(splits.test.query, splits.test.gallery).size
    assert not np.intersect1d(splits.test.query, splits.val.ids).size
    assert not np.intersect1d(splits.test.query, splits.train).size
    assert not np.intersect1d(splits.train, splits.val.query).size


@pytest.mark.parametrize("protocol", ["seen", "unseen", "query_gallery"])
def test_a_split_is_decided_by_its_seed(protocol: str) -> None:
    manifest = listed(species_of(12, 14))
    first, again, other = (contents(split(manifest, protocol, seed=seed)) for seed in (3, 3, 4))
    assert first == again
    assert first != other


@pytest.mark.parametrize("protocol", ["unseen", "query_gallery"])
def test_the_test_of_these_protocols_does_not_depend_on_the_seed(protocol: str) -> None:
    manifest = listed(species_of(12, 14))
    assert contents(split(manifest, protocol, seed=3))[3:] == contents(split(manifest, protocol, seed=4))[3:]


def test_shares_of_seen_are_of_each_species_images() -> None:
    manifest = listed(species_of(4, 20))
    splits = split(manifest, "seen", test_share=0.4, val_share=0.25)
    for ids, count in ((splits.test.query, 8), (splits.val.query, 3), (splits.train, 9)):
        assert np.bincount(manifest.labels[ids]).tolist() == [count] * 4


def test_shares_of_unseen_are_of_species() -> None:
    manifest = listed(species_of(20, 3))
    splits = split(manifest, "unseen", test_share=0.4, val_share=0.25)
    assert species(manifest, splits.test.query) == set(range(12, 20))
    assert len(species(manifest, splits.val.query)) == 3
    assert len(species(manifest, splits.train)) == 9


@pytest.mark.parametrize(("test_share", "val_share"), [(0.5, 0.5), (0.1, 0.1), (0.5, 0.9)])
def test_a_part_is_never_left_with_a_single_image_of_a_species(test_share: float, val_share: float) -> None:
    manifest = listed(species_of(3, 8))
    splits = split(manifest, "seen", test_share=test_share, val_share=val_share)
    counts = [np.bincount(manifest.labels[ids]) for ids in (splits.train, splits.val.query, splits.test.query)]
    assert (np.array(counts) >= 2).all()


def test_origin_protocol_takes_ten_for_the_gallery_and_the_next_three_as_queries() -> None:
    manifest = listed(species_of(5, 15))
    splits = split(manifest, "query_gallery")
    assert splits.test.gallery.tolist() == list(range(50))  # species take turns, so ten of each come first
    assert splits.test.query.tolist() == list(range(50, 65))
    assert np.union1d(splits.train, splits.val.query).tolist() == splits.test.gallery.tolist()
    assert splits.val.gallery.tolist() == splits.train.tolist()
    assert np.bincount(manifest.labels[splits.val.query]).tolist() == [2] * 5


def test_origin_protocol_goes_by_path_not_by_row() -> None:
    manifest = listed(species_of(3, 6))
    shuffled = manifest.table.sample(fraction=1, shuffle=True, seed=1)
    other = Manifest.from_table(manifest.root, shuffled)
    options = {"gallery_images": 4, "query_images": 2}
    wanted = split(manifest, "query_gallery", **options).test
    found = split(other, "query_gallery", **options).test
    assert set(other.table["path"].gather(found.query)) == set(manifest.table["path"].gather(wanted.query))
    assert set(other.table["path"].gather(found.gallery)) == set(manifest.table["path"].gather(wanted.gallery))


def test_role_column_names_queries_and_gallery() -> None:
    role = ["query", "query"] + ["gallery"] * 8 + [None, None]
    splits = split(listed(species_of(2, 6), role=role), "query_gallery")
    assert splits.test.query.tolist() == [0, 1]
    assert splits.test.gallery.tolist() == list(range(2, 10))
    assert np.union1d(splits.train, splits.val.query).tolist() == list(range(2, 10))


def test_role_column_with_training_images_of_other_species_validates_on_other_species() -> None:
    labels = [*species_of(6, 4), "tested", "tested", "too", "too"]
    role = [None] * 24 + ["query", "gallery"] * 2
    manifest = listed(labels, split=["train"] * 24 + ["test"] * 4, role=role)
    splits = split(manifest, "query_gallery")
    assert splits.test.ids.tolist() == [24, 25, 26, 27]
    assert not species(manifest, splits.val.query) & species(manifest, splits.train)
    np.testing.assert_array_equal(splits.val.query, splits.val.gallery)


def test_role_column_with_training_images_of_the_same_species_validates_on_those() -> None:
    role = [None] * 12 + ["query", "gallery"] * 2
    manifest = listed([*species_of(2, 6), "species000", "species000", "species001", "species001"], ["train"] * 16, role)
    splits = split(manifest, "query_gallery")
    assert np.union1d(splits.train, splits.val.query).tolist() == list(range(12))
    assert species(manifest, splits.val.query) == species(manifest, splits.train) == {0, 1}


def test_what_is_tested_with_is_not_validated_on_even_where_the_split_column_says_so() -> None:
    role = ["query", "query", "gallery", "gallery"] + [None] * 12
    manifest = listed(species_of(2, 8), split=["val"] * 8 + ["train"] * 8, role=role)
    splits = split(manifest, "query_gallery")
    assert splits.val.query.tolist() == [4, 5, 6, 7]
    assert splits.train.tolist() == list(range(8, 16))


def test_published_split_is_used() -> None:
    column = ["train"] * 8 + ["val"] * 4 + ["test"] * 4
    splits = split(listed(species_of(2, 8), split=column), "seen")
    assert contents(splits)[0] == list(range(8))
    assert contents(splits)[1] == contents(splits)[2] == list(range(8, 12))
    assert contents(splits)[3] == contents(splits)[4] == list(range(12, 16))


def test_published_test_stays_whole_when_validation_is_cut_from_train() -> None:
    column = ["train"] * 12 + ["test"] * 4
    splits = split(listed(species_of(2, 8), split=column), "seen")
    assert splits.test.query.tolist() == list(range(12, 16))
    assert np.union1d(splits.train, splits.val.query).tolist() == list(range(12))


def test_published_species_split_is_used_for_unseen() -> None:
    labels = species_of(6, 4)
    column = ["test" if label in ("species000", "species003") else "train" for label in labels]
    manifest = listed(labels, split=column)
    splits = split(manifest, "unseen")
    assert species(manifest, splits.test.query) == {0, 3}
    assert not species(manifest, splits.val.query) & species(manifest, splits.train)


def test_published_validation_of_training_species_is_cut_anew_for_unseen() -> None:
    labels = species_of(6, 4)
    column = ["test" if label > "species003" else "val" if row < 6 else "train" for row, label in enumerate(labels)]
    manifest = listed(labels, split=column)
    splits = split(manifest, "unseen")
    assert species(manifest, splits.test.query) == {4, 5}
    assert not species(manifest, splits.val.query) & species(manifest, splits.train)
    assert np.union1d(splits.train, splits.val.query).size == 16


def test_published_split_within_species_is_cut_by_name_for_unseen() -> None:
    labels = species_of(6, 4)
    manifest = listed(labels, split=["train"] * 12 + ["test"] * 12)
    splits = split(manifest, "unseen")
    assert species(manifest, splits.test.query) == {3, 4, 5}
    assert splits.test.query.size == 12


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, 1.5, float("nan")])
@pytest.mark.parametrize("name", ["test_share", "val_share"])
def test_shares_lie_between_0_and_1(name: str, share: float) -> None:
    with pytest.raises(DataError, match=rf"split\.{name} must be between 0 and 1"):
        split(listed(species_of(4, 8)), "seen", **{name: share})


def test_unknown_protocol_is_named_with_its_neighbour() -> None:
    with pytest.raises(DataError, match=r"protocol=unsen is unknown\. Did you mean unseen or seen\?"):
        split(listed(species_of(4, 8)), "unsen")


@pytest.mark.parametrize("protocol", ["seen", "unseen", "query_gallery"])
@pytest.mark.parametrize(
    ("column", "name"),
    [("split", "train"), ("split", "val"), ("split", "test"), ("role", "query"), ("role", "gallery")],
)
def test_columns_of_one_name_alone_give_a_split_or_a_message(protocol: str, column: str, name: str) -> None:
    manifest = listed(species_of(6, 20), **{column: [name] * 120})
    try:
        splits = split(manifest, protocol)
    except DataError as error:
        assert "leaves no images for: " in str(error)
    else:
        assert all(contents(splits))


@pytest.mark.parametrize(
    ("labels", "protocol", "options", "message"),
    [
        (species_of(4, 10), "query_gallery", {}, "leaves no images for: test queries"),
        (species_of(4, 3), "query_gallery", {"gallery_images": 0}, "no images for: train, validation queries"),
        (species_of(4, 5), "seen", {}, "seen needs 6 images of a species, two each .*; no species has more than 5"),
        (species_of(4, 6), "seen", {}, r"or change the split column or the split\.\* shares\."),
        (species_of(4, 9), "unseen", {"test_share": 0.99}, "leaves no images for: train, validation"),
        (species_of(1, 30), "seen", {}, "all 30 images are of one species, species000: two or more are needed"),
        (species_of(5, 9), "unseen", {"test_share": 0.2}, "leaves 1 species in test .*; 2 needed"),
        ([*species_of(8, 4), "lone", "tail"], "unseen", {"test_share": 0.2}, "leaves 1 species in test .*; 2 needed"),
    ],
)
def test_parts_that_could_not_be_used_are_named_before_anything_runs(
    labels: list[str], protocol: str, options: dict[str, float], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        split(listed(labels), protocol, **options)


@pytest.mark.parametrize(
    ("labels", "protocol", "hint"),
    [
        (
            species_of(6, 3),
            "seen",
            "no species has more than 3. Add images. As they are, these images can be used with protocol=unseen.",
        ),
        (
            species_of(6, 9),
            "query_gallery",
            "split.* shares. As they are, these images can be used with protocol=seen or protocol=unseen.",
        ),
        (species_of(4, 3), "unseen", "leaves one species in train; two are needed. Add species."),
    ],
)
def test_protocols_that_can_use_the_images_are_named(labels: list[str], protocol: str, hint: str) -> None:
    with pytest.raises(DataError) as caught:
        split(listed(labels), protocol)
    assert str(caught.value).endswith(hint)


def test_a_validation_in_which_nothing_can_be_found_is_refused() -> None:
    column: list[str | None] = ["train"] * 8 + ["val"] * 2 + ["test"] * 6
    with pytest.raises(DataError, match="leaves 0 species in validation with a query and another image"):
        split(listed(species_of(2, 8), split=column), "seen")


def test_positives_are_counted_without_the_query_itself() -> None:
    labels = np.array([0, 0, 0, 1, 1, 2, -1, -1])
    everything = np.arange(8)
    assert Subset(everything, everything).count_positives(labels).tolist() == [2, 2, 2, 1, 1, 0, 0, 0]
    subset = Subset(query=np.array([0, 3, 5, 6]), gallery=np.array([0, 1, 4, 5, 7]))
    assert subset.count_positives(labels).tolist() == [1, 1, 0, 0]


def test_saved_table_says_what_each_image_was_used_for(tmp_path: Path, make_manifest: Callable[..., Manifest]) -> None:
    manifest = make_manifest(species_of(4, 15))
    splits = split(manifest, "query_gallery")
    hashes = [f"{number:032x}" for number in range(len(manifest))]
    splits.save(tmp_path / "splits.parquet", manifest, hashes)
    table = pl.read_parquet(tmp_path / "splits.parquet")
    assert table["content"].to_list() == hashes
    assert table.select("path", "label").equals(manifest.table.select("path", "label"))
    columns = ["train", "val_query", "val_gallery", "test_query", "test_gallery"]
    assert [np.flatnonzero(table[name].to_numpy()).tolist() for name in columns] == contents(splits)


def test_a_division_of_species_is_refused_for_seen() -> None:
    labels = species_of(6, 8)
    column = ["test" if label > "species002" else "train" for label in labels]
    with pytest.raises(DataError, match=r"no species in both train and test\. As they are, .* protocol=unseen"):
        split(listed(labels, split=column), "seen")


grouped_species = st.lists(st.lists(st.integers(2, 5), min_size=4, max_size=8), min_size=6, max_size=10)


@given(grouped_species, st.sampled_from(["seen", "unseen"]), shares, st.integers(0, 9))
def test_a_group_is_on_one_side(sizes: list[list[int]], protocol: str, share: float, seed: int) -> None:
    rows = [
        (f"s{own:02}", f"{own}-{burst}") for own, bursts in enumerate(sizes) for burst in bursts for _ in "x" * burst
    ]
    names = [
        f"s{own:02}-{place}"
        for own, bursts in enumerate(sizes)
        for place, burst in enumerate(bursts)
        for _ in "x" * burst
    ]
    manifest = listed([name for name, _ in rows], group=list(names))
    splits = split(manifest, protocol, seed=seed, test_share=0.5, val_share=share)
    parts = [set(manifest.groups[ids].tolist()) for ids in (splits.train, splits.val.ids, splits.test.ids)]
    assert sum(map(len, parts)) == len(set.union(*parts)) == len(set(names)), "no group is in two parts, none is lost"
    assert splits.apart == 0
    if protocol == "seen":
        for ids in (splits.train, splits.test.ids):
            assert species(manifest, ids) == set(range(len(sizes))), "every species has four groups or more"


def test_about_a_share_of_the_images_is_drawn_in_groups() -> None:
    labels = species_of(20, 60)
    manifest = listed(labels, group=[f"{name}-{place // 20 // 5}" for place, name in enumerate(labels)])
    splits = split(manifest, "seen", test_share=0.5, val_share=0.2)
    counts = np.bincount(manifest.labels[splits.test.ids])
    assert counts.min() >= 25 and counts.max() <= 35 and len(splits.test.ids) == pytest.approx(600, abs=30)


def test_a_group_of_several_species_is_not_divided() -> None:
    """Sites: each has two images of two of ten species."""
    labels, sites = [], []
    for site in range(40):
        for place in range(2):
            labels += [f"species{(site + place) % 10}"] * 2
            sites += [f"site {site}"] * 2
    manifest = listed(labels, group=list(sites))
    seen = split(manifest, "seen", test_share=0.4)
    assert not set(manifest.groups[seen.train]) & set(manifest.groups[seen.test.ids]) and seen.apart == 0
    assert species(manifest, seen.test.ids) == species(manifest, seen.train) == set(range(10))
    assert len(seen.test.ids) == pytest.approx(64, abs=16)
    unseen = split(manifest, "unseen", test_share=0.2, val_share=0.1)
    assert not set(manifest.groups[unseen.train]) & set(manifest.groups[unseen.test.ids])
    assert unseen.apart > 0
    assert unseen.apart + sum(map(len, (unseen.train, unseen.val.ids, unseen.test.ids))) == 160


def test_where_groups_leave_nothing_to_train_on_it_is_said() -> None:
    labels = species_of(10, 6)
    with pytest.raises(DataError, match=r"no images for: train, .*; 30 of them left out because others of their group"):
        split(listed(labels, group=["one site"] * 60), "unseen")


def test_a_split_column_that_divides_a_group_loses_its_training_images() -> None:
    labels = ["owl"] * 7 + ["wren"] * 7
    named: list[str | None] = ["train", "train", "val", "val", "test", "test", "train"] * 2
    bursts: list[str | None] = ["a", "b", "b", None, "a", None, None] + [None] * 7
    splits = split(listed(labels, split=named, group=bursts), "seen")
    assert splits.train.tolist() == [6, 7, 8, 13], "0 is in the group of 4, 1 in that of 2"
    assert splits.val.ids.tolist() == [2, 3, 9, 10] and splits.test.ids.tolist() == [4, 5, 11, 12]
    assert splits.apart == 2


def test_a_test_without_answers_outside_the_group_is_refused_before_training() -> None:
    labels = species_of(4, 12)
    manifest = listed(labels, group=[f"{name}-{place // 4 % 3}" for place, name in enumerate(labels)])
    assert len(split(manifest, "seen").test.ids) == 16, "one of the three groups of each species"
    with pytest.raises(DataError, match="0 species in validation with a query and another image, of another group"):
        split(manifest, "seen", exclude_group=True)


def test_positives_of_ones_own_group_are_not_counted() -> None:
    labels, groups = np.array([0, 0, 0, 1, 1, -1]), np.array([7, 7, 8, 7, 9, 7])
    everything = np.arange(6)
    assert Subset(everything, everything).count_positives(labels, groups).tolist() == [1, 1, 2, 1, 1, 0]
    assert Subset(np.array([0, 3]), np.array([1, 2, 4])).count_positives(labels, groups).tolist() == [1, 1]


@pytest.mark.parametrize("protocol", ["seen", "unseen", "query_gallery"])
def test_species_with_one_to_three_images_are_in_a_split_and_not_scored_alone(protocol: str) -> None:
    labels = species_of(10, 8) + [f"rare{number}" for number in range(30) for _ in range(number % 3 + 1)]
    manifest = listed(labels)
    splits = split(manifest, protocol, gallery_images=5)
    lone = np.flatnonzero(np.bincount(manifest.labels)[manifest.labels] == 1)
    used = np.unique(np.concatenate([splits.train, splits.val.ids, splits.test.ids]))
    assert len(used) == len(manifest) or protocol == "query_gallery"
    scored = splits.test.query[splits.test.count_positives(manifest.labels) > 0]
    assert scored.size and not np.isin(scored, lone).any()
    if protocol == "seen":
        assert np.isin(lone, splits.train).all(), "trained on"
