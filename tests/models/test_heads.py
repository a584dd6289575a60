"""What lies between the pooled layer and the embedding."""

import pytest
import torch
from torch import Tensor

from conspecific.errors import ConfigError
from conspecific.models.heads import RIDGE_AFTER_TRAINING, Whitened, create_head
from conspecific.models.whitening import fit_whitening


def pooled_birds(species: int, images: int, channels: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Species differ in a few directions, images of one species in others, and there most."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.linalg.qr(torch.randn(channels, channels, generator=torch.Generator().manual_seed(99)))[0]
    between, within = torch.full((channels,), 0.05), torch.full((channels,), 0.3)
    between[: channels // 4], within[channels // 2 :] = 1.0, 1.5
    centres = torch.randn(species, channels, generator=generator) * between
    labels = torch.arange(species).repeat_interleave(images)
    vectors = centres[labels] + torch.randn(len(labels), channels, generator=generator) * within
    return vectors @ mixing + 5, labels


def map_at_r(vectors: Tensor, labels: Tensor, images: int) -> float:
    """By cosine, each image a query among the others; the tests elsewhere hold the real one to its formula."""
    unit = torch.nn.functional.normalize(vectors)
    nearest = (unit @ unit.T).fill_diagonal_(-9).topk(images - 1).indices
    hits = (labels[nearest] == labels[:, None]).double()
    precision = hits.cumsum(dim=1) / torch.arange(1, images)
    return float((precision * hits).mean())


def test_outputs_are_centred_of_a_known_length_and_the_widest_come_first() -> None:
    vectors, labels = pooled_birds(20, 12, 32)
    head = Whitened(32, 8)
    head.fit(vectors, labels)
    with torch.no_grad():
        found = head(vectors)
    assert found.shape == (240, 8)
    assert found.mean(dim=0).abs().max() < 1e-3
    assert found.norm(dim=1).mean().item() == pytest.approx(8**0.5, rel=1e-3)
    covariance = found.T @ found / 240
    spread = covariance.diagonal()
    assert (spread.diff() < 0).all(), "falling"
    assert (covariance - spread.diag()).abs().max() < 1e-3 * spread.max(), "and uncorrelated"


def test_the_beginning_of_a_longer_head_is_the_shorter_one() -> None:
    vectors, labels = pooled_birds(20, 12, 32)
    long, short = Whitened(32, 16), Whitened(32, 4)
    for head in (long, short):
        head.fit(vectors, labels)
    rows = long.weight[:4] / short.weight
    torch.testing.assert_close(rows, rows[0, 0].expand_as(rows), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("images", [4, 12], ids=["fewer images than channels", "more"])
def test_species_that_it_was_not_fitted_on_are_found_better(images: int) -> None:
    """Against the pooled layer as it is, and centred: whitening must gain more than the mean that it takes away."""
    seen, labels = pooled_birds(15, images, 64, seed=1)
    unseen, others = pooled_birds(15, 12, 64, seed=2)
    head = Whitened(64, 16)
    head.fit(seen, labels)
    with torch.no_grad():
        whitened = map_at_r(head(unseen), others, 12)
    assert whitened > 1.3 * map_at_r(unseen - seen.mean(dim=0), others, 12)
    assert whitened > 1.3 * map_at_r(unseen, others, 12)


def test_a_head_that_was_trained_is_whitened_again_by_what_it_gives_now() -> None:
    """Its weights alone change: what comes out lies as far apart as a second head, fitted on its outputs, makes it."""
    vectors, labels = pooled_birds(20, 12, 32)
    head, above = Whitened(32, 8), Whitened(8, 8)
    head.fit(vectors, labels)
    with torch.no_grad():
        head.weight.add_(0.3 * torch.randn(8, 32, generator=torch.Generator().manual_seed(3)))
        head.bias.add_(1)
        given = head(vectors)
        above.set_whitening(fit_whitening(given, labels, [0.0], RIDGE_AFTER_TRAINING)[0], given)
        head.fit_again(given, labels)
        again = head(vectors)
        torch.testing.assert_close(torch.pdist(again), torch.pdist(above(given)), rtol=1e-3, atol=1e-3)
    alike = torch.corrcoef(torch.cat([again, given], dim=1).T)[:8, 8:]
    assert alike.diagonal().min() > 0.5, "dimensions keep their meaning"


def test_labels_may_have_gaps_and_any_order() -> None:
    vectors, labels = pooled_birds(5, 6, 16)
    order = torch.randperm(30, generator=torch.Generator().manual_seed(0))
    plain, other = Whitened(16, 4), Whitened(16, 4)
    plain.fit(vectors, labels)
    other.fit(vectors[order], labels[order] * 7 + 3)
    torch.testing.assert_close((other.weight / plain.weight).abs(), torch.ones(4, 16), rtol=1e-3, atol=1e-3)


def test_few_images_do_not_harm_species_that_they_do_not_show() -> None:
    """18 images span 17 of 128 directions. Whitening that keeps half of the dimensions, those with the largest
    variance in these images, loses what separates other species."""
    generator = torch.Generator().manual_seed(4)
    centres, labels = torch.randn(40, 128, generator=generator), torch.arange(40).repeat_interleave(8)
    vectors = centres[labels] + 1.5 * torch.randn(320, 128, generator=generator)
    shown = (labels < 6) & (torch.arange(320) % 8 < 3)
    head, narrow = Whitened(128, 128), Whitened(128, 64)
    for each in (head, narrow):
        each.fit(vectors[shown], labels[shown])
    others, species = vectors[labels >= 6], labels[labels >= 6]
    with torch.no_grad():
        found, lost = (map_at_r(each(others), species, 8) for each in (head, narrow))
    assert lost < 0.9 * map_at_r(others, species, 8)
    assert found > 0.95 * map_at_r(others, species, 8)


@pytest.mark.parametrize("species", [1, 2, 5])
def test_two_images_of_a_species_are_enough(species: int) -> None:
    vectors, labels = pooled_birds(species, 2, 16)
    head = Whitened(16, 16)
    head.fit(vectors, labels)
    with torch.no_grad():
        assert head(vectors).norm(dim=1).mean().item() == pytest.approx(4, rel=1e-3)


def test_species_of_one_image_each_say_nothing_of_what_to_shrink() -> None:
    with pytest.raises(ConfigError, match=r"of the 5 training images no two of a species differ: set model\.head="):
        Whitened(16, 4).fit(torch.randn(5, 16), torch.arange(5))


def test_it_is_a_linear_layer_to_the_optimizer_and_on_disk() -> None:
    head = create_head("whitened", 16, 16)
    assert {name: tuple(each.shape) for name, each in head.state_dict().items()} == {"weight": (16, 16), "bias": (16,)}
    assert all(parameter.requires_grad for parameter in head.parameters())


def test_a_whitened_head_keeps_all_channels_and_the_others_have_512_dimensions_unless_told_otherwise() -> None:
    assert create_head("whitened", 1024).out_features == 1024
    assert create_head("whitened", 16, 8).out_features == 8
    assert create_head("linear", 16).out_features == 512
