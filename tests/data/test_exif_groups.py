"""Groups from the EXIF data of photographs."""

from pathlib import Path

import pytest
from PIL import ExifTags, Image

from conspecific.data.sources import from_folder, from_images
from conspecific.errors import ConfigError, DataError


def photograph(path: Path, time: str | None, model: str | None = "Trap 3", serial: str | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    if model is not None:
        exif[ExifTags.Base.Make], exif[ExifTags.Base.Model] = "Acme", model
    inner = exif.get_ifd(ExifTags.IFD.Exif)
    if time is not None:
        inner[ExifTags.Base.DateTimeOriginal] = time
    if serial is not None:
        inner[ExifTags.Base.BodySerialNumber] = serial
    Image.new("RGB", (8, 8)).save(path, exif=exif)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """a, b and c within three minutes of each other, d half an hour later, e the day after; f by another camera."""
    times = {"a": "10:00:00", "b": "10:02:00", "c": "10:04:30", "d": "10:34:00"}
    for name, time in times.items():
        photograph(tmp_path / "owl" / f"{name}.jpg", f"2024:05:01 {time}")
    photograph(tmp_path / "owl" / "e.jpg", "2024:05:02 10:00:00")
    photograph(tmp_path / "wren" / "f.jpg", "2024:05:01 10:01:00", serial="17")
    photograph(tmp_path / "wren" / "g.jpg", None)
    photograph(tmp_path / "wren" / "h.jpg", "0000:00:00 00:00:00", model=None)
    (tmp_path / "wren" / "i.jpg").write_bytes(b"\xff\xd8\xff\xe1 this is no photograph")
    return tmp_path


def grouped(photos: Path, kind: str, minutes: float = 5) -> list[str]:
    """The names of the images of each group of several, and the groups in their order."""
    manifest = from_folder(str(photos), group_exif=kind, group_minutes=minutes)
    names: dict[int, str] = {}
    for path, group in zip(manifest.table["path"], manifest.groups.tolist(), strict=True):
        names[group] = names.get(group, "") + Path(path).stem
    return sorted(names.values())


def test_pictures_in_quick_succession_are_a_burst(photos: Path) -> None:
    assert grouped(photos, "burst") == ["abc", "d", "e", "f", "g", "h", "i"]
    assert grouped(photos, "burst", minutes=2.2) == ["ab", "c", "d", "e", "f", "g", "h", "i"]
    assert grouped(photos, "burst", minutes=30) == ["abcd", "e", "f", "g", "h", "i"], "each is near the one before"


def test_days_and_cameras(photos: Path) -> None:
    assert grouped(photos, "day") == ["abcd", "e", "f", "g", "h", "i"]
    assert grouped(photos, "camera") == ["abcdeg", "f", "h", "i"], "f has the serial number of another body"


def test_how_many_images_say_it_is_said(photos: Path) -> None:
    manifest = from_images(str(photos), group_exif="burst")
    assert "Groups from EXIF (burst): 6 of 9 images say when and by what they were taken." in manifest.describe()


def test_what_cannot_be_grouped_is_refused(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"data.group_exif=hour is unknown"):
        from_folder(str(photos), group_exif="hour")
    with pytest.raises(DataError, match=r"data.group_minutes must be above 0"):
        from_folder(str(photos), group_exif="burst", group_minutes=0)
    photograph(tmp_path / "other" / "jay" / "1" / "a.jpg", None, model=None)
    with pytest.raises(DataError, match=r"none of 1 images .* says a camera and a time"):
        from_folder(str(tmp_path / "other"), group_exif="burst")
    with pytest.raises(DataError, match="the images have groups already"):
        from_folder(str(tmp_path / "other"), group_exif="burst", group_level=1)
