"""The scripts complete commands, keys and values in the shells themselves."""

import shutil
import subprocess
from pathlib import Path

import pytest

from conspecific.cli.commands import COMMANDS
from conspecific.cli.completion import words_of
from conspecific.cli.main import main

ASKED = {
    "conspecific tr": ["train "],
    "conspecific cache c": ["clear="],
    "conspecific train protocol=u": ["unseen "],
    "conspecific train loss=prox": ["proxy_anchor ", "proxy_nca "],
    "conspecific train seed=1 data.group_e": ["data.group_exif="],
    "conspecific search RUN refine.method=k": ["k_reciprocal "],
    "conspecific nothing x": [],
}


def script(shell: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["completion", shell]) == 0
    return capsys.readouterr().out


def test_bash_completes_what_is_begun(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "completion.bash"
    file.write_text(script("bash", capsys))
    lines = [f"source '{file}'"]
    for line in ASKED:
        lines += [
            f"COMP_LINE='{line}'; COMP_POINT=${{#COMP_LINE}}; _conspecific",
            'printf "%s|" "${COMPREPLY[@]}"; echo',
        ]
    done = subprocess.run(["bash", "--norc", "-c", "\n".join(lines)], capture_output=True, text=True, check=True)
    found = [[word for word in line.split("|") if word] for line in done.stdout.splitlines()]
    assert found == list(ASKED.values())
    assert done.stderr == ""


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_the_other_shells_read_their_script(shell: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = script(shell, capsys)
    assert all(command.name in text and "seed=" in text for command in COMMANDS.values())
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    (tmp_path / "script").write_text(text)
    done = subprocess.run([shell, "-n", tmp_path / "script"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_every_key_of_a_command_is_offered() -> None:
    keys, values = words_of(COMMANDS["train"])
    assert {"seed=", "loader.image_size=", "loss=", "data.root=", "model.backbone=", "loss.miner.angle="} <= set(keys)
    assert {"leaks=drop", "dry_run=true", "experiment=sweep/arcface", "loss/miner=angular"} <= set(values)


def test_a_shell_that_is_not_known_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "tcsh"]) == 2
    assert capsys.readouterr().err == "error: completion takes bash, zsh, fish; found tcsh\n"
