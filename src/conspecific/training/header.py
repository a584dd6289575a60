"""The first lines of a run: what it found and what it will do, so that a wrong folder or key is seen at once."""

from rich.console import Console

from conspecific.config.schema import TrainConfig
from conspecific.evaluation import Evaluator
from conspecific.training.trainer import precision_of


def print_header(config: TrainConfig, evaluator: Evaluator, console: Console) -> None:
    """Print images, species, split sizes, what was left out, network, device, encoder and run folder."""
    for line in header(config, evaluator):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def header(config: TrainConfig, evaluator: Evaluator) -> list[str]:
    """Return the lines of the header."""
    manifest, splits, model = evaluator.manifest, evaluator.splits, config.model
    stages = model.get("trainable_stages")
    trained = "all stages trained" if stages is None else f"last {stages} stages trained"
    head = "no head" if model.get("head") == "none" else f"{model.get('head')} head"
    size = f"evaluated at {config.loader.image_size} px, trained at {config.loader.train_size} px"
    found, *more = manifest.describe()
    lines = [
        found,
        f"Splits: {len(splits.train):,} training, {len(splits.val.ids):,} validation and {len(splits.test.ids):,} test "
        f"images (protocol {config.protocol}, split seed {config.split.seed})",
        *more,
        *_unused(evaluator),
        f"Network: {model['backbone']}, weights {model['weights']}, pooling {model.get('pooling')}, {head}, {trained}; "
        + size,
        f"Encoder: torch on {evaluator.device}, float32; trained in {precision_of(config)} on "
        f"{config.trainer.get('accelerator', 'auto')}",
        f"Run: {config.paths.run}",
    ]
    return lines


def _unused(evaluator: Evaluator) -> list[str]:
    """Say how many images are in no split."""
    splits = evaluator.splits
    unused = len(evaluator.manifest) - len(splits.train) - len(splits.val.ids) - len(splits.test.ids)
    return [f"Left out: {unused:,} images that are in no split"] if unused else []
