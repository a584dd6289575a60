"""Keys of the ways to train, and the combinations of keys in which one of them would have no effect."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from conspecific.errors import ConfigError

SMALLEST = 32  # side in pixels; backbones halve an image five times
PK = "pk"  # of loader.sampling
EMBEDDER = "conspecific.models.build_embedder"


@dataclass
class RecipeConfig:
    """Ways to train, one module of `conspecific.training.recipe` each; they can be combined.

    The defaults switch all of them off, as recipe=neutral does. docs/recipes.md says when each is of use.

    head_epochs: epochs that train only pooling, head and loss before the backbone is trained too (LP-FT, Kumar et al.
        2022).
    ema: evaluate an exponential moving average of the weights, which keeps this share of itself at each step; 0 turns
        it off.
    cached_augmentations: augmented views of each training image that are computed once through the frozen stages and
        drawn from in every epoch, 2 or more; 0 makes new views in each epoch.
    initial_size: progressive resizing: side in pixels of the training crops in the first epoch, which grow to
        loader.train_size; null turns it off.
    hard_negatives: share of the species of a batch that are drawn because the model confuses them with the others, from
        0 to below 1; they are searched again before each epoch.
    matryoshka: numbers of first dimensions that are trained as embeddings of their own, rising (Kusupati et al. 2022).
    wise_ft_alphas: candidates of the selection at the end: weights interpolated between those before (0) and those
        after training (1) (WiSE-FT, Wortsman et al. 2022).
    refit_whitening: whether a whitened head fitted again after training is a candidate of the selection; null means
        where the embedding comes from a whitened head.
    class_probabilities: factor of the probabilities of the training species, which as further dimensions of the
        embedding are a candidate of the selection; 0 turns it off; null means 0.5 where the species searched for are
        those of training, and no number of dimensions is asked for.
    folds: how many divisions into training and validation choose what is kept, of which each is trained; it is then
        trained again on the images of both. 0 does neither; null means by the number of images, see
        `conspecific.training.folds`.
    distillation: weight of the loss that makes the similarities between images like those of `teacher`; 0 turns it off.
    """

    head_epochs: int = 0
    ema: float = 0.0
    cached_augmentations: int = 0
    initial_size: int | None = None
    hard_negatives: float = 0.0
    matryoshka: list[int] = field(default_factory=list)
    wise_ft_alphas: list[float] = field(default_factory=list)
    refit_whitening: bool | None = False
    class_probabilities: float | None = 0.0
    folds: int | None = 0
    distillation: float = 0.0

    def __post_init__(self) -> None:
        for name in ("head_epochs", "cached_augmentations", "distillation"):
            if (value := getattr(self, name)) < 0:
                raise ConfigError(f"recipe.{name} must be 0 or more; found {value}")
        if self.cached_augmentations == 1:
            raise ConfigError("recipe.cached_augmentations must be 0 or 2 or more; found 1, the same view every epoch")
        if self.class_probabilities is not None and not self.class_probabilities >= 0:
            raise ConfigError(
                f"recipe.class_probabilities must be 0 or more, or null; found {self.class_probabilities}"
            )
        if self.folds is not None and self.folds < 0:
            raise ConfigError(f"recipe.folds must be 0 or more, or null; found {self.folds}")
        for name in ("ema", "hard_negatives"):
            if not 0 <= (value := getattr(self, name)) < 1:
                raise ConfigError(f"recipe.{name} is a share, from 0 to below 1; found {value}")
        if any(not 0 < alpha < 1 for alpha in self.wise_ft_alphas):
            raise ConfigError(f"recipe.wise_ft_alphas must be between 0 and 1; found {self.wise_ft_alphas}")
        if self.initial_size is not None and self.initial_size < SMALLEST:
            raise ConfigError(f"recipe.initial_size must be {SMALLEST} pixels or more; found {self.initial_size}")
        if self.matryoshka and (min(self.matryoshka) < 1 or sorted(set(self.matryoshka)) != self.matryoshka):
            raise ConfigError(f"recipe.matryoshka must rise from 1 or more, as [64,128,256]; found {self.matryoshka}")


def check_combinations(
    recipe: RecipeConfig,
    model: Mapping[str, Any],
    optimizer: Mapping[str, Any],
    trainer: Mapping[str, Any],
    classes_per_batch: int,
    sampling: str,
) -> None:
    """Raise ConfigError for the first key that is set and has no effect, or cannot be used, beside the others."""
    epochs = trainer.get("max_epochs")
    known = epochs if isinstance(epochs, int) else 0  # a value of another type is refused where the trainer is checked
    for fault in _without_effect(recipe, model, optimizer, known, classes_per_batch):
        raise ConfigError(fault)
    if recipe.hard_negatives and sampling != PK:
        raise ConfigError(
            f"recipe.hard_negatives={recipe.hard_negatives} chooses the species of a batch, and loader.sampling="
            f"{sampling} draws images one by one: set loader.sampling={PK}, or recipe.hard_negatives=0"
        )


def _without_effect(
    recipe: RecipeConfig, model: Mapping[str, Any], optimizer: Mapping[str, Any], epochs: int, classes: int
) -> Iterator[str]:
    stages, layer = model.get("trainable_stages"), model.get("embedding_layer", "head")
    if recipe.refit_whitening and (model.get("head", "whitened") != "whitened" or layer != "head"):
        found = f"model.head={model.get('head')}, model.embedding_layer={layer}"
        yield (
            "recipe.refit_whitening=true needs model.head=whitened and model.embedding_layer=head; found "
            f"{found}. recipe.refit_whitening=null refits only where there is such a head"
        )
    if recipe.class_probabilities and (layer != "head" or not model.get("normalize", True)):
        found = f"model.embedding_layer={layer}, model.normalize={str(model.get('normalize', True)).lower()}"
        yield (
            f"recipe.class_probabilities={recipe.class_probabilities:g} needs model.embedding_layer=head and "
            f"model.normalize=true; found {found}. recipe.class_probabilities=null tries them only where there are both"
        )
    if recipe.matryoshka and layer == "pooled":
        yield (
            f"recipe.matryoshka={recipe.matryoshka} trains dimensions of the head, and model.embedding_layer=pooled "
            "searches with the layer below it: set model.embedding_layer=head, or recipe.matryoshka=[]"
        )
    if recipe.head_epochs and stages == 0:
        yield f"recipe.head_epochs={recipe.head_epochs} has no effect with model.trainable_stages=0: set it to 0"
    if recipe.head_epochs > epochs > 0:
        yield f"recipe.head_epochs={recipe.head_epochs} is above trainer.max_epochs={epochs}: lower it"
    if recipe.initial_size is not None and epochs == 1:
        yield (
            f"recipe.initial_size={recipe.initial_size} has no effect in one epoch, whose crops have their full size: "
            "set trainer.max_epochs to 2 or more, or recipe.initial_size=null"
        )
    if recipe.hard_negatives and round(classes * recipe.hard_negatives) < 1:
        yield (
            f"recipe.hard_negatives={recipe.hard_negatives} of loader.classes_per_batch={classes} is less than one "
            f"species: set recipe.hard_negatives to {1 / classes:.2g} or more, or to 0"
        )
    if optimizer.get("layer_decay", 1.0) != 1 and stages in (0, 1):
        yield (
            f"optimizer.layer_decay={optimizer['layer_decay']} has no effect with model.trainable_stages={stages}: set "
            "model.trainable_stages to 2 or more, or optimizer.layer_decay=1"
        )


def check_embedder(key: str, node: Mapping[str, Any]) -> None:
    """Raise ConfigError where `model` or `teacher` is not built by `build_embedder`.

    The references, reports and caches of a run take backbone and weights from its arguments.
    """
    if (target := node.get("_target_", EMBEDDER)) != EMBEDDER:
        raise ConfigError(
            f"{key}._target_={target} cannot be used: {key} must be built by {EMBEDDER}, because the references need "
            f"its backbone and weights. Set {key}.backbone, pooling and head, or train your own network in Python with "
            "conspecific.RetrievalCallback"
        )
