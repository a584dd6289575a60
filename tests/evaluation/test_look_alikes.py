"""Species under two names are found, and species that can be told apart are not."""

from collections.abc import Callable, Sequence

import numpy as np

from conspecific.data.manifest import Manifest
from conspecific.evaluation.cross_validation import CrossValidation
from conspecific.evaluation.look_alikes import look_alikes
from conspecific.types import EmbeddingSet

MakeManifest = Callable[..., Manifest]


def compared(manifest: Manifest, true: Sequence[int]) -> CrossValidation:
    """Images around a centre for each true species."""
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(max(true) + 1, 24))[list(true)] + 0.6 * rng.normal(size=(len(true), 24))
    return CrossValidation.of(EmbeddingSet(vectors.astype(np.float32), np.arange(len(true)), manifest.labels), manifest)


def test_species_under_two_names_are_listed_and_no_others(make_manifest: MakeManifest) -> None:
    true = np.repeat(np.arange(8), 40)
    names = [f"species {number}" for number in true]
    for row in (*range(0, 40, 2), *range(280, 320, 3)):  # half of the first, a third of the last
        names[row] += " (old name)"
    manifest = make_manifest(names)
    found = look_alikes(compared(manifest, true.tolist()), manifest)
    pairs = {tuple(sorted(pair)) for pair in found.select("first", "second").iter_rows()}
    assert pairs == {(f"species {number}", f"species {number} (old name)") for number in (0, 7)}
    [smaller] = found.filter(second="species 7 (old name)").iter_rows(named=True)
    assert smaller["first"] == "species 7" and 0.3 < smaller["auroc"] < 0.7
    assert found["at_most"].is_sorted() and (found["at_most"] > found["auroc"]).all()


def test_of_few_images_nothing_is_certain(make_manifest: MakeManifest) -> None:
    true = [0] * 6 + [1] * 20 + [2] * 20
    manifest = make_manifest(["owl"] * 3 + ["barn owl"] * 3 + ["wren"] * 20 + ["jay"] * 20)
    assert look_alikes(compared(manifest, true), manifest).is_empty()


def test_an_image_leans_to_the_species_that_it_shows(make_manifest: MakeManifest) -> None:
    manifest = make_manifest(["owl"] * 10 + ["wren"] * 10)
    found = compared(manifest, [0] * 9 + [1] * 11)  # the last owl is a wren
    owl, wren = manifest.species.index("owl"), manifest.species.index("wren")
    assert found.margin(9, wren) > 0 > found.margin(0, wren) and found.margin(12, owl) < 0
