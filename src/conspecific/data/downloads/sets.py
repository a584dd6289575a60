"""The benchmarks of the field: one function each, which returns a manifest and downloads the data on first use.

The `split` column holds the split that the authors published. If every species is in both its train and its test
(CUB-200-2011, Cars196, Pets, Dogs, Flowers), protocol=seen uses it, and protocol=unseen divides the species in half by
name; names begin with the official numbers if there are any, so the first 100 of CUB and 98 of Cars train, as in Song
et al. 2016. If species are disjoint (SOP, In-shop, iNaturalist), protocol=unseen uses it.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
from scipy.io import loadmat

from conspecific.data.downloads import catalogue
from conspecific.data.downloads.obtain import obtain
from conspecific.data.manifest import Manifest
from conspecific.errors import DataError

Row = tuple[str, str, str | None, str | None]
"""Path, label, split, role."""


def cub200(cache: str, root: str | None = None, mirror: str | None = None) -> Manifest:
    """200 bird species, 11,788 photographs. seen: the authors' images; unseen: species 1 to 100 train, the rest test.

    cache, root, mirror and errors: see `obtain.obtain`, also for the functions below.
    """
    base = _inside(obtain(catalogue.CUB200, cache, root, mirror), "CUB_200_2011")
    trains = dict(_fields(base / "train_test_split.txt", 2))
    return _manifest(
        base,
        (
            (f"images/{path}", path.partition("/")[0], "train" if trains.get(number) == "1" else "test", None)
            for number, path in _fields(base / "images.txt", 2)
        ),
    )


def cars196(cache: str, root: str | None = None, mirror: str | None = None) -> Manifest:
    """196 car models, 16,185 photographs. seen: the authors' images; unseen: models 1 to 98 train, the rest test.

    Its site is offline, so the files must be put into the folder by hand. Two layouts are read: cars_train/ and
    cars_test/ with devkit/ and cars_test_annos_withlabels.mat, or car_ims/ with cars_annos.mat.
    """
    base = obtain(catalogue.CARS196, cache, root, mirror)
    whole = base / "cars_annos.mat"
    if whole.exists() and (base / "car_ims").exists():
        table = _mat(whole, "annotations", "class_names")
        found = [
            (str(each["relative_im_path"]), int(each["class"]), "test" if int(each["test"]) else "train")
            for each in table["annotations"]
        ]
        names = table["class_names"]
    else:
        names = _mat(base / "devkit" / "cars_meta.mat", "class_names")["class_names"]
        parts = {"train": base / "devkit" / "cars_train_annos.mat", "test": base / "cars_test_annos_withlabels.mat"}
        found = [
            (f"cars_{part}/{each['fname']}", int(each["class"]), part)
            for part, file in parts.items()
            for each in _mat(file, "annotations")["annotations"]
        ]
    return _manifest(base, ((path, _model(number, names), part, None) for path, number, part in found))


def _model(number: int, names: Any) -> str:
    return f"{number:03}.{names[number - 1]}".replace("/", "-")


def sop(cache: str, root: str | None = None, mirror: str | None = None) -> Manifest:
    """22,634 products, 120,053 photographs. unseen: the authors' 11,318 products train, 11,316 test."""
    base = _inside(obtain(catalogue.SOP, cache, root, mirror), "Stanford_Online_Products")
    rows = (
        # the number last: the spelling check ignores a leading number, as that of a class
        (path, f"{path.partition('_final/')[0]} {int(product):05}", part, None)
        for part in ("train", "test")
        for _, product, _, path in _fields(base / f"Ebay_{part}.txt", 4, header=1)
    )
    return _manifest(base, rows)


def inshop(cache: str, root: str | None = None, mirror: str | None = None) -> Manifest:
    """7,982 items of clothing, 52,712 photographs. query_gallery: the authors' training items, queries and gallery.

    To be downloaded by hand. Training items with a single image are left out, because they have no positive.
    """
    base = obtain(catalogue.INSHOP, cache, root, mirror)
    listed, folder = (_either(base, name) for name in ("list_eval_partition.txt", "img"))
    rows: list[Row] = []
    for path, item, use in _fields(listed, 3, header=2):
        place = (folder.parent / path).relative_to(base).as_posix()
        rows.append((place, item, "train", None) if use == "train" else (place, item, "test", use))
    table = _table(rows)
    alone = (pl.col("split") == "train") & (pl.len().over("label") == 1)
    return Manifest.from_table(base, table.filter(~alone), own_links=True)


def oxford_pets(cache: str, root: str | None = None, mirror: str | None = None) -> Manifest:
    """37 breeds of cats and dogs, 7,349 photographs. seen: the authors' trainval and test images."""
    base = obtain(catalogue.OXFORD_PETS, cache, root, mirror)
    rows = (
        (f"images/{name}.jpg", name.rpartition("_")[0], part, None)
        for part, listed in (("train", "trainval"), ("test", "test"))
        for name, *_ in _fields(base / "annotations" / f"{listed}.txt", 4)
    )
    return _manifest(base, rows)


def stanford_dogs(cache: str, root: str | None = None, mirror: str | None = None) -> Manifest:
    """120 breeds of dogs, 20,580 photographs. seen: the authors' training and test images."""
    base = obtain(catalogue.STANFORD_DOGS, cache, root, mirror)
    rows = (
        (f"Images/{path}", str(path).partition("/")[0], part, None)
        for part in ("train", "test")
        for path in _mat(base / f"{part}_list.mat", "file_list")["file_list"]
    )
    return _manifest(base, rows)


def flowers102(cache: str, root: str | None = None, mirror: str | None = None) -> Manifest:
    """102 flowers, 8,189 photographs; labels are numbers. seen: the authors' training, validation and test images."""
    base = obtain(catalogue.FLOWERS102, cache, root, mirror)
    labels = _mat(base / "imagelabels.mat", "labels")["labels"]
    uses = _mat(base / "setid.mat", "trnid", "valid", "tstid")
    rows = (
        (f"jpg/image_{number:05}.jpg", f"{int(labels[number - 1]):03}", part, None)
        for part, key in (("train", "trnid"), ("val", "valid"), ("test", "tstid"))
        for number in map(int, uses[key])
    )
    return _manifest(base, rows)


def inat2018(cache: str, root: str | None = None, mirror: str | None = None) -> Manifest:
    """8,142 species, 461,939 photographs. unseen: 5,690 species train and 2,452 test, as in Brown et al. 2020."""
    base = obtain(catalogue.INAT2018, cache, root, mirror)
    inner = _inside(base, "Inat_dataset_splits")
    rows = (
        (path, " ".join(path.split("/")[-3:-1]), part, None)
        for part in ("train", "test")
        for (path,) in _fields(inner / f"Inaturalist_{part}_set1.txt", 1)
    )
    return _manifest(base, rows)


def _table(rows: Iterable[Row]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=dict.fromkeys(("path", "label", "split", "role"), pl.String), orient="row")


def _manifest(base: Path, rows: Iterable[Row]) -> Manifest:
    return Manifest.from_table(base, _table(rows), own_links=True)  # its archives may hold no links


def _inside(base: Path, name: str) -> Path:
    """Return the folder of this name that the archive has at its top, or `base` if it is that folder already."""
    return base / name if (base / name).is_dir() else base


def _either(base: Path, name: str) -> Path:
    """Return the path of a name, which may be in a folder of the authors' drive (Img, Eval)."""
    return next(path for path in (base / name, base / "Img" / name, base / "Eval" / name) if path.exists())


def _fields(file: Path, count: int, header: int = 0) -> Iterator[list[str]]:
    """Yield the fields of each line, separated by blanks. Raises DataError for a line with another number of them."""
    with file.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            fields = line.strip().split(None, count - 1)
            if number <= header or not fields:
                continue
            if len(fields) != count:
                raise DataError(f"{file} line {number} has {len(fields)} fields, {count} are needed: download it again")
            yield fields


def _mat(file: Path, *names: str) -> dict[str, Any]:
    """Return variables of a MATLAB file, flattened. Raises DataError if it is not such a file or lacks one."""
    try:
        content = loadmat(file, squeeze_me=True)
        return {name: content[name].reshape(-1) for name in names}
    except (ValueError, TypeError, KeyError, AttributeError, OSError) as error:
        raise DataError(f"{file} is not the expected MATLAB file ({error}): download it again") from error
