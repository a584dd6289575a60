"""What a trainer may be."""

import pytest

from conspecific.config.compose import compose_config, typed
from conspecific.config.schema import TrainConfig
from conspecific.errors import ConfigError
from conspecific.training.trainer import build_trainer, require_one_device


def configured(*overrides: str) -> TrainConfig:
    return typed(compose_config("train", ["trainer.accelerator=cpu", *overrides]), TrainConfig)


@pytest.mark.parametrize(
    "overrides",
    [
        ["trainer.devices=2"],
        ["trainer.devices='2'"],
        ["+trainer.num_nodes=2"],
        ["+trainer.strategy=ddp"],
        ["+trainer.strategy=ddp", "trainer.devices=2"],
    ],
)
def test_several_devices_are_refused_in_one_sentence(overrides: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        require_one_device(configured(*overrides))
    told = str(caught.value)
    assert told.startswith("distributed training is not supported: trainer.devices=")
    assert told.endswith("Set trainer.devices=1 trainer.num_nodes=1 trainer.strategy=auto")


def test_devices_that_lightning_resolves_to_several_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from pytorch_lightning.accelerators import CPUAccelerator

    monkeypatch.setattr(CPUAccelerator, "auto_device_count", staticmethod(lambda: 4))
    with pytest.raises(ConfigError, match=r"trainer\.devices=auto means DDPStrategy on 4 devices here"):
        require_one_device(configured("trainer.devices=auto"))


@pytest.mark.parametrize("devices", ["1", "auto"])
def test_one_device_is_accepted(devices: str) -> None:
    config = configured(f"trainer.devices={devices}")
    require_one_device(config)
    assert build_trainer(config, logger=False, enable_checkpointing=False).world_size == 1


def test_an_accelerator_that_is_not_here_is_refused_before_anything_long() -> None:
    with pytest.raises(ConfigError, match="could not be built"):
        require_one_device(configured("trainer.accelerator=tpu"))
