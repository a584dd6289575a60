"""Every benchmark, small, in the layout its authors gave it, on a site of this machine."""

import io
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import savemat

from conspecific.data import downloads
from conspecific.data.downloads import catalogue
from conspecific.data.downloads.obtain import Collection
from conspecific.data.manifest import Manifest

PICTURE = b"\xff\xd8 an image"
Content = Mapping[str, bytes]


def lines(*rows: object) -> bytes:
    return "".join(f"{row}\n" for row in rows).encode()


def mat(**variables: object) -> bytes:
    stream = io.BytesIO()
    savemat(stream, variables)
    return stream.getvalue()


def cells(names: list[str]) -> np.ndarray:
    return np.array(names, dtype=object).reshape(-1, 1)


def structs(rows: list[dict[str, object]]) -> np.ndarray:
    table = np.empty((1, len(rows)), dtype=[(name, object) for name in rows[0]])
    for place, row in enumerate(rows):
        table[0, place] = tuple(row.values())
    return table


def packed(name: str, files: Content) -> bytes:
    stream = io.BytesIO()
    if name.endswith(".zip"):
        with zipfile.ZipFile(stream, "w") as archive:
            for path, content in files.items():
                archive.writestr(path, content)
        return stream.getvalue()
    with tarfile.open(fileobj=stream, mode="w" if name.endswith(".tar") else "w:gz") as tar:
        for path, content in files.items():
            member = tarfile.TarInfo(path)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return stream.getvalue()


# --- six species of eight images each


def cub200() -> dict[str, bytes]:
    birds = [f"{n:03}.Bird_{n}/Bird_{n}_{k:04}.jpg" for n in range(1, 7) for k in range(8)]
    files = {f"CUB_200_2011/images/{bird}": PICTURE for bird in birds} | {
        "attributes.txt": b"1 has_bill_shape::dagger\n",
        "CUB_200_2011/images.txt": lines(*(f"{n} {bird}" for n, bird in enumerate(birds, 1))),
        "CUB_200_2011/train_test_split.txt": lines(*(f"{n} {n % 2}" for n in range(1, 49))),
    }
    return {"CUB_200_2011.tgz": packed("CUB_200_2011.tgz", files)}


CAR_NAMES = [f"Car {letter} C/V" for letter in "FEDCBA"]  # not in the order of their numbers


def cars196() -> dict[str, bytes]:
    annotated = [
        {"bbox_x1": 1, "class": n % 6 + 1, "fname": f"{n // 2 + 1:05}.jpg", "part": ("train", "test")[n % 4 // 2]}
        for n in range(48)
    ]
    parts = {part: [row for row in annotated if row["part"] == part] for part in ("train", "test")}
    annos = {part: mat(annotations=structs(rows)) for part, rows in parts.items()}
    devkit = {
        "devkit/cars_meta.mat": mat(class_names=cells(CAR_NAMES)),
        "devkit/cars_train_annos.mat": annos["train"],
        "devkit/README.txt": b"",
    }
    return {
        "car_devkit.tgz": packed("car_devkit.tgz", devkit),
        "cars_test_annos_withlabels.mat": annos["test"],
    } | {
        f"cars_{part}.tgz": packed(".tgz", {f"cars_{part}/{row['fname']}": PICTURE for row in rows})
        for part, rows in parts.items()
    }


def sop() -> dict[str, bytes]:
    folder, header = "Stanford_Online_Products", "image_id class_id super_class_id path"
    shown = {n: [f"bicycle_final/{n}_{k}.JPG" for k in range(8)] for n in range(1, 7)}

    def listed(products: range) -> bytes:
        return lines(header, *(f"1 {n} 1 {path}" for n in products for path in shown[n]))

    files = {f"{folder}/{path}": PICTURE for paths in shown.values() for path in paths} | {
        f"{folder}/Ebay_train.txt": listed(range(1, 4)),
        f"{folder}/Ebay_test.txt": listed(range(4, 7)),
        "__MACOSX/._Ebay_info.txt": b"",
    }
    return {f"{folder}.zip": packed(".zip", files)}


def inshop() -> dict[str, bytes]:
    rows = [
        (f"img/WOMEN/Tees/id_{n:08}/01_{k}_front.jpg", f"id_{n:08}", "train" if n < 4 else ("query", "gallery")[k % 2])
        for n in range(1, 7)
        for k in range(8)
    ]
    lone = ("img/MEN/Denim/id_00000007/01_1_front.jpg", "id_00000007", "train")
    listed = lines(49, "image_name item_id evaluation_status", *("   ".join(row) for row in [*rows, lone]))
    return {
        "list_eval_partition.txt": listed,
        "img.zip": packed(".zip", {path: PICTURE for path, *_ in [*rows, lone]}),
    }


def oxford_pets() -> dict[str, bytes]:
    names = [
        f"{breed}_{k}" for breed in ("Abyssinian", "Birman", "basset_hound", "boxer", "pug", "beagle") for k in range(8)
    ]
    trains, tests = ([f"{name} 1 1 1" for name in names[k::2]] for k in (0, 1))
    annotations = {
        "annotations/trainval.txt": lines(*trains),
        "annotations/test.txt": lines(*tests),
        "annotations/._trimaps": b"",
    }
    return {
        "annotations.tar.gz": packed(".tar.gz", annotations),
        "images.tar.gz": packed(".tar.gz", {f"images/{name}.jpg": PICTURE for name in names}),
    }


def stanford_dogs() -> dict[str, bytes]:
    dogs = [f"n0208{n}-Dog_{n}/n0208{n}_{k}.jpg" for n in range(6) for k in range(8)]
    halves = {"train": dogs[::2], "test": dogs[1::2]}
    lists = {f"{part}_list.mat": mat(file_list=cells(half), labels=np.ones((24, 1))) for part, half in halves.items()}
    return {
        "lists.tar": packed(".tar", lists),
        "images.tar": packed(".tar", {f"Images/{dog}": PICTURE for dog in dogs}),
    }


def flowers102() -> dict[str, bytes]:
    uses = {"trnid": [n for n in range(1, 49) if n % 4 == 1], "valid": [n for n in range(1, 49) if n % 4 == 2]}
    uses["tstid"] = [n for n in range(1, 49) if n % 4 in (0, 3)]
    return {
        "imagelabels.mat": mat(labels=np.array([[(n - 1) // 8 + 1 for n in range(1, 49)]], np.uint8)),
        "setid.mat": mat(**{name: np.array([numbers], np.uint16) for name, numbers in uses.items()}),
        "102flowers.tgz": packed(".tgz", {f"jpg/image_{n:05}.jpg": PICTURE for n in range(1, 49)}),
    }


def inat2018() -> dict[str, bytes]:
    shown = {n: [f"train_val2018/Aves/{n}/{n}{k}.jpg" for k in range(8)] for n in range(6)}
    splits = {
        "Inat_dataset_splits/Inaturalist_train_set1.txt": lines(*(path for n in (0, 2, 4) for path in shown[n])),
        "Inat_dataset_splits/Inaturalist_test_set1.txt": lines(*(path for n in (1, 3, 5) for path in shown[n])),
    }
    return {
        "Inat_dataset_splits.zip": packed(".zip", splits),
        "train_val2018.tar.gz": packed(".tar.gz", {path: PICTURE for paths in shown.values() for path in paths}),
    }


LAYOUTS: dict[str, Callable[[], dict[str, bytes]]] = {
    layout.__name__: layout
    for layout in (cub200, cars196, sop, inshop, oxford_pets, stanford_dogs, flowers102, inat2018)
}


@dataclass
class Bench:
    """A small benchmark that a site has."""

    name: str
    cache: Path
    site: Any

    def get(self, **arguments: str) -> Manifest:
        manifest = getattr(downloads, self.name)(str(self.cache), **arguments)
        assert isinstance(manifest, Manifest)
        return manifest

    def fetched(self) -> Manifest:
        return self.get(mirror=self.site.address)


@pytest.fixture
def bench(site: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Bench]:
    """Return a function that puts a small data set on the site, with its size and checksum in the catalogue."""

    def make(name: str) -> Bench:
        site.files |= LAYOUTS[name]()
        real: Collection = getattr(catalogue, name.upper())
        assert {file.name for file in real.files} <= set(site.files)
        known = [(file, site.remote(file.name)) for file in real.files]
        files = tuple(replace(file, size=small.size, checksum=small.checksum) for file, small in known)
        monkeypatch.setattr(catalogue, name.upper(), replace(real, files=files))
        return Bench(name, tmp_path / "cache", site)

    return make


@pytest.fixture
def cars_in_one_folder(tmp_path: Path) -> Path:
    """The other form that Cars196 has: every image in one folder, one table beside it."""
    rows = [
        {"relative_im_path": f"car_ims/{n:06}.jpg", "bbox_x1": 1, "class": n // 4 + 1, "test": n % 2} for n in range(24)
    ]
    (tmp_path / "car_ims").mkdir()
    (tmp_path / "cars_annos.mat").write_bytes(mat(annotations=structs(rows), class_names=cells(CAR_NAMES).T))
    return tmp_path
