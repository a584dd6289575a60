"""Overrides without effect are named."""

import pytest

from conspecific.config.compose import compose_config, typed
from conspecific.config.schema import TrainConfig
from conspecific.training.ignored import ignored_overrides


@pytest.mark.parametrize(
    ("overrides", "key", "reason"),
    [
        (["loss=triplet", "optimizer.loss_lr=0.1"], "optimizer.loss_lr", "TripletMarginLoss has no weights"),
        (["model.head=none", "model.pooling=avg", "optimizer.head_lr=0.1"], "optimizer.head_lr", "have no weights"),
        (["model.trainable_stages=0", "optimizer.backbone_lr=0.1"], "optimizer.backbone_lr", "trains no stage"),
        (["split.gallery_images=3"], "split.gallery_images", "the protocol is seen"),
        (["protocol=query_gallery", "split.test_share=0.3"], "split.test_share", "roles"),
        (["trainer.max_epochs=0", "loader.jitter=0.3"], "loader.jitter", "trains nothing"),
    ],
)
def test_an_override_without_effect_is_named_with_its_reason(overrides: list[str], key: str, reason: str) -> None:
    [sentence] = ignored_overrides(overrides, typed(compose_config("train", overrides), TrainConfig))
    assert sentence.startswith(f"{key} has no effect: ") and reason in sentence


@pytest.mark.parametrize("loss", ["arcface", "proxy_nca", "soft_triple"])
def test_overrides_with_an_effect_and_defaults_are_not_named(loss: str) -> None:
    overrides = [f"loss={loss}", "optimizer.loss_lr=0.1", "optimizer.head_lr=0.1", "split.test_share=0.4"]
    assert ignored_overrides(overrides, typed(compose_config("train", overrides), TrainConfig)) == []
    assert ignored_overrides([], typed(compose_config("train", ["loss=triplet"]), TrainConfig)) == []
