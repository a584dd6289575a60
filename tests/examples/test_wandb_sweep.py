"""The sweep of Weights & Biases: its agent makes command lines of it that train takes."""

from pathlib import Path

import yaml
from wandb.sdk.launch.sweeps.utils import create_sweep_command, create_sweep_command_args

from conspecific.cli.arguments import divide, read_training
from conspecific.cli.commands import COMMANDS
from conspecific.config.schema import TrainConfig

SWEEP = Path(__file__).resolve().parents[2] / "examples" / "wandb_sweep.yaml"


def test_every_value_of_the_sweep_is_one_of_train() -> None:
    sweep = yaml.safe_load(SWEEP.read_text())
    assert sweep["metric"] == {"name": f"val/{TrainConfig().monitor}", "goal": "maximize"}
    for name, drawn in sweep["parameters"].items():
        for value in drawn.get("values") or (drawn["min"], drawn["max"]):
            made = create_sweep_command_args({"args": {name: {"value": value}}}) | {"program": [sweep["program"]]}
            words = [
                word for part in create_sweep_command(sweep["command"]) for word in made.get(part.strip("${}"), [part])
            ]
            assert words[:2] == ["conspecific", "train"] and words[-1] == f"{name}={value}"
            read_training(divide(COMMANDS["train"], words[2:]))  # raises for a key or value that it does not have
