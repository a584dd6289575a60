"""Hostile archives, broken ones, and unpacking that is interrupted."""

import io
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from conspecific.data.downloads.unpack import unpack
from conspecific.errors import DataError
from conspecific.files import write_whole_folder

Writer = Callable[[Path, dict[str, bytes]], Path]


def write_tar(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz" if path.suffix in (".tgz", ".gz") else "w") as tar:
        for name, content in files.items():
            add(tar, name, content=content)
    return path


def add(tar: tarfile.TarFile, name: str, kind: bytes = tarfile.REGTYPE, link: str = "", content: bytes = b"") -> None:
    member = tarfile.TarInfo(name)
    member.type, member.linkname, member.size = kind, link, len(content)
    tar.addfile(member, io.BytesIO(content))


def write_zip(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def below(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(archive: Path, folder: Path, **limits: int) -> str:
    """What is told; and that nothing but what lies in the folder was written."""
    before = below(archive.parent)
    with pytest.raises(DataError) as caught, write_whole_folder(folder) as part:
        unpack(archive, part, **limits)
    assert not folder.exists()
    assert below(archive.parent) == before
    return str(caught.value)


BOTH = pytest.mark.parametrize(
    ("write", "name"), [(write_tar, "a.tar"), (write_tar, "a.tgz"), (write_tar, "a.tar.gz"), (write_zip, "a.zip")]
)
FILES = {"birds/robin/1.jpg": b"one", "./birds/wren/2.jpg": b"two" * 50_000, "birds/list.txt": b""}


@BOTH
def test_plain_archives_come_out_as_they_went_in(write: Writer, name: str, tmp_path: Path) -> None:
    archive = write(tmp_path / name, FILES)
    with write_whole_folder(tmp_path / "out") as part:
        unpack(archive, part)
    assert below(tmp_path / "out") == {name.removeprefix("./"): content for name, content in FILES.items()}
    assert [path.name for path in tmp_path.glob(".*")] == []


@BOTH
@pytest.mark.parametrize("path", ["../evil", "birds/../../evil", "/tmp/evil", "birds/..", "a\\..\\..\\evil"])
def test_a_path_out_of_the_folder_is_refused(write: Writer, name: str, path: str, tmp_path: Path) -> None:
    told = refused(write(tmp_path / name, {"birds/1.jpg": b"one", path: b"evil"}), tmp_path / "out")
    assert "its path is outside the folder" in told and repr(path) in told


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE], ids=repr
)
def test_links_and_devices_in_a_tar_are_refused(kind: bytes, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        add(tar, "birds/1.jpg", content=b"one")
        add(tar, "birds/2.jpg", kind=kind, link="1.jpg")
    assert "'birds/2.jpg': it is not a regular file" in refused(tmp_path / "a.tar", tmp_path / "out")


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO])
def test_links_and_devices_in_a_zip_are_refused(kind: int, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        member = zipfile.ZipInfo("link")
        member.external_attr = (kind | 0o777) << 16
        archive.writestr(member, "/etc/passwd")
    assert "'link': it is not a regular file" in refused(tmp_path / "a.zip", tmp_path / "out")


@BOTH
def test_names_that_differ_only_in_case_are_refused(write: Writer, name: str, tmp_path: Path) -> None:
    told = refused(write(tmp_path / name, {"birds/A.jpg": b"one", "birds/a.jpg": b"two"}), tmp_path / "out")
    assert "'birds/a.jpg': it differs from birds/A.jpg only in case" in told


@BOTH
def test_more_than_is_likely_is_refused(write: Writer, name: str, tmp_path: Path) -> None:
    archive = write(tmp_path / name, {f"{number}.txt": bytes(100_000) for number in range(10)})
    assert "the archive unpacks to more than" in refused(archive, tmp_path / "out", most_bytes=900_000)
    assert "the archive unpacks to more than" in refused(archive, tmp_path / "out", most_files=9)
    unpack(archive, tmp_path, most_bytes=1_000_000, most_files=10)


@BOTH
def test_a_broken_archive_is_told(write: Writer, name: str, tmp_path: Path) -> None:
    archive = write(tmp_path / name, {"birds/1.jpg": bytes(range(256)) * 2000})
    archive.write_bytes(archive.read_bytes()[: archive.stat().st_size // 2])
    assert "is damaged or not an archive" in refused(archive, tmp_path / "out")


@pytest.mark.parametrize("name", ["a.tar", "a.tgz", "a.zip"])
def test_what_is_no_archive_is_told(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("<html>Sorry</html>" * 100)
    assert "is damaged or not an archive" in refused(tmp_path / name, tmp_path / "out")


def test_an_encrypted_zip_is_told(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "a.zip", {"1.jpg": b"one"})
    content = bytearray(archive.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    archive.write_bytes(content)
    assert "is encrypted: unpack it by hand" in refused(archive, tmp_path / "out")


def test_a_file_where_a_folder_should_be_is_told(tmp_path: Path) -> None:
    archive = write_tar(tmp_path / "a.tar", {"birds": b"a file", "birds/1.jpg": b"one"})
    assert "cannot be unpacked" in refused(archive, tmp_path / "out")
