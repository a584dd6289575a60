"""Keys that a command line sets and that have no effect in its configuration."""

from collections.abc import Sequence

from conspecific.config.schema import TrainConfig
from conspecific.config.targets import takes


def ignored_overrides(overrides: Sequence[str], config: TrainConfig) -> list[str]:
    """Return a sentence for each override that has no effect beside the other keys.

    Their defaults are values and not null, so that only a key that was given can be told from one that was not.
    """
    given = {text.lstrip("+").partition("=")[0] for text in overrides}
    return [f"{key} has no effect: {reason}." for key, reason in _without_effect(config).items() if key in given]


def _without_effect(config: TrainConfig) -> dict[str, str]:
    """Key -> why it has no effect in this configuration."""
    model, loss, found = config.model, config.loss.get("loss", {}), {}
    if model["head"] == "none" and model["pooling"] != "gem":
        found["optimizer.head_lr"] = f"model.pooling={model['pooling']} and model.head=none have no weights"
    if model["trainable_stages"] == 0:
        for key in ("optimizer.backbone_lr", "optimizer.layer_decay"):
            found[key] = "model.trainable_stages=0 trains no stage of the backbone"
    if not takes(loss, "loss.loss", "num_classes", config.allow):
        found["optimizer.loss_lr"] = f"{loss.get('_target_')} has no weights"
    if config.protocol != "query_gallery":
        for key in ("split.gallery_images", "split.query_images"):
            found[key] = f"it is for protocol=query_gallery, and the protocol is {config.protocol}"
    else:
        found["split.test_share"] = "protocol=query_gallery takes the test split from roles or from counts of images"
    if config.trainer["max_epochs"] == 0:
        for key in ("loader.train_size", "loader.crop_scale", "loader.jitter"):
            found[key] = "trainer.max_epochs=0 trains nothing"
    return found
