"""Keys that would have no effect are refused where they are set, and stay silent where they are defaults."""

import pytest

from conspecific.config.compose import compose_config, typed
from conspecific.config.schema import TrainConfig
from conspecific.errors import ConfigError


def train_config(*overrides: str) -> TrainConfig:
    return typed(compose_config("train", overrides), TrainConfig)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ("recipe.refit_whitening=true model.head=linear", "needs model.head=whitened and model.embedding_layer=head"),
        ("recipe.refit_whitening=true model.embedding_layer=pooled", "needs model.head=whitened"),
        (
            "recipe.class_probabilities=1 model.normalize=false",
            "needs model.embedding_layer=head and model.normalize",
        ),
        ("recipe.matryoshka=[64] model.embedding_layer=pooled", "trains dimensions of the head"),
        ("recipe.head_epochs=2 model.trainable_stages=0", "has no effect with model.trainable_stages=0"),
        ("recipe.head_epochs=21", "recipe.head_epochs=21 is above trainer.max_epochs=20"),
        ("recipe.initial_size=96 trainer.max_epochs=1", "recipe.initial_size=96 has no effect in one epoch"),
        ("recipe.hard_negatives=0.02", "of loader.classes_per_batch=16 is less than one species"),
        (
            "recipe.hard_negatives=0.5 loader.sampling=class_balanced",
            "loader.sampling=class_balanced draws images one by one: set loader.sampling=pk, or",
        ),
        ("loader.sampling=balanced", "loader.sampling=balanced is unknown. Did you mean class_balanced"),
        ("recipe.cached_augmentations=1", "must be 0 or 2 or more; found 1"),
        ("optimizer.layer_decay=0.7 model.trainable_stages=1", "has no effect with model.trainable_stages=1"),
        ("model._target_=torch.nn.Identity", "model._target_=torch.nn.Identity cannot be used: model must be built by"),
    ],
)
def test_a_key_that_would_have_no_effect_is_refused(overrides: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        train_config(*overrides.split())
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "overrides",
    [
        "model.head=linear",
        "model.head=none",
        "model.embedding_layer=pooled",
        "model.trainable_stages=0",
        "model.trainable_stages=null",
        "trainer.max_epochs=0",
        "loss=triplet",
        "loader.classes_per_batch=2",
    ],
)
def test_defaults_that_do_not_apply_are_silent(overrides: str) -> None:
    assert train_config(*overrides.split()).recipe == train_config().recipe
