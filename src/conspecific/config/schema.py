"""Run-level keys and their types. Swappable parts (data, model, loss, ...) are checked against what they build."""

from dataclasses import dataclass, field
from typing import Any

from conspecific.errors import ConfigError
from conspecific.metrics import KS, metric_names

SMALLEST = 32  # side in pixels; backbones halve an image five times


@dataclass
class SplitConfig:
    """How a manifest is divided; see `conspecific.data.splits.split`.

    seed: draws the images or species of each subset. It is not the run's seed, so that runs of several seeds are scored
    on the same test.
    """

    seed: int = 0
    test_share: float = 0.5
    val_share: float = 0.2
    gallery_images: int = 10
    query_images: int = 3


@dataclass
class OtherSplitConfig:
    """What `evaluate` changes of the run's split; null leaves it."""

    seed: int | None = None
    test_share: float | None = None
    val_share: float | None = None
    gallery_images: int | None = None
    query_images: int | None = None


@dataclass
class MetricsConfig:
    """Metrics of every evaluation of a run.

    ks: the cut-offs k of recall@k, each 1 or more; recall@1 is always among the metrics.
    """

    ks: list[int] = field(default_factory=lambda: list(KS))

    def __post_init__(self) -> None:
        metric_names(self.ks)  # refuses what is no cut-off


@dataclass
class OtherMetricsConfig:
    """What `evaluate` changes of the run's metrics; null leaves it."""

    ks: list[int] | None = None

    def __post_init__(self) -> None:
        metric_names(self.ks or [])


@dataclass
class LoaderConfig:
    """Images to batches.

    image_size: side in pixels that baseline and model are evaluated at. train_size: side of the training crops.
    classes_per_batch, samples_per_class: a training batch is that many species times that many images of each.
    crop_scale: share of an image's area that a training crop covers, from and to. jitter: strength of the changes of
    brightness, contrast and saturation. workers: decoding processes or threads; null takes one a core, eight at most.
    """

    image_size: int = 224
    train_size: int = 160
    classes_per_batch: int = 16
    samples_per_class: int = 4
    crop_scale: list[float] = field(default_factory=lambda: [0.3, 1.0])
    jitter: float = 0.2
    workers: int | None = None

    def __post_init__(self) -> None:
        for name in ("image_size", "train_size"):
            if (side := getattr(self, name)) < SMALLEST:
                raise ConfigError(f"loader.{name} must be {SMALLEST} pixels or more; found {side}")
        if len(self.crop_scale) != 2 or not 0 < self.crop_scale[0] <= self.crop_scale[1] <= 1:
            raise ConfigError(f"loader.crop_scale must be two shares, 0 < from <= to <= 1; found {self.crop_scale}")
        if self.workers is not None and self.workers < 0:
            raise ConfigError(f"loader.workers must be null, 0 or more; found {self.workers}")


@dataclass
class RecipeConfig:
    """Ways to fine-tune, each off unless asked for; they go together. docs/recipes.md says when each is of use.

    head_epochs: epochs in which only what lies above the backbone learns (Kumar et al. 2022). ema: search with a
    running average of the weights that keeps this share of itself at each step; 0: with the weights as they are.
    cached_augmentations: augmented views of each training image whose frozen stages are computed once and drawn from in
    every epoch, where stages are frozen; 0 makes new views each epoch. initial_size: side in pixels of the first
    epoch's training crops, which grow to loader.train_size. hard_negatives: share of a batch's species that are drawn
    for being confused with the others, searched anew each epoch. matryoshka: numbers of first dimensions that the loss
    trains to stand alone (Kusupati et al. 2022). wise_ft_alphas: shares of the way from the weights before training to
    those after it that are tried on validation, beside the epochs (Wortsman et al. 2022). refit_whitening: whiten a
    whitened head again after training, where validation is better for it. distillation: weight of staying alike where
    `teacher` finds images alike.
    """

    head_epochs: int = 0
    ema: float = 0.0
    cached_augmentations: int = 0
    initial_size: int | None = None
    hard_negatives: float = 0.0
    matryoshka: list[int] = field(default_factory=list)
    wise_ft_alphas: list[float] = field(default_factory=list)
    refit_whitening: bool = False
    distillation: float = 0.0

    def __post_init__(self) -> None:
        for name in ("head_epochs", "cached_augmentations", "distillation"):
            if (value := getattr(self, name)) < 0:
                raise ConfigError(f"recipe.{name} must be 0 or more; found {value}")
        for name in ("ema", "hard_negatives"):
            if not 0 <= (value := getattr(self, name)) < 1:
                raise ConfigError(f"recipe.{name} is a share, from 0 to below 1; found {value}")
        if any(not 0 < share < 1 for share in self.wise_ft_alphas):
            raise ConfigError(f"recipe.wise_ft_alphas are shares between 0 and 1; found {self.wise_ft_alphas}")
        if self.initial_size is not None and self.initial_size < SMALLEST:
            raise ConfigError(f"recipe.initial_size must be {SMALLEST} pixels or more; found {self.initial_size}")
        if self.matryoshka and (min(self.matryoshka) < 1 or sorted(set(self.matryoshka)) != self.matryoshka):
            raise ConfigError(f"recipe.matryoshka must rise from 1 or more, as [64,128,256]; found {self.matryoshka}")


@dataclass
class PathsConfig:
    """runs: where run directories are made. cache: drawn data, checked manifests and baselines. run: this run's own."""

    runs: str = "runs"
    cache: str = "~/.cache/conspecific"
    run: str | None = None


@dataclass
class TrainConfig:
    """Everything a training run depends on.

    seed: of weights, batches and augmentation. leaks: what to do about images that are in training and in the test:
    report them, drop them from training, or stop with an error. monitor: the validation metric that chooses the epoch.
    dry_run: build everything, read a few images and stop. resume: the run directory this run continues.
    """

    name: str = "train"
    seed: int = 0
    protocol: str = "seen"
    leaks: str = "report"
    monitor: str = "map@r"
    dry_run: bool = False
    resume: str | None = None
    split: SplitConfig = field(default_factory=SplitConfig)
    metrics: MetricsConfig = field(default_factory=MetricsConfig)
    loader: LoaderConfig = field(default_factory=LoaderConfig)
    recipe: RecipeConfig = field(default_factory=RecipeConfig)
    paths: PathsConfig = field(default_factory=PathsConfig)
    data: dict[str, Any] = field(default_factory=dict)
    model: dict[str, Any] = field(default_factory=dict)
    teacher: dict[str, Any] = field(default_factory=dict)
    loss: dict[str, Any] = field(default_factory=dict)
    optimizer: dict[str, Any] = field(default_factory=dict)
    trainer: dict[str, Any] = field(default_factory=dict)
    callbacks: dict[str, Any] = field(default_factory=dict)
    logger: dict[str, Any] = field(default_factory=dict)


@dataclass
class UseConfig:
    """Keys that `evaluate`, `embed` and `search` share: they use what a run left behind.

    run: the run directory. weights: a weights file in its place; `model` says what it belongs to. data: images to use
    in place of the run's own. image_size: side in pixels; null takes the run's. truncate: search with that many of the
    first dimensions alone, as a Matryoshka loss trains them to be; null takes all. output: where results go; null puts
    them into the run directory. device: a torch device; auto takes a GPU where there is one.
    """

    run: str | None = None
    weights: str | None = None
    data: dict[str, Any] | None = None
    model: dict[str, Any] | None = None
    image_size: int | None = None
    truncate: int | None = None
    device: str = "auto"
    workers: int | None = None
    output: str | None = None
    paths: PathsConfig = field(default_factory=PathsConfig)


@dataclass
class EvaluateConfig(UseConfig):
    """Keys of `evaluate`. protocol: null takes the run's. subset: test or val."""

    subset: str = "test"
    protocol: str | None = None
    split: OtherSplitConfig = field(default_factory=OtherSplitConfig)
    metrics: OtherMetricsConfig = field(default_factory=OtherMetricsConfig)


@dataclass
class EmbedConfig(UseConfig):
    """Keys of `embed`: no more than the shared ones."""


@dataclass
class CompareConfig:
    """Keys of `compare`.

    output: the folder to write into; null makes one under the runs. sweep: one table of all runs, sorted by validation,
    in place of pairs tested against each other; null does so for trials of a sweep and for more than 26 settings.
    """

    output: str | None = None
    sweep: bool | None = None
    paths: PathsConfig = field(default_factory=PathsConfig)


@dataclass
class SoupConfig:
    """Keys of `soup`.

    output: the folder to write into; null makes one under the runs. greedy: keep only runs that do not lower the
    validation metric. device: a torch device; auto takes a GPU where there is one.
    """

    output: str | None = None
    greedy: bool = False
    device: str = "auto"
    workers: int | None = None
    paths: PathsConfig = field(default_factory=PathsConfig)


@dataclass
class SearchConfig(UseConfig):
    """Keys of `search`. image: the image to search with. k: how many answers to print."""

    image: str | None = None
    k: int = 10
