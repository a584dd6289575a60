"""Keys of the groups `trainer` and `callbacks` that a run cannot do anything with."""

from collections.abc import Mapping, Sequence
from typing import Any

from conspecific.errors import ConfigError, did_you_mean

PRECISIONS = ("auto", "32-true", "16-mixed", "bf16-mixed", "32", "16", "bf16")
"""Values of trainer.precision: weights stay in float32, because every evaluation reads them so."""
DECIDED = {
    "barebones": "it switches off what a run records",
    "callbacks": "set the group callbacks",
    "default_root_dir": "set hydra.run.dir",
    "enable_checkpointing": "the group callbacks decides which checkpoints are kept",
    "enable_progress_bar": "progress bars are drawn on a terminal and nowhere else",
    "fast_dev_run": "dry_run=true tries everything and keeps nothing, debug=fast is a short run",
    "logger": "set the group logger",
}
"""Arguments of Lightning's trainer that a run sets itself -> what to do in their place."""


def check_trainer(trainer: Mapping[str, Any]) -> None:
    """Raise ConfigError for a precision that a run cannot train in, and for keys that a run sets itself."""
    if (precision := str(trainer.get("precision", "auto"))) not in PRECISIONS:
        raise ConfigError(
            f"trainer.precision={precision} cannot be used: weights are kept in 32 bits, and the mixed precisions "
            f"compute in 16. {did_you_mean(precision, PRECISIONS[:4])}"
        )
    for key, advice in DECIDED.items():
        if key in trainer:
            raise ConfigError(f"trainer.{key} cannot be set: {advice}")
    for key in ("limit_train_batches", "max_steps"):
        if trainer.get(key) == 0:
            raise ConfigError(f"trainer.{key}=0 trains nothing: leave it out, or set trainer.max_epochs=0")


def check_monitors(callbacks: Mapping[str, Any], metric: str, ks: Sequence[int], epochs: Any) -> None:
    """Raise ConfigError for a callback of Lightning that monitors what no epoch logs, or keeps no checkpoint.

    metric: the key `monitor`, which has a check of its own. ks: the cut-offs of recall. epochs: trainer.max_epochs.
    """
    from conspecific.metrics import metric_names  # NumPy, which the overview of the commands does without

    scored = [f"val/{name}{suffix}" for suffix in ("", "_gain") for name in (*metric_names(ks), metric)]
    for name, node in callbacks.items():
        monitor = node.get("monitor") if isinstance(node, Mapping) else None
        if monitor is None or not str(node.get("_target_")).startswith("pytorch_lightning."):
            continue
        if monitor not in scored and not str(monitor).startswith("train/"):
            near = did_you_mean(str(monitor), [*scored, "train/loss"])
            raise ConfigError(f"callbacks.{name}.monitor={monitor} is not logged. {near}")
        if node.get("save_top_k") == 0:
            raise ConfigError(f"callbacks.{name}.save_top_k=0 keeps no checkpoint: set 1, or -1 for every epoch")
        if isinstance(epochs, int) and (every := node.get("every_n_epochs") or 1) > epochs > 0:
            raise ConfigError(
                f"callbacks.{name}.every_n_epochs={every} keeps no checkpoint in trainer.max_epochs={epochs}: lower it"
            )
