"""What a trainer and its callbacks cannot be told."""

import pytest

from conspecific.config.compose import checked, compose_config
from conspecific.config.schema import TrainConfig
from conspecific.errors import ConfigError


def compose(*overrides: str) -> TrainConfig:
    return checked(compose_config("train", list(overrides)), TrainConfig)


@pytest.mark.parametrize("precision", ["auto", "32-true", "16-mixed", "bf16-mixed", "32", "16", "bf16"])
def test_precisions_that_a_run_can_train_in(precision: str) -> None:
    assert str(compose(f"trainer.precision={precision}").trainer["precision"]) == precision


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["trainer.precision=16-true"], r"trainer\.precision=16-true cannot be used: .* mean 32-true"),
        (["trainer.precision=bf16-true"], "bf16-true cannot be used"),
        (["trainer.precision=64-true"], "64-true cannot be used"),
        (["trainer.precision=64"], "64 cannot be used"),
        (["trainer.precision=transformer-engine"], "Known here: 16-mixed, 32-true, auto, bf16-mixed"),
        (["+trainer.fast_dev_run=true"], r"trainer\.fast_dev_run cannot be set: dry_run=true tries everything"),
        (["+trainer.enable_checkpointing=false"], "the group callbacks decides"),
        (["+trainer.logger=false"], "set the group logger"),
        (["+trainer.limit_train_batches=0"], r"trainer\.limit_train_batches=0 trains nothing"),
        (["+trainer.max_steps=0"], r"trainer\.max_steps=0 trains nothing"),
        (["callbacks.checkpoint.monitor=val/map"], r"callbacks\.checkpoint\.monitor=val/map is not logged.*val/map@r"),
        (["callbacks=early_stopping", "callbacks.early_stopping.monitor=loss"], "monitor=loss is not logged"),
        (["+callbacks.checkpoint.save_top_k=0"], "save_top_k=0 keeps no checkpoint"),
        (["+callbacks.checkpoint.every_n_epochs=5", "trainer.max_epochs=4"], "every_n_epochs=5 keeps no checkpoint"),
    ],
)
def test_what_would_fail_after_the_first_epoch_is_said_at_once(overrides: list[str], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        compose(*overrides)


def test_other_metrics_can_be_monitored() -> None:
    compose("callbacks=early_stopping", "callbacks.early_stopping.monitor=train/loss")
    compose("callbacks.checkpoint.monitor=val/recall@7", "metrics.ks=[7]")
    compose("callbacks.checkpoint.monitor=val/map@r_gain", "+callbacks.checkpoint.every_n_epochs=5")
