"""Parameter groups and the schedule."""

import math
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import DataLoader

from conspecific.config.compose import compose_config, typed
from conspecific.config.schema import TrainConfig
from conspecific.config.targets import build
from conspecific.losses import MetricLoss
from conspecific.models import Embedder
from conspecific.training.expected_warnings import expected_warnings
from conspecific.training.fine_tuner import FineTuner
from conspecific.training.optimizers import GroupedOptimizer, warm_cosine

PLAIN = ["loss=arcface", "model.weights=none", "model.pooling=avg", "model.head=none"]
RATES = {"backbone": 0.1, "head": 0.2, "loss": 0.3}


def configured(*overrides: str) -> tuple[Embedder, MetricLoss]:
    config = typed(compose_config("train", [*PLAIN, *overrides]), TrainConfig)
    embedder: Embedder = build(config.model, "model")
    return embedder, build(config.loss, "loss", num_classes=5, embedding_size=embedder.loss_dimensions(64))


def optimizer_of(embedder: Embedder, loss: nn.Module) -> torch.optim.Optimizer:
    grouped = GroupedOptimizer(torch.optim.AdamW, RATES["backbone"], RATES["head"], RATES["loss"], 0.05, 1.0)
    return grouped.build(embedder, loss, epochs=3, steps_per_epoch=4)["optimizer"]  # type: ignore[index,return-value]


@pytest.mark.parametrize("head", ["linear", "mlp"])
def test_backbone_head_and_loss_each_have_a_rate_of_their_own(head: str) -> None:
    embedder, loss = configured(f"model.head={head}", "model.trainable_stages=null")
    groups = optimizer_of(embedder, loss).param_groups
    owners = {"backbone": embedder.backbone, "head": embedder.head, "loss": loss}
    for name, module in owners.items():
        own = [group for group in groups if group["name"].startswith(name)]
        assert {group["initial_lr"] for group in own} == {RATES[name]}
        found = sorted(id(parameter) for group in own for parameter in group["params"])
        assert found == sorted(id(parameter) for parameter in module.parameters())


def test_the_species_vectors_of_the_loss_are_trained_and_not_decayed() -> None:
    embedder, loss = configured()
    [group] = [group for group in optimizer_of(embedder, loss).param_groups if group["name"] == "loss"]
    assert [parameter.shape for parameter in group["params"]] == [(embedder.loss_dimensions(64), 5)]
    assert group["weight_decay"] == 0


def test_weight_decay_is_for_matrices_and_kernels_only() -> None:
    embedder, loss = configured("model.head=mlp", "model.trainable_stages=null")
    for group in optimizer_of(embedder, loss).param_groups:
        if group["name"] == "loss":
            continue
        assert {parameter.ndim > 1 for parameter in group["params"]} == {group["weight_decay"] > 0}


def test_frozen_stages_are_left_out() -> None:
    embedder, loss = configured("model.trainable_stages=1")
    given = {id(parameter) for group in optimizer_of(embedder, loss).param_groups for parameter in group["params"]}
    frozen = {id(parameter) for parameter in embedder.backbone.parameters() if not parameter.requires_grad}
    assert frozen
    assert not given & frozen


def test_a_loss_and_a_head_without_weights_leave_no_empty_group() -> None:
    embedder, loss = configured("loss=triplet", "model.head=none")
    names = [group["name"] for group in optimizer_of(embedder, loss).param_groups]
    assert names == ["backbone", "backbone_undecayed"]


def test_the_rate_rises_in_a_line_and_falls_to_zero() -> None:
    rates = [warm_cosine(step, warmup=4, steps=12) for step in range(13)]
    assert rates[:4] == [0.25, 0.5, 0.75, 1.0]
    assert rates[4] == 1.0
    assert all(later < earlier for earlier, later in pairwise(rates[4:]))
    assert rates[8] == pytest.approx(0.5)
    assert rates[12] == pytest.approx(0.0)


def test_without_warm_up_the_first_step_has_the_full_rate() -> None:
    assert warm_cosine(0, warmup=0, steps=5) == 1.0


def test_the_rate_stays_at_zero_beyond_the_end() -> None:
    assert warm_cosine(20, warmup=2, steps=10) == pytest.approx(0.0)


def test_the_schedule_counts_steps_and_reaches_every_group() -> None:
    embedder, loss = configured("model.head=linear")
    grouped = GroupedOptimizer(torch.optim.SGD, 0.1, 0.2, 0.3, 0.0, warmup_epochs=0.5)
    built = grouped.build(embedder, loss, epochs=2, steps_per_epoch=4)
    assert built["lr_scheduler"]["interval"] == "step"  # type: ignore[index,call-overload]
    optimizer, scheduler = built["optimizer"], built["lr_scheduler"]["scheduler"]  # type: ignore[index,call-overload]
    for step in range(8):
        for group in optimizer.param_groups:
            assert group["lr"] == pytest.approx(group["initial_lr"] * warm_cosine(step, 2, 8))
        optimizer.step()
        scheduler.step()


# --- stages, and epochs of the head alone


def groups_of(embedder: Embedder, loss: nn.Module, layer_decay: float) -> list[dict[str, Any]]:
    grouped = GroupedOptimizer(torch.optim.SGD, 0.1, 0.2, 0.3, 0.05, 1.0, layer_decay)
    built = grouped.build(embedder, loss, epochs=3, steps_per_epoch=4)
    found: list[dict[str, Any]] = built["optimizer"].param_groups  # type: ignore[index,call-overload]
    return found


@pytest.mark.parametrize("backbone", ["resnet18", "convnext_atto"])
def test_each_stage_learns_at_a_share_of_the_next_ones_rate(backbone: str) -> None:
    embedder, loss = configured(
        "model=timm", f"model.backbone={backbone}", "model.weights=none", "model.trainable_stages=3"
    )
    groups = groups_of(embedder, loss, layer_decay=0.5)
    rates = {group["name"]: group["initial_lr"] for group in groups}
    stages = embedder.backbone.stages()
    last = len(stages) - 1
    assert {name for name in rates if name.startswith("backbone")} == {
        f"backbone_{last - back}{suffix}" for back in range(3) for suffix in ("", "_undecayed")
    }
    for back, rate in enumerate([0.1, 0.05, 0.025]):
        assert rates[f"backbone_{last - back}"] == rates[f"backbone_{last - back}_undecayed"] == pytest.approx(rate)
        given = [
            each for group in groups if group["name"].startswith(f"backbone_{last - back}") for each in group["params"]
        ]
        assert {id(each) for each in given} == {id(each) for each in stages[last - back]}
    assert rates["loss"] == 0.3


def test_stages_hold_every_parameter_once_and_end_in_one_that_learns() -> None:
    """ConvNeXt's last norm is its classifier's: as a last stage it would have no gradients."""
    for name in ("resnet18", "convnext_atto", "mobilenetv3_small_050", "vit_tiny_patch16_224"):
        embedder, _ = configured(
            "model=timm", f"model.backbone={name}", "model.weights=none", "model.trainable_stages=1"
        )
        flat = [id(parameter) for stage in embedder.backbone.stages() for parameter in stage]
        assert len(flat) == len(set(flat))
        embedder.backbone(torch.rand(2, 3, 64, 64)).square().mean().backward()
        trained = [each for each in embedder.backbone.parameters() if each.requires_grad]
        assert trained and all(each.grad is not None for each in trained)
        assert {id(each) for each in trained} == {id(each) for each in embedder.backbone.stages()[-1]}


def test_a_backbone_waits_while_the_head_learns_and_then_warms_up() -> None:
    embedder, loss = configured("model.head=linear")
    grouped = GroupedOptimizer(torch.optim.SGD, 0.1, 0.2, 0.3, 0.0, warmup_epochs=1.0)
    built = grouped.build(embedder, loss, epochs=4, steps_per_epoch=2, head_epochs=1)
    optimizer, scheduler = built["optimizer"], built["lr_scheduler"]["scheduler"]  # type: ignore[index,call-overload]
    shares: dict[str, list[float]] = {"backbone": [], "head": [], "loss": []}
    for _ in range(8):
        for group in optimizer.param_groups:
            if group["name"] in shares:
                shares[group["name"]].append(group["lr"] / RATES[group["name"]])
        optimizer.step()
        scheduler.step()
    # two steps of nothing, two of warm-up, four of cosine
    half = [0.5 * (1 + math.cos(math.pi * done / 4)) for done in range(4)]
    assert shares["backbone"] == pytest.approx([0, 0, 0.5, 1.0, *half])
    full = [0.5 * (1 + math.cos(math.pi * done / 6)) for done in range(6)]
    assert shares["head"] == pytest.approx([0.5, 1.0, *full])
    assert shares["loss"] == pytest.approx([0.5, 1.0, *full])


def test_the_defaults_in_python_are_those_of_the_configuration() -> None:
    configured: GroupedOptimizer = build(typed(compose_config("train", PLAIN), TrainConfig).optimizer, "optimizer")
    assert vars(GroupedOptimizer()) == {**vars(configured), "optimizer": torch.optim.AdamW}
    assert configured.optimizer.func is torch.optim.AdamW  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("factory", "fused"),
    [
        (torch.optim.AdamW, True),
        (partial(torch.optim.AdamW, fused=False), False),
        (partial(torch.optim.AdamW, foreach=True), None),
        (torch.optim.RMSprop, None),
    ],
)
def test_updates_are_fused_where_the_optimizer_can(factory: Any, fused: bool | None) -> None:
    built = GroupedOptimizer(factory).build(*configured(), epochs=1, steps_per_epoch=1)
    assert built["optimizer"].defaults.get("fused") == fused  # type: ignore[index,call-overload]


def test_gradients_of_mixed_precision_are_clipped_before_a_fused_step() -> None:
    embedder, loss = configured("model.head=linear")
    images = torch.randint(0, 256, (4, 3, 64, 64), dtype=torch.uint8)
    module = FineTuner(embedder, loss, 5)
    trainer = pl.Trainer(
        max_epochs=1,
        precision="bf16-mixed",
        gradient_clip_val=1e-3,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    with expected_warnings():
        trainer.fit(module, DataLoader([(image, place % 2) for place, image in enumerate(images)], batch_size=4))
    gradients = [parameter.grad for parameter in module.parameters() if parameter.grad is not None]
    assert float(torch.stack([gradient.norm() for gradient in gradients]).norm()) == pytest.approx(1e-3, rel=1e-2)
