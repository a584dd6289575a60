"""The index that a search of a run leaves beside the embeddings, so that the next one imports no torch."""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from rich.console import Console

from conspecific.config.schema import EncodeConfig, SearchConfig, UseConfig
from conspecific.data.corrections import load_manifest
from conspecific.data.manifest import Manifest
from conspecific.encoding.query_encoder import can_open, can_write
from conspecific.errors import ConspecificError
from conspecific.files import sha256_of
from conspecific.images import file_of
from conspecific.index import Index
from conspecific.index.folder import is_index
from conspecific.index.kinds import EXACT_UP_TO
from conspecific.runs.directory import RunDirectory
from conspecific.types import EmbeddingSet

if TYPE_CHECKING:
    from conspecific.runs.open import OpenRun

LISTED = "listed"  # key of the index's source: fingerprint of the images as they were listed


def may_keep(config: UseConfig) -> bool:
    """Whether a search is of a run's own images, by its weights, in a way that an index answers too."""
    asked = config.weights, config.model, config.data, config.truncate, config.image_size
    plain = all(each is None for each in asked) and config.encode == EncodeConfig() and config.device in ("auto", "cpu")
    return isinstance(config, SearchConfig) and not config.refine.flip and config.run is not None and plain


def open_kept(config: SearchConfig, say: Callable[[str], None]) -> tuple[Path, Index] | None:
    """Return the index that an earlier search of the run left, and its folder; None where there is none to be used.

    It is not used any more where the weights or the images, as listed, are others, or another machine wrote it.
    """
    run = RunDirectory(Path(str(config.run)).expanduser())
    if not (is_index(run.kept_index) and run.weights.is_file()):
        return None
    try:
        index = Index.open(run.kept_index, cache=Path(config.paths.cache).expanduser(), say=say)
        if index.contents is None or not can_open(index.contents.encoder):
            return None
        if config.refine.wiener and index.within is None:  # the run may have it
            return None
        source, encoder = index.stored.source, index.stored.encoder
        manifest = load_manifest(source["data"], config.allow)
        same = (manifest.fingerprint(), sha256_of(run.weights)) == (source[LISTED], encoder["weights"])
    except (ConspecificError, OSError) as error:
        say(f"{run.kept_index} is not used: {error}")
        return None
    return (run.kept_index, index) if same else None


def listed_now(opened: "OpenRun") -> str | None:
    """Return the fingerprint of the images of a run that may keep an index; None where it may not.

    Larger galleries are left to `conspecific index`: a kept index is a second copy of the embeddings.
    """
    run = opened.run
    if run is None or opened.weights != run.weights or not (may_keep(opened.config) and can_write()):
        return None
    manifest = opened.manifest()
    complete = all((manifest.root / file_of(path)).is_file() for path in manifest.table["path"])
    return manifest.fingerprint() if complete and len(manifest) <= EXACT_UP_TO else None


def keep_index(opened: "OpenRun", listed: str, manifest: Manifest, embeddings: EmbeddingSet, console: Console) -> None:
    """Leave an index of a run's own images. listed: their fingerprint before they were embedded."""
    from conspecific.runs.gallery import build_index, write_network

    assert opened.run is not None, "a run keeps its index"
    index = build_index(opened, manifest, embeddings, "exact", source={LISTED: listed})
    with TemporaryDirectory() as scratch:
        if network := write_network(opened, Path(scratch), console):
            index.save(opened.run.kept_index, cache=opened.cache, encoder=network)
            told = f"Kept for the next search, which will take seconds less: {opened.run.kept_index}"
            console.print(told, soft_wrap=True, highlight=False)
