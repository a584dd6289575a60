"""A backbone in two: the frozen stages once, the trained ones as often as they learn."""

import copy
from itertools import chain

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from conspecific.errors import ConfigError
from conspecific.models import Backbone
from conspecific.models.stage_split import split_at_frozen, used_parameters

FAMILIES = ["tf_efficientnet_lite0", "resnet18", "convnext_atto", "regnety_002", "mobilenetv3_small_050"]


def frozen_below(name: str, stages: int | None, norms: bool = True) -> Backbone:
    torch.manual_seed(0)
    backbone = Backbone(name, "none")
    backbone.freeze(stages, norms)
    return backbone


@pytest.fixture(scope="module")
def photos() -> Tensor:
    return torch.randint(0, 256, (3, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def gradients(backbone: Backbone, features: Tensor) -> dict[str, Tensor]:
    backbone.zero_grad()
    features.square().mean().backward()
    named = backbone.named_parameters()
    return {name: parameter.grad.clone() for name, parameter in named if parameter.grad is not None}


@pytest.mark.parametrize("stages", [0, 1, 2])
@pytest.mark.parametrize("name", FAMILIES)
def test_the_two_parts_give_what_the_whole_gives(name: str, stages: int, photos: Tensor) -> None:
    backbone = frozen_below(name, stages).train()
    assert backbone.is_split and backbone._split is not None
    trained = {id(parameter) for parameter in backbone.parameters() if parameter.requires_grad}
    assert bool(trained) == (stages > 0)
    assert {id(parameter) for parameter in backbone._split.trained.parameters() if parameter.requires_grad} == trained
    assert not [parameter for parameter in backbone._split.frozen.parameters() if parameter.requires_grad]
    halves, whole = backbone.forward_tail(backbone.activations(photos)), backbone(photos)
    torch.testing.assert_close(halves, whole)
    if stages:
        found, wanted = gradients(backbone, halves), gradients(backbone, whole)
        assert found.keys() == wanted.keys() == {n for n, each in backbone.named_parameters() if each.requires_grad}
        torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-6)


def test_more_trained_stages_leave_less_to_be_frozen(photos: Tensor) -> None:
    for name in ("tf_efficientnet_lite0", "resnet18"):
        sides = [frozen_below(name, stages).activations(photos).shape[-1] for stages in (0, 1, 3)]
        assert sides[0] <= sides[1] < sides[2]


@pytest.mark.parametrize("size", [64, 96])
def test_a_transformer_is_cut_for_any_size(size: int) -> None:
    """Its mask of tokens is no input, and how its positions are resized is not written into the parts."""
    backbone = frozen_below("vit_tiny_patch16_224", 1).eval()
    photos = torch.rand(2, 3, size, size)
    torch.testing.assert_close(backbone.forward_tail(backbone.activations(photos)), backbone(photos))


def test_what_is_random_in_training_is_so_in_trained_stages_alone(photos: Tensor) -> None:
    """Focal networks drop layers at random, by default: the frozen stages give the same every time all the same."""
    backbone = frozen_below("focalnet_tiny_lrf", 1, norms=False).train()
    activations = backbone.activations(photos)
    assert torch.equal(activations, backbone.activations(photos))
    assert not torch.equal(backbone.forward_tail(activations), backbone.forward_tail(activations))
    backbone.eval()
    assert torch.equal(activations, backbone.activations(photos))
    torch.testing.assert_close(backbone.forward_tail(activations), backbone(photos))


def test_frozen_statistics_stay_and_trained_ones_follow(photos: Tensor) -> None:
    backbone = frozen_below("resnet18", 1, norms=False).train()
    assert backbone._split is not None
    before = {name: buffer.clone() for name, buffer in backbone.net.named_buffers()}
    backbone.forward_tail(backbone.activations(photos))
    changed = {name for name, buffer in backbone.net.named_buffers() if not torch.equal(buffer, before[name])}
    assert changed and all(name.startswith("layer4") for name in changed)


def test_a_copy_is_cut_where_the_original_is_and_shares_nothing_with_it(photos: Tensor) -> None:
    backbone = frozen_below("convnext_atto", 1).eval()
    twin = copy.deepcopy(backbone)
    before = backbone(photos)
    optimizer = torch.optim.SGD([each for each in twin.parameters() if each.requires_grad], lr=0.1)
    twin.forward_tail(twin.activations(photos)).square().mean().backward()
    optimizer.step()
    assert torch.equal(backbone.forward_tail(backbone.activations(photos)), before)
    assert torch.equal(backbone.activations(photos), twin.activations(photos))
    moved = twin(photos)
    assert not torch.allclose(moved, before)
    torch.testing.assert_close(twin.forward_tail(twin.activations(photos)), moved)
    twin.requires_grad_(False)  # as a copy for averaging is
    assert twin.is_split


def test_weights_that_are_loaded_later_are_those_of_the_parts(photos: Tensor) -> None:
    backbone, other = frozen_below("resnet18", 1).eval(), Backbone("resnet18", "none").eval()
    backbone.load_state_dict(other.state_dict())
    torch.testing.assert_close(backbone.forward_tail(backbone.activations(photos)), other(photos))
    assert backbone.state_dict().keys() == other.state_dict().keys(), "the parts add nothing to what is saved"


def test_the_parts_move_with_the_network() -> None:
    """Levit keeps tables of positions in buffers, which a part would otherwise leave where they were."""
    backbone = frozen_below("levit_128s", 1)
    assert backbone._split is not None
    backbone.to("meta")
    parts = (backbone._split.frozen, backbone._split.trained)
    tensors = [*chain.from_iterable(chain(part.parameters(), part.buffers()) for part in parts)]
    assert tensors and all(tensor.is_meta for tensor in tensors)


def test_a_network_that_is_trained_whole_is_not_cut() -> None:
    assert not frozen_below("resnet18", None).is_split
    assert not frozen_below("resnet18", 5).is_split


def test_a_network_that_cannot_be_traced_is_not_cut_but_used_as_ever(photos: Tensor) -> None:
    backbone = frozen_below("swin_tiny_patch4_window7_224", 1).eval()
    assert not backbone.is_split
    assert backbone(torch.zeros(1, 3, 224, 224)).shape == (1, 768, 7, 7)


def test_freezing_again_cuts_again(photos: Tensor) -> None:
    backbone = frozen_below("resnet18", 1).eval()
    late = backbone.activations(photos).shape
    backbone.freeze(2, True)
    assert backbone.activations(photos).shape != late
    backbone.freeze(None, True)
    assert not backbone.is_split


@pytest.mark.parametrize("name", ["poolformer_s12", "rdnet_tiny"])
def test_a_network_without_stages_says_what_to_set(name: str) -> None:
    with pytest.raises(ConfigError, match=f"timm names no stages for {name}: set model.trainable_stages=null"):
        frozen_below(name, 1)


# --- networks that a cut could go wrong in


class Invented(nn.Module):
    """Two layers and a third that learns, joined as `how` says."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.first, self.second, self.learns = (nn.Conv2d(4, 4, 1) for _ in range(3))
        self.classifier = nn.Linear(4, 2)
        for layer in (self.first, self.second):
            layer.requires_grad_(False)

    def forward_features(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        early = self.first(x)
        late = self.second(early)
        if self.how == "skip":
            return self.learns(late) + early
        if self.how == "halves":
            one, other = late.sin().chunk(2, dim=1)
            return torch.cat([self.learns(one.repeat(1, 2, 1, 1)), other], dim=1)
        if self.how == "random":
            return self.learns(F.dropout(late, 0.5, self.training))
        if self.how == "mask":
            return self.learns(late if mask is None else late * mask)
        return self.learns(late) if late.sum() > 0 else self.learns(early)


@pytest.mark.parametrize(
    ("how", "kept"), [("skip", "first"), ("halves", "sin"), ("random", "second"), ("mask", "second")]
)
def test_what_is_kept_is_one_tensor_that_all_the_rest_can_be_made_of(how: str, kept: str) -> None:
    net, x = Invented(how).eval(), torch.rand(2, 4, 3, 3)
    found = split_at_frozen(net)
    assert found is not None
    first, late = net.first(x), net.second(net.first(x))
    assert torch.equal(found.frozen(x), {"first": first, "second": late, "sin": late.sin()}[kept])
    assert torch.equal(found.trained(found.frozen(x)), net.forward_features(x))


def test_what_depends_on_the_image_is_not_cut() -> None:
    assert split_at_frozen(Invented("if")) is None
    assert len(used_parameters(Invented("if"))) == 8, "of a network that cannot be traced, all"


def test_a_classifiers_weights_are_no_part_of_the_feature_map() -> None:
    net = Invented("skip")
    layers = (net.first, net.second, net.learns)
    assert {id(each) for each in used_parameters(net)} == {id(each) for layer in layers for each in layer.parameters()}
