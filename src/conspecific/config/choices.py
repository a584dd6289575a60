"""Keys that take one of a few names. The names are listed here and nowhere else. Standard library only."""

from typing import Any, Literal, get_args

from conspecific.config.recipe import EMBEDDER
from conspecific.errors import ConfigError, did_you_mean

Protocol = Literal["seen", "unseen", "query_gallery"]
LeakPolicy = Literal["report", "drop", "error"]
ScoredSubset = Literal["test", "val"]
BadImages = Literal["error", "skip"]
Sampling = Literal["pk", "instance_balanced", "square_root", "class_balanced"]
PoolingName = Literal["flatten", "avg", "max", "gem", "cls"]
HeadName = Literal["none", "linear", "mlp", "whitened", "batch_norm"]
EmbeddingLayer = Literal["head", "pooled"]
Backend = Literal["auto", "torch", "onnxruntime", "openvino"]
Precision = Literal["auto", "float32", "bfloat16"]
ExportFormat = Literal["onnx", "openvino", "torch", "timm"]
VectorStore = Literal["parquet", "duckdb", "lancedb", "qdrant", "milvus"]
NamedWeights = Literal["bundled", "timm", "none"]  # of model.weights, whose other values are files and runs
IN_FOLDER = "local-dir:"  # timm's prefix of a backbone that a folder describes

NO_REFINING = "none"
REFINEMENTS = (NO_REFINING, "query_expansion", "database_augmentation", "k_reciprocal")
LocalKind = Literal["cells", "sift", "disk", "aliked"]
IndexKind = Literal["exact", "hnsw", "ivf", "ivfpq", "sq8", "fp16", "binary"]

RUN_LEVEL: dict[str, tuple[str, ...]] = {
    "protocol": get_args(Protocol),
    "leaks": get_args(LeakPolicy),
    "subset": get_args(ScoredSubset),
    "format": get_args(ExportFormat),
    "store": get_args(VectorStore),
    "kind": (*get_args(IndexKind), "auto"),
    "local_descriptors": get_args(LocalKind),
}
OF_ENCODE = {"backend": get_args(Backend), "precision": get_args(Precision)}
OF_EMBEDDERS: dict[str, tuple[str, ...]] = {
    "pooling": get_args(PoolingName),
    "head": get_args(HeadName),
    "embedding_layer": get_args(EmbeddingLayer),
}


def check_choice(key: str, value: object, names: tuple[str, ...]) -> None:
    """Raise ConfigError where a value is not one of the names, with the nearest of them."""
    if value not in names:
        raise ConfigError(f"{key}={value} is unknown. {did_you_mean(str(value), names)}")


def check_choices(config: Any) -> None:
    """Check every key of a command's configuration that takes one of a few names; a key that is None is left out.

    config: an instance of one of the schemas. Raises ConfigError.
    """
    for key, names in RUN_LEVEL.items():
        if (value := getattr(config, key, None)) is not None:
            check_choice(key, value, names)
    if (on_bad := (getattr(config, "data", None) or {}).get("on_bad")) is not None:
        check_choice("data.on_bad", on_bad, get_args(BadImages))
    if hasattr(config, "loader"):
        check_choice("loader.sampling", config.loader.sampling, get_args(Sampling))
    if hasattr(config, "encode"):
        for name, names in OF_ENCODE.items():
            check_choice(f"encode.{name}", getattr(config.encode, name), names)
    if hasattr(config, "refine"):
        check_choice("refine.method", config.refine.method, REFINEMENTS)
    for group in ("model", "teacher"):
        node = getattr(config, group, None) or {}
        if node.get("_target_") == EMBEDDER:
            for name in OF_EMBEDDERS.keys() & node.keys():
                check_choice(f"{group}.{name}", node[name], OF_EMBEDDERS[name])
    if hasattr(config, "monitor"):
        from conspecific.metrics import metric_names  # NumPy, which help does without

        check_choice("monitor", config.monitor, tuple(metric_names(config.metrics.ks)))
