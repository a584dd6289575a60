"""Run directories are made exclusively."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from conspecific.runs.directory import make_new_folder


def test_a_folder_with_a_taken_name_gets_a_number(tmp_path: Path) -> None:
    wanted = tmp_path / "runs" / "2026-01-01_12-00-00"
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(make_new_folder, [wanted] * 8))
    names = [wanted.name, *(f"{wanted.name}-{number}" for number in range(2, 9))]
    assert sorted(made) == sorted(wanted.with_name(name) for name in names)
    assert all(folder.is_dir() for folder in made)
