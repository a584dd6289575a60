"""The console command. Help comes from the standard library alone, so that it is there at once."""

import importlib
import sys
from collections.abc import Sequence

from conspecific import __version__
from conspecific.config.location import all_groups, options
from conspecific.errors import ConspecificError, did_you_mean

COMMANDS = {
    "train": "fine-tune on a folder of species and measure every epoch against the baseline",
    "evaluate": "score a run again, on its own images or on others",
    "compare": "set finished runs beside each other, query by query",
    "soup": "average the weights of several runs into one model",
    "embed": "write the embeddings of a folder of images",
    "search": "find the images nearest to one image",
}

WIDTH = 110  # of a line of choices, in characters

USAGE = {
    "train": """conspecific train [KEY=VALUE ...] [-m]

  conspecific train                                                  the built-in butterflies
  conspecific train data=folder data.root=PATH                       your own: one folder a species
  conspecific train experiment=triplet trainer.max_epochs=5          another recipe, shorter
  conspecific train -m loss=arcface,triplet seed=1,2,3               every combination in turn
  conspecific train -m experiment=sweep/arcface                      search settings by validation, with Optuna
  conspecific train dry_run=true                                    build everything, read a few images, stop
  conspecific train resume=RUN                                       continue a run that was cut off
  conspecific train --cfg job                                        print the whole configuration, train nothing""",
    "evaluate": """conspecific evaluate RUN [KEY=VALUE ...]

  conspecific evaluate runs/arcface/RUN                              the run's own test images
  conspecific evaluate RUN protocol=unseen                           another protocol
  conspecific evaluate RUN data=folder data.root=PATH                other images
  conspecific evaluate RUN truncate=64                               by the first 64 dimensions alone
  conspecific evaluate weights=FILE model=efficientnet_lite0 data=butterflies""",
    "compare": """conspecific compare RUN RUN ... [output=FOLDER]

  conspecific compare runs/arcface/RUN runs/triplet/RUN              the second against the first
  conspecific compare runs/train/MULTIRUN                            all runs in it; seeds of one recipe are a group
  conspecific compare runs/sweep_arcface/MULTIRUN                    a sweep: every run in one table, with drawings
  conspecific compare RUN RUN ... sweep=true                         the same for any runs

  A few recipes are tested against the first, query by query. Trials of a sweep, and more than 26 settings, are
  sorted by validation instead: choose there, and look at the test once.""",
    "soup": """conspecific soup RUN RUN ... [output=FOLDER] [greedy=true]

  conspecific soup runs/arcface/RUN runs/arcface/RUN                 the mean of their weights: a folder like a run's
  conspecific soup runs/sweep_arcface/MULTIRUN greedy=true           the best first; what lowers validation stays out

  The runs must share model, images and splits. Score the soup on the test with conspecific evaluate FOLDER.""",
    "embed": """conspecific embed RUN [KEY=VALUE ...]

  conspecific embed RUN data=images data.root=FOLDER output=OUT    any folder: OUT/vectors.npy, OUT/images.parquet
  conspecific embed RUN                                              the run's own images""",
    "search": """conspecific search RUN IMAGE [KEY=VALUE ...]

  conspecific search RUN image.jpg                                   the ten nearest of the run's images
  conspecific search RUN image.jpg k=5 data=folder data.root=PATH    in another gallery""",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return the exit status: 0 done, 1 interrupted or failed, 2 something for the user to mend."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in ("-h", "--help"):
        print(_overview())
        return 0
    if given[0] == "--version":
        print(f"conspecific {__version__}")
        return 0
    name, *rest = given
    if name not in COMMANDS:
        print(f"error: {name} is not a command. {did_you_mean(name, COMMANDS)}", file=sys.stderr)
        return 2
    if "-h" in rest or "--help" in rest:
        print(_help(name))
        return 0
    try:
        importlib.import_module(f"conspecific.cli.{name}").run(rest)
    except ConspecificError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        print(f"interrupted{stop}", file=sys.stderr)
        return 1
    return 0


def _overview() -> str:
    lines = [f"  {name:<10}{purpose}" for name, purpose in COMMANDS.items()]
    return "\n".join(
        [
            f"conspecific {__version__}: fine-tuned image-retrieval embeddings",
            "",
            *lines,
            "",
            "conspecific COMMAND --help",
        ]
    )


def _help(name: str) -> str:
    lines = [f"{name}: {COMMANDS[name]}", "", USAGE[name], ""]
    chosen = {"train": all_groups(), "compare": ["paths"], "soup": ["paths"]}.get(name, ["data", "model"])
    lines += ["Choices:", *(line for group in chosen for line in _choices(group))]
    return "\n".join([*lines, "", "Every key of the configuration can be set as KEY=VALUE; those of train: --cfg job"])


def _choices(group: str) -> list[str]:
    """A group and its options, gone on with in the next line where they are many."""
    lines, names = [f"  {group}="], options(group)
    for name in names:
        text = name if name == names[-1] else f"{name}|"
        if len(lines[-1]) + len(text) > WIDTH:
            lines.append(" " * 6)
        lines[-1] += text
    return lines
