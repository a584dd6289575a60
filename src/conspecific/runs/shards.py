"""One part of the embeddings of a data set, made by one of several processes."""

from pathlib import Path

import numpy as np
from rich.console import Console

from conspecific.data.check import check_manifest
from conspecific.evaluation.parts import Part, write_part
from conspecific.runs.open import OpenRun
from conspecific.types import FloatArray, IntArray


def embed_part(opened: OpenRun, part: Part, output: Path, console: Console) -> tuple[Path, int]:
    """Embed one part of the images; return its folder and how many images it has.

    Every process lists all images and looks at their sizes and times, so that parts of different images are not joined;
    it reads those of its part alone.
    """
    everything = opened.manifest()
    facts = {"data": everything.fingerprint(), **opened.encoder_facts()}
    own = everything.only(everything.table["path"][part.of(len(everything))].to_list())
    manifest, _ = check_manifest(own, opened.cache, scored=False)

    def encode(places: IntArray) -> FloatArray:
        return np.asarray(opened.embed_images(opened.embedder, manifest, places, console).vectors)

    folder = write_part(part, output, facts, manifest.table.select("path", "label"), encode)
    return folder, len(manifest)
