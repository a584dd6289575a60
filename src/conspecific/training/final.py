"""The final model: what a run kept, made once more of every image, those of the test too."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars

from conspecific.config.compose import save_yaml
from conspecific.config.schema import TrainConfig
from conspecific.data.splits import Splits, Subset
from conspecific.evaluation import Evaluator
from conspecific.models.weights import save_weights
from conspecific.runs.record import RunRecord, write_environment
from conspecific.runs.within_species import write_within_species
from conspecific.training.parts import train_unwatched


def make_final(record: RunRecord, config: TrainConfig, evaluator: Evaluator, copies: polars.DataFrame) -> Path:
    """Train on the images of all splits as the run did, and write a folder that opens like a run; return its path.

    Kept are weights of the same kind, after as many epochs. No image is left to test them: their scores are taken to be
    at least those of the run. copies: pairs of sample ids that are the same image.
    """
    assert record.selection is not None, "a run that trains nothing makes no final model"
    splits, kept, final = evaluator.splits, record.selection, record.directory.final
    ids = np.unique(np.concatenate([splits.train, splits.val.ids, splits.test.ids]))
    ids = ids[evaluator.manifest.labels[ids] >= 0]
    nothing = Subset(ids[:0], ids[:0])
    here = replace(evaluator, splits=Splits(splits.protocol, ids, nothing, nothing), activations={})
    epochs = len(record.epochs) if kept.is_trained else 0
    trained, here = train_unwatched(config, here, copies, epochs, f"Final training on all {len(ids)} images, epoch")
    kept = replace(kept, chosen_epoch=epochs, folds=0)
    write_environment(final, record.environment.command, evaluator.fingerprint)
    here.splits.save(final.splits, evaluator.manifest, evaluator.contents)
    embedder = trained.embedder(kept, here)
    save_weights(embedder, final.weights, is_pooled_reference=kept.pooled_reference)
    write_within_species(final, embedder, here)
    save_yaml(replace(config, name="final", paths=replace(config.paths, run=str(final.path))), final.config)
    return final.path
