"""YAML from elsewhere is read in bounded time and memory, or refused in a sentence that names the file."""

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conspecific.config.compose import compose_config, load_typed, save_yaml, typed
from conspecific.config.overrides import overrides_of_run
from conspecific.config.schema import TrainConfig
from conspecific.config.yaml_file import read_yaml
from conspecific.errors import ConfigError

LAUGHS = "".join(f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]\n" for level in range(1, 20))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The configuration of a run, as the record holds it."""
    file = tmp_path_factory.mktemp("run") / "config.yaml"
    save_yaml(typed(compose_config("train", ["data.cache=/c", "paths.cache=/c"]), TrainConfig), file)
    return file.read_bytes()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (f"a0: &a0 [x]\n{LAUGHS}", "it has an alias, *a0"),
        ("a: &a [*a]", "it has an alias, *a"),
        ("- " * 100_000, "it is nested more than 50 levels deep"),
        ("[" * 100_000, "it is nested more than 50 levels deep"),
        ("a: [", "it is not YAML: line "),
        ("x" * (2**20 + 1), "Larger than 1 MiB"),
        ("!!python/object/apply:os.system [ls]", "could not determine a constructor"),
        ("a: !!timestamp x", "it has a value of another type than its tag says"),
        (b"\xff", "'utf-8' codec can't decode"),
    ],
    ids=["laughs", "circle", "blocks", "brackets", "open", "large", "object", "date", "bytes"],
)
def test_what_is_no_configuration_is_refused_at_once(content: str | bytes, told: str, tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ConfigError) as caught:
        read_yaml(file)
    assert str(caught.value).startswith(f"{file} cannot be read: ") and told in str(caught.value)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "config.yaml")
    with pytest.raises(ConfigError, match="Not a regular file"):
        read_yaml(tmp_path / "config.yaml")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("seed: -1", "seed must be from 0 to 4294967295; found -1"),
        ("seed: 2024-01-01", "Value 'date' is not a supported primitive type"),
        ("split: ${oc.env:HOME}", "split has keys of its own; found '${oc.env:HOME}'"),
        ("optimizer: ${oc.env:HOME}", "optimizer has keys of its own; found '${oc.env:HOME}'"),
        ("sed: 1", "sed is not a key"),
    ],
)
def test_the_file_of_a_configuration_that_does_not_fit_is_named(change: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(change)
    with pytest.raises(ConfigError) as caught:
        load_typed(tmp_path / "config.yaml", TrainConfig)
    assert str(caught.value).startswith(f"{tmp_path / 'config.yaml'}: {told}")


@given(st.lists(st.tuples(st.integers(0, 5000), st.sampled_from(b"\0\xff:*&![]{}-\"'#%|>?,@` \n~0")), max_size=4))
@settings(max_examples=25, derandomize=True, database=None)
def test_a_damaged_configuration_is_read_or_refused(
    written: bytes, tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, int]]
) -> None:
    damaged = bytearray(written)
    for place, byte in changes:
        damaged[place % len(damaged)] = byte
    file = tmp_path_factory.getbasetemp() / "damaged.yaml"
    file.write_bytes(damaged)
    try:
        assert isinstance(load_typed(file, TrainConfig), TrainConfig)
    except ConfigError as error:
        assert str(error).startswith(f"{file}")


@pytest.mark.parametrize("content", ["- 'a=[[[['", "- 'no override'", "- {a: 1}", "a=1", "- *a"])
def test_overrides_that_are_none_are_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "overrides.yaml").write_text(content)
    with pytest.raises(ConfigError, match=r"overrides\.yaml"):
        overrides_of_run(tmp_path / "overrides.yaml")
