"""push, to a server on this machine that speaks the hub's API."""

from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import pytest

from conspecific.cli.main import main
from conspecific.config.schema import PushConfig
from conspecific.errors import ConfigError, RunError
from conspecific.exporting import push as pushing
from conspecific.exporting.export import KIND, PREPROCESSING
from conspecific.exporting.push import push
from conspecific.files import write_json

from .hub import TOKEN, Hub, serve


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with serve() as found:
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", found.url)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)  # large files go by Git LFS
        monkeypatch.setattr(pushing, "get_token", lambda: TOKEN)
        yield found


@pytest.fixture
def export(tmp_path: Path) -> Path:
    """An export as far as a push looks at it, and a file that is not part of it."""
    folder = tmp_path / "run" / "exports" / "onnx"
    folder.mkdir(parents=True)
    write_json(folder / PREPROCESSING, {"kind": KIND, "format": "onnx"})
    write_json(folder / "parity.json", {"cosine_mean": 1.0})
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n\n# A network\n\n*to be filled in*\n")
    (folder / "model.onnx").write_bytes(bytes(range(256)) * 100)
    (folder / "my own notes.txt").write_text("not for others")
    return folder


@pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # of the hub's client, about its own client
def test_an_export_becomes_a_repository(hub: Hub, export: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = push(PushConfig(str(export), "me/birds"))
    assert (found.url, found.files, found.to_fill) == (f"{hub.url}/me/birds", 4, 1)
    assert hub.repositories == {"me/birds": True}, "private unless told otherwise"
    own = ["README.md", "model.onnx", "parity.json", "preprocessing.json"]
    assert hub.files["me/birds"] == {name: (export / name).read_bytes() for name in own}
    with pytest.raises(ConfigError, match=r"me/birds exists. Name another repository, or .* update=true"):
        push(PushConfig(str(export), "me/birds"))
    (export / "README.md").write_text("---\n---\n# Better\n")
    push(PushConfig(str(export.parents[1]), "me/birds", update=True))  # the one export of the run
    assert hub.files["me/birds"]["README.md"] == (export / "README.md").read_bytes()
    assert main(["push", str(export), "repo=me/others", "private=false"]) == 0
    assert f"Pushed 4 files, 0.0 MB, visible for everybody: {hub.url}/me/others" in capsys.readouterr().out
    assert hub.repositories["me/others"] is False


def test_a_license_that_the_hub_does_not_know_is_refused_before_anything_is_made(hub: Hub, export: Path) -> None:
    (export / "README.md").write_text("---\nlicense: my-own\n---\n")
    with pytest.raises(ConfigError, match=r'refuses the header of the README. "license" must be one of \[apache'):
        push(PushConfig(str(export), "me/birds"))
    assert not hub.repositories


def test_what_stops_a_push_is_said(hub: Hub, export: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="repo must be OWNER/NAME"):
        push(PushConfig(str(export), "birds"))
    with pytest.raises(ConfigError, match="give the folder of an export"):
        push(PushConfig(repo="me/birds"))
    with pytest.raises(RunError, match=r"is no export, and holds none. Make one: conspecific export"):
        push(PushConfig(str(tmp_path), "me/birds"))
    with pytest.raises(ConfigError, match=r"the token may not write to other/birds: .* under the namespace other"):
        push(PushConfig(str(export), "other/birds"))
    monkeypatch.setattr(pushing, "get_token", lambda: "hf_revoked")
    with pytest.raises(ConfigError, match="the token may not write to me/birds"):
        push(PushConfig(str(export), "me/birds"))
    monkeypatch.setattr(pushing, "get_token", lambda: None)
    with pytest.raises(ConfigError, match=r"needs a token of http.* with the right to write: set HF_TOKEN"):
        push(PushConfig(str(export), "me/birds"))
    monkeypatch.setattr(pushing, "get_token", lambda: TOKEN)
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(ConfigError, match=r"nothing can be pushed to http://127.0.0.1:9: it does not answer"):
        push(PushConfig(str(export), "me/birds"))
    (export / "README.md").unlink()
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", hub.url)
    with pytest.raises(RunError, match=r"has no README.md, which becomes the model card"):
        push(PushConfig(str(export), "me/birds"))
    other = export.parent / "timm"
    other.mkdir()
    (other / PREPROCESSING).write_bytes((export / PREPROCESSING).read_bytes())
    with pytest.raises(RunError, match=r"holds 2 exports. Name one: .*onnx, .*timm"):
        push(PushConfig(str(export.parents[1]), "me/birds"))
