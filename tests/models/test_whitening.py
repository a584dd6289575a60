"""Within-species whitening: what is estimated, what validation chooses, and what strength weights."""

import pytest
import torch
from torch import Tensor

from conspecific.models.whitening import RIDGES, Whitening, fit_whitening


def drawn(species: int, images: int, between: Tensor, within: Tensor, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Vectors of species with these standard deviations in each of C directions, [species * images, C]."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(species).repeat_interleave(images)
    centres = torch.randn(species, len(between), generator=generator) * between
    return centres[labels] + torch.randn(len(labels), len(within), generator=generator) * within, labels


def fitted(vectors: Tensor, labels: Tensor, strength: float = 0.0) -> Whitening:
    (found,) = fit_whitening(vectors, labels, [strength])
    return found


def test_a_known_covariance_is_recovered() -> None:
    within = torch.linspace(0.5, 2, 12)
    found = fitted(*drawn(300, 20, torch.ones(12), within))
    wanted = (within**2 + found.ridge * within.square().mean()).rsqrt()
    matrix = found.matrix()
    relative = matrix / matrix[0, 0] * wanted[0]
    torch.testing.assert_close(relative, wanted.diag().double(), rtol=0.05, atol=0.02)


def test_variances_are_those_around_species_means_with_their_degrees_of_freedom() -> None:
    """A mean of two images takes half of their variance."""
    between, within = torch.ones(6), torch.tensor([1.0, 1, 1, 2, 2, 2])
    few, many = (fitted(*drawn(600 // images, images, between, within)).matrix() for images in (2, 20))
    torch.testing.assert_close(few / few[0, 0], many / many[0, 0], rtol=0.1, atol=0.1)


@pytest.mark.parametrize("images", [3, 30], ids=["fewer images than channels", "more"])
def test_a_rotation_or_scale_of_the_vectors_changes_no_distance(images: int) -> None:
    vectors, labels = drawn(8, images, torch.linspace(0.5, 2, 40), torch.linspace(2, 0.5, 40))
    rotation = torch.linalg.qr(torch.randn(40, 40, generator=torch.Generator().manual_seed(1)))[0]
    plain, turned = fitted(vectors, labels, 0.25), fitted(3 * vectors @ rotation, labels, 0.25)
    assert plain.ridge == turned.ridge
    moved = torch.pdist(3 * vectors @ rotation @ turned.matrix().float())
    torch.testing.assert_close(
        moved / moved[0], (d := torch.pdist(vectors @ plain.matrix().float())) / d[0], rtol=2e-3, atol=0
    )


def test_principal_outputs_have_the_distances_of_the_symmetric_map() -> None:
    vectors, labels = drawn(4, 3, torch.ones(40), torch.linspace(2, 0.5, 40))
    others = drawn(6, 4, torch.ones(40), torch.ones(40), seed=2)[0].double()
    found = fitted(vectors, labels, 0.25)
    torch.testing.assert_close(
        torch.pdist(others @ found.principal(vectors.double())), torch.pdist(others @ found.matrix())
    )


def test_directions_without_an_image_keep_their_proportions() -> None:
    vectors, labels = drawn(4, 2, torch.ones(40), torch.ones(40))
    found = fitted(vectors, labels)
    outside = torch.linalg.qr(found.basis, mode="complete")[0][:, found.basis.shape[1] :]
    torch.testing.assert_close(
        outside.T @ found.matrix() @ outside, found.outside * torch.eye(outside.shape[1]).double()
    )


def test_the_ridge_is_small_where_whitening_helps_other_species_and_large_where_it_does_not() -> None:
    species_differ, images_differ = torch.full((32,), 0.3), torch.full((32,), 0.3)
    images_differ[:8] = 4.0
    assert fitted(*drawn(40, 20, species_differ, images_differ)).ridge == RIDGES[-1]
    species_differ[:8], species_differ[8:], images_differ[8:] = 4.0, 0.0, 1.5  # species differ where images do most
    assert fitted(*drawn(40, 20, species_differ, images_differ)).ridge == RIDGES[0]


def test_fewer_than_four_species_cannot_validate_and_get_the_weakest_whitening() -> None:
    assert fitted(*drawn(3, 20, torch.ones(8), torch.ones(8))).ridge == RIDGES[0]


def test_strength_prefers_directions_in_which_the_fitted_species_differ() -> None:
    between, within = torch.tensor([2.0, 2, 0.1, 0.1]), torch.ones(4)
    vectors, labels = drawn(60, 20, between, within)
    share = [abs(m[2, 2] / m[0, 0]) for m in (fitted(vectors, labels, s).matrix() for s in (0, 0.25, 0.9, 1))]
    assert share[0] == pytest.approx(1, abs=0.05)
    assert share[0] > share[1] > share[2] > share[3]


def test_species_that_do_not_differ_get_no_weights() -> None:
    """The means of equal species differ by chance alone; seed 6 draws them a little less far apart than expected."""
    vectors, labels = drawn(100, 4, torch.zeros(8), torch.ones(8), seed=6)
    torch.testing.assert_close(fitted(vectors, labels, 1.0).matrix(), fitted(vectors, labels, 0.0).matrix())


@pytest.mark.parametrize("species", [5, 60], ids=["fewer species than channels", "more"])
def test_several_strengths_at_once_are_those_fitted_alone(species: int) -> None:
    vectors, labels = drawn(species, 4, torch.linspace(2, 0.1, 20), torch.ones(20))
    for strength, found in zip((0.0, 0.25, 1.0), fit_whitening(vectors, labels, (0.0, 0.25, 1.0)), strict=True):
        alone = fitted(vectors, labels, strength)
        assert found.ridge == alone.ridge
        torch.testing.assert_close(found.matrix(), alone.matrix())


def test_a_ridge_that_is_given_is_not_validated() -> None:
    vectors, labels = drawn(40, 20, torch.full((32,), 0.3), torch.full((32,), 0.3))
    assert fitted(vectors, labels).ridge != 7.0
    (found,) = fit_whitening(vectors, labels, [0.0], ridge=7.0)
    assert found.ridge == 7.0


def test_identical_images_have_no_whitening() -> None:
    vectors, labels = torch.randn(4, 8).repeat_interleave(3, dim=0), torch.arange(4).repeat_interleave(3)
    assert fit_whitening(vectors, labels, [0.25]) == []
