"""MegaDetector's results and COCO files become manifests of boxes; what is not taken is counted."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conspecific.config.compose import compose_config
from conspecific.data import detections
from conspecific.data.check import check_manifest
from conspecific.data.corrections import load_manifest
from conspecific.data.detections import from_coco, from_megadetector
from conspecific.errors import DataError


@pytest.fixture
def photos(make_folder: Callable[..., Path]) -> Path:
    """Images of 40 x 32 pixels: fox/00.png to 02.png and owl/00.png."""
    return make_folder({"fox": 3, "owl": 1}, name="photos")


def detection(conf: float, box: list[float], category: str = "1", **more: Any) -> dict[str, Any]:
    return {"category": category, "conf": conf, "bbox": box, **more}


def written(photos: Path, content: Any, name: str = "results.json") -> str:
    (photos / name).write_text(json.dumps(content))
    return str(photos / name)


def results(photos: Path, **changes: Any) -> str:
    """What MegaDetector writes, with an image it could not read, a video and a path of Windows."""
    images = [
        {"file": "fox/00.png", "detections": [detection(0.9, [0.1, 0.25, 0.5, 0.5]), detection(0.1, [0, 0, 1, 1])]},
        {"file": "fox\\01.png", "detections": [detection(0.8, [0, 0, 0.5, 1]), detection(0.95, [0, 0, 1, 1], "2")]},
        {"file": "fox/02.png", "detections": []},
        {"file": f"{photos}/owl/00.png", "detections": [detection(0.3, [0.5, 0, 0.5001, 1])], "failure": None},
        {"file": "owl/01.png", "failure": "Failure image access", "detections": None},
        {"file": "clip.mp4", "frame_rate": 20, "detections": [detection(0.9, [0, 0, 1, 1], frame_number=0)]},
    ]
    content = {"info": {"format_version": "1.6"}, "detection_categories": {"1": "animal", "2": "person"}}
    return written(photos, {**content, "images": images, **changes})


def test_megadetector_boxes_are_images_with_the_label_of_their_folder(photos: Path, tmp_path: Path) -> None:
    manifest = from_megadetector(results(photos), margin=0.1)
    assert list(zip(manifest.table["path"], manifest.table["label"], strict=True)) == [
        ("fox/00.png#xywh=percent:10,25,50,50&margin=0.1", "fox"),
        ("fox/01.png#xywh=percent:0,0,50,100&margin=0.1", "fox"),
        ("owl/00.png#xywh=percent:50,0,50.01,100&margin=0.1", "owl"),
    ]
    assert manifest.notes[0] == (
        "3 boxes in 3 of the 6 images of results.json. Left out: 1 boxes of a confidence below 0.2, 1 boxes of person, "
        "1 images that it could not read, 1 videos."
    )
    assert len(check_manifest(manifest, tmp_path)[0]) == 3


def test_confidence_and_categories_choose_the_boxes(photos: Path) -> None:
    assert len(from_megadetector(results(photos), confidence=0)) == 4
    assert len(from_megadetector(results(photos), confidence=0.5)) == 2
    people = from_megadetector(results(photos), categories=["person"])
    assert people.table["path"].to_list() == ["fox/01.png#xywh=percent:0,0,100,100"]
    assert len(from_megadetector(results(photos), categories=None)) == 4
    with pytest.raises(DataError, match=r"no box of 6 images in .* is left. Left out: .*See data\.categories"):
        from_megadetector(results(photos), categories=["vehicle"])
    with pytest.raises(DataError, match=r"data\.confidence is from 0 to 1; found 20"):
        from_megadetector(results(photos), confidence=20)


def test_labels_come_from_a_table_where_there_is_one(photos: Path) -> None:
    (photos / "species.csv").write_text("file,species\nfox/00.png,red fox\nfox/01.png,arctic fox\nfox/09.png,red fox\n")
    labels = {"labels": str(photos / "species.csv"), "image_column": "file", "label_column": "species"}
    manifest = from_megadetector(results(photos), **labels)  # type: ignore[arg-type]
    assert manifest.table["label"].to_list() == ["red fox", "arctic fox"]
    assert "Species from species.csv; left out as not in it are 1 images: owl/00.png." in manifest.notes
    (photos / "species.csv").write_text("file,species\nfox/00.png,red fox\nfox/00.png,arctic fox\n")
    with pytest.raises(DataError, match=r"names several species for 1 images: fox/00\.png"):
        from_megadetector(results(photos), **labels)  # type: ignore[arg-type]
    (photos / "species.csv").write_text("file,species\nelsewhere/00.png,red fox\n")
    with pytest.raises(DataError, match="has none of the 3 images with boxes"):
        from_megadetector(results(photos), **labels)  # type: ignore[arg-type]


def test_images_of_one_folder_have_no_species(photos: Path) -> None:
    images = [{"file": "00.png", "detections": [detection(0.9, [0, 0, 1, 1])]}]
    assert not from_megadetector(results(photos, images=images), root=str(photos / "fox")).labelled


def test_the_list_that_pytorch_wildlife_writes_is_read_too(photos: Path) -> None:
    boxes = [{"category": "animal", "confidence": 0.9, "bbox": [4.0, 8.0, 24.0, 30.0]}]
    content = [{"file": "fox/00.png", "detections": boxes}, {"file": "fox/01.png", "detections": []}]
    manifest = from_megadetector(written(photos, content))
    assert manifest.table["path"].to_list() == ["fox/00.png#xywh=4,8,20,22"]


def coco(photos: Path, sizes: bool = True, **changes: Any) -> str:
    size = {"width": 80, "height": 64} if sizes else {}  # twice those of the files, which were resized since
    images = [{"id": place, "file_name": f"fox/0{place}.png", **size} for place in range(3)]
    annotations = [
        {"id": 1, "image_id": 0, "category_id": 7, "bbox": [8, 16, 40, 32]},
        {"id": 2, "image_id": 0, "category_id": 9, "bbox": [0, 0, 20, 20], "score": 0.4},
        {"id": 3, "image_id": 1, "category_id": 7, "bbox": [0, 0, 80, 64], "iscrowd": 1},
        {"id": 4, "image_id": 2, "category_id": 9},
    ]
    categories = [{"id": 7, "name": "red fox", "supercategory": "fox"}, {"id": 9, "name": "owl"}]
    content = {"images": images, "annotations": annotations, "categories": categories, **changes}
    return written(photos, content, "annotations.json")


def test_coco_categories_are_labels_and_boxes_survive_resizing(photos: Path, tmp_path: Path) -> None:
    manifest = from_coco(coco(photos))
    assert list(zip(manifest.table["path"], manifest.table["label"], strict=True)) == [
        ("fox/00.png#xywh=percent:10,25,50,50", "red fox"),
        ("fox/00.png#xywh=percent:0,0,25,31.25", "owl"),
        ("fox/02.png", "owl"),
    ]
    assert manifest.table["group"].to_list() == ["fox/00.png", "fox/00.png", None]
    assert "Left out: 1 boxes of several objects (iscrowd)." in manifest.notes[0]
    assert manifest.open_rgb(0).size == (20, 20)
    assert from_coco(coco(photos, sizes=False)).table["path"][0] == "fox/00.png#xywh=8,16,40,32"
    assert len(from_coco(coco(photos), confidence=0.5)) == 2
    assert from_coco(coco(photos), categories=["owl"]).species == ("owl",)


ONE_IMAGE = '{"images": [{"id": 1, "file_name": "a"}], "categories": [{"id": 1, "name": "fox"}], "annotations": [%s]}'


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "does not hold COCO annotations: "),
        ("[1, 2]", "does not hold COCO annotations: "),
        ('{"images": [], "annotations": []}', "it has no 'categories'"),
        (ONE_IMAGE % '{"image_id": 2, "category_id": 1}', "an annotation is of image 2 and category 1, which are not"),
        (ONE_IMAGE % '{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3]}', "a box has four numbers"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_other_files_are_refused_with_what_they_lack(photos: Path, content: str, message: str) -> None:
    (photos / "odd.json").write_text(content)
    with pytest.raises(DataError, match=message):
        from_coco(str(photos / "odd.json"))


def test_a_file_beyond_the_limit_is_not_read(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detections, "MOST_BYTES", 100)
    with pytest.raises(DataError, match="Larger than"):
        from_megadetector(results(photos))


@pytest.mark.parametrize("source", ["megadetector", "coco"])
def test_the_command_line_names_them(photos: Path, source: str) -> None:
    file = results(photos) if source == "megadetector" else coco(photos)
    config = compose_config("train", [f"data={source}", f"data.path={file}", "data.margin=0.2"])
    assert len(load_manifest(config.data)) == 3
