"""Keys of the commands and their types. Swappable parts (data, model, loss, ...) are checked by their targets."""

from dataclasses import dataclass, field
from typing import Any

from conspecific.config.recipe import PK, SMALLEST, RecipeConfig, check_combinations, check_embedder
from conspecific.config.refine import RefineConfig
from conspecific.config.trainer import check_monitors, check_trainer
from conspecific.errors import ConfigError


def _default_ks() -> list[int]:
    from conspecific.metrics import KS  # NumPy, which the overview of the commands does without

    return list(KS)


def _check_ks(ks: list[int]) -> None:
    from conspecific.metrics import metric_names

    metric_names(ks)


@dataclass
class SplitConfig:
    """How a manifest is split into train, validation and test; see `conspecific.data.splits.split`.

    seed: of the random split. It is not the seed of the run, so that runs with several seeds have the same test split.
    test_share: share of the images or species in test. val_share: share of the remaining ones in validation.
    gallery_images, query_images: of each species, for protocol=query_gallery where the manifest has no roles.
    """

    seed: int = 0
    test_share: float = 0.5
    val_share: float = 0.2
    gallery_images: int = 10
    query_images: int = 3


@dataclass
class OtherSplitConfig:
    """Changes of `evaluate` to the split of the run; null keeps its value.

    seed: of the random split. test_share: share of the images or species in test. val_share: share of the remaining
    ones in validation. gallery_images, query_images: of each species, for protocol=query_gallery.
    """

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

    ks: list[int] = field(default_factory=_default_ks)

    def __post_init__(self) -> None:
        _check_ks(self.ks)  # raises for values that are not cut-offs


@dataclass
class OtherMetricsConfig:
    """Changes of `evaluate` to the metrics of the run; null keeps its value.

    ks: the cut-offs k of recall@k, each 1 or more.
    """

    ks: list[int] | None = None

    def __post_init__(self) -> None:
        _check_ks(self.ks or [])


@dataclass
class LoaderConfig:
    """How images are read and batched.

    image_size: side in pixels for the evaluation of baseline and model. train_size: side in pixels of the training
    crops. classes_per_batch: species of a training batch. samples_per_class: images of each of them. sampling: pk:
    batches of `classes_per_batch` species with `samples_per_class` images of each. The others draw as many images one
    by one, so that each image comes up equally often (instance_balanced), or each species (class_balanced), or a
    species in proportion to the square root of its images (square_root; Kang et al. 2020). crop_scale: share of the
    area of an image that a training crop covers, from and to. jitter: strength of random changes of brightness,
    contrast and saturation. workers: decoding processes or threads; null: one per core, eight at most.
    """

    image_size: int = 224
    train_size: int = 160
    sampling: str = PK
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
        if not self.jitter >= 0:
            raise ConfigError(f"loader.jitter must be 0 or more; found {self.jitter}")
        if self.workers is not None and self.workers < 0:
            raise ConfigError(f"loader.workers must be null, 0 or more; found {self.workers}")


@dataclass
class EncodeConfig:
    """How networks are run where nothing is trained: references, frozen stages, validation, `embed`.

    backend: torch, onnxruntime or openvino; auto: the fastest of those installed, measured once for a machine and a
    network, where the work is worth it. precision: float32 or bfloat16; auto: bfloat16 for frozen stages where the
    processor computes in it natively and it moves recall@1 and map@r by no more than 0.002, float32 elsewhere. A GPU is
    always used through torch.
    """

    backend: str = "auto"
    precision: str = "auto"


@dataclass
class PathsConfig:
    """runs: folder of the run directories. cache: folder of data sets and of results that several runs share. run: the
    directory of this run.
    """

    runs: str = "runs"
    cache: str = "~/.cache/conspecific"
    run: str | None = None


@dataclass
class TrainConfig:
    """Everything that a training run depends on.

    name: of the folder below `paths.runs` that the run directory is made in. seed: of weights, batches and
    augmentation. protocol: seen tests species that are trained on, unseen species that are not, query_gallery the roles
    that the table names. leaks: report images that are in both training and test, drop them from
    training, or stop with an error. exclude_group: leave a query's own group out of its answers, wherever they are
    scored; for images with groups. monitor: the validation metric that chooses the epoch. dry_run: build everything,
    read a few images and stop. final: after the test, train once more on all images, into the folder `final` of the
    run. resume: the run directory to continue. allow: modules whose classes a `_target_` may
    name besides the parts of this package; not read from a run directory. Raises ConfigError for a key that would have
    no effect beside the others.
    """

    name: str = "train"
    seed: int = 0
    protocol: str = "seen"
    leaks: str = "report"
    exclude_group: bool = False
    monitor: str = "map@r"
    dry_run: bool = False
    final: bool = False
    resume: str | None = None
    allow: list[str] = field(default_factory=list)
    split: SplitConfig = field(default_factory=SplitConfig)
    metrics: MetricsConfig = field(default_factory=MetricsConfig)
    loader: LoaderConfig = field(default_factory=LoaderConfig)
    encode: EncodeConfig = field(default_factory=EncodeConfig)
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

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**32:
            raise ConfigError(f"seed must be from 0 to {2**32 - 1}; found {self.seed}")
        check_embedder("model", self.model)
        check_embedder("teacher", self.teacher)
        check_trainer(self.trainer)
        check_monitors(self.callbacks, self.monitor, self.metrics.ks, self.trainer.get("max_epochs"))
        if self.final and self.trainer.get("max_epochs") == 0:
            raise ConfigError("final=true trains on all images, and trainer.max_epochs=0 on none: drop one of them")
        check_combinations(
            self.recipe, self.model, self.optimizer, self.trainer, self.loader.classes_per_batch, self.loader.sampling
        )


@dataclass
class UseConfig:
    """Keys that `evaluate`, `embed`, `search` and `serve` share: they use a finished run.

    run: the run directory. weights: a weights file in its place, with `model` for its network. data: images in
    place of those of the run; data.KEY=VALUE alone changes a key of those of the run, as data.root=FOLDER where
    they were moved. image_size: side in pixels; null: that of the run. truncate: use only that many of the first
    dimensions, for models trained with recipe.matryoshka; null: all. device: a torch device; auto: a GPU where
    there is one. workers: threads that decode images; null: one per core, eight at most. allow: modules whose
    classes the run may have been trained with, besides the parts of this package.
    """

    run: str | None = None
    weights: str | None = None
    data: dict[str, Any] | None = None
    model: dict[str, Any] | None = None
    image_size: int | None = None
    truncate: int | None = None
    device: str = "auto"
    workers: int | None = None
    allow: list[str] = field(default_factory=list)
    encode: EncodeConfig = field(default_factory=EncodeConfig)
    paths: PathsConfig = field(default_factory=PathsConfig)

    def __post_init__(self) -> None:
        if self.image_size is not None and self.image_size < SMALLEST:
            raise ConfigError(f"image_size must be null, or {SMALLEST} pixels or more; found {self.image_size}")
        if self.workers is not None and self.workers < 0:
            raise ConfigError(f"workers must be null, 0 or more; found {self.workers}")


@dataclass
class LocalConfig(UseConfig):
    """Keys of commands that re-rank answers by local descriptors.

    local: how many of the first answers are re-ranked; 0: none. local_descriptors: cells of the feature map, or
    keypoints of kornia: sift, disk or aliked. local_weights: files of the published weights of DISK or ALIKED, and of
    LightGlue for them.
    """

    local: int = 0
    local_descriptors: str = "cells"
    local_weights: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.local < 0 or self.local == 1:
            raise ConfigError(f"local must be 2 or more, the number of answers re-ranked, or 0; found {self.local}")
        if self.local_weights and self.local_descriptors == "cells":
            raise ConfigError("local_weights belong to local_descriptors=disk or aliked: name one of them")

    def require_plain(self, refine: RefineConfig) -> None:
        """Raise ConfigError for re-ranking of refined answers."""
        if self.local and refine.name:
            told = f"leave out local or {refine.name}"
            raise ConfigError(f"local re-ranks the answers of a plain search, by which it is calibrated: {told}")


@dataclass
class EvaluateConfig(LocalConfig):
    """Keys of `evaluate`. output: the folder of the results; null: in the run directory. subset: test or val. protocol:
    null: that of the run. exclude_group: leave a query's own group out of its answers; null: as the run did. refine:
    whether answers are refined, and how, for one more table against the plain search. local: gives another table.
    """

    output: str | None = None
    subset: str = "test"
    protocol: str | None = None
    exclude_group: bool | None = None
    refine: RefineConfig = field(default_factory=RefineConfig)
    split: OtherSplitConfig = field(default_factory=OtherSplitConfig)
    metrics: OtherMetricsConfig = field(default_factory=OtherMetricsConfig)


@dataclass
class EmbedConfig(UseConfig):
    """Keys of `embed`.

    output: the folder of the embeddings; null: in the run directory. store: also write them as a table of parquet,
    duckdb, lancedb, qdrant or milvus, into a folder of that name in the folder of the embeddings; null: do not. shard:
    3/100 embeds the third of a hundred parts of the images; `merge` joins them. null: all images.
    """

    output: str | None = None
    store: str | None = None
    shard: str | None = None


@dataclass
class MergeConfig:
    """Keys of `merge`. output: the folder of the embeddings whose parts `embed shard=1/100 output=FOLDER` made."""

    output: str | None = None


@dataclass
class ExportConfig(UseConfig):
    """Keys of `export`.

    output: the folder to write; null: in the run directory. format: of the network. uint8: whether the network takes
    pixels and normalizes them itself. int8: whether it is quantized, calibrated on training images of the run. images:
    number of test images that are compared with torch; 0: random images, so that those of the run need not be there.
    license: identifier of the license of the exported weights, such as apache-2.0, for the README; null: to be filled
    in.
    """

    output: str | None = None
    format: str = "onnx"
    uint8: bool = False
    int8: bool = False
    images: int = 1000
    license: str | None = None


@dataclass
class PushConfig:
    """Keys of `push`.

    export: the folder of an export, or of a run that holds one. repo: OWNER/NAME of the repository to make on the
    Hugging Face hub. private: whether only its owner sees it. update: whether it may exist already, and gets a commit.
    """

    export: str | None = None
    repo: str | None = None
    private: bool = True
    update: bool = False


@dataclass
class CompareConfig:
    """Keys of `compare`.

    output: the folder to write; null: a new one under the runs. sweep: one table of all runs, sorted by validation, in
    place of paired tests; null: for trials of a sweep and for more than 26 settings.
    """

    output: str | None = None
    sweep: bool | None = None
    paths: PathsConfig = field(default_factory=PathsConfig)


@dataclass
class DashboardConfig:
    """Keys of `dashboard`.

    folder: where the run directories are, at any depth; null: `paths.runs`. output: the file to write; null:
    dashboard.html in that folder.
    """

    folder: str | None = None
    output: str | None = None
    paths: PathsConfig = field(default_factory=PathsConfig)


@dataclass
class DoctorConfig:
    """Keys of `doctor`: the folders that are looked at."""

    paths: PathsConfig = field(default_factory=PathsConfig)


@dataclass
class CacheConfig:
    """Keys of `cache`.

    clear: kinds of cached files to remove, as the list names them; all: those that are made again without a download.
    """

    clear: list[str] = field(default_factory=list)
    paths: PathsConfig = field(default_factory=PathsConfig)


@dataclass
class CompletionConfig:
    """Keys of `completion`.

    shell: bash, zsh or fish.
    """

    shell: str | None = None


@dataclass
class SoupConfig:
    """Keys of `soup`.

    output: the folder to write; null: a new one under the runs. greedy: keep only runs that do not lower the
    validation metric. device: a torch device; auto: a GPU where there is one. workers: threads that decode images;
    null: one per core, eight at most. allow: modules whose classes the runs may have been trained with, besides the
    parts of this package.
    """

    output: str | None = None
    greedy: bool = False
    device: str = "auto"
    workers: int | None = None
    allow: list[str] = field(default_factory=list)
    paths: PathsConfig = field(default_factory=PathsConfig)


def check_csv(output: str | None) -> None:
    """Raise ConfigError where `output` names another kind of file than .csv."""
    if output is not None and not output.lower().endswith(".csv"):
        raise ConfigError(f"output must be the name of a .csv file; found {output}")


@dataclass
class ClusterConfig(UseConfig):
    """Keys of `cluster`.

    output: the .csv file of the clustered images, with a page beside it; null: in the run. min_images: of the smallest
    cluster.
    """

    output: str | None = None
    min_images: int = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        check_csv(self.output)


@dataclass
class SuspectsConfig(UseConfig):
    """Keys of `suspects`.

    output: the .csv file of all suspect images, with a page beside it; null: in the run. most: images on the page.
    """

    output: str | None = None
    most: int = 60

    def __post_init__(self) -> None:
        super().__post_init__()
        check_csv(self.output)
        if self.most < 1:
            raise ConfigError(f"most must be 1 or more; found {self.most}")


@dataclass
class IndexConfig(UseConfig):
    """Keys of `index`.

    run: a run directory; for refresh, add and remove, also an index. output: the folder of the index; null: index/
    in the run. kind: exact, hnsw, ivf, ivfpq, sq8, fp16 or binary; auto: by the number of images and `memory_gb`.
    memory_gb: memory in GB (10^9 bytes) that the index may take. refresh: compare the folder of an index with it,
    and encode, add and remove only what changed. add: images, or folders of some, to take into an index, or to take
    anew. remove: images to take out of it, by id or path; a folder stands for all images below it. flip: average
    the embedding of each image, and of each query of this index, with that of its mirror image. compare: make no
    index, but measure on the test images what each kind, and each shorter embedding, costs.
    """

    output: str | None = None
    kind: str = "auto"
    memory_gb: float = 4.0
    refresh: bool = False
    add: list[str] = field(default_factory=list)
    remove: list[str] = field(default_factory=list)
    flip: bool = False
    compare: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.memory_gb > 0:
            raise ConfigError(f"memory_gb must be above 0; found {self.memory_gb}")
        if self.compare and (self.refresh or self.add or self.remove):
            raise ConfigError("compare=true makes no index and changes none: leave out refresh, add and remove")
        if self.flip and (self.compare or self.refresh or self.add or self.remove):
            raise ConfigError("flip=true says how an index is made, which then stays so: leave it out")
        if self.refresh and (self.add or self.remove):
            raise ConfigError("refresh=true compares the whole folder with the index: leave out add and remove")


@dataclass
class SearchConfig(LocalConfig):
    """Keys of `search`.

    run: a run directory, or an index of `conspecific index`.
    images: the query images; a folder stands for all images below it. k: number of answers to each. output: a file of
    all answers, .csv or .json, or for one query a picture of them, such as .png; null: search_NAME.png for one query.
    refine: whether answers are refined, and how. why: also write a picture of which regions each query and its first
    answers agree in.
    """

    output: str | None = None
    images: list[str] = field(default_factory=list)
    k: int = 10
    why: bool = False
    refine: RefineConfig = field(default_factory=RefineConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_plain(self.refine)


@dataclass
class LimitsConfig:
    """What one request to `serve` may cost, and how many are answered at once.

    upload_mb: size of an uploaded file in MB (10^6 bytes). pixels: width times height of an uploaded image. requests:
    searches under way, above which one is refused. seconds: from the first byte of a request to its answer.
    """

    upload_mb: float = 20.0
    pixels: int = 64_000_000
    requests: int = 8
    seconds: float = 30.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value > 0:
                raise ConfigError(f"limits.{name} must be above 0; found {value}")


@dataclass
class ServeConfig(LocalConfig):
    """Keys of `serve`.

    run: a run directory, or an index of `conspecific index`.
    host: the address to listen at; 0.0.0.0 for every network of this machine. port: 0 takes any that is free. names:
    names besides `host` and localhost that browsers reach the page by, as through a proxy; addresses need none.
    refine: whether the answers of the model are refined, and how.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    names: list[str] = field(default_factory=list)
    limits: LimitsConfig = field(default_factory=LimitsConfig)
    refine: RefineConfig = field(default_factory=RefineConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_port(self.port)
        self.require_plain(self.refine)


@dataclass
class ReviewConfig(UseConfig):
    """Keys of `review`.

    output: the .csv file of the corrections; null: corrections.csv in the run. most: questions of each kind.
    min_images: of the smallest cluster. host, port, names: see `ServeConfig`.
    """

    output: str | None = None
    most: int = 60
    min_images: int = 5
    host: str = "127.0.0.1"
    port: int = 8000
    names: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_csv(self.output)
        _check_port(self.port)
        if self.most < 1:
            raise ConfigError(f"most must be 1 or more; found {self.most}")


def _check_port(port: int) -> None:
    if not 0 <= port <= 65535:
        raise ConfigError(f"port must be from 0 to 65535; found {port}")
