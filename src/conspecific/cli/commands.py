"""Every sub-command, listed once: help, the checks of its arguments and its start come from here."""

from dataclasses import dataclass
from typing import Any

from conspecific.config.schema import (
    CacheConfig,
    ClusterConfig,
    CompareConfig,
    CompletionConfig,
    DashboardConfig,
    DoctorConfig,
    EmbedConfig,
    EvaluateConfig,
    ExportConfig,
    IndexConfig,
    MergeConfig,
    PushConfig,
    ReviewConfig,
    SearchConfig,
    ServeConfig,
    SoupConfig,
    SuspectsConfig,
    TrainConfig,
)


@dataclass(frozen=True)
class Command:
    """One sub-command. `conspecific.cli.NAME` has its `run`, which is imported once the arguments have been checked.

    words: how arguments without `=` are shown in the help. examples: command lines and what they do.
    schema: the keys of its configuration. places: keys that arguments without `=` fill in order; None where they name
    any number of runs. rest: the key of a list that the arguments after those fill. groups: groups of options that the
    help lists. multirun: whether it takes -m and --cfg, and composes its jobs with Hydra. note: a paragraph below the
    examples.
    """

    name: str
    summary: str
    words: str
    examples: tuple[tuple[str, str], ...]
    schema: type[Any]
    places: tuple[str, ...] | None = ()
    rest: str | None = None
    groups: tuple[str, ...] | None = ("data", "model")
    multirun: bool = False
    note: str = ""


_LISTED = (
    Command(
        "train",
        "fine-tune on a folder of species and score every epoch against the baseline",
        "[KEY=VALUE ...] [-m]",
        (
            ("train", "the built-in butterflies"),
            ("train data=folder data.root=PATH", "your own images: one folder a species"),
            ("train experiment=triplet trainer.max_epochs=5", "another recipe, fewer epochs"),
            ("train -m loss=arcface,triplet seed=1,2,3", "every combination, one after another"),
            ("train -m experiment=sweep/arcface", "search settings by validation, with Optuna"),
            ("train dry_run=true", "build everything, read a few images, stop"),
            ("train resume=RUN", "continue an interrupted run"),
            ("train --cfg job", "print the whole configuration and stop"),
        ),
        TrainConfig,
        groups=None,
        multirun=True,
    ),
    Command(
        "evaluate",
        "score a run again, on its own images or on others",
        "RUN [KEY=VALUE ...]",
        (
            ("evaluate runs/arcface/RUN", "the run's own test images"),
            ("evaluate RUN protocol=unseen", "another protocol"),
            ("evaluate RUN data=folder data.root=PATH", "other images"),
            ("evaluate RUN truncate=64", "with the first 64 dimensions only"),
            ("evaluate RUN refine.method=k_reciprocal", "re-ranked, against the plain search"),
            ("evaluate RUN local=100", "the first 100 answers re-ranked by matching regions"),
            ("evaluate weights=FILE model=efficientnet_lite0 data=butterflies", ""),
        ),
        EvaluateConfig,
        places=("run",),
    ),
    Command(
        "compare",
        "compare finished runs, query by query",
        "RUN RUN ... [KEY=VALUE ...]",
        (
            ("compare runs/arcface/RUN runs/triplet/RUN", "the second against the first"),
            ("compare runs/train/MULTIRUN", "all runs in it; seeds of one recipe form a group"),
            ("compare runs/sweep_arcface/MULTIRUN", "a sweep: every run in one table, with plots"),
            ("compare RUN RUN ... sweep=true", "the same table for any runs"),
        ),
        CompareConfig,
        places=None,
        groups=(),
        note="A few recipes are tested against the first, query by query. Trials of a sweep, and more than 26 "
        "settings, are sorted by their validation score instead: choose by it, and look at the test once.",
    ),
    Command(
        "suspects",
        "find images whose label may be wrong",
        "RUN [KEY=VALUE ...]",
        (
            ("suspects RUN", "of the run's own images: a table and a page"),
            ("suspects RUN data=folder data.root=PATH", "of other images"),
        ),
        SuspectsConfig,
        places=("run",),
        note="The network is that of the run before it was trained, and each label is judged by other images alone.",
    ),
    Command(
        "cluster",
        "group images that nobody has labelled",
        "RUN data=images data.root=FOLDER [KEY=VALUE ...]",
        (
            (
                "cluster RUN data=images data.root=FOLDER output=new.csv",
                "new.csv to correct and train from, and a page",
            ),
            ("cluster RUN", "of the run's own images"),
        ),
        ClusterConfig,
        places=("run",),
    ),
    Command(
        "dashboard",
        "write one page over all runs in a folder",
        "[FOLDER] [KEY=VALUE ...]",
        (
            ("dashboard runs", "every run below runs/, in runs/dashboard.html"),
            ("dashboard runs/arcface output=arcface.html", ""),
        ),
        DashboardConfig,
        places=("folder",),
        groups=(),
        note="The page is one file that loads nothing. Runs that have not ended or are damaged are named on it.",
    ),
    Command(
        "soup",
        "average the weights of several runs into one model",
        "RUN RUN ... [KEY=VALUE ...]",
        (
            ("soup runs/arcface/RUN runs/arcface/RUN", "the mean of their weights, as a folder like a run's"),
            (
                "soup runs/sweep_arcface/MULTIRUN greedy=true",
                "only runs that do not lower validation",
            ),
        ),
        SoupConfig,
        places=None,
        groups=(),
        note="The runs must have the same model, images and splits. Score the soup on the test images with "
        "conspecific evaluate FOLDER.",
    ),
    Command(
        "embed",
        "write the embeddings of a folder of images",
        "RUN [KEY=VALUE ...]",
        (
            ("embed RUN data=images data.root=FOLDER output=OUT", "any folder: OUT/vectors.npy, OUT/images.parquet"),
            ("embed RUN", "the run's own images"),
            ("embed RUN store=duckdb", "and a database; or parquet, lancedb, qdrant, milvus"),
            ("embed RUN shard=3/100 output=OUT", "the third of a hundred parts; then merge OUT"),
        ),
        EmbedConfig,
        places=("run",),
    ),
    Command(
        "merge",
        "join the parts of embeddings that several processes made",
        "OUT",
        (("merge OUT", "all parts of embed shard=1/100 output=OUT"),),
        MergeConfig,
        places=("output",),
        groups=(),
    ),
    Command(
        "index",
        "make a searchable index of a gallery, and keep it up to date",
        "RUN|INDEX [IMAGE ...] [KEY=VALUE ...]",
        (
            ("index RUN", "the run's own images, into RUN/index"),
            ("index RUN data=folder data.root=PATH output=OUT", "any gallery"),
            ("index RUN kind=hnsw", "or exact, ivf, ivfpq, sq8, fp16, binary"),
            ("index OUT refresh=true", "encode only images that are new or changed"),
            ("index OUT image.jpg FOLDER", "take these into it, or anew where they changed"),
            ("index OUT remove=[owl/7.jpg,12]", "take these out, by path or id"),
            ("index RUN compare=true", "one table: what each kind costs, on the test images"),
        ),
        IndexConfig,
        places=("run",),
        rest="add",
        note="An index is a folder: the vectors, the path and species of each image, and the network where ONNX "
        "Runtime is installed. docs/gallery.md says what each kind costs.",
    ),
    Command(
        "search",
        "find the images nearest to an image, or to each of several",
        "RUN|INDEX IMAGE ... [KEY=VALUE ...]",
        (
            ("search RUN image.jpg", "the ten nearest of the run's images"),
            ("search INDEX image.jpg", "in a gallery that conspecific index has made"),
            ("search RUN image.jpg k=5 data=folder data.root=PATH", "in another gallery"),
            ("search RUN FOLDER output=answers.csv", "each image of a folder; .csv or .json"),
            ("search RUN image.jpg refine.method=k_reciprocal", "re-ranked"),
            ("search RUN image.jpg local=20", "the first 20 answers re-ranked by matching regions"),
            ("search RUN image.jpg why=true", "and a picture of the regions that agree"),
        ),
        SearchConfig,
        places=("run",),
        rest="images",
    ),
    Command(
        "export",
        "write the network of a run for other programs",
        "RUN [KEY=VALUE ...]",
        (
            ("export RUN", "an ONNX file and a README, in RUN/exports"),
            ("export RUN uint8=true", "the network takes pixels and normalizes them itself"),
            ("export RUN format=openvino output=FOLDER", ""),
            ("export RUN int8=true", "quantized, with what that costs; also for openvino"),
            ("export RUN format=torch", "a program of torch.export, run without this package"),
            ("export RUN format=timm license=apache-2.0", "timm loads it as local-dir:FOLDER"),
        ),
        ExportConfig,
        places=("run",),
    ),
    Command(
        "push",
        "upload an export to the Hugging Face hub",
        "EXPORT|RUN repo=OWNER/NAME [KEY=VALUE ...]",
        (
            ("push RUN/exports/timm repo=OWNER/NAME", "a new repository that only you see"),
            ("push EXPORT repo=OWNER/NAME private=false", "for everybody"),
            ("push EXPORT repo=OWNER/NAME update=true", "a commit to one that exists"),
        ),
        PushConfig,
        places=("export",),
        groups=(),
        note="The README of the export becomes the model card. The token is that of `hf auth login`, or HF_TOKEN.",
    ),
    Command(
        "serve",
        "open a search page for a browser, and its API",
        "RUN|INDEX [KEY=VALUE ...]",
        (
            ("serve RUN", "search the run's images at http://127.0.0.1:8000"),
            ("serve INDEX", "search a gallery that conspecific index has made"),
            ("serve RUN data=folder data.root=PATH", "search other images"),
            ("serve RUN host=0.0.0.0 port=80", "for every computer that can reach this one"),
        ),
        ServeConfig,
        places=("run",),
        note="The page has no passwords: whoever can reach it sees the images. It needs the extra `serve`.",
    ),
    Command(
        "review",
        "look at doubtful images in a browser, and correct labels by keyboard",
        "RUN [KEY=VALUE ...]",
        (
            ("review RUN", "suspect labels, at http://127.0.0.1:8000"),
            ("review RUN data=images data.root=FOLDER", "images without labels: clusters, known or new"),
            ("review RUN output=FILE.csv", "answers go there, not into RUN/corrections.csv"),
        ),
        ReviewConfig,
        places=("run",),
        note="Every answer is written at once; train data.corrections=FILE.csv applies them. It needs the extra "
        "`serve`.",
    ),
    Command(
        "doctor",
        "say what is installed and whether it can work: a page to paste into an issue",
        "",
        (("doctor", "versions, processor, GPU, encoders, folders"),),
        DoctorConfig,
        groups=(),
    ),
    Command(
        "cache",
        "list what is kept from run to run, or remove it",
        "[clear=KIND]",
        (
            ("cache", "every kind with its size"),
            ("cache clear=activations", "remove one; clear=[copies,hashes] several"),
            ("cache clear=all", "all that is made again without a download"),
        ),
        CacheConfig,
        groups=(),
        note="What is removed is made again by the run that needs it. Wait until no run is under way.",
    ),
    Command(
        "completion",
        "print what lets a shell complete commands, keys and values",
        "bash|zsh|fish",
        (
            ("completion bash", '~/.bashrc: eval "$(conspecific completion bash)"'),
            ("completion zsh", "~/.zshrc: source <(conspecific completion zsh)"),
            ("completion fish", "config.fish: conspecific completion fish | source"),
        ),
        CompletionConfig,
        places=("shell",),
        groups=(),
    ),
)
COMMANDS: dict[str, Command] = {command.name: command for command in _LISTED}
